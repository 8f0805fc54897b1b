//! Patterns of `file_contexts`, which are Perl's, for an engine that runs in linear time.
//!
//! What such an engine can't do is refused by name: look-around, back references, atomic groups. Policies don't use it. The
//! rest is written anew, item by item, so that nothing is taken for syntax that PCRE doesn't take for such.

use std::fmt::Write as _;

use regex::bytes::{Regex, RegexBuilder};

/// Bytes of a pattern. libselinux, label_file.h: `compile_regex`.
const MAX_PATTERN: usize = 4096;
/// Bytes of a compiled pattern: counted repetitions multiply.
const MAX_PROGRAM: usize = 256 << 10;
/// Bytes of what nearly all patterns of policies come to.
const USUAL_PROGRAM: usize = 8 << 10;
/// Bytes that the engine may keep of a pattern while it is used.
const MAX_STATES: usize = 24 << 10;
/// How many usual patterns a large one counts as.
const LARGE: usize = MAX_PROGRAM / USUAL_PROGRAM;
/// What has a meaning in a pattern. The rest up to the first of these is literal.
const META: &[u8] = b".^$?*+|[({])}";

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum PatternError {
    #[error("pattern has {0}, which isn't supported")]
    Unsupported(&'static str),
    #[error("pattern has \\{0}, which isn't supported")]
    Escape(char),
    #[error("pattern ends in the middle of {0}")]
    Ends(&'static str),
    #[error("pattern has {0} bytes, and {MAX_PATTERN} are the limit")]
    Long(usize),
    #[error("pattern has the range {0}, which is backwards")]
    Range(String),
    #[error("pattern is refused: {0}")]
    Refused(String),
}

/// The text that a pattern without a meta character matches, as libselinux decides: none if it has to be tried.
pub(crate) fn literal(pattern: &[u8]) -> Option<Vec<u8>> {
    let (text, rest) = prefix(pattern);
    rest.is_empty().then_some(text)
}

/// The bytes with which everything that a pattern matches begins.
pub(crate) fn literal_prefix(pattern: &[u8]) -> Vec<u8> {
    // Any alternative that isn't in a group begins on its own.
    if has_bare_alternative(pattern) {
        return Vec::new();
    }
    let (mut text, rest) = prefix(pattern);
    // It may be repeated no time at all.
    if matches!(rest.first(), Some(b'?' | b'*' | b'{')) {
        text.pop();
    }
    text
}

/// What is literal at the start of a pattern, and what comes behind it.
fn prefix(pattern: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut text = Vec::new();
    let mut rest = pattern;
    loop {
        rest = match rest {
            [b'\\', c, behind @ ..] if META.contains(c) || b"-_,".contains(c) => {
                text.push(*c);
                behind
            }
            [b'\\', ..] | [] => return (text, rest),
            [c, ..] if META.contains(c) => return (text, rest),
            [c, behind @ ..] => {
                text.push(*c);
                behind
            }
        };
    }
}

/// Whether there is a `|` outside of all groups. A bracket expression with one counts, too: nothing is lost by it.
fn has_bare_alternative(pattern: &[u8]) -> bool {
    let mut depth = 0usize;
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return true,
            // Parentheses in it aren't counted right.
            b'[' => return pattern.contains(&b'|'),
            _ => {}
        }
    }
    false
}

/// Compiles a pattern that has to match a whole path. Also returns how many usual patterns it counts as, by its memory.
///
/// # Errors
/// It isn't one of PCRE's, or uses what only PCRE can do.
pub(crate) fn compile(pattern: &[u8]) -> Result<(Regex, usize), PatternError> {
    if pattern.len() >= MAX_PATTERN {
        return Err(PatternError::Long(pattern.len()));
    }
    let text = translate(pattern)?;
    // libselinux puts the pattern between `^` and `$` as it is, so that an alternative has one of them only.
    let mut builder = RegexBuilder::new(&format!(r"\A{text}{END}"));
    builder.unicode(false).dot_matches_new_line(true).dfa_size_limit(MAX_STATES);
    if let Ok(regex) = builder.size_limit(USUAL_PROGRAM).build() {
        return Ok((regex, 1));
    }
    let large = builder.size_limit(MAX_PROGRAM).build();
    large.map(|regex| (regex, LARGE)).map_err(|error| PatternError::Refused(reason(&error)))
}

