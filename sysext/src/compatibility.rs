//! Whether an image is what it is taken for: before it goes into an OS image or a machine that can only shrug at it.

use std::path::{Path, PathBuf};

use crate::ExtensionName;
use tree::{Arch, ContentError, ScratchSpace};

use crate::lint::release_file;
use image::{ForeignError, ReadCause, ReadError};

/// Why a host won't merge an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum CompatibilityError {
    /// The image can't be read.
    #[error(transparent)]
    Open(#[from] ReadError),
    /// Its release file can't be read.
    #[error("{path:?}: {source}")]
    Content { path: PathBuf, source: ContentError },
    /// There is no release file.
    #[error("{path:?}: has no release file: it is no extension")]
    NoRelease { path: PathBuf },
    /// It has another name inside.
    #[error("{path:?}: its release file is for {}, expected {expected}", .got.join(", "))]
    Name {
        path: PathBuf,
        /// As the image has it.
        got: Vec<String>,
        /// As it was called.
        expected: String,
    },
    /// A file name without `.raw`, and nothing inside that would tell.
    #[error("{path:?}: has release files for {}, expected one", .got.join(", "))]
    Ambiguous {
        path: PathBuf,
        /// As the image has it.
        got: Vec<String>,
    },
    /// It is for another machine.
    #[error("{path:?}: is for {}, expected {}", .got.systemd(), .expected.systemd())]
    Arch {
        path: PathBuf,
        /// As the image has it.
        got: Arch,
        expected: Arch,
    },
}

/// What an image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compatibility {
    /// The name that it merges under.
    pub name: ExtensionName,
    /// For which machine, if it says so.
    pub arch: Option<Arch>,
}

/// Looks into an image. `name` is what it is taken for; without one it is what its only release file says. None: it has a
/// file system that can't be read here, without privileges or tools.
///
/// # Errors
/// [`CompatibilityError`]: no host would merge it.
pub fn check_compatibility(
    path: &Path,
    name: Option<&ExtensionName>,
    arch: Option<Arch>,
    scratch: &dyn ScratchSpace,
) -> Result<Option<Compatibility>, CompatibilityError> {
    let opened = match image::read(path, scratch) {
        Ok(opened) => opened,
        Err(ReadError { cause: ReadCause::Foreign(ForeignError::NoWay { .. }), .. }) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let path = || path.to_owned();
    let got = release_file::names(&opened.tree);
    let name = match (name, got.as_slice()) {
        (_, []) => return Err(CompatibilityError::NoRelease { path: path() }),
        (Some(name), _) => name.clone(),
        (None, [one]) => match one.parse() {
            Ok(name) => name,
            Err(_) => return Err(CompatibilityError::NoRelease { path: path() }),
        },
        (None, _) => return Err(CompatibilityError::Ambiguous { path: path(), got }),
    };
    let found = release_file::find(&opened.tree, &name)
        .map_err(|source| CompatibilityError::Content { path: path(), source })?;
    let Some(file) = found else {
        return Err(CompatibilityError::Name { path: path(), got, expected: name.to_string() });
    };
    let is = file.release.architecture;
    match (is, arch) {
        (Some(got), Some(expected)) if got != expected => {
            Err(CompatibilityError::Arch { path: path(), got, expected })
        }
        _ => Ok(Some(Compatibility { name, arch: is })),
    }
}
