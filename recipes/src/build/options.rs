//! How images are written, with all options resolved.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::recipe::Instance;
use host_check::Target;
use image::ImageOptions;
use sysext::Release;
use sysext::extension::ReleaseError;
use tree::Arch;

/// How images are written: the same for all builds of a run. [`BuildOptions::new`] gives a plain squashfs for all hosts.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Where images go.
    pub destination: Destination,
    /// Format, compression, verity.
    pub image: ImageOptions,
    /// Time of all files, in seconds since 1970.
    pub epoch: i64,
    /// Lint rules that only warn.
    pub allow: BTreeSet<String>,
    /// Where extensions merge.
    pub release: ReleaseOptions,
    /// The host for which they are built, if it is one.
    pub target: Option<Arc<Target>>,
    /// Whether the hash of an image built before is checked, and not only its size and time.
    pub verify: bool,
    /// Whether everything is built, whatever was built before.
    pub rebuild: bool,
}

impl BuildOptions {
    /// Plain squashfs images for all hosts.
    pub fn new(destination: Destination) -> BuildOptions {
        BuildOptions {
            destination,
            image: ImageOptions::default(),
            epoch: 0,
            allow: BTreeSet::new(),
            release: ReleaseOptions::default(),
            target: None,
            verify: false,
            rebuild: false,
        }
    }
}

/// Where images go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// One image, whatever its name.
    File(PathBuf),
    /// Images under their usual names, which say what they were built without.
    Directory(PathBuf),
    /// Images of a release, which has one form of each: `NAME-VERSION-ARCH`.
    Release(PathBuf),
}

impl Destination {
    /// The path of an image whose usual name is `name`.
    pub(super) fn path(&self, name: &Path) -> PathBuf {
        match self {
            Destination::File(path) => path.clone(),
            Destination::Directory(dir) | Destination::Release(dir) => dir.join(name),
        }
    }
}

/// The release file's fields that aren't the build's own; as in [`Release`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseOptions {
    /// `ID=`.
    pub id: String,
    /// `SYSEXT_LEVEL=`.
    pub sysext_level: Option<String>,
    /// `VERSION_ID=`.
    pub version_id: Option<String>,
    /// `SYSEXT_SCOPE=`.
    pub scope: Option<String>,
    /// `EXTENSION_RELOAD_MANAGER=`; by default as the recipe says, or if there are units.
    pub reload: Option<bool>,
}

impl Default for ReleaseOptions {
    fn default() -> Self {
        let Release { id, sysext_level, version_id, scope, .. } = Release::default();
        ReleaseOptions { id, sysext_level, version_id, scope, reload: None }
    }
}

impl ReleaseOptions {
    /// The release file for an architecture. `reload` is what the recipe says.
    ///
    /// # Errors
    /// A value of another form than os-release(5) asks for.
    pub(super) fn release(
        &self,
        architecture: Arch,
        reload: bool,
        instance: &Instance,
    ) -> Result<Release, ReleaseError> {
        // Restarting takes a reload, which may be unwanted.
        let units = |list: &[String]| if self.reload == Some(false) { Vec::new() } else { list.to_vec() };
        let release = Release {
            id: self.id.clone(),
            sysext_level: self.sysext_level.clone(),
            version_id: self.version_id.clone(),
            architecture: Some(architecture),
            reload_manager: self.reload.unwrap_or(reload),
            restart_units: units(&instance.restart),
            reload_or_restart_units: units(&instance.reload_or_restart),
            scope: self.scope.clone(),
        };
        release.check()?;
        Ok(release)
    }
}
