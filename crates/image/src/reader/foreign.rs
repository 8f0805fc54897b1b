//! File systems that aren't read here: mounted by the kernel, or taken apart by their own tools.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ImageKind;
use crate::section::Section;
use tree::archive::Limits;
use tree::process::find_program;
use tree::{HostError, ReadOptions, ScratchDir, ScratchSpace, Tree};

/// Why such an image can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ForeignError {
    /// A program can't be started.
    #[error("{program}: {source}")]
    Start { program: &'static str, source: io::Error },
    #[error("{kind} can't be read: {}; Debian's package {package} has {program}", .tried.join("; "))]
    NoWay {
        kind: ImageKind,
        /// What was tried, and how it ended.
        tried: Vec<String>,
        /// What would do it.
        program: &'static str,
        package: &'static str,
    },
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What keeps the files of a tree there.
#[derive(Debug, Default)]
pub(super) struct Guard {
    _mount: Option<File>,
    _scratch: Option<Box<dyn ScratchDir>>,
}

/// The tree, and what may be missing from it.
pub(super) fn read(
    section: &Section,
    kind: ImageKind,
    scratch: &dyn ScratchSpace,
) -> Result<(Tree, Option<String>, Guard), ForeignError> {
    let mut tried = Vec::new();
    let root = rustix::process::geteuid().is_root();
    if root {
        match mount(section, kind, scratch)? {
            Ok((tree, file)) => return Ok((tree, None, Guard { _mount: Some(file), _scratch: None })),
            Err(why) => tried.push(format!("mount: {why}")),
        }
    } else {
        tried.push("only root can mount it".to_owned());
    }
    let scratch = scratch.scratch_dir("image")?;
    let (program, package) = match kind {
        ImageKind::Erofs => ("fsck.erofs", "erofs-utils"),
        ImageKind::Ext => ("debugfs", "e2fsprogs"),
        _ => ("btrfs", "btrfs-progs"),
    };
    let failed = |tried| ForeignError::NoWay { kind, tried, program, package };
    let Some(found) = find_program(program) else {
        tried.push(format!("{program} is not installed"));
        return Err(failed(tried));
    };
    let image = image_file(section, scratch.path())?;
    let dir = scratch.path().join("tree");
    std::fs::create_dir(&dir)?;
    let mut command = confined(&found, section.len);
    match kind {
        ImageKind::Erofs => {
            command.arg(format!("--extract={}", dir.display())).arg("--overwrite").arg(&image)
        }
        // Quotes are debugfs' own; the directory is one of the cache's, and its name has none.
        ImageKind::Ext => command.arg("-R").arg(format!("rdump / \"{}\"", dir.display())).arg(&image),
        // It gives up on the first owner that it can't set.
        _ if root => command.args(["restore", "-m", "-x", "-S"]).arg(&image).arg(&dir),
        _ => command.args(["restore", "-S"]).arg(&image).arg(&dir),
    };
    if let Err(why) = run(&mut command, program)? {
        tried.push(format!("{program}: {why}"));
        return Err(failed(tried));
    }
    let tree = Tree::from_dir(&dir, &limited())?;
    let note = format!(
        "{kind} was taken apart by {program}: owners, modes and extended attributes may not be the image's"
    );
    Ok((tree, Some(note), Guard { _mount: None, _scratch: Some(scratch) }))
}

/// Bytes that a file may have which a tool unfolds, whatever the image's length.
const FILE: u64 = 4 << 30;
/// Bytes of memory that a tool may take. debugfs and fsck.erofs need some tens of MiB.
const MEMORY: u64 = 4 << 30;
/// Seconds of a processor.
const TIME: u64 = 900;

/// A program that is not to be trusted with a hostile image, under limits of the shell's: ulimit, POSIX.
fn confined(program: &Path, image: u64) -> Command {
    const LIMITS: &str = "ulimit -f \"$1\"; ulimit -v \"$2\"; ulimit -t \"$3\"; shift 3; exec \"$@\"";
    let file = FILE.max(image.saturating_mul(4));
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        LIMITS,
        "sh",
        &(file / 512).to_string(),
        &(MEMORY >> 10).to_string(),
        &TIME.to_string(),
    ]);
    command.arg(program);
    command
}

fn limited() -> ReadOptions {
    ReadOptions { limits: Limits::image(), ..ReadOptions::default() }
}

/// Mounts the image, and detaches the mount at once: it lives as long as the directory is open, and
/// goes with this process, however that ends.
#[allow(clippy::type_complexity)] // a failure to mount is an answer, not an error
fn mount(
    section: &Section,
    kind: ImageKind,
    scratch: &dyn ScratchSpace,
) -> Result<Result<(Tree, File), String>, ForeignError> {
    let scratch = scratch.scratch_dir("mount")?;
    let name = match kind {
        ImageKind::Erofs => "erofs",
        ImageKind::Ext => "ext4",
        _ => "btrfs",
    };
    let options = format!("ro,loop,nodev,nosuid,noexec,offset={},sizelimit={}", section.offset, section.len);
    let mut command = Command::new("mount");
    command.args(["-t", name, "-o", &options]).arg(&section.path).arg(scratch.path());
    if let Err(why) = run(&mut command, "mount")? {
        return Ok(Err(why));
    }
    let file = File::open(scratch.path());
    let mut command = Command::new("umount");
    let gone = run(command.arg("-l").arg(scratch.path()), "umount")?;
    let file = file?;
    if let Err(why) = gone {
        return Ok(Err(why));
    }
    let place = PathBuf::from(format!("/proc/self/fd/{}/.", file.as_raw_fd()));
    Ok(Ok((Tree::from_dir(&place, &limited())?, file)))
}

/// Runs a program; the inner error is what it said.
fn run(command: &mut Command, program: &'static str) -> Result<Result<(), String>, ForeignError> {
    command.env("LC_ALL", "C").stdin(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Err("not installed".into())),
        Err(source) => return Err(ForeignError::Start { program, source }),
    };
    if output.status.success() {
        return Ok(Ok(()));
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no message").trim().to_owned();
    Ok(Err(format!("{}: {last}", output.status)))
}

/// The image as a file of its own: tools know no offsets.
fn image_file(section: &Section, dir: &Path) -> io::Result<PathBuf> {
    if section.offset == 0 {
        return std::path::absolute(&section.path);
    }
    let place = dir.join("image");
    let mut from = &section.file;
    from.seek(SeekFrom::Start(section.offset))?;
    io::copy(&mut from.take(section.len), &mut File::create(&place)?)?;
    Ok(place)
}
