//! Absolute paths inside a tree.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An absolute, normal path inside a [`Tree`](crate::Tree): no `.`, `..`, empty or over-long component, no NUL; bytes,
/// not necessarily UTF-8. Kept without the leading slash, so the root is the empty string.
///
/// Ordered by components, so that a directory's subtree is one range that starts with the directory.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Box<[u8]>);

/// A path that the source names, checked by the compiler: `const UNITS: StaticPath = StaticPath::new("/usr/lib/systemd/system")`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticPath(&'static str);

impl StaticPath {
    /// For use in a `const`.
    ///
    /// # Panics
    /// The path isn't absolute and normal; in a `const` that is an error of the compiler.
    pub const fn new(path: &'static str) -> StaticPath {
        assert!(is_normal(path.as_bytes()), "path isn't absolute and normal");
        StaticPath(path)
    }

    /// As it was written.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// The path.
    pub fn path(self) -> TreePath {
        TreePath(self.0.as_bytes()[1..].into())
    }
}

impl From<StaticPath> for TreePath {
    fn from(path: StaticPath) -> TreePath {
        path.path()
    }
}

/// A leading slash, and components as [`TreePath::new`] leaves them behind it.
const fn is_normal(path: &[u8]) -> bool {
    if path.is_empty() || path[0] != b'/' || path.len() + 1 > PATH_MAX {
        return false;
    }
    if path.len() == 1 {
        return true;
    }
    // The component ends before `at` or at the end of the path.
    let (mut start, mut at) = (1, 1);
    while at <= path.len() {
        if at == path.len() || path[at] == b'/' {
            let len = at - start;
            let dots = match len {
                1 => path[start] == b'.',
                2 => path[start] == b'.' && path[start + 1] == b'.',
                _ => false,
            };
            if len == 0 || len > NAME_MAX || dots {
                return false;
            }
            start = at + 1;
        } else if path[at] == 0 {
            return false;
        }
        at += 1;
    }
    true
}

/// Why bytes are no [`TreePath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum PathError {
    /// A `..` component, which could leave the tree.
    #[error("path {0:?} has a \"..\" component")]
    DotDot(String),
    #[error("path {0:?} has a NUL byte")]
    Nul(String),
    /// A component of more than 255 bytes. NAME_MAX, linux/limits.h.
    #[error("path {0:?} has a component of {1} bytes, expected at most 255")]
    ComponentTooLong(String, usize),
    /// A path of more than 4,095 bytes. PATH_MAX, linux/limits.h.
    #[error("path is {0} bytes long, expected at most 4095")]
    TooLong(usize),
}

/// Bytes. NAME_MAX, linux/limits.h.
pub(super) const NAME_MAX: usize = 255;
/// Bytes, the final NUL included. PATH_MAX, linux/limits.h.
pub const PATH_MAX: usize = 4096;

impl TreePath {
    /// The root.
    pub fn root() -> Self {
        TreePath(Box::default())
    }

