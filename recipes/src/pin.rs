//! Pinning: every input is fetched and checked as upstream allows, and written down.

use oci::ImageRef;
use store::Digest;
use tree::{Arch, Content, Event};

use crate::{
    checksum::{self, Checksum as Sum, ChecksumError, LIST_MAX},
    context::{BuildContext, ImageUseError},
    fetch::{FetchError, FileRequest},
    lock::{Digested, Input, Key, Pins},
    packages::{self, PackagesError},
    recipe::instance::{Checksum, Download, Installed, Instance, Signature, SignatureKind},
    recipe::{InstanceError, Recipe},
    verified::{Against, Verified},
    versions::{self, VersionsError},
};
use signature::{self, SIGNATURE_MAX, Scheme, SignatureError};

/// Why something can't be pinned.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct PinError {
    /// Name, version and architecture.
    pub what: String,
    /// Why.
    #[source]
    pub cause: Box<PinCause>,
}

/// Why something can't be pinned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum PinCause {
    /// The recipe can't be followed.
    #[error(transparent)]
    Instance(#[from] Box<InstanceError>),
    /// A parameter can't be found out.
    #[error(transparent)]
    Versions(#[from] Box<VersionsError>),
    /// A file can't be had, or has another checksum than upstream's list.
    #[error(transparent)]
    Fetch(#[from] Box<FetchError>),
    /// Upstream's list doesn't tell.
    #[error("{url}: {list}: {source}")]
    List { url: String, list: String, source: ChecksumError },
    /// The recipe asks GitHub about a file that isn't there.
    #[error("{url}: is no asset of a release on GitHub")]
    NotGithub { url: String },
    /// A recipe names one way at least.
    #[error("internal error: {url}: no checksum method")]
    NoWay { url: String },
    /// The signature doesn't hold.
    #[error("{url}: {signature}: {source}")]
    Signature { url: String, signature: String, source: SignatureError },
    /// The signature of a list of checksums can't be fetched. No other way stands in: the list is there.
    #[error("{list}: unsigned: {source}")]
    Unsigned { list: String, source: Box<FetchError> },
    #[error(transparent)]
    ImageUse(#[from] ImageUseError),
    #[error("internal error: packages are installed in an image that isn't pinned")]
    NoImage,
    /// What an installation would take can't be found out.
    #[error(transparent)]
    Packages(#[from] Box<PackagesError>),
}

impl From<InstanceError> for PinCause {
    fn from(e: InstanceError) -> Self {
        PinCause::Instance(Box::new(e))
    }
}

impl From<VersionsError> for PinCause {
    fn from(e: VersionsError) -> Self {
        PinCause::Versions(Box::new(e))
    }
}

impl From<FetchError> for PinCause {
    fn from(e: FetchError) -> Self {
        PinCause::Fetch(Box::new(e))
    }
}

/// Whether upstream has published nothing by this way: another one may do. What it has published and can't be read, or what
/// can't be reached, is an error.
fn is_missing(cause: &PinCause) -> bool {
    match cause {
        PinCause::Fetch(e) => e.is_not_found(),
        PinCause::List { source, .. } => {
            matches!(source, ChecksumError::NotListed { .. } | ChecksumError::NoDigest { .. })
        }
        _ => false,
    }
}

impl BuildContext<'_> {
    /// Pins a build: finds out its parameters, fetches and checks its inputs.
    ///
    /// # Errors
    /// Upstream lacks something, or what it has isn't what it says.
    pub fn pin(&self, recipe: &Recipe, key: &Key) -> Result<Pins, PinError> {
        self.pins(recipe, key).map_err(|cause| PinError { what: key.to_string(), cause: Box::new(cause) })
    }

    /// What would be pinned: parameters are found out, inputs are not fetched.
    ///
    /// # Errors
    /// Upstream lacks a parameter, or the recipe can't be followed.
    pub fn resolve(&self, recipe: &Recipe, key: &Key) -> Result<Instance, PinError> {
        let resolved = self.found(recipe, key, &mut Pins::default());
        resolved.map_err(|cause| PinError { what: key.to_string(), cause: Box::new(cause) })
    }

    fn found(&self, recipe: &Recipe, key: &Key, pins: &mut Pins) -> Result<Instance, PinCause> {
        let mut settings = key.settings.clone();
        for query in recipe.queries(&key.version, key.arch, &settings)? {
            let value = versions::parameter(recipe, &query, &|url| self.ask(url))?;
            settings.parameters.insert(query.name.clone(), value.clone());
            pins.found.insert(query.name, value);
        }
        Ok(recipe.at(&key.version, key.arch, &settings)?)
    }

    fn pins(&self, recipe: &Recipe, key: &Key) -> Result<Pins, PinCause> {
        let mut pins = Pins::default();
        let instance = self.found(recipe, key, &mut pins)?;
        self.inputs(&instance, &mut pins)?;
        let images =
            [instance.build.as_ref().map(|b| &b.image), instance.image.as_ref().map(|i| &i.reference)];
        for image in images.into_iter().flatten() {
            let digest = self.image_digest(image, key.arch)?;
            pins.images.insert(image.clone(), Digested(digest));
        }
        for Installed { table, image, names } in instance.packages() {
            let pin = pins.images.get(image).ok_or(PinCause::NoImage)?.0;
            let rootfs = self.pinned_image(image, &pin, key.arch)?;
            let packages = packages::pin(rootfs, names, *self).map_err(Box::new)?;
            pins.packages.insert(table.to_owned(), packages);
        }
        Ok(pins)
    }

    fn inputs(&self, instance: &Instance, pins: &mut Pins) -> Result<(), PinCause> {
        let mut wants = Vec::new();
        let mut said = Vec::new();
        for download in &instance.downloads {
            let (sum, how) = self.checksum(download)?;
            said.push(how);
            wants.push(FileRequest {
                url: download.url.clone(),
                checksums: sum.into_iter().collect(),
                size: None,
            });
        }
        let fetched = self.fetcher.get_all(&wants, self.events)?;
        for ((download, mut how), file) in instance.downloads.iter().zip(said).zip(fetched) {
            if let Some(signature) = &download.signature {
                let by = self.signature(&file.url, &file.content(), signature)?;
                // Its list may have one, too.
                how.signature = Some(how.signature.map_or(by.clone(), |list| format!("{list}, {by}")));
            }
            let input = Input {
                url: download.url.clone(),
                size: file.size,
                sha256: Digested(file.sha256),
                verified: how,
            };
            pins.inputs.insert(download.id.clone(), input);
        }
        Ok(())
    }

    /// What upstream says of a download, and where: by the first way that upstream has.
    fn checksum(&self, download: &Download) -> Result<(Option<Sum>, Verified), PinCause> {
        let mut first_error = None;
        for way in &download.checksums {
            let is_only = download.checksums.len() == 1;
            match self.checksum_by(download, way, is_only) {
                Ok(found) => return Ok(found),
                Err(cause) if is_missing(&cause) => first_error = first_error.or(Some(cause)),
                Err(cause) => return Err(cause),
            }
        }
        Err(first_error.unwrap_or(PinCause::NoWay { url: download.url.clone() }))
    }

    fn checksum_by(
        &self,
        download: &Download,
        way: &Checksum,
        is_only: bool,
    ) -> Result<(Option<Sum>, Verified), PinCause> {
        let url = || download.url.clone();
        match way {
            Checksum::LockOnly => {
                Ok((None, Against::Nothing("upstream publishes no checksum".to_owned()).into()))
            }
            Checksum::List { url: list, name, signature } => {
                let text = self.fetcher.text(list, LIST_MAX, self.events)?;
                let signature =
                    signature.as_ref().map(|s| self.list_signature(list, &text, s)).transpose()?;
                let found = checksum::find(&String::from_utf8_lossy(&text), name);
                let sum =
                    found.map_err(|source| PinCause::List { url: url(), list: list.clone(), source })?;
                Ok((Some(sum), Verified { digest: Against::Checksums(list.clone()), signature }))
            }
            Checksum::GithubDigest => {
                let asset = checksum::github_release(&download.url);
                let (api, asset) = asset.ok_or_else(|| PinCause::NotGithub { url: url() })?;
                let answer = self.fetcher.text(&api, LIST_MAX, self.events)?;
                match checksum::github_digest(&answer, &asset) {
                    Ok(sum) => Ok((Some(sum), Against::GithubApi.into())),
                    // What another way was to verify isn't taken unverified: that's for "lock-only" to say.
                    Err(ChecksumError::NoDigest { .. }) if is_only => {
                        let text =
                            format!("{}: GitHub has no digest: pinned without verification", download.url);
                        self.events.event(Event::Warning(text.into()));
                        let why = "GitHub has no digests of uploads before June 2025".to_owned();
                        Ok((None, Against::Nothing(why).into()))
                    }
                    Err(source) => Err(PinCause::List { url: url(), list: api, source }),
                }
            }
        }
    }

    fn list_signature(&self, list: &str, text: &[u8], wanted: &Signature) -> Result<String, PinCause> {
        let by = self.signature(list, &text.to_vec().into(), wanted).map_err(|cause| match cause {
            PinCause::Fetch(source) => PinCause::Unsigned { list: list.to_owned(), source },
            other => other,
        })?;
        Ok(format!("list has {by}"))
    }

    /// Scheme and key of a signature that holds.
    fn signature(&self, url: &str, signed: &Content, wanted: &Signature) -> Result<String, PinCause> {
        let scheme = match wanted.kind {
            SignatureKind::Openpgp => Scheme::OpenPgp,
            SignatureKind::Ed25519 => Scheme::Ed25519,
            SignatureKind::Minisign => Scheme::Minisign,
            SignatureKind::Cosign => Scheme::Cosign,
        };
        let bytes = self.fetcher.text(&wanted.url, SIGNATURE_MAX, self.events)?;
        let verified = signature::verify(scheme, &wanted.key, &bytes, signed);
        let verified = verified.map_err(|source| PinCause::Signature {
            url: url.to_owned(),
            signature: wanted.url.clone(),
            source,
        })?;
        Ok(format!("{} signature by {}", verified.scheme, verified.key))
    }

    /// What an image is now: the digest of its manifest, or, for one of this machine's files, of its layers.
    fn image_digest(&self, image: &str, arch: Arch) -> Result<Digest, ImageUseError> {
        let context = self.context(arch)?;
        match self.image_ref(image)? {
            ImageRef::Registry(reference) => {
                let pulled = context.pull(&reference, self.events);
                Ok(pulled
                    .map_err(|e| ImageUseError::Rootfs(Box::new(oci::RootfsError::Pull(Box::new(e)))))?
                    .digest)
            }
            local => Ok(context.rootfs(&local, &oci::LivePaths::default(), self.events)?.id),
        }
    }
}
