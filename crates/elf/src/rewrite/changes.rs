//! What the edit comes to in this file: strings to store and dynamic entries to have.

use object::elf;

use super::model::Model;
use super::{Edit, RewriteError};
use crate::raw::Dyn;

/// Stands before a run path that this program added at the end of a string table, so that the next edit knows that nothing
/// else refers to those bytes: linkers let strings share their tails.
pub(super) const MARK: &[u8] = b"flix:\0";

/// A dynamic entry, and its index in the file if it was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DynamicEntry {
    pub value: Dyn,
    pub old: Option<usize>,
}

/// The new end of the dynamic string table: `tail` from byte `keep` of the table on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewStrings {
    /// What of the old table stays. Bytes.
    pub keep: u64,
    pub tail: Vec<u8>,
    /// The new table's size. Bytes.
    pub size: u64,
}

/// What has to change.
#[derive(Debug)]
pub(super) struct Changes {
    /// A new interpreter, with its NUL.
    pub interpreter: Option<Vec<u8>>,
    /// All entries but the DT_NULLs, DT_STRTAB still as it was.
    pub entries: Vec<DynamicEntry>,
    pub strings: Option<NewStrings>,
}

impl Changes {
    /// The file's own entries, and the interpreter.
    pub(super) fn new(model: &Model<'_, '_>, edit: &Edit) -> Result<Changes, RewriteError> {
        let interpreter = match &edit.interpreter {
            Some(_) if model.elf.interpreter.is_none() => return Err(RewriteError::NoInterpreter),
            Some(path) if model.elf.interpreter.as_ref() != Some(path) => {
                Some(path.iter().copied().chain([0]).collect())
            }
            _ => None,
        };
        let old = model.layout.dynamic.iter().flatten().enumerate();
        let entries = old.map(|(i, &value)| DynamicEntry { value, old: Some(i) }).collect();
        Ok(Changes { interpreter, entries, strings: None })
    }

    /// Sets run path and DF_1_NODEFLIB.
    pub(crate) fn set_search_path(&mut self, model: &Model<'_, '_>, edit: &Edit) -> Result<(), RewriteError> {
        if let Some(path) = &edit.runpath {
            self.set_runpath(model, path, edit.force_rpath)?;
        }
        if edit.nodeflib {
            self.set_nodeflib();
        }
        Ok(())
    }

    /// Whether the file stays as it is.
    pub(super) fn is_nothing(&self, model: &Model<'_, '_>) -> bool {
        let old = model.layout.dynamic.iter().flatten();
        self.interpreter.is_none() && self.strings.is_none() && self.entries.iter().map(|e| &e.value).eq(old)
    }

    /// The last entry with a tag.
    pub(crate) fn tag_mut(&mut self, tag: elf::DynamicTag) -> Option<&mut Dyn> {
        self.entries.iter_mut().rev().map(|e| &mut e.value).find(|d| d.d_tag == tag.0)
    }

    fn set_runpath(
        &mut self,
        model: &Model<'_, '_>,
        path: &[u8],
        force_rpath: bool,
    ) -> Result<(), RewriteError> {
        let tag = if force_rpath { elf::DT_RPATH } else { elf::DT_RUNPATH };
        let is_path =
            |e: &DynamicEntry| e.value.d_tag == elf::DT_RPATH.0 || e.value.d_tag == elf::DT_RUNPATH.0;
        let first = self.entries.iter().position(is_path);
        let old = first.map(|i| self.entries[i].value.d_val);
        if path.is_empty() {
            self.entries.retain(|e| !is_path(e));
            return self.drop_own_string(model);
        }
        // RPATH is dropped where both are, as loaders do.
        let current = model.elf.runpath.as_ref().or(model.elf.rpath.as_ref());
        let count = self.entries.iter().filter(|e| is_path(e)).count();
        let d_val = match old {
            Some(d_val) if count == 1 && current.is_some_and(|c| c == path) => d_val,
            _ => self.add_string(model, path)?,
        };
        let value = Dyn { d_tag: tag.0, d_val };
        match first {
            Some(i) => {
                self.entries[i].value = value;
                let mut at = 0;
                self.entries.retain(|e| {
                    at += 1;
                    at - 1 == i || !is_path(e)
                });
            }
            None => self.entries.push(DynamicEntry { value, old: None }),
        }
        Ok(())
    }

