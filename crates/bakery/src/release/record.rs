//! What is known of an image: its provenance statement, in-toto's with SLSA's predicate.
//! <https://slsa.dev/spec/v1.0/provenance>, <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>
//!
//! The statement stands beside the image and is all that a release knows of it: pages, manifests and notes are made
//! from the statements, whichever machine has built the images.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use recipes::recipe::Settings;
use recipes::{ImageFileName, Verified};
use store::Digest;

/// An image and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Name, version and architecture, which make the file's name.
    pub image: ImageFileName,
    /// Bytes.
    pub size: u64,
    pub sha256: Digest,
    /// Parameters and components, as given.
    pub settings: BTreeMap<String, String>,
    /// Of the options that it was written with; older statements don't have them.
    pub options: Option<Digest>,
    /// Of the recipe and its files.
    pub recipe: Digest,
    pub tool: String,
    pub inputs: Vec<Input>,
}

/// Something that went into an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    pub uri: String,
    /// Of its bytes, or of an image's manifest.
    pub sha256: Digest,
    /// How it was verified when it was pinned.
    pub verified: Verified,
}

/// Why a statement can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// It is no JSON of this form.
    #[error("provenance statement: {0}")]
    Json(#[from] serde_json::Error),
    /// It is about something else.
    #[error("provenance statement: {what} is {got:?}, expected {expected:?}")]
    Other {
        what: &'static str,
        got: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// Among the settings: components that were left out, with commas between them.
pub(crate) const WITHOUT: &str = "without";

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://slsa.dev/provenance/v1";
/// What kind of build the parameters belong to.
const BUILD: &str = "urn:bakery:build:1";

#[derive(Serialize, Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Resource>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    build_definition: Definition,
    run_details: Run,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    build_type: String,
    external_parameters: Parameters,
    resolved_dependencies: Vec<Resource>,
}

#[derive(Serialize, Deserialize)]
struct Parameters {
    name: String,
    version: String,
    architecture: String,
    recipe: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    options: Option<String>,
    settings: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Run {
    builder: Builder,
}

#[derive(Serialize, Deserialize)]
struct Builder {
    id: String,
    version: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Resource {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    digest: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, serde_json::Value>,
}

fn digest(sha256: &Digest) -> BTreeMap<String, String> {
    BTreeMap::from([("sha256".to_owned(), sha256.hex())])
}

impl Record {
    /// The statement's text.
    ///
    /// # Errors
    /// serde_json's, which has no reason for one.
    pub(crate) fn statement(&self) -> Result<String, RecordError> {
        let input = |i: &Input| Resource {
            name: None,
            uri: Some(i.uri.clone()),
            digest: digest(&i.sha256),
            annotations: BTreeMap::from([("verified".into(), i.verified.to_string().into())]),
        };
        let subject = Resource {
            name: Some(self.image.to_string()),
            uri: None,
            digest: digest(&self.sha256),
            annotations: BTreeMap::from([("size".into(), self.size.into())]),
        };
        let statement = Statement {
            kind: STATEMENT.into(),
            subject: vec![subject],
            predicate_type: PREDICATE.into(),
            predicate: Predicate {
                build_definition: Definition {
                    build_type: BUILD.into(),
                    external_parameters: Parameters {
                        name: self.image.name.clone(),
                        version: self.image.version.to_string(),
                        architecture: self.image.arch.systemd().to_owned(),
                        recipe: self.recipe.to_string(),
                        options: self.options.as_ref().map(Digest::to_string),
                        settings: self.settings.clone(),
                    },
                    resolved_dependencies: self.inputs.iter().map(input).collect(),
                },
                run_details: Run {
                    builder: Builder {
                        id: "urn:bakery".into(),
                        version: BTreeMap::from([("bakery".into(), self.tool.clone())]),
                    },
                },
            },
        };
        Ok(serde_json::to_string_pretty(&statement)? + "\n")
    }

    /// Parameters and components, as they would be chosen to build the same again.
    pub(crate) fn choices(&self) -> Settings {
        let mut parameters = self.settings.clone();
        let without = parameters.remove(WITHOUT).unwrap_or_default();
        let without = without.split(',').filter(|w| !w.is_empty()).map(str::to_owned).collect();
        Settings { parameters, without }
    }

    /// Reads a statement of [`Record::statement`].
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn parse(text: &[u8]) -> Result<Record, RecordError> {
        let statement: Statement = serde_json::from_slice(text)?;
        let other = |what, got: &str, expected| RecordError::Other { what, got: got.to_owned(), expected };
        let is = |what, got: &str, expected| match got == expected {
            true => Ok(()),
            false => Err(other(what, got, expected)),
        };
        is("_type", &statement.kind, STATEMENT)?;
        is("predicateType", &statement.predicate_type, PREDICATE)?;
        let Predicate { build_definition: definition, run_details } = statement.predicate;
        is("buildType", &definition.build_type, BUILD)?;
        let sha256 = |r: &Resource| {
            let text = r.digest.get("sha256").map_or("nothing", String::as_str);
            Digest::from_hex(text).ok_or_else(|| other("digest", text, "64 hexadecimal digits"))
        };
        let [subject] = &statement.subject[..] else {
            return Err(other("number of subjects", &statement.subject.len().to_string(), "1"));
        };
        let inputs = definition.resolved_dependencies.iter().map(|r| {
            let nothing = |what, expected| other(what, "nothing", expected);
            let verified = r.annotations.get("verified").and_then(|v| v.as_str());
            let verified =
                verified.ok_or_else(|| nothing("annotation verified", "how the input was verified"))?;
            let uri = r.uri.clone().ok_or_else(|| nothing("uri", "the address of an input"))?;
            Ok(Input { uri, sha256: sha256(r)?, verified: verified.to_owned().into() })
        });
        let inputs = inputs.collect::<Result<_, RecordError>>()?;
        let parameters = definition.external_parameters;
        // Names become paths and markup of other files.
        let file = subject.name.as_deref().unwrap_or("nothing");
        let image = ImageFileName::of(&parameters.name, file).filter(|image| {
            let same = image.version.as_str() == parameters.version;
            same && image.arch.systemd() == parameters.architecture && is_plain(file)
        });
        let size = subject.annotations.get("size");
        let tool = run_details.builder.version.get("bakery").cloned();
        Ok(Record {
            image: image.ok_or_else(|| other("subject", file, "NAME-VERSION-ARCH.raw"))?,
            size: size.and_then(serde_json::Value::as_u64).ok_or_else(|| {
                let got = size.map_or_else(|| "nothing".to_owned(), ToString::to_string);
                other("size", &got, "a number of bytes")
            })?,
            sha256: sha256(subject)?,
            settings: parameters.settings,
            options: parameters
                .options
                .map(|text| text.parse().map_err(|_| other("options", &text, "sha256:…")))
                .transpose()?,
            recipe: parameters.recipe.parse().map_err(|_| other("recipe", &parameters.recipe, "sha256:…"))?,
            tool: tool.ok_or_else(|| other("builder's version", "nothing", "bakery's"))?,
            inputs,
        })
    }
}

/// One component of a path, of characters that mean nothing elsewhere.
pub(super) fn is_plain(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || ".,_+~^-".contains(c);
    !name.is_empty() && name.len() <= 255 && !name.starts_with(['.', '-']) && name.chars().all(good)
}

/// 64 lower-case hexadecimal digits.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
