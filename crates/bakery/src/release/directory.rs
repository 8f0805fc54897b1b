//! What a release has: in a folder, or at the URL that hosts it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tree::{Content, Events, OutputFile, output::is_temporary};

use super::listing::{self, LISTING};
use super::record::{Record, RecordError};
use super::sums::{Sums, SumsError};
use recipes::ImageFileName;
use recipes::checksum::Checksum;
use recipes::fetch::{FetchError, Fetcher, FileRequest};
use signature::{self, SIGNATURE_MAX, Scheme, SignatureError};

pub(crate) const MANIFEST: &str = "SHA256SUMS";
pub(crate) const MANIFEST_SIGNATURE: &str = "SHA256SUMS.gpg";
/// The ending of a provenance statement.
pub(crate) const STATEMENT: &str = ".intoto.json";
/// The ending of a bill of materials.
pub(crate) const SBOM: &str = ".spdx.json";
/// The ending of an image.
const IMAGE: &str = ".raw";
/// Bytes.
const TEXT_MAX: u64 = 16 << 20;

/// Why a release can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DirectoryError {
    /// A file or folder can't be read or written.
    #[error("{path:?}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// A file can't be put in its place.
    #[error(transparent)]
    Output(#[from] tree::output::OutputError),
    /// A file of a URL can't be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A manifest isn't one.
    #[error("{location}: {source}")]
    Sums { location: String, source: SumsError },
    /// A statement isn't one.
    #[error("{location}: {source}")]
    Record { location: String, source: RecordError },
    /// A listing isn't one.
    #[error("{location}: {source}")]
    Listing { location: String, source: serde_json::Error },
    /// A manifest's signature doesn't hold.
    #[error("{location}: {source}")]
    Signature { location: String, source: SignatureError },
    /// An image isn't what its statement says.
    #[error("{path:?}: has SHA-256 {got}, expected {expected} as its statement says")]
    Changed { path: PathBuf, got: String, expected: String },
    /// A place where no release is.
    #[error("{url}: is not a release: no SHA256SUMS for it or any extension")]
    NoRelease { url: String },
    /// Somebody else writes to it.
    #[error("{path:?}: another bakery process is using it")]
    Busy { path: PathBuf },
    /// Two folders have different images under one name.
    #[error("{path:?}: differs from {other:?}, which has the same name")]
    Differs { path: PathBuf, other: PathBuf },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DirectoryError + '_ {
    move |source| DirectoryError::Io { path: path.to_owned(), source }
}

/// The name of a metadata file of an image: another ending in the place of the image's own. It must not follow that: to
/// systemd-sysupdate 257 everything whose name *begins* as its pattern says is an image, and it would install metadata as
/// one.
pub(crate) fn metadata_file(image: &str, ending: &str) -> String {
    format!("{}{ending}", image.strip_suffix(IMAGE).unwrap_or(image))
}

/// The images of a release, and the checksums that its manifests have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    /// Images by file name.
    pub records: BTreeMap<String, Record>,
    /// Manifests by extension: what it says of images and their metadata.
    pub sums: BTreeMap<String, Sums>,
    /// The images that were released already, by file name, and the day if it is known: `2026-11-27`.
    pub days: BTreeMap<String, Option<String>>,
}

impl Contents {
    /// Of a folder: every image that has its statement, and the size that the statement says.
    ///
    /// # Errors
    /// Statements that can't be read.
    pub(crate) fn of_folder(dir: &Path) -> Result<Contents, DirectoryError> {
        let mut contents = Contents::default();
        for (path, is_dir) in list(dir)? {
            if !is_dir {
                continue;
            }
            contents.days.extend(days_of_folder(&path)?);
            for (path, _) in list(&path)? {
                let name = path.to_string_lossy();
                let Some(stem) = name.strip_suffix(STATEMENT) else { continue };
                let image = PathBuf::from(format!("{stem}{IMAGE}"));
                let text = fs::read(&path).map_err(io_error(&path))?;
                let record = Record::parse(&text).map_err(|source| DirectoryError::Record {
                    location: name.clone().into_owned(),
                    source,
                })?;
                let size = image.metadata().map(|m| m.len());
                let in_place =
                    path.ends_with(format!("{}/{}{STATEMENT}", record.image.name, record.image.stem()));
                // An image that went away, or was never finished, is built again.
                if in_place && size.is_ok_and(|s| s == record.size) {
                    contents.records.insert(record.image.to_string(), record);
                }
            }
        }
        Ok(contents)
    }

    /// The same, with the checksums of the images' metadata.
    ///
    /// # Errors
    /// Files that can't be read.
    pub(crate) fn of_folder_with_sums(dir: &Path) -> Result<Contents, DirectoryError> {
        let mut contents = Self::of_folder(dir)?;
        for record in contents.records.values() {
            let sums = contents.sums.entry(record.image.name.clone()).or_default();
            add_sums(sums, &dir.join(&record.image.name), record)?;
        }
        Ok(contents)
    }

