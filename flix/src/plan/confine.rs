//! glibc's loader has two paths of the host compiled in that no search path switches off: the cache of library places and
//! the list of libraries to preload. In the private copy both lead nowhere.

use sysext::tree::ContentError;
use sysext::{Content, Patch};

/// Old and new path, of one length each. Below /dev/null nothing can ever be.
const PATHS: [(&[u8], &[u8]); 2] =
    [(b"/etc/ld.so.cache\0", b"/dev/null/.cache\0"), (b"/etc/ld.so.preload\0", b"/dev/null/.preload\0")];

/// More than any loader has.
const LIMIT: u64 = 16 << 20;

/// The patches, in order; and the paths that are not there.
pub(super) fn patches(loader: &Content) -> Result<(Vec<Patch>, Vec<String>), ContentError> {
    let bytes = loader.read(LIMIT)?;
    let mut out = Vec::new();
    let mut absent = Vec::new();
    for (old, new) in PATHS {
        let places: Vec<usize> =
            bytes.windows(old.len()).enumerate().filter(|(_, w)| *w == old).map(|(at, _)| at).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_paths_lead_nowhere_and_nothing_moves() {
        let text = "x\0/etc/ld.so.preload\0y/etc/ld.so.cache\0/etc/ld.so.cachet";
        let content = Content::from(text);
        let (patches, absent) = patches(&content).unwrap();
        assert!(absent.is_empty());
        let new = content.patched(content.len(), patches).unwrap().read(1000).unwrap();
        assert_eq!(
            String::from_utf8(new).unwrap(),
            "x\0/dev/null/.preload\0y/dev/null/.cache\0/etc/ld.so.cachet"
        );
    }

    #[test]
    fn says_what_it_does_not_find() {
        let (patches, absent) = patches(&Content::from("nothing")).unwrap();
        assert!(patches.is_empty());
        assert_eq!(absent, ["/etc/ld.so.cache", "/etc/ld.so.preload"]);
    }
}
