//! Words of scripts for debugfs(8), which changes ext file systems without mounting them.

/// Bytes, the line's end included. debugfs reads a script by fgets(3) into a buffer of BUFSIZ, 8192: what is longer it
/// would take for a second line, and a line that starts with `!` goes to the shell.
pub const MAX_LINE: usize = 8000;

/// Why a word can't stand in a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// A script is read line by line.
    #[error("has a line end in its name or target")]
    LineEnd,
    /// debugfs's words are text.
    #[error("is not UTF-8")]
    NotUtf8,
}

/// A word in quotes, in which debugfs takes all but line ends and NUL. A quote is doubled.
///
/// # Errors
/// The word can't be quoted.
pub fn quote(word: &[u8]) -> Result<String, QuoteError> {
    if word.iter().any(|&b| matches!(b, b'\n' | b'\r' | 0)) {
        return Err(QuoteError::LineEnd);
    }
    match std::str::from_utf8(word) {
        Ok(text) => Ok(format!("\"{}\"", text.replace('"', "\"\""))),
        Err(_) => Err(QuoteError::NotUtf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (word, expected) in [
            (&b"/usr/a b"[..], Ok("\"/usr/a b\"".to_owned())),
            (b"a\"b", Ok("\"a\"\"b\"".to_owned())),
            (b"a\nb", Err(QuoteError::LineEnd)),
            (b"a\0b", Err(QuoteError::LineEnd)),
            (b"\xff", Err(QuoteError::NotUtf8)),
        ] {
            assert_eq!(quote(word), expected, "{word:?}");
        }
    }
}