    /// Plans the run path at the end of the table; its index.
    fn add_string(&mut self, model: &Model<'_, '_>, path: &[u8]) -> Result<u64, RewriteError> {
        let (offset, size) = string_table(model)?;
        // Beside other new strings an old run path of ours stays.
        if self.strings.is_none()
            && let Some(keep) = own_tail(model, offset, size)?
        {
            self.append(model, keep, b"")?;
        }
        self.append(model, size, MARK)?;
        self.append(model, size, &[path, &b"\0"[..]].concat())
    }

    /// Plans bytes behind all other strings; the index of the first. `keep` of the old table stays if nothing is planned
    /// yet.
    pub(super) fn append(
        &mut self,
        model: &Model<'_, '_>,
        keep: u64,
        bytes: &[u8],
    ) -> Result<u64, RewriteError> {
        let (offset, _) = string_table(model)?;
        let strings = match &mut self.strings {
            Some(strings) => strings,
            None => {
                let mut tail = Vec::new();
                if keep == 0 || model.source.bytes("DT_STRTAB", offset + keep - 1, 1)? != [0] {
                    tail.push(0);
                }
                self.strings.insert(NewStrings { keep, tail, size: 0 })
            }
        };
        let index = strings.keep + strings.tail.len() as u64;
        strings.tail.extend_from_slice(bytes);
        strings.size = strings.keep + strings.tail.len() as u64;
        let new_size = strings.size;
        if let Some(d) = self.tag_mut(elf::DT_STRSZ) {
            d.d_val = new_size;
        }
        Ok(index)
    }

    /// Takes away what an earlier edit added at the end of the table.
    fn drop_own_string(&mut self, model: &Model<'_, '_>) -> Result<(), RewriteError> {
        let Some((offset, size)) = model.layout.strtab()? else { return Ok(()) };
        // Other new strings stand behind it.
        if model.layout.tag(elf::DT_STRSZ) != Some(size) || self.strings.is_some() {
            return Ok(());
        }
        if let Some(keep) = own_tail(model, offset, size)? {
            if let Some(d) = self.tag_mut(elf::DT_STRSZ) {
                d.d_val = keep;
            }
            self.strings = Some(NewStrings { keep, tail: Vec::new(), size: keep });
        }
        Ok(())
    }

    fn set_nodeflib(&mut self) {
        let flag = elf::DF_1_NODEFLIB.0;
        match self.tag_mut(elf::DT_FLAGS_1) {
            Some(d) => d.d_val |= flag,
            None => {
                self.entries
                    .push(DynamicEntry { value: Dyn { d_tag: elf::DT_FLAGS_1.0, d_val: flag }, old: None });
            }
        }
    }
}

/// File offset and size of DT_STRTAB, where both can be relied on.
fn string_table(model: &Model<'_, '_>) -> Result<(u64, u64), RewriteError> {
    let malformed = RewriteError::Malformed;
    let (offset, size) = model.layout.strtab()?.ok_or(malformed("there is no DT_STRTAB"))?;
    if model.layout.tag(elf::DT_STRSZ) != Some(size) {
        return Err(malformed("DT_STRSZ is missing or reaches behind its PT_LOAD"));
    }
    Ok((offset, size))
}

/// Where the part of the table begins that this program added: the mark and, up to the table's end, the run path in use.
fn own_tail(model: &Model<'_, '_>, offset: u64, size: u64) -> Result<Option<u64>, RewriteError> {
    let tags = [elf::DT_RUNPATH, elf::DT_RPATH];
    for index in tags.into_iter().filter_map(|t| model.layout.tag(t)) {
        let Some(start) = index.checked_sub(MARK.len() as u64) else { continue };
        let len = model.elf.runpath.as_ref().or(model.elf.rpath.as_ref()).map_or(0, Vec::len) as u64;
        let reaches_end = index.checked_add(len + 1) == Some(size);
        if reaches_end && model.source.bytes("DT_STRTAB", offset + start, MARK.len() as u64)? == MARK {
            return Ok(Some(start));
        }
    }
    Ok(None)
}
