//! The ELF reader and rewriter on what real toolchains make, with the loader, readelf, eu-elflint and strip as judges.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod altered;
mod bench;
mod edges;
mod hostile;
mod linkers;
mod machines;
mod packed;
mod reader;
