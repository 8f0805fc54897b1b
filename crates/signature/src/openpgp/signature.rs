//! Signatures of version 4: reading, and checking against a key. RFC 9580, section 5.2.

use ring::signature as crypto;
use ring::signature::UnparsedPublicKey;

use super::packet::{Subpacket, mpi, number, subpackets};
use super::public_key::{Material, PublicKey};

/// Signature types. Section 5.2.1.
pub(super) const BINARY: u8 = 0x00;
pub(super) const SUBKEY_BINDING: u8 = 0x18;
pub(super) const PRIMARY_BINDING: u8 = 0x19;
pub(super) const DIRECT_KEY: u8 = 0x1f;
pub(super) const KEY_REVOCATION: u8 = 0x20;
pub(super) const SUBKEY_REVOCATION: u8 = 0x28;

/// Hash algorithms that are still good. Section 9.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn new(id: u8) -> Result<Hash, String> {
        match id {
            8 => Ok(Hash::Sha256),
            9 => Ok(Hash::Sha384),
            10 => Ok(Hash::Sha512),
            1..=3 => Err(format!(
                "is made with {}, which can be forged",
                ["MD5", "SHA-1", "RIPEMD-160"][usize::from(id) - 1]
            )),
            _ => Err(format!("has hash algorithm {id}, expected SHA-256, SHA-384 or SHA-512")),
        }
    }

    fn digest(self, message: &[u8]) -> ring::digest::Digest {
        let algorithm = match self {
            Hash::Sha256 => &ring::digest::SHA256,
            Hash::Sha384 => &ring::digest::SHA384,
            Hash::Sha512 => &ring::digest::SHA512,
        };
        ring::digest::digest(algorithm, message)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Signature<'a> {
    pub kind: u8,
    algorithm: u8,
    hash: Hash,
    /// From the version to the end of the hashed subpackets: what is hashed behind the message.
    trailer: &'a [u8],
    hashed: Vec<Subpacket<'a>>,
    unhashed: Vec<Subpacket<'a>>,
    values: &'a [u8],
}

