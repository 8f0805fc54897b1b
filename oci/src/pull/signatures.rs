//! The signatures of an image in a registry: beside it, at a lookaside store, or on this machine.

use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use store::Digest;
use tree::Event;

use super::{Pull, PullCause};
use crate::Descriptor;
use crate::manifest::signatures;
use crate::policy::{
    COSIGN_SIGNATURE, COSIGN_TYPE, Found, ImageSignature, Rules, SIGNATURE_MAX, SIGNATURES_MAX, signature_url,
};

/// Where the cache keeps them.
const SPACE: &str = "signatures";

impl Pull<'_> {
    /// Whether the rules accept the image. `digests` are those of its manifest and of the index that it is in.
    pub(super) fn check_signatures(&self, rules: &Rules<'_>, digests: &[Digest]) -> Result<(), PullCause> {
        if !rules.wants_signatures() {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let key = digests.iter().map(Digest::to_string).collect::<Vec<_>>().join(" ");
        let key = format!("{} {key}", self.image.name());
        // They are checked like new ones; a policy may have changed since.
        if rules.check(digests, &self.kept(&key)?, now).is_ok() {
            return Ok(());
        }
        self.events.event(Event::Step(format!("looking for signatures of {}", self.image).into()));
        let found = self.find(rules, digests)?;
        rules.check(digests, &found, now)?;
        if !self.context.offline {
            self.keep(&key, &found)?;
        }
        Ok(())
    }

    fn kept(&self, key: &str) -> Result<Found, PullCause> {
        let cache = &self.context.cache;
        let mut found = Found::default();
        for digest in cache.key(SPACE, key)?.unwrap_or_default().lines() {
            let Ok(digest) = digest.parse::<Digest>() else { continue };
            let Some(bytes) = cache.blob(&digest)? else { continue };
            found.signatures.extend(ImageSignature::from_file(&bytes).ok());
        }
        Ok(found)
    }

    fn keep(&self, key: &str, found: &Found) -> Result<(), PullCause> {
        let cache = &self.context.cache;
        let mut lines = String::new();
        for signature in &found.signatures {
            lines += &format!("{}\n", cache.put_blob(&signature.to_file())?);
        }
        Ok(cache.set_key(SPACE, key, &lines)?)
    }

    /// What can't be read is a problem only if nothing else is good enough.
    fn find(&self, rules: &Rules<'_>, digests: &[Digest]) -> Result<Found, PullCause> {
        let places = self.context.policy.configured(self.image)?;
        let (_, cosign) = rules.wants();
        let mut found = Found::default();
        for digest in digests {
            if let Some(lookaside) = &places.lookaside {
                self.lookaside(lookaside, digest, &mut found);
            }
            if cosign && places.attachments {
                self.attachments(digest, &mut found)?;
            }
        }
        found.problems.dedup();
        Ok(found)
    }

    /// `signature-1` and those that follow.
    fn lookaside(&self, lookaside: &str, digest: &Digest, found: &mut Found) {
        for n in 1..=SIGNATURES_MAX {
            let url = signature_url(lookaside, self.image, digest, n);
            let read = match url.strip_prefix("file://") {
                Some(path) => match store::small_file::read(path.as_ref()) {
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    read => read.map(Some).map_err(|e| format!("{path:?}: {e}")),
                },
                None if self.context.offline => {
                    Err(format!("{lookaside} isn't asked, since network access is off"))
                }
                None => {
                    let client = &self.context.client;
                    client.document(&url, SIGNATURE_MAX, self.events).map_err(|e| e.to_string())
                }
            };
            match read {
                Ok(Some(bytes)) => match ImageSignature::from_file(&bytes) {
                    Ok(signature) => found.signatures.push(signature),
                    Err(why) => found.problems.push(format!("signature at {url} {why}")),
                },
                Ok(None) => return,
                Err(problem) => {
                    found.problems.push(problem);
                    return;
                }
            }
        }
    }

    /// What cosign has put beside the image.
    fn attachments(&self, digest: &Digest, found: &mut Found) -> Result<(), PullCause> {
        if self.context.offline {
            found.problems.push("the registry isn't asked, since network access is off".into());
            return Ok(());
        }
        let tag = format!("sha256-{}.sig", digest.hex());
        for endpoint in self.endpoints() {
            let problem = match self.context.client.manifest(endpoint, &tag, true, self.events) {
                Ok(fetched) => match signatures(&fetched.bytes) {
                    Ok(layers) => {
                        for layer in layers.iter().take(SIGNATURES_MAX) {
                            match self.attachment(layer) {
                                Ok(signature) => found.signatures.extend(signature),
                                Err(problem) => found.problems.push(problem),
                            }
                        }
                        return Ok(());
                    }
                    Err(e) => format!("{}: {e}", endpoint.host),
                },
                // A mirror that has an image need not have what belongs to it.
                Err(e) if e.is_not_found() => continue,
                Err(e) => e.to_string(),
            };
            found.problems.push(problem);
        }
        Ok(())
    }

    /// One of them; none if it isn't a signature by a key.
    fn attachment(&self, layer: &Descriptor) -> Result<Option<ImageSignature>, String> {
        if layer.media_type != COSIGN_TYPE {
            return Ok(None);
        }
        let Some(signature) = layer.annotations.get(COSIGN_SIGNATURE) else { return Ok(None) };
        // "layers" may hold little data in place, but cosign's never do.
        if layer.size > SIGNATURE_MAX || signature.len() as u64 > SIGNATURE_MAX {
            return Err(format!("signature {} is larger than {SIGNATURE_MAX} bytes", layer.digest));
        }
        let mut payload = Vec::new();
        let client = &self.context.client;
        let mut reader = client.blob(self.endpoints(), &layer.digest, layer.size, 0, self.events);
        reader.read_to_end(&mut payload).map_err(|e| format!("signature {}: {e}", layer.digest))?;
        layer.verify(&payload).map_err(|e| format!("signature {}: {e}", layer.digest))?;
        let bytes = BASE64_STANDARD.decode(signature.trim());
        bytes.map_err(|_| format!("signature {} is no base64", layer.digest))?;
        Ok(Some(ImageSignature::Sigstore { payload, signature: signature.clone() }))
    }
}
