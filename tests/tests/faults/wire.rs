//! What registries and the stores behind them do besides the specification, and clients have learnt to live with.

use super::*;

const MOVED: &str = "307 Temporary Redirect";

#[test]
fn a_challenge_in_a_403() {
    let asks = |r: &Request, challenge: String| match r.header("authorization") {
        None => Fault::Answer("403 Forbidden", vec![("WWW-Authenticate", challenge)], vec![]),
        Some(_) => Fault::Without(vec!["authorization"]),
    };
    let (proxy, mut bench, image) = proxied(move |r| asks(r, "Basic realm=\"x\"".into()));
    // Without a password there is nothing to be done.
    let error = bench.pull(&image).unwrap_err();
    assert!(matches!(error.client(), Some(ClientError::Denied { .. })), "{error:?}");
    bench.auth = Some(format!(r#"{{"auths": {{"{}": {{"auth": "dXNlcjpwYXNz"}}}}}}"#, proxy.address));
    complete(&bench.pull(&image).unwrap(), &SHARED.image);

    let (_proxy, bench, image) = proxied(move |r| match r.path.starts_with("/token") {
        true => Fault::Answer("200 OK", vec![], br#"{"token":"t0ken"}"#.to_vec()),
        false => asks(r, format!("Bearer realm=\"http://{}/token\"", r.header("host").unwrap())),
    });
    complete(&bench.pull(&image).unwrap(), &SHARED.image);

    // A refusal that is one is final.
    for challenge in ["", "Negotiate"] {
        let (proxy, bench, image) = proxied(move |_| {
            Fault::Answer("403 Forbidden", vec![("WWW-Authenticate", challenge.into())], b"no".to_vec())
        });
        let error = bench.pull(&image).unwrap_err();
        assert!(matches!(error.client(), Some(ClientError::Denied { .. })), "{error:?}");
        assert_eq!(proxy.count("/manifests/"), 1);
    }
    // A token that is refused, too, isn't asked for again.
    let (proxy, bench, image) = proxied(move |r| match r.path.starts_with("/token") {
        true => Fault::Answer("200 OK", vec![], br#"{"token":"t0ken"}"#.to_vec()),
        false => {
            let challenge = format!("Bearer realm=\"http://{}/token\"", r.header("host").unwrap());
            Fault::Answer("403 Forbidden", vec![("WWW-Authenticate", challenge)], vec![])
        }
    });
    let error = bench.pull(&image).unwrap_err();
    assert!(matches!(error.client(), Some(ClientError::Denied { .. })), "{error:?}");
    assert_eq!((proxy.count("/manifests/"), proxy.count("/token")), (2, 1));
}

/// Where a hop leads: relative, with dots, blanks and letters that need an escape; then the blob itself.
fn hops(n: usize) -> impl Fn(&Request) -> Fault + Send + Sync + 'static {
    move |r: &Request| {
        let blob = SHARED.image.layers.iter().find(|l| r.path.contains(&digest(&l.blob)));
        let Some(layer) = blob else { return Fault::Pass };
        let id = digest(&layer.blob);
        let hop = r.path.rsplit_once("hop=").map_or(0, |(_, n)| n.parse::<usize>().unwrap());
        if hop == n {
            return Fault::Answer("200 OK", vec![("Content-Type", "text/html".into())], layer.blob.clone());
        }
        let location = match hop % 3 {
            0 => format!("../../somewhere else/{id}?é=a b&hop={}", hop + 1),
            1 => format!("/a/./b/../größe/{id}?hop={}", hop + 1),
            _ => format!("?{id}&hop={}", hop + 1),
        };
        Fault::Answer(MOVED, vec![("Location", location)], vec![])
    }
}

#[test]
fn redirects_of_all_forms_are_followed() {
    let (proxy, bench, image) = proxied(hops(6));
    complete(&bench.pull(&image).unwrap(), &SHARED.image);
    let log = proxy.log();
    assert!(
        log.iter().any(|r| r.path.starts_with("/v2/team/somewhere%20else/sha256:")
            && r.path.ends_with("?%C3%A9=a%20b&hop=1")),
        "{log:?}"
    );
    assert!(log.iter().any(|r| r.path.starts_with("/a/gr%C3%B6%C3%9Fe/sha256:")), "{log:?}");

    let (_proxy, bench, image) = proxied(hops(11));
    let error = bench.pull(&image).unwrap_err().to_string();
    assert!(error.contains("redirect leads on more than 10 times"), "{error}");

    let (proxy, bench, image) = proxied(|r| match r.is_blob() {
        true => Fault::Answer(MOVED, vec![("Location", r.path.clone())], vec![]),
        false => Fault::Pass,
    });
    let error = bench.pull(&image).unwrap_err().to_string();
    assert!(error.contains("redirect leads in a circle"), "{error}");
    assert_eq!(proxy.count("/blobs/"), 1);
}

#[test]
fn a_redirect_to_a_host_with_an_underscore() {
    let front = FaultProxy::start(SHARED.registry.address, |r| {
        match r.is_blob() && !r.header("host").unwrap().contains('_') {
            true => {
                let location = format!("http://my_bucket-.store.invalid{}", r.path);
                Fault::Answer(MOVED, vec![("Location", location)], vec![])
            }
            false => Fault::Pass,
        }
    });
    let (seen, lines) = channel();
    let proxy = super::ways::connect_proxy(front.unwrap().address, seen);
    let conf =
        insecure("registry.invalid:5000") + "[[registry]]\nprefix = \"*.store.invalid\"\ninsecure = true\n";
    let mut bench = Bench::new(conf);
    bench.environment = Environment::from_iter([("ALL_PROXY", format!("http://{proxy}"))]);
    complete(&bench.pull("registry.invalid:5000/team/app:1").unwrap(), &SHARED.image);
    assert!(lines.try_iter().any(|l| l == "CONNECT my_bucket-.store.invalid:80 HTTP/1.1"));
}

#[test]
fn content_types_that_say_nothing_or_lie() {
    for content_type in ["", "text/html", "TEXT/HTML; charset=utf-8", "application/json", "image/png"] {
        let (_proxy, bench, image) = proxied(move |r| match r.path.contains("/blobs/") {
            true => Fault::Headers(vec![("Content-Type", content_type.into())]),
            false => Fault::Pass,
        });
        complete(&bench.pull(&image).unwrap(), &SHARED.image);
        bench.check_cache(&SHARED.image);
    }
    let docker = "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8";
    for content_type in ["", "binary/octet-stream", "text/html; charset=utf-8", docker] {
        let (_proxy, bench, image) = proxied(move |r| match r.path.contains("/manifests/") {
            true => Fault::Headers(vec![("Content-Type", content_type.into())]),
            false => Fault::Pass,
        });
        complete(&bench.pull(&image).unwrap(), &SHARED.image);
    }
}

#[test]
fn a_config_without_a_type_of_its_own() {
    let image = Image::of(
        vec![SHARED.image.layers[2].clone()],
        |c| c["config"] = serde_json::json!({ "Env": ["A=1", "FOO"], "Labels": null }),
        |m| m["config"]["mediaType"] = "application/octet-stream".into(),
    )
    .unwrap();
    SHARED.registry.push_blobs("odd/config", &image).unwrap();
    let manifest = image.manifest.clone();
    let (_proxy, bench, reference) = proxied(move |r| match r.path.contains("/manifests/") {
        true => Fault::Answer("200 OK", vec![], manifest.clone()),
        false => Fault::Pass,
    });
    let pulled = bench.pull(&reference.replace("team/app", "odd/config")).unwrap();
    complete(&pulled, &image);
    assert_eq!((pulled.config.env, pulled.config.invalid_env), (vec!["A=1".into()], vec!["FOO".into()]));
}
