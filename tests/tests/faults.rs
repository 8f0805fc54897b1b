//! What registries, networks, disks and users do wrong, and what the library makes of it: a clear error, or success after
//! another try; never half a result, and always a cache that still works.

#![allow(clippy::unwrap_used, missing_docs)]

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
use oci::{
    Cache, Client, ClientError, ClientOptions, Context, Credentials, Environment, PullError, Registries,
    RetryPolicy,
};
use sysext::{Event, Events};

/// One registry for all tests, with an image of some layers.
struct Shared {
    work: Work,
    registry: Registry,
    image: Image,
}

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
        options.ca_files = self.ca.clone().into_iter().collect();
        options.certs_dirs = self.certs_dir.clone().into_iter().collect();
        options.idle_timeout = Duration::from_secs(10);
        options.insecure_hosts = registries.insecure_hosts();
        let pauses = self.pauses.clone();
        let sleep = Arc::new(move |d| pauses.lock().unwrap().push(d));
        options.retry = RetryPolicy { sleep, ..RetryPolicy::default() };
        let mut context = Context::new(Cache::open(Some(&self.cache_dir())).unwrap()).unwrap();
        context.client = Client::new(options, credentials, self.environment.clone());
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
        let cache = Cache::open(Some(&self.cache_dir())).unwrap();
        for layer in &image.layers {
            if let Some(found) = cache.layer(&digest(&layer.tar).parse().unwrap()).unwrap() {
                let content = sysext::Content::in_blob(found.blob, found.offset, found.len);
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

#[test]
fn plain_pull_then_nothing_more_is_asked() {
    let (proxy, bench, image) = proxied(|_| Fault::Pass);
    complete(&bench.pull(&image).unwrap(), &SHARED.image);
    assert_eq!(proxy.count("/v2/"), 5, "one request for each thing: {:?}", proxy.log());
    assert!(proxy.log().iter().all(|r| r.header("user-agent").is_some_and(|u| u.starts_with("flix/"))));
    // By tag: one question. By digest, or offline: none.
    bench.pull(&image).unwrap();
    assert_eq!(proxy.count("/v2/"), 6);
    let pinned = format!("{}@{}", image.trim_end_matches(":1"), SHARED.image.digest());
    complete(&bench.pull(&pinned).unwrap(), &SHARED.image);
    let mut offline = bench.context();
    offline.offline = true;
    complete(&offline.pull(&image.parse().unwrap(), &bench.told).unwrap(), &SHARED.image);
    assert_eq!(proxy.count("/v2/"), 6);
    let error = offline.pull(&format!("{image}x").parse().unwrap(), &bench.told).unwrap_err();
    assert!(error.to_string().contains("manifest is not in the cache"), "{error}");
    bench.check_cache(&SHARED.image);
}

#[test]
fn a_reset_in_the_middle_goes_on_from_there() {
    let half = SHARED.image.layers[0].blob.len() as u64 / 2;
    let (proxy, bench, image) = proxied(move |r| match r.nth {
        0 if big(r) => Fault::ResetAfter(half),
        _ => Fault::Pass,
    });
    complete(&bench.pull(&image).unwrap(), &SHARED.image);
    let ranges: Vec<_> =
        proxy.log().iter().filter(|r| big(r)).map(|r| r.header("range").map(String::from)).collect();
    assert_eq!(ranges.len(), 2);
    let from: u64 =
        ranges[1].as_ref().unwrap().trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
    assert!(from > 0 && from <= half, "{from}");
    assert!(bench.told("trying again"));
    bench.check_cache(&SHARED.image);
}

#[test]
fn servers_that_know_no_ranges() {
    let len = SHARED.image.layers[0].blob.len();
    let wrong = format!("bytes 7-{}/{len}", len - 1);
    for second in [
        Fault::Without(vec!["range"]),
        Fault::Headers(vec![("content-range", wrong)]),
        Fault::Headers(vec![("content-range", String::new())]),
        Fault::Answer("416 Range Not Satisfiable", vec![], vec![]),
    ] {
        let (proxy, bench, image) = proxied(move |r| match r.nth {
            0 if big(r) => Fault::ResetAfter(1_000_000),
            1 if big(r) => second.clone(),
            _ => Fault::Pass,
        });
        complete(&bench.pull(&image).unwrap(), &SHARED.image);
        assert!(proxy.count(&SHARED.image.layer_digest(0)) <= 3);
        bench.check_cache(&SHARED.image);
    }
}

#[test]
fn a_line_that_always_breaks_ends_in_an_error_and_keeps_what_came() {
    let (proxy, bench, image) = proxied(|r| if big(r) { Fault::ResetAfter(100_000) } else { Fault::Pass });
    let error = bench.pull(&image).unwrap_err();
    assert!(error.to_string().contains(&SHARED.image.layer_digest(0)), "{error}");
    assert!(matches!(error.client(), Some(ClientError::Body { .. })), "{error:?}");
    bench.check_cache(&SHARED.image);
    // The next run, with a better line, asks for the rest alone.
    let better = FaultProxy::start(SHARED.registry.address, |_| Fault::Pass).unwrap();
    let conf = format!(
        "{}[[registry.mirror]]\nlocation = \"{}\"\ninsecure = true\n",
        insecure(proxy.address),
        better.address
    );
    let second = Bench { conf, ..bench };
    complete(&second.pull(&image).unwrap(), &SHARED.image);
    let log = better.log();
    let range = log.iter().find(|r| big(r)).unwrap().header("range").unwrap();
    assert_ne!(range, "bytes=0-");
    assert_eq!(better.count("/blobs/"), 1);
}

#[test]
fn wrong_bytes_are_refused() {
    let (_proxy, bench, image) = proxied(|r| if big(r) { Fault::Flip(2_000_000) } else { Fault::Pass });
    let error = bench.pull(&image).unwrap_err().to_string();
    assert!(error.contains("got content with digest"), "{error}");
    bench.check_cache(&SHARED.image);
    let partial = bench.cache_dir().join("partial");
    assert!(!partial.join(SHARED.image.layer_digest(0).trim_start_matches("sha256:")).exists());

    // A mirror's mistake is made good by the registry itself.
    let mirror =
        FaultProxy::start(SHARED.registry.address, |r| if big(r) { Fault::Flip(5) } else { Fault::Pass });
    let mirror = mirror.unwrap();
    let conf = format!(
        "{}[[registry.mirror]]\nlocation = \"{}\"\ninsecure = true\n",
        insecure(SHARED.registry.address),
        mirror.address
    );
    let bench = Bench::new(conf);
    complete(&bench.pull(&format!("{}/team/app:1", SHARED.registry.address)).unwrap(), &SHARED.image);
    assert!(bench.told("got content with digest"));
    assert_eq!(mirror.count(&SHARED.image.layer_digest(0)), 1);
}

#[test]
fn documents_that_lie() {
    let layer = || SHARED.image.layers[2].clone();
    let other = digest(b"other");
    let cases: Vec<(&str, Image, &str)> = vec![
        (
            "diff-id",
            Image::of(vec![layer()], |c| c["rootfs"]["diff_ids"][0] = other.clone().into(), |_| {}).unwrap(),
            "got inflated content with diff_id",
        ),
        (
            "short",
            Image::of(vec![layer()], |_| {}, |m| m["layers"][0]["size"] = 5.into()).unwrap(),
            "got a length of",
        ),
        (
            "negative",
            Image::of(vec![layer()], |_| {}, |m| m["layers"][0]["size"] = (-1).into()).unwrap(),
            "expected u64",
        ),
        (
            "count",
            Image::of(vec![layer()], |c| c["rootfs"]["diff_ids"] = serde_json::json!([]), |_| {}).unwrap(),
            "1 layers, but config has 0",
        ),
        (
            "platform",
            Image::of(vec![layer()], |c| c["architecture"] = "s390x".into(), |_| {}).unwrap(),
            "image is for linux/s390x",
        ),
        (
            "no-gzip",
            Image::of(vec![Layer { blob: b"\x1f\x8bxxxxxxxxxxxxxxx".to_vec(), ..layer() }], |_| {}, |_| {})
                .unwrap(),
            "gzip",
        ),
    ];
    for (name, image, word) in cases {
        // The real registry refuses some of the manifests, so the proxy gives them out.
        SHARED.registry.push_blobs(&format!("lies/{name}"), &image).unwrap();
        let manifest = image.manifest.clone();
        let (_proxy, bench, reference) = proxied(move |r| match r.path.contains("/manifests/") {
            true => Fault::Answer("200 OK", vec![], manifest.clone()),
            false => Fault::Pass,
        });
        let error =
            bench.pull(&reference.replace("team/app", &format!("lies/{name}"))).unwrap_err().to_string();
        assert!(error.contains(word), "{name}: {error}");
        bench.check_cache(&image);
        assert!(
            bench.context().cache.list().unwrap().iter().all(|e| e.kind != oci::cache::EntryKind::Layer),
            "{name}"
        );
    }
}

#[test]
fn manifests_that_are_none() {
    let html = b"<!DOCTYPE html><p>Please log in".to_vec();
    let other = vec![("Docker-Content-Digest", digest(b"other"))];
    let manifest = SHARED.image.manifest.clone();
    for (fault, word) in [
        (Fault::Answer("200 OK", vec![("Content-Type", "text/html".into())], html.clone()), "web page"),
        (Fault::Answer("200 OK", vec![], html), "web page"),
        (Fault::Answer("200 OK", other, manifest), "got digest"),
        (Fault::Flood(100 << 20), "larger than 4194304 bytes"),
        (
            Fault::Answer(
                "404 Not Found",
                vec![],
                br#"{"errors":[{"code":"X","message":"no\nsuch"}]}"#.to_vec(),
            ),
            "no such",
        ),
        (Fault::Answer("418 I'm a teapot", vec![], b"short and stout".to_vec()), "418: short and stout"),
        (Fault::Answer("200 OK", vec![], b"{}".to_vec()), "manifest"),
        (Fault::Answer("204 No Content", vec![], vec![]), "204"),
    ] {
        let (_proxy, bench, image) = proxied(move |_| fault.clone());
        let error = bench.pull(&image).unwrap_err().to_string();
        assert!(error.contains(word) && !error.contains('\n'), "{word}: {error}");
        assert!(bench.context().cache.list().unwrap().iter().all(|e| e.kind == oci::cache::EntryKind::Blob));
    }
    let (_proxy, bench, image) = proxied(|r| match big(r) {
        true => Fault::Answer("200 OK", vec![("Content-Type", "text/html".into())], b"<html>".to_vec()),
        false => Fault::Pass,
    });
    let error = bench.pull(&image).unwrap_err().to_string();
    assert!(error.contains("web page (text/html), expected a layer"), "{error}");
}

#[test]
fn no_digest_header_is_fine() {
    let (_proxy, bench, image) = proxied(|_| Fault::Headers(vec![("docker-content-digest", String::new())]));
    complete(&bench.pull(&image).unwrap(), &SHARED.image);
}

#[test]
fn rate_limits_are_waited_for() {
    let limited = |after: &str| {
        Fault::Answer("429 Too Many Requests", vec![("Retry-After", after.into())], b"{}".to_vec())
    };
    let first = limited("7");
    let (_proxy, bench, image) = proxied(move |r| match r.nth {
        0 if big(r) || r.path.contains("manifests") => first.clone(),
        1 if big(r) => Fault::Answer("503 Service Unavailable", vec![], vec![]),
        _ => Fault::Pass,
    });
    complete(&bench.pull(&image).unwrap(), &SHARED.image);
    assert_eq!(bench.pauses(), [7000, 7000, 1000]);

    let forever = limited("86400");
    let (proxy, bench, image) = proxied(move |_| forever.clone());
    let error = bench.pull(&image).unwrap_err();
    assert!(error.to_string().contains("got status 429") && error.hint().is_some(), "{error}");
    assert_eq!((proxy.count("/v2/"), bench.pauses()), (1, vec![]));

    let (proxy, bench, image) = proxied(|_| Fault::Answer("500 Oops", vec![], vec![]));
    bench.pull(&image).unwrap_err();
    assert_eq!((proxy.count("/v2/"), bench.pauses()), (5, vec![500, 1000, 2000, 4000]));
}

#[test]
fn dead_mirrors_are_passed_over() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let lacking =
        FaultProxy::start(SHARED.registry.address, |_| Fault::Answer("404 Not Found", vec![], vec![]))
            .unwrap();
    let conf = format!(
        "[[registry]]\nlocation = \"docker.io\"\n{}",
        [dead, lacking.address, SHARED.registry.address]
            .map(|a| format!("[[registry.mirror]]\nlocation = \"{a}\"\ninsecure = true\n"))
            .concat()
    );
    let bench = Bench::new(conf);
    complete(&bench.pull("team/app:1").unwrap(), &SHARED.image);
    assert!(bench.told(&format!("{dead}: ")), "{:?}", bench.told.0.lock().unwrap());
    assert!(bench.pauses().is_empty());
    assert_eq!(lacking.count("/v2/"), 1, "a place that failed isn't asked again");

    let bench = Bench::new(insecure(dead));
    let error = bench.pull(&format!("{dead}/x")).unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn redirects_leave_credentials_at_home() {
    let auth = |host: &dyn std::fmt::Display| {
        Some(format!(r#"{{"auths": {{"{host}": {{"auth": "dXNlcjpwYXNz"}}}}}}"#))
    };
    let login = Registry::start(
        SHARED.work.path(),
        &Settings { login: Some(("user", "pass")), ..Settings::default() },
    )
    .unwrap();
    let store = Arc::new(FaultProxy::start(SHARED.registry.address, |_| Fault::Pass).unwrap());
    let target = store.address;
    let front = FaultProxy::start(login.address, move |r| match (r.is_blob(), r.header("authorization")) {
        (true, Some(_)) => {
            let location = format!("http://{target}{}?X-Signature=s3cret", r.path);
            Fault::Answer("307 Temporary Redirect", vec![("Location", location)], vec![])
        }
        _ => Fault::Pass,
    });
    let front = front.unwrap();
    let mut bench = Bench::new(insecure(front.address));
    bench.auth = auth(&front.address);
    // The registry is marked insecure, the store isn't.
    let error = bench.pull(&format!("{}/team/app:1", front.address)).unwrap_err();
    assert!(matches!(error.client(), Some(ClientError::WithoutTls { .. })), "{error:?}");
    assert!(error.hint().unwrap().contains("--insecure") && store.log().is_empty(), "{error}");
    bench.conf += &insecure(target);
    complete(&bench.pull(&format!("{}/team/app:1", front.address)).unwrap(), &SHARED.image);
    assert_eq!(store.count("/blobs/"), 4);
    for request in store.log() {
        assert_eq!(request.header("authorization"), None, "{}", request.path);
    }
    assert!(front.log().iter().any(|r| r.header("authorization") == Some("Basic dXNlcjpwYXNz")));

    for (location, word) in [
        ("", "leads nowhere"),
        ("ftp://x/", "scheme other"),
        ("http://user:pass@x/", "user name"),
        ("/v2/loop", "more than 5 times"),
    ] {
        let (_proxy, bench, image) = proxied(move |_| {
            let headers = if location.is_empty() { vec![] } else { vec![("Location", location.into())] };
            Fault::Answer("302 Found", headers, vec![])
        });
        let error = bench.pull(&image).unwrap_err().to_string();
        assert!(error.contains(word), "{location}: {error}");
    }
}

#[test]
fn a_redirects_target_gets_no_login() {
    for challenge in ["Basic realm=\"x\"", "Bearer realm=\"http://HOST/token\",service=\"x\""] {
        let thief = FaultProxy::start(SHARED.registry.address, move |r| {
            let challenge = challenge.replace("HOST", r.header("host").unwrap());
            Fault::Answer("401 Unauthorized", vec![("WWW-Authenticate", challenge)], vec![])
        });
        let thief = thief.unwrap();
        let target = thief.address;
        let (front, mut bench, image) = proxied(move |r| {
            let location = format!("http://{target}{}", r.path);
            Fault::Answer("307 Temporary Redirect", vec![("Location", location)], vec![])
        });
        bench.conf += &insecure(target);
        bench.auth = Some(format!(r#"{{"auths": {{"{}": {{"auth": "dXNlcjpwYXNz"}}}}}}"#, front.address));
        let error = bench.pull(&image).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error.client(), Some(ClientError::Denied { .. })), "{error:?}");
        assert!(text.contains(&format!("redirected to http://{target}/")), "{text}");
        assert_eq!((thief.log().len(), thief.count("/token")), (1, 0), "{challenge}");
        let asked = [thief.log(), front.log()].concat();
        assert!(asked.iter().all(|r| r.header("authorization").is_none()), "{challenge}: {asked:?}");
    }
}

#[test]
fn logins() {
    let login = Registry::start(
        SHARED.work.path(),
        &Settings { login: Some(("user", "pass")), ..Settings::default() },
    )
    .unwrap();
    let image = format!("{}/team/app:1", login.address);
    let mut bench = Bench::new(insecure(login.address));
    let error = bench.pull(&image).unwrap_err();
    assert!(error.to_string().contains("access to team/app denied (anonymous"), "{error}");
    bench.auth = Some(format!(r#"{{"auths": {{"{}": {{"auth": "dXNlcjp3cm9uZw=="}}}}}}"#, login.address));
    let error = bench.pull(&image).unwrap_err();
    assert!(error.to_string().contains("denied (with credentials)"), "{error}");
    assert!(error.hint().is_some() && !format!("{error:?}").contains("wrong"));
    bench.auth = Some(format!(r#"{{"auths": {{"{}/team": {{"auth": "dXNlcjpwYXNz"}}}}}}"#, login.address));
    complete(&bench.pull(&image).unwrap(), &SHARED.image);
}

/// A registry with tokens: the proxy is the gate keeper and the token server. Each token is good for some requests.
fn token_registry(uses: usize, challenges: Vec<&'static str>) -> (FaultProxy, Bench, String) {
    let state: Arc<Mutex<(usize, usize)>> = Arc::default();
    proxied(move |r| {
        let (issued, used) = &mut *state.lock().unwrap();
        if r.path.starts_with("/token") {
            let scope = r.path.contains("scope=repository%3Ateam%2Fapp%3Apull");
            let known = r.header("authorization") == Some("Basic dXNlcjpwYXNz");
            if !scope || !known || r.method != "GET" {
                return Fault::Answer("401 Unauthorized", vec![], br#"{"details":"who?"}"#.to_vec());
            }
            (*issued, *used) = (*issued + 1, 0);
            return Fault::Answer("200 OK", vec![], format!(r#"{{"token":"t{issued}"}}"#).into_bytes());
        }
        let own = format!("Bearer t{issued}");
        if r.header("authorization") == Some(&own) && *issued > 0 && *used < uses {
            *used += 1;
            return Fault::Pass;
        }
        let host = r.header("host").unwrap();
        let headers = challenges.iter().map(|c| ("WWW-Authenticate", c.replace("HOST", host))).collect();
        Fault::Answer("401 Unauthorized", headers, vec![])
    })
}

const BEARER: &str = r#"Bearer realm="http://HOST/token",service="test",scope="repository:team/app:pull""#;

#[test]
fn tokens_that_expire_are_renewed() {
    for (uses, challenges) in [
        (100, vec![BEARER]),
        (2, vec![BEARER]),
        (100, vec!["Negotiate", BEARER]),
        (100, vec!["Basic realm=\"x\", Bearer realm=\"http://HOST/token\",service=test"]),
    ] {
        let (proxy, mut bench, image) = token_registry(uses, challenges);
        bench.auth = Some(format!(r#"{{"auths": {{"{}": {{"auth": "dXNlcjpwYXNz"}}}}}}"#, proxy.address));
        let mut context = bench.context();
        context.jobs = 1;
        complete(&context.pull(&image.parse().unwrap(), &bench.told).unwrap(), &SHARED.image);
        let tokens = proxy.log().iter().filter(|r| r.path.starts_with("/token")).count();
        assert_eq!(tokens, if uses == 2 { 3 } else { 1 });
        // The password goes to the token server alone.
        let leaked = |r: &&Request| {
            !r.path.starts_with("/token") && r.header("authorization").is_some_and(|a| a.starts_with("Basic"))
        };
        assert_eq!(proxy.log().iter().filter(leaked).count(), 0);
    }
}

#[test]
fn tokens_that_cannot_be_had() {
    let (proxy, bench, image) = token_registry(1, vec![BEARER]);
    let error = bench.pull(&image).unwrap_err().to_string();
    assert!(error.contains("denied (anonymous") && error.contains("who?"), "{error}");
    for (challenge, word) in [
        ("Negotiate", "authentication by negotiate"),
        ("Bearer realm=\"ftp://x/\"", "scheme other"),
        ("Bearer service=x", "authentication by bearer"),
        ("", "authentication by nothing"),
    ] {
        let (_proxy, bench, image) = proxied(move |_| {
            let headers =
                if challenge.is_empty() { vec![] } else { vec![("WWW-Authenticate", challenge.into())] };
            Fault::Answer("401 Unauthorized", headers, vec![])
        });
        let error = bench.pull(&image).unwrap_err().to_string();
        assert!(error.contains(word), "{challenge}: {error}");
    }
    // A token that is refused isn't asked for again and again.
    let (_, mut bench, image) = token_registry(0, vec![BEARER]);
    let host = image.split('/').next().unwrap().to_owned();
    bench.auth = Some(format!(r#"{{"auths": {{"{host}": {{"auth": "dXNlcjpwYXNz"}}}}}}"#));
    let error = bench.pull(&image).unwrap_err().to_string();
    assert!(error.contains("denied (with credentials)"), "{error}");
    drop(proxy);
}

/// The registry may do without TLS, which says nothing about a token server that it names: the password would go there.
#[test]
fn a_token_server_is_insecure_by_its_own_mark_alone() {
    for auth in ["\"auth\": \"dXNlcjpwYXNz\"", "\"identitytoken\": \"r\""] {
        let answer = |_: &Request| Fault::Answer("200 OK", vec![], br#"{"access_token":"a"}"#.to_vec());
        let thief = FaultProxy::start(SHARED.registry.address, answer).unwrap();
        let server = thief.address;
        let (front, mut bench, image) = proxied(move |r| match r.header("authorization") {
            Some("Bearer a") => Fault::Pass,
            _ => {
                let challenge = BEARER.replace("HOST", &server.to_string());
                Fault::Answer("401 Unauthorized", vec![("WWW-Authenticate", challenge)], vec![])
            }
        });
        bench.auth = Some(format!(r#"{{"auths": {{"{}": {{{auth}}}}}}}"#, front.address));
        let error = bench.pull(&image).unwrap_err();
        assert!(matches!(error.client(), Some(ClientError::WithoutTls { .. })), "{error:?}");
        assert!(error.to_string().contains(&format!("token server \"http://{server}/token\"")), "{error}");
        assert!(error.hint().unwrap().contains("--insecure") && thief.log().is_empty());
        // A mark for a path is none for the host.
        bench.conf += &insecure(format!("{server}/team"));
        assert!(bench.pull(&image).is_err() && thief.log().is_empty());
        bench.conf += &insecure(server);
        complete(&bench.pull(&image).unwrap(), &SHARED.image);
    }
}

#[test]
fn identity_tokens_are_exchanged() {
    let (proxy, mut bench, image) = proxied(|r| match (r.path.as_str(), r.header("authorization")) {
        ("/token", None) if r.method == "POST" => {
            Fault::Answer("200 OK", vec![], br#"{"access_token":"a","refresh_token":"b"}"#.to_vec())
        }
        (_, Some("Bearer a")) => Fault::Pass,
        _ => {
            let challenge = BEARER.replace("HOST", r.header("host").unwrap());
            Fault::Answer("401 Unauthorized", vec![("WWW-Authenticate", challenge)], vec![])
        }
    });
    bench.auth = Some(format!(r#"{{"auths": {{"{}": {{"identitytoken": "r"}}}}}}"#, proxy.address));
    complete(&bench.pull(&image).unwrap(), &SHARED.image);
}

#[test]
fn tls() {
    let authority = Authority::new(&SHARED.work.path().join("tls")).unwrap();
    let settings = Settings { tls: Some(authority.server.clone()), ..Settings::default() };
    let registry = Registry::start(SHARED.work.path(), &settings).unwrap();
    let image = format!("{}/team/app:1", registry.address);
    let error = Bench::new("").pull(&image).unwrap_err();
    assert!(error.to_string().contains("TLS: ") && error.hint().is_some(), "{error}");

    let mut bench = Bench::new("");
    bench.ca = Some(authority.ca.clone());
    complete(&bench.pull(&image).unwrap(), &SHARED.image);

    let mut bench = Bench::new("");
    let certs = bench.dir.path().join("certs.d");
    let own = certs.join(registry.address.to_string());
    fs::create_dir_all(&own).unwrap();
    fs::copy(&authority.ca, own.join("ca.crt")).unwrap();
    bench.certs_dir = Some(certs);
    complete(&bench.pull(&image).unwrap(), &SHARED.image);

    // Unverified TLS is tried before plain HTTP.
    complete(&Bench::new(insecure(registry.address)).pull(&image).unwrap(), &SHARED.image);

    // A registry that wants to see a certificate of the client's.
    let settings = Settings { client_ca: Some(authority.ca.clone()), ..settings };
    let strict = Registry::start(SHARED.work.path(), &settings).unwrap();
    let image = format!("{}/team/app:1", strict.address);
    let mut bench = Bench::new("");
    bench.ca = Some(authority.ca.clone());
    bench.pull(&image).unwrap_err();
    let certs = bench.dir.path().join("certs.d");
    let own = certs.join(strict.address.to_string());
    fs::create_dir_all(&own).unwrap();
    fs::copy(&authority.server.0, own.join("me.cert")).unwrap();
    fs::copy(&authority.server.1, own.join("me.key")).unwrap();
    bench.certs_dir = Some(certs);
    complete(&bench.pull(&image).unwrap(), &SHARED.image);
    fs::write(own.join("me.key"), "no key").unwrap();
    let error = bench.pull(&image).unwrap_err().to_string();
    assert!(error.contains("me.key"), "{error}");

    // No TLS where it is expected.
    let (_proxy, _, image) = proxied(|_| Fault::Pass);
    let error = Bench::new("").pull(&image).unwrap_err();
    assert!(error.to_string().contains("answered without TLS") && error.hint().is_some(), "{error}");
}

/// A proxy that knows one host, which nobody else does.
fn connect_proxy(target: SocketAddr, seen: Sender<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move |client: TcpStream| -> std::io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let mut lines = Vec::new();
        while lines.last().is_none_or(|l: &String| !l.is_empty()) {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            lines.push(line.trim_end().to_owned());
        }
        let _ = seen.send(lines[0].clone());
        let server = TcpStream::connect(target)?;
        let (mut back, mut to_client) = (server.try_clone()?, client.try_clone()?);
        to_client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        std::thread::spawn(move || {
            std::io::copy(&mut back, &mut to_client).and(to_client.shutdown(Shutdown::Both))
        });
        std::io::copy(&mut reader, &mut &server)?;
        server.shutdown(Shutdown::Write)
    };
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(client));
        }
    });
    address
}

#[test]
fn proxies_of_the_environment() {
    let front = FaultProxy::start(SHARED.registry.address, |_| Fault::Pass).unwrap();
    let (seen, lines) = channel();
    let proxy = connect_proxy(front.address, seen);
    let mut bench = Bench::new(insecure("registry.invalid:5000"));
    bench.environment = Environment::from_iter([("ALL_PROXY", format!("http://{proxy}"))]);
    complete(&bench.pull("registry.invalid:5000/team/app:1").unwrap(), &SHARED.image);
    assert_eq!(lines.recv().unwrap(), "CONNECT registry.invalid:5000 HTTP/1.1");
    bench.environment =
        Environment::from_iter([("ALL_PROXY", format!("http://{proxy}")), ("NO_PROXY", "invalid".into())]);
    let error = bench.pull("registry.invalid:5000/team/app:1").unwrap_err().to_string();
    assert!(error.contains("registry.invalid:5000: "), "{error}");
}

/// A pull in a process of its own, with the lines that it prints.
fn spawn(bench: &Bench, image: &str) -> (Child, Receiver<String>) {
    let conf = bench.dir.path().join("registries.conf");
    fs::write(&conf, &bench.conf).unwrap();
    let mut program =
        Program::new(env!("CARGO_BIN_EXE_pull")).clean_env().arg(bench.cache_dir()).arg(conf).arg(image);
    program.command().stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = program.start().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = channel();
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|l| sender.send(l)));
    (child, lines)
}

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn killed_at_any_point() {
    let len = SHARED.image.layers[0].blob.len() as u64;
    let asks = |what: &'static str| move |r: &Request| r.path.contains(what);
    type Wanted = Box<dyn Fn(&Request) -> bool + Send + Sync>;
    let points: Vec<(&str, Wanted, u64)> = vec![
        ("manifest", Box::new(asks("/manifests/")), 100),
        ("config", Box::new(|r| r.is_blob() && r.path.ends_with(&digest(&SHARED.image.config))), 10),
        ("layer, first byte", Box::new(big), 1),
        ("layer, half", Box::new(big), len / 2),
        ("layer, all but one byte", Box::new(big), len - 1),
        ("layer, all", Box::new(big), len),
    ];
    for (name, wanted, at) in points {
        let (reached, wait) = channel();
        let (_proxy, bench, image) = proxied(move |r| match wanted(r) {
            true if r.nth == 0 => Fault::HoldAfter(at, reached.clone()),
            _ => Fault::Pass,
        });
        let (mut child, _lines) = spawn(&bench, &image);
        wait.recv_timeout(PATIENCE).expect(name);
        child.kill().unwrap();
        child.wait().unwrap();
        complete(&bench.pull(&image).unwrap(), &SHARED.image);
        bench.check_cache(&SHARED.image);
        let all = oci::cache::Prune { all: true, ..Default::default() };
        bench.context().cache.prune(&all).unwrap();
        assert!(bench.context().cache.list().unwrap().is_empty(), "{name}");
    }
}

#[test]
fn two_at_once_fetch_once() {
    let (reached, wait) = channel();
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    // The first request for the layer is held until the second process waits for the first.
    let (proxy, bench, image) = proxied(move |r| {
        if big(r) && r.nth == 0 {
            reached.send(()).unwrap();
            released.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        Fault::Pass
    });
    let (mut first, first_lines) = spawn(&bench, &image);
    wait.recv_timeout(PATIENCE).unwrap();
    let (mut second, lines) = spawn(&bench, &image);
    while !lines.recv_timeout(PATIENCE).unwrap().contains("waiting for it") {}
    release.send(()).unwrap();
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    let last = |lines: Receiver<String>| lines.into_iter().last().unwrap();
    let expected = format!("{} 3", SHARED.image.digest());
    assert_eq!((last(first_lines), last(lines)), (expected.clone(), expected));
    assert_eq!(proxy.count(&SHARED.image.layer_digest(0)), 1);
    bench.check_cache(&SHARED.image);
}

#[test]
fn a_full_disk_is_told_and_left_usable() {
    let small = Image::noise(&[1000]).unwrap();
    SHARED.registry.push("team/small", "1", &small).unwrap();
    let bench = Bench::new(insecure(SHARED.registry.address));
    let conf = bench.dir.path().join("registries.conf");
    fs::write(&conf, &bench.conf).unwrap();
    let image = |name: &str| format!("{}/team/{name}:1", SHARED.registry.address);
    // In a mount namespace of its own, so that nothing has to be unmounted.
    let script = r#"
        mount -t tmpfs -o size=2m tmpfs "$2" || exit 99
        "$1" "$2/cache" "$3" "$4" && exit 98
        echo "left: $(du -sk "$2" | cut -f1)" >&2
        "$1" "$2/cache" "$3" "$5"
    "#;
    let mount = bench.dir.path().join("disk");
    fs::create_dir(&mount).unwrap();
    let outcome = Program::new("unshare")
        .args(["-rm", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_pull")])
        .arg(&mount)
        .arg(&conf)
        .args([image("app"), image("small")])
        .run()
        .unwrap();
    assert!(
        outcome.stderr.contains("No space left on device")
            && (outcome.stderr.contains("cache/tmp") || outcome.stderr.contains("cache/partial")),
        "{outcome:?}"
    );
    assert!(outcome.stdout.ends_with(&format!("{} 1\n", small.digest())), "{outcome:?}");
    let left = outcome.stderr.split("left: ").nth(1).unwrap().trim().parse::<u64>().unwrap();
    assert!(left < 1100, "{left} KiB stayed behind");
}
