//! The programs: tests/programs/uses.toml and uses-alpine.toml.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::place::repository;

/// What programs are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// Debian 12.
    Debian,
    /// Alpine 3.20.
    Alpine,
}

/// A program and how it is used. The file's head says what each key means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// What the table calls it.
    pub name: String,
    /// What kind of program it is.
    pub kind: String,
    /// Packages; the root has them.
    pub packages: Vec<String>,
    #[serde(default)]
    take: Vec<String>,
    /// What is taken by name.
    pub paths: Vec<String>,
    /// Files of the root that are put to /tmp.
    #[serde(default)]
    pub files: Vec<String>,
    /// Options of flatwrap.
    #[serde(default)]
    pub flatwrap: Vec<String>,
    /// A script for /bin/sh.
    #[serde(rename = "use")]
    pub script: String,
    /// What the script prints.
    pub says: String,
    #[serde(default)]
    told: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsesFile {
    program: Vec<Use>,
}

/// All of an image; for Alpine those that can be had here.
///
/// # Errors
/// The file can't be read, or says what it can't.
pub fn all(image: Image) -> Result<Vec<Use>> {
    let name = match image {
        Image::Debian => "uses.toml",
        Image::Alpine => "uses-alpine.toml",
    };
    let path = repository().join("tests/programs").join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
    let mut file: UsesFile = toml::from_str(&text).with_context(|| format!("{path:?}"))?;
    file.program.retain(|p| image == Image::Debian || super::alpine::has(&p.packages));
    Ok(file.program)
}

impl Use {
    /// PATHs for what is taken by package.
    pub(super) fn take(&self) -> Vec<String> {
        match self.take.as_slice() {
            [] => self.packages.iter().take(1).map(|name| format!("package:{name}")).collect(),
            take => take.to_vec(),
        }
    }

    /// Its programs that aren't in a folder of programs.
    pub(super) fn elsewhere(&self) -> impl Iterator<Item = &String> {
        let usual = ["/usr/bin/", "/usr/sbin/", "/bin/"];
        self.paths.iter().filter(move |path| !usual.iter().any(|dir| path.starts_with(dir)))
    }

    /// One of them stands in what flix says if the program fails.
    pub(super) fn told(&self) -> Vec<String> {
        let packages = self.packages.iter().map(|name| format!("package:{name}"));
        self.told.iter().cloned().chain(packages).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() -> Result<()> {
        let programs = [all(Image::Debian)?, all(Image::Alpine)?].concat();
        let names: BTreeSet<String> = programs.iter().map(|p| p.name.to_lowercase()).collect();
        assert_eq!(names.len(), programs.len());
        Ok(())
    }
}
