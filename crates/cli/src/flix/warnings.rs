//! What helps where a plan only warns.

use std::collections::BTreeSet;

use flix::plan::{Plan, Unbundled, UnbundledKind};
use sysext::extension::HostLibrary;
use sysext::request::allowed;
use tree::{Event, Events, TreePath, list_some};

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

/// Reports what programs look for at run time.
pub(super) fn unbundled(plan: &Plan, events: &dyn Events) {
    for unbundled in &plan.unbundled {
        let text = about(unbundled);
        match unbundled.is_likely {
            true => events.event(Event::Warning(text.into())),
            false => events.event(Event::Note(text.into())),
        }
    }
}

/// What one program looks for, in words.
pub(super) fn about(unbundled: &Unbundled) -> String {
    let Unbundled { by, kind, paths, .. } = unbundled;
    let list = list(paths);
    match kind {
        UnbundledKind::Data => format!("{by}: looks for {list} at run time, which the extension lacks"),
        UnbundledKind::Programs => format!("{by}: runs {list}, which the extension lacks"),
        UnbundledKind::Libraries => {
            format!("{by}: can load {list}, which is optional and included only with --dlopen all")
        }
        UnbundledKind::Configuration => {
            format!("{by}: reads {list}, which must exist on the host, since extensions can't include /etc")
        }
        UnbundledKind::Family(name) => format!("{by}: needs {name} ({list}), which the extension lacks"),
        UnbundledKind::Siblings => {
            format!("{by}: needs what is installed beside it ({list}), which the extension lacks")
        }
    }
}

/// The first three, and how many more there are.
fn list(paths: &BTreeSet<TreePath>) -> String {
    list_some(paths, 3)
}
