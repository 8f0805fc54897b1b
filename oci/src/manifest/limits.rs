//! How much an image may be.

/// Bytes. A manifest larger than this is refused; image-spec wants registries to take 4 MiB at least, and clients need no
/// more.
pub(crate) const MANIFEST_MAX: u64 = store::cache::BLOB_MAX;

/// How deep indexes may be nested. The spec sets no limit, practice knows one level below the top.
pub(super) const NESTING_MAX: usize = 4;

/// Layers of one image. Docker's engine stops at 127, since overlayfs does.
pub(crate) const LAYERS_MAX: usize = 500;

/// Bytes. All layers of one image together, as the registry has them.
pub(crate) const LAYERS_SIZE_MAX: u64 = 256 << 30;

/// Bytes. All layers of one image together, as they are unpacked. What is more than [`tree::Limits::data`] of it can only be
/// zeros, which take time.
pub(super) const LAYERS_UNPACKED_MAX: u64 = 1 << 40;

/// How many documents are fetched on the way to one image, so that a hostile index can't keep a client busy.
pub(super) const FETCHES_MAX: usize = 32;
