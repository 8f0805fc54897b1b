//! The checks.

use super::findings::Findings;
use super::rules::*;
use super::units::{exec_lines, parse, words};
use super::{ExtensionError, ExtensionName, HostLibrary, RELEASE_DIR, Release};
use tree::{Kind, Machine, Node, StaticPath, Tree, TreePath};

/// Directories that some hosts have as symlinks: /usr/sbin and /usr/lib64 on Arch, Fedora 42 and their like, /usr/local
/// on ostree hosts, /usr/tmp by tradition.
pub const HOST_SYMLINKS: [StaticPath; 6] = [
    StaticPath::new("/usr/sbin"),
    StaticPath::new("/usr/lib64"),
    StaticPath::new("/usr/lib32"),
    StaticPath::new("/usr/libx32"),
    StaticPath::new("/usr/local"),
    StaticPath::new("/usr/tmp"),
];

/// Directories that all hosts have, some as a symlink.
const HOST_DIRECTORIES: [StaticPath; 9] = [
    StaticPath::new("/usr/bin"),
    StaticPath::new("/usr/lib"),
    StaticPath::new("/usr/share"),
    StaticPath::new("/usr/include"),
    StaticPath::new("/usr/libexec"),
    StaticPath::new("/usr/src"),
    StaticPath::new("/usr/lib/systemd"),
    StaticPath::new("/usr/lib/systemd/system"),
    StaticPath::new("/usr/share/man"),
];

/// Paths that rules look at; the rules themselves are called like some of them.
mod at {
    use tree::StaticPath;

    pub(super) const USR: StaticPath = StaticPath::new("/usr");
    pub(super) const USR_LIB: StaticPath = StaticPath::new("/usr/lib");
    pub(super) const TMPFILES: StaticPath = StaticPath::new("/usr/lib/tmpfiles.d");
    pub(super) const OPT: StaticPath = StaticPath::new("/opt");
    pub(super) const ETC: StaticPath = StaticPath::new("/etc");
    pub(super) const OS_RELEASE: [StaticPath; 2] =
        [StaticPath::new("/usr/lib/os-release"), StaticPath::new("/usr/lib/initrd-release")];
    pub(super) const UNITS: [StaticPath; 2] =
        [StaticPath::new("/usr/lib/systemd/system"), StaticPath::new("/usr/lib/systemd/user")];
}

pub(super) fn places(tree: &Tree, lint: &mut Findings) {
    let (usr, opt, etc) = (at::USR.path(), at::OPT.path(), at::ETC.path());
    if let Some(node) = tree.get(&usr).filter(|n| !n.is_dir()) {
        lint.add(&USR, Some(&usr), format!("is {}, expected a directory", what(node)));
    }
    if let Some(node) = tree.get(&opt).filter(|n| !n.is_dir()) {
        lint.add(&OUTSIDE, Some(&opt), format!("is {}, expected a directory", what(node)));
    } else if tree.contains(&opt) {
        lint.add(&OPT, Some(&opt), "makes all of /opt read-only on the host");
    }
    for (top, _) in tree.children(&TreePath::root()) {
        if *top == etc {
            lint.add(&ETC, Some(top), "is not merged");
        } else if *top != usr && *top != opt {
            lint.add(&OUTSIDE, Some(top), "is outside /usr and /opt, so it is not merged");
        }
    }
    for os_release in at::OS_RELEASE.map(StaticPath::path) {
        if tree.contains(&os_release) {
            lint.add(&OS_RELEASE, Some(&os_release), "belongs to the host");
        }
    }
    for dir in HOST_SYMLINKS.map(StaticPath::path) {
        if tree.get(&dir).is_some_and(Node::is_dir) {
            lint.add(
                &HOST_SYMLINK,
                Some(&dir),
                "is a real directory, where hosts have a symlink whose place it takes",
            );
        }
    }
    for dir in HOST_DIRECTORIES.iter().chain(&HOST_SYMLINKS).map(|d| d.path()) {
        if let Some(node) = tree.get(&dir).filter(|n| !n.is_dir()) {
            lint.add(&HOST_DIRECTORY, Some(&dir), format!("is {}, where hosts have a directory", what(node)));
        }
    }
    for (path, node) in tree.iter() {
        if path.file_name().is_some_and(|n| n.utf8_chunks().any(|c| c.valid().chars().any(char::is_control)))
        {
            lint.add(&NAME, Some(path), "has a control character in its name");
        }
        match HostLibrary::at(path).filter(|_| !node.is_dir()) {
            Some(HostLibrary::Core) => {
                lint.add(&HOST_LIBRARY, Some(path), "takes the place of the host's C library or loader");
            }
            Some(HostLibrary::Other) => {
                lint.add(
                    &SHARED_LIBRARY,
                    Some(path),
                    "is found by the host's programs, maybe before their own",
                );
            }
            None => {}
        }
        match &node.kind {
            Kind::CharDevice { major: 0, minor: 0 } => {
                lint.add(&WHITEOUT, Some(path), "is a whiteout, which deletes the host's file of that name");
            }
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo | Kind::Socket => {
                lint.add(&DEVICE, Some(path), format!("is {}, of no use in an extension", what(node)));
            }
            _ => {}
        }
    }
}

