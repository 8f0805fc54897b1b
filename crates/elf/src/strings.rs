//! A file's strings: paths of libraries that it may open by dlopen(3), and all that its read-only data holds.

use std::collections::BTreeSet;

use object::elf;
use tree::{Content, ContentError};

use crate::ElfError;
use crate::layout::Layout;
use crate::raw::Phdr;
use crate::source::Source;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;
/// Longest path that counts. Characters. PATH_MAX, linux/limits.h.
const LONGEST: usize = 4096;
/// Bytes of a wchar_t.
const WIDE: usize = 4;
/// Maximum number of paths reported for a file.
const MOST: usize = 256;

/// The NUL-terminated strings of a file that are absolute paths of shared libraries: `/opt/x/plugin.so`, `/opt/x/lib.so.1`.
pub fn library_paths(content: &Content) -> Result<BTreeSet<Vec<u8>>, ContentError> {
    let mut out = BTreeSet::new();
    let mut buffer = vec![0; CHUNK + LONGEST];
    let mut at = 0;
    while out.len() < MOST {
        let n = content.read_at(&mut buffer, at)?;
        // The last string may go on in the next part.
        let strings = buffer[..n].split(|&b| b == 0);
        for string in strings.filter(|s| s.len() < LONGEST && s.first() == Some(&b'/') && is_library(s)) {
            out.insert(string.to_vec());
        }
        if n < buffer.len() {
            break;
        }
        at += CHUNK as u64;
    }
    Ok(out)
}

/// Bytes of a file's loaded data that are looked at.
const MOST_DATA: u64 = 512 << 20;

/// Visits the NUL-terminated strings of a file's loaded data that are text, of char or of wchar_t (as ASCII), without the names
/// of its symbols. In a file whose linker keeps code apart, the code isn't searched.
///
/// # Errors
/// As [`Elf::parse`](crate::Elf::parse).
pub fn read_only_strings(content: &Content, visit: &mut dyn FnMut(&[u8])) -> Result<(), ElfError> {
    let source = Source::new(content);
    let Some(layout) = Layout::read(&source)? else { return Ok(()) };
    let names = layout.strtab()?.map(|(at, len)| at..at.saturating_add(len));
    let flag = |p: &Phdr, flag: elf::ProgramFlags| p.p_flags & flag.0 != 0;
    let constants = |p: &Phdr| !flag(p, elf::PF_X) && !flag(p, elf::PF_W);
    let is_apart = layout.loads().any(|p| constants(p) && p.p_filesz > 0);
    let mut left = MOST_DATA;
    for segment in layout.loads().filter(|p| !is_apart || !flag(p, elf::PF_X)) {
        let end = segment.file_end().min(source.len());
        let len = end.saturating_sub(segment.p_offset).min(left);
        left -= len;
        strings_of(content, segment.p_offset, len, &mut |at, string| {
            if !names.as_ref().is_some_and(|n| n.contains(&at)) {
                visit(string);
            }
        })?;
    }
    Ok(())
}

/// Visits the strings of a part of a file, with the offset of each.
fn strings_of(
    content: &Content,
    start: u64,
    len: u64,
    visit: &mut dyn FnMut(u64, &[u8]),
) -> Result<(), ContentError> {
    let mut buffer = vec![0; CHUNK + WIDE * LONGEST];
    let end = start.saturating_add(len);
    // Whether the last character before the buffer's first is part of no string, of char and of wchar_t.
    let (mut at, mut fresh, mut fresh_wide) = (start, true, true);
    while at < end {
        let room = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let n = content.read_at(&mut buffer[..room], at)?;
        let last = n < buffer.len();
        let mut offset = 0;
        for string in buffer[..n].split(|&b| b == 0) {
            // What starts behind the chunk starts in the next one, too.
            if offset >= CHUNK && !last {
                break;
            }
            let whole = offset > 0 || fresh;
            if whole && (2..LONGEST).contains(&string.len()) && is_text(string) {
                visit(at + offset as u64, string);
            }
            offset += string.len() + 1;
        }
        let starts = if last { n } else { CHUNK };
        wide_strings(&buffer[..n], starts, fresh_wide, &mut |offset, string| {
            visit(at + offset as u64, string);
        });
        if last {
            break;
        }
        fresh = buffer[CHUNK - 1] == 0;
        fresh_wide = ascii(&buffer[CHUNK - WIDE..CHUNK]).is_none();
        at += CHUNK as u64;
    }
    Ok(())
}

/// Visits strings of wchar_t, as far as they are ASCII, that start before `end`. Programs like fish have paths as such.
/// `fresh`: the first character starts a string.
fn wide_strings(bytes: &[u8], end: usize, fresh: bool, visit: &mut dyn FnMut(usize, &[u8])) {
    let mut string = Vec::new();
    let mut whole = fresh;
    for (i, word) in bytes.chunks_exact(WIDE).enumerate() {
        let start = (i - string.len()) * WIDE;
        match ascii(word) {
            Some(byte) if whole && string.len() < LONGEST => string.push(byte),
            // The rest of a string that is too long or began before.
            Some(_) => {
                string.clear();
                whole = false;
            }
            None => {
                if string.len() > 1 && start < end && word.iter().all(|&b| b == 0) {
                    visit(start, &string);
                }
                string.clear();
                whole = true;
            }
        }
    }
}

