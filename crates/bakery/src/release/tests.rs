use std::collections::BTreeMap;

use store::Digest;

use super::*;

fn record() -> Record {
    Record {
        image: "tool-v1.2.3+k3s1-x86-64.raw".parse().unwrap(),
        size: 4096,
        sha256: Digest::from_bytes([0xab; 32]),
        settings: BTreeMap::from([("cni-version".into(), "v1.0".into())]),
        options: Some(Digest::from_bytes([0x12; 32])),
        recipe: Digest::from_bytes([0xcd; 32]),
        tool: "0.1.0".into(),
        inputs: vec![Input {
            uri: "https://example.org/tool.tar.gz?x".into(),
            sha256: Digest::from_bytes([0xef; 32]),
            verified: "checksum list".to_owned().into(),
        }],
    }
}

#[test]
fn a_statement_says_all_that_is_known() {
    let text = record().statement().unwrap();
    assert_eq!(Record::parse(text.as_bytes()).unwrap(), record());
    let settings =
        BTreeMap::from([("a".to_owned(), "1".to_owned()), ("without".to_owned(), "x,y".to_owned())]);
    let choices = Record { settings, ..record() }.choices();
    assert_eq!(choices.parameters, BTreeMap::from([("a".to_owned(), "1".to_owned())]));
    assert_eq!(choices.without.into_iter().collect::<Vec<_>>(), ["x", "y"]);
    for (from, to, message) in [
        ("in-toto.io/Statement/v1", "x", "_type is"),
        ("slsa.dev/provenance/v1", "x", "predicateType is"),
        ("tool-v1.2.3+k3s1-x86-64.raw", "../../etc/passwd", "subject is"),
        ("\"name\": \"tool\"", "\"name\": \"other\"", "subject is"),
        ("abababab", "ABABABAB", "digest is"),
        ("\"subject\"", "\"no\"", "missing field"),
        ("\"size\"", "\"length\"", "size is"),
        ("sha256:cdcd", "md5:cdcd", "recipe is"),
        ("sha256:1212", "md5:1212", "options is"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = Record::parse(text.replace(from, to).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(message), "{from}: {error}");
    }
}

#[test]
fn a_bill_of_materials_names_every_input() {
    let text = sbom::document(&record(), Some("MIT"), None, 0).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    assert_eq!(document["creationInfo"]["created"], "1970-01-01T00:00:00Z");
    assert_eq!(document["packages"][0]["licenseDeclared"], "MIT");
    assert_eq!(document["packages"][1]["name"], "tool.tar.gz");
    assert_eq!(document["packages"][1]["checksums"][0]["checksumValue"], "ef".repeat(32));
    assert_eq!(document["relationships"].as_array().unwrap().len(), 2);
}

#[test]
fn times() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_709_251_199, "2024-02-29T23:59:59Z"),
        (4_102_444_800, "2100-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
    ] {
        assert_eq!(sbom::timestamp(seconds).unwrap(), text);
    }
    assert!(sbom::timestamp(i64::MAX).is_err());
}

