//! Signatures over root hashes: PKCS #7 (RFC 5652), detached, without attributes and certificates, which is what
//! `openssl smime -sign -nocerts -noattr -binary` makes and what the kernel and systemd check.

mod der;

use crate::sha256::Sha256;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use base16ct::lower::encode_string as hex;
use der::{BIT_STRING, CONTEXT_0, INTEGER, NULL, OCTET_STRING, OID, Reader, SEQUENCE, SET, element};
use tree::{Event, Events};

/// Keys and certificates are a few KiB. Bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why a root hash can't be signed. No variant holds anything of the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum SignerError {
    /// A file can't be read.
    #[error("{path:?}: {source}")]
    Io {
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than any key.
    #[error("{path:?}: is larger than {MAX_FILE} bytes, expected a key or certificate in PEM")]
    TooLarge { path: PathBuf },
    /// There is no key or certificate in the file.
    #[error("{path:?}: has no {what} in PEM: {reason}")]
    Pem {
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What is there instead.
        reason: String,
    },
    /// The key has a passphrase.
    #[error("{path:?}: the private key is encrypted, expected one without a passphrase")]
    Encrypted { path: PathBuf },
    /// The key is none that signs here.
    #[error("{path:?}: key is unusable ({reason}), expected RSA of 2048 to 4096 bits")]
    Key {
        path: PathBuf,
        /// ring's description of the error.
        reason: String,
    },
    /// The certificate isn't X.509.
    #[error("{path:?}: certificate is malformed, expected X.509")]
    Certificate { path: PathBuf },
    /// The certificate belongs to another key.
    #[error("{certificate:?}: certificate is for another key than {key:?}")]
    Mismatch { certificate: PathBuf, key: PathBuf },
}

/// A private key and its certificate. Debug output doesn't reveal the key.
#[derive(Debug)]
pub struct VeritySigner {
    key: RsaKeyPair,
    /// As in the certificate: the element with tag and length.
    issuer: Vec<u8>,
    serial: Vec<u8>,
    /// SHA-256 of the certificate in DER.
    fingerprint: [u8; 32],
}

impl VeritySigner {
    /// Reads an RSA key (PKCS #8 or PKCS #1) and an X.509 certificate for it, both in PEM. Warns if others can read the
    /// key.
    ///
    /// # Errors
    /// A file can't be read or is something else, or the two don't belong together.
    pub fn read(key: &Path, certificate: &Path, events: &dyn Events) -> Result<VeritySigner, SignerError> {
        let pem = read(key, &mut |mode| {
            if mode & 0o077 != 0 {
                let text = format!("{key:?}: mode is {:04o}, so others can use the key", mode & 0o7777);
                events.event(Event::Warning(text.into()));
            }
        })?;
        let pair = parse_key(&pem, key)?;
        let pem = read(certificate, &mut |_| ())?;
        let no = |e: pem::Error| no_pem(certificate, "certificate", &e);
        let der = CertificateDer::from_pem_slice(&pem).map_err(no)?;
        let names = parse_certificate(&der)
            .ok_or_else(|| SignerError::Certificate { path: certificate.to_owned() })?;
        if names.public_key != pair.public().as_ref() {
            return Err(SignerError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() });
        }
        Ok(VeritySigner {
            key: pair,
            issuer: names.issuer.to_owned(),
            serial: names.serial.to_owned(),
            fingerprint: Sha256::of([&der]),
        })
    }

    /// SHA-256 of the certificate, 64 hex digits.
    pub fn fingerprint(&self) -> String {
        hex(&self.fingerprint)
    }

    /// The content of a signature partition: JSON, as systemd reads it.
    pub(crate) fn partition(&self, root_hash: &str) -> io::Result<String> {
        let signature = BASE64_STANDARD.encode(self.sign(root_hash.as_bytes())?);
        let fingerprint = self.fingerprint();
        Ok(format!(
            r#"{{"rootHash":"{root_hash}","certificateFingerprint":"{fingerprint}","signature":"{signature}"}}"#
        ))
    }

    /// A detached signature, in DER.
    pub(crate) fn sign(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        // The random numbers blind the calculation; the result doesn't depend on them.
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| io::Error::other("the root hash can't be signed with this key"))?;
        let sequence = |parts: &[&[u8]]| element(SEQUENCE, parts);
        let version = element(INTEGER, &[&[1]]);
        let sha256 = sequence(&[&element(OID, &[OID_SHA256]), &NULL]);
        let rsa = sequence(&[&element(OID, &[OID_RSA]), &NULL]);
        let signer = sequence(&[
            &version,
            &sequence(&[&self.issuer, &self.serial]),
            &sha256,
            &rsa,
            &element(OCTET_STRING, &[&signature]),
        ]);
        let signed = sequence(&[
            &version,
            &element(SET, &[&sha256]),
            &sequence(&[&element(OID, &[OID_DATA])]),
            &element(SET, &[&signer]),
        ]);
        Ok(sequence(&[&element(OID, &[OID_SIGNED_DATA]), &element(CONTEXT_0, &[&signed])]))
    }
}

/// 2.16.840.1.101.3.4.2.1
const OID_SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// 1.2.840.113549.1.1.1
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.113549.1.7.1
const OID_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// 1.2.840.113549.1.7.2
const OID_SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

fn read(path: &Path, mode: &mut dyn FnMut(u32)) -> Result<Vec<u8>, SignerError> {
    let io = |source| SignerError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    mode(file.metadata().map_err(io)?.permissions().mode());
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(SignerError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

fn parse_key(pem: &[u8], path: &Path) -> Result<RsaKeyPair, SignerError> {
    // The older form says so in a header, the newer one in its first line.
    let says = |text: &[u8]| pem.windows(text.len()).any(|w| w == text);
    if says(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || says(b"Proc-Type: 4,ENCRYPTED") {
        return Err(SignerError::Encrypted { path: path.to_owned() });
    }
    let unusable = |reason: &str| SignerError::Key { path: path.to_owned(), reason: reason.to_owned() };
    let pair = match PrivateKeyDer::from_pem_slice(pem).map_err(|e| no_pem(path, "private key", &e))? {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(unusable("elliptic curve")),
    };
    pair.map_err(|e| unusable(&e.to_string()))
}

fn no_pem(path: &Path, what: &'static str, error: &pem::Error) -> SignerError {
    // Other errors quote what they found, which may be of a key.
    let reason = match error {
        pem::Error::NoItemsFound => "nothing of the kind in it",
        _ => "malformed",
    };
    SignerError::Pem { path: path.to_owned(), what, reason: reason.to_owned() }
}

struct Names<'a> {
    issuer: &'a [u8],
    serial: &'a [u8],
    /// RSAPublicKey, RFC 8017 A.1.1.
    public_key: &'a [u8],
}

/// RFC 5280, 4.1.
fn parse_certificate(der: &[u8]) -> Option<Names<'_>> {
    let mut certificate = Reader(Reader(der).take(SEQUENCE)?.content);
    let mut body = Reader(certificate.take(SEQUENCE)?.content);
    let _version = body.take(CONTEXT_0);
    let serial = body.take(INTEGER)?.whole;
    let _algorithm = body.take(SEQUENCE)?;
    let issuer = body.take(SEQUENCE)?.whole;
    let _validity = body.take(SEQUENCE)?;
    let _subject = body.take(SEQUENCE)?;
    let mut key = Reader(body.take(SEQUENCE)?.content);
    let _algorithm = key.take(SEQUENCE)?;
    // The first byte counts unused bits.
    let public_key = key.take(BIT_STRING)?.content.strip_prefix(&[0])?;
    Some(Names { issuer, serial, public_key })
}
