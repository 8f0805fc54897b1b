//! Signatures that gpg 2.2, minisign 0.11 and, in cosign's form, openssl 3.0 made of `file.txt`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("testdata/", $name)).as_slice()
    };
}

fn file() -> Content {
    data!("file.txt").into()
}

fn check(scheme: Scheme, key: &[u8], signature: &[u8], file: &Content) -> String {
    match verify(scheme, key, signature, file) {
        Ok(verified) => format!("good, {}", verified.key.len()),
        Err(e) => e.to_string(),
    }
}

#[test]
fn openpgp_signatures_of_all_kinds() {
    let keyring = [data!("rsa.pub"), data!("ed.pub"), data!("sub.pub")].concat();
    for (name, key, signature) in [
        ("rsa", data!("rsa.pub"), data!("rsa.asc")),
        ("ed25519", data!("ed.pub"), data!("ed.asc")),
        ("p256", data!("p256.pub"), data!("p256.asc")),
        ("p384", data!("p384.pub"), data!("p384.asc")),
        ("subkey", data!("sub.pub"), data!("sub.asc")),
        ("binary", data!("sub.pub"), data!("sub.sig")),
        ("expired since", data!("old.pub"), data!("old.asc")),
        ("one of several", &keyring, data!("sub.asc")),
        ("two signatures", data!("ed.pub"), &[data!("rsa.asc"), data!("ed.asc")].concat()),
    ] {
        assert_eq!(check(Scheme::OpenPgp, key, signature, &file()), "good, 40", "{name}");
        let other: Content = "some File\n".into();
        let error = check(Scheme::OpenPgp, key, signature, &other);
        assert!(error.contains("is wrong") || error.contains("is by key"), "{name}: {error}");
    }
}

#[test]
fn openpgp_signatures_that_are_refused() {
    for (key, signature, message) in [
        (data!("ed.pub"), data!("rsa.asc"), "expected one of"),
        (data!("gone.pub"), data!("gone.asc"), "which is revoked"),
        (data!("rsa.pub"), data!("sha1.asc"), "is made with SHA-1, which can be forged"),
        (data!("rsa.pub"), b"<html>", "signature has no OpenPGP data"),
        (b"", data!("rsa.asc"), "key has no OpenPGP data"),
        (data!("rsa.asc"), data!("rsa.asc"), "key is no OpenPGP public key"),
        (data!("rsa.pub"), data!("rsa.pub"), "is of type 0x13, expected that of a file"),
    ] {
        let error = check(Scheme::OpenPgp, key, signature, &file());
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_subkey_counts_only_with_its_bindings() {
    // A stranger's primary key in front of a subkey that somebody else's vouches for.
    let parts = |key: &[u8]| openpgp::parts_of(key);
    let (sub, ed) = (parts(data!("sub.pub")), parts(data!("ed.pub")));
    let own: Vec<u8> = sub.concat();
    assert_eq!(check(Scheme::OpenPgp, &own, data!("sub.asc"), &file()), "good, 40");
    let stolen: Vec<u8> = [&ed[..3], &sub[3..]].concat().concat();
    let error = check(Scheme::OpenPgp, &stolen, data!("sub.asc"), &file());
    assert!(error.contains("which its primary key doesn't vouch for"), "{error}");
    let unbound: Vec<u8> = sub
        .iter()
        .enumerate()
        .filter(|(i, _)| *i < 3 || i % 2 == 1)
        .map(|(_, p)| p.as_slice())
        .collect::<Vec<_>>()
        .concat();
    let error = check(Scheme::OpenPgp, &unbound, data!("sub.asc"), &file());
    assert!(error.contains("which its primary key doesn't vouch for"), "{error}");
}

#[test]
fn damaged_openpgp_data_is_an_error() {
    let (key, signature) = (openpgp::parts_of(data!("sub.pub")).concat(), data!("sub.sig"));
    for i in 0..signature.len() {
        let mut bad = signature.to_vec();
        bad[i] ^= 0x55;
        // Bytes that nobody protects: the hint of the hash, the unhashed part.
        let _ = verify(Scheme::OpenPgp, &key, &bad, &file());
        assert!(verify(Scheme::OpenPgp, &key, &signature[..i], &file()).is_err(), "{i}");
    }
    for i in 0..key.len() {
        let mut bad = key.clone();
        bad[i] ^= 0x55;
        let _ = verify(Scheme::OpenPgp, &bad, signature, &file());
        let _ = verify(Scheme::OpenPgp, &key[..i], signature, &file());
    }
}

#[test]
fn minisign_signatures() {
    let check = |key: &[u8], signature: &str, file: &Content| {
        check(Scheme::Minisign, key, signature.as_bytes(), file)
    };
    let new = std::str::from_utf8(data!("mini.sig")).unwrap();
    let legacy = std::str::from_utf8(data!("minilegacy.sig")).unwrap();
    assert_eq!(check(data!("mini.pub"), new, &file()), "good, 16");
    assert_eq!(check(data!("mini.pub"), legacy, &file()), "good, 16");
    let bare = std::str::from_utf8(data!("mini.pub")).unwrap().lines().nth(1).unwrap();
    assert_eq!(check(bare.as_bytes(), new, &file()), "good, 16");
    for signature in [new, legacy] {
        assert!(check(data!("mini.pub"), signature, &"other".into()).contains("is wrong"));
        let comment = signature.replace("trusted words", "trusted lies");
        assert!(check(data!("mini.pub"), &comment, &file()).contains("is wrong"));
    }
    assert!(check(data!("ed.pub"), new, &file()).contains("key is no public key of minisign's"));
    assert!(check(data!("mini.pub"), "", &file()).contains("has 0 lines"));
    let id = BASE64_STANDARD.encode([b"Ed".as_slice(), &[7; 40]].concat());
    assert!(check(id.as_bytes(), new, &file()).contains("expected one of 0707070707070707"));
}

#[test]
fn raw_signatures() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let key = pair.public_key().as_ref();
    let plain = pair.sign(data!("file.txt"));
    let pem = |label: &str, bytes: &[u8]| {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(bytes))
    };
    let spki = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], key].concat();
    for form in
        [key.to_vec(), hex(key).into(), BASE64_STANDARD.encode(key).into(), pem("PUBLIC KEY", &spki).into()]
    {
        assert_eq!(check(Scheme::Ed25519, &form, plain.as_ref(), &file()), "good, 64");
        assert!(check(Scheme::Ed25519, &form, plain.as_ref(), &"other".into()).contains("is wrong"));
    }
    // blake2s-256 of the ten bytes, by Python's hashlib; and their number.
    let hash = "466af29e7736765560a3ea6dfc0fe0eb3f84d389635a4f1841bfef6ff435bf13";
    let message: Vec<u8> =
        (0..32).map(|i| u8::from_str_radix(&hash[2 * i..2 * i + 2], 16).unwrap()).collect();
    let signature = pair.sign(&[message, 10u64.to_le_bytes().to_vec()].concat());
    let keys = pem("SIGNING PUBLIC KEY", &[9; 32]) + &pem("SIGNING PUBLIC KEY", key);
    assert_eq!(check(Scheme::Ed25519, keys.as_bytes(), signature.as_ref(), &file()), "good, 64");
    assert!(check(Scheme::Ed25519, keys.as_bytes(), plain.as_ref(), &file()).contains("is wrong"));
    assert!(check(Scheme::Ed25519, key, b"short", &file()).contains("is 5 bytes, expected 64"));
    assert!(check(Scheme::Ed25519, b"no key", plain.as_ref(), &file()).contains("key is no Ed25519 key"));
}

