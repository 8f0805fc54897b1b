//! The dynamic loader of an image: which one, and where it looks by itself.

use tree::{Content, ContentError, ResolveError, Tree, TreePath};

use crate::{Elf, ElfError, ElfKind, mentions};

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
    /// glibc: the path of its cache, as compiled in: `/etc/ld.so.cache`. Its configuration is beside it.
    cache: Vec<u8>,
    /// musl: its word for the architecture, as compiled in: `x86_64`.
    musl_arch: Vec<u8>,
}

/// Why there is no usable loader.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
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
    #[error("interpreter {interpreter:?} is neither glibc's nor musl's loader, but {what}")]
    Unknown {
        /// As the program names it.
        interpreter: String,
        what: &'static str,
    },
    /// A program in the place of glibc's loader that executes musl's, as gcompat has one.
    #[error("interpreter {interpreter:?} is no loader, but a program that executes {executes:?}")]
    Stub {
        /// As the program names it.
        interpreter: String,
        /// The path that is compiled into it.
        executes: String,
    },
    /// Its bytes can't be had.
    #[error("{path}: {source}")]
    Content { path: TreePath, source: ContentError },
    /// It begins like an ELF file and can't be read.
    #[error("{path}: {source}")]
    Elf { path: TreePath, source: ElfError },
}

impl Loader {
    /// The loader that a PT_INTERP names.
    ///
    /// # Errors
    /// It is missing from the image or of a family that we don't know.
    pub fn find(tree: &Tree, interpreter: &[u8]) -> Result<Loader, LoaderError> {
        let shown = || interpreter.escape_ascii().to_string();
        let missing = |source| LoaderError::Missing { interpreter: shown(), source };
        let path = tree.resolve(interpreter, true).map_err(missing)?.path;
        let name = tree.resolve(interpreter, false).map_err(missing)?.path;
        let unknown = |what| LoaderError::Unknown { interpreter: shown(), what };
        let content = tree.get(&path).and_then(|n| n.content()).ok_or_else(|| unknown("no file"))?;
        let bytes = content
            .read(LOADER_LIMIT)
            .map_err(|source| LoaderError::Content { path: path.clone(), source })?;
        let identity = Identity::of(content, &bytes)
            .map_err(|source| LoaderError::Elf { path: path.clone(), source })?;
        let loader = Loader {
            family: Family::Glibc,
            path,
            name,
            system_dirs: Vec::new(),
            cache: Vec::new(),
            musl_arch: Vec::new(),
        };
        match identity {
            Identity::Glibc => {
                let cache = compiled_in_caches(&bytes).into_iter().next();
                let cache = cache.unwrap_or_else(|| b"/etc/ld.so.cache".to_vec());
                let system_dirs =
                    compiled_in_dirs(&bytes, &cache).unwrap_or_else(|| guessed_dirs(&loader.path));
                Ok(Loader { system_dirs, cache, ..loader })
            }
            Identity::Musl(musl_arch) => {
                let system_dirs = [&b"/lib"[..], b"/usr/local/lib", b"/usr/lib"].map(<[u8]>::to_vec).into();
                Ok(Loader { family: Family::Musl, system_dirs, musl_arch, ..loader })
            }
            Identity::Stub(path) => {
                Err(LoaderError::Stub { interpreter: shown(), executes: path.escape_ascii().to_string() })
            }
            Identity::Other(what) => Err(unknown(what)),
        }
    }

    /// Where musl's loader, installed at `interpreter`, looks for its list of directories: PT_INTERP's path less two
    /// components, then `etc/ld-musl-ARCH.path`. None for glibc.
    pub fn path_file(&self, interpreter: &TreePath) -> Option<TreePath> {
        if self.family != Family::Musl {
            return None;
        }
        let prefix = interpreter.parent()?.parent()?;
        prefix.join([b"etc/ld-musl-", self.musl_arch.as_slice(), b".path"].concat()).ok()
    }

    /// Where glibc's ldconfig(8) finds the directories of the cache: ld.so.conf beside it. None for musl.
    pub(crate) fn configuration(&self) -> Option<Vec<u8>> {
        Some([self.cache.strip_suffix(b"cache")?, b"conf"].concat())
    }

    /// glibc: the path of its cache. Empty for musl.
    pub(crate) fn cache(&self) -> &[u8] {
        &self.cache
    }

    /// What `$LIB` stands for: `lib/x86_64-linux-gnu` on Debian, `lib64` on Fedora. ld.so(8).
    pub(crate) fn lib_token(&self) -> &[u8] {
        let Some(dir) = self.system_dirs.first() else { return b"lib" };
        let below = prefix_of(&self.cache).and_then(|prefix| dir.strip_prefix(prefix)).unwrap_or(dir);
        below.strip_prefix(b"/").unwrap_or(b"lib")
    }

    /// Whether a DT_NEEDED of this name is the loader itself, whatever files there are. musl's load_library().
    pub(crate) fn is_builtin(&self, name: &[u8]) -> bool {
        const RESERVED: [&[u8]; 7] =
            [b"libc.", b"libpthread.", b"librt.", b"libm.", b"libdl.", b"libutil.", b"libxnet."];
        self.family == Family::Musl
            && (RESERVED.iter().any(|r| name.starts_with(r)) || self.name.file_name() == Some(name))
    }
}

