//! What the programs themselves say of files whose time became another.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::{Extension, ExtensionOptions, Release};
use tree::{Meta, Node, ReadOptions, Tree, TreePath, WriteOptions};

/// The interpreter of Debian's package python3, which no version manager stands before.
const PYTHON: &str = "/usr/bin/python3";

fn p(path: &str) -> TreePath {
    path.parse().unwrap()
}

fn run(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; see tests/packages.txt"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {text}");
    text
}

fn write(dir: &Path, path: &str, text: &str, time: i64) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    run(Command::new("touch").arg("-d").arg(format!("@{time}")).arg(path));
}

/// `root` as an extension of that time, written to a directory.
fn extension(root: &Path, epoch: i64) -> tempfile::TempDir {
    let tree = Tree::from_dir(root, &ReadOptions::default()).unwrap();
    written(tree, epoch)
}

fn written(tree: Tree, epoch: i64) -> tempfile::TempDir {
    let options = ExtensionOptions { epoch, ..ExtensionOptions::default() };
    let made = Extension::new(tree, "t".parse().unwrap(), Release::default(), &options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    _ = made.tree().write_dir(dir.path(), &WriteOptions::for_caller()).unwrap();
    dir
}

/// What `python3 -v` says of each import: `matches` for bytecode that was taken.
fn imports(root: &Path, options: &[&str]) -> String {
    let mut python = Command::new(PYTHON);
    python.args(["-v", "-B", "-S", "-E", "-s"]).args(options);
    python.args(["-c", "import sys; sys.path[0] = sys.argv[1]; import fresh, old, hashed, package.inner"]);
    run(python.arg(root.join("usr/lib/app")))
}

const MODULES: [(&str, &str); 4] =
    [("fresh", "fresh"), ("old", "old"), ("hashed", "hashed"), ("package/inner", "inner")];

/// Modules with bytecode as three optimisation levels have it, one of them stale.
fn modules() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let app = root.path().join("usr/lib/app");
    for (module, _) in MODULES {
        write(&app, &format!("{module}.py"), "X = 1\n", 1_500_000_001);
    }
    write(&app, "package/__init__.py", "", 1_500_000_001);
    let compile = |more: &[&str]| {
        run(Command::new(PYTHON).args(["-m", "compileall", "-q", "-o0", "-o1", "-o2"]).args(more).arg(&app));
    };
    compile(&[]);
    write(&app, "hashed.py", "X = 1\n", 1_500_000_001);
    for level in ["", ".opt-1", ".opt-2"] {
        let python =
            format!("import sys; print('hashed.' + sys.implementation.cache_tag + '{level}.pyc', end='')");
        let name = run(Command::new(PYTHON).args(["-c", &python]));
        std::fs::remove_file(app.join("__pycache__").join(name)).unwrap();
    }
    run(Command::new(PYTHON)
        .args(["-m", "compileall", "-q", "-o0", "-o1", "-o2", "--invalidation-mode", "checked-hash"])
        .arg(app.join("hashed.py")));
    // Of the same length: the size doesn't tell.
    write(&app, "old.py", "X = 2\n", 1_500_000_002);
    root
}

#[test]
fn bytecode_that_was_fresh_stays_fresh() {
    let root = modules();
    // A negative time and one beyond 32 bits are masked as Python masks them.
    for epoch in [0, 1, 1_700_000_000, 5_000_000_000, -5] {
        let made = extension(root.path(), epoch);
        for level in [&[][..], &["-O"], &["-OO"]] {
            let said = imports(made.path(), level);
            for (module, name) in MODULES {
                let taken =
                    said.lines().any(|l| l.contains(" matches ") && l.ends_with(&format!("/{module}.py")));
                let stale = said.contains(&format!("bytecode is stale for '{name}'"));
                assert_eq!(
                    (taken, stale),
                    (name != "old", name == "old"),
                    "{epoch} {level:?} {name}: {said}"
                );
            }
        }
    }
}

/// As in flatwrap's sysroot: a source that is an absolute link of the image.
#[test]
fn a_source_may_be_a_link_of_an_image_below_a_folder() {
    let root = modules();
    let app = root.path().join("usr/lib/app");
    std::fs::create_dir_all(root.path().join("etc")).unwrap();
    std::fs::rename(app.join("fresh.py"), root.path().join("etc/fresh.py")).unwrap();
    std::os::unix::fs::symlink("/etc/fresh.py", app.join("fresh.py")).unwrap();
    let image = Tree::from_dir(root.path(), &ReadOptions::default()).unwrap();
    let mut tree = Tree::default();
    for (path, node) in image.iter() {
        let target = p("/usr/lib/image").join(path.as_relative()).unwrap();
        tree.insert_all(target, node.clone(), &Meta::dir()).unwrap();
    }
    let made = written(tree, 77);
    let cache = made.path().join("usr/lib/image/usr/lib/app/__pycache__");
    let times: Vec<(String, u32)> = std::fs::read_dir(cache)
        .unwrap()
        .map(|e| {
            let path = e.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let time = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
            (path.file_name().unwrap().to_str().unwrap().to_owned(), time)
        })
        .filter(|(name, _)| name.starts_with("fresh."))
        .collect();
    assert!(times.len() == 3 && times.iter().all(|(_, t)| *t == 77), "{times:?}");
}

