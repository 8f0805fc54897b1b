//! Public keys of version 4. RFC 9580, section 5.5.

use super::packet::{mpi, number};

/// What a key can check signatures with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Material<'a> {
    Rsa { n: &'a [u8], e: &'a [u8] },
    Ed25519(&'a [u8]),
    P256(&'a [u8]),
    P384(&'a [u8]),
    Other(u8),
}

#[derive(Debug, Clone)]
pub(super) struct PublicKey<'a> {
    pub body: &'a [u8],
    /// Seconds since the epoch.
    pub created: u64,
    pub(crate) material: Material<'a>,
    pub fingerprint: [u8; 20],
}

/// Curves by their object identifiers. Section 9.2.
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];

impl<'a> PublicKey<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<PublicKey<'a>, String> {
        let (head, rest) = body.split_at_checked(6).ok_or("is cut short")?;
        if head[0] != 4 {
            return Err(format!("is of version {}, expected 4", head[0]));
        }
        if body.len() > usize::from(u16::MAX) {
            return Err("is larger than any key".into());
        }
        let material = material(head[5], rest).ok_or("is cut short")?;
        let fingerprint = fingerprint(body);
        Ok(PublicKey { body, created: number(&head[1..5]) as u64, material, fingerprint })
    }

    pub(super) fn id(&self) -> &[u8] {
        &self.fingerprint[12..]
    }
}

fn material(algorithm: u8, mut rest: &[u8]) -> Option<Material<'_>> {
    Some(match algorithm {
        1 | 3 => Material::Rsa { n: mpi(&mut rest)?, e: mpi(&mut rest)? },
        27 => Material::Ed25519(rest.get(..32)?),
        19 | 22 => {
            let (len, after) = rest.split_first()?;
            let (curve, mut after) = after.split_at_checked(usize::from(*len))?;
            let point = mpi(&mut after)?;
            match (algorithm, curve) {
                (19, P256) => Material::P256(point),
                (19, P384) => Material::P384(point),
                // A point in its own form has this octet before it. Section 11.2.
                (22, ED25519) => Material::Ed25519(point.strip_prefix(&[0x40])?),
                _ => Material::Other(algorithm),
            }
        }
        other => Material::Other(other),
    })
}

/// Of a key packet of version 4. Section 5.5.4.2.
pub(super) fn fingerprint(body: &[u8]) -> [u8; 20] {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &prefixed(body));
    let mut fingerprint = [0; 20];
    fingerprint.copy_from_slice(digest.as_ref());
    fingerprint
}

/// A key packet as it is hashed. Section 5.2.4.
pub(super) fn prefixed(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x99];
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}
