//! btrfs by mkfs.btrfs, from a directory on a tmpfs of its own.
//!
//! mkfs.btrfs keeps the inode numbers and the order of the directory that it reads, and the owners. On a fresh tmpfs,
//! filled in the tree's order, the first two depend on the tree alone; in a user namespace an unprivileged caller's files
//! are root's. What is random or of the day is made constant afterwards, see [`constant`].

mod constant;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::ImageError;
use crate::format::Format;
use crate::tool::{Stage, Tool, clean};
use crate::volume::Volume;
use tree::{Kind, Tree};

const MKFS: Tool = Tool { name: "mkfs.btrfs", package: "btrfs-progs" };
const UNSHARE: Tool = Tool { name: "unshare", package: "util-linux" };
const TAR: Tool = Tool { name: "tar", package: "tar" };

/// `$1`: mount point, `$2`: size of the tmpfs, `$3`: tar, `$4` and so on: the mkfs command.
const SCRIPT: &str = r#"
root=$1 size=$2 tar=$3; shift 3
mount -t tmpfs -o "mode=755,size=$size" sysext "$root"
"$tar" -x -p --numeric-owner --xattrs '--xattrs-include=*' --delay-directory-restore -C "$root" -f -
exec "$@" < /dev/null
"#;

pub(crate) fn write(
    volume: Volume<'_>,
    image: &File,
    temporary: &Path,
    path: &Path,
) -> Result<(), ImageError> {
    let epoch = volume.epoch;
    if epoch < 0 {
        return Err(ImageError::Epoch { format: Format::Btrfs, epoch, max: i64::MAX });
    }
    refuse_devices(volume.tree)?;
    let io = |source| ImageError::Io { path: path.to_owned(), source };
    let (mkfs, tar) = (MKFS.find()?, TAR.find()?);
    let stage = Stage::beside(path)?;
    let uuid = volume.uuid()?;
    let inodes = volume.tree.len() as u64;
    // Room for whole pages and for metadata; --shrink takes back what is not used.
    let room = volume.content_len().saturating_add(inodes * 8192 + (512 << 20));
    image.set_len(0).map_err(io)?;
    image.set_len(room.next_multiple_of(1 << 20)).map_err(io)?;

    let mut command = Command::new(UNSHARE.find()?);
    clean(&mut command, epoch);
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["sh", "-euc", SCRIPT, "sh"]).arg(stage.path()).arg(room.to_string()).arg(tar).arg(mkfs);
    command.args(["-q", "-f", "--shrink", "-m", "single", "-d", "single", "--rootdir"]);
    command.arg(stage.path()).arg(std::path::absolute(temporary).map_err(io)?);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| ImageError::Start { tool: UNSHARE.name, source })?;
    // The tools write little to stderr, so it can wait in its pipe until the tar is through.
    let fed = match child.stdin.take() {
        Some(stdin) => {
            let mut out = BufWriter::with_capacity(1 << 16, stdin);
            volume.tree.write_tar(&mut out).and_then(|()| Ok(out.flush()?))
        }
        None => Ok(()),
    };
    let output =
        child.wait_with_output().map_err(|source| ImageError::Start { tool: UNSHARE.name, source })?;
    if !output.status.success() {
        return Err(MKFS.failed(&output.status.to_string(), &output.stderr));
    }
    fed.map_err(|source| ImageError::Tar { path: path.to_owned(), source })?;
    constant::make_constant(image, &uuid, epoch).map_err(io)
}

/// mkfs.btrfs 6.2 forgets the numbers of devices, and a character device 0:0 is overlayfs' mark of a deleted file.
fn refuse_devices(tree: &Tree) -> Result<(), ImageError> {
    let device = tree.iter().find(|(_, node)| match node.kind {
        Kind::CharDevice { major, minor } => (major, minor) != (0, 0),
        Kind::BlockDevice { .. } => true,
        _ => false,
    });
    match device {
        Some((path, _)) => {
            Err(ImageError::Unstorable { path: path.clone(), format: Format::Btrfs, reason: "is a device" })
        }
        None => Ok(()),
    }
}
