//! The scopes that an image is in, the most specific one first. containers-policy.json(5), "Supported transports and their scopes".

use std::path::Path;

use crate::reference::Reference;

/// `HOST/REPOSITORY@DIGEST` or `…:TAG`, the repository, each of its parents, the host, and wildcards for the domains above it.
pub(super) fn of_reference(reference: &Reference) -> Vec<String> {
    let name = reference.name();
    let mut out = Vec::new();
    out.extend(reference.digest().map(|digest| format!("{name}@{digest}")));
    match reference.tag() {
        Some(tag) => out.push(format!("{name}:{tag}")),
        None if reference.digest().is_none() => out.push(format!("{name}:latest")),
        None => {}
    }
    let mut prefix = name.as_str();
    loop {
        out.push(prefix.to_owned());
        match prefix.rsplit_once('/') {
            Some((parent, _)) => prefix = parent,
            None => break,
        }
    }
    // A port isn't part of a domain.
    let mut domain = reference.registry().split(':').next().unwrap_or_default();
    while let Some((_, parent)) = domain.split_once('.') {
        out.push(format!("*.{parent}"));
        domain = parent;
    }
    out
}

/// The place, and each directory above it but the topmost. Archives of docker save and tars of root file systems have no scopes.
pub(super) fn of_path(transport: &str, path: &Path, name: Option<&str>) -> Vec<String> {
    if !has_paths(transport) {
        return Vec::new();
    }
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let named = name.map(|name| format!("{}:{name}", path.display()));
    let above = path.ancestors().filter(|p| p.parent().is_some());
    named.into_iter().chain(above.map(|p| p.display().to_string())).collect()
}

/// Whether scopes of a transport are absolute paths.
pub(super) fn has_paths(transport: &str) -> bool {
    matches!(transport, "dir" | "oci" | "oci-archive")
}
