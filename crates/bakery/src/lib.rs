//! The `bakery` command: plans, builds, tests and releases the catalogue of recipes.
//!
//! `release` is a folder that any web server can host; `site` its page; `sysupdate` and `snippets` what machines
//! need to install from it and to keep up to date.

mod published;
mod release;
pub mod site;

mod snippets;
mod sysupdate;

pub(crate) mod catalogue_pages;

pub mod cli;
