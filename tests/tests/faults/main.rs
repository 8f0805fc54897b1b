//! What registries, networks, disks and users do wrong, and what the library makes of it: a clear error, or success after
//! another try; never half a result, and always a cache that still works.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod logins;
mod partial;
mod signed;
mod transfers;
mod vectors;
mod ways;
mod wire;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use e2e::fault_proxy::{Fault, FaultProxy, Request};
use e2e::registry::{Authority, Image, Layer, Registry, Settings, digest};
use e2e::{Program, Work};
use oci::{Client, ClientError, ClientOptions, Context, Credentials, PullError, Registries};
use store::http::{HttpError, Pace, RetryPolicy};
use store::{Cache, Environment};
use tree::{Event, Events};

/// One registry for all tests, with an image of some layers.
struct Shared {
    work: Work,
    registry: Registry,
    image: Image,
}

/// This machine's, as images have it.
const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let work = Work::new().unwrap();
    let settings = Settings { remove: true, ..Settings::default() };
    let registry = Registry::start(work.path(), &settings).unwrap();
    let image = Image::noise(&[3_000_000, 400_000, 10]).unwrap();
    registry.push("team/app", "1", &image).unwrap();
    Shared { work, registry, image }
});

/// A test's own cache and settings.
struct Bench {
    dir: tempfile::TempDir,
    conf: String,
    auth: Option<String>,
    ca: Option<PathBuf>,
    certs_dir: Option<PathBuf>,
    environment: Environment,
    pauses: Arc<Mutex<Vec<Duration>>>,
    told: Told,
    document_timeout: Option<Duration>,
    pace: Option<Pace>,
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Events for Told {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(text) | Event::Note(text) = event {
            self.0.lock().unwrap().push(text.into_owned());
        }
    }
}

fn insecure(location: impl std::fmt::Display) -> String {
    format!("[[registry]]\nlocation = \"{location}\"\ninsecure = true\n")
}

impl Bench {
    fn new(conf: impl Into<String>) -> Bench {
        Bench {
            dir: tempfile::Builder::new().prefix("flix-faults-").tempdir_in("/var/tmp").unwrap(),
            conf: conf.into(),
            auth: None,
            ca: None,
            certs_dir: None,
            environment: Environment::default(),
            pauses: Arc::default(),
            told: Told::default(),
            document_timeout: None,
            pace: None,
        }
    }

    fn context(&self) -> Context {
        let mut registries = Registries::default();
        registries.add(Path::new("registries.conf"), &self.conf).unwrap();
        let auth = self.dir.path().join("auth.json");
        let credentials = match &self.auth {
            Some(text) => {
                fs::write(&auth, text).unwrap();
                Credentials::load(Some(&auth), &Environment::default()).unwrap()
            }
            None => Credentials::none(),
        };
        let mut options = ClientOptions::new(&Environment::default());
        options.http.ca_files = self.ca.clone().into_iter().collect();
        options.http.certs_dirs = self.certs_dir.clone().into_iter().collect();
        options.http.idle_timeout = Duration::from_secs(10);
        options.http.document_timeout = self.document_timeout.unwrap_or(options.http.document_timeout);
        options.http.pace = self.pace.unwrap_or(options.http.pace);
        options.insecure_hosts = registries.insecure_hosts();
        let pauses = self.pauses.clone();
        let sleep = Arc::new(move |d| pauses.lock().unwrap().push(d));
        options.http.retry = RetryPolicy { sleep, ..RetryPolicy::default() };
        let mut context = Context::new(Cache::open(&self.cache_dir()).unwrap()).unwrap();
        context.client = Arc::new(Client::new(options, credentials, self.environment.clone()));
        context.registries = registries;
        context
    }

    fn cache_dir(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn pull(&self, image: &str) -> Result<oci::Image, PullError> {
        self.context().pull(&image.parse().unwrap(), &self.told)
    }

    fn told(&self, word: &str) -> bool {
        self.told.0.lock().unwrap().iter().any(|t| t.contains(word))
    }

    fn pauses(&self) -> Vec<u128> {
        self.pauses.lock().unwrap().iter().map(Duration::as_millis).collect()
    }

    /// What must not be there when nothing runs.
    fn leftovers(&self) -> Vec<PathBuf> {
        let dirs = ["tmp", "scratch", "locks"].map(|d| self.cache_dir().join(d));
        dirs.iter().flat_map(|d| fs::read_dir(d).unwrap()).map(|e| e.unwrap().path()).collect()
    }

    /// The cache is consistent: what it offers is right.
    fn check_cache(&self, image: &Image) {
        assert_eq!(self.leftovers(), Vec::<PathBuf>::new());
        let cache = Cache::open(&self.cache_dir()).unwrap();
        for layer in &image.layers {
            if let Some(found) = cache.layer(&digest(&layer.tar).parse().unwrap()).unwrap() {
                let content = tree::Content::in_blob(found.blob, found.offset, found.len);
                assert!(content.read(1 << 30).unwrap() == layer.tar);
            }
        }
    }
}

/// A proxy in front of the shared registry, and a bench that is allowed to talk to it.
fn proxied(rule: impl Fn(&Request) -> Fault + Send + Sync + 'static) -> (FaultProxy, Bench, String) {
    let proxy = FaultProxy::start(SHARED.registry.address, rule).unwrap();
    let bench = Bench::new(insecure(proxy.address));
    let image = format!("{}/team/app:1", proxy.address);
    (proxy, bench, image)
}

fn complete(pulled: &oci::Image, image: &Image) {
    assert_eq!(pulled.digest.to_string(), image.digest());
    let tars: Vec<String> = pulled.layers.iter().map(|l| l.diff_id.to_string()).collect();
    let expected: Vec<String> = image.layers.iter().map(|l| digest(&l.tar)).collect();
    assert_eq!(tars, expected);
}

/// The blob of the largest layer.
fn big(request: &Request) -> bool {
    request.path.ends_with(&SHARED.image.layer_digest(0))
}
