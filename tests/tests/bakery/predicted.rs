//! `bakery check` held against the kernel: the tree that it computes is the one that systemd-sysext's merge shows, path by
//! path.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::listing::lines;
use e2e::{Host, Work};
use host_check::{Acceptance, Extension, Merged};
use image::{Format, ImageContents, ImageKind, ImageOptions, Volume};
use store::Cache;
use tree::{Kind, Meta, Node, ReadOptions, Silent, Tree, TreePath, WriteOptions};

/// Pairs of extensions for each host.
const PAIRS: u64 = 17;

/// What `tests/src/bin/list_tree.rs` prints of the merged host.
const LIST: &str = r#""$LIST_TREE" "$place" paths > merged"#;

/// Numbers that are the same in each run. Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.next(of.len())]
    }
}

/// An extension that does to a host's files all that one can do.
fn extension(name: &str, host: &Tree, random: &mut Random) -> Result<Tree> {
    let mut tree = Tree::default();
    let release = format!("/usr/lib/extension-release.d/extension-release.{name}").parse()?;
    tree.insert_all(release, Node::file(0o644, "ID=_any\n"), &Meta::dir())?;
    let share: TreePath = "/usr/share".parse()?;
    let libexec: TreePath = "/usr/libexec".parse()?;
    let all: Vec<(&TreePath, &Node)> = host
        .iter()
        .filter(|(p, _)| p.depth() > 2 && (p.starts_with(&share) || p.starts_with(&libexec)))
        .collect();
    let dirs: Vec<&TreePath> = all.iter().filter(|(_, n)| n.is_dir()).map(|(p, _)| *p).collect();
    let meta = |random: &mut Random| {
        let ids = [0, 0, 0, 1, 1000];
        let mut meta = Meta::with_mode(*random.pick(&[0o644, 0o755, 0o600, 0o4755, 0o1777]));
        (meta.uid, meta.gid) = (*random.pick(&ids), *random.pick(&ids));
        if random.next(4) == 0 {
            meta.xattrs.insert(b"user.test".to_vec(), name.as_bytes().to_vec());
        }
        meta
    };
    for i in 0..40 {
        let (path, node) = random.pick(&all);
        let new = random.pick(&dirs).join(format!("{name}-{i}"))?;
        let file =
            |random: &mut Random, text: String| Node { meta: meta(random), kind: Kind::File(text.into()) };
        let (path, node) = match random.next(12) {
            0 | 1 => (new, file(random, format!("{name} {i}"))),
            // Of both extensions.
            2 => (random.pick(&dirs[..3]).join("shared")?, file(random, format!("{name} {i}"))),
            3 => ((*path).clone(), file(random, format!("{name} {i}"))),
            4 => ((*path).clone(), (*node).clone()),
            5 => ((*path).clone(), Node::symlink("elsewhere")),
            6 => ((*path).clone(), Node { meta: meta(random), kind: Kind::Dir }),
            7 => ((*path).join(format!("{name}-{i}"))?, file(random, String::new())),
            8 => (
                (*path).clone(),
                Node { meta: Meta::with_mode(0), kind: Kind::CharDevice { major: 0, minor: 0 } },
            ),
            9 => {
                let mut meta = Meta::dir();
                meta.xattrs.insert(b"trusted.overlay.opaque".to_vec(), b"y".to_vec());
                ((*random.pick(&dirs)).clone(), Node { meta, kind: Kind::Dir })
            }
            10 => (format!("/opt/{name}/{i}").parse()?, file(random, format!("{i}"))),
            _ => (
                random.pick(&dirs).join("whiteout")?,
                Node { meta: Meta::with_mode(0), kind: Kind::CharDevice { major: 0, minor: 0 } },
            ),
        };
        // What stands in the way of something else in this extension is left out.
        let parent = Meta::with_mode(*random.pick(&[0o755, 0o755, 0o711]));
        if tree.get(&path).is_none_or(|n| n.is_dir() == node.is_dir()) {
            let _ = tree.insert_all(path, node, &parent);
        }
    }
    Ok(tree)
}

/// Writes it as a directory or as an image.
fn write(name: &str, tree: &Tree, dir: &Path, random: &mut Random) -> Result<PathBuf> {
    let formats = [Format::Dir, Format::Squashfs, Format::Erofs];
    let format = *random.pick(&formats);
    let path = dir.join(match format {
        Format::Dir => name.to_owned(),
        _ => format!("{name}.raw"),
    });
    if format == Format::Dir {
        fs::create_dir(&path)?;
        let report = tree.write_dir(&path, &WriteOptions::all())?;
        ensure!(report.skipped.is_empty(), "{report:?}");
        return Ok(path);
    }
    let options = ImageOptions { format, ..ImageOptions::default() };
    image::write(Volume { tree, name, architecture: None, epoch: 0 }, &path, &options, &Silent)?;
    Ok(path)
}

