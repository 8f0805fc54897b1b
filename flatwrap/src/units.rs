//! Units that come along: their programs' new places, and what in them won't work with entry points.

use sysext::extension::unit_programs::{UNIT_LIMIT, programs, replace};
use sysext::extension::units::{Directive, parse};
use sysext::request::home;
use sysext::{Tree, TreePath};

use crate::plan::{Plan, PlanError, Shown};

impl Plan {
    /// Reads the units, points them at the entry points, and warns of what else they need.
    pub(crate) fn follow_units(&mut self, image: &Tree) -> Result<(), PlanError> {
        let units: Vec<(TreePath, TreePath)> = self
            .shown
            .iter()
            .filter(|(_, shown)| matches!(shown, Shown::Unit(_)))
            .map(|(target, shown)| (target.clone(), shown.path().clone()))
            .collect();
        for (target, source) in units {
            let content = image
                .get(&source)
                .and_then(sysext::Node::content)
                .ok_or_else(|| PlanError::Special(source.clone()))?;
            let bytes = content
                .read(UNIT_LIMIT)
                .map_err(|e| PlanError::Content { path: source.clone(), source: e })?;
            let text = match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(e) => {
                    self.warnings.push(format!("{target}: unit is not UTF-8, left as it is"));
                    self.units.insert(target, e.into_bytes());
                    continue;
                }
            };
            let mut edits = Vec::new();
            for exec in programs(&text) {
                match self.place_of(image, &exec.program, exec.starts) {
                    Some(place) if place.to_absolute() == exec.program.as_bytes() => {}
                    Some(place) => {
                        self.notes.push(format!("{target}: {} is {place} there", exec.program));
                        edits.push((exec, place.to_string()));
                    }
                    // Extension's lint tells of programs that nobody has.
                    None => {}
                }
            }
            for warning in self.check_unit(&parse(text.as_bytes())) {
                self.warnings.push(format!("{target}: {warning}"));
            }
            self.units.insert(target, replace(&text, &edits).into_bytes());
        }
        Ok(())
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
                let here = image.resolve(shown.path().to_absolute(), true).ok()?.path;
                (here == real && counts(shown)).then(|| target.clone())
            };
            self.shown.iter().find_map(same)
        })
    }

    /// What systemd will look for on the host, and what would keep an entry point from its work.
    fn check_unit(&self, directives: &[Directive]) -> Vec<String> {
        let mut out = Vec::new();
        let value = |key: &str| {
            let last = directives.iter().rev().find(|d| d.section == "Service" && d.key == key)?;
            Some(String::from_utf8_lossy(&last.value).into_owned()).filter(|v| !v.is_empty())
        };
        let starts_entry_point = self.shown.values().any(|s| matches!(s, Shown::EntryPoint(_)));
        let yes = |v: &str| matches!(v.to_ascii_lowercase().as_str(), "1" | "yes" | "true" | "on");
        for key in ["User", "Group"] {
            let Some(name) = value(key) else { continue };
            let known = ["root", "0", "nobody"].contains(&name.as_str()) || name.contains('%');
            let dynamic = value("DynamicUser").is_some_and(|v| yes(&v));
            if !known && !dynamic && name.parse::<u32>().is_err() && !self.has_sysusers() {
                out.push(format!("{key}={name} has to exist on the host; the image's {key} is not enough"));
            }
        }
        for d in directives.iter().filter(|d| d.section == "Service" && d.key == "EnvironmentFile") {
            let file = String::from_utf8_lossy(&d.value);
            if file.starts_with("/usr/") && !TreePath::new(file.as_bytes()).is_ok_and(|p| self.covers(&p)) {
                out.push(format!("EnvironmentFile={file} is not among what shows on the host"));
            }
        }
        if !starts_entry_point {
            return out;
        }
        // Root's entry points mount. systemd.exec(5).
        let as_root = value("User").is_none_or(|u| u == "root" || u == "0");
        if let Some(set) = value("CapabilityBoundingSet").filter(|_| as_root) {
            let inverted = set.starts_with('~');
            let named = set.trim_start_matches('~').split_whitespace().any(|c| c == "CAP_SYS_ADMIN");
            if named == inverted {
                out.push(
                    "CapabilityBoundingSet= lacks CAP_SYS_ADMIN, without which there is no private root"
                        .into(),
                );
            }
        }
        let blocks = [("RestrictNamespaces", "mount namespaces"), ("PrivateUsers", "mounts of root's")];
        for (key, what) in blocks {
            if let Some(v) = value(key).filter(|v| yes(v)) {
                out.push(format!("{key}={v} forbids {what}, without which there is no private root"));
            }
        }
        for key in ["RootDirectory", "RootImage"] {
            if let Some(v) = value(key) {
                out.push(format!("{key}={v} is another root than the one in which the entry point is"));
            }
        }
        out
    }

    fn has_sysusers(&self) -> bool {
        self.shown.keys().any(|p| p.to_absolute().starts_with(b"/usr/lib/sysusers.d/"))
    }

    fn covers(&self, path: &TreePath) -> bool {
        self.shown.keys().any(|shown| path.starts_with(shown))
    }
}
