//! Pages of the catalogue in Markdown, made from the recipes: a table of all, and a page for each.

mod page;
pub(crate) use page::page;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use recipes::format::{ChecksumTable, ChecksumWord, DownloadTable, SignatureTable, Stream};
use recipes::recipe::Recipe;

const UNITS: &str = "files/usr/lib/systemd/system/";
const ENDINGS: [&str; 3] = [".service", ".socket", ".timer"];

/// Where images are published, in the documentation of this project. <https://www.rfc-editor.org/rfc/rfc2606>
pub(crate) const BASE_URL: &str = "https://extensions.example.org/";

/// Marks generated pages.
pub(crate) const MARK: &str = "<!-- Made by `bakery docs` from the recipes; changes belong there. -->";

/// The table and all pages, by their paths below the documentation's folder.
pub(crate) fn all(recipes: &[Recipe], base_url: &str) -> BTreeMap<String, String> {
    let pages = recipes.iter().map(|r| (format!("{PAGES}{}.md", r.name()), page(r, base_url)));
    pages.chain([("catalogue.md".to_owned(), catalogue(recipes, PAGES))]).collect()
}

/// Where the pages are, seen from the table.
pub(crate) const PAGES: &str = "catalogue/";

/// All extensions, in Markdown. `pages` is where the pages are, seen from the table: `catalogue/`.
pub(crate) fn catalogue(recipes: &[Recipe], pages: &str) -> String {
    let mut out = format!(
        "# The catalogue\n\n{MARK}\n\n\
         All are for x86-64 and arm64 unless said otherwise. Units in **bold** start by themselves. Every download is pinned \
         by its SHA-256 in the lock file; \"verified by\" says what it is held against before that.\n\n\
         | Extension | What it is | Verified by | Files | Units | Update streams |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for recipe in recipes {
        let name = recipe.name();
        let cells = [
            format!("[`{name}`]({pages}{name}.md)"),
            recipe.summary().to_owned(),
            verified(recipe).join(", "),
            code(&files(recipe)),
            units(recipe).iter().map(Unit::to_string).collect::<Vec<_>>().join(", "),
            code(&streams(recipe)),
        ];
        let cells = cells.map(|c| c.replace('|', "\\|"));
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out + &together(recipes, pages)
}

/// Which extensions can be merged on one host, in Markdown. A conflict holds for both, whichever recipe names it.
fn together(recipes: &[Recipe], pages: &str) -> String {
    let mut apart: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for recipe in recipes {
        let name = recipe.name().as_str();
        for other in recipe.conflicts().iter().map(String::as_str) {
            apart.entry(name).or_default().insert(other);
            apart.entry(other).or_default().insert(name);
        }
    }
    let mut out = String::from(
        "\n## Which go together\n\n\
         Any extensions of the catalogue can be merged on one host, in any number, except those that have the same programs. A test merges all \
         at once that aren't compiled from source, with docker for the container runtimes.\n\n\
         | Extension | Can't be merged together with | Needs |\n| --- | --- | --- |\n",
    );
    let link = |name: &str| format!("[`{name}`]({pages}{name}.md)");
    for recipe in recipes {
        let name = recipe.name().as_str();
        let not: Vec<String> = apart.get(name).into_iter().flatten().map(|other| link(other)).collect();
        let needs: Vec<String> =
            recipe.as_typed().requires.iter().map(|r| link(r.get_ref().extension.as_str())).collect();
        if !not.is_empty() || !needs.is_empty() {
            let _ = writeln!(out, "| {} | {} | {} |", link(name), not.join(", "), needs.join(", "));
        }
    }
    out
}

fn code(words: &[String]) -> String {
    words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

/// How the downloads are checked, each way once.
pub(crate) fn verified(recipe: &Recipe) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for download in recipe.as_typed().download.iter().map(|d| d.get_ref()) {
        let signature = download.signature.as_ref().and_then(scheme);
        // A signature says all that a digest at first sight could.
        let is_signed_only =
            signature.is_some() && *download.checksum.ways() == [ChecksumTable::Word(ChecksumWord::LockOnly)];
        let ways = [(!is_signed_only).then(|| checksum(download)), signature.map(str::to_owned)];
        for way in ways.into_iter().flatten() {
            if !out.contains(&way) {
                out.push(way);
            }
        }
    }
    if recipe.as_typed().image.is_some() {
        out.push("digest of the image".to_owned());
    }
    out
}

/// The ways in order: `upstream's checksums or GitHub's digest`.
fn checksum(download: &DownloadTable) -> String {
    let way = |table: &ChecksumTable| match table {
        ChecksumTable::List(list) => match list.signature.as_deref().and_then(scheme) {
            Some(scheme) => format!("upstream's checksums with their {scheme}"),
            None => "upstream's checksums".to_owned(),
        },
        ChecksumTable::FirstOf(_) => "upstream's checksums".to_owned(),
        ChecksumTable::Word(ChecksumWord::GithubDigest) => "GitHub's digest".to_owned(),
        ChecksumTable::Word(ChecksumWord::LockOnly) => "nothing, pinned at first sight".to_owned(),
    };
    download.checksum.ways().iter().map(way).collect::<Vec<_>>().join(" or ")
}

fn scheme(signature: &SignatureTable) -> Option<&'static str> {
    let kinds = [
        (signature.openpgp.is_some(), "OpenPGP signature"),
        (signature.ed25519.is_some(), "Ed25519 signature"),
        (signature.minisign.is_some(), "minisign signature"),
        (signature.cosign.is_some(), "cosign signature"),
    ];
    kinds.into_iter().find(|(is, _)| *is).map(|(_, name)| name)
}

