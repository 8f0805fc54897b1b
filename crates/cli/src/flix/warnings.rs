//! What helps where a plan only warns.

use std::collections::BTreeSet;

use flix::plan::{Plan, Unbundled, UnbundledKind};
use sysext::extension::HostLibrary;
use sysext::request::allowed;
use tree::{Event, Events, TreePath};

/// What helps where a plan only warns.
pub(super) fn warnings(plan: &Plan) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(path) = plan.opened.iter().find_map(|o| o.paths.first()) {
        out.push(match allowed(path) && HostLibrary::at(path).is_none() {
            true => {
                format!(
                    "libraries opened by path are included at that path if you add them to the PATHs: {path}"
                )
            }
            false => format!("no extension can have a library at {path}: flatwrap takes the whole image"),
        });
    }
    if let Some(dir) = plan.unseen.first() {
        out.push(format!("libraries that a program opens by name are included with --extra-lib {dir}"));
    }
    out
}

/// Reports what programs look for at run time, and what adds it.
pub(super) fn unbundled(plan: &Plan, events: &dyn Events) {
    for unbundled in &plan.unbundled {
        let text = about(unbundled);
        match unbundled.is_likely {
            true => events.event(Event::Warning(text.into())),
            false => events.event(Event::Note(text.into())),
        }
    }
    let likely = plan.unbundled.iter().filter(|u| u.is_likely);
    let (configuration, files): (Vec<&Unbundled>, Vec<&Unbundled>) =
        likely.partition(|u| u.kind == UnbundledKind::Configuration);
    let paths: BTreeSet<&TreePath> = files.iter().flat_map(|u| &u.paths).collect();
    let (allowed, others): (Vec<&TreePath>, Vec<&TreePath>) = paths.into_iter().partition(|p| allowed(p));
    if !allowed.is_empty() {
        let paths: Vec<String> = allowed.iter().map(|p| p.to_string()).collect();
        let text = format!(
            "add to the PATHs what these programs need: {}; or run them with flatwrap, which includes the whole image",
            paths.join(" ")
        );
        events.event(Event::Hint(text.into()));
    }
    if !others.is_empty() || !configuration.is_empty() {
        let text = "flatwrap includes the whole image, with its /etc";
        events.event(Event::Hint(text.into()));
    }
}

/// What one program looks for, in words.
pub(super) fn about(unbundled: &Unbundled) -> String {
    let Unbundled { by, kind, paths, .. } = unbundled;
    let list = list(paths);
    match kind {
        UnbundledKind::Data => format!("{by}: looks for {list} at run time, which the extension lacks"),
        UnbundledKind::Programs => format!("{by}: runs {list}, which the extension lacks"),
        UnbundledKind::Configuration => {
            format!("{by}: reads {list}, which the host has to have, since no extension includes /etc")
        }
        UnbundledKind::Family(name) => format!("{by}: needs {name} ({list}), which the extension lacks"),
        UnbundledKind::Siblings => {
            format!("{by}: needs what is installed beside it ({list}), which the extension lacks")
        }
    }
}

/// The first three, and how many more there are.
fn list(paths: &BTreeSet<TreePath>) -> String {
    let shown: Vec<String> = paths.iter().take(3).map(TreePath::to_string).collect();
    match paths.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
