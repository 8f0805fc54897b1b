//! The `bakery` command: plans, builds, tests and releases the catalogue of recipes.
//!
//! [`release`] is a folder that any web server can host; [`site`] its page; [`sysupdate`] and [`snippets`] what machines
//! need to install from it and to keep up to date.

pub mod release;
pub mod site;

pub mod snippets;
pub mod sysupdate;

pub mod catalogue_pages;

pub mod cli;
