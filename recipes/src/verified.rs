//! How an input was verified when it was pinned.

use std::fmt;

use serde::{Deserialize, Serialize};

const CHECKSUM: &str = "checksum in ";
const GITHUB: &str = "digest told by GitHub's API";
const IMAGE: &str = "digest of the image";
const PACKAGE_MANAGER: &str = "checked by the distribution's package manager";
const UNCHECKED: &str = "unchecked: ";

/// How an input was verified when it was pinned: `checksum in URL; OpenPGP signature by KEY`. Text of all kinds is one, and
/// stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Verified {
    /// What its digest was compared with.
    pub digest: Against,
    /// Scheme and key of its signature: `OpenPGP signature by KEY`.
    pub signature: Option<String>,
}

/// What a digest was compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Against {
    /// Nothing; why.
    Nothing(String),
    /// The list of checksums at this URL.
    Checksums(String),
    /// What GitHub's API has for the asset.
    GithubApi,
    /// The digest is an image's name.
    Image,
    /// What a package manager knows: apt's signed lists have the digest, apk checks each package's signature when it installs it.
    PackageManager,
    /// Text written by another version of this program.
    Other(String),
}

impl From<Against> for Verified {
    fn from(digest: Against) -> Self {
        Verified { digest, signature: None }
    }
}

impl From<String> for Verified {
    fn from(text: String) -> Self {
        let (first, signature) = match text.split_once("; ") {
            Some((first, signature)) => (first, Some(signature.to_owned())),
            None => (text.as_str(), None),
        };
        let digest = match first {
            GITHUB => Against::GithubApi,
            IMAGE => Against::Image,
            PACKAGE_MANAGER => Against::PackageManager,
            _ => match (first.strip_prefix(UNCHECKED), first.strip_prefix(CHECKSUM)) {
                (Some(why), _) => Against::Nothing(why.to_owned()),
                (_, Some(url)) => Against::Checksums(url.to_owned()),
                _ => Against::Other(first.to_owned()),
            },
        };
        Verified { digest, signature }
    }
}

impl From<Verified> for String {
    fn from(verified: Verified) -> String {
        verified.to_string()
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.digest {
            Against::Nothing(why) => write!(f, "{UNCHECKED}{why}")?,
            Against::Checksums(url) => write!(f, "{CHECKSUM}{url}")?,
            Against::GithubApi => f.write_str(GITHUB)?,
            Against::Image => f.write_str(IMAGE)?,
            Against::PackageManager => f.write_str(PACKAGE_MANAGER)?,
            Against::Other(text) => f.write_str(text)?,
        }
        self.signature.iter().try_for_each(|signature| write!(f, "; {signature}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_as_it_is() {
        for (text, digest, signed) in [
            ("checksum in https://e.org/SUMS", Against::Checksums("https://e.org/SUMS".into()), false),
            ("digest told by GitHub's API; minisign signature by X", Against::GithubApi, true),
            (
                "unchecked: upstream publishes no checksum; cosign signature by X",
                Against::Nothing("upstream publishes no checksum".into()),
                true,
            ),
            ("digest of the image", Against::Image, false),
            ("SHA256SUMS of upstream's", Against::Other("SHA256SUMS of upstream's".into()), false),
            ("", Against::Other(String::new()), false),
        ] {
            let verified = Verified::from(text.to_owned());
            assert_eq!((&verified.digest, verified.signature.is_some()), (&digest, signed), "{text}");
            assert_eq!(verified.to_string(), text);
        }
    }
}
