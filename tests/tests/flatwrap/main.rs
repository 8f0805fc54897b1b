//! Wrapped programs, merged by real systemd-sysext: who sees what, and that nothing stays behind.

mod examples;
mod maps;
mod musl;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::{Host, Program};
use flatwrap::{Options, Plan};
use image::ImageOptions;
use sysext::lint::{LintOptions, lint};
use sysext::{Extension, Finding, Release, Severity};
use tree::{Blob, Content, Meta, Node, Silent, Tree};

/// A user that nobody knows.
const USER: &str = "64777";

fn host_file(path: &str) -> Result<Content> {
    let real =
        std::fs::canonicalize(path).with_context(|| format!("{path} (packages: tests/packages.txt)"))?;
    let len = std::fs::metadata(&real)?.len();
    Ok(Content::in_blob(Blob::at_path(real), 0, len))
}

/// Says what files it maps.
const MAPS: &str = r#"
#include <stdio.h>
int main(void) {
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) fputs(line, stdout);
    return 0;
}
"#;

/// A root whose one dynamic program is `/usr/bin/maps`, made by `gcc` and run by the files of `libc`, which keep their
/// places; beside it busybox, and `/usr/bin/probe`, which runs `$PROBE`.
fn image(work: &Path, gcc: &str, libc: &[&str]) -> Result<Tree> {
    let (source, maps) = (work.join("maps.c"), work.join(format!("maps-{gcc}")));
    std::fs::write(&source, MAPS)?;
    Program::new(gcc).args(["-O1", "-o"]).arg(&maps).arg(&source).run()?;
    let mut tree = Tree::default();
    let mut add = |path: &str, node: Node| {
        tree.insert_all(path.parse()?, node, &Meta::dir()).map_err(anyhow::Error::from)
    };
    add("/bin/busybox", Node::file(0o755, host_file("/bin/busybox")?))?;
    for applet in ["sh", "cat", "id", "sleep", "sort", "grep", "sed", "ls"] {
        add(&format!("/bin/{applet}"), Node::symlink("busybox"))?;
    }
    for file in libc {
        add(file, Node::file(0o755, host_file(file)?))?;
    }
    add("/usr/bin/maps", Node::file(0o755, host_file(maps.to_str().unwrap_or_default())?))?;
    add("/usr/bin/probe", Node::file(0o755, "#!/bin/sh\neval \"$PROBE\"\n"))?;
    for dir in ["etc", "var", "home"] {
        add(&format!("/{dir}/whose"), Node::file(0o644, "image\n"))?;
    }
    Ok(tree)
}

/// The files that `maps` maps.
const MAPPED: &str = r#"maps | grep -o "[^ ]*/[^ ]*$" | sort -u"#;

fn musl_image(work: &Path) -> Result<Tree> {
    image(work, "musl-gcc", &["/lib/ld-musl-x86_64.so.1"])
}

/// `NAME.raw` in `work`, with `/usr/bin/probe` as `/usr/bin/NAME`.
fn wrap(work: &Path, image: Tree, name: &str, change: impl FnOnce(&mut Options)) -> Result<PathBuf> {
    let mut options = Options::new(name.parse()?)?;
    change(&mut options);
    let items = [format!("/usr/bin/probe:/usr/bin/{name}").parse()?];
    let (tree, _) = Plan::new(&image, &items, options)?.build(image)?;
    let release = Release { architecture: tree::Arch::host(), ..Release::default() };
    let extension = Extension::new(tree, name.parse()?, release, &Default::default())?;
    let errors: Vec<Finding> = lint(extension.tree(), extension.name(), &LintOptions::default())?
        .into_iter()
        .filter(|f| f.severity == Severity::Error)
        .collect();
    ensure!(errors.is_empty(), "{errors:?}");
    let path = work.join(format!("{name}.raw"));
    extension.write_image(&path, &ImageOptions::default(), &Silent)?;
    Ok(path)
}

/// Makes `$place` the root of all, so that it isn't a chroot: those can't have user namespaces. Then `$inner` runs in it
/// with the commands `as_root`, `as_user`, `as_user_with_bwrap`.
const MOVE_IN: &str = r#"
mount -t tmpfs tmpfs "$place/home"
mount -t tmpfs -o mode=755 tmpfs "$place/srv"
mkdir -p "$place/home/user" "$place/srv/bin"
chown 64777:64777 "$place/home/user"
echo host >"$place/home/whose"
cp /usr/bin/bwrap "$place/srv/bin/"
cp inner "$place/srv/"
mount --make-rprivate /
cd "$place"
pivot_root . mnt
cat >/srv/run <<'E'
as_root() { HOME=/root "$@"; }
as_user() { HOME=/home/user NOBWRAP=1 /usr/bin/setpriv --reuid 64777 --regid 64777 --clear-groups -- "$@"; }
as_user_with_bwrap() { HOME=/home/user FLATWRAP_BWRAP=1 PATH=/srv/bin:$PATH /usr/bin/setpriv --reuid 64777 --regid 64777 --clear-groups -- "$@"; }
umount -l /mnt
# By their paths: Debian's busybox prefers its own programs where it is the shell.
# As systemd has it; what systemd-sysext merges comes back by it.
mount --make-rshared /
cd /
set -eu
. /srv/inner
E
exec /bin/sh /srv/run
"#;

/// Runs `inner` in a Debian host into which the extensions are merged.
fn run(work: &Path, extensions: &[PathBuf], inner: &str) -> Result<String> {
    run_on(&Host::bookworm()?, work, extensions, inner)
}

/// The same in another host.
fn run_on(host: &Host, work: &Path, extensions: &[PathBuf], inner: &str) -> Result<String> {
    std::fs::write(work.join("inner"), inner)?;
    let extensions: Vec<&Path> = extensions.iter().map(PathBuf::as_path).collect();
    Ok(host.merged(work, &extensions, MOVE_IN)?.stdout)
}

const CALLERS: [&str; 3] = ["as_root", "as_user", "as_user_with_bwrap"];
