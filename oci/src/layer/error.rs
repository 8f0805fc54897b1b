//! What can be wrong with a layer.

use tree::ArchiveError;

use store::Digest;

/// What is wrong, and with which layer.
#[derive(Debug, thiserror::Error)]
#[error("layer {layer}: {problem}")]
pub struct LayerError {
    /// The layer's digest in the registry, or its diff_id if it has none.
    pub layer: Digest,
    /// What is wrong.
    pub problem: Box<LayerProblem>,
}

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum LayerProblem {
    /// The tar is malformed, or one of its entries fits no tree.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A name with the whiteout prefix that names nothing.
    #[error("entry {entry:?} at byte {position}: whiteout {why}")]
    Whiteout {
        /// Where the entry's header is in the tar. Bytes.
        position: u64,
        entry: String,
        /// What is wrong with it.
        why: &'static str,
    },
}
