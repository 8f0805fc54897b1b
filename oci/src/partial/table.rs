//! A table of contents as JSON, and what it comes to: headers of a tar, and pieces of content between them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use store::Digest;

use super::header::{BLOCK, Header};

/// Bytes that stand before the pieces of one compressed part, all together: whoever reads them all unpacks that many.
const SKIPPED_MAX: u64 = 256 << 20;
/// The only version there is.
const VERSION: u64 = 1;

/// estargz.md, "TOCEntry", and what zstd:chunked has added to it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEntry {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    size: u64,
    #[serde(default, rename = "modtime")]
    time: Option<String>,
    #[serde(default)]
    link_name: String,
    #[serde(default)]
    mode: i64,
    #[serde(default)]
    uid: u64,
    #[serde(default)]
    gid: u64,
    #[serde(default)]
    dev_major: u32,
    #[serde(default)]
    dev_minor: u32,
    /// Values in Base64.
    #[serde(default)]
    xattrs: Option<BTreeMap<String, String>>,
    /// Of the whole file.
    #[serde(default)]
    digest: String,
    /// Where the piece is in the layer. Bytes.
    #[serde(default)]
    offset: u64,
    /// What stands before the piece when it is unpacked. Bytes.
    #[serde(default)]
    inner_offset: u64,
    #[serde(default)]
    chunk_offset: u64,
    /// Zero: all the rest of the file.
    #[serde(default)]
    chunk_size: u64,
    #[serde(default)]
    chunk_digest: String,
    #[serde(default)]
    chunk_type: String,
}

/// Why a table can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TableError(#[from] serde_json::Error);

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Where it is in the tar. Bytes.
    pub at: u64,
    /// Bytes, more than none.
    pub len: u64,
    /// Where it is in the layer, compressed. Bytes.
    pub from: u64,
    /// It ends there at the latest. Bytes.
    pub to: u64,
    /// Bytes that stand before it when it is unpacked.
    pub skip: u64,
    /// Of its bytes.
    pub digest: Digest,
    /// Where the content of its file begins in the tar. Bytes.
    pub file: u64,
}

/// A tar without content, as it grows: the headers go to a file whose length at the end is the tar's, so that only the pieces are in memory.
pub(super) struct Table<'f> {
    file: &'f File,
    /// Ascending, in the tar and in the layer.
    pub chunks: Vec<Chunk>,
    /// Of the tar. Bytes.
    pub len: u64,
    /// What the last file still lacks.
    rest: Option<Rest>,
    /// Of [`SKIPPED_MAX`].
    skipped: u64,
}

impl<'f> Table<'f> {
    /// `size` is that of the layer in bytes, `file` is new.
    ///
    /// # Errors
    /// Something without a digest, a gap, or an entry of an unknown type: nothing of the table counts then.
    pub(super) fn parse(json: &[u8], size: u64, file: &'f File) -> Result<Table<'f>, TableError> {
        let mut table = Table { file, chunks: Vec::new(), len: 0, rest: None, skipped: 0 };
        let mut input = serde_json::Deserializer::from_slice(json);
        let custom = |why: String| <serde_json::Error as serde::de::Error>::custom(why);
        (&mut input).deserialize_map(Document(&mut table))?;
        input.end()?;
        table.finish_file().and_then(|()| table.bound(size)).map_err(|why| custom(why.to_owned()))?;
        // Two blocks of zeros end a tar.
        table.len = table.len.saturating_add(2 * BLOCK);
        file.set_len(table.len).map_err(|e| custom(e.to_string()))?;
        Ok(table)
    }

    fn entry(&mut self, entry: &WireEntry) -> Result<(), String> {
        let failed = |why: &str| format!("entry {:?}: {why}", store::digest::shorten(&entry.name));
        if entry.kind == "chunk" {
            let Some(mut rest) = self.rest.take().filter(|rest| rest.name == entry.name) else {
                return Err(failed("chunk without a file"));
            };
            self.piece(&mut rest, entry).map_err(failed)?;
            self.rest = Some(rest);
            return Ok(());
        }
        self.finish_file().map_err(failed)?;
        let header = header(entry).map_err(failed)?;
        let content = if entry.kind == "reg" { entry.size } else { 0 };
        let start = self.len.checked_add(header.len() as u64);
        let padded = content.checked_next_multiple_of(BLOCK);
        let end = start.zip(padded).and_then(|(start, len)| start.checked_add(len));
        let (Some(start), Some(end)) = (start, end) else { return Err(failed("layer is too large")) };
        self.file.write_all_at(&header, self.len).map_err(|e| failed(&e.to_string()))?;
        self.len = end;
        let mut rest = Rest { name: entry.name.clone(), start, len: content, done: 0 };
        if content > 0 {
            self.piece(&mut rest, entry).map_err(failed)?;
        }
        self.rest = Some(rest);
        Ok(())
    }

    fn finish_file(&mut self) -> Result<(), &'static str> {
        match self.rest.take() {
            Some(rest) if rest.done < rest.len => Err("a file lacks chunks"),
            _ => Ok(()),
        }
    }

