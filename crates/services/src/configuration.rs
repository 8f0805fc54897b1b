//! Files below /etc that services read.

use std::collections::{BTreeMap, BTreeSet};

use tree::{Kind, Node, TreePath};

use crate::inventory::{Inventory, ServicesError, TEXT_LIMIT};
use crate::named;
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
const IDENTITY: [&str; 23] = [
    "fstab",
    "group",
    "group-",
    "gshadow",
    "gshadow-",
    "hostname",
    "hosts",
    "ld.so.cache",
    "localtime",
    "machine-id",
    "mtab",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "passwd-",
    "protocols",
    "resolv.conf",
    "services",
    "shadow",
    "shadow-",
    "subgid",
    "subuid",
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
            if !own.contains(&path) && is_secret(&path, node)? {
                out.secrets.insert(path);
                continue;
            }
            let Some(node) = self.followed(&path, node) else { continue };
            let (owner, group) = self.owners(&node);
            out.paths.insert(path.clone(), ConfigurationPath { path, node, owner, group });
        }
        // Of a pair, neither is of use alone.
        let is_half = |p: &&TreePath| !own.contains(p) && has_half(p, &out.secrets);
        let halves: Vec<TreePath> = out.paths.keys().filter(is_half).cloned().collect();
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

    /// The files to which links lead: mods-enabled to mods-available.
    pub(crate) fn chosen(&self, configuration: &Configuration) -> BTreeSet<TreePath> {
        let links = configuration.paths.values().filter(|found| found.node.symlink_target().is_some());
        links.filter_map(|found| Some(self.tree.resolve(found.path.to_absolute(), true).ok()?.path)).collect()
    }

    /// Keys below /etc/ssl/private and the like, which are never taken from an image, that configuration names or leads to.
    pub(crate) fn trusted_keys(
        &self,
        configuration: &Configuration,
        named: &BTreeSet<TreePath>,
    ) -> Result<BTreeSet<TreePath>, ServicesError> {
        let mut all = named.clone();
        let chosen = self.chosen(configuration);
        for found in configuration.paths.values() {
            if !found.is_read(&chosen) {
                continue;
            }
            all.extend(found.node.symlink_target().and_then(|target| TreePath::new(target).ok()));
            all.extend(found.text()?.iter().flat_map(|text| uncommented(text.as_bytes())));
        }
        let mut out = BTreeSet::new();
        for path in all.into_iter().filter(is_trust) {
            if let Some(node) = self.tree.get(&path)
                && is_secret(&path, node)?
            {
                out.insert(path);
            }
        }
        Ok(out)
    }
}

/// Whether a file that no package owns is one that no two hosts may share: a private key, or a password.
///
/// # Errors
/// It can't be read.
pub fn is_secret(path: &TreePath, node: &Node) -> Result<bool, ServicesError> {
    let Some(content) = node.content().filter(|c| c.len() <= TEXT_LIMIT) else { return Ok(false) };
    let text =
        content.read(TEXT_LIMIT).map_err(|source| ServicesError::Content { path: path.clone(), source })?;
    if text.windows(PRIVATE_KEY.len()).any(|w| w == PRIVATE_KEY) {
        return Ok(true);
    }
    let is_closed = node.meta.mode & 0o004 == 0;
    Ok(is_closed && (text.split(|&b| b == b'\n').any(is_password) || is_token(path, &text)))
}

impl ConfigurationPath {
    /// What is there to be chosen from is read if it was chosen.
    pub(crate) fn is_read(&self, chosen: &BTreeSet<TreePath>) -> bool {
        chosen.contains(&self.path) || !self.path.components().any(|part| part.ends_with(b"-available"))
    }

    /// What it says. None for what isn't text.
    pub(crate) fn text(&self) -> Result<Option<String>, ServicesError> {
        let content = self.node.content().filter(|c| c.len() <= TEXT_LIMIT);
        let Some(content) = content else { return Ok(None) };
        let text = content
            .read(TEXT_LIMIT)
            .map_err(|source| ServicesError::Content { path: self.path.clone(), source })?;
        Ok(String::from_utf8(text).ok())
    }
}

/// Paths of a text but for those in comments.
pub(crate) fn uncommented(text: &[u8]) -> BTreeSet<TreePath> {
    let lines = text.split(|&b| b == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|l| !matches!(l.first(), Some(b'#' | b';'))).flat_map(named::paths).collect()
}

/// Bytes of what two programs share and nobody reads.
const TOKEN_LIMIT: usize = 256;

/// Whether a file is called a secret or a cookie and holds one word. Any other word does as well.
pub(crate) fn is_token(path: &TreePath, text: &[u8]) -> bool {
    let name = path.file_name().unwrap_or_default();
    let text = text.trim_ascii();
    let is_word = !text.is_empty() && text.len() <= TOKEN_LIMIT && text.iter().all(u8::is_ascii_graphic);
    is_word && [&b"secret"[..], b"cookie"].iter().any(|end| name.ends_with(end))
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

/// Whether it is the public half of one of the private keys, or the certificate for it.
fn has_half(path: &TreePath, secrets: &BTreeSet<TreePath>) -> bool {
    let text = path.to_absolute();
    let is_key = |text: Vec<u8>| TreePath::new(text).is_ok_and(|p| secrets.contains(&p));
    let stem = [&b".pem"[..], b".crt", b".cert"].iter().find_map(|end| text.strip_suffix(*end));
    text.strip_suffix(b".pub").is_some_and(|p| is_key(p.to_vec()))
        || stem.is_some_and(|stem| is_key([stem, b".key"].concat()))
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
