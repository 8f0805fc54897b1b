//! One signature of an image, and the file that it is kept in.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::unique::UniqueMap;

/// Begins a file that says what kind of signature it has. Others are OpenPGP messages, whose first bytes are none of these.
const SIGSTORE: &[u8] = b"\0sigstore-json\n";
const SIMPLE: &[u8] = b"\0simple-signing\n";
/// The media type of cosign's payloads, and the annotation with the signature. cosign, `specs/SIGNATURE_SPEC.md`.
pub(crate) const COSIGN_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub(crate) const COSIGN_SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// A signature as it was found, not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageSignature {
    /// An OpenPGP message.
    Simple(Vec<u8>),
    /// cosign's, by a key.
    Sigstore {
        payload: Vec<u8>,
        /// In base64.
        signature: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SigstoreFile {
    mime_type: String,
    payload: String,
    annotations: Annotations,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "dev.cosignproject.cosign/signature")]
    signature: Option<String>,
}

impl ImageSignature {
    /// Reads a file of a lookaside store, or of an image's directory.
    pub(crate) fn from_file(bytes: &[u8]) -> Result<ImageSignature, String> {
        if let Some(message) = bytes.strip_prefix(SIMPLE) {
            return Ok(ImageSignature::Simple(message.to_vec()));
        }
        let Some(json) = bytes.strip_prefix(SIGSTORE) else {
            if bytes.first() == Some(&0) {
                return Err("is of an unknown kind".into());
            }
            return Ok(ImageSignature::Simple(bytes.to_vec()));
        };
        let malformed = |e: &dyn std::fmt::Display| format!("is malformed: {e}");
        // Twice the same key is nothing that two readers understand alike.
        serde_json::from_slice::<UniqueMap<serde_json::Value>>(json).map_err(|e| malformed(&e))?;
        let file: SigstoreFile = serde_json::from_slice(json).map_err(|e| malformed(&e))?;
        if file.mime_type != COSIGN_TYPE {
            return Err(format!("is of the type {:?}, expected {COSIGN_TYPE:?}", file.mime_type));
        }
        let signature = file.annotations.signature.ok_or("has no signature by a key")?;
        let payload = BASE64_STANDARD.decode(file.payload).map_err(|e| malformed(&e))?;
        Ok(ImageSignature::Sigstore { payload, signature })
    }

    /// As [`ImageSignature::from_file`] reads it.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        match self {
            ImageSignature::Simple(message) => [SIMPLE, message].concat(),
            ImageSignature::Sigstore { payload, signature } => {
                let file = json!({
                    "mimeType": COSIGN_TYPE,
                    "payload": BASE64_STANDARD.encode(payload),
                    "annotations": { COSIGN_SIGNATURE: signature },
                });
                [SIGSTORE, file.to_string().as_bytes()].concat()
            }
        }
    }
}
