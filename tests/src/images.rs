//! The images that the tests' registry holds.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{
    Program, apk,
    layout::{self, Platform},
    place::{cached, repository, shared},
    roots,
};

/// Where Debian's packages put musl's loader and arm64's libraries.
const MUSL: &str = "/lib/ld-musl-x86_64.so.1";
const ARM64: &str = "/usr/aarch64-linux-gnu/lib";

/// Stands in for Alpine's package manager where the real root isn't at hand: it lists and unpacks the same packages from the
/// same repository.
const LITTLE_APK: &str = r#"#!/bin/sh
set -eu
while [ "${1#-}" != "$1" ]; do shift; done
command=$1
shift
case $command in add | fetch) ;; *) exit 0 ;; esac
unpack() { gunzip | tar -x -f - -C / && rm /.PKGINFO /.SIGN.*; }
simulate=
case $* in
*.apk) for file; do case $file in *.apk) unpack <"$file" ;; esac done; exit ;;
*--simulate*) simulate=yes ;;
esac
repository=$(cat /etc/apk/repositories)/x86_64
index=$(wget -q -O - "$repository/APKINDEX.tar.gz" | gunzip | tar -x -O -f - APKINDEX)
for name; do
    case $name in -*) continue ;; esac
    version=$(echo "$index" | sed -n "/^P:$name\$/{n;s/^V://p}")
    [ -n "$version" ] || { echo "ERROR: unable to select packages: $name (no such package)" >&2; exit 1; }
    [ "$command" = add ] || { echo "$repository/$name-$version.apk"; continue; }
    echo "(1/1) Installing $name ($version)"
    [ -n "$simulate" ] || wget -q -O - "$repository/$name-$version.apk" | unpack
done
"#;

const HELLO: &str = "#include <stdio.h>\nint main(void) { puts(\"hello from arm64\"); return 0; }\n";

/// `debian:bookworm` as an OCI layout with that tag.
///
/// # Errors
/// mmdebstrap's.
pub fn debian() -> Result<PathBuf> {
    let tar = roots::debian_tar()?;
    let recipe = fs::read_to_string(tar.with_file_name("recipe"))?;
    cached("debian-bookworm-oci", &recipe, |dir| {
        layout::write(dir, "bookworm", &[Platform { architecture: "amd64", layers: vec![tar] }])
    })
}

/// `debian:trixie-slim`, likewise.
///
/// # Errors
/// mmdebstrap's.
pub fn trixie() -> Result<PathBuf> {
    let tar = roots::trixie_tar()?;
    let recipe = fs::read_to_string(tar.with_file_name("recipe"))?;
    cached("debian-trixie-oci", &recipe, |dir| {
        layout::write(dir, "trixie-slim", &[Platform { architecture: "amd64", layers: vec![tar] }])
    })
}

/// The real Alpine, for both architectures, with our repository and its key as a second layer; none without
/// `../shared`.
///
/// # Errors
/// `work` can't be written.
pub fn alpine(work: &Path, repository: &str, key: &[u8]) -> Result<Option<PathBuf>> {
    let mut platforms = Vec::new();
    for (architecture, machine) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let Some(gz) = shared(&format!("images/alpine-minirootfs-3.20.3-{machine}.tar.gz")) else {
            return Ok(None);
        };
        let tar = work.join(format!("alpine-{machine}.tar"));
        let mut from = flate2::read::MultiGzDecoder::new(File::open(&gz).with_context(|| format!("{gz:?}"))?);
        std::io::copy(&mut from, &mut File::create(&tar)?)?;
        platforms.push(Platform { architecture, layers: vec![tar, trust(work, repository, key)?] });
    }
    let dir = work.join("alpine");
    layout::write(&dir, "latest", &platforms)?;
    Ok(Some(dir))
}

/// A layer that says where packages come from.
fn trust(work: &Path, repository: &str, key: &[u8]) -> Result<PathBuf> {
    let root = work.join("trust");
    write(&root, "etc/apk/repositories", 0o644, format!("{repository}\n").as_bytes())?;
    write(&root, &format!("etc/apk/keys/{}", apk::KEY), 0o644, key)?;
    tar(work, &root, "trust.tar")
}

