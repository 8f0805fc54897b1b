//! `--prune`: what a running program never needs stays out of the image.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use tree::{Ino, Tree, TreePath};

use crate::mounts::{Mounts, Source};

/// Why something was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Below a directory that is the host's: no program ever sees it.
    Covered,
    /// What package managers downloaded.
    PackageCaches,
    /// Documents; not the licences among them, which whoever passes programs on has to pass on, too.
    Documentation,
    /// Manual pages.
    Manuals,
    /// Translations that weren't asked for.
    Locales,
}

const REASONS: [(Reason, &[&str]); 4] = [
    (
        Reason::PackageCaches,
        &[
            "/etc/apk/cache",
            "/var/cache/apk",
            "/var/cache/apt",
            "/var/cache/debconf",
            "/var/cache/dnf",
            "/var/cache/libdnf5",
            "/var/cache/pacman/pkg",
            "/var/cache/yum",
            "/var/cache/zypp",
            "/var/lib/apt/lists",
            "/var/lib/pacman/sync",
            "/var/lib/dnf/repos",
        ],
    ),
    (
        Reason::Documentation,
        &[
            "/usr/share/doc",
            "/usr/share/doc-base",
            "/usr/share/gtk-doc",
            "/usr/share/help",
            "/usr/share/info",
            "/usr/share/lintian",
        ],
    ),
    (Reason::Manuals, &["/usr/share/man", "/usr/local/man", "/usr/local/share/man"]),
    (Reason::Locales, &["/usr/share/locale", "/usr/lib/locale"]),
];

/// What was left out: files and their bytes for each reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned(pub BTreeMap<Reason, (usize, u64)>);

impl Pruned {
    /// All bytes left out, before compression.
    pub fn bytes(&self) -> u64 {
        self.0.values().map(|v| v.1).sum()
    }
}

/// Takes from the image what no program needs, but what is in `keep` or below.
///
/// `locales` are the languages that stay: `de` keeps `de`, `de_AT.UTF-8` and `de@hebrew`, `de_AT` just its own. C and
/// POSIX always stay.
pub(crate) fn prune(image: &mut Tree, mounts: &Mounts, keep: &[&TreePath], locales: &[String]) -> Pruned {
    let roots: Vec<(TreePath, Reason)> = REASONS
        .iter()
        .flat_map(|(reason, dirs)| dirs.iter().filter_map(|d| Some((TreePath::new(d).ok()?, *reason))))
        .collect();
    // Below these a directory that lost all its files goes, too.
    let covered: BTreeSet<TreePath> =
        mounts.iter().filter(|m| matches!(m.source, Source::Host(_))).map(|m| m.target.clone()).collect();

    let mut pruned = Pruned::default();
    let mut seen: HashSet<Ino> = HashSet::new();
    let mut gone = Vec::new();
    for (path, ino, node) in image.iter_inodes() {
        if node.is_dir() || keep.iter().any(|k| path.starts_with(k)) {
            continue;
        }
        let reason = if mounts.shows(path) {
            let found = roots.iter().find(|(root, _)| path.starts_with(root) && path != root);
            found.and_then(|(root, reason)| {
                needless(*reason, path.strip_prefix(root)?, locales).then_some(*reason)
            })
        } else {
            Some(Reason::Covered)
        };
        let Some(reason) = reason else { continue };
        // A hard link's content goes with its last name; counted once, and only if no name stays is it really saved. That
        // names of one file are pruned in part doesn't happen in practice.
        let bytes = if seen.insert(ino) { node.content().map_or(0, tree::Content::len) } else { 0 };
        let entry = pruned.0.entry(reason).or_default();
        *entry = (entry.0 + 1, entry.1.saturating_add(bytes));
        gone.push(path.clone());
    }
    let emptied: BTreeSet<TreePath> = gone.iter().filter_map(TreePath::parent).collect();
    for path in &gone {
        image.remove(path);
    }
    for mut dir in emptied.into_iter().rev() {
        let inside = |d: &TreePath| {
            roots.iter().map(|(root, _)| root).chain(&covered).any(|root| d.starts_with(root) && d != root)
        };
        while inside(&dir)
            && !keep.contains(&&dir)
            && image.contains(&dir)
            && image.children(&dir).next().is_none()
        {
            image.remove(&dir);
            match dir.parent() {
                Some(parent) => dir = parent,
                None => break,
            }
        }
    }
    pruned
}

/// Whether the file at `rest` below one of a reason's directories goes.
fn needless(reason: Reason, rest: &[u8], locales: &[String]) -> bool {
    let components: Vec<&[u8]> = rest.split(|&b| b == b'/').collect();
    match reason {
        Reason::Documentation => {
            let name = components.last().copied().unwrap_or_default().to_ascii_lowercase();
            let licence: [&[u8]; 6] = [b"copyright", b"copying", b"licen", b"notice", b"authors", b"patents"];
            !licence.iter().any(|l| name.starts_with(l))
        }
        Reason::Locales => {
            // Files right there (locale.alias, locale-archive) are no translations, or many in one.
            let [locale, _, ..] = components.as_slice() else { return false };
            let language = locale.split(|b| b"_.@".contains(b)).next().unwrap_or_default();
            let named = |l: &String| {
                let l = l.as_bytes();
                language == l
                    || *locale == l
                    || locale.strip_prefix(l).is_some_and(|r| matches!(r.first(), Some(b'.' | b'@')))
            };
            language != b"C" && language != b"POSIX" && !locales.iter().any(named)
        }
        _ => true,
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Covered => "behind the host's directories",
            Reason::PackageCaches => "package caches and lists",
            Reason::Documentation => "documentation",
            Reason::Manuals => "manual pages",
            Reason::Locales => "locales",
        })
    }
}

