//! The host: its tree, and what systemd-sysext would ask it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use elf::Elf;
use sysext::lint::release_file;
use tree::{Arch, ContentError, Meta, Node, StaticPath, Tree, TreeError, TreePath};

use crate::elves::Elves;
use crate::files::{TEXT, file};
use crate::units::Units;

/// Why files are no host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// A file can't be read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The tree is broken.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// A host.
#[derive(Debug)]
pub struct Host {
    /// What it is called in reports.
    pub name: String,
    /// Its files.
    pub tree: Tree,
    /// The fields of its os-release(5); empty if it has none.
    pub os_release: BTreeMap<String, String>,
    /// Its processor; none if neither the caller nor its programs tell.
    pub architecture: Option<Arch>,
    /// The version of its systemd: 252.
    pub systemd: Option<u32>,
    /// What the tree can't say, because of the way in which it was read: its owners, modes and attributes are not compared.
    pub notes: Vec<String>,
    elves: OnceLock<Elves>,
    units: OnceLock<Units>,
}

impl Host {
    /// A host with these files. `architecture` is the kernel's; without it, it is that of the host's own programs.
    ///
    /// What every host makes at its first boot is added where it is missing: an image may have nothing but /usr.
    ///
    /// # Errors
    /// os-release can't be read, or the tree is broken.
    pub fn new(name: String, mut tree: Tree, architecture: Option<Arch>) -> Result<Host, HostError> {
        first_boot(&mut tree)?;
        let file = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| file(&tree, path));
        let os_release = match file.and_then(Node::content) {
            Some(content) => release_file::fields(&content.read(TEXT)?).0,
            None => BTreeMap::new(),
        };
        let architecture = architecture.or_else(|| of_programs(&tree));
        let systemd = systemd(&tree);
        Ok(Host {
            name,
            tree,
            os_release,
            architecture,
            systemd,
            notes: Vec::new(),
            elves: OnceLock::new(),
            units: OnceLock::new(),
        })
    }

    /// Its programs and libraries, which are read once.
    pub(crate) fn elves(&self) -> &Elves {
        self.elves.get_or_init(|| Elves::of(&self.tree))
    }

    /// Its units.
    pub(crate) fn units(&self) -> &Units {
        self.units.get_or_init(|| Units::of(&self.tree))
    }

    /// A field of os-release(5) that isn't empty.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.os_release.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// Whether there is a systemd-sysext.
    pub(crate) fn has_sysext(&self) -> bool {
        ["/usr/bin/systemd-sysext", "/bin/systemd-sysext"].iter().any(|p| file(&self.tree, p).is_some())
    }
}

/// The links of a root directory that systemd makes at a boot, and what an image has in store for /etc: Flatcar's, and that of
/// ostree. systemd's base-filesystem.c.
fn first_boot(tree: &mut Tree) -> Result<(), TreeError> {
    const LINKS: [(StaticPath, &str); 5] = [
        (StaticPath::new("/bin"), "usr/bin"),
        (StaticPath::new("/sbin"), "usr/sbin"),
        (StaticPath::new("/lib"), "usr/lib"),
        (StaticPath::new("/lib32"), "usr/lib32"),
        (StaticPath::new("/lib64"), "usr/lib64"),
    ];
    for (link, target) in LINKS {
        if !tree.contains(&link.path()) && tree.resolve(target, true).is_ok() {
            tree.insert(link.path(), Node::symlink(target))?;
        }
    }
    const ETC: StaticPath = StaticPath::new("/etc");
    const PASSWD: StaticPath = StaticPath::new("/etc/passwd");
    const STORES: [StaticPath; 2] = [StaticPath::new("/usr/share/flatcar/etc"), StaticPath::new("/usr/etc")];
    // A system that has run has what it wants.
    if tree.contains(&PASSWD.path()) {
        return Ok(());
    }
    for store in STORES.map(StaticPath::path) {
        let found: Vec<(TreePath, Node)> =
            tree.subtree(&store).map(|(p, n)| (p.clone(), n.clone())).collect();
        for (path, node) in found {
            let rest = path.strip_prefix(&store).unwrap_or_default();
            let Ok(place) = TreePath::new([ETC.path().as_relative(), b"/", rest].concat()) else { continue };
            // What is there stays, and whatever is in the way of a directory.
            let is_free = !tree.contains(&place);
            let in_directory = place.parent().is_none_or(|dir| tree.get(&dir).is_none_or(Node::is_dir));
            if is_free && in_directory {
                tree.insert_all(place, node, &Meta::dir())?;
            }
        }
    }
    Ok(())
}

/// The machine of programs that all hosts have.
fn of_programs(tree: &Tree) -> Option<Arch> {
    const PROGRAMS: [&str; 5] = [
        "/usr/bin/systemd-sysext",
        "/usr/lib/systemd/systemd",
        "/usr/bin/systemctl",
        "/bin/sh",
        "/usr/bin/env",
    ];
    let machine = |path: &&str| Elf::parse(file(tree, path)?.content()?).ok()??.built_for().arch();
    PROGRAMS.iter().find_map(machine)
}

/// The number in the name of systemd's private library: `libsystemd-shared-257.so`, `libsystemd-shared-257.3-1.fc42.so`.
fn systemd(tree: &Tree) -> Option<u32> {
    let number = |path: &TreePath| {
        let name = String::from_utf8_lossy(path.file_name()?).into_owned();
        let rest = name.strip_prefix("libsystemd-shared-")?.to_owned();
        rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse::<u32>().ok()
    };
    let in_dir = |dir: &[u8]| {
        let dir = tree.resolve(dir, true).ok()?;
        tree.children(&dir.path).find_map(|(path, _)| number(path))
    };
    let lib = TreePath::new("/usr/lib").ok()?;
    let multiarch = tree.children(&lib).filter(|(p, _)| p.file_name().is_some_and(tree::is_triplet));
    let dirs = multiarch.map(|(p, _)| [&p.to_absolute(), b"/systemd".as_slice()].concat());
    let fixed = ["/usr/lib/systemd", "/usr/lib64/systemd"].map(|d| d.as_bytes().to_vec());
    fixed.into_iter().chain(dirs).find_map(|dir| in_dir(&dir))
}
