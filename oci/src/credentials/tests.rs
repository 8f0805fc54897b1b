use std::process::Command;

use super::*;

fn basic(user: &str, password: &str) -> Option<Credential> {
    Some(Credential::Basic { user: user.into(), password: password.into() })
}

#[test]
fn keys_from_specific_to_general() {
    let file = AuthFile::parse(
        r#"{"auths": {
            "quay.io/user/app": {"auth": "YTox"},
            "quay.io/user": {"auth": "Yjoy"},
            "quay.io": {"auth": "Yzoz"},
            "https://index.docker.io/v1/": {"auth": "ZDo0OjU="},
            "https://old.example:5000/v2/": {"username": "e", "password": "5"},
            "token.io": {"auth": "", "identitytoken": "it"},
            "bearer.io": {"registrytoken": "rt"},
            "empty.io": {}
        }, "HttpHeaders": {"x": "y"}}"#,
    )
    .unwrap();
    for (host, repository, expected) in [
        ("quay.io", "user/app", basic("a", "1")),
        ("quay.io", "user/apps", basic("b", "2")),
        ("quay.io", "user/app/x", basic("a", "1")),
        ("quay.io", "users", basic("c", "3")),
        ("docker.io", "library/alpine", basic("d", "4:5")),
        ("old.example:5000", "x", basic("e", "5")),
        ("old.example", "x", None),
        ("evil.quay.io", "user/app", None),
        ("token.io", "x", Some(Credential::IdentityToken("it".into()))),
        ("bearer.io", "x", Some(Credential::RegistryToken("rt".into()))),
        ("empty.io", "x", None),
    ] {
        assert_eq!(file.find(host, repository), expected.as_ref(), "{host}/{repository}");
    }
}

#[test]
fn errors_and_debug_show_no_secret() {
    for text in [
        r#"{"auths": {"a.io": {"auth": "s3cret"}}}"#,
        r#"{"auths": {"a.io": {"auth": "czNjcmV0"}}}"#,
        r#"{"auths": {"a.io": "s3cret"}}"#,
        r#"{"auths": {"a.io": {"auth": 5, "password": "s3cret"}}}"#,
        r#"{"auths": {"a.io": {"password": "s3cret"#,
    ] {
        let error = AuthFile::parse(text).err().expect(text);
        assert!(!error.contains("s3cret") && !error.contains("czNj"), "{error}");
    }
    let all = [basic("u", "s3cret"), Some(Credential::IdentityToken("s3cret".into()))];
    assert_eq!(format!("{all:?}"), r#"[Some(Basic("u", ***)), Some(IdentityToken(***))]"#);
}

#[test]
fn order_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = |p: &str| dir.path().join(p);
    let write = |p: &str, host: &str, auth: &str| {
        let path = path(p);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!(r#"{{"auths": {{"{host}": {{"auth": "{auth}"}}}}}}"#)).unwrap();
    };
    let env = Environment::from_iter([
        ("XDG_RUNTIME_DIR", path("run")),
        ("XDG_CONFIG_HOME", path("config")),
        ("HOME", path("home")),
    ]);
    let find = |c: &Credentials| c.find("x.io", "a").unwrap();
    let load = || Credentials::load(None, &env).unwrap();
    assert_eq!(find(&load()), None);
    write("home/.docker/config.json", "x.io", "YTox");
    assert_eq!(find(&load()), basic("a", "1"));
    write("config/containers/auth.json", "x.io", "Yjoy");
    assert_eq!(find(&load()), basic("b", "2"));
    write("run/containers/auth.json", "other.io", "Yzoz");
    assert_eq!(find(&load()), basic("b", "2"));
    write("run/containers/auth.json", "x.io", "Yzoz");
    assert_eq!(find(&load()), basic("c", "3"));
    write("explicit.json", "x.io", "ZDo0");
    let explicit = Environment::from_iter([("REGISTRY_AUTH_FILE", path("explicit.json"))]);
    assert_eq!(find(&Credentials::load(None, &explicit).unwrap()), basic("d", "4"));
    assert!(Credentials::load(Some(&path("missing.json")), &env).is_err());

    std::fs::write(path("run/containers/auth.json"), "{").unwrap();
    let error = load().find("x.io", "a").unwrap_err().to_string();
    assert!(error.contains("auth.json") && error.contains("JSON"), "{error}");
}

/// Puts a program at a path.
///
/// A child process writes it. If this one did, a child that another thread forks meanwhile would have the file open for
/// writing until its own exec, and until then the kernel executes it for nobody ("Text file busy").
fn place_program(path: &Path, text: &str) {
    let source = path.with_extension("source");
    std::fs::write(&source, text).unwrap();
    let status = Command::new("install").args(["-m", "755"]).arg(&source).arg(path).status();
    assert!(status.unwrap().success(), "{path:?}");
    std::fs::remove_file(source).unwrap();
}

/// A real program that answers like a helper.
fn helpers(dir: &Path) -> Environment {
    let script = r#"#!/bin/sh
[ "$1" = get ] || exit 3
read -r server
case "$server" in
    basic.io) echo '{"ServerURL":"basic.io","Username":"u","Secret":"p"}';;
    https://index.docker.io/v1/) echo '{"Username":"hub","Secret":"h"}';;
    token.io) echo '{"Username":"<token>","Secret":"refresh"}';;
    broken.io) echo 'the keyring is locked'; exit 1;;
    junk.io) echo 'p4ssword';;
    *) echo 'credentials not found in native keychain'; exit 1;;
