//! Container runtimes: containerd, runc, cri-o, Docker, NVIDIA's toolkit.

use anyhow::Result;

use super::Maker;
use super::programs::{MACHINES, Machine};
use super::site::{Member, deb, sums, tgz, with_sums};

/// Upstream's, with the paths that decide whether CRI-O starts.
const CRIO_CONFIGURATION: &str = r#"[crio.image]
signature_policy = "/etc/crio/policy.json"

[crio.runtime]
default_runtime = "crun"

[crio.runtime.runtimes.crun]
runtime_path = "/usr/libexec/crio/crun"
runtime_root = "/run/crun"
monitor_path = "/usr/libexec/crio/conmon"

[crio.runtime.runtimes.runc]
runtime_path = "/usr/libexec/crio/runc"
runtime_root = "/run/runc"
monitor_path = "/usr/libexec/crio/conmon"
"#;

/// Refuses what CRI-O refuses of its configuration (pkg/config/config.go: ValidateRuntimePath, ValidateConmonPath,
/// ValidatePinnsPath, the policy when an image is pulled), says that it is ready, and leaves what `crio status` prints.
const CRIO: &str = r#"#!/bin/sh
run=/var/run/crio
case $1 in
--version) echo "crio version VERSION"; exit ;;
status)
    [ -e $run/crio.sock ] || { echo "connect: no such file: $run/crio.sock" >&2; exit 1; }
    cat $run/info
    exit ;;
