//! Daemons of Debian's packages, on hosts that have never heard of them: users, directories and configuration are theirs.

use std::path::{Path, PathBuf};

use anyhow::Result;
use e2e::{Account, Vm, Work, World};

/// Merged by hand, asked, restarted, replaced by another version, unmerged. `$1` is the extension, `$2` its unit; `ask` says
/// how it is asked.
const LIFE: &str = r#"
mkdir -p /etc/extensions /run/images
cp /opt/images/* /run/images/
version=$(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')
merge() {
    systemd-sysext refresh
    # Older ones don't know that an extension brings units.
    [ "$version" -ge 255 ] || systemctl daemon-reload
}
wait_for() {
    n=0
    until systemctl --quiet is-active "$1"; do
        n=$((n + 1))
        [ $n -lt 300 ] || { systemctl --no-pager --full status "$1"; journalctl --no-pager -o cat -n 50; exit 1; }
        sleep 0.2
    done
}
talk() { bash -c 'exec 3<>/dev/tcp/127.0.0.1/$1; printf "$2" >&3; timeout 20 head -c "$3" <&3' talk "$@"; echo; }
# What isn't answered yet is asked again: some are active before they listen.
ask() {
    n=0
    until talk "$@" 2>/dev/null; do
        n=$((n + 1))
        [ $n -lt 100 ] || exit 1
        sleep 0.2
    done
}
live() {
    ! id "$3" 2>/dev/null || echo "$1: has $3"
    install /run/images/$1.raw /etc/extensions/$1.raw
    merge
    wait_for $2
    echo "$1: active, $(id -un $3)"
    ask $4 "$5" $6
    systemctl restart $2
    ask $4 "$5" $6
    # Another version.
    rm /etc/extensions/$1.raw
    mkdir -p /run/other
    install /run/images/$1-2.image /etc/extensions/$1.raw
    merge
    wait_for $2
    systemctl restart $2
    ask $4 "$5" $6
    rm /etc/extensions/$1.raw
    merge
    systemctl daemon-reload
    systemctl stop $2
    echo "$1: $(systemctl is-active $2 || true), failed: $(systemctl --failed --no-legend --plain | wc -l)"
}
"#;

/// A package as an extension whose unit starts by itself, in two versions.
fn make(by: &Account, tool: &str, name: &str, package: &str, unit: &str) -> Result<[PathBuf; 2]> {
    let world = World::get()?;
    let build = |output: &str, epoch: &str| {
        let program = if tool == "flix" { world.flix(by) } else { world.flatwrap(by) };
        let words = ["debian:bookworm", name, &format!("package:{package}"), "--enable", unit];
        program.args(words).args(["--output", output, "--epoch", epoch]).run()
    };
    let (first, second) = (format!("{name}.raw"), format!("{name}-2.image"));
    build(&first, "1")?;
    build(&second, "2")?;
    Ok([by.home().join(first), by.home().join(second)])
}

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
ask 8080 'GET / HTTP/1.0\r\n\r\n' 200
echo "user $(id -u haproxy), directory $(stat -c %a:%u /var/lib/haproxy), $(grep -c "host's own" /etc/haproxy/haproxy.cfg) line"
systemctl is-failed haproxy-setup.service || true
"#;

fn script(with: &str) -> String {
    format!("{LIFE}\n{with}\n")
}

/// What it says of one.
fn assert_lived(text: &str, name: &str, user: &str, answer: &str) {
    assert!(text.contains(&format!("{name}: active, {user}\n")), "{name}: {text}");
    assert!(text.contains(&format!("{name}: inactive, failed: 0\n")), "{name}: {text}");
    assert!(!text.contains(&format!("{name}: has ")), "{name}: {text}");
    assert!(text.matches(answer).count() >= 3, "{name}: {answer}: {text}");
}

#[test]
fn daemons_run_on_a_host_that_never_heard_of_them() -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    let nginx = make(&root, "flix", "nginx", "nginx", "nginx.service")?;
    let redis = make(&root, "flix", "redis", "redis-server", "redis-server.service")?;
    let haproxy = make(&root, "flix", "haproxy", "haproxy", "haproxy.service")?;
    let images: Vec<&Path> = redis.iter().chain(&haproxy).map(PathBuf::as_path).collect();
    let carrier = Vm::carrier(work.path(), &images)?;
    // nginx is merged early in the boot.
    let lives = "[ $version -ge 255 ] || systemctl daemon-reload\nwait_for nginx.service\n\
                 ask 80 'GET / HTTP/1.0\\r\\n\\r\\n' 80\n\
                 live redis redis-server.service redis 6379 'PING\\r\\n' 5\n";
    for vm in [Vm::bookworm()?, Vm::trixie()?] {
        let text = vm.run(&work.dir("vm")?, &[&nginx[0], &carrier], &script(&format!("{lives}{OWN}")))?;
        assert!(text.contains("HTTP/1.1 403 Forbidden"), "{text}");
        assert_lived(&text, "redis", "redis", "+PONG");
        assert!(text.contains("the host's own\n"), "{text}");
        assert!(text.contains("\nuser 4321, directory 711:0, 1 line\ninactive\n"), "{text}");
    }
    Ok(())
}

#[test]
fn a_daemon_in_a_private_root_has_what_it_needs() -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    let nginx = make(&root, "flatwrap", "nginx", "nginx", "nginx.service")?;
    let images: Vec<&Path> = nginx.iter().map(PathBuf::as_path).collect();
    let carrier = Vm::carrier(work.path(), &images)?;
    let live = "live nginx nginx.service www-data 80 'GET / HTTP/1.0\\r\\n\\r\\n' 80\n";
    let text = Vm::trixie()?.run(&work.dir("vm")?, &[&carrier], &script(live))?;
    assert!(text.contains("nginx: active, www-data\n"), "{text}");
    assert!(text.contains("nginx: inactive, failed: 0\n"), "{text}");
    assert_eq!(text.matches("HTTP/1.1 403 Forbidden").count(), 3, "{text}");
    Ok(())
}
