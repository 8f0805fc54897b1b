//! Users and groups that an extension's files name, and those that its sysusers.d files make.

use std::collections::BTreeSet;

use super::ExtensionError;
use super::unit_programs::{UNIT_LIMIT, is_unit};
use super::units::{Directive, parse, words};
use tree::{ContentError, Tree, TreePath, escape};

/// Users of every host: LSB's required ones, and nobody, which systemd counts on.
const USERS: [&str; 4] = ["root", "nobody", "bin", "daemon"];

/// Groups of every host with systemd: its sysusers.d/basic.conf, without those that only some of its versions have.
const GROUPS: [&str; 19] = [
    "root", "nobody", "nogroup", "bin", "daemon", "adm", "audio", "cdrom", "dialout", "disk", "input",
    "kmem", "kvm", "lp", "render", "tape", "tty", "utmp", "video",
];

/// A user or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// Of passwd(5).
    User,
    /// Of group(5).
    Group,
}

/// One place that names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// What it names.
    pub account: Account,
    /// Its name.
    pub name: String,
    /// As it stands there: `User=www`.
    pub shown: String,
    /// From 1.
    pub line: usize,
}

/// What the extension's sysusers.d files make.
#[derive(Debug, Clone, Default)]
pub struct Made {
    /// Names of users.
    pub users: BTreeSet<String>,
    /// Names of groups.
    pub groups: BTreeSet<String>,
    /// A file that can't be followed: with specifiers, or too large.
    pub unclear: bool,
}

impl Made {
    /// Whether the host has an account without anybody's doing, or these files make it.
    pub fn has(&self, account: Account, name: &str) -> bool {
        let (hosts, own): (&[&str], _) = match account {
            Account::User => (&USERS, &self.users),
            Account::Group => (&GROUPS, &self.groups),
        };
        hosts.contains(&name) || own.contains(name) || is_elsewhere(name)
    }
}

/// All that names users and groups in an extension: units, D-Bus services and policies, tmpfiles.d and udev's rules; by
/// file.
///
/// # Errors
/// A file can't be read.
pub fn mentions(tree: &Tree) -> Result<Vec<(TreePath, Vec<Mention>)>, ExtensionError> {
    // `DynamicUser=yes` holds for a unit with all its drop-ins.
    let mut dynamic = BTreeSet::new();
    let mut units = Vec::new();
    for (path, text) in files(tree, "/usr/lib/systemd/system", is_unit)? {
        let directives = parse(&text);
        if directives.iter().rev().find(|d| d.key == "DynamicUser").is_some_and(|d| yes(&d.value)) {
            dynamic.insert(unit_of(&path));
        }
        units.push((path, directives));
    }
    let mut out = Vec::new();
    for (path, directives) in units {
        let found = of_unit(&directives, dynamic.contains(&unit_of(&path)));
        out.push((path, found));
    }
    let with_ending = |ending: &'static str| {
        move |p: &TreePath| p.file_name().is_some_and(|n| n.ends_with(ending.as_bytes()))
    };
    for (path, text) in files(tree, "/usr/share/dbus-1/system-services", with_ending(".service"))? {
        out.push((path, of_bus(&parse(&text))));
    }
    for (path, text) in files(tree, "/usr/share/dbus-1/system.d", with_ending(".conf"))? {
        out.push((path, of_policy(&text)));
    }
    for (path, text) in files(tree, "/usr/lib/tmpfiles.d", with_ending(".conf"))? {
        out.push((path, of_tmpfiles(&text)));
    }
    for (path, text) in files(tree, "/usr/lib/udev/rules.d", with_ending(".rules"))? {
        out.push((path, of_udev(&text)));
    }
    Ok(out)
}

/// Texts of files, by their paths.
pub(crate) type Texts = Vec<(TreePath, Vec<u8>)>;

