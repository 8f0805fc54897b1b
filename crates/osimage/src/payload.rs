//! What goes into an image: files and links, each on its partition.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sysext::ExtensionName;
use tree::{Arch, StaticPath, TreePath};

/// A partition that extensions can be put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstallPartition {
    /// Partition ROOT, ext4: `/` of the running system.
    Root,
    /// Partition OEM, btrfs: `/oem` of the running system.
    Oem,
}

impl InstallPartition {
    /// The partition's name.
    pub fn name(self) -> &'static str {
        match self {
            InstallPartition::Root => "ROOT",
            InstallPartition::Oem => "OEM",
        }
    }

    /// Where the partition is seen on the running system.
    fn mount_point(self) -> &'static str {
        match self {
            InstallPartition::Root => "",
            InstallPartition::Oem => "/oem",
        }
    }
}

/// Where extensions are put: `root:/opt/extensions/`, `oem:/extensions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallPath {
    /// The partition.
    pub partition: InstallPartition,
    /// The directory on it.
    pub dir: TreePath,
}

const ON_ROOT: StaticPath = StaticPath::new("/opt/extensions");
const ON_OEM: StaticPath = StaticPath::new("/extensions");
const SYSUPDATE: StaticPath = StaticPath::new("/etc/sysupdate.d");

impl Default for InstallPath {
    fn default() -> Self {
        InstallPath { partition: InstallPartition::Root, dir: ON_ROOT.path() }
    }
}

impl fmt::Display for InstallPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partition = if self.partition == InstallPartition::Root { "root" } else { "oem" };
        write!(f, "{partition}:{}", self.dir)
    }
}

impl FromStr for InstallPath {
    type Err = PayloadError;

    fn from_str(text: &str) -> Result<Self, PayloadError> {
        let bad = || PayloadError::InstallPath { got: text.to_owned() };
        let (partition, dir) = text.split_once(':').unwrap_or((text, ""));
        let partition = match partition {
            "root" => InstallPartition::Root,
            "oem" => InstallPartition::Oem,
            _ => return Err(bad()),
        };
        let dir = match (dir, partition) {
            ("", InstallPartition::Root) => ON_ROOT.path(),
            ("", InstallPartition::Oem) => ON_OEM.path(),
            (dir, _) => TreePath::new(format!("/{}", dir.trim_matches('/'))).map_err(|_| bad())?,
        };
        plain(&dir.to_string())?;
        Ok(InstallPath { partition, dir })
    }
}

/// What one path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadItem {
    /// A copy of a file of this machine.
    File {
        /// Where it is.
        source: PathBuf,
        /// Bytes.
        size: u64,
    },
    /// A file with this text.
    Text(String),
    /// A symbolic link to this.
    Symlink(String),
}

/// A path and what is put there, owned by root; files have mode 0644, directories that are missing 0755.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadEntry {
    /// The partition.
    pub partition: InstallPartition,
    /// The path on it.
    pub path: TreePath,
    /// What it is.
    pub item: PayloadItem,
}

/// Why something can't be put into an image.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum PayloadError {
    /// `--install-to` says something else than a partition and a directory.
    #[error("place to install to: got {got:?}, expected root:/DIRECTORY or oem:/DIRECTORY")]
    InstallPath { got: String },
    /// A name has characters that a tool on the way would misread.
    #[error("name {got:?}: only printable ASCII without quotes and backslashes can be put into an image")]
    Name { got: String },
    /// Two extensions have one name.
    #[error("extension {0} is given twice")]
    Twice(ExtensionName),
}

/// All that is put into an image.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    entries: Vec<PayloadEntry>,
    names: BTreeSet<ExtensionName>,
    architecture: Option<Arch>,
}

impl Payload {
    /// What the extensions are for; none if they are for all.
    pub fn architecture(&self) -> Option<Arch> {
        self.architecture
    }

    /// Only an image that boots on this takes the extensions.
    pub fn set_architecture(&mut self, architecture: Option<Arch>) {
        self.architecture = architecture;
    }

