//! What a run needs of the image and of the host, worked out before anything is started.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use tree::{Content, Kind, Meta, Node, StaticPath, Tree, TreeError, TreePath};

use super::wire::{Fixup, Go};
use super::{Mode, Network, Run};
use oci::Config;

/// What commands find without the image's own saying. Debian's and Alpine's, docker's.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where packages come from is no part of what they are: these don't count for the cache.
const PROXIES: &[&str] = &["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"];

/// What package managers write of when they ran, and nothing else reads: without it the same packages are the same bytes.
const RECORDS: &[&str] = &[
    "var/cache/apt/pkgcache.bin",
    "var/cache/apt/srcpkgcache.bin",
    "var/cache/ldconfig/aux-cache",
    "var/log/alternatives.log",
    "var/log/apk.log",
    "var/log/apt/eipp.log.xz",
    "var/log/apt/history.log",
    "var/log/apt/term.log",
    "var/log/dnf.librepo.log",
    "var/log/dnf.log",
    "var/log/dnf.rpm.log",
    "var/log/dnf5.log",
    "var/log/dpkg.log",
    "var/log/hawkey.log",
    "var/log/pacman.log",
    "var/log/yum.log",
    "var/log/zypp/history",
    "var/log/zypper.log",
];

/// Asked by Debian's maintainer scripts before they start a service. policy-rc.d(8) of init-system-helpers.
const POLICY: (&str, &str) = ("policy-rc.d", "#!/bin/sh\nexit 101\n");

/// A root file system to be written, and what has to be done in it.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) tree: Tree,
    pub(super) go: Go,
}

/// The command's environment, without the proxies: empty but for what programs can't do without, the image's own and
/// what the run asks for.
pub(super) fn environment(config: &Config, run: &Run) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = Vec::new();
    let mut set = |name: &OsStr, value: &OsStr| {
        env.retain(|(n, _)| n != name);
        env.push((name.to_owned(), value.to_owned()));
    };
    for (name, value) in
        [("PATH", PATH), ("HOME", "/root"), ("TERM", "dumb"), ("DEBIAN_FRONTEND", "noninteractive")]
    {
        set(name.as_ref(), value.as_ref());
    }
    for (name, value) in config.env.iter().filter_map(|v| v.split_once('=')) {
        set(name.as_ref(), value.as_ref());
    }
    for (name, value) in &run.env {
        set(name, value);
    }
    env
}

/// The host's proxies, in the form that programs look for: both cases.
pub(super) fn proxies(get: impl Fn(&str) -> Option<OsString>) -> Vec<(OsString, OsString)> {
    PROXIES
        .iter()
        .flat_map(|name| [(*name).to_owned(), name.to_uppercase()])
        .filter_map(|name| Some((OsString::from(&name), get(&name)?)))
        .collect()
}

