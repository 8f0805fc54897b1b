//! Which images are accepted: containers-policy.json(5), with signatures as containers-signature(5) and cosign write them.
//!
//! [`Policy::rules`] finds what the file says of an image, [`Rules::check`] holds signatures against it. Nobody is asked but the
//! places that have the image and its signatures.

mod error;
pub use error::PolicyError;

mod scope;

mod identity;

mod unique;

mod file;

mod payload;

mod image_signature;
pub(crate) use image_signature::{COSIGN_SIGNATURE, COSIGN_TYPE, ImageSignature};

mod rules;
pub(crate) use rules::{Found, Rules};

mod lookaside;
pub(crate) use lookaside::{Configured, signature_url};

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use store::Environment;

use crate::reference::Reference;
use file::File;
use lookaside::Places;

/// Bytes of one signature, with what it signs.
pub(crate) const SIGNATURE_MAX: u64 = 1 << 20;
/// Signatures of one image that are looked at.
pub(crate) const SIGNATURES_MAX: usize = 64;

/// The rules for images.
#[derive(Debug, Default)]
pub struct Policy {
    /// Where they stand; none if there is no file, so that everything is accepted.
    file: Option<(PathBuf, File)>,
    places: Places,
}

/// An image, by what it can be meant in a policy.
pub(crate) enum Subject<'a> {
    /// In a registry.
    Registry(&'a Reference),
    /// Of this transport, at this place, under this name in it.
    Local(&'static str, &'a Path, Option<&'a str>),
}

impl Policy {
    /// Accepts everything.
    pub fn accept_anything() -> Policy {
        Policy::default()
    }

    /// Reads the file that is given, or else the first of the user's and the system's that is there.
    ///
    /// # Errors
    /// A file that is there but can't be read or understood, or an explicit one that is missing.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Policy, PolicyError> {
        Self::load_from(file, environment, Path::new("/etc/containers"))
    }

    fn load_from(
        file: Option<&Path>,
        environment: &Environment,
        system: &Path,
    ) -> Result<Policy, PolicyError> {
        let places = Places::new(environment, system);
        let name = Path::new("containers/policy.json");
        // podman and skopeo look below HOME whatever XDG_CONFIG_HOME says.
        let home = environment.home().map(|home| home.join(".config").join(name));
        let user = environment.config_home().map(|config| config.join(name));
        let vendor = Path::new("/usr/share").join(name);
        let known = [home, user, Some(system.join("policy.json")), Some(vendor)];
        let found = match file {
            Some(file) => Some(file.to_owned()),
            // One that can't be looked at may be there.
            None => known.into_iter().flatten().find(|path| {
                let missing = [ErrorKind::NotFound, ErrorKind::NotADirectory];
                !path.symlink_metadata().is_err_and(|e| missing.contains(&e.kind()))
            }),
        };
        let Some(path) = found else { return Ok(Policy { file: None, places }) };
        let text = store::small_file::read_text(&path)
            .map_err(|source| PolicyError::Io { path: path.clone(), source })?;
        let file = File::parse(&path, &text)?;
        Ok(Policy { file: Some((path, file)), places })
    }

    /// Where the signatures of an image are.
    ///
    /// # Errors
    /// The configuration of such places can't be read or understood.
    pub(crate) fn configured(&self, image: &Reference) -> Result<Configured, PolicyError> {
        self.places.of(image)
    }

    /// What the most specific scope says that an image is in; none if there is no policy.
    pub(crate) fn rules<'a>(&'a self, subject: &Subject<'_>) -> Option<Rules<'a>> {
        let (path, file) = self.file.as_ref()?;
        let (transport, scopes, reference) = match subject {
            Subject::Registry(reference) => {
                ("docker", scope::of_reference(reference), Some((*reference).clone()))
            }
            Subject::Local(transport, path, name) => {
                (*transport, scope::of_path(transport, path, *name), None)
            }
        };
        let (scope, requirements) = file.find(transport, &scopes);
        Some(Rules { path, transport, scope, requirements, reference })
    }
}

#[cfg(test)]
mod tests;
