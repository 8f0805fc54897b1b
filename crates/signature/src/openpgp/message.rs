//! Signed messages: a text and its signatures in one, possibly compressed. RFC 9580, section 10.3.

use std::io::Read;

use super::packet::{Length, SIGNATURE, header};

/// Packet type IDs. Section 5.
const ONE_PASS: u8 = 4;
const COMPRESSED: u8 = 8;
const MARKER: u8 = 10;
const LITERAL: u8 = 11;

/// Bytes. What is signed about an image has a few hundred.
const MESSAGE_MAX: u64 = 1 << 20;
/// Signatures of one text: each is checked over all of it.
const SIGNATURES_MAX: usize = 16;
/// gpg compresses once.
const NESTING_MAX: usize = 2;

/// What is signed, and the bodies of the signature packets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub payload: Vec<u8>,
    pub signatures: Vec<Vec<u8>>,
}

impl Message {
    /// Takes a message apart; armour is off already.
    pub(super) fn parse(bytes: &[u8]) -> Result<Message, String> {
        Self::nested(bytes, NESTING_MAX)
    }

    fn nested(mut bytes: &[u8], depth: usize) -> Result<Message, String> {
        let mut payload = None;
        let mut signatures = Vec::new();
        while !bytes.is_empty() {
            let (tag, body, rest) = packet(bytes)?;
            match tag {
                COMPRESSED if payload.is_none() && signatures.is_empty() && rest.is_empty() => {
                    let depth = depth.checked_sub(1).ok_or("is compressed more than twice")?;
                    return Self::nested(&inflate(&body)?, depth);
                }
                LITERAL if payload.is_none() => payload = Some(literal(&body)?.to_vec()),
                SIGNATURE if signatures.len() == SIGNATURES_MAX => {
                    return Err(format!("has more than {SIGNATURES_MAX} signatures"));
                }
                SIGNATURE => signatures.push(body),
                ONE_PASS if payload.is_none() => {}
                MARKER => {}
                _ => return Err(format!("has a packet {tag} that no signed message has there")),
            }
            bytes = rest;
        }
        match payload {
            Some(payload) if !signatures.is_empty() => Ok(Message { payload, signatures }),
            Some(_) => Err("has a text that nobody signed".into()),
            None => Err("is no signed message: it has no text".into()),
        }
    }
}

/// One packet, whose parts are put together, and what follows it.
fn packet(bytes: &[u8]) -> Result<(u8, Vec<u8>, &[u8]), String> {
    let cut = || "ends within a packet".to_owned();
    let (tag, mut head, mut length) = header(bytes)?;
    let mut rest = bytes;
    let mut body = Vec::new();
    loop {
        rest = rest.get(head..).ok_or_else(cut)?;
        let (len, last) = match length {
            Length::Whole(len) => (len, true),
            Length::Part(len) => (len, false),
            Length::Rest => (rest.len(), true),
        };
        let (part, after) = rest.split_at_checked(len).ok_or_else(cut)?;
        body.extend_from_slice(part);
        rest = after;
        if last {
            return Ok((tag, body, rest));
        }
        (head, length) = super::packet::length(rest).ok_or_else(cut)?;
    }
}

/// Section 5.6.
fn inflate(body: &[u8]) -> Result<Vec<u8>, String> {
    let (algorithm, data) = body.split_first().ok_or("ends within a packet")?;
    let reader: Box<dyn Read + '_> = match algorithm {
        0 => Box::new(data),
        1 => Box::new(flate2::read::DeflateDecoder::new(data)),
        2 => Box::new(flate2::read::ZlibDecoder::new(data)),
        3 => Box::new(bzip2::read::BzDecoder::new(data)),
        other => return Err(format!("is compressed by algorithm {other}, expected ZIP, ZLIB or BZip2")),
    };
    let mut out = Vec::new();
    reader.take(MESSAGE_MAX + 1).read_to_end(&mut out).map_err(|e| format!("is damaged: {e}"))?;
    if out.len() as u64 > MESSAGE_MAX {
        return Err(format!("is larger than {MESSAGE_MAX} bytes when decompressed"));
    }
    Ok(out)
}

