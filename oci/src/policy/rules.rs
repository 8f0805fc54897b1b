//! Signatures held against what a policy wants of an image.

use std::collections::BTreeSet;
use std::path::Path;

use store::Digest;
use tree::Content;

use super::PolicyError;
use super::file::{Keys, Requirement};
use super::identity::SignedIdentity;
use super::image_signature::ImageSignature;
use super::payload::{COSIGN, Claim, SIMPLE};
use crate::reference::Reference;

/// What the policy wants of one image.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    pub(super) path: &'a Path,
    pub(super) transport: &'static str,
    pub(super) scope: String,
    pub(super) requirements: &'a [Requirement],
    /// Its name, if it is in a registry.
    pub(super) reference: Option<Reference>,
}

/// Signatures, and what couldn't be read.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub signatures: Vec<ImageSignature>,
    pub problems: Vec<String>,
}

impl Rules<'_> {
    /// Refuses what no signature makes good, before anybody is asked for anything.
    pub(crate) fn check_first(&self) -> Result<(), PolicyError> {
        for requirement in self.requirements {
            match requirement {
                Requirement::Reject => {
                    return Err(PolicyError::Rejected { path: self.path.into(), scope: self.scope.clone() });
                }
                Requirement::Unsupported(what) => {
                    return Err(PolicyError::Unsupported {
                        path: self.path.into(),
                        scope: self.scope.clone(),
                        what,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether it takes signatures by OpenPGP keys, and whether it takes cosign's.
    pub(crate) fn wants(&self) -> (bool, bool) {
        let any = |fits: fn(&Requirement) -> bool| self.requirements.iter().any(fits);
        (
            any(|r| matches!(r, Requirement::SignedBy(..))),
            any(|r| matches!(r, Requirement::SigstoreSigned(..))),
        )
    }

    pub(crate) fn wants_signatures(&self) -> bool {
        let (simple, sigstore) = self.wants();
        simple || sigstore
    }

    /// Holds the signatures of an image against all requirements. `digests` are those of the image's manifest and of the index that
    /// names it: who signed the index signed all that is in it. `now` is in seconds since 1970.
    pub(crate) fn check(&self, digests: &[Digest], found: &Found, now: u64) -> Result<(), PolicyError> {
        self.check_first()?;
        for requirement in self.requirements {
            let (keys, identity, wanted) = match requirement {
                Requirement::SignedBy(keys, identity) => (keys, identity, "a signature by an OpenPGP key"),
                Requirement::SigstoreSigned(keys, identity) => (keys, identity, "a signature of cosign's"),
                _ => continue,
            };
            let simple = matches!(requirement, Requirement::SignedBy(..));
            let mine: Vec<&ImageSignature> = found
                .signatures
                .iter()
                .filter(|s| matches!(s, ImageSignature::Simple(_)) == simple)
                .collect();
            let (path, scope) = (self.path.to_owned(), self.scope.clone());
            if mine.is_empty() {
                let problems = found.problems.clone();
                return Err(PolicyError::Unsigned { path, scope, wanted, problems });
            }
            let keys = read(keys)?;
            let mut reasons = Vec::new();
            let one = |signature| self.one(&keys, identity, signature, digests, now);
            let accepted = mine.into_iter().any(|s| one(s).map_err(|why| reasons.push(why)).is_ok());
            if !accepted {
                reasons.extend(found.problems.iter().cloned());
                let mut seen = BTreeSet::new();
                reasons.retain(|reason| seen.insert(reason.clone()));
                return Err(PolicyError::NotAccepted { path, scope, wanted, reasons });
            }
        }
        Ok(())
    }

    /// Nothing that is signed is read before the signature holds.
    fn one(
        &self,
        keys: &[Vec<u8>],
        identity: &SignedIdentity,
        signature: &ImageSignature,
        digests: &[Digest],
        now: u64,
    ) -> Result<(), String> {
        let mut error = "no key".to_owned();
        let mut opened = None;
        for key in keys {
            let payload = match signature {
                ImageSignature::Simple(message) => {
                    signature::open_message(key, message, now).map(|opened| opened.payload)
                }
                ImageSignature::Sigstore { payload, signature } => {
                    let content = Content::from(payload.clone());
                    signature::verify(signature::Scheme::Cosign, key, signature.as_bytes(), &content)
                        .map(|_| payload.clone())
                }
            };
            match payload {
                Ok(payload) => {
                    opened = Some(payload);
                    break;
                }
                Err(e) => error = e.to_string(),
            }
        }
        let kind = if matches!(signature, ImageSignature::Simple(_)) { SIMPLE } else { COSIGN };
        let claim = Claim::parse(&opened.ok_or(error)?, kind)?;
        if !digests.contains(&claim.digest) {
            let expected = digests.first().map(Digest::to_string).unwrap_or_default();
            return Err(format!("signature is for {}, expected {expected}", claim.digest));
        }
        if !identity.accepts(self.reference.as_ref(), &claim.reference) {
            let signed = name(&claim.reference);
            return Err(match &self.reference {
                Some(image) => {
                    format!("signature is for the name {signed:?}, not for {:?}", image.to_string())
                }
                None => {
                    format!("signature is for the name {signed:?}, not for an image of {}", self.transport)
                }
            });
        }
        Ok(())
    }
}

/// As it was signed: cosign signs a repository alone.
fn name(signed: &Reference) -> String {
    match (signed.tag(), signed.digest()) {
        (None, None) => signed.name(),
        _ => signed.to_string(),
    }
}

fn read(keys: &Keys) -> Result<Vec<Vec<u8>>, PolicyError> {
    let file = |path: &std::path::PathBuf| {
        store::small_file::read(path).map_err(|source| PolicyError::Io { path: path.clone(), source })
    };
    match keys {
        Keys::Files(files) => files.iter().map(file).collect(),
        Keys::Data(data) => Ok(data.clone()),
    }
}
