//! One process, as its loader would fill it: which names lead to which files, in which order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tree::{Ino, TreePath};

use super::ldconf::Cache;
use super::search::{Files, Found, Search, expand, expand_one};
use super::{ClosureError, Options, Reason};
use crate::loader::{Family, Loader};
use crate::{Elf, Filtee};

/// DF_1_NODEFLIB: the default directories are not searched for this object's libraries. elf.h.
const DF_1_NODEFLIB: u64 = 0x800;

/// An object in a process.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub path: TreePath,
    pub elf: Arc<Elf>,
    /// Who had it loaded first: the way up for RPATH and for messages.
    pub parent: Option<usize>,
    /// What `$ORIGIN` is.
    origin: TreePath,
    /// Real directories that are searched for what it needs, in order.
    pub dirs: Arc<[TreePath]>,
    /// How many of them come before the cache, where that is looked up as it is.
    before_cache: usize,
}

/// What the loader's configuration says.
#[derive(Debug, Clone, Default)]
pub(super) struct Configuration {
    /// ld.so.conf's directories, or what musl's path file puts in place of the compiled-in ones.
    pub dirs: Vec<Vec<u8>>,
    /// ld.so.cache, if it counts as it is: then no other directory is searched than those built in.
    pub cache: Option<Arc<Cache>>,
}

/// Something learned while a process was filled.
#[derive(Debug)]
pub(super) enum Step {
    /// Object `by` asked for `name` and got the object at `to`, under the path `link`.
    Need { by: TreePath, name: Vec<u8>, to: TreePath, found: Option<Found>, why: Option<Reason> },
    /// A variant of `of` for some processors.
    Variant { of: TreePath, found: Found },
    /// Nothing in the image has that name.
    Missing { name: Vec<u8>, chain: Vec<TreePath>, why: Option<Reason> },
    /// An entry of a search path that can't be followed.
    Ignored { by: TreePath, entry: Vec<u8> },
}

#[derive(Debug)]
pub(super) struct Process<'l> {
    loader: &'l Loader,
    options: &'l Options,
    configuration: &'l Configuration,
    pub loaded: Vec<Loaded>,
    names: HashMap<Vec<u8>, usize>,
    inodes: HashMap<Ino, usize>,
    queue: VecDeque<usize>,
    pub steps: Vec<Step>,
}

impl<'l> Process<'l> {
    /// A process of the program (or library) at the real path `main`.
    pub(super) fn new(
        files: &mut Files<'_>,
        loader: &'l Loader,
        options: &'l Options,
        configuration: &'l Configuration,
        main: &TreePath,
        elf: Arc<Elf>,
    ) -> Result<Self, ClosureError> {
        let mut p = Process {
            loader,
            options,
            configuration,
            loaded: Vec::new(),
            names: HashMap::new(),
            inodes: HashMap::new(),
            queue: VecDeque::new(),
            steps: Vec::new(),
        };
        p.add(files, Found::at(main.clone(), elf), None, Vec::new())?;
        if &loader.path != main
            && let Some(elf) = files.elf(&loader.path)?
        {
            let soname = elf.soname.clone().unwrap_or_default();
            p.add(
                files,
                Found { link: loader.name.clone(), ..Found::at(loader.path.clone(), elf) },
                None,
                soname,
            )?;
        }
        Ok(p)
    }

    /// Loads what is needed and not there yet, breadth first as both loaders do.
    pub(super) fn run(&mut self, files: &mut Files<'_>) -> Result<(), ClosureError> {
        while let Some(by) = self.queue.pop_front() {
            if self.loaded[by].path == self.loader.path {
                continue;
            }
            let elf = self.loaded[by].elf.clone();
            for name in &elf.needed {
                if !self.load(files, by, name, None)? {
                    self.missing(by, name, None);
                }
            }
            // musl knows none of these. glibc: _dl_map_object_deps in elf/dl-deps.c.
            let filtees: &[Filtee] = if self.loader.family == Family::Glibc { &elf.filtees } else { &[] };
            for filtee in filtees {
                if !self.load(files, by, &filtee.name, None)? && filtee.required {
                    self.missing(by, &filtee.name, None);
                }
            }
        }
        Ok(())
    }