fn predicted(host: &Tree, set: &[ImageContents]) -> Result<Merged> {
    let layers: Vec<&Tree> = set.iter().map(|contents| &contents.tree).collect();
    Ok(host_check::merge(host, &layers)?)
}

/// Merges random pairs into a host.
fn pairs(host: &Host, seed: u64) -> Result<()> {
    let work = Work::new()?;
    let options = ReadOptions {
        only: vec!["/usr".parse()?, "/opt".parse()?, "/etc/os-release".parse()?],
        ..ReadOptions::default()
    };
    let tree = Tree::from_dir(host.root(), &options)?;
    let cache = Cache::open(&work.path().join("cache"))?;
    let known = host_check::Host::new("test".into(), tree.clone(), None)?;
    for i in 0..PAIRS {
        let mut random = Random(seed + i * 7919);
        let dir = work.dir(&format!("pair-{i}"))?;
        let mut set = Vec::new();
        let mut paths = Vec::new();
        // The second one is the upper layer, whatever the alphabet says.
        for name in ["x9", "x10"] {
            let path = write(name, &extension(name, &tree, &mut random)?, &dir, &mut random)?;
            let contents = image::read(&path, &cache)?;
            let extension = Extension {
                name: name.parse()?,
                tree: &contents.tree,
                is_directory: contents.kind == ImageKind::Directory,
                size: 0,
                labels_known: false,
                notes: Vec::new(),
            };
            assert_eq!(host_check::acceptance(&known, &extension)?, Acceptance::Merged);
            set.push(contents);
            paths.push(path);
        }
        let touched: BTreeSet<TreePath> =
            set.iter().flat_map(|c| c.tree.iter().map(|(path, _)| path.clone())).collect();
        let names: Vec<Vec<u8>> = touched.iter().map(TreePath::to_absolute).collect();
        fs::write(dir.join("paths"), names.join(&0))?;
        let script = LIST.replace("$LIST_TREE", env!("CARGO_BIN_EXE_list_tree"));
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        host.merged(&dir, &paths, &script)?;
        let shown = fs::read_to_string(dir.join("merged")).context("merged")?;
        let expected = lines(&predicted(&tree, &set)?.tree, &touched)?;
        let (shown, expected): (BTreeSet<&str>, BTreeSet<&str>) =
            (shown.lines().collect(), expected.iter().map(String::as_str).collect());
        let only: Vec<String> = shown.difference(&expected).map(|line| format!("kernel {line}")).collect();
        let ours: Vec<String> = expected.difference(&shown).map(|line| format!("check  {line}")).collect();
        assert!(only.is_empty() && ours.is_empty(), "pair {i}:\n{}\n{}", only.join("\n"), ours.join("\n"));
        assert!(shown.len() > 500, "{}", shown.len());
    }
    Ok(())
}

#[test]
fn the_kernel_shows_on_debian_12_what_check_computes() -> Result<()> {
    pairs(&Host::bookworm()?, 12)
}

#[test]
fn the_kernel_shows_on_debian_13_what_check_computes() -> Result<()> {
    pairs(&Host::trixie()?, 13)
}

/// A host of a few files, without most of the directories that the extensions have.
#[test]
fn the_kernel_shows_on_a_lean_host_what_check_computes() -> Result<()> {
    let work = Work::new()?;
    let root = work.dir("lean")?;
    let mut tree = Tree::default();
    for dir in [
        "/dev",
        "/etc/extensions",
        "/proc",
        "/run",
        "/sys",
        "/tmp",
        "/opt",
        "/usr/share/a/b/c",
        "/usr/share/d/e",
        "/usr/libexec/f/g",
    ] {
        tree.make_dirs(&dir.parse()?, &Meta::dir())?;
    }
    for (path, node) in [
        ("/etc/os-release", Node::file(0o644, "ID=lean\n")),
        ("/usr/lib/os-release", Node::file(0o644, "ID=lean\n")),
        ("/usr/share/a/b/text", Node::file(0o644, "text")),
        ("/usr/share/a/link", Node::symlink("b")),
        ("/usr/share/d/file", Node::file(0o755, "file")),
        ("/usr/libexec/f/program", Node::file(0o755, "program")),
    ] {
        tree.insert_all(path.parse()?, node, &Meta::dir())?;
    }
    for i in 0..500 {
        tree.insert_all(format!("/usr/include/{i}").parse()?, Node::file(0o644, ""), &Meta::dir())?;
    }
    let report = tree.write_dir(&root, &WriteOptions::all())?;
    ensure!(report.skipped.is_empty(), "{report:?}");
    pairs(&Host::foreign(root)?, 14)
}
