//! Images and extensions that aren't quite what `bakery bake-image` expects.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Result;
use e2e::{Account, Program};

use crate::{
    disk::{self, MIB},
    flatcar::{Flatcar, Parts, extension},
};

struct Kitchen {
    flatcar: Flatcar,
    user: Account,
}

impl Kitchen {
    fn new() -> Result<Kitchen> {
        let flatcar = Flatcar::new()?;
        let user = flatcar.work.user("user")?;
        flatcar.tool(&user)?;
        Ok(Kitchen { flatcar, user })
    }

    fn bake(&self, image: &str, args: &[&str]) -> Program {
        self.flatcar.bake(&self.user).args(["--image", image, "-o", "out.bin"]).args(args)
    }

    fn refused(&self, image: &str, args: &[&str], said: &str) -> Result<()> {
        let out = self.bake(image, args).outcome()?.failure()?;
        assert!(out.stderr.contains(said), "expected {said:?}, got {}", out.stderr);
        assert!(!out.stderr.contains("panicked"), "{}", out.stderr);
        assert!(!self.user.home().join("out.bin").exists(), "{said}");
        Ok(())
    }

    /// A copy of the disk image, for damage.
    fn copy(&self, name: &str) -> Result<std::path::PathBuf> {
        let path = self.user.home().join(name);
        Program::new("cp")
            .args(["--sparse=always", "--no-preserve=all"])
            .arg(Parts::get()?.image())
            .arg(&path)
            .run()?;
        Ok(path)
    }
}

const TOOL: &[&str] = &["tool:tool.raw"];

#[test]
fn partition_tables_of_other_kinds() -> Result<()> {
    let kitchen = Kitchen::new()?;
    let home = kitchen.user.home();
    let table = |name: &str, script: &str, more: &[&str]| -> Result<()> {
        let path = home.join(name);
        File::create(&path)?.set_len(64 * MIB)?;
        Program::new("/usr/sbin/sfdisk")
            .args(["-q", "--no-reread"])
            .args(more)
            .arg(&path)
            .input(script)
            .run()?;
        Ok(())
    };
    table("mbr.bin", "label: dos\nstart=2048, size=65536, type=83\n", &[])?;
    kitchen.refused("mbr.bin", TOOL, "the disk image has an MBR partition table, expected a GPT")?;
    // sfdisk takes files for disks of 512-byte sectors: the table is moved to where it would be.
    let image = kitchen.copy("large.bin")?;
    let bytes = fs::read(&image)?;
    let file = File::options().write(true).open(&image)?;
    file.write_all_at(&vec![0; 4096], 512)?;
    file.write_all_at(&bytes[512..1024], 4096)?;
    kitchen.refused("large.bin", TOOL, "the disk image has sectors of 4096 bytes, expected 512")?;

    let damage = |name: &str, at: u64, said: &str| -> Result<()> {
        let image = kitchen.copy(name)?;
        let mut byte = [0];
        File::open(&image)?.read_exact_at(&mut byte, at)?;
        File::options().write(true).open(&image)?.write_all_at(&[byte[0] ^ 1], at)?;
        kitchen.refused(name, TOOL, said)
    };
    damage("signature.bin", 512, "the file is no disk image with a GPT")?;
    damage("header.bin", 512 + 40, "GPT header: checksum is")?;
    damage("entries.bin", 1024 + 8 * 128 + 32, "GPT entries: checksum is")?;
    let image = kitchen.copy("short.bin")?;
    File::options().write(true).open(&image)?.set_len(100 * MIB)?;
    kitchen.refused("short.bin", TOOL, "no place in the file")?;
    fs::write(home.join("empty.bin"), "")?;
    kitchen.refused("empty.bin", TOOL, "\"empty.bin\": GPT: length of the file is 0")?;
    kitchen.refused("missing.bin", TOOL, "\"missing.bin\": No such file or directory")
}