    /// What is known of an image that lies in a release, or was taken out of one with its metadata.
    ///
    /// # Errors
    /// Its statement can't be read.
    pub(crate) fn record_beside(image: &Path) -> Result<Option<Record>, DirectoryError> {
        let Some(name) = image.file_name().and_then(|n| n.to_str()) else { return Ok(None) };
        let path = image.with_file_name(metadata_file(name, STATEMENT));
        match fs::read(&path) {
            Ok(text) => Record::parse(&text)
                .map(Some)
                .map_err(|source| DirectoryError::Record { location: path.display().to_string(), source }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error(&path)(e)),
        }
    }

    /// Of a URL, for these extensions: what their manifests list. An extension without a manifest has nothing there.
    /// With `key`, manifests have to be signed by it. A place without any manifest is no release, unless it `may_be_empty`.
    ///
    /// # Errors
    /// The release can't be asked for, or its files aren't what its manifests say.
    pub(crate) fn of_url<'a>(
        url: &str,
        names: impl IntoIterator<Item = &'a str>,
        key: Option<&[u8]>,
        may_be_empty: bool,
        fetcher: &Fetcher,
        events: &dyn Events,
    ) -> Result<Contents, DirectoryError> {
        let mut contents = Contents::default();
        let root = url.trim_end_matches('/');
        for name in names {
            let base = format!("{root}/{name}/");
            let location = format!("{base}{MANIFEST}");
            let text = match fetcher.text(&location, TEXT_MAX, events) {
                Ok(text) => text,
                Err(e) if e.is_not_found() => continue,
                Err(e) => return Err(e.into()),
            };
            if let Some(key) = key {
                let signature = fetcher.text(&format!("{location}.gpg"), SIGNATURE_MAX, events)?;
                let content = Content::from(text.clone());
                signature::verify(Scheme::OpenPgp, key, &signature, &content)
                    .map_err(|source| DirectoryError::Signature { location: location.clone(), source })?;
            }
            let sums = Sums::parse(&text).map_err(|source| DirectoryError::Sums { location, source })?;
            contents.days.extend(sums.0.keys().filter(|f| f.ends_with(IMAGE)).map(|f| (f.clone(), None)));
            if let Some(checksum) = sums.0.get(LISTING).and_then(|sum| Checksum::from_hex(sum)) {
                let location = format!("{base}{LISTING}");
                let want = FileRequest { url: location.clone(), checksums: vec![checksum], size: None };
                let text = fetcher.get(&want, events)?.content().read(TEXT_MAX).map_err(|e| {
                    DirectoryError::Io { path: location.clone().into(), source: io::Error::other(e) }
                })?;
                let days = listing::days(&text);
                contents.days.extend(days.map_err(|source| DirectoryError::Listing { location, source })?);
            }
            let mut kept = Sums::default();
            for (file, sum) in &sums.0 {
                let Some(image) = file.strip_suffix(STATEMENT).map(|stem| format!("{stem}{IMAGE}")) else {
                    continue;
                };
                let (Some(image_sum), Some(checksum)) = (sums.0.get(&image), Checksum::from_hex(sum)) else {
                    continue;
                };
                let statement = format!("{base}{file}");
                let want = FileRequest { url: statement.clone(), checksums: vec![checksum], size: None };
                let fetched = fetcher.get(&want, events)?;
                let bytes = fetched.content().read(TEXT_MAX).map_err(|e| DirectoryError::Io {
                    path: statement.clone().into(),
                    source: io::Error::other(e),
                })?;
                let bad = |source| DirectoryError::Record { location: statement.clone(), source };
                let record = Record::parse(&bytes).map_err(bad)?;
                let subject = record.image.to_string();
                if record.image.name != name || subject != image || record.sha256.hex() != *image_sum {
                    let expected = "what the manifest lists";
                    return Err(bad(RecordError::Other { what: "subject", got: subject, expected }));
                }
                let metadata = [image.clone(), file.clone(), metadata_file(&image, SBOM)];
                let lines = metadata.into_iter().filter_map(|f| Some((f.clone(), sums.0.get(&f)?.clone())));
                kept.0.extend(lines);
                contents.records.insert(subject, record);
            }
            contents.sums.insert(name.to_owned(), kept);
        }
        // Not one manifest: a release without any of these extensions, or another place.
        if contents.sums.is_empty() && !may_be_empty {
            match fetcher.text(&format!("{root}/{MANIFEST}"), TEXT_MAX, events) {
                Err(e) if e.is_not_found() => return Err(DirectoryError::NoRelease { url: root.to_owned() }),
                answer => drop(answer?),
            }
        }
        Ok(contents)
    }
}

