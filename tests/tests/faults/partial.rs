//! Layers with a table of contents: what is read is fetched, and nothing else.

use e2e::contents::{Packed, Packing, pack};
use e2e::registry::noise;
use oci::{ImageRef, LivePaths, Rootfs};
use serde_json::{Value, json};
use tree::{DumpOptions, Tree, TreePath};

use super::*;

const BOTH: [Packing; 2] = [Packing::Stargz, Packing::Chunked];
/// Bytes of a piece.
const CHUNK: usize = 64 << 10;

/// Small files before and behind a large one, and one of each kind.
fn tar() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind: tar::EntryType, content: &[u8], link: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o640 });
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_714_979_289);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        match link {
            "" => builder.append_data(&mut header, name, content).unwrap(),
            _ => builder.append_link(&mut header, name, link).unwrap(),
        }
    };
    use tar::EntryType as Type;
    add("usr/", Type::Directory, b"", "");
    for i in 0..300 {
        add(&format!("usr/before{i:03}"), Type::Regular, &noise(5000, i), "");
    }
    add("usr/large", Type::Regular, &noise(5 * CHUNK + 1, 1000), "");
    add("usr/empty", Type::Regular, b"", "");
    add("usr/link", Type::Symlink, b"", "large");
    add("usr/hard", Type::Link, b"", "usr/large");
    add(&format!("usr/{}", "long".repeat(60)), Type::Regular, b"name", "");
    add("usr/null", Type::Char, b"", "");
    add("usr/fifo", Type::Fifo, b"", "");
    for i in 0..300 {
        add(&format!("usr/behind{i:03}"), Type::Regular, &noise(5000, 2000 + i), "");
    }
    builder.into_inner().unwrap()
}

fn image(packing: Packing, change: impl FnOnce(&mut Value)) -> Image {
    let Packed { layer, annotations } = pack(&tar(), packing, CHUNK, change).unwrap();
    Image::of(vec![layer], |_| {}, |manifest| manifest["layers"][0]["annotations"] = annotations).unwrap()
}

/// A proxy before the registry, with the image there under a name of its own.
fn served(
    name: &str,
    image: &Image,
    rule: impl Fn(&Request) -> Fault + Send + Sync + 'static,
) -> (FaultProxy, ImageRef, Bench) {
    let name = format!("partial/{}", name.to_ascii_lowercase());
    SHARED.registry.push(&name, "1", image).unwrap();
    let proxy = FaultProxy::start(SHARED.registry.address, rule).unwrap();
    let bench = Bench::new(insecure(proxy.address));
    let reference = ImageRef::Registry(format!("{}/{name}:1", proxy.address).parse().unwrap());
    (proxy, reference, bench)
}

impl Bench {
    fn partial(&self, image: &ImageRef) -> Rootfs {
        self.context().rootfs_as_read(image, &LivePaths::default(), &self.told).unwrap()
    }
}

fn read(tree: &Tree, path: &str) -> Result<Vec<u8>, String> {
    let content = tree.get(&path.parse::<TreePath>().unwrap()).unwrap().content().unwrap();
    content.read(1 << 20).map_err(|e| e.to_string())
}

/// Bytes of the layer that were asked for.
fn asked(proxy: &FaultProxy, image: &Image) -> u64 {
    proxy.asked(&image.layer_digest(0), image.layers[0].blob.len() as u64)
}

/// All of a tree, with digests of all contents.
fn all(tree: &Tree) -> String {
    let options = DumpOptions { mtime: true, ..DumpOptions::default() };
    let mut out = tree.dump_with(options);
    for (path, node) in tree.iter() {
        if let Some(content) = node.content() {
            out.push_str(&format!("{path} {}\n", digest(&content.read(1 << 20).unwrap())));
        }
    }
    out
}

