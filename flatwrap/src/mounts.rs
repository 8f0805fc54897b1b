//! What a program sees where: the image at `/`, and parts of the host over it.
//!
//! The image's tree is the root, so only what isn't the image's has to be mounted, and every place for it is in the
//! image already: a start makes no directory and writes nothing.

use std::collections::BTreeMap;

use tree::{Kind, Meta, Node, ResolveError, StaticPath, Tree, TreeError, TreePath};

use crate::options::{Map, Options};

/// Where a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path of the host.
    Host(TreePath),
    /// A path of the image.
    Image(TreePath),
}

/// One mount over the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// In the private root; a real path: where the place is in the image, none of its parents is a symlink.
    pub target: TreePath,
    /// What is seen there.
    pub source: Source,
    /// Whether it can't be written through this place.
    pub read_only: bool,
    /// Whether a host without it is an error.
    pub required: bool,
    /// Whether the place is to be a file if nothing is there.
    file: bool,
    /// Why it is there; told apart so that what was asked for by name wins over defaults.
    rank: Rank,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Default,
    Asked,
}

/// The mounts of a private root, parents before children.
#[derive(Debug, Clone, Default)]
pub struct Mounts(Vec<Mount>);

/// Why the mounts can't be planned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// Two things were asked for at one place.
    #[error("{0}: two different things are to be seen there")]
    Conflict(TreePath),
    /// A directory of the image that isn't in it.
    #[error("{0}: the image has no such file or directory")]
    NotInImage(TreePath),
    /// A place below something that is no directory.
    #[error("{target}: {parent} is not a directory in the image")]
    NoPlace {
        /// Where it should be seen.
        target: TreePath,
        /// What is in the way.
        parent: TreePath,
    },
    /// A symlink of the image leads nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The place can't be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

const ETC: StaticPath = StaticPath::new("/etc");
const VAR: StaticPath = StaticPath::new("/var");
const HOME: StaticPath = StaticPath::new("/home");
const ROOT: StaticPath = StaticPath::new("/root");
const HOSTS: StaticPath = StaticPath::new("/etc/hosts");
const RESOLV_CONF: StaticPath = StaticPath::new("/etc/resolv.conf");

/// Entries of /etc that belong to the image's own programs and libraries, whatever the host has there: what the loader and
/// the links of alternatives lead to, the modules that PAM loads, and what the image is.
const IMAGES: [&[u8]; 9] = [
    b"alternatives",
    b"debian_version",
    b"ld.so.cache",
    b"ld.so.conf",
    b"ld.so.conf.d",
    b"lsb-release",
    b"os-release",
    b"pam.d",
    b"security",
];

/// What of /etc is the host's if the host has it: who its users are, its name, its time zone, how names are
/// resolved, and whom it trusts. Whether each is a file.
const IDENTITY: [(StaticPath, bool); 19] = [
    (StaticPath::new("/etc/ca-certificates"), false),
    (StaticPath::new("/etc/gai.conf"), true),
    (StaticPath::new("/etc/group"), true),
    (StaticPath::new("/etc/gshadow"), true),
    (StaticPath::new("/etc/host.conf"), true),
    (StaticPath::new("/etc/hostname"), true),
    (StaticPath::new("/etc/hosts"), true),
    (StaticPath::new("/etc/locale.conf"), true),
    (StaticPath::new("/etc/localtime"), true),
    (StaticPath::new("/etc/machine-id"), true),
    (StaticPath::new("/etc/nsswitch.conf"), true),
    (StaticPath::new("/etc/passwd"), true),
    (StaticPath::new("/etc/pki"), false),
    (StaticPath::new("/etc/protocols"), true),
    (StaticPath::new("/etc/resolv.conf"), true),
    (StaticPath::new("/etc/services"), true),
    (StaticPath::new("/etc/shadow"), true),
    (StaticPath::new("/etc/ssl"), false),
    (StaticPath::new("/etc/timezone"), true),
];

