//! What is compiled into the private copies of a C library and leads to the host's libraries, and no search path switches
//! off. All of it is replaced by something of the same length.
//!
//! glibc's loader has the cache of library places, the list of libraries to preload, and the directories of the system:
//! all lead nowhere then. libc.so.6 has the folder of its character sets, which are libraries too: it becomes one of the
//! sysroot, or leads nowhere if that doesn't fit.
//!
//! musl's loader searches LD_LIBRARY_PATH before any path of the files. The private copy reads a variable of another
//! name, and so do the files of its programs: one that starts itself again with the variable set still finds its own
//! libraries, and the host's variable doesn't count.

use tree::{Content, ContentError, Patch, TreePath};

use elf::loader::compiled_in;

/// What the loader's paths end with: `/etc/ld.so.cache`, with the prefix of the build before it; `/etc/ld.so.preload`,
/// which Nix calls `/etc/ld-nix.so.preload`.
const LOADER: [&str; 2] = [".so.cache", ".so.preload"];

/// More than any loader or libc has.
pub(super) const LIMIT: u64 = 32 << 20;

/// The variable that musl's private copies read in the place of the host's.
pub(super) const MUSL_VARIABLE: &str = "FLIX_LD_LIBPATH";
const VARIABLE: &[u8] = b"LD_LIBRARY_PATH";
const _: () = assert!(MUSL_VARIABLE.len() == VARIABLE.len());

/// The patches of glibc's loader, in order; and the paths that it doesn't have. `system_dirs` are the directories that it
/// searches by itself, as [`Loader::system_dirs`](elf::loader::Loader::system_dirs) has them.
pub(super) fn loader(
    content: &Content,
    system_dirs: &[Vec<u8>],
) -> Result<(Vec<Patch>, Vec<String>), ContentError> {
    let bytes = content.read(LIMIT)?;
    let mut out: Vec<Patch> = Vec::new();
    let mut absent = Vec::new();
    for end in LOADER {
        let mut found = compiled_in(&bytes, end.as_bytes());
        found.retain(|path| path.starts_with(b"/"));
        if found.is_empty() {
            absent.push(format!("/etc/ld{end}"));
        }
        for old in found {
            let new = no_file(old.len(), end);
            for at in find(&bytes, &[old.as_slice(), b"\0"].concat()) {
                // One path may be the end of another.
                if !out.iter().any(|p| p.at <= at as u64 && (at as u64) < p.at + p.bytes.len() as u64) {
                    out.push(Patch { at: at as u64, bytes: new.clone() });
                }
            }
        }
    }
    // One behind the other, each with a slash at its end. Libraries that nobody has relocated are looked for there: those
    // that a program unpacks when it starts, or plugins of the host.
    let list: Vec<u8> = system_dirs.iter().flat_map(|d| [d.as_slice(), b"/\0"].concat()).collect();
    let places = if list.is_empty() { Vec::new() } else { find(&bytes, &list) };
    for start in places {
        let mut at = start as u64;
        for len in system_dirs.iter().map(|d| d.len() + 1) {
            out.extend(nowhere(len).map(|bytes| Patch { at, bytes }));
            at += len as u64 + 1;
        }
    }
    out.sort_by_key(|p| p.at);
    Ok((out, absent))
}

/// A directory in which no library can ever be, as a string of this length that ends with a slash. Nobody makes files in
/// sysfs.
fn nowhere(len: usize) -> Option<Vec<u8>> {
    let mut out = b"/sys/".to_vec();
    (out.len() <= len).then(|| {
        out.resize(len, b'/');
        out
    })
}

/// The patches that rename LD_LIBRARY_PATH in musl's loader, or in a program or library that it loads. Only whole strings
/// are, or such as `LD_LIBRARY_PATH=%s`.
pub(super) fn variable(content: &Content) -> Result<Vec<Patch>, ContentError> {
    const CHUNK: usize = 1 << 20;
    // One byte before the string and one behind it tell whether it is whole.
    const WINDOW: usize = VARIABLE.len() + 2;
    let mut out = Vec::new();
    let mut buffer = vec![0; CHUNK + WINDOW - 1];
    let mut at = 0;
    loop {
        let n = content.read_at(&mut buffer, at)?;
        let whole = |w: &[u8]| {
            w[1] == VARIABLE[0]
                && w[0] == 0
                && matches!(w[WINDOW - 1], 0 | b'=')
                && &w[1..WINDOW - 1] == VARIABLE
        };
        for (i, _) in buffer[..n].windows(WINDOW).enumerate().filter(|(_, w)| whole(w)) {
            out.push(Patch { at: at + i as u64 + 1, bytes: MUSL_VARIABLE.into() });
        }
        if n < buffer.len() {
            return Ok(out);
        }
        at += CHUNK as u64;
    }
}

/// A path of a length at which nothing can ever be: `/dev/null/.cache`.
fn no_file(len: usize, end: &str) -> Vec<u8> {
    let end = end.trim_start_matches(".so").as_bytes();
    let mut out = b"/dev/null/".to_vec();
    if out.len() + end.len() <= len {
        out.resize(len - end.len(), b'/');
        out.extend_from_slice(end);
    }
    out.resize(len, b'/');
    out
}

/// What becomes of a libc's folder of character sets.
#[derive(Debug, Default)]
pub(super) struct Charsets {
    pub patches: Vec<Patch>,
    /// The folder of the image.
    pub folder: Option<TreePath>,
    /// Whether the new path has room where the old one was.
    pub fits: bool,
}

