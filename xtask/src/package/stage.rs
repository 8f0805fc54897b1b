//! The files of all packages, as they lie below a root.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// Programs, manual pages and completions below a directory.
#[derive(Debug)]
pub(super) struct Stage {
    root: PathBuf,
    /// Without a leading slash.
    files: BTreeSet<String>,
}

impl Stage {
    /// Takes the programs, and asks them for their texts.
    pub(super) fn new(root: &Path, programs: &[(&str, PathBuf)]) -> Result<Stage> {
        let mut stage = Stage { root: root.to_owned(), files: BTreeSet::new() };
        for (name, built) in programs {
            let path = format!("usr/bin/{name}");
            let bytes = std::fs::read(built).with_context(|| format!("{built:?}"))?;
            stage.add(&path, &bytes, 0o755)?;
            let program = root.join(&path);
            command::run(
                Command::new("strip")
                    .args(["--strip-all", "--remove-section=.comment", "--remove-section=.note"])
                    .arg(&program),
            )?;
            let ask = |args: &[&str]| command::output(Command::new(&program).args(args));
            for (shell, path) in [
                ("bash", format!("usr/share/bash-completion/completions/{name}")),
                ("zsh", format!("usr/share/zsh/vendor-completions/_{name}")),
                ("fish", format!("usr/share/fish/vendor_completions.d/{name}.fish")),
            ] {
                stage.add(&path, ask(&["--completions", shell])?.as_bytes(), 0o644)?;
            }
            let page = ask(&["--man"])?;
            for command in commands(&page, name) {
                let page = ask(&[&format!("--man={command}")])?;
                stage.add_compressed(&format!("usr/share/man/man1/{name}-{command}.1"), page.as_bytes())?;
            }
            stage.add_compressed(&format!("usr/share/man/man1/{name}.1"), page.as_bytes())?;
        }
        Ok(stage)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    /// Adds a file, in directories that all may enter, whatever the umask.
    fn add(&mut self, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
        write(&self.root, path, bytes, mode)?;
        self.files.insert(path.to_owned());
        Ok(())
    }

    fn add_compressed(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        write_compressed(&self.root, path, bytes)?;
        self.files.insert(format!("{path}.gz"));
        Ok(())
    }
}

/// Writes a file below a root, in directories that all may enter, whatever the umask.
pub(super) fn write(root: &Path, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let mut dir = root.to_owned();
    let parents = Path::new(path).parent().into_iter().flat_map(Path::components);
    for part in std::iter::once(None).chain(parents.map(Some)) {
        dir.extend(part);
        std::fs::create_dir_all(&dir)
            .and_then(|()| chmod(&dir, 0o755))
            .with_context(|| format!("{dir:?}"))?;
    }
    let to = root.join(path);
    std::fs::write(&to, bytes).and_then(|()| chmod(&to, mode)).with_context(|| format!("{to:?}"))
}

/// The same with `.gz`, and neither name nor time in it.
pub(super) fn write_compressed(root: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    write(root, path, bytes, 0o644)?;
    command::run(Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(root.join(path)))
}

fn chmod(path: &Path, mode: u32) -> std::io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// The commands that a manual page lists, as `name-command(1)`. Hyphens are escaped in roff.
fn commands(page: &str, name: &str) -> Vec<String> {
    page.lines()
        .map(|line| line.replace("\\-", "-"))
        .filter_map(|line| Some(line.strip_prefix(&format!("{name}-"))?.strip_suffix("(1)")?.to_owned()))
        .filter(|command| command != "help")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_lists_its_commands() {
        let page = ".SH SUBCOMMANDS\n.TP\nbakery\\-bake\\-image(1)\nAdd\n.TP\nbakery\\-help(1)\nbakery(1)\n";
        assert_eq!(commands(page, "bakery"), ["bake-image"]);
        assert_eq!(commands(page, "flix"), [""; 0]);
    }
}
