//! What `cosign sign-blob --key` writes: ECDSA over P-256 and SHA-256, ASN.1, in base64.
//! <https://docs.sigstore.dev/cosign/signing/signing_with_blobs/>

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use tree::Content;

use super::{SignatureError, hex, in_memory, unusable, wrong_key};

/// `SubjectPublicKeyInfo` of a P-256 key, up to the point. RFC 5480.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes. An uncompressed point. SEC 1, 2.3.3.
const POINT: usize = 65;

/// The key is identified by the SHA-256 of its `SubjectPublicKeyInfo`.
pub(super) fn verify(key: &[u8], signature: &[u8], file: &Content) -> Result<String, SignatureError> {
    let spki = public(key)?;
    let text: Vec<u8> = signature.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    let signature = BASE64_STANDARD.decode(text).map_err(|_| unusable("is no base64 of cosign's"))?;
    if signature.first() != Some(&0x30) {
        return Err(unusable("is no ECDSA signature"));
    }
    let name = hex(&Sha256::digest(&spki));
    let point = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &spki[SPKI.len()..]);
    match point.verify(&in_memory(file)?, &signature) {
        Ok(()) => Ok(name),
        Err(_) => Err(SignatureError::Wrong { key: name }),
    }
}

/// The key in a `cosign.pub`.
fn public(file: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let bad = || wrong_key("is no public key of cosign's: expected a PEM \"PUBLIC KEY\" on the curve P-256");
    let text = std::str::from_utf8(file).map_err(|_| bad())?;
    let (_, rest) = text.split_once("-----BEGIN PUBLIC KEY-----").ok_or_else(bad)?;
    let (body, _) = rest.split_once("-----END PUBLIC KEY-----").ok_or_else(bad)?;
    let body: String = body.split_whitespace().collect();
    let spki = BASE64_STANDARD.decode(body).map_err(|_| bad())?;
    let point = spki.strip_prefix(&SPKI).ok_or_else(bad)?;
    if point.len() != POINT || point[0] != 4 {
        return Err(bad());
    }
    Ok(spki)
}