    /// As dlopen(3) called by object `by`, whose `name` may well be absent: then false. What the library needs itself is
    /// loaded by the next `run`.
    pub(super) fn dlopen(
        &mut self,
        files: &mut Files<'_>,
        by: usize,
        name: &[u8],
        why: &Reason,
    ) -> Result<bool, ClosureError> {
        // musl knows no caller: it always starts from the program.
        let by = if self.loader.family == Family::Musl { 0 } else { by };
        self.load(files, by, name, Some(why))
    }

    /// Loads the file at a real path, as dlopen(3) does for a path.
    pub(super) fn open(
        &mut self,
        files: &mut Files<'_>,
        found: Found,
        why: &Reason,
    ) -> Result<(), ClosureError> {
        let soname = found.elf.soname.clone();
        let name = soname.or_else(|| found.link.file_name().map(<[u8]>::to_vec)).unwrap_or_default();
        if self.known(files, &found).is_none() {
            self.add(files, found.clone(), Some(0), name.clone())?;
        }
        let by = self.loaded[0].path.clone();
        let to = found.path.clone();
        self.steps.push(Step::Need { by, name, to, found: Some(found), why: Some(why.clone()) });
        Ok(())
    }

    /// Loads a variant in the place of its base, without its names.
    pub(super) fn variant(
        &mut self,
        files: &mut Files<'_>,
        of: &TreePath,
        found: Found,
    ) -> Result<(), ClosureError> {
        if self.known(files, &found).is_none() {
            let base = self.find(|l| &l.path == of).and_then(|i| self.loaded[i].parent);
            self.add(files, found, Some(base.unwrap_or(0)), Vec::new())?;
        }
        Ok(())
    }

    /// The index of the object at a path.
    pub(super) fn find(&self, wanted: impl Fn(&Loaded) -> bool) -> Option<usize> {
        self.loaded.iter().position(wanted)
    }

    /// Notes that `name` is nowhere.
    pub(super) fn missing(&mut self, by: usize, name: &[u8], why: Option<&Reason>) {
        let mut chain = Vec::new();
        let mut at = Some(by);
        while let Some(i) = at {
            chain.push(self.loaded[i].path.clone());
            at = self.loaded[i].parent;
        }
        self.steps.push(Step::Missing { name: name.to_vec(), chain, why: why.cloned() });
    }

    fn load(
        &mut self,
        files: &mut Files<'_>,
        by: usize,
        name: &[u8],
        why: Option<&Reason>,
    ) -> Result<bool, ClosureError> {
        let need = |to: &TreePath, found: Option<Found>, by: &TreePath| Step::Need {
            by: by.clone(),
            name: name.to_vec(),
            to: to.clone(),
            found,
            why: why.cloned(),
        };
        let asker = self.loaded[by].path.clone();
        if self.loader.is_builtin(name) {
            self.steps.push(need(&self.loader.path, None, &asker));
            return Ok(true);
        }
        // A name with a slash is a path; what it means depends on who asks.
        let path = if name.contains(&b'/') { self.path(by, name)? } else { None };
        let key = path.as_deref().unwrap_or(name);
        if let Some(&i) = self.names.get(key) {
            // Found again under the same name: the file that answered first stays, whatever the directories say now.
            self.steps.push(need(&self.loaded[i].path, None, &asker));
            return Ok(true);
        }
        let main = self.loaded[0].elf.clone();
        let found = if name.contains(&b'/') {
            match &path {
                Some(path) => by_path(files, path, &main)?,
                None => None,
            }
        } else {
            let search = self.search(files, by, name, &main)?;
            let base = search.base.or_else(|| search.variants.first().cloned());
            if let Some(base) = &base {
                for found in search.variants.into_iter().filter(|v| v.path != base.path) {
                    self.steps.push(Step::Variant { of: base.path.clone(), found });
                }
            }
            base
        };
        let found = match found {
            None if !self.options.sealed => self.stand_in(files, by, name, &main),
            found => found,
        };
        let Some(found) = found else { return Ok(false) };
        self.steps.push(need(&found.path, Some(found.clone()), &asker));
        match self.known(files, &found) {
            Some(i) => _ = self.names.entry(key.to_vec()).or_insert(i),
            None => self.add(files, found, Some(by), key.to_vec())?,
        }
        Ok(true)
    }

