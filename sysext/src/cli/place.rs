//! Whether the output can be put where it is to go, told before the work and not after it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

/// A directory that can't take the output.
#[derive(Debug, thiserror::Error)]
#[error("output directory {path:?}: {source}")]
pub struct PlaceError {
    /// The directory.
    pub path: PathBuf,
    /// What the kernel says.
    pub source: io::Error,
}

/// Whether a file can be made at `path`.
pub(super) fn check(path: &Path) -> Result<(), PlaceError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    // "/." makes an error of what is no directory.
    accessat(CWD, dir.join("."), Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|e| PlaceError { path: dir.to_owned(), source: e.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_take_no_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        for (path, error) in [
            ("new", ""),
            ("file", ""),
            ("none/new", "output directory \"DIR/none\": No such file or directory (os error 2)"),
            ("file/new", "output directory \"DIR/file\": Not a directory (os error 20)"),
        ] {
            let said = check(&dir.path().join(path)).map_err(|e| e.to_string()).err().unwrap_or_default();
            assert_eq!(said.replace(dir.path().to_str().unwrap(), "DIR"), error, "{path}");
        }
        check(Path::new("new")).unwrap();
    }
}
