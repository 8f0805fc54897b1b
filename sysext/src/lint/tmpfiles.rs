//! Lines of tmpfiles.d that systemd-tmpfiles ignores. tmpfiles.d(5).

use super::{TMPFILES_READ_ONLY, TMPFILES_SYNTAX, malformed};
use crate::extension::Finding;
use tree::{ContentError, StaticPath, Tree};

const TMPFILES: StaticPath = StaticPath::new("/usr/lib/tmpfiles.d");
/// The types of lines.
const KINDS: &[u8] = b"fwdDevqQpLcbCxXrRzZtThHaA";
/// What may follow the type, in any order.
const MODIFIERS: &[u8] = b"+!-=~^$?";

/// Finds malformed lines. What specifiers (`%`) make of a column is known on the host only.
pub(super) fn check(tree: &Tree, out: &mut Vec<Finding>) -> Result<(), ContentError> {
    malformed(tree, TMPFILES, &TMPFILES_SYNTAX, problem, out)?;
    let read_only = |columns: &[String]| read_only(tree, columns);
    malformed(tree, TMPFILES, &TMPFILES_READ_ONLY, read_only, out)
}

/// The types of lines that make something.
const MAKES: &[u8] = b"fwdDevqQpLcbC";

/// What a line would make where nothing can be made while the extension is merged.
fn read_only(tree: &Tree, columns: &[String]) -> Option<String> {
    let (kind, path) = (columns.first()?.bytes().next()?, columns.get(1)?);
    let top = ["/usr/", "/opt/"].into_iter().find(|top| path.starts_with(top))?;
    let is_merged = tree.resolve(top, true).is_ok();
    let is_there = tree.resolve(path, true).is_ok();
    let is_made = MAKES.contains(&kind) && is_merged && !is_there;
    is_made.then(|| {
        format!(
            "{path} can't be made: {} is read-only while the extension is merged",
            top.trim_end_matches('/')
        )
    })
}

/// What is wrong with a line.
fn problem(columns: &[String]) -> Option<String> {
    let column = |i: usize| columns.get(i).map(String::as_str).filter(|c| *c != "-" && !c.contains('%'));
    let kind = columns.first()?;
    let (first, modifiers) = kind.as_bytes().split_first()?;
    if !KINDS.contains(first) || modifiers.iter().any(|m| !MODIFIERS.contains(m)) {
        return Some(format!("type {kind:?} is unknown"));
    }
    match columns.get(1) {
        None => return Some("a path is missing".to_owned()),
        Some(path) if !path.starts_with(['/', '%']) => {
            return Some(format!("{path:?} is no absolute path"));
        }
        Some(_) => {}
    }
    if let Some(mode) = column(2).filter(|mode| !is_mode(mode)) {
        return Some(format!("{mode:?} is no mode: expected octal digits"));
    }
    let spaced = [column(3), column(4)].into_iter().flatten().find(|name| name.contains(' '));
    spaced.map(|name| format!("{name:?} is no name of a user or group"))
}

/// Octal, masked (`~`), or for new files only (`:`).
fn is_mode(text: &str) -> bool {
    let digits = text.trim_start_matches(['~', ':']);
    u32::from_str_radix(digits, 8).is_ok_and(|mode| mode <= 0o7777)
}