impl<'a> Signature<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Signature<'a>, String> {
        let cut = || "is cut short".to_owned();
        let (head, rest) = body.split_at_checked(6).ok_or_else(cut)?;
        if head[0] != 4 {
            return Err(format!("is of version {}, expected 4", head[0]));
        }
        let hashed_len = number(&head[4..6]);
        let (hashed, rest) = rest.split_at_checked(hashed_len).ok_or_else(cut)?;
        let (len, rest) = rest.split_at_checked(2).ok_or_else(cut)?;
        let (unhashed, rest) = rest.split_at_checked(number(len)).ok_or_else(cut)?;
        // The first two bytes of the hash are a hint that nobody needs.
        let values = rest.get(2..).ok_or_else(cut)?;
        let hashed = subpackets(hashed)?;
        if let Some(s) = hashed.iter().find(|s| s.critical && !is_known(s.kind)) {
            return Err(format!("has a critical subpacket {} of unknown meaning", s.kind));
        }
        Ok(Signature {
            kind: head[1],
            algorithm: head[2],
            hash: Hash::new(head[3])?,
            trailer: &body[..6 + hashed_len],
            hashed,
            unhashed: subpackets(unhashed)?,
            values,
        })
    }

    fn hashed(&self, kind: u8) -> Option<&'a [u8]> {
        self.hashed.iter().find(|s| s.kind == kind).map(|s| s.body)
    }

    fn seconds(&self, kind: u8) -> Option<u64> {
        self.hashed(kind).filter(|b| b.len() == 4).map(|b| number(b) as u64)
    }

    /// Seconds since the epoch.
    pub(super) fn created(&self) -> Option<u64> {
        self.seconds(2)
    }

    /// Seconds from its creation to its end, and whether nobody may overlook them; none if there is no end.
    pub(super) fn lifetime(&self) -> Option<(u64, bool)> {
        let found = self.hashed.iter().find(|s| s.kind == 3 && s.body.len() == 4)?;
        Some((number(found.body) as u64, found.critical)).filter(|(seconds, _)| *seconds != 0)
    }

    /// For a self-signature: seconds from the key's creation to its end; none if there is no end.
    pub(crate) fn key_lifetime(&self) -> Option<u64> {
        self.seconds(9).filter(|&s| s != 0)
    }

    /// For a self-signature: whether the key may sign; none if nothing is said.
    pub(crate) fn may_sign(&self) -> Option<bool> {
        self.hashed(27).map(|flags| flags.first().is_some_and(|f| f & 2 != 0))
    }

    /// In a subkey's binding: the subkey's own consent. Its own signature protects it wherever it stands.
    pub(super) fn embedded(&self) -> Option<&'a [u8]> {
        self.hashed.iter().chain(&self.unhashed).find(|s| s.kind == 32).map(|s| s.body)
    }

    /// The ID of the key that made it, as it says.
    pub(super) fn issuer(&self) -> Option<&'a [u8]> {
        let all = || self.hashed.iter().chain(&self.unhashed);
        let fingerprint = all().find(|s| s.kind == 33 && s.body.len() == 21).map(|s| &s.body[13..]);
        fingerprint.or_else(|| all().find(|s| s.kind == 16 && s.body.len() == 8).map(|s| s.body))
    }

    /// Whether `key` made it over `message`.
    pub(crate) fn is_by(&self, key: &PublicKey<'_>, mut message: Vec<u8>) -> bool {
        message.extend_from_slice(self.trailer);
        message.extend_from_slice(&[4, 0xff]);
        message.extend_from_slice(&(self.trailer.len() as u32).to_be_bytes());
        self.check(key, &message).unwrap_or(false)
    }

    fn check(&self, key: &PublicKey<'_>, message: &[u8]) -> Option<bool> {
        let mut values = self.values;
        match (&key.material, self.algorithm) {
            (Material::Rsa { n, e }, 1 | 3) => {
                let algorithm = match self.hash {
                    Hash::Sha256 => &crypto::RSA_PKCS1_2048_8192_SHA256,
                    Hash::Sha384 => &crypto::RSA_PKCS1_2048_8192_SHA384,
                    Hash::Sha512 => &crypto::RSA_PKCS1_2048_8192_SHA512,
                };
                let signature = padded(mpi(&mut values)?, n.len())?;
                let key = crypto::RsaPublicKeyComponents { n, e };
                Some(key.verify(algorithm, message, &signature).is_ok())
            }
            (Material::Ed25519(key), 22) => {
                let signature = pair(&mut values, 32)?;
                Some(self.ed25519(key, message, &signature))
            }
            (Material::Ed25519(key), 27) => Some(self.ed25519(key, message, values)),
            (Material::P256(point), 19) if self.hash == Hash::Sha256 => {
                let key = UnparsedPublicKey::new(&crypto::ECDSA_P256_SHA256_FIXED, point);
                Some(key.verify(message, &pair(&mut values, 32)?).is_ok())
            }
            (Material::P384(point), 19) if self.hash == Hash::Sha384 => {
                let key = UnparsedPublicKey::new(&crypto::ECDSA_P384_SHA384_FIXED, point);
                Some(key.verify(message, &pair(&mut values, 48)?).is_ok())
            }
            _ => None,
        }
    }

    /// What Ed25519 signs is the hash.
    fn ed25519(&self, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let digest = self.hash.digest(message);
        UnparsedPublicKey::new(&crypto::ED25519, key).verify(digest.as_ref(), signature).is_ok()
    }
}

/// Subpackets whose meaning either is honoured here or says nothing about whether the signature holds.
fn is_known(kind: u8) -> bool {
    matches!(kind, 2..=4 | 5 | 7 | 9 | 11 | 16 | 21..=28 | 30 | 32..=35)
}

fn padded(value: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; len.checked_sub(value.len())?];
    out.extend_from_slice(value);
    Some(out)
}

fn pair(values: &mut &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = padded(mpi(values)?, len)?;
    out.extend(padded(mpi(values)?, len)?);
    Some(out)
}
