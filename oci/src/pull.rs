//! From a reference to verified layers in the cache.

mod signatures;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tree::{Event, Events, parallel};

use crate::partial::{self, Place};
use crate::{
    BlobKind, ClientError, Config, Context, Descriptor, Endpoint, ManifestError, PolicyError, Reference,
    RegistriesError, find_manifest,
    manifest::{Manifest, ManifestOrIndex, UnpackedSize},
    policy::Subject,
};
use store::http::HttpError;
use store::{CacheError, Digest, ExpectedLayer, LayerBlob, cache::LayerLookup, digest::shorten};

/// An image, complete in the cache.
#[derive(Debug, Clone)]
pub struct Image {
    /// The full name under which it was found.
    pub reference: Reference,
    /// Of the manifest for the platform.
    pub digest: Digest,
    /// Environment, entry point, ….
    pub config: Config,
    /// The lowest first.
    pub layers: Vec<LayerBlob>,
}

/// An image that can't be had.
#[derive(Debug, thiserror::Error)]
#[error("{image}: {cause}")]
pub struct PullError {
    /// Its full name.
    pub image: String,
    /// Why.
    #[source]
    pub cause: PullCause,
}

/// Why an image can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum PullCause {
    /// The configuration forbids it, or makes no sense.
    #[error(transparent)]
    Registries(Box<RegistriesError>),
    /// The registry, or the last of several places.
    #[error("{source}{}", also(.others))]
    Client {
        /// The last place's error.
        source: Box<ClientError>,
        /// The errors of the places before.
        others: Vec<String>,
    },
    /// A manifest or config that can't be used.
    #[error(transparent)]
    Manifest(Box<ManifestError>),
    /// The policy doesn't accept it.
    #[error(transparent)]
    Policy(Box<PolicyError>),
    /// The cache, or a layer on its way there.
    #[error(transparent)]
    Cache(Box<CacheError>),
    /// Not an index, and for another machine.
    #[error("image is for {got}, expected {wanted}")]
    Platform {
        /// What its config says.
        got: String,
        /// What was asked for.
        wanted: String,
    },
    /// No network was to be used.
    #[error("{what} is not in the cache, and network access is off")]
    Offline { what: String },
}

fn also(others: &[String]) -> String {
    others.iter().map(|o| format!("; before that: {o}")).collect()
}

impl From<RegistriesError> for PullCause {
    fn from(e: RegistriesError) -> Self {
        PullCause::Registries(Box::new(e))
    }
}

impl From<ManifestError> for PullCause {
    fn from(e: ManifestError) -> Self {
        PullCause::Manifest(Box::new(e))
    }
}

impl From<PolicyError> for PullCause {
    fn from(e: PolicyError) -> Self {
        PullCause::Policy(Box::new(e))
    }
}

impl From<CacheError> for PullCause {
    fn from(e: CacheError) -> Self {
        PullCause::Cache(Box::new(e))
    }
}

impl From<ClientError> for PullCause {
    fn from(source: ClientError) -> Self {
        PullCause::Client { source: Box::new(source), others: Vec::new() }
    }
}

impl PullError {
    /// The registry's part in it, wherever it is wrapped.
    pub fn client(&self) -> Option<&ClientError> {
        match &self.cause {
            PullCause::Client { source, .. } => Some(source),
            PullCause::Cache(source) => ClientError::find(source.as_ref()),
            _ => None,
        }
    }

    /// Whether another registry may have it.
    fn is_elsewhere(&self) -> bool {
        let elsewhere = |e: &ClientError| e.is_not_found() || matches!(e, ClientError::Denied { .. });
        matches!(self.cause, PullCause::Offline { .. }) || self.client().is_some_and(elsewhere)
    }
}

/// What one pull carries along.
struct Pull<'a> {
    context: &'a Context,
    image: &'a Reference,
    endpoints: Vec<Endpoint>,
    /// The first of the endpoints that is still worth asking.
    first: AtomicUsize,
    events: &'a dyn Events,
    /// Whether layers may be fetched as they are read.
    partial: bool,
}

