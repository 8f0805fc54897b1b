//! Signatures in the form of an image: cosign's, under the tag `sha256-HEX.sig`. cosign, `specs/SIGNATURE_SPEC.md`.

use super::{Descriptor, ManifestError, layers, wire};

const WHAT: &str = "list of signatures";

/// The "layers" of such an image, each a signature.
///
/// # Errors
/// No manifest.
pub(crate) fn signatures(bytes: &[u8]) -> Result<Vec<Descriptor>, ManifestError> {
    let raw: wire::Document = wire::parse(WHAT, bytes)?;
    let found = wire::descriptors(raw.layers.unwrap_or_default())?;
    layers::check_count(WHAT, found.len())?;
    Ok(found)
}
