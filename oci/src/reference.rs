//! What the user calls an image.
//!
//! The grammar of registry references is the one of the distribution project's `reference` package, with Docker's rules
//! for short names: `alpine` means `docker.io/library/alpine:latest`. Other places are named with the transports of
//! containers-transports(5), or by a path.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// The registry that short names stand for.
pub(crate) const DOCKER_HUB: &str = "docker.io";

/// An image, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageRef {
    /// In a registry: `alpine`, `quay.io/x/y:tag`, `docker://…`.
    Registry(Reference),
    /// An OCI image layout, `oci:DIR[:NAME|@POSITION]`.
    OciDir {
        /// The directory that has the file `oci-layout`.
        path: PathBuf,
        /// Which of its images.
        which: Option<ImageSelector>,
    },
    /// A tar of an OCI image layout, `oci-archive:FILE[:NAME|@POSITION]`.
    OciArchive {
        /// The tar.
        path: PathBuf,
        /// Which of its images.
        which: Option<ImageSelector>,
    },
    /// What `docker save` writes, `docker-archive:FILE[:NAME|@POSITION]`.
    DockerArchive {
        /// The tar.
        path: PathBuf,
        /// Which of its images.
        which: Option<ImageSelector>,
    },
    /// A tar of a root file system, or an image in a tar if its content is one: `tar:FILE`, or a path to a file.
    Tar(PathBuf),
    /// A root file system, `dir:PATH`, or a path to a directory; or an image, if the directory says that it is one.
    Dir(PathBuf),
}

/// One of several images in one place. containers-transports(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSelector {
    /// Its name: a tag, a whole reference, or a digest.
    Name(String),
    /// Its place in the list, from 0: `@0`.
    Position(usize),
}

impl fmt::Display for ImageSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageSelector::Name(name) => f.write_str(name),
            ImageSelector::Position(n) => write!(f, "@{n}"),
        }
    }
}

impl FromStr for ImageSelector {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let position = text.strip_prefix('@').and_then(|n| n.parse().ok());
        Ok(position.map_or_else(|| ImageSelector::Name(text.into()), ImageSelector::Position))
    }
}

/// An image in a registry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
    short: bool,
}

/// Why text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ReferenceError {
    #[error("image reference is empty")]
    Empty,
    /// A part that breaks the grammar.
    #[error("image reference {text:?}: {part} {value:?} is not valid, {expected}")]
    Part {
        text: String,
        part: &'static str,
        /// As it stands there.
        value: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// 64 hexadecimal digits are an image ID of Docker's local store, which no registry knows.
    #[error("image reference {0:?} is an image ID, expected a name")]
    ImageId(String),
    /// More than 255 bytes.
    #[error("image reference has a name of {0} bytes, expected at most 255")]
    TooLong(usize),
    /// A transport of other tools.
    #[error("image reference {text:?}: transport {transport:?} is not supported{}, expected {TRANSPORTS}", instead(.transport))]
    Transport {
        text: String,
        /// The word before the colon.
        transport: String,
    },
    /// The path after a transport is missing.
    #[error("image reference {0:?} has no path after the colon")]
    NoPath(String),
    /// The path doesn't exist or can't be looked at.
    #[error("{path:?}: {message}")]
    Path {
        path: PathBuf,
        /// What the system said.
        message: String,
    },
}

/// What a file or registry has instead of the store of another tool.
fn instead(transport: &str) -> &'static str {
    match transport {
        "docker-daemon" | "docker" => {
            " (save the image with \"docker save -o FILE NAME\" and name it docker-archive:FILE)"
        }
        "containers-storage" | "podman" => {
            " (save the image with \"podman save -o FILE NAME\" and name it docker-archive:FILE)"
        }
        "ostree" | "sif" | "tarball" | "atomic" => " (skopeo copies such images to oci:DIR)",
        "http" | "https" | "oci" => " (an image in a registry is named without it, by HOST/NAME:TAG)",
        "file" => " (a file is named by its path)",
        _ => "",
    }
}

const TRANSPORTS: &str = "docker://, oci:, oci-archive:, docker-archive:, tar:, dir: or a path";

impl FromStr for ImageRef {
    type Err = ReferenceError;

