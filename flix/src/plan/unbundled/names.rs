//! Programs that others run by their names, which execvp(3) and posix_spawnp(3) look up in PATH.

use std::collections::{BTreeMap, BTreeSet};

use tree::{Content, Tree, TreePath};

use super::super::host::is_host_program;
use super::{Bundled, Unbundled, UnbundledKind, merged, optional};
use crate::plan::Plan;

/// Shorter names are words of other meanings.
const SHORTEST: usize = 4;

/// Words before a program's name in messages of who starts it.
const START: &[&[u8]] =
    &[b"exec", b"execute", b"find", b"fork", b"invoke", b"launch", b"open", b"run", b"spawn", b"start"];

/// Programs of the image that the extension lacks, by name.
pub(super) struct Names<'a>(BTreeMap<Vec<u8>, (TreePath, &'a Content)>);

impl<'a> Names<'a> {
    pub(super) fn new(tree: &'a Tree, bundled: &Bundled<'_>) -> Names<'a> {
        let mut out = BTreeMap::new();
        for dir in ["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"] {
            let Ok(dir) = TreePath::new(dir) else { continue };
            for (path, _) in tree.children(&dir) {
                let Some(name) = path.file_name().filter(|n| n.len() >= SHORTEST && !out.contains_key(*n))
                else {
                    continue;
                };
                let Ok(real) = tree.resolve(path.to_absolute(), true) else { continue };
                let node = tree.get(&real.path).filter(|n| n.meta.mode & 0o111 != 0);
                let Some(content) = node.and_then(|n| n.content()) else { continue };
                let merged = merged(path);
                let has = [&real.path, path, &merged].iter().any(|path| !bundled.lacks(path));
                if !has && !is_host_program(&merged) && !optional::is_choice(&merged) {
                    out.insert(name.to_owned(), (merged, content));
                }
            }
        }
        Names(out)
    }

    /// The program whose name a string of `by` is, unless it may well be another word. A linker stores a string that is the
    /// end of another one within that: `mtr-packet` in `Failure to start mtr-packet`.
    pub(super) fn get(&self, string: &[u8], by: &TreePath) -> Option<&(TreePath, &'a Content)> {
        // Absolute paths are looked up as such.
        if string.starts_with(b"/") {
            return None;
        }
        let mut words = string.rsplit(u8::is_ascii_whitespace);
        let name = words.next().and_then(|last| last.rsplit(|&b| b == b'/').next()).unwrap_or_default();
        // A sentence may be advice, too.
        if words.next().is_some_and(|before| !START.contains(&before)) {
            return None;
        }
        let own = by.file_name().unwrap_or_default();
        let marked = name.iter().any(|b| b.is_ascii_digit() || b"-_.".contains(b));
        let found = self.0.get(name).filter(|_| marked || name.starts_with(own))?;
        (found.0.file_name() != by.file_name()).then_some(found)
    }
}

/// Whether a program's name begins with another's, as that of mtr-packet does.
fn is_named_after(program: &TreePath, by: &TreePath) -> bool {
    let names = program.file_name().zip(by.file_name());
    let rest = names.and_then(|(program, by)| program.strip_prefix(by));
    rest.is_some_and(|rest| rest.first().is_some_and(|b| b"-_.".contains(b)))
}

impl Plan {
    /// Adds the programs of `named` that belong to those that name them to what is missing. `belongs(program, by)` knows the
    /// packages of the image, if it has any; otherwise names that begin alike count.
    pub fn expect_programs(&mut self, belongs: impl Fn(&TreePath, &TreePath) -> Option<bool>) {
        for (by, programs) in std::mem::take(&mut self.named) {
            let belongs =
                |program: &TreePath| belongs(program, &by).unwrap_or_else(|| is_named_after(program, &by));
            let paths: BTreeSet<TreePath> = programs.into_iter().filter(belongs).collect();
            if paths.is_empty() {
                continue;
            }
            let known = |u: &&mut Unbundled| u.by == by && u.kind == UnbundledKind::Programs && u.is_likely;
            match self.unbundled.iter_mut().find(known) {
                Some(known) => known.paths.extend(paths),
                None => {
                    let kind = UnbundledKind::Programs;
                    self.unbundled.push(Unbundled { by: by.clone(), kind, is_likely: true, paths });
                }
            }
        }
        self.unbundled.sort();
    }
}
