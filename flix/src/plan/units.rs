//! Units among the files of a request, and other texts that name programs.

use std::collections::{BTreeMap, BTreeSet};
use sysext::extension::unit_programs::NOT_FOLLOWED;

use tree::TreePath;

use super::planner::{Placed, Planner};
use super::{Action, PlanError};
use crate::scripts::{Shebang, counts_bytes};
use sysext::extension::unit_programs as units;

impl Planner<'_> {
    /// Follows moved programs in the texts that are included.
    pub(super) fn units(&mut self) -> Result<(), PlanError> {
        let moved = self.moved_programs();
        let mut sourced = BTreeSet::new();
        for placed in self.placed.clone() {
            let is_unit = units::is_unit(&placed.target);
            let follows = is_unit || units::is_launcher(&placed.target);
            self.plan.has_units |= is_unit;
            if !follows && (moved.is_empty() || !self.is_looked_at(&placed)?) {
                continue;
            }
            let Some(content) = self.tree.get(&placed.source).and_then(|n| n.content()) else { continue };
            if content.len() > units::UNIT_LIMIT {
                if is_unit {
                    self.warnings.insert(format!("{}: unit is too large to be checked", placed.target));
                }
                continue;
            }
            let unreadable = |source| PlanError::Content { path: placed.source.clone(), source };
            let bytes = content.read(units::UNIT_LIMIT).map_err(unreadable)?;
            let Ok(text) = String::from_utf8(bytes) else {
                if is_unit {
                    self.warnings.insert(format!("{}: unit is not UTF-8, left as it is", placed.target));
                }
                continue;
            };
            let text = match follows {
                true => self.follow(&placed, text, is_unit),
                false if is_shell_script(&text) && counts_bytes(content).map_err(unreadable)?.is_none() => {
                    sourced.extend(sourced_by(&text));
                    self.follow_moved(&placed, text, &moved)
                }
                false => text,
            };
            for (line, old) in units::lines_with(&text, moved.keys().map(String::as_str)) {
                self.warnings.insert(format!(
                    "{}: line {line} names {old}, {NOT_FOLLOWED}: it is {} there",
                    placed.target, moved[old]
                ));
            }
        }
        for placed in self.placed.clone().into_iter().filter(|p| sourced.contains(&p.target)) {
            let Some(content) = self.tree.get(&placed.source).and_then(|n| n.content()) else { continue };
            if content.len() > units::UNIT_LIMIT {
                continue;
            }
            let bytes = content
                .read(units::UNIT_LIMIT)
                .map_err(|source| PlanError::Content { path: placed.source.clone(), source })?;
            if let Ok(text) = String::from_utf8(bytes) {
                self.follow_moved(&placed, text, &moved);
            }
        }
        Ok(())
    }

    /// A shell script, or a file that one reads, with moved programs where they are in the extension. Where the names are
    /// only part of a word, they stay.
    fn follow_moved(&mut self, placed: &Placed, text: String, moved: &BTreeMap<String, TreePath>) -> String {
        let mut edits = Vec::new();
        for exec in units::named(&text) {
            let Some(place) = moved.get(&exec.program) else { continue };
            self.notes.insert(format!("{}: {} is {place} there", placed.target, exec.program));
            edits.push((exec, place.to_string()));
        }
        if edits.is_empty() {
            return text;
        }
        let text = units::replace(&text, &edits);
        if let Some(entry) = self.plan.entries.get_mut(&placed.target) {
            entry.action = match &entry.action {
                // The first line has no moved program in it: interpreters are found by their places.
                Action::Script { line, old } => {
                    let rest = text.as_bytes().get(*old..).unwrap_or_default();
                    Action::Text([line.as_slice(), rest].concat())
                }
                _ => Action::Text(text.clone().into_bytes()),
            };
        }
        text
    }

    /// The text with the programs where they are in the extension.
    fn follow(&mut self, placed: &Placed, text: String, is_unit: bool) -> String {
        let mut edits = Vec::new();
        let programs = if is_unit { units::programs(&text) } else { units::named(&text) };
        for exec in programs {
            match self.program_place(&exec.program).filter(|p| exec.starts || self.is_program(p)) {
                Some(place) if place.to_absolute() == exec.program.as_bytes() => {}
                Some(place) => {
                    self.notes.insert(format!("{}: {} is {place} there", placed.target, exec.program));
                    edits.push((exec, place.to_string()));
                }
                // The lint reports programs that only the host can have.
                None => {}
            }
        }
        if edits.is_empty() {
            return text;
        }
        let text = units::replace(&text, &edits);
        if let Some(entry) = self.plan.entries.get_mut(&placed.target) {
            entry.action = Action::Text(text.clone().into_bytes());
        }
        text
    }

    /// Whether a text is read for paths that no longer hold: what the user names, and programs.
    fn is_looked_at(&self, placed: &Placed) -> Result<bool, PlanError> {
        let Some(node) = self.tree.get(&placed.source) else { return Ok(false) };
        let Some(content) = node.content() else { return Ok(false) };
        let head =
            content.head(2).map_err(|source| PlanError::Content { path: placed.source.clone(), source })?;
        let is_script = node.meta.mode & 0o111 != 0 && head == b"#!";
        Ok(is_script || (placed.named && node.meta.mode & 0o111 == 0))
    }

    /// Names in the image of programs that the extension has elsewhere, with their places.
    pub(super) fn moved_programs(&self) -> BTreeMap<String, TreePath> {
        let mut out = BTreeMap::new();
        for (target, entry) in &self.plan.entries {
            let Some(source) = entry.source.as_ref().filter(|s| *s != target) else { continue };
            if target.starts_with(&self.request.sysroot) || !self.is_program(target) {
                continue;
            }
            let mut names = vec![source.clone()];
            // /sbin is a symlink to usr/sbin in the image, and on hosts.
            let short = source.to_absolute().strip_prefix(b"/usr").and_then(|p| TreePath::new(p).ok());
            let same =
                |p: &TreePath| self.tree.resolve(p.to_absolute(), false).is_ok_and(|r| r.path == *source);
            names.extend(short.filter(same));
            for name in names {
                if !self.plan.entries.contains_key(&name) {
                    out.insert(name.to_string(), target.clone());
                }
            }
        }
        out
    }

    /// Whether a program is put there.
    fn is_program(&self, place: &TreePath) -> bool {
        let source = self.plan.entries.get(place).and_then(|e| e.source.as_ref());
        let real = source.and_then(|s| self.tree.resolve(s.to_absolute(), true).ok());
        let node = real.and_then(|r| self.tree.get(&r.path));
        node.is_some_and(|n| n.is_file() && n.meta.mode & 0o111 != 0)
    }

    /// Where a program that a text names is in the extension.
    fn program_place(&self, program: &str) -> Option<TreePath> {
        let asked = TreePath::new(program).ok()?;
        let runs = |p: &TreePath| {
            self.plan.entries.get(p).is_some_and(|e| !matches!(e.action, Action::Directory(_)))
        };
        if runs(&asked) {
            return Some(asked);
        }
        let link = self.tree.resolve(program, false).ok()?.path;
        let home = sysext::request::home(&link, self.request.keep_sbin).filter(|h| runs(h));
        home.or_else(|| {
            let real = self.tree.resolve(program, true).ok()?.path;
            self.plan.places.get(&real).cloned()
        })
    }
}

/// Whether the first line names a shell.
fn is_shell_script(text: &str) -> bool {
    Shebang::parse(text.as_bytes()).is_some_and(|shebang| shebang.is_shell())
}

/// Files that a shell script reads as part of itself, by paths that are words.
fn sourced_by(text: &str) -> impl Iterator<Item = TreePath> {
    let of = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let path = match words.next() {
            Some("." | "source") => words.next()?,
            _ => return None,
        };
        TreePath::new(path.trim_matches(['"', '\'', ';'])).ok()
    };
    text.lines().filter_map(of)
}