    /// Looks for a name without a slash where object `by` has its libraries from.
    fn search(
        &self,
        files: &mut Files<'_>,
        by: usize,
        name: &[u8],
        main: &Elf,
    ) -> Result<Search, ClosureError> {
        let Loaded { dirs, before_cache, .. } = &self.loaded[by];
        let Some(cache) = &self.configuration.cache else {
            return files.search(dirs, name, main, self.loader.family);
        };
        let (own, system) = dirs.split_at(*before_cache);
        let mut search = files.search(own, name, main, self.loader.family)?;
        if search.is_empty() {
            search = files.cached(cache, name, main)?;
            if self.loaded[by].elf.flags_1 & DF_1_NODEFLIB != 0 {
                search.retain(|link| !is_below(&link.to_absolute(), &self.loader.system_dirs));
            }
        }
        if search.is_empty() {
            search = files.search(system, name, main, self.loader.family)?;
        }
        Ok(search)
    }

    /// What a name with a slash means to an object: an absolute path, or nothing if it depends on the working directory.
    /// musl fills in no tokens here.
    fn path(&self, by: usize, name: &[u8]) -> Result<Option<Vec<u8>>, ClosureError> {
        if self.loader.family == Family::Musl {
            return Ok(name.starts_with(b"/").then(|| name.to_vec()));
        }
        let object = &self.loaded[by];
        expand_one(name, &object.path, &object.origin, object.elf.machine, self.loader)
    }

    /// A library of the user that the loader doesn't find by itself. Its directory becomes the last one of the object's
    /// search path.
    fn stand_in(&mut self, files: &mut Files<'_>, by: usize, name: &[u8], main: &Elf) -> Option<Found> {
        let found = files.stand_in(name, &self.loaded[by].path, main)?;
        if let Some(dir) = &found.dir {
            let mut dirs = self.loaded[by].dirs.to_vec();
            if !dirs.contains(dir) {
                dirs.push(dir.clone());
                self.loaded[by].dirs = dirs.into();
            }
        }
        Some(found)
    }

    /// A file that is in the process already is not mapped twice.
    fn known(&self, files: &Files<'_>, found: &Found) -> Option<usize> {
        self.inodes.get(&files.tree.ino(&found.path)?).copied()
    }

    fn add(
        &mut self,
        files: &mut Files<'_>,
        found: Found,
        parent: Option<usize>,
        name: Vec<u8>,
    ) -> Result<(), ClosureError> {
        let index = self.loaded.len();
        // The kernel reports the program's real path; a library's is the one it was found under.
        let at = if parent.is_none() { &found.path } else { &found.link };
        let origin = at.parent().unwrap_or_else(TreePath::root);
        if let Some(ino) = files.tree.ino(&found.path) {
            self.inodes.insert(ino, index);
        }
        if self.loader.family == Family::Glibc
            && let Some(soname) = &found.elf.soname
        {
            self.names.entry(soname.clone()).or_insert(index);
        }
        if !name.is_empty() {
            self.names.entry(name).or_insert(index);
        }
        let Found { path, elf, .. } = found;
        self.loaded.push(Loaded { path, elf, parent, origin, dirs: Arc::new([]), before_cache: 0 });
        let (dirs, before_cache) = self.search_dirs(files, index)?;
        self.loaded[index].dirs = dirs.into();
        self.loaded[index].before_cache = before_cache;
        self.queue.push_back(index);
        Ok(())
    }

