//! Files that a merge on a running system doesn't apply.

use std::collections::BTreeSet;

use super::{LATE, finding};
use crate::extension::Finding;
use crate::extension::late::{Commands, LATE_FILES};
use tree::{ContentError, Tree};

/// What lacks nothing by them, or is held against the units' needs by rules of its own.
const ELSEWHERE: [&str; 1] = ["systemd-tmpfiles-setup.service"];

/// Finds what nothing in the extension applies; `restarted` are the units that a merge restarts.
pub(super) fn check(
    tree: &Tree,
    restarted: &BTreeSet<String>,
    out: &mut Vec<Finding>,
) -> Result<(), ContentError> {
    let needed = LATE_FILES.iter().filter(|files| files.is_needed && !ELSEWHERE.contains(&files.service));
    let found: Vec<_> = needed.filter_map(|files| Some((files, files.first(tree)?))).collect();
    if found.is_empty() {
        return Ok(());
    }
    let commands = Commands::of(tree)?;
    for (files, path) in found {
        if restarted.contains(files.service) || commands.run(files.commands) {
            continue;
        }
        let message = format!(
            "{}: {} reads them before a merge on a running system, and no unit of the extension applies them",
            files.what, files.service
        );
        out.push(finding(&LATE, Some(path.clone()), message));
    }
    Ok(())
}
