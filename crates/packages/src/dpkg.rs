//! dpkg's database: `/var/lib/dpkg/status` and the lists beside it; `status.d`, which distroless images have in its
//! place. deb-control(5), dpkg-query(1), dpkg-divert(1).

use std::collections::BTreeMap;

use tree::{Tree, TreePath};

use crate::budget::Budget;
use crate::files::{bytes, text};
use crate::{DatabaseError, Dependency, Package};

const STATUS: &str = "/var/lib/dpkg/status";
const STATUS_DIR: &str = "/var/lib/dpkg/status.d";
const INFO: &str = "/var/lib/dpkg/info";
const DIVERSIONS: &str = "/var/lib/dpkg/diversions";

pub(crate) fn read(tree: &Tree, budget: &mut Budget) -> Result<Vec<Package>, DatabaseError> {
    let mut packages = Vec::new();
    let diversions = text(tree, DIVERSIONS, budget)?.unwrap_or_default();
    let diversions = Diversions::parse(&diversions, budget)?;
    let text_of_status = text(tree, STATUS, budget)?.unwrap_or_default();
    for mut package in status(&text_of_status, budget)? {
        let full = format!("{INFO}/{}:{}", package.name, package.architecture);
        let short = format!("{INFO}/{}", package.name);
        let mut list = bytes(tree, &format!("{full}.list"), budget)?;
        if list.is_none() {
            list = bytes(tree, &format!("{short}.list"), budget)?;
        }
        package.files = paths(&list.unwrap_or_default(), budget)?;
        for file in &mut package.files {
            if let Some(to) = diversions.place(file, &package.name) {
                budget.path(to)?;
                *file = to.clone();
            }
        }
        packages.push(package);
    }
    let Ok(dir) = tree.resolve(STATUS_DIR, true) else { return Ok(packages) };
    for (path, node) in tree.children(&dir.path) {
        let name = path.to_string();
        if !node.is_file() || name.ends_with(".md5sums") {
            continue;
        }
        let sums = bytes(tree, &format!("{name}.md5sums"), budget)?.unwrap_or_default();
        let text = text(tree, &name, budget)?.unwrap_or_default();
        for mut package in status(&text, budget)? {
            package.files = summed(&sums, budget)?;
            packages.push(package);
        }
    }
    Ok(packages)
}

/// The packages of a status file, without their files.
fn status(text: &str, budget: &mut Budget) -> Result<Vec<Package>, DatabaseError> {
    let mut out = Vec::new();
    for paragraph in text.split("\n\n") {
        let fields = fields(paragraph);
        let field = |name: &str| fields.get(name).map(String::as_str);
        let Some(name) = field("package").filter(|n| is_name(n)) else { continue };
        // "install ok installed"; distroless has no such field. What is half installed has files, too.
        let state = field("status").and_then(|s| s.split_ascii_whitespace().nth(2));
        if matches!(state, Some("not-installed" | "config-files")) {
            continue;
        }
        let mut package = Package {
            name: name.to_owned(),
            version: field("version").unwrap_or_default().to_owned(),
            architecture: field("architecture").unwrap_or_default().to_owned(),
            ..Package::default()
        };
        budget.package(&package)?;
        let conffiles = field("conffiles").unwrap_or_default().lines();
        for path in conffiles.filter_map(|l| TreePath::new(l.split_ascii_whitespace().next()?).ok()) {
            budget.file(&path)?;
            package.configuration.push(path);
        }
        for list in ["pre-depends", "depends"].into_iter().filter_map(field) {
            package.depends.extend(relations(list, budget)?);
        }
        let provides = relations(field("provides").unwrap_or_default(), budget)?;
        package.provides = provides.into_iter().flat_map(|d| d.alternatives).collect();
        out.push(package);
    }
    Ok(out)
}

/// The fields that are read, names in lower case. Lines of a field that is continued are separated by newlines.
fn fields(paragraph: &str) -> BTreeMap<String, String> {
    const READ: [&str; 8] =
        ["package", "status", "version", "architecture", "conffiles", "depends", "pre-depends", "provides"];
    let mut out = BTreeMap::<String, String>::new();
    let mut last: Option<String> = None;
    for line in paragraph.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = last.as_ref().and_then(|l| out.get_mut(l)) {
                value.push('\n');
                value.push_str(line.trim());
            }
            continue;
        }
        last = line.split_once(':').and_then(|(name, value)| {
            let name = name.to_ascii_lowercase();
            READ.contains(&name.as_str()).then(|| {
                out.insert(name.clone(), value.trim().to_owned());
                name
            })
        });
    }
    out
}

