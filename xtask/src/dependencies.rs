//! The table of dependencies in docs/dependencies.md, held against the manifest.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};

const PAGE: &str = "docs/dependencies.md";

/// Fails if a dependency has no row, or a row no dependency.
pub(crate) fn check() -> Result<()> {
    let read = |name: &str| {
        let path = crate::root().join(name);
        std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))
    };
    let (manifest, page) = (read("Cargo.toml")?, read(PAGE)?);
    let (used, told) = (external(&manifest)?, rows(&page));
    let list = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let (missing, stale) = (list(used.difference(&told).collect()), list(told.difference(&used).collect()));
    if !missing.is_empty() || !stale.is_empty() {
        bail!("{PAGE}: rows missing: [{missing}], rows without a dependency: [{stale}]");
    }
    println!("{} dependencies: all have their row in {PAGE}", used.len());
    Ok(())
}

/// The workspace's dependencies that aren't its own crates.
fn external(manifest: &str) -> Result<BTreeSet<String>> {
    let manifest: toml::Table = manifest.parse().context("Cargo.toml")?;
    let dependencies =
        manifest.get("workspace").and_then(|w| w.get("dependencies")).and_then(toml::Value::as_table);
    let dependencies = dependencies.context("Cargo.toml: no workspace dependencies")?;
    let own = |value: &toml::Value| value.get("path").is_some();
    Ok(dependencies.iter().filter(|(_, value)| !own(value)).map(|(name, _)| name.clone()).collect())
}

/// First cells in code font of the first table.
fn rows(page: &str) -> BTreeSet<String> {
    let table = page.lines().skip_while(|l| !l.starts_with('|')).take_while(|l| l.starts_with('|'));
    let name = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    table.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_dependencies_are_found() {
        let manifest =
            "[workspace.dependencies]\nown = { path = \"x\" }\nserde = \"1\"\ntar = { version = \"1\" }\n";
        let names = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect::<BTreeSet<String>>();
        assert_eq!(external(manifest).unwrap(), names(&["serde", "tar"]));
        let page = "# X\n\n| crate | x |\n|---|---|\n| `serde` | y |\n\n| `other` | z |\n";
        assert_eq!(rows(page), names(&["serde"]));
        assert!(external("[workspace]\n").is_err());
    }
}
