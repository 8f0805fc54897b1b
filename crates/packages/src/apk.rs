//! apk's database: one text of all packages. apk-package(5), apk-world(5); the format is that of apk's database.c.

use tree::{Tree, TreePath};

use crate::budget::Budget;
use crate::files::bytes;
use crate::{DatabaseError, Dependency, Package};

const INSTALLED: [&str; 2] = ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"];

pub(crate) fn read(tree: &Tree, budget: &mut Budget) -> Result<Vec<Package>, DatabaseError> {
    for path in INSTALLED {
        if let Some(text) = bytes(tree, path, budget)? {
            return installed(&text, budget);
        }
    }
    Ok(Vec::new())
}

/// A paragraph for each package, a letter for each field: P name, V version, A architecture, D what it needs, p what it
/// provides; F a directory, and R each file in it.
fn installed(text: &[u8], budget: &mut Budget) -> Result<Vec<Package>, DatabaseError> {
    let mut out = Vec::new();
    let mut package = Package::default();
    let mut dir: &[u8] = b"";
    for line in text.split(|&b| b == b'\n').chain([b"".as_slice()]) {
        let (key, value) = match line {
            [] => {
                if !package.name.is_empty() {
                    budget.package(&package)?;
                    out.push(std::mem::take(&mut package));
                }
                (package, dir) = (Package::default(), b"");
                continue;
            }
            [key, b':', value @ ..] => (*key, value),
            _ => continue,
        };
        let word = || String::from_utf8_lossy(value).trim().to_owned();
        match key {
            b'P' => package.name = word(),
            b'V' => package.version = word(),
            b'A' => package.architecture = word(),
            b'D' => {
                package.depends.clear();
                for name in names(&word()) {
                    budget.name(name)?;
                    package.depends.push(Dependency { alternatives: vec![name.to_owned()] });
                }
            }
            b'p' => {
                package.provides.clear();
                for name in names(&word()) {
                    budget.name(name)?;
                    package.provides.push(name.to_owned());
                }
            }
            b'F' | b'R' => {
                let path = match key {
                    b'F' => TreePath::new(value),
                    _ => TreePath::new([dir, b"/", value].concat()),
                };
                if key == b'F' {
                    dir = value;
                }
                let Ok(path) = path else { continue };
                budget.file(&path)?;
                package.files.push(path);
            }
            _ => {}
        }
    }
    Ok(out)
}

/// The names of a list, without versions (`so:libz.so.1=1.2`, `python3~3.12`) and repositories (`x@edge`), and without
/// what a package conflicts with.
fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split_ascii_whitespace()
        .filter(|w| !w.starts_with('!'))
        .map(|w| &w[..w.find(['<', '>', '=', '~', '@']).unwrap_or(w.len())])
        .filter(|n| !n.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Database;
    use tree::{Meta, Node};

    const TEXT: &str = "\
C:Q1abc=
P:busybox
V:1.36.1-r29
A:x86_64
D:so:libc.musl-x86_64.so.1
p:/bin/sh cmd:busybox=1.36.1-r29
F:bin
R:busybox
a:0:0:755
F:etc/empty
broken line
R:

P:git
V:2.45
D:so:libc.musl-x86_64.so.1 so:libz.so.1>=1 !old cmd:sh python3~3.12 x@edge
F:usr
F:usr/bin
R:git
R:../../etc/shadow

V:1
";

    #[test]
    fn the_installed_packages() {
        let found = installed(TEXT.as_bytes(), &mut Budget::default()).unwrap();
        let names: Vec<&str> = found.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["busybox", "git"]);
        assert_eq!(found[0].provides, ["/bin/sh", "cmd:busybox"]);
        let depends: Vec<&str> = found[1].depends.iter().map(|d| d.alternatives[0].as_str()).collect();
        assert_eq!(depends, ["so:libc.musl-x86_64.so.1", "so:libz.so.1", "cmd:sh", "python3", "x"]);
        let files: Vec<String> = found[1].files.iter().map(ToString::to_string).collect();
        assert_eq!(files, ["/usr", "/usr/bin", "/usr/bin/git"]);
    }

    #[test]
    fn links_of_programs_belong_to_what_they_lead_to() {
        let mut tree = Tree::default();
        for path in ["/bin/busybox", "/usr/bin/git"] {
            tree.insert_all(path.parse().unwrap(), Node::file(0o755, "x"), &Meta::dir()).unwrap();
        }
        tree.insert_all("/bin/ls".parse().unwrap(), Node::symlink("/bin/busybox"), &Meta::dir()).unwrap();
        let text = Node::file(0o644, TEXT);
        tree.insert_all("/usr/lib/apk/db/installed".parse().unwrap(), text, &Meta::dir()).unwrap();
        let db = Database::read(&tree).unwrap().unwrap();
        let files: Vec<String> =
            db.package("busybox").unwrap().files.iter().map(ToString::to_string).collect();
        assert_eq!(files, ["/bin/busybox", "/bin/ls"]);
        assert_eq!(db.owner(&"/usr/bin/ls".parse().unwrap()).unwrap().name, "busybox");
    }

    #[test]
    fn hostile_texts_are_skipped() {
        for text in [&b""[..], b"\n\n", b"P:", b"P", b"P:\nF:x", b"F:\xff\xfe/..\nR:x", b"R:x\n\nF:/\n"] {
            let found = installed(text, &mut Budget::default()).unwrap();
            assert_eq!(found, [], "{}", text.escape_ascii());
        }
    }
}