/// Places of what upstream ships.
pub(crate) fn files(recipe: &Recipe) -> Vec<String> {
    let rules = recipe.as_typed();
    let installed = rules.install.iter().map(|i| i.get_ref().to.as_str());
    let linked = rules.symlink.iter().map(|l| l.get_ref().path.as_str());
    let unit = |path: &&str| !ENDINGS.iter().any(|e| path.ends_with(e));
    let mut out: Vec<String> = Vec::new();
    for path in installed.chain(linked).filter(unit) {
        if !out.iter().any(|p| p == path) {
            out.push(path.to_owned());
        }
    }
    out
}

/// A unit that the extension ships.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unit {
    pub name: String,
    /// Whether it starts by itself.
    pub upheld: bool,
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.upheld { write!(f, "**`{}`**", self.name) } else { write!(f, "`{}`", self.name) }
    }
}

/// Units that the recipe names; those inside of upstream's archives are known only if they are installed by name.
pub(crate) fn units(recipe: &Recipe) -> Vec<Unit> {
    let rules = recipe.as_typed();
    let own = recipe.files().iter().filter_map(|(path, _)| path.strip_prefix(UNITS));
    let installed = rules.install.iter().filter_map(|i| i.get_ref().to.as_str().rsplit('/').next());
    let upheld: BTreeSet<&str> = rules.uphold.iter().map(|u| u.get_ref().unit.as_str()).collect();
    let named = own.chain(installed).filter(|n| !n.contains('/') && ENDINGS.iter().any(|e| n.ends_with(e)));
    let names: BTreeSet<&str> = named.chain(upheld.iter().copied()).collect();
    names.into_iter().map(|name| Unit { name: name.to_owned(), upheld: upheld.contains(name) }).collect()
}

/// Names of the update streams.
pub(crate) fn streams(recipe: &Recipe) -> Vec<String> {
    let name = recipe.name();
    let further = recipe.streams().iter().map(|stream| match stream {
        Stream::Minor => format!("{name}-vX.Y"),
    });
    std::iter::once(name.to_string()).chain(further).collect()
}

#[cfg(test)]
mod tests;
