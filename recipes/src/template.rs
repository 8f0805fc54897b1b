//! Text with places for values: `v{version}/{name}-{goarch}.tar.gz`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A text in which `{word}` stands for a value. A word is small letters, digits and hyphens; `{{word}}` gives `{word}`, and
/// all other braces stay what they are, so that configuration files and shell need no escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Word(String),
}

/// What words stand for.
pub(crate) type Values = BTreeMap<String, String>;

/// A word that stands for nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{template:?} uses {{{word}}}, which isn't defined here; defined are {known}", known = .known.join(", "))]
pub struct UnknownWord {
    /// The whole text.
    pub template: String,
    /// The word.
    pub word: String,
    /// The words that there are.
    pub known: Vec<String>,
}

impl Template {
    /// A text in which nothing is replaced.
    pub fn literal(text: String) -> Template {
        Template { parts: vec![Part::Text(text.clone())], text }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The words in it, in order, as often as they occur.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|p| match p {
            Part::Word(word) => Some(word.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with values in the places of the words.
    ///
    /// # Errors
    /// A word that has no value.
    pub fn expand(&self, values: &Values) -> Result<String, UnknownWord> {
        let mut out = String::with_capacity(self.text.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Word(word) => match values.get(word) {
                    Some(value) => out.push_str(value),
                    None => {
                        let known = values.keys().cloned().collect();
                        return Err(UnknownWord { template: self.text.clone(), word: word.clone(), known });
                    }
                },
            }
        }
        Ok(out)
    }
}

/// Whether a word can be used in templates.
pub fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

impl From<&str> for Template {
    fn from(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            let word = |open: &str, close: &str| {
                let inner = rest.strip_prefix(open)?;
                let word = &inner[..inner.find(close)?];
                is_word(word).then_some(word)
            };
            if let Some(word) = word("{{", "}}") {
                plain.push_str(&rest[1..word.len() + 3]);
                rest = &rest[word.len() + 4..];
            } else if let Some(word) = word("{", "}") {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Word(word.to_owned()));
                rest = &rest[word.len() + 2..];
            } else {
                plain.push('{');
                rest = &rest[1..];
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Template { text: text.to_owned(), parts }
    }
}

impl FromStr for Template {
    type Err = std::convert::Infallible;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Ok(s.into())
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_and_other_braces_stay() {
        let values: Values =
            [("version", "1.2"), ("cni-version", "v1")].map(|(k, v)| (k.into(), v.into())).into();
        let table = [
            ("v{version}/x-{version}", "v1.2/x-1.2"),
            ("{cni-version}", "v1"),
            ("${HOME} {} {a b} {Version} {\"a\":{\"b\":1}}", "${HOME} {} {a b} {Version} {\"a\":{\"b\":1}}"),
            ("{{version}} {{ .Tag }} {{{version}}}", "{version} {{ .Tag }} {{version}}"),
            ("{", "{"),
            ("{version", "{version"),
            ("ä{version}ö{", "ä1.2ö{"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(Template::from(text).expand(&values).unwrap(), expected, "{text}");
        }
        assert_eq!(Template::from("{a}-{b}{a}").words().collect::<Vec<_>>(), ["a", "b", "a"]);
    }

    #[test]
    fn unknown_words_are_told() {
        let values: Values = [("version".into(), "1".into())].into();
        assert_eq!(
            Template::from("x{verison}").expand(&values).unwrap_err().to_string(),
            "\"x{verison}\" uses {verison}, which isn't defined here; defined are version"
        );
    }
}
