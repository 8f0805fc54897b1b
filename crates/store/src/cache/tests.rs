use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tree::Silent;

use super::*;
use crate::{ExpectedLayer, LayerBlob};

fn cache() -> (tempfile::TempDir, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(&dir.path().join("cache")).unwrap();
    (dir, cache)
}

/// Bytes that look random, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut x = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..len).map(|_| next()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn expect(blob: &[u8], tar: &[u8]) -> ExpectedLayer {
    ExpectedLayer {
        digest: Some(Digest::of(blob)),
        size: Some(blob.len() as u64),
        diff_id: Some(Digest::of(tar)),
    }
}

fn content(layer: &LayerBlob) -> Vec<u8> {
    tree::Content::in_blob(layer.blob.clone(), layer.offset, layer.len).read(1 << 30).unwrap()
}

/// Files that should not be there when nobody works.
fn leftovers(cache: &Cache) -> Vec<PathBuf> {
    ["tmp", "scratch", "locks", "partial"]
        .iter()
        .flat_map(|d| files::entries(&cache.dir().join(d)).unwrap())
        .collect()
}

#[test]
fn takes_in_and_finds() {
    let (_dir, cache) = cache();
    let tar = noise(1_000_000);
    for blob in [gzip(&tar), tar.clone()] {
        let layer = cache.ingest_layer(&blob[..], &expect(&blob, &tar), &Silent).unwrap();
        assert_eq!((layer.diff_id, layer.digest), (Digest::of(&tar), Some(Digest::of(&blob))));
        assert!(content(&layer) == tar);
        let found = cache.layer(&Digest::of(&tar)).unwrap().unwrap();
        assert!(content(&found) == tar);
        let found = cache.layer_by_digest(&Digest::of(&blob)).unwrap().unwrap();
        assert_eq!(found.diff_id, Digest::of(&tar));
    }
    assert!(cache.layer(&Digest::of("other")).unwrap().is_none());
    assert!(leftovers(&cache).is_empty());
    let mode = |p: &Path| p.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&cache.layer_path(&Digest::of(&tar))), 0o600);
    assert_eq!(mode(&cache.dir().join("layers")), 0o700);
    // An empty layer is a layer.
    let layer = cache.ingest_layer(&b""[..], &ExpectedLayer::default(), &Silent).unwrap();
    assert_eq!((layer.len, layer.diff_id), (0, Digest::of("")));
}

#[test]
fn wrong_content_is_told_and_leaves_nothing() {
    let (_dir, cache) = cache();
    let tar = noise(600_000);
    let blob = gzip(&tar);
    let right = expect(&blob, &tar);
    let mut flipped = blob.clone();
    flipped[300_000] ^= 1;
    let other = Some(Digest::of("other"));
    for (bytes, expect, word) in [
        (&blob[..], ExpectedLayer { digest: other, ..right }, "got content with digest"),
        (&blob[..], ExpectedLayer { diff_id: other, ..right }, "got inflated content with diff_id"),
        (&blob[..], ExpectedLayer { size: Some(blob.len() as u64 - 1), ..right }, "or more, expected"),
        (&blob[..], ExpectedLayer { size: Some(blob.len() as u64 + 1), ..right }, "bytes, expected"),
        (&blob[..400_000], right, "got 400000 bytes, expected"),
        (&flipped[..], right, "got content with digest"),
        (
            &flipped[..],
            ExpectedLayer { digest: Some(Digest::of(&flipped)), ..right },
            "got inflated content with diff_id",
        ),
        // Without a diff_id, gzip's own checksum is all there is.
        (
            &flipped[..],
            ExpectedLayer { size: right.size, ..ExpectedLayer::default() },
            "gzip stream is damaged",
        ),
        (
            &blob[..400_000],
            ExpectedLayer { diff_id: right.diff_id, ..ExpectedLayer::default() },
            "ends early",
        ),
        (
            &flipped[..],
            ExpectedLayer { size: None, digest: None, ..right },
            "got inflated content with diff_id",
        ),
    ] {
        let error = cache.ingest_layer(bytes, &expect, &Silent).unwrap_err();
        assert!(error.to_string().contains(word) && error.is_content(), "{word}: {error}");
        assert!(cache.layer(&Digest::of(&tar)).unwrap().is_none());
        assert!(cache.list().unwrap().is_empty() && leftovers(&cache).is_empty(), "{word}");
    }
    let small = cache.clone().with_limits(DecodeLimits { bytes: 1000, ..DecodeLimits::default() });
    // Of unknown length: a known one is refused before anything is read.
    let unknown = ExpectedLayer { size: None, digest: None, ..right };
    let error = small.ingest_layer(&blob[..], &unknown, &Silent).unwrap_err();
    assert!(error.to_string().contains("larger than 1000 bytes"), "{error}");
    cache.ingest_layer(&blob[..], &right, &Silent).unwrap();
}