--config-dir) dir=$2 ;;
*) dir=/etc/crio/crio.conf.d ;;
esac
fail() { echo "level=fatal msg=\"validating configuration: $1\"" >&2; exit 1; }
value() { cat "$dir"/*.conf | sed -n "/^\[$1\]/,/^\[/s/^$2 = \"\(.*\)\"/\1/p"; }
default=$(value crio.runtime default_runtime)
runtime=$(value "crio.runtime.runtimes.$default" runtime_path)
monitor=$(value "crio.runtime.runtimes.$default" monitor_path)
policy=$(value crio.image signature_policy)
[ -x "$runtime" ] || fail "invalid runtime_path for runtime '$default': stat $runtime: no such file or directory"
[ -x "$monitor" ] || fail "conmon validation: invalid conmon path: stat $monitor: no such file or directory"
[ -e "$policy" ] || fail "signature policy $policy: no such file or directory"
command -v pinns >/dev/null || fail "pinns validation: not found in PATH"
mkdir -p $run
printf 'cgroup driver: systemd\nstorage driver: overlay\ndefault runtime: %s\n' "$runtime" > $run/info
: > $run/crio.sock
[ -z "$NOTIFY_SOCKET" ] || systemd-notify --ready
exec sleep infinity
"#;

const CRICTL: &str = r#"#!/bin/sh
[ "$1" != --version ] || { echo "crictl version vVERSION"; exit; }
socket=$(sed -n 's,^runtime-endpoint: "unix://\(.*\)",\1,p' /etc/crictl.yaml)
[ -e "$socket" ] || { echo "validate service connection: $socket: no such file or directory" >&2; exit 1; }
echo '{"status":{"conditions":[{"type":"RuntimeReady","status":true}]}}'
"#;

impl Maker {
    /// Fills in the runtimes.
    pub(super) fn runtimes(&self) -> Result<()> {
        self.containerd()?;
        self.runc()?;
        self.crio()?;
        self.docker()?;
        self.nvidia()
    }

    /// 1.6.20 is Debian's, and for one machine only: it is big.
    fn containerd(&self) -> Result<()> {
        const PROGRAMS: [&str; 4] = ["containerd", "containerd-shim-runc-v2", "containerd-stress", "ctr"];
        let mut releases = Vec::new();
        for (tag, runc) in [("v2.1.4", "v1.3.0"), ("v1.7.29", "v1.3.0"), ("v1.6.20", "v1.1.5")] {
            let version = &tag[1..];
            let mut assets = Vec::new();
            for machine in MACHINES {
                let real = version == "1.6.20";
                if real && machine == Machine::Arm64 {
                    continue;
                }
                let programs = PROGRAMS.iter().filter(|p| !real || **p != "containerd-stress").map(|name| {
                    let path = format!("bin/{name}");
                    let content = if real {
                        self.real.file("containerd", machine, &format!("usr/{path}"))?
                    } else {
                        let says =
                            format!("{name} github.com/containerd/containerd v{version} 0123456789abcdef\n");
                        self.programs.fixed(machine, &says)?
                    };
                    Ok((path, 0o755, content))
                });
                let tar = tgz(&programs.collect::<Result<Vec<Member>>>()?)?;
                let name = format!("containerd-static-{version}-linux-{}.tar.gz", machine.goarch());
                assets.push((format!("{name}.sha256sum"), sums([(name.as_str(), tar.as_slice())])));
                assets.push((name, tar));
            }
            releases.push((tag, assets));
            let script = format!(
                "https://raw.githubusercontent.com/containerd/containerd/refs/tags/v{version}/script/setup/runc-version"
            );
            self.site.put(&script, format!("{runc}\n"))?;
        }
        self.site.releases("containerd/containerd", &releases)
    }

    fn runc(&self) -> Result<()> {
        let mut assets = Vec::new();
        for machine in MACHINES {
            let says = "runc version 1.3.0\nspec: 1.2.0\n";
            assets.push((format!("runc.{}", machine.goarch()), self.programs.fixed(machine, says)?));
        }
        let real = self.real.file("runc", Machine::Amd64, "usr/sbin/runc")?;
        let real = vec![("runc.amd64".to_owned(), real)];
        let list = "runc.sha256sum";
        let releases = [("v1.3.0", with_sums(assets, list)), ("v1.1.5", with_sums(real, list))];
        self.site.releases("opencontainers/runc", &releases)
    }

    /// As `scripts/bundle/build` of cri-o/packaging makes it, read at commit b111fe9 (August 2026). The programs that a test
    /// starts are scripts: they look for what the real ones look for.
    fn crio(&self) -> Result<()> {
        const VERSION: &str = "v1.32.0";
        let text = |path: &str, content: &str| (format!("cri-o/{path}"), 0o644, content.as_bytes().to_vec());
        let unit = "[Unit]\nDescription=CRI-O\nWants=network-online.target\nBefore=kubelet.service\nAfter=network-online.target\n\
                    [Service]\nType=notify\nEnvironmentFile=-/etc/sysconfig/crio\nEnvironment=GOTRACEBACK=crash\n\
                    ExecStart=/usr/local/bin/crio \\\n  $CRIO_CONFIG_OPTIONS \\\n  $CRIO_RUNTIME_OPTIONS\n\
                    ExecReload=/bin/kill -s HUP $MAINPID\nTasksMax=infinity\nOOMScoreAdjust=-999\nTimeoutStartSec=0\n\
                    Restart=on-failure\nRestartSec=10\n[Install]\nWantedBy=multi-user.target\nAlias=cri-o.service\n";
        for machine in MACHINES {
            let mut members = vec![
                text("Makefile", "all:\n\t./install\n"),
                text("README.md", "# CRI-O bundle\n"),
                text("LICENSE", "Apache-2.0\n"),
                text(
                    "contrib/10-crio-bridge.conflist.disabled",
                    "{\"cniVersion\": \"1.0.0\", \"name\": \"crio\"}\n",
                ),
                text("contrib/crio.service", unit),
                text("contrib/policy.json", "{ \"default\": [{ \"type\": \"insecureAcceptAnything\" }] }\n"),
                text("contrib/registries.conf", "unqualified-search-registries = [\"docker.io\"]\n"),
                text("etc/10-crio.conf", CRIO_CONFIGURATION),
                text(
                    "etc/crictl.yaml",
                    "runtime-endpoint: \"unix:///var/run/crio/crio.sock\"\ntimeout: 0\ndebug: false\n",
                ),
                text("etc/crio", "# /etc/sysconfig/crio\n#CRIO_NETWORK_OPTIONS=\n"),
                text("etc/crio-umount.conf", "/var/run/containers/*\n/var/lib/containers/storage/*\n"),
                text("man/crio.8", ".TH crio 8\n"),
                text("man/crio.conf.5", ".TH crio.conf 5\n"),
                text("man/crio.conf.d.5", ".TH crio.conf.d 5\n"),
                text("completions/bash/crio", "# none\n"),
                text("completions/fish/crio.fish", "# none\n"),
                text("completions/zsh/_crio", "# none\n"),
            ];
            members.push(("cri-o/install".to_owned(), 0o755, b"#/usr/bin/env sh\nset -ex\n".to_vec()));
            for (name, script) in [("crio", CRIO), ("crictl", CRICTL)] {
                let script = script.replace("VERSION", &VERSION[1..]);
                members.push((format!("cri-o/bin/{name}"), 0o755, script.into_bytes()));
            }
            for name in ["pinns", "conmon", "conmonrs", "crun", "runc", "crio-credential-provider"] {
                let says = format!("{name} version {}\n", &VERSION[1..]);
                members.push((format!("cri-o/bin/{name}"), 0o755, self.programs.fixed(machine, &says)?));
            }
            for name in ["bridge", "host-local", "loopback"] {
                let says = format!("CNI {name} plugin v1.6.2\n");
                members.push((
                    format!("cri-o/cni-plugins/{name}"),
                    0o755,
                    self.programs.fixed(machine, &says)?,
                ));
            }
            let name = format!("cri-o.{}.{VERSION}.tar.gz", machine.goarch());
            let url = format!("https://storage.googleapis.com/cri-o/artifacts/{name}");
            let tar = tgz(&members)?;
            self.site.put(&format!("{url}.sha256sum"), sums([(name.as_str(), tar.as_slice())]))?;
            self.site.put(&url, tar)?;
        }
        self.site.releases("cri-o/cri-o", &[(VERSION, Vec::new())])
    }

    fn docker(&self) -> Result<()> {
        let mut index = String::from("<html><body><pre><a href=\"../\">../</a>\n");
        for version in ["20.10.24", "27.5.1"] {
            let mut names = vec![
                "containerd",
                "containerd-shim-runc-v2",
                "ctr",
                "docker",
                "docker-init",
                "docker-proxy",
                "dockerd",
                "runc",
            ];
            if version.starts_with("20.") {
                names.push("containerd-shim");
            }
            for machine in MACHINES {
                let members = names.iter().map(|name| {
                    let says = format!("{name} version {version}, build 0123456\n");
                    Ok((format!("docker/{name}"), 0o755, self.programs.fixed(machine, &says)?))
                });
                let tar = tgz(&members.collect::<Result<Vec<Member>>>()?)?;
                let dir = format!("https://download.docker.com/linux/static/stable/{}", machine.uname());
                self.site.put(&format!("{dir}/docker-{version}.tgz"), tar)?;
            }
            for name in [format!("docker-{version}.tgz"), format!("docker-rootless-extras-{version}.tgz")] {
                index += &format!("<a href=\"{name}\">{name}</a>  2025-01-22 10:00:00 70 MiB\n");
            }
        }
        self.site
            .put("https://download.docker.com/linux/static/stable/x86_64/", index + "</pre></body></html>\n")
    }

    fn nvidia(&self) -> Result<()> {
        const VERSION: &str = "1.17.4";
        let mut assets = Vec::new();
        for machine in MACHINES {
            let arch = machine.goarch();
            let libraries = format!("usr/lib/{}-linux-gnu", machine.uname());
            let says = |name: &str| format!("{name} version {VERSION}\n");
            let program = |name: &str| {
                Ok::<Member, anyhow::Error>((
                    format!("usr/bin/{name}"),
                    0o755,
                    self.programs.dynamic(machine, &says(name))?,
                ))
            };
            let (library, cli) = self.programs.linked(machine, "libnvidia-container.so.1", &says("cli"))?;
            let packages: [(&str, Vec<Member>); 4] = [
                (
                    "libnvidia-container1",
                    vec![
                        (format!("{libraries}/libnvidia-container.so.1"), 0o644, library),
                        (
                            "usr/share/doc/libnvidia-container1/copyright".to_owned(),
                            0o644,
                            b"free\n".to_vec(),
                        ),
                    ],
                ),
                ("libnvidia-container-tools", vec![("usr/bin/nvidia-container-cli".to_owned(), 0o755, cli)]),
                ("nvidia-container-toolkit", vec![program("nvidia-container-runtime-hook")?]),
                (
                    "nvidia-container-toolkit-base",
                    vec![program("nvidia-container-runtime")?, program("nvidia-ctk")?],
                ),
            ];
            let mut members = Vec::new();
            let dir = format!("release-v{VERSION}-stable/packages/ubuntu18.04/{arch}");
            for (name, files) in packages {
                let package = deb(&self.scratch, name, &format!("{VERSION}-1"), arch, &files)?;
                members.push((format!("{dir}/{name}_{VERSION}-1_{arch}.deb"), 0o644, package));
            }
            // One that isn't wanted.
            let more = vec![("usr/include/nvc.h".to_owned(), 0o644, b"\n".to_vec())];
            let package =
                deb(&self.scratch, "libnvidia-container-dev", &format!("{VERSION}-1"), arch, &more)?;
            members.push((format!("{dir}/libnvidia-container-dev_{VERSION}-1_{arch}.deb"), 0o644, package));
            assets.push((format!("nvidia-container-toolkit_{VERSION}_deb_{arch}.tar.gz"), tgz(&members)?));
        }
        let assets = with_sums(assets, &format!("nvidia-container-toolkit_{VERSION}_checksums.txt"));
        self.site.releases("NVIDIA/nvidia-container-toolkit", &[(&format!("v{VERSION}"), assets)])
    }
}
