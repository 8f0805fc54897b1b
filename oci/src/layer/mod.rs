//! Layers: tars of changes to a file tree, and how they add up to a root file system. image-spec, layer.md.

mod apply;
pub(crate) use apply::apply;

mod error;
pub use error::LayerError;
pub(crate) use error::LayerProblem;

mod rootfs;
pub use rootfs::Rootfs;

#[cfg(test)]
mod tests;
