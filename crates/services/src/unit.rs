//! Units of an extension.

use std::collections::BTreeSet;

use sysext::extension::unit_programs::is_unit;
use sysext::extension::units::{Directive, parse, words};
use tree::{Tree, TreePath};

use crate::inventory::{ServicesError, text_of};
use crate::places::{ETC, Owner, RUN, StateKind, StatePath, UNITS};

/// A unit of the extension, without its drop-ins.
pub(crate) struct Unit {
    pub name: String,
    pub text: String,
    pub directives: Vec<Directive>,
}

impl Unit {
    fn value(&self, key: &str) -> Option<String> {
        let last = self.directives.iter().rev().find(|d| d.key == key)?;
        Some(String::from_utf8_lossy(&last.value).into_owned()).filter(|v| !v.is_empty())
    }

    /// A target or slice waits for nothing.
    pub(crate) fn starts_something(&self) -> bool {
        [".service", ".socket", ".mount", ".path"].iter().any(|end| self.name.ends_with(end))
    }

    /// Directories below /etc that the unit's programs write, or that systemd makes for them. systemd.exec(5).
    pub(crate) fn written_configuration(&self) -> BTreeSet<TreePath> {
        let mut out = BTreeSet::new();
        for directive in self.directives.iter().filter(|d| d.section == "Service") {
            let top: &[u8] = match directive.key.as_str() {
                "ConfigurationDirectory" => b"/etc/",
                "ReadWritePaths" | "ReadWriteDirectories" => b"",
                _ => continue,
            };
            for word in words(&directive.value).into_iter().map(|w| w.text) {
                let word: &[u8] = match top {
                    // A symlink may follow.
                    b"/etc/" => word.split(|&b| b == b':').next().unwrap_or_default(),
                    _ => word.iter().position(|b| !b"-+".contains(b)).map_or(&[], |at| &word[at..]),
                };
                if word.contains(&b'%') {
                    continue;
                }
                let path = TreePath::new([top, word].concat()).ok();
                out.extend(path.filter(|p| p.depth() > 1 && p.starts_with(&ETC.path())));
            }
        }
        out
    }

    /// The directory of the pid file, if nothing in the unit makes it.
    pub(crate) fn pid_directory(&self) -> Option<StatePath> {
        let file = self.value("PIDFile")?;
        let file = file.strip_prefix("/var/run/").map(|rest| format!("/run/{rest}")).unwrap_or(file);
        let dir = TreePath::new(file).ok()?.parent()?;
        let rest = dir.strip_prefix(&RUN.path()).filter(|r| !r.is_empty() && !r.contains(&b'%'))?;
        let made = self.value("RuntimeDirectory").unwrap_or_default();
        let top = rest.split(|&b| b == b'/').next().unwrap_or_default();
        if words(made.as_bytes()).iter().any(|w| w.text.split(|&b| b == b'/').next() == Some(top)) {
            return None;
        }
        let owner = |key| Owner::Name(self.value(key).filter(|v| !v.contains('%')).unwrap_or("root".into()));
        let (owner, group) = (owner("User"), owner("Group"));
        Some(StatePath { path: dir, kind: StateKind::Directory, mode: 0o755, owner, group })
    }
}

/// The units of the system's manager in an extension. One that can't be read as text doesn't count.
pub(crate) fn units_of(extension: &Tree) -> Result<Vec<Unit>, ServicesError> {
    let mut out = Vec::new();
    for (path, _) in extension.children(&UNITS.path()).filter(|(p, n)| is_unit(p) && n.is_file()) {
        let Some(text) = text_of(extension, path)? else { continue };
        let name = String::from_utf8_lossy(path.file_name().unwrap_or_default()).into_owned();
        out.push(Unit { name, directives: parse(text.as_bytes()), text });
    }
    Ok(out)
}
