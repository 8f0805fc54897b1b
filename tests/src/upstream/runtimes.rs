//! Container runtimes: containerd, runc, cri-o, Docker, NVIDIA's toolkit.

use anyhow::Result;

use super::Maker;
use super::programs::{MACHINES, Machine};
use super::site::{Member, deb, sums, tgz, with_sums};

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

    fn crio(&self) -> Result<()> {
        const VERSION: &str = "v1.32.0";
        let text = |path: &str, content: &str| (format!("cri-o/{path}"), 0o644, content.as_bytes().to_vec());
        let unit = "[Unit]\nDescription=CRI-O\nAfter=network-online.target\n[Service]\nType=notify\n\
                    EnvironmentFile=-/etc/sysconfig/crio\nExecStart=/usr/local/bin/crio $CRIO_CONFIG_OPTIONS\n\
                    ExecReload=/bin/kill -s HUP $MAINPID\nRestart=on-failure\n[Install]\nWantedBy=multi-user.target\n";
        for machine in MACHINES {
            let mut members = vec![
                text("install", "#!/bin/sh\n"),
                text(
                    "contrib/11-crio-ipv4-bridge.conflist",
                    "{\"cniVersion\": \"1.0.0\", \"name\": \"crio\", \"plugins\": []}\n",
                ),
                text("contrib/crio.service", unit),
                text("contrib/policy.json", "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n"),
                text("contrib/registries.conf", "unqualified-search-registries = [\"docker.io\"]\n"),
                text("etc/10-crio.conf", "[crio.runtime]\ndefault_runtime = \"crun\"\n"),
                text("etc/crictl.yaml", "runtime-endpoint: unix:///var/run/crio/crio.sock\n"),
                text("etc/crio-umount.conf", "/var/run/containers/*\n"),
                text("man/crio.8", ".TH crio 8\n"),
                text("completions/bash/crio", "# none\n"),
            ];
            for name in ["crio", "pinns", "conmon", "conmonrs", "crictl", "crun", "runc"] {
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
