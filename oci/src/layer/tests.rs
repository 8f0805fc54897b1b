use tree::{
    Limits, Silent, Tree,
    archive::testing::{Raw, TarBuilder, blob},
};

use super::*;
use crate::Config;
use store::{Digest, LayerBlob};

pub(super) fn layer(tar: &[u8]) -> LayerBlob {
    LayerBlob { diff_id: Digest::of(tar), digest: None, blob: blob(tar), offset: 0, len: tar.len() as u64 }
}

fn merge(layers: &[TarBuilder]) -> Result<Tree, String> {
    let layers: Vec<LayerBlob> = layers.iter().map(|l| layer(&l.clone().finish())).collect();
    Rootfs::from_layers(Config::default(), &layers, &Silent).map(|r| r.tree).map_err(|e| e.to_string())
}

fn dump(layers: &[TarBuilder]) -> String {
    merge(layers).map_or_else(|e| format!("error: {e}"), |t| t.dump())
}

fn b() -> TarBuilder {
    TarBuilder::new()
}

mod foreign;
mod rows;
mod whiteouts;
