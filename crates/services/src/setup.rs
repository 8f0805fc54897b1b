//! The files by which a host makes what services need.

use std::collections::BTreeSet;

use sysext::ExtensionName;
use tree::{Kind, Meta, Node, PathError, StaticPath, Tree, TreePath};

use crate::accounts::User;
use crate::inventory::{ServicesError, text_of};
use crate::needs::{Etc, Needs};
use crate::places::{Owner, SYSUSERS, StateKind, TMPFILES, UNITS};
use crate::text::{argument, word};

/// Where copies of the host's files are. tmpfiles.d(5), type C.
const FACTORY: StaticPath = StaticPath::new("/usr/share/factory");
const UDEV: StaticPath = StaticPath::new("/usr/lib/udev/rules.d");
const MODULES: StaticPath = StaticPath::new("/usr/lib/modules-load.d");
const KERNEL_PARAMETERS: StaticPath = StaticPath::new("/usr/lib/sysctl.d");
const BINARY_FORMATS: StaticPath = StaticPath::new("/usr/lib/binfmt.d");
const BUS: StaticPath = StaticPath::new("/usr/share/dbus-1");

impl Needs {
    /// Adds the files to an extension: `NAME-setup.conf` in sysusers.d and tmpfiles.d, copies below
    /// `/usr/share/factory/NAME`, `NAME-setup.service`, and a drop-in for each unit that waits for it. If there is none, and
    /// the extension has files that a merge doesn't apply, the service starts by itself. Nothing if nothing is needed.
    ///
    /// # Errors
    /// The extension has one of the files.
    pub fn write(&self, extension: &mut Tree, name: &ExtensionName) -> Result<(), ServicesError> {
        // What packages have of their own is applied with ours.
        let mut sysusers = names(extension, &SYSUSERS.path(), ".conf");
        let mut tmpfiles = names(extension, &TMPFILES.path(), ".conf");
        let conf = format!("{name}-setup.conf");
        let text = self.sysusers(name);
        if !text.is_empty() {
            put(extension, SYSUSERS.path().join(&conf)?, Node::file(0o644, text))?;
            sysusers.insert(conf.clone());
        }
        let text = self.tmpfiles(extension, name)?;
        if !text.is_empty() {
            put(extension, TMPFILES.path().join(&conf)?, Node::file(0o644, text))?;
            tmpfiles.insert(conf);
        }
        let commands = self.commands(extension, name, &sysusers, &tmpfiles);
        // systemd refuses a service that starts nothing.
        if commands.is_empty() {
            return Ok(());
        }
        let setup = format!("{name}-setup.service");
        let mut text = format!(
            "[Unit]\nDescription=Users and directories of {name}\nDefaultDependencies=no\n\
             After=local-fs.target systemd-sysext.service systemd-sysusers.service systemd-tmpfiles-setup.service\n\
             Conflicts=shutdown.target\nBefore=shutdown.target\n\n\
             [Service]\nType=oneshot\nSuccessExitStatus=DATAERR CANTCREAT\n{commands}"
        );
        if self.units.is_empty() {
            // systemd starts a unit that is upheld whenever it isn't active.
            text += "RemainAfterExit=yes\n";
            put(extension, upholding(name)?, Node::file(0o644, format!("[Unit]\nUpholds={setup}\n")))?;
        }
        put(extension, UNITS.path().join(&setup)?, Node::file(0o644, text))?;
        for unit in &self.units {
            // What is there already is enough for many services, and they say themselves what they lack. A database that is
            // half made is worse than none.
            let needs = if self.first_starts.is_empty() { "Wants" } else { "Requires" };
            let text = format!("[Unit]\n{needs}={setup}\nAfter={setup}\n");
            let path = UNITS.path().join(format!("{unit}.d/10-{name}-setup.conf"))?;
            put(extension, path, Node::file(0o644, text))?;
        }
        Ok(())
    }

