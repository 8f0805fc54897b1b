//! flix

pub mod elf;
pub use elf::{Elf, ElfKind};
