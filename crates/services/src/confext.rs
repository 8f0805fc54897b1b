//! Configuration as an image of its own. systemd-confext(8).

use sysext::ExtensionName;
use tree::{Meta, Node, StaticPath, Tree};

use crate::inventory::ServicesError;
use crate::needs::Needs;

/// `/etc/extension-release.d`. UAPI.4.
const RELEASE: StaticPath = StaticPath::new("/etc/extension-release.d");

/// The tree of the configuration extension with all that is needed below /etc. None if nothing is.
///
/// # Errors
/// A path has no place.
pub fn confext(needs: &Needs, name: &ExtensionName, epoch: i64) -> Result<Option<Tree>, ServicesError> {
    if needs.configuration.is_empty() {
        return Ok(None);
    }
    let mut out = Tree::default();
    let dir = Meta { mtime: epoch, ..Meta::dir() };
    for found in &needs.configuration {
        let mut node = found.node.clone();
        node.meta.mtime = epoch;
        node.meta.xattrs.clear();
        out.insert_all(found.path.clone(), node, &dir)?;
    }
    let mut file = Node::file(0o644, "ID=_any\n");
    file.meta.mtime = epoch;
    out.insert_all(RELEASE.path().join(format!("extension-release.{name}"))?, file, &dir)?;
    Ok(Some(out))
}