fn what(node: &Node) -> &'static str {
    match node.kind {
        Kind::Dir => "a directory",
        Kind::File(_) => "a regular file",
        Kind::Symlink(_) => "a symlink",
        Kind::CharDevice { .. } => "a character device",
        Kind::BlockDevice { .. } => "a block device",
        Kind::Fifo => "a pipe",
        Kind::Socket => "a socket",
    }
}

/// Release files in the tree, and what the fields say together.
pub(super) fn release(tree: &Tree, name: &ExtensionName, release: &Release, lint: &mut Findings) {
    let dir = RELEASE_DIR.path();
    let parents = [at::USR_LIB.path(), dir.clone()];
    for parent in &parents {
        if let Some(node) = tree.get(parent).filter(|n| !n.is_dir()) {
            lint.add(&RELEASE_DIRECTORY, Some(parent), format!("is {}, expected a directory", what(node)));
        }
    }
    for (path, node) in tree.children(&dir) {
        if path.file_name() != Some(name.release_file_name().as_bytes()) {
            lint.add(&RELEASE_FILE, Some(path), format!("is not {}", name.release_file_name()));
        } else if node.is_dir() {
            lint.add(&RELEASE_DIRECTORY, Some(path), "is a directory, expected the release file");
        } else {
            let same = node
                .content()
                .and_then(|c| c.read(4096).ok())
                .is_some_and(|c| c == release.text().as_bytes());
            if !same {
                lint.add(&RELEASE_REPLACED, Some(path), "said something else and was replaced");
            }
        }
    }
    let levelled = release.sysext_level.is_some() || release.version_id.is_some();
    if release.is_any() && levelled {
        lint.add(&ANY_LEVEL, None, "SYSEXT_LEVEL and VERSION_ID mean nothing with ID=_any");
    }
    if !release.is_any() && !levelled {
        let message =
            format!("ID={} without SYSEXT_LEVEL and VERSION_ID: most hosts don't merge it", release.id);
        lint.add(&LEVEL, None, message);
    }
}

/// What is in files.
pub(super) fn contents(tree: &Tree, release: &Release, lint: &mut Findings) -> Result<(), ExtensionError> {
    architectures(tree, release, lint)?;
    units(tree, release, lint)?;
    super::users::check(tree, lint)?;
    super::late::check(tree, release, lint)
}

fn architectures(tree: &Tree, release: &Release, lint: &mut Findings) -> Result<(), ExtensionError> {
    let mut found: Option<(&TreePath, Machine)> = None;
    if let Some(arch) = release.architecture.filter(|a| !a.machine().wide) {
        let message = format!(
            "ARCHITECTURE={arch}: hosts with a 64-bit kernel don't merge it, whatever programs they could run"
        );
        lint.add(&NARROW_ARCHITECTURE, None, message);
    }
    for (path, node) in tree.iter() {
        let Some(content) = node.content() else { continue };
        let head = content
            .head(Machine::HEAD)
            .map_err(|source| ExtensionError::Content { path: path.clone(), source })?;
        let Some(machine) = Machine::of(&head) else { continue };
        let Some(arch) = release.architecture else {
            lint.add(
                &super::rules::ARCHITECTURE,
                Some(path),
                "is an ELF file, but the release file has no ARCHITECTURE",
            );
            return Ok(());
        };
        if machine == arch.machine() || arch.compat(machine).is_some() {
            return Ok(());
        }
        found.get_or_insert((path, machine));
    }
    if let (Some((path, machine)), Some(arch)) = (found, release.architecture) {
        let message = format!("is for {machine}, and no ELF file is for {arch} as ARCHITECTURE says");
        lint.add(&WRONG_ARCHITECTURE, Some(path), message);
    }
    Ok(())
}

