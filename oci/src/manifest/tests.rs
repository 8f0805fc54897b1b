use super::*;
use crate::Platform;
use oci_spec::image as spec;
use store::Digest;

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn digest(s: &str) -> Digest {
    Digest::of(s)
}

fn descriptor(media_type: &str, size: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":{size}}}"#, digest("x"))
}

fn manifest_with(config: &str, layers: &[&str]) -> String {
    let layers: Vec<String> = layers.iter().map(|l| descriptor(l, "3")).collect();
    format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
        descriptor(&format!("application/vnd.{config}+json"), "2"),
        layers.join(",")
    )
}

fn manifest() -> String {
    manifest_with("oci.image.config.v1", &["application/vnd.oci.image.layer.v1.tar+gzip"])
}

fn error(text: &str, media_type: Option<&str>) -> String {
    ManifestOrIndex::parse(text.as_bytes(), media_type).expect_err(text).to_string()
}

#[test]
fn reads_what_oci_spec_writes() {
    let d = |media_type, text: &str| {
        let digest: spec::Digest = digest(text).to_string().parse().unwrap();
        spec::Descriptor::new(media_type, text.len() as u64, digest)
    };
    let written = spec::ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(spec::MediaType::ImageManifest)
        .config(d(spec::MediaType::ImageConfig, "config"))
        .layers(vec![
            d(spec::MediaType::ImageLayerGzip, "one"),
            d(spec::MediaType::ImageLayerZstd, "two"),
            d(spec::MediaType::ImageLayer, "three"),
        ])
        .build()
        .unwrap();
    let bytes = written.to_string().unwrap();
    let ManifestOrIndex::Manifest(m) = ManifestOrIndex::parse(bytes.as_bytes(), Some(OCI)).unwrap() else {
        panic!()
    };
    assert_eq!((m.config.digest, m.config.size), (digest("config"), 6));
    let layers: Vec<Digest> = m.layers.iter().map(|l| l.digest).collect();
    assert_eq!(layers, ["one", "two", "three"].map(digest));

    let mut config = spec::ImageConfiguration::default();
    config.set_architecture(spec::Arch::ARM64).set_os(spec::Os::Linux).set_variant(Some("v8".into()));
    let mut process = spec::Config::default();
    process
        .set_env(Some(vec!["PATH=/bin".into()]))
        .set_entrypoint(Some(vec!["/a".into(), "b".into()]))
        .set_cmd(Some(vec!["c".into()]))
        .set_working_dir(Some("/w".into()))
        .set_user(Some("u:g".into()));
    config.set_config(Some(process));
    config.rootfs_mut().set_typ("layers".into()).set_diff_ids(vec![digest("one").to_string()]);
    let c = Config::parse(config.to_string().unwrap().as_bytes()).unwrap();
    assert_eq!(c.platform.as_ref().unwrap().to_string(), "linux/arm64");
    assert_eq!(
        (c.env, c.entrypoint, c.cmd),
        (vec!["PATH=/bin".into()], vec!["/a".into(), "b".into()], vec!["c".into()])
    );
    assert_eq!((c.working_dir.as_str(), c.user.as_str()), ("/w", "u:g"));
    assert_eq!(c.diff_ids, [digest("one")]);
}

