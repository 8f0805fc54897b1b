//! One root after the other into one closure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tree::{Tree, TreePath};

use super::process::{Configuration, Process, Step};
use super::search::{Files, Found};
use super::{Closure, ClosureError, Missing, Object, Options, ProcessMap, Reason, ldconf};
use crate::loader::{Family, Loader, LoaderError, WELL_KNOWN};
use crate::{Elf, ElfKind, Packed};

/// Gathers the closure of one root after the other.
#[derive(Debug)]
pub struct Resolver<'t> {
    pub(super) files: Files<'t>,
    pub(super) options: Options,
    loader_names: HashMap<Vec<u8>, usize>,
    /// By loader.
    configurations: Vec<Configuration>,
    /// Whether ld.so.cache counts as it is.
    by_cache: bool,
    pub(super) extras_used: BTreeSet<usize>,
    /// Whether the user's libraries stand in for what isn't found.
    pub(super) extras_offered: bool,
    optional: BTreeSet<TreePath>,
    pub(super) closure: Closure,
}

impl<'t> Resolver<'t> {
    /// Nothing gathered yet.
    pub fn new(tree: &'t Tree, options: Options) -> Self {
        Resolver {
            files: Files::new(tree),
            options,
            loader_names: HashMap::new(),
            configurations: Vec::new(),
            by_cache: false,
            extras_used: BTreeSet::new(),
            extras_offered: false,
            optional: BTreeSet::new(),
            closure: Closure::default(),
        }
    }

    /// Takes glibc's ld.so.cache as it is: a directory of ld.so.conf that got a library after ldconfig(8) ran is no place to
    /// find it. For a host whose files have changed since. Where there is no cache, the directories count.
    pub fn by_cache(self) -> Self {
        Resolver { by_cache: true, ..self }
    }

    /// The ELF file at a real path, none if it is something else.
    ///
    /// # Errors
    /// It begins like an ELF file and can't be one.
    pub fn elf(&mut self, path: &TreePath) -> Result<Option<Arc<Elf>>, ClosureError> {
        self.files.elf(path)
    }

    /// Takes a file at a real path as it was read before, so that it isn't read again.
    pub fn know(&mut self, path: &TreePath, elf: Arc<Elf>) {
        self.files.know(path, elf);
    }

    /// Lets a library that is included anyway stand in for a name that the loader doesn't find, as a program finds it that
    /// opens it first by dlopen(3). `path` is real. What is no library offers nothing.
    pub fn offer(&mut self, path: &TreePath) {
        if let Ok(Some(elf)) = self.files.elf(path)
            && elf.kind == ElfKind::SharedObject
        {
            self.files.offer(&Found::at(path.clone(), elf));
        }
    }

    /// Adds a program or library and all that it needs. `path` is real. Says whether anything of it is dynamic: a static
    /// program needs nothing and stays as it is.
    ///
    /// # Errors
    /// A file on the way is broken, or the image has no loader for it. Missing libraries are reported by `finish`.
    pub fn add_root(&mut self, path: &TreePath) -> Result<bool, ClosureError> {
        let Some(elf) = self.files.elf(path)? else {
            return Err(ClosureError::NotLoadable { path: path.clone() });
        };
        self.packed(path, &elf)?;
        match elf.kind {
            ElfKind::StaticExecutable | ElfKind::StaticPie | ElfKind::Loader | ElfKind::Other => {
                return Ok(false);
            }
            ElfKind::DynamicExecutable | ElfKind::SharedObject => {}
        }
        if self.closure.maps.contains_key(path) {
            self.object(path, &elf).reasons.insert(Reason::Asked);
            return Ok(true);
        }
        self.offer_extras()?;
        let loader = self.loader_of(path, &elf)?;
        let shared = self.closure.loaders[loader].clone();
        let config = self.configurations[loader].clone();
        let options = self.options.clone();
        let mut process = Process::new(&mut self.files, &shared, &options, &config, path, elf.clone())?;
        process.run(&mut self.files)?;
        self.preload(&mut process, shared.family)?;
        let at_start = process.loaded.len();
        self.load_extras(&mut process, shared.family)?;
        self.object(path, &elf).reasons.insert(Reason::Asked);
        self.take(process, loader, at_start)?;
        Ok(true)
    }