    /// Looks at the file system: a plain path (`/x`, `./x`, `../x`) may be an OCI layout, and where a path has colons, what
    /// is there shows where the path ends.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.starts_with('/') || is_dots(text) {
            return at_path(Path::new(text));
        }
        let path = |rest: &str| match rest {
            "" => Err(ReferenceError::NoPath(text.into())),
            rest => Ok(PathBuf::from(rest)),
        };
        if let Some(rest) = text.strip_prefix("docker://") {
            return rest.parse().map(ImageRef::Registry);
        }
        match text.split_once(':') {
            Some(("oci", rest)) if is_remote(rest) => {
                Err(ReferenceError::Transport { text: text.into(), transport: "oci".into() })
            }
            Some(("oci", rest)) => {
                let is_layout = |p: &Path| p.join("index.json").is_file();
                let (dir, which) = split_path(rest, &[&is_layout, &Path::exists]);
                Ok(ImageRef::OciDir { path: path(dir)?, which })
            }
            Some(("oci-archive", rest)) => {
                let (file, which) = split_path(rest, &[&is_file, &Path::exists]);
                Ok(ImageRef::OciArchive { path: path(file)?, which })
            }
            Some(("docker-archive", rest)) => {
                let (file, which) = split_path(rest, &[&is_file, &Path::exists]);
                Ok(ImageRef::DockerArchive { path: path(file)?, which })
            }
            Some(("tar", rest)) => path(rest).map(ImageRef::Tar),
            Some(("dir", rest)) => path(rest).map(ImageRef::Dir),
            Some((
                transport @ ("docker-daemon" | "containers-storage" | "ostree" | "sif" | "docker" | "http"
                | "https" | "file" | "podman" | "tarball" | "atomic"),
                rest,
            )) if !matches!(transport, "docker" | "podman" | "tarball" | "atomic" | "file")
                || rest.starts_with(['/', '.']) =>
            {
                Err(ReferenceError::Transport { text: text.into(), transport: transport.into() })
            }
            _ => text.parse().map(ImageRef::Registry),
        }
    }
}

/// `oci://HOST/NAME`, as Helm and others write a place in a registry. A path has one slash too many there, but may.
fn is_remote(rest: &str) -> bool {
    rest.strip_prefix("//").is_some_and(|name| !name.starts_with('/') && !Path::new(rest).exists())
}

/// A file, or a pipe.
fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| !m.is_dir())
}

/// Takes `PATH[:NAME|@POSITION]` apart. Both may have colons. Other tools let the first one end the path; here it is the
/// first one that has something of the right kind before it, the best kind first.
fn split_path<'a>(text: &'a str, kinds: &[&dyn Fn(&Path) -> bool]) -> (&'a str, Option<ImageSelector>) {
    let ends = || text.match_indices(':').map(|(at, _)| at).chain([text.len()]);
    let there = kinds.iter().find_map(|fits| ends().find(|&at| fits(Path::new(&text[..at]))));
    let (path, rest) = text.split_at(there.or_else(|| ends().next()).unwrap_or(text.len()));
    let which = rest.strip_prefix(':').filter(|name| !name.is_empty());
    (path, which.and_then(|name| name.parse().ok()))
}

fn is_dots(text: &str) -> bool {
    matches!(text, "." | "..") || text.starts_with("./") || text.starts_with("../")
}