/// `a (>= 1) | b, c:any [amd64]`.
fn relations(list: &str, budget: &mut Budget) -> Result<Vec<Dependency>, DatabaseError> {
    let name = |text: &str| {
        let end = text.trim().find(|c: char| c.is_ascii_whitespace() || "([<".contains(c));
        let name = &text.trim()[..end.unwrap_or(text.trim().len())];
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        is_name(name).then(|| name.to_owned())
    };
    let mut out = Vec::new();
    for any in list.split(',') {
        let mut alternatives = Vec::new();
        for name in any.split('|').filter_map(name) {
            budget.name(&name)?;
            alternatives.push(name);
        }
        if !alternatives.is_empty() {
            out.push(Dependency { alternatives });
        }
    }
    Ok(out)
}

/// Names end up in the names of files: `..` and slashes are no names. deb-control(5), Package.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c))
}

fn paths(list: &[u8], budget: &mut Budget) -> Result<Vec<TreePath>, DatabaseError> {
    let lines = list.split(|&b| b == b'\n').filter(|l| l.starts_with(b"/"));
    charged(lines.filter_map(|l| TreePath::new(l).ok()), budget)
}

fn charged(
    paths: impl Iterator<Item = TreePath>,
    budget: &mut Budget,
) -> Result<Vec<TreePath>, DatabaseError> {
    paths.map(|path| budget.file(&path).map(|()| path)).collect()
}

/// The files of a list as md5sum(1) writes it, without the slash at their start.
fn summed(sums: &[u8], budget: &mut Budget) -> Result<Vec<TreePath>, DatabaseError> {
    let path = |line: &[u8]| {
        let at = line.iter().position(|&b| b == b' ')?;
        TreePath::new(line.get(at..)?.trim_ascii_start()).ok()
    };
    charged(sums.split(|&b| b == b'\n').filter_map(path), budget)
}

/// Files that are moved aside because another package has one of the same name.
struct Diversions(BTreeMap<TreePath, (TreePath, String)>);

impl Diversions {
    /// Three lines for each: the file, where it is now, and whose diversion it is (`:` for the administrator's).
    fn parse(text: &str, budget: &mut Budget) -> Result<Diversions, DatabaseError> {
        let mut out = BTreeMap::new();
        let mut lines = text.lines();
        while let (Some(from), Some(to), Some(by)) = (lines.next(), lines.next(), lines.next()) {
            let (Ok(from), Ok(to)) = (TreePath::new(from), TreePath::new(to)) else { continue };
            budget.path(&from)?;
            budget.path(&to)?;
            budget.name(by)?;
            out.insert(from, (to, by.to_owned()));
        }
        Ok(Diversions(out))
    }