    /// What is inside of a packed program has needs of its own.
    fn packed(&mut self, path: &TreePath, elf: &Elf) -> Result<(), ClosureError> {
        let warning = match elf.packed {
            Some(Packed::Upx { dynamic: Some(true) }) => {
                return Err(ClosureError::Packed { path: path.clone() });
            }
            Some(Packed::Upx { dynamic: None }) => {
                "packed by UPX in a way that hides what it needs: if it isn't static, it takes the host's libraries \
                 (`upx -d` in the image unpacks it)"
            }
            Some(Packed::AppImage) => {
                "an AppImage: what is inside isn't relocated and takes the host's loader and C library \
                 (`--appimage-extract` unpacks it)"
            }
            _ => return Ok(()),
        };
        self.closure.warnings.insert(format!("{path}: {warning}"));
        Ok(())
    }

    /// As [`Resolver::add_root`], for what nobody has named: a file below a folder may lack libraries.
    ///
    /// # Errors
    /// As [`Resolver::add_root`].
    pub fn add_optional_root(&mut self, path: &TreePath) -> Result<bool, ClosureError> {
        if !self.closure.maps.contains_key(path) {
            self.optional.insert(path.clone());
        }
        self.add_root(path)
    }

    /// Whether only what nobody has named by its own path asks for the library.
    fn is_optional(&self, missing: &Missing) -> bool {
        let extra = |reason: &Reason| match reason {
            Reason::Extra { text } => {
                let real = self.files.tree.resolve(text, true).ok();
                real.and_then(|r| self.files.tree.get(&r.path)).is_some_and(tree::Node::is_dir)
            }
            _ => false,
        };
        let of_folder = |path: &TreePath| {
            let reasons = self.closure.objects.get(path).map(|o| &o.reasons);
            reasons.is_some_and(|r| !r.is_empty() && r.iter().all(extra))
        };
        missing.chain.last().is_some_and(|root| self.optional.contains(root))
            || missing.chain.iter().any(of_folder)
    }

    /// The end: what was gathered.
    ///
    /// # Errors
    /// Libraries are missing and that is not allowed.
    pub fn finish(mut self) -> Result<Closure, ClosureError> {
        if !self.options.allow_missing {
            let missing = std::mem::take(&mut self.closure.missing);
            let (left, missing) = missing.into_iter().partition(|m| self.is_optional(m));
            (self.closure.left, self.closure.missing) = (left, missing);
            self.closure.left.sort();
            self.closure.left.dedup_by(|b, a| a.name == b.name && a.chain.first() == b.chain.first());
        }
        for (i, extra) in self.options.extra_libs.iter().enumerate() {
            if !self.extras_used.contains(&i) && !self.options.allow_missing {
                return Err(ClosureError::NoExtraLib(extra.to_string()));
            }
        }
        self.closure.missing.sort();
        self.closure.missing.dedup();
        // One chain for each name is enough.
        self.closure.missing.dedup_by(|b, a| a.name == b.name);
        if !self.options.allow_missing && !self.closure.missing.is_empty() {
            return Err(ClosureError::Missing(self.closure.missing));
        }
        Ok(self.closure)
    }

