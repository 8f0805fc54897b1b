//! Trees as initial ramdisks: the "newc" format of cpio.
//! <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>

use std::io::{self, Write};

use tree::{Kind, Node, Tree};

/// Why a tree can't be an initial ramdisk.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum CpioError {
    /// A number has no room in eight hexadecimal digits.
    #[error("{path}: {what} is {got}, more than the format can hold")]
    TooLarge { path: String, what: &'static str, got: u64 },
    /// Reading a file or writing the archive failed.
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
}

/// Writes an archive of a tree, its trailer included. Hard links are stored as files of their own, extended attributes not
/// at all: the format has none.
///
/// # Errors
/// [`CpioError`].
pub(crate) fn write(tree: &Tree, out: &mut impl Write) -> Result<(), CpioError> {
    // Inode numbers need only differ: equal ones would make links.
    for (number, (path, node)) in (1u32..).zip(tree.iter()) {
        let shown = || path.to_string();
        let io = |source| CpioError::Io { path: shown(), source };
        let (kind, device) = kind(node);
        let link = node.symlink_target().unwrap_or_default();
        let size = node.content().map_or(link.len() as u64, |c| c.len());
        let narrow =
            |what, got: u64| u32::try_from(got).map_err(|_| CpioError::TooLarge { path: shown(), what, got });
        let name = if path.is_root() { b"." } else { path.as_relative() };
        let mtime = u32::try_from(node.meta.mtime).unwrap_or(0);
        let fields = [
            number,
            kind | (node.meta.mode & 0o7777),
            node.meta.uid,
            node.meta.gid,
            1,
            mtime,
            narrow("size", size)?,
            0,
            0,
            device.0,
            device.1,
            narrow("length of the name", name.len() as u64 + 1)?,
            0,
        ];
        header(out, &fields, name).map_err(io)?;
        if let Some(content) = node.content() {
            io::copy(&mut content.reader(), out).map_err(io)?;
        }
        out.write_all(link).and_then(|()| pad(out, size)).map_err(io)?;
    }
    let trailer = b"TRAILER!!!";
    let mut fields = [0; 13];
    (fields[4], fields[11]) = (1, trailer.len() as u32 + 1);
    header(out, &fields, trailer).map_err(|source| CpioError::Io { path: "trailer".into(), source })
}

/// File type and device numbers. inode(7).
fn kind(node: &Node) -> (u32, (u32, u32)) {
    match node.kind {
        Kind::Dir => (0o040_000, (0, 0)),
        Kind::File(_) => (0o100_000, (0, 0)),
        Kind::Symlink(_) => (0o120_000, (0, 0)),
        Kind::CharDevice { major, minor } => (0o020_000, (major, minor)),
        Kind::BlockDevice { major, minor } => (0o060_000, (major, minor)),
        Kind::Fifo => (0o010_000, (0, 0)),
        Kind::Socket => (0o140_000, (0, 0)),
    }
}

fn header(out: &mut impl Write, fields: &[u32; 13], name: &[u8]) -> io::Result<()> {
    let mut text = String::from("070701");
    for field in fields {
        text.push_str(&format!("{field:08x}"));
    }
    out.write_all(text.as_bytes())?;
    out.write_all(name)?;
    out.write_all(b"\0")?;
    pad(out, (text.len() + name.len() + 1) as u64)
}

/// Everything starts at a multiple of four.
fn pad(out: &mut impl Write, length: u64) -> io::Result<()> {
    out.write_all(&[0; 3][..(length.wrapping_neg() % 4) as usize])
}
