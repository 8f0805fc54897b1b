//! Names in an extension's files that lead nowhere: units, sources of tmpfiles.d, links. And files that systemd passes over.

use std::collections::BTreeSet;

use super::{
    DANGLING_LINK, DROP_IN_NAME, HOST_PROGRAM, SCRIPT_INTERPRETER, SELINUX_LABEL, TMPFILES_SOURCE,
    UNIT_REFERENCE, configuration, finding,
};
use crate::extension::Finding;
use crate::extension::unit_programs::{UNIT_LIMIT, is_unit};
use crate::extension::units::{Directive, exec_lines, parse, template, words};
use tree::{Content, ContentError, Node, StaticPath, Tree, TreePath, escape};

const UNITS: StaticPath = StaticPath::new("/usr/lib/systemd/system");
const TMPFILES: StaticPath = StaticPath::new("/usr/lib/tmpfiles.d");

/// Directories whose links hosts follow: programs, and what systemd starts.
const FOLLOWED: [StaticPath; 4] = [
    StaticPath::new("/usr/bin"),
    StaticPath::new("/usr/lib/systemd"),
    StaticPath::new("/usr/lib/tmpfiles.d"),
    StaticPath::new("/usr/lib/sysusers.d"),
];

/// What a host can't do without, by the names in its /usr/bin.
const PROGRAMS: [&str; 54] = [
    "agetty",
    "awk",
    "bash",
    "busctl",
    "cat",
    "chmod",
    "chown",
    "cp",
    "date",
    "dbus-daemon",
    "dd",
    "env",
    "find",
    "fsck",
    "getent",
    "grep",
    "hostnamectl",
    "init",
    "ip",
    "iptables",
    "journalctl",
    "kmod",
    "ln",
    "login",
    "loginctl",
    "ls",
    "lsblk",
    "mkdir",
    "modprobe",
    "mount",
    "mv",
    "networkctl",
    "nologin",
    "passwd",
    "ps",
    "resolvectl",
    "rm",
    "sed",
    "sh",
    "ssh",
    "sshd",
    "stat",
    "su",
    "sudo",
    "systemctl",
    "systemd-run",
    "systemd-sysext",
    "systemd-tmpfiles",
    "tar",
    "udevadm",
    "umount",
    "update-ssh-keys",
    "useradd",
    "veritysetup",
];

/// Finds all of it.
pub(super) fn check(tree: &Tree, units: &Units, out: &mut Vec<Finding>) -> Result<(), ContentError> {
    for (path, node) in tree.subtree(&UNITS.path()) {
        drop_in(path, node, out);
        if !is_unit(path) {
            continue;
        }
        let Some(content) = node.content().filter(|c| c.len() <= UNIT_LIMIT) else { continue };
        let directives = parse(&content.read(UNIT_LIMIT)?);
        let mut seen = BTreeSet::new();
        let name = path.file_name().filter(|_| path.parent() == Some(UNITS.path())).map(escape);
        if let Some(name) = name.and_then(|name| implied(&name, &directives)).filter(|name| !units.has(name))
        {
            let message =
                format!("starts {name}: the host has to have this unit, which isn't in the extension");
            out.push(finding(&UNIT_REFERENCE, Some(path.clone()), message));
        }
        for d in directives {
            if !is_relation(&d.section, &d.key) {
                continue;
            }
            for name in String::from_utf8_lossy(&d.value).split_whitespace() {
                if !units.has(name) && seen.insert(name.to_owned()) {
                    let message = format!(
                        "{}={name} (line {}): the host has to have this unit, which isn't in the extension",
                        d.key, d.line
                    );
                    out.push(finding(&UNIT_REFERENCE, Some(path.clone()), message));
                }
            }
        }
    }
    tmpfiles(tree, out)?;
    links(tree, out);
    programs(tree, out);
    scripts(tree, out)?;
    labels(tree, out);
    Ok(())
}

/// The service that a timer, path or socket starts if its lines don't name one. systemd.timer(5), systemd.path(5),
/// systemd.socket(5).
pub fn implied(unit: &str, directives: &[Directive]) -> Option<String> {
    let (stem, kind) = unit.rsplit_once('.')?;
    let last = |section: &str, key: &str| {
        let found = directives.iter().rfind(|d| d.section == section && d.key == key);
        found.map(|d| d.value.as_slice()).filter(|value| !value.is_empty())
    };
    match kind {
        "timer" if last("Timer", "Unit").is_none() => Some(format!("{stem}.service")),
        "path" if last("Path", "Unit").is_none() => Some(format!("{stem}.service")),
        "socket" if last("Socket", "Service").is_none() => {
            // One instance for each connection.
            let accepts = last("Socket", "Accept").is_some_and(is_true);
            Some(if accepts { format!("{stem}@.service") } else { format!("{stem}.service") })
        }
        _ => None,
    }
}

