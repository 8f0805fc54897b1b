use super::*;

fn parse(text: &str) -> Result<Registries, RegistriesError> {
    let mut out = Registries::default();
    out.add(Path::new("registries.conf"), text)?;
    Ok(out)
}

fn image(text: &str) -> Reference {
    text.parse().unwrap()
}

/// `host/repository` with `!` for insecure and `~` for a mirror.
fn places(registries: &Registries, text: &str) -> Vec<String> {
    let endpoints = registries.endpoints(&image(text)).unwrap();
    let show = |e: &Endpoint| {
        let (m, i) = (if e.mirror { "~" } else { "" }, if e.insecure { "!" } else { "" });
        format!("{m}{}/{}{i}", e.host, e.repository)
    };
    endpoints.iter().map(show).collect()
}

const DIGEST: &str = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn nothing_configured() {
    let r = Registries::default();
    assert_eq!(places(&r, "alpine"), ["docker.io/library/alpine"]);
    assert_eq!(r.candidates(&image("alpine:3")).unwrap()[0].to_string(), "docker.io/library/alpine:3");
    assert_eq!(places(&r, "localhost:5000/x"), ["localhost:5000/x"]);
}

#[test]
fn prefixes_match_whole_components_and_the_longest_wins() {
    let r = parse(
        r#"
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "127.0.0.1:5000"
        insecure = true

        [[registry]]
        prefix = "docker.io/library"
        location = "hub.example/lib/"

        [[registry]]
        prefix = "*.example.org"
        insecure = true

        [[registry]]
        prefix = "a.example.org"
        location = "b.example.org:444/x"

        [[registry]]
        prefix = "*.example.net/team"
        location = "cache.example.com/team2"
        "#,
    )
    .unwrap();
    for (name, expected) in [
        ("alpine", vec!["hub.example/lib/alpine"]),
        ("user/app", vec!["~127.0.0.1:5000/user/app!", "docker.io/user/app"]),
        ("libraryx/app", vec!["~127.0.0.1:5000/libraryx/app!", "docker.io/libraryx/app"]),
        ("evil.io/docker.io/x", vec!["evil.io/docker.io/x"]),
        ("docker.io.evil.io/x", vec!["docker.io.evil.io/x"]),
        ("x.y.example.org:5000/z", vec!["x.y.example.org:5000/z"]),
        ("x.y.example.org/z", vec!["x.y.example.org/z!"]),
        ("example.org/z", vec!["example.org/z"]),
        ("badexample.org/z", vec!["badexample.org/z"]),
        ("a.example.org/z", vec!["b.example.org:444/x/z"]),
        ("a.example.org:80/z", vec!["a.example.org:80/z"]),
        ("k.example.net/team/app", vec!["cache.example.com/team2/app"]),
        ("k.example.net/teams/app", vec!["k.example.net/teams/app"]),
    ] {
        assert_eq!(places(&r, name), expected, "{name}");
    }
}

#[test]
fn mirrors_by_tag_and_digest() {
    let r = parse(
        r#"
        [[registry]]
        location = "a.io"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "m.io/a"

        [[registry]]
        location = "b.io"
        [[registry.mirror]]
        location = "d.io"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "t.io"
        pull-from-mirror = "tag-only"
        [[registry.mirror]]
        location = "all.io"
        "#,
    )
    .unwrap();
    assert_eq!(places(&r, "a.io/x:1"), ["a.io/x"]);
    assert_eq!(places(&r, &format!("a.io/x{DIGEST}")), ["~m.io/a/x", "a.io/x"]);
    assert_eq!(places(&r, "b.io/x"), ["~t.io/x", "~all.io/x", "b.io/x"]);
    assert_eq!(places(&r, &format!("b.io/x:1{DIGEST}")), ["~d.io/x", "~all.io/x", "b.io/x"]);
}

#[test]
fn blocked_and_insecure() {
    let mut r = parse("[[registry]]\nprefix = 'bad.io/x'\nblocked = true").unwrap();
    let error = r.endpoints(&image("bad.io/x/y")).unwrap_err().to_string();
    assert_eq!(error, "registry of bad.io/x/y is blocked by the rule for \"bad.io/x\" in registries.conf");
    assert_eq!(places(&r, "bad.io/xy"), ["bad.io/xy"]);
    r.allow_insecure("h:5000");
    assert_eq!(places(&r, "h:5000/x"), ["h:5000/x!"]);
    assert_eq!(places(&r, "h:5001/x"), ["h:5001/x"]);
}

