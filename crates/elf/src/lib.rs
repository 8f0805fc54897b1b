//! ELF files: reads what they say about themselves, edits how they are loaded, and finds what a program loads.
//!
//! ```no_run
//! use elf::{Edit, Elf, Resolver};
//! use tree::{Blob, Content, Tree, TreePath};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // What a file says about itself. Only ranges of it are read, and nothing in it is trusted.
//! let size = std::fs::metadata("/usr/bin/grep")?.len();
//! let grep = Content::in_blob(Blob::at_path("/usr/bin/grep"), 0, size);
//! let elf = Elf::parse(&grep)?.expect("grep is an ELF file");
//! println!("{:?} is loaded by {:?}", elf.needed, elf.interpreter);
//!
//! // Each field of `Edit` is an option of patchelf(1).
//! let edit = Edit {
//!     interpreter: Some(b"/opt/grep/ld.so".to_vec()),           // --set-interpreter /opt/grep/ld.so
//!     runpath: Some(b"/opt/grep".to_vec()),                     // --set-rpath /opt/grep
//!     force_rpath: true,                                        // --force-rpath
//!     nodeflib: true,                                           // --no-default-lib
//!     needed: vec![(b"libpcre.so.3".to_vec(), b"libpcre.so".to_vec())], // --replace-needed libpcre.so.3 libpcre.so
//!     add_needed: vec![b"libextra.so".to_vec()],                // --add-needed libextra.so
//! };
//! // The original content with a few patches. The result has been parsed again and compared with the original.
//! let edited: Content = elf::rewrite(&grep, &edit)?;
//!
//! // What the loader of a root file system would load.
//! let root: Tree = Tree::default();
//! let program: TreePath = "/usr/bin/grep".parse()?;
//! let mut resolver = Resolver::new(&root, elf::closure::Options::default());
//! resolver.add_root(&program)?;
//! for path in resolver.finish()?.maps[&program].start() {
//!     println!("{path}");
//! }
//! # Ok(())
//! # }
//! ```

mod error;
pub use error::{Defect, ElfError};

mod source;

mod raw;
pub use raw::{Class, Endian};

mod layout;

mod notes;
pub use notes::{DlopenNote, Priority};

mod packed;
pub use packed::Packed;

mod read;
pub(crate) use read::Filtee;
pub use read::{Elf, ElfKind, Libc, VersionNeed};

mod symbols;
pub use symbols::mentions;

mod versions;
pub use versions::defined_versions;

mod strings;
pub use strings::{library_paths, read_only_strings};

mod payload;

mod rewrite;
pub use rewrite::{CheckError, Edit, MAX_INTERPRETER, RewriteError, rewrite};

pub mod loader;
pub use loader::{Family, Loader};

pub mod closure;
pub use closure::{Closure, ClosureError, DlopenPolicy, ExtraLib, Resolver};

#[cfg(feature = "testing")]
pub mod testing;