/// What a file is that a PT_INTERP leads to. Names say nothing: glibc's loader was ld-2.31.so once, and musl's is to be
/// had under glibc's name.
enum Identity {
    Glibc,
    /// With its word for the architecture.
    Musl(Vec<u8>),
    /// A program that executes musl's loader, at this path.
    Stub(Vec<u8>),
    Other(&'static str),
}

impl Identity {
    fn of(content: &Content, bytes: &[u8]) -> Result<Identity, ElfError> {
        let Some(elf) = Elf::parse(content)? else { return Ok(Identity::Other("no ELF file")) };
        let on_its_own = elf.needed.is_empty() && elf.interpreter.is_none();
        if on_its_own && elf.kind != ElfKind::StaticExecutable {
            // The path of musl's list of directories is made at run time, behind the prefix of the loader's own.
            if let Some(arch) = between(bytes, b"/etc/ld-musl-", b".path\0") {
                return Ok(Identity::Musl(arch.to_vec()));
            }
            // What libc.so.6 takes from the loader, in every version since 2.3: strip(1) has to leave it.
            let exports = |name: &str| mentions(content, &[name]);
            if exports("_rtld_global")? && exports("GLIBC_PRIVATE")? {
                return Ok(Identity::Glibc);
            }
        }
        if let Some(arch) = between(bytes, b"/ld-musl-", b".so.1\0") {
            let tail = [b"/ld-musl-", arch, b".so.1\0"].concat();
            let at = bytes.windows(tail.len()).position(|w| w == tail).unwrap_or(0);
            let start = bytes[..at].iter().rposition(|&b| !is_path_byte(b)).map_or(0, |z| z + 1);
            return Ok(Identity::Stub(bytes[start..at + tail.len() - 1].to_vec()));
        }
        Ok(Identity::Other(match elf.kind {
            ElfKind::StaticExecutable | ElfKind::StaticPie => "a static program",
            ElfKind::DynamicExecutable => "a program that needs a loader itself",
            _ => "another ELF file",
        }))
    }
}

/// The first short word between two strings.
fn between<'b>(bytes: &'b [u8], before: &[u8], after: &[u8]) -> Option<&'b [u8]> {
    bytes.windows(before.len()).enumerate().filter(|(_, w)| *w == before).find_map(|(at, _)| {
        let rest = &bytes[at + before.len()..];
        let len = rest.iter().take(32).position(|b| !b.is_ascii_alphanumeric() && !b"_-".contains(b))?;
        (len > 0 && rest[len..].starts_with(after)).then(|| &rest[..len])
    })
}

fn is_path_byte(b: u8) -> bool {
    b.is_ascii_graphic() && !b"\"'%:;$".contains(&b)
}

/// More than the loader of any distribution.
const LOADER_LIMIT: u64 = 16 << 20;

/// The paths of ld.so.cache that are compiled into a glibc: `/etc/ld.so.cache`, or one below a prefix of its own.
pub(crate) fn compiled_in_caches(bytes: &[u8]) -> Vec<Vec<u8>> {
    compiled_in(bytes, b"/ld.so.cache")
}

/// All strings that are a path with this end, each once, in order.
pub fn compiled_in(bytes: &[u8], end: &[u8]) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for string in bytes.split(|&b| b == 0).filter(|s| s.ends_with(end)) {
        // Text that ends with the path, and code before a string without a NUL in between.
        let start = string.iter().rposition(|&b| !is_path_byte(b)).map_or(0, |at| at + 1);
        let word = &string[start..];
        let slash = word.iter().position(|&b| b == b'/').unwrap_or(0);
        let path = &word[slash..];
        if !out.iter().any(|p| p == path) {
            out.push(path.to_vec());
        }
    }
    // The longest first would be wrong: a path that is its whole string is the surest.
    out.sort_by_key(|path| {
        let whole = [b"\0", path.as_slice(), b"\0"].concat();
        !bytes.windows(whole.len()).any(|w| w == whole)
    });
    out
}

/// `/usr/glibc-compat` of `/usr/glibc-compat/etc/ld.so.cache`.
fn prefix_of(cache: &[u8]) -> Option<&[u8]> {
    cache.strip_suffix(b"/etc/ld.so.cache")
}

/// The array `system_dirs` of elf/dl-load.c: NUL-terminated directories, one behind the other, each with a final slash.
/// Distributions choose them at build time, so the file itself is the only good source.
fn compiled_in_dirs(bytes: &[u8], cache: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut best: Vec<Vec<u8>> = Vec::new();
    let mut run: Vec<Vec<u8>> = Vec::new();
    // A glibc with a prefix has but one.
    let own = prefix_of(cache).filter(|p| !p.is_empty());
    for string in bytes.split(|&b| b == 0).chain([&b""[..]]) {
        let dir = string.len() > 1
            && string.len() < 256
            && string.starts_with(b"/")
            && string.ends_with(b"/")
            && string.windows(3).any(|w| w == b"lib");
        if dir {
            run.push(string[..string.len() - 1].to_vec());
            continue;
        }
        let sure = run.len() >= 2 || run.first().is_some_and(|d| own.is_some_and(|p| d.starts_with(p)));
        if sure && run.len() > best.len() {
            best = std::mem::take(&mut run);
        }
        run.clear();
    }
    (!best.is_empty()).then_some(best)
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
pub(crate) const WELL_KNOWN: &[&str] = &[
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
mod tests;