/// A header of Python 3.7 and later.
fn pyc(time: u32, size: u32) -> Node {
    let mut bytes = 3495u16.to_le_bytes().to_vec();
    bytes.extend(b"\r\n\0\0\0\0");
    bytes.extend(time.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    Node::file(0o644, bytes)
}

#[test]
fn stale_bytecode_does_not_become_fresh() {
    let source = |time| {
        let mut node = Node::file(0o644, "X=1\n");
        node.meta.mtime = time;
        node
    };
    let mut tree = Tree::default();
    let mut put = |path: &str, node| tree.insert_all(p(path), node, &Meta::dir()).unwrap();
    // Made of a source of time 0, beside one of time 50.
    put("/usr/a/x.py", source(50));
    put("/usr/a/__pycache__/x.cpython-311.pyc", pyc(0, 4));
    // One file for two sources, of which one has changed.
    put("/usr/a/y.py", source(7));
    put("/usr/a/z.py", source(50));
    put("/usr/a/__pycache__/y.cpython-311.pyc", pyc(7, 4));
    tree.link(p("/usr/a/__pycache__/z.cpython-311.pyc"), &p("/usr/a/__pycache__/y.cpython-311.pyc")).unwrap();
    let made = written(tree, 0);
    let time = |name: &str| {
        let bytes = std::fs::read(made.path().join("usr/a/__pycache__").join(name)).unwrap();
        u32::from_le_bytes(bytes[8..12].try_into().unwrap())
    };
    assert_ne!(time("x.cpython-311.pyc"), 0);
    assert_ne!(time("z.cpython-311.pyc"), 0);
}

/// fontconfig reads a directory's fonts again if its cache is stale, and writes another.
#[test]
fn fontconfig_takes_its_caches() {
    let root = tempfile::tempdir().unwrap();
    let font = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
    let fonts = root.path().join("usr/share/fonts");
    std::fs::create_dir_all(&fonts).unwrap();
    std::fs::copy(font, fonts.join("a.ttf"))
        .unwrap_or_else(|e| panic!("{font}: {e}; install fonts-dejavu-core"));
    let config =
        "<fontconfig><dir>/usr/share/fonts</dir><cachedir>/usr/lib/fontconfig/cache</cachedir></fontconfig>";
    write(root.path(), "usr/share/fonts.conf", config, 1_500_000_000);
    std::fs::create_dir_all(root.path().join("usr/lib/fontconfig/cache")).unwrap();
    let tool = |name: &str, root: &Path| {
        let mut command = Command::new(name);
        command.env_clear().env("FONTCONFIG_FILE", "/usr/share/fonts.conf").arg("--sysroot").arg(root);
        command
    };
    run(&mut tool("fc-cache", root.path()));
    for epoch in [0, 1_700_000_000] {
        // A whole image below a folder of the extension, too.
        for below in ["", "usr/lib/image"] {
            let image = Tree::from_dir(root.path(), &ReadOptions::default()).unwrap();
            let mut tree = Tree::default();
            for (path, node) in image.iter().filter(|(p, _)| !p.is_root()) {
                let target = p(&format!("/{below}")).join(path.as_relative()).unwrap();
                tree.insert_all(target, node.clone(), &Meta::dir()).unwrap();
            }
            assert!(tree.iter().any(|(p, n)| super::fontconfig::is(p) && n.is_file()));
            let made = written(tree, epoch);
            let root = made.path().join(below);
            let cache = root.join("usr/lib/fontconfig/cache");
            let time = || {
                let mut files = std::fs::read_dir(&cache).unwrap().map(|e| e.unwrap());
                let file = files.find(|f| f.file_name().to_str().unwrap().contains(".cache-")).unwrap();
                file.metadata().unwrap().mtime()
            };
            run(&mut tool("fc-cache", &root));
            assert_eq!(time(), epoch, "{below}");
            // Another time of the directory is noticed, so the cache above was looked at.
            run(Command::new("touch").args(["-d", "@1500000000"]).arg(root.join("usr/share/fonts")));
            run(&mut tool("fc-cache", &root));
            assert_ne!(time(), epoch, "{below}");
        }
    }
}
