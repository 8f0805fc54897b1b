//! Public keys with what vouches for their parts. RFC 9580, section 10.1.

use super::packet::{PUBLIC_KEY, PUBLIC_SUBKEY, Packet, SIGNATURE, USER_ID};
use super::public_key::{PublicKey, prefixed};
use super::signature::{
    DIRECT_KEY, KEY_REVOCATION, PRIMARY_BINDING, SUBKEY_BINDING, SUBKEY_REVOCATION, Signature,
};

/// A key with what its owner says of it.
#[derive(Debug)]
pub(super) struct SigningKey<'a> {
    pub key: PublicKey<'a>,
    /// Why it can't sign, if so.
    unfit: Option<String>,
    /// Seconds since the epoch.
    pub expires: Option<u64>,
}

impl SigningKey<'_> {
    /// Why it could not sign at that time, if so. Seconds since the epoch.
    pub(crate) fn unfit_at(&self, time: u64) -> Option<String> {
        if let Some(why) = &self.unfit {
            return Some(why.clone());
        }
        if time < self.key.created {
            return Some("was made after the signature".into());
        }
        self.expires.filter(|&end| time >= end).map(|_| "had expired when it signed".into())
    }
}

/// All keys of a file, primary ones and their subkeys.
pub(super) fn keys<'a>(packets: &[Packet<'a>]) -> Result<Vec<SigningKey<'a>>, String> {
    let mut out = Vec::new();
    let mut rest = packets;
    while let Some(start) = rest.iter().position(|p| p.tag == PUBLIC_KEY) {
        let end = rest[start + 1..].iter().position(|p| p.tag == PUBLIC_KEY);
        let end = end.map_or(rest.len(), |n| start + 1 + n);
        certificate(&rest[start..end], &mut out)?;
        rest = &rest[end..];
    }
    if out.is_empty() { Err("is no OpenPGP public key".into()) } else { Ok(out) }
}

/// A primary key, its user IDs and subkeys, each followed by signatures.
fn certificate<'a>(packets: &[Packet<'a>], out: &mut Vec<SigningKey<'a>>) -> Result<(), String> {
    let Some((first, rest)) = packets.split_first() else { return Ok(()) };
    let primary = PublicKey::parse(first.body)?;
    let mut own: Vec<Signature<'a>> = Vec::new();
    let mut revoked = false;
    // A subkey with its bindings.
    let mut subkeys: Vec<(PublicKey<'a>, Vec<Signature<'a>>, bool)> = Vec::new();
    // What signatures that follow are about.
    let mut over = prefixed(first.body);
    let mut in_subkey = false;
    for packet in rest {
        match packet.tag {
            USER_ID => {
                over = prefixed(first.body);
                over.push(0xb4);
                over.extend_from_slice(&(packet.body.len() as u32).to_be_bytes());
                over.extend_from_slice(packet.body);
            }
            PUBLIC_SUBKEY => {
                in_subkey = true;
                over = [prefixed(first.body), prefixed(packet.body)].concat();
                subkeys.push((PublicKey::parse(packet.body)?, Vec::new(), false));
            }
            SIGNATURE => {
                // Others' certificates, and those by algorithms that nobody trusts any more, count for nothing.
                let Ok(signature) = Signature::parse(packet.body) else { continue };
                if !signature.is_by(&primary, over.clone()) {
                    continue;
                }
                match (signature.kind, subkeys.last_mut()) {
                    (0x10..=0x13 | DIRECT_KEY, _) if !in_subkey => own.push(signature),
                    (KEY_REVOCATION, _) if !in_subkey => revoked = true,
                    (SUBKEY_BINDING, Some((_, bindings, _))) => bindings.push(signature),
                    (SUBKEY_REVOCATION, Some((_, _, revoked))) => *revoked = true,
                    _ => {}
                }
            }
            // Attributes and trust packets; what is signed behind them is about them.
            _ => over.clear(),
        }
    }
    let latest = own.into_iter().max_by_key(|s| s.created());
    let primary_end = latest.as_ref().and_then(Signature::key_lifetime).map(|t| primary.created + t);
    let unfit = match &latest {
        _ if revoked => Some("is revoked".to_owned()),
        None => Some("no good signature of its own vouches for".to_owned()),
        Some(latest) => (latest.may_sign() == Some(false)).then(|| "may not sign files".into()),
    };
    for (key, bindings, gone) in subkeys {
        let latest = bindings.into_iter().max_by_key(|s| s.created());
        let unfit = match &latest {
            _ if revoked || gone => Some("is revoked".to_owned()),
            None => Some("its primary key doesn't vouch for".to_owned()),
            Some(latest) if latest.may_sign() == Some(false) => Some("may not sign files".into()),
            Some(latest) if !consents(&primary, &key, latest) => {
                Some("doesn't vouch for its primary key".into())
            }
            Some(_) => None,
        };
        let end = latest.as_ref().and_then(Signature::key_lifetime).map(|t| key.created + t);
        let expires = [end, primary_end].into_iter().flatten().min();
        out.push(SigningKey { key, unfit, expires });
    }
    out.push(SigningKey { key: primary, unfit, expires: primary_end });
    Ok(())
}

/// Section 5.2.1.9: a subkey that signs says itself whose it is, or it could be claimed by anybody.
fn consents(primary: &PublicKey<'_>, subkey: &PublicKey<'_>, binding: &Signature<'_>) -> bool {
    let Some(Ok(back)) = binding.embedded().map(Signature::parse) else { return false };
    let over = [prefixed(primary.body), prefixed(subkey.body)].concat();
    back.kind == PRIMARY_BINDING && back.is_by(subkey, over)
}
