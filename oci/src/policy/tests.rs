use super::*;

fn parse(text: &str) -> Result<File, String> {
    File::parse(Path::new("policy.json"), text).map_err(|e| e.to_string())
}

#[test]
fn scopes_of_references() {
    for (reference, scopes) in [
        (
            "busybox",
            "docker.io/library/busybox:latest docker.io/library/busybox docker.io/library docker.io *.io",
        ),
        (
            "a.b.example.com:5000/x/y:1",
            "a.b.example.com:5000/x/y:1 a.b.example.com:5000/x/y a.b.example.com:5000/x \
          a.b.example.com:5000 *.b.example.com *.example.com *.com",
        ),
        ("localhost/x", "localhost/x:latest localhost/x localhost"),
    ] {
        assert_eq!(scope::of_reference(&reference.parse().unwrap()).join(" "), scopes);
    }
    let digest = format!("sha256:{}", "0".repeat(64));
    let both: Reference = format!("quay.io/x:1@{digest}").parse().unwrap();
    let scopes = scope::of_reference(&both);
    assert_eq!(scopes[..3], [format!("quay.io/x@{digest}"), "quay.io/x:1".into(), "quay.io/x".into()]);
    let pinned: Reference = format!("quay.io/x@{digest}").parse().unwrap();
    assert_eq!(scope::of_reference(&pinned)[1], "quay.io/x");
    let path = scope::of_path("oci", Path::new("/no/such place"), Some("1"));
    assert_eq!(path, ["/no/such place:1", "/no/such place", "/no"]);
    assert!(scope::of_path("tarball", Path::new("/no/such"), None).is_empty());
}

