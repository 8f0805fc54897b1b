//! Which files a program needs: the image's own loader, simulated.
//!
//! A [`Resolver`] takes the programs and libraries that the user asked for, one process each, and collects what the
//! loader of the image would map, under the rules of glibc or musl, plus what the program will look for later by
//! dlopen(3): notes in the files, name services, the thread library's unwinder, and what the user names. The result, a
//! [`Closure`], knows who needs whom, and in which directories each object is looked for.

mod extras;
mod ldconf;
mod process;
mod search;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use sysext::{Tree, TreePath};

use crate::elf::{Elf, ElfError, ElfKind};
use crate::loader::{Family, Loader, LoaderError, WELL_KNOWN};
use process::{Process, Step};
use search::{Files, Found};

pub use extras::{DlopenPolicy, ExtraLib};

/// Why files can't be gathered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClosureError {
    /// An ELF file that can't be read.
    #[error("{path}: {source}")]
    Elf {
        /// The file.
        path: TreePath,
        /// What is wrong with it.
        source: ElfError,
    },
    /// A program's loader can't be used.
    #[error("{path}: {source}")]
    Loader {
        /// The program.
        path: TreePath,
        /// Why.
        source: LoaderError,
    },
    /// A library without any loader in the image that could load it.
    #[error("{path}: the image has no loader for this library's machine")]
    NoLoader {
        /// The library.
        path: TreePath,
    },
    /// Libraries that are not in the image.
    #[error("{}", list(.0))]
    Missing(Vec<Missing>),
    /// A DT_RPATH or DT_RUNPATH that no real file has.
    #[error("{path}: library search path is {len} bytes, expected at most {limit}")]
    PathTooLong {
        /// The file.
        path: TreePath,
        /// Bytes.
        len: usize,
        /// Bytes.
        limit: usize,
    },
    /// A library named by the user that no program of the request could load.
    #[error("extra library {0:?} is not in the image, or fits none of the programs")]
    NoExtraLib(String),
    /// An ELF file that holds no program, where one was asked for.
    #[error("{path}: neither a program nor a library")]
    NotLoadable {
        /// The file.
        path: TreePath,
    },
}

fn list(missing: &[Missing]) -> String {
    let mut lines: Vec<String> = missing.iter().map(Missing::to_string).collect();
    lines.dedup();
    lines.join("; ")
}

/// A library that the image lacks, and who asks for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// The name asked for.
    pub name: String,
    /// Who needs it, then who needs that, up to the program.
    pub chain: Vec<TreePath>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: not in the image", self.name)?;
        for path in &self.chain {
            write!(f, ", needed by {path}")?;
        }
        Ok(())
    }
}

/// Why an object is in the closure though no DT_NEEDED names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The user asked for it.
    Asked,
    /// DT_NEEDED of an object.
    Needed {
        /// The object.
        by: TreePath,
        /// The name that it gives.
        name: String,
    },
    /// The loader of a program.
    Loader {
        /// The program.
        of: TreePath,
    },
    /// A `.note.dlopen` entry. UAPI.12.
    Dlopen {
        /// Whose note.
        by: TreePath,
        /// What for, by its author; may be empty.
        feature: String,
    },
    /// A name service of nsswitch.conf(5).
    NameService {
        /// As in the file: `sss`.
        service: String,
    },
    /// glibc opens libgcc_s.so.1 when a thread is cancelled or ends by pthread_exit(3).
    Threads,
    /// `--extra-lib`.
    Extra {
        /// As given.
        text: String,
    },
    /// The same library for better processors (glibc-hwcaps).
    Variant {
        /// The library.
        of: TreePath,
    },
}

/// An ELF file of the closure.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its headers.
    pub elf: Arc<Elf>,
    /// Why it is here.
    pub reasons: BTreeSet<Reason>,
    /// Real directories of the image in which its libraries are looked for, in the loader's order.
    pub dirs: Vec<TreePath>,
    /// Index of the loader in [`Closure::loaders`].
    pub loader: usize,
    /// Whether some process maps it (or will): false for roots that load nothing, as static programs.
    pub dynamic: bool,
    /// Whether it is a loader itself.
    pub is_loader: bool,
}

/// What [`Resolver::finish`] gives.
#[derive(Debug, Clone, Default)]
pub struct Closure {
    /// By real path in the image. Static programs are not in it.
    pub objects: BTreeMap<TreePath, Object>,
    /// Symlinks under which libraries are found, to real paths.
    pub links: BTreeMap<TreePath, TreePath>,
    /// Directories in which libraries were found.
    pub lib_dirs: BTreeSet<TreePath>,
    /// Directories that the user's extra libraries come from.
    pub extra_dirs: BTreeSet<TreePath>,
    /// Loaders, in the order met.
    pub loaders: Vec<Loader>,
    /// What each root's process maps at its start and by dlopen, in load order; real paths, root and loader first.
    pub maps: BTreeMap<TreePath, Vec<TreePath>>,
    /// Libraries that are not in the image, if that is allowed.
    pub missing: Vec<Missing>,
    /// Things that the user should know.
    pub warnings: BTreeSet<String>,
    /// Decisions taken.
    pub notes: BTreeSet<String>,
}

