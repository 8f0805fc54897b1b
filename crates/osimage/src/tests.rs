use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::gpt;
use tree::{Arch, Silent};

use super::flatcar::{Release, ReleaseSelector};
use super::*;

/// Bytes.
const MIB: u64 = 1 << 20;

/// Runs a tool; its output.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}; install the packages that tests/packages.txt names"));
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A disk of Flatcar's layout, as far as it is written to: OEM is 6, ROOT is 9.
fn disk(dir: &Path, root_mib: u64) -> PathBuf {
    let path = dir.join("disk.bin");
    let (oem_mib, efi_mib) = (128, 4);
    let file = File::create(&path).unwrap();
    file.set_len((2 + oem_mib + root_mib + efi_mib) * MIB).unwrap();
    let script = format!(
        "label: gpt\n6 : start=2048, size={}, name=OEM\n9 : start={}, size={}, name=ROOT\n\
         1 : start={}, size={}, type=U, name=EFI-SYSTEM\n",
        oem_mib * 2048,
        2048 + oem_mib * 2048,
        root_mib * 2048,
        2048 + (oem_mib + root_mib) * 2048,
        efi_mib * 2048 - 34,
    );
    let mut child = Command::new("/usr/sbin/sfdisk")
        .args(["-q", "--no-reread"])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("sfdisk: {e}; install package fdisk"));
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    for (name, tool, args) in [
        ("OEM", "mkfs.btrfs", &["-q", "-L"][..]),
        ("ROOT", "mkfs.ext4", &["-q", "-F", "-L"]),
        ("EFI-SYSTEM", "mkfs.vfat", &["-n"]),
    ] {
        let partitions = gpt::read(&File::open(&path).unwrap()).unwrap();
        let partition = gpt::named(&partitions, name).unwrap();
        let part = dir.join(name);
        File::create(&part).unwrap().set_len(partition.size).unwrap();
        run(tool, &[args, &[name, part.to_str().unwrap()]].concat());
        if name == "EFI-SYSTEM" {
            // As Flatcar has it: in lower case, and with the other loaders beside it.
            for loader in ["bootx64.efi", "grub.cfg"] {
                fs::write(dir.join(loader), "x").unwrap();
            }
            run("mmd", &["-i", part.to_str().unwrap(), "::/EFI", "::/EFI/boot"]);
            let from = ["bootx64.efi", "grub.cfg"].map(|file| dir.join(file).display().to_string());
            run("mcopy", &["-i", part.to_str().unwrap(), &from[0], &from[1], "::/EFI/boot"]);
        }
        let (input, output) = (format!("if={}", part.display()), format!("of={}", path.display()));
        let seek = format!("seek={}", partition.offset);
        run(
            "dd",
            &[&input, &output, &seek, "oflag=seek_bytes", "conv=notrunc,sparse", "bs=1M", "status=none"],
        );
        fs::remove_file(part).unwrap();
    }
    path
}

fn payload(dir: &Path, target: &str, size: u64) -> Payload {
    let file = dir.join("tool-1.0-x86-64.raw");
    let mut content = File::create(&file).unwrap();
    content.write_all(&vec![0xa5; size as usize]).unwrap();
    let mut payload = Payload::default();
    let name = "tool".parse().unwrap();
    payload.extension(&target.parse().unwrap(), &name, "tool-1.0-x86-64.raw", file.clone(), size).unwrap();
    payload.sysupdate(&name, "tool.conf", "[Transfer]\n".into()).unwrap();
    payload.noop("noop.conf", "[Source]\n".into()).unwrap();
    payload
}

/// debugfs' view of the ROOT partition.
fn debugfs(image: &Path, request: &str) -> String {
    let partitions = gpt::read(&File::open(image).unwrap()).unwrap();
    let root = gpt::named(&partitions, "ROOT").unwrap();
    run("debugfs", &["-R", request, &format!("{}?offset={}", image.display(), root.offset)])
}

