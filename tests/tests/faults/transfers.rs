//! What comes over the line: broken off, wrong, slow, from elsewhere.

use super::*;

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

/// A byte now and then keeps a connection alive for ever.
#[test]
fn servers_that_hardly_send_are_given_up() {
    let soon = Some(Duration::from_millis(100));
    let (proxy, mut bench, image) = proxied(|r| match r.path.contains("/manifests/") {
        true => Fault::DripAfter(10),
        false => Fault::Pass,
    });
    bench.document_timeout = soon;
    let error = bench.pull(&image).unwrap_err().to_string();
    assert!(error.contains("is not complete after 0.1 s"), "{error}");
    assert_eq!(proxy.count("/manifests/"), 2);

    // What a token server says, and an error's text.
    let (_proxy, mut bench, image) = proxied(|r| match r.path.starts_with("/token") {
        true => Fault::DripAfter(1),
        false => {
            let challenge = format!("Bearer realm=\"http://{}/token\"", r.header("host").unwrap());
            Fault::Answer("401 Unauthorized", vec![("WWW-Authenticate", challenge)], vec![])
        }
    });
    bench.document_timeout = soon;
    bench.pull(&image).unwrap_err();

    let pace = Some(Pace { rate: 1 << 20, window: Duration::from_millis(200) });
    let (proxy, mut bench, image) = proxied(|r| if big(r) { Fault::DripAfter(1000) } else { Fault::Pass });
    bench.pace = pace;
    let error = bench.pull(&image).unwrap_err().to_string();
    assert!(error.contains("got fewer than 1048576 bytes a second over 0.2 s"), "{error}");
    assert_eq!(proxy.log().iter().filter(|r| big(r)).count(), 2);

    // The second attempt goes on where the first was given up.
    let (proxy, mut bench, image) = proxied(|r| match r.nth {
        0 if big(r) => Fault::DripAfter(1_000_000),
        _ => Fault::Pass,
    });
    bench.pace = Some(Pace { rate: 1 << 10, window: Duration::from_millis(200) });
    complete(&bench.pull(&image).unwrap(), &SHARED.image);
    assert!(proxy.log().iter().any(|r| big(r) && r.header("range").is_some()));
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
    assert!(matches!(error.client(), Some(ClientError::Http(HttpError::Body { .. }))), "{error:?}");
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
            bench
                .context()
                .cache
                .list()
                .unwrap()
                .iter()
                .all(|e| e.kind != store::cache::CacheEntryKind::Layer),
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
        assert!(
            bench
                .context()
                .cache
                .list()
                .unwrap()
                .iter()
                .all(|e| e.kind == store::cache::CacheEntryKind::Blob)
        );
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
    assert!(error.to_string().contains("got status 429") && cli::hint(&error).is_some(), "{error}");
    assert_eq!((proxy.count("/v2/"), bench.pauses()), (1, vec![]));

    let (proxy, bench, image) = proxied(|_| Fault::Answer("500 Oops", vec![], vec![]));
    bench.pull(&image).unwrap_err();
    assert_eq!((proxy.count("/v2/"), bench.pauses()), (5, vec![500, 1000, 2000, 4000]));
}

#[test]
fn dead_mirrors_are_passed_over() {
    // Where nobody listens, and no other test ever does.
    let dead = SocketAddr::from(([127, 0, 0, 1], 1));
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
