//! OpenPGP signatures, detached or around what is signed: those of version 4, which is what software is signed with, by RSA, Ed25519 and ECDSA keys.
//! The arithmetic is ring's. docs/decisions/0071-openpgp.md says why the rest is here.

mod certificate;
mod message;
mod packet;
mod public_key;
mod sign;
mod signature;

pub(super) use sign::SecretKey;

use tree::Content;

use super::{SignatureError, SignedMessage, hex, in_memory, unusable, wrong_key};
use certificate::{SigningKey, keys};
use message::Message;
use public_key::{Material, fingerprint};
use signature::{BINARY, Signature};

/// Says by which key.
pub(super) fn verify(key: &[u8], signature: &[u8], file: &Content) -> Result<String, SignatureError> {
    let key = packet::unarmour(key).map_err(wrong_key)?;
    let keys = packet::packets(&key).and_then(|p| keys(&p)).map_err(wrong_key)?;
    let bytes = packet::unarmour(signature).map_err(unusable)?;
    let packets = packet::packets(&bytes).map_err(unusable)?;
    let mut error = unusable("has no signature packet");
    // A file may be signed by several people; one of them has to be the one who is trusted.
    for packet in packets.iter().filter(|p| p.tag == packet::SIGNATURE) {
        match one(&keys, packet.body, file, None) {
            Ok(key) => return Ok(key),
            Err(e) => error = e,
        }
    }
    Err(error)
}

/// The fingerprints of the primary keys of a file, in hex.
pub(super) fn fingerprints(key: &[u8]) -> Result<Vec<String>, SignatureError> {
    let key = packet::unarmour(key).map_err(wrong_key)?;
    let packets = packet::packets(&key).map_err(wrong_key)?;
    let primary = packets.iter().filter(|p| p.tag == packet::PUBLIC_KEY);
    let found: Vec<String> = primary.map(|p| hex(&fingerprint(p.body))).collect();
    if found.is_empty() { Err(wrong_key("is no OpenPGP public key")) } else { Ok(found) }
}

/// What a message says, and by which key. At `now`, in seconds since the epoch, signature and key have to be good still.
pub(super) fn open(key: &[u8], message: &[u8], now: u64) -> Result<SignedMessage, SignatureError> {
    let key = packet::unarmour(key).map_err(wrong_key)?;
    let keys = packet::packets(&key).and_then(|p| keys(&p)).map_err(wrong_key)?;
    let bytes = packet::unarmour(message).map_err(unusable)?;
    let Message { payload, signatures } = Message::parse(&bytes).map_err(unusable)?;
    let content = Content::from(payload.clone());
    let mut error = unusable("has no signature packet");
    for signature in &signatures {
        match one(&keys, signature, &content, Some(now)) {
            Ok(key) => return Ok(SignedMessage { payload, key }),
            Err(e) => error = e,
        }
    }
    Err(error)
}

fn one(
    keys: &[SigningKey<'_>],
    body: &[u8],
    file: &Content,
    now: Option<u64>,
) -> Result<String, SignatureError> {
    let signature = Signature::parse(body).map_err(unusable)?;
    if signature.kind != BINARY {
        return Err(unusable(format!("is of type {:#04x}, expected that of a file, 0x00", signature.kind)));
    }
    let issuer = signature.issuer().ok_or_else(|| unusable("doesn't say by which key it is"))?;
    let created = signature.created().ok_or_else(|| unusable("has no time"))?;
    match (signature.lifetime(), now) {
        (Some((_, true)), None) => return Err(unusable("expires, which takes a clock to check")),
        (Some((seconds, _)), Some(now)) if now >= created.saturating_add(seconds) => {
            return Err(unusable("has expired"));
        }
        _ => {}
    }
    let Some(signer) = keys.iter().find(|k| k.key.id() == issuer) else {
        let expected = keys.iter().map(|k| hex(k.key.id())).collect();
        return Err(SignatureError::Signer { got: hex(issuer), expected });
    };
    let key = hex(&signer.key.fingerprint);
    let unfit = match signer.key.material {
        Material::Other(n) => Some(format!("is of algorithm {n}, expected RSA, Ed25519 or ECDSA")),
        _ => signer.unfit_at(created).or_else(|| {
            let expired = signer.expires.zip(now).is_some_and(|(end, now)| now >= end);
            expired.then(|| "has expired since it signed".into())
        }),
    };
    if let Some(why) = unfit {
        return Err(SignatureError::Unfit { key, why });
    }
    if !signature.is_by(&signer.key, in_memory(file)?) {
        return Err(SignatureError::Wrong { key });
    }
    Ok(key)
}

/// The packets of an armoured key, for tests that put them together anew.
#[cfg(test)]
pub(super) fn parts_of(key: &[u8]) -> Vec<Vec<u8>> {
    let bytes = packet::unarmour(key).unwrap();
    let packets = packet::packets(&bytes).unwrap();
    let one = |p: &packet::Packet<'_>| {
        let len = (p.body.len() as u32).to_be_bytes();
        [&[0xc0 | p.tag, 0xff], len.as_slice(), p.body].concat()
    };
    packets.iter().map(one).collect()
}
