//! Detached signatures by a secret key of version 4. RFC 9580, sections 5.2.3 and 5.5.3.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};

use tree::Content;

use super::super::{SignatureError, wrong_key};
use super::certificate::keys;
use super::packet::{self, PUBLIC_KEY, PUBLIC_SUBKEY, Packet, mpi, number};
use super::public_key::fingerprint;

/// Packet type IDs. Section 5.
const SECRET_KEY: u8 = 5;
const SECRET_SUBKEY: u8 = 7;
/// Hash algorithm ID. Section 9.5.
const SHA256: u8 = 8;

/// A key that can sign.
pub(crate) struct SecretKey {
    /// As in the packet.
    algorithm: u8,
    fingerprint: [u8; 20],
    /// Seconds since the epoch.
    created: u64,
    pair: Pair,
    /// The public key's packets.
    public: Vec<u8>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// Never shows the key.
impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretKey").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl SecretKey {
    /// Reads what `gpg --export-secret-keys` or `--export-secret-subkeys` writes, armoured or not, and takes the key in it that
    /// may sign files: a subkey before the primary key.
    pub(crate) fn parse(file: &[u8]) -> Result<SecretKey, SignatureError> {
        let bytes = packet::unarmour(file).map_err(wrong_key)?;
        let packets = packet::packets(&bytes).map_err(wrong_key)?;
        let certificate = public(&packets).map_err(wrong_key)?;
        let known = keys(&certificate).map_err(wrong_key)?;
        let mut why = "file has no secret key that may sign".to_owned();
        // Subkeys stand behind their primary key.
        for (secret, public) in packets.iter().zip(&certificate).rev() {
            if !matches!(secret.tag, SECRET_KEY | SECRET_SUBKEY) {
                continue;
            }
            let fingerprint = fingerprint(public.body);
            let Some(signing) = known.iter().find(|k| k.key.fingerprint == fingerprint) else { continue };
            if signing.unfit_at(signing.key.created).is_some() {
                continue;
            }
            match pair(secret.body, public.body.len()) {
                Ok(pair) => {
                    let algorithm = public.body[5];
                    let created = signing.key.created;
                    return Ok(SecretKey {
                        algorithm,
                        fingerprint,
                        created,
                        pair,
                        public: bytes_of(&certificate),
                    });
                }
                Err(reason) => why = reason,
            }
        }
        Err(wrong_key(why))
    }

    /// Of the key that signs, in hex.
    pub(crate) fn fingerprint(&self) -> String {
        super::super::hex(&self.fingerprint)
    }

    /// Whether this is a signature of the content by this key.
    pub(crate) fn has_signed(&self, signature: &[u8], content: &Content) -> bool {
        super::verify(&self.public, signature, content).is_ok_and(|key| key == self.fingerprint())
    }

    /// A binary detached signature of `data`. `time` is in seconds since the epoch, and is put off until the key exists:
    /// nobody believes an earlier one.
    pub(crate) fn sign(&self, data: &[u8], time: u64) -> Result<Vec<u8>, SignatureError> {
        let time = u32::try_from(time.max(self.created)).unwrap_or(u32::MAX);
        let mut hashed = vec![5, 2];
        hashed.extend_from_slice(&time.to_be_bytes());
        hashed.extend_from_slice(&[22, 33, 4]);
        hashed.extend_from_slice(&self.fingerprint);
        let mut unhashed = vec![9, 16];
        unhashed.extend_from_slice(&self.fingerprint[12..]);

        let mut body = vec![4, 0, self.algorithm, SHA256];
        body.extend_from_slice(&(hashed.len() as u16).to_be_bytes());
        body.extend_from_slice(&hashed);
        let mut signed = data.to_vec();
        signed.extend_from_slice(&body);
        // Section 5.2.4: the trailer.
        signed.extend_from_slice(&[4, 0xff]);
        signed.extend_from_slice(&(body.len() as u32).to_be_bytes());

        body.extend_from_slice(&(unhashed.len() as u16).to_be_bytes());
        body.extend_from_slice(&unhashed);
        let digest = ring::digest::digest(&ring::digest::SHA256, &signed);
        body.extend_from_slice(&digest.as_ref()[..2]);
        let failed = |_| wrong_key("can't sign");
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut value = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &signed, &mut value).map_err(failed)?;
                push_mpi(&mut body, &value);
            }
            Pair::Ed25519(pair) => {
                let value = pair.sign(digest.as_ref());
                push_pair(&mut body, value.as_ref(), self.algorithm == 27);
            }
            Pair::P256(pair) => {
                let value = pair.sign(&SystemRandom::new(), &signed).map_err(failed)?;
                push_pair(&mut body, value.as_ref(), false);
            }
        }
        Ok(bytes_of(&[Packet { tag: packet::SIGNATURE, body: &body }]))
    }
}