#[test]
fn zeros_are_holes() {
    let (_dir, cache) = cache();
    let mut tar = noise(300_000);
    tar.resize(64 << 20, 0);
    tar.extend(noise(5_000));
    tar.resize(tar.len() + 777_777, 0);
    let blob = gzip(&tar);
    let layer = cache.ingest_layer(&blob[..], &expect(&blob, &tar), &Silent).unwrap();
    assert!(content(&layer) == tar);
    use std::os::unix::fs::MetadataExt;
    let meta = cache.layer_path(&layer.diff_id).metadata().unwrap();
    assert_eq!(meta.len(), tar.len() as u64);
    assert!(meta.blocks() * 512 < 2 << 20, "{} blocks", meta.blocks());
    let entry = cache.list().unwrap().remove(0);
    assert!(entry.bytes < 2 << 20, "{}", entry.bytes);
}

#[test]
fn end_blocks_that_were_left_out_are_put_back() {
    let (_dir, cache) = cache();
    for (kept, missing) in [(51_200, 1024), (51_200, 10_240), (51_100, 100), (51_100, 612), (51_200, 65_536)]
    {
        let mut tar = noise(kept);
        let blob = gzip(&tar);
        tar.resize(kept + missing, 0);
        let layer = cache.ingest_layer(&blob[..], &expect(&blob, &tar), &Silent).unwrap();
        assert_eq!((layer.diff_id, layer.len), (Digest::of(&tar), tar.len() as u64));
        assert!(content(&cache.layer(&layer.diff_id).unwrap().unwrap()) == tar);
    }
    let mut tar = noise(512);
    let blob = gzip(&tar);
    tar.resize(1 << 20, 0);
    let error = cache.ingest_layer(&blob[..], &expect(&blob, &tar), &Silent).unwrap_err().to_string();
    assert!(error.contains("got inflated content with diff_id"), "{error}");
}

/// Counts what is taken from it.
struct Counted<'a>(std::io::Take<std::io::Repeat>, &'a AtomicU64);

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buf)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

#[test]
fn lies_about_lengths_cost_little() {
    let (_dir, cache) = cache();
    let digest = Digest::of("x");
    let limit = DecodeLimits::default().bytes;
    let expect = ExpectedLayer { size: Some(limit + 1), ..ExpectedLayer::default() };
    let open = |_| -> io::Result<&[u8]> { panic!("nothing may be asked for") };
    let error = cache.fetch_layer(&digest, &expect, open, &Silent).unwrap_err();
    assert!(error.to_string().contains("expected at most 68719476736"), "{error}");

    // The first byte is wrong, and the rest goes on and on.
    let (taken, len) = (AtomicU64::new(0), 256 << 20);
    let expect = ExpectedLayer { size: Some(len + 2), ..ExpectedLayer::default() };
    let open = |_| Ok((&b"\x1f\x8b"[..]).chain(Counted(io::repeat(7).take(len), &taken)));
    let error = cache.fetch_layer(&digest, &expect, open, &Silent).unwrap_err();
    assert!(error.to_string().contains("gzip stream is damaged"), "{error}");
    assert!(taken.into_inner() < 16 << 20);
    assert!(leftovers(&cache).is_empty());
}

