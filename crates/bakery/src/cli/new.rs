//! `bakery new`

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use cli::print;
use sysext::ExtensionName;
use tree::output::OutputFile;

/// A recipe to start from. `NAME` is the extension's.
const TEMPLATE: &str = include_str!("new.toml");

/// Create NAME/recipe.toml with examples of what most recipes need.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Name of the extension
    name: ExtensionName,

    /// Directory in which to create the recipe
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let dir = args.dir.join(args.name.as_str());
    let path = dir.join("recipe.toml");
    if path.symlink_metadata().is_ok() {
        bail!("{path:?} exists");
    }
    let units = dir.join("files/usr/lib/systemd/system");
    std::fs::create_dir_all(&units).with_context(|| format!("{units:?}"))?;
    let output = OutputFile::create(&path)?;
    output.file().write_all(text(&args.name).as_bytes()).with_context(|| format!("{path:?}"))?;
    output.commit()?;
    let build = format!("bakery build --update --recipes {} {}", args.dir.display(), args.name);
    print(format!("{}\n{build}\n    builds it, once it says what upstream has\n", path.display()).as_bytes())
        .context("stdout")
}

fn text(name: &ExtensionName) -> String {
    TEMPLATE.replace("NAME", name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use recipes::recipe::{Files, Recipe, Settings};

    #[test]
    fn a_new_recipe_parses() {
        let name: ExtensionName = "thing".parse().unwrap();
        let recipe = Recipe::parse("thing", &text(&name), Files::default()).unwrap_or_else(|e| panic!("{e}"));
        let instance = recipe.at(&"1.2.3".parse().unwrap(), tree::Arch::Arm64, &Settings::default()).unwrap();
        let url = "https://github.com/example/thing/releases/download/v1.2.3/thing-1.2.3-linux-arm64.tar.gz";
        assert_eq!(instance.downloads[0].url, url);
        // What is commented out has to be right, too.
        let all: String =
            text(&name).lines().map(|l| format!("{}\n", l.strip_prefix("#! ").unwrap_or(l))).collect();
        Recipe::parse("thing", &all, Files::default()).unwrap_or_else(|e| panic!("{e}"));
    }
}