/// The places below a merged directory where the host's is seen if the host has it, and whether each is a file.
fn merged(image: &Tree, dir: &TreePath) -> impl Iterator<Item = (TreePath, bool)> {
    let identity =
        IDENTITY.iter().map(|(path, file)| (path.path(), *file)).filter(|(path, _)| path.starts_with(dir));
    // A symlink's target is there by its own name.
    let own = image.children(dir).filter(|(path, node)| {
        matches!(node.kind, Kind::File(_) | Kind::Dir)
            && !path.file_name().is_some_and(|name| IMAGES.contains(&name))
    });
    let own = own.map(|(path, node)| (path.clone(), !node.is_dir()));
    identity.chain(own).collect::<BTreeMap<_, _>>().into_iter()
}

/// Symlinks followed before giving up. MAXSYMLINKS, linux/namei.h.
const MAX_SYMLINKS: usize = 40;

impl Mounts {
    /// Plans the mounts for an image.
    ///
    /// # Errors
    /// See [`MountError`].
    pub fn new(image: &Tree, options: &Options) -> Result<Self, MountError> {
        let mut wanted = Vec::new();
        let host = |target: &TreePath, required: bool, rank| Mount {
            target: target.clone(),
            source: Source::Host(target.clone()),
            read_only: false,
            required,
            file: false,
            rank,
        };
        let of_image = |target: &TreePath, rank| Mount {
            target: target.clone(),
            source: Source::Image(target.clone()),
            read_only: true,
            required: true,
            file: false,
            rank,
        };
        for dir in &options.host_defaults {
            wanted.push(host(dir, false, Rank::Default));
        }
        for (map, dirs) in [(options.etc, &[ETC][..]), (options.var, &[VAR]), (options.home, &[HOME, ROOT])] {
            for dir in dirs.iter().map(|d| d.path()) {
                match map {
                    Map::Host => wanted.push(host(&dir, false, Rank::Default)),
                    // What the list of the host's directories names is the image's all the same: said later, so it wins.
                    Map::Chroot => wanted.retain(|m| m.target != dir),
                    Map::Merge => {
                        wanted.retain(|m| m.target != dir);
                        wanted.extend(
                            merged(image, &dir)
                                .map(|(target, file)| Mount { file, ..host(&target, false, Rank::Default) }),
                        );
                    }
                }
            }
        }
        if options.etc == Map::Chroot {
            // Without them no name resolves in most images, as in any container.
            for file in [HOSTS, RESOLV_CONF].map(StaticPath::path) {
                let mount = Mount { read_only: true, file: true, ..host(&file, false, Rank::Default) };
                wanted.push(mount);
            }
        }
        for dir in &options.host_dirs {
            wanted.push(host(dir, true, Rank::Asked));
        }
        for dir in &options.chroot_dirs {
            if image.resolve(dir.to_absolute(), true).is_err() {
                return Err(MountError::NotInImage(dir.clone()));
            }
            wanted.push(of_image(dir, Rank::Asked));
        }
        for bind in &options.binds {
            wanted.push(Mount {
                target: bind.target.clone(),
                source: Source::Host(bind.source.clone()),
                read_only: bind.read_only,
                required: !bind.optional,
                file: bind.file,
                rank: Rank::Asked,
            });
        }
        // A parent's target is final before its children are looked at, since mounts hide the image's symlinks.
        wanted.sort_by(|a, b| a.target.depth().cmp(&b.target.depth()).then_with(|| a.target.cmp(&b.target)));
        let mut mounts = Mounts::default();
        for mut mount in wanted {
            mount.target = mounts.real_target(image, &mount.target)?;
            mounts.add(mount)?;
        }
        mounts.0.sort_by(|a, b| a.target.cmp(&b.target));
        mounts.drop_redundant();
        for mount in &mut mounts.0 {
            if let Source::Image(source) = &mut mount.source {
                *source = image
                    .resolve(source.to_absolute(), true)
                    .map_err(|_| MountError::NotInImage(source.clone()))?
                    .path;
            }
        }
        Ok(mounts)
    }

