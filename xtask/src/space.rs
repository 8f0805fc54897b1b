//! Room on the disk: tests that run out of it fail with errors that name something else.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Bytes that a build from nothing and the tests take at their peak, below target/ and in the directory for temporary files.
const NEED: u64 = 16 << 30;
/// Bytes that the tests alone take at their peak, with their root file systems.
const NEED_BUILT: u64 = 11 << 30;
/// Bytes below which a failure may come from this.
const SHORT: u64 = 1 << 30;

/// Fails if there is too little room for the tests.
pub(crate) fn check() -> Result<()> {
    let target = crate::target();
    let need = if target.join("debug").exists() { NEED_BUILT } else { NEED };
    for place in places()? {
        if let Some(lack) = lack(&place, free(&place)?, need) {
            bail!("{lack}: free some, or choose another place by CARGO_TARGET_DIR and TMPDIR");
        }
    }
    Ok(())
}

/// Where the room is nearly used up.
pub(crate) fn short() -> Option<String> {
    let lacks = |place: PathBuf| lack(&place, free(&place).ok()?, SHORT);
    places().ok()?.into_iter().find_map(lacks)
}

/// Directories that exist, of the file systems that tests write to.
fn places() -> Result<Vec<PathBuf>> {
    let target = crate::target();
    let target = target.ancestors().find(|dir| dir.exists()).context("target/ is nowhere")?;
    let mut places = vec![target.to_owned(), std::env::temp_dir()];
    // Where end-to-end tests work unless something else is said.
    if std::env::var_os("TMPDIR").is_none() {
        places.push("/var/tmp".into());
    }
    Ok(places)
}

/// Bytes. statvfs(3)
fn free(place: &Path) -> Result<u64> {
    let space = rustix::fs::statvfs(place).with_context(|| format!("{place:?}"))?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

fn lack(place: &Path, free: u64, need: u64) -> Option<String> {
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    (free < need).then(|| format!("{place:?}: {} are free, and {} are needed", gib(free), gib(need)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room() {
        let place = Path::new("/x");
        assert_eq!(lack(place, 12 << 30, 12 << 30), None);
        let expected = "\"/x\": 0.5 GiB are free, and 12.0 GiB are needed";
        assert_eq!(lack(place, 1 << 29, 12 << 30).as_deref(), Some(expected));
        assert!(places().unwrap().iter().all(|place| free(place).unwrap() > 0));
    }
}
