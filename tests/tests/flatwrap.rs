//! Wrapped programs, merged by real systemd-sysext: who sees what, and that nothing stays behind.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::{Host, Program, Vm, Work, World};
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

/// The hash of nothing, by BLAKE3's own test vectors.
const EMPTY: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

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

/// The shell tool's first example, as it stands: the image comes from a registry, the package by its package manager.
#[test]
fn b3sum_from_a_registry() -> Result<()> {
    let world = World::get()?;
    for image in world.alpines() {
        for name in ["root", "user"] {
            let work = Work::new()?;
            let by = if name == "root" { work.root(name)? } else { work.user(name)? };
            let paths = ["/usr/bin/b3sum", "/bin/busybox:/usr/bin/busybox"];
            world.flatwrap(&by).args([image, "b3sum"]).args(paths).run()?;
            let mut inner = String::new();
            let mut expected = String::new();
            for caller in CALLERS {
                inner += &format!("{caller} b3sum /dev/null; {caller} busybox echo \"a  b\"\n");
                expected += &format!("{EMPTY}\na  b\n");
            }
            let out = run(work.path(), &[by.home().join("b3sum.raw")], &inner)?;
            let out: String =
                out.lines().map(|l| l.trim_end_matches("  /dev/null").to_owned() + "\n").collect();
            assert_eq!(out, expected, "{image} by {name}");
        }
    }
    Ok(())
}

/// The shell tool's daemon: systemd starts the unit, a page comes, restart and stop work, nothing stays behind.
#[test]
fn nginx_is_a_service() -> Result<()> {
    let work = Work::new()?;
    let by = work.root("root")?;
    let paths = ["/usr/sbin/nginx", "/usr/sbin/start-stop-daemon", "/usr/lib/systemd/system/nginx.service"];
    World::get()?.flatwrap(&by).args(["debian:bookworm", "nginx"]).args(paths).run()?;
    let script = r#"
mkdir -p /etc/nginx /var/log/nginx
cat >/etc/nginx/nginx.conf <<'END'
user root;
pid /run/nginx.pid;
events {
}
http {
  access_log /dev/null;
  proxy_temp_path /tmp;
  client_body_temp_path /tmp;
  fastcgi_temp_path /tmp;
  uwsgi_temp_path /tmp;
  scgi_temp_path /tmp;
  server {
    server_name localhost;
    listen 127.0.0.1:80;
    location / { return 200 "served from the private root\n"; }
  }
}
END
page() { bash -c 'exec 3<>/dev/tcp/127.0.0.1/80; printf "GET / HTTP/1.0\r\n\r\n" >&3; tail -n 1 <&3'; }
mounts=$(wc -l </proc/self/mountinfo)
systemctl start nginx && systemctl is-active nginx && page
systemctl restart nginx && systemctl is-active nginx && page
systemctl stop nginx; systemctl is-active nginx || true
ls -d /proc/[0-9]*/exe | while read -r exe; do readlink "$exe"; done | grep -c nginx || true
[ "$(wc -l </proc/self/mountinfo)" = "$mounts" ] && echo "no mount left"
"#;
    let out = Vm::bookworm()?.run(work.path(), &[&by.home().join("nginx.raw")], script)?;
    let served = "active\nserved from the private root\n";
    assert_eq!(out.trim(), format!("{served}{served}inactive\n0\nno mount left"));
    Ok(())
}
