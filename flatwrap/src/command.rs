//! What an image runs by itself: the Entrypoint and Cmd of its config, as an entry point.

use tree::{Tree, TreePath};

/// What a config says of the process. image-spec, config.md.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// The first words.
    pub entrypoint: Vec<String>,
    /// The others, unless the caller has some.
    pub cmd: Vec<String>,
    /// Where programs without a slash are looked for: directories, separated by colons.
    pub path: String,
    /// Where it starts; empty for `/`.
    pub working_dir: String,
}

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// In the image.
    pub program: TreePath,
    /// Always the first.
    pub arguments: Vec<String>,
    /// Those behind if the caller gives none.
    pub defaults: Vec<String>,
}

/// Why a config's process is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum CommandError {
    #[error("image has neither an entrypoint nor a command")]
    None,
    /// The program isn't in the image, or no program.
    #[error("image runs {0:?}, and has no such program")]
    NoProgram(String),
    /// Nothing that a script could hold.
    #[error("image runs {0:?}, which has a NUL character")]
    Nul(String),
}

impl Process {
    /// The command: the entrypoint with the words of Cmd as defaults. Without an entrypoint, the first word of Cmd is the
    /// program.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn command(&self, image: &Tree) -> Result<Command, CommandError> {
        let (words, defaults): (&[String], &[String]) = match self.entrypoint.split_first() {
            Some(_) => (&self.entrypoint, &self.cmd),
            None => self.cmd.split_at(self.cmd.len().min(1)),
        };
        let (first, arguments) = words.split_first().ok_or(CommandError::None)?;
        if let Some(odd) = words.iter().chain(defaults).find(|w| w.contains('\0')) {
            return Err(CommandError::Nul(odd.clone()));
        }
        let program = self.find(image, first).ok_or_else(|| CommandError::NoProgram(first.clone()))?;
        Ok(Command { program, arguments: arguments.to_vec(), defaults: defaults.to_vec() })
    }

    fn find(&self, image: &Tree, word: &str) -> Option<TreePath> {
        let program = |path: String| {
            let real = image.resolve(&path, true).ok()?.path;
            let node = image.get(&real)?;
            (node.is_file() && node.meta.mode & 0o111 != 0).then_some(())?;
            // By its own name, which may tell it what to do; the directories resolved.
            image.resolve(&path, false).ok().map(|r| r.path)
        };
        let below = |dir: &str| format!("{}/{word}", dir.trim_end_matches('/'));
        if word.starts_with('/') {
            program(word.to_owned())
        } else if word.contains('/') {
            program(below(&self.working_dir))
        } else {
            self.path.split(':').filter(|dir| dir.starts_with('/')).find_map(|dir| program(below(dir)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Meta, Node};

    fn run(entrypoint: &[&str], cmd: &[&str], working_dir: &str) -> String {
        let mut image = Tree::default();
        for program in ["/usr/bin/nginx", "/start.sh", "/app/run", "/app/bin/it"] {
            image.insert_all(program.parse().unwrap(), Node::file(0o755, "x"), &Meta::dir()).unwrap();
        }
        image.insert_all("/usr/bin/data".parse().unwrap(), Node::file(0o644, "x"), &Meta::dir()).unwrap();
        image.insert_all("/bin".parse().unwrap(), Node::symlink("usr/bin"), &Meta::dir()).unwrap();
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        let process = Process {
            entrypoint: owned(entrypoint),
            cmd: owned(cmd),
            path: "relative:/usr/local/bin:/usr/bin".to_owned(),
            working_dir: working_dir.to_owned(),
        };
        match process.command(&image) {
            Ok(c) => format!("{} {:?} {:?}", c.program, c.arguments, c.defaults),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn commands_of_configs() {
        for (entrypoint, cmd, dir, expected) in [
            (&["/start.sh", "-x"][..], &["nginx", "-g"][..], "", r#"/start.sh ["-x"] ["nginx", "-g"]"#),
            (&[], &["nginx", "-g", "daemon off;"], "", r#"/usr/bin/nginx [] ["-g", "daemon off;"]"#),
            (&["/bin/nginx"], &[], "", "/usr/bin/nginx [] []"),
            (&["./run"], &[], "/app/", "/app/run [] []"),
            (&["bin/it"], &[], "/app", "/app/bin/it [] []"),
            (&[], &[], "/app", "image has neither an entrypoint nor a command"),
            (&["none"], &[], "", r#"image runs "none", and has no such program"#),
            (&["data"], &[], "", r#"image runs "data", and has no such program"#),
            (&["/start.sh", "\0"], &[], "", r#"image runs "\0", which has a NUL character"#),
        ] {
            assert_eq!(run(entrypoint, cmd, dir), expected);
        }
    }
}
