//! Texts in a recipe that mean more than themselves. They are parsed while the recipe is read, so that what is wrong with
//! one is told with its line.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as _};
use tree::Arch;

use crate::{
    template::Template,
    version::{Range, Version},
};

/// A regular expression that has to match a whole text.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: regex::Regex,
}

/// Why a text is no [`Pattern`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("pattern {pattern:?} is no regular expression: {reason}")]
pub struct PatternError {
    /// The text.
    pub pattern: String,
    /// Its last line says it; those before draw arrows.
    pub reason: String,
}

impl Pattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first group, or the whole text if there is none; nothing if the pattern doesn't match.
    pub fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        let captures = self.regex.captures(text)?;
        captures.get(1).or_else(|| captures.get(0)).map(|m| m.as_str())
    }
}

impl FromStr for Pattern {
    type Err = PatternError;
    fn from_str(s: &str) -> Result<Self, PatternError> {
        let regex = regex::Regex::new(&format!("^(?:{s})$")).map_err(|e| {
            let text = e.to_string();
            let reason = text.lines().last().unwrap_or_default();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason).to_owned();
            PatternError { pattern: s.to_owned(), reason }
        })?;
        Ok(Pattern { text: s.to_owned(), regex })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Permissions of a file, as an octal text: `0755`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl FromStr for Mode {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let octal = (3..=4).contains(&s.len()) && s.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let mode = u32::from_str_radix(s, 8).ok().filter(|_| octal);
        mode.map(Mode).ok_or_else(|| format!("mode {s:?} is invalid, expected octal digits as in \"0755\""))
    }
}

/// An architecture, by systemd's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Architecture(pub Arch);

impl FromStr for Architecture {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let arch: Arch = s.parse().map_err(|e: tree::arch::UnknownArch| e.to_string())?;
        if arch.systemd() != s {
            return Err(format!("architecture is {s:?}, expected systemd's name {:?}", arch.systemd()));
        }
        Ok(Architecture(arch))
    }
}

macro_rules! text {
    ($type:ty, $name:literal, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

text!(Template, "Template", { "type": "string" });
text!(Range, "Range", { "type": "string", "pattern": "^ *([<>]=?|!?=) *[A-Za-z0-9][^ ]*( *, *([<>]=?|!?=) *[A-Za-z0-9][^ ]*)*$" });
text!(Version, "Version", { "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9.,_+~^-]*$" });
text!(Pattern, "Pattern", { "type": "string", "format": "regex" });
text!(Mode, "Mode", { "type": "string", "pattern": "^[0-7]{3,4}$" });
text!(Architecture, "Architecture", { "type": "string", "enum": ["x86-64", "arm64", "x86", "arm", "riscv64", "ppc64-le", "s390x", "loongarch64"] });
