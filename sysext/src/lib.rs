//! System extensions: what makes a tree one, and the formats of their images.
//!
//! [`Extension::new`] is the only way to an [`Extension`], and [`image::write()`] takes nothing else.

pub use ::tree::{
    Arch, ArchiveError, Blob, Content, ContentError, ContentReader, Entries, Entry, Event, Events, Extent,
    HostError, Ino, Item, Kind, Limits, Machine, Meta, Node, OutputDir, OutputFile, Patch, PathError,
    ReadOptions, ResolveError, Resolved, Seen, Silent, Skipped, TarError, Tree, TreeError, TreePath, Usage,
    WriteOptions, WriteReport, arch, archive, entries, events, host, output, remove_on_interrupt, tree,
};

pub mod extension;
pub use extension::{Extension, ExtensionError, ExtensionName, ExtensionOptions, Finding, Release, Severity};

pub mod squashfs;

pub mod request;
pub use request::{RequestError, Wanted};

pub mod image;
pub use image::{Format, ImageError, ImageOptions, Written};

pub mod cli;
