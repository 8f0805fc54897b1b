//! From an image's name to a root file system that has all that is wanted of it: what flix and flatwrap do first.
//!
//! The policy is here: a wanted path that the image lacks means that the package called like the extension is installed.

use std::path::{Path, PathBuf};

use ::packages::{DATABASES, Database};
use oci::{Context, ImageRef, LivePaths, Rootfs, RootfsError};
use sandbox::{SandboxError, packages};
use store::Cache;
use sysext::{RequestedPath, request};
use tree::{Arch, Event, Events, HostError, Machine, ReadOptions, Tree, TreePath};

use crate::args::{ContextError, SandboxArgs, SourceArgs};
use crate::package_selection::missing as missing_packages;

/// Why there is no root file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RootError {
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// The database of this machine's own packages.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What the image's package manager has left.
    #[error(transparent)]
    Database(#[from] ::packages::DatabaseError),
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

/// What the image is to have.
pub(crate) struct Wanted<'a> {
    pub(crate) paths: &'a [RequestedPath],
    /// Names of programs that commands start.
    pub(crate) programs: Vec<String>,
    /// Packages, as their manager takes their names.
    pub(crate) packages: Vec<String>,
    /// Whether layers may be fetched as they are read.
    pub(crate) partial: bool,
}

/// Pulls or reads the image, runs and installs in it what the arguments say, and installs the package of the extension's
/// name if something wanted is missing.
///
/// # Errors
/// Whatever went wrong on the way. That something wanted is still missing is for the caller to find.
pub(crate) fn root_file_system(
    context: &Context,
    sandbox: &SandboxArgs,
    image: &ImageRef,
    wanted: &Wanted<'_>,
    package: &str,
    events: &dyn Events,
) -> Result<Rootfs, RootError> {
    let Wanted { paths: wanted, programs, packages: named, partial } = wanted;
    let mut places = if is_this_machine(image) { own_state()? } else { LivePaths::default() };
    places.whole.extend(wanted.iter().filter_map(|w| TreePath::new(&w.source).ok()));
    let whole = || context.rootfs(image, &places, events);
    // What runs in the image may read anything.
    let partial = *partial && sandbox.run.is_empty() && sandbox.package.is_empty();
    let rootfs = if partial { context.rootfs_as_read(image, &places, events)? } else { whole()? };
    let for_run = |rootfs| if partial { whole() } else { Ok(rootfs) };
    let rootfs = sandbox.apply(rootfs, &context.cache, events)?;
    let rootfs = install_missing(rootfs, named, sandbox, image, &context.cache, events, &for_run)?;
    let path = wanted.iter().find(|w| !w.is_in(&rootfs.tree)).map(|w| &w.source);
    let missing = || missing_program(&rootfs.tree, programs, package);
    let Some(first) = path.or_else(missing) else { return Ok(rootfs) };
    // Explicit packages or commands turn automatic installation off.
    let told =
        !named.is_empty() || sandbox.no_install() || !sandbox.package.is_empty() || !sandbox.run.is_empty();
    let similar = request::similar_programs(&rootfs.tree, first);
    // The package of that name was asked for if the program has its name. If it hasn't, and there is one with almost this
    // name, it is a slip of the finger, and no reason to bother a package manager.
    let named = first.rsplit('/').next() == Some(package);
    let told = told || (!named && !similar.is_empty());
    let Some(manager) = packages::detect(&rootfs.tree).filter(|_| !told && !is_this_machine(image)) else {
        return Ok(rootfs);
    };
    events.event(Event::Note(
        format!("{first} is not in {image}: installing its package {package} with {manager}, {RUNS}").into(),
    ));
    sandbox
        .install(for_run(rootfs)?, &[package.to_owned()], &context.cache, events)
        .map_err(|source| RootError::Installation { source, similar })
}

/// What an installation that nobody has asked for in so many words means.
const RUNS: &str = "which runs code of the image";

/// Installs those of the packages that the image lacks. Where that can't be, the caller finds that they are missing.
fn install_missing(
    rootfs: Rootfs,
    named: &[String],
    sandbox: &SandboxArgs,
    image: &ImageRef,
    cache: &Cache,
    events: &dyn Events,
    for_run: &dyn Fn(Rootfs) -> Result<Rootfs, RootfsError>,
) -> Result<Rootfs, RootError> {
    let missing = missing_packages(&rootfs.tree, named)?;
    let can = !missing.is_empty() && !sandbox.no_install() && !is_this_machine(image);
    let Some(manager) = packages::detect(&rootfs.tree).filter(|_| can) else { return Ok(rootfs) };
    let (names, is) = (missing.join(", "), if missing.len() == 1 { "is" } else { "are" });
    events.event(Event::Note(
        format!("{names} {is} not installed in {image}: installing with {manager}, {RUNS}").into(),
    ));
    sandbox
        .install(for_run(rootfs)?, &missing, cache, events)
        .map_err(|source| RootError::Installation { source, similar: Vec::new() })
}

