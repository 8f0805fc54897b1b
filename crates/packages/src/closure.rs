//! Packages, and what they depend on.

use std::collections::BTreeSet;

use crate::base::{is_base, is_install_time};
use crate::{Database, Package};

/// The dependencies of packages, sorted into those that are included and those that aren't.
#[derive(Debug, Clone, Default)]
pub struct Closure<'d> {
    /// The packages asked for, in that order.
    pub named: Vec<&'d Package>,
    /// Dependencies that not every host has, by name.
    pub depends: Vec<&'d Package>,
    /// Dependencies that every systemd host provides itself, and what those depend on, by name.
    pub base: Vec<&'d Package>,
    /// Dependencies that are needed only to install packages, by name.
    pub install_time: Vec<&'d Package>,
    /// Dependencies that no installed package provides.
    pub missing: BTreeSet<String>,
}

/// Why there is no closure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClosureError {
    /// The database has no such package.
    #[error("package {name} is not installed in the image")]
    NotInstalled {
        /// As asked for.
        name: String,
        /// Packages that provide something of that name.
        provided_by: Vec<String>,
    },
}

impl Database {
    /// The packages of these names, and what they depend on. Named packages are included even if they are in the base system.
    ///
    /// # Errors
    /// A package isn't installed.
    pub fn closure(&self, names: &[impl AsRef<str>]) -> Result<Closure<'_>, ClosureError> {
        let mut out = Closure::default();
        for name in names.iter().map(AsRef::as_ref) {
            let package = self.package(name).ok_or_else(|| ClosureError::NotInstalled {
                name: name.to_owned(),
                provided_by: self.provider(name, "").map(|p| p.name.clone()).into_iter().collect(),
            })?;
            if !out.named.iter().any(|p| std::ptr::eq(*p, package)) {
                out.named.push(package);
            }
        }
        let mut seen: BTreeSet<(&str, &str)> = out.named.iter().map(|p| p.key()).collect();
        let mut todo = out.named.clone();
        let mut base = Vec::new();
        while let Some(package) = todo.pop() {
            for need in self.needs(package, &mut out.missing) {
                if !seen.insert(need.key()) {
                    continue;
                }
                if is_install_time(need) {
                    out.install_time.push(need);
                } else if is_base(need) {
                    base.push(need);
                } else {
                    out.depends.push(need);
                    todo.push(need);
                }
            }
        }
        while let Some(package) = base.pop() {
            for need in self.needs(package, &mut out.missing) {
                if seen.insert(need.key()) {
                    match is_install_time(need) {
                        true => out.install_time.push(need),
                        false => base.push(need),
                    }
                }
            }
            out.base.push(package);
        }
        for list in [&mut out.depends, &mut out.base, &mut out.install_time] {
            list.sort_by_key(|p| p.key());
        }
        Ok(out)
    }

    /// One package for each thing that this one needs.
    fn needs<'d>(&'d self, package: &Package, missing: &mut BTreeSet<String>) -> Vec<&'d Package> {
        let mut out = Vec::new();
        for need in &package.depends {
            let found = need.alternatives.iter().find_map(|n| self.provider(n, &package.architecture));
            match (found, need.alternatives.first()) {
                (Some(found), _) => out.push(found),
                (None, Some(first)) => _ = missing.insert(first.clone()),
                (None, None) => {}
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Meta, Node, Tree};

    fn database(packages: &[(&str, &str)]) -> Database {
        let mut text = String::new();
        for (name, more) in packages {
            text +=
                &format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\n{more}\n\n");
        }
        let mut tree = Tree::default();
        let path = "/var/lib/dpkg/status".parse().unwrap();
        tree.insert_all(path, Node::file(0o644, text.as_str()), &Meta::dir()).unwrap();
        Database::read(&tree).unwrap().unwrap()
    }

    fn names(list: &[&Package]) -> String {
        list.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_comes_and_what_does_not() {
        let db = database(&[
            ("git", "Depends: libc6, perl | other, mta, git-man, adduser, gone | away"),
            ("git-man", "Depends: git"),
            ("perl", "Depends: perl-base, dpkg"),
            ("perl-base", ""),
            ("libc6", "Depends: libgcc-s1"),
            ("libgcc-s1", "Depends: libc6"),
            ("exim", "Provides: mta"),
            ("adduser", "Depends: passwd"),
            ("passwd", ""),
            ("dpkg", "Depends: tar"),
            ("coreutils", "Depends: libc6"),
        ]);
        let closure = db.closure(&["git"]).unwrap();
        assert_eq!(names(&closure.named), "git");
        assert_eq!(names(&closure.depends), "exim git-man perl perl-base");
        assert_eq!(names(&closure.base), "libc6 libgcc-s1");
        assert_eq!(names(&closure.install_time), "adduser dpkg");
        assert_eq!(closure.missing.iter().map(String::as_str).collect::<Vec<_>>(), ["gone"]);
        // Named packages are included even if they are in the base system.
        let closure = db.closure(&["coreutils", "perl", "perl"]).unwrap();
        assert_eq!(
            (names(&closure.named), names(&closure.depends)),
            ("coreutils perl".into(), "perl-base".into())
        );
        let error = db.closure(&["mta"]).unwrap_err();
        let expected = ClosureError::NotInstalled { name: "mta".into(), provided_by: vec!["exim".into()] };
        assert_eq!(error, expected);
    }

    /// Of several architectures the one of who needs it, else the image's own.
    #[test]
    fn packages_of_several_architectures() {
        let of = |name: &str, architecture: &str, more: &str| {
            format!("Package: {name}\nArchitecture: {architecture}\n{more}\n\n")
        };
        let text = [
            of("libc6", "amd64", "Provides: libc"),
            of("libc6", "arm64", "Provides: libc"),
            of("tool", "amd64", "Depends: libc6"),
            of("tool", "arm64", "Depends: libc6"),
            of("git", "arm64", ""),
            of("scripts", "all", "Depends: libc, tool"),
            of("foreign", "riscv64", "Depends: libc6"),
        ];
        let mut tree = Tree::default();
        let path = "/var/lib/dpkg/status".parse().unwrap();
        tree.insert_all(path, Node::file(0o644, text.concat().as_str()), &Meta::dir()).unwrap();
        let db = Database::read(&tree).unwrap().unwrap();
        for (name, expected) in [
            ("scripts", "scripts:all libc6:arm64 tool:arm64"),
            ("tool", "tool:arm64 libc6:arm64"),
            ("tool:amd64", "tool:amd64 libc6:amd64"),
            ("foreign", "foreign:riscv64 libc6:arm64"),
        ] {
            let closure = db.closure(&[name]).unwrap();
            let mut found: Vec<&Package> =
                [&closure.depends, &closure.base].into_iter().flatten().copied().collect();
            found.sort_by_key(|p| &p.name);
            found.insert(0, closure.named[0]);
            let found: Vec<String> = found.iter().map(|p| format!("{}:{}", p.name, p.architecture)).collect();
            assert_eq!(found.join(" "), expected, "{name}");
        }
    }

    #[test]
    fn a_chain_of_any_length_and_a_circle() {
        let many: Vec<(String, String)> =
            (0..20_000).map(|i| (format!("p{i}"), format!("Depends: p{}", (i + 1) % 20_000))).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(n, d)| (n.as_str(), d.as_str())).collect();
        assert_eq!(database(&many).closure(&["p0"]).unwrap().depends.len(), 19_999);
    }
}
