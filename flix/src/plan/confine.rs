//! Paths of the host that are compiled into glibc and that no search path switches off. All are replaced by paths of the
//! same length in the private copies.
//!
//! The loader has the cache of library places and the list of libraries to preload: both lead nowhere then. libc.so.6 has
//! the folder of its character sets, which are libraries too: it becomes one of the sysroot, or leads nowhere if that
//! doesn't fit.

use sysext::tree::ContentError;
use sysext::{Content, Patch, TreePath};

/// Old and new path, of one length each. Below /dev/null nothing can ever be.
const LOADER: [(&[u8], &[u8]); 2] =
    [(b"/etc/ld.so.cache\0", b"/dev/null/.cache\0"), (b"/etc/ld.so.preload\0", b"/dev/null/.preload\0")];

/// More than any loader or libc has.
const LIMIT: u64 = 32 << 20;

/// The patches of a loader, in order; and the paths that it doesn't have.
pub(super) fn loader(content: &Content) -> Result<(Vec<Patch>, Vec<String>), ContentError> {
    let bytes = content.read(LIMIT)?;
    let mut out = Vec::new();
    let mut absent = Vec::new();
    for (old, new) in LOADER {
        let places = find(&bytes, old);
        if places.is_empty() {
            absent.push(String::from_utf8_lossy(&old[..old.len() - 1]).into_owned());
        }
        out.extend(
            places.into_iter().map(|at| Patch { at: at as u64, bytes: new[..new.len() - 1].to_vec() }),
        );
    }
    out.sort_by_key(|p| p.at);
    Ok((out, absent))
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
        let (patches, absent) = loader(&content).unwrap();
        assert!(absent.is_empty());
        let new = content.patched(content.len(), patches).unwrap().read(1000).unwrap();
        assert_eq!(
            String::from_utf8(new).unwrap(),
            "x\0/dev/null/.preload\0y/dev/null/.cache\0/etc/ld.so.cachet"
        );
    }

    #[test]
    fn says_what_it_does_not_find() {
        let (patches, absent) = loader(&Content::from("nothing")).unwrap();
        assert!(patches.is_empty());
        assert_eq!(absent, ["/etc/ld.so.cache", "/etc/ld.so.preload"]);
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
