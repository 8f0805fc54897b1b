//! SELinux labels of a tree, by the `file_contexts` of a policy: what setfiles(8) writes, without its privileges and without
//! a kernel that knows SELinux.
//!
//! selabel_file(5) describes the files. [`Sources`] are their texts, [`FileContexts`] what they say, and [`label()`] puts it on
//! a tree as the attribute `security.selinux`.

mod pattern;

mod substitution;

mod contexts;
pub use contexts::{ContextsError, FileContexts};

mod sources;
pub use sources::{Sources, SourcesError};

mod label;
pub use label::{LABEL, Labelled, label};
