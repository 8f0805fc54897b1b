//! A disk image of Flatcar's layout that a PC boots: GRUB in BIOS-BOOT, Debian in ROOT.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::place::cached;
use e2e::{Program, roots};

use crate::disk;

const LAYOUT: &[(u32, &str, u64)] =
    &[(1, "EFI-SYSTEM", 4), (2, "BIOS-BOOT", 2), (3, "USR-A", 8), (6, "OEM", 128), (9, "ROOT", 900)];

/// What Flatcar's GRUB does, without its choice of two systems.
const GRUB: &str = "\
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
search --label ROOT --set root
linux /boot/vmlinuz console=ttyS0 edd=off no_timer_check panic=-1 quiet mitigations=off cryptomgr.notests norandmaps
initrd /boot/initrd.img
boot
";

/// Debian's kernel has the disk's driver and the file system in modules.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
/bin/busybox mount -t ext4 /dev/vda9 /root
exec /bin/busybox switch_root /root /lib/systemd/systemd
";

/// The file system's device, as [`INIT`] has it.
const ROOT: &str = "/dev/vda9";

/// The image. Don't change it.
pub(crate) fn image() -> Result<PathBuf> {
    let root = roots::host("trixie")?;
    let host = fs::read_to_string(root.with_file_name("recipe"))?;
    let recipe = format!("{host}{}", include_str!("bootable.rs"));
    Ok(cached("bootable-trixie", &recipe, |dir| make(&root, dir))?.join("disk.bin"))
}

fn make(host: &Path, dir: &Path) -> Result<()> {
    let root = dir.join("root");
    Program::new("cp").args(["-a", "--reflink=auto"]).args([host, &root]).run()?;
    fs::write(root.join("boot/initrd.img"), initrd(host, dir, ROOT)?)?;
    let image = dir.join("disk.bin");
    disk::make(&image, LAYOUT, Some(&root))?;
    fs::remove_dir_all(&root)?;

    let (config, core) = (dir.join("grub.cfg"), dir.join("core.img"));
    fs::write(&config, GRUB)?;
    Program::new("grub-mkimage")
        .args(["--format", "i386-pc", "--prefix", "/boot/grub", "--config"])
        .arg(&config)
        .arg("--output")
        .arg(&core)
        .args([
            "biosdisk",
            "part_gpt",
            "ext2",
            "serial",
            "terminal",
            "search",
            "search_label",
            "linux",
            "normal",
        ])
        .run()?;
    // As grub-bios-setup does: the boot sector says where the core's first sector is, and that one, where its others are.
    // grub-core/boot/i386/pc/boot.S and diskboot.S
    let mut boot = fs::read("/usr/lib/grub/i386-pc/boot.img")?;
    let mut core = fs::read(core)?;
    let start = disk::partition(&image, "BIOS-BOOT")?.offset / 512;
    boot[0x5c..0x64].copy_from_slice(&start.to_le_bytes());
    // Only a disk of the BIOS's own choice is started from anyway; a jump over the check of its number.
    boot[0x66..0x68].copy_from_slice(&[0x90, 0x90]);
    core[0x1f4..0x1fc].copy_from_slice(&(start + 1).to_le_bytes());
    let file = File::options().write(true).open(&image)?;
    file.write_all_at(&boot[..440], 0)?;
    file.write_all_at(&core, start * 512)?;
    Ok(())
}

/// What mounts the root on a device of a host, and starts systemd there. Made in a directory.
pub(crate) fn initrd(host: &Path, dir: &Path, device: &str) -> Result<Vec<u8>> {
    let tree = dir.join("initrd");
    for name in ["bin", "dev", "root", "modules"] {
        fs::create_dir_all(tree.join(name))?;
    }
    fs::copy("/bin/busybox", tree.join("bin/busybox"))?;
    fs::write(tree.join("init"), INIT.replace(ROOT, device))?;
    Program::new("chmod").arg("755").arg(tree.join("init")).run()?;
    let versions = fs::read_dir(host.join("usr/lib/modules"))?.next().context("no kernel")??;
    let mut order = Vec::new();
    for module in ["virtio_pci", "virtio_blk", "ext4"] {
        let modprobe = Program::new("chroot").arg(host).args(["modprobe", "-S"]).arg(versions.file_name());
        for line in modprobe.args(["--show-depends", module]).run()?.stdout.lines() {
            let Some(path) =
                line.strip_prefix("insmod ").map(|l| host.join(l.trim().trim_start_matches('/')))
            else {
                continue;
            };
            let name = path.file_name().context("no name")?.to_string_lossy().replace(".xz", "");
            if order.contains(&name) {
                continue;
            }
            let script = r#"case $1 in *.xz) xz -d -c "$1" ;; *) cat "$1" ;; esac > "$2""#;
            Program::new("sh")
                .args(["-euc", script, "sh"])
                .arg(path)
                .arg(tree.join("modules").join(&name))
                .run()?;
            order.push(name);
        }
    }
    fs::write(tree.join("modules/order"), order.join("\n"))?;
    let archive = dir.join("initrd.cpio");
    let pack = r#"cd "$1" && find . -mindepth 1 | cpio -o -H newc --quiet > "$2""#;
    Program::new("sh").args(["-euc", pack, "sh"]).args([&tree, &archive]).run()?;
    fs::remove_dir_all(tree)?;
    Ok(fs::read(archive)?)
}
