//! Places and edits of everything that is loaded.

use std::collections::{BTreeMap, BTreeSet};

use tree::{Patch, TreePath};

use super::planner::{Planner, relative};
use super::{Action, PlanError, Relocation, Why, confine};
use elf::ElfKind;
use elf::closure::{Closure, Object};
use elf::loader::{Family, Loader};

/// Where libraries are after the move, by the directory that the image's loader searches.
type Moved = BTreeMap<TreePath, BTreeSet<TreePath>>;

impl Planner<'_> {
    /// Places the closure and edits all of it.
    pub(super) fn libraries(&mut self, closure: &Closure) -> Result<(), PlanError> {
        let shared = shared_dirs(closure);
        let mut homes: BTreeMap<TreePath, TreePath> = BTreeMap::new();
        for (path, object) in &closure.objects {
            let home = self.place_object(path, object, &shared)?;
            homes.insert(path.clone(), home);
        }
        for (link, real) in &closure.links {
            let at = self.in_sysroot(link)?;
            let Some(home) = homes.get(real) else { continue };
            let target = relative(&at, home);
            self.put(at, Some(link.clone()), Action::Symlink(target), Why::Name(home.clone()), 0)?;
        }
        let moved = self.moved(closure, &homes)?;
        for (path, object) in &closure.objects {
            self.edit(path, object, closure, &homes, &moved)?;
        }
        for (index, loader) in closure.loaders.iter().enumerate() {
            self.loader(index, loader, closure, &homes, &moved)?;
        }
        self.remarks(closure);
        Ok(())
    }

    fn in_sysroot(&self, path: &TreePath) -> Result<TreePath, PlanError> {
        Ok(self.request.sysroot.join(path.as_relative())?)
    }

    /// Where an object is loaded from. One that the user has placed outside of the usual library directories is used
    /// there; a second copy would be a second library in the same process. In the usual directories the host has its own
    /// libraries, so these are never searched: such a file is in the extension twice.
    fn place_object(
        &mut self,
        path: &TreePath,
        object: &Object,
        shared: &BTreeSet<TreePath>,
    ) -> Result<TreePath, PlanError> {
        let is_program = object.elf.kind == ElfKind::DynamicExecutable;
        if let Some(place) = self.plan.places.get(path).cloned()
            && !object.is_loader
            && (is_program || place.parent().is_some_and(|d| !shared.contains(&d)))
        {
            for reason in &object.reasons {
                if let Some(entry) = self.plan.entries.get_mut(&place) {
                    entry.why.insert(Why::Closure(reason.clone()));
                }
            }
            return Ok(place);
        }
        let home = self.in_sysroot(path)?;
        let size = self.tree.get(path).and_then(|n| n.content()).map_or(0, tree::Content::len);
        for reason in &object.reasons {
            self.put(home.clone(), Some(path.clone()), Action::Copy, Why::Closure(reason.clone()), size)?;
        }
        self.plan.places.entry(path.clone()).or_insert_with(|| home.clone());
        Ok(home)
    }

    fn moved(&self, closure: &Closure, homes: &BTreeMap<TreePath, TreePath>) -> Result<Moved, PlanError> {
        let mut moved = Moved::new();
        let searched = |dir: &TreePath| closure.lib_dirs.contains(dir) || closure.extra_dirs.contains(dir);
        for (path, home) in homes {
            if let (Some(dir), Some(new)) = (path.parent(), home.parent())
                && searched(&dir)
                && !closure.objects.get(path).is_some_and(|o| o.is_loader)
            {
                moved.entry(dir).or_default().insert(new);
            }
        }
        for link in closure.links.keys() {
            if let Some(dir) = link.parent()
                && searched(&dir)
            {
                let new = self.in_sysroot(&dir)?;
                moved.entry(dir).or_default().insert(new);
            }
        }
        // A directory that has nothing but variants for better processors is searched all the same.
        for dir in &closure.lib_dirs {
            if !moved.contains_key(dir) {
                moved.entry(dir.clone()).or_default().insert(self.in_sysroot(dir)?);
            }
        }
        for dir in moved.values().flatten() {
            if dir.as_relative().iter().any(|&b| matches!(b, b':' | b';' | b'$' | b'\n')) {
                return Err(PlanError::Directory(dir.clone()));
            }
        }
        Ok(moved)
    }

    /// The new search path of what was searched in `dirs`: the same directories in the same order, as far as something
    /// of the closure is in them. The sysroot goes first.
    fn translate(&self, dirs: &[TreePath], closure: &Closure, moved: &Moved) -> Vec<TreePath> {
        let mut out: Vec<TreePath> = Vec::new();
        let extra = closure.extra_dirs.iter();
        for dir in dirs.iter().chain(extra) {
            let places = moved.get(dir).into_iter().flatten();
            let (inside, outside): (Vec<_>, Vec<_>) =
                places.partition(|p| p.starts_with(&self.request.sysroot));
            for place in inside.into_iter().chain(outside) {
                if !out.contains(place) {
                    out.push(place.clone());
                }
            }
        }
        out
    }

    fn edit(
        &mut self,
        path: &TreePath,
        object: &Object,
        closure: &Closure,
        homes: &BTreeMap<TreePath, TreePath>,
        moved: &Moved,
    ) -> Result<(), PlanError> {
        if object.is_loader || !object.dynamic || !object.elf.is_dynamic() {
            return Ok(());
        }
        let loader = &closure.loaders[object.loader];
        let rpath = self.translate(&object.dirs, closure, moved);
        let mut targets: BTreeSet<TreePath> = homes.get(path).cloned().into_iter().collect();
        targets.extend(self.placed.iter().filter(|p| &p.source == path).map(|p| p.target.clone()));
        let interpreter = match (&object.elf.interpreter, object.elf.kind) {
            (Some(_), ElfKind::DynamicExecutable) => Some(self.interpreter(loader, homes)?),
            _ => None,
        };
        let mut patches = match loader.family {
            Family::Glibc => self.charsets(path, object)?,
            Family::Musl => self.variable(path)?,
        };
        patches.extend(self.terminal_patches(path, object)?);
        patches.sort_by_key(|p| p.at);
        let home = |(name, to): (&Vec<u8>, &TreePath)| Some((name.clone(), homes.get(to)?.clone()));
        let needed = object.by_path.iter().filter_map(home).collect();
        let add_needed = closure.preloads.get(path).cloned().unwrap_or_default();
        let relocation = Relocation { interpreter, rpath, needed, add_needed, patches };
        for target in targets {
            if let Some(entry) = self.plan.entries.get_mut(&target) {
                entry.action = Action::Relocate(relocation.clone());
            }
        }
        Ok(())
    }

    /// Whether the sysroot has the common character sets.
    fn in_sysroot_gconv(&self) -> bool {
        let list = self.request.sysroot.join("gconv/gconv-modules");
        list.is_ok_and(|list| self.plan.entries.contains_key(&list))
    }

    /// For libc.so.6: its character sets are those of the sysroot, whether there are any or not.
    fn charsets(&self, path: &TreePath, object: &Object) -> Result<Vec<Patch>, PlanError> {
        let libc = object.elf.soname.as_deref() == Some(b"libc.so.6");
        let Some(content) = self.tree.get(path).and_then(|n| n.content()).filter(|_| libc) else {
            return Ok(Vec::new());
        };
        let got = self.request.sysroot.join("gconv")?;
        let found = confine::charsets(content, &got)
            .map_err(|source| PlanError::Content { path: path.clone(), source })?;
        match found.folder {
            Some(old) if self.request.charsets && !found.fits => {
                Err(PlanError::CharsetsRoom { libc: path.clone(), old, got })
            }
            _ => Ok(found.patches),
        }
    }

    /// For musl's loader and what it loads: another name for LD_LIBRARY_PATH.
    fn variable(&self, path: &TreePath) -> Result<Vec<Patch>, PlanError> {
        let Some(content) = self.tree.get(path).and_then(|n| n.content()) else { return Ok(Vec::new()) };
        confine::variable(content).map_err(|source| PlanError::Content { path: path.clone(), source })
    }

    /// The new PT_INTERP. musl computes the place of its path file from it, so there the name is kept. Of glibc's the
    /// name counts where the file itself has another (`ld-2.31.so`), since programs, debuggers and people go by it.
    fn interpreter(
        &self,
        loader: &Loader,
        homes: &BTreeMap<TreePath, TreePath>,
    ) -> Result<TreePath, PlanError> {
        match (loader.family, homes.get(&loader.path)) {
            (Family::Glibc, Some(home)) if loader.name.file_name() == loader.path.file_name() => {
                Ok(home.clone())
            }
            _ => self.in_sysroot(&loader.name),
        }
    }

    /// The loader itself: glibc's loses its paths of the host, musl's gets a list of directories and another variable.
    fn loader(
        &mut self,
        index: usize,
        loader: &Loader,
        closure: &Closure,
        homes: &BTreeMap<TreePath, TreePath>,
        moved: &Moved,
    ) -> Result<(), PlanError> {
        let Some(home) = homes.get(&loader.path).cloned() else { return Ok(()) };
        let interpreter = self.interpreter(loader, homes)?;
        if interpreter != home {
            let link = Action::Symlink(relative(&interpreter, &home));
            let name = Some(loader.name.clone());
            self.put(interpreter.clone(), name, link, Why::Name(home.clone()), 0)?;
        }
        match loader.family {
            Family::Glibc => {
                let Some(content) = self.tree.get(&loader.path).and_then(|n| n.content()) else {
                    return Ok(());
                };
                let (patches, absent) = confine::loader(content, &loader.system_dirs)
                    .map_err(|source| PlanError::Content { path: loader.path.clone(), source })?;
                for path in absent {
                    self.warnings.insert(format!(
                        "{}: has no {path} to switch off; it may look at the host's",
                        loader.path
                    ));
                }
                if let Some(entry) = self.plan.entries.get_mut(&home) {
                    entry.action = Action::Confine(patches);
                }
            }
            Family::Musl => {
                let patches = self.variable(&loader.path)?;
                if patches.is_empty() {
                    self.warnings.insert(format!(
                        "{}: has no LD_LIBRARY_PATH to switch off; where the host sets it, the host's libraries come first",
                        loader.path
                    ));
                } else if let Some(entry) = self.plan.entries.get_mut(&home) {
                    entry.action = Action::Confine(patches);
                }
                let Some(file) = loader.path_file(&interpreter) else { return Ok(()) };
                let mut dirs = self.translate(&closure.default_dirs[index], closure, moved);
                let all: Vec<TreePath> = closure.lib_dirs.iter().cloned().collect();
                for dir in self.translate(&all, closure, moved) {
                    if !dirs.contains(&dir) {
                        dirs.push(dir);
                    }
                }
                let mut text: Vec<u8> =
                    dirs.iter().map(TreePath::to_absolute).collect::<Vec<_>>().join(&b'\n');
                text.push(b'\n');
                let size = text.len() as u64;
                self.put(file, None, Action::Text(text), Why::PathFile, size)?;
            }
        }
        Ok(())
    }

    /// What the closure can't know and the user may have to add.
    fn remarks(&mut self, closure: &Closure) {
        let soname = |name: &[u8]| {
            let has =
                |o: &Object| o.elf.soname.as_deref() == Some(name) || o.elf.needed.iter().any(|n| n == name);
            closure.objects.iter().find(|(_, o)| has(o)).map(|(p, _)| p.clone())
        };
        if let Some(by) = soname(b"libpam.so.0") {
            self.warnings.insert(format!(
                "{by}: PAM modules are named by the host's /etc/pam.d and loaded by path; they may not fit"
            ));
        }
        let glibc = closure.loaders.iter().any(|l| l.family == Family::Glibc);
        if let Some(path) = self.converter(closure).filter(|_| glibc && !self.request.charsets) {
            let text = match self.in_sysroot_gconv() {
                true => "UTF-8, UTF-16, UTF-32, ASCII, ISO-8859-1, ISO-8859-15 and Windows-1252",
                false => "UTF-8, UCS-2, UCS-4 and ASCII",
            };
            self.notes.insert(format!("{path}: converts character sets, of which only {text} are included"));
        }
        for placed in &self.placed {
            let Some(node) = self.tree.get(&placed.source) else { continue };
            let special =
                node.meta.mode & 0o6000 != 0 || node.meta.xattrs.contains_key(&b"security.capability"[..]);
            if special && closure.objects.contains_key(&placed.source) {
                self.notes.insert(format!("{}: keeps its special privileges on the host", placed.target));
            }
        }
    }
}

/// Directories, as they are called in an extension, in which hosts have libraries of their own.
fn shared_dirs(closure: &Closure) -> BTreeSet<TreePath> {
    let usual = ["/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/libx32", "/usr/local/lib", "/usr/local/lib64"];
    let usual = usual.iter().filter_map(|d| TreePath::new(d).ok());
    let compiled_in = closure.loaders.iter().flat_map(|l| &l.system_dirs);
    let in_usr = compiled_in.filter_map(|d| match d.starts_with(b"/usr/") {
        true => TreePath::new(d).ok(),
        false => TreePath::new([b"/usr", d.as_slice()].concat()).ok(),
    });
    let found = closure.default_dirs.iter().flatten().cloned();
    usual.chain(in_usr).chain(found).collect()
}
