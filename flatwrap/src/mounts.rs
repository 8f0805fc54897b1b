//! What a program sees where: the image at `/`, and parts of the host over it.
//!
//! The image's tree is the root, so only what isn't the image's has to be mounted, and every place for it is in the
//! image already: a start makes no directory and writes nothing.

use std::collections::BTreeSet;

use tree::{Kind, Meta, Node, ResolveError, StaticPath, Tree, TreeError, TreePath};

use crate::etc::{self, ETC, HOST_ETC, Merged};
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
    /// Whether the image's own is seen where the host has nothing.
    fallback: bool,
    /// Whether the place is to be a file if nothing is there.
    file: bool,
    /// Why it is there; told apart so that what was asked for by name wins over defaults.
    rank: Rank,
}

impl Mount {
    /// Whether it shows files of the host's that are only read: names, time zones. What was asked for may have programs.
    pub(crate) fn is_data(&self) -> bool {
        self.read_only && self.rank == Rank::Default && matches!(self.source, Source::Host(_))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Default,
    Asked,
}

/// The mounts of a private root, parents before children.
#[derive(Debug, Clone, Default)]
pub struct Mounts {
    list: Vec<Mount>,
    /// Symlinks to what the host has by the same name in /etc.
    links: BTreeSet<TreePath>,
    /// What would be such a symlink if there weren't too many.
    unseen: Vec<TreePath>,
}

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

const VAR: StaticPath = StaticPath::new("/var");
const HOME: StaticPath = StaticPath::new("/home");
const ROOT: StaticPath = StaticPath::new("/root");
/// The host's for images without time zones, in which all times would be UTC.
const ZONES: StaticPath = StaticPath::new("/usr/share/zoneinfo");
const HOSTS: StaticPath = StaticPath::new("/etc/hosts");
/// Symlinks followed before giving up. MAXSYMLINKS, linux/namei.h.
const MAX_SYMLINKS: usize = 40;

impl Mounts {
    /// Plans the mounts for an image.
    ///
    /// # Errors
    /// See [`MountError`].
    pub fn new(image: &Tree, options: &Options) -> Result<Self, MountError> {
        let mut wanted = Vec::new();
        let mut links = BTreeSet::new();
        let mut unseen = Vec::new();
        let host = |target: &TreePath, required: bool, rank| Mount {
            target: target.clone(),
            source: Source::Host(target.clone()),
            read_only: false,
            required,
            fallback: false,
            file: false,
            rank,
        };
        let of_image = |target: &TreePath, rank| Mount {
            target: target.clone(),
            source: Source::Image(target.clone()),
            read_only: true,
            required: true,
            fallback: false,
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
                        let Merged { mounts, links: followed, unseen: dropped } =
                            etc::merged(image, &options.etc_names);
                        let mounts = mounts.into_iter();
                        wanted.extend(mounts.map(|(target, file)| Mount {
                            file,
                            fallback: true,
                            ..host(&target, false, Rank::Default)
                        }));
                        links = followed;
                        unseen = dropped;
                    }
                }
            }
        }
        if options.etc == Map::Chroot {
            // Without them no name resolves in most images, as in any container.
            let hosts = HOSTS.path();
            wanted.push(Mount { read_only: true, file: true, ..host(&hosts, false, Rank::Default) });
            links.insert(etc::resolver());
        }
        let zones = ZONES.path();
        if !image.resolve(zones.to_absolute(), true).is_ok_and(|r| image.children(&r.path).next().is_some()) {
            wanted.push(Mount { read_only: true, ..host(&zones, false, Rank::Default) });
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
                fallback: false,
                file: bind.file,
                rank: Rank::Asked,
            });
        }
        // What was asked for is seen.
        links.retain(|link| !wanted.iter().any(|m| m.rank == Rank::Asked && link.starts_with(&m.target)));
        if !links.is_empty() {
            wanted.push(Mount {
                target: HOST_ETC.path(),
                source: Source::Host(ETC.path()),
                read_only: options.etc == Map::Chroot,
                ..host(&ETC.path(), false, Rank::Default)
            });
        }
        // A parent's target is final before its children are looked at, since mounts hide the image's symlinks.
        wanted.sort_by(|a, b| a.target.depth().cmp(&b.target.depth()).then_with(|| a.target.cmp(&b.target)));
        let mut mounts = Mounts { links, unseen, ..Mounts::default() };
        for mut mount in wanted {
            mount.target = mounts.real_target(image, &mount.target)?;
            mounts.add(mount)?;
        }
        mounts.list.sort_by(|a, b| a.target.cmp(&b.target));
        mounts.drop_redundant();
        for mount in &mut mounts.list {
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
        self.list.iter()
    }

    /// Files and directories that are the host's, without a mount of their own.
    pub fn links(&self) -> impl Iterator<Item = &TreePath> {
        self.links.iter()
    }

    /// Names in /etc that programs read, and that are neither the image's nor the host's.
    pub(crate) fn unseen(&self) -> &[TreePath] {
        &self.unseen
    }

    /// What covers `path`: the innermost mount that it is in.
    pub fn over(&self, path: &TreePath) -> Option<&Mount> {
        // Sorted parents first: the last that matches is the innermost.
        self.list.iter().rfind(|m| path.starts_with(&m.target))
    }

    /// Whether a program sees nothing of the image at `path`, whatever the host has there.
    pub fn hides(&self, path: &TreePath) -> bool {
        self.over(path).is_some_and(|m| matches!(m.source, Source::Host(_)) && !m.fallback)
    }

    /// Whether a program sees the image's file at `path`, whatever the host has there.
    pub fn keeps(&self, path: &TreePath) -> bool {
        let is_link = self.links.iter().any(|link| path.starts_with(link));
        !is_link && self.over(path).is_none_or(|m| matches!(m.source, Source::Image(_)))
    }

    /// Whether a program sees the host's file at `path`, not the image's.
    pub(crate) fn is_host(&self, path: &TreePath) -> bool {
        matches!(self.over(path), Some(Mount { source: Source::Host(_), .. }))
            || self.links.iter().any(|link| path.starts_with(link))
    }

    /// Whether the image's file at `path` is seen anywhere, be it on hosts that lack it.
    pub fn shows(&self, path: &TreePath) -> bool {
        !self.is_host(path)
            || self.over(path).is_some_and(|m| m.fallback)
            || self.list.iter().any(|m| matches!(&m.source, Source::Image(s) if path.starts_with(s)))
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
        let Some(old) = self.list.iter_mut().find(|m| m.target == mount.target) else {
            self.list.push(mount);
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
        let mut kept = Mounts {
            links: std::mem::take(&mut self.links),
            unseen: std::mem::take(&mut self.unseen),
            ..Mounts::default()
        };
        for mount in std::mem::take(&mut self.list) {
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
                kept.list.push(mount);
            }
        }
        *self = kept;
    }

    /// Makes the places in the image's tree where mounts go.
    ///
    /// # Errors
    /// A parent that is no directory.
    pub(crate) fn make_places(&self, image: &mut Tree) -> Result<(), MountError> {
        for link in &self.links {
            let name = link.file_name().unwrap_or_default();
            let target = [&HOST_ETC.path().to_absolute(), b"/".as_slice(), name].concat();
            image.remove(link);
            image.insert_all(link.clone(), Node::symlink(target), &Meta::dir())?;
        }
        for mount in &self.list {
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