#[test]
fn root_gets_extension_link_and_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let (image, out) = (disk(dir.path(), 64), dir.path().join("out.bin"));
    let before = fs::read(&image).unwrap();
    let payload = payload(dir.path(), "root:/opt/extensions/", 3_000_001);
    assert!(!payload.needs_root());
    let written = bake(&image, &payload, &out, &Silent).unwrap();
    assert_eq!(written.bytes, image.metadata().unwrap().len());
    assert_eq!(fs::read(&image).unwrap(), before, "the original stays");
    let stat = debugfs(&out, "stat /opt/extensions/tool/tool-1.0-x86-64.raw");
    assert!(stat.contains("Mode:  0644") && stat.contains("Size: 3000001"), "{stat}");
    assert!(stat.contains("User:     0   Group:     0"), "{stat}");
    let link = debugfs(&out, "stat /etc/extensions/tool.raw");
    assert!(link.contains("Fast link dest: \"/opt/extensions/tool/tool-1.0-x86-64.raw\""), "{link}");
    assert_eq!(debugfs(&out, "cat /etc/sysupdate.tool.d/tool.conf"), "[Transfer]\n");
    assert_eq!(debugfs(&out, "cat /etc/sysupdate.d/noop.conf"), "[Source]\n");
    let copy = dir.path().join("copy");
    debugfs(&out, &format!("dump /opt/extensions/tool/tool-1.0-x86-64.raw {}", copy.display()));
    assert_eq!(fs::read(copy).unwrap(), vec![0xa5; 3_000_001]);
    // Holes stay holes.
    assert!(out.metadata().unwrap().blocks() * 512 < 40 * MIB);
    assert_eq!(leftovers(dir.path()), Vec::<String>::new());
}

#[test]
fn a_unit_may_be_enabled_already() {
    let dir = tempfile::tempdir().unwrap();
    let (image, out, again) =
        (disk(dir.path(), 64), dir.path().join("out.bin"), dir.path().join("again.bin"));
    let link = |target: &str| {
        let mut payload = Payload::default();
        payload.link("/etc/systemd/system/sysinit.target.wants/systemd-sysext.service", target).unwrap();
        payload
    };
    let enabled = link("/lib/systemd/system/systemd-sysext.service");
    bake(&image, &enabled, &out, &Silent).unwrap();
    bake(&out, &link("/usr/lib/systemd/system/systemd-sysext.service"), &again, &Silent).unwrap();
    let stat = debugfs(&again, "stat /etc/systemd/system/sysinit.target.wants/systemd-sysext.service");
    assert!(stat.contains("Fast link dest: \"/lib/systemd/system/systemd-sysext.service\""), "{stat}");
    let other = bake(&out, &link("/usr/lib/systemd/system/other.service"), &dir.path().join("x"), &Silent);
    let error = other.unwrap_err().to_string();
    assert!(error.contains("/etc/systemd/system/sysinit.target.wants/systemd-sysext.service"), "{error}");
}

#[test]
fn extensions_for_another_machine_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (image, out) = (disk(dir.path(), 64), dir.path().join("out.bin"));
    let mut payload = payload(dir.path(), "root:/opt/extensions/", 1000);
    payload.set_architecture(Some(Arch::Arm64));
    let error = bake(&image, &payload, &out, &Silent).unwrap_err().to_string();
    assert!(error.ends_with("disk.bin\": boots on x86-64, and the extensions are for arm64"), "{error}");
    assert!(!out.exists());
    payload.set_architecture(Some(Arch::X86_64));
    bake(&image, &payload, &out, &Silent).unwrap();
}

#[test]
fn the_same_input_gives_the_same_image() {
    let dir = tempfile::tempdir().unwrap();
    let image = disk(dir.path(), 64);
    let payload = payload(dir.path(), "root", 100_000);
    let outs = ["a", "b"].map(|name| dir.path().join(name));
    for out in &outs {
        bake(&image, &payload, out, &Silent).unwrap();
    }
    assert!(fs::read(&outs[0]).unwrap() == fs::read(&outs[1]).unwrap());
}

