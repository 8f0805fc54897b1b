//! What is in a file system, and file systems themselves.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use elf::{Edit, Elf, rewrite};
use image::{ImageOptions, Verity, Volume};
use tree::{Content, ScratchDir, ScratchSpace, Silent};

use crate::images::sample;
use crate::seeds;

/// Executables and libraries.
pub(crate) fn elf(data: &[u8]) {
    let content = Content::from(data);
    let _ = Elf::parse(&content);
    let _ = elf::defined_versions(&content);
}

/// Executables and libraries, changed. What comes out is as readable as what went in.
pub(crate) fn rewriter(data: &[u8]) {
    let content = Content::from(data);
    let Ok(Some(before)) = Elf::parse(&content) else { return };
    let path = b"/usr/lib/flix/some-name/lib:/usr/lib/flix/some-name/usr/lib/x86_64-linux-gnu".to_vec();
    let edit = Edit {
        interpreter: before.interpreter.as_ref().map(|_| b"/usr/lib/flix/some-name/lib64/ld.so".to_vec()),
        runpath: Some(path.clone()),
        nodeflib: true,
        ..Edit::default()
    };
    let Ok(changed) = rewrite(&content, &edit) else { return };
    match Elf::parse(&changed) {
        Ok(Some(after)) => {
            assert_eq!(after.needed, before.needed);
            assert_eq!(after.runpath, Some(path));
        }
        other => panic!("rewritten file is not readable: {other:?}"),
    }
}

/// systemd's units.
pub(crate) fn units(data: &[u8]) {
    let directives = sysext::extension::units::parse(data);
    let _ = sysext::extension::units::exec_lines(&directives);
}

/// The program that runs, and a header alone.
pub(crate) fn programs() -> Vec<Vec<u8>> {
    let mut all = vec![b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0\x01\0\0\0".to_vec()];
    // Its beginning: the headers are there, and what they lead to isn't.
    if let Ok(mut bytes) = std::fs::read("/proc/self/exe") {
        bytes.truncate(1 << 16);
        all.push(bytes);
    }
    all
}

pub(crate) fn unit_files() -> Vec<Vec<u8>> {
    seeds(&["[Service]\nExecStart=-/usr/bin/a \"b c\" \\\n  ${D}; e\nEnvironment=x=y\n"])
}

#[derive(Debug)]
struct Space;

#[derive(Debug)]
struct Dir(tempfile::TempDir);

impl ScratchSpace for Space {
    fn scratch_dir(&self, _what: &str) -> std::io::Result<Box<dyn ScratchDir>> {
        Ok(Box::new(Dir(tempfile::tempdir()?)))
    }
}

impl ScratchDir for Dir {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn kept(data: &[u8]) -> Option<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new().ok()?;
    file.write_all(data).ok()?;
    Some(file)
}

/// squashfs images. What isn't one, or could be a disk image, is left alone: other file systems are the kernel's to read.
pub(crate) fn squashfs(data: &[u8]) {
    if !data.starts_with(b"hsqs") || data.get(512..520) == Some(b"EFI PART") {
        return;
    }
    let Some(file) = kept(data) else { return };
    if let Ok(contents) = image::read(file.path(), &Space) {
        for (path, node) in contents.tree.iter() {
            let head = node.content().map(|content| content.head(1 << 16));
            assert!(head.is_none_or(|h| h.is_ok()), "{path}");
        }
    }
}

/// Partition tables.
pub(crate) fn gpt(data: &[u8]) {
    let Some(file) = kept(data) else { return };
    let Ok(partitions) =
        File::open(file.path()).map_err(drop).and_then(|f| image::gpt::read(&f).map_err(drop))
    else {
        return;
    };
    for partition in partitions {
        assert!(partition.offset + partition.size <= data.len() as u64);
    }
}

fn written(verity: Option<Verity>) -> Vec<Vec<u8>> {
    let tree = sample();
    let Ok(dir) = tempfile::tempdir() else { return Vec::new() };
    let path = dir.path().join("x.raw");
    let volume = Volume { tree: &tree, name: "x", architecture: None, epoch: 0 };
    let options = ImageOptions { verity, ..ImageOptions::default() };
    let done = image::write(volume, &path, &options, &Silent);
    done.ok().and_then(|_| std::fs::read(&path).ok()).into_iter().collect()
}

pub(crate) fn squashfs_images() -> Vec<Vec<u8>> {
    written(None)
}

pub(crate) fn disks() -> Vec<Vec<u8>> {
    written(Some(Verity { signer: None, architecture: Some(tree::Arch::X86_64) }))
}
