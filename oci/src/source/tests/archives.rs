use super::*;

fn oci() -> Files {
    let mut files = Files::default();
    let descriptor = files.image(&layers(), mixed, "");
    files.layout(&[descriptor]);
    files
}

/// As Docker wrote it before version 25: a directory a layer.
fn docker() -> Files {
    let mut files = Files::default();
    let config = config(&layers(), "amd64");
    let name = format!("{}.json", Digest::of(&config).hex());
    files.0.insert(name.clone(), config.into());
    let names: Vec<String> = (0..4).map(|i| format!("\"layer{i}/layer.tar\"")).collect();
    for (i, layer) in layers().into_iter().enumerate() {
        files.0.insert(format!("layer{i}/layer.tar"), layer);
    }
    let manifest = format!(r#"[{{"Config":"{name}","RepoTags":["x:1"],"Layers":[{}]}}]"#, names.join(","));
    files.0.insert("manifest.json".into(), manifest.into());
    files
}

fn oci_archive(path: PathBuf) -> ImageRef {
    ImageRef::OciArchive { path, which: None }
}

fn docker_archive(path: PathBuf) -> ImageRef {
    ImageRef::DockerArchive { path, which: None }
}

fn edit(files: &mut Files, name: &str, from: &str, to: &str) {
    let text = String::from_utf8(files.0[name].clone()).unwrap();
    assert!(text.contains(from));
    files.0.insert(name.into(), text.replace(from, to).into());
}

#[test]
fn archives_of_all_sorts_hold_the_same_image() {
    let place = Place::new();
    let chain = place.read(&oci_archive(place.write("x", &oci().tar()))).unwrap().id;
    // Docker since version 25: a layout and the old manifest beside it.
    let mut both = docker();
    both.0.extend(oci().0);
    let mut packed_layers = docker();
    for i in 0..4 {
        let name = format!("layer{i}/layer.tar");
        let packed = mixed(i, &packed_layers.0[&name]);
        packed_layers.0.insert(name, packed);
    }
    type Wrap = fn(PathBuf) -> ImageRef;
    let cases: &[(&str, Wrap, Vec<u8>)] = &[
        ("oci", oci_archive, oci().tar()),
        ("oci gzip", oci_archive, gzip(&oci().tar())),
        ("oci by its content", ImageRef::Tar, zstd(&oci().tar())),
        ("docker", docker_archive, docker().tar()),
        ("docker gzip", docker_archive, gzip(&docker().tar())),
        ("docker by its content", ImageRef::Tar, docker().tar()),
        ("docker with packed layers", docker_archive, packed_layers.tar()),
        ("both", docker_archive, both.tar()),
        ("both as oci", oci_archive, both.tar()),
    ];
    for (name, wrap, bytes) in cases {
        let image = wrap(place.write("image", bytes));
        for run in ["cold", "warm"] {
            let rootfs = place.read(&image).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(rootfs.tree.dump(), EXPECTED, "{name}, {run}");
            assert_eq!(rootfs.id, chain, "{name}, {run}");
        }
    }
}

#[test]
fn old_docker_archives_link_layers_that_are_there_already() {
    let place = Place::new();
    let files = docker();
    let mut tar = b();
    for (name, bytes) in &files.0 {
        if name == "layer2/layer.tar" {
            tar = tar.file("real/layer.tar", bytes).symlink("layer2/layer.tar", "../real/layer.tar");
        } else {
            tar = tar.file(name, bytes);
        }
    }
    let image = ImageRef::DockerArchive { path: place.write("x", &tar.finish()), which: None };
    assert_eq!(place.read(&image).unwrap().tree.dump(), EXPECTED);
}

#[test]
fn docker_archives_are_checked() {
    let place = Place::new();
    let error = |change: &dyn Fn(&mut Files)| {
        let mut files = docker();
        change(&mut files);
        place
            .read(&ImageRef::DockerArchive { path: place.write("x", &files.tar()), which: None })
            .unwrap_err()
    };
    let config_name = format!("{}.json", Digest::of(config(&layers(), "amd64")).hex());
    let d = Digest::of(&layers()[1]);
    let layer = |f: &mut Files| _ = f.0.insert("layer1/layer.tar".into(), b().file("evil", "").finish());
    let e = error(&layer);
    assert!(e.contains(&format!("layer {d}: got content with digest")), "{e}");
    let e = error(&|f| _ = f.0.insert("layer1/layer.tar".into(), gzip(&b().file("evil", "").finish())));
    assert!(e.contains(&format!("expected {d}")), "{e}");
    let e = error(&|f| edit(f, &config_name, "A=B", "A=C"));
    assert!(e.contains("got content with digest"), "{e}");
    let e = error(&|f| edit(f, "manifest.json", ",\"layer3/layer.tar\"", ""));
    assert!(e.contains("manifest has 3 layers, but config has 4 diff_ids"), "{e}");
    let e = error(&|f| edit(f, "manifest.json", "layer3/", "../../../etc/"));
    assert!(e.contains("../../../etc/layer.tar is missing"), "{e}");
    let e = error(&|f| edit(f, "manifest.json", "]}]", r#"]},{"Config":"other.json","RepoTags":["y:2"]}]"#));
    assert_eq!(e, "\"/x\" has several images: x:1, y:2");
    let e = error(&|f| _ = f.0.remove("manifest.json"));
    assert!(e.contains("not a docker save archive"), "{e}");
    let e = error(&|f| {
        f.0.remove("manifest.json");
        f.0.insert("repositories".into(), b"{}".to_vec());
    });
    assert!(e.contains("written by Docker before 1.10"), "{e}");
    let e = place.read(&oci_archive(place.write("x", &docker().tar()))).unwrap_err();
    assert!(e.contains("not an OCI image layout"), "{e}");
}

fn root() -> TarBuilder {
    b().dir("./")
        .dir("./usr")
        .raw(&Raw { mode: 0o4755, uid: 1, data: b"hi".into(), ..Raw::new("./usr/su", b'0') })
        .file("./usr/.wh.no-whiteout", "")
        .file("./manifest.json", "[]")
}

#[test]
fn a_tar_is_a_root_file_system_whatever_it_is_compressed_with() {
    let place = Place::new();
    let tar = root().finish();
    let bzip2 = {
        let mut e = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        e.write_all(&tar).unwrap();
        e.finish().unwrap()
    };
    let mut ids = Vec::new();
    for bytes in [tar.clone(), gzip(&tar), zstd(&tar), xz(&tar), bzip2] {
        let image = ImageRef::Tar(place.write("root", &bytes));
        let rootfs = place.read(&image).unwrap();
        insta::allow_duplicates!(insta::assert_snapshot!(rootfs.tree.dump(), @r#"
        / dir 0755 0:0
        /manifest.json file 0644 0:0 2 "[]"
        /usr dir 0755 0:0
        /usr/.wh.no-whiteout file 0644 0:0 0 ""
        /usr/su file 4755 1:0 2 "hi"
        "#));
        ids.push(rootfs.id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "the id says what is in it: {ids:?}");
    assert_ne!(ids[0], Digest::of(&tar), "nor is it the id of the same tar as a layer");
}

#[test]
fn bad_tars_are_refused_by_name() {
    let place = Place::new();
    let error = |bytes: &[u8]| place.read(&ImageRef::Tar(place.write("x", bytes))).unwrap_err();
    assert_eq!(
        error(b"PK\x03\x04 and so on"),
        "\"/x\": compressed with zip, expected gzip, zstd, bzip2, xz or plain"
    );
    assert!(error(&[b'x'; 1024]).starts_with("\"/x\": byte 0: checksum is"));
    assert!(
        error(&root().unfinished()[..1537]).contains("entry \"./usr/su\" at byte 1024: archive ends early")
    );
    let packed = gzip(&root().finish());
    assert!(error(&packed[..packed.len() - 4]).contains("gzip stream ends early"));
    assert!(error(&b().file("../x", "").finish()).contains("has a \"..\" component"));
    let dir = place.read(&ImageRef::Tar(place.dir.path().into())).unwrap_err();
    assert!(dir.ends_with("not a regular file"), "{dir}");
}

#[test]
fn a_directory_is_a_root_file_system_and_its_id_follows_its_content() {
    let place = Place::new();
    let root = place.dir.path().join("root");
    std::fs::create_dir_all(root.join("usr")).unwrap();
    std::fs::write(root.join("usr/f"), "1").unwrap();
    let image = ImageRef::Dir(root.clone());
    let id = |expected: &str| {
        let rootfs = place.read(&image).unwrap();
        let file = rootfs.tree.get(&"/usr/f".parse().unwrap()).unwrap().content().unwrap().clone();
        assert_eq!(file.read(9).unwrap(), expected.as_bytes());
        rootfs.id
    };
    let first = id("1");
    assert_eq!(id("1"), first);
    // Another file of the same length and time under the same name.
    let time = std::fs::metadata(root.join("usr/f")).unwrap().modified().unwrap();
    let other = std::fs::File::create(root.join("usr/g")).unwrap();
    (&other).write_all(b"2").unwrap();
    other.set_modified(time).unwrap();
    std::fs::rename(root.join("usr/g"), root.join("usr/f")).unwrap();
    assert_ne!(id("2"), first);
    assert!(place.read(&ImageRef::Dir(root.join("nothing"))).unwrap_err().contains("nothing"));
}

#[test]
fn a_registry_is_not_local() {
    let place = Place::new();
    let reader = Reader {
        cache: &place.cache,
        platform: &"amd64".parse().unwrap(),
        policy: &place.policy,
        events: &Silent,
    };
    assert!(reader.rootfs(&"alpine".parse().unwrap()).unwrap().is_none());
}

/// Two images as `docker save one two` writes them; the second with the layers of the first and one more.
fn two() -> Files {
    let mut files = Files::default();
    let mut items = Vec::new();
    for (name, count) in [("one", 1), ("localhost/two", 2)] {
        let config = config(&layers()[..count], "amd64");
        let id = Digest::of(&config).hex();
        files.0.insert(format!("{id}.json"), config.into());
        let mut list = Vec::new();
        for (i, layer) in layers()[..count].iter().enumerate() {
            files.0.insert(format!("{i}/layer.tar"), layer.clone());
            list.push(format!("\"{i}/layer.tar\""));
        }
        let list = list.join(",");
        items.push(format!(r#"{{"Config":"{id}.json","RepoTags":["{name}:latest"],"Layers":[{list}]}}"#));
    }
    files.0.insert("manifest.json".into(), format!("[{}]", items.join(",")).into());
    files
}

/// Reads by the text that a user types; `PLACE` stands for the path.
fn typed(place: &Place, text: &str) -> Result<String, String> {
    let text = text.replace("PLACE", place.dir.path().to_str().unwrap());
    place.read(&text.parse::<ImageRef>().map_err(|e| e.to_string())?).map(|r| r.tree.dump())
}

#[test]
fn an_archive_of_several_images_is_chosen_from() {
    let place = Place::new();
    place.write("two.tar", &two().tar());
    place.write("two:1.tar", &two().tar());
    place.layout("two", &two());
    let id = Digest::of(config(&layers()[..1], "amd64")).hex();
    for (which, first) in [
        ("one:latest", true),
        ("one", true),
        ("docker.io/library/one:latest", true),
        ("@0", true),
        (&id, true),
        (&id[..12], true),
        (&format!("sha256:{id}"), true),
        ("localhost/two:latest", false),
        ("localhost/two", false),
        ("two:latest", false),
        ("two", false),
        ("@1", false),
    ] {
        for at in ["PLACE/two.tar", "PLACE/two:1.tar", "PLACE/two"] {
            let dump = typed(&place, &format!("docker-archive:{at}:{which}"))
                .unwrap_or_else(|e| panic!("{which}: {e}"));
            assert_eq!(dump.contains("/usr/a "), first, "{which}");
        }
    }
    for which in ["three", "@2", "one:1", "o", "latest"] {
        let e = typed(&place, &format!("docker-archive:PLACE/two.tar:{which}")).unwrap_err();
        assert_eq!(e, format!("\"/two.tar\" has no image {which:?}, but one:latest, localhost/two:latest"));
    }
}

#[test]
fn what_the_hint_names_works() {
    let place = Place::new();
    // Two layouts in which nothing but the position, or the long name, tells the images apart.
    let name = |full: &str| {
        let more = tag("latest").replace('}', &format!(r#","io.containerd.image.name":"{full}"}}"#));
        move |files: &mut Files, n: usize| files.image(&layers()[..n], mixed, &more)
    };
    let mut same_tag = Files::default();
    let one = name("docker.io/library/one:latest")(&mut same_tag, 1);
    let two_ = name("docker.io/library/two:latest")(&mut same_tag, 2);
    same_tag.layout(&[one, two_]);
    let mut unnamed = Files::default();
    let (one, two_) = (unnamed.image(&layers()[..1], mixed, ""), unnamed.image(&layers()[..2], mixed, ""));
    unnamed.layout(&[one, two_]);
    place.layout("same", &same_tag);
    place.layout("unnamed", &unnamed);
    place.layout("docker", &two());
    place.write("same.tar", &same_tag.tar());
    place.write("docker.tar", &two().tar());
    for text in [
        "oci:PLACE/same",
        "oci:PLACE/same:latest",
        "oci:PLACE/same:nothing",
        "PLACE/same",
        "dir:PLACE/same",
        "oci:PLACE/unnamed",
        "PLACE/docker",
        "oci-archive:PLACE/same.tar",
        "PLACE/same.tar",
        "tar:PLACE/docker.tar",
        "docker-archive:PLACE/docker.tar:nothing",
    ] {
        let image: ImageRef = text.replace("PLACE", place.dir.path().to_str().unwrap()).parse().unwrap();
        let platform = "amd64".parse().unwrap();
        let reader =
            Reader { cache: &place.cache, platform: &platform, policy: &place.policy, events: &Silent };
        let error = reader.rootfs(&image).expect_err(text);
        let (SourceError::Several { example: works, .. } | SourceError::NoImage { example: works, .. }) =
            error
        else {
            panic!("{text}: {error}")
        };
        let rootfs = place.read(&works.parse().unwrap()).unwrap_or_else(|e| panic!("{text}: {works}: {e}"));
        assert!(rootfs.tree.dump().contains("/usr/a "), "{text}: {works}");
    }
}

#[test]
fn skopeos_directories_are_images() {
    let bare = |version: &str| {
        let mut files = oci();
        let index: serde_json::Value = serde_json::from_slice(&files.0["index.json"]).unwrap();
        let id = index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
        let manifest = files.0[&id].clone();
        let blobs = std::mem::take(&mut files.0).into_iter();
        let named = blobs.filter_map(|(name, b)| Some((name.strip_prefix("blobs/sha256/")?.to_owned(), b)));
        files.0 = named.collect();
        files.0.insert("manifest.json".into(), manifest);
        files.0.insert("version".into(), version.into());
        files
    };
    let place = Place::new();
    for (i, version) in
        ["Directory Transport Version: 1.1\n", "Directory Transport Version: 1.2\n"].iter().enumerate()
    {
        let path = place.layout(&format!("d{i}"), &bare(version));
        assert_eq!(place.read(&ImageRef::Dir(path)).unwrap().tree.dump(), EXPECTED);
    }
    let tar = place.write("d.tar", &bare("Directory Transport Version: 1.1\n").tar());
    assert_eq!(place.read(&ImageRef::Tar(tar)).unwrap().tree.dump(), EXPECTED);
    // The file `version` of a root file system says something else.
    let path = place.layout("root", &bare("12.7\n"));
    assert!(place.read(&ImageRef::Dir(path)).unwrap().tree.dump().contains("/manifest.json file"));
}