    /// sysusers.d(5). Users and groups that a host has keep their numbers. Users become members of groups.
    fn sysusers(&self, name: &ExtensionName) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let number = |id: Option<u32>| match id.filter(|id| self.numbers && *id != u32::MAX) {
            Some(id) => id.to_string(),
            None => "-".to_owned(),
        };
        for (group, gid) in &self.groups {
            lines.push(columns(&[b"g", group.as_bytes(), number(*gid).as_bytes()]));
        }
        for user in &self.users {
            lines.push(self.user(user, &number(Some(user.uid))));
        }
        for (user, group) in &self.members {
            lines.push(columns(&[b"m", user.as_bytes(), group.as_bytes()]));
        }
        file(&format!("Users of {name}"), &lines)
    }

    fn user(&self, user: &User, uid: &str) -> Vec<u8> {
        let id = match self.primary.get(&user.name) {
            Some(group) => format!("{uid}:{group}"),
            None => uid.to_owned(),
        };
        let or_default = |text: &str| if text.is_empty() { b"-".to_vec() } else { word(text.as_bytes()) };
        // One that is no path would cost all users of the file.
        let path_or_default = |text: &str| match text.starts_with('/') && TreePath::new(text).is_ok() {
            true => word(text.as_bytes()),
            false => b"-".to_vec(),
        };
        // A home that is no directory anywhere is systemd's default, too.
        let comment = user.comment.trim_end_matches(',');
        let columns = [
            b"u".to_vec(),
            word(user.name.as_bytes()),
            id.into_bytes(),
            or_default(comment),
            path_or_default(&user.home),
            path_or_default(&user.shell),
        ];
        columns.join(&b' ')
    }

    /// tmpfiles.d(5). With a colon, modes and owners count for what is made anew.
    fn tmpfiles(&self, extension: &mut Tree, name: &ExtensionName) -> Result<Vec<u8>, ServicesError> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let made = |kind: &[u8], path: &TreePath, mode: u32, owner: &Owner, group: &Owner, from: &[u8]| {
            let mut out = vec![kind.to_vec(), word(&path.to_absolute()), format!(":{mode:04o}").into_bytes()];
            out.extend([owner, group].map(|o| [b":".as_slice(), &word(o.text().as_bytes())].concat()));
            out.push(b"-".to_vec());
            if !from.is_empty() {
                out.push(argument(from));
            }
            out.join(&b' ')
        };
        let link = |path: &TreePath, target: &[u8]| {
            columns_of(vec![b"L".to_vec(), word(&path.to_absolute()), b"- - - -".to_vec(), argument(target)])
        };
        for state in &self.state {
            lines.push(match &state.kind {
                StateKind::Directory => made(b"d", &state.path, state.mode, &state.owner, &state.group, b""),
                StateKind::Link(target) => link(&state.path, target),
            });
        }
        let factory = FACTORY.path().join(name.as_str())?;
        let configuration = self.configuration.iter().filter(|_| self.etc == Etc::Factory);
        for found in configuration {
            let (path, mode) = (&found.path, found.node.meta.mode & 0o7777);
            match &found.node.kind {
                Kind::Dir => lines.push(made(b"d", path, mode, &found.owner, &found.group, b"")),
                Kind::Symlink(target) => lines.push(link(path, target)),
                Kind::File(content) => {
                    // No program of a host's has more rights because of an extension.
                    let mode = mode & 0o777;
                    let copy = factory.join(path.as_relative())?;
                    lines.push(made(b"C", path, mode, &found.owner, &found.group, &copy.to_absolute()));
                    put(extension, copy, Node::file(mode & 0o755, content.clone()))?;
                }
                _ => {}
            }
        }
        for (path, node) in &self.contents {
            let Some(content) = node.content() else { continue };
            let copy = factory.join(path.as_relative())?;
            let mode = node.meta.mode & 0o777;
            let root = Owner::Name("root".to_owned());
            let (owner, group) = self.owners.get(path).map_or((&root, &root), |(o, g)| (o, g));
            lines.push(made(b"C", path, mode, owner, group, &copy.to_absolute()));
            put(extension, copy, Node::file(mode & 0o755, content.clone()))?;
        }
        Ok(file(&format!("State of {name}"), &lines))
    }

    /// What the unit runs that makes it all, before each start: what is there is left alone, and another version of the
    /// extension may need more. Nothing if nothing is to be made.
    fn commands(
        &self,
        extension: &Tree,
        name: &ExtensionName,
        sysusers: &BTreeSet<String>,
        tmpfiles: &BTreeSet<String>,
    ) -> String {
        let mut out = String::new();
        let list = |names: &BTreeSet<String>| names.iter().map(|n| format!(" {n}")).collect::<String>();
        if !sysusers.is_empty() {
            out += &format!("ExecStart=systemd-sysusers{}\n", list(sysusers));
        }
        if !tmpfiles.is_empty() {
            out += &format!("ExecStart=systemd-tmpfiles --create{}\n", list(tmpfiles));
        }
        // These are read once, when the system or a daemon starts, which was before the merge.
        for (dir, program) in [
            (MODULES, "systemd-modules-load"),
            (KERNEL_PARAMETERS, "systemd-sysctl"),
            (BINARY_FORMATS, "systemd-binfmt"),
        ] {
            let names = names(extension, &dir.path(), ".conf");
            if !names.is_empty() {
                out += &format!("ExecStart=-/usr/lib/systemd/{program}{}\n", list(&names));
            }
        }
        if extension.contains(&UDEV.path()) {
            out += &apply_rules(extension, name);
        }
        if extension.contains(&BUS.path()) {
            out += "ExecStart=-busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig\n";
        }
        for start in &self.first_starts {
            let command = start.command.join(" ");
            out += &match &start.unless {
                Some(path) => format!("ExecStart=sh -c '[ -e {path} ] || exec {command}'\n"),
                None => format!("ExecStart={command}\n"),
            };
        }
        out
    }
}

