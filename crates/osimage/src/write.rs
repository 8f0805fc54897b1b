//! The way from an image to a baked one.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use store::compress::{CompressionFormat, DecodeLimits, Decoder, SNIFF};
use tree::output::TemporaryDir;
use tree::{Arch, Event, Events, OutputFile, is_zero};

use super::payload::{InstallPartition, Payload};
use super::{Ext4Error, MountError, boot, ext4, mounted};
use image::gpt::{self, GptError};

/// Why an image could not be baked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum BakeError {
    /// The image can't be read or is damaged.
    #[error("{path:?}: {source}")]
    Image { path: PathBuf, source: io::Error },
    /// Its partition table can't be used.
    #[error("{path:?}: {source}")]
    Gpt { path: PathBuf, source: GptError },
    #[error(transparent)]
    Ext4(#[from] Ext4Error),
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The output can't be written.
    #[error("{path:?}: {source}")]
    Output { path: PathBuf, source: io::Error },
    /// The output can't take its place.
    #[error(transparent)]
    Commit(#[from] tree::output::OutputError),
    /// The extensions are for another machine than the image's boot loader.
    #[error("{path:?}: boots on {is}, and the extensions are for {wanted}")]
    Architecture { path: PathBuf, is: Arch, wanted: Arch },
    /// The image would be replaced by the output.
    #[error("{0:?} is the image itself: name another file for the output")]
    Same(PathBuf),
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Written {
    /// The output.
    pub path: PathBuf,
    /// Bytes.
    pub bytes: u64,
}

/// Checks, before any long work, that extensions can be written to this partition. Links and configuration are always on
/// ROOT.
///
/// # Errors
/// No privileges, no tools.
pub fn check(partition: InstallPartition) -> Result<(), BakeError> {
    if partition == InstallPartition::Oem {
        mounted::check_privileges(partition.name())?;
    }
    ext4::check_tools()?;
    Ok(())
}

/// The partition with the boot loader.
const EFI: &str = "EFI-SYSTEM";

/// Writes `output`: the disk image, decompressed if it is compressed, with the payload in it. `image` stays as it is, and
/// `output` appears when it is complete.
///
/// # Errors
/// [`BakeError`].
pub fn bake(
    image: &Path,
    payload: &Payload,
    output: &Path,
    events: &dyn Events,
) -> Result<Written, BakeError> {
    check(if payload.needs_root() { InstallPartition::Oem } else { InstallPartition::Root })?;
    if is_same(image, output) {
        return Err(BakeError::Same(output.to_owned()));
    }
    let out = OutputFile::create(output)?;
    let bad_output = |source| BakeError::Output { path: output.to_owned(), source };
    copy(image, &out, events)?;

    let bad_table = |source| BakeError::Gpt { path: image.to_owned(), source };
    let partitions = gpt::read(out.file()).map_err(bad_table)?;
    if let (Some(wanted), Ok(partition)) = (payload.architecture(), gpt::named(&partitions, EFI)) {
        let is = boot::architecture(out.file(), partition).map_err(bad_output)?;
        if let Some(is) = is.filter(|is| *is != wanted) {
            return Err(BakeError::Architecture { path: image.to_owned(), is, wanted });
        }
    }
    let stage = stage(output).map_err(bad_output)?;
    for install in [InstallPartition::Root, InstallPartition::Oem] {
        let entries = payload.of(install);
        if entries.is_empty() {
            continue;
        }
        let partition = gpt::named(&partitions, install.name()).map_err(bad_table)?;
        events.event(Event::Step(format!("writing to partition {}", partition.name).into()));
        let dir = stage.path().join(install.name());
        std::fs::create_dir(&dir).map_err(bad_output)?;
        match install {
            InstallPartition::Root => ext4::insert(out.path()?, partition, &entries, &dir)?,
            InstallPartition::Oem => mounted::insert(out.path()?, partition, &entries, &dir)?,
        }
    }
    let bytes = out.file().metadata().map_err(bad_output)?.len();
    out.commit()?;
    Ok(Written { path: output.to_owned(), bytes })
}

fn is_same(image: &Path, output: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (image.metadata(), output.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// A directory beside the output, removed whichever way the work ends.
fn stage(output: &Path) -> io::Result<TemporaryDir> {
    let parent = output.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
    TemporaryDir::new(parent, "bake")
}

/// Bytes at a time; what is zero all over becomes a hole.
const CHUNK: usize = 64 << 10;

/// Decompresses or copies the image. Disk images are mostly empty: what is zero isn't written.
fn copy(image: &Path, out: &OutputFile, events: &dyn Events) -> Result<(), BakeError> {
    let bad_image = |source| BakeError::Image { path: image.to_owned(), source };
    let bad_output = |source| BakeError::Output { path: out.place().to_owned(), source };
    let mut file = File::open(image).map_err(bad_image)?;
    let total = file.metadata().map_err(bad_image)?.len();
    let mut head = [0; SNIFF];
    let read = file.read(&mut head).map_err(bad_image)?;
    let compression = CompressionFormat::sniff(&head[..read]).map_err(|e| bad_image(e.into()))?;
    file.seek(SeekFrom::Start(0)).map_err(bad_image)?;
    let task = match compression {
        CompressionFormat::None => "copying the image",
        _ => "decompressing the image",
    };
    let counted = Counted { file, done: 0, total, task, events };
    // Empty space compresses without bound, and disks of 64 GiB are larger than any release's.
    let limits = DecodeLimits { ratio: u64::MAX, ..DecodeLimits::default() };
    let mut reader = Decoder::new(BufReader::with_capacity(CHUNK, counted), limits).map_err(bad_image)?;

    let mut writer = out.file();
    let mut buffer = vec![0; CHUNK];
    let mut length = 0u64;
    loop {
        let filled = fill(&mut reader, &mut buffer).map_err(bad_image)?;
        let chunk = &buffer[..filled];
        if !is_zero(chunk) {
            writer.seek(SeekFrom::Start(length)).map_err(bad_output)?;
            writer.write_all(chunk).map_err(bad_output)?;
        }
        length += filled as u64;
        if filled < buffer.len() {
            break;
        }
    }
    events.event(Event::Done { task });
    out.file().set_len(length).map_err(bad_output)
}

/// As much as fits, less only at the end.
fn fill(reader: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Reports the progress of reading.
struct Counted<'a> {
    file: File,
    done: u64,
    total: u64,
    task: &'static str,
    events: &'a dyn Events,
}

impl io::Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.done += read as u64;
        self.events.event(Event::Progress { task: self.task, done: self.done, total: Some(self.total) });
        Ok(read)
    }
}
