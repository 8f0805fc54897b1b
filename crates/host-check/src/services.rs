//! What units of extensions do on the host: what starts, what that needs, and which of the host's units change.

use std::collections::BTreeSet;

use sysext::extension::units::{Directive, exec_lines};
use sysext::lint::{implied, missing_interpreter, release_file, shebang};
use tree::{ContentError, Node, StaticPath, Tree, TreePath, escape};

use crate::layer::Layer;
use crate::overlay::{Merged, Owner};
use crate::report::StartReport;
use crate::rules::{
    LATE_START, NO_RELOAD, UNIT_CHANGED, UNIT_HIDDEN, UNIT_KIND, UNIT_PROGRAM, UNIT_REQUIRES, UNIT_WANTS,
    clean,
};
use crate::units::{Pull, Units, directives, names};
use crate::{Finding, Host, Severity, cycles};

const UNITS: StaticPath = StaticPath::new("/usr/lib/systemd/system");
/// Where systemd looks for a program without a path. systemd.exec(5), `ExecSearchPath=`.
const PATH: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
/// What is made while the system runs: nobody knows what is there.
const STATE: [&str; 7] = ["/var/", "/run/", "/tmp/", "/home/", "/srv/", "/mnt/", "/root/"];

/// Findings, and what starts.
pub(crate) fn findings(
    host: &Host,
    hosts: &Units,
    merged: &Merged,
    now: &Units,
    layers: &[Layer<'_>],
) -> Result<(Vec<Finding>, Vec<StartReport>), ContentError> {
    let mut units = Check { host, merged, layers, hosts, now, out: Vec::new() };
    let of_extension = |path: &TreePath| matches!(merged.owner(path), Owner::Extension(_));
    let changed: Vec<String> = units.now.with(of_extension).into_iter().map(str::to_owned).collect();
    for name in &changed {
        units.unit(name);
    }
    units.drop_ins();
    units.hidden();
    let starts = units.starts()?;
    units.reload()?;
    units.out.extend(cycles::findings(units.now, merged, layers));
    Ok((units.out, starts))
}

struct Check<'a> {
    host: &'a Host,
    merged: &'a Merged,
    layers: &'a [Layer<'a>],
    hosts: &'a Units,
    now: &'a Units,
    out: Vec<Finding>,
}

