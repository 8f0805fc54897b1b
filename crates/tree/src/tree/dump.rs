//! The text form of a tree, for goldens and for people.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::path::escape;
use super::{Ino, Kind, Tree, TreePath};

/// What of a tree goes into [`Tree::dump_with`].
#[derive(Debug, Clone, Copy)]
pub struct DumpOptions {
    /// Modification times.
    pub mtime: bool,
    /// The content of text files up to this many bytes; others show their length only.
    pub text: u64,
}

impl Default for DumpOptions {
    fn default() -> Self {
        DumpOptions { mtime: false, text: 60 }
    }
}

impl Tree {
    /// One line a path: `PATH kind mode uid:gid …`. Hard links name the first path of their inode.
    ///
    /// ```
    /// let mut tree = tree::Tree::default();
    /// tree.insert("/hello".parse()?, tree::Node::file(0o644, "hi"))?;
    /// assert_eq!(tree.dump(), "/ dir 0755 0:0\n/hello file 0644 0:0 2 \"hi\"\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dump(&self) -> String {
        self.dump_with(DumpOptions::default())
    }

    /// As [`Tree::dump`], with options.
    pub fn dump_with(&self, options: DumpOptions) -> String {
        let mut out = String::new();
        let mut first: HashMap<Ino, &TreePath> = HashMap::new();
        for (path, ino, node) in self.iter_inodes() {
            let _ = write!(out, "{path} ");
            if self.nlink(ino) > 1 {
                if let Some(target) = first.get(&ino) {
                    let _ = writeln!(out, "hardlink {target}");
                    continue;
                }
                first.insert(ino, path);
            }
            let kind = match &node.kind {
                Kind::Dir => "dir",
                Kind::File(_) => "file",
                Kind::Symlink(_) => "symlink",
                Kind::CharDevice { .. } => "char",
                Kind::BlockDevice { .. } => "block",
                Kind::Fifo => "fifo",
                Kind::Socket => "socket",
            };
            let m = &node.meta;
            let _ = write!(out, "{kind} {:04o} {}:{}", m.mode, m.uid, m.gid);
            if options.mtime {
                let _ = write!(out, " @{}", m.mtime);
            }
            match &node.kind {
                Kind::File(c) => {
                    let _ = write!(out, " {}", c.len());
                    if c.len() <= options.text {
                        match c.read(options.text).map(String::from_utf8) {
                            Ok(Ok(text)) => _ = write!(out, " {text:?}"),
                            Ok(Err(_)) => {}
                            Err(e) => _ = write!(out, " unreadable: {e}"),
                        }
                    }
                }
                Kind::Symlink(t) => _ = write!(out, " -> {}", escape(t)),
                Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                    _ = write!(out, " {major}:{minor}");
                }
                _ => {}
            }
            for (name, value) in &m.xattrs {
                let _ = write!(out, " {}={}", escape(name), escape(value));
            }
            out.push('\n');
        }
        out
    }
}
