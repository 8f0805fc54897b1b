//! What tests of this crate and of those above it share: small programs and libraries, made by a compiler.
//!
//! # Panics
//! Everything here panics with what went wrong.

#![allow(missing_docs, clippy::unwrap_used)]

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tree::{Blob, Content, Meta, Node, Tree, TreePath};

/// Puts a program at a path, in the place of what is there.
///
/// A child process writes it. If this one did, a child that another thread forks meanwhile would have the file open for
/// writing until its own exec, and until then the kernel executes it for nobody ("Text file busy").
pub fn place_program(path: &Path, bytes: &[u8]) {
    let mut install = Command::new("install");
    let mut child =
        install.args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    assert!(child.wait().unwrap().success(), "{install:?}");
}

/// Puts a copy of a file at a path, in the same way.
pub fn place_copy(path: &Path, from: &Path) {
    let mut install = Command::new("install");
    assert!(install.args(["-m", "755"]).arg(from).arg(path).status().unwrap().success(), "{install:?}");
}

/// A literal path.
pub fn p(path: &str) -> TreePath {
    path.parse().unwrap()
}

/// The given directories of a root on disk, and the way there.
pub fn tree_of(root: &Path, dirs: &[&str]) -> Tree {
    let mut tree = Tree::default();
    for dir in dirs {
        add(&mut tree, root, Path::new(dir));
    }
    tree
}

fn add(tree: &mut Tree, root: &Path, relative: &Path) {
    let full = root.join(relative);
    let Ok(stat) = std::fs::symlink_metadata(&full) else { return };
    let path = TreePath::new(relative.as_os_str().as_encoded_bytes()).unwrap();
    let meta = Meta::with_mode(stat.mode());
    if stat.is_dir() {
        tree.insert_all(path, Node { meta, kind: tree::Kind::Dir }, &Meta::dir()).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&full).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            add(tree, root, &relative.join(name));
        }
    } else if stat.is_symlink() {
        let target = std::fs::read_link(&full).unwrap();
        let node = Node::symlink(target.as_os_str().as_encoded_bytes());
        tree.insert_all(path, node, &Meta::dir()).unwrap();
    } else if stat.is_file() {
        let content = Content::in_blob(Blob::at_path(&full), 0, stat.len());
        tree.insert_all(path, Node { meta, kind: tree::Kind::File(content) }, &Meta::dir()).unwrap();
    }
}

/// A root on disk in which small programs and libraries are linked, to be read as a tree and run in place.
#[derive(Debug)]
pub struct TestRoot {
    dir: tempfile::TempDir,
    cc: &'static str,
}

impl TestRoot {
    pub fn glibc() -> TestRoot {
        TestRoot { dir: tempfile::tempdir().unwrap(), cc: "gcc" }
    }

    pub fn musl() -> TestRoot {
        TestRoot { dir: tempfile::tempdir().unwrap(), cc: "musl-gcc" }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative.trim_start_matches('/'))
    }

    pub fn write(&self, relative: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self
    }

    pub fn script(&self, relative: &str, text: &str) -> &Self {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        place_program(&path, text.as_bytes());
        self
    }

    pub fn symlink(&self, relative: &str, target: &str) -> &Self {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
        self
    }

    /// Copies a file of this machine, links followed.
    pub fn copy(&self, from: &str, relative: &str) -> &Self {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        place_copy(&path, Path::new(from));
        self
    }

    /// A library of the soname that needs others (paths in this root). It has a function named after the soname.
    pub fn shared_library(&self, relative: &str, soname: &str, needs: &[&str], flags: &[&str]) -> &Self {
        let out = self.path(relative);
        std::fs::create_dir_all(out.parent().unwrap()).unwrap();
        let source = format!("const char *f_{}(void) {{ return \"{relative}\"; }}\n", symbol(soname));
        let mut args = vec!["-shared".to_owned(), "-fPIC".to_owned(), format!("-Wl,-soname,{soname}")];
        args.extend(flags.iter().map(|f| (*f).to_owned()));
        self.compile(&source, &out, &args, needs);
        self
    }

    pub fn program(&self, relative: &str, needs: &[&str], flags: &[&str]) -> &Self {
        let args: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
        self.compile("int main(void) { return 0; }\n", &self.path(relative), &args, needs);
        self
    }

    pub fn compile(&self, source: &str, out: &Path, args: &[String], needs: &[&str]) {
        std::fs::create_dir_all(out.parent().unwrap()).unwrap();
        let c = self.dir.path().join(format!(".{}.c", out.file_name().unwrap().to_str().unwrap()));
        std::fs::write(&c, source).unwrap();
        let mut command = Command::new(self.cc);
        // What the libraries need themselves is looked for at run time only.
        command.arg(&c).arg("-o").arg(out).args(args).arg("-Wl,--no-as-needed,--allow-shlib-undefined");
        command.arg("-Wl,--unresolved-symbols=ignore-all").args(needs.iter().map(|n| self.path(n)));
        let status = command.status();
        let status = status.unwrap_or_else(|e| panic!("{}: {e}; install gcc and musl-tools", self.cc));
        assert!(status.success(), "{command:?}");
        std::fs::remove_file(c).unwrap();
    }

    /// This machine's loader and C library at their usual places.
    pub fn with_glibc(&self) -> &Self {
        let dir = "/lib/x86_64-linux-gnu";
        self.copy(&format!("{dir}/ld-linux-x86-64.so.2"), "lib64/ld-linux-x86-64.so.2");
        self.copy(&format!("{dir}/libc.so.6"), "lib/x86_64-linux-gnu/libc.so.6")
    }

    pub fn with_musl(&self) -> &Self {
        self.copy("/lib/ld-musl-x86_64.so.1", "lib/ld-musl-x86_64.so.1")
    }

    pub fn tree(&self) -> Tree {
        tree_of(self.dir.path(), &[""])
    }
}

fn symbol(soname: &str) -> String {
    soname.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