/// PCRE's `$`: the end, or a line feed there.
const END: &str = r"(?:\n?\z)";

/// The last line of the engine's message; the others repeat the pattern.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// A pattern in the engine's words.
fn translate(pattern: &[u8]) -> Result<String, PatternError> {
    let mut reader = Reader { rest: pattern, out: String::with_capacity(2 * pattern.len()) };
    while let Some(byte) = reader.next() {
        match byte {
            b'\\' => reader.escape()?,
            b'[' => reader.bracket()?,
            b'(' => reader.group()?,
            b'*' | b'+' | b'?' => {
                reader.out.push(byte as char);
                reader.after_repetition()?;
            }
            b'{' => reader.braces()?,
            b'^' => reader.out.push_str(r"\A"),
            b'$' => reader.out.push_str(END),
            b'.' | b'|' | b')' => reader.out.push(byte as char),
            _ => push(&mut reader.out, byte),
        }
    }
    Ok(reader.out)
}

struct Reader<'p> {
    rest: &'p [u8],
    out: String,
}

/// What a bracket expression lists.
enum Item {
    Byte(u8),
    /// `\d`, `[:digit:]`.
    Class(String),
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eats(&mut self, text: &[u8]) -> bool {
        let found = self.rest.strip_prefix(text);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    /// Behind a backslash.
    fn escape(&mut self) -> Result<(), PatternError> {
        let byte = self.next().ok_or(PatternError::Ends("an escape"))?;
        match byte {
            b'd' | b'D' | b'w' | b'W' | b's' | b'S' | b'b' | b'B' | b'A' | b'z' => {
                self.out.push('\\');
                self.out.push(byte as char);
            }
            b'1'..=b'9' | b'g' | b'k' => return Err(PatternError::Unsupported("a back reference")),
            b'Z' => self.out.push_str(END),
            _ => {
                let byte = self.character(byte)?;
                push(&mut self.out, byte);
            }
        }
        Ok(())
    }

    /// The one byte that an escape stands for. pcre2pattern(3), "Non-printing characters".
    fn character(&mut self, byte: u8) -> Result<u8, PatternError> {
        Ok(match byte {
            b'a' => 0x07,
            b'e' => 0x1b,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let digits = self.rest.get(..2).and_then(|d| std::str::from_utf8(d).ok());
                let value = digits.and_then(|d| u8::from_str_radix(d, 16).ok());
                self.rest = self.rest.get(2..).unwrap_or_default();
                value.ok_or(PatternError::Escape('x'))?
            }
            c if c.is_ascii_alphanumeric() => return Err(PatternError::Escape(c as char)),
            c => c,
        })
    }

    /// Behind an opening parenthesis.
    fn group(&mut self) -> Result<(), PatternError> {
        if self.rest.starts_with(b"*") {
            return Err(PatternError::Unsupported("a verb"));
        }
        if !self.eats(b"?") {
            // Nobody asks what a group has matched.
            self.out.push_str("(?:");
            return Ok(());
        }
        if self.eats(b":") {
            self.out.push_str("(?:");
        } else if self.eats(b"i)") {
            self.out.push_str("(?i)");
        } else if self.eats(b"i:") {
            self.out.push_str("(?i:");
        } else {
            let what = match self.rest {
                [b'=' | b'!', ..] | [b'<', b'=' | b'!', ..] => "look-around",
                [b'>', ..] => "an atomic group",
                [b'R' | b'0'..=b'9' | b'&', ..] => "recursion",
                [b'(', ..] => "a condition",
                _ => "a group of an unknown kind",
            };
            return Err(PatternError::Unsupported(what));
        }
        Ok(())
    }

    /// Behind `*`, `+`, `?` or `{2}`.
    fn after_repetition(&mut self) -> Result<(), PatternError> {
        if self.eats(b"?") {
            self.out.push('?');
        } else if self.rest.starts_with(b"+") {
            return Err(PatternError::Unsupported("a possessive repetition"));
        }
        Ok(())
    }

