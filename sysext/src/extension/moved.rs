//! Programs that an extension has elsewhere than the image, and texts that name them.

use std::collections::{BTreeMap, BTreeSet};

use super::unit_programs::{Exec, named, replace};
use tree::TreePath;

/// What an extension has elsewhere, by the absolute path in the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Programs.
    pub programs: BTreeMap<String, TreePath>,
    /// Directories of programs of which nothing stayed where it was.
    pub dirs: BTreeMap<String, TreePath>,
}

impl Moved {
    /// A text with the new paths, and the old paths that it named, where these are words. A directory has to be the whole
    /// value: in a list of what is searched it stays. Comments are left alone.
    pub fn follow(&self, text: &str) -> (String, BTreeSet<String>) {
        let mut edits: Vec<(Exec, String)> = Vec::new();
        for exec in named(text) {
            let dir = || {
                let name = exec.program.trim_end_matches('/');
                self.dirs.get(name).filter(|new| is_value(text, &exec) && !lists(text, &exec, new))
            };
            if let Some(new) = self.programs.get(&exec.program).or_else(dir) {
                let new = new.to_string();
                edits.push((exec, new));
            }
        }
        let text = replace(text, &edits);
        (text, edits.into_iter().map(|(exec, _)| exec.program).collect())
    }
}

/// Whether a path stands alone, but for quotes and what ends a setting.
fn is_value(text: &str, exec: &Exec) -> bool {
    let before = text[..exec.at].chars().next_back();
    let after = text[exec.at + exec.program.len()..].chars().next();
    before.is_none_or(|c| c.is_whitespace() || "='\"".contains(c))
        && after.is_none_or(|c| c.is_whitespace() || ";'\"".contains(c))
}

/// Whether the line names the new place, too.
fn lists(text: &str, exec: &Exec, new: &TreePath) -> bool {
    let start = text[..exec.at].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    named(line).iter().any(|other| other.program.as_bytes() == new.to_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_the_new_places() {
        let pairs = |old: &str, new: &str| BTreeMap::from([(old.to_owned(), new.parse().unwrap())]);
        let moved =
            Moved { programs: pairs("/usr/sbin/x", "/usr/bin/x"), dirs: pairs("/usr/sbin", "/usr/bin") };
        for (text, expected) in [
            ("run /usr/sbin/x -a\n", "run /usr/bin/x -a\n"),
            ("a = \"/usr/sbin/x\";", "a = \"/usr/bin/x\";"),
            ("command_directory = /usr/sbin\nb", "command_directory = /usr/bin\nb"),
            ("dir \"/usr/sbin/\";\n", "dir \"/usr/bin\";\n"),
            // Something else, a comment, and what is searched.
            ("/usr/sbin/y /usr/sbin/x.conf\n", ""),
            ("# /usr/sbin/x\n", ""),
            ("PATH=/usr/sbin:/usr/bin\n", ""),
            ("search /usr/sbin /usr/bin\n", ""),
            ("$ROOT/usr/sbin\n", ""),
        ] {
            let (got, named) = moved.follow(text);
            assert_eq!(got, if expected.is_empty() { text } else { expected }, "{text}");
            assert_eq!(named.is_empty(), expected.is_empty(), "{text}");
        }
    }
}
