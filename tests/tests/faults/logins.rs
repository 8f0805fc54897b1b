//! Credentials: who gets them, and what becomes of tokens.

use super::*;

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
    assert!(matches!(error.client(), Some(ClientError::Http(HttpError::WithoutTls { .. }))), "{error:?}");
    assert!(cli::hint(&error).unwrap().contains("--insecure") && store.log().is_empty(), "{error}");
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
        ("/v2/loop", "leads in a circle"),
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
    assert!(cli::hint(&error).is_some() && !format!("{error:?}").contains("wrong"));
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
        assert!(matches!(error.client(), Some(ClientError::Http(HttpError::WithoutTls { .. }))), "{error:?}");
        assert!(error.to_string().contains(&format!("token server \"http://{server}/token\"")), "{error}");
        assert!(cli::hint(&error).unwrap().contains("--insecure") && thief.log().is_empty());
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
