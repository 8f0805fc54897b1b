//! Directories and users that a test works with.

use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Once;

use anyhow::{Context, Result, bail};

use crate::Program;

/// The unprivileged user of the tests: nobody knows it, so it has no subordinate ids and no home but ours.
pub const USER: u32 = 64_777;

/// A directory that every user can reach, and that goes away with this value.
#[derive(Debug)]
pub struct Work {
    dir: tempfile::TempDir,
}

impl Work {
    /// A new one below `TMPDIR`, else `/var/tmp` (`/tmp` may be small and in memory).
    ///
    /// # Errors
    /// It can't be made.
    pub fn new() -> Result<Work> {
        static SWEPT: Once = Once::new();
        let base = PathBuf::from(std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into()));
        SWEPT.call_once(|| sweep(&base));
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&base);
        let dir = dir.with_context(|| format!("{base:?}"))?;
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
        std::fs::write(dir.path().join(OWNER), std::process::id().to_string())?;
        Ok(Work { dir })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A new directory in it.
    ///
    /// # Errors
    /// It can't be made.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("{path:?}"))?;
        Ok(path)
    }

    /// root, with a home of its own here.
    ///
    /// # Errors
    /// The tests don't run as root.
    pub fn root(&self, name: &str) -> Result<Account> {
        require_root()?;
        Ok(Account { uid: 0, home: self.dir(name)? })
    }

    /// An unprivileged user, with a home of its own here.
    ///
    /// # Errors
    /// The tests don't run as root.
    pub fn user(&self, name: &str) -> Result<Account> {
        require_root()?;
        let home = self.dir(name)?;
        chown(&home, Some(USER), Some(USER)).with_context(|| format!("{home:?}"))?;
        Ok(Account { uid: USER, home })
    }
}

const PREFIX: &str = "flix-e2e-";
/// The file that says whose directory it is: a process id.
const OWNER: &str = "owner";

/// Removes what runs left that were killed. What can't be removed stays; that is no reason to fail a test.
fn sweep(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let Ok(owner) = std::fs::read_to_string(entry.path().join(OWNER)) else { continue };
        if ours && !owner.is_empty() && !Path::new("/proc").join(owner).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Merging, mounting and changing users take root.
///
/// # Errors
/// The tests don't run as root.
pub fn require_root() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("end-to-end tests have to run as root: they merge extensions and change users");
    }
    Ok(())
}

/// Somebody who runs programs, in a clean environment, in a home of their own.
#[derive(Debug)]
pub struct Account {
    uid: u32,
    home: PathBuf,
}

impl Account {
    /// Where they work.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Their user id.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// A program run by them at home, with nothing in the environment but `PATH` and `HOME`.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Program {
        let command = if self.uid == 0 {
            Program::new(program)
        } else {
            let id = self.uid.to_string();
            Program::new("setpriv")
                .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all", "--"])
                .arg(program)
        };
        command.clean_env().env("HOME", &self.home).dir(&self.home)
    }
}
