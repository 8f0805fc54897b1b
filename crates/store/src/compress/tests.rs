use std::io::Write;

use super::*;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    e.write_all(data).unwrap();
    e.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    let mut e = zstd::Encoder::new(Vec::new(), 3).unwrap();
    e.include_checksum(true).unwrap();
    e.write_all(data).unwrap();
    e.finish().unwrap()
}

fn zstd_long(data: &[u8], window_log: u32) -> Vec<u8> {
    let mut e = zstd::Encoder::new(Vec::new(), 1).unwrap();
    e.window_log(window_log).unwrap();
    e.write_all(data).unwrap();
    e.finish().unwrap()
}

fn bzip2(data: &[u8]) -> Vec<u8> {
    let mut e = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    e.write_all(data).unwrap();
    e.finish().unwrap()
}

fn xz(data: &[u8]) -> Vec<u8> {
    let mut e = liblzma::write::XzEncoder::new(Vec::new(), 1);
    e.write_all(data).unwrap();
    e.finish().unwrap()
}

fn decode_with(input: &[u8], limits: DecodeLimits) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut decoder = Decoder::new(input, limits).map_err(|e| e.to_string())?;
    decoder.read_to_end(&mut out).map_err(|e| e.to_string())?;
    assert_eq!(decoder.bytes_in(), input.len() as u64, "drained");
    assert_eq!(decoder.bytes_out(), out.len() as u64);
    Ok(out)
}

fn decode(input: &[u8]) -> Result<Vec<u8>, String> {
    decode_with(input, DecodeLimits::default())
}

/// Text that compresses, but not too well.
fn sample() -> Vec<u8> {
    let mut x = 1u32;
    let mut word = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("{} ", x >> 20)
    };
    std::iter::repeat_with(|| word().into_bytes()).take(50_000).flatten().collect()
}

type Encode = fn(&[u8]) -> Vec<u8>;

const ALL: [(&str, Encode); 5] =
    [("plain", <[u8]>::to_vec), ("gzip", gzip), ("zstd", zstd), ("bzip2", bzip2), ("xz", xz)];

#[test]
fn decodes_all_formats_in_one_or_more_streams() {
    let data = sample();
    for (name, encode) in ALL {
        let one = encode(&data);
        assert_eq!(Decoder::new(&one[..], DecodeLimits::default()).unwrap().compression().to_string(), name);
        assert!(decode(&one).unwrap() == data, "{name}");
        let two = [encode(&data[..777]), encode(b""), encode(&data[777..])].concat();
        assert!(decode(&two).unwrap() == data, "{name} in parts");
    }
    assert_eq!(decode(b"").unwrap(), b"");
    assert_eq!(decode(b"\x1f").unwrap(), b"\x1f");
}

/// Hands out a few bytes at a time, as networks do.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(7);
        self.0.read(&mut buf[..n])
    }
}

#[test]
fn decodes_from_short_reads() {
    let data = sample();
    for (name, encode) in ALL {
        let encoded = [encode(&data), encode(&data)].concat();
        let mut out = Vec::new();
        Decoder::new(Slow(&encoded), DecodeLimits::default()).unwrap().read_to_end(&mut out).unwrap();
        assert!(out == [&data[..], &data[..]].concat(), "{name}");
    }
}

#[test]
fn gzip_may_be_padded_with_nul() {
    let data = sample();
    let padded = [gzip(&data), vec![0; 100_000]].concat();
    assert!(decode(&padded).unwrap() == data);
    let junk = [gzip(&data), vec![0; 100_000], gzip(&data)].concat();
    assert_eq!(decode(&junk).unwrap_err(), "gzip stream has other data behind its end");
}

#[test]
fn zstd_skips_skippable_frames() {
    let skippable = b"\x5a\x2a\x4d\x18\x03\0\0\0abc";
    let stream = [&skippable[..], &zstd(b"one"), skippable, &zstd(b"two"), skippable].concat();
    assert_eq!(decode(&stream).unwrap(), b"onetwo");
}

