//! Configuration files: read whole, up to a size that no sensible one has.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes. The largest in use, an authority bundle, has a quarter of a megabyte.
pub const LIMIT: u64 = 4 << 20;

/// A file's bytes. One that is larger is an error, never a shorter one.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        let message = format!("file is larger than {LIMIT} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// As [`read`], as text.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "file is not UTF-8"))
}

/// The files of a directory of such files, by their names: those that end in a dot and `extension`. None if there is no directory.
pub fn list(dir: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match dir.read_dir() {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let limit = LIMIT as usize;
        std::fs::write(&path, "#".repeat(limit)).unwrap();
        assert_eq!(read_text(&path).unwrap().len(), limit);
        std::fs::write(&path, "#".repeat(limit + 1)).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "file is larger than 4194304 bytes");

        std::fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_text(&path).unwrap_err().to_string(), "file is not UTF-8");
    }
}