/// The images of an extension's folder that were released already. Releases of other versions of this program have no listing.
fn days_of_folder(dir: &Path) -> Result<BTreeMap<String, Option<String>>, DirectoryError> {
    // Other folders may lie there, too, with files of these names.
    let Ok(manifest) = fs::read_to_string(dir.join(MANIFEST)) else { return Ok(BTreeMap::new()) };
    let path = dir.join(LISTING);
    match fs::read(&path) {
        Ok(text) => listing::days(&text)
            .map_err(|source| DirectoryError::Listing { location: path.display().to_string(), source }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let names = manifest.lines().filter_map(|line| line.split_once("  ").map(|(_, name)| name));
            Ok(names.filter(|name| name.ends_with(IMAGE)).map(|name| (name.to_owned(), None)).collect())
        }
        Err(e) => Err(io_error(&path)(e)),
    }
}

/// An image and its metadata, which lie in `dir`.
pub(super) fn add_sums(sums: &mut Sums, dir: &Path, record: &Record) -> Result<(), DirectoryError> {
    sums.0.insert(record.image.to_string(), record.sha256.hex());
    for ending in [SBOM, STATEMENT] {
        let file = format!("{}{ending}", record.image.stem());
        let sum = hash(&dir.join(&file))?;
        sums.0.insert(file, sum);
    }
    Ok(())
}

/// Entries of a folder and whether they are folders, by name. Names that start with a dot are ignored.
pub(super) fn list(dir: &Path) -> Result<Vec<(PathBuf, bool)>, DirectoryError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error(dir)(e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error(dir))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            found.push((entry.path(), entry.file_type().map_err(io_error(dir))?.is_dir()));
        }
    }
    found.sort();
    Ok(found)
}

/// A folder that nobody else changes meanwhile.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: fs::File,
}

impl DirectoryLock {
    /// Takes a folder, which is made if it isn't there, and removes what a run left unfinished that was killed.
    ///
    /// # Errors
    /// Another process has it, or it can't be read or written.
    pub(crate) fn take(dir: &Path) -> Result<DirectoryLock, DirectoryError> {
        fs::create_dir_all(dir).map_err(io_error(dir))?;
        let file = fs::File::open(dir).map_err(io_error(dir))?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(DirectoryError::Busy { path: dir.to_owned() }),
            Err(e) => return Err(io_error(dir)(e.into())),
        }
        let below = list(dir)?.into_iter().filter_map(|(path, is_dir)| is_dir.then_some(path));
        for dir in std::iter::once(dir.to_owned()).chain(below) {
            for entry in fs::read_dir(&dir).map_err(io_error(&dir))? {
                let entry = entry.map_err(io_error(&dir))?;
                if is_temporary(&entry.file_name()) && entry.path().is_file() {
                    let path = entry.path();
                    fs::remove_file(&path).map_err(io_error(&path))?;
                }
            }
        }
        Ok(DirectoryLock { _file: file })
    }
}

/// Takes the images of a folder, with their metadata, into another. What is there already stays.
///
/// # Errors
/// Images that aren't what their statements say, or differ from those that are there.
pub(crate) fn merge(from: &Path, to: &Path) -> Result<Vec<ImageFileName>, DirectoryError> {
    let (theirs, ours) = (Contents::of_folder(from)?, Contents::of_folder(to)?);
    let mut taken = Vec::new();
    for (file, record) in &theirs.records {
        let dir = &record.image.name;
        let (source, target) = (from.join(dir).join(file), to.join(dir).join(file));
        if let Some(own) = ours.records.get(file) {
            if own != record {
                return Err(DirectoryError::Differs { path: source, other: target });
            }
            continue;
        }
        let got = hash(&source)?;
        let expected = record.sha256.hex();
        if got != expected {
            return Err(DirectoryError::Changed { path: source, got, expected });
        }
        fs::create_dir_all(to.join(dir)).map_err(io_error(to))?;
        // The statement comes last: it says that all is there.
        copy(&source, &target)?;
        for ending in [SBOM, STATEMENT] {
            let name = format!("{}{ending}", record.image.stem());
            copy(&source.with_file_name(&name), &target.with_file_name(&name))?;
        }
        taken.push(record.image.clone());
    }
    Ok(taken)
}

fn copy(from: &Path, to: &Path) -> Result<(), DirectoryError> {
    let out = OutputFile::create(to)?;
    let mut file = fs::File::open(from).map_err(io_error(from))?;
    io::copy(&mut file, &mut out.file()).map_err(io_error(to))?;
    Ok(out.commit()?)
}

/// SHA-256 of a file, in hex.
pub(super) fn hash(path: &Path) -> Result<String, DirectoryError> {
    let mut file = fs::File::open(path).map_err(io_error(path))?;
    let mut hasher = store::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match io::Read::read(&mut file, &mut buffer).map_err(io_error(path))? {
            0 => return Ok(hasher.finish().hex()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Writes a text, unless the file has it already: whoever looks at times sees when something changed.
pub(super) fn put(path: &Path, text: &[u8]) -> Result<bool, DirectoryError> {
    if fs::read(path).is_ok_and(|old| old == text) {
        return Ok(false);
    }
    let out = OutputFile::create(path)?;
    io::Write::write_all(&mut out.file(), text).map_err(io_error(path))?;
    out.commit()?;
    Ok(true)
}
