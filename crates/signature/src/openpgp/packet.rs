//! Packets and their armour. RFC 9580, sections 4, 5.2 and 6.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Packet type IDs. Section 5.
pub(super) const SIGNATURE: u8 = 2;
pub(super) const PUBLIC_KEY: u8 = 6;
pub(super) const USER_ID: u8 = 13;
pub(super) const PUBLIC_SUBKEY: u8 = 14;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub tag: u8,
    pub body: &'a [u8],
}

/// Takes off the armour, if there is any. Several blocks, of several keys, make one sequence of packets.
pub(super) fn unarmour(file: &[u8]) -> Result<Vec<u8>, String> {
    // The first byte of every packet has its highest bit set, armour is ASCII.
    if file.first().is_some_and(|b| b & 0x80 != 0) {
        return Ok(file.to_vec());
    }
    let text = std::str::from_utf8(file).map_err(|_| "is neither armoured nor made of packets".to_owned())?;
    let mut out = Vec::new();
    let mut blocks = 0;
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        if !line.starts_with("-----BEGIN PGP ") {
            continue;
        }
        blocks += 1;
        // Headers such as `Version:` end with an empty line.
        let mut body = String::new();
        let mut in_body = false;
        let mut ended = false;
        for line in lines.by_ref() {
            if line.starts_with("-----END PGP ") {
                ended = true;
                break;
            }
            if !in_body {
                in_body = line.is_empty();
            } else if !line.starts_with('=') {
                // The checksum is an old precaution against bad lines; section 6.1 has it ignored.
                body.push_str(line);
            }
        }
        if !ended {
            return Err("has armour without an end".into());
        }
        out.extend(BASE64_STANDARD.decode(&body).map_err(|e| format!("has damaged armour: {e}"))?);
    }
    if blocks == 0 { Err("has no OpenPGP data".into()) } else { Ok(out) }
}

/// The packets in a row.
pub(super) fn packets(mut bytes: &[u8]) -> Result<Vec<Packet<'_>>, String> {
    let cut = || "ends within a packet".to_owned();
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let (tag, head, len) = match header(bytes)? {
            (tag, head, Length::Whole(len)) => (tag, head, len),
            (_, _, Length::Part(_)) => return Err("has a packet in parts".into()),
            (_, _, Length::Rest) => return Err("has a packet of unknown length".into()),
        };
        let body = bytes.get(head..).and_then(|b| b.get(..len)).ok_or_else(cut)?;
        out.push(Packet { tag, body });
        bytes = &bytes[head + len..];
    }
    Ok(out)
}

/// Bytes of a packet, or of a part of it. Section 4.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Whole(usize),
    /// Another length follows this part.
    Part(usize),
    /// All that is left.
    Rest,
}

/// A packet's type, how many bytes its header has, and how long it is.
pub(super) fn header(bytes: &[u8]) -> Result<(u8, usize, Length), String> {
    let cut = || "ends within a packet".to_owned();
    let (&first, rest) = bytes.split_first().ok_or_else(cut)?;
    match first {
        0..0x80 => Err("has something between its packets".into()),
        // Section 4.2.2: the older header; type 3 has no length at all.
        0x80..0xc0 if first & 3 == 3 => Ok((first >> 2 & 0xf, 1, Length::Rest)),
        0x80..0xc0 => {
            let n = 1usize << (first & 3);
            let len = rest.get(..n).ok_or_else(cut)?;
            Ok((first >> 2 & 0xf, 1 + n, Length::Whole(number(len))))
        }
        0xc0.. => {
            let (n, length) = length(rest).ok_or_else(cut)?;
            Ok((first & 0x3f, 1 + n, length))
        }
    }
}