    /// All of them, in the order in which they have to be made.
    pub fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.0.iter()
    }

    /// What covers `path`: the innermost mount that it is in.
    pub fn over(&self, path: &TreePath) -> Option<&Mount> {
        // Sorted parents first: the last that matches is the innermost.
        self.0.iter().rfind(|m| path.starts_with(&m.target))
    }

    /// Whether a program sees the host's file at `path`, not the image's.
    pub(crate) fn is_host(&self, path: &TreePath) -> bool {
        matches!(self.over(path), Some(Mount { source: Source::Host(_), .. }))
    }

    /// Whether the image's file at `path` is seen anywhere.
    pub fn shows(&self, path: &TreePath) -> bool {
        !self.is_host(path)
            || self.0.iter().any(|m| matches!(&m.source, Source::Image(s) if path.starts_with(s)))
    }

    /// The place in the private root where a mount on `target` lands: symlinks of the image on the way are followed, as
    /// far as the image is what is seen there.
    fn real_target(&self, image: &Tree, target: &TreePath) -> Result<TreePath, MountError> {
        let mut at = TreePath::root();
        let mut todo: Vec<Vec<u8>> = target.components().rev().map(<[u8]>::to_vec).collect();
        let mut links = 0;
        while let Some(component) = todo.pop() {
            if component == b".." {
                at = at.parent().unwrap_or_else(TreePath::root);
                continue;
            }
            let next = at.join(&component).map_err(ResolveError::from)?;
            if todo.is_empty() || self.is_host(&next) {
                todo.reverse();
                return Ok(next.join(todo.join(&b'/')).map_err(ResolveError::from)?);
            }
            match image.get(&next) {
                None => at = next,
                Some(n) if n.is_dir() => at = next,
                Some(n) => match n.symlink_target() {
                    Some(link) if links < MAX_SYMLINKS => {
                        links += 1;
                        if link.first() == Some(&b'/') {
                            at = TreePath::root();
                        }
                        let parts = link.split(|&b| b == b'/').rev().filter(|c| !c.is_empty() && *c != b".");
                        todo.extend(parts.map(<[u8]>::to_vec));
                    }
                    _ => return Err(MountError::NoPlace { target: target.clone(), parent: next }),
                },
            }
        }
        Ok(at)
    }

    fn add(&mut self, mount: Mount) -> Result<(), MountError> {
        let Some(old) = self.0.iter_mut().find(|m| m.target == mount.target) else {
            self.0.push(mount);
            return Ok(());
        };
        if old.rank == mount.rank && old.rank == Rank::Asked {
            let same = old.source == mount.source && old.read_only == mount.read_only;
            return if same { Ok(()) } else { Err(MountError::Conflict(mount.target)) };
        }
        if mount.rank > old.rank {
            *old = mount;
        }
        Ok(())
    }

    /// Drops what is seen without a mount of its own.
    fn drop_redundant(&mut self) {
        let mut kept = Mounts::default();
        for mount in std::mem::take(&mut self.0) {
            let redundant = match (&mount.source, kept.over(&mount.target)) {
                (Source::Image(_), None) => true,
                (Source::Image(s), Some(Mount { source: Source::Image(t), target, .. })) => {
                    mount.target.strip_prefix(target).and_then(|rest| t.join(rest).ok()).as_ref() == Some(s)
                }
                (Source::Host(s), Some(Mount { source: Source::Host(t), target, read_only, .. })) => {
                    // One that is required stays: it is how a host without it is noticed.
                    !mount.required
                        && mount.read_only == *read_only
                        && mount.target.strip_prefix(target).and_then(|rest| t.join(rest).ok()).as_ref()
                            == Some(s)
                }
                _ => false,
            };
            if !redundant {
                kept.0.push(mount);
            }
        }
        *self = kept;
    }

    /// Makes the places in the image's tree where mounts go.
    ///
    /// # Errors
    /// A parent that is no directory.
    pub(crate) fn make_places(&self, image: &mut Tree) -> Result<(), MountError> {
        for mount in &self.0 {
            let parent = mount.target.parent().unwrap_or_else(TreePath::root);
            if self.is_host(&parent) {
                continue;
            }
            image.make_dirs(&parent, &Meta::dir())?;
            let is_file = match image.get(&mount.target).map(|n| &n.kind) {
                Some(Kind::Dir) => false,
                Some(Kind::File(_)) => true,
                // A symlink or a device can't be mounted on; what it was is hidden by the mount.
                Some(_) => {
                    image.remove(&mount.target);
                    mount.file
                }
                None => mount.file,
            };
            if !image.contains(&mount.target) {
                let node = if is_file { Node::file(0o644, "") } else { Node::dir() };
                image.insert(mount.target.clone(), node)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
