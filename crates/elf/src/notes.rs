//! ELF notes: dependencies that a program opens by dlopen. UAPI.12, <https://uapi-group.org/specifications/specs/elf_dlopen_metadata/>.

use object::elf;
use serde::Deserialize;

use crate::layout::Layout;
use crate::raw::Format;
use crate::source::Source;
use crate::{Defect, ElfError};

/// Type of a dlopen note; its owner is "FDO". UAPI.12.
const DLOPEN_TYPE: u32 = 0x407c_0c0a;
const DLOPEN_OWNER: &[u8] = b"FDO\0";
/// Largest descriptor that is read. Bytes.
const MAX_DESCRIPTOR: u64 = 1 << 20;
/// Most notes of one file that are walked; a compiler's own annotations make tens of thousands.
const MAX_NOTES: usize = 1 << 20;

/// How much a program misses a library that isn't there. UAPI.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// It doesn't work without.
    Required,
    /// An important part of it doesn't work without; the default.
    Recommended,
    /// It does without.
    Suggested,
}

/// One dependency by dlopen. UAPI.12.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DlopenNote {
    /// Alternatives; the first that there is gets used.
    pub soname: Vec<Vec<u8>>,
    /// What it is for, one word.
    pub feature: Option<String>,
    /// What it is for, for people.
    pub description: Option<String>,
    /// How much it is missed.
    pub priority: Priority,
}

#[derive(Deserialize)]
struct Stored {
    soname: Vec<String>,
    feature: Option<String>,
    description: Option<String>,
    priority: Option<String>,
}

/// What a descriptor says: a JSON array, NUL-terminated.
fn parse(descriptor: &[u8]) -> Result<Vec<DlopenNote>, String> {
    let end = descriptor.iter().position(|&b| b == 0).unwrap_or(descriptor.len());
    let stored: Vec<Stored> = serde_json::from_slice(&descriptor[..end]).map_err(|e| e.to_string())?;
    let note = |s: Stored| {
        if s.soname.is_empty() {
            return Err("soname is empty".to_owned());
        }
        Ok(DlopenNote {
            soname: s.soname.into_iter().map(String::into_bytes).collect(),
            feature: s.feature,
            description: s.description,
            priority: match s.priority.as_deref() {
                Some("required") => Priority::Required,
                Some("suggested") => Priority::Suggested,
                _ => Priority::Recommended,
            },
        })
    };
    stored.into_iter().map(note).collect()
}

/// Steps of a note's fields: PT_NOTE with p_align 8 pads to 8, all others to 4.
fn align(p_align: u64) -> u64 {
    if p_align == 8 { 8 } else { 4 }
}

struct Walk<'a, 'c> {
    source: &'a Source<'c>,
    format: Format,
    left: usize,
    notes: Vec<DlopenNote>,
    defects: Vec<Defect>,
}

impl Walk<'_, '_> {
    fn range(&mut self, offset: u64, size: u64, align: u64) -> Result<(), ElfError> {
        let end = offset.saturating_add(size).min(self.source.len());
        let mut at = offset;
        // gABI: namesz, descsz, type, then both padded.
        while at.checked_add(12).is_some_and(|e| e <= end) {
            if self.left == 0 {
                return Err(ElfError::TooMany { what: "notes", limit: MAX_NOTES as u64 });
            }
            self.left -= 1;
            let head = self.source.bytes("note", at, 12)?;
            let field = |i: usize| self.format.u32(&head[i..]).map_or(0, u64::from);
            let (namesz, descsz) = (field(0), field(4));
            let name = at + 12;
            let desc = at + (12 + namesz).next_multiple_of(align);
            let next = desc + descsz.next_multiple_of(align);
            if desc + descsz > end {
                self.defects.push(Defect::Note { offset: at, why: "note is cut off".to_owned() });
                return Ok(());
            }
            let is_dlopen = field(8) == u64::from(DLOPEN_TYPE) && namesz == DLOPEN_OWNER.len() as u64;
            if is_dlopen && self.source.bytes("note", name, namesz)? == DLOPEN_OWNER {
                if descsz > MAX_DESCRIPTOR {
                    return Err(ElfError::TooMany { what: "bytes in a dlopen note", limit: MAX_DESCRIPTOR });
                }
                match parse(&self.source.bytes("note", desc, descsz)?) {
                    Ok(notes) => self.notes.extend(notes),
                    Err(why) => self.defects.push(Defect::Note { offset: at, why }),
                }
            }
            at = next;
        }
        Ok(())
    }
}

/// The dlopen notes in PT_NOTE segments and in note sections that no PT_NOTE covers, and what is wrong with them.
pub(crate) fn dlopen(
    source: &Source<'_>,
    layout: &Layout,
) -> Result<(Vec<DlopenNote>, Vec<Defect>), ElfError> {
    let mut walk =
        Walk { source, format: layout.format, left: MAX_NOTES, notes: Vec::new(), defects: Vec::new() };
    let is_note = |p: &&crate::raw::Phdr| p.p_type == elf::PT_NOTE.0 && !layout.is_stale(p);
    let segments: Vec<_> = layout.phdrs.iter().filter(is_note).collect();
    for p in &segments {
        walk.range(p.p_offset, p.p_filesz, align(p.p_align))?;
    }
    for s in layout.sections.list().iter().filter(|s| s.sh_type == elf::SHT_NOTE.0 && s.is_alloc()) {
        let covered = |p: &&crate::raw::Phdr| {
            s.sh_offset >= p.p_offset && s.sh_offset.saturating_add(s.sh_size) <= p.file_end()
        };
        if !segments.iter().any(covered) {
            walk.range(s.sh_offset, s.sh_size, align(s.sh_addralign))?;
        }
    }
    Ok((walk.notes, walk.defects))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors() {
        let notes = parse(br#"[{"soname":["liba.so.1","liba.so.0"],"priority":"suggested","feature":"a"},{"soname":["b"]}]"#)
            .unwrap();
        assert_eq!(notes[0].soname, [b"liba.so.1".to_vec(), b"liba.so.0".to_vec()]);
        assert_eq!((notes[0].priority, notes[1].priority), (Priority::Suggested, Priority::Recommended));
        assert!(parse(b"[{}]\0").is_err());
        assert!(parse(br#"[{"soname":[]}]"#).is_err());
        assert!(parse(b"").is_err());
    }
}
