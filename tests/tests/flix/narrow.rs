//! 32-bit programs on a 64-bit host: they run there, so the extension has to merge there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Result;
use e2e::{Host, Program, Work, place};

use crate::{assert_says, unsquash};

const SOURCE: &str =
    "#include <stdio.h>\nint main(void) { printf(\"%zu\\n\", 8 * sizeof(void *)); return 0; }\n";

/// A root with a 32-bit program, laid out as Debian's libc6-i386 has it.
fn image(work: &Work) -> Result<PathBuf> {
    let root = work.dir("narrow")?;
    for dir in ["usr/bin", "usr/lib32", "usr/lib", "etc"] {
        fs::create_dir_all(root.join(dir))?;
    }
    for library in ["libc.so.6", "ld-linux.so.2"] {
        fs::copy(Path::new("/lib32").join(library), root.join("usr/lib32").join(library))?;
    }
    symlink("usr/lib", root.join("lib"))?;
    symlink("../lib32/ld-linux.so.2", root.join("usr/lib/ld-linux.so.2"))?;
    fs::write(root.join("etc/ld.so.conf"), "/usr/lib32\n")?;
    let source = work.path().join("narrow.c");
    fs::write(&source, SOURCE)?;
    Program::new("gcc").args(["-m32", "-o"]).arg(root.join("usr/bin/narrow")).arg(&source).run()?;
    Ok(root)
}

#[test]
fn a_64_bit_host_merges_and_runs_them() -> Result<()> {
    let work = Work::new()?;
    let by = work.root("root")?;
    let (flix, flatwrap) = (place::flix()?, place::flatwrap()?);
    let image = format!("dir:{}", image(&work)?.display());
    // Said to be for either width: an image of i386, and a program that a 64-bit image has, too.
    for (n, arch) in ["amd64", "386"].into_iter().enumerate() {
        let said = by.program(&flix).args(["--arch", arch, &image, "relocated", "/usr/bin/narrow"]).run()?;
        assert_says(&said, &["note: ", "x86", "ARCHITECTURE=x86-64", "--host-arch"]);
        let wrapped = by.program(&flatwrap).args(["--arch", arch, &image, "wrapped"]);
        let wrapped = wrapped.args(["/usr/bin/narrow:/usr/bin/wrapped"]).run()?;
        assert_says(&wrapped, &["note: ", "ARCHITECTURE=x86-64"]);
        let raws = ["relocated.raw", "wrapped.raw"].map(|raw| by.home().join(raw));
        let host = work.dir(&format!("host{n}"))?;
        let script = "for p in narrow wrapped; do chroot \"$place\" /usr/bin/$p; done";
        let out = Host::bookworm()?.merged(&host, &[&raws[0], &raws[1]], script)?;
        assert_eq!(out.stdout, "32\n32\n", "{arch}");
    }
    for (wanted, line) in
        [("any", None), ("i386", Some("ARCHITECTURE=x86")), ("arm64", Some("ARCHITECTURE=arm64"))]
    {
        let said =
            by.program(&flix).args(["--host-arch", wanted, &image, "relocated", "/usr/bin/narrow"]).run()?;
        let root = unsquash(&by.home().join("relocated.raw"), work.path())?;
        let release = root.join("usr/lib/extension-release.d/extension-release.relocated");
        let release = fs::read_to_string(release)?;
        assert_eq!(release.lines().find(|l| l.starts_with("ARCHITECTURE")), line, "{release}");
        let finding = match wanted {
            "any" => "[architecture]",
            "i386" => "[32-bit-hosts]",
            _ => "[wrong-architecture]",
        };
        assert_says(&said, &["warning: ", finding]);
    }
    Ok(())
}
