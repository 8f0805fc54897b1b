//! What goes into an extension, decided before anything is done.
//!
//! [`Plan::new`] is a function of the image's tree and the request; [`Plan::build`] follows it and gives the tree of the
//! extension. Everything that the closure adds stands in the sysroot under the path that it has in the image, so that
//! paths relative to `$ORIGIN` and the subdirectories for better processors keep their meaning.

mod build;
mod confine;
mod defaults;
mod files;
mod host;
mod libraries;
mod moved;
mod opened;
mod planner;
mod selection;
mod text;
mod unbundled;
pub(crate) mod units;

pub use host::is_host_program;
pub use selection::Selection;
pub use unbundled::{Unbundled, UnbundledKind};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tree::{ContentError, Machine, Meta, Patch, PathError, TreeError, TreePath, list_some};

use elf::RewriteError;
use elf::closure::{self, ClosureError, Missing, ProcessMap, Reason};
use sysext::extension::moved::Moved;
use sysext::request::{RequestError, RequestedPath};

/// What to make.
#[derive(Debug, Clone)]
pub struct Request {
    /// Paths of the image.
    pub wanted: Vec<RequestedPath>,
    /// Files of the image that are selected as a group.
    pub selections: Vec<Selection>,
    /// Folder of the extension for all that the closure adds: `/usr/lib/flix/NAME`.
    pub sysroot: TreePath,
    /// How to gather the closure.
    pub closure: closure::Options,
    /// Programs of /usr/sbin stay there.
    pub keep_sbin: bool,
    /// Include the image's character sets for iconv(3).
    pub charsets: bool,
    /// Scripts whose interpreter is not included are left to the host's.
    pub host_interpreters: bool,
    /// Files outside /usr and /opt that the caller brings to the host in another way: nobody misses them.
    pub elsewhere: BTreeSet<TreePath>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum PlanError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Closure(#[from] ClosureError),
    /// A script whose interpreter is not part of the extension.
    #[error("{path}: script needs {interpreter}, which is not part of the extension")]
    Interpreter {
        /// The script, in the image.
        path: TreePath,
        /// As its first line names it.
        interpreter: String,
        /// The interpreter's path in the image, if it is there.
        found: Option<TreePath>,
    },
    /// A sysroot that can't be.
    #[error("sysroot {0:?} has to be a folder below /usr or /opt, without colon, dollar sign or space")]
    Sysroot(TreePath),
    /// A directory of the image that can't be part of a library search path.
    #[error("{0}: a library search path can't hold a directory with a colon or a dollar sign")]
    Directory(TreePath),
    /// Two files for one place.
    #[error("{target} is wanted from both {first} and {second}")]
    Clash { target: TreePath, first: TreePath, second: TreePath },
    /// A place below something that is no folder.
    #[error("{target}, from {source_of}, can't be below {parent}, which is {what} from {first}")]
    Below {
        target: TreePath,
        /// What is to go there.
        source_of: TreePath,
        /// The place above it.
        parent: TreePath,
        /// A file or a symlink.
        what: &'static str,
        /// Where that comes from.
        first: TreePath,
    },
    /// Something that an extension can't hold.
    #[error("{path}: {what} can't be part of an extension")]
    Special { path: TreePath, what: &'static str },
    /// The image has no character sets.
    #[error("the image has no folder with glibc's character sets")]
    NoCharsets,
    /// The new path of the character sets is too long.
    #[error("sysroot is too long for the character sets: {got} has no room where {libc} has {old}")]
    CharsetsRoom {
        libc: TreePath,
        old: TreePath,
        /// What it should have.
        got: TreePath,
    },
    /// A path that Linux does not take.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Content that can't be read.
    #[error("{path}: {source}")]
    Content {
        /// The file, in the image.
        path: TreePath,
        source: ContentError,
    },
}

/// Why a plan can't be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum BuildError {
    /// An ELF file refuses the edit.
    #[error("{path}: {source}")]
    Rewrite {
        /// The file, in the image.
        path: TreePath,
        source: RewriteError,
    },
    /// Content that can't be read.
    #[error("{path}: {source}")]
    Content {
        /// The file, in the image.
        path: TreePath,
        source: ContentError,
    },
    /// A place that is taken.
    #[error("extension: {0}")]
    Tree(#[from] TreeError),
    /// The source of an entry is not in the image that the plan is used with.
    #[error("{0}: not in the image that the plan was made for")]
    Source(TreePath),
    /// Within the extension a program would load something else than in the image.
    #[error("{program}: would load {got} in the extension, expected {expected}")]
    Differs {
        /// The program, in the extension.
        program: TreePath,
        /// What it would load.
        got: String,
        /// What it loads in the image.
        expected: String,
    },
    /// The finished extension can't be checked.
    #[error("extension: {0}")]
    Check(#[from] ClosureError),
}

/// The edit of an ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    /// The new PT_INTERP.
    pub interpreter: Option<TreePath>,
    /// The directories of the new DT_RPATH: glibc searches them before LD_LIBRARY_PATH, which those of a DT_RUNPATH come
    /// after. docs/decisions/0025-rpath.md.
    pub rpath: Vec<TreePath>,
    /// A DT_NEEDED with a slash, and the path that it becomes.
    pub needed: Vec<(Vec<u8>, TreePath)>,
    /// Libraries that a program gets as DT_NEEDED: what it unpacks needs them.
    pub add_needed: Vec<String>,
    /// Compiled-in paths of the host that are replaced before.
    pub patches: Vec<Patch>,
}

/// What is done for one path of the extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A directory.
    Directory(Meta),
    /// The image's file as it is.
    Copy,
    /// The image's ELF file with another interpreter and search path.
    Relocate(Relocation),
    /// The image's loader without the paths of the host in it.
    Confine(Vec<Patch>),
    /// The image's script with another first line; the length of the old one in bytes.
    Script {
        /// The new first line.
        line: Vec<u8>,
        /// Length of the old one. Bytes.
        old: usize,
    },
    /// A symlink to this target.
    Symlink(Vec<u8>),
    /// New text: a unit with other paths, musl's list of directories.
    Text(Vec<u8>),
}

/// Why a path is in the extension.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The user's word.
    Asked(String),
    /// Below a folder that the user named.
    Folder(String),
    /// Part of a [`Selection`].
    Selected(String),
    /// Included by default for programs that have a use for it.
    Default(String),
    /// The closure.
    Closure(Reason),
    /// What a symlink of the extension leads to.
    Target(TreePath),
    /// A name of a library, leading to it.
    Name(TreePath),
    /// musl's list of directories.
    PathFile,
}

