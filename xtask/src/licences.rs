//! Licences and sources of the dependencies, held against `deny.toml`, without the network.
//!
//! cargo-deny checks the same and the advisories in the public workflow. It isn't on a new machine, takes minutes to
//! build, and its advisory database can't be reached everywhere; what must never slip in, an unwanted licence or a
//! dependency from outside the registry, is checked here at every run.

use anyhow::{Context, Result, bail};

use crate::command;

/// Fails with a list of the packages that `deny.toml` doesn't allow.
pub(crate) fn check() -> Result<()> {
    let path = crate::root().join("deny.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
    let deny: toml::Table = text.parse().with_context(|| format!("{path:?}"))?;
    let allowed = strings(&deny, "licenses", "allow").with_context(|| format!("{path:?}"))?;

    // Only what is built here: without the filter, cargo fetches the Windows crates to describe them.
    let mut metadata = command::cargo(["metadata", "--format-version", "1", "--locked"]);
    metadata.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let metadata = command::output(&mut metadata)?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata: no packages")?;
    let mut bad = Vec::new();
    for p in packages {
        let name = format!("{} {}", text_of(&p["name"]), text_of(&p["version"]));
        let source = p["source"].as_str().unwrap_or("path");
        if source != "path" && !source.starts_with("registry+") {
            bad.push(format!("{name}: comes from {source}, expected the registry"));
        }
        match p["license"].as_str() {
            None => bad.push(format!("{name}: names no licence")),
            Some(expression) => match accepts(expression, &allowed) {
                Ok(true) => {}
                Ok(false) => bad.push(format!("{name}: licence {expression} is not in deny.toml")),
                Err(e) => bad.push(format!("{name}: licence {expression:?}: {e}")),
            },
        }
    }
    if !bad.is_empty() {
        bail!("{} packages are not allowed:\n  {}", bad.len(), bad.join("\n  "));
    }
    println!("{} packages: licences and sources are allowed", packages.len());
    Ok(())
}

fn text_of(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn strings(table: &toml::Table, section: &str, key: &str) -> Result<Vec<String>> {
    let list = table.get(section).and_then(|s| s.get(key)).and_then(toml::Value::as_array);
    let list = list.with_context(|| format!("[{section}] {key}: not a list"))?;
    list.iter().map(|v| Ok(v.as_str().context("not a string")?.to_owned())).collect()
}

/// Whether an SPDX licence expression can be met with the allowed licences. SPDX 2.3 annex D; the old `A/B` is an OR.
fn accepts(expression: &str, allowed: &[String]) -> Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let value = any(&mut words, allowed)?;
    match words.next() {
        None => Ok(value),
        Some(word) => bail!("got {word:?}, expected the end"),
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &[String]) -> Result<bool> {
    let mut value = all(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        value |= all(words, allowed)?;
    }
    Ok(value)
}

fn all(words: &mut Words<'_>, allowed: &[String]) -> Result<bool> {
    let mut value = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        value &= one(words, allowed)?;
    }
    Ok(value)
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> Result<bool> {
    match words.next() {
        None => bail!("ends too early"),
        Some("(") => {
            let value = any(words, allowed)?;
            if words.next() != Some(")") {
                bail!("a parenthesis is not closed");
            }
            Ok(value)
        }
        Some(word @ (")" | "AND" | "OR" | "WITH")) => bail!("got {word:?}, expected a licence"),
        Some(id) => {
            let mut id = id.to_owned();
            if words.next_if_eq(&"WITH").is_some() {
                id = format!("{id} WITH {}", words.next().context("ends after WITH")?);
            }
            Ok(allowed.contains(&id))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::accepts;

    #[test]
    fn spdx_expressions() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("GPL-3.0-only/MIT", true),
            ("MIT AND GPL-3.0-only", false),
            ("GPL-3.0-only AND MIT OR Apache-2.0", true),
            ("GPL-3.0-only AND (MIT OR Apache-2.0)", false),
            ("(MIT OR GPL-3.0-only) AND Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("MIT WITH LLVM-exception", false),
        ] {
            assert_eq!(accepts(expression, &allowed).unwrap(), expected, "{expression}");
        }
        for bad in ["", "MIT MIT", "(MIT", "OR", "MIT AND", "MIT WITH"] {
            assert!(accepts(bad, &allowed).is_err(), "{bad}");
        }
    }
}