/// systemd.syntax(7).
pub(super) fn is_true(value: &[u8]) -> bool {
    [&b"1"[..], b"yes", b"y", b"true", b"t", b"on"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Whether a unit fails, or does nothing, without the units that a setting names. systemd.unit(5).
fn is_relation(section: &str, key: &str) -> bool {
    match section {
        "Unit" => matches!(
            key,
            "Requires" | "Requisite" | "BindsTo" | "Upholds" | "Wants" | "OnFailure" | "OnSuccess"
        ),
        "Install" => key == "Also",
        "Timer" | "Path" => key == "Unit",
        "Socket" => key == "Service",
        "Service" => key == "Sockets",
        _ => false,
    }
}

/// The names of an extension's units, and of those that enabling them makes.
pub fn units(tree: &Tree) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (path, node) in tree.children(&UNITS.path()) {
        if let Some(Ok(text)) = node.content().filter(|c| c.len() <= UNIT_LIMIT).map(|c| c.read(UNIT_LIMIT)) {
            let aliases = parse(&text).into_iter().filter(|d| d.key == "Alias");
            out.extend(aliases.flat_map(|d| words(&d.value)).map(|w| escape(&w.text)));
        }
        out.extend(path.file_name().map(escape));
    }
    out
}

/// Names of units that are there: the extension's, and the host's as far as they are known.
#[derive(Debug)]
pub(super) struct Units {
    own: BTreeSet<String>,
    of_host: BTreeSet<String>,
}

impl Units {
    pub(super) fn new(tree: &Tree, of_host: &BTreeSet<String>) -> Units {
        Units { own: units(tree), of_host: of_host.clone() }
    }

    /// Whether the extension has it, by itself or as a template.
    pub(super) fn own(&self, name: &str) -> bool {
        self.own.contains(name) || template(name).is_some_and(|t| self.own.contains(&t))
    }

    fn knows(&self, name: &str) -> bool {
        self.own.contains(name) || self.of_host.contains(name)
    }

    /// Whether an instance is there whose name has a specifier, by its template or in any other way.
    fn has_instance(&self, name: &str) -> bool {
        let Some((stem, _)) = name.split_once('@').filter(|(stem, _)| !stem.contains('%')) else {
            return true;
        };
        let of_template = |unit: &String| unit.split_once('@').is_some_and(|(s, _)| s == stem);
        self.own.iter().chain(&self.of_host).any(of_template)
    }

    /// Whether it is there, or every host has it.
    pub(super) fn has(&self, name: &str) -> bool {
        let (stem, kind) = name.rsplit_once('.').unwrap_or((name, ""));
        // Specifiers are known on the host only; mounts, devices and slices are made as needed.
        let is_hosts = name.contains('%') && self.has_instance(name)
            || matches!(kind, "target" | "slice" | "scope" | "mount" | "automount" | "device" | "swap")
            || stem.starts_with("systemd-")
            || matches!(stem, "dbus" | "dbus-broker" | "syslog")
            || ["modprobe@", "getty@", "serial-getty@"].iter().any(|template| stem.starts_with(template));
        is_hosts || self.knows(name) || template(name).is_some_and(|t| self.knows(&t))
    }
}

/// Files of drop-in directories count if they end in `.conf`. systemd.unit(5).
fn drop_in(path: &TreePath, node: &Node, out: &mut Vec<Finding>) {
    let dir = path.parent().and_then(|dir| dir.file_name().map(escape)).unwrap_or_default();
    let name = path.file_name().map(escape).unwrap_or_default();
    if dir.ends_with(".d")
        && path.depth() == UNITS.path().depth() + 2
        && !node.is_dir()
        && !name.ends_with(".conf")
    {
        let message = "systemd ignores files of a drop-in directory whose names don't end in .conf";
        out.push(finding(&DROP_IN_NAME, Some(path.clone()), message));
    }
}

/// What lines of tmpfiles.d copy or link. tmpfiles.d(5).
fn tmpfiles(tree: &Tree, out: &mut Vec<Finding>) -> Result<(), ContentError> {
    for (path, text) in configuration(tree, TMPFILES)? {
        for (at, line) in text.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).enumerate() {
            let columns = words(line);
            let [kind, place, ..] = columns.as_slice() else { continue };
            if !matches!(kind.text.first(), Some(b'C' | b'L')) {
                continue;
            }
            let source = match columns.get(6).filter(|a| a.text != b"-") {
                // From where the link is.
                Some(argument) if !argument.text.starts_with(b"/") => beside(&place.text, &argument.text),
                Some(argument) => argument.text.clone(),
                None => [b"/usr/share/factory", place.text.as_slice()].concat(),
            };
            let is_ours = [&b"/usr/"[..], b"/opt/"].iter().any(|top| source.starts_with(top));
            if is_ours && !source.contains(&b'%') && tree.resolve(&source, true).is_err() {
                let message = format!(
                    "line {}: the host has to have {}, which isn't in the extension",
                    at + 1,
                    escape(&source)
                );
                out.push(finding(&TMPFILES_SOURCE, Some(path.clone()), message));
            }
        }
    }
    Ok(())
}