#[test]
fn short_names() {
    let names = |r: &Registries, text: &str| -> Vec<String> {
        r.candidates(&image(text)).unwrap().iter().map(ToString::to_string).collect()
    };
    let mut r = parse(
        r#"
        unqualified-search-registries = ["quay.io", "docker.io"]
        [aliases]
        "debian" = "hub.example/library/debian"
        "team/app" = "ghcr.io/team/app"
        "#,
    )
    .unwrap();
    assert_eq!(names(&r, "debian:12"), ["hub.example/library/debian:12"]);
    assert_eq!(names(&r, "team/app"), ["ghcr.io/team/app:latest"]);
    assert_eq!(names(&r, "alpine"), ["quay.io/alpine:latest", "docker.io/library/alpine:latest"]);
    assert_eq!(names(&r, "docker.io/debian"), ["docker.io/library/debian:latest"]);

    // A later file takes an alias away and sets the mode.
    let later = "short-name-mode = 'enforcing'\n[aliases]\ndebian = ''";
    r.add(Path::new("later.conf"), later).unwrap();
    let error = r.candidates(&image("debian")).unwrap_err().to_string();
    assert!(error.contains("quay.io, docker.io"), "{error}");

    r.set_default_registry("ghcr.io/owner/").unwrap();
    assert_eq!(names(&r, "alpine:1"), ["ghcr.io/owner/alpine:1"]);
    r.set_default_registry("docker.io").unwrap();
    assert_eq!(names(&r, "alpine:1"), ["docker.io/library/alpine:1"]);
    assert!(r.set_default_registry("not a host").is_err());
}

#[test]
fn bad_files() {
    for (text, word) in [
        ("x = ", "registries.conf"),
        ("[registries.search]\nregistries = ['docker.io']", "version 1"),
        ("[[registry]]\ninsecure = true", "prefix or a location"),
        ("[[registry]]\nlocation = 'https://x.io'", "no scheme"),
        ("[[registry]]\nlocation = 'x y'", "HOST"),
        ("[[registry]]\nlocation = 'x.io'\n[[registry.mirror]]\ninsecure = true", "location"),
        (
            "[[registry]]\nlocation = 'x.io'\n[[registry.mirror]]\nlocation='y'\npull-from-mirror = 'no'",
            "all, ",
        ),
        ("short-name-mode = 'x'", "enforcing"),
        ("unqualified-search-registries = ['http://x']", "no scheme"),
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(word) && !error.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn insecure_hosts_are_those_marked_as_a_whole() {
    let mut registries = parse(
        "[[registry]]\nlocation = 'a.io'\ninsecure = true\n[[registry.mirror]]\nlocation = 'm.io:5000'\ninsecure = true\n
         [[registry]]\nlocation = 'b.io/team'\ninsecure = true\n[[registry]]\nprefix = '*.c.io'\ninsecure = true\n
         [[registry]]\nlocation = 'd.io'\n[[registry]]\nlocation = 'e.io'\ninsecure = true\nblocked = true\n",
    )
    .unwrap();
    registries.allow_insecure("F.io:1/");
    let hosts = registries.insecure_hosts();
    assert_eq!(hosts, ["F.io:1", "a.io", "*.c.io", "m.io:5000"]);
    let covered = |host: &str| hosts.iter().any(|pattern| covers_host(pattern, host));
    for (host, expected) in [
        ("a.io", true),
        ("f.io:1", true),
        ("x.c.io", true),
        ("m.io:5000", true),
        ("m.io", false),
        ("a.io:5000", false),
        ("b.io", false),
        ("c.io", false),
        ("xa.io", false),
        ("e.io", false),
    ] {
        assert_eq!(covered(host), expected, "{host}");
    }
}

#[test]
fn files_and_drop_ins() {
    let dir = tempfile::tempdir().unwrap();
    let (user, system) = (dir.path().join("user"), dir.path().join("system"));
    let write = |path: PathBuf, text: &str| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let mirror = |host: &str| {
        format!("[[registry]]\nlocation = 'docker.io'\n[[registry.mirror]]\nlocation = '{host}'\n")
    };
    let load = || Registries::load_from(Some(&user), &system).unwrap();
    assert_eq!(places(&load(), "x"), ["docker.io/library/x"]);
    write(system.join("registries.conf"), &mirror("one.io"));
    assert_eq!(places(&load(), "x")[0], "~one.io/library/x");
    write(system.join("registries.conf.d/50-x.conf"), &mirror("two.io"));
    write(system.join("registries.conf.d/60-x.conf.bak"), &mirror("no.io"));
    assert_eq!(places(&load(), "x")[0], "~two.io/library/x");
    write(user.join("registries.conf.d/10-x.conf"), &mirror("three.io"));
    assert_eq!(places(&load(), "x")[0], "~three.io/library/x");
    // The user's own file hides the system's drop-ins, as with podman.
    write(user.join("registries.conf"), "unqualified-search-registries = ['quay.io']");
    std::fs::remove_dir_all(user.join("registries.conf.d")).unwrap();
    assert_eq!(places(&load(), "docker.io/x"), ["docker.io/library/x"]);

    let file = dir.path().join("mine.conf");
    std::fs::write(&file, mirror("mine.io")).unwrap();
    let env = Environment::from_iter([("CONTAINERS_REGISTRIES_CONF", &file)]);
    assert_eq!(places(&Registries::load(None, &env).unwrap(), "x")[0], "~mine.io/library/x");
    assert!(Registries::load(Some(Path::new("/does/not/exist")), &env).is_err());
}