/// The text in a literal data packet. Section 5.9.
fn literal(body: &[u8]) -> Result<&[u8], String> {
    let cut = || "ends within a packet".to_owned();
    let (&[_, name], rest) = body.split_first_chunk::<2>().ok_or_else(cut)?;
    rest.get(usize::from(name) + 4..).ok_or_else(cut)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use crate::open_message;

    const TEXT: &[u8] = b"{\"critical\": {}}";

    fn gpg(home: &Path, args: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .arg("--homedir")
            .arg(home)
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", "--yes"])
            .args(args)
            .current_dir(home)
            .output()
            .expect("install package gnupg");
        assert!(output.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    #[test]
    fn what_gpg_signs_is_opened() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        std::fs::write(home.join("text"), TEXT).unwrap();
        gpg(home, &["--quick-generate-key", "one", "ed25519", "sign", "never"]);
        gpg(home, &["--quick-generate-key", "two", "rsa2048", "sign", "never"]);
        // Signed and expired in 2001, in seconds since 1970.
        let year = ["--faked-system-time", "20010101T000000!"];
        gpg(home, &[&year[..], &["--quick-generate-key", "old", "rsa2048", "sign", "1y"]].concat());
        let (good, now, then) = (gpg(home, &["--export", "one", "two"]), 1_800_000_000, 978_400_000);
        let old = gpg(home, &["--export", "old"]);
        let sign = |more: &[&str]| gpg(home, &[more, &["--output", "-", "--sign", "text"]].concat());
        for options in [
            &["--local-user", "one"][..],
            &["--local-user", "two"],
            &["--local-user", "one", "--compress-algo", "none"],
            &["--local-user", "one", "--compress-algo", "zlib"],
            &["--local-user", "one", "--compress-algo", "bzip2"],
            &["--local-user", "two", "--armor"],
            &["--local-user", "one", "--local-user", "two"],
        ] {
            let message = sign(options);
            let opened = open_message(&good, &message, now).unwrap();
            assert_eq!(opened.payload, TEXT, "{options:?}");
            assert!(open_message(&old, &message, now).is_err(), "{options:?}");
            for i in 0..message.len() {
                let mut bad = message.clone();
                bad[i] ^= 0x10;
                // What nobody protects may change, what was signed may not.
                if let Ok(opened) = open_message(&good, &bad, now) {
                    assert_eq!(opened.payload, TEXT, "{options:?} byte {i}");
                }
                let _ = open_message(&good, &message[..i], now);
            }
        }
        let message = sign(&[&year[..], &["--local-user", "old"]].concat());
        assert_eq!(open_message(&old, &message, then).unwrap().payload, TEXT);
        let error = open_message(&old, &message, now).unwrap_err().to_string();
        assert!(error.contains("which has expired since it signed"), "{error}");

        let message = sign(&["--local-user", "one", "--default-sig-expire", "1d"]);
        let real = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(open_message(&good, &message, real).unwrap().payload, TEXT);
        let error = open_message(&good, &message, real + 100_000).unwrap_err().to_string();
        assert_eq!(error, "signature has expired");

        let detached = gpg(home, &["--local-user", "one", "--output", "-", "--detach-sign", "text"]);
        let error = open_message(&good, &detached, now).unwrap_err().to_string();
        assert_eq!(error, "signature is no signed message: it has no text");
        let unsigned = gpg(home, &["--output", "-", "--store", "text"]);
        let error = open_message(&good, &unsigned, now).unwrap_err().to_string();
        assert_eq!(error, "signature has a text that nobody signed");
        let _ = Command::new("gpgconf").arg("--homedir").arg(home).args(["--kill", "all"]).status();
    }

    #[test]
    fn bombs_are_refused() {
        use std::io::Write as _;
        let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&vec![0; super::MESSAGE_MAX as usize + 1]).unwrap();
        let bomb = [&[0xa3, 1][..], &packed.finish().unwrap()].concat();
        let error = super::Message::parse(&bomb).unwrap_err();
        assert_eq!(error, "is larger than 1048576 bytes when decompressed");
        // A signature over and over.
        let many = [&[0xcb, 6, b'b', 0, 0, 0, 0, 0][..], &[0xc2, 1, 4].repeat(17)].concat();
        assert_eq!(super::Message::parse(&many).unwrap_err(), "has more than 16 signatures");
        // Compressed again and again.
        let mut nested = vec![0xcb, 6, b'b', 0, 0, 0, 0, 0];
        for _ in 0..3 {
            nested = [&[0xa3, 0][..], &nested].concat();
        }
        assert_eq!(super::Message::parse(&nested).unwrap_err(), "is compressed more than twice");
    }
}
