//! Users and groups that an extension counts on: an image's /etc/passwd stays behind, so the host has to have them, or a
//! sysusers.d file of the extension makes them.

use std::collections::BTreeSet;

use super::ExtensionError;
use super::findings::Findings;
use super::rules::USER;
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

/// What names a user or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Account {
    User,
    Group,
}

/// One place that names one.
struct Mention {
    account: Account,
    name: String,
    /// As it stands there: `User=www`.
    shown: String,
    /// From 1.
    line: usize,
}

/// What the extension's sysusers.d files make.
#[derive(Default)]
struct Made {
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
    /// A file that can't be followed: with specifiers, or too large.
    unclear: bool,
}

/// Finds units, and other files that name users, with users that nobody makes.
pub(super) fn check(tree: &Tree, lint: &mut Findings<'_>) -> Result<(), ExtensionError> {
    let made = made(tree)?;
    if made.unclear {
        return Ok(());
    }
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
    let mut told = |path: &TreePath, mentions: Vec<Mention>| {
        let mut names = BTreeSet::new();
        for m in mentions {
            let known = match m.account {
                Account::User => USERS.contains(&m.name.as_str()) || made.users.contains(&m.name),
                Account::Group => GROUPS.contains(&m.name.as_str()) || made.groups.contains(&m.name),
            };
            if known || is_elsewhere(&m.name) || !names.insert((m.account, m.name)) {
                continue;
            }
            let what = match m.account {
                Account::User => "user",
                Account::Group => "group",
            };
            let message = format!(
                "{} (line {}): the host has to have this {what}, which nothing in the extension makes",
                m.shown, m.line
            );
            lint.add(&USER, Some(path), message);
        }
    };
    for (path, directives) in &units {
        told(path, of_unit(directives, dynamic.contains(&unit_of(path))));
    }
    let with_ending = |ending: &'static str| {
        move |p: &TreePath| p.file_name().is_some_and(|n| n.ends_with(ending.as_bytes()))
    };
    for (path, text) in files(tree, "/usr/share/dbus-1/system-services", with_ending(".service"))? {
        told(&path, of_bus(&parse(&text)));
    }
    for (path, text) in files(tree, "/usr/lib/tmpfiles.d", with_ending(".conf"))? {
        told(&path, of_tmpfiles(&text));
    }
    for (path, text) in files(tree, "/usr/lib/udev/rules.d", with_ending(".rules"))? {
        told(&path, of_udev(&text));
    }
    Ok(())
}

/// The texts of the files below a directory, those that are too large left out.
fn files(
    tree: &Tree,
    dir: &str,
    is: impl Fn(&TreePath) -> bool,
) -> Result<Vec<(TreePath, Vec<u8>)>, ExtensionError> {
    let Ok(dir) = TreePath::new(dir) else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for (path, node) in tree.subtree(&dir).filter(|(p, _)| is(p)) {
        match node.content().map(|c| c.read(UNIT_LIMIT)) {
            Some(Ok(text)) => out.push((path.clone(), text)),
            Some(Err(ContentError::TooLarge { .. })) | None => {}
            Some(Err(source)) => return Err(ExtensionError::Content { path: path.clone(), source }),
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

/// sysusers.d(5): type, name, id, …
fn made(tree: &Tree) -> Result<Made, ExtensionError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Extension, ExtensionOptions, Release};
    use tree::{Meta, Node};

    /// What is said of an extension with these files.
    fn said(files: &[(&str, &str)]) -> Vec<String> {
        let mut tree = Tree::default();
        for (path, text) in files {
            tree.insert_all(path.parse().unwrap(), Node::file(0o644, *text), &Meta::dir()).unwrap();
        }
        let release = Release { reload_manager: true, ..Release::default() };
        let options = ExtensionOptions::default();
        let made = Extension::new(tree, "t".parse().unwrap(), release, &options).unwrap();
        let users = made.findings().iter().filter(|f| f.rule == "user");
        users
            .map(|f| {
                let (what, _) = f.message.split_once(": the host has to have this ").unwrap();
                let file = f.path.as_ref().and_then(TreePath::file_name).unwrap();
                format!("{} {what}", escape(file))
            })
            .collect()
    }

    const UNIT: &str = "/usr/lib/systemd/system/a.service";

    #[test]
    fn accounts_of_units() {
        let table: [(&str, &[&str]); 12] = [
            ("User=www\nGroup=web", &["a.service User=www (line 2)", "a.service Group=web (line 3)"]),
            ("User=root\nGroup=tty", &[]),
            ("User=1000\nGroup=0", &[]),
            ("User=%i", &[]),
            ("User=www\nUser=", &[]),
            ("User=www\nUser=root", &[]),
            ("User=systemd-network", &[]),
            ("DynamicUser=yes\nUser=www", &[]),
            ("DynamicUser=no\nUser=www", &["a.service User=www (line 3)"]),
            (
                "DynamicUser=yes\nSupplementaryGroups=plugdev",
                &["a.service SupplementaryGroups=plugdev (line 3)"],
            ),
            (
                "SupplementaryGroups=a video\nSupplementaryGroups=b",
                &["a.service SupplementaryGroups=a (line 2)", "a.service SupplementaryGroups=b (line 3)"],
            ),
            ("[Unit]\nUser=www", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(said(&[(UNIT, &format!("[Service]\n{text}\n"))]), expected, "{text}");
        }
    }

    #[test]
    fn sysusers_makes_them() {
        let unit = (UNIT, "[Service]\nUser=www\nGroup=web\nSupplementaryGroups=more\n");
        let with = |conf: &str| said(&[unit, ("/usr/lib/sysusers.d/a.conf", conf)]).len();
        for (conf, left) in [
            ("u www -\n", 2),
            ("u! www 33:web \"A server\" /srv\ng web -\ng more -\n", 0),
            ("# u www -\n", 3),
            ("m www web\n", 1),
            ("m \"www\" more\ng web 70\n", 0),
            ("u %i -\n", 0),
        ] {
            assert_eq!(with(conf), left, "{conf}");
        }
    }

    #[test]
    fn accounts_of_other_files() {
        assert_eq!(
            said(&[
                (UNIT, "[Service]\nUser=www\n"),
                ("/usr/lib/systemd/system/a.service.d/x.conf", "[Service]\nDynamicUser=1\n"),
                ("/usr/lib/systemd/system/b.socket", "[Socket]\nSocketUser=root\nSocketGroup=docker\n"),
                ("/usr/lib/systemd/user/c.service", "[Service]\nUser=nobody-there\n"),
                (
                    "/usr/lib/tmpfiles.d/d.conf",
                    "# x\nd /run/d 0755 dd :ee -\nd /run/e - - -\nf /run/f 0644 root root\n"
                ),
                (
                    "/usr/lib/udev/rules.d/e.rules",
                    "KERNEL==\"x\", GROUP==\"y\", OWNER=\"own\", GROUP:=\"plugdev\", MODE=\"0660\"\nGROUP=\"$env{X}\"\n"
                ),
                ("/usr/share/dbus-1/system-services/f.service", "[D-BUS Service]\nName=f\nUser=messagebus\n"),
            ]),
            [
                "b.socket SocketGroup=docker (line 3)",
                "f.service User=messagebus (line 3)",
                "d.conf user dd (line 2)",
                "d.conf group ee (line 2)",
                "e.rules OWNER=\"own\" (line 1)",
                "e.rules GROUP=\"plugdev\" (line 1)",
            ]
        );
    }
}