/// Bytes. A unit is a small text; systemd itself stops at lines of 1 MiB.
const MAX_UNIT: u64 = 1 << 20;

/// Programs that every host with systemd has; a unit may count on them.
const HOST_PROGRAMS: &[&str] = &[
    "bash",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "echo",
    "env",
    "false",
    "grep",
    "id",
    "install",
    "journalctl",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mknod",
    "modprobe",
    "mount",
    "mv",
    "rm",
    "rmdir",
    "sed",
    "sh",
    "sleep",
    "sysctl",
    "systemctl",
    "systemd-sysusers",
    "systemd-tmpfiles",
    "test",
    "touch",
    "true",
    "udevadm",
    "umount",
    "uname",
];

fn units(tree: &Tree, release: &Release, lint: &mut Findings) -> Result<(), ExtensionError> {
    let mut first_unit = None;
    for dir in at::UNITS.map(StaticPath::path) {
        for (path, node) in tree.subtree(&dir) {
            let name = path.file_name().unwrap_or_default();
            let suffix = name.rsplit(|&b| b == b'.').next().unwrap_or_default();
            if !matches!(suffix, b"service" | b"socket" | b"conf" | b"timer" | b"mount" | b"path" | b"target")
            {
                continue;
            }
            let Some(content) = node.content().filter(|c| c.len() <= MAX_UNIT) else { continue };
            first_unit.get_or_insert(path);
            let text = content
                .read(MAX_UNIT)
                .map_err(|source| ExtensionError::Content { path: path.clone(), source })?;
            for line in exec_lines(&parse(&text)) {
                if let Some(problem) = program_problem(tree, &line.program).filter(|_| !line.optional) {
                    lint.add(&UNIT_EXEC, Some(path), format!("{line}: {problem}"));
                }
            }
        }
    }
    if let Some(path) = first_unit.filter(|_| !release.reload_manager) {
        let message = "is a unit, but the release file has no EXTENSION_RELOAD_MANAGER=1";
        lint.add(&RELOAD, Some(path), message);
    }
    Ok(())
}

/// Why what an `Exec` line starts can't be started; None if it can, or if the tree need not have it.
pub(crate) fn program_problem(tree: &Tree, program: &[u8]) -> Option<&'static str> {
    const MISSING: &str = "the extension has no such program";
    // A specifier's value is known on the host only.
    if program.contains(&b'%') {
        return None;
    }
    let name = program.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let of_host = |dirs: &[&[u8]]| {
        HOST_PROGRAMS.iter().any(|p| p.as_bytes() == name)
            && dirs.contains(&&program[..program.len() - name.len()])
    };
    if of_host(&[b"", b"/bin/", b"/sbin/", b"/usr/bin/", b"/usr/sbin/"]) {
        return None;
    }
    if program.starts_with(b"/etc/") {
        // A copy that tmpfiles.d makes on the host.
        return (!is_copied(tree, program)).then_some(MISSING);
    }
    let dirs: &[&str] = match program.first() {
        // Hosts are usr-merged: /bin is a symlink to usr/bin there.
        Some(b'/') => &["", "/usr"],
        // systemd's own search path. systemd.exec(5).
        _ => &["/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/"],
    };
    let found = dirs.iter().find_map(|dir| {
        let real = tree.resolve([dir.as_bytes(), program].concat(), true).ok()?;
        tree.get(&real.path).filter(|node| node.is_file())
    });
    match found {
        None => Some(MISSING),
        Some(node) if node.meta.mode & 0o111 == 0 => Some("the program is not executable"),
        Some(_) => None,
    }
}

/// Whether a file of the extension's tmpfiles.d copies or links something to a path.
fn is_copied(tree: &Tree, path: &[u8]) -> bool {
    let files = tree.children(&at::TMPFILES.path()).filter_map(|(_, n)| n.content());
    let texts = files.filter_map(|c| c.read(MAX_UNIT).ok());
    texts.into_iter().any(|text| {
        text.split(|&b| b == b'\n').any(|line| {
            let columns = words(line.trim_ascii());
            let kind = columns.first().and_then(|w| w.text.first());
            matches!(kind, Some(b'C' | b'L')) && columns.get(1).is_some_and(|w| w.text == path)
        })
    })
}
