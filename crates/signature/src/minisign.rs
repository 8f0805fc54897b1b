//! minisign's keys and signatures. <https://jedisct1.github.io/minisign/#signature-format>.

use std::io::Read as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use blake2::{Blake2b512, Digest as _};
use ring::signature::{ED25519, UnparsedPublicKey};
use tree::Content;

use super::{SignatureError, hex, in_memory, unusable, wrong_key};

pub(super) fn verify(key: &[u8], signature: &[u8], file: &Content) -> Result<String, SignatureError> {
    let (key_id, key) = public_key(key)?;
    let text = std::str::from_utf8(signature).map_err(|_| unusable("is no text"))?;
    let lines: Vec<&str> = text.lines().collect();
    let [first, signature, trusted, global] = lines.as_slice() else {
        return Err(unusable(format!("has {} lines, expected the 4 of minisign's", lines.len())));
    };
    let trusted = trusted.strip_prefix("trusted comment: ");
    let (Some(trusted), true) = (trusted, first.starts_with("untrusted comment: ")) else {
        return Err(unusable("lacks minisign's comments"));
    };
    let decode =
        |text: &str| BASE64_STANDARD.decode(text.trim()).map_err(|e| unusable(format!("is no base64: {e}")));
    let (signature, global) = (decode(signature)?, decode(global)?);
    let Some((algorithm, rest)) = signature.split_at_checked(2).filter(|_| signature.len() == 74) else {
        return Err(unusable(format!("is {} bytes, expected 74", signature.len())));
    };
    let (id, signature) = rest.split_at(8);
    if id != key_id {
        return Err(SignatureError::Signer { got: show(id), expected: vec![show(&key_id)] });
    }
    let message = match algorithm {
        b"Ed" => in_memory(file)?,
        b"ED" => hash(file)?,
        other => return Err(unusable(format!("has algorithm {other:?}, expected \"Ed\" or \"ED\""))),
    };
    let key = UnparsedPublicKey::new(&ED25519, key);
    let commented = [signature, trusted.as_bytes()].concat();
    // The comment is signed on its own, together with the signature.
    if key.verify(&message, signature).is_err() || key.verify(&commented, &global).is_err() {
        return Err(SignatureError::Wrong { key: show(&key_id) });
    }
    Ok(show(&key_id))
}

/// The tools print the ID as a number, which is stored little-endian.
fn show(id: &[u8]) -> String {
    hex(&id.iter().rev().copied().collect::<Vec<_>>())
}

fn public_key(file: &[u8]) -> Result<([u8; 8], [u8; 32]), SignatureError> {
    let bad = || wrong_key("is no public key of minisign's");
    let text = std::str::from_utf8(file).map_err(|_| bad())?;
    let line = text.lines().find(|l| !l.starts_with("untrusted comment:") && !l.trim().is_empty());
    let bytes = BASE64_STANDARD.decode(line.ok_or_else(bad)?.trim()).map_err(|_| bad())?;
    let (id, key) = bytes.strip_prefix(b"Ed").and_then(|b| b.split_at_checked(8)).ok_or_else(bad)?;
    Ok((id.try_into().map_err(|_| bad())?, key.try_into().map_err(|_| bad())?))
}

fn hash(file: &Content) -> Result<Vec<u8>, SignatureError> {
    let mut hasher = Blake2b512::new();
    let mut reader = file.reader();
    let mut buf = vec![0; 256 << 10];
    loop {
        let n = reader.read(&mut buf).map_err(|e| unusable(format!("can't be checked: {e}")))?;
        if n == 0 {
            return Ok(hasher.finalize().to_vec());
        }
        hasher.update(&buf[..n]);
    }
}
