//! Packages that are installed in an image: pinned as archives with their digests, and installed from these without a network.

use oci::Rootfs;
use sandbox::packages::{self, ARCHIVES, LIST, ListError, Manager};
use sandbox::{Run, SandboxError};
use store::Digest;
use tree::{Event, Meta, Node};

use crate::checksum::Checksum;
use crate::context::{BuildContext, ImageUseError};
use crate::fetch::{FetchError, FileRequest};
use crate::lock::{Digested, PackageArchive, Packages};

/// Archives of one image. A compiler with all that it takes has some 100.
const ARCHIVES_MAX: usize = 2000;
/// Bytes of a list of them.
const LIST_MAX: u64 = 1 << 20;

/// Why packages can't be pinned or installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum PackagesError {
    /// The image, or what ran in it.
    #[error(transparent)]
    Image(#[from] ImageUseError),
    /// The package manager's list isn't one.
    #[error(transparent)]
    List(#[from] ListError),
    #[error("the package manager wrote no list of archives")]
    NoList,
    #[error("the package manager lists {0} archives, expected {ARCHIVES_MAX} at most")]
    TooMany(usize),
    #[error("the package manager's list can't be read: {0}")]
    Content(#[from] tree::ContentError),
    /// An archive can't be had, or isn't what was pinned.
    #[error(transparent)]
    Fetch(#[from] Box<FetchError>),
    /// The image has something in the way.
    #[error(transparent)]
    Tree(#[from] tree::TreeError),
    #[error(transparent)]
    Path(#[from] tree::PathError),
}

impl From<SandboxError> for PackagesError {
    fn from(e: SandboxError) -> Self {
        PackagesError::Image(e.into())
    }
}

impl From<FetchError> for PackagesError {
    fn from(e: FetchError) -> Self {
        PackagesError::Fetch(Box::new(e))
    }
}

fn manager(rootfs: &Rootfs) -> Result<Manager, SandboxError> {
    packages::detect(&rootfs.tree).ok_or(SandboxError::NoPackageManager)
}

/// The archives that an installation in an image takes now, checked by the package manager's own lists.
pub(crate) fn pin(
    rootfs: Rootfs,
    names: &[String],
    context: BuildContext<'_>,
) -> Result<Packages, PackagesError> {
    let manager = manager(&rootfs)?;
    let unpinned = |why: String| {
        let text = format!(
            "{} of {manager} aren't pinned, builds take what is newest then: {why}",
            names.join(", ")
        );
        context.events.event(Event::Warning(text.into()));
        Ok(Packages { names: names.to_vec(), archives: None })
    };
    let Some(mut run) = manager.list(names).map_err(SandboxError::from)? else {
        return unpinned(format!("{manager} can't list what it would install"));
    };
    run.offline = context.fetcher.is_offline();
    let listed = match sandbox::run(rootfs, &run, context.cache(), context.events) {
        Ok(listed) => listed,
        // The build would say so, too: it takes the other architecture's emulation.
        Err(error @ SandboxError::WrongMachine { .. }) => return unpinned(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    let list = listed.tree.get(&LIST.path()).and_then(Node::content).ok_or(PackagesError::NoList)?;
    let list = list.read(LIST_MAX)?;
    let archives = manager.archives(&String::from_utf8_lossy(&list))?;
    if archives.len() > ARCHIVES_MAX {
        return Err(PackagesError::TooMany(archives.len()));
    }
    let pinned = archives.into_iter().map(|archive| match (archive.size, archive.sha256) {
        (Some(size), Some(sha256)) => Ok(PackageArchive { url: archive.url, size, sha256: Digested(sha256) }),
        // The package manager will check its signature when it installs it.
        _ => {
            let request = FileRequest { url: archive.url, checksums: Vec::new(), size: None };
            let got = context.fetcher.get(&request, context.events)?;
            Ok(PackageArchive { url: got.url.clone(), size: got.size, sha256: Digested(got.sha256) })
        }
    });
    Ok(Packages { names: names.to_vec(), archives: Some(pinned.collect::<Result<_, PackagesError>>()?) })
}

/// Installs what is pinned.
pub(crate) fn install(
    rootfs: &mut Rootfs,
    pinned: &Packages,
    context: BuildContext<'_>,
) -> Result<(), PackagesError> {
    let Packages { names, archives } = pinned;
    if names.is_empty() {
        return Ok(());
    }
    let manager = manager(rootfs)?;
    let from_archives =
        archives.as_ref().and_then(|archives| Some((archives, manager.install_archives(names)?)));
    let Some((archives, run)) = from_archives else {
        let run = manager.install(names).map_err(SandboxError::from)?;
        return execute(rootfs, run, context);
    };
    let requests: Vec<FileRequest> = archives
        .iter()
        .map(|archive| FileRequest {
            url: archive.url.clone(),
            checksums: vec![Checksum::Sha256(archive.sha256.0)],
            size: Some(archive.size),
        })
        .collect();
    let fetched = context.fetcher.get_all(&requests, context.events)?;
    let dir = ARCHIVES.path();
    rootfs.tree.remove(&dir);
    let mut id = rootfs.id.to_string();
    for (number, file) in fetched.iter().enumerate() {
        // The names in URLs mean nothing to package managers.
        let path = dir.join(format!("{number:04}{}", manager.archive_ending()))?;
        rootfs.tree.insert_all(path, Node::file(0o644, file.content()), &Meta::dir())?;
        id.push_str(&format!("\n{}", file.sha256));
    }
    // The archives are part of what the run's result is kept under.
    rootfs.id = Digest::of(&id);
    execute(rootfs, run, context)?;
    rootfs.tree.remove(&dir);
    Ok(())
}

fn execute(rootfs: &mut Rootfs, mut run: Run, context: BuildContext<'_>) -> Result<(), PackagesError> {
    run.offline = context.fetcher.is_offline();
    let empty = Rootfs::empty(rootfs.config.clone());
    *rootfs = sandbox::run(std::mem::replace(rootfs, empty), &run, context.cache(), context.events)?;
    Ok(())
}
