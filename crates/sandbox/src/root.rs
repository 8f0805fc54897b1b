//! The root directory that a command sees: mounts, all by file descriptor, since what the image has at /dev or
//! /etc/resolv.conf may be a symlink. (The program makes directories and plain files of the mount points before it
//! writes the root, see [`super::prepare`]; an image can't choose them.)

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode as Bits, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    move_mount, open_tree,
};

use super::wire::{At, Go, Step};
use super::{Mode, beneath};

/// Where apt finds its settings in the mode with a single uid: it may not become its user `_apt` there.
pub(super) const APT_CONF: (&str, &str) = ("/dev/.flix/apt.conf", "APT::Sandbox::User \"root\";\n");

/// What a command may keep in /dev/shm. Engines give 64 MiB.
const SHARED: &str = "256m";

const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// What container engines hide or write-protect. The host's root may write to most of it.
const PROC_READ_ONLY: &[&str] = &["bus", "fs", "irq", "sys", "sysrq-trigger"];
const PROC_HIDDEN: &[&str] =
    &["acpi", "asound", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list", "timer_stats"];

const BARE: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// Nothing that is mounted here reaches the host, and nothing of the host's comes here any more.
pub(super) fn make_private() -> rustix::io::Result<()> {
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
}

/// Whether overlayfs works in the scratch directory, which is the current one.
pub(super) fn probe_overlay(userxattr: bool) -> io::Result<()> {
    for name in ["probe", "probe/lower", "probe/upper", "probe/work", "probe/root"] {
        std::fs::create_dir(name)?;
    }
    let mounted = mount_overlay("probe/", false, userxattr);
    if mounted.is_ok() {
        rustix::mount::unmount("probe/root", UnmountFlags::DETACH)?;
    }
    store::cache::remove_tree(Path::new("probe"))?;
    mounted
}

/// Mounts `root` out of `lower`, with `lent` over it, `upper` and `work`. Device files don't work in it, so those that a command makes
/// don't reach the host's disks. `volatile`: what is cut off is thrown away, so nothing has to be synced.
fn mount_overlay(prefix: &str, lent: bool, userxattr: bool) -> io::Result<()> {
    let p = prefix;
    let lower = if lent { format!("{p}lent:{p}lower") } else { format!("{p}lower") };
    // The defaults of these are the distribution's choice; they would bring marks into the changes that have to be undone.
    let flavour = if userxattr { "userxattr" } else { "index=off,metacopy=off,redirect_dir=off" };
    let data = format!("lowerdir={lower},upperdir={p}upper,workdir={p}work,{flavour}");
    let mount = |data: &str| {
        let data = std::ffi::CString::new(data)?;
        let target = format!("{p}root");
        rustix::mount::mount("overlay", target, "overlay", MountFlags::NODEV, data.as_c_str())
            .map_err(io::Error::from)
    };
    // Linux 5.10 and later know volatile; it shows as EINVAL where it isn't known.
    mount(&format!("{data},volatile")).or_else(|_| mount(&data))
}

/// Makes the root and moves into it. The current directory is the scratch directory. `overlay`: whether overlayfs is
/// used, and if so, with `userxattr`.
pub(super) fn enter(go: &Go, mode: Mode, overlay: Option<bool>) -> Result<(), Step> {
    make_private().at("private mounts")?;
    match overlay {
        Some(userxattr) => mount_overlay("", go.lent, userxattr).at("mounting the overlay")?,
        None => {
            rustix::mount::mount_bind("lower", "root").at("binding the root")?;
            if mode == Mode::Root {
                let flags = MountFlags::BIND | MountFlags::NODEV;
                rustix::mount::mount_remount("root", flags, c"").at("binding the root")?;
            }
        }
    }
    let root = rustix::fs::open("root", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Bits::empty())
        .at("root")?;
    proc(&root).at("mounting /proc")?;
    let dev = dev(&root).at("making /dev")?;
    files(go, mode, &root, &dev)?;
    drop(dev);
    rustix::process::fchdir(&root).at("new root")?;
    drop(root);
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up over the new one, and is taken off.
    match rustix::process::pivot_root(".", ".") {
        // The one reason that is left here. pivot_root(2), "The rootfs (initial ramfs) cannot be pivot_root()ed."
        Err(rustix::io::Errno::INVAL) => {
            let message =
                "this system runs from its initramfs, which no process can leave by pivot_root(2)".into();
            return Err(Step { step: "new root".into(), message });
        }
        other => other.at("pivot_root")?,
    }
    rustix::mount::unmount(".", UnmountFlags::DETACH).at("leaving the host's root")?;
    std::env::set_current_dir("/").at("new root")
}

fn filesystem(
    kind: &str,
    options: &[(&str, &str)],
    flags: &[&str],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    for key in flags {
        fsconfig_set_flag(context.as_fd(), *key)?;
    }
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Puts a mount over the file or directory `to` of `dir`, whatever the mount is of.
fn attach(mount: &OwnedFd, dir: impl AsFd, to: &str) -> io::Result<()> {
    let target = beneath::open(dir, to.as_bytes())?;
    attach_over(mount, &target)
}

fn attach_over(mount: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, c"", target, c"", flags)?)
}

