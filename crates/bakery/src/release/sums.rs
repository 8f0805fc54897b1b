//! SHA256SUMS, as systemd-sysupdate reads it: 64 hexadecimal digits, a space, a space or `*`, a name, a line end.

use std::collections::BTreeMap;

use super::record::is_sha256;

/// Names and their SHA-256, in the order of the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sums(pub BTreeMap<String, String>);

/// A line that isn't one of a manifest.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(crate) struct SumsError {
    /// From 1.
    line: usize,
    problem: String,
}

impl Sums {
    /// Reads a manifest, strictly: a line that isn't understood could be the one that counts.
    ///
    /// # Errors
    /// A line that is none, or a name with two sums.
    pub(crate) fn parse(text: &[u8]) -> Result<Sums, SumsError> {
        let mut sums = BTreeMap::new();
        let text = std::str::from_utf8(text)
            .map_err(|e| SumsError { line: 1, problem: format!("is not UTF-8: {e}") })?;
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(SumsError { line: text.lines().count(), problem: "has no line end".into() });
        }
        for (line, number) in text.lines().zip(1..) {
            let fail = |problem: String| SumsError { line: number, problem };
            let entry = line
                .split_at_checked(64)
                .filter(|(sum, _)| is_sha256(sum))
                .and_then(|(sum, rest)| {
                    let name = rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *"))?;
                    (!name.is_empty()).then_some((sum, name))
                })
                .ok_or_else(|| fail(format!("got {line:?}, expected a SHA-256 and a name")))?;
            if sums.insert(entry.1.to_owned(), entry.0.to_owned()).is_some_and(|old| old != entry.0) {
                return Err(fail(format!("{:?} has another sum above", entry.1)));
            }
        }
        Ok(Sums(sums))
    }

    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect()
    }
}
