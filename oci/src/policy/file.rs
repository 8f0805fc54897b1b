//! policy.json as typed, then checked. It is strict: what isn't understood makes all of it unusable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::PolicyError;
use super::identity::SignedIdentity;
use super::scope::has_paths;
use super::unique::UniqueMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedFile {
    default: Vec<TypedRequirement>,
    #[serde(default)]
    transports: UniqueMap<UniqueMap<Vec<TypedRequirement>>>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
enum TypedRequirement {
    InsecureAcceptAnything {},
    Reject {},
    #[serde(rename_all = "camelCase")]
    SignedBy {
        key_type: String,
        key_path: Option<PathBuf>,
        key_paths: Option<Vec<PathBuf>>,
        key_data: Option<String>,
        signed_identity: Option<SignedIdentity>,
    },
    #[serde(rename_all = "camelCase")]
    SignedBaseLayer {
        #[serde(rename = "baseLayerIdentity")]
        _base_layer_identity: SignedIdentity,
    },
    #[serde(rename_all = "camelCase")]
    SigstoreSigned {
        key_path: Option<PathBuf>,
        key_paths: Option<Vec<PathBuf>>,
        key_data: Option<String>,
        key_datas: Option<Vec<String>>,
        fulcio: Option<serde_json::Value>,
        pki: Option<serde_json::Value>,
        rekor_public_key_path: Option<PathBuf>,
        rekor_public_key_paths: Option<Vec<PathBuf>>,
        rekor_public_key_data: Option<String>,
        rekor_public_key_datas: Option<Vec<String>>,
        signed_identity: Option<SignedIdentity>,
    },
}

/// One thing that an image has to meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Requirement {
    AcceptAnything,
    Reject,
    /// By an OpenPGP key.
    SignedBy(Keys, SignedIdentity),
    /// By a key of cosign's.
    SigstoreSigned(Keys, SignedIdentity),
    /// Something that takes more than a key.
    Unsupported(&'static str),
}

/// One of these has to have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keys {
    Files(Vec<PathBuf>),
    Data(Vec<Vec<u8>>),
}

/// All rules.
#[derive(Debug)]
pub(super) struct File {
    default: Vec<Requirement>,
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
}

impl File {
    pub(super) fn parse(path: &Path, text: &str) -> Result<File, PolicyError> {
        let wrong = |message: String| PolicyError::Syntax { path: path.into(), message };
        let typed: TypedFile = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
        let all = |scope: &str, requirements: Vec<TypedRequirement>| {
            let at = |message: String| wrong(format!("{scope}: {message}"));
            if requirements.is_empty() {
                return Err(at("list of requirements is empty, expected one at least".into()));
            }
            requirements.into_iter().map(|r| requirement(r).map_err(at)).collect::<Result<Vec<_>, _>>()
        };
        let default = all("default", typed.default)?;
        let mut transports = BTreeMap::new();
        for (transport, typed) in typed.transports.0 {
            let mut scopes = BTreeMap::new();
            for (scope, requirements) in typed.0 {
                check_scope(&transport, &scope).map_err(wrong)?;
                let requirements = all(&format!("{transport} {scope:?}"), requirements)?;
                scopes.insert(scope, requirements);
            }
            transports.insert(transport, scopes);
        }
        Ok(File { default, transports })
    }

    /// The requirements of the first of the scopes that has some, and what to call it.
    pub(super) fn find(&self, transport: &str, scopes: &[String]) -> (String, &[Requirement]) {
        let known = self.transports.get(transport);
        let everything = String::new();
        for scope in scopes.iter().chain([&everything]) {
            if let Some(requirements) = known.and_then(|known| known.get(scope)) {
                return (format!("{transport} {scope:?}"), requirements);
            }
        }
        ("\"default\"".into(), &self.default)
    }
}

/// A scope that no image is ever in would be a rule that does nothing.
fn check_scope(transport: &str, scope: &str) -> Result<(), String> {
    if scope.is_empty() {
        return Ok(());
    }
    if matches!(transport, "docker-archive" | "tarball") {
        return Err(format!("scope {scope:?} of {transport} is not valid: it has none but \"\", for all"));
    }
    if has_paths(transport) {
        let path = scope.strip_suffix('/').unwrap_or(scope);
        let clean =
            path.starts_with('/') && path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
        if !clean || path.len() != scope.len() {
            return Err(format!(
                "scope {scope:?} of {transport} is not valid, expected an absolute path, or \"\" for all"
            ));
        }
    }
    if transport == "docker" && scope.contains('*') {
        let domain = scope.strip_prefix("*.").filter(|d| !d.is_empty() && !d.contains(['*', '/', ':']));
        if domain.is_none() {
            return Err(format!("scope {scope:?} of docker is not valid, expected *.DOMAIN"));
        }
    }
    Ok(())
}

