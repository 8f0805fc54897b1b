//! Paths of libraries among a file's strings: what it may open by dlopen(3).

use std::collections::BTreeSet;

use tree::{Content, ContentError};

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;
/// Longest path that counts, and the least that two reads have in common. Bytes. PATH_MAX, linux/limits.h.
const LONGEST: usize = 4096;
/// Maximum number of paths reported for a file.
const MOST: usize = 256;

/// The NUL-terminated strings of a file that are absolute paths of shared libraries: `/opt/x/plugin.so`, `/opt/x/lib.so.1`.
pub fn library_paths(content: &Content) -> Result<BTreeSet<Vec<u8>>, ContentError> {
    let mut out = BTreeSet::new();
    let mut buffer = vec![0; CHUNK + LONGEST];
    let mut at = 0;
    while out.len() < MOST {
        let n = content.read_at(&mut buffer, at)?;
        // The last string may go on in the next part.
        let strings = buffer[..n].split(|&b| b == 0);
        for string in strings.filter(|s| s.len() < LONGEST && s.first() == Some(&b'/') && is_library(s)) {
            out.insert(string.to_vec());
        }
        if n < buffer.len() {
            break;
        }
        at += CHUNK as u64;
    }
    Ok(out)
}

/// Whether a path ends as `.so` or `.so.1.2`.
fn is_library(path: &[u8]) -> bool {
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
    let version = |rest: &[u8]| rest.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    name.windows(3).enumerate().any(|(i, w)| {
        let rest = &name[i + 3..];
        i > 0 && w == b".so" && (rest.is_empty() || (rest[0] == b'.' && version(rest)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_libraries_are_told_from_other_strings() {
        let text =
            "x\0/opt/a.so\0/opt/b.so.1.2\0/etc/ld.so.cache\0b.so\0/c.sort\0 /opt/d.so\0/opt/.so\0/opt/%s.so";
        for before in [0, CHUNK - 3, CHUNK + LONGEST - 5, 3 * CHUNK] {
            let content = Content::from([vec![0; before], text.as_bytes().to_vec()].concat());
            let got: Vec<String> = library_paths(&content)
                .unwrap()
                .iter()
                .map(|p| String::from_utf8_lossy(p).into_owned())
                .collect();
            assert_eq!(got, ["/opt/%s.so", "/opt/a.so", "/opt/b.so.1.2"], "{before}");
        }
    }
}
