//! Whether a signature is for the image that was asked for. containers-policy.json(5), `signedIdentity`.

use serde::Deserialize;

use crate::reference::Reference;

/// As typed, and as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum SignedIdentity {
    MatchExact {},
    MatchRepoDigestOrExact {},
    MatchRepository {},
    #[serde(rename_all = "camelCase")]
    ExactReference {
        docker_reference: String,
    },
    #[serde(rename_all = "camelCase")]
    ExactRepository {
        docker_repository: String,
    },
    #[serde(rename_all = "camelCase")]
    RemapIdentity {
        prefix: String,
        signed_prefix: String,
    },
}

impl SignedIdentity {
    /// Why it makes no sense, if so.
    pub(super) fn check(&self) -> Result<(), String> {
        let parse = |text: &str| text.parse::<Reference>().map_err(|e| e.to_string());
        let prefix = |what: &str, text: &str| {
            // A host alone is a prefix, and no reference.
            let name = if text.contains('/') { text.to_owned() } else { format!("{text}/any/name") };
            let valid = name.parse::<Reference>().is_ok_and(|r| r.name() == name);
            if valid {
                Ok(())
            } else {
                Err(format!("{what} {text:?} is not valid, expected HOST[:PORT][/PATH]"))
            }
        };
        match self {
            SignedIdentity::ExactReference { docker_reference } => {
                let reference = parse(docker_reference)?;
                match (reference.tag(), reference.digest()) {
                    (None, None) => {
                        Err(format!("dockerReference {docker_reference:?} has neither tag nor digest"))
                    }
                    _ => Ok(()),
                }
            }
            SignedIdentity::ExactRepository { docker_repository } => parse(docker_repository).map(|_| ()),
            SignedIdentity::RemapIdentity { prefix: from, signed_prefix } => {
                prefix("prefix", from)?;
                prefix("signedPrefix", signed_prefix)
            }
            _ => Ok(()),
        }
    }

    /// Whether a signature that names `signed` is good for `image`; none is an image that no registry has.
    pub(super) fn accepts(&self, image: Option<&Reference>, signed: &Reference) -> bool {
        let exact = |wanted: &Reference| Name::of(wanted) == Name::of(signed);
        match self {
            SignedIdentity::MatchExact {} => image.is_some_and(|image| exact(&image.exactly())),
            SignedIdentity::MatchRepoDigestOrExact {} => {
                image.is_some_and(|image| repository_or_exact(image, signed))
            }
            SignedIdentity::MatchRepository {} => image.is_some_and(|image| image.name() == signed.name()),
            SignedIdentity::ExactReference { docker_reference } => {
                docker_reference.parse().is_ok_and(|wanted: Reference| exact(&wanted))
            }
            SignedIdentity::ExactRepository { docker_repository } => {
                docker_repository.parse().is_ok_and(|wanted: Reference| wanted.name() == signed.name())
            }
            SignedIdentity::RemapIdentity { prefix, signed_prefix } => image.is_some_and(|image| {
                let name = image.name();
                let rest = name.strip_prefix(prefix.as_str());
                match rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
                    Some(rest) => image
                        .relocated(&format!("{signed_prefix}{rest}"))
                        .is_ok_and(|image| repository_or_exact(&image, signed)),
                    None => repository_or_exact(image, signed),
                }
            }),
        }
    }
}

/// What is compared where all of a name counts. A name without tag and digest is nothing exact.
#[derive(PartialEq, Eq)]
enum Name {
    Bare,
    Full(String, Option<String>, Option<String>),
}

impl Name {
    fn of(reference: &Reference) -> Name {
        match (reference.tag(), reference.digest()) {
            (None, None) => Name::Bare,
            (tag, digest) => Name::Full(reference.name(), tag.map(str::to_owned), digest.map(str::to_owned)),
        }
    }
}

fn repository_or_exact(image: &Reference, signed: &Reference) -> bool {
    match image.digest() {
        // The digest was compared with what was signed.
        Some(_) => image.name() == signed.name(),
        None => signed.tag().is_some() && Name::of(&image.exactly()) == Name::of(signed),
    }
}
