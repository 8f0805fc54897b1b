//! Units that are included, and other texts by which a host starts programs: the programs' new places, and what in units won't
//! work with entry points.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use sysext::extension::unit_programs::NOT_FOLLOWED;

use sysext::extension::unit_programs::{Exec, UNIT_LIMIT, is_unit, lines_with, named, programs, replace};
use sysext::extension::units::{Directive, parse};
use sysext::request::home;
use tree::{StaticPath, Tree, TreePath};

use crate::confinement::{self, CALLS, CAPABILITIES};
use crate::plan::{Plan, PlanError, Shown};
use crate::service_user::{Command, ServiceUser, Unchanged};

/// Units of the system's manager, not of a user's.
const SYSTEM_UNITS: StaticPath = StaticPath::new("/usr/lib/systemd/system");

/// Where programs and what they load are. What is elsewhere is the host's, or may be made later.
const CODE: [&str; 5] = ["/usr/", "/bin/", "/sbin/", "/lib/", "/opt/"];

/// What a unit has that entry points can't live with.
struct Checked {
    notes: Vec<String>,
    warnings: Vec<String>,
    /// What a drop-in can allow.
    forbidden: Vec<Forbidden>,
    /// Whether `--relax-units` helps against one of the warnings.
    is_relaxable: bool,
}

/// Commands of a unit that become its user.
#[derive(Debug, Default)]
struct Becoming {
    /// What takes the place of their programs, by its place in the text.
    commands: BTreeMap<usize, String>,
    /// What the journal calls the service, unless the unit does.
    identifier: Option<String>,
}

struct Forbidden {
    /// The setting, and what it takes away.
    what: String,
    /// The line that gives it back.
    allow: String,
}

/// Whether a command runs as root in spite of `User=`, and within the unit's limits: `ExecStart=!/x`. systemd.service(5).
fn is_privileged(directive: &Directive) -> bool {
    let prefix = directive.value.iter().take_while(|b| b"@-:+!|".contains(b));
    let (mut is_root, mut is_free) = (false, false);
    for b in prefix {
        is_root |= *b == b'!';
        is_free |= *b == b'+';
    }
    directive.section == "Service" && directive.key.starts_with("Exec") && is_root && !is_free
}

/// The numbers of the lines that a line and those that continue it have.
fn continued(text: &str, line: usize) -> impl Iterator<Item = usize> {
    let mut goes_on = true;
    let lines = text.lines().skip(line.saturating_sub(1)).take_while(move |text| {
        let before = goes_on;
        goes_on = text.ends_with('\\') || (goes_on && text.trim_start().starts_with(['#', ';']));
        before
    });
    let count = lines.count();
    line..line + count
}

