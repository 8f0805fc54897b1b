//! The machine's root: a container image that was made a host of.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use oci::{Context, ImageRef};
use sandbox::Run;
use sysext::ExtensionName;
use tree::{Arch, Blob, Content, Event, Events, Meta, Node, StaticPath, Tree, TreeError, TreePath};

use super::cpio::{self, CpioError};
use super::guest_files::{GuestFile, guest_files};
use store::ScratchGuard;

/// The image of which a host is made unless another is named.
pub const BASE: &str = "docker.io/library/debian:trixie-slim";

/// Makes a host of a Debian image. The kernel is unpacked instead of installed: what its package does besides is for
/// machines that start from a disk.
const INSTALL: &str = "set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y --no-install-recommends systemd-sysv udev dbus kmod iproute2
arch=$(dpkg --print-architecture)
kernel=$(apt-cache depends linux-image-cloud-$arch | sed -n 's/.*Depends: \\(linux-image-.*\\)/\\1/p' | head -n 1)
cd /var/tmp
apt-get -qq download \"$kernel\"
dpkg -x \"$kernel\"_*.deb unpacked
mv unpacked/boot/vmlinuz-* /boot/vmlinuz
mkdir -p /usr/lib/modules
mv unpacked/lib/modules/* /usr/lib/modules/ 2>/dev/null || mv unpacked/usr/lib/modules/* /usr/lib/modules/
rm -r unpacked \"$kernel\"_*.deb
depmod \"$(ls /usr/lib/modules)\"
apt-get -qq clean
rm -rf /var/lib/apt/lists/*
";

/// An extension for the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The name under which it is merged.
    pub name: ExtensionName,
    /// The image file.
    pub path: PathBuf,
}

/// Why there is no root for the machine.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum GuestError {
    /// The image can't be had.
    #[error(transparent)]
    Rootfs(#[from] oci::RootfsError),
    /// Making a host of it failed.
    #[error("the image can't be made a host: {0}")]
    Install(#[from] sandbox::SandboxError),
    /// It isn't a host even so.
    #[error("{image}: has no {what}")]
    Lacks { image: String, what: &'static str },
    /// There is no place to work in.
    #[error(transparent)]
    Cache(#[from] store::CacheError),
    /// A file could not be read or written.
    #[error("{path:?}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// The archive can't be written.
    #[error(transparent)]
    Cpio(#[from] CpioError),
    /// Two things would stand in one place.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Kernel and root of a machine, in files.
#[derive(Debug)]
pub struct Guest {
    /// The kernel.
    pub kernel: PathBuf,
    /// The root as initial ramdisk.
    pub initrd: PathBuf,
    _scratch: ScratchGuard,
}

/// What is put into the machine besides its image.
#[derive(Debug, Clone, Default)]
pub struct Inside<'a> {
    /// Merged at the start.
    pub extensions: &'a [Attached],
    /// A line for `sh`; without one there is a shell on the console.
    pub command: Option<&'a str>,
}

impl Guest {
    /// Makes a host of an image, unless it is one, and packs it. Nothing stays when this is dropped, but the sandbox's result
    /// in the cache.
    ///
    /// # Errors
    /// [`GuestError`].
    pub fn new(
        context: &Context,
        image: &ImageRef,
        arch: Arch,
        inside: &Inside<'_>,
        events: &dyn Events,
    ) -> Result<Guest, GuestError> {
        let mut rootfs = context.rootfs(image, &oci::LivePaths::default(), events)?;
        if kernel(&rootfs.tree).is_none() {
            let run = Run { title: Some("making a host of the image (apt)".into()), ..Run::shell(INSTALL) };
            rootfs = sandbox::run(rootfs, &run, &context.cache, events)?;
        }
        let lacks = |what| GuestError::Lacks { image: image.to_string(), what };
        let kernel = kernel(&rootfs.tree).ok_or_else(|| lacks("kernel (/boot/vmlinuz*)"))?;
        if rootfs.tree.resolve("/lib/systemd/systemd", true).is_err() {
            return Err(lacks("systemd"));
        }
        events.event(Event::Step("packing the machine's root".into()));
        let scratch = ScratchGuard::new(&context.cache, "boot")?;
        let guest = Guest {
            kernel: scratch.path().join("kernel"),
            initrd: scratch.path().join("initrd"),
            _scratch: scratch,
        };
        guest.write(&kernel, &rootfs.tree, arch, inside)?;
        Ok(guest)
    }

    fn write(
        &self,
        kernel: &Content,
        root: &Tree,
        arch: Arch,
        inside: &Inside<'_>,
    ) -> Result<(), GuestError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| GuestError::Io { path, source }
        };
        let mut file = File::create(&self.kernel).map_err(io(&self.kernel))?;
        io::copy(&mut kernel.reader(), &mut file).map_err(io(&self.kernel))?;
        let mut out = BufWriter::new(File::create(&self.initrd).map_err(io(&self.initrd))?);
        cpio::write(root, &mut out)?;
        // Archives that follow each other are unpacked over each other.
        cpio::write(&additions(arch, inside)?, &mut out)?;
        out.flush().map_err(io(&self.initrd))
    }
}

/// The newest kernel of an image, by name.
fn kernel(tree: &Tree) -> Option<Content> {
    const BOOT: StaticPath = StaticPath::new("/boot");
    let found: Vec<Content> = tree
        .children(&BOOT.path())
        .filter(|(path, _)| path.file_name().is_some_and(|n| n.starts_with(b"vmlinuz")))
        .filter_map(|(_, node)| node.content().cloned())
        .collect();
    found.last().cloned()
}

/// What a machine has over its image.
fn additions(arch: Arch, inside: &Inside<'_>) -> Result<Tree, GuestError> {
    let mut tree = Tree::new(Meta::dir());
    let mut put = |path: &str, node: Node| -> Result<(), GuestError> {
        let path = TreePath::new(path).map_err(|e| GuestError::Io {
            path: path.into(),
            source: io::Error::new(io::ErrorKind::InvalidInput, e),
        })?;
        Ok(tree.insert_all(path, node, &Meta::dir())?)
    };
    put("/init", Node::symlink("/lib/systemd/systemd"))?;
    put("/etc/hostname", text("bakery\n"))?;
    put("/etc/resolv.conf", text("nameserver 10.0.2.3\n"))?;
    put("/etc/systemd/network/80-bakery.network", text(NETWORK))?;
    for (target, unit) in [
        ("multi-user", "systemd-networkd.service"),
        ("network-online", "systemd-networkd-wait-online.service"),
    ] {
        put(
            &format!("/etc/systemd/system/{target}.target.wants/{unit}"),
            Node::symlink(format!("/lib/systemd/system/{unit}")),
        )?;
    }
    for (path, file) in guest_files(arch, inside.extensions.iter().map(|e| &e.name), inside.command) {
        let node = match file {
            GuestFile::Text(content) => text(&content),
            GuestFile::Link(target) => Node::symlink(target),
        };
        put(&path, node)?;
    }
    for extension in inside.extensions {
        let length = extension
            .path
            .metadata()
            .map_err(|source| GuestError::Io { path: extension.path.clone(), source })?
            .len();
        let content = Content::in_blob(Blob::at_path(&extension.path), 0, length);
        put(&format!("/etc/extensions/{}.raw", extension.name), Node::file(0o644, content))?;
    }
    Ok(tree)
}

/// The fixed addresses of qemu's user-mode network, so that no DHCP is needed.
const NETWORK: &str = "[Match]\nType=ether\n\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\nDNS=10.0.2.3\n\
                       IPv6AcceptRA=no\nLinkLocalAddressing=no\n";

fn text(text: &str) -> Node {
    Node::file(0o644, Content::from(text.as_bytes().to_vec()))
}