    /// An extension: its file in a directory of its own, where systemd-sysupdate looks for versions, and the link that makes
    /// systemd-sysext merge it.
    ///
    /// # Errors
    /// The name is there already, or `file_name` isn't a plain name.
    pub fn extension(
        &mut self,
        target: &InstallPath,
        name: &ExtensionName,
        file_name: &str,
        source: PathBuf,
        size: u64,
    ) -> Result<(), PayloadError> {
        plain(file_name)?;
        plain(name.as_str())?;
        if !self.names.insert(name.clone()) {
            return Err(PayloadError::Twice(name.clone()));
        }
        let bad = |_| PayloadError::Name { got: file_name.to_owned() };
        let path = target.dir.join(name.as_str()).and_then(|d| d.join(file_name)).map_err(bad)?;
        let link = format!("{}{path}", target.partition.mount_point());
        self.push(target.partition, path, PayloadItem::File { source, size });
        let link_path = TreePath::new(format!("/etc/extensions/{name}.raw")).map_err(bad)?;
        self.push(InstallPartition::Root, link_path, PayloadItem::Symlink(link));
        Ok(())
    }

    /// The sysupdate configuration of an extension, under its file's name.
    ///
    /// # Errors
    /// `file_name` isn't a plain name.
    pub fn sysupdate(
        &mut self,
        name: &ExtensionName,
        file_name: &str,
        text: String,
    ) -> Result<(), PayloadError> {
        plain(file_name)?;
        let bad = |_| PayloadError::Name { got: file_name.to_owned() };
        let dir = TreePath::new(format!("/etc/sysupdate.{name}.d")).map_err(bad)?;
        self.push(InstallPartition::Root, dir.join(file_name).map_err(bad)?, PayloadItem::Text(text));
        Ok(())
    }

    /// The default transfer without which systemd-sysupdate.service fails, under its file's name.
    ///
    /// # Errors
    /// `file_name` isn't a plain name.
    pub fn noop(&mut self, file_name: &str, text: String) -> Result<(), PayloadError> {
        plain(file_name)?;
        let bad = |_| PayloadError::Name { got: file_name.to_owned() };
        let path = SYSUPDATE.path().join(file_name).map_err(bad)?;
        self.push(InstallPartition::Root, path, PayloadItem::Text(text));
        Ok(())
    }

    /// A file with this text on ROOT.
    ///
    /// # Errors
    /// `path` isn't a plain path.
    pub fn text(&mut self, path: &str, text: String) -> Result<(), PayloadError> {
        self.push(InstallPartition::Root, plain_path(path)?, PayloadItem::Text(text));
        Ok(())
    }

    /// A link on ROOT.
    ///
    /// # Errors
    /// `path` or `target` isn't a plain path.
    pub fn link(&mut self, path: &str, target: &str) -> Result<(), PayloadError> {
        plain(target)?;
        self.push(InstallPartition::Root, plain_path(path)?, PayloadItem::Symlink(target.to_owned()));
        Ok(())
    }

    fn push(&mut self, partition: InstallPartition, path: TreePath, item: PayloadItem) {
        self.entries.push(PayloadEntry { partition, path, item });
    }

    /// All entries.
    pub fn entries(&self) -> &[PayloadEntry] {
        &self.entries
    }

    /// The entries of a partition.
    pub fn of(&self, partition: InstallPartition) -> Vec<&PayloadEntry> {
        self.entries.iter().filter(|e| e.partition == partition).collect()
    }

    /// Whether writing it takes root's privileges: btrfs has to be mounted.
    pub(crate) fn needs_root(&self) -> bool {
        self.entries.iter().any(|e| e.partition == InstallPartition::Oem)
    }
}

fn plain_path(path: &str) -> Result<TreePath, PayloadError> {
    plain(path)?;
    let path_of = TreePath::new(path).ok().filter(|p| !p.is_root());
    path_of.ok_or_else(|| PayloadError::Name { got: path.to_owned() })
}

/// debugfs reads its commands line by line, with quotes.
fn plain(name: &str) -> Result<(), PayloadError> {
    let good = |c: char| c == ' ' || (c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '\''));
    if name.len() <= 1024 && name.chars().all(good) {
        Ok(())
    } else {
        Err(PayloadError::Name { got: name.to_owned() })
    }
}