/// Gives its bytes, then fails.
struct Fails(&'static [u8], io::ErrorKind);

impl Read for Fails {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 => Err(self.1.into()),
            n => Ok(n),
        }
    }
}

/// What came is kept for the next run, unless the disk is full, for whichever layer.
#[test]
fn a_full_disk_gets_its_room_back() {
    let digest = Digest::of("x");
    for (kind, kept) in [(io::ErrorKind::ConnectionReset, 1), (io::ErrorKind::StorageFull, 0)] {
        let (_dir, cache) = cache();
        let open = |_| Ok(Fails(b"some", kind));
        let expect = ExpectedLayer { size: Some(9), ..ExpectedLayer::default() };
        cache.fetch_layer(&digest, &expect, open, &Silent).unwrap_err();
        assert_eq!(cache.dir().join("partial").read_dir().unwrap().count(), kept, "{kind}");
    }
}

#[test]
fn damage_is_found() {
    let (_dir, cache) = cache();
    let tar = noise(300_000);
    let id = Digest::of(&tar);
    let path = cache.layer_path(&id);
    let fill = || drop(cache.ingest_layer(&tar[..], &ExpectedLayer::default(), &Silent).unwrap());
    let flip = || {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[1000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    fill();
    assert!(matches!(cache.find_layer(&id).unwrap(), LayerLookup::Layer(_)));
    flip();
    assert!(matches!(cache.find_layer(&id).unwrap(), LayerLookup::Damaged));
    assert!(matches!(cache.find_layer(&id).unwrap(), LayerLookup::Missing));

    fill();
    File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
    assert!(cache.layer(&id).unwrap().is_none());

    // Touched, but the same bytes: hashed once, then trusted.
    fill();
    files::touch(&path);
    assert!(cache.layer(&id).unwrap().is_some());

    // A crash: the stamp says all is well, but it is from before the boot.
    flip();
    let stamp = cache.stamp(&File::open(&path).unwrap()).unwrap();
    std::fs::write(path.with_extension("ok"), stamp).unwrap();
    assert!(cache.layer(&id).unwrap().is_some(), "the stamp is what spares the hashing");
    let rebooted = Cache { boot: Some("other".into()), ..cache.clone() };
    assert!(rebooted.layer(&id).unwrap().is_none());
    fill();
    let unknown = Cache { boot: None, ..cache.clone() };
    assert!(unknown.layer(&id).unwrap().is_some());
    flip();
    assert!(unknown.layer(&id).unwrap().is_none());
}

/// Gives bytes up to a place, then fails.
struct Breaks<'a>(&'a [u8], usize);

impl Read for Breaks<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.1 == 0 {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let n = buf.len().min(self.1).min(self.0.len());
        buf[..n].copy_from_slice(&self.0[..n]);
        (self.0, self.1) = (&self.0[n..], self.1 - n);
        Ok(n)
    }
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let (_dir, cache) = cache();
    let tar = noise(2_000_000);
    let blob = gzip(&tar);
    let (digest, right) = (Digest::of(&blob), expect(&blob, &tar));
    let fetch = |offsets: &mut Vec<u64>, until: usize| {
        let open = |at: u64| {
            offsets.push(at);
            Ok(Breaks(&blob[at as usize..], until))
        };
        cache.fetch_layer(&digest, &right, open, &Silent)
    };
    let mut offsets = Vec::new();
    let error = fetch(&mut offsets, 700_000).unwrap_err();
    assert!(
        matches!(&error, CacheError::Source { source, .. } if source.kind() == ErrorKind::ConnectionReset)
    );
    fetch(&mut offsets, 0).unwrap_err();
    fetch(&mut offsets, 600_000).unwrap_err();
    assert!(content(&fetch(&mut offsets, usize::MAX).unwrap()) == tar);
    assert_eq!(offsets, [0, 700_000, 700_000, 1_300_000]);
    // From now on nobody is asked.
    fetch(&mut offsets, 0).unwrap();
    assert_eq!(offsets.len(), 4);
    assert!(leftovers(&cache).is_empty());
}

