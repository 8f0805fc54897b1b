//! Lines of sysusers.d that systemd-sysusers ignores. sysusers.d(5).

use super::{SYSUSERS_SYNTAX, malformed};
use crate::extension::Finding;
use tree::{ContentError, StaticPath, Tree};

const SYSUSERS: StaticPath = StaticPath::new("/usr/lib/sysusers.d");

/// Finds malformed lines. What specifiers (`%`) make of a line is known on the host only.
pub(super) fn check(tree: &Tree, out: &mut Vec<Finding>) -> Result<(), ContentError> {
    malformed(tree, SYSUSERS, &SYSUSERS_SYNTAX, problem, out)
}

/// What is wrong with a line.
fn problem(columns: &[String]) -> Option<String> {
    if columns.iter().any(|column| column.contains('%')) {
        return None;
    }
    let column = |i: usize| columns.get(i).map(String::as_str).filter(|c| *c != "-");
    let (kind, name) = (column(0)?, column(1));
    let bad_name = |name: Option<&str>| match name {
        None => Some("a name is missing".to_owned()),
        Some(name) if !is_name(name) => Some(format!("{name:?} is no name of a user or group")),
        Some(_) => None,
    };
    let extra = |most: usize| {
        let is_extra = columns.iter().skip(most).any(|c| c != "-");
        is_extra.then(|| format!("has more than {most} columns: quote what has spaces"))
    };
    match kind {
        "u" | "u!" => bad_name(name)
            .or_else(|| {
                column(2)
                    .filter(|id| !is_id(id))
                    .map(|id| format!("{id:?} is no number, path or NUMBER:GROUP"))
            })
            .or_else(|| bad_path(column(4), "home directory"))
            .or_else(|| bad_path(column(5), "shell"))
            .or_else(|| extra(6)),
        "g" => bad_name(name)
            .or_else(|| {
                let bad = column(2).filter(|id| id.parse::<u32>().is_err() && !id.starts_with('/'));
                bad.map(|id| format!("{id:?} is no number or path"))
            })
            .or_else(|| extra(3)),
        "m" => bad_name(name).or_else(|| bad_name(column(2))).or_else(|| extra(3)),
        "r" => match (name, column(2)) {
            (None, Some(range)) if is_range(range) => extra(3),
            _ => Some("expected \"r - FROM-TO\"".to_owned()),
        },
        other => Some(format!("type {other:?} is unknown, expected u, u!, g, m, or r")),
    }
}

fn bad_path(path: Option<&str>, what: &str) -> Option<String> {
    path.filter(|p| !p.starts_with('/')).map(|p| format!("{what} {p:?} is no absolute path"))
}

/// systemd's rules for names that it makes, without the strictest.
fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    first && name.len() < 32 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

/// `NUMBER`, `/path`, `NUMBER:NUMBER`, `NUMBER:GROUP` or `-:GROUP`.
fn is_id(text: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().is_ok_and(|n| n != u32::MAX && n != 65_535);
    match text.split_once(':') {
        Some((user, group)) => (user == "-" || number(user)) && (number(group) || is_name(group)),
        None => number(text) || text.starts_with('/'),
    }
}

/// `NUMBER` or `FROM-TO`.
fn is_range(text: &str) -> bool {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    matches!((from.parse::<u32>(), to.parse::<u32>()), (Ok(from), Ok(to)) if from <= to)
}