    /// The loader of a program by its PT_INTERP; of a library by what it needs and what there is.
    fn loader_of(&mut self, path: &TreePath, elf: &Elf) -> Result<usize, ClosureError> {
        if let Some(interpreter) = &elf.interpreter {
            return self
                .loader(interpreter)
                .map_err(|source| ClosureError::Loader { path: path.clone(), source });
        }
        let musl = elf.needed.iter().any(|n| n == b"libc.so" || n.starts_with(b"libc.musl-"));
        let glibc = elf.needed.iter().any(|n| n.starts_with(b"libc.so.6") || n.starts_with(b"ld-linux"));
        let wanted = |family| match family {
            Family::Musl => !glibc,
            Family::Glibc => !musl,
        };
        for i in 0..self.closure.loaders.len() {
            let (family, at) = (self.closure.loaders[i].family, self.closure.loaders[i].path.clone());
            if wanted(family) && self.files.elf(&at)?.is_some_and(|l| l.is_compatible(elf)) {
                return Ok(i);
            }
        }
        for known in WELL_KNOWN {
            let Ok(loader) = Loader::find(self.files.tree, known.as_bytes()) else { continue };
            if wanted(loader.family) && self.files.elf(&loader.path)?.is_some_and(|l| l.is_compatible(elf)) {
                return self
                    .loader(known.as_bytes())
                    .map_err(|source| ClosureError::Loader { path: path.clone(), source });
            }
        }
        Err(ClosureError::NoLoader { path: path.clone() })
    }

    fn loader(&mut self, interpreter: &[u8]) -> Result<usize, LoaderError> {
        if let Some(&i) = self.loader_names.get(interpreter) {
            return Ok(i);
        }
        let tree = self.files.tree;
        let loader = Loader::find(tree, interpreter)?;
        let same = |l: &Loader| l.path == loader.path && l.name == loader.name;
        let index = match self.closure.loaders.iter().position(same) {
            Some(i) => i,
            None => {
                let exact = self.by_cache && loader.family == Family::Glibc;
                let cache = exact.then(|| ldconf::cache(tree, loader.cache())).flatten().map(Arc::new);
                let dirs = match loader.family {
                    Family::Glibc if cache.is_some() => Vec::new(),
                    Family::Glibc => {
                        let file = loader.configuration();
                        let mut dirs = file.map(|f| ldconf::glibc_dirs(tree, &f)).unwrap_or_default();
                        let built_in = loader.system_dirs.iter().chain(&dirs);
                        let known: Vec<TreePath> = built_in.filter_map(|d| self.files.dir(d)).collect();
                        let mut cached = ldconf::cached_dirs(tree, loader.cache());
                        cached.retain(|d| self.files.dir(d).is_some_and(|d| !known.contains(&d)));
                        dirs.extend(cached);
                        dirs
                    }
                    Family::Musl => {
                        // PT_INTERP as the program has it decides on the prefix.
                        let asked = TreePath::new(interpreter).unwrap_or_else(|_| loader.name.clone());
                        let file = loader.path_file(&asked);
                        file.and_then(|f| ldconf::musl_dirs(tree, &f))
                            .unwrap_or_else(|| loader.system_dirs.clone())
                    }
                };
                let built_in: &[Vec<u8>] = match loader.family {
                    Family::Glibc => &loader.system_dirs,
                    Family::Musl => &[],
                };
                let all = dirs.iter().chain(built_in);
                self.closure.default_dirs.push(all.filter_map(|d| self.files.dir(d)).collect());
                self.closure.loaders.push(loader);
                self.configurations.push(Configuration { dirs, cache });
                self.closure.loaders.len() - 1
            }
        };
        self.loader_names.insert(interpreter.to_vec(), index);
        Ok(index)
    }

    fn object(&mut self, path: &TreePath, elf: &Arc<Elf>) -> &mut Object {
        self.closure.objects.entry(path.clone()).or_insert_with(|| Object {
            elf: elf.clone(),
            reasons: BTreeSet::new(),
            dirs: Vec::new(),
            by_path: BTreeMap::new(),
            loader: 0,
            dynamic: false,
            is_loader: false,
        })
    }

