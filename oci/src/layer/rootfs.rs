//! All layers of an image.

use tree::{Event, Events, Limits, Tree, Usage};

use super::{LayerError, apply};
use crate::Config;
use store::{Digest, LayerBlob};

/// A root file system in memory, and the config that came with it.
#[derive(Debug, Clone)]
pub struct Rootfs {
    /// The merged tree. File contents are places in the layers' blobs.
    pub tree: Tree,
    /// Says what the tree is: image-spec's ChainID for layers, so the same layers have the same id wherever they come
    /// from. config.md, "Layer ChainID".
    pub id: Digest,
    /// Of the manifest for the platform, if the image came from a registry. Commands that ran in it since change nothing about it.
    pub manifest: Option<Digest>,
    /// Environment, entry point and so on; empty for sources without one.
    pub config: Config,
}

impl Rootfs {
    /// A root without files, to apply layers to.
    pub fn empty(config: Config) -> Self {
        Rootfs { tree: Tree::default(), id: Digest::of(""), manifest: None, config }
    }

    /// Applies all layers, the lowest first. No layers make an empty root, which is legal. The limits are for all together.
    ///
    /// # Errors
    /// A malformed layer, or one past the limits.
    pub fn from_layers(
        config: Config,
        layers: &[LayerBlob],
        events: &dyn Events,
    ) -> Result<Self, LayerError> {
        for entry in config.invalid_env.iter().take(8) {
            let entry = store::digest::shorten(entry);
            let text = format!("config has Env entry {entry:?}, which is no NAME=VALUE and is left out");
            events.event(Event::Note(text.into()));
        }
        let mut rootfs = Self::empty(config);
        let mut usage = Usage::default();
        for layer in layers {
            rootfs.apply_with(layer, &Limits::default(), &mut usage, events)?;
        }
        Ok(rootfs)
    }

    /// Applies one more layer and moves the id on.
    ///
    /// # Errors
    /// A malformed layer, or one past the limits. The tree is half-done then.
    pub fn apply(&mut self, layer: &LayerBlob) -> Result<(), LayerError> {
        self.apply_with(layer, &Limits::default(), &mut Usage::default(), &tree::Silent)
    }

    /// As [`Rootfs::apply`], with limits, and a warning for what was left out.
    ///
    /// # Errors
    /// A malformed layer, or one past the limits. The tree is half-done then.
    pub(crate) fn apply_with(
        &mut self,
        layer: &LayerBlob,
        limits: &Limits,
        usage: &mut Usage,
        events: &dyn Events,
    ) -> Result<(), LayerError> {
        let first = self.id == Digest::of("");
        let applied = apply(&mut self.tree, layer, limits, usage)?;
        self.id = if first { layer.diff_id } else { chain(self.id, layer.diff_id) };
        if let [path, ..] = &applied.overlay_xattrs[..] {
            let (layer, count) = (layer.digest.unwrap_or(layer.diff_id), applied.overlay_xattrs.len());
            let text = format!("layer {layer}: overlayfs attributes of {count} files left out, {path} first");
            events.event(Event::Warning(text.into()));
        }
        Ok(())
    }
}

/// ChainID(lower, upper) = Digest("lower upper").
fn chain(lower: Digest, upper: Digest) -> Digest {
    Digest::of(format!("{lower} {upper}"))
}
