//! What the user wants of an image: paths, folders and patterns, and where they go.

use std::collections::BTreeMap;
use std::str::FromStr;

use globset::GlobBuilder;
use tree::{Kind, PathError, ResolveError, Tree, TreePath};

/// One word of the command line: `SRC` or `SRC:DST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedPath {
    /// As typed.
    pub text: String,
    /// A path of the image, or a pattern.
    pub source: String,
    /// Where it goes; below this folder if it ends with a slash.
    pub target: Option<String>,
}

/// Something of the image with its place in the extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The word that brings it.
    pub text: String,
    /// Its path in the image, the directories resolved; may be a symlink.
    pub source: TreePath,
    /// Where it leads if it is a symlink; else, and if it leads nowhere, the same.
    pub real: TreePath,
    /// Its place in the extension.
    pub target: TreePath,
    /// Whether the user gave the place.
    pub moved: bool,
    /// The place differs from the source by a rule of ours, which the user should hear of.
    pub mapped: bool,
    /// A match of a pattern. As for what is below a folder, nobody has named it: what can't be used is no error.
    pub matched: bool,
}

/// Why a word of the request can't be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum RequestError {
    /// Not an absolute path.
    #[error("{0:?} is not an absolute path of the image")]
    NotAbsolute(String),
    /// A destination without a slash at its start.
    #[error("{text}: destination {target:?} has to be an absolute path")]
    RelativeTarget {
        text: String,
        /// What follows the colon.
        target: String,
    },
    #[error("{text} is not in the image")]
    NotFound {
        text: String,
        /// Files of that name elsewhere.
        similar: Vec<TreePath>,
    },
    /// A symlink that leads nowhere, or a loop.
    #[error("{text} leads nowhere in the image: {source}")]
    Dangling { text: String, source: ResolveError },
    /// A pattern without a match.
    #[error("pattern {0} matches nothing in the image")]
    NoMatch(String),
    /// A pattern that can't be parsed.
    #[error("pattern {text:?} is wrong: {source}")]
    Pattern { text: String, source: globset::Error },
    /// A source outside of /usr and /opt without a place to go.
    #[error("{0} is neither below /usr nor below /opt, the only folders that an extension can fill")]
    NoPlace(TreePath),
    /// A target that an extension can't have.
    #[error("{text}: target {target} is neither below /usr nor below /opt")]
    BadTarget { text: String, target: TreePath },
    /// A path that Linux doesn't take.
    #[error("{text}: {source}")]
    Path { text: String, source: PathError },
    /// Two sources for one place.
    #[error("{target} is wanted from both {first} and {second}")]
    Clash { target: TreePath, first: TreePath, second: TreePath },
}

impl FromStr for RequestedPath {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        // A colon is a legal character of a path; one before a slash separates. Any other is more likely a mistake than
        // part of a name, but for the pairs in names of Perl's modules, and for those in a pattern's brackets.
        let (source, target) = match text.get(1..).and_then(|t| t.rfind(":/")) {
            Some(at) => (&text[..at + 1], Some(text[at + 2..].to_owned())),
            None => (text, None),
        };
        if !source.starts_with('/') {
            return Err(RequestError::NotAbsolute(text.to_owned()));
        }
        if target.is_none()
            && let Some((before, after)) = text.rsplit_once(':')
            && !before.ends_with(':')
            && !after.contains(']')
        {
            return Err(RequestError::RelativeTarget { text: text.to_owned(), target: after.to_owned() });
        }
        Ok(RequestedPath { text: text.to_owned(), source: source.to_owned(), target })
    }
}

impl RequestedPath {
    /// Whether the image has something there. For a pattern: a match.
    pub fn is_in(&self, tree: &Tree) -> bool {
        tree.resolve(&self.source, true).is_ok() || (self.is_pattern() && self.matches(tree).is_ok())
    }

    /// Whether the source is a pattern.
    pub fn is_pattern(&self) -> bool {
        self.source.contains(['*', '?', '[', '{'])
    }

