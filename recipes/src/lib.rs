//! The catalogue of the sysext bakery as data, and what pins, builds and checks it.
//!
//! A recipe is a folder: `recipe.toml` and files. It is read as typed ([`mod@format`]), checked ([`Recipe`]), and decided for one
//! version and architecture ([`Instance`]); that is all that a build needs to know.

pub mod version;
pub use version::{Range, Version};

pub mod template;
pub use template::Template;

pub mod format;

pub mod recipe;
pub use recipe::RecipeError;
pub use recipe::{Instance, Recipe, Settings};

pub mod versions;
pub use versions::VersionsError;

pub mod verified;
pub use verified::Verified;

pub mod lock;
pub use lock::{Lock, LockError};

mod image_file;
pub use image_file::ImageFileName;
pub use image_file::ImageFileNameError;

pub(crate) mod assemble;
pub use assemble::AssembleError;

pub mod catalogue;
pub use catalogue::{Catalogue, CatalogueError};

pub mod config;
pub use config::{Config, ConfigError};

pub mod checksum;
pub use checksum::Checksum;
pub use checksum::ChecksumError;

pub mod fetch;
pub use fetch::{DownloadedFile, FetchError, Fetcher, FileRequest};

mod unpack;
pub use unpack::UnpackError;
pub use unpack::UnpackOptions;
pub use unpack::unpack;

pub mod context;
pub use context::{BuildContext, ImageUseError};

mod packages;
pub use packages::PackagesError;

pub mod pin;
pub use pin::PinError;

pub mod build;
pub use build::{BuildError, BuildOptions, BuildPlan, Built};