    fn place(&self, file: &TreePath, package: &str) -> Option<&TreePath> {
        self.0.get(file).filter(|(_, by)| by != package).map(|(to, _)| to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Database;
    use tree::{Meta, Node};

    const TEXT: &str = "\
Package: git
Status: install ok installed
Architecture: amd64
Version: 1:2.39.5-0+deb12u2
Provides: git-completion, git-core (= 1)
Depends: libc6 (>= 2.34), perl:any | perlapi-5, libcurl3-gnutls (>= 7.56.1) [linux-any],
 git-man
Pre-Depends: init
Conffiles:
 /etc/bash_completion.d/git-prompt 7b37
 /etc/gone 0000 obsolete
Description: fast
 Depends: nonsense

Package: old
Status: deinstall ok config-files
Version: 1

Package: ../../etc/x
Status: install ok installed

no field
";

    fn tree(files: &[(&str, &str)], links: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            tree.insert_all(path.parse().unwrap(), Node::file(0o755, *text), &Meta::dir()).unwrap();
        }
        for (path, target) in links {
            tree.insert_all(path.parse().unwrap(), Node::symlink(target), &Meta::dir()).unwrap();
        }
        tree
    }

    fn names(paths: &[TreePath]) -> Vec<String> {
        paths.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_status_file() {
        let found = status(TEXT, &mut Budget::default()).unwrap();
        assert_eq!(found.len(), 1);
        let git = &found[0];
        assert_eq!((git.name.as_str(), git.version.as_str()), ("git", "1:2.39.5-0+deb12u2"));
        let depends: Vec<String> = git.depends.iter().map(|d| d.alternatives.join("|")).collect();
        assert_eq!(depends, ["init", "libc6", "perl|perlapi-5", "libcurl3-gnutls", "git-man"]);
        assert_eq!(git.provides, ["git-completion", "git-core"]);
        assert_eq!(names(&git.configuration), ["/etc/bash_completion.d/git-prompt", "/etc/gone"]);
    }

    #[test]
    fn files_are_those_of_the_tree() {
        let status = "Package: one\nStatus: install ok installed\nArchitecture: amd64\n\n\
                      Package: two\nStatus: install ok installed\nArchitecture: i386\n";
        let tree = tree(
            &[
                ("/var/lib/dpkg/status", status),
                (
                    "/var/lib/dpkg/info/one.list",
                    "/.\n/bin\n/bin/one\n/usr/share/doc/gone\n/usr/lib/x\n/usr/lib/empty\n/usr/lib/one/plugins/a.so\n/usr/lib/one/b\n",
                ),
                ("/var/lib/dpkg/info/two:i386.list", "/usr/lib/x\nrelative\n/../x\n"),
                ("/var/lib/dpkg/diversions", "/usr/lib/x\n/usr/lib/x.one\ntwo\n/half\n"),
                ("/var/lib/dpkg/alternatives/tool", "auto\n/usr/bin/tool\n\n/usr/bin/one\n50\n"),
                // In a folder of one's, to a file of two.
                ("/var/lib/dpkg/alternatives/plugin", "auto\n/usr/lib/one/plugins/x\n\n/usr/lib/x\n50\n"),
                ("/usr/lib/one/b", "x"),
                ("/usr/bin/one", "x"),
                ("/usr/lib/x", "of two"),
                ("/usr/lib/x.one", "of one"),
                ("/usr/lib/empty/.keep", "x"),
                ("/usr/lib/one/plugins/a.so", "x"),
                ("/usr/lib/one/plugins/index", "made by a script"),
                ("/usr/lib/one/plugins/__pycache__/a.pyc", "x"),
                ("/usr/lib/one/made/deep/index", "x"),
                ("/usr/lib/unowned", "x"),
            ],
            &[
                ("/bin", "usr/bin"),
                ("/usr/bin/tool", "/etc/alternatives/tool"),
                ("/etc/alternatives/tool", "/usr/bin/one"),
                ("/usr/lib/one/plugins/x", "/etc/alternatives/plugin"),
                ("/etc/alternatives/plugin", "/usr/lib/x"),
            ],
        );
        let mut tree = tree;
        tree.remove(&"/usr/lib/empty/.keep".parse().unwrap());
        let db = Database::read(&tree).unwrap().unwrap();
        let files = |name: &str| names(&db.package(name).unwrap().files);
        assert_eq!(
            files("one"),
            [
                "/usr/bin/one",
                "/usr/bin/tool",
                "/usr/lib/empty",
                "/usr/lib/one/b",
                "/usr/lib/one/made/deep/index",
                "/usr/lib/one/plugins/a.so",
                "/usr/lib/one/plugins/index",
                "/usr/lib/x.one",
            ]
        );
        assert_eq!(files("two:i386"), ["/usr/lib/one/plugins/x", "/usr/lib/x"]);
        assert!(db.package("two:amd64").is_none());
        for (path, owner) in [
            ("/bin/one", Some("one")),
            ("/usr/bin/one", Some("one")),
            ("/usr/bin/tool", Some("one")),
            ("/usr/lib/x", Some("two")),
            ("/usr/lib/x.one", Some("one")),
            ("/etc/alternatives/tool", None),
            ("/", None),
        ] {
            assert_eq!(db.owner(&path.parse().unwrap()).map(|p| p.name.as_str()), owner, "{path}");
        }
    }

    #[test]
    fn distroless_has_one_file_for_each_package() {
        let tree = tree(
            &[
                ("/var/lib/dpkg/status.d/libssl3", "Package: libssl3\nVersion: 3\nDepends: libc6\n"),
                (
                    "/var/lib/dpkg/status.d/libssl3.md5sums",
                    "d41d8cd98f00b204e9800998ecf8427e  usr/lib/libssl.so.3\nbroken\n",
                ),
                ("/usr/lib/libssl.so.3", "x"),
            ],
            &[],
        );
        let db = Database::read(&tree).unwrap().unwrap();
        assert_eq!(names(&db.package("libssl3").unwrap().files), ["/usr/lib/libssl.so.3"]);
    }

    #[test]
    fn hostile_texts_are_skipped() {
        for text in ["", "\n\n\n", ":", "Package:", "Package: \u{0}", " x\nPackage: a/b", "Depends: (((,|,|"]
        {
            assert_eq!(status(text, &mut Budget::default()).unwrap(), [], "{text:?}");
        }
        let relations = |list| relations(list, &mut Budget::default()).unwrap();
        assert_eq!(relations("a b c, (x), |||, d(<<1"), relations("a, d"));
        let tree = tree(&[("/var/lib/dpkg/status", "nothing")], &[("/var/lib/dpkg/status.d", "status.d")]);
        assert!(Database::read(&tree).unwrap().is_none());
    }
}