/// The patches that lead a libc to `new` for its character sets. iconv/gconv_conf.c and gconv_cache.c in glibc: the folder
/// stands there once for itself and once with the name of a cache.
pub(super) fn charsets(libc: &Content, new: &TreePath) -> Result<Charsets, ContentError> {
    let bytes = libc.read(LIMIT)?;
    let mut out = Charsets::default();
    for tail in [&b"/gconv\0"[..], b"/gconv/gconv-modules.cache\0"] {
        for at in find(&bytes, tail) {
            let start = bytes[..at].iter().rposition(|&b| b == 0).map_or(0, |z| z + 1);
            let old = &bytes[start..at + b"/gconv".len()];
            let Ok(folder) = TreePath::new(old) else { continue };
            let Some(bytes) = fit(&new.to_absolute(), old.len()).filter(|_| old.starts_with(b"/")) else {
                continue;
            };
            out.fits = bytes.starts_with(&new.to_absolute()[..]);
            out.folder = Some(folder);
            out.patches.push(Patch { at: start as u64, bytes });
        }
    }
    out.patches.sort_by_key(|p| p.at);
    Ok(out)
}

/// `path`, or one that can't be, made as long as `len` by slashes at its end. The length of the old one is compiled in.
fn fit(path: &[u8], len: usize) -> Option<Vec<u8>> {
    let path = if path.len() <= len { path } else { b"/dev/null" };
    let mut out = path.to_vec();
    out.resize(len, b'/');
    (path.len() <= len).then_some(out)
}

fn find(bytes: &[u8], what: &[u8]) -> Vec<usize> {
    bytes.windows(what.len()).enumerate().filter(|(_, w)| *w == what).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_paths_lead_nowhere_and_nothing_moves() {
        let text = "x\0/etc/ld.so.preload\0y/etc/ld.so.cache\0/etc/ld.so.cachet";
        let content = Content::from(text);
        let (patches, absent) = loader(&content, &[]).unwrap();
        assert!(absent.is_empty());
        let new = content.patched(content.len(), patches).unwrap().read(1000).unwrap();
        assert_eq!(
            String::from_utf8(new).unwrap(),
            "x\0/dev/null/.preload\0y/dev/null/.cache\0/etc/ld.so.cachet"
        );
    }

    #[test]
    fn says_what_it_does_not_find() {
        let (patches, absent) = loader(&Content::from("nothing"), &[]).unwrap();
        assert!(patches.is_empty());
        assert_eq!(absent, ["/etc/ld.so.cache", "/etc/ld.so.preload"]);
    }

    #[test]
    fn directories_of_the_system_lead_nowhere() {
        let dirs = ["/lib/x86_64-linux-gnu", "/lib", "/usr/lib"].map(|d| d.as_bytes().to_vec());
        let paths = "/etc/ld.so.cache\0/etc/ld.so.preload\0";
        let content = Content::from(format!("{paths}\0/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0x/lib/\0"));
        let (patches, _) = loader(&content, &dirs).unwrap();
        let new = content.patched(content.len(), patches).unwrap().read(1000).unwrap();
        let new = String::from_utf8(new).unwrap();
        assert!(new.ends_with("\0\0/sys//////////////////\0/sys/\0/sys/////\0x/lib/\0"), "{new:?}");
        assert_eq!(nowhere(3), None);
    }

    #[test]
    fn the_variable_is_renamed_where_it_is_a_whole_string() {
        let name = "LD_LIBRARY_PATH";
        let text = format!("\0{name}\0LD_PRELOAD\0{name}=%s\0{name}_ORIG\0X{name}\0{name} is\0{name}");
        // Behind more than a chunk: the places at the border are seen, too, and once.
        for before in [0, (1 << 20) - 9, (1 << 20) - 1, 3 << 20] {
            let content = Content::from([vec![b'x'; before], text.clone().into_bytes()].concat());
            let patches = variable(&content).unwrap();
            assert_eq!(patches.len(), 2, "{before}");
            let new = content.patched(content.len(), patches).unwrap().read(9 << 20).unwrap();
            let expected = text.replacen(name, MUSL_VARIABLE, 1).replacen(
                &format!("{name}=%s"),
                "FLIX_LD_LIBPATH=%s",
                1,
            );
            assert_eq!(String::from_utf8_lossy(&new[before..]), expected);
        }
    }

    #[test]
    fn character_sets_are_looked_for_in_the_sysroot_or_nowhere() {
        let old = "x\0/usr/lib/x86_64-linux-gnu/gconv\0/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache\0__gconv\0";
        for (new, fits, expected) in [
            (
                "/usr/lib/flix/t/gconv",
                true,
                "x\0/usr/lib/flix/t/gconv//////////\0/usr/lib/flix/t/gconv///////////gconv-modules.cache\0__gconv\0",
            ),
            (
                "/usr/lib/flix/a-much-longer-name/gconv",
                false,
                "x\0/dev/null//////////////////////\0/dev/null///////////////////////gconv-modules.cache\0__gconv\0",
            ),
        ] {
            let content = Content::from(old);
            let got = charsets(&content, &new.parse().unwrap()).unwrap();
            assert_eq!(
                (got.fits, got.folder.unwrap().to_string()),
                (fits, "/usr/lib/x86_64-linux-gnu/gconv".into())
            );
            let text = content.patched(content.len(), got.patches).unwrap().read(1000).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }
}
