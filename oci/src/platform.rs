//! Operating system, architecture and variant, by OCI's names. image-spec, image-index.md, "Platform Variants".

use std::fmt;
use std::str::FromStr;

use tree::Arch;

/// What an image runs on, in normal form: `linux/amd64`, `linux/arm64`, `linux/arm/v7`.
///
/// Normal form is containerd's: names as Go's GOARCH, no variant where it is the architecture's base (`amd64/v1`,
/// `arm64/v8`), always one for arm (`v7` if nothing is said).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// GOOS: `linux`.
    pub os: String,
    /// GOARCH: `amd64`, `arm64`, `arm`, ….
    pub architecture: String,
    /// `v7`, `v3`, …; none for the architecture's base.
    pub variant: Option<String>,
}

/// Why text is no [`Platform`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// Not `[OS/]ARCH[/VARIANT]` of lower-case words.
    #[error(
        "platform {0:?} is malformed, expected [os/]architecture[/variant], such as linux/arm64 or arm/v7"
    )]
    Syntax(String),
    /// A word that no image has as its architecture, most likely a typing error.
    #[error("architecture {0:?} is unknown, expected one of {list}", list = known().join(", "))]
    Unknown(String),
    /// The machine's own architecture has no OCI name known here.
    #[error("architecture {0:?} of this machine has no OCI name")]
    Host(String),
}

/// What else Go has for Linux. go tool dist list.
const GOARCH: [&str; 5] = ["mips", "mipsle", "mips64", "mips64le", "ppc64"];

fn known() -> Vec<&'static str> {
    Arch::ALL.iter().map(|a| a.oci()).chain(GOARCH).collect()
}

impl Platform {
    /// Refuses architectures that nobody has.
    ///
    /// # Errors
    /// The architecture is not one of Go's for Linux.
    pub fn known(self) -> Result<Self, PlatformError> {
        match self.os != "linux" || known().contains(&self.architecture.as_str()) {
            true => Ok(self),
            false => Err(PlatformError::Unknown(store::digest::shorten(&self.architecture))),
        }
    }

    /// Brings the names into normal form.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "" => "linux".into(),
            "macos" => "darwin".into(),
            other => other.to_owned(),
        };
        let given = variant.map(str::to_ascii_lowercase).filter(|v| !v.is_empty());
        let (architecture, implied) = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" | "amd64" => ("amd64".into(), None),
            "aarch64" | "arm64" => ("arm64".into(), None),
            "i386" | "i486" | "i586" | "i686" | "x86" | "386" => ("386".into(), None),
            "armhf" | "armv7l" | "armv7" => ("arm".into(), Some("v7")),
            "armel" | "armv6l" | "armv6" => ("arm".into(), Some("v6")),
            "armv5l" | "armv5" => ("arm".into(), Some("v5")),
            "arm" => ("arm".into(), Some("v7")),
            "ppc64le" | "ppc64el" | "powerpc64le" | "ppc64-le" => ("ppc64le".into(), None),
            "loongarch64" | "loong64" => ("loong64".into(), None),
            other => (other.to_owned(), None),
        };
        let variant = given.or(implied.map(Into::into)).map(|v| {
            let bare = v.bytes().next().is_some_and(|b| b.is_ascii_digit());
            if bare { format!("v{v}") } else { v }
        });
        let variant = variant.filter(|v| {
            !matches!((architecture.as_str(), v.as_str()), ("amd64", "v1") | ("arm64", "v8" | "v8.0"))
        });
        Platform { os, architecture, variant }
    }

    /// Linux on the machine that this program runs on.
    ///
    /// # Errors
    /// An architecture without an OCI name.
    pub fn host() -> Result<Self, PlatformError> {
        use std::env::consts::ARCH;
        match ARCH {
            "x86_64" | "aarch64" | "x86" | "arm" | "riscv64" | "s390x" | "loongarch64" => {
                Ok(Self::new("linux", ARCH, None))
            }
            "powerpc64" if cfg!(target_endian = "little") => Ok(Self::new("linux", "ppc64le", None)),
            other => Err(PlatformError::Host(other.into())),
        }
    }

    /// How well an image for `image` runs on `self`: none not at all, 0 best, more is worse. A CPU runs images for the
    /// variants below its own.
    pub fn rank(&self, image: &Platform) -> Option<u32> {
        if self.os != image.os || self.architecture != image.architecture {
            return None;
        }
        if self.variant == image.variant {
            return Some(0);
        }
        let base = match self.architecture.as_str() {
            "arm" => 5,
            "arm64" => 80,
            "amd64" => 1,
            // Variants of other architectures (riscv64's profiles) have no known order, but a plain image is for all.
            _ => return image.variant.is_none().then_some(1),
        };
        let level = |p: &Platform| match &p.variant {
            None => Some(base),
            Some(v) => variant_level(&self.architecture, v),
        };
        level(self)?.checked_sub(level(image)?)
    }
}

