//! What upstream says of the bytes of a download: lists of checksums, and the API of GitHub.

use std::collections::BTreeSet;
use std::fmt;

use ring::digest::{Context, SHA512};
use serde::Deserialize;
use store::Digest;
use tree::{Content, ContentError};

/// Bytes. Lists have a line for each asset of a release.
pub(crate) const LIST_MAX: u64 = 4 << 20;

/// A checksum, of one of the two kinds that are worth checking.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checksum {
    /// 64 hex digits.
    Sha256(Digest),
    /// 128 hex digits.
    Sha512([u8; 64]),
}

/// Why a list has no checksum for a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ChecksumError {
    /// Nothing in it looks like a checksum.
    #[error("list has no line with a SHA-256 or SHA-512 checksum")]
    Empty,
    /// Lines, but none for the file.
    #[error("list has no line for {name:?}, only for {}", some(.others))]
    NotListed {
        /// The name that was looked for.
        name: String,
        /// The names that are there.
        others: Vec<String>,
    },
    /// Two different checksums of one kind.
    #[error("list has two different checksums for {name:?}")]
    Ambiguous { name: String },
    /// GitHub has none for what was uploaded before June 2025.
    #[error("GitHub's API has no digest for {name:?}")]
    NoDigest { name: String },
    /// Not what the API answers.
    #[error("answer of GitHub's API is {0}")]
    Api(String),
}

fn some(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut out: Vec<String> = names.iter().take(SHOWN).map(|n| format!("{n:?}")).collect();
    if names.len() > SHOWN {
        out.push(format!("{} others", names.len() - SHOWN));
    }
    if out.is_empty() { "files without names".into() } else { out.join(", ") }
}

impl Checksum {
    /// From hex digits; their number says which kind it is.
    pub fn from_hex(text: &str) -> Option<Checksum> {
        let lower = text.to_ascii_lowercase();
        if let Some(digest) = Digest::from_hex(&lower) {
            return Some(Checksum::Sha256(digest));
        }
        let bytes = base16ct::lower::decode_vec(&lower).ok()?;
        bytes.try_into().ok().map(Checksum::Sha512)
    }

    /// Of content, by the same algorithm as this one.
    ///
    /// # Errors
    /// The content can't be read.
    pub(crate) fn of_same_kind(&self, content: &Content) -> Result<Checksum, ContentError> {
        Ok(match self {
            Checksum::Sha256(_) => {
                let mut hasher = store::Hasher::new();
                each_part(content, |part| hasher.update(part))?;
                Checksum::Sha256(hasher.finish())
            }
            Checksum::Sha512(_) => {
                let mut hasher = Context::new(&SHA512);
                each_part(content, |part| hasher.update(part))?;
                let mut out = [0; 64];
                out.copy_from_slice(hasher.finish().as_ref());
                Checksum::Sha512(out)
            }
        })
    }
}

fn each_part(content: &Content, mut f: impl FnMut(&[u8])) -> Result<(), ContentError> {
    let mut buf = vec![0; 256 << 10];
    let mut at = 0;
    loop {
        let n = content.read_at(&mut buf, at)?;
        if n == 0 {
            return Ok(());
        }
        f(&buf[..n]);
        at += n as u64;
    }
}

