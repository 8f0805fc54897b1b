//! Files below /etc that services read.

use std::collections::{BTreeMap, BTreeSet};

use tree::{Kind, Node, TreePath};

use crate::inventory::{Inventory, ServicesError, TEXT_LIMIT};
use crate::places::{ETC, Owner, is_hosts_configuration, is_set_aside};

/// A file, symlink or directory below /etc, as the image has it.
#[derive(Debug, Clone)]
pub struct ConfigurationPath {
    /// Where.
    pub path: TreePath,
    /// What: a symlink's target is where it leads in the end, if that is in the image.
    pub node: Node,
    /// Its owner.
    pub owner: Owner,
    /// Its group.
    pub group: Owner,
}

/// What there is below /etc.
#[derive(Debug, Clone, Default)]
pub(crate) struct Configuration {
    pub paths: BTreeMap<TreePath, ConfigurationPath>,
    /// Keys and passwords that were made when a package was installed: every host has to have its own.
    pub secrets: BTreeSet<TreePath>,
}

/// Files of a directory that a text names, for images without a package database.
const NAMED_LIMIT: usize = 1000;

/// Never taken from an image, whoever names them: who the host is, and whom it trusts.
const IDENTITY: [&str; 17] = [
    "fstab",
    "group",
    "gshadow",
    "hostname",
    "hosts",
    "ld.so.cache",
    "localtime",
    "machine-id",
    "mtab",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "protocols",
    "resolv.conf",
    "services",
    "shadow",
    "systemd",
];

impl Inventory {
    /// The packages' files below /etc, what their scripts made beside them, and what is named. Nothing below `except`.
    pub(crate) fn configuration(
        &self,
        named: &BTreeSet<TreePath>,
        except: &[TreePath],
    ) -> Result<Configuration, ServicesError> {
        let mut found: BTreeSet<TreePath> = BTreeSet::new();
        let own: BTreeSet<&TreePath> = self.packages.iter().flat_map(|p| &p.files).collect();
        for package in &self.packages {
            let all = package.files.iter().chain(&package.directories);
            found.extend(all.filter(|f| in_etc(f) && !is_hosts_configuration(f)).cloned());
        }
        let dirs: BTreeSet<&TreePath> = self.packages.iter().flat_map(|p| &p.directories).collect();
        for (path, _) in self.tree.subtree(&ETC.path()) {
            let foreign = self.owned.contains(path) || self.listed.contains(path);
            if foreign || is_hosts_configuration(path) || is_set_aside(path) {
                continue;
            }
            let beside = path.ancestors_from_root().filter(|d| d != path && self.listed.contains(d)).last();
            if beside.is_some_and(|d| d.depth() > 1 && dirs.contains(&d)) {
                found.insert(path.clone());
            }
        }
        for path in named.iter().filter(|p| in_etc(p)) {
            let identity =
                path.components().nth(1).is_some_and(|n| IDENTITY.iter().any(|i| i.as_bytes() == n));
            // Another package's file that the host has, too, if it has that package.
            let anothers = self.owned.contains(path) && !own.contains(path) && is_hosts_configuration(path);
            if identity || anothers || is_trust(path) {
                continue;
            }
            match self.tree.get(path) {
                Some(node) if node.is_dir() && !self.has_database => {
                    let below = self.tree.subtree(path).take(NAMED_LIMIT);
                    found.extend(below.map(|(p, _)| p.clone()).filter(|p| !is_trust(p)));
                }
                Some(node) if !node.is_dir() => _ = found.insert(path.clone()),
                _ => {}
            }
        }
        let mut out = Configuration::default();
        for path in found {
            if except.iter().any(|e| path.starts_with(e)) {
                continue;
            }
            let Some(node) = self.tree.get(&path) else { continue };
            if !own.contains(&path) && self.is_secret(&path, node)? {
                out.secrets.insert(path);
                continue;
            }
            let Some(node) = self.followed(&path, node) else { continue };
            let (owner, group) = self.owners(&node);
            out.paths.insert(path.clone(), ConfigurationPath { path, node, owner, group });
        }
        // Of a pair, neither is of use alone.
        let halves: Vec<TreePath> = out.paths.keys().filter(|p| has_half(p, &out.secrets)).cloned().collect();
        for path in halves {
            out.paths.remove(&path);
        }
        Ok(out)
    }