fn clone_of(dir: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(dir, path, flags)?)
}

/// Whether this process has the user 0 of the name space above, which may be the host's root. The kernel lets that user write its
/// settings, from whatever name space. user_namespaces(7), "User and group ID mappings".
fn has_root_above() -> io::Result<bool> {
    let map = std::fs::read_to_string("/proc/self/uid_map")?;
    Ok(map.lines().any(|line| line.split_ascii_whitespace().nth(1) == Some("0")))
}

fn proc(root: &OwnedFd) -> io::Result<()> {
    let proc = filesystem("proc", &[], &[], BARE)?;
    attach(&proc, root, "proc")?;
    if !has_root_above()? {
        return Ok(());
    }
    // What stands in a procfs is the kernel's; these paths can't lead elsewhere.
    for name in PROC_READ_ONLY {
        let path = format!("root/proc/{name}");
        if !Path::new(&path).exists() {
            continue;
        }
        rustix::mount::mount_bind(&path, &path)?;
        let flags = MountFlags::BIND
            | MountFlags::RDONLY
            | MountFlags::NOSUID
            | MountFlags::NODEV
            | MountFlags::NOEXEC;
        rustix::mount::mount_remount(&path, flags, c"")?;
    }
    for name in PROC_HIDDEN {
        let path = format!("root/proc/{name}");
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => {
                let empty =
                    filesystem("tmpfs", &[("size", "4k")], &[], BARE | MountAttrFlags::MOUNT_ATTR_RDONLY)?;
                attach(&empty, root, &path["root/".len()..])?;
            }
            Ok(_) => rustix::mount::mount_bind("/dev/null", &path)?,
            Err(_) => {}
        }
    }
    Ok(())
}

/// A /dev with what programs expect, as file systems of its own.
fn dev(root: &OwnedFd) -> io::Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let limits = [("mode", "0755"), ("size", "4m"), ("nr_inodes", "4k")];
    let dev = filesystem("tmpfs", &limits, &[], attributes)?;
    attach(&dev, root, "dev")?;
    let bits = Bits::from_raw_mode;
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777), (".flix", 0o755)] {
        rustix::fs::mkdirat(&dev, name, bits(mode))?;
    }
    let links = [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ];
    for (name, target) in links {
        rustix::fs::symlinkat(target, &dev, name)?;
    }
    for name in DEVICES {
        let host = match clone_of(CWD, &format!("/dev/{name}")) {
            Ok(host) => host,
            // A machine without terminals.
            Err(e) if *name == "tty" && e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        create(&dev, name, b"")?;
        attach(&host, &dev, name)?;
    }
    let pts = filesystem(
        "devpts",
        &[("mode", "0620"), ("ptmxmode", "0666")],
        &["newinstance"],
        BARE.difference(MountAttrFlags::MOUNT_ATTR_NODEV),
    )?;
    attach(&pts, &dev, "pts")?;
    // By default it may take half of the memory, and as much again for empty files.
    let shm = filesystem("tmpfs", &[("mode", "1777"), ("size", SHARED), ("nr_inodes", "16k")], &[], BARE)?;
    attach(&shm, &dev, "shm")?;
    Ok(dev)
}

fn create(dir: &OwnedFd, name: &str, content: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = File::from(rustix::fs::openat(dir, name, flags, Bits::from_raw_mode(0o644))?);
    file.write_all(content)
}

/// resolv.conf, hosts and the like: read-only, over what the root has there.
fn files(go: &Go, mode: Mode, root: &OwnedFd, dev: &OwnedFd) -> Result<(), Step> {
    for (i, (path, content)) in go.files.iter().enumerate() {
        let step = format!("binding {:?}", String::from_utf8_lossy(path));
        let name = format!(".flix/{i}");
        create(dev, &name, content).at(&step)?;
        let copy = clone_of(dev, &name).at(&step)?;
        attach_over(&copy, &beneath::open(root, path).at(&step)?).at(&step)?;
        let on_top = beneath::open(root, path).at(&step)?;
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount_remount(beneath::path_of(&on_top), flags, c"").at(&step)?;
        // Else it could be written by its other name.
        rustix::fs::unlinkat(dev, &name, rustix::fs::AtFlags::empty()).at(&step)?;
    }
    if mode == Mode::Single {
        let name = APT_CONF.0.trim_start_matches("/dev/");
        create(dev, name, APT_CONF.1.as_bytes()).at(APT_CONF.0)?;
    }
    Ok(())
}
