//! Daemons of Debian's packages, on hosts that have never heard of them: users, directories and configuration are theirs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use e2e::daemons::{self, Daemon, Tool, quoted, script};
use e2e::{Account, Vm, Work, World, place};

/// In the order of a host's life: what its administrator has made is left alone.
const OWN: &str = r#"
echo 'haproxy:x:4321:4321:mine:/srv:/bin/sh' >> /etc/passwd
echo 'haproxy:x:4321:' >> /etc/group
mkdir -p /var/lib/haproxy/dev /etc/haproxy
chmod 0711 /var/lib/haproxy
cat > /etc/haproxy/haproxy.cfg <<'END'
global
  user haproxy
  group haproxy
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend own
  bind 127.0.0.1:8080
  http-request return status 200 content-type text/plain string "the host's own"
END
install /run/images/haproxy.raw /etc/extensions/haproxy.raw
merge
wait_for haproxy.service
answer "talk 8080 'GET / HTTP/1.0\r\n\r\n' 200" "the host's own"
echo "user $(id -u haproxy), directory $(stat -c %a:%u /var/lib/haproxy), $(grep -c "host's own" /etc/haproxy/haproxy.cfg) line"
systemctl is-failed haproxy-setup.service || true
"#;

/// What a host reads when it boots, for a service that is merged afterwards.
const LATE_FILES: [(&str, &str); 8] = [
    ("etc/passwd", "root:x:0:0::/root:/bin/sh\nlate:x:990:990::/:/bin/false\n"),
    ("etc/group", "root:x:0:\nlate:x:990:\n"),
    (
        "usr/lib/systemd/system/late.service",
        "[Service]\nUser=late\nExecStart=sleep infinity\n[Install]\nAlias=later.service\n",
    ),
    ("usr/lib/udev/rules.d/60-late.rules", "SUBSYSTEM==\"mem\", KERNEL==\"null\", SYMLINK+=\"late\"\n"),
    ("usr/lib/sysctl.d/60-late.conf", "vm.swappiness = 7\n"),
    ("usr/lib/modules-load.d/late.conf", "dummy\n"),
    ("usr/lib/binfmt.d/late.conf", ":late:M::LATE::/usr/bin/cat:\n"),
    (
        "usr/share/dbus-1/system.d/late.conf",
        "<busconfig><policy user=\"late\"><allow own=\"org.late\"/></policy></busconfig>\n",
    ),
];

const LATE: &str = r#"
install /run/images/late.raw /etc/extensions/late.raw
merge
wait_for later.service
answer 'ls /dev/late' /dev/late
echo "late: swappiness $(cat /proc/sys/vm/swappiness), $(ls -d /sys/module/dummy)"
echo 'LATE: a format' > /var/tmp/late
chmod +x /var/tmp/late
/var/tmp/late
bus=org.freedesktop.DBus
echo "late: $(runuser -u late -- busctl call $bus /org/freedesktop/DBus $bus RequestName su org.late 0)"
"#;

/// An extension with all that.
fn late(by: &Account) -> Result<PathBuf> {
    let root = by.home().join("late");
    for (path, text) in LATE_FILES {
        let path = root.join(path);
        fs::create_dir_all(path.parent().context("it is in a directory")?)?;
        fs::write(path, text)?;
    }
    let paths =
        LATE_FILES.iter().filter(|(path, _)| path.starts_with("usr")).map(|(path, _)| format!("/{path}"));
    World::get()?.flix(by).args(["./late", "late", "--enable", "late.service"]).args(paths).run()?;
    Ok(by.home().join("late.raw"))
}

#[test]
fn daemons_run_on_a_host_that_never_heard_of_them() -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    let [nginx, redis, haproxy] =
        [Daemon::called("nginx")?, Daemon::called("redis")?, Daemon::called("haproxy")?];
    let first = nginx.make(&root, Tool::Flix)?;
    let later =
        [redis.make(&root, Tool::Flix)?, haproxy.make(&root, Tool::Flix)?, vec![late(&root)?]].concat();
    // nginx is merged early in the boot.
    let lives = format!(
        "[ $version -ge 255 ] || systemctl daemon-reload\nwait_for nginx.service\nanswer {} {}\n{LATE}{}{OWN}",
        quoted(nginx.ask),
        quoted(nginx.expect),
        redis.life()
    );
    for vm in [Vm::bookworm()?, Vm::trixie()?] {
        let text = vm.with_files(&later).run(&work.dir("vm")?, &[&first[0]], &script(&lives))?;
        assert!(text.contains(nginx.expect), "{text}");
        redis.lived(&text)?;
        for line in ["swappiness 7, /sys/module/dummy", "a format", "u 1"] {
            assert!(text.to_lowercase().contains(&format!("late: {line}\n")), "{line}: {text}");
        }
        assert!(text.contains("the host's own\n"), "{text}");
        assert!(text.contains("\nuser 4321, directory 711:0, 1 line\ninactive\n"), "{text}");
    }
    Ok(())
}

