//! Edits of a linked ELF file: another interpreter, another run path, DF_1_NODEFLIB.
//!
//! The file is unchanged except for a few patches. What a linker would have laid out anew is done with what there is, the
//! cheapest that suffices:
//!
//! 1. *In place.* A shorter interpreter takes the old one's room; new dynamic entries take the spare DT_NULLs; the dynamic
//!    string table grows over its neighbours, which move away instead of it where they are smaller.
//! 2. *In the slack* between a PT_LOAD's end and the next one's page: padding of the linker that is mapped already. The
//!    PT_LOAD gets a little longer; no program header is added and the file doesn't grow.
//! 3. *In one new PT_LOAD* at the end of the file. The program header table grows in place; what stands behind it (notes,
//!    the interpreter, hash tables) moves into the new segment, section headers before it. Or a PT_NULL or a stale PT_NOTE
//!    gives its slot, or two PT_NOTEs become one.
//! 4. As 3, with the program header table in the new segment, too, which then has to stand where its file offset and its
//!    address differ by as much as in the first PT_LOAD, since older kernels compute AT_PHDR by that. The program runs, but
//!    a later strip(1) of binutils breaks it.
//!
//! What the edit moves is only what nothing but a header refers to. The result is parsed again and held against the
//! original before anybody gets it.

mod patches;

mod model;

mod changes;

mod needed;

mod blocks;

mod gaps;

mod plan;

mod check;
pub use check::CheckError;

use crate::{ElfError, ElfKind};
use changes::Changes;
use model::Model;
use tree::Content;

/// Longest interpreter, with its NUL. Bytes. PATH_MAX, linux/limits.h: the kernel refuses more (fs/binfmt_elf.c).
pub const MAX_INTERPRETER: usize = 4096;
/// Longest run path. Bytes. glibc puts it on the stack (elf/dl-load.c, fillin_rpath).
pub(crate) const MAX_RUNPATH: usize = 32 << 10;

/// What to change. `None` and false leave it unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edit {
    /// PT_INTERP, without its NUL. It is an error to set it for a file that has none.
    pub interpreter: Option<Vec<u8>>,
    /// DT_RUNPATH, in the place of any DT_RUNPATH and DT_RPATH. Empty removes both.
    pub runpath: Option<Vec<u8>>,
    /// Write DT_RPATH, not DT_RUNPATH.
    pub force_rpath: bool,
    /// Set DF_1_NODEFLIB.
    pub nodeflib: bool,
    /// Libraries by their old and new names: DT_NEEDED, DT_FILTER and DT_AUXILIARY, and in DT_VERNEED the file whose
    /// versions are wanted. Old names that the file doesn't have are passed over.
    pub needed: Vec<(Vec<u8>, Vec<u8>)>,
    /// DT_NEEDEDs to add behind those that there are; what is needed already stays as it is.
    pub add_needed: Vec<Vec<u8>>,
}

/// Why a file was not rewritten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum RewriteError {
    /// It can't be read.
    #[error(transparent)]
    Elf(#[from] ElfError),
    #[error("file is not ELF")]
    NotElf,
    /// Of a kind that has no use for the edit, or would break by it (static-pie programs and the loader itself crash with
    /// a run path).
    #[error("file is left alone: it is {}", kind_name(*.0))]
    LeftAlone(ElfKind),
    /// An interpreter was asked for and there is no PT_INTERP.
    #[error("file has no PT_INTERP to change")]
    NoInterpreter,
    /// A string that can't be stored.
    #[error("{what} is unusable: {why}")]
    BadString { what: &'static str, why: &'static str },
    /// The headers contradict each other.
    #[error("file is malformed: {0}")]
    Malformed(&'static str),
    /// Data follows the ELF file's end that has to stay there, and there's no room before it.
    #[error(
        "file has no room for the edit: {needed} more bytes, and the {len} bytes appended at {at:#x} have to stay at its end"
    )]
    Payload {
        /// Where the appended data begins.
        at: u64,
        /// Its length. Bytes.
        len: u64,
        /// What couldn't be placed. Bytes.
        needed: u64,
    },
    /// Nothing behind the program header table can be moved, nor the table itself.
    #[error("file has no room for another program header: {0}")]
    NoRoom(&'static str),
    /// The result isn't what it should be: a defect of this program or a file that deceives it.
    #[error("result was rejected: {0}")]
    Check(#[from] CheckError),
}

fn kind_name(kind: ElfKind) -> &'static str {
    match kind {
        ElfKind::StaticExecutable => "a static executable",
        ElfKind::StaticPie => "a static position-independent executable",
        ElfKind::DynamicExecutable => "a dynamic executable",
        ElfKind::SharedObject => "a shared object",
        ElfKind::Loader => "a program loader, or a library that needs nothing and has no name",
        ElfKind::Other => "neither an executable nor a shared object",
    }
}

impl Edit {
    fn validate(&self) -> Result<(), RewriteError> {
        let bad = |what, why| Err(RewriteError::BadString { what, why });
        if let Some(path) = &self.interpreter {
            match path {
                p if p.is_empty() => return bad("interpreter", "it is empty"),
                p if p.contains(&0) => return bad("interpreter", "it contains a NUL"),
                p if p.len() >= MAX_INTERPRETER => return bad("interpreter", "it is longer than 4095 bytes"),
                _ => {}
            }
        }
        for name in self.needed.iter().map(|(_, name)| name).chain(&self.add_needed) {
            match name {
                n if n.is_empty() => return bad("library", "its name is empty"),
                n if n.contains(&0) => return bad("library", "its name contains a NUL"),
                n if n.len() >= MAX_INTERPRETER => {
                    return bad("library", "its name is longer than 4095 bytes");
                }
                _ => {}
            }
        }
        if let Some(path) = &self.runpath {
            match path {
                p if p.contains(&0) => return bad("run path", "it contains a NUL"),
                p if p.len() > MAX_RUNPATH => return bad("run path", "it is longer than 32768 bytes"),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Everything that the edit changes in this file. New strings stand in the order of the calls.
fn changes(model: &Model<'_, '_>, edit: &Edit) -> Result<Changes, RewriteError> {
    let mut changes = Changes::new(model, edit)?;
    needed::replace(&mut changes, model, edit)?;
    needed::add(&mut changes, model, edit)?;
    changes.set_search_path(model, edit)?;
    Ok(changes)
}

/// The file with the edit made: the old content under a few patches. If there's nothing to change, the same content.
///
/// # Errors
/// See [`RewriteError`]. The caller keeps the original in any case.
pub fn rewrite(content: &Content, edit: &Edit) -> Result<Content, RewriteError> {
    edit.validate()?;
    let source = crate::source::Source::new(content);
    let model = Model::read(&source)?;
    if !model.elf.is_dynamic() {
        return Err(RewriteError::LeftAlone(model.elf.kind));
    }
    let changes = changes(&model, edit)?;
    if changes.is_nothing(&model) {
        return Ok(content.clone());
    }
    let plan = plan::Plan::new(&model, &changes)?;
    let new = needed::versions(plan.apply(content)?, edit)?;
    check::check(&model, edit, &new)?;
    Ok(new)
}