    /// Behind an opening brace: a repetition, or a brace.
    fn braces(&mut self) -> Result<(), PatternError> {
        let end = self.rest.iter().position(|b| *b == b'}');
        let inner = end.and_then(|end| std::str::from_utf8(&self.rest[..end]).ok());
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_counted = |text: &str| match text.split_once(',') {
            Some((low, high)) => is_number(low) && (high.is_empty() || is_number(high)),
            None => is_number(text),
        };
        match inner {
            Some(text) if is_counted(text) => {
                let _ = write!(self.out, "{{{text}}}");
                self.rest = &self.rest[text.len() + 1..];
                self.after_repetition()
            }
            // A repetition since PCRE2 10.43, and before that text.
            Some(text) if text.strip_prefix(',').is_some_and(is_number) => {
                Err(PatternError::Unsupported("a repetition without a lower bound"))
            }
            _ => {
                push(&mut self.out, b'{');
                Ok(())
            }
        }
    }

    /// Behind an opening bracket.
    fn bracket(&mut self) -> Result<(), PatternError> {
        const ENDS: PatternError = PatternError::Ends("a bracket expression");
        self.out.push('[');
        if self.eats(b"^") {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            if !std::mem::take(&mut first) && self.eats(b"]") {
                break;
            }
            let low = match self.item()?.ok_or(ENDS)? {
                Item::Class(text) => {
                    self.out.push_str(&text);
                    continue;
                }
                Item::Byte(byte) => byte,
            };
            let is_range = matches!(self.rest, [b'-', next, ..] if *next != b']');
            if !is_range {
                push(&mut self.out, low);
                continue;
            }
            self.rest = &self.rest[1..];
            match self.item()?.ok_or(ENDS)? {
                Item::Byte(high) if low <= high => {
                    push(&mut self.out, low);
                    self.out.push('-');
                    push(&mut self.out, high);
                }
                Item::Byte(high) => {
                    return Err(PatternError::Range(tree::escape(&[low, b'-', high])));
                }
                Item::Class(_) => return Err(PatternError::Unsupported("a range that ends with a class")),
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn item(&mut self) -> Result<Option<Item>, PatternError> {
        let Some(byte) = self.next() else { return Ok(None) };
        Ok(Some(match byte {
            b'[' if self.rest.starts_with(b":") && self.rest.windows(2).any(|w| w == b":]") => {
                let end = self.rest.windows(2).position(|w| w == b":]").unwrap_or_default();
                let name = String::from_utf8_lossy(&self.rest[1..end.max(1)]).into_owned();
                self.rest = &self.rest[end + 2..];
                Item::Class(format!("[:{name}:]"))
            }
            b'[' if matches!(self.rest.first(), Some(b'.' | b'=')) => {
                return Err(PatternError::Unsupported("a collating element"));
            }
            b'\\' => match self.next().ok_or(PatternError::Ends("an escape"))? {
                c @ (b'd' | b'D' | b'w' | b'W' | b's' | b'S') => Item::Class(format!("\\{}", c as char)),
                b'b' => Item::Byte(0x08),
                c => Item::Byte(self.character(c)?),
            },
            byte => Item::Byte(byte),
        }))
    }
}

/// A byte that stands for itself.
fn push(out: &mut String, byte: u8) {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'_' => out.push(byte as char),
        _ => _ = write!(out, "\\x{byte:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        compile(pattern.as_bytes()).unwrap().0.is_match(path.as_bytes())
    }

    #[test]
    fn patterns_of_policies() {
        for (pattern, yes, no) in [
            (
                "/usr/lib(/.*)?",
                &["/usr/lib", "/usr/lib/a/b", "/usr/lib/a\nb"][..],
                &["/usr/libx", "/usr"][..],
            ),
            (r"/dev/[^/]*tty[^/]*", &["/dev/tty1", "/dev/xtty"], &["/dev/x/tty"]),
            (r"/usr/(.*/)?bin(/.*)?", &["/usr/bin", "/usr/a/bin/x"], &["/usr/abin/x"]),
            (r"/a\.so(\.[0-9]+)*", &["/a.so", "/a.so.1.2"], &["/axso"]),
            (r"/x[[:digit:]]{2,3}", &["/x12", "/x123"], &["/x1", "/x1234"]),
            (r"/x{y", &["/x{y"], &["/xy"]),
            (r"/[]a]", &["/]", "/a"], &["/b"]),
            (r"/[^]a]", &["/b"], &["/]"]),
            (r"/[a&&b]", &["/a", "/&", "/b"], &["/c"]),
            (r"/[[a]", &["/[", "/a"], &["/b"]),
            (r"/[\w-]x", &["/-x", "/ax"], &["/.x"]),
            (r"/[+--]x", &["/,x", "/-x"], &["/.x"]),
            (r"/(?:a|b)+?c", &["/abc"], &["/c"]),
            (r"/(?i)abc", &["/ABC"], &["/ABD"]),
            (r"/\<a\>", &["/<a>"], &["/a"]),
            (r"/\x41", &["/A", "/A\n"], &["/B", "/A\n\n"]),
            // Between `^` and `$` as it is.
            (r"/a|/b", &["/a", "/ax", "/b", "x/b"], &["xa"]),
        ] {
            yes.iter().for_each(|path| assert!(matches(pattern, path), "{pattern} {path:?}"));
            no.iter().for_each(|path| assert!(!matches(pattern, path), "{pattern} {path:?}"));
        }
        // No text of two bytes.
        assert!(compile(b"/[^a]").unwrap().0.is_match(b"/\xff"));
        assert_eq!([compile(b"/(.*/)?x[0-9]{2}").unwrap().1, compile(b"/(a{99}){9}").unwrap().1], [1, LARGE]);
    }

    #[test]
    fn what_only_pcre_can_do_is_named() {
        for (pattern, expected) in [
            (r"/a(?=b)", "pattern has look-around, which isn't supported"),
            (r"/a(?<!b)", "pattern has look-around, which isn't supported"),
            (r"/(a)\1", "pattern has a back reference, which isn't supported"),
            (r"/(?>a)", "pattern has an atomic group, which isn't supported"),
            (r"/a++", "pattern has a possessive repetition, which isn't supported"),
            (r"/a{,3}", "pattern has a repetition without a lower bound, which isn't supported"),
            (r"/(*FAIL)", "pattern has a verb, which isn't supported"),
            (r"/(?R)", "pattern has recursion, which isn't supported"),
            (r"/\R", r"pattern has \R, which isn't supported"),
            (r"/[b-a]", "pattern has the range b-a, which is backwards"),
            (r"/[a", "pattern ends in the middle of a bracket expression"),
            (r"/a\", "pattern ends in the middle of an escape"),
            ("/(a", "pattern is refused: unclosed group"),
            ("/*", ""),
        ] {
            let found = compile(pattern.as_bytes()).map(drop).map_err(|e| e.to_string());
            assert_eq!(found.err().unwrap_or_default(), expected, "{pattern}");
        }
        assert!(matches!(compile(&[b'a'; 4096]), Err(PatternError::Long(4096))));
        assert!(matches!(compile(b"/(((a{99}){99}){99}){99}"), Err(PatternError::Refused(_))));
    }

    #[test]
    fn what_all_matches_begin_with() {
        for (pattern, expected, is_literal) in [
            ("/usr/bin", "/usr/bin", true),
            (r"/usr/lost\+found", "/usr/lost+found", true),
            (r"/usr/lost\+found/.*", "/usr/lost+found/", false),
            ("/usr/libx?", "/usr/lib", false),
            ("/usr/libx+", "/usr/libx", false),
            ("/usr/lib(/.*)?", "/usr/lib", false),
            (r"/usr/\d", "/usr/", false),
            ("/a|/b", "", false),
            ("/a[(]|/b", "", false),
            ("/a(b|c)", "/a", false),
        ] {
            assert_eq!(literal_prefix(pattern.as_bytes()), expected.as_bytes(), "{pattern}");
            assert_eq!(literal(pattern.as_bytes()).is_some(), is_literal, "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_in_it_nothing_panics(pattern in r"[/a-c\\.\[\](){}|*+?^$:0-9,&~-]{0,24}", path in "[/a-c]{0,8}") {
            let pattern = pattern.as_bytes();
            if let Ok((regex, _)) = compile(pattern)
                && regex.is_match(path.as_bytes())
            {
                assert!(path.as_bytes().starts_with(&literal_prefix(pattern)));
            }
        }
    }
}
