//! A recipe that makes sense: [`Recipe::parse`] checks all that can be checked without a version, [`Recipe::at`] decides and
//! expands all for one.

mod error;
pub use error::RecipeError;
pub(crate) use error::suggestion;

mod files;
pub use files::{Entry, Files};

mod check;
pub(crate) use check::glob;

pub mod instance;
pub use instance::{Instance, Settings};

mod expand;
pub use expand::InstanceError;
pub use expand::Query;

use std::collections::BTreeMap;
use std::str::FromStr;

use store::Digest;
use sysext::ExtensionName;
use tree::Arch;

use crate::{
    format::{Category, Latest, Pattern, RecipeFile, SourceTable, Stream},
    template::Template,
    version::Version,
};

/// A recipe.
#[derive(Debug, Clone)]
pub struct Recipe {
    name: ExtensionName,
    /// What is in the tables whose rules wait for a version.
    rules: RecipeFile,
    files: Files,
    digest: Digest,
    architectures: Vec<Arch>,
    parameters: BTreeMap<String, Parameter>,
}

/// Something that `--set` changes.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// What it is.
    pub about: String,
    /// Where its value comes from.
    pub value: ParameterValue,
}

/// Where the value of a parameter comes from if `--set` gives none.
#[derive(Debug, Clone)]
pub enum ParameterValue {
    /// Nowhere.
    Required,
    /// The recipe.
    Default(Template),
    /// The newest of a list.
    Newest(SourceTable, Option<Pattern>),
}

impl Recipe {
    /// Reads `recipe.toml` and holds it against the other files of its folder.
    ///
    /// # Errors
    /// The first thing that makes no sense, with its line.
    pub fn parse(name: &str, text: &str, files: Files) -> Result<Recipe, RecipeError> {
        let fail = |message: String| RecipeError { recipe: name.to_owned(), position: None, message };
        let extension = ExtensionName::from_str(name).map_err(|e| fail(e.to_string()))?;
        let rules: RecipeFile = toml::from_str(text).map_err(|e| error::syntax(name, text, &e))?;
        check::check(name, &rules, &files).map_err(|problem| RecipeError {
            recipe: name.to_owned(),
            position: problem.at.map(|at| error::position(text, at)),
            message: problem.message,
        })?;
        let architectures = match &rules.architectures {
            Some(list) => list.iter().map(|a| a.0).collect(),
            None => vec![Arch::X86_64, Arch::Arm64],
        };
        let parameters = rules.parameters.iter().map(|(name, table)| {
            let table = table.get_ref();
            let value = match (&table.source, &table.default) {
                (Some(source), _) => ParameterValue::Newest(source.clone(), table.r#match.clone()),
                (None, Some(default)) => ParameterValue::Default(default.clone()),
                (None, None) => ParameterValue::Required,
            };
            (name.clone(), Parameter { about: table.about.clone(), value })
        });
        let parameters = parameters.collect();
        let digest = digest(text, &files);
        Ok(Recipe { name: extension, rules, files, digest, architectures, parameters })
    }

    /// Its name, which is the extension's.
    pub fn name(&self) -> &ExtensionName {
        &self.name
    }

    /// What kind of thing it is, if the recipe says so.
    pub fn category(&self) -> Option<Category> {
        self.rules.category
    }

    /// Words by which it is found.
    pub fn keywords(&self) -> &[String] {
        &self.rules.keywords
    }

    /// Names that it had before.
    pub fn aliases(&self) -> &[String] {
        &self.rules.aliases
    }

    /// A version in the form that this extension's versions have: with a `v` before it, or without. The order of systemd
    /// takes a digit for newer than the letter, so a host must never see both.
    pub fn in_form(&self, version: &Version) -> Version {
        let Some(pattern) = self.pattern() else { return version.clone() };
        let entries = |text: &str| [text.to_owned(), format!("v{text}")];
        let is_form = |text: &str| entries(text).iter().any(|entry| pattern.find(entry) == Some(text));
        let other = match version.as_str() == version.plain() {
            true => format!("v{version}"),
            false => version.plain().to_owned(),
        };
        match other.parse() {
            Ok(other_version) if !is_form(version.as_str()) && is_form(&other) => other_version,
            _ => version.clone(),
        }
    }

    /// What it is, in one line.
    pub fn summary(&self) -> &str {
        &self.rules.summary
    }

    /// Upstream's page.
    pub fn homepage(&self) -> Option<&str> {
        self.rules.homepage.as_deref()
    }

    /// Licence of what is shipped: SPDX.
    pub fn licence(&self) -> Option<&str> {
        self.rules.licence.as_deref()
    }

    /// Markdown for the extension's page.
    pub fn notes(&self) -> &str {
        &self.rules.notes
    }

    /// Architectures that upstream has.
    pub fn architectures(&self) -> &[Arch] {
        &self.architectures
    }

    /// Extensions that can't be merged at the same time.
    pub fn conflicts(&self) -> &[String] {
        &self.rules.conflicts
    }

    /// Extensions of the system itself that must not be merged beside it.
    pub fn masks(&self) -> &[String] {
        &self.rules.masks
    }

    /// Further update streams.
    pub fn streams(&self) -> &[Stream] {
        &self.rules.streams
    }

    /// Lint rules that are only warned about.
    pub fn allow(&self) -> &[String] {
        &self.rules.allow
    }

    /// Libraries of the host that ELF files may need.
    pub fn host_libraries(&self) -> &[String] {
        &self.rules.host_libraries
    }

    /// Where the versions are listed.
    pub fn source(&self) -> &SourceTable {
        &self.rules.versions.get_ref().source
    }

    /// What an entry of the list has to look like.
    pub fn pattern(&self) -> Option<&Pattern> {
        self.rules.versions.get_ref().r#match.as_ref()
    }

    /// What is built if no version is named.
    pub fn latest(&self) -> Latest {
        self.rules.versions.get_ref().latest
    }

    /// How many minor versions [`Latest::NewestPerMinor`] takes.
    pub fn minors(&self) -> usize {
        self.rules.versions.get_ref().minors.unwrap_or(5) as usize
    }

    /// What `--set` changes.
    pub fn parameters(&self) -> &BTreeMap<String, Parameter> {
        &self.parameters
    }

    /// What `--without` leaves out, with a line about each.
    pub fn components(&self) -> &BTreeMap<String, String> {
        &self.rules.components
    }

    /// The recipe as typed, for the documentation.
    pub fn as_typed(&self) -> &RecipeFile {
        &self.rules
    }

    /// The other files of its folder.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Of `recipe.toml` and all other files: changes with whatever could change what is built.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

fn digest(text: &str, files: &Files) -> Digest {
    let mut hasher = store::Hasher::new();
    // Lengths first, so that no two folders hash the same bytes.
    let mut feed = |kind: u8, path: &str, content: &[u8]| {
        hasher.update(&[kind]);
        for bytes in [path.as_bytes(), content] {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
    };
    feed(b't', "recipe.toml", text.as_bytes());
    for (path, entry) in files.iter() {
        match entry {
            Entry::File { executable: true, content } => feed(b'x', path, content),
            Entry::File { executable: false, content } => feed(b'f', path, content),
            Entry::Symlink(target) => feed(b'l', path, target.as_bytes()),
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