/// Where a relative link leads, by the letters of both paths.
fn beside(link: &[u8], target: &[u8]) -> Vec<u8> {
    let dir = link.rsplitn(2, |&b| b == b'/').nth(1).unwrap_or_default();
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in dir.split(|&b| b == b'/').chain(target.split(|&b| b == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.iter().flat_map(|part| [b"/", *part]).flatten().copied().collect()
}

/// Links that lead nowhere, where hosts look for programs and units, or within the extension's own directories.
fn links(tree: &Tree, out: &mut Vec<Finding>) {
    for (path, node) in tree.iter() {
        let Some(target) = node.symlink_target() else { continue };
        let followed = FOLLOWED.iter().any(|dir| path.starts_with(&dir.path()));
        // A mask.
        if !followed || target == b"/dev/null" || tree.resolve(path.to_absolute(), true).is_ok() {
            continue;
        }
        let leads_out = [&b"/etc/"[..], b"/run/", b"/var/", b"/proc/", b"/dev/", b"/sys/"];
        if leads_out.iter().any(|top| target.starts_with(top)) {
            continue;
        }
        let message = format!("leads to {}, which isn't in the extension", escape(target));
        out.push(finding(&DANGLING_LINK, Some(path.clone()), message));
    }
}

fn programs(tree: &Tree, out: &mut Vec<Finding>) {
    for (path, _) in tree.children(&FOLLOWED[0].path()).filter(|(_, n)| !n.is_dir()) {
        let name = path.file_name().map(escape).unwrap_or_default();
        if PROGRAMS.contains(&name.as_str()) {
            let message = "takes the place of the host's program, also for the host's own services";
            out.push(finding(&HOST_PROGRAM, Some(path.clone()), message));
        }
    }
}

/// Bytes of a script's first line that the kernel reads. BINPRM_BUF_SIZE of Linux.
const SHEBANG_LIMIT: usize = 256;
/// Where env(1) looks for programs on every host.
const SEARCHED: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// Scripts among the programs whose interpreter isn't there. execve(2).
fn scripts(tree: &Tree, out: &mut Vec<Finding>) -> Result<(), ContentError> {
    for path in started(tree)? {
        let Some(line) = tree.get(&path).map(shebang).transpose()?.flatten() else { continue };
        if let Some(missing) = missing_interpreter(tree, &line, &|name| PROGRAMS.contains(&name)) {
            let message = format!("is a script for {}, which isn't in the extension", escape(&missing));
            out.push(finding(&SCRIPT_INTERPRETER, Some(path.clone()), message));
        }
    }
    Ok(())
}

/// Programs of the usual directory, and those that units start.
pub(super) fn started(tree: &Tree) -> Result<BTreeSet<TreePath>, ContentError> {
    let usual = tree.children(&FOLLOWED[0].path()).filter(|(_, n)| n.meta.mode & 0o111 != 0);
    let mut out: BTreeSet<TreePath> = usual.map(|(path, _)| path.clone()).collect();
    for (_, node) in tree.subtree(&UNITS.path()).filter(|(path, _)| is_unit(path)) {
        let Some(content) = node.content().filter(|c| c.len() <= UNIT_LIMIT) else { continue };
        for line in exec_lines(&parse(&content.read(UNIT_LIMIT)?)) {
            let real = tree.resolve(&line.program, true).ok().map(|real| real.path);
            out.extend(real.filter(|_| line.program.starts_with(b"/")));
        }
    }
    Ok(out)
}

/// The interpreter of a script whose first line ends with a carriage return, which the kernel takes for a part of its name.
pub(super) fn is_script_of_dos(content: &Content) -> Result<Option<Vec<u8>>, ContentError> {
    let head = content.head(SHEBANG_LIMIT)?;
    let line = head.strip_prefix(b"#!").and_then(|head| head.split(|&b| b == b'\n').next());
    Ok(line.filter(|line| line.ends_with(b"\r")).map(<[u8]>::to_vec))
}

/// The first line of a script, without `#!`. None: it is no script.
///
/// # Errors
/// Its content can't be read.
pub fn shebang(node: &Node) -> Result<Option<Vec<u8>>, ContentError> {
    let Some(content) = node.content() else { return Ok(None) };
    let head = content.head(SHEBANG_LIMIT)?;
    let line = head.strip_prefix(b"#!").and_then(|head| head.split(|&b| b == b'\n').next());
    Ok(line.map(<[u8]>::to_vec))
}

/// The interpreter that the first line of a script names by itself or by env(1), if neither the tree has it nor, by its name,
/// the host.
pub fn missing_interpreter(tree: &Tree, line: &[u8], host_has: &dyn Fn(&str) -> bool) -> Option<Vec<u8>> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let interpreter = words.next()?;
    let (dir, name) = match interpreter.iter().rposition(|&b| b == b'/') {
        Some(at) => (&interpreter[..at], &interpreter[at + 1..]),
        None => (&b""[..], interpreter),
    };
    let is_hosts = |name: &[u8]| std::str::from_utf8(name).is_ok_and(host_has);
    let usual = [&b"/bin"[..], b"/usr/bin", b"/sbin", b"/usr/sbin"].contains(&dir);
    if usual && name == b"env" {
        let named = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='))?;
        let has = |dir: &str| tree.resolve([dir.as_bytes(), b"/", named].concat(), true).is_ok();
        let is_there = is_hosts(named) || named.contains(&b'/') || SEARCHED.iter().any(|dir| has(dir));
        return (!is_there).then(|| named.to_vec());
    }
    let in_tree = tree.resolve(interpreter, true).is_ok()
        || usual && tree.resolve([b"/usr/bin/", name].concat(), true).is_ok();
    let is_there = in_tree || usual && is_hosts(name);
    (!is_there).then(|| interpreter.to_vec())
}

/// Types of files where images are built: containers, home directories, files without a label.
const FOREIGN_LABELS: [&str; 8] = [
    "admin_home_t",
    "container_file_t",
    "container_ro_file_t",
    "data_home_t",
    "svirt_sandbox_file_t",
    "unlabeled_t",
    "user_home_t",
    "user_tmp_t",
];

/// A label holds on the host if it is set; for what isn't labeled, the host's policy has one label for everything.
fn labels(tree: &Tree, out: &mut Vec<Finding>) {
    let labeled = |node: &Node| node.meta.xattrs.contains_key(b"security.selinux".as_slice());
    let paths = || tree.iter().filter(|(path, _)| !path.is_root());
    let Some((first, _)) = paths().find(|(_, node)| labeled(node)) else { return };
    if let Some((path, _)) = paths().find(|(_, node)| !labeled(node)) {
        let message = format!("has no SELinux label, and {first} has one: services can't use what has none");
        out.push(finding(&SELINUX_LABEL, Some(path.clone()), message));
        return;
    }
    let kind = |node: &Node| {
        let label = node.meta.xattrs.get(b"security.selinux".as_slice())?;
        let kind = label.split(|&b| b == b':').nth(2)?;
        FOREIGN_LABELS
            .into_iter()
            .find(|foreign| kind.strip_suffix(b"\0").unwrap_or(kind) == foreign.as_bytes())
    };
    if let Some((path, kind)) = paths().find_map(|(path, node)| Some((path, kind(node)?))) {
        let message =
            format!("has the label {kind}, which no policy has for a file of /usr: services can't use it");
        out.push(finding(&SELINUX_LABEL, Some(path.clone()), message));
    }
}
