//! What can be wrong with an archive.

use std::fmt;

use crate::{ContentError, PathError, ResolveError, TreeError, TreePath, tree::escape};

/// What is wrong, and where.
#[derive(Debug)]
pub struct ArchiveError {
    /// Where the entry's header is in the archive. Bytes.
    pub position: u64,
    /// The entry's name as stored, if it got as far as having one; escaped and shortened.
    pub entry: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with an archive or an entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum Problem {
    /// The blob can't be read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The archive ends within an entry.
    #[error("archive ends early, expected {missing} more bytes")]
    Truncated { missing: u64 },
    /// The header's checksum is wrong, so it is no tar header.
    #[error("not a tar header: checksum is wrong")]
    Checksum,
    /// One zero block and then something else; two are the end of an archive.
    #[error("lone zero block, expected two at the end of the archive")]
    LoneZeroBlock,
    /// A field that is no number, or one out of range.
    #[error("{field} is \"{value}\", expected {expected}")]
    Number {
        field: &'static str,
        value: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// An entry type that is no file system object.
    #[error("entry has type {0:?}, expected a file, link, directory, device or FIFO")]
    Type(char),
    /// PAX records that break the grammar.
    #[error("PAX header is malformed: {0}")]
    Pax(&'static str),
    /// A PAX keyword that may not stand in a global header.
    #[error("global PAX header sets \"{0}\", which only a file's own header may")]
    Global(String),
    /// Two extension headers of one kind for one file.
    #[error("file has two {0} headers, which programs read differently")]
    Twice(&'static str),
    /// An extension header without a file.
    #[error("archive ends after an extension header, expected a file")]
    Dangling,
    /// A sparse file's map that makes no sense.
    #[error("sparse file is malformed: {0}")]
    Sparse(&'static str),
    /// One of the [`Limits`](super::Limits).
    #[error("{what} exceeds the limit of {limit}")]
    Limit { what: &'static str, limit: u64 },
    /// A link without a target.
    #[error("link target is empty")]
    EmptyTarget,
    /// A symlink's target has a NUL byte, or is longer than Linux takes.
    #[error("symlink target of {0} bytes is too long or has a NUL byte")]
    BadTarget(usize),
    /// An extended attribute that Linux would not take. xattr(7).
    #[error("extended attribute \"{0}\" has a bad name or a value of more than 65536 bytes")]
    Xattr(String),
    /// The name is no path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The root is given as something else than a directory.
    #[error("entry would replace the root directory by something else")]
    Root,
    /// The parent can't be resolved.
    #[error("parent directory: {0}")]
    Parent(ResolveError),
    /// A hard link to what isn't there.
    #[error("hard link target \"{0}\" is missing")]
    TargetMissing(String),
    /// A hard link to a directory.
    #[error("hard link target {0} is a directory")]
    TargetIsDirectory(TreePath),
    /// A hard link that replaces its own target.
    #[error("hard link target {0} is the link itself or in its place")]
    TargetIsSelf(TreePath),
    /// The tree refused it.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl ArchiveError {
    pub(super) fn new(position: u64, entry: Option<&[u8]>, problem: impl Into<Problem>) -> Self {
        ArchiveError { position, entry: entry.map(shown), problem: problem.into() }
    }
}

/// Hostile bytes for a message: escaped, not too many.
pub(super) fn shown(bytes: &[u8]) -> String {
    const MAX: usize = 256;
    match bytes.get(..MAX) {
        Some(head) => format!("{}…", escape(head)),
        None => escape(bytes),
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "entry \"{entry}\" at byte {}: {}", self.position, self.problem),
            None => write!(f, "byte {}: {}", self.position, self.problem),
        }
    }
}

impl std::error::Error for ArchiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The problem's text is part of this one's.
        std::error::Error::source(&self.problem)
    }
}