#[test]
fn what_is_not_understood_is_refused() {
    let accept = r#"[{"type":"insecureAcceptAnything"}]"#;
    let signed = |more: &str| format!(r#"{{"default":[{{"type":"signedBy","keyType":"GPGKeys"{more}}}]}}"#);
    let sigstore = |more: &str| format!(r#"{{"default":[{{"type":"sigstoreSigned"{more}}}]}}"#);
    let scope = |transport: &str, scope: &str| {
        format!(r#"{{"default":{accept},"transports":{{"{transport}":{{"{scope}":{accept}}}}}}}"#)
    };
    let identity =
        |identity: &str| signed(&format!(r#","keyPath":"/k","signedIdentity":{{"type":{identity}}}"#));
    for text in [
        format!(r#"{{"default":{accept}}}"#),
        scope("docker", "*.example.com"),
        scope("docker", ""),
        scope("dir", "/a/b"),
        scope("another", "any thing"),
        signed(r#","keyPath":"/k""#),
        signed(r#","keyData":"AAAA""#),
        identity(r#""exactReference","dockerReference":"busybox:1""#),
        identity(r#""remapIdentity","prefix":"docker.io","signedPrefix":"example.com:5000/x""#),
        sigstore(r#","keyDatas":["AAAA","AAAA"]"#),
        sigstore(r#","fulcio":{}"#),
    ] {
        assert!(parse(&text).is_ok(), "{text}: {:?}", parse(&text).err());
    }
    for (text, message) in [
        ("{}".into(), "missing field `default`"),
        ("[]".into(), "invalid length"),
        (r#"{"default":[]}"#.into(), "default: list of requirements is empty"),
        (format!(r#"{{"default":{accept},"more":1}}"#), "unknown field `more`"),
        (format!(r#"{{"default":{accept},"default":{accept}}}"#), "duplicate field `default`"),
        (r#"{"default":[{"type":"accept"}]}"#.into(), "unknown variant `accept`"),
        (r#"{"default":[{"type":"reject","more":1}]}"#.into(), "unknown field `more`"),
        (
            r#"{"default":[{"type":"reject","type":"insecureAcceptAnything"}]}"#.into(),
            "duplicate field `type`",
        ),
        (scope("dir", "/"), "scope \"/\" of dir is not valid"),
        (scope("dir", "a/b"), "scope \"a/b\" of dir is not valid"),
        (scope("docker-archive", "/a"), "scope \"/a\" of docker-archive is not valid"),
        (scope("oci", "/a/../b"), "scope \"/a/../b\" of oci is not valid"),
        (scope("docker", "quay*.io"), "scope \"quay*.io\" of docker is not valid"),
        (
            format!(r#"{{"default":{accept},"transports":{{"docker":{{"a":{accept},"a":{accept}}}}}}}"#),
            "duplicate key \"a\"",
        ),
        (signed(""), "signedBy has no key"),
        (signed(r#","keyPaths":[]"#), "list of keys is empty"),
        (signed(r#","keyPath":"/k","keyData":"AAAA""#), "several of keyPath"),
        (signed(r#","keyData":"?""#), "keyData is no base64"),
        (signed(r#","keyPath":"/k","keyPath":"/l""#), "duplicate field"),
        (
            r#"{"default":[{"type":"signedBy","keyType":"PGP","keyPath":"/k"}]}"#.into(),
            "keyType \"PGP\" is not valid",
        ),
        (identity(r#""matchAnything""#), "unknown variant"),
        (identity(r#""matchExact","more":1"#), "unknown field"),
        (identity(r#""exactReference","dockerReference":"busybox""#), "has neither tag nor digest"),
        (identity(r#""exactRepository","dockerRepository":"A B""#), "is not valid"),
        (
            identity(r#""remapIdentity","prefix":"a:1/b:2","signedPrefix":"b""#),
            "prefix \"a:1/b:2\" is not valid",
        ),
        (sigstore(""), "sigstoreSigned has no key"),
        (sigstore(r#","keyPath":"/k","fulcio":{}"#), "several of keys, fulcio and pki"),
    ] {
        let error = parse(&text).expect_err(&text);
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn identities() {
    let accepts = |identity: &str, image: &str, signed: &str| {
        let identity: identity::SignedIdentity =
            serde_json::from_str(&format!(r#"{{"type":{identity}}}"#)).unwrap();
        identity.check().unwrap();
        let image: Option<Reference> = (!image.is_empty()).then(|| image.parse().unwrap());
        identity.accepts(image.as_ref(), &signed.parse().unwrap())
    };
    let pinned = format!("x.io/a@sha256:{}", "1".repeat(64));
    let both = format!("x.io/a:1@sha256:{}", "1".repeat(64));
    let exactly = r#""exactReference","dockerReference":"x.io/a:1""#;
    let repository = r#""exactRepository","dockerRepository":"x.io/a""#;
    let remap = r#""remapIdentity","prefix":"mirror:5000/x","signedPrefix":"x.io""#;
    for (identity, image, signed, good) in [
        (r#""matchExact""#, "x.io/a:1", "x.io/a:1", true),
        (r#""matchExact""#, "x.io/a", "x.io/a:latest", true),
        (r#""matchExact""#, "busybox", "docker.io/library/busybox:latest", true),
        (r#""matchExact""#, "x.io/a", "x.io/a", false),
        (r#""matchExact""#, "x.io/a:1", "x.io/a:2", false),
        (r#""matchExact""#, &pinned, "x.io/a:1", false),
        (r#""matchExact""#, &pinned, &pinned, true),
        (r#""matchExact""#, "", "x.io/a:1", false),
        (r#""matchRepoDigestOrExact""#, "x.io/a:1", "x.io/a:1", true),
        (r#""matchRepoDigestOrExact""#, "x.io/a:1", "x.io/a:2", false),
        (r#""matchRepoDigestOrExact""#, "x.io/a:1", "x.io/a", false),
        (r#""matchRepoDigestOrExact""#, "x.io/a:1", &both, false),
        (r#""matchRepoDigestOrExact""#, &pinned, "x.io/a:7", true),
        (r#""matchRepoDigestOrExact""#, &both, "x.io/a:7", true),
        (r#""matchRepoDigestOrExact""#, &pinned, "x.io/b:7", false),
        (r#""matchRepository""#, "x.io/a:1", "x.io/a", true),
        (r#""matchRepository""#, "x.io/a:1", "x.io/a/b:1", false),
        (exactly, "", "x.io/a:1", true),
        (exactly, "y.io/z:3", "x.io/a:1", true),
        (exactly, "", "x.io/a:2", false),
        (exactly, "", &both, false),
        (repository, "", "x.io/a:2", true),
        (repository, "", "x.io/ab:2", false),
        (remap, "mirror:5000/x/a:1", "x.io/a:1", true),
        (remap, "mirror:5000/x/a:1", "x.io/a:2", false),
        (remap, "mirror:5000/xy/a:1", "x.ioy/a:1", false),
        (remap, "mirror:5000/xy/a:1", "mirror:5000/xy/a:1", true),
    ] {
        assert_eq!(accepts(identity, image, signed), good, "{identity} {image} {signed}");
    }
}

#[test]
fn the_first_file_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config, system) = (dir.path().join("home"), dir.path().join("xdg"), dir.path().join("etc"));
    let environment = Environment::from_iter([("HOME", &home), ("XDG_CONFIG_HOME", &config)]);
    let load = |file: Option<&Path>| Policy::load_from(file, &environment, &system);
    let used =
        || load(None).map(|p| p.file.map(|(path, _)| path.strip_prefix(dir.path()).unwrap().to_owned()));
    // Weakest first: each one that appears replaces those before.
    for (at, text) in [
        (system.clone(), r#"{"default":[{"type":"reject"}]}"#),
        (config.join("containers"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#),
        (home.join(".config/containers"), r#"{"default":[{"type":"reject"}]}"#),
    ] {
        std::fs::create_dir_all(&at).unwrap();
        let path = at.join("policy.json");
        std::fs::write(&path, text).unwrap();
        assert_eq!(used().unwrap().unwrap(), path.strip_prefix(dir.path()).unwrap());
    }
    let explicit = dir.path().join("mine.json");
    assert!(load(Some(&explicit)).is_err());
    // One that can't be read is no reason to take another.
    std::fs::remove_file(home.join(".config/containers/policy.json")).unwrap();
    std::os::unix::fs::symlink("/nowhere", home.join(".config/containers/policy.json")).unwrap();
    assert!(used().is_err());
}

#[test]
fn stores_of_signatures() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::new(&Environment::from_iter([("HOME", dir.path())]), &dir.path().join("etc"));
    let of = |image: &str| places.of(&image.parse().unwrap()).map_err(|e| e.to_string());
    let own = of("x.io/a").unwrap().lookaside.unwrap();
    assert!(own.starts_with("file:///") && own.ends_with("/containers/sigstore"), "{own}");
    let (system, user) =
        (dir.path().join("etc/registries.d"), dir.path().join(".config/containers/registries.d"));
    for (at, name, text) in [
        (&system, "a.yaml", "default-docker:\n  sigstore-staging: file:///x\n  lookaside: https://all\n"),
        (
            &system,
            "b.yaml",
            "docker:\n  x.io:\n    sigstore: https://x\n  x.io/a/b:\n    use-sigstore-attachments: false\n",
        ),
        (&system, "c.yaml", "# docker:\n"),
        (&system, "d.txt", "docker: 1\n"),
        (
            &user,
            "e.yaml",
            "docker:\n  \"*.y.io\":\n    lookaside: https://y\n    sigstore: https://older\n  z.io:\n",
        ),
    ] {
        std::fs::create_dir_all(at).unwrap();
        std::fs::write(at.join(name), text).unwrap();
    }
    for (image, lookaside, attachments) in [
        ("x.io/a", "https://x", true),
        ("x.io/a/b:3", &own, false),
        ("other.io/a", "https://all", true),
        ("q.y.io/a", "https://y", true),
        ("z.io/a", &own, true),
    ] {
        let found = of(image).unwrap();
        assert_eq!(
            (found.lookaside.unwrap().as_str(), found.attachments),
            (lookaside, attachments),
            "{image}"
        );
    }
    std::fs::write(user.join("f.yaml"), "docker:\n  x.io:\n    lookaside: https://mine\n").unwrap();
    assert_eq!(of("x.io/a").unwrap().lookaside.unwrap(), "https://mine");
    std::fs::write(system.join("z.yaml"), "docker:\n  x.io:\n    lookaside: https://again\n").unwrap();
    let error = of("x.io/a").unwrap_err();
    assert!(error.contains("\"x.io\" is in ") && error.contains("b.yaml"), "{error}");
    std::fs::write(system.join("z.yaml"), "docker: [1]\n").unwrap();
    assert!(of("x.io/a").unwrap_err().contains("z.yaml"));
}

#[test]
fn files_of_signatures() {
    let simple = ImageSignature::Simple(vec![0xa3, 1]);
    let cosign = ImageSignature::Sigstore { payload: b"{}".to_vec(), signature: "AAAA".into() };
    for signature in [&simple, &cosign] {
        assert_eq!(&ImageSignature::from_file(&signature.to_file()).unwrap(), signature);
    }
    assert_eq!(ImageSignature::from_file(&[0xa3, 1]).unwrap(), simple);
    for (bytes, message) in [
        (&b"\0other\n"[..], "is of an unknown kind"),
        (b"\0sigstore-json\n{}", "is malformed"),
        (
            b"\0sigstore-json\n{\"mimeType\":\"x\",\"payload\":\"\",\"payload\":\"\",\"annotations\":{}}",
            "duplicate key \"payload\"",
        ),
        (
            b"\0sigstore-json\n{\"mimeType\":\"x\",\"payload\":\"\",\"annotations\":{}}",
            "is of the type \"x\"",
        ),
    ] {
        let error = ImageSignature::from_file(bytes).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}
