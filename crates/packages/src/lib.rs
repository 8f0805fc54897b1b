//! What the package manager of a root file system knows: which packages are installed, which files belong to them, and
//! what they need.
//!
//! [`Database::read`] reads the database that dpkg, apk, rpm or pacman left in a tree; nothing is run. A database is
//! untrusted: a malformed entry of a text is skipped. A malformed file of rpm, and one that is too large, is an error.

mod package;
pub use package::{Dependency, Package};

mod database;
pub use database::{DATABASES, Database, Manager};

mod error;
pub use error::DatabaseError;

mod budget;
mod files;

mod apk;
mod dpkg;
mod pacman;
mod rpm;

mod links;

mod scripts;

mod closure;
pub use closure::{Closure, ClosureError};

pub mod base;

pub mod contents;
