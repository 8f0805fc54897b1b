//! The program's own file, as the helper is executed from: a sealed copy in memory.
//!
//! An image whose /bin/sh leads to /proc/self/exe makes the kernel execute the helper's program with the image's dynamic
//! linker. What runs then may open its own file and change it (CVE-2019-5736). So that file is never the host's.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

/// A copy of this program that nobody can write to.
#[derive(Debug)]
pub(super) struct Program(OwnedFd);

impl Program {
    pub(super) fn copy() -> io::Result<Program> {
        let mut own = File::open("/proc/self/exe")?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Linux 6.3 and later may be set up to take the absence of this flag for the wish not to execute it.
        let memory = match memfd_create(super::helper::NAME, flags | MemfdFlags::EXEC) {
            Err(Errno::INVAL) => memfd_create(super::helper::NAME, flags)?,
            other => other?,
        };
        let mut memory = File::from(memory);
        let expected = own.metadata()?.len();
        let copied = io::copy(&mut own, &mut memory)?;
        if copied != expected {
            return Err(io::Error::other(format!("copied {copied} bytes, expected {expected}")));
        }
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&memory, seals)?;
        Ok(Program(memory.into()))
    }

    /// Where it can be executed, by a child of this process. The descriptor closes at the exec; the kernel is through with
    /// the path by then, since this is no script.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn is_the_program_and_stays_so() {
        let program = Program::copy().unwrap();
        assert!(std::fs::read(program.path()).unwrap() == std::fs::read("/proc/self/exe").unwrap());
        assert_eq!(
            File::options().write(true).open(program.path()).unwrap().write(b"x").unwrap_err().raw_os_error(),
            Some(libc::EPERM)
        );
        assert!(File::options().write(true).truncate(true).open(program.path()).is_err());
        assert!(fcntl_add_seals(&program.0, SealFlags::empty()).is_err(), "the seals can still be changed");
        let said = std::process::Command::new(program.path()).arg("--list").output().unwrap();
        assert!(said.status.success(), "{said:?}");
        assert!(String::from_utf8_lossy(&said.stdout).contains("is_the_program_and_stays_so"));
    }
}