/// Section 4.2.1: how many bytes a length takes, and what it is.
pub(super) fn length(bytes: &[u8]) -> Option<(usize, Length)> {
    Some(match *bytes.first()? {
        n @ 0..192 => (1, Length::Whole(usize::from(n))),
        n @ 192..224 => (2, Length::Whole((usize::from(n - 192) << 8) + usize::from(*bytes.get(1)?) + 192)),
        n @ 224..=254 => (1, Length::Part(1 << (n & 0x1f))),
        255 => (5, Length::Whole(number(bytes.get(1..5)?))),
    })
}

/// Of up to four bytes, big-endian.
pub(super) fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |n, &b| n << 8 | usize::from(b))
}

/// A subpacket of a signature. Section 5.2.3.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subpacket<'a> {
    pub kind: u8,
    pub critical: bool,
    pub body: &'a [u8],
}

pub(super) fn subpackets(mut bytes: &[u8]) -> Result<Vec<Subpacket<'_>>, String> {
    let cut = || "ends within a subpacket".to_owned();
    let mut out = Vec::new();
    while let Some(&first) = bytes.first() {
        // As a packet's length, but that there are no parts: 224 to 254 start a length of two bytes, too.
        let (n, len) = match first {
            224..=254 => {
                let low = usize::from(*bytes.get(1).ok_or_else(cut)?);
                (2, (usize::from(first - 192) << 8) + low + 192)
            }
            _ => match length(bytes) {
                Some((n, Length::Whole(len))) => (n, len),
                _ => return Err(cut()),
            },
        };
        let (kind, body) =
            bytes.get(n..).and_then(|b| b.get(..len)).and_then(|b| b.split_first()).ok_or_else(cut)?;
        out.push(Subpacket { kind: kind & 0x7f, critical: kind & 0x80 != 0, body });
        bytes = &bytes[n + len..];
    }
    Ok(out)
}

/// Takes a multiprecision integer off the front. Section 3.2.
pub(super) fn mpi<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (bits, rest) = bytes.split_at_checked(2)?;
    let (value, rest) = rest.split_at_checked(number(bits).div_ceil(8))?;
    *bytes = rest;
    // Leading zeros don't belong there.
    Some(&value[value.iter().take_while(|&&b| b == 0).count()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_both_kinds() {
        let bytes =
            [&[0x88u8, 2, 1, 2][..], &[0xc2, 1, 3], &[0x99, 0, 1, 4], &[0xc6, 192, 8], &[5; 200]].concat();
        let all = packets(&bytes).unwrap();
        let short: Vec<(u8, usize)> = all.iter().map(|p| (p.tag, p.body.len())).collect();
        assert_eq!(short, [(2, 2), (2, 1), (6, 1), (6, 200)]);
        for (bytes, word) in [
            (&[0x88u8, 3, 1][..], "ends within a packet"),
            (&[0x8b, 0], "unknown length"),
            (&[0xc2, 225, 0], "in parts"),
            (&[0xc2, 255, 255, 255, 255, 255], "ends within a packet"),
            (&[0xc2], "ends within a packet"),
            (&[7], "between its packets"),
        ] {
            let error = packets(bytes).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn numbers() {
        let mut bytes: &[u8] = &[0, 9, 1, 2, 0, 0, 0, 8, 0, 0, 17, 1];
        assert_eq!(mpi(&mut bytes), Some(&[1, 2][..]));
        assert_eq!(mpi(&mut bytes), Some(&[][..]));
        assert_eq!(mpi(&mut bytes), Some(&[][..]));
        assert_eq!(mpi(&mut bytes), None);
    }

    #[test]
    fn armour() {
        let text =
            "junk\n-----BEGIN PGP SIGNATURE-----\nVersion: x\n\niAI=\n=abcd\n-----END PGP SIGNATURE-----\n";
        assert_eq!(unarmour(text.as_bytes()).unwrap(), [0x88, 2]);
        assert_eq!(unarmour(&[0x88, 2]).unwrap(), [0x88, 2]);
        for bad in ["", "<html>", "-----BEGIN PGP SIGNATURE-----\n\niAI=\n"] {
            assert!(unarmour(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