#[test]
fn a_wrong_part_is_thrown_away() {
    let tar = noise(1_000_000);
    let blob = gzip(&tar);
    let (digest, right) = (Digest::of(&blob), expect(&blob, &tar));
    let mut complete_but_wrong = blob.clone();
    complete_but_wrong[9000] ^= 1;
    let mut longer = blob.clone();
    longer.extend(b"x");
    for (part, expected) in [
        (noise(5000), vec![5000, 0]),
        (blob[..5000].to_vec(), vec![5000]),
        (blob.clone(), vec![]),
        (complete_but_wrong, vec![0]),
        (longer, vec![0]),
    ] {
        let (_dir, cache) = cache();
        std::fs::write(cache.path("partial", &digest.hex()), part).unwrap();
        let mut offsets = Vec::new();
        let open = |at: u64| {
            offsets.push(at);
            Ok(&blob[at as usize..])
        };
        let layer = cache.fetch_layer(&digest, &right, open, &Silent).unwrap();
        assert!(content(&layer) == tar);
        assert_eq!(offsets, expected);
        assert!(leftovers(&cache).is_empty());
    }
}

#[test]
fn one_fetches_and_the_others_wait() {
    let (_dir, cache) = cache();
    let tar = noise(1_000_000);
    let blob = gzip(&tar);
    let (digest, right) = (Digest::of(&blob), expect(&blob, &tar));
    let opened = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let own = Cache::open(cache.dir()).unwrap();
                let open = |_| {
                    opened.fetch_add(1, Ordering::SeqCst);
                    Ok(&blob[..])
                };
                assert!(content(&own.fetch_layer(&digest, &right, open, &Silent).unwrap()) == tar);
            });
        }
    });
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    assert!(leftovers(&cache).is_empty());
}

#[test]
fn blobs_and_keys() {
    let (_dir, cache) = cache();
    let digest = cache.put_blob(b"{}").unwrap();
    assert_eq!(cache.blob(&digest).unwrap().unwrap(), b"{}");
    std::fs::write(cache.path("blobs", &digest.hex()), "").unwrap();
    assert_eq!(cache.blob(&digest).unwrap(), None);
    assert!(!cache.path("blobs", &digest.hex()).exists());

    for (space, key, value) in
        [("tag", "docker.io/x:1", "sha256:…"), ("tag", "a\nb", "c\n\nd"), ("run", "", "")]
    {
        assert_eq!(cache.key(space, key).unwrap(), None);
        cache.set_key(space, key, "old").unwrap();
        cache.set_key(space, key, value).unwrap();
        assert_eq!(cache.key(space, key).unwrap().unwrap(), value);
        let path = cache.key_path(space, key);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(cache.key(space, key).unwrap(), None, "torn");
    }
    assert!(cache.key_path("../../x", "k").starts_with(cache.dir().join("keys")));
}

#[test]
fn scratch_directories_vanish() {
    let (_dir, cache) = cache();
    let scratch = cache.scratch("run").unwrap();
    let path = scratch.path().to_owned();
    std::fs::write(path.join("x"), "x").unwrap();
    // Another process leaves it alone.
    Cache::open(cache.dir()).unwrap();
    assert!(path.join("x").exists());
    drop(scratch);
    assert!(leftovers(&cache).is_empty());

    // What a killed process leaves: nobody has the lock.
    for name in ["run-1-0", "half-1-1"] {
        std::fs::create_dir_all(cache.path("scratch", name).join("a/b")).unwrap();
    }
    std::fs::write(cache.path("scratch", "run-1-0.lock"), "").unwrap();
    std::fs::write(cache.path("tmp", "new-1-0"), "half a layer").unwrap();
    std::fs::write(cache.path("locks", &Digest::of("x").hex()), "").unwrap();
    Cache::open(cache.dir()).unwrap();
    assert!(leftovers(&cache).is_empty());
}

