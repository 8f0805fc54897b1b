//! Content digests: `sha256:<64 hex digits>`.
//!
//! A digest becomes a file name in the cache and a part of a URL, so its syntax is checked before anything else is done
//! with it (CVE-2024-3727, CVE-2021-21285). image-spec, descriptor.md, "Digests".

use std::fmt;
use std::str::FromStr;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A SHA-256 digest. image-spec registers sha512 and blake3 too, but no registry in use hands them out; they are refused by
/// name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why text is no [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum DigestError {
    /// No `algorithm:hex`.
    #[error("digest {0:?} is malformed, expected sha256:<64 hex digits>")]
    Syntax(String),
    /// An algorithm other than sha256.
    #[error("digest {digest:?} has algorithm {algorithm:?}, expected sha256")]
    Algorithm {
        /// What was given, shortened.
        digest: String,
        /// The part before the colon.
        algorithm: String,
    },
}

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes.as_ref());
        hasher.finish()
    }

    /// From the raw hash value.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }

    /// The raw hash value.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lower-case hex digits, without the algorithm.
    pub fn hex(&self) -> String {
        base16ct::lower::encode_string(&self.0)
    }

    /// From exactly 64 lower-case hex digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        // Upper case is not the canonical form, and two spellings of one digest would be two cache entries.
        let mut out = [0; 32];
        let len = base16ct::lower::decode(hex, &mut out).ok()?.len();
        (len == out.len()).then_some(Digest(out))
    }
}

/// What of hostile text goes into a message: some of it, and one line, so that it can't pass for another message.
pub fn shorten(text: &str) -> String {
    const MAX: usize = 120;
    let mut rest = text.chars();
    let shown = rest.by_ref().take(MAX).map(|c| if tree::is_control(c) { '\u{fffd}' } else { c });
    let mut shown: String = shown.collect();
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(s: &str) -> Result<Self, DigestError> {
        let syntax = || DigestError::Syntax(shorten(s));
        let (algorithm, hex) = s.split_once(':').ok_or_else(syntax)?;
        if algorithm == "sha256" {
            return Self::from_hex(hex).ok_or_else(syntax);
        }
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+._-".contains(&b);
        if algorithm.is_empty() || !algorithm.bytes().all(known) {
            return Err(syntax());
        }
        Err(DigestError::Algorithm { digest: shorten(s), algorithm: shorten(algorithm) })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Hashes a stream.
#[derive(Clone)]
pub struct Hasher(Context);

impl Default for Hasher {
    fn default() -> Self {
        Hasher(Context::new(&SHA256))
    }
}

impl Hasher {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        Digest(out)
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.update(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn what_is_shown_of_hostile_text_is_one_short_line() {
        assert_eq!(shorten("latest"), "latest");
        assert_eq!(shorten("a\nerror: b\x1b[2J\u{202e}"), "a\u{fffd}error: b\u{fffd}[2J\u{fffd}");
        assert_eq!(shorten(&"é".repeat(120)), "é".repeat(120));
        assert_eq!(shorten(&"é".repeat(121)), format!("{}…", "é".repeat(120)));
    }

    #[test]
    fn hashes_and_prints_the_known_value() {
        assert_eq!(Digest::of("").to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(Digest::of("")));
        let mut hasher = Hasher::new();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), Digest::of("abc"));
    }

    #[test]
    fn refuses_all_that_is_not_canonical() {
        let hex = &EMPTY[7..];
        for bad in [
            "",
            "sha256",
            "sha256:",
            ":",
            hex,
            &format!("sha256:{}", hex.to_uppercase()),
            &format!("SHA256:{hex}"),
            &format!("sha256:{hex}0"),
            &format!("sha256:{}", &hex[1..]),
            &format!("sha256:{}/", &hex[1..]),
            &format!(" sha256:{hex}"),
            &format!("sha256:{hex}\n"),
            "sha256:../../../../../../etc/passwd",
            "sha256:é3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            &format!(":{hex}"),
            &format!("../x:{hex}"),
        ] {
            assert!(matches!(bad.parse::<Digest>(), Err(DigestError::Syntax(_))), "{bad:?}");
        }
        let sha512 = format!("sha512:{hex}{hex}").parse::<Digest>().unwrap_err();
        assert!(sha512.to_string().ends_with("has algorithm \"sha512\", expected sha256"), "{sha512}");
    }
}
