//! Programs and files that scripts use.

use std::collections::BTreeSet;

use tree::{Content, TreePath};

use super::super::PlanError;
use super::super::host::is_host_program;
use super::super::planner::Planner;
use super::{Bundled, Found, UnbundledKind, is_new, merged, optional, paths};
use crate::scripts::{Interpreter, Shebang};

/// Longer scripts carry data and aren't looked through. Bytes.
const LIMIT: u64 = 4 << 20;

/// Words after which another command follows.
const BEFORE: &[&[u8]] = &[
    b"!", b"command", b"do", b"elif", b"else", b"env", b"exec", b"if", b"nice", b"nohup", b"sudo", b"then",
    b"until", b"while", b"xargs",
];

impl Planner<'_> {
    /// Looks through a script: paths in its text and, in the shell's language, programs at the start of commands.
    pub(super) fn script(
        &self,
        path: &TreePath,
        content: &Content,
        bundled: &Bundled<'_>,
        found: &mut Found,
    ) -> Result<(), PlanError> {
        let error = |source| PlanError::Content { path: path.clone(), source };
        if content.len() > LIMIT || !content.head(2).map_err(error)?.starts_with(b"#!") {
            return Ok(());
        }
        let text = content.read(LIMIT).map_err(error)?;
        let Some(shebang) = Shebang::parse(&text) else { return Ok(()) };
        let program: &[u8] = match &shebang.interpreter {
            Interpreter::Path(path) => path.rsplit(|&b| b == b'/').next().unwrap_or_default(),
            Interpreter::Env(name, _) => name,
            Interpreter::EnvOther => b"",
        };
        let is_shell = matches!(program, b"sh" | b"bash" | b"dash" | b"ash" | b"ksh" | b"zsh");
        let (mut seen, mut run) = (BTreeSet::new(), BTreeSet::new());
        for line in text.split(|&b| b == b'\n').skip(1) {
            let line = line.trim_ascii();
            if line.starts_with(b"#") {
                continue;
            }
            for word in line.split(|b| b.is_ascii_whitespace() || b"\"'`;|&()<>{}=".contains(b)) {
                for candidate in paths::candidates(word) {
                    if is_new(candidate, &mut seen) {
                        bundled.look(candidate, true, found);
                    }
                }
            }
            if is_shell {
                for name in commands(line).filter(|name| is_new(name, &mut run)) {
                    self.command(name, bundled, found);
                }
            }
        }
        Ok(())
    }

    /// A program that a script runs by its name.
    fn command(&self, name: &[u8], bundled: &Bundled<'_>, found: &mut Found) {
        for dir in ["/usr/local/bin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"] {
            let path = [dir.as_bytes(), b"/", name].concat();
            let (Ok(link), Ok(real)) = (self.tree.resolve(&path, false), self.tree.resolve(&path, true))
            else {
                continue;
            };
            let node = self.tree.get(&real.path).filter(|n| n.is_file() && n.meta.mode & 0o111 != 0);
            let merged = merged(&link.path);
            if node.is_none() || is_host_program(&merged) {
                return;
            }
            let is_lacking = [&real.path, &link.path, &merged].iter().all(|path| bundled.lacks(path));
            if is_lacking && !optional::is_choice(&merged) {
                found.entry((UnbundledKind::Programs, false)).or_default().insert(merged);
            }
            return;
        }
    }
}

/// The first words of the commands of a line.
fn commands(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    // The parts between quotes are text, as far as one line tells.
    let plain = line.split(|b| b"'\"".contains(b)).step_by(2);
    let commands = plain.flat_map(|part| part.split(|b| b";|&(`{".contains(b)));
    commands.filter_map(|command| {
        let mut words = command.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
        words.find(|w| !BEFORE.contains(w) && !w.contains(&b'='))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_lines() {
        for (line, expected) in [
            ("git status | grep x && exec less", "git grep less"),
            ("if command -v gs; then A=1 convert; fi", "-v convert fi"),
            ("echo 'run git now' $(jq .)", "echo $ jq"),
        ] {
            let got: Vec<_> = commands(line.as_bytes()).map(String::from_utf8_lossy).collect();
            assert_eq!(got.join(" "), expected, "{line}");
        }
    }
}