/// `sha256:…` or `sha512:…`.
impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checksum::Sha256(digest) => write!(f, "{digest}"),
            Checksum::Sha512(bytes) => write!(f, "sha512:{}", base16ct::lower::encode_string(bytes)),
        }
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The checksum of the file `name` in a list: the lines of sha256sum and its kin, BSD's `SHA256 (NAME) = …`, or a file with
/// nothing but one checksum. Directories before a name don't count. If there is one of each kind, the longer wins.
///
/// # Errors
/// No such line, or two that contradict each other.
pub fn find(list: &str, name: &str) -> Result<Checksum, ChecksumError> {
    let list = list.strip_prefix('\u{feff}').unwrap_or(list);
    let lines: Vec<(Checksum, Option<&str>)> = list.lines().filter_map(line).collect();
    if let [(checksum, None)] = lines.as_slice() {
        return Ok(*checksum);
    }
    if lines.is_empty() {
        return Err(ChecksumError::Empty);
    }
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let named: Vec<(Checksum, String)> =
        lines.iter().filter_map(|(c, path)| path.map(|p| (*c, last(p)))).collect();
    let mine: BTreeSet<Checksum> = named.iter().filter(|(_, n)| n == name).map(|(c, _)| *c).collect();
    let long = mine.iter().filter(|c| matches!(c, Checksum::Sha512(_))).count();
    if long > 1 || mine.len() - long > 1 {
        return Err(ChecksumError::Ambiguous { name: name.to_owned() });
    }
    mine.last().copied().ok_or_else(|| {
        let mut others: Vec<String> = named.into_iter().map(|(_, n)| n).collect();
        others.dedup();
        ChecksumError::NotListed { name: name.to_owned(), others }
    })
}

/// One line: the checksum, and the name if there is one. Anything else, also lines with weaker checksums, is none.
fn line(line: &str) -> Option<(Checksum, Option<&str>)> {
    let line = line.trim();
    if let Some((word, rest)) = line.split_once(" (").filter(|(w, _)| matches!(*w, "SHA256" | "SHA512")) {
        let (name, hash) = rest.rsplit_once(") = ")?;
        let checksum = Checksum::from_hex(hash)?;
        let fits =
            matches!((word, checksum), ("SHA256", Checksum::Sha256(_)) | ("SHA512", Checksum::Sha512(_)));
        return fits.then_some((checksum, Some(name)));
    }
    // sha256sum marks names with escapes by a backslash; no asset has such a name.
    let Some((hash, name)) = line.split_once(char::is_whitespace) else {
        return Some((Checksum::from_hex(line)?, None));
    };
    let name = name.trim_start();
    let name = name.strip_prefix('*').unwrap_or(name);
    Some((Checksum::from_hex(hash)?, Some(name)))
}

/// The URL of a release asset in GitHub's API, and the asset's name. None if it isn't a URL of a release asset.
pub(crate) fn github_release(url: &str) -> Option<(String, String)> {
    let rest = url.strip_prefix("https://github.com/")?;
    let parts: Vec<&str> = rest.split('/').collect();
    let [owner, repository, "releases", "download", tag, asset] = parts.as_slice() else { return None };
    if [owner, repository, tag, asset].iter().any(|p| p.is_empty()) {
        return None;
    }
    let api = format!("https://api.github.com/repos/{owner}/{repository}/releases/tags/{tag}");
    Some((api, unescape(asset)?))
}

/// `%2B` is `+`, and so on.
fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(out).ok()
}

/// What GitHub's API says of a release.
#[derive(Deserialize)]
struct Release {
    assets: Vec<Asset>,
}

#[derive(Deserialize)]
struct Asset {
    name: String,
    digest: Option<String>,
}

