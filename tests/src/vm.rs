//! A host that boots, with extensions in it: qemu, a real kernel, systemd as its first process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{Program, place::cached, roots};

/// A virtual machine that boots, runs a script, and goes off. Its root is in memory: nothing of it stays.
#[derive(Debug)]
pub struct Vm {
    root: PathBuf,
    base: PathBuf,
    nic: &'static str,
    files: Vec<PathBuf>,
}

const BEGIN: &str = "@@ script begins";
const END: &str = "@@ script ends: ";

/// Emulation is used even where there is a /dev/kvm: nested ones don't always work, and a guest that hangs for two
/// minutes costs more than the ten seconds that could be won. `FLIX_E2E_ACCEL` chooses another.
const ACCEL: &str = "tcg,thread=multi";

/// Seconds. A boot takes some 20, on a busy machine 150, and some scripts as long as ten boots; then somebody has to say no.
const LIMIT: usize = 1200;
/// Seconds more for each file.
const LIMIT_PER_FILE: usize = 120;

/// On a busy machine an emulated timer is late, which a kernel that checks it takes for a broken one, and panics. The second half is
/// what costs an emulated processor a third of a boot, and protects it from nothing: where each process has addresses of its own, qemu
/// translates the code of shared libraries for each of them anew.
const COMMAND_LINE: &str = "console=ttyS0 edd=off no_timer_check panic=-1 rdinit=/init quiet \
                            mitigations=off init_on_alloc=0 cryptomgr.notests norandmaps";

/// Units that no test needs, each at least a process for the emulated processor. Those that are loaded and never run cost something, too:
/// each time that the manager reloads.
const MASKED: [&str; 26] = [
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "getty@tty1.service",
    "ldconfig.service",
    "modprobe@configfs.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    // Nobody logs in; waiting for the terminal's device takes 90 seconds.
    "serial-getty@ttyS0.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "systemd-logind.service",
    "systemd-random-seed.service",
    "systemd-update-done.service",
    "systemd-user-sessions.service",
];

/// The host's own generators, which find nothing to make units of. They run each time that the manager reloads, and are half of what that
/// takes.
const GENERATORS: [&str; 15] = [
    "systemd-cryptsetup-generator",
    "systemd-debug-generator",
    "systemd-fstab-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-import-generator",
    "systemd-integritysetup-generator",
    "systemd-rc-local-generator",
    "systemd-run-generator",
    "systemd-ssh-generator",
    "systemd-system-update-generator",
    "systemd-sysv-generator",
    "systemd-tpm2-generator",
    "systemd-veritysetup-generator",
];

/// Rules for the devices that the machine has, without 70 terminals, modules that are loaded already, and places on the board.
const DEVICES: &str = "[Service]\nExecStart=\nExecStart=udevadm trigger --type=devices --action=add --subsystem-match=block \
     --subsystem-match=mem --subsystem-match=misc --subsystem-match=net --subsystem-match=pci --subsystem-match=virtio\n";

/// Before a script with files: the disk's drivers aren't necessarily loaded yet.
const MOUNT: &str = "modprobe -a virtio_pci virtio_blk\nudevadm settle\nmkdir -p /run/images\n\
                     mount -r -t squashfs /dev/vda /run/images\n";

const UNIT: &str = "[Unit]
Description=the test
After=multi-user.target systemd-sysext.service
[Service]
Type=oneshot
StandardOutput=file:/dev/ttyS0
StandardError=inherit
ExecStart=/bin/sh -c 'echo; echo \"@@ script begins\"; sh -eu /script </dev/null; echo \"@@ script ends: $?\"'
ExecStopPost=systemctl poweroff -ff
";

impl Vm {
    /// Debian 12, systemd 252.
    ///
    /// # Errors
    /// Its root can't be made.
    pub fn bookworm() -> Result<Vm> {
        Self::of("bookworm")
    }

    /// Debian 13, systemd 257.
    ///
    /// # Errors
    /// Its root can't be made.
    pub fn trixie() -> Result<Vm> {
        Self::of("trixie")
    }