/// `left out 12.3 MB: manual pages 4.0 MB in 310 files, …`.
impl fmt::Display for Pruned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000);
        write!(f, "left out {}", mb(self.bytes()))?;
        for (i, (reason, (files, bytes))) in self.0.iter().enumerate() {
            let separator = if i == 0 { ": " } else { ", " };
            write!(f, "{separator}{reason} {} in {files} files", mb(*bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Map, Options};
    use tree::{Meta, Node};

    fn p(text: &str) -> TreePath {
        text.parse().unwrap()
    }

    fn run(change: impl FnOnce(&mut Options), keep: &[&str], locales: &[&str]) -> (Vec<String>, Pruned) {
        let mut image = Tree::default();
        for file in [
            "/etc/passwd",
            "/etc/ssl/cert.pem",
            "/usr/bin/x",
            "/usr/lib/locale/C.utf8/LC_CTYPE",
            "/usr/lib/locale/de_DE.utf8/LC_CTYPE",
            "/usr/lib/locale/locale-archive",
            "/usr/share/doc/x/README",
            "/usr/share/doc/x/copyright",
            "/usr/share/doc/y/README",
            "/usr/share/locale/de/LC_MESSAGES/x.mo",
            "/usr/share/locale/de_AT/LC_MESSAGES/x.mo",
            "/usr/share/locale/fr/LC_MESSAGES/x.mo",
            "/usr/share/locale/locale.alias",
            "/usr/share/man/man1/x.1",
            "/usr/share/manual/x",
            "/var/cache/apt/pkgcache.bin",
            "/var/lib/x/state",
        ] {
            image.insert_all(p(file), Node::file(0o644, "0123456789"), &Meta::dir()).unwrap();
        }
        let mut options = Options::new("n".parse().unwrap()).unwrap();
        options.etc = crate::Map::Host;
        change(&mut options);
        let mounts = Mounts::new(&image, &options).unwrap();
        let all: Vec<TreePath> = image.iter().map(|(p, _)| p.clone()).collect();
        let keep: Vec<TreePath> = keep.iter().map(|k| p(k)).collect();
        let locales: Vec<String> = locales.iter().map(ToString::to_string).collect();
        let pruned = prune(&mut image, &mounts, &keep.iter().collect::<Vec<_>>(), &locales);
        (all.iter().filter(|p| !image.contains(p)).map(ToString::to_string).collect(), pruned)
    }

    #[test]
    fn by_default_nothing_needed_goes() {
        let (gone, pruned) = run(|_| {}, &[], &[]);
        assert_eq!(
            gone,
            [
                "/etc/passwd",
                "/etc/ssl",
                "/etc/ssl/cert.pem",
                "/usr/lib/locale/de_DE.utf8",
                "/usr/lib/locale/de_DE.utf8/LC_CTYPE",
                "/usr/share/doc/x/README",
                "/usr/share/doc/y",
                "/usr/share/doc/y/README",
                "/usr/share/locale/de",
                "/usr/share/locale/de/LC_MESSAGES",
                "/usr/share/locale/de/LC_MESSAGES/x.mo",
                "/usr/share/locale/de_AT",
                "/usr/share/locale/de_AT/LC_MESSAGES",
                "/usr/share/locale/de_AT/LC_MESSAGES/x.mo",
                "/usr/share/locale/fr",
                "/usr/share/locale/fr/LC_MESSAGES",
                "/usr/share/locale/fr/LC_MESSAGES/x.mo",
                "/usr/share/man/man1",
                "/usr/share/man/man1/x.1",
                "/var/cache",
                "/var/cache/apt",
                "/var/cache/apt/pkgcache.bin",
                "/var/lib",
                "/var/lib/x",
                "/var/lib/x/state",
            ]
        );
        assert_eq!(
            pruned.to_string(),
            "left out 0.0 MB: behind the host's directories 0.0 MB in 4 files, documentation 0.0 MB in 2 files, \
             manual pages 0.0 MB in 1 files, locales 0.0 MB in 4 files"
        );
        assert_eq!(pruned.bytes(), 110);
    }

    #[test]
    fn what_is_seen_or_asked_for_stays() {
        let (gone, _) = run(
            |o| {
                o.var = Map::Chroot;
                o.chroot_dirs = vec![p("/etc/ssl")];
            },
            &["/usr/share/man", "/usr/share/doc/y/README"],
            &["de"],
        );
        assert_eq!(
            gone,
            [
                "/etc/passwd",
                "/usr/share/doc/x/README",
                "/usr/share/locale/fr",
                "/usr/share/locale/fr/LC_MESSAGES",
                "/usr/share/locale/fr/LC_MESSAGES/x.mo",
                "/var/cache/apt/pkgcache.bin",
            ]
        );
        let (gone, _) = run(|_| {}, &[], &["de_DE", "fr"]);
        assert!(
            gone.contains(&"/usr/share/locale/de_AT".into()) && gone.contains(&"/usr/share/locale/de".into())
        );
        assert!(!gone.iter().any(|g| g.contains("de_DE") || g.contains("/fr")));
    }
}
