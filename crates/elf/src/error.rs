//! What can be wrong with a file that is read.

use tree::ContentError;

/// Why an ELF file can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ElfError {
    /// The bytes can't be had.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Neither of the two classes or byte orders.
    #[error("e_ident has class {class} and data encoding {data}, expected 1 or 2 for both")]
    Ident { class: u8, data: u8 },
    /// It ends within the file header.
    #[error("file ends within its ELF header: got {len} bytes")]
    Short { len: u64 },
    /// A table's entries have another size than the class gives them.
    #[error("{what} is wrong: got {got}, expected {expected}")]
    EntrySize { what: &'static str, got: u16, expected: u16 },
    /// A range that isn't in the file.
    #[error(
        "{what} lies outside of the file: got {len} bytes at {offset:#x}, expected to end within {file:#x}"
    )]
    OutOfFile {
        /// What should be there.
        what: &'static str,
        /// Bytes from the file's start.
        offset: u64,
        /// Bytes.
        len: u64,
        /// The file's length. Bytes.
        file: u64,
    },
    /// An address that no PT_LOAD has bytes of the file for.
    #[error("{what} points at {address:#x}, which no PT_LOAD holds")]
    Unmapped { what: &'static str, address: u64 },
    /// An index behind a table's end.
    #[error("{what} points outside of its table: got {index:#x}, expected less than {size:#x}")]
    OutOfTable {
        what: &'static str,
        /// Bytes from the table's start.
        index: u64,
        /// Bytes.
        size: u64,
    },
    /// A string without an end.
    #[error("{what} has no end: string at {offset:#x}")]
    Unterminated {
        /// Whose string it is.
        what: &'static str,
        /// Bytes from the file's start.
        offset: u64,
    },
    /// A table that is needed for another one.
    #[error("{what} is missing, and {wanted_by} needs it")]
    Missing { what: &'static str, wanted_by: &'static str },
    /// More than any real file has.
    #[error("file has too many {what}, expected at most {limit}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        limit: u64,
    },
}

/// Something wrong with a file that doesn't keep a loader from using it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum Defect {
    /// The section headers can't be used.
    #[error("section headers are unusable: {0}")]
    Sections(&'static str),
    /// A note can't be read.
    #[error("note at {offset:#x} is unusable: {why}")]
    Note {
        /// Bytes from the file's start.
        offset: u64,
        why: String,
    },
}