impl Plan {
    /// Reads the units, points them at the entry points, and warns of what else they need.
    pub(crate) fn follow_units(&mut self, image: &Tree) -> Result<(), PlanError> {
        let units: Vec<(TreePath, TreePath)> = self
            .shown
            .iter()
            .filter(|(_, shown)| matches!(shown, Shown::Unit(_)))
            .map(|(target, shown)| (target.clone(), shown.path().clone()))
            .collect();
        let moved = self.moved_programs(image);
        for (target, source) in units {
            let is_unit = is_unit(&target);
            let content = image
                .get(&source)
                .and_then(tree::Node::content)
                .ok_or_else(|| PlanError::Special(source.clone()))?;
            let bytes = content
                .read(UNIT_LIMIT)
                .map_err(|e| PlanError::Content { path: source.clone(), source: e })?;
            let text = match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(e) => {
                    if is_unit {
                        self.warnings.push(format!("{target}: unit is not UTF-8, left as it is"));
                    }
                    self.units.insert(target, e.into_bytes());
                    continue;
                }
            };
            let execs = if is_unit { programs(&text) } else { named(&text) };
            let mut user = match is_unit {
                true => self.service_user(image, &target, &text),
                false => Err(Unchanged::NoUser),
            };
            let mut becoming = Becoming::default();
            if let Ok(found) = &user {
                match self.becoming(image, &text, &execs, found) {
                    Some(commands) => becoming = commands,
                    None => user = Err(Unchanged::Other),
                }
            }
            let mut edits = Vec::new();
            // Lines whose paths are those of the private root.
            let mut inside = BTreeSet::new();
            let mut is_inside = false;
            for exec in execs {
                if let Some(command) = becoming.commands.get(&exec.at) {
                    is_inside = true;
                    inside.extend(continued(&text, exec.line));
                    edits.push((exec, command.clone()));
                    continue;
                }
                is_inside &= !exec.starts && inside.contains(&exec.line);
                if is_inside {
                    continue;
                }
                match self.place_of(image, &exec.program, exec.starts) {
                    Some(place) if place.to_absolute() == exec.program.as_bytes() => {}
                    Some(place) => {
                        let note = format!("{target}: {} is {place} there", exec.program);
                        if !self.notes.contains(&note) {
                            self.notes.push(note);
                        }
                        edits.push((exec, place.to_string()));
                    }
                    // The lint of Extension reports programs that are missing.
                    None => {}
                }
            }
            if is_unit {
                let Checked { warnings, notes, forbidden, is_relaxable } =
                    self.check_unit(&parse(text.as_bytes()), &user);
                self.warnings.extend(warnings.into_iter().map(|w| format!("{target}: {w}")));
                self.notes.extend(notes.into_iter().map(|n| format!("{target}: {n}")));
                self.units_forbid |= is_relaxable;
                self.allow(&target, forbidden)?;
            }
            let mut text = replace(&text, &edits);
            if let Some(identifier) = &becoming.identifier {
                // The program's name, as without the script.
                let end = if text.ends_with('\n') { "" } else { "\n" };
                let _ = writeln!(text, "{end}[Service]\nSyslogIdentifier={identifier}");
            }
            if let Ok(user) = &user {
                self.becomes_users = true;
                self.notes.push(format!("{target}: its commands start as root and become {}", user.user));
            }
            let named = lines_with(&text, moved.keys().map(String::as_str));
            for (line, old) in named.into_iter().filter(|(line, _)| !inside.contains(line)) {
                self.warnings.push(format!(
                    "{target}: line {line} names {old}, {NOT_FOLLOWED}: it is {} there",
                    moved[old]
                ));
            }
            self.units.insert(target, text.into_bytes());
        }
        Ok(())
    }

    /// Who runs the commands of a unit, if they can start as root.
    fn service_user(&self, image: &Tree, unit: &TreePath, text: &str) -> Result<ServiceUser, Unchanged> {
        let is_service = unit.starts_with(&SYSTEM_UNITS.path()) && unit.to_absolute().ends_with(b".service");
        if !is_service {
            return Err(Unchanged::NoUser);
        }
        let mut directives = parse(text.as_bytes());
        let name = String::from_utf8_lossy(unit.file_name().unwrap_or_default()).into_owned();
        let dir = unit.parent().and_then(|dir| dir.join(format!("{name}.d")).ok());
        let is_drop_in = |target: &TreePath| dir.is_some() && target.parent() == dir;
        for (_, shown) in self.shown.iter().filter(|(target, _)| is_drop_in(target)) {
            let content = image.get(shown.path()).and_then(tree::Node::content);
            let bytes = content.and_then(|content| content.read(UNIT_LIMIT).ok()).unwrap_or_default();
            directives.extend(parse(&bytes));
        }
        ServiceUser::of(&directives, image, &self.options)
    }

    /// The commands of a unit that become its user: those that start an entry point, and those
    /// that start another program of the image which may start one, such as a shell. None if there are none, or not all of them can.
    fn becoming(&self, image: &Tree, text: &str, execs: &[Exec], user: &ServiceUser) -> Option<Becoming> {
        let entry_point =
            |exec: &Exec| match self.shown.get(&self.place_of(image, &exec.program, exec.starts)?)? {
                Shown::EntryPoint(program) => Some(program),
                _ => None,
            };
        let in_image = |program: &str| {
            let found = image.resolve(program, true).ok().map(|found| found.path);
            found.is_some_and(|path| image.contains(&path) && self.mounts.shows(&path))
        };
        let is_code = |path: &str| CODE.iter().any(|dir| path.starts_with(dir));
        let mut out = Becoming::default();
        let has_identifier = parse(text.as_bytes()).iter().any(|d| d.key == "SyslogIdentifier");
        for (i, exec) in execs.iter().enumerate().filter(|(_, exec)| exec.starts) {
            let arguments = execs[i + 1..].iter().take_while(|a| !a.starts && a.line == exec.line);
            let program = match entry_point(exec) {
                Some(program) => program.clone(),
                None if !arguments.clone().any(|argument| entry_point(argument).is_some()) => continue,
                None if in_image(&exec.program) => TreePath::new(&exec.program).ok()?,
                None => return None,
            };
            if !arguments.filter(|a| is_code(&a.program)).all(|argument| in_image(&argument.program)) {
                return None;
            }
            match user.command(text, exec, &program, &self.options) {
                Command::Becomes(command) => {
                    if exec.key == "ExecStart" && !has_identifier && out.identifier.is_none() {
                        let name = program.file_name().unwrap_or_default();
                        out.identifier = Some(String::from_utf8_lossy(name).into_owned());
                    }
                    out.commands.insert(exec.at, command);
                }
                Command::IsRoots => {}
                Command::Unknown => return None,
            }
        }
        (!out.commands.is_empty()).then_some(out)
    }

    /// Names in the image of programs that show elsewhere on the host, with their places.
    fn moved_programs(&self, image: &Tree) -> BTreeMap<String, TreePath> {
        let mut out = BTreeMap::new();
        for (target, shown) in &self.shown {
            let Shown::EntryPoint(program) = shown else { continue };
            // /sbin is a symlink to usr/sbin in the image, and on hosts.
            let short = program.to_absolute().strip_prefix(b"/usr").and_then(|p| TreePath::new(p).ok());
            let same = |p: &TreePath| image.resolve(p.to_absolute(), false).is_ok_and(|r| r.path == *program);
            let names = [Some(program.clone()), short.filter(same)].into_iter().flatten();
            for name in names.filter(|n| n != target && !self.shown.contains_key(n)) {
                let usr = [b"/usr".as_slice(), &name.to_absolute()].concat();
                if usr != target.to_absolute() {
                    out.insert(name.to_string(), target.clone());
                }
            }
        }
        out
    }

    /// Where a program that a unit names shows on the host.
    fn place_of(&self, image: &Tree, program: &str, starts: bool) -> Option<TreePath> {
        // A path that the unit only names counts if a program is there.
        let counts = |s: &Shown| starts || matches!(s, Shown::EntryPoint(_));
        let shows = |p: &TreePath| self.shown.get(p).is_some_and(counts);
        let asked = TreePath::new(program).ok()?;
        if shows(&asked) {
            return Some(asked);
        }
        let place = image.resolve(program, false).ok()?.path;
        let home = home(&place, self.options.keep_sbin).filter(shows);
        home.or_else(|| {
            let real = image.resolve(program, true).ok()?.path;
            let same = |(target, shown): (&TreePath, &Shown)| {
                // It has arguments that the unit doesn't know of.
                if matches!(shown, Shown::Command(_)) {
                    return None;
                }
                let here = image.resolve(shown.path().to_absolute(), true).ok()?.path;
                (here == real && counts(shown)).then(|| target.clone())
            };
            self.shown.iter().find_map(same)
        })
    }

    /// Warns of what a unit forbids, or allows it in a drop-in.
    fn allow(&mut self, unit: &TreePath, forbidden: Vec<Forbidden>) -> Result<(), PlanError> {
        if !self.options.relax_units {
            let warnings = forbidden.iter().map(|f| {
                format!("{unit}: {}, without which there is no private root: {} allows it", f.what, f.allow)
            });
            self.warnings.extend(warnings);
            self.units_forbid |= !forbidden.is_empty();
            return Ok(());
        }
        if forbidden.is_empty() {
            return Ok(());
        }
        let lines: Vec<&str> = forbidden.iter().map(|f| f.allow.as_str()).collect();
        self.notes.push(format!("{unit}: a drop-in sets {}", lines.join(" and ")));
        let name = String::from_utf8_lossy(unit.file_name().unwrap_or_default()).into_owned();
        let dir = unit.parent().unwrap_or_else(TreePath::root).join(format!("{name}.d"))?;
        let path = dir.join(format!("10-{}-private-root.conf", self.options.name))?;
        self.units.insert(path, format!("[Service]\n{}\n", lines.join("\n")).into_bytes());
        Ok(())
    }

    /// What systemd will look for on the host, and what would keep an entry point from its work.
    fn check_unit(&self, directives: &[Directive], user: &Result<ServiceUser, Unchanged>) -> Checked {
        let mut out = Vec::new();
        let mut forbidden = Vec::new();
        let mut is_relaxable = false;
        let value = |key: &str| {
            let last = directives.iter().rev().find(|d| d.section == "Service" && d.key == key)?;
            Some(String::from_utf8_lossy(&last.value).into_owned()).filter(|v| !v.is_empty())
        };
        let starts_entry_point =
            self.shown.values().any(|s| matches!(s, Shown::EntryPoint(_) | Shown::Command(_)));
        let yes = |v: &str| matches!(v.to_ascii_lowercase().as_str(), "1" | "yes" | "true" | "on");
        for d in directives.iter().filter(|d| d.section == "Service" && d.key == "EnvironmentFile") {
            let file = String::from_utf8_lossy(&d.value);
            if file.starts_with("/usr/") && !TreePath::new(file.as_bytes()).is_ok_and(|p| self.covers(&p)) {
                out.push(format!("EnvironmentFile={file} isn't part of the extension"));
            }
        }
        if !starts_entry_point {
            return Checked { warnings: out, notes: Vec::new(), forbidden, is_relaxable };
        }
        // Root's entry points mount. systemd.exec(5).
        let dynamic = value("DynamicUser").is_some_and(|v| yes(&v));
        let becomes_user = user.is_ok();
        let as_root = becomes_user || (!dynamic && value("User").is_none_or(|u| u == "root" || u == "0"));
        let mut forbid = |what: String, allow: String| forbidden.push(Forbidden { what, allow });
        let allows =
            |key: &str| user.as_ref().is_ok_and(|user| user.allow.iter().any(|line| line.starts_with(key)));
        let lacking = confinement::capabilities(directives, &CAPABILITIES);
        if !allows("CapabilityBoundingSet=")
            && !lacking.is_empty()
            && (as_root || directives.iter().any(is_privileged))
        {
            forbid(
                format!("CapabilityBoundingSet= lacks {}", lacking.join(" and ")),
                format!("CapabilityBoundingSet={}", lacking.join(" ")),
            );
        }
        let wanted: &[&str] = if as_root { &["mnt"] } else { &["mnt", "user"] };
        let lacking = confinement::namespaces(directives, wanted);
        if !lacking.is_empty() {
            forbid(
                format!("RestrictNamespaces= forbids {}", lacking.join(" and ")),
                format!("RestrictNamespaces={}", lacking.join(" ")),
            );
        }
        let lacking = confinement::system_calls(directives, &CALLS);
        if !allows("SystemCallFilter=") && !lacking.is_empty() {
            forbid(
                format!("SystemCallFilter= forbids {}", lacking.join(" and ")),
                "SystemCallFilter=@mount @process chroot".to_owned(),
            );
        }
        let lacking = confinement::programs(directives);
        if !lacking.is_empty() {
            forbid(
                format!("NoExecPaths= forbids programs in {}", lacking.join(" and ")),
                format!("ExecPaths={}", lacking.join(" ")),
            );
        }
        if let Ok(user) = user {
            let allow = |line: &&str| Forbidden { what: (*line).to_owned(), allow: (*line).to_owned() };
            forbidden.extend(user.allow.iter().map(allow));
        }
        if let Some(capabilities) = value("AmbientCapabilities").filter(|v| !as_root && !v.starts_with('~')) {
            out.push(format!(
                "AmbientCapabilities={capabilities} have no effect on the host in the private root of others than root"
            ));
            is_relaxable = *user == Err(Unchanged::Forbidden);
        }
        for key in ["RootDirectory", "RootImage"] {
            if let Some(v) = value(key) {
                out.push(format!("{key}={v} is another root than the one in which the entry point is"));
            }
        }
        // A user namespace has no number for them. user_namespaces(7).
        let alone = value("User").filter(|_| !as_root).map(|user| {
            format!(
                "{user} sees all other users as nobody in the private root, and can't tell who connects to its sockets"
            )
        });
        Checked { warnings: out, notes: alone.into_iter().collect(), forbidden, is_relaxable }
    }

    fn covers(&self, path: &TreePath) -> bool {
        self.shown.keys().any(|shown| path.starts_with(shown))
    }
}
