//! Libraries where the host has its own.

use tree::{TreePath, is_triplet};

/// A library directly in a directory that every loader searches: the host's programs load it in the place of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostLibrary {
    /// The C library or the loader. With those of another system no program of the host starts.
    Core,
    /// Any other.
    Other,
}

impl HostLibrary {
    /// What a path of an extension is, going by its name.
    pub fn at(path: &TreePath) -> Option<HostLibrary> {
        let mut dir: Vec<&[u8]> = path.components().collect();
        let name = dir.pop()?;
        // Variants for better processors are preferred to what is in the directory itself.
        if let [.., b"glibc-hwcaps", _] = dir.as_slice() {
            dir.truncate(dir.len() - 2);
        }
        let searched = match dir.as_slice() {
            [b"usr", b"lib" | b"lib64" | b"lib32" | b"libx32"] => true,
            [b"usr", b"lib", triplet] => is_triplet(triplet),
            _ => false,
        };
        if searched { of_name(name) } else { None }
    }
}

fn of_name(name: &[u8]) -> Option<HostLibrary> {
    let end = name.windows(3).position(|w| w == b".so")?;
    if !matches!(name.get(end + 3), None | Some(b'.')) {
        return None;
    }
    let loader = name.starts_with(b"ld-") || matches!(&name[..end], b"ld" | b"ld64");
    if loader || name == b"libc.so.6" || name.starts_with(b"libc.musl-") {
        return Some(HostLibrary::Core);
    }
    name.starts_with(b"lib").then_some(HostLibrary::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        use HostLibrary::{Core, Other};
        for (path, expected) in [
            ("/usr/lib/x86_64-linux-gnu/libc.so.6", Some(Core)),
            ("/usr/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v3/libc.so.6", Some(Core)),
            ("/usr/lib64/ld-linux-x86-64.so.2", Some(Core)),
            ("/usr/lib/ld-2.31.so", Some(Core)),
            ("/usr/lib/ld-musl-x86_64.so.1", Some(Core)),
            ("/usr/lib/libc.musl-x86_64.so.1", Some(Core)),
            ("/usr/lib64/ld64.so.2", Some(Core)),
            ("/usr/lib32/libz.so.1.3", Some(Other)),
            ("/usr/lib/libz.so", Some(Other)),
            ("/usr/lib/libz.sock", None),
            ("/usr/lib/libz.a", None),
            ("/usr/lib/plugin.so", None),
            ("/usr/lib/app/libz.so.1", None),
            ("/usr/lib/flix/t/usr/lib/x86_64-linux-gnu/libc.so.6", None),
            ("/usr/lib/flatwrap/t/lib64/ld-linux-x86-64.so.2", None),
            ("/usr/bin/ld.so", None),
            ("/opt/lib/libc.so.6", None),
        ] {
            assert_eq!(HostLibrary::at(&path.parse().unwrap()), expected, "{path}");
        }
    }
}
