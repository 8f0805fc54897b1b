//! What is signed of an image: a JSON document with its digest and its name. containers-signature(5).

use serde::Deserialize;
use serde_json::Value;
use store::Digest;

use super::unique::UniqueMap;
use crate::reference::Reference;

/// `critical.type` of a signature in an OpenPGP message.
pub(super) const SIMPLE: &str = "atomic container signature";
/// `critical.type` of cosign's.
pub(super) const COSIGN: &str = "cosign container image signature";

/// What a signature says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub digest: Digest,
    pub reference: Reference,
}

/// Anything in it that isn't known makes it unusable: it could take back what the rest says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    critical: Critical,
    #[serde(default)]
    #[allow(dead_code)] // only its shape counts
    optional: Option<UniqueMap<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    #[serde(rename = "type")]
    kind: String,
    image: Image,
    identity: Identity,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

impl Claim {
    /// Reads bytes whose signature holds. `kind` is what they have to be.
    pub(super) fn parse(bytes: &[u8], kind: &str) -> Result<Claim, String> {
        let Payload { critical, .. } =
            serde_json::from_slice(bytes).map_err(|e| format!("what it signs is malformed: {e}"))?;
        if critical.kind != kind {
            return Err(format!("what it signs is a {:?}, expected {kind:?}", critical.kind));
        }
        let digest = critical.image.digest.parse().map_err(|e| format!("what it signs is malformed: {e}"))?;
        let reference = critical.identity.reference.parse();
        let reference = reference.map_err(|e| format!("what it signs is malformed: {e}"))?;
        Ok(Claim { digest, reference })
    }
}
