//! A service of Debian's, installed by apt in the sandbox, served by a machine that never saw apt.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use e2e::{Account, Vm, Work, World};

const PATHS: [&str; 3] =
    ["/usr/sbin/nginx", "/usr/sbin/start-stop-daemon", "/usr/lib/systemd/system/nginx.service"];

/// A configuration of the host's own, which stays. Directories in /var, and the user, come with the extension.
const CONFIGURATION: &str = r#"
mkdir -p /etc/nginx /srv/www
echo "a page from the extension" > /srv/www/index.html
cat > /etc/nginx/nginx.conf <<'END'
user www-data;
pid /run/nginx.pid;
events {
}
http {
  include mime.types;
  server {
    listen 127.0.0.1:80;
    root /srv/www;
  }
}
END
"#;

const SERVE: &str = r#"
test ! -e /usr/share/nginx
systemctl start nginx.service || { journalctl --no-pager -u nginx.service; exit 1; }
systemctl is-active nginx.service
exec 3<>/dev/tcp/127.0.0.1/80
printf 'GET / HTTP/1.0\r\n\r\n' >&3
cat <&3
echo
pid=$(cat /run/nginx.pid)
sed -n 's|.* /|/|p' "/proc/$pid/maps" | sort -u
systemctl stop nginx.service
systemctl is-active nginx.service || true
"#;

fn make(by: &Account) -> Result<PathBuf> {
    World::get()?.flix(by).args(["debian:bookworm", "nginx"]).args(PATHS).run()?;
    Ok(by.home().join("nginx.raw"))
}

#[test]
fn nginx_is_the_same_whoever_makes_it_and_serves_a_page() -> Result<()> {
    let work = Work::new()?;
    let root = make(&work.root("root")?)?;
    let user = make(&work.user("user")?)?;
    assert!(fs::read(&root)? == fs::read(&user)?, "root and user made different images");

    let script = format!("{CONFIGURATION}\nbash -euc '{}'", SERVE.replace('\'', r"'\''"));
    // systemd 252 doesn't know that an extension brings units; 257 reads the release file and reloads by itself.
    serves(&Vm::bookworm()?.run(work.path(), &[&user], &format!("systemctl daemon-reload\n{script}"))?);
    serves(&Vm::trixie()?.run(work.path(), &[&user], &script)?);
    Ok(())
}

fn serves(out: &str) {
    assert!(out.contains("a page from the extension"), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines.contains(&"active") && lines.contains(&"inactive"), "{out}");
    // What the server has mapped is its own.
    let mapped: Vec<&&str> = lines.iter().filter(|l| l.starts_with('/') && !l.starts_with("/dev/")).collect();
    assert!(mapped.iter().any(|l| l.starts_with("/usr/lib/flix/nginx/")), "{out}");
    for path in mapped {
        assert!(path.starts_with("/usr/lib/flix/nginx/") || path.ends_with("bin/nginx"), "{path} is mapped");
    }
}
