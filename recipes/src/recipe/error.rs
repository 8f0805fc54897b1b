//! What is wrong with a recipe, and where.

use std::ops::Range;

/// A recipe that makes no sense. Lines and columns count from one; none for errors that have no position in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("recipe {recipe}: recipe.toml{}: {message}", .position.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default())]
pub struct RecipeError {
    /// The recipe's name.
    pub recipe: String,
    /// Line and column.
    pub position: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
}

/// Line and column of a byte of a text.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |n| n + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// What the TOML reader says, in our words, with a suggestion for a key or a word that nobody knows.
pub(super) fn syntax(recipe: &str, text: &str, error: &toml::de::Error) -> RecipeError {
    let position = error.span().map(|Range { start, .. }| position(text, start));
    RecipeError { recipe: recipe.to_owned(), position, message: message(error.message()) }
}

/// serde's "unknown field `a`, expected one of `b`, `c`" holds what is needed, and only as text.
fn message(text: &str) -> String {
    let text = text.trim_end().replace('\n', ": ");
    let unknown = [("unknown field ", "key"), ("unknown variant ", "word")];
    let Some((rest, what)) = unknown.iter().find_map(|(start, what)| Some((text.strip_prefix(start)?, what)))
    else {
        return text;
    };
    let mut words = rest.split('`').skip(1).step_by(2);
    let Some(got) = words.next() else { return text };
    let known: Vec<&str> = words.collect();
    format!("unknown {what} {got:?}, {}", suggestion(got, &known))
}

/// More words than a recipe has keys are nobody's choice on one line.
const LISTED: usize = 24;

/// "did you mean …?" if a word is near, the list of the words if none is.
pub(crate) fn suggestion(got: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(got, word), *word))
        .filter(|&(distance, word)| distance <= 1 + word.len().max(got.len()) / 4)
        .min();
    match near {
        Some((_, word)) => format!("did you mean {word:?}?"),
        None if known.is_empty() => "there are none".to_owned(),
        None => format!("expected one of {}", tree::list_some(known, LISTED)),
    }
}
