//! Directories for the time of a task, whoever provides them.

use std::fmt::Debug;
use std::io;
use std::path::Path;

/// Somewhere with room for large temporary files.
pub trait ScratchSpace: Debug {
    /// A new, empty directory. `what` is a word for people who look.
    ///
    /// # Errors
    /// It can't be made.
    fn scratch_dir(&self, what: &str) -> io::Result<Box<dyn ScratchDir>>;
}

/// A directory that is removed with all below it when this is dropped.
pub trait ScratchDir: Debug + Send + Sync {
    /// Its path, absolute.
    fn path(&self) -> &Path;
}