    /// The same with a network, which reaches this machine as 10.0.2.2; the script sees to its own address, 10.0.2.15.
    #[must_use]
    pub fn with_network(self) -> Vm {
        Vm { nic: "user,model=virtio-net-pci", ..self }
    }

    /// The same with files for the script, in /run/images. They are on a second disk, so that they take no memory.
    #[must_use]
    pub fn with_files<P: AsRef<Path>>(self, files: &[P]) -> Vm {
        Vm { files: files.iter().map(|f| f.as_ref().to_owned()).collect(), ..self }
    }

    fn of(suite: &str) -> Result<Vm> {
        let root = roots::host(suite)?;
        // Not compressed: qemu reads 280 MB faster than an emulated processor inflates them.
        let dir = cached(&format!("initrd-{suite}"), &fs::read_to_string(root.join("../recipe"))?, |dir| {
            archive(&root, &dir.join("base.cpio"))
        })?;
        Ok(Vm { base: dir.join("base.cpio"), root, nic: "none", files: Vec::new() })
    }

    /// Boots with these extensions in /etc/extensions and systemd-sysext.service enabled, then runs a shell script
    /// (`sh -eu`) as root when all else is up. Returns what it printed.
    ///
    /// # Errors
    /// The machine doesn't come up, or the script fails.
    pub fn run(&self, work: &Path, extensions: &[&Path], script: &str) -> Result<String> {
        let added = work.join("initrd");
        if added.exists() {
            fs::remove_dir_all(&added).with_context(|| format!("{added:?}"))?;
        }
        let mount = if self.files.is_empty() { "" } else { MOUNT };
        Self::prepare(&added, extensions, &format!("{mount}{script}"))?;
        let initrd = work.join("initrd.cpio");
        archive(&added, &initrd)?;
        // The kernel unpacks archives that follow each other; the later one adds to the earlier.
        let whole = work.join("initrd.img");
        let mut out = File::create(&whole).with_context(|| format!("{whole:?}"))?;
        for part in [&self.base, &initrd] {
            io::copy(&mut File::open(part).with_context(|| format!("{part:?}"))?, &mut out)?;
        }
        drop(out);
        let kernel = self.root.join("boot/vmlinuz");
        let files = if self.files.is_empty() { None } else { Some(self.disk(work)?) };
        let drive = files.as_ref().map(|file| (file.as_path(), "readonly=on"));
        // Longer with many files, of which there are as many things to do.
        let limit = LIMIT + LIMIT_PER_FILE * self.files.len();
        let printed = start(work, (&kernel, &whole, ""), drive, self.nic, limit)?;
        fs::remove_file(&whole)?;
        Ok(printed)
    }

    /// Boots from a disk, on which the initrd finds its root with what [`Vm::prepare`] has put there, and returns what the script printed.
    /// Nothing is written to the disk. `parameters` are more of the kernel's.
    ///
    /// # Errors
    /// The machine doesn't come up, or the script fails.
    pub fn run_disk(
        work: &Path,
        kernel: &Path,
        initrd: &Path,
        disk: &Path,
        parameters: &str,
    ) -> Result<String> {
        start(work, (kernel, initrd, parameters), Some((disk, "snapshot=on")), "none", LIMIT)
    }

    /// A file system with the files.
    fn disk(&self, work: &Path) -> Result<PathBuf> {
        let tree = work.join("files");
        if tree.exists() {
            fs::remove_dir_all(&tree).with_context(|| format!("{tree:?}"))?;
        }
        fs::create_dir_all(&tree).with_context(|| format!("{tree:?}"))?;
        for file in &self.files {
            let name = file.file_name().context("a file without a name")?;
            fs::copy(file, tree.join(name)).with_context(|| format!("{file:?}"))?;
        }
        let disk = work.join("files.image");
        let squash = Program::new("mksquashfs").args([&tree, &disk]);
        squash.args(["-quiet", "-no-progress", "-noappend", "-noD", "-noF"]).run()?;
        fs::remove_dir_all(&tree).with_context(|| format!("{tree:?}"))?;
        Ok(disk)
    }

