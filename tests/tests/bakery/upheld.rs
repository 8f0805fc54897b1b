//! What starts by itself when a running host refreshes its extensions.

use std::fs;
use std::path::Path;

use anyhow::Result;
use e2e::{Program, Upstream, Vm, place};

use crate::compiled::{BIRD, CHRONY, HAPROXY};
use crate::forge::Forge;
use crate::{keepalived, kitchen::Kitchen};

/// The images are in another extension, which is merged from the start.
const SCRIPT: &str = "\
systemctl --version | head -n 1
put() {
    rm -f /etc/extensions/containerd.raw /etc/extensions/keepalived.raw
    cp \"/usr/share/images/$1.raw\" /etc/extensions/
    echo \"$1: before, $2 is $(systemctl is-active \"$2\")\"
    systemd-sysext refresh
    # No daemon-reload, no start: the manager does both when it is told of the merge.
    for _ in $(seq 600); do
        systemctl --quiet is-active \"$2\" && break
        sleep 0.2
    done
    echo \"$1: $2 is $(systemctl is-active \"$2\")\"
    systemctl is-active --quiet \"$2\" || systemctl --no-pager --full status \"$2\" || true
    journalctl --no-pager -q -u \"$2\" -n 20 -o cat
}
mkdir -p /etc/extensions
put containerd containerd.service
ctr version
put keepalived keepalived.service
put docker docker.socket
put kata-containers kata-containers-setup.service
/opt/kata/bin/kata-runtime --version
put haproxy haproxy.service
cat > /run/ask <<'END'
exec 3<>/dev/tcp/127.0.0.1/8404
printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3
grep -q haproxy_process_build_info <&3
END
bash /run/ask && echo \"haproxy: has metrics, as $(stat -c %U /proc/$(systemctl show -P MainPID haproxy))\"
systemctl reload haproxy
# The command is done before HAProxy says that it is.
for _ in $(seq 600); do
    [ \"$(systemctl is-active haproxy)\" = reloading ] || break
    sleep 0.2
done
echo \"haproxy: reloaded, $(systemctl is-active haproxy)\"
# These are enabled by whoever wants them.
cp /usr/share/images/chrony.raw /usr/share/images/bird.raw /etc/extensions/
systemd-sysext refresh
systemctl start chronyd.service
chronyc -h /run/chrony/chronyd.sock tracking | grep '^Reference ID'
echo \"chrony: runs as $(stat -c %U /proc/$(systemctl show -P MainPID chronyd))\"
mkdir -p /etc/bird
printf 'router id 192.0.2.1;\\nprotocol device { }\\n' > /etc/bird/bird.conf
systemctl start bird.service
for _ in $(seq 100); do
    [ -S /run/bird/bird.ctl ] && break
    sleep 0.2
done
birdc -s /run/bird/bird.ctl show status
systemctl reload bird && echo \"bird: reloaded, $(systemctl is-active bird)\"
";

#[test]
fn a_refresh_starts_what_extensions_uphold() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    // Debian's own containerd is a program with a dynamic loader: fine on Debian.
    for (name, version, arch) in [("containerd", "1.6.20", "x86-64"), ("docker", "27.5.1", "x86-64")] {
        kitchen.bakery(&["lock", name, version, "--arch", arch])?.run()?;
        kitchen.bakery(&["build", name, version, "--allow", "needs-host-libraries"])?.run()?;
    }
    kitchen.lock("kata-containers", "4.0.0", &[])?;
    kitchen.bakery(&["build", "kata-containers", "4.0.0", "--arch", "x86-64"])?.run()?;
    let work = kitchen.work.path();
    let files = work.join("carrier/usr/share/images");
    fs::create_dir_all(&files)?;
    fs::copy(work.join("containerd-1.6.20-x86-64.raw"), files.join("containerd.raw"))?;
    fs::copy(work.join("docker-27.5.1-x86-64.raw"), files.join("docker.raw"))?;
    fs::copy(work.join("kata-containers-4.0.0-x86-64.raw"), files.join("kata-containers.raw"))?;
    fs::copy(keepalived::image()?, files.join("keepalived.raw"))?;
    for (project, name) in [(&HAPROXY, "haproxy.raw"), (&CHRONY, "chrony.raw"), (&BIRD, "bird.raw")] {
        fs::copy(Forge::get(project)?.image(), files.join(name))?;
    }
    let release = work.join("carrier/usr/lib/extension-release.d");
    fs::create_dir_all(&release)?;
    fs::write(release.join("extension-release.carrier"), "ID=_any\n")?;
    let carrier = work.join("carrier.raw");
    Program::new("mksquashfs")
        .args([&work.join("carrier"), &carrier])
        // Images are compressed already, and an emulated processor would unpack them twice.
        .args(["-quiet", "-no-progress", "-noD", "-noF"])
        .run()?;

    let script = format!("{SCRIPT}{}", cilium()?);
    let told = Vm::trixie()?.run(&kitchen.work.dir("vm")?, &[Path::new(&carrier)], &script)?;
    let units = [
        "containerd: containerd.service",
        "keepalived: keepalived.service",
        "docker: docker.socket",
        "kata-containers: kata-containers-setup.service",
        "haproxy: haproxy.service",
    ];
    for unit in units {
        let before = unit.replace(": ", ": before, ");
        assert!(told.contains(&format!("{before} is inactive\n")), "{unit}: {told}");
        assert!(told.contains(&format!("{unit} is active\n")), "{unit}: {told}");
    }
    assert!(
        told.contains("kata-runtime  : 4.0.0\n")
            && told.contains("haproxy: has metrics, as haproxy\n")
            && told.contains("haproxy: reloaded, active\n")
            && told.contains("Reference ID")
            && told.contains("chrony: runs as chrony\n")
            && told.contains("Router ID is 192.0.2.1\n")
            && told.contains("bird: reloaded, active\n"),
        "{told}"
    );
    assert!(told.contains("systemd 257") && told.contains("Version:"), "{told}");
    for line in ["first: exited, restarts 0, installs 1", "second: dead, restarts 0, installs 1"] {
        assert!(told.lines().any(|l| l == line), "{line}: {told}");
    }
    Ok(())
}

/// Installs once, and fails the second time, as the real one does.
const CILIUM: &str = "\
systemd-sysext unmerge
cat > /usr/bin/cilium << 'EOF'
#!/bin/sh
case \"$*\" in
'config view') test -e /var/lib/installed ;;
install*) echo >> /var/lib/installs; test ! -e /var/lib/installed && touch /var/lib/installed ;;
esac
EOF
chmod +x /usr/bin/cilium
systemctl daemon-reload
for run in first second; do
    systemctl start cilium.service || true
    sleep 12
    state=$(systemctl show -P SubState cilium.service)
    echo \"$run: $state, restarts $(systemctl show -P NRestarts cilium.service), installs $(wc -l < /var/lib/installs)\"
    # As a reboot would.
    systemctl stop cilium.service
done
";

/// Cilium is installed into a cluster once.
fn cilium() -> Result<String> {
    let unit = "usr/lib/systemd/system/cilium.service";
    let path = place::repository().join("recipes/catalogue/cilium/files").join(unit);
    let unit = fs::read_to_string(path)?;
    Ok(format!("cat > /etc/systemd/system/cilium.service << 'EOF'\n{unit}EOF\n{CILIUM}"))
}