    /// Normalises: a leading slash is optional, `.` components and doubled or trailing slashes are dropped.
    ///
    /// # Errors
    /// A `..` component, a NUL byte, or a length that Linux refuses.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let path = path.as_ref();
        let show = || String::from_utf8_lossy(&path[..path.len().min(256)]).into_owned();
        if path.contains(&0) {
            return Err(PathError::Nul(show()));
        }
        let mut out: Vec<u8> = Vec::with_capacity(path.len());
        for c in path.split(|&b| b == b'/') {
            match c {
                b"" | b"." => continue,
                b".." => return Err(PathError::DotDot(show())),
                c if c.len() > NAME_MAX => return Err(PathError::ComponentTooLong(show(), c.len())),
                c => {
                    if !out.is_empty() {
                        out.push(b'/');
                    }
                    out.extend_from_slice(c);
                }
            }
        }
        // The leading slash and the final NUL count too.
        if out.len() + 2 > PATH_MAX {
            return Err(PathError::TooLong(out.len() + 1));
        }
        Ok(TreePath(out.into()))
    }

    /// `name` below this path.
    ///
    /// # Errors
    /// As [`TreePath::new`]. `name` may have several components.
    pub fn join(&self, name: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let mut path = self.0.to_vec();
        path.push(b'/');
        path.extend_from_slice(name.as_ref());
        TreePath::new(path)
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes without the leading slash: `usr/bin/true`; empty for the root.
    pub fn as_relative(&self) -> &[u8] {
        &self.0
    }

    /// The bytes with the leading slash: `/usr/bin/true`.
    pub fn to_absolute(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() + 1);
        out.push(b'/');
        out.extend_from_slice(&self.0);
        out
    }

    /// The relative path, to be joined to a directory of the host.
    pub fn as_host_relative(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The last component; none for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        if self.is_root() { None } else { self.0.rsplit(|&b| b == b'/').next() }
    }

    /// The directory that this is in; none for the root.
    pub fn parent(&self) -> Option<TreePath> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        Some(TreePath(self.0[..end].into()))
    }

    /// The components, first to last; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|c| !c.is_empty())
    }

    /// Number of components; 0 for the root.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// The root, then each directory on the way, then the path itself.
    pub fn ancestors_from_root(&self) -> impl Iterator<Item = TreePath> + use<'_> {
        let ends = self.0.iter().enumerate().filter(|&(_, &b)| b == b'/').map(|(i, _)| i);
        let own = (!self.is_root()).then_some(self.0.len());
        std::iter::once(0).chain(ends).chain(own).map(|end| TreePath(self.0[..end].into()))
    }

    /// Whether this is `dir` or below it, by whole components.
    pub fn starts_with(&self, dir: &TreePath) -> bool {
        dir.is_root() || (self.0.starts_with(&dir.0) && matches!(self.0.get(dir.0.len()), None | Some(b'/')))
    }

    /// This path's place below `dir`: `bin/true` for `/usr/bin/true` below `/usr`; empty for `dir` itself.
    pub fn strip_prefix(&self, dir: &TreePath) -> Option<&[u8]> {
        if !self.starts_with(dir) {
            return None;
        }
        if dir.is_root() {
            return Some(&self.0);
        }
        Some(self.0.get(dir.0.len() + 1..).unwrap_or_default())
    }

    /// The range of a map that holds this path and all below it.
    pub(crate) fn subtree_bounds(&self) -> (Bound<TreePath>, Bound<TreePath>) {
        if self.is_root() {
            return (Bound::Unbounded, Bound::Unbounded);
        }
        // '/' sorts before all other bytes, so the first path behind the subtree is not less than this.
        let mut end = self.0.to_vec();
        end.push(1);
        (Bound::Included(self.clone()), Bound::Excluded(TreePath(end.into())))
    }
}

fn rank(b: u8) -> u8 {
    // No component has a NUL byte, so the separator can take its place at the bottom.
    if b == b'/' { 0 } else { b }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        match mismatch(&self.0, &other.0) {
            Some((a, b)) => rank(a).cmp(&rank(b)),
            None => self.0.len().cmp(&other.0.len()),
        }
    }
}

/// The first two bytes that differ. Paths share long beginnings, and looking them up is what trees do all day, so the
/// beginnings are compared eight bytes at a time.
fn mismatch(a: &[u8], b: &[u8]) -> Option<(u8, u8)> {
    let (words_a, words_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let same = words_a.iter().zip(words_b).take_while(|(x, y)| x == y).count() * 8;
    a[same..].iter().copied().zip(b[same..].iter().copied()).find(|(x, y)| x != y)
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// With the leading slash; control characters and bytes that are not UTF-8 as `\xNN`, a backslash doubled.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/")?;
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl std::str::FromStr for TreePath {
    type Err = PathError;
    fn from_str(s: &str) -> Result<Self, PathError> {
        TreePath::new(s)
    }
}

/// Whether a character changes how the text around it is shown: controls, ends of lines and paragraphs, and what changes the direction of
/// writing, by which a name can pass for another. Unicode, UAX #9 and UTR #36.
pub fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text for a terminal or a dump: UTF-8 stays, control characters and other bytes become `\xNN`, a backslash `\\`.
pub fn escape(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                out.push_str("\\\\");
            } else if is_control(c) {
                let mut buffer = [0; 4];
                for b in c.encode_utf8(&mut buffer).bytes() {
                    let _ = write!(out, "\\x{b:02x}");
                }
            } else {
                out.push(c);
            }
        }
        for b in chunk.invalid() {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}
