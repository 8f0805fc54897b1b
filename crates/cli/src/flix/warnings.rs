//! What helps where a plan only warns.

use flix::plan::Plan;
use sysext::extension::HostLibrary;
use sysext::request::allowed;

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