/// The drop-in that starts the unit of an extension in which no other unit waits for it.
fn upholding(name: &ExtensionName) -> Result<TreePath, PathError> {
    UNITS.path().join(format!("multi-user.target.d/10-{name}-setup.conf"))
}

/// The unit of an extension that starts by itself, since no other unit waits for it: a merge has to restart it to apply
/// another version's files.
pub fn upheld(extension: &Tree, name: &ExtensionName) -> Option<String> {
    extension.contains(&upholding(name).ok()?).then(|| format!("{name}-setup.service"))
}

/// The commands that apply udev rules to devices that are there already, once for each version of the rules. What was applied is
/// kept as it is: echo(1) of some shells changes backslashes.
fn apply_rules(extension: &Tree, name: &ExtensionName) -> String {
    let subsystems = subsystems(extension);
    let list: String = subsystems.iter().map(|s| format!(" --subsystem-match={s}")).collect();
    let (reload, trigger) = ("udevadm control --reload", format!("udevadm trigger --action=change{list}"));
    let rules = names(extension, &UDEV.path(), ".rules");
    if rules.is_empty() {
        return format!("ExecStart=-{reload}\nExecStart=-{trigger}\n");
    }
    let dir = UDEV.path();
    let files: String = rules.iter().map(|rules| format!(" {dir}/{rules}")).collect();
    let applied = format!("/run/{name}-setup.rules");
    format!(
        "ExecStart=-sh -c '[ \"$$(cat{files})\" = \"$$(cat {applied} 2>/dev/null)\" ] || \
         {{ {reload} && {trigger} && cat{files} >{applied}; }}'\n"
    )
}

/// The names of the files in a directory with this ending, as systemd's tools take them.
fn names(extension: &Tree, dir: &TreePath, ending: &str) -> BTreeSet<String> {
    let is_plain = |name: &str| {
        name.ends_with(ending) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@+".contains(c))
    };
    let names = extension.children(dir).filter_map(|(p, _)| String::from_utf8(p.file_name()?.to_vec()).ok());
    names.filter(|n| is_plain(n)).collect()
}

/// The subsystems of devices to which the udev rules of an extension apply; none if that can be any. udev(7).
fn subsystems(extension: &Tree) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (path, _) in extension.children(&UDEV.path()) {
        let Ok(Some(text)) = text_of(extension, path) else { return BTreeSet::new() };
        // `SUBSYSTEM!="x", GOTO="end"`: what follows is for x alone, as far as `LABEL="end"`.
        let mut only: Option<(&str, &str)> = None;
        let text = text.replace("\\\n", " ");
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let goto = value(line, "GOTO=\"");
            if let Some(label) = value(line, "LABEL=\"").filter(|_| line.starts_with("LABEL")) {
                only = only.filter(|(_, end)| *end != label);
                continue;
            }
            if let (Some(label), None) = (goto, only) {
                only = value(line, "SUBSYSTEM!=\"")
                    .filter(|_| line.starts_with("SUBSYSTEM"))
                    .map(|v| (v, label));
            }
            // It skips others and does nothing itself.
            if goto.is_some() {
                continue;
            }
            let value = value(line, "SUBSYSTEM==\"").or(only.map(|(subsystem, _)| subsystem));
            let is_plain =
                |v: &&str| !v.is_empty() && v.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
            let Some(value) = value.filter(is_plain) else { return BTreeSet::new() };
            out.insert(value.to_owned());
        }
    }
    out
}

/// The quoted value behind a key and its operator, if the key is a whole one: SUBSYSTEMS== is that of a parent.
fn value<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    let (before, rest) = line.split_once(key)?;
    let value = rest.split_once('"')?.0;
    (!before.ends_with(|c: char| c.is_ascii_alphanumeric())).then_some(value)
}

fn put(extension: &mut Tree, path: TreePath, node: Node) -> Result<(), ServicesError> {
    if extension.contains(&path) {
        return Err(ServicesError::Taken(path));
    }
    Ok(extension.insert_all(path, node, &Meta::dir())?)
}

fn columns(words: &[&[u8]]) -> Vec<u8> {
    columns_of(words.iter().map(|w| word(w)).collect())
}

fn columns_of(words: Vec<Vec<u8>>) -> Vec<u8> {
    words.join(&b' ')
}

/// Lines below a comment. Nothing if there are none.
fn file(comment: &str, lines: &[Vec<u8>]) -> Vec<u8> {
    if lines.is_empty() {
        return Vec::new();
    }
    [format!("# {comment}.\n").into_bytes(), lines.join(&b'\n'), b"\n".to_vec()].concat()
}