    /// One piece of a file, right behind the one before.
    fn piece(&mut self, rest: &mut Rest, entry: &WireEntry) -> Result<(), &'static str> {
        let left = rest.len - rest.done;
        let len = if entry.chunk_size == 0 { left } else { entry.chunk_size };
        if entry.chunk_offset != rest.done || len > left || len == 0 {
            return Err("chunks don't make up the file");
        }
        let whole = len == rest.len;
        let at = rest.start + rest.done;
        rest.done += len;
        match entry.chunk_type.as_str() {
            // A hole, which the tar has there, too.
            "zeros" => return Ok(()),
            "" | "data" => {}
            _ => return Err("chunk of an unknown type"),
        }
        // Of a file in one piece, either will do.
        let digest = if entry.chunk_digest.is_empty() && whole { &entry.digest } else { &entry.chunk_digest };
        let digest = digest.parse().map_err(|_| "chunk without a digest")?;
        let (from, skip) = (entry.offset, entry.inner_offset);
        if let Some(last) = self.chunks.last()
            && (last.from, last.skip) >= (from, skip)
        {
            return Err("chunks are out of order");
        }
        self.skipped = match self.chunks.last() {
            Some(last) if last.from == from => self.skipped.saturating_add(skip),
            _ => skip,
        };
        if self.skipped > SKIPPED_MAX {
            return Err("too much has to be unpacked for its pieces");
        }
        self.chunks.push(Chunk { at, len, from, to: 0, skip, digest, file: rest.start });
        Ok(())
    }

    /// Each piece ends where the next one begins, or with the layer.
    fn bound(&mut self, size: u64) -> Result<(), &'static str> {
        let mut next = (size, size);
        for chunk in self.chunks.iter_mut().rev() {
            if chunk.from != next.0 {
                next = (chunk.from, next.0);
            }
            chunk.to = next.1;
            if chunk.from >= chunk.to {
                return Err("a chunk is outside of the layer");
            }
        }
        Ok(())
    }
}

/// A file whose pieces are being read.
struct Rest {
    name: String,
    /// In the tar. Bytes.
    start: u64,
    /// Bytes.
    len: u64,
    done: u64,
}

/// The document, of which no more than an entry is in memory at once.
struct Document<'t, 'f>(&'t mut Table<'f>);

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of contents")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut version, mut has_entries) = (None, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => version = Some(map.next_value::<u64>()?),
                "entries" if has_entries => return Err(A::Error::custom("entries are there twice")),
                "entries" => {
                    has_entries = true;
                    map.next_value_seed(Entries(self.0))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match version {
            Some(VERSION) if has_entries => Ok(()),
            _ => Err(A::Error::custom(format!("version is {version:?}, expected {VERSION} with entries"))),
        }
    }
}

struct Entries<'t, 'f>(&'t mut Table<'f>);

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(entry) = seq.next_element::<WireEntry>()? {
            self.0.entry(&entry).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

fn header(entry: &WireEntry) -> Result<Vec<u8>, &'static str> {
    // What isn't UTF-8 is replaced by this when the table is written: another name than in the tar.
    if entry.name.contains('\u{fffd}') || entry.link_name.contains('\u{fffd}') {
        return Err("name isn't UTF-8");
    }
    let letter = match entry.kind.as_str() {
        "reg" => b'0',
        "hardlink" => b'1',
        "symlink" => b'2',
        "char" => b'3',
        "block" => b'4',
        "dir" => b'5',
        "fifo" => b'6',
        _ => return Err("type is unknown"),
    };
    let mut xattrs = Vec::new();
    for (name, value) in entry.xattrs.iter().flatten() {
        xattrs.push((name.as_str(), STANDARD.decode(value).map_err(|_| "attribute isn't Base64")?));
    }
    let mtime = entry.time.as_deref().map_or(Some(0), seconds).ok_or("time isn't RFC 3339")?;
    // The root itself, which eStargz calls nothing.
    let name = if entry.name.is_empty() { "./" } else { &entry.name };
    let header = Header {
        name,
        link: &entry.link_name,
        letter,
        size: if letter == b'0' { entry.size } else { 0 },
        mode: (entry.mode & 0o7777) as u32,
        owner: (entry.uid, entry.gid),
        device: (entry.dev_major, entry.dev_minor),
        mtime,
        xattrs,
    };
    Ok(header.bytes())
}