#[test]
fn accepts_docker_types_and_empty_lists() {
    for layer in [
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ] {
        let text = manifest_with("docker.container.image.v1", &[layer]);
        for media_type in [None, Some("application/json; charset=utf-8"), Some("text/html")] {
            assert!(ManifestOrIndex::parse(text.as_bytes(), media_type).is_ok(), "{layer}");
        }
    }
    let empty = manifest_with("oci.image.config.v1", &[]);
    for text in [empty.clone(), empty.replace("[]", "null"), empty.replace(r#","layers":[]"#, "")] {
        let ManifestOrIndex::Manifest(m) = ManifestOrIndex::parse(text.as_bytes(), None).unwrap() else {
            panic!()
        };
        assert!(m.layers.is_empty());
        for rootfs in [r#"{"type":"layers"}"#, r#"{"type":"layers","diff_ids":null}"#] {
            m.parse_config(format!(r#"{{"rootfs":{rootfs},"config":null}}"#).as_bytes()).unwrap();
        }
    }
    let text = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":null}}"#);
    assert!(matches!(ManifestOrIndex::parse(text.as_bytes(), Some(INDEX)), Ok(ManifestOrIndex::Index(_))));
}

#[test]
fn refuses_what_is_malformed_or_means_two_things() {
    let ok = manifest();
    let cases: &[(String, Option<&str>, &str)] = &[
        (String::new(), None, "manifest is malformed: EOF"),
        ("<!DOCTYPE html>".into(), Some(OCI), "manifest is HTML, expected JSON"),
        ("\n <html>".into(), None, "manifest is HTML"),
        ("[]".into(), None, "manifest is malformed"),
        ("{}".into(), None, "manifest has schemaVersion null, expected 2"),
        (ok.replace(":2,\"config", ":3,\"config"), None, "manifest has schemaVersion 3"),
        (ok.replace(":2,\"config", ":\"2\",\"config"), None, "manifest has schemaVersion \"2\""),
        (ok.replace(":2,\"config", ":1,\"config"), None, "old Docker schema 1"),
        (r#"{"schemaVersion":2,"fsLayers":[]}"#.into(), None, "old Docker schema 1"),
        (
            ok.clone(),
            Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
            "old Docker schema 1",
        ),
        (r#"{"schemaVersion":2}"#.into(), None, "neither \"manifests\" nor \"config\""),
        (r#"{"schemaVersion":2,"layers":[]}"#.into(), None, "neither \"manifests\" nor \"config\""),
        (ok.replacen('{', r#"{"manifests":[],"#, 1), None, "both \"manifests\" and"),
        (
            ok.clone(),
            Some(INDEX),
            "media type \"application/vnd.oci.image.index.v1+json\" on an image manifest",
        ),
        (r#"{"schemaVersion":2,"manifests":[]}"#.into(), Some(OCI), "on an image index"),
        (ok.replacen('{', &format!(r#"{{"mediaType":"{INDEX}","#), 1), Some(OCI), "on an image manifest"),
        (ok.clone(), Some("application/vnd.oci.image.layer.v1.tar"), "not an image: manifest has media type"),
        (ok.replacen('{', r#"{"schemaVersion":1,"#, 1), None, "duplicate field `schemaVersion`"),
        (ok.replace("\"size\":2", "\"size\":-2"), None, "invalid value: integer `-2`"),
        (ok.replace("\"size\":2", "\"size\":2.5"), None, "invalid type: floating point"),
        (ok.replace("\"size\":2", "\"size\":99999999999999999999"), None, "manifest is malformed"),
        (
            ok.replace("\"size\":2", "\"x\":2"),
            None,
            "manifest is malformed: invalid type: null, expected u64",
        ),
        (ok.replace("sha256:", "sha256:../../"), None, "digest \"sha256:../../"),
        (ok.replace("sha256:", "sha512:"), None, "has algorithm \"sha512\", expected sha256"),
        (ok.replace("sha256:", ""), None, "is malformed, expected sha256"),
        (ok.replace("image.config.v1", "image.manifest.v1"), None, "not an image: config has media type"),
        (ok.replace("tar+gzip", "tar+gzip+encrypted"), None, "not an image: layer sha256:"),
        (ok.replace("tar+gzip", "index"), None, "not an image: layer sha256:"),
        (format!("{ok}{}", " ".repeat(4 << 20)), None, "expected at most 4194304"),
        (format!("{}1{}", "[".repeat(1000), "]".repeat(1000)), None, "manifest is malformed"),
    ];
    for (text, media_type, expected) in cases {
        let e = error(text, *media_type);
        assert!(e.contains(expected), "got {e:?}, expected {expected:?}");
        assert!(e.len() < 400, "{} bytes", e.len());
    }
}

#[test]
fn refuses_bad_configs() {
    for (text, expected) in [
        (manifest(), "it has the fields of a manifest"),
        (r#"{"rootfs":{"type":"layers"},"layers":[]}"#.into(), "it has the fields of a manifest"),
        (r#"{}"#.into(), "config has no rootfs"),
        (r#"{"rootfs":{"type":"zip"}}"#.into(), "got"),
        (r#"{"rootfs":{"type":"layers","diff_ids":["sha256:../x"]}}"#.into(), "malformed"),
    ] {
        let e = Config::parse(text.as_bytes()).expect_err(&text).to_string();
        assert!(e.contains(&expected.replace("got", "has rootfs.type \"zip\"")), "{e}");
    }
    let text = r#"{"rootfs":{"type":"layers"},"config":{"Cmd":"one","Entrypoint":null}}"#;
    assert_eq!(Config::parse(text.as_bytes()).unwrap().cmd, ["one"]);
    let ManifestOrIndex::Manifest(m) = ManifestOrIndex::parse(manifest().as_bytes(), None).unwrap() else {
        panic!()
    };
    let e = m.parse_config(br#"{"rootfs":{"type":"layers"}}"#).unwrap_err().to_string();
    assert_eq!(e, "manifest has 1 layers, but config has 0 diff_ids");
}

#[test]
fn verifies_size_and_digest() {
    let d = |size| Descriptor {
        media_type: String::new(),
        digest: digest("abc"),
        size,
        urls: vec![],
        platform: None,
        annotations: Default::default(),
    };
    d(3).verify(b"abc").unwrap();
    assert!(matches!(d(2).verify(b"abc"), Err(ManifestError::Size { got: 3, expected: 2, .. })));
    assert!(matches!(d(4).verify(b"abc"), Err(ManifestError::Size { .. })));
    assert!(matches!(d(3).verify(b"abd"), Err(ManifestError::Digest { .. })));
    assert!(matches!(d(5 << 20).check_document_size("config"), Err(ManifestError::TooLarge { .. })));
}

/// Documents by name; a descriptor of one is `name`, media type by the name's first letter.
struct Store(Vec<(&'static str, String)>);

impl Store {
    fn entry(&self, name: &str, platform: Option<&str>) -> String {
        let text = &self.0.iter().find(|(n, _)| *n == name).unwrap().1;
        let media_type = if name.starts_with('i') { INDEX } else { OCI };
        let platform = platform.map_or(String::new(), |p| {
            let parts: Vec<&str> = p.split('/').collect();
            let variant = parts.get(2).map_or(String::new(), |v| format!(r#","variant":"{v}""#));
            format!(r#","platform":{{"os":"{}","architecture":"{}"{variant}}}"#, parts[0], parts[1])
        });
        format!(
            r#"{{"mediaType":"{media_type}","digest":"{}","size":{}{platform}}}"#,
            digest(text),
            text.len()
        )
    }

    fn image(&mut self, name: &'static str) {
        let text = manifest().replace("\"size\":2", &format!("\"size\":{}", self.0.len() + 100));
        self.0.push((name, text));
    }

    fn index(&mut self, name: &'static str, entries: &[(&str, Option<&str>)]) {
        let list: Vec<String> = entries.iter().map(|(n, p)| self.entry(n, *p)).collect();
        self.0.push((name, format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, list.join(","))));
    }

    fn find(&self, top: &str, wanted: &str) -> Result<&'static str, ManifestError> {
        let text = &self.0.iter().find(|(n, _)| *n == top).unwrap().1;
        let document = ManifestOrIndex::parse(text.as_bytes(), None)?;
        let (own, _) = find_manifest(document, &wanted.parse().unwrap(), |_, d| {
            let found = self.0.iter().find(|(_, t)| digest(t) == d.digest).unwrap();
            Ok::<_, ManifestError>(found.1.clone().into_bytes())
        })?;
        let own = own.map_or(digest(text), |d| d.digest);
        Ok(self.0.iter().find(|(_, t)| digest(t) == own).unwrap().0)
    }
}

#[test]
fn chooses_the_best_platform_through_nested_indexes() {
    let mut s = Store(vec![]);
    for name in ["amd64", "amd64v3", "armv6", "armv7", "arm64", "attestation", "plain"] {
        s.image(name);
    }
    s.index(
        "i-arm",
        &[
            ("armv6", Some("linux/arm/v6")),
            ("armv7", Some("linux/arm/v7")),
            ("arm64", Some("linux/arm64/v8")),
        ],
    );
    s.index("i-empty", &[]);
    s.index("i-attested", &[("attestation", Some("unknown/unknown")), ("amd64", Some("linux/amd64"))]);
    s.index(
        "i-top",
        &[
            ("i-empty", None),
            ("i-arm", None),
            ("attestation", Some("unknown/unknown")),
            ("amd64v3", Some("linux/amd64/v3")),
            ("amd64", Some("linux/amd64")),
        ],
    );
    s.index("i-plain", &[("plain", None)]);
    s.index("i-only-attestation", &[("attestation", Some("unknown/unknown"))]);
    for (top, wanted, expected) in [
        ("amd64", "arm64", "amd64"), // no choice: the caller compares the config
        ("i-top", "amd64", "amd64"),
        ("i-top", "amd64/v3", "amd64v3"),
        ("i-top", "amd64/v2", "amd64"),
        ("i-top", "arm64", "arm64"),
        ("i-top", "arm/v7", "armv7"),
        ("i-top", "arm/v6", "armv6"),
        ("i-attested", "amd64", "amd64"),
        ("i-plain", "arm64", "plain"),
    ] {
        assert_eq!(s.find(top, wanted).unwrap(), expected, "{top} {wanted}");
    }
    for (top, wanted, expected) in [
        ("i-top", "riscv64", "no image for linux/riscv64, index has linux/amd64/v3, linux/amd64"),
        ("i-top", "arm/v5", "no image for linux/arm/v5, index has linux/amd64/v3, linux/amd64"),
        ("i-only-attestation", "amd64", "no image for linux/amd64, index has nothing"),
        ("i-empty", "amd64", "no image for linux/amd64, index has nothing"),
    ] {
        assert_eq!(s.find(top, wanted).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_hostile_index_ends() {
    let mut s = Store(vec![]);
    s.index("i0", &[]);
    for (name, inner) in [("i1", "i0"), ("i2", "i1"), ("i3", "i2"), ("i4", "i3"), ("i5", "i4")] {
        s.index(name, &[(inner, None)]);
    }
    assert!(matches!(s.find("i3", "amd64"), Err(ManifestError::NoPlatform { .. })));
    assert!(matches!(s.find("i5", "amd64"), Err(ManifestError::Nesting)));
    s.index("i-wide", &[("i0", None); 1000]);
    assert!(matches!(s.find("i-wide", "amd64"), Err(ManifestError::Nesting)));
}

#[test]
fn layers_are_counted() {
    let layer = "application/vnd.oci.image.layer.v1.tar";
    assert!(
        ManifestOrIndex::parse(manifest_with("oci.image.config.v1", &[layer; 500]).as_bytes(), None).is_ok()
    );
    let e = error(&manifest_with("oci.image.config.v1", &[layer; 501]), None);
    assert_eq!(e, "manifest has 501 layers, expected at most 500");
    let ids = vec![format!("{:?}", digest("x").to_string()); 501].join(",");
    let config =
        format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{ids}]}}}}"#);
    let e = Config::parse(config.as_bytes()).unwrap_err().to_string();
    assert_eq!(e, "config has 501 layers, expected at most 500");

    let large = |size: &str| {
        let config = descriptor("application/vnd.oci.image.config.v1+json", "2");
        let layers = vec![descriptor(layer, size); 4].join(",");
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#)
    };
    assert!(ManifestOrIndex::parse(large("68719476736").as_bytes(), None).is_ok());
    let e = error(&large("68719476737"), None);
    assert_eq!(e, "layers of the manifest have 274877906948 bytes together, expected at most 274877906944");
}

mod odd;