fn at_path(path: &Path) -> Result<ImageRef, ReferenceError> {
    let io = |e: std::io::Error| ReferenceError::Path { path: path.into(), message: e.to_string() };
    let meta = path.metadata().map_err(io)?;
    if !meta.is_dir() {
        return Ok(ImageRef::Tar(path.into()));
    }
    // image-spec, image-layout.md: the marker file.
    if path.join("oci-layout").is_file() && path.join("index.json").is_file() {
        return Ok(ImageRef::OciDir { path: path.into(), which: None });
    }
    Ok(ImageRef::Dir(path.into()))
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageRef::Registry(r) => r.fmt(f),
            ImageRef::OciDir { path, which } => local(f, "oci", path, which.as_ref()),
            ImageRef::OciArchive { path, which } => local(f, "oci-archive", path, which.as_ref()),
            ImageRef::DockerArchive { path, which } => local(f, "docker-archive", path, which.as_ref()),
            ImageRef::Tar(path) => write!(f, "tar:{}", path.display()),
            ImageRef::Dir(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

fn local(
    f: &mut fmt::Formatter<'_>,
    transport: &str,
    path: &Path,
    which: Option<&ImageSelector>,
) -> fmt::Result {
    write!(f, "{transport}:{}", path.display())?;
    which.map_or(Ok(()), |which| write!(f, ":{which}"))
}

impl Reference {
    /// Host and port, as typed; `docker.io` for short names and Docker Hub's older names.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path inside the registry: `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if one was given. A digest wins over it.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// `ALGORITHM:HEX`, if one was given; its syntax is checked, not whether the algorithm is known.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Whether no registry was given, so that aliases and search lists apply.
    pub(crate) fn is_short(&self) -> bool {
        self.short
    }

    /// What the short name was as typed: `alpine` for `docker.io/library/alpine`.
    pub(crate) fn short_name(&self) -> &str {
        self.repository.strip_prefix("library/").filter(|_| self.short).unwrap_or(&self.repository)
    }

    /// `registry/repository`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same tag and digest of another place: `name` is `registry/repository`.
    ///
    /// # Errors
    /// `name` breaks the grammar, or has a tag or a digest of its own.
    pub fn relocated(&self, name: &str) -> Result<Reference, ReferenceError> {
        let other: Reference = name.parse()?;
        if other.tag.is_some() || other.digest.is_some() {
            let value = other.to_string();
            return Err(part(name, "name", &value, "expected no tag and no digest"));
        }
        Ok(Reference { short: false, tag: self.tag.clone(), digest: self.digest.clone(), ..other })
    }

    /// With what decides of it alone: a digest makes a tag beside it a remark; without both, the tag is `latest`.
    pub(crate) fn exactly(&self) -> Reference {
        let tag = match self.digest {
            Some(_) => None,
            None => Some(self.tag.clone().unwrap_or_else(|| "latest".into())),
        };
        Reference { tag, ..self.clone() }
    }

    /// This image pinned to a digest.
    pub fn with_digest(&self, digest: &str) -> Reference {
        Reference { digest: Some(digest.into()), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // A colon behind the last slash starts the tag; before it, a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') && !tag.ends_with(']') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (domain, path) = split_domain(name);
        let short = domain.is_none();
        let registry = match domain {
            None | Some("docker.io" | "index.docker.io" | "registry-1.docker.io") => DOCKER_HUB,
            Some(domain) => domain,
        };
        if !store::http::is_domain(registry) {
            return Err(part(text, "registry", registry, "expected a host name, optionally with a port"));
        }
        if short && digest.is_none() && tag.is_none() && path.len() == 64 && path.bytes().all(is_lower_hex) {
            return Err(ReferenceError::ImageId(path.into()));
        }
        if path.is_empty() || !path.split('/').all(is_path_component) {
            let expected = "expected lower-case letters, digits and single separators (. _ __ -)";
            return Err(part(text, "name", path, expected));
        }
        if let Some(tag) = tag.filter(|t| !is_tag(t)) {
            return Err(part(text, "tag", tag, "expected at most 128 letters, digits and _ . -"));
        }
        if let Some(digest) = digest.filter(|d| !is_digest(d)) {
            return Err(part(text, "digest", digest, "expected sha256: and 64 hexadecimal digits"));
        }
        let repository = match registry {
            DOCKER_HUB if !path.contains('/') => format!("library/{path}"),
            _ => path.to_owned(),
        };
        let len = registry.len() + 1 + repository.len();
        if len > 255 {
            return Err(ReferenceError::TooLong(len));
        }
        Ok(Reference {
            registry: registry.into(),
            repository,
            tag: tag.map(Into::into),
            digest: digest.map(Into::into),
            short,
        })
    }
}

impl fmt::Display for Reference {
    /// The full form: `docker.io/library/alpine:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match (&self.tag, &self.digest) {
            (None, None) => f.write_str(":latest"),
            (tag, digest) => {
                tag.iter().try_for_each(|t| write!(f, ":{t}"))?;
                digest.iter().try_for_each(|d| write!(f, "@{d}"))
            }
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({self})")
    }
}

fn part(text: &str, part: &'static str, value: &str, expected: &'static str) -> ReferenceError {
    ReferenceError::Part { text: text.into(), part, value: value.into(), expected }
}

/// Docker's rule: the first component is a registry if it could be no Docker Hub user's name.
fn split_domain(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':', '['])
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else { return false };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    text.split(|c: char| c.is_ascii() && alphanumeric(c as u8))
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

pub(crate) fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let expected = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == expected && hex.bytes().all(is_lower_hex)
}

fn is_lower_hex(b: u8) -> bool {
    matches!(b, b'0'..=b'9' | b'a'..=b'f')
}
