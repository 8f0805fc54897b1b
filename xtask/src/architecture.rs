//! The table of crates in docs/ARCHITECTURE.md, made from the manifests and the sources and held against them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command;

const PAGE: &str = "docs/ARCHITECTURE.md";
const BEGIN: &str = "<!-- crates: made by `cargo xtask architecture` -->\n";
const END: &str = "<!-- end of crates -->\n";

#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: String,
    folder: String,
    purpose: String,
    /// Lines of Rust without tests.
    lines: u64,
    /// Members that it depends on, tests aside.
    needs: Vec<String>,
}

pub(crate) fn write() -> Result<()> {
    let path = crate::root().join(PAGE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
    let (before, _, after) = split(&text)?;
    let text = format!("{before}{BEGIN}{}{END}{after}", table(&rows()?));
    std::fs::write(&path, text).with_context(|| format!("{path:?}"))
}

/// Fails if the table says something else than the manifests, or counts lines that are off by more than a tenth.
pub(crate) fn check() -> Result<()> {
    let path = crate::root().join(PAGE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
    let (_, found, _) = split(&text)?;
    let rows = rows()?;
    let expected = table(&rows);
    let (found, expected): (Vec<_>, Vec<_>) =
        (found.lines().map(cells).collect(), expected.lines().map(cells).collect());
    let same = found.len() == expected.len()
        && found.iter().zip(&expected).all(|((words, lines), (expected, actual))| {
            words == expected && lines.abs_diff(*actual) <= actual / 10 + 50
        });
    if !same {
        bail!("{PAGE}: the table of crates is out of date; `cargo xtask architecture` writes it");
    }
    println!("{} crates: the table in {PAGE} is up to date", rows.len());
    Ok(())
}

fn split(text: &str) -> Result<(&str, &str, &str)> {
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("{PAGE}: no line {BEGIN:?}"))?;
    let (table, after) = rest.split_once(END).with_context(|| format!("{PAGE}: no line {END:?}"))?;
    Ok((before, table, after))
}

/// The text cells of a line, and its one number.
fn cells(line: &str) -> (Vec<&str>, u64) {
    let cells = line.split('|').map(str::trim);
    let (numbers, words): (Vec<_>, Vec<_>) =
        cells.partition(|cell| cell.replace(',', "").parse::<u64>().is_ok());
    let number = numbers.first().and_then(|n| n.replace(',', "").parse().ok()).unwrap_or(0);
    (words, number)
}

fn table(rows: &[Row]) -> String {
    let mut out = String::from("| crate | folder | purpose | lines | depends on |\n|---|---|---|---:|---|\n");
    for Row { name, folder, purpose, lines, needs } in rows {
        let needs = if needs.is_empty() { "—".to_owned() } else { needs.join(", ") };
        let _ = writeln!(out, "| `{name}` | {folder} | {purpose} | {} | {needs} |", thousands(*lines));
    }
    out
}

fn thousands(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}

/// All members, each behind those that it depends on.
fn rows() -> Result<Vec<Row>> {
    let mut metadata = command::cargo(["metadata", "--format-version", "1", "--locked", "--no-deps"]);
    let metadata: serde_json::Value =
        serde_json::from_str(&command::output(&mut metadata)?).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata: no packages")?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let mut rows = BTreeMap::new();
    for package in packages {
        let name = text(&package["name"]).context("cargo metadata: package without a name")?;
        let manifest =
            text(&package["manifest_path"]).context("cargo metadata: package without a manifest")?;
        let folder = Path::new(&manifest).parent().context("cargo metadata: manifest without a folder")?;
        let needs = package["dependencies"].as_array().into_iter().flatten();
        let needs =
            needs.filter(|d| d["kind"].is_null() && d["path"].is_string()).filter_map(|d| text(&d["name"]));
        let mut needs: Vec<String> = needs.collect();
        needs.sort();
        let row = Row {
            purpose: text(&package["description"]).with_context(|| format!("{name}: no description"))?,
            folder: folder.strip_prefix(crate::root()).unwrap_or(folder).display().to_string(),
            lines: lines(&folder.join("src"))?,
            needs,
            name: name.clone(),
        };
        rows.insert(name, row);
    }
    let mut out: Vec<Row> = Vec::new();
    while !rows.is_empty() {
        let done = |row: &Row| row.needs.iter().all(|need| out.iter().any(|other| other.name == *need));
        let Some(next) = rows.iter().find(|(_, row)| done(row)).map(|(name, _)| name.clone()) else {
            bail!("crates depend on each other in a circle: {:?}", rows.keys());
        };
        out.extend(rows.remove(&next));
    }
    Ok(out)
}

/// Lines of Rust below a folder, test modules in files of their own aside.
fn lines(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    let entries = std::fs::read_dir(folder).with_context(|| format!("{folder:?}"))?;
    for entry in entries {
        let path = entry.with_context(|| format!("{folder:?}"))?.path();
        let name = path.file_name().unwrap_or_default().to_owned();
        if path.is_dir() && name != "tests" {
            sum += lines(&path)?;
        } else if path.extension().is_some_and(|e| e == "rs") && name != "tests.rs" {
            let text = std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
            sum += text.lines().count() as u64;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_words_and_a_number() {
        let line = "| `tree` | crates/tree | a tree | 4,123 | — |";
        assert_eq!(cells(line), (vec!["", "`tree`", "crates/tree", "a tree", "—", ""], 4123));
        assert_eq!((thousands(7), thousands(12_034)), ("7".to_owned(), "12,034".to_owned()));
    }

    #[test]
    fn the_page_has_one_table() {
        let text = format!("a\n{BEGIN}t\n{END}b\n");
        assert_eq!(split(&text).unwrap(), ("a\n", "t\n", "b\n"));
        assert!(split("a\n").is_err());
    }
}
