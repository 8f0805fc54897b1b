//! `bakery docs`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cli::print;
use tree::output::OutputFile;

use super::CatalogueArgs;
use crate::{
    catalogue_pages::{self, MARK, PAGES},
    sysupdate,
};

const EXAMPLES: &str = "\
Examples:
  bakery docs
      Write docs/catalogue.md and docs/catalogue/NAME.md.
  bakery docs --recipes mine --to site --base-url https://extensions.example.com/
      Include your own recipes and the URL where you publish the images.
  bakery docs --check
      Fail if a page is out of date.";

/// Generate the catalogue's table and a page for each extension from the recipes.
///
/// Generated pages of removed recipes are deleted. Other files stay.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Documentation directory, for catalogue.md and catalogue/
    #[arg(long, value_name = "DIR", default_value = "docs")]
    to: PathBuf,

    /// URL where the images are published, in a directory for each extension
    #[arg(long, value_name = "URL", default_value = catalogue_pages::BASE_URL, value_parser = sysupdate::base_url)]
    base_url: String,

    /// Check that the pages are up to date, without writing anything
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    catalogue: CatalogueArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let pages = catalogue_pages::all(&args.catalogue.catalogue()?.recipes()?, &args.base_url);
    let gone = gone(&args.to, &pages)?;
    let mut old = Vec::new();
    for (path, text) in &pages {
        let path = args.to.join(path);
        match fs::read(&path) {
            Ok(found) if found == text.as_bytes() => {}
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e).with_context(|| format!("{path:?}")),
            _ => old.push((path, text)),
        }
    }
    if args.check {
        let told = old.iter().map(|(path, _)| format!("{}: is not what the recipes say\n", path.display()));
        let told = told.chain(gone.iter().map(|path| format!("{}: has no recipe\n", path.display())));
        print(told.collect::<String>().as_bytes()).context("stdout")?;
        return match old.len() + gone.len() {
            0 => Ok(()),
            1 => bail!("1 page is out of date"),
            n => bail!("{n} pages are out of date"),
        };
    }
    let dir = args.to.join(PAGES);
    fs::create_dir_all(&dir).with_context(|| format!("{dir:?}"))?;
    for (path, text) in &old {
        let output = OutputFile::create(path)?;
        output.file().write_all(text.as_bytes()).with_context(|| format!("{path:?}"))?;
        output.commit()?;
    }
    for path in &gone {
        fs::remove_file(path).with_context(|| format!("{path:?}"))?;
    }
    let told = old.iter().map(|(path, _)| format!("{}\n", path.display()));
    let told: String = told.chain(gone.iter().map(|path| format!("{}: removed\n", path.display()))).collect();
    let told =
        if told.is_empty() { format!("nothing to do: {} pages are up to date\n", pages.len()) } else { told };
    print(told.as_bytes()).context("stdout")
}

/// Pages that were made here, of recipes that there are no more.
fn gone(to: &Path, pages: &BTreeMap<String, String>) -> anyhow::Result<Vec<PathBuf>> {
    let dir = to.join(PAGES);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(|| format!("{dir:?}")),
    };
    let mut out = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("{dir:?}"))?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let ours = || fs::read_to_string(&path).is_ok_and(|text| text.contains(MARK));
        if name.ends_with(".md") && !pages.contains_key(&format!("{PAGES}{name}")) && ours() {
            out.push(path);
        }
    }
    out.sort();
    Ok(out)
}
