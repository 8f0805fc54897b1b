//! The part of SQLite's format that is needed to read the table `Packages`: a table's B-tree with its overflow pages.
//! <https://www.sqlite.org/fileformat.html>; numbers are big-endian.
//!
//! A write-ahead log isn't read: rpm leaves nothing in it.

use std::collections::HashSet;

use super::Stop;
use crate::DatabaseError;

const MAGIC: &[u8] = b"SQLite format 3\0";
const FILE_HEADER: usize = 100;

/// Kinds of pages of a table.
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;

/// Hands over the second column of each row of the table.
pub(super) fn blobs(
    bytes: &[u8],
    take: &mut dyn FnMut(&[u8]) -> Result<(), DatabaseError>,
) -> Result<(), Stop> {
    let file = File::new(bytes).ok_or("not an SQLite database")?;
    let mut root = None;
    file.rows(1, &mut |row| {
        let columns = columns(row);
        let is = |i: usize, name: &[u8]| columns.get(i).is_some_and(|c: &Column<'_>| c.bytes == name);
        if is(0, b"table") && is(1, b"Packages") {
            root = columns.get(3).and_then(Column::number);
        }
        Ok(())
    })?;
    let root = root.ok_or("an SQLite database without the table Packages")?;
    file.rows(root, &mut |row| match columns(row).get(1) {
        Some(blob) => take(blob.bytes),
        None => Ok(()),
    })
}

struct File<'b> {
    bytes: &'b [u8],
    page: usize,
    /// Bytes of a page that the B-trees use.
    usable: usize,
}

impl<'b> File<'b> {
    fn new(bytes: &'b [u8]) -> Option<File<'b>> {
        bytes.strip_prefix(MAGIC)?;
        let page = match u16::from_be_bytes(*bytes.get(16..)?.first_chunk()?) {
            1 => 65536,
            n if n >= 512 && n.is_power_of_two() => usize::from(n),
            _ => return None,
        };
        let usable = page - usize::from(*bytes.get(20)?);
        (usable >= 480).then_some(File { bytes, page, usable })
    }

    /// A page by its number, from 1.
    fn page(&self, number: u32) -> Option<&'b [u8]> {
        let at = (number as usize).checked_sub(1)?.checked_mul(self.page)?;
        self.bytes.get(at..at.checked_add(self.page)?)?.get(..self.usable)
    }

    /// Hands over the records of a table.
    fn rows(&self, root: u32, take: &mut dyn FnMut(&[u8]) -> Result<(), DatabaseError>) -> Result<(), Stop> {
        let mut todo = vec![root];
        // Pages that lead to each other, and rows that share pages, would have no end.
        let mut seen = HashSet::new();
        let mut budget = self.bytes.len();
        while let Some(number) = todo.pop() {
            if !seen.insert(number) {
                return Err("pages of the SQLite database lead in a circle".into());
            }
            let page = self.page(number).ok_or("a page of the SQLite database is missing")?;
            let at = if number == 1 { FILE_HEADER } else { 0 };
            let (Some(head), Some(&kind)) = (page.get(at..), page.get(at)) else { continue };
            let cells = usize::from(short(head, 3).unwrap_or_default());
            let pointers = head.get(if kind == INTERIOR { 12 } else { 8 }..).unwrap_or_default();
            let starts = (0..cells).map_while(|i| short(pointers, i * 2)).map(usize::from);
            match kind {
                INTERIOR => {
                    // The last one first, so that they are taken in order.
                    todo.extend(long(head, 8));
                    let children: Vec<u32> = starts.filter_map(|start| long(page.get(start..)?, 0)).collect();
                    todo.extend(children.into_iter().rev());
                }
                LEAF => {
                    for cell in starts.filter_map(|start| page.get(start..)) {
                        let Some((len, rest)) = varint(cell) else { continue };
                        // Before anything is gathered: a chain of pages may end on a missing one.
                        let len = usize::try_from(len).ok().filter(|&len| len <= budget);
                        let len = len.ok_or("rows of the SQLite database overlap")?;
                        budget -= len;
                        if let Some(record) = self.record(len, rest) {
                            take(&record).map_err(Stop::Taken)?;
                        }
                    }
                }
                _ => return Err("a page of the SQLite database is none of a table".into()),
            }
        }
        Ok(())
    }

    /// The record of a leaf's cell, gathered from its overflow pages. `rest` is what follows its length.
    fn record(&self, len: usize, rest: &[u8]) -> Option<Vec<u8>> {
        let (_, rest) = varint(rest)?;
        // "B-tree Cell Format": how much of it is in the cell.
        let most = self.usable - 35;
        let least = (self.usable - 12) * 32 / 255 - 23;
        let local = match len <= most {
            true => len,
            false => {
                let wanted = least + (len - least) % (self.usable - 4);
                if wanted <= most { wanted } else { least }
            }
        };
        let mut out = rest.get(..local)?.to_vec();
        let mut next = if local < len { long(rest, local)? } else { 0 };
        while out.len() < len {
            let page = self.page(next)?;
            next = long(page, 0)?;
            let more = page.get(4..)?;
            out.extend_from_slice(more.get(..(len - out.len()).min(more.len()))?);
        }
        Some(out)
    }
}

struct Column<'b> {
    kind: u64,
    bytes: &'b [u8],
}

impl Column<'_> {
    /// An integer that isn't negative.
    fn number(&self) -> Option<u32> {
        match self.kind {
            9 => Some(1),
            1..=6 => {
                let value = self.bytes.iter().fold(0u64, |n, &b| n << 8 | u64::from(b));
                u32::try_from(value).ok()
            }
            _ => None,
        }
    }
}