    /// Puts a script into a root, and what starts it when all else is up, with these extensions.
    ///
    /// # Errors
    /// Files can't be written.
    pub fn prepare(dir: &Path, extensions: &[&Path], script: &str) -> Result<()> {
        let units = dir.join("etc/systemd/system");
        let wanted = |by: &str| units.join(format!("{by}.target.wants"));
        for d in [dir.join("etc/extensions"), wanted("multi-user"), wanted("sysinit")] {
            fs::create_dir_all(&d).with_context(|| format!("{d:?}"))?;
        }
        for extension in extensions {
            let name = extension.file_name().context("an extension without a name")?;
            fs::copy(extension, dir.join("etc/extensions").join(name))
                .with_context(|| format!("{extension:?}"))?;
        }
        fs::write(dir.join("script"), script)?;
        // An installer writes it; debootstrap and its like don't.
        fs::write(dir.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 vm\n")?;
        fs::write(units.join("the-test.service"), UNIT)?;
        symlink("/lib/systemd/systemd", dir.join("init"))?;
        for unit in MASKED {
            symlink("/dev/null", units.join(unit))?;
        }
        let generators = dir.join("etc/systemd/system-generators");
        fs::create_dir_all(&generators)?;
        for generator in GENERATORS {
            symlink("/dev/null", generators.join(generator))?;
        }
        let trigger = units.join("systemd-udev-trigger.service.d");
        fs::create_dir_all(&trigger)?;
        fs::write(trigger.join("few.conf"), DEVICES)?;
        symlink("../the-test.service", wanted("multi-user").join("the-test.service"))?;
        let sysext = "systemd-sysext.service";
        symlink(Path::new("/lib/systemd/system").join(sysext), wanted("sysinit").join(sysext))?;
        Ok(())
    }
}

/// Boots a kernel with its initrd and parameters, and a drive with its options; returns what the script printed.
fn start(
    work: &Path,
    (kernel, initrd, parameters): (&Path, &Path, &str),
    drive: Option<(&Path, &str)>,
    nic: &str,
    limit: usize,
) -> Result<String> {
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that isn't text");
    // What it prints can be read while it runs.
    let console = text(&work.join("console"))?;
    let accel = std::env::var("FLIX_E2E_ACCEL").unwrap_or_else(|_| ACCEL.to_owned());
    let drive = match drive {
        Some((file, options)) => {
            vec!["-drive".to_owned(), format!("if=virtio,format=raw,{options},file={}", text(file)?)]
        }
        None => Vec::new(),
    };
    let outcome = Program::new("timeout")
        .args([&limit.to_string(), "qemu-system-x86_64", "-accel", &accel])
        .args(["-smp", "1", "-m", "2500", "-display", "none", "-monitor", "none", "-no-reboot", "-nic", nic])
        // Devices that nobody uses take time to be probed.
        .args(["-machine", "q35,sata=off,smbus=off,usb=off", "-nodefaults", "-vga", "none"])
        .args(["-append", &format!("{COMMAND_LINE} {parameters}")])
        .args(["-chardev", &format!("stdio,id=console,logfile={console}"), "-serial", "chardev:console"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd)
        .args(drive)
        .outcome()?;
    let console = outcome.stdout.replace('\r', "");
    let Some((_, text)) = console.split_once(BEGIN) else {
        bail!("the machine didn't come up: {}\n{console}\n{}", outcome.status, outcome.stderr);
    };
    // What the script prints of the machine's units has the words, too.
    match text.rsplit_once(END) {
        Some((text, end)) if end.lines().next() == Some("0") => Ok(text.to_owned()),
        _ => bail!("the script failed in the machine: {}\n{text}", outcome.status),
    }
}

/// A directory as the kernel's initrd format. Documentation/driver-api/early-userspace/buffer-format.rst.
fn archive(dir: &Path, to: &Path) -> Result<()> {
    let pack =
        r#"cd "$1" && find . -mindepth 1 -print0 | LC_ALL=C sort -z | cpio --null -o -H newc --quiet > "$2""#;
    Program::new("sh").args(["-euc", pack, "archive"]).args([dir, to]).run().map(drop)
}