/// The texts of the files below a directory, those that are too large left out.
fn files(tree: &Tree, dir: &str, is: impl Fn(&TreePath) -> bool) -> Result<Texts, ExtensionError> {
    let Ok(dir) = TreePath::new(dir) else { return Ok(Vec::new()) };
    texts(tree, &dir, is).map_err(|(path, source)| ExtensionError::Content { path, source })
}

/// The texts of the files below a directory, by their paths there; those that are larger than [`UNIT_LIMIT`] are left out.
///
/// # Errors
/// The file that can't be read, and why.
pub(crate) fn texts(
    tree: &Tree,
    dir: &TreePath,
    is: impl Fn(&TreePath) -> bool,
) -> Result<Texts, (TreePath, ContentError)> {
    let mut out = Vec::new();
    for (path, _) in tree.subtree(dir).filter(|(p, _)| is(p)) {
        // flatwrap shows files of its private root by symlinks.
        let real = tree.resolve(path.to_absolute(), true).ok();
        let node = real.and_then(|r| tree.get(&r.path));
        match node.and_then(|n| n.content()).map(|c| c.read(UNIT_LIMIT)) {
            Some(Ok(text)) => out.push((path.clone(), text)),
            Some(Err(ContentError::TooLarge { .. })) | None => {}
            Some(Err(source)) => return Err((path.clone(), source)),
        }
    }
    Ok(out)
}

/// A number, a specifier that only the host can fill in, or one of systemd's own accounts.
fn is_elsewhere(name: &str) -> bool {
    name.is_empty()
        || name.contains('%')
        || name.bytes().all(|b| b.is_ascii_digit())
        || name.starts_with("systemd-")
}

fn yes(value: &[u8]) -> bool {
    ["1", "yes", "y", "true", "t", "on"].iter().any(|y| value.eq_ignore_ascii_case(y.as_bytes()))
}

/// The unit to which a file belongs: itself, or that of `NAME.service.d/`.
fn unit_of(path: &TreePath) -> Vec<u8> {
    let dir = path.parent();
    let dir = dir.as_ref().and_then(TreePath::file_name).and_then(|d| d.strip_suffix(b".d"));
    dir.or(path.file_name()).unwrap_or_default().to_vec()
}

/// systemd.exec(5), systemd.socket(5). The last assignment holds, an empty one takes it back.
fn of_unit(directives: &[Directive], dynamic: bool) -> Vec<Mention> {
    let mut out: Vec<(&str, Mention)> = Vec::new();
    for d in directives {
        let account = match (d.section.as_str(), d.key.as_str()) {
            ("Service" | "Socket" | "Mount" | "Swap", "User") | ("Socket", "SocketUser") => Account::User,
            ("Service" | "Socket" | "Mount" | "Swap", "Group" | "SupplementaryGroups")
            | ("Socket", "SocketGroup") => Account::Group,
            _ => continue,
        };
        let is_list = d.key == "SupplementaryGroups";
        if !is_list || d.value.is_empty() {
            out.retain(|(key, _)| *key != d.key);
        }
        if dynamic && ["User", "Group"].contains(&d.key.as_str()) {
            continue;
        }
        for word in words(&d.value) {
            let name = escape(&word.text);
            out.push((&d.key, Mention { account, shown: format!("{}={name}", d.key), name, line: d.line }));
        }
    }
    out.into_iter().map(|(_, m)| m).collect()
}

/// D-Bus specification, "Message Bus Starting Services (Activation)".
fn of_bus(directives: &[Directive]) -> Vec<Mention> {
    let users = directives.iter().filter(|d| d.section == "D-BUS Service" && d.key == "User");
    let mention = |d: &Directive| {
        let name = escape(&d.value);
        Mention { account: Account::User, shown: format!("User={name}"), name, line: d.line }
    };
    users.map(mention).collect()
}

/// The lines of a file of columns, without comments.
fn rows(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split(|&b| b == b'\n').enumerate().map(|(i, l)| (i + 1, l.trim_ascii()));
    lines.filter(|(_, l)| !l.is_empty() && !l.starts_with(b"#"))
}

