//! Packages among the PATHs, as typed.

use std::str::FromStr;

use sysext::{RequestError, RequestedPath};

/// The prefix of a PATH that names a package.
pub(crate) const PACKAGE: &str = "package:";

/// A PATH: files of the image, or a package that is installed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathArg {
    /// A path or pattern.
    Path(RequestedPath),
    /// `package:NAME`, without the prefix.
    Package(String),
}

/// Why a PATH is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PathArgError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("package name is empty")]
    NoName,
}

impl FromStr for PathArg {
    type Err = PathArgError;

    fn from_str(text: &str) -> Result<Self, PathArgError> {
        match text.strip_prefix(PACKAGE) {
            Some("") => Err(PathArgError::NoName),
            Some(name) => Ok(PathArg::Package(name.to_owned())),
            None => Ok(PathArg::Path(text.parse()?)),
        }
    }
}

impl PathArg {
    /// The paths among them.
    pub(crate) fn paths(all: &[PathArg]) -> Vec<RequestedPath> {
        let path = |arg: &PathArg| match arg {
            PathArg::Path(path) => Some(path.clone()),
            PathArg::Package(_) => None,
        };
        all.iter().filter_map(path).collect()
    }

    /// The packages among them.
    pub(crate) fn packages(all: &[PathArg]) -> Vec<String> {
        let package = |arg: &PathArg| match arg {
            PathArg::Path(_) => None,
            PathArg::Package(name) => Some(name.clone()),
        };
        all.iter().filter_map(package).collect()
    }
}

/// How much of a package is included.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Packages")]
pub(crate) struct PackageArgs {
    /// Include the packages that a package:NAME depends on, except those that every host has (the default)
    #[arg(long, overrides_with = "no_depends")]
    with_depends: bool,

    /// Include only the named packages and the libraries that their programs load
    #[arg(long, overrides_with = "with_depends")]
    no_depends: bool,

    /// Include a package's translations for this locale (de, pt_BR); repeatable. By default, packages are included without
    /// translations, documentation, and headers
    #[arg(long, value_name = "LOCALE")]
    pub(crate) locale: Vec<String>,
}

impl PackageArgs {
    /// Whether a package's dependencies are included.
    pub(crate) fn depends(&self) -> bool {
        !self.no_depends
    }

    /// Options among these that have no effect where no PATH names a package. `locales` says whether `--locale` has one.
    pub(crate) fn without_packages(&self, locales: bool) -> Vec<&'static str> {
        let all = [
            ("--with-depends", self.with_depends),
            ("--no-depends", self.no_depends),
            ("--locale", !locales && !self.locale.is_empty()),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(option, _)| option).collect()
    }
}
