//! Java's key stores, which stand where the host's certificates are.
//!
//! A host without Java has certificates, and no key store. Where its directory hides the image's, the links of the Java
//! runtimes lead to a copy.

use std::collections::BTreeMap;

use tree::{Kind, Node, StaticPath, Tree, TreePath};

use crate::{
    mounts::{Mount, Mounts, Source},
    plan::PlanError,
    script,
};

/// Debian's and Fedora's.
const KEY_STORES: [StaticPath; 3] = [
    StaticPath::new("/etc/pki/ca-trust/extracted/java"),
    StaticPath::new("/etc/pki/java"),
    StaticPath::new("/etc/ssl/certs/java"),
];

/// Points links outside of /etc that lead to key stores which the host hides to copies, and gives these by their paths in the
/// private root.
pub(crate) fn keep(image: &mut Tree, mounts: &Mounts) -> Result<BTreeMap<TreePath, Node>, PlanError> {
    // A host that has a key store itself shows it by its own mount.
    let stores = KEY_STORES.map(StaticPath::path);
    let is_hidden = |path: &TreePath| {
        let hides = |store: &TreePath, mount: &Mount| {
            path.starts_with(store) && mount.target != *store && matches!(mount.source, Source::Host(_))
        };
        mounts.over(path).is_some_and(|mount| stores.iter().any(|store| hides(store, mount)))
    };
    let mut links: Vec<(TreePath, TreePath)> = Vec::new();
    for (path, node) in image.iter() {
        if !matches!(node.kind, Kind::Symlink(_)) || path.components().next() == Some(b"etc") {
            continue;
        }
        let Ok(found) = image.resolve(path.to_absolute(), true) else { continue };
        if is_hidden(&found.path) && image.get(&found.path).is_some_and(Node::is_file) {
            links.push((path.clone(), found.path));
        }
    }
    let mut copies = BTreeMap::new();
    for (path, real) in links {
        let copy = TreePath::new(script::DIR)?.join(real.as_relative())?;
        let (Some(file), Some(mut link)) = (image.get(&real).cloned(), image.get(&path).cloned()) else {
            continue;
        };
        link.kind = Kind::Symlink(copy.to_absolute().into());
        image.remove(&path);
        image.insert(path, link)?;
        copies.insert(copy, file);
    }
    Ok(copies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Map, Options};
    use tree::Meta;

    #[test]
    fn a_hidden_key_store_is_copied() {
        let store = "/etc/ssl/certs/java/cacerts";
        for (map, expected) in [
            (Map::Merge, "/.flatwrap/etc/ssl/certs/java/cacerts"),
            (Map::Host, "/.flatwrap/etc/ssl/certs/java/cacerts"),
            (Map::Chroot, store),
        ] {
            let mut image = Tree::default();
            let mut add = |path: &str, node: Node| {
                image.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
            };
            add(store, Node::file(0o644, "x"));
            add("/etc/ssl/certs/all.pem", Node::file(0o644, "x"));
            add("/usr/lib/jvm/cacerts", Node::symlink(store));
            add("/usr/lib/ssl/cert.pem", Node::symlink("/etc/ssl/certs/all.pem"));
            let mut options = Options::new("n".parse().unwrap()).unwrap();
            options.etc = map;
            let mounts = Mounts::new(&image, &options).unwrap();
            let copies = keep(&mut image, &mounts).unwrap();
            let target = |path: &str| {
                let node = image.get(&path.parse().unwrap()).unwrap();
                String::from_utf8(node.symlink_target().unwrap().to_vec()).unwrap()
            };
            assert_eq!(target("/usr/lib/jvm/cacerts"), expected, "{map:?}");
            assert_eq!(target("/usr/lib/ssl/cert.pem"), "/etc/ssl/certs/all.pem");
            let copies: Vec<String> = copies.keys().map(ToString::to_string).collect();
            assert_eq!(copies, if map == Map::Chroot { vec![] } else { vec![expected] });
        }
    }
}