/// One path of the extension.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it comes from; none for what is made here.
    pub source: Option<TreePath>,
    /// What is done.
    pub action: Action,
    /// Why.
    pub why: BTreeSet<Why>,
    /// Bytes, before the edit. 0 for anything but files.
    pub size: u64,
}

/// Libraries that a file of the extension names by paths at which hosts have nothing, or something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The file, in the extension.
    pub by: TreePath,
    /// The libraries, in the image.
    pub paths: BTreeSet<TreePath>,
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = list_some(&self.paths, 3);
        write!(f, "{}: may open {paths} by its path, where the extension has nothing", self.by)
    }
}

/// A whole plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The sysroot.
    pub sysroot: TreePath,
    /// By path in the extension.
    pub entries: BTreeMap<TreePath, Entry>,
    /// Places of the image's files, by real path in the image; the first counts for what is loaded.
    pub places: BTreeMap<TreePath, TreePath>,
    /// What each program or library loads: by real path in the image.
    pub maps: BTreeMap<TreePath, ProcessMap>,
    /// What the programs and libraries are for.
    pub machines: BTreeSet<Machine>,
    /// Whether the extension has units.
    pub has_units: bool,
    /// Programs that are elsewhere than in the image.
    pub moved: Moved,
    /// Libraries that the image lacks, where that is allowed, or nobody has named what needs them.
    pub missing: Vec<Missing>,
    /// Libraries that are opened by their paths and are not at these.
    pub opened: Vec<Opened>,
    /// Directories of the image's LD_LIBRARY_PATH with libraries that nothing needs; programs may open them by name.
    pub unseen: BTreeSet<TreePath>,
    /// Files that programs look for at run time and that the extension lacks.
    pub unbundled: Vec<Unbundled>,
    /// Programs of the image that the extension lacks and whose names stand in a program's data, by that program. Whether it
    /// runs them, or the names mean something else, [`Plan::expect_programs`] decides.
    pub named: BTreeMap<TreePath, BTreeSet<TreePath>>,
    /// Things that may go wrong.
    pub warnings: Vec<String>,
    /// Decisions taken for the user.
    pub notes: Vec<String>,
}

impl Plan {
    /// Files of the extension in the order in which their processes read them: each program, its loader and its
    /// libraries, then what they load later.
    pub fn load_order(&self) -> Vec<TreePath> {
        let start = self.maps.values().flat_map(ProcessMap::start);
        let later = self.maps.values().flat_map(ProcessMap::later);
        start.chain(later).filter_map(|path| self.places.get(path)).cloned().collect()
    }
}
