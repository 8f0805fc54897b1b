//! From an image's name to a tree with all that is wanted of it: what every tool does first.

use std::path::PathBuf;

use sysext::{Wanted, request};
use tree::{Event, Events, TreePath};

use crate::{
    ImageRef, Rootfs,
    cli::{ContextError, SourceArgs},
    sandbox::{SandboxArgs, SandboxError, packages},
    source::RootfsError,
};

/// Why there is no tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Arguments or configuration.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The image.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A command in the image.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The package that was tried for something missing.
    #[error("{source}")]
    Installation {
        /// Why it couldn't be installed.
        source: SandboxError,
        /// What is in the image and almost has the name of what is missing.
        similar: Vec<TreePath>,
    },
    /// A tar or directory with programs for another machine than `--arch` says.
    #[error("{path:?}: image is for {got}, expected {wanted}")]
    Machine {
        /// The tar or directory.
        path: PathBuf,
        /// What its ELF files are for.
        got: String,
        /// `--arch`.
        wanted: String,
    },
}

impl FetchError {
    /// What helps, if a user can do something about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            FetchError::Rootfs(e) => e.hint(),
            FetchError::Sandbox(e) => e.hint(),
            FetchError::Installation { source, similar } => Some(match (similar.as_slice(), source) {
                ([], SandboxError::Install { .. }) => {
                    "NAME was tried as a package, since a PATH is missing; --package P names others, --no-install forbids \
                     it, --verbose shows all that the package manager says"
                        .to_owned()
                }
                ([], e) => e.hint().unwrap_or_else(|| {
                    "NAME was tried as a package; --package P names others, --no-install forbids it".to_owned()
                }),
                (similar, _) => sysext::cli::did_you_mean(similar),
            }),
            FetchError::Machine { got, .. } => Some(format!(
                "a tar or directory can't be chosen by --arch; leave it (and ARCH) out for {got}"
            )),
            _ => None,
        }
    }
}

/// Pulls or reads the image, runs and installs in it what the arguments say, and installs the package of the extension's
/// name if something wanted is missing.
///
/// # Errors
/// Whatever went wrong on the way. That something wanted is still missing is for the caller to find.
pub fn fetch(
    source: &SourceArgs,
    sandbox: &SandboxArgs,
    image: &ImageRef,
    wanted: &[Wanted],
    package: &str,
    events: &dyn Events,
) -> Result<Rootfs, FetchError> {
    let context = source.context()?;
    let sandbox = &SandboxArgs { offline: source.offline, ..sandbox.clone() };
    let places: Vec<TreePath> = wanted.iter().filter_map(|w| TreePath::new(&w.source).ok()).collect();
    let rootfs = context.rootfs(image, &places, events)?;
    let rootfs = sandbox.apply(rootfs, &context.cache, events)?;
    let Some(first) = wanted.iter().find(|w| !w.is_in(&rootfs.tree)) else { return Ok(rootfs) };
    // Whoever says what to install or to run knows better.
    let told = sandbox.no_install || !sandbox.package.is_empty() || !sandbox.run.is_empty();
    let similar = request::similar_programs(&rootfs.tree, &first.source);
    // The package of that name was asked for if the program has its name. If it hasn't, and there is one with almost this
    // name, it is a slip of the finger, and no reason to bother a package manager.
    let named = first.source.rsplit('/').next() == Some(package);
    let told = told || (!named && !similar.is_empty());
    let Some(manager) = packages::detect(&rootfs.tree).filter(|_| !told && !is_this_machine(image)) else {
        return Ok(rootfs);
    };
    events.event(Event::Note(
        format!("{} is not in {image}: installing its package {package} with {manager}", first.source).into(),
    ));
    sandbox
        .install(rootfs, &[package.to_owned()], &context.cache, events)
        .map_err(|source| FetchError::Installation { source, similar })
}

/// Nobody who asks for a program of his own machine's root wants a copy of all of it for a package to be installed in.
fn is_this_machine(image: &ImageRef) -> bool {
    match image {
        ImageRef::Dir(path) => path.canonicalize().is_ok_and(|p| p == std::path::Path::new("/")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_nobody_asked_for_is_explained() {
        let failed = || SandboxError::HelperDied(Vec::new());
        let installation = |source| FetchError::Installation { source, similar: Vec::new() };
        assert_eq!(FetchError::Sandbox(failed()).hint(), None);
        let hint = installation(failed()).hint().unwrap();
        assert_eq!(hint, "NAME was tried as a package; --package P names others, --no-install forbids it");
        // What the sandbox itself has to say goes first.
        let hint = installation(SandboxError::NoPackageManager).hint().unwrap();
        assert!(hint.contains("--run"), "{hint}");
    }
}
