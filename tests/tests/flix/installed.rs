//! What `cargo xtask package` makes: installed as docs/installing.md says, it does what the README begins with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::place::{self, repository};
use e2e::{Host, Program, Work, World, images, roots};

/// What a shell does on a machine of its own: no chroot, in which the kernel refuses user namespaces. `umount` is of busybox,
/// since not every root has one.
const ENTER: &str = r#"
enter() {
    mount --make-rprivate /
    cp /bin/busybox "$packages"/* "$1/tmp/"
    cd "$1"
    pivot_root . .
    /tmp/busybox umount -l .
    cd /tmp
    export HOME=/tmp CONTAINERS_REGISTRIES_CONF=/tmp/registries.conf
    sh -euc "$2"
}
"#;

/// A root that stays as the commands leave it.
const MACHINE: &str = r#"
root=$1; packages=$2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
enter "$root" "$3"
"#;

#[test]
fn packages_install_and_run() -> Result<()> {
    let work = Work::new()?;
    let packages = packages(&work)?;
    lint(&packages)?;
    // The other commands' first words are enough.
    let first = format!("{}\nflatwrap --version\nbakery --version\nbakery list", first_command()?);
    let deb = installation("flix_VERSION_ARCH.deb")?;
    let archive = installation("flix-VERSION-linux-ARCH.tar.gz")?;
    // Its layer's tar is beside the layout that is made of it.
    images::little(&work.dir("little")?, "http://nowhere.invalid")?;
    let little = work.path().join("little/little-amd64.tar");
    let mut digests = Vec::new();
    for (name, tar, install) in [
        ("Debian 12, package", roots::debian_tar()?, &deb),
        ("Debian 13, package", roots::trixie_tar()?, &deb),
        ("Debian 13, archive", roots::trixie_tar()?, &archive),
        ("Alpine's manner, archive", little, &archive),
    ] {
        let root = work.dir("root")?;
        Program::new("tar").args(["--numeric-owner", "-xpf"]).arg(&tar).arg("-C").arg(&root).run()?;
        let script = format!("{ENTER}{MACHINE}");
        let run = Program::new("unshare").clean_env();
        let run = run.args(["--mount", "--propagation", "private", "sh", "-euc", &script, "sh"]);
        let run = run.args([&root, &packages]).arg(format!("cd /tmp\n{install}\n{first}"));
        let out = run.run().with_context(|| name.to_owned())?;
        digests.push(digest(&out.stdout).with_context(|| name.to_owned())?);
        fs::remove_dir_all(&root)?;
    }
    // A host with a read-only /usr: the commands are an extension themselves.
    let script = format!("packages=$PWD/packages\n{ENTER}\nenter \"$place\" '{first}'\n");
    let out = Host::bookworm()?.merged(work.path(), &[&packages.join("bakery.raw")], &script)?;
    digests.push(digest(&out.stdout)?);
    // Wherever it is installed, the same input gives the same bytes.
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    Ok(())
}

/// All packages of the programs under test, and what makes the tests' image the one that the README names.
fn packages(work: &Work) -> Result<PathBuf> {
    let packages = work.dir("packages")?;
    let make = Program::new(place::xtask()?).arg("package").arg("--to").arg(&packages);
    make.args(["--maintainer", "Some Body <some.body@example.org>"])
        .env("FLIX_BIN", place::flix()?)
        .env("FLATWRAP_BIN", place::flatwrap()?)
        .env("BAKERY_BIN", place::bakery()?)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        // dpkg-deb(1). Nobody keeps this one.
        .env("DPKG_DEB_COMPRESSOR_LEVEL", "0")
        .run()?;
    Program::new("sha256sum").args(["--check", "--strict", "--quiet", "SHA256SUMS"]).dir(&packages).run()?;
    let little = format!("location = \"{}/library/little\"\ninsecure = true\n", World::get()?.registry());
    let registries = format!("[[registry]]\nprefix = \"docker.io/library/alpine\"\n{little}");
    fs::write(packages.join("registries.conf"), registries)?;
    Ok(packages)
}

/// Asks Debian's own judge of packages.
fn lint(packages: &Path) -> Result<()> {
    let mut files = packages.read_dir()?.flatten().map(|entry| entry.path());
    let deb = files.find(|path| path.extension().is_some_and(|e| e == "deb")).context("no .deb")?;
    let lint = Program::new("lintian").args(["--allow-root", "--fail-on", "error,warning"]).arg(&deb);
    let said = lint.run()?;
    ensure!(said.stdout.is_empty(), "{}", said.stdout);
    Ok(())
}

/// The README's first command of flix.
fn first_command() -> Result<String> {
    let path = repository().join("README.md");
    let text = fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
    let command =
        text.lines().find_map(|line| line.strip_prefix("    $ ").filter(|c| c.starts_with("flix ")));
    Ok(command.with_context(|| format!("{path:?}: no command of flix"))?.to_owned())
}

/// How the guide installs a file.
fn installation(file: &str) -> Result<String> {
    let path = repository().join("docs/installing.md");
    let text = fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
    let row = text.lines().find(|line| line.starts_with(&format!("| `{file}`")));
    let cell = row.and_then(|row| row.split('|').nth(3)).with_context(|| format!("{path:?}: no {file}"))?;
    let command = cell.split('`').nth(1).with_context(|| format!("{path:?}: {file}: no command"))?;
    // A person is asked.
    Ok(command.replace("apt install ", "apt-get install -q -y --no-install-recommends "))
}

/// What flix says of the image that it wrote, and whether the others said what they should.
fn digest(stdout: &str) -> Result<String> {
    ensure!(
        stdout.contains("flatwrap ") && stdout.contains("bakery ") && stdout.contains("tailscale"),
        "{stdout}"
    );
    let line =
        stdout.lines().find(|line| line.starts_with("b3sum.raw: ")).with_context(|| stdout.to_owned())?;
    Ok(line.rsplit_once("sha256:").with_context(|| line.to_owned())?.1.to_owned())
}
