//! How a download is checked: a word or a table.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::SignatureTable;
use crate::template::Template;

/// How a download is checked before it is pinned.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum ChecksumTable {
    /// By a list of checksums of upstream's.
    List(ListTable),
    /// By a word.
    Word(ChecksumWord),
    /// By the first of these that upstream has.
    FirstOf(Vec<ChecksumTable>),
}

impl ChecksumTable {
    /// The ways, in order.
    pub fn ways(&self) -> &[ChecksumTable] {
        match self {
            ChecksumTable::FirstOf(ways) => ways,
            one => std::slice::from_ref(one),
        }
    }
}

/// A check that needs no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum ChecksumWord {
    /// The digest that GitHub's API gives for the asset of a release.
    GithubDigest,
    /// Upstream publishes none: what came first is pinned.
    LockOnly,
}

/// A list of checksums: `sha256sum`'s lines, or one bare hash.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub struct ListTable {
    /// Its URL. A template; `{url}` and `{file}` are the download's.
    pub list: Template,
    /// The file's name in the list, directories aside. A template. Default: the last part of the download's URL.
    pub name: Option<Template>,
    /// The list's signature, if upstream signs the list. `{url}` and `{file}` are the download's.
    pub signature: Option<Box<SignatureTable>>,
}

impl<'de> Deserialize<'de> for ChecksumTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = ChecksumTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"github-digest\", \"lock-only\", { list = URL } or an array of them")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<ChecksumTable, E> {
        match word {
            "github-digest" => Ok(ChecksumTable::Word(ChecksumWord::GithubDigest)),
            "lock-only" => Ok(ChecksumTable::Word(ChecksumWord::LockOnly)),
            _ => Err(E::unknown_variant(word, &["github-digest", "lock-only"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ChecksumTable, A::Error> {
        ListTable::deserialize(MapAccessDeserializer::new(map)).map(ChecksumTable::List)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ChecksumTable, A::Error> {
        let mut ways = Vec::new();
        while let Some(way) = seq.next_element::<ChecksumTable>()? {
            if matches!(way, ChecksumTable::FirstOf(_)) {
                return Err(serde::de::Error::custom("an array of checks can't be nested"));
            }
            ways.push(way);
        }
        if ways.is_empty() {
            return Err(serde::de::Error::custom("an array of checks is empty"));
        }
        Ok(ChecksumTable::FirstOf(ways))
    }
}