/// Configuration from an image of its own, unsigned and on a host that demands signatures.
const CONFEXT: &str = r#"
mkdir -p /var/lib/confexts /etc/verity.d
cp /run/images/ours.crt /etc/verity.d/
cp /run/images/configured.image /etc/extensions/nginx.raw
merge
systemctl start nginx-setup.service
test ! -e /etc/nginx/nginx.conf
for kind in plain signed; do
    cp /run/images/$kind.image /var/lib/confexts/nginx.confext.raw
    policy='*'
    [ $kind = plain ] || policy='root=signed'
    systemd-confext --image-policy="$policy" merge
    nginx -t 2>&1 | sed "s/^/$kind: /"
    touch /etc/nginx/nginx.conf 2>&1 | grep -o 'Read-only file system' || true
    systemctl reset-failed
    systemctl start nginx.service
    answer "talk 80 'GET / HTTP/1.0\r\n\r\n' 80" '200 OK'
    systemctl stop nginx.service
    systemd-confext unmerge
    rm /var/lib/confexts/nginx.confext.raw
done
"#;

/// A daemon in a private root, which leaves nothing behind in /etc, and then one with its configuration in an image of its own.
#[test]
fn private_roots_and_configuration_images() -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    let request =
        "req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /O=tests -keyout ours.pem -out ours.crt";
    root.program("openssl").args(request.split(' ')).run()?;
    let build = |more: &[&str], to: &str| -> Result<PathBuf> {
        let words = ["debian:bookworm", "nginx", "package:nginx", "--confext"];
        let out = World::get()?.flix(&root).args(words).args(more).run()?;
        assert!(out.stdout.contains("nginx.confext.raw: "), "{}", out.stdout);
        fs::rename(root.home().join("nginx.confext.raw"), root.home().join(to))?;
        Ok(root.home().join(to))
    };
    let signed = build(&["--sign-verity", "ours.pem", "--cert", "ours.crt"], "signed.image")?;
    let plain = build(&[], "plain.image")?;
    let (image, key) = (root.home().join("configured.image"), root.home().join("ours.crt"));
    fs::rename(root.home().join("nginx.raw"), &image)?;
    let nginx = Daemon::called("nginx")?;
    let files = [nginx.make(&root, Tool::Flatwrap)?, vec![image, plain, signed, key]].concat();
    let lives = format!("{}\n{CONFEXT}", nginx.life());
    let text = Vm::trixie()?.with_files(&files).run(&work.dir("vm")?, &[], &script(&lives))?;
    nginx.lived(&text)?;
    for kind in ["plain", "signed"] {
        let said = format!("{kind}: nginx: configuration file /etc/nginx/nginx.conf test is successful\n");
        assert!(text.contains(&said), "{text}");
    }
    assert_eq!(text.matches("Read-only file system\n").count(), 2, "{text}");
    // Three times before that. The page is what the first one's packages have in /var.
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 5, "{text}");
    Ok(())
}

/// docs/daemons.md, as it stands: `$` is whoever builds, `#` is the host, and what follows is its answer.
#[test]
fn the_guides_daemon_answers() -> Result<()> {
    let guide = fs::read_to_string(place::repository().join("docs/daemons.md"))?;
    let guide = guide.split("\n## ").next().context("the guide is empty")?;
    let block = || guide.lines().filter_map(|l| l.strip_prefix("    "));
    let work = Work::new()?;
    let root = work.root("root")?;
    for line in block().filter_map(|l| l.strip_prefix("$ flix ")) {
        World::get()?.flix(&root).args(line.split(' ')).run()?;
    }
    let files = [root.home().join("redis.raw")];
    let (ask, commands): (Vec<&str>, Vec<&str>) =
        block().filter_map(|l| l.strip_prefix("# ")).partition(|l| l.starts_with("redis-cli"));
    assert_eq!((ask.len(), commands.len()), (1, 2), "{guide}");
    let answer = block().find(|l| !l.starts_with(['$', '#'])).context("no answer")?;
    let script = format!(
        "cd /run/images\n{}\n[ $version -ge 255 ] || systemctl daemon-reload\n\
         wait_for redis-server.service\necho \"it says $({})\"\n",
        commands.join("\n"),
        ask[0]
    );
    for vm in [Vm::bookworm()?, Vm::trixie()?] {
        let text = vm.with_files(&files).run(&work.dir("vm")?, &[], &daemons::script(&script))?;
        assert!(text.contains(&format!("it says {answer}\n")), "{text}");
    }
    Ok(())
}
