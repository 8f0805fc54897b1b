//! The names of image files: `NAME-VERSION-ARCH.raw`.

use std::fmt;
use std::str::FromStr;

use tree::Arch;

use crate::version::Version;

/// The ending of image files.
const SUFFIX: &str = ".raw";

/// `NAME-VERSION-ARCH.raw`: the name of an image in a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFileName {
    /// The extension's.
    pub name: String,
    /// As upstream writes it.
    pub version: Version,
    /// The hosts'.
    pub arch: Arch,
}

/// A file name that no image in a release has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("file name {0:?} is malformed, expected NAME-VERSION-ARCH.raw")]
pub struct ImageFileNameError(String);

impl ImageFileName {
    /// Without `.raw`: the beginning of the names of files about the image.
    pub fn stem(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, self.arch.systemd())
    }

    /// Of an extension with a known name, which determines where the version begins.
    pub fn of(name: &str, file: &str) -> Option<ImageFileName> {
        let (rest, arch) = split_arch(file)?;
        let version = rest.strip_prefix(name)?.strip_prefix('-')?.parse().ok()?;
        Some(ImageFileName { name: name.to_owned(), version, arch })
    }
}

/// `NAME-VERSION` and the architecture.
fn split_arch(file: &str) -> Option<(&str, Arch)> {
    let stem = file.strip_suffix(SUFFIX)?;
    Arch::ALL.into_iter().find_map(|arch| Some((stem.strip_suffix(arch.systemd())?.strip_suffix('-')?, arch)))
}

impl fmt::Display for ImageFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{SUFFIX}", self.stem())
    }
}

/// The version begins at the first `-` before a digit, or before a `v` and a digit; if there is none, at the last `-`.
impl FromStr for ImageFileName {
    type Err = ImageFileNameError;

    fn from_str(file: &str) -> Result<Self, ImageFileNameError> {
        let parse = || {
            let (rest, _) = split_arch(file)?;
            let numbered = |(at, _): &(usize, &str)| {
                let version = &rest[at + 1..];
                let version = version.strip_prefix('v').unwrap_or(version);
                version.starts_with(|c: char| c.is_ascii_digit())
            };
            let at = rest.match_indices('-').find(numbered).map(|(at, _)| at).or_else(|| rest.rfind('-'))?;
            ImageFileName::of(rest.get(..at).filter(|name| !name.is_empty())?, file)
        };
        parse().ok_or_else(|| ImageFileNameError(file.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_releases() {
        for (file, name, version, arch) in [
            ("k3s-v1.32.2+k3s1-x86-64.raw", "k3s", "v1.32.2+k3s1", Arch::X86_64),
            ("nvidia-runtime-v1.17.4-arm64.raw", "nvidia-runtime", "v1.17.4", Arch::Arm64),
            ("tool-1.0-rc.1-x86.raw", "tool", "1.0-rc.1", Arch::X86),
            ("some-tool-latest-arm.raw", "some-tool", "latest", Arch::Arm),
        ] {
            let parsed: ImageFileName = file.parse().unwrap();
            assert_eq!((&*parsed.name, parsed.version.as_str(), parsed.arch), (name, version, arch));
            assert_eq!(ImageFileName::of(name, file), Some(parsed));
        }
        for bad in [
            "",
            "x.raw",
            "x-1.raw",
            "x-1-vax.raw",
            "-1-arm64.raw",
            "x--arm64.raw",
            "x-1-arm64",
            "1-arm64.raw",
        ] {
            assert!(bad.parse::<ImageFileName>().is_err(), "{bad}");
        }
        assert_eq!(ImageFileName::of("dock", "docker-1-arm64.raw"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in "[a-z][a-z0-9]{0,8}(-[a-u][a-z0-9]{0,8}){0,2}",
            version in "v?[0-9][0-9a-z.+~^_-]{0,12}",
            arch in proptest::sample::select(Arch::ALL.to_vec()),
        ) {
            let image = ImageFileName { name: name.clone(), version: version.parse().unwrap(), arch };
            let file = image.to_string();
            prop_assert_eq!(file.parse::<ImageFileName>(), Ok(image.clone()));
            prop_assert_eq!(ImageFileName::of(&name, &file), Some(image));
        }

        #[test]
        fn what_is_read_is_written(file in "[a-z0-9v.-]{0,20}-(x86-64|x86|arm64|arm).raw") {
            if let Ok(image) = file.parse::<ImageFileName>() {
                prop_assert_eq!(image.to_string(), file);
            }
        }
    }
}
