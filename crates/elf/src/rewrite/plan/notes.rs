//! Two PT_NOTEs that one can stand for. Linkers write one for notes aligned to 8 bytes and one for the others, right behind
//! each other; where all notes happen to end at multiples of 8, both say the same.

use object::elf;

use super::super::model::Model;
use crate::ElfError;
use crate::raw::Phdr;

/// Most bytes of notes that are looked at.
const MAX_NOTES: u64 = 64 << 10;

/// Whether `next` begins where `p` ends, in the file and in memory.
pub(super) fn continues(p: &Phdr, next: &Phdr) -> bool {
    let note = elf::PT_NOTE.0;
    p.p_type == note
        && next.p_type == note
        && p.p_flags == next.p_flags
        && p.p_filesz == p.p_memsz
        && p.file_end() == next.p_offset
        && p.mem_end() == next.p_vaddr
}

/// The index of a PT_NOTE that the one before it in the table can take in.
pub(super) fn redundant(model: &Model<'_, '_>) -> Result<Option<usize>, ElfError> {
    let phdrs = &model.layout.phdrs;
    for (i, pair) in phdrs.windows(2).enumerate() {
        let (p, next) = (&pair[0], &pair[1]);
        let total = p.p_filesz.saturating_add(next.p_filesz);
        if continues(p, next)
            && !model.layout.is_stale(p)
            && total <= MAX_NOTES
            && model.is_mapped(p)
            && model.is_mapped(next)
        {
            let same = p.p_align == next.p_align;
            let bytes = model.source.bytes("PT_NOTE", p.p_offset, total)?;
            if (same && p.p_filesz.is_multiple_of(p.p_align.max(4))) || ends_aligned(model, &bytes) {
                return Ok(Some(i + 1));
            }
        }
    }
    Ok(None)
}

/// Whether each note but the last takes as many bytes with fields padded to 4 as with fields padded to 8.
fn ends_aligned(model: &Model<'_, '_>, mut notes: &[u8]) -> bool {
    loop {
        let field = |at: usize| notes.get(at..at + 4).and_then(|b| model.layout.format.u32(b));
        let (Some(namesz), Some(descsz)) = (field(0), field(4)) else { return false };
        let head = 12 + u64::from(namesz);
        let size = head.next_multiple_of(4) + u64::from(descsz).next_multiple_of(4);
        if !head.next_multiple_of(4).is_multiple_of(8) {
            return false;
        }
        match usize::try_from(size).ok().filter(|&s| s <= notes.len()) {
            Some(size) if size == notes.len() => return true,
            Some(size) if size.is_multiple_of(8) => notes = &notes[size..],
            _ => return false,
        }
    }
}