fn requirement(typed: TypedRequirement) -> Result<Requirement, String> {
    Ok(match typed {
        TypedRequirement::InsecureAcceptAnything {} => Requirement::AcceptAnything,
        TypedRequirement::Reject {} => Requirement::Reject,
        TypedRequirement::SignedBaseLayer { .. } => Requirement::Unsupported("signedBaseLayer"),
        TypedRequirement::SignedBy { key_type, key_path, key_paths, key_data, signed_identity } => {
            match key_type.as_str() {
                "GPGKeys" => {}
                "signedByGPGKeys" | "X509Certificates" | "signedByX509CAs" => {
                    return Ok(Requirement::Unsupported("keys of another type than GPGKeys"));
                }
                _ => return Err(format!("keyType {key_type:?} is not valid, expected \"GPGKeys\"")),
            }
            let data = key_data.map(|data| vec![data]);
            let keys = keys([key_path.map(|p| vec![p]), key_paths], [data, None])?;
            let keys = keys.ok_or("signedBy has no key: expected keyPath, keyPaths or keyData")?;
            Requirement::SignedBy(keys, identity(signed_identity)?)
        }
        TypedRequirement::SigstoreSigned {
            key_path,
            key_paths,
            key_data,
            key_datas,
            fulcio,
            pki,
            rekor_public_key_path,
            rekor_public_key_paths,
            rekor_public_key_data,
            rekor_public_key_datas,
            signed_identity,
        } => {
            let rekor = rekor_public_key_path.is_some()
                || rekor_public_key_paths.is_some()
                || rekor_public_key_data.is_some()
                || rekor_public_key_datas.is_some();
            let keys = keys([key_path.map(|p| vec![p]), key_paths], [key_data.map(|d| vec![d]), key_datas])?;
            let identity = identity(signed_identity)?;
            match (keys, fulcio, pki) {
                (None, None, None) => {
                    return Err("sigstoreSigned has no key: expected keyPath, keyPaths, keyData, keyDatas, \
                         fulcio or pki"
                        .into());
                }
                (Some(_), None, None) if rekor => {
                    Requirement::Unsupported("an entry in Rekor's transparency log (rekorPublicKey…)")
                }
                (Some(keys), None, None) => Requirement::SigstoreSigned(keys, identity),
                (None, Some(_), None) => Requirement::Unsupported("a certificate of Fulcio (fulcio)"),
                (None, None, Some(_)) => Requirement::Unsupported("a certificate (pki)"),
                _ => return Err("sigstoreSigned has several of keys, fulcio and pki, expected one".into()),
            }
        }
    })
}

fn identity(typed: Option<SignedIdentity>) -> Result<SignedIdentity, String> {
    let identity = typed.unwrap_or(SignedIdentity::MatchRepoDigestOrExact {});
    identity.check()?;
    Ok(identity)
}

/// None if no key is given at all.
fn keys(files: [Option<Vec<PathBuf>>; 2], data: [Option<Vec<String>>; 2]) -> Result<Option<Keys>, String> {
    let mut all = Vec::new();
    all.extend(files.into_iter().flatten().map(Keys::Files));
    for texts in data.into_iter().flatten() {
        let decode = |text: &String| BASE64_STANDARD.decode(text);
        let data = texts.iter().map(decode).collect::<Result<Vec<_>, _>>();
        all.push(Keys::Data(data.map_err(|e| format!("keyData is no base64: {e}"))?));
    }
    if all.len() > 1 {
        return Err("several of keyPath, keyPaths, keyData and keyDatas are given, expected one".into());
    }
    let empty = |keys: &Keys| match keys {
        Keys::Files(files) => files.is_empty(),
        Keys::Data(data) => data.is_empty(),
    };
    match all.pop() {
        Some(keys) if empty(&keys) => Err("list of keys is empty, expected one at least".into()),
        keys => Ok(keys),
    }
}
