//! What an output was made of, so that nothing is made twice. A stamp is a small fact of the cache under the output's path;
//! it holds as long as the file has the size and the time that it had.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use store::{Cache, CacheError, Digest};

/// The cache's key space for stamps.
const KEYS: &str = "built";

/// What is remembered of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Of all that went into it.
    pub plan: Digest,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    mtime: i128,
    /// Of the file, 64 hex digits.
    pub sha256: String,
}

impl Stamp {
    /// Of a file that was just written.
    pub(super) fn of(path: &Path, plan: Digest, sha256: &str) -> std::io::Result<Stamp> {
        let (size, mtime) = state(path)?;
        Ok(Stamp { plan, size, mtime, sha256: sha256.to_owned() })
    }

    /// That of an output, if there is one and the file is as it was then.
    pub(super) fn find(cache: &Cache, path: &Path) -> Result<Option<Stamp>, CacheError> {
        let Some(key) = key(path) else { return Ok(None) };
        let Some(stamp) = cache.key(KEYS, &key)?.and_then(|text| Stamp::parse(&text)) else {
            return Ok(None);
        };
        Ok(state(path).is_ok_and(|now| now == (stamp.size, stamp.mtime)).then_some(stamp))
    }

    pub(super) fn write(&self, cache: &Cache, path: &Path) -> Result<(), CacheError> {
        let Stamp { plan, size, mtime, sha256 } = self;
        match key(path) {
            Some(key) => cache.set_key(KEYS, &key, &format!("{plan} {size} {mtime} {sha256}")),
            None => Ok(()),
        }
    }

    fn parse(text: &str) -> Option<Stamp> {
        let words: Vec<&str> = text.split(' ').collect();
        let [plan, size, mtime, sha256] = words.as_slice() else { return None };
        Some(Stamp {
            plan: plan.parse().ok()?,
            size: size.parse().ok()?,
            mtime: mtime.parse().ok()?,
            sha256: (*sha256).to_owned(),
        })
    }
}

/// None if nobody can say where the path is: in a working directory that is gone. Then it is built again each time.
fn key(path: &Path) -> Option<String> {
    Some(std::path::absolute(path).ok()?.to_string_lossy().into_owned())
}

fn state(path: &Path) -> std::io::Result<(u64, i128)> {
    let meta = path.symlink_metadata()?;
    if !meta.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    Ok((meta.len(), i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_holds_while_the_file_does() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let path = dir.path().join("x.raw");
        assert_eq!(Stamp::find(&cache, &path).unwrap(), None);
        std::fs::write(&path, "x").unwrap();
        let stamp = Stamp::of(&path, Digest::of("plan"), "00").unwrap();
        stamp.write(&cache, &path).unwrap();
        assert_eq!(Stamp::find(&cache, &path).unwrap(), Some(stamp));
        std::fs::write(&path, "xy").unwrap();
        assert_eq!(Stamp::find(&cache, &path).unwrap(), None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Stamp::find(&cache, &path).unwrap(), None);
        assert!(Stamp::of(dir.path(), Digest::of("plan"), "").is_err());
    }
}
