//! File trees, system extensions and their image formats: the bottom crate.
//!
//! A [`Tree`] is a file system as data: nothing of it is on disk until somebody writes it there, so ownership, device
//! nodes and file capabilities need no privileges and a hostile archive has nowhere to escape to.

pub mod tree;
pub use tree::{Blob, Content, Extent, Ino, Kind, Meta, Node, Patch, Resolved, Tree, TreeError, TreePath};

pub mod events;
pub use events::{Event, Events, Silent};
