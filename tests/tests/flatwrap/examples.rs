//! What people do with it: the shell tool's examples, and what is in the manual.

use anyhow::Result;
use e2e::{Host, Vm, Work, World};

use crate::{CALLERS, run, run_on};

/// The hash of nothing, by BLAKE3's own test vectors.
const EMPTY: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

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

/// Debian's htop finds its terminal's description, and the image's /etc is what it sees.
#[test]
fn htop_draws() -> Result<()> {
    let work = Work::new()?;
    let by = work.root("root")?;
    let words = ["debian", "htop", "/usr/bin/htop", "/usr/bin/infocmp", "--etcmap", "chroot"];
    World::get()?.flatwrap(&by).args(words).run()?;
    let mut inner = String::new();
    let mut expected = String::new();
    for caller in CALLERS {
        inner += &format!(
            "echo {caller}; infocmp -D | grep ^/etc || :\n\
             printf q | (export TERM=xterm; {caller} script -qec htop /dev/null) | grep -a -o 'Load average' | head -n 1\n"
        );
        expected += &format!("{caller}\n/etc/terminfo\nLoad average\n");
    }
    assert_eq!(run(work.path(), &[by.home().join("htop.raw")], &inner)?, expected);
    Ok(())
}

/// First the program alone, with the image's configuration; then as a service: systemd starts the unit, a page comes,
/// restart and stop work, nothing stays behind.
#[test]
fn nginx_runs_and_is_a_service() -> Result<()> {
    let work = Work::new()?;
    let by = work.root("root")?;
    let flatwrap = || World::get().map(|world| world.flatwrap(&by));
    flatwrap()?.args(["debian", "nginx", "/usr/sbin/nginx", "--etcmap", "chroot"]).run()?;
    let nginx = by.home().join("nginx.raw");
    // What the host has in these is its own, and not much.
    let inner = "[ ! -e /etc/nginx ]\nfor d in log lib; do mount -t tmpfs tmpfs /var/$d; done\n\
                 as_root nginx -t 2>&1; as_user nginx -v 2>&1 | cut -d/ -f1";
    for host in [Host::bookworm()?, Host::trixie()?] {
        let out = run_on(&host, work.path(), std::slice::from_ref(&nginx), inner)?;
        let file = "nginx: configuration file /etc/nginx/nginx.conf test is successful";
        let version = "nginx version: nginx";
        assert_eq!(out.lines().skip(1).collect::<Vec<_>>(), [file, version], "{out}");
    }

    // The installation is in the cache.
    let paths = ["/usr/sbin/nginx", "/usr/sbin/start-stop-daemon", "/usr/lib/systemd/system/nginx.service"];
    flatwrap()?.args(["debian:bookworm", "nginx"]).args(paths).run()?;
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
    let out = Vm::bookworm()?.run(work.path(), &[&nginx], script)?;
    let served = "active\nserved from the private root\n";
    assert_eq!(out.trim(), format!("{served}{served}inactive\n0\nno mount left"));
    Ok(())
}
