//! Signatures of downloads and images: whether the holder of a key, which comes with the recipe, signed the very bytes.
//!
//! No clock is asked for files: a key that has expired still vouches for what was signed while it was good. Messages about
//! images are for now, so that [`open_message`] takes the time.

mod cosign;
mod ed25519;
mod minisign;
mod openpgp;

use std::fmt;

use tree::{Content, ContentError};

/// Bytes. All schemes here but minisign's need the signed file in memory.
const FILE_MAX: u64 = 1 << 30;
/// Bytes. A signature has no more than a few hundred; a page of errors has.
pub const SIGNATURE_MAX: u64 = 64 << 10;

/// How upstream signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A detached OpenPGP signature, armoured or not. RFC 9580, as far as version 4 goes.
    OpenPgp,
    /// A raw Ed25519 signature: of the file, or, if its key is a `SIGNING PUBLIC KEY`, of the file's hash and length, as
    /// Tailscale's distsign has it.
    Ed25519,
    /// minisign's.
    Minisign,
    /// cosign's, by a key. One by a certificate says who signed only with sigstore's root and log: docs/decisions/0074-cosign.md.
    Cosign,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::OpenPgp => "OpenPGP",
            Scheme::Ed25519 => "Ed25519",
            Scheme::Minisign => "minisign",
            Scheme::Cosign => "cosign",
        })
    }
}

/// A signature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How.
    pub scheme: Scheme,
    /// By which key: a fingerprint, a key ID or the key itself, in hex.
    pub key: String,
}

/// Why a signature doesn't hold. The caller knows which file and which signature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum SignatureError {
    /// The key file is of no use.
    #[error("key {0}")]
    Key(String),
    /// The signature is of no use.
    #[error("signature {0}")]
    Signature(String),
    /// None of the keys is the one that signed.
    #[error("signature is by key {got}, expected one of {}", expected.join(", "))]
    Signer {
        /// The key's ID or fingerprint, in hex.
        got: String,
        /// The IDs of those in the key file.
        expected: Vec<String>,
    },
    /// The key may not sign.
    #[error("signature is by key {key}, which {why}")]
    Unfit {
        /// Its fingerprint, in hex.
        key: String,
        why: String,
    },
    /// Other bytes than these were signed, or somebody else signed them.
    #[error("signature by key {key} is wrong: the file is not the one that was signed")]
    Wrong {
        /// Its fingerprint or ID, in hex.
        key: String,
    },
    /// The file can't be read.
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// Checks the signature of a file.
///
/// # Errors
/// It doesn't hold, or can't be understood, or the file can't be read.
pub fn verify(
    scheme: Scheme,
    key: &[u8],
    signature: &[u8],
    file: &Content,
) -> Result<Verified, SignatureError> {
    let key = match scheme {
        Scheme::OpenPgp => openpgp::verify(key, signature, file)?,
        Scheme::Ed25519 => ed25519::verify(key, signature, file)?,
        Scheme::Minisign => minisign::verify(key, signature, file)?,
        Scheme::Cosign => cosign::verify(key, signature, file)?,
    };
    Ok(Verified { scheme, key })
}

/// What an OpenPGP message says that somebody signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedMessage {
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// The fingerprint of the key, in hex.
    pub key: String,
}

/// Takes a signed message out of its OpenPGP envelope, armoured or not. Nothing of it is returned unless the signature holds and
/// neither it nor its key has expired at `now`, in seconds since 1970.
///
/// # Errors
/// It isn't signed by one of the keys, or can't be understood.
pub fn open_message(key: &[u8], message: &[u8], now: u64) -> Result<SignedMessage, SignatureError> {
    openpgp::open(key, message, now)
}

/// The fingerprints of the OpenPGP keys in a file, in hex; those of primary keys, which subkeys come and go with.
///
/// # Errors
/// It has no key.
pub fn fingerprints(key: &[u8]) -> Result<Vec<String>, SignatureError> {
    openpgp::fingerprints(key)
}

/// A secret key that signs manifests.
#[derive(Debug)]
pub struct ReleaseSigner(openpgp::SecretKey);

impl ReleaseSigner {
    /// Reads what `gpg --export-secret-keys` writes of a key without a passphrase, armoured or not. A subkey that may sign comes
    /// before its primary key.
    ///
    /// # Errors
    /// There is no key in it that could sign.
    pub fn parse(file: &[u8]) -> Result<ReleaseSigner, SignatureError> {
        openpgp::SecretKey::parse(file).map(ReleaseSigner)
    }

    /// Of the key that signs, in hex.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }

    /// Whether a file has a good signature by this key.
    pub fn has_signed(&self, signature: &std::path::Path, data: &[u8]) -> bool {
        let content = Content::from(data.to_vec());
        std::fs::read(signature).is_ok_and(|s| self.0.has_signed(&s, &content))
    }

    /// A binary detached OpenPGP signature, as systemd-sysupdate wants it. `time` is in seconds since 1970; it is put off until
    /// the key's own, so that 0 is fine.
    ///
    /// # Errors
    /// The key can't sign.
    pub fn sign(&self, data: &[u8], time: u64) -> Result<Vec<u8>, SignatureError> {
        self.0.sign(data, time)
    }
}

fn in_memory(file: &Content) -> Result<Vec<u8>, SignatureError> {
    Ok(file.read(FILE_MAX)?)
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

fn wrong_key(why: impl Into<String>) -> SignatureError {
    SignatureError::Key(why.into())
}

fn unusable(why: impl Into<String>) -> SignatureError {
    SignatureError::Signature(why.into())
}

#[cfg(test)]
mod tests;