#[test]
fn refuses_truncated_damaged_and_trailing_data() {
    let data = sample();
    for (name, encode) in ALL.into_iter().skip(1) {
        let good = encode(&data);
        for cut in [good.len() - 1, good.len() - 9, good.len() / 2, 9] {
            let e = decode(&good[..cut]).unwrap_err();
            assert!(e.starts_with(&format!("{name} stream ")), "{name} {cut}: {e}");
        }
        let junk = [&good[..], b"some junk at the end of it"].concat();
        let e = decode(&junk).unwrap_err();
        assert!(e.starts_with(&format!("{name} stream ")), "{name}: {e}");
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 0x55;
        let e = decode(&flipped).unwrap_err();
        assert!(e.starts_with(&format!("{name} stream ")), "{name}: {e}");
    }
    // The data is whole, its checksum isn't: CRC32, then the length.
    for from_end in [8, 4] {
        let mut bad = gzip(&data);
        let at = bad.len() - from_end;
        bad[at] ^= 1;
        assert!(decode(&bad).unwrap_err().starts_with("gzip stream is damaged"));
    }
}

#[test]
fn gzip_headers_may_have_all_their_fields() {
    let data = sample();
    let plain = gzip(&data);
    let head = [&[0x1f, 0x8b, 8, 0b1_1111, 1, 2, 3, 4, 0, 255], &b"\x05\0extra"[..], b"name\0", b"comment\0"]
        .concat();
    let mut crc = flate2::Crc::new();
    crc.update(&head);
    let sum = crc.sum() as u16;
    let member = |sum: u16| [&head[..], &sum.to_le_bytes(), &plain[10..]].concat();
    let two = [member(sum), member(sum)].concat();
    assert!(decode(&two).unwrap() == [&data[..], &data[..]].concat());
    assert!(decode(&member(!sum)).unwrap_err().ends_with("does not have a matching checksum"));
    for end in 3..head.len() {
        assert_eq!(decode(&head[..end]).unwrap_err(), "gzip stream ends early", "{end}");
    }
    let mut reserved = plain.clone();
    reserved[3] = 0x20;
    assert!(decode(&reserved).unwrap_err().ends_with("invalid gzip header"));
}

#[test]
fn checksums_are_left_to_whoever_compares_digests() {
    let data = sample();
    let mut bad = gzip(&data);
    let at = bad.len() - 8;
    bad[at] ^= 1;
    let mut out = Vec::new();
    let mut decoder = Decoder::without_checksums(&bad[..], DecodeLimits::default()).unwrap();
    decoder.read_to_end(&mut out).unwrap();
    assert!(out == data);
    // The length costs nothing.
    bad[at + 4] ^= 1;
    let mut decoder = Decoder::without_checksums(&bad[..], DecodeLimits::default()).unwrap();
    decoder.read_to_end(&mut Vec::new()).unwrap_err();
}

#[test]
fn says_what_it_can_not_decode() {
    for (head, name) in [
        (&b"\x04\x22\x4d\x18rest"[..], "lz4"),
        (b"PK\x03\x04rest", "zip"),
        (b"\x5d\0\0\x80\0\xff\xff\xff\xff", "lzma"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"\x1f\x9d\x90", "compress"),
    ] {
        let expected = format!("compressed with {name}, expected gzip, zstd, bzip2, xz or plain");
        assert_eq!(decode(head).unwrap_err(), expected);
    }
}

#[test]
fn bombs_end_at_the_limits() {
    let zeros = vec![b'x'; 8 << 20];
    let limits = DecodeLimits { ratio_from: 1 << 20, ..DecodeLimits::default() };
    for (name, encode) in ALL.into_iter().skip(1) {
        let bomb = encode(&zeros);
        let e = decode_with(&bomb, limits).unwrap_err();
        assert_eq!(e, format!("{name} stream unfolds to more than 250 times its size"));
        assert!(decode(&bomb).unwrap() == zeros, "small enough for the default limits");
        let small = DecodeLimits { bytes: (8 << 20) - 1, ..DecodeLimits::default() };
        let e = decode_with(&bomb, small).unwrap_err();
        assert_eq!(e, format!("{name} stream is larger than 8388607 bytes when decompressed"));
    }
    assert!(decode_with(&zeros, limits).unwrap() == zeros, "nothing unfolds in plain data");
}