/// The program of a command that the package of its name has. Other words of a command are no reason to install anything:
/// found without a shell, they may be a file to write, a line of a here-document, or input for the trace.
fn missing_program<'p>(tree: &Tree, programs: &'p [String], package: &str) -> Option<&'p String> {
    let of_package = |p: &&String| p.rsplit('/').next() == Some(package);
    programs.iter().filter(of_package).find(|p| program(tree, p).is_none())
}

/// The image's program of this path, or of this name in one of the usual directories.
pub(crate) fn program(tree: &Tree, name: &str) -> Option<TreePath> {
    const DIRS: [&str; 7] =
        ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/games"];
    let find = |path: &str| {
        tree.resolve(path, true).ok()?;
        Some(tree.resolve(path, false).ok()?.path)
    };
    match name.contains('/') {
        true => find(name),
        false => DIRS.iter().find_map(|dir| find(&format!("{dir}/{name}"))),
    }
}

/// Of this machine's own /var: the databases of its package manager, and what its packages list there, so that packages and services
/// can be taken. What is below that is the machine's own.
fn own_state() -> Result<LivePaths, RootError> {
    let databases: Vec<TreePath> = DATABASES.iter().filter_map(|p| TreePath::new(p).ok()).collect();
    let options = ReadOptions { only: databases.clone(), lenient: true, ..ReadOptions::default() };
    let tree = Tree::from_dir(Path::new("/"), &options)?;
    // Whoever needs the database reads it again, and fails if it can't be; a program alone doesn't.
    Ok(LivePaths { whole: databases, single: Database::listed_state(&tree).unwrap_or_default() })
}

/// Whether the image is this machine's own root, which is too large to copy for installing a package.
fn is_this_machine(image: &ImageRef) -> bool {
    match image {
        ImageRef::Dir(path) => path.canonicalize().is_ok_and(|p| p == Path::new("/")),
        _ => false,
    }
}

/// Compares the machines of the image's ELF files with `--arch`. Images from registries, and layouts, say
/// themselves what they are for; a tar or a directory doesn't.
///
/// # Errors
/// None of them is for the architecture asked for, or for a machine whose programs its hosts may run, too.
pub(crate) fn check_machines(
    source: &SourceArgs,
    image: &ImageRef,
    machines: impl IntoIterator<Item = Machine>,
) -> Result<(), RootError> {
    let (ImageRef::Tar(path) | ImageRef::Dir(path)) = image else { return Ok(()) };
    let Some(wanted) = source.platform().map_err(ContextError::from)? else { return Ok(()) };
    let machines: Vec<Machine> = machines.into_iter().collect();
    let host: Option<Arch> = wanted.architecture.parse().ok();
    let fits = |m: &Machine| host.is_some_and(|a| a.machine() == *m || a.compat(*m).is_some());
    if machines.is_empty() || machines.iter().any(fits) {
        return Ok(());
    }
    let name = |m: &Machine| m.arch().map_or_else(|| m.to_string(), |arch| arch.oci().to_owned());
    let names: Vec<String> = machines.iter().map(name).collect();
    let got = format!("linux/{}", names.join(" and linux/"));
    Err(RootError::Machine { path: path.clone(), got, wanted: wanted.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Meta, Node};

    #[test]
    fn programs_to_install_have_their_packages_name() {
        let mut tree = Tree::default();
        tree.insert_all("/usr/bin/sh".parse().unwrap(), Node::file(0o755, "x"), &Meta::dir()).unwrap();
        for (command, package, expected) in [
            ("git status", "git", Some("git")),
            ("/usr/bin/git status", "git", Some("/usr/bin/git")),
            ("sh -c x", "sh", None),
            ("sh x > log 2>&1; sh", "git", None),
            ("sh <<END\nimport ssl\nEND", "python3", None),
            ("/tmp/given | sh", "git", None),
        ] {
            let programs = crate::selection::programs(&[command.to_owned()]);
            let missing = missing_program(&tree, &programs, package);
            assert_eq!(missing.map(String::as_str), expected, "{command}");
        }
    }
}
