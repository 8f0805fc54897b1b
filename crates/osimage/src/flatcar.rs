//! Flatcar's releases: channels, versions, and where their images are.

use std::fmt;
use std::str::FromStr;

use tree::Arch;

/// The index of all releases, JSON: version → `{"channel": …}`.
pub const INDEX: &str = "https://www.flatcar.org/releases-json/releases.json";

/// The key that releases are signed with: its fingerprint is what is trusted. Subkeys come and go, this one stays.
pub const FINGERPRINT: &str = "F88CFEDEFF29A5B4D9523864E25D9AED0593B34A";

/// A release channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The newest.
    Alpha,
    /// About to be stable.
    Beta,
    /// For production.
    Stable,
    /// Long-term support.
    Lts,
}

impl Channel {
    /// The channel of a version, derived from its middle number.
    fn of(version: &str) -> Channel {
        match version.split('.').nth(1) {
            Some("0") => Channel::Alpha,
            Some("1") => Channel::Beta,
            Some("2") => Channel::Stable,
            _ => Channel::Lts,
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Channel::Alpha => "alpha",
            Channel::Beta => "beta",
            Channel::Stable => "stable",
            Channel::Lts => "lts",
        })
    }
}

/// A release, as the user says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseSelector {
    /// The newest of a channel.
    Newest(Channel),
    /// This one: "4152.2.0".
    Version(String),
}

/// Why there is no such release.
#[derive(Debug, thiserror::Error)]
pub enum FlatcarError {
    /// Neither a channel nor a version.
    #[error("release: got {0:?}, expected alpha, beta, stable, lts or a version like 4152.2.0")]
    Release(String),
    /// Flatcar isn't made for it.
    #[error("architecture: Flatcar has no images for {0}, expected x86-64 or arm64")]
    Arch(&'static str),
    /// The index isn't what it should be.
    #[error("{INDEX}: {0}")]
    Index(String),
}

impl FromStr for ReleaseSelector {
    type Err = FlatcarError;

    fn from_str(text: &str) -> Result<Self, FlatcarError> {
        Ok(match text {
            "alpha" => ReleaseSelector::Newest(Channel::Alpha),
            "beta" => ReleaseSelector::Newest(Channel::Beta),
            "stable" => ReleaseSelector::Newest(Channel::Stable),
            "lts" => ReleaseSelector::Newest(Channel::Lts),
            version if numbers(version).is_some() => ReleaseSelector::Version(version.to_owned()),
            other => return Err(FlatcarError::Release(other.to_owned())),
        })
    }
}

/// A release that exists, for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its channel.
    pub channel: Channel,
    /// Its version.
    pub version: String,
    /// "amd64-usr" or "arm64-usr".
    pub board: &'static str,
}

impl Release {
    /// Of a version, or of the index's newest. `index` is asked for only if it is needed.
    ///
    /// # Errors
    /// The architecture or the index is unknown, or what `index` says.
    pub fn find<E: From<FlatcarError>>(
        wanted: &ReleaseSelector,
        arch: Arch,
        index: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Release, E> {
        let board = match arch {
            Arch::X86_64 => "amd64-usr",
            Arch::Arm64 => "arm64-usr",
            other => return Err(FlatcarError::Arch(other.systemd()).into()),
        };
        Ok(match wanted {
            ReleaseSelector::Version(version) => {
                Release { channel: Channel::of(version), version: version.clone(), board }
            }
            ReleaseSelector::Newest(channel) => {
                let version = newest(&index()?, *channel)?;
                Release { channel: *channel, version, board }
            }
        })
    }

    /// The URL of one of its files.
    pub fn url(&self, file: &str) -> String {
        format!("https://{}.release.flatcar-linux.net/{}/{}/{file}", self.channel, self.board, self.version)
    }

    /// The tag of the SDK's scripts for it.
    pub fn tag(&self) -> String {
        format!("{}-{}", self.channel, self.version)
    }
}

/// The newest version of a channel in the index.
fn newest(index: &[u8], channel: Channel) -> Result<String, FlatcarError> {
    let bad = |reason: String| FlatcarError::Index(reason);
    let index: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(index).map_err(|e| bad(e.to_string()))?;
    let name = channel.to_string();
    index
        .iter()
        .filter(|(_, release)| release.get("channel").and_then(|c| c.as_str()) == Some(&name))
        // Some keys carry more than a version.
        .filter_map(|(version, _)| numbers(version).map(|n| (n, version)))
        .max()
        .map(|(_, version)| version.clone())
        .ok_or_else(|| bad(format!("no release of channel {name}")))
}

/// Three numbers, as every version has.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let mut numbers = [0; 3];
    let mut parts = version.split('.');
    for number in &mut numbers {
        let part = parts.next()?;
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        *number = part.parse().ok().filter(|_| digits)?;
    }
    parts.next().is_none().then_some(numbers)
}