/// Packets as they are stored. Section 4.2.1.
fn bytes_of(packets: &[Packet<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for packet in packets {
        out.extend_from_slice(&[0xc0 | packet.tag, 0xff]);
        out.extend_from_slice(&(packet.body.len() as u32).to_be_bytes());
        out.extend_from_slice(packet.body);
    }
    out
}

/// The packets of the public key that belongs to these of a secret one.
fn public<'a>(packets: &[Packet<'a>]) -> Result<Vec<Packet<'a>>, String> {
    let one = |p: &Packet<'a>| {
        let tag = match p.tag {
            SECRET_KEY => PUBLIC_KEY,
            SECRET_SUBKEY => PUBLIC_SUBKEY,
            PUBLIC_KEY => return Err("is a public one, expected a secret one".to_owned()),
            _ => return Ok(*p),
        };
        let length = public_length(p.body).ok_or("is cut short, or of an algorithm that isn't known")?;
        Ok(Packet { tag, body: &p.body[..length] })
    };
    packets.iter().map(one).collect()
}

/// How many bytes of a secret key's packet are its public part.
fn public_length(body: &[u8]) -> Option<usize> {
    let (head, mut rest) = body.split_at_checked(6)?;
    match head[5] {
        1..=3 => {
            mpi(&mut rest)?;
            mpi(&mut rest)?;
        }
        // X25519, Ed25519.
        25 | 27 => rest = rest.get(32..)?,
        algorithm @ (18 | 19 | 22) => {
            let (length, after) = rest.split_first()?;
            rest = after.get(usize::from(*length)..)?;
            mpi(&mut rest)?;
            if algorithm == 18 {
                // The parameters of a key for decryption: a length and as much.
                let (length, after) = rest.split_first()?;
                rest = after.get(usize::from(*length)..)?;
            }
        }
        _ => return None,
    }
    Some(body.len() - rest.len())
}

