//! The dynamic loader of an image: which one, and where it looks by itself.

use sysext::tree::{ContentError, ResolveError};
use sysext::{Content, Tree, TreePath};

/// The two families whose rules we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// The GNU C library's ld.so. elf/dl-load.c.
    Glibc,
    /// musl's, which is the C library at the same time. ldso/dynlink.c.
    Musl,
}

/// A dynamic loader in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// Whose rules it follows.
    pub family: Family,
    /// Its real path.
    pub path: TreePath,
    /// The name that programs ask for, with its directory resolved: a symlink to `path`, or `path` itself.
    pub name: TreePath,
    /// Directories compiled in, in order, as strings: `/lib/x86_64-linux-gnu`.
    pub system_dirs: Vec<Vec<u8>>,
}

/// Why there is no usable loader.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError {
    /// PT_INTERP leads nowhere in the image.
    #[error("interpreter {interpreter:?} is not in the image")]
    Missing {
        /// As the program names it.
        interpreter: String,
        /// Where the path ends.
        source: ResolveError,
    },
    /// Neither glibc's nor musl's.
    #[error("interpreter {0:?} is neither glibc's nor musl's loader")]
    Unknown(String),
    /// Its bytes can't be had.
    #[error("{path}: {source}")]
    Content {
        /// The loader.
        path: TreePath,
        /// Why.
        source: ContentError,
    },
}

impl Loader {
    /// The loader that a PT_INTERP names.
    ///
    /// # Errors
    /// It is missing from the image or of a family that we don't know.
    pub fn find(tree: &Tree, interpreter: &[u8]) -> Result<Loader, LoaderError> {
        let shown = || interpreter.escape_ascii().to_string();
        let missing = |source| LoaderError::Missing { interpreter: shown(), source };
        let real = tree.resolve(interpreter, true).map_err(missing)?;
        let name = tree.resolve(interpreter, false).map_err(missing)?.path;
        let family = family_of(interpreter).ok_or_else(|| LoaderError::Unknown(shown()))?;
        let content =
            tree.get(&real.path).and_then(|n| n.content()).ok_or_else(|| LoaderError::Unknown(shown()))?;
        let system_dirs = match family {
            Family::Musl => [&b"/lib"[..], b"/usr/local/lib", b"/usr/lib"].map(<[u8]>::to_vec).into(),
            Family::Glibc => compiled_in_dirs(content)
                .map_err(|source| LoaderError::Content { path: real.path.clone(), source })?
                .unwrap_or_else(|| guessed_dirs(&real.path)),
        };
        Ok(Loader { family, path: real.path, name, system_dirs })
    }

    /// Where musl's loader, installed at `interpreter`, looks for its list of directories: PT_INTERP's path less two
    /// components, then `etc/ld-musl-ARCH.path`. None for glibc.
    pub fn path_file(&self, interpreter: &TreePath) -> Option<TreePath> {
        if self.family != Family::Musl {
            return None;
        }
        let arch = musl_arch(self.name.file_name()?)?;
        let prefix = interpreter.parent()?.parent()?;
        prefix.join([b"etc/ld-musl-", arch, b".path"].concat()).ok()
    }

    /// What `$LIB` stands for: `lib/x86_64-linux-gnu` on Debian, `lib64` on Fedora. ld.so(8).
    pub fn lib_token(&self) -> &[u8] {
        self.system_dirs.first().and_then(|d| d.strip_prefix(b"/")).unwrap_or(b"lib")
    }

    /// Whether a DT_NEEDED of this name is the loader itself, whatever files there are. musl's load_library().
    pub fn is_builtin(&self, name: &[u8]) -> bool {
        const RESERVED: [&[u8]; 7] =
            [b"libc.", b"libpthread.", b"librt.", b"libm.", b"libdl.", b"libutil.", b"libxnet."];
        self.family == Family::Musl
            && (RESERVED.iter().any(|r| name.starts_with(r)) || self.name.file_name() == Some(name))
    }
}

/// The family by the file name, which is part of each ABI.
fn family_of(interpreter: &[u8]) -> Option<Family> {
    let name = interpreter.rsplit(|&b| b == b'/').next()?;
    if musl_arch(name).is_some() {
        return Some(Family::Musl);
    }
    // ld-linux-x86-64.so.2, ld-linux.so.2, ld64.so.1 (s390x), ld64.so.2 (ppc64), ld.so.1 (s390, ppc, mips).
    let glibc = name.starts_with(b"ld-linux") || name.starts_with(b"ld64.so.") || name.starts_with(b"ld.so.");
    glibc.then_some(Family::Glibc)
}

fn musl_arch(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(b"ld-musl-")?.strip_suffix(b".so.1")
}

/// More than the loader of any distribution.
const LOADER_LIMIT: u64 = 16 << 20;

