//! Wrapped programs, merged by real systemd-sysext: who sees what, and that nothing stays behind.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::{Host, Program, Work};
use flatwrap::{Map, Options, Plan};
use sysext::image::{ImageOptions, write};
use sysext::{Blob, Content, Extension, Meta, Node, Release, Silent, Tree};

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

/// A root with musl: busybox, `/usr/bin/maps` (dynamic), and `/usr/bin/probe`, which runs `$PROBE`.
fn musl_image(work: &Path) -> Result<Tree> {
    std::fs::write(work.join("maps.c"), MAPS)?;
    Program::new("musl-gcc").args(["-O1", "-o", "maps", "maps.c"]).dir(work).run()?;
    let mut tree = Tree::default();
    let mut add = |path: &str, node: Node| {
        tree.insert_all(path.parse()?, node, &Meta::dir()).map_err(anyhow::Error::from)
    };
    add("/bin/busybox", Node::file(0o755, host_file("/bin/busybox")?))?;
    for applet in ["sh", "cat", "id", "sleep", "sort", "grep", "sed", "ls"] {
        add(&format!("/bin/{applet}"), Node::symlink("busybox"))?;
    }
    add("/lib/ld-musl-x86_64.so.1", Node::file(0o755, host_file("/lib/ld-musl-x86_64.so.1")?))?;
    add("/usr/bin/maps", Node::file(0o755, host_file(work.join("maps").to_str().unwrap_or_default())?))?;
    add("/usr/bin/probe", Node::file(0o755, "#!/bin/sh\neval \"$PROBE\"\n"))?;
    for dir in ["etc", "var", "home"] {
        add(&format!("/{dir}/whose"), Node::file(0o644, "image\n"))?;
    }
    Ok(tree)
}

/// `NAME.raw` in `work`, with `/usr/bin/probe` as `/usr/bin/NAME`.
fn wrap(work: &Path, image: Tree, name: &str, change: impl FnOnce(&mut Options)) -> Result<PathBuf> {
    let mut options = Options::new(name.parse()?)?;
    change(&mut options);
    let items = [format!("/usr/bin/probe:/usr/bin/{name}").parse()?];
    let (tree, _) = Plan::new(&image, &items, options)?.build(image)?;
    let release = Release { architecture: sysext::Arch::host(), ..Release::default() };
    let extension = Extension::new(tree, name.parse()?, release, &Default::default())?;
    let path = work.join(format!("{name}.raw"));
    write(&extension, &path, &ImageOptions::default(), &Silent)?;
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
as_user() { HOME=/home/user NOBWRAP=1 setpriv --reuid 64777 --regid 64777 --clear-groups -- "$@"; }
as_user_with_bwrap() { HOME=/home/user FLATWRAP_BWRAP=1 PATH=/srv/bin:$PATH setpriv --reuid 64777 --regid 64777 --clear-groups -- "$@"; }
umount -l /mnt
# As systemd has it; what systemd-sysext merges comes back by it.
mount --make-rshared /
cd /
set -eu
. /srv/inner
E
exec /bin/sh /srv/run
"#;

/// Runs `inner` in a host into which the extensions are merged.
fn run(work: &Path, extensions: &[PathBuf], inner: &str) -> Result<String> {
    std::fs::write(work.join("inner"), inner)?;
    let extensions: Vec<&Path> = extensions.iter().map(PathBuf::as_path).collect();
    Ok(Host::bookworm()?.merged(work, &extensions, MOVE_IN)?.stdout)
}

const CALLERS: [&str; 3] = ["as_root", "as_user", "as_user_with_bwrap"];

#[test]
fn users_modes_and_maps() -> Result<()> {
    let work = Work::new()?;
    let mut extensions = Vec::new();
    let mut inner = String::from(
        "export PROBE='for d in /etc /var /home; do if [ -e $d/whose ]; then cat $d/whose; else echo host; fi; done; id -u; \
         maps | grep -o \"[^ ]*/[^ ]*$\" | sort -u'\n",
    );
    let mut expected = String::new();
    for bits in 0..8 {
        let map = |bit: u32| if bits & bit == 0 { Map::Host } else { Map::Chroot };
        let say = |bit: u32| if bits & bit == 0 { "host" } else { "image" };
        let name = format!("probe{bits}");
        extensions.push(wrap(work.path(), musl_image(work.path())?, &name, |o| {
            (o.etc, o.var, o.home) = (map(1), map(2), map(4));
        })?);
        for caller in CALLERS {
            let uid = if caller == "as_root" { "0" } else { USER };
            inner += &format!("echo {caller} {name}; {caller} {name}\n");
            expected += &format!(
                "{caller} {name}\n{}\n{}\n{}\n{uid}\n/lib/ld-musl-x86_64.so.1\n/usr/bin/maps\n",
                say(1),
                say(2),
                say(4)
            );
        }
    }
    assert_eq!(run(work.path(), &extensions, &inner)?, expected);
    Ok(())
}

/// What a program mounted is gone when it ends, and one that runs goes on when the extension is unmerged and merged
/// again.
#[test]
fn nothing_stays_behind_and_a_refresh_disturbs_nobody() -> Result<()> {
    let work = Work::new()?;
    let extension = wrap(work.path(), musl_image(work.path())?, "probe", |_| {})?;
    let inner = r#"
before=$(wc -l </proc/self/mountinfo)
for caller in as_root as_user as_user_with_bwrap; do
  PROBE='echo $0' $caller probe
done
[ "$(wc -l </proc/self/mountinfo)" = "$before" ] && echo "no mount left"
for caller in as_root as_user as_user_with_bwrap; do
  mkfifo -m 666 /tmp/go.$caller /tmp/out.$caller
  # Both ends are open once the program runs.
  PROBE="echo running; read x <&3; ls /lib; id -u; cat /etc/hostname" $caller probe 3<>/tmp/go.$caller >/tmp/out.$caller &
  exec 4</tmp/out.$caller
  read -r line <&4
  echo "$caller $line"
  systemd-sysext unmerge >/dev/null 2>&1
  [ ! -e /usr/bin/probe ] && echo unmerged
  echo go >/tmp/go.$caller
  cat <&4
  systemd-sysext merge >/dev/null 2>&1
  [ -e /usr/bin/probe ] && echo merged
done
"#;
    let name = std::fs::read_to_string(Host::bookworm()?.root().join("etc/hostname"))?;
    let mut expected = "/usr/bin/probe\n".repeat(3) + "no mount left\n";
    for caller in CALLERS {
        let uid = if caller == "as_root" { "0" } else { USER };
        expected += &format!("{caller} running\nunmerged\nld-musl-x86_64.so.1\n{uid}\n{name}merged\n");
    }
    assert_eq!(run(work.path(), &[extension], inner)?, expected);
    Ok(())
}