/// `YYYY-MM-DDTHH:MM:SS`, perhaps a fraction, and `Z` or an offset: RFC 3339, in seconds since 1970, rounded down.
fn seconds(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
    };
    let punctuation = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !punctuation.iter().all(|(at, byte)| bytes.get(*at) == Some(byte)) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    let offset = match rest {
        "Z" => 0,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = rest.strip_prefix(['+', '-'])?.split_once(':')?;
            let two = |digits: &str, most: i64| {
                let digits =
                    Some(digits).filter(|d| d.len() == 2 && d.bytes().all(|b| b.is_ascii_digit()))?;
                digits.parse::<i64>().ok().filter(|n| *n <= most)
            };
            sign * (two(hours, 23)? * 3600 + two(minutes, 59)? * 60)
        }
    };
    // Years that begin in March, so that the odd day is the last.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1;
    /// Days from the first of March of year 0 to 1970.
    const EPOCH: i64 = 719_468;
    Some((days - EPOCH) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of two files, in two pieces and in one.
    const GOOD: &str = r#"{"version":1,"entries":[
        {"name":"a","type":"reg","size":7,"offset":10,"chunkSize":4,"chunkDigest":"sha256:AA","modtime":"2024-01-01T00:00:00Z"},
        {"name":"a","type":"chunk","offset":20,"chunkOffset":4,"chunkSize":3,"chunkDigest":"sha256:AA"},
        {"name":"b/","type":"dir","mode":493,"xattrs":{"user.x":"eA=="}},
        {"name":"c","type":"reg","size":5,"offset":30,"digest":"sha256:AA"}]}"#;

    fn good() -> String {
        GOOD.replace("AA", &Digest::of("").hex())
    }

    #[test]
    fn pieces_follow_each_other() {
        let file = tempfile::tempfile().unwrap();
        let table = Table::parse(good().as_bytes(), 40, &file).unwrap();
        let places: Vec<_> = table.chunks.iter().map(|c| (c.len, c.from, c.to)).collect();
        assert_eq!(places, [(4, 10, 20), (3, 20, 30), (5, 30, 40)]);
        assert_eq!(table.chunks[0].at + 4, table.chunks[1].at);
        assert_eq!((table.len, file.metadata().unwrap().len()), (table.len, table.len));
        let odd = |size, text: String| {
            Table::parse(text.as_bytes(), size, &tempfile::tempfile().unwrap()).err().unwrap().to_string()
        };
        for (size, from, to, word) in [
            (30, "", "", "outside of the layer"),
            (40, "\"version\":1", "\"version\":2", "expected 1"),
            (40, "\"size\":7", "\"size\":8", "lacks chunks"),
            (40, "\"name\":\"a\",\"type\":\"chunk\"", "\"name\":\"z\",\"type\":\"chunk\"", "without a file"),
            (40, "eA==", "?", "Base64"),
            (40, "\"offset\":30", "\"offset\":30,\"innerOffset\":300000000", "too much has to be unpacked"),
        ] {
            let got = odd(size, good().replace(from, to));
            assert!(got.contains(word), "{word}: {got}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_an_error_or_a_sound_table(at: proptest::sample::Index, bytes: Vec<u8>) {
            let mut text = good().into_bytes();
            let at = at.index(text.len());
            let end = (at + bytes.len()).min(text.len());
            text.splice(at..end, bytes);
            let file = tempfile::tempfile().unwrap();
            if let Ok(table) = Table::parse(&text, 40, &file) {
                let mut end = (0, 0);
                for chunk in &table.chunks {
                    proptest::prop_assert!(chunk.at >= end.0 && chunk.from >= end.1 && chunk.to <= 40 && chunk.from < chunk.to);
                    end = (chunk.at + chunk.len, chunk.from);
                }
                proptest::prop_assert!(end.0 <= table.len);
            }
        }
    }

    #[test]
    fn times_become_seconds() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T23:59:59.999Z", Some(951_868_799)),
            ("2024-03-01T01:00:00+01:00", Some(1_709_251_200)),
            ("1969-12-31T23:59:59Z", Some(-1)),
            ("0001-01-01T00:00:00Z", Some(-62_135_596_800)),
            ("2024-01-01T00:00:00+99999999999999999:00", None),
            ("2024-01-01T00:00:00+-5:00", None),
            ("2024-01-01T00:00:00+24:00", None),
            ("2024-13-01T00:00:00Z", None),
            ("2024-01-01 00:00:00", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
