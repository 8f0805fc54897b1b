//! The texts of a policy's labels: where they are on a host.

use std::io;
use std::path::{Path, PathBuf};

use tree::{ContentError, Tree, TreePath};

/// Bytes of one file. The largest policy that we know has 0.4 MB.
const MAX_FILE: u64 = 8 << 20;

/// Where a policy's configuration is: on a host, in images that make /etc from a copy (ostree, Flatcar), and where Flatcar's /etc
/// leads to.
const CONFIGURATIONS: [&str; 4] =
    ["/etc/selinux", "/usr/etc/selinux", "/usr/share/flatcar/etc/selinux", "/usr/lib/selinux"];

/// The texts that label files, as they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Where they come from, for messages: the path of `file_contexts`.
    pub name: String,
    /// `file_contexts`.
    pub main: Vec<u8>,
    /// `file_contexts.homedirs`.
    pub homedirs: Vec<u8>,
    /// `file_contexts.local`.
    pub local: Vec<u8>,
    /// `file_contexts.subs`.
    pub subs: Vec<u8>,
    /// `file_contexts.subs_dist`.
    pub subs_dist: Vec<u8>,
}

/// Why there are no texts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum SourcesError {
    #[error("{path:?}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Content { path: String, source: ContentError },
    #[error("the host has no SELinux policy: there is neither {}", CONFIGURATIONS.map(|d| format!("{d}/config")).join(" nor "))]
    NoPolicy,
    #[error("{0}: names no policy, expected SELINUXTYPE=")]
    NoType(String),
    #[error("{0}: isn't there, so the policy labels no files")]
    NoContexts(String),
}

impl Sources {
    /// All that [`Sources::of_host`] reads of a host, with what is below.
    pub fn places() -> Vec<TreePath> {
        CONFIGURATIONS.iter().filter_map(|dir| TreePath::new(dir).ok()).collect()
    }

    /// Reads `file_contexts`, and the files beside it that belong to it, as setfiles(8) does.
    ///
    /// # Errors
    /// It can't be read, or one of the others can't, or is too large.
    pub fn read(path: &Path) -> Result<Sources, SourcesError> {
        let read = |path: &Path| {
            let error = |source| SourcesError::Read { path: path.to_owned(), source };
            let file = std::fs::File::open(path).map_err(error)?;
            let mut text = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(file, MAX_FILE + 1), &mut text).map_err(error)?;
            match text.len() as u64 > MAX_FILE {
                true => Err(error(io::Error::other(format!("has more than {MAX_FILE} bytes")))),
                false => Ok(text),
            }
        };
        let beside = |ending: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            match read(Path::new(&name)) {
                Err(SourcesError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    Ok(Vec::new())
                }
                other => other,
            }
        };
        Sources::with(path.display().to_string(), read(path)?, beside)
    }

    /// Those of the policy that a host's tree has, and that its configuration names. selinux_config(5).
    ///
    /// # Errors
    /// There is no policy, or a file can't be read.
    pub fn of_host(tree: &Tree) -> Result<Sources, SourcesError> {
        let read = |path: String| {
            let found = tree.resolve(&path, true).ok().and_then(|found| tree.get(&found.path)?.content());
            let text = found.map(|content| content.read(MAX_FILE)).transpose();
            text.map_err(|source| SourcesError::Content { path, source })
        };
        for dir in CONFIGURATIONS {
            let configuration = format!("{dir}/config");
            let Some(text) = read(configuration.clone())? else { continue };
            let policy = policy(&text).ok_or(SourcesError::NoType(configuration))?;
            let place = format!("{dir}/{policy}/contexts/files/file_contexts");
            let main = read(place.clone())?.ok_or_else(|| SourcesError::NoContexts(place.clone()))?;
            let beside = |ending: &str| Ok(read(format!("{place}{ending}"))?.unwrap_or_default());
            return Sources::with(place.clone(), main, beside);
        }
        Err(SourcesError::NoPolicy)
    }

    fn with(
        name: String,
        main: Vec<u8>,
        beside: impl Fn(&str) -> Result<Vec<u8>, SourcesError>,
    ) -> Result<Sources, SourcesError> {
        Ok(Sources {
            name,
            main,
            homedirs: beside(".homedirs")?,
            local: beside(".local")?,
            subs: beside(".subs")?,
            subs_dist: beside(".subs_dist")?,
        })
    }
}

/// `SELINUXTYPE=`: the name of a directory.
fn policy(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let value = text.lines().filter_map(|line| line.trim().strip_prefix("SELINUXTYPE=")).next_back()?;
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && name != ".."
    };
    Some(value.trim().to_owned()).filter(|name| is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Meta, Node};

    fn host(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            let node = match text.strip_prefix("-> ") {
                Some(target) => Node::symlink(target),
                None => Node::file(0o644, *text),
            };
            tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
        }
        tree
    }

    #[test]
    fn the_policy_of_the_configuration() {
        let tree = host(&[
            ("/etc/selinux", "-> ../usr/lib/selinux"),
            ("/usr/lib/selinux/config", "# SELINUXTYPE=no\nSELINUX=permissive\nSELINUXTYPE=mcs \n"),
            ("/usr/lib/selinux/mcs/contexts/files/file_contexts", "/.* x:y:z"),
            ("/usr/lib/selinux/mcs/contexts/files/file_contexts.subs_dist", "/a /b"),
        ]);
        let found = Sources::of_host(&tree).unwrap();
        assert_eq!(found.name, "/etc/selinux/mcs/contexts/files/file_contexts");
        assert_eq!((found.main.as_slice(), found.subs_dist.as_slice()), (&b"/.* x:y:z"[..], &b"/a /b"[..]));
        assert!(found.local.is_empty());
    }

    #[test]
    fn hosts_without_one() {
        let error = |files: &[(&str, &str)]| Sources::of_host(&host(files)).unwrap_err().to_string();
        assert!(
            error(&[])
                .starts_with("the host has no SELinux policy: there is neither /etc/selinux/config nor ")
        );
        let config = "/etc/selinux/config";
        assert_eq!(error(&[(config, "")]), "/etc/selinux/config: names no policy, expected SELINUXTYPE=");
        assert_eq!(
            error(&[(config, "SELINUXTYPE=../x")]),
            "/etc/selinux/config: names no policy, expected SELINUXTYPE="
        );
        assert_eq!(
            error(&[(config, "SELINUXTYPE=x")]),
            "/etc/selinux/x/contexts/files/file_contexts: isn't there, so the policy labels no files"
        );
    }
}
