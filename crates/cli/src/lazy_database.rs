//! The package database of a root file system, which several steps ask.

use std::cell::OnceCell;
use std::rc::Rc;

use packages::{Database, DatabaseError};
use tree::Tree;

/// The database of one tree, read when it is first asked for. A database that can't be read is an error each time.
#[derive(Debug, Default)]
pub(crate) struct LazyDatabase(OnceCell<Option<Rc<Database>>>);

impl LazyDatabase {
    /// The database of the tree, which has to be the same each time. None if it has none.
    ///
    /// # Errors
    /// As [`Database::read`].
    pub(crate) fn get(&self, tree: &Tree) -> Result<Option<Rc<Database>>, DatabaseError> {
        if let Some(known) = self.0.get() {
            return Ok(known.clone());
        }
        let read = Database::read(tree)?.map(Rc::new);
        Ok(self.0.get_or_init(|| read).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Meta, Node};

    #[test]
    fn a_database_is_read_once() {
        let mut tree = Tree::default();
        let status = "Package: a\nStatus: install ok installed\nArchitecture: amd64\n";
        let path = "/var/lib/dpkg/status".parse().unwrap();
        tree.insert_all(path, Node::file(0o644, status), &Meta::dir()).unwrap();
        let database = LazyDatabase::default();
        let first = database.get(&tree).unwrap().unwrap();
        assert!(first.package("a").is_some());
        assert!(Rc::ptr_eq(&first, &database.get(&tree).unwrap().unwrap()));
        let none = LazyDatabase::default();
        assert!(none.get(&Tree::default()).unwrap().is_none());
    }
}