fn variant_level(architecture: &str, variant: &str) -> Option<u32> {
    let digits = variant.strip_prefix('v')?;
    if architecture == "arm64" {
        let (major, minor) = digits.split_once('.').unwrap_or((digits, "0"));
        let minor = minor.parse::<u32>().ok().filter(|m| *m < 10)?;
        return major.parse::<u32>().ok().filter(|m| *m < 100).map(|m| m * 10 + minor);
    }
    digits.parse().ok()
}

impl FromStr for Platform {
    type Err = PlatformError;
    fn from_str(s: &str) -> Result<Self, PlatformError> {
        let word = |w: &str| {
            let ok = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
            w.len() <= 64 && w.starts_with(|c: char| c.is_ascii_alphanumeric()) && w.bytes().all(ok)
        };
        let parts: Vec<&str> = s.split('/').collect();
        if !parts.iter().all(|w| word(w)) {
            return Err(PlatformError::Syntax(store::digest::shorten(s)));
        }
        match parts[..] {
            [architecture] => Ok(Self::new("linux", architecture, None)),
            // "arm/v7" beside "linux/arm": a variant starts with v and a digit, no architecture does.
            [architecture, variant] if is_variant(variant) => {
                Ok(Self::new("linux", architecture, Some(variant)))
            }
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(PlatformError::Syntax(store::digest::shorten(s))),
        }
    }
}

fn is_variant(word: &str) -> bool {
    word.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(s: &str) -> Platform {
        s.parse().unwrap()
    }

    #[test]
    fn aliases_have_one_normal_form() {
        for (given, expected) in [
            ("x86-64", "linux/amd64"),
            ("x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("amd64/v3", "linux/amd64/v3"),
            ("aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("arm", "linux/arm/v7"),
            ("armhf", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("arm/v6", "linux/arm/v6"),
            ("armel", "linux/arm/v6"),
            ("i686", "linux/386"),
            ("ppc64el", "linux/ppc64le"),
            ("loongarch64", "linux/loong64"),
            ("riscv64", "linux/riscv64"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(p(given).to_string(), expected, "{given}");
            assert_eq!(p(expected), p(given), "{given}");
        }
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/../x", "amd 64", "linux/amd64/"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ranks_variants_downwards_only() {
        for (wanted, image, rank) in [
            ("arm64", "arm64/v8", Some(0)),
            ("arm/v7", "arm/v7", Some(0)),
            ("arm/v7", "arm/v6", Some(1)),
            ("arm/v7", "arm/v5", Some(2)),
            ("arm/v6", "arm/v7", None),
            ("arm64", "arm/v7", None),
            ("arm64/v9", "arm64", Some(10)),
            ("arm64", "arm64/v9", None),
            ("amd64", "amd64/v2", None),
            ("amd64/v3", "amd64", Some(2)),
            ("amd64/v3", "amd64/v2", Some(1)),
            ("amd64", "windows/amd64", None),
            ("amd64", "unknown/unknown", None),
            ("linux/riscv64/rva23u64", "riscv64", Some(1)),
            ("riscv64", "linux/riscv64/rva23u64", None),
            ("amd64/vast", "amd64", None),
            ("arm/v99999999999", "arm/v5", None),
        ] {
            assert_eq!(p(wanted).rank(&p(image)), rank, "{wanted} {image}");
        }
    }
}