/// The secret part, and both together as ring wants them.
fn pair(body: &[u8], public: usize) -> Result<Pair, String> {
    let cut = || "is cut short".to_owned();
    let (public, secret) = body.split_at_checked(public).ok_or_else(cut)?;
    let (usage, mut secret) = secret.split_first().ok_or_else(cut)?;
    if *usage != 0 {
        return Err("is protected by a passphrase, or isn't in the file".into());
    }
    // Section 5.5.3: the sum of all bytes.
    let (checked, sum) = secret.split_at_checked(secret.len().saturating_sub(2)).ok_or_else(cut)?;
    if checked.iter().fold(0u16, |n, &b| n.wrapping_add(u16::from(b))) != number(sum) as u16 {
        return Err("is damaged: its checksum is wrong".into());
    }
    let rejected = |e: ring::error::KeyRejected| format!("is of no use: {e}");
    let mut rest = &public[6..];
    match public[5] {
        1 | 3 => {
            let (n, e) = mpi(&mut rest).zip(mpi(&mut rest)).ok_or_else(cut)?;
            let mut next = || mpi(&mut secret).ok_or_else(cut);
            let (d, small, large, inverse) = (next()?, next()?, next()?, next()?);
            // OpenPGP has the inverse of the first prime modulo the second, PKCS #1 the other way round.
            let (p, q) = (large, small);
            let components = ring::rsa::KeyPairComponents {
                public_key: ring::rsa::PublicKeyComponents { n, e },
                d,
                p,
                q,
                dP: &remainder(d, &less_one(p)),
                dQ: &remainder(d, &less_one(q)),
                qInv: inverse,
            };
            RsaKeyPair::from_components(&components).map(Pair::Rsa).map_err(rejected)
        }
        algorithm @ (22 | 27) => {
            let (point, seed) = if algorithm == 27 {
                (rest, secret.get(..32).ok_or_else(cut)?.to_vec())
            } else {
                let (length, after) = rest.split_first().ok_or_else(cut)?;
                rest = after.get(usize::from(*length)..).ok_or_else(cut)?;
                let point = mpi(&mut rest).and_then(|p| p.strip_prefix(&[0x40])).ok_or_else(cut)?;
                (point, padded(mpi(&mut secret).ok_or_else(cut)?))
            };
            Ed25519KeyPair::from_seed_and_public_key(&seed, point).map(Pair::Ed25519).map_err(rejected)
        }
        19 => {
            let (length, after) = rest.split_first().ok_or_else(cut)?;
            rest = after.get(usize::from(*length)..).ok_or_else(cut)?;
            let point = mpi(&mut rest).ok_or_else(cut)?;
            let scalar = padded(mpi(&mut secret).ok_or_else(cut)?);
            EcdsaKeyPair::from_private_key_and_public_key(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                &scalar,
                point,
                &SystemRandom::new(),
            )
            .map(Pair::P256)
            .map_err(rejected)
        }
        other => Err(format!("is of algorithm {other}, expected RSA, Ed25519 or ECDSA over P-256")),
    }
}

/// 32 bytes: integers are stored without leading zeros.
fn padded(value: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 32usize.saturating_sub(value.len())];
    out.extend_from_slice(value);
    out
}

fn push_mpi(out: &mut Vec<u8>, value: &[u8]) {
    let value = &value[value.iter().take_while(|&&b| b == 0).count()..];
    let bits = value.first().map_or(0, |b| value.len() * 8 - b.leading_zeros() as usize);
    out.extend_from_slice(&(bits as u16).to_be_bytes());
    out.extend_from_slice(value);
}

/// The two halves of a signature of 64 bytes: as numbers, or as they are.
fn push_pair(out: &mut Vec<u8>, value: &[u8], raw: bool) {
    if raw {
        out.extend_from_slice(value);
    } else {
        for half in value.chunks(value.len() / 2) {
            push_mpi(out, half);
        }
    }
}

/// An odd number, less one.
fn less_one(number: &[u8]) -> Vec<u8> {
    let mut out = number.to_vec();
    if let Some(last) = out.last_mut() {
        *last &= 0xfe;
    }
    out
}