/// A small image in Alpine's manner out of Debian's packages: static busybox, musl, a stand-in for `apk`; and for
/// arm64 one program with glibc.
///
/// # Errors
/// A package of `tests/packages.txt` is missing.
pub fn little(work: &Path, repository: &str) -> Result<PathBuf> {
    let root = work.join("little");
    let applets = "sh cat cp chmod echo sed gunzip gzip ls mkdir rm sleep tar true wget";
    write(&root, "bin/busybox", 0o755, &read("/bin/busybox")?)?;
    for applet in applets.split(' ') {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
    }
    write(&root, "lib/ld-musl-x86_64.so.1", 0o755, &read(MUSL)?)?;
    write(&root, "sbin/apk", 0o755, LITTLE_APK.as_bytes())?;
    write(&root, "etc/apk/repositories", 0o644, format!("{repository}\n").as_bytes())?;
    write(&root, "etc/os-release", 0o644, b"ID=little\nNAME=Little\n")?;
    write(&root, "etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n")?;
    write(&root, "etc/group", 0o644, b"root:x:0:\n")?;
    let dirs = ["tmp", "proc", "sys", "dev", "run", "root", "usr/bin", "usr/lib", "var"];
    for dir in dirs {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o1777))?;
    let amd64 = tar(work, &root, "little-amd64.tar")?;

    let root = work.join("little-arm64");
    for library in ["ld-linux-aarch64.so.1", "libc.so.6"] {
        write(&root, &format!("lib/{library}"), 0o755, &read(&format!("{ARM64}/{library}"))?)?;
    }
    fs::create_dir_all(root.join("usr/bin"))?;
    let source = work.join("hello.c");
    fs::write(&source, HELLO)?;
    let gcc = Program::new("aarch64-linux-gnu-gcc").arg("-O2").arg(&source);
    gcc.arg("-o").arg(root.join("usr/bin/hello")).run()?;
    let arm64 = tar(work, &root, "little-arm64.tar")?;

    let dir = work.join("little-oci");
    let platforms = [("amd64", amd64), ("arm64", arm64)]
        .map(|(architecture, tar)| Platform { architecture, layers: vec![tar] });
    layout::write(&dir, "latest", &platforms)?;
    Ok(dir)
}

/// The b3sum package: a program and a library, for musl.
///
/// # Errors
/// musl-gcc's.
pub fn b3sum(work: &Path) -> Result<apk::Package> {
    let source = repository().join("tests/programs");
    let (library, program) = (work.join("libblake3.so.0"), work.join("b3sum"));
    let gcc = || Program::new("musl-gcc").args(["-O2", "-Wall", "-Werror"]);
    gcc()
        .args(["-shared", "-fPIC", "-Wl,-soname,libblake3.so.0"])
        .arg(source.join("blake3.c"))
        .arg("-o")
        .arg(&library)
        .run()?;
    gcc().arg(source.join("b3sum.c")).arg(&library).arg("-o").arg(&program).run()?;
    let files = vec![
        ("usr/bin/b3sum", 0o755, fs::read(program)?),
        ("usr/lib/libblake3.so.0", 0o755, fs::read(library)?),
    ];
    Ok(apk::Package { name: "b3sum", version: "1.5.4-r0", depends: "", provides: "", files })
}

fn read(path: &str) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{path:?} (packages: tests/packages.txt)"))
}

fn write(root: &Path, path: &str, mode: u32, content: &[u8]) -> Result<()> {
    let path = root.join(path);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&path, content).with_context(|| format!("{path:?}"))?;
    fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
    Ok(())
}

fn tar(work: &Path, root: &Path, name: &str) -> Result<PathBuf> {
    let to = work.join(name);
    let tar = Program::new("tar").args(["--sort=name", "--owner=0:0", "--group=0:0", "--mtime=@0"]);
    tar.arg("-C").arg(root).arg("-cf").arg(&to).arg(".").run()?;
    Ok(to)
}