#[test]
fn compressed_images_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let image = disk(dir.path(), 16);
    let payload = payload(dir.path(), "root", 1000);
    let plain = dir.path().join("plain");
    bake(&image, &payload, &plain, &Silent).unwrap();
    run("bzip2", &["-1", image.to_str().unwrap()]);
    let compressed = dir.path().join("disk.bin.bz2");
    let out = dir.path().join("out");
    bake(&compressed, &payload, &out, &Silent).unwrap();
    assert!(fs::read(&plain).unwrap() == fs::read(&out).unwrap());
    // Cut off.
    let bytes = fs::read(&compressed).unwrap();
    fs::write(&compressed, &bytes[..bytes.len() / 2]).unwrap();
    let error = bake(&compressed, &payload, &dir.path().join("other"), &Silent).unwrap_err().to_string();
    assert!(error.contains("ends early"), "{error}");
    assert!(!dir.path().join("other").exists());
}

#[test]
fn the_oem_partition_is_mounted_and_left() {
    let dir = tempfile::tempdir().unwrap();
    let (image, out) = (disk(dir.path(), 16), dir.path().join("out.bin"));
    let payload = payload(dir.path(), "oem:/extensions", 2_000_000);
    assert!(payload.needs_root());
    bake(&image, &payload, &out, &Silent).unwrap();
    let link = debugfs(&out, "stat /etc/extensions/tool.raw");
    assert!(link.contains("\"/oem/extensions/tool/tool-1.0-x86-64.raw\""), "{link}");
    let partitions = gpt::read(&File::open(&out).unwrap()).unwrap();
    let oem = gpt::named(&partitions, "OEM").unwrap();
    let part = dir.path().join("part");
    let skip = format!("skip={}", oem.offset);
    let count = format!("count={}", oem.size);
    let (input, output) = (format!("if={}", out.display()), format!("of={}", part.display()));
    run("dd", &[&input, &output, &skip, &count, "iflag=skip_bytes,count_bytes", "bs=1M", "status=none"]);
    run("btrfs", &["check", part.to_str().unwrap()]);
    let restored = dir.path().join("restored");
    fs::create_dir(&restored).unwrap();
    run("btrfs", &["restore", part.to_str().unwrap(), restored.to_str().unwrap()]);
    let file = restored.join("extensions/tool/tool-1.0-x86-64.raw");
    assert_eq!(fs::read(file).unwrap(), vec![0xa5; 2_000_000]);
    let loops = run("losetup", &["--list", "--noheadings", "--output", "BACK-FILE"]);
    assert!(!loops.contains(dir.path().to_str().unwrap()), "{loops}");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(dir.path().to_str().unwrap()), "{mounts}");
    assert_eq!(leftovers(dir.path()), Vec::<String>::new());
}

#[test]
fn what_cannot_be_done_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let image = disk(dir.path(), 16);
    let out = dir.path().join("out.bin");
    let table = [
        ("root:/opt/extensions", 30 * MIB, "has no space"),
        ("oem:/extensions", 200 * MIB, "has no space"),
        // Made by mkfs.
        ("root:/lost+found/../opt", 1, ""),
    ];
    for (target, size, message) in table {
        if message.is_empty() {
            assert!(target.parse::<InstallPath>().is_err(), "{target}");
            continue;
        }
        let payload = payload(dir.path(), target, size);
        let error = bake(&image, &payload, &out, &Silent).unwrap_err().to_string();
        assert!(error.contains(message), "{target}: {error}");
        assert!(!out.exists(), "{target}");
        assert_eq!(leftovers(dir.path()), Vec::<String>::new());
    }
    let payload = payload(dir.path(), "root", 1);
    bake(&image, &payload, &out, &Silent).unwrap();
    let again = dir.path().join("again.bin");
    let error = bake(&out, &payload, &again, &Silent).unwrap_err().to_string();
    assert!(error.contains("exists in partition ROOT already, as a file"), "{error}");
    let error = bake(&out, &payload, &out, &Silent).unwrap_err().to_string();
    assert!(error.contains("is the image itself"), "{error}");
    assert!(!again.exists());
}

