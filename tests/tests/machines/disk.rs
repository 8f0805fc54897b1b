//! Disk images of Flatcar's layout, and what is on their partitions.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::Program;
use image::gpt;

pub(crate) const MIB: u64 = 1 << 20;

/// As <https://www.flatcar.org/docs/latest/reference/developer-guides/sdk-disk-partitions/> has it, but smaller: number, name,
/// MiB. btrfs wants 109.
pub(crate) const LAYOUT: &[(u32, &str, u64)] = &[
    (1, "EFI-SYSTEM", 4),
    (2, "BIOS-BOOT", 2),
    (3, "USR-A", 8),
    (4, "USR-B", 8),
    (6, "OEM", 128),
    (7, "OEM-CONFIG", 4),
    (9, "ROOT", 128),
];

/// Makes one: something in USR-A, a btrfs in OEM, an ext4 in ROOT, of the directory `root` if there is one.
pub(crate) fn make(path: &Path, layout: &[(u32, &str, u64)], root: Option<&Path>) -> Result<()> {
    let mut start = 2;
    let mut table = String::from("label: gpt\n");
    for (number, name, mib) in layout {
        table.push_str(&format!("{number} : start={}, size={}, name={name}\n", start * 2048, mib * 2048));
        start += mib;
    }
    File::create(path)?.set_len((start + 1) * MIB)?;
    Program::new("/usr/sbin/sfdisk").args(["-q", "--no-reread"]).arg(path).input(table).run()?;
    for partition in partitions(path)? {
        let part = path.with_extension(&partition.name);
        File::create(&part)?.set_len(partition.size)?;
        match partition.name.as_str() {
            "OEM" => drop(Program::new("/usr/sbin/mkfs.btrfs").args(["-q", "-L", "OEM"]).arg(&part).run()?),
            "ROOT" => {
                let from = root.map(|dir| [Path::new("-d"), dir]).into_iter().flatten();
                Program::new("/usr/sbin/mkfs.ext4")
                    .args(["-q", "-F", "-L", "ROOT"])
                    .args(from)
                    .arg(&part)
                    .run()?;
            }
            "USR-A" => fs::write(&part, b"what must not be touched")?,
            _ => {}
        }
        write_at(path, &part, partition.offset)?;
        fs::remove_file(part)?;
    }
    Ok(())
}

/// Puts a file's bytes into another; zeros aren't written.
pub(crate) fn write_at(image: &Path, part: &Path, offset: u64) -> Result<()> {
    Program::new("dd")
        .args([format!("if={}", part.display()), format!("of={}", image.display()), format!("seek={offset}")])
        .args(["oflag=seek_bytes", "conv=notrunc,sparse", "bs=64K", "status=none"])
        .run()
        .map(drop)
}

pub(crate) fn partitions(image: &Path) -> Result<Vec<gpt::Partition>> {
    Ok(gpt::read(&File::open(image)?)?)
}

pub(crate) fn partition(image: &Path, name: &str) -> Result<gpt::Partition> {
    Ok(gpt::named(&partitions(image)?, name)?.clone())
}

/// Takes a partition out of an image.
pub(crate) fn extract(image: &Path, name: &str) -> Result<PathBuf> {
    let partition = partition(image, name)?;
    let part = image.with_extension(format!("{name}.part"));
    Program::new("dd")
        .args([format!("if={}", image.display()), format!("of={}", part.display())])
        .args([format!("skip={}", partition.offset), format!("count={}", partition.size)])
        .args(["iflag=skip_bytes,count_bytes", "conv=sparse", "bs=64K", "status=none"])
        .run()?;
    Ok(part)
}

/// Mounts a partition in a name space of its own, and runs a script on it (`$1`).
pub(crate) fn on_mounted(image: &Path, name: &str, script: &str) -> Result<String> {
    let partition = partition(image, name)?;
    let place = image.with_extension("mounted");
    fs::create_dir_all(&place)?;
    let mount = r#"mount -o "ro,loop,offset=$3,sizelimit=$4" "$2" "$1"; cd "$1"; "#;
    let out = Program::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-euc", &format!("{mount}{script}"), "sh"])
        .args([&place, image])
        .args([partition.offset.to_string(), partition.size.to_string()])
        .run()?;
    fs::remove_dir(place)?;
    Ok(out.stdout)
}

/// Type, mode, owner, path and target of all that is on a partition but what mkfs has made.
pub(crate) fn listing(image: &Path, name: &str) -> Result<String> {
    let find = "find . -mindepth 1 ! -name lost+found -printf '%y %m %U:%G /%P %l\\n' | LC_ALL=C sort -k 4";
    Ok(on_mounted(image, name, find)?.lines().map(|l| format!("{}\n", l.trim_end())).collect())
}

/// Judged by the file systems' own tools.
pub(crate) fn check(image: &Path) -> Result<()> {
    let root = extract(image, "ROOT")?;
    Program::new("/usr/sbin/e2fsck").args(["-f", "-n"]).arg(&root).run()?;
    fs::remove_file(root)?;
    let oem = extract(image, "OEM")?;
    Program::new("btrfs").args(["check", "--check-data-csum"]).arg(&oem).run()?;
    fs::remove_file(oem)?;
    Ok(())
}

/// The first byte at which two images of one length differ outside of these partitions.
pub(crate) fn difference(a: &Path, b: &Path, but: &[&str]) -> Result<Option<u64>> {
    let skipped: Vec<_> = but.iter().map(|name| partition(a, name)).collect::<Result<_>>()?;
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let length = a.metadata()?.len();
    if b.metadata()?.len() != length {
        return Ok(Some(length.min(b.metadata()?.len())));
    }
    let mut at = 0;
    let mut buffers = [vec![0; MIB as usize], vec![0; MIB as usize]];
    while at < length {
        let n = (length - at).min(MIB) as usize;
        if !skipped.iter().any(|p| (p.offset..p.offset + p.size).contains(&at)) {
            for (file, buffer) in [&mut a, &mut b].into_iter().zip(&mut buffers) {
                file.seek(SeekFrom::Start(at))?;
                file.read_exact(&mut buffer[..n])?;
            }
            if buffers[0][..n] != buffers[1][..n] {
                return Ok(Some(at));
            }
        }
        at += n as u64;
    }
    Ok(None)
}

/// Bytes on disk.
pub(crate) fn taken(path: &Path) -> Result<u64> {
    Ok(path.metadata()?.blocks() * 512)
}

/// Loop devices on files below a directory, and mounts that name it.
pub(crate) fn in_use(dir: &Path) -> Result<Vec<String>> {
    let dir = dir.to_str().context("a path that is not UTF-8")?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block")? {
        let file = entry?.path().join("loop/backing_file");
        let backing = fs::read_to_string(&file).unwrap_or_default();
        if backing.contains(dir) {
            found.push(backing.trim().to_owned());
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    found.extend(mounts.lines().filter(|l| l.contains(dir)).map(str::to_owned));
    Ok(found)
}
