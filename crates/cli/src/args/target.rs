//! For which host an extension is built.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use host_check::Target;
use image::ImageContents;
use oci::{Context, ImageRef, LivePaths};
use selinux::{FileContexts, Sources};
use tree::{Event, Events, ReadOptions, Tree};

use crate::host_files::{ReadHost, read_host};

/// By which policy files are labeled.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Host")]
pub struct LabelArgs {
    /// Label all files for SELinux by this file_contexts of a policy, or by the policy of this host: a directory (dir:/ for this
    /// machine), a tar of a root file system, a disk image, or an OCI image, by its reference
    #[arg(long, value_name = "FILE|HOST")]
    pub(crate) file_contexts: Option<String>,
}

/// For which host an extension is built.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Host")]
pub struct TargetArgs {
    /// Leave out files that this host has with the same content, and refuse to hide others of its files. HOST as for
    /// --file-contexts
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,

    #[allow(missing_docs)] // they would become help
    #[command(flatten)]
    pub labels: LabelArgs,
}

/// What was read of a host.
#[derive(Debug)]
pub struct ReadTarget {
    /// What the extension is built for.
    pub target: Arc<Target>,
    /// Keeps the host's files there.
    _contents: Option<ImageContents>,
}

impl TargetArgs {
    /// Reads what is named; none if nothing is. `context` opens images.
    ///
    /// # Errors
    /// The host or the policy can't be read, or there is no policy.
    pub fn read<E>(
        &self,
        context: impl FnOnce() -> Result<Context, E>,
        events: &dyn Events,
    ) -> anyhow::Result<Option<ReadTarget>>
    where
        anyhow::Error: From<E>,
    {
        let Self { host, labels: LabelArgs { file_contexts: policy } } = self;
        if host.is_none() && policy.is_none() {
            return Ok(None);
        }
        let context = context()?;
        let host = match host {
            Some(name) => {
                let read =
                    read_host(name, None, &LivePaths::default(), &context, events).context("--host")?;
                // Modes and owners that aren't known aren't compared.
                for note in &read.host.notes {
                    events.event(Event::Warning(format!("{name}: {note}").into()));
                }
                Some(read)
            }
            None => None,
        };
        let contexts = match (policy, &host) {
            // One that needn't be read again.
            (Some(policy), Some(read)) if self.host.as_ref() == Some(policy) => {
                Some(FileContexts::new(Sources::of_host(&read.host.tree)?)?)
            }
            (Some(policy), _) => Some(contexts(policy, &context, events)?),
            (None, _) => None,
        };
        let (host, contents) = match host {
            Some(ReadHost { host, contents }) => (Some(host), contents),
            None => (None, None),
        };
        Ok(Some(ReadTarget { target: Arc::new(Target { host, contexts }), _contents: contents }))
    }
}

impl From<LabelArgs> for TargetArgs {
    fn from(labels: LabelArgs) -> TargetArgs {
        TargetArgs { host: None, labels }
    }
}

/// The labels of a policy: of its file, or of a host that has it.
fn contexts(name: &str, context: &Context, events: &dyn Events) -> anyhow::Result<FileContexts> {
    let path = Path::new(name);
    let sources = match (is_text(path), name.parse()) {
        (true, _) => Sources::read(path)?,
        // Nothing else of it is needed, and not everybody may read the rest.
        (false, Ok(ImageRef::Dir(dir))) => {
            let options = ReadOptions { only: Sources::places(), lenient: true, ..ReadOptions::default() };
            let tree = Tree::from_dir(&dir, &options).context("--file-contexts")?;
            Sources::of_host(&tree).with_context(|| name.to_owned())?
        }
        (false, _) => {
            let read =
                read_host(name, None, &LivePaths::default(), context, events).context("--file-contexts")?;
            Sources::of_host(&read.host.tree).with_context(|| name.to_owned())?
        }
    };
    Ok(FileContexts::new(sources)?)
}

/// Whether it is a file of text, as a policy's are, and no image of a host.
fn is_text(path: &Path) -> bool {
    let head = || -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        File::open(path)?.take(4096).read_to_end(&mut out)?;
        Ok(out)
    };
    path.is_file() && head().is_ok_and(|head| !head.is_empty() && head.is_ascii() && !head.contains(&0))
}