#[test]
fn hostile_trees_can_be_removed() {
    let (dir, cache) = cache();
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("precious"), "x").unwrap();
    let scratch = cache.scratch("x").unwrap();
    let top = scratch.path().to_owned();
    let closed = top.join("closed");
    std::fs::create_dir_all(closed.join("inner")).unwrap();
    std::os::unix::fs::symlink(&outside, closed.join("link")).unwrap();
    std::os::unix::fs::symlink("..", closed.join("inner/up")).unwrap();
    std::fs::set_permissions(closed.join("inner"), std::fs::Permissions::from_mode(0o000)).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o100)).unwrap();
    // Deeper than a process may have files open.
    let mut at = rustix::fs::open(&top, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..1100 {
        rustix::fs::mkdirat(&at, "deeper", rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
        at = rustix::fs::openat(&at, "deeper", flags, rustix::fs::Mode::empty()).unwrap();
    }
    scratch.close().unwrap();
    assert!(!top.exists() && outside.join("precious").exists());
    assert!(leftovers(&cache).is_empty());
}

#[test]
fn pruning() {
    let (_dir, cache) = cache();
    let layers: Vec<Vec<u8>> = (1..=3).map(|n| vec![n; 1000]).collect();
    let fill = || {
        for (age, tar) in [300, 200, 100].iter().zip(&layers) {
            let layer = cache.ingest_layer(&tar[..], &ExpectedLayer::default(), &Silent).unwrap();
            let stamp = File::open(cache.layer_path(&layer.diff_id).with_extension("ok")).unwrap();
            stamp.set_modified(SystemTime::now() - Duration::from_secs(*age)).unwrap();
        }
    };
    let there = || -> Vec<usize> {
        let has = |i: &usize| cache.layer_path(&Digest::of(&layers[*i])).exists();
        (0..3).filter(has).collect()
    };
    fill();
    let list = cache.list().unwrap();
    assert_eq!(list.iter().map(|e| e.bytes).sum::<u64>(), 3000);
    assert_eq!(list[0].name, Digest::of(&layers[0]).to_string());
    assert!(list.iter().all(|e| !e.in_use && e.kind == CacheEntryKind::Layer));
    assert_eq!(cache.prune(&Prune::default()).unwrap(), Pruned::default());

    let older = Prune { older_than: Some(Duration::from_secs(250)), ..Prune::default() };
    assert_eq!(cache.prune(&older).unwrap(), Pruned { entries: 1, bytes: 1000, in_use: 0 });
    assert_eq!(there(), [1, 2]);
    let room = Prune { max_bytes: Some(1999), ..Prune::default() };
    assert_eq!(cache.prune(&room).unwrap().entries, 1);
    assert_eq!(there(), [2]);
    assert_eq!(files::entries(&cache.dir().join("digests")).unwrap().len(), 1);

    // What is in use stays, and its user doesn't notice.
    fill();
    let used = cache.layer(&Digest::of(&layers[1])).unwrap().unwrap();
    cache.set_key("tag", "a", "b").unwrap();
    cache.put_blob(b"{}").unwrap();
    assert!(cache.list().unwrap().iter().any(|e| e.in_use));
    let all = Prune { all: true, ..Prune::default() };
    let pruned = cache.prune(&all).unwrap();
    assert_eq!((pruned.entries, pruned.in_use), (4, 1));
    assert_eq!(there(), [1]);
    assert!(content(&used) == layers[1]);
    drop(used);
    assert_eq!(cache.prune(&all).unwrap().entries, 1);
    assert!(cache.list().unwrap().is_empty());
    // Using a layer makes it young.
    fill();
    cache.layer(&Digest::of(&layers[0])).unwrap().unwrap();
    cache.prune(&Prune { max_bytes: Some(1000), ..Prune::default() }).unwrap();
    assert_eq!(there(), [0]);
}

#[test]
fn directories_of_others_are_refused() {
    assert!(rustix::process::geteuid().is_root(), "giving files away takes root: run the tests as root");
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str, spoil: &dyn Fn(&Path)| {
        let place = dir.path().join(name);
        drop(Cache::open(&place).unwrap());
        spoil(&place);
        Cache::open(&place).unwrap_err().to_string()
    };
    let chmod =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let chown = |path: &Path| std::os::unix::fs::chown(path, Some(4711), None).unwrap();
    let error = open("owner", &|place| chown(place));
    assert!(error.contains("owner\" belongs to user 4711, expected the user who runs this, 0"), "{error}");
    let error = open("layers", &|place| chown(&place.join("layers")));
    assert!(error.contains("layers/layers\" belongs to user 4711"), "{error}");
    let error = open("group", &|place| chmod(place, 0o770));
    assert!(error.contains("group\" can be written by other users (mode 0770)"), "{error}");
    let error = open("all", &|place| chmod(&place.join("keys"), 0o707));
    assert!(error.contains("keys\" can be written by other users (mode 0707)"), "{error}");
}

#[test]
fn a_forged_layer_is_found_when_asked_to_look() {
    let (_dir, cache) = cache();
    let tar = noise(10_000);
    let layer = cache.ingest_layer(&tar[..], &ExpectedLayer::default(), &Silent).unwrap();
    let path = cache.layer_path(&layer.diff_id);
    drop(layer);
    // With a stamp to match, as only the owner could make one.
    std::fs::write(&path, noise(20_000)).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    std::fs::write(path.with_extension("ok"), cache.stamp(&file).unwrap()).unwrap();
    assert_eq!(cache.layer(&Digest::of(&tar)).unwrap().unwrap().len, 20_000);
    assert!(cache.clone().verifying(true).layer(&Digest::of(&tar)).unwrap().is_none());
    assert!(!path.exists());
}

#[test]
fn kept_trees() {
    let (_dir, cache) = cache();
    let make = |key: &str, text: &str| {
        cache.kept_tree::<CacheError>(key, 7, |dir| {
            std::fs::write(dir.join("file"), text).unwrap();
            Ok(())
        })
    };
    let text = |tree: &KeptTree| std::fs::read_to_string(tree.path().join("file")).unwrap();
    let first = make("a", "one").unwrap();
    // The second time it is the same, while the first is in use and afterwards.
    let second = make("a", "two").unwrap();
    assert_eq!((text(&first), text(&second)), ("one".to_owned(), "one".to_owned()));
    let all = Prune { all: true, ..Prune::default() };
    assert_eq!(cache.prune(&all).unwrap(), Pruned { entries: 0, bytes: 0, in_use: 1 });
    drop((first, second));
    assert_eq!(text(&make("a", "two").unwrap()), "one");
    // What couldn't be made isn't there.
    let failed = cache.kept_tree("b", 7, |_| Err(CacheError::NoHome));
    assert!(matches!(failed, Err(CacheError::NoHome)));
    assert_eq!(text(&make("b", "b").unwrap()), "b");
    // A third makes one of two go, and one of another boot is made anew.
    make("c", "c").unwrap();
    assert_eq!(cache.list().unwrap().iter().filter(|e| e.bytes == 7).count(), 2);
    let other = Cache { boot: Some("other".to_owned()), ..cache.clone() };
    let again = other.kept_tree::<CacheError>("c", 7, |dir| {
        std::fs::write(dir.join("file"), "again").unwrap();
        Ok(())
    });
    assert_eq!(text(&again.unwrap()), "again");
    assert_eq!(cache.prune(&all).unwrap(), Pruned { entries: 2, bytes: 14, in_use: 0 });
    assert!(cache.list().unwrap().is_empty() && leftovers(&cache).is_empty());
}