#[test]
fn root_file_systems_with_a_past() -> Result<()> {
    let kitchen = Kitchen::new()?;
    // A journal that is to be replayed: s_feature_incompat has EXT4_FEATURE_INCOMPAT_RECOVER.
    let image = kitchen.copy("journal.bin")?;
    let at = disk::partition(&image, "ROOT")?.offset + 1024 + 0x60;
    let mut byte = [0];
    File::open(&image)?.read_exact_at(&mut byte, at)?;
    File::options().write(true).open(&image)?.write_all_at(&[byte[0] | 4], at)?;
    kitchen.refused("journal.bin", TOOL, "file system of partition ROOT wasn't unmounted cleanly")?;

    // Directories that are there with their own owners and modes; a link where a directory should be.
    let home = kitchen.user.home();
    let tree = kitchen.flatcar.work.dir("tree")?;
    fs::create_dir_all(tree.join("opt"))?;
    Program::new("chmod").args(["0711"]).arg(tree.join("opt")).run()?;
    fs::create_dir_all(tree.join("etc/extensions"))?;
    fs::write(tree.join("etc/hostname"), "somebody\n")?;
    let layout = &[(6, "OEM", 128), (9, "ROOT", 64)];
    disk::make(&home.join("used.bin"), layout, Some(&tree))?;
    kitchen.bake("used.bin", TOOL).run()?;
    let out = home.join("out.bin");
    let listing = disk::listing(&out, "ROOT")?;
    assert!(listing.contains("d 711 0:0 /opt\n") && listing.contains(" /etc/hostname\n"), "{listing}");
    assert!(listing.contains("/etc/extensions/tool.raw /opt/extensions/tool/tool.raw\n"), "{listing}");
    disk::check(&out)?;

    // Twice: the second one keeps the first's noop.conf, and replaces nothing.
    fs::rename(&out, home.join("first.bin"))?;
    kitchen.refused(
        "first.bin",
        TOOL,
        "/opt/extensions/tool/tool.raw exists in partition ROOT already, as a file",
    )?;
    extension(&home.join("second.raw"), "second", "x86-64", 1000)?;
    fs::copy(home.join("tool.conf"), home.join("second.conf"))?;
    kitchen.bake("first.bin", &["second:second.raw"]).run()?;
    let listing = disk::listing(&out, "ROOT")?;
    for name in ["tool", "second"] {
        assert!(listing.contains(&format!("/etc/sysupdate.{name}.d/{name}.conf\n")), "{listing}");
        assert!(listing.contains(&format!("/etc/extensions/{name}.raw /opt/")), "{listing}");
    }
    disk::check(&out)?;
    fs::remove_file(&out)?;

    // Another noop.conf isn't ours to replace; nor is what a link leads to ours to write.
    fs::create_dir_all(tree.join("etc/sysupdate.d"))?;
    fs::write(tree.join("etc/sysupdate.d/noop.conf"), "[Source]\n")?;
    disk::make(&home.join("noop.bin"), layout, Some(&tree))?;
    kitchen.refused(
        "noop.bin",
        TOOL,
        "/etc/sysupdate.d/noop.conf exists in partition ROOT already, as a file",
    )?;
    fs::remove_dir_all(tree.join("opt"))?;
    std::os::unix::fs::symlink("/etc", tree.join("opt"))?;
    disk::make(&home.join("link.bin"), layout, Some(&tree))?;
    kitchen.refused("link.bin", TOOL, "/opt exists in partition ROOT already, as a symlink")
}

#[test]
fn compressions() -> Result<()> {
    let kitchen = Kitchen::new()?;
    let home = kitchen.user.home();
    kitchen.copy("disk.bin")?;
    kitchen.bake("disk.bin", TOOL).run()?;
    let plain = fs::read(home.join("out.bin"))?;
    for (program, ending) in [("gzip", "gz"), ("xz", "xz"), ("zstd", "zst")] {
        let file = format!("disk.bin.{ending}");
        let script = r#""$1" -q -1 -c disk.bin > "$2""#;
        Program::new("sh").dir(home).args(["-euc", script, "sh", program, &file]).run()?;
        kitchen.bake(&file, TOOL).run()?;
        assert!(fs::read(home.join("out.bin"))? == plain, "{program}");
        fs::remove_file(home.join("out.bin"))?;
        cut(&home.join(&file))?;
        kitchen.refused(&file, TOOL, "ends early")?;
    }
    fs::write(home.join("x.zip"), b"PK\x03\x04and so on and on")?;
    kitchen.refused("x.zip", TOOL, "compressed with zip, expected gzip, zstd, bzip2, xz or plain")
}

fn cut(path: &Path) -> Result<()> {
    let bytes = fs::read(path)?;
    Ok(fs::write(path, &bytes[..bytes.len() / 2])?)
}

#[test]
fn extensions_that_no_host_would_merge() -> Result<()> {
    let kitchen = Kitchen::new()?;
    let home = kitchen.user.home();
    kitchen.copy("disk.bin")?;
    extension(&home.join("arm.raw"), "arm", "arm64", 1000)?;
    fs::write(home.join("text.raw"), "no image\n")?;
    fs::write(home.join("odd name's.raw"), fs::read(home.join("tool.raw"))?)?;
    let refused = |args: &[&str], said: &str| kitchen.refused("disk.bin", args, said);
    refused(
        &["other:tool.raw"],
        "\"tool.raw\": its release file is for tool, expected other\nhint: name it so: tool:tool.raw",
    )?;
    refused(&["--arch", "x86-64", "arm:arm.raw"], "\"arm.raw\": is for arm64, expected x86-64\nhint: ")?;
    refused(&["tool:tool.raw", "arm:arm.raw"], "\"arm.raw\": is for arm64, expected x86-64")?;
    refused(&["text:text.raw"], "\"text.raw\": is no image of an extension")?;
    refused(&["tool:odd name's.raw"], "only printable ASCII without quotes and backslashes")?;
    refused(&["tool:tool.raw", "tool:tool.raw"], "extension tool is given twice")?;
    refused(&["tool:."], "\".\": is no file")?;
    refused(&["tool:none.raw"], "\"none.raw\": No such file or directory")?;
    refused(&["tool"], "expected NAME:FILE")?;
    refused(&["to ol:tool.raw"], "extension name")?;
    // A name with all that a file name may have, and an image without a word on architectures.
    let name = "a_b.c+d@e~f:g";
    extension(&home.join("spaced name.raw"), "a_b.c+d@e~f", "", 1000)?;
    kitchen.bake("disk.bin", &["a_b.c+d@e~f:spaced name.raw"]).run()?;
    let listing = disk::listing(&home.join("out.bin"), "ROOT")?;
    assert!(
        listing.contains("/etc/extensions/a_b.c+d@e~f.raw /opt/extensions/a_b.c+d@e~f/spaced name.raw\n"),
        "{name} {listing}"
    );
    Ok(())
}