/// "Record Format": the types of all columns, then their values. No table that is read here has more than five.
fn columns(record: &[u8]) -> Vec<Column<'_>> {
    let mut out = Vec::new();
    let Some((header, _)) = varint(record) else { return out };
    let Ok(header) = usize::try_from(header) else { return out };
    let (Some(types), Some(mut values)) = (record.get(..header), record.get(header..)) else { return out };
    let mut types = varint(types).map(|(_, rest)| rest).unwrap_or_default();
    while let Some((kind, rest)) = varint(types) {
        types = rest;
        let len = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return out,
            n => (n - 12) / 2,
        };
        let Some((value, rest)) = usize::try_from(len).ok().and_then(|l| values.split_at_checked(l)) else {
            return out;
        };
        values = rest;
        out.push(Column { kind, bytes: value });
        if out.len() == 5 {
            return out;
        }
    }
    out
}

/// Seven bits a byte, the highest first; the ninth byte has eight.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for i in 0..9 {
        let &byte = bytes.get(i)?;
        if i == 8 {
            return Some((value << 8 | u64::from(byte), bytes.get(9..)?));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(i + 1..)?));
        }
    }
    None
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

#[cfg(test)]
pub(super) mod testing {
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// A database with these rows, written by SQLite itself.
    pub(in crate::rpm) fn database(page_size: usize, rows: &[Vec<u8>]) -> Vec<u8> {
        let dir =
            std::env::temp_dir().join(format!("packages-{}-{page_size}-{}", std::process::id(), rows.len()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("db");
        let mut script = format!(
            "import sqlite3\ndb = sqlite3.connect({path:?})\ndb.execute('PRAGMA page_size = {page_size}')\n\
             db.execute('CREATE TABLE Other (x)')\n\
             db.execute('CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)')\n"
        );
        for row in rows {
            let hex: String = row.iter().map(|b| format!("{b:02x}")).collect();
            script +=
                &format!("db.execute('INSERT INTO Packages (blob) VALUES (?)', (bytes.fromhex('{hex}'),))\n");
        }
        script += "db.commit()\ndb.close()\n";
        let mut python =
            Command::new("python3").arg("-").stdin(Stdio::piped()).spawn().expect("install python3");
        python.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(python.wait().unwrap().success());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length() {
        assert_eq!(varint(&[0x05, 9]), Some((5, &[9][..])));
        assert_eq!(varint(&[0x81, 0x00]), Some((128, &[][..])));
        assert_eq!(varint(&[0xff; 9]), Some((u64::MAX, &[][..])));
        assert_eq!(varint(&[0xff; 8]), None);
    }

    /// Two pages: the list of tables, and a table whose rows are all the same cell. `overflow` are the page on which it continues,
    /// the one after that, and so on.
    fn rows_alike(rows: u16, len: u16, overflow: &[u32]) -> Vec<u8> {
        const PAGE: usize = 512;
        let record: Vec<u8> =
            [&[6, 23, 29, 29, 1, 13][..], b"table", b"Packages", b"Packages", &[2], b"x"].concat();
        let schema = [&[record.len() as u8, 1][..], &record].concat();
        let mut out = MAGIC.to_vec();
        out.extend((PAGE as u16).to_be_bytes());
        out.resize(FILE_HEADER, 0);
        let at = PAGE - schema.len();
        out.extend([&[LEAF, 0, 0, 0, 1, 0, 0, 0][..], &(at as u16).to_be_bytes()].concat());
        out.resize(at, 0);
        out.extend(schema);
        let cell = 100;
        out.extend([&[LEAF, 0, 0][..], &rows.to_be_bytes(), &[0, 0, 0]].concat());
        (0..rows).for_each(|_| out.extend((cell as u16).to_be_bytes()));
        out.resize(PAGE + cell, 0);
        out.extend([0x80 | (len >> 7) as u8, len as u8 & 0x7f, 1]);
        // As much as a cell has of a long record: (512 - 12) * 32 / 255 - 23, or what is left over from full pages.
        let wanted = 39 + (usize::from(len) - 39) % 508;
        let local = if wanted <= PAGE - 35 { wanted } else { 39 };
        out.resize(out.len() + local, 0);
        for next in overflow {
            out.extend(next.to_be_bytes());
            out.resize(out.len().next_multiple_of(PAGE), 0);
        }
        out
    }

    #[test]
    fn rows_hold_no_more_than_the_file() {
        let overlap = "rows of the SQLite database overlap";
        for (rows, len, overflow, expected) in [
            (1, 1500, &[3, 4, 5, 0][..], Ok(())),
            (2, 1500, &[3, 4, 5, 0], Err(overlap)),
            // Nothing is gathered of what ends on a missing page, but the way to it costs as much.
            (1, 1500, &[3, 99], Ok(())),
            (20, 1500, &[3, 99], Err(overlap)),
            // More than the file has.
            (1, 9000, &[3, 4, 3], Err(overlap)),
        ] {
            let bytes = rows_alike(rows, len, overflow);
            let end = blobs(&bytes, &mut |_| Ok(())).map_err(|stop| match stop {
                Stop::Format(what) => what,
                Stop::Taken(e) => panic!("{e}"),
            });
            assert_eq!(end, expected, "{rows} rows, {len} bytes, {overflow:?}");
        }
    }

    #[test]
    fn other_files_are_refused() {
        for bytes in [&b""[..], b"SQLite format 3\0", &[0; 5000]] {
            let end = blobs(bytes, &mut |_| Ok(()));
            assert!(matches!(end, Err(Stop::Format("not an SQLite database"))), "{end:?}");
        }
    }
}
