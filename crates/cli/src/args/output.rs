//! Where the image goes, and what it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use image::{Codec, Compression, Format, ImageError, ImageOptions, Verity, VeritySigner, Written, squashfs};
use sysext::extension::RULES;
use sysext::{Extension, ExtensionName, ExtensionOptions};
use tree::{Arch, Event, Events};

use super::ReportArgs;
use super::output_path::{self, OutputPathError};

/// Where the image goes and what it is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write the image to this path; in a directory, it gets its usual name [default: NAME.raw in the current directory]
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,

    /// Format of the image: squashfs, erofs, ext4, ext2, btrfs, dir, or tar
    #[arg(long, env = "FORMAT", default_value_t, hide_env_values = true)]
    pub format: Format,

    /// Compress squashfs and erofs with zstd or lz4 (squashfs also gzip or xz), at an optional level: zstd:19, lz4:12
    /// [default: zstd:6 for squashfs, lz4:9 for erofs]
    #[arg(long, value_name = "CODEC[:LEVEL]", value_parser = parse_compression)]
    pub compression: Option<Compression>,

    /// Block size of squashfs, a power of two from 4K to 1M. Larger blocks make smaller images that are slower to read
    /// [default: 128K]
    #[arg(long, value_name = "SIZE", value_parser = parse_block_size)]
    pub block_size: Option<u32>,

    /// Build a disk image that holds the file system and its dm-verity hash tree, so that hosts can verify it
    #[arg(long)]
    pub verity: bool,

    /// Sign the root hash with this RSA key (PEM, no passphrase); implies --verity
    #[arg(long, value_name = "KEY", requires = "cert")]
    pub(crate) sign_verity: Option<PathBuf>,

    /// Certificate of the signing key (PEM); hosts need it in /etc/verity.d
    #[arg(long, value_name = "CERT", requires = "sign_verity")]
    pub cert: Option<PathBuf>,

    /// Set the modification time of all files, in seconds since 1970
    #[arg(
        long,
        env = "SOURCE_DATE_EPOCH",
        value_name = "SECONDS",
        default_value_t = 0,
        hide_env_values = true
    )]
    pub epoch: i64,

    /// Downgrade violations of this lint rule to warnings; repeatable
    #[arg(long, value_name = "RULE", value_parser = parse_rule)]
    pub allow: Vec<String>,
}

impl OutputArgs {
    /// The image's path: what was asked for, or `NAME` and the format's ending.
    pub fn path(&self, name: &ExtensionName) -> PathBuf {
        let usual = format!("{name}{}", self.format.suffix());
        match (self.directory(), &self.output) {
            (Some(dir), _) => dir.join(usual),
            (None, Some(path)) => path.clone(),
            (None, None) => PathBuf::from(usual),
        }
    }

    /// The path of the configuration extension, beside the image.
    pub(crate) fn confext_path(&self, name: &ExtensionName) -> PathBuf {
        self.path(name).with_file_name(format!("{name}.confext{}", self.format.suffix()))
    }

    /// The directory that takes the image under its usual name, if one was asked for.
    pub fn directory(&self) -> Option<&Path> {
        let path = self.output.as_deref()?;
        // A directory as output is the image itself, unless a directory was named to hold it.
        let named = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        (named || self.format != Format::Dir && path.is_dir()).then_some(path)
    }

    /// Whether the image can be put in its place: for before the work.
    ///
    /// # Errors
    /// Its directory isn't there, or can't be written to.
    pub(crate) fn check_path(&self, name: &ExtensionName) -> Result<(), OutputPathError> {
        output_path::check(&self.path(name))
    }

    /// For [`Extension::write_image`]. `architecture` is that of a disk image if the extension has none of its
    /// own. Warns of a key that others can read.
    ///
    /// # Errors
    /// The options contradict each other, or the root hash can't be signed with these files.
    pub fn image_options(
        &self,
        architecture: Option<Arch>,
        events: &dyn Events,
    ) -> Result<ImageOptions, ImageError> {
        let signer = match (&self.sign_verity, &self.cert) {
            (Some(key), Some(cert)) => Some(Arc::new(VeritySigner::read(key, cert, events)?)),
            _ => None,
        };
        let verity = (self.verity || signer.is_some()).then_some(Verity { signer, architecture });
        let options = ImageOptions {
            format: self.format,
            compression: self.compression.unwrap_or_default(),
            threads: None,
            block_size: self.block_size,
            verity,
            first: Vec::new(),
        };
        options.check()?;
        Ok(options)
    }

    /// Reports the findings of the lint and, unless this is a dry run, writes the image.
    ///
    /// # Errors
    /// The image can't be written.
    pub fn write(
        &self,
        extension: &Extension,
        options: &ImageOptions,
        report: &ReportArgs,
        events: &dyn Events,
    ) -> Result<Option<Written>, ImageError> {
        for finding in extension.findings() {
            events.event(Event::Warning(finding.to_string().into()));
        }
        if extension.findings().iter().any(|f| f.rule == "user") {
            let hint = "a file of /usr/lib/sysusers.d makes users and groups on the host: u NAME -, g NAME -";
            events.event(Event::Hint(hint.into()));
        }
        let path = self.path(extension.name());
        let written = match report.dry_run {
            true => None,
            false => Some(extension.write_image(&path, options, events)?),
        };
        if let Some(text) = output_path::unmergeable(&path, extension.name(), self.format) {
            events.event(Event::Warning(text.into()));
        }
        Ok(written)
    }

    /// For [`Extension::new`].
    pub fn extension_options(&self) -> ExtensionOptions {
        let allow: BTreeSet<String> = self.allow.iter().cloned().collect();
        ExtensionOptions { epoch: self.epoch, allow, findings: Vec::new() }
    }
}

fn parse_compression(text: &str) -> Result<Compression, String> {
    let (codec, level) = match text.split_once(':') {
        Some((codec, level)) => (codec, Some(level)),
        None => (text, None),
    };
    let codec: Codec = codec.parse().map_err(|e| format!("{e}"))?;
    let level = level.map(|l| l.parse::<u32>().map_err(|e| format!("level {l:?}: {e}"))).transpose()?;
    let compression = Compression { codec: Some(codec), level };
    compression.resolve(Format::default()).map_err(|e| e.to_string())?;
    Ok(compression)
}

fn parse_block_size(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix(['m', 'M']).map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    // A sign parses as part of a number.
    let number = Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse().ok());
    let size = number.and_then(|n: u32| n.checked_mul(unit));
    size.filter(|&size| squashfs::is_block_size(size)).ok_or_else(|| {
        "expected a power of two from 4K to 1M: 4K, 8K, 16K, 32K, 64K, 128K, 256K, 512K or 1M".to_owned()
    })
}

fn parse_rule(text: &str) -> Result<String, String> {
    match RULES.iter().find(|r| r.name == text) {
        Some(rule) if rule.allowable => Ok(text.to_owned()),
        Some(rule) => Err(rule.about.to_owned()),
        None => {
            let known: Vec<&str> = RULES.iter().filter(|r| r.allowable).map(|r| r.name).collect();
            Err(format!("expected one of {}", known.join(", ")))
        }
    }
}