#[test]
fn zeros_have_a_budget_of_their_own() {
    // As docker packs a sparse log: a little data, and a thousand times as many zeros.
    let mut log = sample();
    log.resize(16 << 20, 0);
    let strict = DecodeLimits { bytes: 1 << 20, ratio_from: 1 << 20, ..DecodeLimits::default() };
    for (name, encode) in ALL {
        let packed = encode(&log);
        assert!(decode_with(&packed, strict).unwrap() == log, "{name}");
        let few = DecodeLimits { zeros: 8 << 20, ..DecodeLimits::default() };
        let e = decode_with(&packed, few).unwrap_err();
        assert_eq!(e, format!("{name} stream unfolds to more than 8388608 bytes of zeros"));
    }
    let ratio = DecodeLimits { zeros_from: 1 << 20, ..DecodeLimits::default() };
    let zeros = vec![0; 16 << 20];
    assert!(decode_with(&gzip(&zeros), ratio).unwrap() == zeros, "gzip's best is allowed");
    let e = decode_with(&zstd(&zeros), ratio).unwrap_err();
    assert!(e.starts_with("zstd stream unfolds to more than"), "{e}");
    // A block with anything in it is data.
    let mut sprinkled = vec![0; 8 << 20];
    sprinkled.iter_mut().step_by(4096).for_each(|b| *b = 1);
    let e = decode_with(&gzip(&sprinkled), strict).unwrap_err();
    assert_eq!(e, "gzip stream is larger than 1048576 bytes when decompressed");
}

#[test]
fn a_decoder_takes_no_more_memory_than_allowed() {
    let data = sample();
    let limits = DecodeLimits { memory: 1 << 20, ..DecodeLimits::default() };
    assert!(decode_with(&zstd_long(&data, 20), limits).unwrap() == data);
    let e = decode_with(&zstd_long(&data, 21), limits).unwrap_err();
    assert!(e.starts_with("zstd stream is damaged: Frame requires too much memory"), "{e}");
    assert!(decode(&zstd_long(&data, 27)).unwrap() == data);
    let e = decode_with(&xz(&data), DecodeLimits { memory: 1 << 16, ..limits }).unwrap_err();
    assert!(e.starts_with("xz stream is damaged"), "{e}");
}

/// Fails after some bytes, as a connection does.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 => Err(io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer")),
            n => Ok(n),
        }
    }
}

#[test]
fn errors_of_the_source_come_through() {
    for (name, encode) in ALL {
        let encoded = encode(&sample());
        for cut in [0, 5, 20, encoded.len() / 2, encoded.len()] {
            let result = Decoder::new(Broken(&encoded[..cut]), DecodeLimits::default())
                .and_then(|mut d| d.read_to_end(&mut Vec::new()));
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ConnectionReset, "{name} {cut}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_end_without_panic(mut head in 0usize..6, data: Vec<u8>, at: proptest::sample::Index, value: u8) {
        let limits = DecodeLimits { bytes: 1 << 20, ..DecodeLimits::default() };
        let mut input = if head == 5 { head = 0; data.clone() } else { ALL[head].1(&data) };
        if !input.is_empty() {
            let i = at.index(input.len());
            input[i] = value;
        }
        let mut out = Vec::new();
        let result = Decoder::new(&input[..], limits).and_then(|mut d| d.read_to_end(&mut out));
        // All four have checksums here, so what comes out is right or an error; a changed time stamp is harmless.
        if head > 0 && result.is_ok() && CompressionFormat::sniff(&input).is_ok_and(|c| c != CompressionFormat::None) {
            proptest::prop_assert_eq!(out, data);
        }
    }
}