    /// Where the loader looks for what object `i` needs. glibc: _dl_map_new_object in elf/dl-load.c; musl: load_library
    /// in ldso/dynlink.c. With the number of those that come before the cache.
    fn search_dirs(
        &mut self,
        files: &mut Files<'_>,
        i: usize,
    ) -> Result<(Vec<TreePath>, usize), ClosureError> {
        let mut strings: Vec<Vec<u8>> = Vec::new();
        let mut before_cache = None;
        match self.loader.family {
            Family::Glibc => {
                if self.loaded[i].elf.runpath.is_none() {
                    // The RPATHs of who loaded it, up to the program, and the program's in any case.
                    let mut at = Some(i);
                    let mut main = false;
                    while let Some(j) = at {
                        main |= j == 0;
                        self.own_rpath(j, &mut strings)?;
                        at = self.loaded[j].parent;
                    }
                    if !main {
                        self.own_rpath(0, &mut strings)?;
                    }
                }
                self.ld_library_path(&mut strings)?;
                if self.loaded[i].elf.runpath.is_some() && !self.options.sealed {
                    self.own_path(i, &mut strings)?;
                }
                let system = &self.loader.system_dirs;
                before_cache = Some(strings.len());
                if self.options.sealed {
                    // LD_LIBRARY_PATH comes here.
                } else if self.loaded[i].elf.flags_1 & DF_1_NODEFLIB == 0 {
                    strings.extend_from_slice(&self.configuration.dirs);
                    strings.extend_from_slice(system);
                } else {
                    // Hits in the cache that lie below a default directory don't count.
                    strings.extend(self.configuration.dirs.iter().filter(|d| !is_below(d, system)).cloned());
                }
            }
            Family::Musl => {
                self.ld_library_path(&mut strings)?;
                let mut at = Some(i);
                while let Some(j) = at {
                    self.own_path(j, &mut strings)?;
                    at = self.loaded[j].parent;
                }
                strings.extend_from_slice(&self.configuration.dirs);
            }
        }
        let mut dirs: Vec<TreePath> = Vec::new();
        let mut own = 0;
        for (i, s) in strings.iter().enumerate() {
            if before_cache == Some(i) {
                own = dirs.len();
            }
            if let Some(dir) = files.dir(s)
                && !dirs.contains(&dir)
            {
                dirs.push(dir);
            }
        }
        let own = if before_cache.is_none_or(|at| at >= strings.len()) { dirs.len() } else { own };
        Ok((dirs, own))
    }

    /// The entries of the image's LD_LIBRARY_PATH. glibc fills in tokens as for the program.
    fn ld_library_path(&mut self, out: &mut Vec<Vec<u8>>) -> Result<(), ClosureError> {
        let path = &self.options.ld_library_path;
        if path.is_empty() || self.options.sealed {
            return Ok(());
        }
        let main = &self.loaded[0];
        let path = expand(path, &main.path, &main.origin, main.elf.machine, self.loader)?;
        let by = main.path.clone();
        out.extend(path.dirs);
        for entry in path.ignored {
            self.steps.push(Step::Ignored { by: by.clone(), entry });
        }
        Ok(())
    }

    /// The entries of object `j`'s DT_RPATH, which glibc ignores beside a DT_RUNPATH.
    fn own_rpath(&mut self, j: usize, out: &mut Vec<Vec<u8>>) -> Result<(), ClosureError> {
        if self.loaded[j].elf.runpath.is_some() { Ok(()) } else { self.own_path(j, out) }
    }

    /// The entries of object `j`'s own DT_RUNPATH or else DT_RPATH.
    fn own_path(&mut self, j: usize, out: &mut Vec<Vec<u8>>) -> Result<(), ClosureError> {
        let object = &self.loaded[j];
        let elf = &object.elf;
        let path = match (&elf.runpath, &elf.rpath, self.loader.family) {
            (Some(runpath), _, _) => runpath,
            (None, Some(rpath), _) => rpath,
            (None, None, _) => return Ok(()),
        };
        let path = expand(path, &object.path, &object.origin, elf.machine, self.loader)?;
        let by = object.path.clone();
        out.extend(path.dirs);
        for entry in path.ignored {
            self.steps.push(Step::Ignored { by: by.clone(), entry });
        }
        Ok(())
    }
}

/// Whether a path is one of these directories, or in one.
fn is_below(path: &[u8], dirs: &[Vec<u8>]) -> bool {
    dirs.iter().any(|dir| path.starts_with(dir) && matches!(path.get(dir.len()), None | Some(b'/')))
}

/// The file at an absolute path, if a process of `main` could load it.
fn by_path(files: &mut Files<'_>, path: &[u8], main: &Elf) -> Result<Option<Found>, ClosureError> {
    let Ok(real) = files.tree.resolve(path, true) else { return Ok(None) };
    let Ok(link) = files.tree.resolve(path, false) else { return Ok(None) };
    let elf = files.elf(&real.path)?.filter(|e| e.is_compatible(main));
    Ok(elf.map(|elf| Found { link: link.path, ..Found::at(real.path, elf) }))
}