/// A printable character of ASCII as a little-endian wchar_t.
fn ascii(word: &[u8]) -> Option<u8> {
    match word {
        [byte @ b' '..=b'~', 0, 0, 0] => Some(*byte),
        _ => None,
    }
}

/// Whether there are no control characters in it but those of lines.
fn is_text(string: &[u8]) -> bool {
    string.iter().all(|&b| b >= b' ' && b != 0x7f || matches!(b, b'\t' | b'\n' | b'\r'))
}

/// Whether a path ends as `.so` or `.so.1.2`.
fn is_library(path: &[u8]) -> bool {
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
    let version = |rest: &[u8]| rest.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    name.windows(3).enumerate().any(|(i, w)| {
        let rest = &name[i + 3..];
        i > 0 && w == b".so" && (rest.is_empty() || (rest[0] == b'.' && version(rest)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mentions;

    #[test]
    fn strings_are_seen_once_and_whole() {
        let text = b"one\0/usr/share/x\0\x01bad\0two words\0t";
        for before in [0, 1, CHUNK - 6, CHUNK, CHUNK + LONGEST - 4, 2 * CHUNK - 1] {
            let content = Content::from([vec![0; before], text.to_vec()].concat());
            let mut got = Vec::new();
            strings_of(&content, 0, content.len(), &mut |_, s| {
                got.push(String::from_utf8(s.to_vec()).unwrap())
            })
            .unwrap();
            assert_eq!(got, ["one", "/usr/share/x", "two words"], "{before}");
        }
    }

    #[test]
    fn wide_strings_are_seen_once() {
        let text: Vec<u8> =
            "/usr/share/fish\0é\0two\0".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
        for (before, after) in [0, 4, CHUNK - 8, CHUNK, CHUNK + LONGEST - 4, CHUNK + WIDE * LONGEST - 4]
            .into_iter()
            .flat_map(|before| [(before, 0), (before, 2 * CHUNK)])
        {
            let content = Content::from([vec![0; before], text.clone(), vec![0; after]].concat());
            let mut got = Vec::new();
            strings_of(&content, 0, content.len(), &mut |_, s| {
                got.push(String::from_utf8(s.to_vec()).unwrap())
            })
            .unwrap();
            got.retain(|s| s.len() > 1);
            assert_eq!(got, ["/usr/share/fish", "two"], "{before} {after}");
        }
    }

    #[test]
    fn wide_strings_at_a_border_are_seen_up_to_the_longest() {
        for (len, seen) in [(LONGEST, true), (LONGEST + 1, false), (CHUNK, false)] {
            let text: Vec<u8> = [vec!['a'; len], vec!['\0']]
                .concat()
                .iter()
                .flat_map(|&c| (c as u32).to_le_bytes())
                .collect();
            let content = Content::from([vec![0; CHUNK - 8], text, vec![0; 2 * CHUNK]].concat());
            let mut got = Vec::new();
            strings_of(&content, 0, content.len(), &mut |at, s| got.push((at, s.len()))).unwrap();
            let expected = seen.then_some((CHUNK as u64 - 8, len));
            assert_eq!(got, Vec::from_iter(expected), "{len}");
        }
    }

    /// The name of a function that is called is no data.
    #[test]
    fn names_of_symbols_are_left_out() {
        let content = Content::from(std::fs::read("/proc/self/exe").unwrap());
        let (mut any, mut symbol) = (false, false);
        read_only_strings(&content, &mut |s| {
            any = true;
            symbol |= s == b"pthread_create" || s == b"__cxa_finalize";
        })
        .unwrap();
        assert!(mentions(&content, &["pthread_create"]).unwrap());
        assert!(any && !symbol);
    }

    #[test]
    fn paths_of_libraries_are_told_from_other_strings() {
        let text =
            "x\0/opt/a.so\0/opt/b.so.1.2\0/etc/ld.so.cache\0b.so\0/c.sort\0 /opt/d.so\0/opt/.so\0/opt/%s.so";
        for before in [0, CHUNK - 3, CHUNK + LONGEST - 5, 3 * CHUNK] {
            let content = Content::from([vec![0; before], text.as_bytes().to_vec()].concat());
            let got: Vec<String> = library_paths(&content)
                .unwrap()
                .iter()
                .map(|p| String::from_utf8_lossy(p).into_owned())
                .collect();
            assert_eq!(got, ["/opt/%s.so", "/opt/a.so", "/opt/b.so.1.2"], "{before}");
        }
    }
}