    /// The node, or a symlink to where it leads in the end. None for what can't be configuration.
    fn followed(&self, path: &TreePath, node: &Node) -> Option<Node> {
        match &node.kind {
            Kind::Dir | Kind::File(_) => Some(node.clone()),
            Kind::Symlink(target) => {
                let mut node = node.clone();
                if let Ok(found) = self.tree.resolve(path.to_absolute(), true)
                    && found.links.iter().any(is_hosts_configuration)
                {
                    node.kind = Kind::Symlink(found.path.to_absolute().into());
                } else if target.starts_with(b"/etc/alternatives/") {
                    // To something outside of /etc: what the link of alternatives leads to.
                    let link = self.tree.get(&TreePath::new(target).ok()?)?;
                    node.kind = Kind::Symlink(link.symlink_target()?.into());
                }
                Some(node)
            }
            _ => None,
        }
    }

    /// Whether a script made a file that no two hosts may share: a private key, or a password.
    pub(crate) fn is_secret(&self, path: &TreePath, node: &Node) -> Result<bool, ServicesError> {
        let Some(content) = node.content().filter(|c| c.len() <= TEXT_LIMIT) else { return Ok(false) };
        let text = content
            .read(TEXT_LIMIT)
            .map_err(|source| ServicesError::Content { path: path.clone(), source })?;
        if text.windows(PRIVATE_KEY.len()).any(|w| w == PRIVATE_KEY) {
            return Ok(true);
        }
        Ok(node.meta.mode & 0o004 == 0 && text.split(|&b| b == b'\n').any(is_password))
    }
}

const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";

/// Whether a line gives a password: `password = x`, `secret: x`.
fn is_password(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    // `password = x`, and BIND's `secret "x==";`; PAM's `password required` isn't one.
    let quoted = line.iter().position(|b| *b == b'"').filter(|at| line[..*at].ends_with(b" "));
    let Some(at) = line.iter().position(|b| b"=:".contains(b)).into_iter().chain(quoted).min() else {
        return false;
    };
    let (key, value) = (line[..at].trim_ascii().to_ascii_lowercase(), line[at + 1..].trim_ascii());
    let is_key = ["password", "passwd", "secret"].iter().any(|k| key.ends_with(k.as_bytes()));
    is_key && !value.is_empty() && !matches!(line.first(), Some(b'#' | b';'))
}

/// Whether it is the public half of one of the private keys.
fn has_half(path: &TreePath, secrets: &BTreeSet<TreePath>) -> bool {
    let text = path.to_absolute();
    text.strip_suffix(b".pub").and_then(|p| TreePath::new(p).ok()).is_some_and(|p| secrets.contains(&p))
}

fn in_etc(path: &TreePath) -> bool {
    path.starts_with(&ETC.path()) && path.depth() > 1
}

fn is_trust(path: &TreePath) -> bool {
    let mut parts = path.components().skip(1);
    matches!(parts.next(), Some(b"ssl" | b"pki" | b"ca-certificates")) && is_hosts_configuration(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords() {
        for (line, expected) in [
            ("password = x", true),
            ("  secret: \"x\"", true),
            ("password =", false),
            ("secret \"x==\";", true),
            ("password required pam_unix.so", false),
            ("password required pam_x.so text=\"y\"", false),
            ("# password = x", false),
            ("user = x", false),
        ] {
            assert_eq!(is_password(line.as_bytes()), expected, "{line}");
        }
    }
}
