//! A plan as text, for `--dry-run` and for goldens.

use std::fmt;

use tree::TreePath;

use super::{Action, Plan};

impl fmt::Display for Plan {
    /// One line a path, two more for what an ELF file gets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (target, entry) in &self.entries {
            write!(f, "{target} {}", entry.action.verb())?;
            match &entry.action {
                Action::Symlink(to) => write!(f, " -> {}", to.escape_ascii())?,
                Action::Script { line, .. } => write!(f, " {}", line.escape_ascii())?,
                _ => {}
            }
            let inside = |s: &TreePath| self.sysroot.join(s.as_relative()).is_ok_and(|p| p == *target);
            if let Some(source) = entry.source.as_ref().filter(|s| *s != target && !inside(s))
                && !matches!(entry.action, Action::Symlink(_))
            {
                write!(f, " from {source}")?;
            }
            writeln!(f)?;
            if let Action::Relocate(r) = &entry.action {
                if let Some(interpreter) = &r.interpreter {
                    writeln!(f, "    interpreter {interpreter}")?;
                }
                let path: Vec<String> = r.rpath.iter().map(TreePath::to_string).collect();
                if !path.is_empty() {
                    writeln!(f, "    rpath {}", path.join(":"))?;
                }
                for (name, path) in &r.needed {
                    writeln!(f, "    needs {path} for {}", name.escape_ascii())?;
                }
                if !r.add_needed.is_empty() {
                    writeln!(f, "    also needs {}", r.add_needed.join(" "))?;
                }
            }
        }
        Ok(())
    }
}

impl Action {
    /// One word for it.
    pub fn verb(&self) -> &'static str {
        match self {
            Action::Directory(_) => "directory",
            Action::Copy => "copy",
            Action::Relocate(_) => "relocate",
            Action::Confine(_) => "confine",
            Action::Script { .. } => "script",
            Action::Symlink(_) => "symlink",
            Action::Text(_) => "text",
        }
    }
}
