//! Files below a directory, reached without following any symlink.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// Opens `path` below `dir` as a place (O_PATH), a symlink itself instead of its target. Empty: `dir` itself.
pub(super) fn open(dir: impl AsFd, path: &[u8]) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { c".".to_owned() } else { CString::new(path)? };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // A symlink in the last place is opened by these flags even with NO_SYMLINKS. openat2(2).
    Ok(openat2(&dir, &path, flags, Mode::empty(), resolve)?)
}

/// A path of the same file for the calls that take no O_PATH descriptor. It leads to the file itself, wherever that is
/// by now; needs /proc.
pub(super) fn path_of(fd: &OwnedFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default()
}

/// All extended attributes of a regular file or directory.
pub(super) fn xattrs(fd: &OwnedFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let path = path_of(fd);
    // XATTR_LIST_MAX and XATTR_SIZE_MAX, linux/limits.h.
    let mut names = vec![0u8; 65536];
    let n = match rustix::fs::listxattr(&path, &mut names[..]) {
        Ok(n) => n,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(e) => return Err(e.into()),
    };
    let mut out = Vec::new();
    for name in names[..n].split(|&b| b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0u8; 65536];
        match rustix::fs::getxattr(&path, name, &mut value[..]) {
            Ok(n) => out.push((name.to_vec(), value[..n].to_vec())),
            Err(rustix::io::Errno::NODATA) => {}
            Err(e) => return Err(e.into()),
        }
    }
    out.sort();
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn stays_below() {
        let outer = tempfile::tempdir().unwrap();
        std::fs::write(outer.path().join("secret"), "x").unwrap();
        let top = outer.path().join("top");
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::write(top.join("a/b/file"), "x").unwrap();
        symlink("..", top.join("up")).unwrap();
        symlink("../../secret", top.join("a/out")).unwrap();
        let dir = std::fs::File::open(&top).unwrap();
        let rows: &[(&str, Result<bool, i32>)] = &[
            ("", Ok(false)),
            ("a/b/file", Ok(false)),
            ("a/out", Ok(true)),
            ("up", Ok(true)),
            ("up/secret", Err(libc::ELOOP)),
            ("../secret", Err(libc::EXDEV)),
            ("a/../../secret", Err(libc::EXDEV)),
            ("/etc/passwd", Err(libc::EXDEV)),
            ("a/none", Err(libc::ENOENT)),
        ];
        for (path, expected) in rows {
            let got = open(&dir, path.as_bytes())
                .map(|fd| {
                    rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&fd).unwrap().st_mode).is_symlink()
                })
                .map_err(|e| e.raw_os_error().unwrap());
            assert_eq!(got, *expected, "{path}");
        }
    }
}
