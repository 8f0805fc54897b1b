//! Image formats and how they are compressed.

use std::fmt;
use std::str::FromStr;

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Format {
    /// A squashfs file system.
    #[default]
    Squashfs,
    /// An erofs file system.
    Erofs,
    /// An ext4 file system, by mke2fs.
    Ext4,
    /// An ext2 file system, by mke2fs.
    Ext2,
    /// A btrfs file system, by mkfs.btrfs.
    Btrfs,
    /// A plain directory.
    Dir,
    /// A tar archive. systemd-sysext takes it only unpacked.
    Tar,
}

/// A word that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {word:?} is unknown, expected one of {list}")]
pub struct FormatError {
    what: &'static str,
    word: String,
    list: String,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 7] = [
        Format::Squashfs,
        Format::Erofs,
        Format::Ext4,
        Format::Ext2,
        Format::Btrfs,
        Format::Dir,
        Format::Tar,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Squashfs => "squashfs",
            Format::Erofs => "erofs",
            Format::Ext4 => "ext4",
            Format::Ext2 => "ext2",
            Format::Btrfs => "btrfs",
            Format::Dir => "dir",
            Format::Tar => "tar",
        }
    }

    /// Whether it is a file system, which a disk image can hold.
    pub(crate) fn is_file_system(self) -> bool {
        !matches!(self, Format::Dir | Format::Tar)
    }

    /// What follows the extension's name in the image's file name: `.raw`, `.tar` or nothing.
    pub fn suffix(self) -> &'static str {
        match self {
            Format::Dir => "",
            Format::Tar => ".tar",
            _ => ".raw",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = FormatError;
    fn from_str(s: &str) -> Result<Self, FormatError> {
        Format::ALL.into_iter().find(|f| f.as_str() == s).ok_or_else(|| FormatError {
            what: "format",
            word: s.to_owned(),
            list: Format::ALL.map(Format::as_str).join(", "),
        })
    }
}

/// How squashfs is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    /// Zstandard, RFC 8878. Linux 4.14.
    #[default]
    Zstd,
    /// zlib, RFC 1950.
    Gzip,
    /// LZMA2 in xz.
    Xz,
    /// LZ4, the block format; from level 2 on by the encoder called HC. Linux 3.19.
    Lz4,
}

impl Codec {
    /// All of them.
    pub const ALL: [Codec; 4] = [Codec::Zstd, Codec::Gzip, Codec::Xz, Codec::Lz4];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Codec::Zstd => "zstd",
            Codec::Gzip => "gzip",
            Codec::Xz => "xz",
            Codec::Lz4 => "lz4",
        }
    }

    /// The level taken if none is asked for.
    pub(crate) fn default_level(self) -> u32 {
        match self {
            // The least that is on no measured tree larger than mksquashfs's gzip, docs/decisions/0034.
            Codec::Zstd => 6,
            Codec::Gzip => 9,
            Codec::Xz => 6,
            Codec::Lz4 => 1,
        }
    }

    fn levels(self) -> (u32, u32) {
        match self {
            Codec::Zstd => (1, 22),
            Codec::Gzip => (1, 9),
            Codec::Xz => (0, 9),
            // LZ4HC_CLEVEL_MAX, lz4hc.h.
            Codec::Lz4 => (1, 12),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Codec {
    type Err = FormatError;
    fn from_str(s: &str) -> Result<Self, FormatError> {
        Codec::ALL.into_iter().find(|c| c.as_str() == s).ok_or_else(|| FormatError {
            what: "compression",
            word: s.to_owned(),
            list: Codec::ALL.map(Codec::as_str).join(", "),
        })
    }
}

/// A codec and its level; what is not given is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compression {
    /// The codec; zstd by default for squashfs, lz4 for erofs. Others take none.
    pub codec: Option<Codec>,
    /// The level: 1 to 22 for zstd (6 by default), 1 to 9 for gzip (9), 0 to 9 for xz (6), 1 to 12 for lz4 (1; 9 with erofs).
    pub level: Option<u32>,
}

/// A level that the codec doesn't have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{codec} level is {level}, expected {low} to {high}")]
pub struct LevelError {
    codec: Codec,
    level: u32,
    low: u32,
    high: u32,
}

impl Compression {
    /// Codec and level with the format's defaults filled in.
    ///
    /// # Errors
    /// The codec has no such level.
    pub fn resolve(self, format: Format) -> Result<(Codec, u32), LevelError> {
        let codec = self.codec.unwrap_or(match format {
            // erofs with zstd takes Linux 6.10.
            Format::Erofs => Codec::Lz4,
            _ => Codec::default(),
        });
        let usual = match (format, codec) {
            // Measured, docs/decisions/0038: 12 takes thrice as long and saves 0.3 %.
            (Format::Erofs, Codec::Lz4) => 9,
            _ => codec.default_level(),
        };
        let level = self.level.unwrap_or(usual);
        let (low, high) = codec.levels();
        if (low..=high).contains(&level) {
            Ok((codec, level))
        } else {
            Err(LevelError { codec, level, low, high })
        }
    }
}
