//! Scripts among the files of a request.

use std::collections::BTreeMap;

use tree::{Content, TreePath, list_some};

use super::host::is_program_dir;
use super::planner::{Placed, Planner, relative};
use super::{Action, Entry, PlanError, Why};
use crate::scripts::{HOST_ENV, Interpreter, LINE_LIMIT, Shebang, counts_bytes};

/// Whether a script is started as a program: by its name, or by others of its package.
fn is_program(place: &TreePath) -> bool {
    place.parent().is_some_and(|dir| dir.components().any(|c| matches!(c, b"bin" | b"sbin" | b"libexec")))
}

impl Planner<'_> {
    /// Includes the image's shell in the sysroot, for programs of selections that are scripts of one that hosts with busybox
    /// lack. Where the host's would be, it would replace that for everybody.
    pub(super) fn private_shells(&mut self) -> Result<(), PlanError> {
        if self.request.host_interpreters {
            return Ok(());
        }
        for placed in self.placed.clone() {
            let Some((_, shebang)) = self.shebang(&placed)? else { continue };
            let selected = |entry: &Entry| entry.why.iter().any(|w| matches!(w, Why::Selected(_)));
            let is_selected = self.plan.entries.get(&placed.target).is_some_and(selected);
            if !is_selected || !shebang.is_shell() || shebang.is_posix() || !is_program(&placed.target) {
                continue;
            }
            let found = self.interpreter_of(&shebang);
            let Some(real) = found.and_then(|f| self.tree.resolve(f.to_absolute(), true).ok()) else {
                continue;
            };
            if !self.plan.places.contains_key(&real.path) {
                let place = self.request.sysroot.join(real.path.as_relative())?;
                let why = Why::Default("shells of scripts".to_owned());
                self.bring(&real.path, &place, &why, (false, true))?;
            }
        }
        Ok(())
    }

    /// The first line of an executable script, and its content.
    fn shebang(&self, placed: &Placed) -> Result<Option<(&Content, Shebang)>, PlanError> {
        let Some(node) = self.tree.get(&placed.source) else { return Ok(None) };
        let Some(content) = node.content().filter(|_| node.meta.mode & 0o111 != 0) else { return Ok(None) };
        let head = content
            .head(LINE_LIMIT)
            .map_err(|source| PlanError::Content { path: placed.source.clone(), source })?;
        Ok(Shebang::parse(&head).map(|shebang| (content, shebang)))
    }

    /// Points the first lines of scripts at interpreters that are included.
    pub(super) fn scripts(&mut self) -> Result<(), PlanError> {
        // Names of those below folders, by interpreter: one warning each.
        let mut left: BTreeMap<String, Vec<TreePath>> = BTreeMap::new();
        // The same of programs for a shell that hosts with busybox lack.
        let mut shells: BTreeMap<String, Vec<TreePath>> = BTreeMap::new();
        for placed in self.placed.clone() {
            let Some((content, shebang)) = self.shebang(&placed)? else { continue };
            let content = content.clone();
            let found = self.interpreter_of(&shebang);
            let place = match &found {
                Some(found) => self.interpreter_place(found, &shebang)?,
                None => None,
            };
            match place {
                Some(place) => self.point(&placed, &content, &shebang, &place)?,
                None if self.request.host_interpreters => {}
                // What a package or a trace leaves out is the host's, for a script that is named besides, too.
                None if shebang.is_shell() && !(placed.named && self.request.selections.is_empty()) => {
                    if !shebang.is_posix() && is_program(&placed.target) {
                        shells.entry(shebang.name()).or_default().push(placed.target);
                    }
                }
                None if self.is_module(&placed) => {}
                None if placed.named => {
                    return Err(PlanError::Interpreter {
                        path: placed.source,
                        interpreter: shebang.name(),
                        found,
                    });
                }
                None => left.entry(shebang.name()).or_default().push(placed.target),
            }
        }
        let text = |interpreter: String, scripts: Vec<TreePath>| {
            format!(
                "{}: script needs {interpreter} of the host, which is not part of the extension",
                list_some(scripts, 1)
            )
        };
        self.warnings.extend(left.into_iter().map(|(interpreter, scripts)| text(interpreter, scripts)));
        self.warnings.extend(shells.into_iter().map(|(interpreter, scripts)| text(interpreter, scripts)));
        Ok(())
    }

    /// A module of a selection, that is executable by mistake.
    fn is_module(&self, placed: &Placed) -> bool {
        const ENDS: [&[u8]; 7] = [b".py", b".pl", b".pm", b".rb", b".tcl", b".lua", b".js"];
        let selected = |w: &Why| matches!(w, Why::Selected(_));
        let name = placed.target.file_name().unwrap_or_default();
        !is_program_dir(&placed.target)
            && ENDS.iter().any(|end| name.ends_with(end))
            && self.plan.entries.get(&placed.target).is_some_and(|e| e.why.iter().all(selected))
    }

    /// The interpreter's path in the image, the last symlink not followed.
    fn interpreter_of(&self, shebang: &Shebang) -> Option<TreePath> {
        let at = |path: Vec<u8>| {
            self.tree.resolve(&path, true).ok()?;
            self.tree.resolve(&path, false).ok().map(|r| r.path)
        };
        match &shebang.interpreter {
            Interpreter::Path(path) => at(path.clone()),
            Interpreter::Env(name, _) => {
                const PATH: [&str; 6] =
                    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
                PATH.iter().find_map(|dir| at([dir.as_bytes(), b"/", name.as_slice()].concat()))
            }
            Interpreter::EnvOther => None,
        }
    }

    /// The interpreter's path in the extension.
    fn interpreter_place(
        &mut self,
        found: &TreePath,
        shebang: &Shebang,
    ) -> Result<Option<TreePath>, PlanError> {
        let Ok(real) = self.tree.resolve(found.to_absolute(), true) else { return Ok(None) };
        let Some(place) = self.plan.places.get(&real.path).cloned() else { return Ok(None) };
        if real.path == *found || place.file_name() == found.file_name() {
            return Ok(Some(place));
        }
        // A program of many names (busybox) goes by the name that it is started with.
        let named = |p: &&TreePath| p.file_name() == found.file_name() && self.is_link_to(p, &place);
        if let Some(link) = self.plan.entries.keys().find(named) {
            return Ok(Some(link.clone()));
        }
        let link = self.request.sysroot.join(found.as_relative())?;
        let why = Why::Asked(format!("#!{}", shebang.name()));
        self.put(link.clone(), Some(found.clone()), Action::Symlink(relative(&link, &place)), why, 0)?;
        Ok(Some(link))
    }

    fn is_link_to(&self, path: &TreePath, place: &TreePath) -> bool {
        match self.plan.entries.get(path).map(|e| &e.action) {
            Some(Action::Symlink(target)) => *target == relative(path, place),
            _ => false,
        }
    }

    fn point(
        &mut self,
        placed: &Placed,
        content: &Content,
        shebang: &Shebang,
        place: &TreePath,
    ) -> Result<(), PlanError> {
        let new = place.to_absolute();
        if matches!(&shebang.interpreter, Interpreter::Path(old) if *old == new) {
            return Ok(());
        }
        let mut line = match shebang.with_interpreter(&new) {
            Ok(line) => line,
            Err(why) => {
                let interpreter = format!("{place} ({why})");
                let error = PlanError::Interpreter { path: placed.source.clone(), interpreter, found: None };
                if placed.named {
                    return Err(error);
                }
                self.warnings.insert(format!("{error}; it is included unchanged"));
                return Ok(());
            }
        };
        if shebang.needs_env() {
            let target = &placed.target;
            self.notes.insert(format!("{target}: the host's {HOST_ENV} -S splits its first line into words"));
        }
        if line.len() <= shebang.len {
            // Of the same length, whatever is found by its place in the file stays there. The kernel drops blanks at the
            // end. fs/binfmt_script.c.
            line.resize(shebang.len, b' ');
        } else {
            let error = |source| PlanError::Content { path: placed.source.clone(), source };
            if let Some(what) = counts_bytes(content).map_err(error)? {
                self.warnings.insert(format!(
                    "{}: script {what}, which would move; it keeps {} of the host",
                    placed.target,
                    shebang.name()
                ));
                return Ok(());
            }
        }
        if let Some(entry) = self.plan.entries.get_mut(&placed.target) {
            entry.action = Action::Script { line, old: shebang.len };
        }
        Ok(())
    }
}