impl Context {
    /// Brings an image into the cache. What is there already isn't fetched; an image by digest that is there completely needs
    /// no network at all.
    ///
    /// # Errors
    /// All that [`PullError`] lists.
    pub fn pull(&self, image: &Reference, events: &dyn Events) -> Result<Image, PullError> {
        self.pull_with(image, false, events)
    }

    /// As [`Context::pull`]. With `partial`, layers with a table of contents are fetched as they are read.
    pub(crate) fn pull_with(
        &self,
        image: &Reference,
        partial: bool,
        events: &dyn Events,
    ) -> Result<Image, PullError> {
        let error = |cause| PullError { image: image.to_string(), cause };
        let candidates = self.registries.candidates(image).map_err(|e| error(e.into()))?;
        let mut last = None;
        for candidate in &candidates {
            let named = self.pull_named(candidate, partial, events);
            match named.map_err(|cause| PullError { image: candidate.to_string(), cause }) {
                Err(e) if e.is_elsewhere() && candidates.len() > 1 => {
                    events.event(Event::Note(e.to_string().into()));
                    last = Some(e);
                }
                done => return done,
            }
        }
        Err(last.unwrap_or_else(|| error(PullCause::Offline { what: "manifest".into() })))
    }

    fn pull_named(&self, image: &Reference, partial: bool, events: &dyn Events) -> Result<Image, PullCause> {
        let rules = self.policy.rules(&Subject::Registry(image));
        if let Some(rules) = &rules {
            rules.check_first()?;
        }
        events.event(Event::Step(format!("pulling {image}").into()));
        let endpoints = self.registries.endpoints(image)?;
        let pull = Pull { context: self, image, endpoints, first: AtomicUsize::new(0), events, partial };
        let (digest, top, manifest) = pull.manifest()?;
        if let Some(rules) = &rules {
            let mut digests = vec![digest, top];
            digests.dedup();
            pull.check_signatures(rules, &digests)?;
        }
        let config = pull.config(&manifest)?;
        let layers = pull.layers(&manifest, &config)?;
        Ok(Image { reference: image.clone(), digest, config, layers })
    }
}