#[test]
fn manifests() {
    let sum = "0f".repeat(32);
    let sums = Sums::parse(format!("{sum}  a b.raw\n{sum} *c\n").as_bytes()).unwrap();
    assert_eq!(sums.text(), format!("{sum}  a b.raw\n{sum}  c\n"));
    assert_eq!(Sums::parse(b"").unwrap(), Sums::default());
    let other = "1f".repeat(32);
    for (text, message) in [
        (format!("{sum}  a"), "line 1: has no line end"),
        (format!("{sum} a\n"), "expected a SHA-256 and a name"),
        (format!("{sum}  \n"), "expected a SHA-256 and a name"),
        (format!("{}  a\n", sum.to_uppercase()), "expected a SHA-256 and a name"),
        (format!("{sum}  a\n\n"), "line 2"),
        (format!("{sum}  a\n{other}  a\n"), "\"a\" has another sum above"),
    ] {
        let error = Sums::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn the_note_tells_what_is_new() {
    let old = Record { image: "tool-v1.2.2-x86-64.raw".parse().unwrap(), ..record() };
    let text = notes::markdown("T", "https://example.org/", &[record(), old], &[record().image.to_string()]);
    assert!(text.contains("1 extensions, 2 images"), "{text}");
    assert!(text.contains("- tool v1.2.3+k3s1 (x86-64)\n"), "{text}");
    assert!(text.contains("| tool | v1.2.3+k3s1, v1.2.2 | x86-64 |"), "{text}");
    assert_eq!(text.matches("- tool").count(), 1);
}

/// The file of this repository.
const RELEASE: &str = include_str!("../../../../release.toml");

#[test]
fn the_repositorys_release_offers_the_whole_catalogue() {
    let config = ReleaseConfig::parse(RELEASE).unwrap();
    let offered = config.extensions.unwrap();
    let catalogue = recipes::Catalogue::embedded();
    let names: Vec<String> = catalogue.recipes().unwrap().iter().map(|r| r.name().to_string()).collect();
    assert_eq!(offered.keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
    for (name, wanted) in offered {
        let recipe = catalogue.recipe(&name).unwrap();
        for version in wanted.versions.iter().chain(["1.0.0".parse().as_ref().unwrap()]) {
            let mut settings = wanted.settings.clone();
            for (parameter, _) in recipe
                .parameters()
                .iter()
                .filter(|(_, p)| !matches!(p.value, recipes::recipe::ParameterValue::Required))
            {
                settings.parameters.entry(parameter.clone()).or_insert_with(|| "v1.0.0".into());
            }
            recipe.at(version, tree::Arch::X86_64, &settings).unwrap();
        }
    }
}

#[test]
fn release_files() {
    let config = ReleaseConfig::parse("").unwrap();
    assert_eq!((config.extensions, config.architectures), (None, None));
    for (text, message) in [
        ("x = 1", "unknown field `x`"),
        ("base-url = 'example.org'", "base-url: got \"example.org\", expected an address like https://"),
        ("base-url = 'https://example.org/$(x)/'", "base-url: got"),
        ("base-url = 'https://example.org/%20/'", "base-url: got"),
        ("architectures = ['vax']", "architectures: "),
        ("[extensions]\nx = []", "extensions: x: has no versions"),
        ("[extensions]\nx = 'latest'", "expected a list of versions, or { versions"),
        ("[extensions]\nx = ['a/b']", "extensions: x: "),
        ("[extensions]\nx = { versions = ['1'], sets = {} }", "expected a list of versions"),
    ] {
        let error = ReleaseConfig::parse(text).unwrap_err();
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn a_folder_is_taken_once_and_swept() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("tool")).unwrap();
    for (file, stays) in [
        (".tool.raw.AbC123.flix.tmp", false),
        ("tool.raw", true),
        (".htaccess.tmp", true),
        ("a.b.AbC123.flix.tmp", true),
    ] {
        let path = dir.path().join("tool").join(file);
        std::fs::write(&path, "").unwrap();
        let locked = DirectoryLock::take(dir.path()).unwrap();
        let error = DirectoryLock::take(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("another bakery process is using it"), "{error}");
        drop(locked);
        assert_eq!(path.exists(), stays, "{file}");
    }
}

#[test]
fn no_paper_begins_like_an_image() {
    for ending in [directory::SBOM, directory::STATEMENT] {
        let file = record().image.to_string();
        let name = directory::metadata_file(&file, ending);
        assert!(!name.starts_with(&file) && name.starts_with("tool-v1.2.3+k3s1-x86-64."), "{name}");
    }
}

#[test]
fn a_manifest_is_believed_for_a_while_and_renewed_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let config = ReleaseConfig::parse("best-before-days = 30").unwrap();
    let recipes = BTreeMap::new();
    let write = |now: i64, config: &ReleaseConfig| {
        ReleaseMetadata { config, recipes: &recipes, signer: None, hosted: None, now, today: now }
            .write(dir.path())
            .unwrap()
    };
    let entry = || {
        let text = std::fs::read_to_string(dir.path().join("SHA256SUMS")).unwrap();
        let lines = text.lines().filter(|l| l.contains("BEST-BEFORE")).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    let empty = Digest::of(b"").hex();
    let first = 1_764_115_200; // 2025-11-26
    let day = 24 * 60 * 60;
    assert!(write(first, &config));
    assert_eq!(entry(), [format!("{empty}  BEST-BEFORE-2025-12-26")]);
    // For half of the time, nothing is written anew.
    assert!(!write(first + 15 * day, &config));
    assert!(write(first + 16 * day, &config));
    assert_eq!(entry(), [format!("{empty}  BEST-BEFORE-2026-01-11")]);
    // A day that is further away than was asked for doesn't stay.
    let shorter = ReleaseConfig::parse("best-before-days = 2").unwrap();
    assert!(write(first, &shorter));
    assert_eq!(entry(), [format!("{empty}  BEST-BEFORE-2025-11-28")]);
    assert!(write(first, &ReleaseConfig::default()));
    assert_eq!(entry(), [""; 0]);
    assert!(ReleaseConfig::parse("best-before-days = 0").is_err());
}

/// What is in a folder without a manifest is nobody's listing.
#[test]
fn listings_are_those_of_extensions() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("assets");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("index.json"), "[]").unwrap();
    assert!(Contents::of_folder(dir.path()).unwrap().days.is_empty());
    std::fs::write(folder.join("SHA256SUMS"), "").unwrap();
    let error = Contents::of_folder(dir.path()).unwrap_err().to_string();
    assert!(error.contains("assets/index.json: "), "{error}");
    std::fs::remove_file(folder.join("index.json")).unwrap();
    std::fs::write(folder.join("SHA256SUMS"), format!("{}  a-1-x86-64.raw\n", "0".repeat(64))).unwrap();
    let days = Contents::of_folder(dir.path()).unwrap().days;
    assert_eq!(days, BTreeMap::from([("a-1-x86-64.raw".to_owned(), None)]));
}

#[test]
fn a_manifest_that_cant_be_read_is_an_error() {
    let config = ReleaseConfig::parse("best-before-days = 30").unwrap();
    let recipes = BTreeMap::new();
    let metadata = ReleaseMetadata {
        config: &config,
        recipes: &recipes,
        signer: None,
        hosted: None,
        now: 1_700_000_000,
        today: 1_700_000_000,
    };
    let dir = tempfile::tempdir().unwrap();
    metadata.write(dir.path()).unwrap();
    let manifest = dir.path().join("SHA256SUMS");
    std::fs::write(&manifest, b"\xff\n").unwrap();
    let error = metadata.write(dir.path()).unwrap_err().to_string();
    assert!(error.contains("SHA256SUMS"), "{error}");
    assert_eq!(std::fs::read(&manifest).unwrap(), b"\xff\n");
}
