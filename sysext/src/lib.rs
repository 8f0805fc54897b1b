//! File trees, system extensions and their image formats: the bottom crate.
//!
//! A [`Tree`] is a file system as data: nothing of it is on disk until somebody writes it there, so ownership, device
//! nodes and file capabilities need no privileges and a hostile archive has nowhere to escape to.

pub use ::tree::{
    Arch, ArchiveError, Blob, Content, ContentError, ContentReader, Entries, Entry, Event, Events, Extent,
    HostError, Ino, Item, Kind, Limits, Machine, Meta, Node, OutputDir, OutputFile, Patch, PathError, ReadOptions,
    ResolveError, Resolved, Seen, Silent, Skipped, TarError, Tree, TreeError, TreePath, Usage, WriteOptions,
    WriteReport, arch, archive, entries, events, host, output, remove_on_interrupt, tree,
};

pub mod extension;
pub use extension::{Extension, ExtensionError, ExtensionName, ExtensionOptions, Finding, Release, Severity};

pub mod squashfs;

pub mod request;
pub use request::{RequestError, Wanted};

pub mod image;
pub use image::{Format, ImageError, ImageOptions, Written};

pub mod cli;