impl Check<'_> {
    fn name(&self, path: &TreePath) -> Option<&str> {
        match self.merged.owner(path) {
            Owner::Host => None,
            Owner::Extension(i) => self.layers.get(i).map(|e| e.name.as_str()),
        }
    }

    /// A unit that an extension has, or changes.
    fn unit(&mut self, name: &str) {
        let of_extension = |path: &TreePath| matches!(self.merged.owner(path), Owner::Extension(_));
        let Some(path) = self.now.path(name, of_extension).cloned() else { return };
        let extension = self.name(&path).map(str::to_owned);
        let extension = extension.as_deref();
        let lines = self.now.directives(&self.merged.tree, name);
        for directive in lines.iter().filter(|d| d.section == "Unit") {
            if !matches!(directive.key.as_str(), "Requires" | "Requisite" | "BindsTo") {
                continue;
            }
            for wanted in names(directive).filter(|unit| !self.now.has(unit)) {
                let message = format!("{}={wanted}: there is no such unit, and {name} fails", directive.key);
                self.out.push(UNIT_REQUIRES.finding(extension, Some(&path), message));
            }
        }
        for wanted in triggers(name, &lines).into_iter().filter(|unit| !self.now.has(unit)) {
            let message = format!("is to start {wanted}: there is no such unit, and {name} fails");
            self.out.push(UNIT_REQUIRES.finding(extension, Some(&path), message));
        }
        let elsewhere = ["RootDirectory", "RootImage", "RootEphemeral", "ExecSearchPath"];
        if !lines.iter().any(|d| elsewhere.contains(&d.key.as_str())) {
            self.programs(&path, &lines, extension);
        }
    }

    fn programs(&mut self, path: &TreePath, lines: &[Directive], extension: Option<&str>) {
        for line in exec_lines(lines) {
            let program = &line.program;
            if program.iter().any(|b| b"%$".contains(b)) {
                continue;
            }
            let shown = escape(program);
            if STATE.iter().any(|dir| shown.starts_with(dir)) {
                continue;
            }
            let problem = match self.program(program) {
                Program::Runs => continue,
                Program::Missing => "isn't there".to_owned(),
                Program::NotExecutable => "isn't executable".to_owned(),
                Program::NoInterpreter(name) => format!("its interpreter {name} isn't there"),
            };
            let message = format!("{}={shown}: {problem}", line.key);
            let starts =
                matches!(line.key.as_str(), "ExecStart" | "ExecStartPre" | "ExecStartPost" | "ExecCondition");
            let severity = match (starts, line.optional) {
                (_, true) => Severity::Note,
                // What is in /etc may be made on the host.
                (true, false) if !shown.starts_with("/etc/") => Severity::Error,
                _ => Severity::Warning,
            };
            self.out.push(UNIT_PROGRAM.finding(extension, Some(path), message).with(severity));
        }
    }

    fn program(&self, program: &[u8]) -> Program {
        let tree = &self.merged.tree;
        let find = |path: &[u8]| tree.get(&tree.resolve(path, true).ok()?.path);
        let node = match program.starts_with(b"/") {
            true => find(program),
            false => PATH.iter().find_map(|dir| find(&[dir.as_bytes(), b"/", program].concat())),
        };
        let modes_known = self.host.notes.is_empty() && self.layers.iter().all(|e| e.notes.is_empty());
        match node {
            None => Program::Missing,
            Some(node) if node.is_dir() || (modes_known && node.meta.mode & 0o111 == 0) => {
                Program::NotExecutable
            }
            Some(node) => match no_interpreter(tree, node) {
                Some(name) => Program::NoInterpreter(name),
                None => Program::Runs,
            },
        }
    }

    /// Drop-ins of extensions for units that the host has, and for all units of a kind.
    fn drop_ins(&mut self) {
        let mut found = Vec::new();
        for (unit, paths) in &self.now.drop_ins {
            for path in paths {
                let Owner::Extension(_) = self.merged.owner(path) else { continue };
                let extension = self.name(path);
                if !unit.contains('.') || unit.ends_with('-') || unit.contains("-.") {
                    let message = format!("changes all units called {unit} that there are");
                    found.push(UNIT_KIND.finding(extension, Some(path), message));
                    continue;
                }
                // Units of the extension itself.
                if !self.hosts.has(unit) {
                    continue;
                }
                let all = directives(&self.merged.tree, path);
                let adds =
                    |d: &&Directive| matches!(d.key.as_str(), "Wants" | "Upholds" | "After" | "Description");
                let keys: BTreeSet<&str> = all.iter().filter(|d| !adds(d)).map(|d| d.key.as_str()).collect();
                if !keys.is_empty() {
                    let keys: Vec<&str> = keys.into_iter().collect();
                    let message = format!("changes the host's {unit}: {}", keys.join(", "));
                    found.push(UNIT_CHANGED.finding(extension, Some(path), message));
                }
            }
        }
        self.out.extend(found);
    }

    /// Units and drop-ins of extensions that a file in /etc takes the place of.
    fn hidden(&mut self) {
        let mut found = Vec::new();
        for (path, by) in &self.merged.owners {
            if path.parent().is_none_or(|dir| dir != UNITS.path()) {
                continue;
            }
            let Some(name) = path.file_name().map(escape) else { continue };
            let Some(other) = self.now.files.get(&name).filter(|other| *other != path) else { continue };
            let extension = self.layers.get(*by).map(|e| e.name.as_str());
            let message = format!("the host has a unit of this name in {other}, which counts");
            found.push(UNIT_HIDDEN.finding(extension, Some(path), message));
        }
        self.out.extend(found);
    }

    /// What is started by an extension's files.
    fn starts(&mut self) -> Result<Vec<StartReport>, ContentError> {
        let mut restarted = BTreeSet::new();
        for layer in self.layers {
            if let Some(file) = release_file::find(layer.tree, &layer.name)? {
                restarted.extend(file.release.restart_units);
                restarted.extend(file.release.reload_or_restart_units);
            }
        }
        let of_extension = |pull: &&Pull| matches!(self.merged.owner(&pull.path), Owner::Extension(_));
        let pulls: BTreeSet<&Pull> = self.now.pulls.iter().filter(of_extension).collect();
        let upheld = |unit: &str| pulls.iter().any(|p| p.unit == unit && p.how == "Upholds");
        let mut found = Vec::new();
        let mut out = Vec::new();
        for pull in &pulls {
            let Pull { by, how, unit, path } = pull;
            let extension = self.name(path);
            if !self.now.has(unit) {
                let message = format!("{by} {how} {unit}, which there isn't");
                let severity =
                    if how == "Wants" || how == "Upholds" { Severity::Warning } else { Severity::Error };
                found.push(UNIT_WANTS.finding(extension, Some(path), message).with(severity));
                continue;
            }
            // The jobs of a boot are made before the merge.
            let is_late = self.hosts.has(by) && how == "Wants" && !upheld(unit) && !restarted.contains(unit);
            if is_late && !self.hosts.has(unit) {
                let message = format!(
                    "{unit} isn't started by the boot that merges the extension: Upholds= would, Wants= doesn't"
                );
                found.push(LATE_START.finding(extension, Some(path), message));
            }
            out.push(StartReport {
                unit: clean(unit),
                by: clean(&format!("{how}= of {by}")),
                extension: extension.unwrap_or_default().to_owned(),
            });
        }
        self.out.extend(found);
        Ok(out)
    }

    /// Whether the manager sees the new units.
    fn reload(&mut self) -> Result<(), ContentError> {
        for (i, layer) in self.layers.iter().enumerate() {
            let own = |path: &TreePath| self.merged.owner(path) == Owner::Extension(i);
            if self.now.with(own).is_empty() {
                continue;
            }
            let asks = release_file::find(layer.tree, &layer.name)?.is_some_and(|f| {
                f.release.reload_manager
                    || !f.release.restart_units.is_empty()
                    || !f.release.reload_or_restart_units.is_empty()
            });
            let name = Some(layer.name.as_str());
            match (asks, self.host.systemd) {
                (true, None | Some(255..)) => {}
                (true, Some(old)) => {
                    let message = format!(
                        "systemd {old} doesn't know EXTENSION_RELOAD_MANAGER: its units are seen after `systemctl daemon-reload`"
                    );
                    self.out.push(NO_RELOAD.finding(name, None, message).with(Severity::Note));
                }
                (false, _) => {
                    let message = "without EXTENSION_RELOAD_MANAGER=1 its units are seen after `systemctl daemon-reload`";
                    self.out.push(NO_RELOAD.finding(name, None, message));
                }
            }
        }
        Ok(())
    }
}

enum Program {
    Runs,
    Missing,
    NotExecutable,
    /// A script for this one.
    NoInterpreter(String),
}

/// The interpreter of a script, if the tree lacks it. What can't be read is no script.
pub(crate) fn no_interpreter(tree: &Tree, node: &Node) -> Option<String> {
    let line = shebang(node).ok()??;
    missing_interpreter(tree, &line, &|_| false).map(|name| escape(&name))
}

/// The units that a timer, path or socket starts.
fn triggers(name: &str, lines: &[Directive]) -> Vec<String> {
    let is_named = |d: &&Directive| {
        matches!((d.section.as_str(), d.key.as_str()), ("Timer" | "Path", "Unit") | ("Socket", "Service"))
    };
    let named = lines.iter().filter(is_named).flat_map(names);
    implied(name, lines).into_iter().chain(named).collect()
}
