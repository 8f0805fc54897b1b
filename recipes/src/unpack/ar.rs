//! The few things to know of `ar` archives, for Debian packages. deb(5), ar(5).

use tree::{Content, ContentError};

/// Members that are looked at. A package has three.
const MEMBERS: usize = 64;

/// Why a file is no package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ArError {
    /// The bytes can't be had.
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("is no ar archive, as a Debian package is")]
    Magic,
    /// A header that makes no sense.
    #[error("member at {at} has a malformed header")]
    Header {
        /// Bytes from the start.
        at: u64,
    },
    /// A member that reaches past the end.
    #[error("member {name:?} is {len} bytes, more than there are")]
    Cut { name: String, len: u64 },
    #[error("has no member {wanted}.*, but {}", there.join(", "))]
    Missing { wanted: String, there: Vec<String> },
}

/// Where the first member lies that is called `wanted` or `wanted.*`: offset and length. Bytes.
pub(super) fn find(content: &Content, wanted: &str) -> Result<(u64, u64), ArError> {
    if content.head(8)? != b"!<arch>\n" {
        return Err(ArError::Magic);
    }
    let mut there = Vec::new();
    let mut at = 8u64;
    while at < content.len() && there.len() < MEMBERS {
        let malformed = || ArError::Header { at };
        let mut header = [0; 60];
        if content.read_at(&mut header, at)? != header.len() || header[58..] != *b"`\n" {
            return Err(malformed());
        }
        let text = |range: std::ops::Range<usize>| {
            std::str::from_utf8(&header[range])
                .map(|t| t.trim_end_matches(' ').to_owned())
                .map_err(|_| malformed())
        };
        let name = text(0..16)?;
        let name = name.strip_suffix('/').unwrap_or(&name).to_owned();
        let len = text(48..58)?;
        if len.is_empty() || !len.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed());
        }
        let len: u64 = len.parse().map_err(|_| malformed())?;
        let start = at + 60;
        if start.checked_add(len).is_none_or(|end| end > content.len()) {
            return Err(ArError::Cut { name, len });
        }
        if name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
            return Ok((start, len));
        }
        there.push(name);
        // Members start at even offsets.
        at = start + len + len % 2;
    }
    Err(ArError::Missing { wanted: wanted.to_owned(), there })
}
