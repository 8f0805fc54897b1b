//! What of a release is meant: `--only` and `--shard`.

use std::str::FromStr;

use tree::Arch;

use recipes::Catalogue;
use recipes::lock::Key;
use recipes::version::Version;

/// `NAME[@VERSION[:ARCH]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Only {
    pub(super) name: String,
    pub(super) version: Option<Version>,
    arch: Option<Arch>,
}

impl FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = match text.split_once('@') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        let (version, arch) = match rest.map(|r| r.split_once(':').map_or((r, None), |(v, a)| (v, Some(a)))) {
            Some((version, arch)) => (Some(version), arch),
            None => (None, None),
        };
        let version = version.map(|v| v.parse::<Version>().map_err(|e| e.to_string())).transpose()?;
        let arch = arch.map(|a| a.parse::<Arch>().map_err(|e| e.to_string())).transpose()?;
        Ok(Only { name: name.to_owned(), version, arch })
    }
}

impl Only {
    /// The same by the name and in the version's form that the catalogue has.
    pub(super) fn known_as(&self, catalogue: &Catalogue) -> Only {
        match catalogue.recipe(&self.name) {
            Ok(recipe) => Only {
                name: recipe.name().to_string(),
                version: self.version.as_ref().map(|version| recipe.in_form(version)),
                arch: self.arch,
            },
            Err(_) => self.clone(),
        }
    }

    pub(super) fn fits(&self, key: &Key) -> bool {
        self.name == key.name
            && self.version.as_ref().is_none_or(|v| *v == key.version)
            && self.arch.is_none_or(|a| a == key.arch)
    }
}

/// `I/N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shard {
    /// From 0.
    pub(super) index: usize,
    pub(super) count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((i, n)) if (1..=n).contains(&i) => Ok(Shard { index: i - 1, count: n }),
            _ => Err("expected I/N, like 1/4".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let only: Only = "k3s@v1.31.2+k3s1:arm64".parse().unwrap();
        assert_eq!((only.name.as_str(), only.arch), ("k3s", Some(Arch::Arm64)));
        assert_eq!(only.version.unwrap().as_str(), "v1.31.2+k3s1");
        assert!("k3s@".parse::<Only>().is_err() && "k3s@1:vax".parse::<Only>().is_err());
        assert_eq!("2/3".parse(), Ok(Shard { index: 1, count: 3 }));
        for bad in ["0/3", "4/3", "1/0", "1", "a/b", "-1/2"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}