    /// What of the tree the pattern matches; at least one.
    ///
    /// # Errors
    /// [`RequestError::NoMatch`], or a pattern that can't be parsed.
    pub fn matches(&self, tree: &Tree) -> Result<Vec<TreePath>, RequestError> {
        // The part before the first pattern component may lead through symlinks (/lib).
        let first = self.source.split('/').position(|c| c.contains(['*', '?', '[', '{'])).unwrap_or(0);
        let components: Vec<&str> = self.source.split('/').collect();
        let fixed = format!("/{}", components[..first].join("/"));
        let none = || RequestError::NoMatch(self.text.clone());
        let base = tree.resolve(&fixed, true).map_err(|_| none())?.path;
        let pattern = GlobBuilder::new(&components[first..].join("/"))
            .literal_separator(true)
            .build()
            .map_err(|source| RequestError::Pattern { text: self.text.clone(), source })?
            .compile_matcher();
        let fits = |p: &TreePath| {
            let rest = p.strip_prefix(&base).unwrap_or_default();
            std::str::from_utf8(rest).is_ok_and(|r| !r.is_empty() && pattern.is_match(r))
        };
        let found: Vec<TreePath> = tree.subtree(&base).map(|(p, _)| p.clone()).filter(fits).collect();
        if found.is_empty() { Err(none()) } else { Ok(found) }
    }
}

/// Finds all that is wanted and decides on the places.
///
/// # Errors
/// Something is not there, or has no place.
pub fn locate(tree: &Tree, wanted: &[RequestedPath], keep_sbin: bool) -> Result<Vec<Item>, RequestError> {
    let mut items: Vec<Item> = Vec::new();
    let mut places: BTreeMap<TreePath, usize> = BTreeMap::new();
    for w in wanted {
        let (sources, many) = match tree.resolve(&w.source, false) {
            Ok(r) => (vec![r.path], false),
            Err(_) if w.is_pattern() => (w.matches(tree)?, true),
            Err(_) => {
                return Err(RequestError::NotFound {
                    text: w.source.clone(),
                    similar: similar(tree, &w.source),
                });
            }
        };
        for source in sources {
            let item = place(tree, w, source, many, keep_sbin)?;
            let Some(first) = places.get(&item.target).and_then(|&i| items.get_mut(i)) else {
                places.insert(item.target.clone(), items.len());
                items.push(item);
                continue;
            };
            if !is_same(tree, first, &item) {
                let first = first.source.clone();
                return Err(RequestError::Clash { target: item.target, first, second: item.source });
            }
            let matched = first.matched && item.matched;
            // The file itself goes before a link to it: /usr/bin/ip beside /usr/sbin/ip.
            if first.source != first.real && item.source == item.real {
                *first = item;
            }
            first.matched = matched;
        }
    }
    Ok(items)
}

/// Whether two items are one file in two places. By another name it may be another program (busybox).
fn is_same(tree: &Tree, a: &Item, b: &Item) -> bool {
    let ino = |i: &Item| tree.ino(&i.real);
    let same_file = a.real == b.real || ino(a).is_some_and(|ino_a| ino(b) == Some(ino_a));
    same_file && a.source.file_name() == b.source.file_name()
}

fn place(
    tree: &Tree,
    w: &RequestedPath,
    source: TreePath,
    many: bool,
    keep_sbin: bool,
) -> Result<Item, RequestError> {
    let real = match tree.resolve(source.to_absolute(), true) {
        Ok(resolved) => resolved.path,
        Err(_) if many => source.clone(),
        Err(source) => return Err(RequestError::Dangling { text: w.text.clone(), source }),
    };
    let path = |source| RequestError::Path { text: w.text.clone(), source };
    let (target, mapped) = match &w.target {
        Some(target) => {
            let mut place = TreePath::new(target).map_err(path)?;
            if many || target.ends_with('/') {
                place = place.join(source.file_name().unwrap_or_default()).map_err(path)?;
            }
            if !allowed(&place) {
                return Err(RequestError::BadTarget { text: w.text.clone(), target: place });
            }
            (place, false)
        }
        None => {
            let place = home(&source, keep_sbin).ok_or_else(|| RequestError::NoPlace(source.clone()))?;
            let mapped = place != source;
            (place, mapped)
        }
    };
    Ok(Item { text: w.text.clone(), source, real, target, moved: w.target.is_some(), mapped, matched: many })
}

