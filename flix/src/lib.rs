//! Takes a program out of an image, with all it needs, and makes a tree of it that runs on any host.
//!
//! The image's own loader is simulated to find what belongs together ([`elf::Closure`]), everything that isn't asked for by
//! name goes to a private directory (the sysroot), and the ELF files are edited so that nothing but the sysroot is
//! searched ([`elf::rewrite()`]).

mod scripts;

pub mod plan;
pub use plan::{Plan, Request};

mod explain;
pub use explain::Explanation;