#[test]
fn tables_that_lie_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let image = disk(dir.path(), 16);
    let good = fs::read(&image).unwrap();
    let read = |bytes: &[u8]| {
        let path = dir.path().join("damaged");
        fs::write(&path, bytes).unwrap();
        gpt::read(&File::open(path).unwrap()).map_err(|e| e.to_string())
    };
    assert_eq!(read(&good).unwrap().iter().map(|p| p.number).collect::<Vec<_>>(), [1, 6, 9]);
    // Byte, value, message. The entries of partition 6 and 9 start at 1024 + 5 * 128 and 1024 + 8 * 128.
    for (at, value, message) in [
        (512, 0, "no disk image with a GPT"),
        (512 + 72, 9, "GPT header: checksum"),
        (1024 + 5 * 128 + 32, 9, "GPT entries: checksum"),
    ] {
        let mut bytes = good.clone();
        bytes[at] = value;
        let error = read(&bytes).unwrap_err();
        assert!(error.contains(message), "{at}: {error}");
    }
    for cut in [0, 511, 600, 1024, 20_000] {
        assert!(read(&good[..cut]).is_err(), "{cut}");
    }
    // With checksums that hold: a partition outside the file, one over another, a table outside the file.
    let entry = 1024 + 5 * 128;
    for (at, value, message) in [
        (entry + 40, u64::MAX, "no place in the file"),
        (entry + 40, 2048 * 129 + 2048, "another partition lies there"),
        (512 + 72, u64::MAX, "place of the entries"),
        (512 + 72, 1 << 40, "length of the file"),
        (512 + 80, 128 << 32 | 2000, "number of entries is 2000"),
    ] {
        let mut bytes = good.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let entries = crc32fast::hash(&bytes[1024..1024 + 128 * 128]);
        bytes[512 + 88..512 + 92].copy_from_slice(&entries.to_le_bytes());
        bytes[512 + 16..512 + 20].fill(0);
        let header = crc32fast::hash(&bytes[512..512 + 92]);
        bytes[512 + 16..512 + 20].copy_from_slice(&header.to_le_bytes());
        let error = read(&bytes).unwrap_err();
        assert!(error.contains(message), "{at}: {error}");
    }
}

#[test]
fn releases() {
    let index = br#"{"3033.2.4": {"channel": "stable"}, "4152.2.0": {"channel": "stable"}, "current": {"channel": "stable"},
        "4186.1.0": {"channel": "beta"}, "999.2.0": {"channel": "stable"}}"#;
    let find = |wanted: &str| {
        let wanted: ReleaseSelector = wanted.parse()?;
        Release::find(&wanted, Arch::X86_64, || Ok(index.to_vec()))
    };
    let error = |wanted: &str| FlatcarError::to_string(&find(wanted).unwrap_err());
    assert_eq!(
        find("stable").unwrap().url("version.txt"),
        "https://stable.release.flatcar-linux.net/amd64-usr/4152.2.0/version.txt"
    );
    assert_eq!(find("4186.1.0").unwrap().tag(), "beta-4186.1.0");
    assert_eq!(find("3033.3.18").unwrap().channel, Channel::Lts);
    assert!(error("alpha").contains("no release of channel alpha"));
    for bad in ["", "1.2", "1.2.3.4", "nightly", "1.2.+3", "../../x"] {
        assert!(error(bad).contains("expected alpha, beta"), "{bad}");
    }
}

#[test]
fn places() {
    for (text, shown) in [
        ("root", "root:/opt/extensions"),
        ("oem:", "oem:/extensions"),
        ("root:/a/b/", "root:/a/b"),
        ("oem:sysext", "oem:/sysext"),
    ] {
        assert_eq!(text.parse::<InstallPath>().unwrap().to_string(), shown);
    }
    for bad in ["usr:/x", "root:/a/../b", "", "root:/a\"b", "root:/a\nb"] {
        assert!(bad.parse::<InstallPath>().is_err(), "{bad}");
    }
}

/// Temporary files that are still there.
fn leftovers(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|n| n.starts_with('.')).collect()
}
