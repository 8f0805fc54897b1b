//! A file tree as data, and the ways in and out of it: tars, directories, output files.
//!
//! A [`Tree`] is a file system in memory: nothing of it is on disk until somebody writes it there, so ownership, device
//! nodes and file capabilities need no privileges and a hostile archive has nowhere to escape to.

mod beneath;

mod tree;
pub use tree::{
    Blob, Content, ContentError, ContentReader, DumpOptions, Extent, Fill, Ino, Kind, Meta, Node, PATH_MAX,
    Patch, PathError, ResolveError, Resolved, Seen, StaticPath, Tree, TreeError, TreePath, escape,
    is_control,
};

pub mod archive;
pub use archive::{ArchiveError, Entries, Entry, Item, Limits, Usage, entries};

pub mod host;
pub use host::{HostError, Mounts, ReadOptions, Skipped, WriteOptions, WriteReport};

mod archive_write;
pub use archive_write::TarError;

pub mod arch;
pub use arch::{Arch, Machine, is_triplet};

pub mod output;
pub use output::{OutputDir, OutputFile, remove_on_interrupt};

mod sys;

pub mod process;

pub mod parallel;

mod scratch;
pub use scratch::{ScratchDir, ScratchSpace};

mod events;
pub use events::{Event, Events, Silent};

mod zero;
pub use zero::is_zero;

mod size;
pub use size::Size;

mod list;
pub use list::list_some;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