esac
"#;
    let path = dir.join("docker-credential-fake");
    place_program(&path, script);
    let search = format!("{}:/usr/bin:/bin", dir.display());
    Environment::from_iter([("PATH", search.as_str()), ("HOME", dir.to_str().unwrap())])
}

#[test]
fn helper_programs() {
    let dir = tempfile::tempdir().unwrap();
    let env = helpers(dir.path());
    let file = dir.path().join("auth.json");
    let mut credentials = Credentials::load(None, &env).unwrap();
    credentials.files = vec![file.clone()];
    std::fs::write(
        &file,
        r#"{"auths": {"plain.io": {"auth": "YTox"}, "basic.io": {"auth": "YTox"}},
            "credHelpers": {"basic.io": "fake", "evil.io": "../fake", "gone.io": "does-not-exist"},
            "credsStore": "fake"}"#,
    )
    .unwrap();
    let find = |host: &str| credentials.find(host, "x");
    assert_eq!(find("basic.io").unwrap(), basic("u", "p"));
    assert_eq!(find("plain.io").unwrap(), basic("a", "1"));
    assert_eq!(find("docker.io").unwrap(), basic("hub", "h"));
    assert_eq!(find("token.io").unwrap(), Some(Credential::IdentityToken("refresh".into())));
    assert_eq!(find("unknown.io").unwrap(), None);
    for (host, word) in [
        ("broken.io", "docker-credential-fake: exit status: 1: the keyring is locked"),
        ("junk.io", "not the expected JSON"),
        ("evil.io", "not a helper's name"),
        ("gone.io", "docker-credential-does-not-exist"),
    ] {
        let error = find(host).unwrap_err().to_string();
        assert!(error.contains(word) && !error.contains("p4ssword"), "{host}: {error}");
    }

    let global = credentials.clone().with_helpers(&["fake".into(), "containers-auth.json".into()]);
    assert_eq!(global.find("basic.io", "x").unwrap(), basic("u", "p"));
    assert_eq!(global.find("plain.io", "x").unwrap(), basic("a", "1"));
}

#[test]
fn configuration_files_are_not_cut_off() {
    use crate::Registries;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let limit = store::small_file::LIMIT as usize;
    // Both are valid as far as the limit.
    std::fs::write(&path, format!("# {}\n[[registry]]\nlocation = 'x.io'\n", "#".repeat(limit))).unwrap();
    let registries = Registries::load(Some(&path), &Environment::default()).map(drop);
    std::fs::write(&path, format!("{{}}{}", " ".repeat(limit))).unwrap();
    let credentials = Credentials::load(Some(&path), &Environment::default()).unwrap().find("x.io", "a");
    for (name, text) in [
        ("registries", registries.unwrap_err().to_string()),
        ("credentials", credentials.unwrap_err().to_string()),
    ] {
        assert!(text.contains("file\": file is larger than 4194304 bytes"), "{name}: {text}");
    }
}