/// The place of a file that the user didn't move. None if it can't be in an extension.
///
/// Hosts have /bin, /sbin and /lib as symlinks into /usr, and many have /usr/sbin as a symlink to /usr/bin: an extension
/// with a real /usr/sbin would hide all that such a host has there, and so for /usr/local. Few hosts look for programs in
/// /usr/games. So programs go to /usr/bin. Units go where a vendor's units go.
pub fn home(source: &TreePath, keep_sbin: bool) -> Option<TreePath> {
    let programs = |kept| if keep_sbin { kept } else { "/usr/bin" };
    let maps: [(&str, &str); 9] = [
        ("/usr/sbin", programs("/usr/sbin")),
        ("/sbin", programs("/usr/sbin")),
        ("/usr/local/bin", programs("/usr/local/bin")),
        ("/usr/local/sbin", programs("/usr/local/sbin")),
        ("/usr/games", "/usr/bin"),
        ("/bin", "/usr/bin"),
        ("/lib", "/usr/lib"),
        ("/etc/systemd/system", "/usr/lib/systemd/system"),
        ("/etc/systemd/user", "/usr/lib/systemd/user"),
    ];
    for (from, to) in maps {
        let from = TreePath::new(from).ok()?;
        if let Some(rest) = source.strip_prefix(&from) {
            return TreePath::new(to).ok()?.join(rest).ok();
        }
    }
    allowed(source).then(|| source.clone())
}

/// Whether an extension can have this path: below /usr or /opt, not one of them itself.
pub fn allowed(path: &TreePath) -> bool {
    path.depth() >= 2 && matches!(path.components().next(), Some(b"usr" | b"opt"))
}

/// Files of the same name elsewhere, for the error; else programs of almost this name.
fn similar(tree: &Tree, source: &str) -> Vec<TreePath> {
    let Some(name) = source.rsplit('/').find(|c| !c.is_empty()) else { return Vec::new() };
    let same = |p: &&TreePath| p.file_name() == Some(name.as_bytes());
    let same: Vec<TreePath> = tree.iter().map(|(p, _)| p).filter(same).take(3).cloned().collect();
    if same.is_empty() { similar_programs(tree, source) } else { same }
}

/// Bytes. Longer names are not checked for typos.
const NAME_MAX: usize = 64;