/// The array `system_dirs` of elf/dl-load.c: NUL-terminated directories, one behind the other, each with a final slash.
/// Distributions choose them at build time, so the file itself is the only good source.
fn compiled_in_dirs(content: &Content) -> Result<Option<Vec<Vec<u8>>>, ContentError> {
    let bytes = content.read(LOADER_LIMIT)?;
    let mut best: Vec<Vec<u8>> = Vec::new();
    let mut run: Vec<Vec<u8>> = Vec::new();
    for string in bytes.split(|&b| b == 0) {
        let dir = string.len() > 1
            && string.len() < 256
            && string.starts_with(b"/")
            && string.ends_with(b"/")
            && string.windows(3).any(|w| w == b"lib");
        if dir {
            run.push(string[..string.len() - 1].to_vec());
            continue;
        }
        if run.len() > best.len() {
            best = std::mem::take(&mut run);
        }
        run.clear();
    }
    Ok((best.len() >= 2).then_some(best))
}

/// For a loader whose list can't be found: its own directory, then the usual places.
fn guessed_dirs(loader: &TreePath) -> Vec<Vec<u8>> {
    let own = loader.parent().unwrap_or_else(TreePath::root).to_absolute();
    let mut dirs = vec![own];
    for dir in [&b"/lib64"[..], b"/usr/lib64", b"/lib", b"/usr/lib"] {
        if !dirs.iter().any(|d| d == dir) {
            dirs.push(dir.to_vec());
        }
    }
    dirs
}

/// Interpreters that the psABIs name, to find an image's loader for a library, which names none.
pub const WELL_KNOWN: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-linux.so.2",
    "/lib/ld-linux-armhf.so.3",
    "/lib/ld-linux.so.3",
    "/lib/ld-linux-riscv64-lp64d.so.1",
    "/lib64/ld64.so.2",
    "/lib/ld64.so.1",
    "/lib64/ld-linux-loongarch-lp64d.so.1",
    "/libx32/ld-linux-x32.so.2",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
    "/lib/ld-musl-i386.so.1",
    "/lib/ld-musl-armhf.so.1",
    "/lib/ld-musl-arm.so.1",
    "/lib/ld-musl-riscv64.so.1",
    "/lib/ld-musl-powerpc64le.so.1",
    "/lib/ld-musl-s390x.so.1",
    "/lib/ld-musl-loongarch64.so.1",
];

#[cfg(test)]
mod tests {
    use super::*;
    use sysext::{Meta, Node};

    fn tree(path: &str, content: &str) -> Tree {
        let mut t = Tree::default();
        t.insert_all(path.parse().unwrap(), Node::file(0o755, content), &Meta::dir()).unwrap();
        t
    }

    #[test]
    fn glibc_directories_come_from_the_file_itself() {
        let t = tree(
            "/lib64/ld-linux-x86-64.so.2",
            "\0/one/lib/\0x\0/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0\0",
        );
        let l = Loader::find(&t, b"/lib64/ld-linux-x86-64.so.2").unwrap();
        let dirs: Vec<_> = l.system_dirs.iter().map(|d| d.escape_ascii().to_string()).collect();
        assert_eq!(dirs, ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"]);
        assert_eq!(l.lib_token(), b"lib/x86_64-linux-gnu");
        assert_eq!(l.path_file(&l.path), None);
        assert!(!l.is_builtin(b"libc.so.6"));
    }

    #[test]
    fn a_loader_without_a_list_gets_the_usual_places() {
        let t = tree("/lib/ld-linux-aarch64.so.1", "nothing here");
        let l = Loader::find(&t, b"/lib/ld-linux-aarch64.so.1").unwrap();
        assert_eq!(l.system_dirs, [&b"/lib"[..], b"/lib64", b"/usr/lib64", b"/usr/lib"]);
    }

    #[test]
    fn musl_takes_its_path_file_from_the_interpreters_prefix() {
        let t = tree("/lib/ld-musl-x86_64.so.1", "");
        let l = Loader::find(&t, b"/lib/ld-musl-x86_64.so.1").unwrap();
        let at = |i: &str| l.path_file(&i.parse().unwrap()).unwrap().to_string();
        assert_eq!(at("/lib/ld-musl-x86_64.so.1"), "/etc/ld-musl-x86_64.path");
        assert_eq!(at("/usr/lib/flix/x/usr/lib/ld.so"), "/usr/lib/flix/x/usr/etc/ld-musl-x86_64.path");
        for name in ["libc.so", "libc.musl-x86_64.so.1", "libpthread.so.0", "ld-musl-x86_64.so.1"] {
            assert!(l.is_builtin(name.as_bytes()), "{name}");
        }
        assert!(!l.is_builtin(b"libcrypt.so.1"));
    }

    #[test]
    fn other_loaders_are_refused() {
        let t = tree("/system/bin/linker64", "");
        assert!(matches!(Loader::find(&t, b"/system/bin/linker64"), Err(LoaderError::Unknown(_))));
        assert!(matches!(Loader::find(&t, b"/lib/ld-musl-x.so.1"), Err(LoaderError::Missing { .. })));
    }
}
