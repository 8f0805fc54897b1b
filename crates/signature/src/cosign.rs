//! What cosign signs with a key: the SHA-256 of a file, or of the statement about an image, by ECDSA, RSA or Ed25519, in base64.
//! <https://docs.sigstore.dev/cosign/signing/signing_with_blobs/>

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use tree::Content;

use super::{SignatureError, hex, in_memory, unusable, wrong_key};

/// `SubjectPublicKeyInfo` up to the key, with the bytes that the key has. RFC 5480, RFC 8410.
const KINDS: [(&[u8], usize, &dyn VerificationAlgorithm); 3] = [
    (
        &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ],
        65,
        &ECDSA_P256_SHA256_ASN1,
    ),
    (
        &[
            0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
            0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
        ],
        97,
        &ECDSA_P384_SHA256_ASN1,
    ),
    (&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], 32, &ED25519),
];
/// The algorithm of an RSA key in its `SubjectPublicKeyInfo`. RFC 3279, 2.3.1.
const RSA: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// The key is identified by the SHA-256 of its `SubjectPublicKeyInfo`.
pub(super) fn verify(key: &[u8], signature: &[u8], file: &Content) -> Result<String, SignatureError> {
    let spki = public(key)?;
    let text: Vec<u8> = signature.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    let signature = BASE64_STANDARD.decode(text).map_err(|_| unusable("is no base64 of cosign's"))?;
    let (algorithm, key) = split(&spki)?;
    let name = hex(digest(&SHA256, &spki).as_ref());
    match UnparsedPublicKey::new(algorithm, key).verify(&in_memory(file)?, &signature) {
        Ok(()) => Ok(name),
        Err(_) => Err(SignatureError::Wrong { key: name }),
    }
}

fn bad() -> SignatureError {
    wrong_key(
        "is no public key of cosign's: expected a PEM \"PUBLIC KEY\" on the curve P-256 or P-384, of Ed25519 or RSA",
    )
}

/// The first key of a PEM file.
fn public(file: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let text = std::str::from_utf8(file).map_err(|_| bad())?;
    let (_, rest) = text.split_once("-----BEGIN PUBLIC KEY-----").ok_or_else(bad)?;
    let (body, _) = rest.split_once("-----END PUBLIC KEY-----").ok_or_else(bad)?;
    let body: String = body.split_whitespace().collect();
    BASE64_STANDARD.decode(body).map_err(|_| bad())
}

/// What checks signatures by a `SubjectPublicKeyInfo`, and the key as that takes it.
fn split(spki: &[u8]) -> Result<(&'static dyn VerificationAlgorithm, &[u8]), SignatureError> {
    for (prefix, len, algorithm) in KINDS {
        if let Some(key) = spki.strip_prefix(prefix).filter(|key| key.len() == len) {
            return Ok((algorithm, key));
        }
    }
    let inner = element(0x30, spki).filter(|(_, rest)| rest.is_empty());
    let key = inner.and_then(|(inner, _)| element(0x03, inner.strip_prefix(&RSA)?));
    let key = key.filter(|(_, rest)| rest.is_empty()).and_then(|(bits, _)| bits.strip_prefix(&[0]));
    Ok((&RSA_PKCS1_2048_8192_SHA256, key.ok_or_else(bad)?))
}

/// The content of a DER element, and what follows it. X.690, 8.1.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[first, len], rest) = bytes.split_first_chunk::<2>()?;
    if first != tag {
        return None;
    }
    let (len, rest) = match len {
        0..=0x7f => (usize::from(len), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(len & 0x7f))?;
            (digits.iter().fold(0, |n, &b| n << 8 | usize::from(b)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(len)
}
