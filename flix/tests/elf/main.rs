//! The ELF reader and rewriter on what real toolchains make, with the loader, readelf, eu-elflint and strip as judges.

mod bench;

mod linkers;