/// How to gather.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A missing library is a warning.
    pub allow_missing: bool,
    /// What of `.note.dlopen` to take along.
    pub dlopen: DlopenPolicy,
    /// Nothing but what the loader maps at the start: no name services, no libgcc_s.
    pub needed_only: bool,
    /// Libraries that the user names, for all programs.
    pub extra_libs: Vec<ExtraLib>,
}

/// Gathers the closure of one root after the other.
#[derive(Debug)]
pub struct Resolver<'t> {
    files: Files<'t>,
    options: Options,
    loader_names: HashMap<Vec<u8>, usize>,
    /// By loader: ld.so.conf's directories, or what musl's path file puts in place of the compiled-in ones.
    config_dirs: Vec<Vec<Vec<u8>>>,
    extras_used: BTreeSet<usize>,
    closure: Closure,
}

impl<'t> Resolver<'t> {
    /// Nothing gathered yet.
    pub fn new(tree: &'t Tree, options: Options) -> Self {
        Resolver {
            files: Files::new(tree),
            options,
            loader_names: HashMap::new(),
            config_dirs: Vec::new(),
            extras_used: BTreeSet::new(),
            closure: Closure::default(),
        }
    }

    /// The ELF file at a real path, none if it is something else.
    ///
    /// # Errors
    /// It begins like an ELF file and can't be one.
    pub fn elf(&mut self, path: &TreePath) -> Result<Option<Arc<Elf>>, ClosureError> {
        self.files.elf(path)
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
        let loader = self.loader_of(path, &elf)?;
        let shared = self.closure.loaders[loader].clone();
        let config = self.config_dirs[loader].clone();
        let mut process = Process::new(&mut self.files, &shared, &config, path, elf.clone())?;
        process.run(&mut self.files)?;
        self.load_extras(&mut process, shared.family)?;
        self.object(path, &elf).reasons.insert(Reason::Asked);
        self.take(process, loader)?;
        Ok(true)
    }

    /// The end: what was gathered.
    ///
    /// # Errors
    /// Libraries are missing and that is not allowed.
    pub fn finish(mut self) -> Result<Closure, ClosureError> {
        for (i, extra) in self.options.extra_libs.iter().enumerate() {
            if !self.extras_used.contains(&i) && !self.options.allow_missing {
                return Err(ClosureError::NoExtraLib(extra.to_string()));
            }
        }
        self.closure.missing.sort();
        self.closure.missing.dedup();
        // One chain for each name tells enough.
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
                let dirs = match loader.family {
                    Family::Glibc => ldconf::glibc_dirs(tree),
                    Family::Musl => {
                        // PT_INTERP as the program has it decides on the prefix.
                        let asked = TreePath::new(interpreter).unwrap_or_else(|_| loader.name.clone());
                        let file = loader.path_file(&asked);
                        file.and_then(|f| ldconf::musl_dirs(tree, &f))
                            .unwrap_or_else(|| loader.system_dirs.clone())
                    }
                };
                self.closure.loaders.push(loader);
                self.config_dirs.push(dirs);
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
            loader: 0,
            dynamic: false,
            is_loader: false,
        })
    }

    /// Moves what a process learned into the closure.
    fn take(&mut self, mut process: Process<'_>, loader: usize) -> Result<(), ClosureError> {
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
        self.closure.maps.insert(main, process.loaded.iter().map(|l| l.path.clone()).collect());
        Ok(())
    }

    fn take_step(&mut self, step: Step) -> Result<(), ClosureError> {
        let text = |name: &[u8]| name.escape_ascii().to_string();
        match step {
            Step::Need { by, name, to, found, why } => {
                if let Some(found) = found {
                    self.found(&found);
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
                _ => self.closure.missing.push(Missing { name: text(&name), chain }),
            },
            Step::Ignored { by, entry } => {
                self.closure.warnings.insert(format!(
                    "{by}: library search path entry {:?} is relative or not understood, ignored",
                    text(&entry)
                ));
            }
            Step::Path { by, name } => {
                self.closure.warnings.insert(format!(
                    "{by}: needs a library by the path {:?}, which is looked for on the host",
                    text(&name)
                ));
            }
        }
        Ok(())
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