/// What openssl makes of `file.txt` with a new key.
fn openssl(dir: &std::path::Path, kind: &[&str], sign: &[&str]) -> (Vec<u8>, String) {
    let run = |args: &[&str]| {
        let output = std::process::Command::new("openssl").args(args).current_dir(dir).output();
        let output = output.expect("install package openssl");
        assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    std::fs::write(dir.join("file"), data!("file.txt")).unwrap();
    run(&[&["genpkey", "-out", "key", "-algorithm"], kind].concat());
    let public = run(&["pkey", "-in", "key", "-pubout"]);
    (public, BASE64_STANDARD.encode(run(sign)))
}

#[test]
fn cosign_signatures_by_keys_of_all_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let digest: &[&str] = &["dgst", "-sha256", "-sign", "key", "file"];
    let raw: &[&str] = &["pkeyutl", "-sign", "-inkey", "key", "-rawin", "-in", "file"];
    for (kind, sign) in [
        (&["EC", "-pkeyopt", "ec_paramgen_curve:P-256"][..], digest),
        (&["EC", "-pkeyopt", "ec_paramgen_curve:P-384"], digest),
        (&["RSA", "-pkeyopt", "rsa_keygen_bits:2048"], digest),
        (&["RSA", "-pkeyopt", "rsa_keygen_bits:4096"], digest),
        (&["ED25519"], raw),
    ] {
        let (key, signature) = openssl(dir.path(), kind, sign);
        assert_eq!(check(Scheme::Cosign, &key, signature.as_bytes(), &file()), "good, 64", "{kind:?}");
        let error = check(Scheme::Cosign, &key, signature.as_bytes(), &"some File\n".into());
        assert!(error.contains("is wrong"), "{kind:?}: {error}");
        let (other, _) = openssl(dir.path(), kind, sign);
        let error = check(Scheme::Cosign, &other, signature.as_bytes(), &file());
        assert!(error.contains("is wrong"), "{kind:?}: {error}");
        for n in 0..key.len() {
            let _ = check(Scheme::Cosign, &key[..n], signature.as_bytes(), &file());
        }
    }
    let (key, signature) = openssl(dir.path(), &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"], digest);
    let error = check(Scheme::Cosign, &key, signature.as_bytes(), &file());
    assert!(error.contains("expected a PEM \"PUBLIC KEY\" on the curve P-256"), "{error}");
}

#[test]
fn cosign_signatures_by_a_key() {
    let (key, signature) = (data!("cosign.pub"), data!("cosign.sig"));
    assert_eq!(check(Scheme::Cosign, key, signature, &file()), "good, 64");
    let lines = [&signature[..40], b"\n", &signature[40..], b"\n"].concat();
    assert_eq!(check(Scheme::Cosign, key, &lines, &file()), "good, 64");
    let error = check(Scheme::Cosign, key, signature, &"some File\n".into());
    assert!(error.contains("is wrong"), "{error}");
    let off_curve = String::from_utf8(key.to_vec()).unwrap().replace("EXwXob", "EXwXoc");
    for (key, signature, message) in [
        (data!("ed.pub"), signature, "key is no public key of cosign's"),
        (off_curve.as_bytes(), signature, "is wrong"),
        (key, b"<html>".as_slice(), "signature is no base64"),
        (key, b"AAAA", "is wrong"),
        (key, b"", "is wrong"),
        (key, b"MAA=", "is wrong"),
    ] {
        let error = check(Scheme::Cosign, key, signature, &file());
        assert!(error.contains(message), "{message}: {error}");
    }
}