/// `number` modulo `divisor`, both big-endian: bit by bit.
fn remainder(number: &[u8], divisor: &[u8]) -> Vec<u8> {
    // One byte more than the divisor, since the remainder is doubled before it is reduced.
    let mut divisor = divisor.to_vec();
    divisor.insert(0, 0);
    let mut rest = vec![0u8; divisor.len()];
    for bit in number.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1)) {
        let mut carry = bit;
        for byte in rest.iter_mut().rev() {
            let high = *byte >> 7;
            *byte = *byte << 1 | carry;
            carry = high;
        }
        if rest >= divisor {
            let mut borrow = false;
            for (byte, less) in rest.iter_mut().zip(&divisor).rev() {
                let (value, first) = byte.overflowing_sub(*less);
                let (value, second) = value.overflowing_sub(u8::from(borrow));
                (*byte, borrow) = (value, first || second);
            }
        }
    }
    rest.split_off(rest.iter().take_while(|&&b| b == 0).count())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    #[test]
    fn remainders() {
        for (number, divisor, rest) in
            [(1_000_003u32, 1000u16, 3u16), (65_535, 2, 1), (7, 9, 7), (256, 255, 1), (0, 5, 0), (10, 10, 0)]
        {
            let got = remainder(&number.to_be_bytes(), &divisor.to_be_bytes());
            assert_eq!(got.iter().fold(0, |n, &b| n << 8 | u16::from(b)), rest, "{number} mod {divisor}");
        }
    }

    fn gpg(home: &Path, args: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .arg("--homedir")
            .arg(home)
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(args)
            .output()
            .expect("install package gnupg");
        assert!(output.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    #[test]
    fn gpg_and_we_believe_what_is_signed() {
        let home = tempfile::tempdir().unwrap();
        let data = b"0123  a file\n";
        std::fs::write(home.path().join("SHA256SUMS"), data).unwrap();
        for (name, algorithm, subkey) in [
            ("rsa", "rsa2048", None),
            ("ed", "ed25519", None),
            ("p256", "nistp256", None),
            ("sub", "ed25519", Some("rsa2048")),
        ] {
            let user = format!("{name} <{name}@example.org>");
            gpg(home.path(), &["--quick-generate-key", &user, algorithm, "sign", "never"]);
            let list = gpg(home.path(), &["--with-colons", "--list-keys", &user]);
            let list = String::from_utf8(list).unwrap();
            let fingerprint = list.lines().find_map(|l| l.strip_prefix("fpr:::::::::")).unwrap();
            let fingerprint = fingerprint.trim_end_matches(':');
            if let Some(algorithm) = subkey {
                gpg(home.path(), &["--quick-add-key", fingerprint, algorithm, "sign", "never"]);
            }
            let secret = gpg(home.path(), &["--armor", "--export-secret-keys", &user]);
            let public = gpg(home.path(), &["--export", &user]);
            let key = SecretKey::parse(&secret).unwrap();
            assert_eq!(key.fingerprint().eq_ignore_ascii_case(fingerprint), subkey.is_none(), "{name}");
            let signature = key.sign(data, 0).unwrap();
            let path = home.path().join("SHA256SUMS.gpg");
            std::fs::write(&path, &signature).unwrap();
            let (signature_path, data_path) = (path.to_str().unwrap(), home.path().join("SHA256SUMS"));
            gpg(home.path(), &["--verify", signature_path, data_path.to_str().unwrap()]);
            let content = Content::from(data.to_vec());
            assert_eq!(super::super::verify(&public, &signature, &content).unwrap(), key.fingerprint());
            assert!(key.has_signed(&signature, &content));
            let other = Content::from(b"other".to_vec());
            assert!(!key.has_signed(&signature, &other));
            assert!(super::super::verify(&public, &signature, &other).is_err());
            // The same data, the same bytes, where the algorithm has no random part.
            assert_eq!(name == "p256", key.sign(data, 0).unwrap() != signature, "{name}");

            let error = SecretKey::parse(&public).unwrap_err().to_string();
            assert!(error.contains("is a public one"), "{error}");
            for cut in [3, 40, secret.len() / 2] {
                assert!(SecretKey::parse(&secret[..cut]).is_err(), "{name} {cut}");
            }
        }
        // A passphrase.
        let protected = Command::new("gpg")
            .arg("--homedir")
            .arg(home.path())
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "secret"])
            .args(["--quick-generate-key", "locked", "ed25519", "sign", "never"])
            .status()
            .unwrap();
        assert!(protected.success());
        let output = Command::new("gpg")
            .arg("--homedir")
            .arg(home.path())
            .args(["--batch", "--pinentry-mode", "loopback", "--passphrase", "secret"])
            .args(["--export-secret-keys", "locked"])
            .output()
            .unwrap();
        let error = SecretKey::parse(&output.stdout).unwrap_err().to_string();
        assert!(error.contains("is protected by a passphrase"), "{error}");
        let _ = Command::new("gpgconf").arg("--homedir").arg(home.path()).args(["--kill", "all"]).status();
    }
}
