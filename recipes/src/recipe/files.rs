//! What a recipe's folder has beside `recipe.toml`.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A recipe's folder: paths below it (`files/usr/lib/systemd/system/x.service`) to what is there. Directories are implied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<String, Entry>);

/// A file or link of a recipe's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// What is in it.
        content: Arc<[u8]>,
    },
    /// A symbolic link and where it leads.
    Symlink(String),
}

impl Files {
    /// Puts something in.
    pub fn insert(&mut self, path: impl Into<String>, entry: Entry) {
        self.0.insert(path.into(), entry);
    }

    /// What is at a path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.0.get(path)
    }

    /// The content of a regular file.
    pub fn content(&self, path: &str) -> Option<&Arc<[u8]>> {
        match self.get(path)? {
            Entry::File { content, .. } => Some(content),
            Entry::Symlink(_) => None,
        }
    }

    /// All, ordered by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(path, entry)| (path.as_str(), entry))
    }
}

impl<P: Into<String>> FromIterator<(P, Entry)> for Files {
    fn from_iter<I: IntoIterator<Item = (P, Entry)>>(iter: I) -> Self {
        Files(iter.into_iter().map(|(path, entry)| (path.into(), entry)).collect())
    }
}
