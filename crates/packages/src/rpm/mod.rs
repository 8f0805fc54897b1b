//! rpm's database: headers of packages in SQLite (rpm 4.16 and later) or ndb (SUSE). The older Berkeley DB isn't read.

mod header;
mod ndb;
mod sqlite;

use tree::Tree;

use crate::budget::Budget;
use crate::files::{content, read as read_content};
use crate::{DatabaseError, Package};

/// Where it is: by tradition, and where systems with an immutable /usr have it.
const DIRS: [&str; 3] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm", "/usr/share/rpm"];

/// Why headers aren't handed over.
#[derive(Debug)]
enum Stop {
    /// Of the file, in words.
    Format(&'static str),
    /// Of what takes them.
    Taken(DatabaseError),
}

impl From<&'static str> for Stop {
    fn from(what: &'static str) -> Self {
        Stop::Format(what)
    }
}

/// Hands over each header of a file.
type Reader = fn(&[u8], &mut dyn FnMut(&[u8]) -> Result<(), DatabaseError>) -> Result<(), Stop>;

pub(crate) fn read(tree: &Tree, budget: &mut Budget) -> Result<Vec<Package>, DatabaseError> {
    for dir in DIRS {
        for (name, blobs) in [("rpmdb.sqlite", sqlite::blobs as Reader), ("Packages.db", ndb::blobs)] {
            let Some((path, content)) = content(tree, &format!("{dir}/{name}"), budget)? else { continue };
            let bytes = read_content(&path, content, budget)?;
            let mut packages = Vec::new();
            let end = blobs(&bytes, &mut |blob| {
                packages.extend(header::package(blob, budget)?);
                Ok(())
            });
            end.map_err(|stop| match stop {
                Stop::Format(what) => DatabaseError::Format { path, what },
                Stop::Taken(e) => e,
            })?;
            if !packages.is_empty() {
                return Ok(packages);
            }
        }
        if let Some((path, _)) = content(tree, &format!("{dir}/Packages"), budget)? {
            return Err(DatabaseError::Format { path, what: "a Berkeley DB, which isn't read" });
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
pub(crate) mod testing {
    /// An ndb database of one package with two files.
    pub(crate) fn database() -> Vec<u8> {
        super::ndb::testing::database(&[super::header::testing::git()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Database;
    use tree::{Meta, Node};

    /// Databases that the programs of Fedora and SUSE wrote would be megabytes; these have the same structure.
    fn root(file: &str, bytes: Vec<u8>) -> Tree {
        let mut tree = Tree::default();
        for path in ["/usr/bin/git", "/etc/gitconfig"] {
            tree.insert_all(path.parse().unwrap(), Node::file(0o755, "x"), &Meta::dir()).unwrap();
        }
        tree.insert_all(file.parse().unwrap(), Node::file(0o644, bytes), &Meta::dir()).unwrap();
        tree
    }

    fn check(tree: &Tree) {
        let db = Database::read(tree).unwrap().unwrap();
        let git = db.package("git").unwrap();
        assert_eq!((git.version.as_str(), git.architecture.as_str()), ("1:2.45-1.fc40", "x86_64"));
        assert_eq!(git.files, ["/etc/gitconfig".parse().unwrap(), "/usr/bin/git".parse().unwrap()]);
        assert_eq!(git.configuration, ["/etc/gitconfig".parse().unwrap()]);
    }

    #[test]
    fn an_ndb_database() {
        check(&root("/var/lib/rpm/Packages.db", ndb::testing::database(&[header::testing::git()])));
    }

    #[test]
    fn a_berkeley_database_is_refused() {
        let error = Database::read(&root("/var/lib/rpm/Packages", b"x".to_vec())).unwrap_err();
        assert_eq!(error.to_string(), "/var/lib/rpm/Packages: a Berkeley DB, which isn't read");
    }

    #[test]
    fn an_sqlite_database() {
        for page_size in [512, 4096, 65536] {
            let names = || ["git".to_owned()].into_iter().chain((10..49).map(|i| format!("p{i}")));
            let many: Vec<Vec<u8>> = names().map(|name| header::testing::named(&name)).collect();
            let tree =
                root("/usr/lib/sysimage/rpm/rpmdb.sqlite", sqlite::testing::database(page_size, &many));
            let db = Database::read(&tree).unwrap().unwrap();
            assert_eq!(db.packages().count(), 40, "{page_size}");
            assert!(db.packages().map(|p| p.name.clone()).eq(names()), "{page_size}");
            check(&tree);
        }
    }

    /// Every byte of a database may be anything.
    #[test]
    fn hostile_bytes() {
        let sqlite = sqlite::testing::database(512, &[header::testing::git()]);
        let ndb = ndb::testing::database(&[header::testing::git()]);
        let git = header::testing::git();
        let package = |blob: &[u8]| header::package(blob, &mut Budget::default()).map(|_| ());
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            for (bytes, read) in [(&sqlite, sqlite::blobs as Reader), (&ndb, ndb::blobs)] {
                for at in 0..bytes.len() {
                    let mut bytes = bytes.clone();
                    bytes[at] = value;
                    _ = read(&bytes, &mut |blob| package(blob));
                }
            }
            for at in 0..git.len() {
                let mut bytes = git.clone();
                bytes[at] = value;
                _ = package(&bytes);
                _ = package(&git[..at]);
            }
        }
    }
}