/// The tree to be written for a run, with places for the mounts, and the order for the helper.
pub(super) fn prepare(
    tree: &Tree,
    run: &Run,
    mode: Mode,
    env: &[(OsString, OsString)],
    host_files: Vec<(&'static str, Vec<u8>)>,
    traced: bool,
) -> Result<Prepared, TreeError> {
    let mut tree = tree.clone();
    let mut ignored = Vec::new();
    // A log that is too large for anybody to read it is nothing but a hole here, as it most likely was where it was made.
    let large =
        tree.iter().filter_map(|(path, node)| Some((path.clone(), node.content()?.len(), node.content()?)));
    let large: Vec<(TreePath, u64)> =
        large.filter(|(.., content)| content.is_too_large()).map(|(path, len, _)| (path, len)).collect();
    for (path, len) in large {
        if let (Some(content), Ok(hole)) = (tree.content_mut(&path), Content::EMPTY.patched(len, Vec::new()))
        {
            *content = hole;
        }
    }
    const KERNEL: [StaticPath; 3] =
        [StaticPath::new("/proc"), StaticPath::new("/dev"), StaticPath::new("/sys")];
    for path in KERNEL.map(StaticPath::path) {
        tree.remove(&path);
        ignored.push(path.as_relative().to_vec());
        tree.insert(path, Node::dir())?;
    }
    // Only what is in it: whether there is a /run is the image's business.
    for path in tree
        .children(&TreePath::root())
        .filter(|(p, n)| p.as_relative() == b"run" && n.is_dir())
        .map(|(p, _)| p)
    {
        ignored.push(path.as_relative().to_vec());
    }
    ignored.extend(RECORDS.iter().map(|path| path.as_bytes().to_vec()));
    let mut files = Vec::new();
    for (path, content) in host_files {
        let Some(path) = place(&mut tree, path)? else { continue };
        if !tree.get(&path).is_some_and(Node::is_file) {
            tree.remove(&path);
            tree.insert(path.clone(), Node::file(0o644, ""))?;
        }
        ignored.push(path.as_relative().to_vec());
        files.push((path.as_relative().to_vec(), content));
    }
    let mut added = Vec::new();
    if let Some(path) = policy(&tree) {
        added.push(path.as_relative().to_vec());
        tree.insert(path, Node::file(0o755, POLICY.1))?;
    }
    let fixups = if mode == Mode::Root { Vec::new() } else { fixups(&mut tree) };
    let bytes = |s: &OsString| s.clone().into_vec();
    let go = Go {
        argv: run.argv.iter().map(bytes).collect(),
        env: env.iter().map(|(k, v)| (bytes(k), bytes(v))).collect(),
        files,
        fixups,
        ignored,
        added,
        limits: run.limits,
        traced,
        own_network: run.network == Network::None,
        lent: false,
        probes: Vec::new(),
        is_probe: false,
    };
    Ok(Prepared { tree, go })
}

/// Where a file of /etc really is. Its directory is made if there is none; nowhere if that can't be.
fn place(tree: &mut Tree, path: &str) -> Result<Option<TreePath>, TreeError> {
    let Some((dir, name)) = path.rsplit_once('/') else { return Ok(None) };
    let dir = match tree.resolve(dir, true) {
        Ok(found) => found.path,
        Err(_) => match TreePath::new(dir) {
            Ok(dir) if !tree.contains(&dir) => {
                tree.make_dirs(&dir, &Meta::dir())?;
                dir
            }
            _ => return Ok(None),
        },
    };
    if !tree.get(&dir).is_some_and(Node::is_dir) {
        return Ok(None);
    }
    Ok(dir.join(name).ok())
}

/// Where policy-rc.d goes: into an image of Debian's kind that has none of its own.
fn policy(tree: &Tree) -> Option<TreePath> {
    tree.resolve("/var/lib/dpkg", true).ok()?;
    let dir = tree.resolve("/usr/sbin", true).ok()?.path;
    let path = dir.join(POLICY.0).ok()?;
    (tree.get(&dir).is_some_and(Node::is_dir) && !tree.contains(&path)).then_some(path)
}

/// What a process without privileges can't write, taken out of the tree: owners, and attributes that need a capability.
fn fixups(tree: &mut Tree) -> Vec<Fixup> {
    let mut out = Vec::new();
    let paths: Vec<TreePath> = tree.iter().map(|(p, _)| p.clone()).collect();
    for path in paths {
        let Some(kind) = tree.get(&path).map(|node| &node.kind) else { continue };
        // Devices can't be made there either.
        let written = !matches!(kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. });
        let is_symlink = matches!(kind, Kind::Symlink(_));
        let Some(meta) = tree.meta_mut(&path) else { continue };
        // trusted.* belongs to the first user name space; nobody in the sandbox could read it.
        meta.xattrs.retain(|name, _| !name.starts_with(b"trusted."));
        let privileged: Vec<Vec<u8>> =
            meta.xattrs.keys().filter(|n| n.starts_with(b"security.")).cloned().collect();
        let xattrs: Vec<_> =
            privileged.into_iter().filter_map(|n| meta.xattrs.remove(&n).map(|v| (n, v))).collect();
        let owner = (meta.uid, meta.gid);
        if written && (owner != (0, 0) || !xattrs.is_empty()) {
            out.push(Fixup {
                path: path.as_relative().to_vec(),
                uid: owner.0,
                gid: owner.1,
                mode: (!is_symlink).then_some(meta.mode),
                xattrs: xattrs.into_iter().filter(|(n, _)| n == b"security.capability").collect(),
            });
        }
    }
    out
}

/// resolv.conf and hosts, as the host has them, or as a machine without a network would.
pub(super) fn host_files(network: Network) -> Vec<(&'static str, Vec<u8>)> {
    const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost\n";
    let read = |path: &str| std::fs::read(path).ok();
    let hosts = match network {
        Network::Host => read("/etc/hosts").unwrap_or_else(|| HOSTS.into()),
        Network::None => HOSTS.into(),
    };
    let mut out = vec![("/etc/hosts", hosts)];
    if network == Network::Host
        && let Some(resolv) = read("/etc/resolv.conf")
    {
        out.push(("/etc/resolv.conf", resolv));
    }
    out
}

/// The name under which the result of a run is kept. Two runs with the same name do the same.
pub(super) fn key(rootfs: &store::Digest, run: &Run, env: &[(OsString, OsString)]) -> String {
    let mut hasher = store::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    // Raised when the sandbox changes what a command sees, or what of its changes is kept.
    field(b"sandbox 2");
    field(rootfs.to_string().as_bytes());
    field(run.network.to_string().as_bytes());
    field(&(run.argv.len() as u64).to_le_bytes());
    run.argv.iter().for_each(|a| field(a.as_bytes()));
    let mut sorted: Vec<_> = env.iter().collect();
    sorted.sort();
    for (name, value) in sorted {
        field(name.as_bytes());
        field(value.as_bytes());
    }
    hasher.finish().hex()
}

#[cfg(test)]
mod tests;
