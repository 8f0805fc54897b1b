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

fn edit(files: &mut Files, name: &str, from: &str, to: &str) {
    let text = String::from_utf8(files.0[name].clone()).unwrap();
    assert!(text.contains(from));
    files.0.insert(name.into(), text.replace(from, to).into());
}

#[test]
fn archives_of_all_sorts_hold_the_same_image() {
    let place = Place::new();
    let chain = place.read(&ImageRef::OciArchive(place.write("x", &oci().tar()))).unwrap().id;
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
        ("oci", ImageRef::OciArchive, oci().tar()),
        ("oci gzip", ImageRef::OciArchive, gzip(&oci().tar())),
        ("oci by its content", ImageRef::Tar, zstd(&oci().tar())),
        ("docker", ImageRef::DockerArchive, docker().tar()),
        ("docker gzip", ImageRef::DockerArchive, gzip(&docker().tar())),
        ("docker by its content", ImageRef::Tar, docker().tar()),
        ("docker with packed layers", ImageRef::DockerArchive, packed_layers.tar()),
        ("both", ImageRef::DockerArchive, both.tar()),
        ("both as oci", ImageRef::OciArchive, both.tar()),
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
    let image = ImageRef::DockerArchive(place.write("x", &tar.finish()));
    assert_eq!(place.read(&image).unwrap().tree.dump(), EXPECTED);
}

#[test]
fn docker_archives_are_checked() {
    let place = Place::new();
    let error = |change: &dyn Fn(&mut Files)| {
        let mut files = docker();
        change(&mut files);
        place.read(&ImageRef::DockerArchive(place.write("x", &files.tar()))).unwrap_err()
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
    let e = place.read(&ImageRef::OciArchive(place.write("x", &docker().tar()))).unwrap_err();
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
    let reader = Reader { cache: &place.cache, platform: &"amd64".parse().unwrap(), events: &Silent };
    assert!(reader.rootfs(&"alpine".parse().unwrap()).unwrap().is_none());
}