/// Programs whose name is that of the path but for a letter (of eight or more, two) that is wrong, missing, too much or
/// in the other's place; the closest first.
pub fn similar_programs(tree: &Tree, source: &str) -> Vec<TreePath> {
    let Some(name) = source.rsplit('/').find(|c| !c.is_empty()) else { return Vec::new() };
    let tolerance = match name.chars().count() {
        0..=2 => return Vec::new(),
        3..=7 => 1,
        8..=NAME_MAX => 2,
        _ => return Vec::new(),
    };
    let dir = TreePath::new(source).ok().and_then(|p| p.parent());
    let mut found: Vec<(usize, bool, &TreePath)> = tree
        .iter()
        .filter(|(path, node)| match &node.kind {
            Kind::File(_) => node.meta.mode & 0o111 != 0,
            // A library's name with one number more is no program's.
            Kind::Symlink(_) => {
                path.parent().and_then(|d| d.file_name().map(|n| n.ends_with(b"bin"))) == Some(true)
            }
            _ => false,
        })
        .filter_map(|(path, _)| {
            let other =
                std::str::from_utf8(path.file_name()?).ok().filter(|o| o.len() <= NAME_MAX && *o != name)?;
            let distance = strsim::damerau_levenshtein(name, other);
            (distance <= tolerance).then(|| (distance, path.parent() != dir, path))
        })
        .collect();
    found.sort();
    found.into_iter().take(3).map(|(.., path)| path.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Meta, Node};

    fn tree() -> Tree {
        let mut t = Tree::default();
        for file in [
            "/usr/bin/a",
            "/usr/sbin/d",
            "/usr/games/g",
            "/bin/busybox",
            "/etc/x.conf",
            "/usr/lib/app/one.so",
            "/usr/lib/app/two.so",
            "/usr/lib/app/sub/three.so",
            "/usr/bin/b:c",
            "/usr/share/P::M",
        ] {
            t.insert_all(file.parse().unwrap(), Node::file(0o755, "x"), &Meta::dir()).unwrap();
        }
        for (link, target) in [("/lib", "usr/lib"), ("/usr/bin/l", "../sbin/d"), ("/usr/bin/dead", "nowhere")]
        {
            t.insert_all(link.parse().unwrap(), Node::symlink(target), &Meta::dir()).unwrap();
        }
        t
    }

    fn places(words: &[&str], keep_sbin: bool) -> Result<String, RequestError> {
        let wanted: Vec<RequestedPath> = words.iter().map(|w| w.parse()).collect::<Result<_, _>>()?;
        let items = locate(&tree(), &wanted, keep_sbin)?;
        Ok(items.iter().map(|i| format!("{} > {}", i.real, i.target)).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn places_of_words() {
        for (word, expected) in [
            ("/usr/bin/a", "/usr/bin/a > /usr/bin/a"),
            ("//usr/bin/../bin/a", "/usr/bin/a > /usr/bin/a"),
            ("/usr/sbin/d", "/usr/sbin/d > /usr/bin/d"),
            ("/usr/games/g", "/usr/games/g > /usr/bin/g"),
            ("/bin/busybox", "/bin/busybox > /usr/bin/busybox"),
            ("/bin/busybox:/usr/bin/bb", "/bin/busybox > /usr/bin/bb"),
            ("/bin/busybox:/usr/bin/", "/bin/busybox > /usr/bin/busybox"),
            ("/etc/x.conf:/opt/x/x.conf", "/etc/x.conf > /opt/x/x.conf"),
            ("/usr/bin/l", "/usr/sbin/d > /usr/bin/l"),
            ("/usr/bin/b:c:/usr/bin/b:c", "/usr/bin/b:c > /usr/bin/b:c"),
            ("/usr/bin/b?c", "/usr/bin/b:c > /usr/bin/b:c"),
            ("/usr/bin/b[:]c", "/usr/bin/b:c > /usr/bin/b:c"),
            ("/usr/share/P::M", "/usr/share/P::M > /usr/share/P::M"),
            // A match that leads nowhere is one all the same.
            ("/usr/bin/de*", "/usr/bin/dead > /usr/bin/dead"),
            ("/lib/app", "/usr/lib/app > /usr/lib/app"),
            (
                "/lib/app/*.so",
                "/usr/lib/app/one.so > /usr/lib/app/one.so, /usr/lib/app/two.so > /usr/lib/app/two.so",
            ),
            ("/usr/lib/app/t*:/usr/lib/y", "/usr/lib/app/two.so > /usr/lib/y/two.so"),
            ("/usr/**/three.so", "/usr/lib/app/sub/three.so > /usr/lib/app/sub/three.so"),
        ] {
            assert_eq!(places(&[word], false).unwrap(), expected, "{word}");
        }
        assert_eq!(places(&["/usr/sbin/d"], true).unwrap(), "/usr/sbin/d > /usr/sbin/d");
    }

    #[test]
    fn refusals() {
        for (words, expected) in [
            (&["a"][..], "\"a\" is not an absolute path of the image"),
            (&["/usr/bin/a:bin/b"], "/usr/bin/a:bin/b: destination \"bin/b\" has to be an absolute path"),
            (&["/usr/bin/a:"], "/usr/bin/a:: destination \"\" has to be an absolute path"),
            (&["/usr/bin/one.so"], "/usr/bin/one.so is not in the image"),
            (
                &["/usr/bin/dead"],
                "/usr/bin/dead leads nowhere in the image: /usr/bin/dead: no such file or directory (/usr/bin/nowhere is missing)",
            ),
            (&["/usr/lib/*.none"], "pattern /usr/lib/*.none matches nothing in the image"),
            (
                &["/etc/x.conf"],
                "/etc/x.conf is neither below /usr nor below /opt, the only folders that an extension can fill",
            ),
            (&["/usr/bin/a:/etc/a"], "/usr/bin/a:/etc/a: target /etc/a is neither below /usr nor below /opt"),
            (&["/usr/bin/a:/usr"], "/usr/bin/a:/usr: target /usr is neither below /usr nor below /opt"),
            (&["/usr/bin/a:/usr/../a"], "/usr/bin/a:/usr/../a: path \"/usr/../a\" has a \"..\" component"),
            (
                &["/usr/bin/a", "/bin/busybox:/usr/bin/a"],
                "/usr/bin/a is wanted from both /usr/bin/a and /bin/busybox",
            ),
            (&["/usr/lib/[a"], "pattern \"/usr/lib/[a\" is wrong"),
        ] {
            let got = places(words, false).unwrap_err().to_string();
            assert!(got.starts_with(expected), "{words:?}: {got}");
        }
        match places(&["/usr/bin/one.so"], false) {
            Err(RequestError::NotFound { similar, .. }) => {
                assert_eq!(similar, ["/usr/lib/app/one.so".parse().unwrap()])
            }
            other => panic!("{other:?}"),
        }
    }

    /// Images with a link from the one folder of programs to the other have most programs by two names.
    #[test]
    fn a_file_by_two_names_of_one_place_counts_once() {
        let mut tree = tree();
        for (link, target) in
            [("/usr/sbin/a", "../bin/a"), ("/sbin/d", "/usr/sbin/d"), ("/usr/bin/d", "../sbin/d")]
        {
            tree.insert_all(link.parse().unwrap(), Node::symlink(target), &Meta::dir()).unwrap();
        }
        tree.link("/usr/local/bin/a".parse().unwrap(), &"/usr/bin/a".parse().unwrap()).unwrap_err();
        tree.insert_all("/usr/local/bin".parse().unwrap(), Node::dir(), &Meta::dir()).unwrap();
        tree.link("/usr/local/bin/a".parse().unwrap(), &"/usr/bin/a".parse().unwrap()).unwrap();
        for (words, expected) in [
            (&["/usr/bin/a", "/usr/sbin/a"][..], "/usr/bin/a > /usr/bin/a"),
            (&["/usr/sbin/a", "/usr/bin/a"], "/usr/bin/a > /usr/bin/a"),
            (&["/usr/local/bin/a", "/usr/bin/a"], "/usr/local/bin/a > /usr/bin/a"),
            (&["/usr/bin/d", "/sbin/d", "/usr/sbin/d"], "/usr/sbin/d > /usr/bin/d"),
            (&["/usr/sbin/[ad]", "/usr/bin/[ad]"], "/usr/bin/a > /usr/bin/a, /usr/sbin/d > /usr/bin/d"),
        ] {
            let wanted: Vec<RequestedPath> = words.iter().map(|w| w.parse().unwrap()).collect();
            let items = locate(&tree, &wanted, false).unwrap_or_else(|e| panic!("{words:?}: {e}"));
            let got: Vec<String> = items.iter().map(|i| format!("{} > {}", i.source, i.target)).collect();
            assert_eq!(got.join(", "), expected, "{words:?}");
            assert!(items.iter().all(|i| i.matched == words[0].contains('[')), "{words:?}");
        }
    }

    #[test]
    fn slips_of_the_finger() {
        let mut t = tree();
        for file in
            ["/usr/bin/perl", "/usr/bin/jq", "/usr/bin/python3.11", "/opt/x/perl", "/usr/lib/libperl.so.5"]
        {
            t.insert_all(file.parse().unwrap(), Node::file(0o755, "x"), &Meta::dir()).unwrap();
        }
        t.insert_all("/usr/bin/awk".parse().unwrap(), Node::symlink("perl"), &Meta::dir()).unwrap();
        t.insert_all("/usr/share/park".parse().unwrap(), Node::file(0o644, "x"), &Meta::dir()).unwrap();
        for (word, expected) in [
            ("/usr/bin/prel", "/usr/bin/perl /opt/x/perl"),
            ("/usr/bin/per", "/usr/bin/perl /opt/x/perl"),
            ("/usr/bin/jqq", "/usr/bin/jq"),
            ("/usr/bin/pyhton3.11", "/usr/bin/python3.11"),
            ("/usr/bin/wak", "/usr/bin/awk"),
            ("/usr/bin/prk", ""),
            ("/usr/bin/ls", ""),
            ("/usr/bin/b3sum", ""),
            ("/", ""),
        ] {
            let got: Vec<String> = similar_programs(&t, word).iter().map(ToString::to_string).collect();
            assert_eq!(got.join(" "), expected, "{word}");
        }
    }

    #[test]
    fn a_word_given_twice_counts_once() {
        assert_eq!(places(&["/usr/bin/a", "/usr/bin/a"], false).unwrap(), "/usr/bin/a > /usr/bin/a");
    }
}
