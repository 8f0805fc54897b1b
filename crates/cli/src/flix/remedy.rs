//! What adds the files that programs look for at run time.

use std::collections::{BTreeMap, BTreeSet};

use flix::plan::{Plan, Unbundled, UnbundledKind, Why};
use packages::base::is_base;
use packages::{Database, Package};
use sysext::request::allowed;
use tree::{Event, Events, TreePath};

use crate::args::PACKAGE;
use crate::package_selection::plain;

/// A folder of more packages than this is named itself.
const MOST_OWNERS: usize = 3;

/// Words for the command line that add what is likely to be missed.
#[derive(Debug, Default)]
struct Remedy {
    words: BTreeSet<String>,
    /// Whether something is left that no word adds.
    left: bool,
}

/// Programs that others name are missing if they are of the same package, or of one that it depends on.
pub(super) fn expect_programs(plan: &mut Plan, database: Option<&Database>) {
    let name = |path: &TreePath| Some(database?.owner(path)?.name.as_str());
    let closures: BTreeMap<&str, BTreeSet<String>> = plan
        .named
        .keys()
        .filter_map(name)
        .filter_map(|name| Some((name, brought(database?, name)?)))
        .collect();
    plan.expect_programs(|program, by| {
        database?;
        let belongs =
            name(program).zip(name(by)).and_then(|(owner, by)| Some(closures.get(by)?.contains(owner)));
        Some(belongs == Some(true))
    });
}

/// Modules of packages on which the selected ones don't depend are nothing that an interpreter of theirs has to find, unless
/// it was asked for by itself.
pub(super) fn expect_modules(plan: &mut Plan, database: Option<&Database>) {
    let Some(database) = database else { return };
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut asked: BTreeSet<&TreePath> = BTreeSet::new();
    for entry in plan.entries.values() {
        for why in &entry.why {
            match why {
                Why::Asked(_) => asked.extend(&entry.source),
                Why::Selected(text) => names.extend(text.strip_prefix(PACKAGE)),
                _ => {}
            }
        }
    }
    if names.is_empty() {
        return;
    }
    let brought: BTreeSet<String> =
        names.into_iter().filter_map(|name| brought(database, plain(name))).flatten().collect();
    for unbundled in &mut plan.unbundled {
        if unbundled.is_likely && unbundled.kind.is_modules() && !asked.contains(&unbundled.by) {
            let is_anothers = |path: &TreePath| {
                let owners = owners(database, path);
                !owners.is_empty() && owners.is_disjoint(&brought)
            };
            unbundled.is_likely = !unbundled.paths.iter().all(is_anothers);
        }
    }
}

/// Says what adds the files that a plan lacks.
pub(super) fn hint(plan: &Plan, database: Option<&Database>, events: &dyn Events) {
    let remedy = Remedy::new(plan, database);
    if !remedy.words.is_empty() {
        let words: Vec<&str> = remedy.words.iter().map(String::as_str).collect();
        let text = format!(
            "to include what these programs look for, add to the PATHs: {}; or use flatwrap, which runs programs in the \
             whole image",
            words.join(" ")
        );
        events.event(Event::Hint(text.into()));
    } else if remedy.left {
        events.event(Event::Hint("flatwrap runs programs in the whole image, with its /etc".into()));
    }
}

impl Remedy {
    fn new(plan: &Plan, database: Option<&Database>) -> Remedy {
        let mut out = Remedy::default();
        let known = |name: &str| {
            let text = format!("{PACKAGE}{name}");
            plan.entries.values().flat_map(|e| &e.why).any(|w| matches!(w, Why::Selected(t) if *t == text))
        };
        let programs = database.map(|d| packages_of_programs(plan, d)).unwrap_or_default();
        for Unbundled { kind, paths, .. } in plan.unbundled.iter().filter(|u| u.is_likely) {
            for path in paths {
                let mut owners = database.map(|d| owners(d, path)).unwrap_or_default();
                if *kind == UnbundledKind::Configuration {
                    // The host's own packages have their files there.
                    owners.retain(|name| database.and_then(|d| d.package(name)).is_none_or(|p| !is_base(p)));
                }
                let brings =
                    |(_, closure): &&(String, BTreeSet<String>)| owners.iter().any(|o| closure.contains(o));
                let mut names: BTreeSet<String> = match programs.iter().find(brings) {
                    Some((name, closure)) if !known(name) => {
                        // Of a standard library the program's own package may have the smallest part.
                        let rest: BTreeSet<String> = owners.difference(closure).cloned().collect();
                        let whole = matches!(kind, UnbundledKind::Family(_)) && rest.len() <= MOST_OWNERS;
                        let mut names = if whole { rest } else { BTreeSet::new() };
                        names.insert(name.clone());
                        names
                    }
                    _ if owners.len() <= MOST_OWNERS => owners,
                    _ => BTreeSet::new(),
                };
                names.retain(|name| !known(name));
                match names.is_empty() {
                    false => out.words.extend(names.iter().map(|name| format!("{PACKAGE}{name}"))),
                    true if allowed(path) => _ = out.words.insert(path.to_string()),
                    true => out.left = true,
                }
            }
        }
        out
    }
}

/// The packages of the programs that were asked for, each with the names of all that it brings.
fn packages_of_programs(plan: &Plan, database: &Database) -> Vec<(String, BTreeSet<String>)> {
    let asked = plan.entries.values().filter(|e| e.why.iter().any(|w| matches!(w, Why::Asked(_))));
    let names: BTreeSet<&str> =
        asked.filter_map(|e| Some(database.owner(e.source.as_ref()?)?.name.as_str())).collect();
    names.into_iter().filter_map(|name| Some((name.to_owned(), brought(database, name)?))).collect()
}

/// The names of the packages that `package:NAME` brings.
fn brought(database: &Database, name: &str) -> Option<BTreeSet<String>> {
    let closure = database.closure(&[name]).ok()?;
    Some(closure.named.iter().chain(&closure.depends).map(|p| p.name.clone()).collect())
}

/// The packages of a file, or of what is below a folder.
fn owners(database: &Database, path: &TreePath) -> BTreeSet<String> {
    let below = |package: &&Package| {
        let from = package.files.partition_point(|file| file < path);
        package.files.get(from).is_some_and(|file| file.starts_with(path))
    };
    let mut out: BTreeSet<String> = database.packages().filter(below).map(|p| p.name.clone()).collect();
    if out.is_empty() {
        out.extend(database.owner(path).map(|p| p.name.clone()));
    }
    out
}