/// tmpfiles.d(5): type, path, mode, user, group.
fn of_tmpfiles(text: &[u8]) -> Vec<Mention> {
    let mut out = Vec::new();
    for (line, row) in rows(text) {
        let columns = words(row);
        for (column, account) in [(3, Account::User), (4, Account::Group)] {
            let Some(word) = columns.get(column) else { continue };
            // With a colon it counts for what is made anew.
            let name = escape(word.text.strip_prefix(b":").unwrap_or(&word.text));
            if name != "-" {
                let what = if account == Account::User { "user" } else { "group" };
                out.push(Mention { account, shown: format!("{what} {name}"), name, line });
            }
        }
    }
    out
}

/// udev(7): `OWNER="…"`, `GROUP="…"`.
fn of_udev(text: &[u8]) -> Vec<Mention> {
    let mut out = Vec::new();
    for (line, row) in rows(text) {
        for (key, account) in [("OWNER", Account::User), ("GROUP", Account::Group)] {
            let text = String::from_utf8_lossy(row);
            for part in text.split(',').map(str::trim) {
                let Some(rest) = part.strip_prefix(key) else { continue };
                let rest = rest.trim_start();
                let value = rest.strip_prefix(":=").or_else(|| rest.strip_prefix('='));
                let value = value.filter(|v| !v.starts_with('=')).map(|v| v.trim().trim_matches('"'));
                // A substitution is filled in by udev.
                let Some(name) = value.filter(|v| !v.contains('$')) else { continue };
                let shown = format!("{key}=\"{name}\"");
                out.push(Mention { account, name: name.to_owned(), shown, line });
            }
        }
    }
    out
}

/// `<policy user="NAME">` and `<policy group="NAME">`. dbus-daemon(1), "Configuration file".
fn of_policy(text: &[u8]) -> Vec<Mention> {
    let mut out = Vec::new();
    let text = String::from_utf8_lossy(text);
    for (at, rest) in text.match_indices("<policy").map(|(at, _)| (at, &text[at..])) {
        let tag = rest.split('>').next().unwrap_or_default();
        for (key, account) in [("user", Account::User), ("group", Account::Group)] {
            let value = tag.split_once(&format!("{key}=")).and_then(|(_, value)| {
                let quote = value.chars().next().filter(|q| matches!(q, '"' | '\''))?;
                value[1..].split_once(quote).map(|(name, _)| name)
            });
            let Some(name) = value else { continue };
            let line = text[..at].matches('\n').count() + 1;
            let shown = format!("<policy {key}=\"{name}\">");
            out.push(Mention { account, name: name.to_owned(), shown, line });
        }
    }
    out
}

/// What the sysusers.d files of an extension make. sysusers.d(5): type, name, id, …
///
/// # Errors
/// A file can't be read.
pub fn made(tree: &Tree) -> Result<Made, ExtensionError> {
    let mut made = Made::default();
    let conf = |p: &TreePath| p.file_name().is_some_and(|n| n.ends_with(b".conf"));
    for (_, text) in files(tree, "/usr/lib/sysusers.d", conf)? {
        for (_, row) in rows(&text) {
            let columns: Vec<String> = words(row).iter().map(|w| escape(&w.text)).collect();
            let [kind, name, rest @ ..] = columns.as_slice() else { continue };
            made.unclear |= name.contains('%');
            match kind.trim_end_matches(['!', '+']) {
                "u" => {
                    made.users.insert(name.clone());
                    made.groups.insert(name.clone());
                }
                "g" => _ = made.groups.insert(name.clone()),
                // What isn't there is made.
                "m" => {
                    made.users.insert(name.clone());
                    made.groups.extend([name.clone()].into_iter().chain(rest.first().cloned()));
                }
                _ => {}
            }
        }
    }
    Ok(made)
}
