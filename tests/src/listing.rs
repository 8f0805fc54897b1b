//! What a tree shows, a line for each path: to compare a computed one with the kernel's.

use std::collections::BTreeSet;
use std::io::Read;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tree::{Content, Kind, Tree, TreePath, escape};

/// The paths below /usr and /opt but for systemd-sysext's own directory: kind, mode, owner, target, attributes; and the digest
/// of the files in `contents`.
///
/// # Errors
/// Content can't be read.
pub fn lines(tree: &Tree, contents: &BTreeSet<TreePath>) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for top in ["/usr", "/opt"] {
        let own: TreePath = format!("{top}/.systemd-sysext").parse()?;
        for (path, node) in tree.subtree(&top.parse()?).filter(|(path, _)| !path.starts_with(&own)) {
            let meta = &node.meta;
            let kind = match &node.kind {
                Kind::Dir => "directory".to_owned(),
                Kind::File(content) if contents.contains(path) => {
                    format!("file {}", digest(content).with_context(|| path.to_string())?)
                }
                Kind::File(content) => format!("file of {}", content.len()),
                Kind::Symlink(target) => format!("link to {}", escape(target)),
                other => format!("{other:?}"),
            };
            let attributes: Vec<String> = meta
                .xattrs
                .iter()
                .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
                .collect();
            out.push(format!(
                "{path} {:04o} {}:{} {kind} {}",
                meta.mode,
                meta.uid,
                meta.gid,
                attributes.join(" ")
            ));
        }
    }
    Ok(out)
}

fn digest(content: &Content) -> Result<String> {
    let mut hash = Sha256::new();
    let mut reader = content.reader();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(base16ct::lower::encode_string(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}