/// The digest of an asset in the API's answer.
///
/// # Errors
/// Another answer, no such asset, or an asset without a digest (GitHub has them for what was uploaded since June 2025).
pub(crate) fn github_digest(answer: &[u8], asset: &str) -> Result<Checksum, ChecksumError> {
    let release: Release =
        serde_json::from_slice(answer).map_err(|e| ChecksumError::Api(format!("malformed: {e}")))?;
    let Some(found) = release.assets.iter().find(|a| a.name == asset) else {
        let others = release.assets.into_iter().map(|a| a.name).collect();
        return Err(ChecksumError::NotListed { name: asset.to_owned(), others });
    };
    let digest = found.digest.as_deref();
    let digest = digest.ok_or_else(|| ChecksumError::NoDigest { name: asset.to_owned() })?;
    let hex = digest.strip_prefix("sha256:").or_else(|| digest.strip_prefix("sha512:"));
    hex.and_then(Checksum::from_hex)
        .ok_or_else(|| ChecksumError::Api(format!("with a digest {digest:?}, expected sha256:…")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn lists_of_all_shapes() {
        let sha256 = |hex: &str| format!("sha256:{hex}");
        for (list, expected) in [
            (format!("{A}\n"), sha256(A)),
            (format!("{}\r\n", A.to_uppercase()), sha256(A)),
            (format!("{A}  x.tgz\n{B}  y.tgz\n"), sha256(A)),
            (format!("{B}  y.tgz\n{A} *x.tgz"), sha256(A)),
            (format!("{A}  ./x.tgz\n"), sha256(A)),
            (format!("{A}  _output/linux/x.tgz\n"), sha256(A)),
            (format!("\u{feff}{A} x.tgz\r\n"), sha256(A)),
            (format!("# sums\n\nd41d8cd98f00b204e9800998ecf8427e  x.tgz\n{A}\tx.tgz\n"), sha256(A)),
            (format!("SHA256 (x.tgz) = {A}\nSHA256 (y) = {B}\n"), sha256(A)),
            (format!("{A}  x.tgz\n{A}  dir/x.tgz\n"), sha256(A)),
            (format!("{A}  x.tgz\n{B}{B}  x.tgz\n"), format!("sha512:{B}{B}")),
        ] {
            assert_eq!(find(&list, "x.tgz").map(|c| c.to_string()), Ok(expected), "{list}");
        }
        let list = format!("{A}  x y.tgz\n{B}  z\n");
        assert!(find(&list, "x y.tgz").is_ok());
    }

    #[test]
    fn lists_without_the_file() {
        for (list, message) in [
            (String::new(), "list has no line with a SHA-256 or SHA-512 checksum"),
            (
                "<!DOCTYPE html><title>404</title>\n".into(),
                "list has no line with a SHA-256 or SHA-512 checksum",
            ),
            (
                "d41d8cd98f00b204e9800998ecf8427e  x.tgz\n".into(),
                "list has no line with a SHA-256 or SHA-512 checksum",
            ),
            (format!("{A}  xx.tgz\n"), "list has no line for \"x.tgz\", only for \"xx.tgz\""),
            (format!("{A}  x.tgz.sig\n{B}  y/ax.tgz\n"), "only for \"x.tgz.sig\", \"ax.tgz\""),
            (format!("{A}\n{B}\n"), "only for files without names"),
            (format!("{A}  x.tgz\n{B}  a/x.tgz\n"), "list has two different checksums for \"x.tgz\""),
            (format!("SHA256 (x.tgz) = {A}{A}\n"), "list has no line with"),
        ] {
            let error = find(&list, "x.tgz").unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn content_is_hashed() {
        let content: Content = "abc".into();
        let zero = Checksum::Sha512([0; 64]);
        let expected = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                        2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        assert_eq!(zero.of_same_kind(&content).unwrap().to_string(), expected);
        let short = Checksum::Sha256(Digest::of(""));
        assert_eq!(short.of_same_kind(&content).unwrap(), Checksum::Sha256(Digest::of("abc")));
    }

    #[test]
    fn github() {
        let url = "https://github.com/k3s-io/k3s/releases/download/v1.32.2%2Bk3s1/k3s%2Barm64";
        let (api, asset) = github_release(url).unwrap();
        assert_eq!(api, "https://api.github.com/repos/k3s-io/k3s/releases/tags/v1.32.2%2Bk3s1");
        assert_eq!(asset, "k3s+arm64");
        for other in
            ["https://example.org/a/b/releases/download/c/d", "https://github.com/a/b/archive/c.tar.gz"]
        {
            assert_eq!(github_release(other), None);
        }
        let answer = |digest: &str| {
            format!("{{\"tag_name\":\"v1\",\"assets\":[{{\"name\":\"x\",\"digest\":{digest}}}]}}")
        };
        let digest = |text: &str, name| github_digest(answer(text).as_bytes(), name).map(|c| c.to_string());
        assert_eq!(digest(&format!("\"sha256:{A}\""), "x"), Ok(format!("sha256:{A}")));
        for (text, name, message) in [
            ("null", "x", "has no digest for \"x\""),
            ("\"md5:00\"", "x", "expected sha256:…"),
            ("null", "y", "no line for \"y\", only for \"x\""),
            ("}", "x", "malformed"),
        ] {
            let error = digest(text, name).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
