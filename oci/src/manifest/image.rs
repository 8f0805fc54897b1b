//! Manifests of one image. image-spec, manifest.md.

use store::digest::shorten;

use super::media_type::{MediaType, bare, is_layer, layer_kind};
use super::{Config, Descriptor, ManifestError};

/// One image: its config and its layers, the lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The config.
    pub config: Descriptor,
    /// The layers in the order in which they are applied.
    pub layers: Vec<Descriptor>,
}

impl Manifest {
    pub(super) fn check_media_types(&self) -> Result<(), ManifestError> {
        let refuse = |what: String, d: &Descriptor| {
            Err(ManifestError::NotAnImage { what, media_type: shorten(&d.media_type) })
        };
        // Which of the other types is a config's is for its content to say: see `parse_config`.
        if !matches!(MediaType::of(&self.config.media_type), MediaType::Any | MediaType::Other)
            || layer_kind(&self.config.media_type).is_some()
        {
            return refuse("config".into(), &self.config);
        }
        for layer in &self.layers {
            if !is_layer(&layer.media_type) {
                return refuse(format!("layer {}", layer.digest), layer);
            }
        }
        Ok(())
    }

    /// Reads the config of this manifest, whose digest was checked. Docker 1.10 called it `application/octet-stream`, and other
    /// builders have names of their own, so its content decides.
    ///
    /// # Errors
    /// Not a config, or one of another image; of an artifact that is no image ([`ManifestError::NotAnImage`]).
    pub(crate) fn parse_config(&self, bytes: &[u8]) -> Result<Config, ManifestError> {
        let known = matches!(
            bare(&self.config.media_type).as_str(),
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
        );
        let config = Config::parse(bytes).and_then(|config| self.check_config(&config).map(|()| config));
        config.map_err(|e| match e {
            e if known => e,
            e @ ManifestError::Ambiguous { .. } => e,
            _ => {
                let media_type = shorten(&self.config.media_type);
                ManifestError::NotAnImage { what: "config".into(), media_type }
            }
        })
    }

    /// Checks that config and manifest are of the same image.
    ///
    /// # Errors
    /// Other numbers of layers.
    fn check_config(&self, config: &Config) -> Result<(), ManifestError> {
        if self.layers.len() != config.diff_ids.len() {
            let (layers, diff_ids) = (self.layers.len(), config.diff_ids.len());
            return Err(ManifestError::LayerCount { layers, diff_ids });
        }
        Ok(())
    }
}
