//! What programs open by dlopen(3) and no search leads to: libraries by their absolute paths, and those that the image's
//! LD_LIBRARY_PATH leads to.

use std::collections::BTreeSet;

use tree::TreePath;

use super::planner::Planner;
use super::{Opened, PlanError};
use elf::closure::{Closure, Object};
use elf::{Elf, ElfKind, library_paths, mentions};

impl Planner<'_> {
    /// Looks for the paths of libraries in all files that call dlopen, once everything has its place.
    pub(super) fn opened(&mut self, closure: &Closure) -> Result<(), PlanError> {
        let mut any = false;
        for (path, object) in &closure.objects {
            let libc = object.is_loader || object.elf.soname.as_deref() == Some(b"libc.so.6");
            let Some(content) = self.tree.get(path).and_then(|n| n.content()).filter(|_| !libc) else {
                continue;
            };
            if !object.dynamic || !mentions(content, &["dlopen", "dlmopen"]).unwrap_or(false) {
                continue;
            }
            any = true;
            let paths =
                library_paths(content).map_err(|source| PlanError::Content { path: path.clone(), source })?;
            let mut absent: BTreeSet<TreePath> = BTreeSet::new();
            for library in &paths {
                absent.extend(self.lacks(library, (path, object), closure));
            }
            if !absent.is_empty() {
                let by = self.plan.home(path).unwrap_or_else(|| path.clone());
                self.plan.opened.push(Opened { by, paths: absent });
            }
        }
        if any {
            self.ld_library_path(closure);
        }
        Ok(())
    }

    /// A library of the image that a string names, if the extension has nothing at that path.
    fn lacks(
        &self,
        library: &[u8],
        (path, object): (&TreePath, &Object),
        closure: &Closure,
    ) -> Option<TreePath> {
        let named = TreePath::new(library).ok()?;
        let real = self.tree.resolve(library, true).ok()?.path;
        let elf = Elf::parse(self.tree.get(&real)?.content()?).ok()??;
        if elf.kind != ElfKind::SharedObject || !elf.is_compatible(&object.elf) {
            return None;
        }
        // Its own path: to stay loaded, or for a message.
        if real == *path || closure.loaders.iter().any(|l| l.path == real) {
            return None;
        }
        // Hosts are usr-merged: /lib is a symlink to usr/lib there.
        let merged = TreePath::new([b"/usr".as_slice(), library].concat()).ok();
        let there = |p: &TreePath| self.plan.entries.contains_key(p);
        (!there(&named) && !merged.as_ref().is_some_and(there)).then_some(named)
    }

    /// Directories of the image's LD_LIBRARY_PATH with libraries that nothing needs.
    fn ld_library_path(&mut self, closure: &Closure) {
        for dir in self.request.closure.ld_library_path.split(|b| b":;\n".contains(b)) {
            let Ok(dir) = self.tree.resolve(dir, true) else { continue };
            let unseen = self.tree.children(&dir.path).any(|(path, node)| {
                let library =
                    || Elf::parse(node.content()?).ok()?.filter(|e| e.kind == ElfKind::SharedObject);
                !closure.objects.contains_key(path) && library().is_some()
            });
            if dir.path.depth() > 0 && unseen {
                self.plan.unseen.insert(dir.path);
            }
        }
    }
}
