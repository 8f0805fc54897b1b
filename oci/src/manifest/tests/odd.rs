//! What builders and registries write besides the specification.

use super::*;

fn config(more: &str) -> String {
    format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}{more}}}"#,
        digest("one")
    )
}

fn typed(config: &str) -> Manifest {
    let text = manifest().replace("application/vnd.oci.image.config.v1+json", config);
    let ManifestOrIndex::Manifest(m) = ManifestOrIndex::parse(text.as_bytes(), None).expect(config) else {
        panic!()
    };
    m
}

#[test]
fn the_content_of_a_config_says_what_it_is() {
    for media_type in [
        "application/octet-stream",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.container.image.v1+json; charset=utf-8",
        "application/vnd.oci.image.serialization.config.v1+json",
        "application/json",
        "text/html",
        "text/html; charset=utf-8",
        "application/x-whatever",
        "",
    ] {
        typed(media_type).parse_config(config("").as_bytes()).expect(media_type);
    }
    // Artifacts: a chart, a signature, a plugin.
    for (media_type, content) in [
        ("application/vnd.cncf.helm.config.v1+json", r#"{"name":"chart","version":"1"}"#),
        ("application/vnd.oci.empty.v1+json", "{}"),
        (
            "application/vnd.docker.plugin.v1+json",
            r#"{"entrypoint":["/x"],"rootfs":{"type":"layers","diff_ids":null}}"#,
        ),
        ("application/octet-stream", "binary"),
    ] {
        let e = typed(media_type).parse_config(content.as_bytes()).expect_err(media_type).to_string();
        assert!(e.contains("not an image: config has media type"), "{e}");
    }
    // CVE-2021-41190: whatever its type, a manifest is no config, and neither is a layer.
    let e = typed("application/octet-stream").parse_config(manifest().as_bytes()).unwrap_err().to_string();
    assert!(e.contains("it has the fields of a manifest"), "{e}");
    for media_type in [
        OCI,
        INDEX,
        "application/vnd.docker.distribution.manifest.list.v2+json; charset=utf-8",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.oci.image.layer.v1.tar+gzip",
    ] {
        let e = error(&manifest().replace("application/vnd.oci.image.config.v1+json", media_type), None);
        assert!(e.contains("not an image: config has media type"), "{e}");
    }
}

#[test]
fn layers_without_a_proper_type() {
    let with =
        |media_type: &str| manifest().replace("application/vnd.oci.image.layer.v1.tar+gzip", media_type);
    for media_type in
        ["", "application/octet-stream", "application/x-gzip", "application/vnd.oci.image.layer.v1.tar"]
    {
        assert!(ManifestOrIndex::parse(with(media_type).as_bytes(), None).is_ok(), "{media_type}");
    }
    for media_type in
        ["application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/vnd.in-toto+json", "text/html"]
    {
        let e = error(&with(media_type), None);
        assert!(e.contains("not an image: layer sha256:"), "{media_type}: {e}");
    }
}

#[test]
fn configs_with_nulls_and_without_what_is_not_needed() {
    let whole = config(
        r#","created":null,"history":null,"variant":null,"os.version":null,
        "config":{"Env":null,"Cmd":null,"Entrypoint":null,"Volumes":null,"ExposedPorts":null,"Labels":null,
        "WorkingDir":null,"User":null,"OnBuild":null}"#,
    );
    let c = Config::parse(whole.as_bytes()).unwrap();
    assert_eq!((c.env.len(), c.cmd.len(), c.labels.len(), c.working_dir.as_str()), (0, 0, 0, ""));
    let no_type = config("").replace(r#""type":"layers","#, "");
    assert_eq!(Config::parse(no_type.as_bytes()).unwrap().diff_ids, [digest("one")]);
    for kind in ["null", "\"\""] {
        Config::parse(config("").replace("\"layers\"", kind).as_bytes()).expect(kind);
    }
    for text in [
        config(r#","config":null"#),
        config("").replace(r#""architecture":"amd64","os":"linux","#, ""),
        config("").replace("\"amd64\"", "null").replace("\"linux\"", "null"),
    ] {
        Config::parse(text.as_bytes()).expect(&text);
    }
    let labels = config(r#","config":{"Labels":{"a":"b","c":null,"d":1}}"#);
    let labels = Config::parse(labels.as_bytes()).unwrap().labels;
    assert_eq!(labels, [("a", "b"), ("c", "")].map(|(k, v)| (k.into(), v.into())).into());
}

#[test]
fn entries_of_env_that_are_no_variables() {
    let text = config(
        r#","config":{"Env":["A=1","FOO","","=x","PATH=/a","A=2","B=","N=\u0000",null,"C=d=e","A=3"]}"#,
    );
    let c = Config::parse(text.as_bytes()).unwrap();
    assert_eq!(c.env, ["A=3", "PATH=/a", "B=", "C=d=e"]);
    assert_eq!(c.invalid_env, ["FOO", "", "=x", "N=\0"]);
}

#[test]
fn a_variant_that_only_the_index_tells() {
    let arm = |variant: &str| {
        let text = config(variant).replace("amd64", "arm");
        Config::parse(text.as_bytes()).unwrap()
    };
    let p = |text: &str| text.parse::<Platform>().unwrap();
    assert!(arm("").mismatch(&p("arm/v6")).is_none());
    assert!(arm("").mismatch(&p("arm/v7")).is_none());
    assert!(arm(r#","variant":"v6""#).mismatch(&p("arm/v7")).is_none());
    assert!(arm(r#","variant":"v7""#).mismatch(&p("arm/v6")).is_some());
    assert!(arm("").mismatch(&p("arm64")).is_some());
    let upper = config("").replace("linux", "Linux");
    assert!(Config::parse(upper.as_bytes()).unwrap().mismatch(&p("amd64")).is_none());
}

fn entry(digest: &str, platform: &str, more: &str) -> String {
    let (os, architecture) = platform.split_once('/').unwrap();
    format!(
        r#"{{{more}"digest":"{digest}","size":3,"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#
    )
}

fn index(entries: &[String]) -> Index {
    let text = format!(r#"{{"schemaVersion":2,"annotations":null,"manifests":[{}]}}"#, entries.join(","));
    let ManifestOrIndex::Index(index) = ManifestOrIndex::parse(text.as_bytes(), None).expect(&text) else {
        panic!()
    };
    index
}

#[test]
fn only_the_entry_that_is_used_has_to_make_sense() {
    let good = entry(&digest("x").to_string(), "linux/amd64", "");
    let wanted: Platform = "amd64".parse().unwrap();
    for odd in [
        entry(&format!("sha512:{}", "a".repeat(128)), "linux/s390x", ""),
        entry(&format!("blake3:{}", "a".repeat(64)), "linux/arm64", ""),
        entry("", "linux/arm64", ""),
        entry(&digest("y").to_string(), "linux/arm64", r#""mediaType":null,"#),
        entry(&digest("y").to_string(), "linux/arm64", r#""mediaType":7,"#),
        entry(&digest("y").to_string(), "linux/arm64", r#""annotations":{"a":null,"b":[1]},"urls":null,"#),
        entry(&digest("y").to_string(), "linux/arm64", "").replace("\"size\":3", "\"size\":-3"),
        entry(&digest("y").to_string(), "linux/arm64", "").replace("\"linux\"", "5"),
        r#"{"digest":null,"size":null,"platform":null}"#.into(),
        // The same platform, but there is a better one.
        entry(&format!("sha512:{}", "a".repeat(128)), "linux/amd64", ""),
    ] {
        for order in [[&good, &odd], [&odd, &good]] {
            let found = index(&order.map(Clone::clone));
            assert_eq!(found.select(&wanted).expect(&odd).digest, digest("x"), "{odd}");
        }
    }
    let sha512 = entry(&format!("sha512:{}", "a".repeat(128)), "linux/arm64", "");
    let e = index(&[good, sha512]).select(&"arm64".parse().unwrap()).unwrap_err().to_string();
    assert!(e.starts_with("index entry for linux/arm64 can't be used: digest \"sha512:"), "{e}");
    assert!(e.contains("expected sha256"), "{e}");
}

/// Images by name, with configs of their own.
#[derive(Default)]
struct Images(std::collections::BTreeMap<String, String>);

impl Images {
    fn put(&mut self, text: String) -> (Digest, usize) {
        let (key, len) = (digest(&text), text.len());
        self.0.insert(key.to_string(), text);
        (key, len)
    }

    fn image(&mut self, architecture: &str) -> String {
        let (id, len) = self.put(config("").replace("amd64", architecture));
        let text = manifest().replacen(&digest("x").to_string(), &id.to_string(), 1);
        let text = text.replacen("\"size\":2", &format!("\"size\":{len}"), 1);
        let (id, len) = self.put(text);
        format!(r#"{{"digest":"{id}","size":{len}}}"#)
    }

    fn other(&mut self) -> String {
        let text =
            manifest().replace("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.in-toto+json");
        let (id, len) = self.put(text);
        format!(r#"{{"mediaType":"{OCI}","digest":"{id}","size":{len}}}"#)
    }

    fn find(&self, entries: &[String], wanted: &str) -> Result<Digest, String> {
        let document = ManifestOrIndex::Index(index(entries));
        let found = find_manifest(document, &wanted.parse().unwrap(), |_, d| {
            Ok::<_, ManifestError>(self.0[&d.digest.to_string()].clone().into_bytes())
        });
        found.map(|(d, _)| d.unwrap().digest).map_err(|e| e.to_string())
    }
}

#[test]
fn entries_without_platform_or_type_are_looked_into() {
    let mut images = Images::default();
    let (amd64, arm64, other) = (images.image("amd64"), images.image("arm64"), images.other());
    let digest_of = |entry: &str| {
        let d: serde_json::Value = serde_json::from_str(entry).unwrap();
        d["digest"].as_str().unwrap().parse::<Digest>().unwrap()
    };
    for entries in [
        vec![amd64.clone(), arm64.clone()],
        vec![arm64.clone(), amd64.clone()],
        vec![other.clone(), arm64.clone(), amd64.clone()],
    ] {
        assert_eq!(images.find(&entries, "amd64"), Ok(digest_of(&amd64)));
        assert_eq!(images.find(&entries, "arm64"), Ok(digest_of(&arm64)));
    }
    // The only entry is what is meant; the caller compares its config.
    assert_eq!(images.find(std::slice::from_ref(&arm64), "amd64"), Ok(digest_of(&arm64)));
    let e = images.find(&[amd64, other.clone()], "s390x").unwrap_err();
    assert!(e.contains("not an image: layer"), "{e}");
    let e = images.find(&[other], "amd64").unwrap_err();
    assert!(e.contains("not an image: layer"), "{e}");
}

#[test]
fn a_content_type_is_not_the_document() {
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let said = manifest().replacen('{', &format!(r#"{{"mediaType":"{docker}","#), 1);
    let served = |text: &str, header: &str| {
        ManifestOrIndex::parse_served(text.as_bytes(), Some(header)).map(|_| ()).map_err(|e| e.to_string())
    };
    for header in ["binary/octet-stream", "application/x-tar", "text/html; charset=utf-8", "image/png", ""] {
        assert_eq!(served(&manifest(), header), Ok(()), "{header}");
        assert_eq!(served(&said, header), Ok(()), "{header}");
    }
    // It says itself what it is, and nobody who believes the header finds anything else in it.
    for header in [INDEX, "application/vnd.docker.distribution.manifest.v1+prettyjws", "application/vnd.x"] {
        assert_eq!(served(&said, header), Ok(()), "{header}");
    }
    // It doesn't, and is contradicted.
    assert!(served(&manifest(), INDEX).unwrap_err().contains("on an image manifest"));
    assert!(served(&manifest(), "application/vnd.x").unwrap_err().contains("not an image"));
    // What says that it is something else is that.
    let index = manifest().replacen('{', &format!(r#"{{"mediaType":"{INDEX}","#), 1);
    assert!(served(&index, docker).unwrap_err().contains("ambiguous"));
    let both = said.replacen('{', r#"{"manifests":[],"#, 1);
    assert!(served(&both, docker).unwrap_err().contains("both \"manifests\" and"));
}