#[test]
fn what_is_read_is_fetched_and_nothing_else() {
    for packing in BOTH {
        let image = image(packing, |_| {});
        let (proxy, reference, bench) = served(&format!("little{packing:?}"), &image, |_| Fault::Pass);
        let rootfs = bench.partial(&reference);
        let table = asked(&proxy, &image);
        assert_eq!(read(&rootfs.tree, "/usr/large").unwrap(), noise(5 * CHUNK + 1, 1000));
        assert_eq!(read(&rootfs.tree, "/usr/before007").unwrap(), noise(5000, 7));
        let content = (5 * CHUNK + 1 + 5000) as u64;
        let got = asked(&proxy, &image) - table;
        // Noise that is compressed gets a little longer, and the padding and the next file's header are packed with each piece.
        assert!((content..content + content / 10).contains(&got), "{packing:?}: {got} bytes for {content}");
        let whole = image.layers[0].blob.len() as u64;
        assert!(table < whole / 10, "{packing:?}: the table takes {table} of {whole} bytes");
        // Once more: all that was read is in the cache, and the table, too.
        let before = proxy.count(&image.layer_digest(0));
        let again = bench.partial(&reference);
        assert_eq!(read(&again.tree, "/usr/large").unwrap(), noise(5 * CHUNK + 1, 1000));
        assert_eq!(proxy.count(&image.layer_digest(0)), before);
        assert_eq!(bench.leftovers(), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_part_is_what_the_whole_layer_has() {
    for packing in BOTH {
        let image = image(packing, |_| {});
        let (proxy, reference, bench) = served(&format!("same{packing:?}"), &image, |_| Fault::Pass);
        let part = bench.partial(&reference);
        let shown = all(&part.tree);
        // Files that are read in a row come many at once.
        let requests = proxy.count(&image.layer_digest(0));
        assert!(requests < 40, "{packing:?}: {requests} requests");
        let other = Bench::new(insecure(proxy.address));
        let whole = other.context().rootfs(&reference, &LivePaths::default(), &other.told).unwrap();
        let mut tree = whole.tree.clone();
        tree.remove(&"/stargz.index.json".parse().unwrap());
        assert_eq!(shown, all(&tree), "{packing:?}");
        assert_eq!(part.manifest, whole.manifest);
        // What ran in the one must never be taken for a result of the other.
        assert_ne!(part.id, whole.id);
        // With the whole layer in the cache there is nothing to be saved.
        assert_eq!(other.partial(&reference).id, whole.id);
    }
}

#[test]
fn skopeo_writes_what_is_read() {
    let dir = SHARED.work.dir("chunked").unwrap();
    let made = dir.join("layer.tar");
    fs::write(&made, tar()).unwrap();
    let platform = e2e::layout::Platform { architecture: ARCHITECTURE, layers: vec![made] };
    e2e::layout::write(&dir.join("plain"), "1", &[platform]).unwrap();
    let copy = |from: String, to: String, options: &[&str]| {
        let common = ["--insecure-policy", "copy", "--quiet"];
        Program::new("skopeo").args(common).args(options).arg(from).arg(to).run().unwrap();
    };
    let at = |name: &str| dir.join(name).display().to_string();
    copy(format!("oci:{}:1", at("plain")), format!("dir:{}", at("dir")), &["--dest-decompress"]);
    let address = SHARED.registry.address;
    let options = ["--dest-tls-verify=false", "--dest-compress-format=zstd:chunked"];
    copy(format!("dir:{}", at("dir")), format!("docker://{address}/partial/skopeo:1"), &options);
    let bench = Bench::new(insecure(address));
    let reference = ImageRef::Registry(format!("{address}/partial/skopeo:1").parse().unwrap());
    let part = bench.partial(&reference);
    let whole = Bench::new(insecure(address));
    let whole = whole.context().rootfs(&reference, &LivePaths::default(), &whole.told).unwrap();
    assert_ne!(part.id, whole.id, "skopeo wrote no table of contents");
    let plain = Tree::from_tar(
        &tree::Blob::at_path(dir.join("layer.tar")),
        0,
        fs::metadata(dir.join("layer.tar")).unwrap().len(),
        &tree::Limits::default(),
    );
    assert_eq!(all(&part.tree), all(&plain.unwrap()));
    assert!(!bench.told("whole layer"));
}

#[test]
fn other_bytes_than_the_table_says_are_refused() {
    for packing in BOTH {
        let lie = |table: &mut Value| {
            let entries = table["entries"].as_array_mut().unwrap();
            let entry = entries.iter_mut().find(|e| e["name"] == "usr/before003").unwrap();
            entry["chunkDigest"] = json!(digest(b"another"));
        };
        let image = image(packing, lie);
        let (_proxy, reference, bench) = served(&format!("lie{packing:?}"), &image, |_| Fault::Pass);
        let rootfs = bench.partial(&reference);
        let error = read(&rootfs.tree, "/usr/before003").unwrap_err();
        assert!(error.contains("got content with digest"), "{packing:?}: {error}");
        assert!(error.contains(&image.layer_digest(0)), "{packing:?}: {error}");
        assert_eq!(read(&rootfs.tree, "/usr/before002").unwrap(), noise(5000, 2), "others are all right");
    }
}

#[test]
fn a_table_with_anything_odd_means_the_whole_layer() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 9] = [
        ("chunk without a digest", |e| e["chunkDigest"] = json!("md5:x")),
        ("a file lacks chunks", |e| e["chunkSize"] = json!(1)),
        ("chunks don't make up the file", |e| e["chunkOffset"] = json!(1)),
        ("chunks are out of order", |e| e["offset"] = json!(0)),
        ("chunk of an unknown type", |e| e["chunkType"] = json!("odd")),
        ("name isn't UTF-8", |e| e["name"] = json!("usr/\u{fffd}")),
        ("type is unknown", |e| e["type"] = json!("door")),
        ("time isn't RFC 3339", |e| e["modtime"] = json!("now")),
        ("layer is too large", |e| (e["size"], e["chunkSize"]) = (json!(u64::MAX), json!(0))),
    ];
    for packing in BOTH {
        for (i, (word, change)) in changes.iter().enumerate() {
            let change = |table: &mut Value| {
                let entries = table["entries"].as_array_mut().unwrap();
                change(entries.iter_mut().find(|e| e["name"] == "usr/before003").unwrap());
            };
            let image = image(packing, change);
            let (_, reference, bench) = served(&format!("odd{i}{packing:?}"), &image, |_| Fault::Pass);
            let rootfs = bench.partial(&reference);
            assert!(bench.told(word) && bench.told("fetching the whole layer"), "{packing:?} {word}");
            assert_eq!(read(&rootfs.tree, "/usr/before003").unwrap(), noise(5000, 3), "{packing:?} {word}");
        }
    }
}

#[test]
fn servers_without_ranges_mean_the_whole_layer() {
    for packing in BOTH {
        let image = image(packing, |_| {});
        let name = format!("ranges{packing:?}");
        let (_, reference, bench) = served(&name, &image, |_| Fault::Without(vec!["range"]));
        let rootfs = bench.partial(&reference);
        assert!(bench.told("fetching the whole layer"));
        assert_eq!(read(&rootfs.tree, "/usr/large").unwrap(), noise(5 * CHUNK + 1, 1000));
        // A table that isn't the manifest's.
        let flip = |r: &Request| if r.header("range").is_some() { Fault::Flip(30) } else { Fault::Pass };
        let (_, reference, bench) = served(&name, &image, flip);
        let rootfs = bench.partial(&reference);
        assert_eq!(read(&rootfs.tree, "/usr/large").unwrap(), noise(5 * CHUNK + 1, 1000));
    }
}
