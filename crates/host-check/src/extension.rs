//! An extension of the set.

use sysext::ExtensionName;
use tree::Tree;

/// An extension, as systemd-sysext would find it.
#[derive(Debug)]
pub struct Extension<'a> {
    /// The name under which it is merged.
    pub name: ExtensionName,
    /// Its files.
    pub tree: &'a Tree,
    /// Whether it is a directory and no image.
    pub is_directory: bool,
    /// Bytes of the image; 0 for a directory.
    pub size: u64,
    /// Whether the SELinux labels in the tree are all that the extension has.
    pub labels_known: bool,
    /// What the tree can't say, because of the way in which it was read: its owners, modes and attributes are not compared.
    pub notes: Vec<String>,
}