impl Pull<'_> {
    fn name(&self) -> String {
        self.image.to_string()
    }

    fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints[self.first.load(Ordering::Relaxed)..]
    }

    /// The manifest for the platform, its digest, and that of what the reference names.
    fn manifest(&self) -> Result<(Digest, Digest, Manifest), PullCause> {
        let (bytes, top, media_type) = self.top()?;
        let document = ManifestOrIndex::parse_served(&bytes, media_type.as_deref())?;
        let platform = &self.context.platform;
        let (descriptor, manifest) = find_manifest(document, platform, |part, d| match part {
            BlobKind::Manifest => self.document(d),
            BlobKind::Config => self.config_bytes(d),
        })?;
        // Offline it is what the cache says, which nothing may be written to.
        if self.image.digest().is_none() && !self.context.offline {
            self.context.cache.set_key("tag", &self.name(), &top.to_string())?;
        }
        Ok((descriptor.map_or(top, |d| d.digest), top, manifest))
    }

    /// What the reference names: an index or a manifest.
    fn top(&self) -> Result<(Vec<u8>, Digest, Option<String>), PullCause> {
        let cache = &self.context.cache;
        let pinned = match self.image.digest() {
            Some(text) => Some(text.parse::<Digest>().map_err(ManifestError::from)?),
            None => None,
        };
        let known = match (&pinned, self.context.offline) {
            (Some(digest), _) => Some(*digest),
            (None, true) => {
                let digest = cache.key("tag", &self.name())?;
                digest.and_then(|d| d.parse().ok())
            }
            (None, false) => None,
        };
        if let Some(digest) = known
            && let Some(bytes) = cache.blob(&digest)?
        {
            return Ok((bytes, digest, None));
        }
        let reference = match &pinned {
            Some(digest) => digest.to_string(),
            None => self.image.tag().unwrap_or("latest").to_owned(),
        };
        let fetched = self.ask("manifest", |endpoint, spare| {
            self.context.client.manifest(endpoint, &reference, spare, self.events)
        })?;
        cache.put_blob(&fetched.bytes)?;
        Ok((fetched.bytes, fetched.digest, fetched.media_type))
    }

    /// A manifest inside an index.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, PullCause> {
        let cache = &self.context.cache;
        if let Some(bytes) = cache.blob(&descriptor.digest)? {
            return Ok(bytes);
        }
        let reference = descriptor.digest.to_string();
        let fetched = self.ask("manifest", |endpoint, spare| {
            self.context.client.manifest(endpoint, &reference, spare, self.events)
        })?;
        cache.put_blob(&fetched.bytes)?;
        Ok(fetched.bytes)
    }

    /// As they came, not yet verified.
    fn config_bytes(&self, descriptor: &Descriptor) -> Result<Vec<u8>, PullCause> {
        let cache = &self.context.cache;
        if let Some(bytes) = cache.blob(&descriptor.digest)? {
            return Ok(bytes);
        }
        self.online("config")?;
        let mut bytes = Vec::new();
        let (digest, size) = (&descriptor.digest, descriptor.size);
        let client = &self.context.client;
        let mut reader = client.blob(self.endpoints(), digest, size, 0, self.events);
        reader.read_to_end(&mut bytes).map_err(|e| match e.downcast::<ClientError>() {
            Ok(source) => source,
            Err(source) => HttpError::Body { url: digest.to_string(), source }.into(),
        })?;
        Ok(bytes)
    }

    fn config(&self, manifest: &Manifest) -> Result<Config, PullCause> {
        let descriptor = &manifest.config;
        descriptor.check_document_size("config")?;
        let bytes = self.config_bytes(descriptor)?;
        descriptor.verify(&bytes)?;
        let config = manifest.parse_config(&bytes)?;
        let wanted = &self.context.platform;
        if let Some(got) = config.mismatch(wanted) {
            let (got, wanted) = (shorten(&got.to_string()), wanted.to_string());
            return Err(PullCause::Platform { got, wanted });
        }
        if !self.context.offline {
            self.context.cache.put_blob(&bytes)?;
        }
        Ok(config)
    }

    /// All layers, the largest first, some at once.
    fn layers(&self, manifest: &Manifest, config: &Config) -> Result<Vec<LayerBlob>, PullCause> {
        let wanted: Vec<(&Descriptor, &Digest)> = manifest.layers.iter().zip(&config.diff_ids).collect();
        // The same blob may be there twice; it is fetched once, and must not be promised to be two things.
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_by_key(|&i| (wanted[i].0.digest, wanted[i].1, i));
        order.dedup_by_key(|&mut i| (wanted[i].0.digest, wanted[i].1));
        order.sort_by_key(|&i| (std::cmp::Reverse(wanted[i].0.size), i));

        let stop = Stop::default();
        let unpacked = UnpackedSize::default();
        // The first error is the cause; those behind it may only say that they were stopped.
        let layers = parallel::try_map(self.context.jobs, &order, |&i| {
            let layer = self.layer(wanted[i].0, wanted[i].1, &stop);
            let layer = layer.and_then(|layer| Ok(unpacked.add(layer.len).map(|()| layer)?));
            layer.inspect_err(|cause| stop.set(cause))
        })?;
        let names = order.iter().map(|&i| (wanted[i].0.digest, *wanted[i].1));
        let found: BTreeMap<(Digest, Digest), LayerBlob> = names.zip(layers).collect();
        let missing = || PullCause::Offline { what: "layer".into() };
        let in_order = wanted.iter().map(|(d, diff_id)| found.get(&(d.digest, **diff_id)).cloned());
        in_order.map(|layer| layer.ok_or_else(missing)).collect()
    }

    fn layer(&self, descriptor: &Descriptor, diff_id: &Digest, stop: &Stop) -> Result<LayerBlob, PullCause> {
        let Descriptor { digest, size, .. } = descriptor;
        let cache = &self.context.cache;
        match cache.find_layer(diff_id)? {
            LayerLookup::Layer(layer) => return Ok(LayerBlob { digest: Some(*digest), ..layer }),
            LayerLookup::Missing => {}
            LayerLookup::Damaged => {
                let text = format!("layer {digest} was damaged in the cache, fetching it again");
                self.events.event(Event::Warning(text.into()));
            }
        }
        if let Some(layer) = self.partial(descriptor, diff_id) {
            return Ok(layer);
        }
        self.online(&format!("layer {digest}"))?;
        let expect = ExpectedLayer { digest: Some(*digest), size: Some(*size), diff_id: Some(*diff_id) };
        let mut endpoints = self.endpoints();
        loop {
            let open = |offset| {
                let inner = self.context.client.blob(endpoints, digest, *size, offset, self.events);
                Ok(Stoppable { inner, stop })
            };
            match cache.fetch_layer(digest, &expect, open, self.events) {
                // What one place has wrong, another may have right.
                Err(e) if e.is_content() && endpoints.len() > 1 => {
                    let text = format!("{}: {e}; trying {}", endpoints[0].host, endpoints[1].host);
                    self.events.event(Event::Warning(text.into()));
                    endpoints = &endpoints[1..];
                }
                other => return Ok(other?),
            }
        }
    }

    /// The layer to be fetched as it is read, if that is wanted and can be.
    fn partial(&self, descriptor: &Descriptor, diff_id: &Digest) -> Option<LayerBlob> {
        if !self.partial {
            return None;
        }
        let Context { client, cache, offline, .. } = self.context;
        let place = Place { client, endpoints: self.endpoints(), cache, offline: *offline };
        match partial::open(&place, descriptor, diff_id) {
            Ok(layer) => layer,
            Err(e) => {
                let text = format!("layer {}: {e}; fetching the whole layer", descriptor.digest);
                self.events.event(Event::Note(text.into()));
                None
            }
        }
    }

    fn online(&self, what: &str) -> Result<(), PullCause> {
        if self.context.offline {
            return Err(PullCause::Offline { what: what.into() });
        }
        Ok(())
    }

    /// Asks one place after the other. Those that fail aren't asked for anything else.
    fn ask<T>(
        &self,
        what: &str,
        request: impl Fn(&Endpoint, bool) -> Result<T, ClientError>,
    ) -> Result<T, PullCause> {
        self.online(what)?;
        let mut others = Vec::new();
        loop {
            let endpoints = self.endpoints();
            let spare = endpoints.len() > 1;
            match request(&endpoints[0], spare) {
                Ok(answer) => return Ok(answer),
                Err(e) if spare => {
                    // A mirror that lacks an image is no news; one that is dead is.
                    let text = format!("{e}; trying {}", endpoints[1].host);
                    let event = if e.is_not_found() { Event::Note } else { Event::Warning };
                    self.events.event(event(text.into()));
                    others.push(e.to_string());
                    self.first.fetch_add(1, Ordering::Relaxed);
                }
                Err(source) => return Err(PullCause::Client { source: Box::new(source), others }),
            }
        }
    }
}

/// Whether a layer has failed.
#[derive(Default)]
struct Stop {
    any: AtomicBool,
    /// For want of room on the disk.
    full: AtomicBool,
}

impl Stop {
    fn set(&self, cause: &PullCause) {
        self.full.fetch_or(matches!(cause, PullCause::Cache(e) if e.is_full()), Ordering::Relaxed);
        self.any.store(true, Ordering::Release);
    }
}

/// Ends when another layer has failed. What came so far is kept for the next run, unless the disk is full.
struct Stoppable<'a, R> {
    inner: R,
    stop: &'a Stop,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.stop.any.load(Ordering::Acquire) {
            let is_full = self.stop.full.load(Ordering::Relaxed);
            let kind = if is_full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
            return Err(io::Error::new(kind, "stopped, since another layer failed"));
        }
        self.inner.read(buf)
    }
}
