//! Raw Ed25519 signatures: 64 bytes.

use std::io::Read as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use blake2::{Blake2s256, Digest as _};
use ring::signature::{ED25519, UnparsedPublicKey};
use tree::Content;

use super::{SignatureError, hex, in_memory, unusable, wrong_key};

/// `SubjectPublicKeyInfo` of an Ed25519 key, up to the key. RFC 8410.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signed {
    File,
    /// BLAKE2s-256 of the file and its length, 64 bits, little-endian. tailscale.com/clientupdate/distsign.
    HashAndLength,
}

pub(super) fn verify(key: &[u8], signature: &[u8], file: &Content) -> Result<String, SignatureError> {
    let keys = keys(key)?;
    if signature.len() != 64 {
        return Err(unusable(format!("is {} bytes, expected 64", signature.len())));
    }
    for (signed, key) in &keys {
        let message = match signed {
            Signed::File => in_memory(file)?,
            Signed::HashAndLength => hash_and_length(file)?,
        };
        if UnparsedPublicKey::new(&ED25519, key).verify(&message, signature).is_ok() {
            return Ok(hex(key));
        }
    }
    // A raw signature doesn't say whose it is.
    Err(SignatureError::Wrong { key: keys.iter().map(|(_, k)| hex(k)).collect::<Vec<_>>().join(" or ") })
}

fn hash_and_length(file: &Content) -> Result<Vec<u8>, SignatureError> {
    let mut hasher = Blake2s256::new();
    let mut reader = file.reader();
    let mut buf = vec![0; 256 << 10];
    loop {
        let n = reader.read(&mut buf).map_err(|e| unusable(format!("can't be checked: {e}")))?;
        if n == 0 {
            break;
        }
        hasher.update(&buf[..n]);
    }
    let mut message = hasher.finalize().to_vec();
    message.extend_from_slice(&file.len().to_le_bytes());
    Ok(message)
}

/// 32 raw bytes, or hex or base64 of them, or PEM blocks: `PUBLIC KEY`, or distsign's `SIGNING PUBLIC KEY`.
fn keys(file: &[u8]) -> Result<Vec<(Signed, [u8; 32])>, SignatureError> {
    if let Ok(key) = <[u8; 32]>::try_from(file) {
        return Ok(vec![(Signed::File, key)]);
    }
    let bad = || wrong_key("is no Ed25519 key: expected 32 bytes, hex, base64 or PEM");
    let text = std::str::from_utf8(file).map_err(|_| bad())?.trim();
    if !text.contains("-----BEGIN ") {
        let bytes = if text.len() == 64 {
            base16ct::mixed::decode_vec(text).ok()
        } else {
            BASE64_STANDARD.decode(text).ok()
        };
        let key = bytes.and_then(|b| b.try_into().ok()).ok_or_else(bad)?;
        return Ok(vec![(Signed::File, key)]);
    }
    let mut out = Vec::new();
    for block in text.split("-----BEGIN ").skip(1) {
        let (label, rest) = block.split_once("-----").ok_or_else(bad)?;
        let (body, _) = rest.split_once("-----END").ok_or_else(bad)?;
        let body: String = body.split_whitespace().collect();
        let bytes = BASE64_STANDARD.decode(body).map_err(|_| bad())?;
        let (signed, raw) = match label {
            "PUBLIC KEY" => (Signed::File, bytes.strip_prefix(&SPKI).ok_or_else(bad)?),
            "SIGNING PUBLIC KEY" => (Signed::HashAndLength, bytes.as_slice()),
            _ => return Err(wrong_key(format!("is a {label:?}, expected a \"PUBLIC KEY\""))),
        };
        out.push((signed, raw.try_into().map_err(|_| bad())?));
    }
    if out.is_empty() { Err(bad()) } else { Ok(out) }
}