    /// Moves what a process learned into the closure.
    fn take(&mut self, mut process: Process<'_>, loader: usize, at_start: usize) -> Result<(), ClosureError> {
        // Variants are loaded in the place of their base and may need more than it.
        let mut done = BTreeSet::new();
        loop {
            let fresh: Vec<(TreePath, Found)> = process
                .steps
                .iter()
                .filter_map(|s| match s {
                    Step::Variant { of, found } if !done.contains(&found.path) => {
                        Some((of.clone(), found.clone()))
                    }
                    _ => None,
                })
                .collect();
            if fresh.is_empty() {
                break;
            }
            for (of, found) in fresh {
                if done.insert(found.path.clone()) {
                    process.variant(&mut self.files, &of, found)?;
                }
            }
            process.run(&mut self.files)?;
        }
        for loaded in &process.loaded {
            let object = self.object(&loaded.path, &loaded.elf);
            object.loader = loader;
            object.dynamic = true;
            for dir in loaded.dirs.iter() {
                if !object.dirs.contains(dir) {
                    object.dirs.push(dir.clone());
                }
            }
        }
        let main = process.loaded[0].path.clone();
        let at = self.closure.loaders[loader].path.clone();
        let elf = self.files.elf(&at)?;
        if let Some(elf) = elf {
            let object = self.object(&at, &elf);
            object.is_loader = true;
            object.loader = loader;
            object.reasons.insert(Reason::Loader { of: main.clone() });
        }
        for step in std::mem::take(&mut process.steps) {
            self.take_step(step)?;
        }
        let paths = process.loaded.iter().map(|l| l.path.clone()).collect();
        self.closure.maps.insert(main, ProcessMap { paths, at_start });
        Ok(())
    }

    fn take_step(&mut self, step: Step) -> Result<(), ClosureError> {
        let text = |name: &[u8]| name.escape_ascii().to_string();
        match step {
            Step::Need { by, name, to, found, why } => {
                if let Some(found) = found {
                    self.found(&found);
                }
                if why.is_none()
                    && name.contains(&b'/')
                    && let Some(asker) = self.closure.objects.get_mut(&by)
                {
                    asker.by_path.insert(name.clone(), to.clone());
                }
                let reason = why.unwrap_or_else(|| Reason::Needed { by, name: text(&name) });
                if let Some(elf) = self.files.elf(&to)? {
                    self.object(&to, &elf).reasons.insert(reason);
                }
            }
            Step::Variant { of, found } => {
                self.found(&found);
                self.object(&found.path, &found.elf).reasons.insert(Reason::Variant { of });
            }
            Step::Missing { name, chain, why } => match why {
                Some(Reason::Dlopen { by, feature }) if self.options.allow_missing => {
                    _ = self.closure.warnings.insert(format!("{by}: {} is missing ({feature})", text(&name)));
                }
                _ => {
                    let elsewhere = self.elsewhere(&name);
                    self.closure.missing.push(Missing { name: text(&name), chain, elsewhere });
                }
            },
            Step::Ignored { by, entry } => {
                self.closure.warnings.insert(format!(
                    "{by}: library search path entry {:?} is relative or not understood, ignored",
                    text(&entry)
                ));
            }
        }
        Ok(())
    }

    /// Where the image has a file of a missing library's name.
    fn elsewhere(&self, name: &[u8]) -> Option<TreePath> {
        // Each is a walk through the image, and one or two tell enough.
        if self.options.sealed || self.closure.missing.len() >= 16 {
            return None;
        }
        let name = name.rsplit(|&b| b == b'/').next()?;
        let mut paths = self.files.tree.iter().map(|(path, _)| path);
        paths.find(|path| path.file_name() == Some(name)).cloned()
    }

    fn found(&mut self, found: &Found) {
        if found.link != found.path {
            self.closure.links.insert(found.link.clone(), found.path.clone());
        }
        if let Some(dir) = &found.dir {
            self.closure.lib_dirs.insert(dir.clone());
        }
    }
}
