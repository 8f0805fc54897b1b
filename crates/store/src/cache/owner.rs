//! Whose directories a cache is made of.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{CacheError, at};

/// Refuses a directory in which another user may put files, or has put them: what lies there would be taken for verified. Root's are
/// as good as the user's own.
pub(super) fn check(dir: &Path) -> Result<(), CacheError> {
    let meta = dir.metadata().map_err(at(dir))?;
    let (owner, mode) = (meta.uid(), meta.mode() & 0o7777);
    if trusted(owner, mode, rustix::process::geteuid().as_raw()) {
        return Ok(());
    }
    Err(CacheError::Unsafe { path: dir.to_owned(), owner, mode })
}

/// `owner` and `mode` are the directory's, `user` is the one who trusts it. In a sticky directory nobody can touch what others have made.
fn trusted(owner: u32, mode: u32, user: u32) -> bool {
    (owner == user || owner == 0) && !others_may_write(mode)
}

fn others_may_write(mode: u32) -> bool {
    mode & 0o022 != 0
}

/// What is wrong with a directory, for the message.
pub(super) struct Reason {
    pub(super) owner: u32,
    pub(super) mode: u32,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if others_may_write(self.mode) {
            return write!(f, "can be written by other users (mode {:04o})", self.mode);
        }
        let user = rustix::process::geteuid().as_raw();
        write!(f, "belongs to user {}, expected the user who runs this, {user}", self.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_directories_are_trusted() {
        for (owner, mode, user, expected) in [
            (1000, 0o700, 1000, true),
            (1000, 0o755, 1000, true),
            (0, 0o755, 1000, true),
            (0, 0o1777, 1000, false),
            (1000, 0o700, 0, false),
            (1001, 0o700, 1000, false),
            (1000, 0o775, 1000, false),
            (1000, 0o707, 1000, false),
            (0, 0o777, 0, false),
        ] {
            assert_eq!(trusted(owner, mode, user), expected, "{owner} {mode:o} {user}");
        }
    }
}
