//! Which files a program needs: the image's own loader, simulated.
//!
//! A [`Resolver`] takes the programs and libraries that the user asked for, one process each, and collects what the
//! loader of the image would map, under the rules of glibc or musl, plus what the program will look for later by
//! dlopen(3): notes in the files, name services, the thread library's unwinder, and what the user names. The result, a
//! [`Closure`], knows who needs whom, and in which directories each object is looked for.

mod extras;
pub use extras::{DlopenPolicy, ExtraLib};

mod ldconf;
mod process;
mod search;

mod resolver;
pub use resolver::Resolver;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use tree::TreePath;

use crate::loader::{Loader, LoaderError};
use crate::{Elf, ElfError};

/// Why files can't be gathered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ClosureError {
    /// An ELF file that can't be read.
    #[error("{path}: {source}")]
    Elf {
        path: TreePath,
        /// What is wrong with it.
        source: ElfError,
    },
    /// A program's loader can't be used.
    #[error("{path}: {source}")]
    Loader { path: TreePath, source: LoaderError },
    /// A library without any loader in the image that could load it.
    #[error("{path}: the image has no loader for this library's machine")]
    NoLoader { path: TreePath },
    /// Libraries that are not in the image.
    #[error("{}", list(.0))]
    Missing(Vec<Missing>),
    /// A DT_RPATH or DT_RUNPATH that no real file has.
    #[error("{path}: library search path is {len} bytes, expected at most {limit}")]
    PathTooLong { path: TreePath, len: usize, limit: usize },
    /// A library named by the user that no program of the request could load.
    #[error("extra library {0:?} is not in the image, or fits none of the programs")]
    NoExtraLib(String),
    /// A program that takes the host's loader and libraries whatever is done to it.
    #[error(
        "{path}: packed by UPX, the program inside needs a loader and libraries that can't be given to it"
    )]
    Packed { path: TreePath },
    /// A library named by the user that is in several places outside of the search path.
    #[error("extra library {name:?} is in several places of the image: {}", join(.places))]
    ManyExtraLibs { name: String, places: Vec<TreePath> },
    /// An ELF file that holds no program, where one was asked for.
    #[error("{path}: neither a program nor a library")]
    NotLoadable { path: TreePath },
}

fn join(places: &[TreePath]) -> String {
    places.iter().map(TreePath::to_string).collect::<Vec<_>>().join(", ")
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
    /// A file of that name where nothing looks for it.
    pub elsewhere: Option<TreePath>,
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
    /// A library that the user names.
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
    /// What it needs by a path and not by a name (a DT_NEEDED with a slash), to real paths.
    pub by_path: BTreeMap<Vec<u8>, TreePath>,
    /// Index of the loader in [`Closure::loaders`].
    pub loader: usize,
    /// Whether some process maps it (or will): false for roots that load nothing, as static programs.
    pub dynamic: bool,
    /// Whether it is a loader itself.
    pub is_loader: bool,
}

/// Files that a process maps: real paths in load order, the root and the loader first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessMap {
    paths: Vec<TreePath>,
    at_start: usize,
}

impl ProcessMap {
    /// What the loader maps before the program starts.
    pub fn start(&self) -> &[TreePath] {
        &self.paths[..self.at_start]
    }

    /// What may be mapped later by dlopen(3), and variants of libraries for better processors.
    pub fn later(&self) -> &[TreePath] {
        &self.paths[self.at_start..]
    }
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
    /// By loader: the real directories that are searched for every object, by configuration or built in.
    pub default_dirs: Vec<Vec<TreePath>>,
    /// What each root's process maps, by the root's real path.
    pub maps: BTreeMap<TreePath, ProcessMap>,
    /// Libraries that a program that unpacks others should load at its start, by the program's real path.
    pub preloads: BTreeMap<TreePath, Vec<String>>,
    /// Libraries that are not in the image, if that is allowed.
    pub missing: Vec<Missing>,
    /// Libraries that are not in the image and that only optional roots, or files of folders of extra libraries, need.
    pub left: Vec<Missing>,
    /// Things that the user should know.
    pub warnings: BTreeSet<String>,
    /// Decisions taken.
    pub notes: BTreeSet<String>,
}

/// LD_LIBRARY_PATH of an environment, as an image's configuration has it: `NAME=VALUE` each.
pub fn ld_library_path(environment: &[String]) -> Vec<u8> {
    let mut values = environment.iter().rev().filter_map(|v| v.strip_prefix("LD_LIBRARY_PATH="));
    values.next().unwrap_or_default().as_bytes().to_vec()
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
    /// Only what is found before the directories of LD_LIBRARY_PATH counts: no DT_RUNPATH of glibc, nothing configured or
    /// built in. What loads so loads alike on every host. (musl's private copy doesn't read the variable.) And nothing stands in for a library that
    /// the loader doesn't find.
    pub sealed: bool,
    /// Libraries that the user names, for all programs.
    pub extra_libs: Vec<ExtraLib>,
    /// LD_LIBRARY_PATH of the image's environment. ld.so(8).
    pub ld_library_path: Vec<u8>,
}

impl Options {
    /// What the loader maps at the start, as far as it is there.
    pub fn of_start() -> Options {
        Options { allow_missing: true, dlopen: DlopenPolicy::None, needed_only: true, ..Options::default() }
    }
}
