//! Other names for the libraries that a file needs.

use object::elf;
use tree::{Content, Patch};

use super::changes::{Changes, DynamicEntry};
use super::model::Model;
use super::{Edit, RewriteError};
use crate::layout::Layout;
use crate::raw::Dyn;
use crate::read::dynamic_string;
use crate::source::Source;
use crate::{Elf, ElfError};

/// Most libraries of a DT_VERNEED that are walked. Elf::parse has walked them before.
const MAX_FILES: usize = 1 << 16;

pub(super) fn is_library(tag: i64) -> bool {
    [elf::DT_NEEDED, elf::DT_FILTER, elf::DT_AUXILIARY].iter().any(|t| t.0 == tag)
}

fn new_name<'e>(edit: &'e Edit, old: &[u8]) -> Option<&'e [u8]> {
    edit.needed.iter().find(|(from, to)| from == old && from != to).map(|(_, to)| to.as_slice())
}

/// Plans the new names behind the strings of the file, and the dynamic entries that lead there.
pub(super) fn replace(changes: &mut Changes, model: &Model<'_, '_>, edit: &Edit) -> Result<(), RewriteError> {
    if edit.needed.is_empty() {
        return Ok(());
    }
    let strtab = model.layout.strtab()?;
    let mut done: Vec<(&[u8], u64)> = Vec::new();
    for i in 0..changes.entries.len() {
        let value = changes.entries[i].value;
        if !is_library(value.d_tag) {
            continue;
        }
        let old = dynamic_string(model.source, strtab, "DT_NEEDED", value.d_val)?;
        let Some(new) = new_name(edit, &old) else { continue };
        let index = match done.iter().find(|(name, _)| *name == new) {
            Some(&(_, index)) => index,
            None => {
                let keep = strtab.map_or(0, |(_, size)| size);
                let index = changes.append(model, keep, &[new, &b"\0"[..]].concat())?;
                done.push((new, index));
                index
            }
        };
        changes.entries[i].value.d_val = index;
    }
    Ok(())
}

/// The libraries that the file doesn't need yet, each once.
fn added<'e>(elf: &Elf, edit: &'e Edit) -> Vec<&'e Vec<u8>> {
    let mut out: Vec<&Vec<u8>> = Vec::new();
    for name in &edit.add_needed {
        if !elf.needed.contains(name) && !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

/// Plans further libraries: their names behind the strings of the file, and entries behind all others.
pub(super) fn add(changes: &mut Changes, model: &Model<'_, '_>, edit: &Edit) -> Result<(), RewriteError> {
    let keep = model.layout.strtab()?.map_or(0, |(_, size)| size);
    for name in added(&model.elf, edit) {
        let d_val = changes.append(model, keep, &[name.as_slice(), &b"\0"[..]].concat())?;
        changes.entries.push(DynamicEntry { value: Dyn { d_tag: elf::DT_NEEDED.0, d_val }, old: None });
    }
    Ok(())
}

/// The finished file with the new names in DT_VERNEED, too: the loader looks a library up by the one there, and ends if
/// none has it (elf/dl-version.c in glibc, find_needed).
pub(super) fn versions(content: Content, edit: &Edit) -> Result<Content, RewriteError> {
    if edit.needed.is_empty() {
        return Ok(content);
    }
    let patches = version_patches(&content, edit)?;
    if patches.is_empty() {
        return Ok(content);
    }
    content.patched(content.len(), patches).map_err(|e| RewriteError::Elf(ElfError::Content(e)))
}

fn version_patches(content: &Content, edit: &Edit) -> Result<Vec<Patch>, RewriteError> {
    let source = Source::new(content);
    let layout = Layout::read(&source)?.ok_or(RewriteError::NotElf)?;
    let strtab = layout.strtab()?;
    let Some(address) = layout.tag(elf::DT_VERNEED) else { return Ok(Vec::new()) };
    let unmapped = ElfError::Unmapped { what: "DT_VERNEED", address };
    let (mut at, _) = layout.offset_of(address).ok_or(unmapped)?;
    let entries = layout.dynamic.iter().flatten().filter(|d| is_library(d.d_tag));
    let mut indices: Vec<(Vec<u8>, u64)> = Vec::new();
    for d in entries {
        indices.push((dynamic_string(&source, strtab, "DT_NEEDED", d.d_val)?, d.d_val));
    }
    let mut out = Vec::new();
    for _ in 0..layout.tag(elf::DT_VERNEEDNUM).unwrap_or(0).min(MAX_FILES as u64) {
        // vn_version, vn_cnt: u16; vn_file, vn_aux, vn_next: u32.
        let record = source.bytes("DT_VERNEED", at, 16)?;
        let field = |i: usize| layout.format.u32(&record[i..]).map_or(0, u64::from);
        let old = dynamic_string(&source, strtab, "vn_file", field(4))?;
        if let Some(new) = new_name(edit, &old)
            && let Some((_, index)) = indices.iter().find(|(name, _)| name == new)
        {
            let index =
                u32::try_from(*index).map_err(|_| RewriteError::Malformed("DT_STRTAB is too large"))?;
            out.push(Patch { at: at + 4, bytes: layout.format.u32_bytes(index) });
        }
        match field(12) {
            0 => break,
            next => at = at.saturating_add(next),
        }
    }
    Ok(out)
}

/// Whether a finished file has the new names and all others as before.
pub(super) fn is_done(old: &Elf, edit: &Edit, new: &Elf) -> bool {
    let renamed = |name: &Vec<u8>| new_name(edit, name).map_or_else(|| name.clone(), <[u8]>::to_vec);
    let same = |a: &Vec<u8>, b: &Vec<u8>| renamed(a) == *b;
    let added = added(old, edit);
    old.needed.len() + added.len() == new.needed.len()
        && added.into_iter().eq(&new.needed[old.needed.len()..])
        && old.needed.iter().zip(&new.needed).all(|(a, b)| same(a, b))
        && old.filtees.len() == new.filtees.len()
        && old
            .filtees
            .iter()
            .zip(&new.filtees)
            .all(|(a, b)| same(&a.name, &b.name) && a.required == b.required)
        && old.version_needs.len() == new.version_needs.len()
        && old.version_needs.iter().zip(&new.version_needs).all(|(a, b)| {
            // A name that stands in no DT_NEEDED has no new one.
            (same(&a.file, &b.file) || a.file == b.file) && a.versions == b.versions
        })
}
