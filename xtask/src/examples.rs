//! Examples in documentation, which are tests: a crate that has some has cargo run them, and no other is compiled for it.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::modules::members;

/// What a code block of Rust may say after its fence, beside nothing. The rustdoc book, "Documentation tests".
const RUST: [&str; 6] = ["rust", "no_run", "ignore", "should_panic", "compile_fail", "edition"];

/// Fails if a crate's manifest doesn't fit what its documentation has.
pub(crate) fn check() -> Result<()> {
    let root = crate::root();
    let (mut bad, mut crates) = (Vec::new(), 0);
    for (name, folder) in members(root)? {
        if !root.join(&folder).join("src/lib.rs").exists() {
            continue;
        }
        let path = root.join(&folder).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
        let manifest: toml::Table = text.parse().with_context(|| format!("{path:?}"))?;
        let tested = manifest.get("lib").and_then(|lib| lib.get("doctest")) != Some(&false.into());
        match (tested, first_example(&root.join(&folder).join("src"))?) {
            (false, Some(place)) => {
                bad.push(format!("{name}: {place}: isn't tested: remove doctest = false"))
            }
            (true, None) => bad.push(format!("{name}: has no examples: add doctest = false to [lib]")),
            _ => crates += usize::from(tested),
        }
    }
    if !bad.is_empty() {
        bail!("manifests don't fit the documentation:\n  {}", bad.join("\n  "));
    }
    println!("{crates} crates have examples in their documentation, all of which are tested");
    Ok(())
}

/// File and line of an example.
fn first_example(dir: &Path) -> Result<Option<String>> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("{dir:?}"))? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = first_example(&path)? {
                return Ok(Some(found));
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
            if let Some(line) = example(&text) {
                return Ok(Some(format!("{}:{line}", path.display())));
            }
        }
    }
    Ok(None)
}

/// The line of a file's first code block of Rust in a documentation comment.
fn example(text: &str) -> Option<usize> {
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let Some(line) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            inside = false;
            continue;
        };
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        inside = !inside;
        let rust = |word: &str| word.is_empty() || RUST.iter().any(|w| word.starts_with(w));
        if inside && info.trim().split(',').all(|word| rust(word.trim())) {
            return Some(number + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_fit_the_documentation() {
        check().unwrap();
    }

    #[test]
    fn only_rust_is_an_example() {
        assert_eq!(example("/// x\n///\n/// ```\n/// assert!(true);\n/// ```\n"), Some(3));
        assert_eq!(example("//! ```no_run,edition2021\n//! ```\n"), Some(1));
        assert_eq!(example("//! ```text\n//! a\n//! ```\n/// ```toml\n/// ```\nlet x = \"```\";\n"), None);
    }
}
