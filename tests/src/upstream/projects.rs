//! All others.

use anyhow::Result;

use super::Maker;
use super::programs::{MACHINES, Machine};
use super::site::{Assets, Member, sha256, sums, tar_by, tgz, with_sums};

impl Maker {
    pub(super) fn projects(&self) -> Result<()> {
        self.bird()?;
        self.btop()?;
        self.chrony()?;
        self.compose()?;
        self.cilium()?;
        self.cloud_hypervisor()?;
        self.coder()?;
        self.dataplaneapi()?;
        self.docker_buildx()?;
        self.opkssh()?;
        self.falco()?;
        self.haproxy()?;
        self.kata()?;
        self.nebula()?;
        self.ollama()?;
        self.tailscale()?;
        self.scx()?;
        self.tilde()?;
        self.wasmcloud()?;
        self.wasmedge()?;
        self.wasmtime()
    }

    fn each(&self, make: impl Fn(Machine) -> Result<Assets>) -> Result<Assets> {
        Ok(MACHINES.into_iter().map(make).collect::<Result<Vec<_>>>()?.concat())
    }

    /// The list only: sources of what is compiled are put in by its test.
    fn bird(&self) -> Result<()> {
        let page = "<a href=\"bird-2.19.1.tar.gz\">bird-2.19.1.tar.gz</a> <a href=\"bird-3.3.1.tar.gz\">bird-3.3.1.tar.gz</a> \
                    <a href=\"bird-doc-3.3.1.tar.gz\">bird-doc-3.3.1.tar.gz</a> <a href=\"bird-3.0alpha2.tar.gz\">old</a>\n";
        self.site.put("https://bird.nic.cz/download/", page)
    }

    fn btop(&self) -> Result<()> {
        let assets = self.each(|machine| {
            let members = [
                ("btop/bin/btop".to_owned(), 0o755, self.programs.fixed(machine, "btop version: 1.4.6\n")?),
                ("btop/themes/nord.theme".to_owned(), 0o644, b"theme[main_bg]=\"#2E3440\"\n".to_vec()),
                ("btop/README.md".to_owned(), 0o644, b"# btop\n".to_vec()),
            ];
            let name = format!("btop-{}-unknown-linux-musl.tbz", machine.uname());
            Ok(vec![(name, tar_by("bzip2", &self.scratch, &members)?)])
        })?;
        self.site.releases("aristocratos/btop", &[("v1.4.6", assets)])
    }

    /// As of [`bird`](Self::bird).
    fn chrony(&self) -> Result<()> {
        let tags = "[{\"name\":\"4.9-pre1\"},{\"name\":\"4.8\"},{\"name\":\"4.6.1\"}]";
        self.site.put("https://gitlab.com/api/v4/projects/chrony%2Fchrony/repository/tags", tags)
    }

    /// As of [`bird`](Self::bird). The list is that of the makers of an image, for each branch.
    fn haproxy(&self) -> Result<()> {
        let branch =
            |version: &str| serde_json::json!({ "version": version, "alpine": "3.22", "debian": "trixie" });
        let list = serde_json::json!({
            "2.8": branch("2.8.20"), "3.0": branch("3.0.15"), "3.4": branch("3.4.2"), "3.5-rc": branch("3.5-dev4"),
        });
        let url = "https://raw.githubusercontent.com/docker-library/haproxy/master/versions.json";
        self.site.put(url, list.to_string())
    }

    /// `kata-static-4.0.0-amd64.tar.zst`: everything below `./opt/kata`, configurations by links.
    fn kata(&self) -> Result<()> {
        let assets = self.each(|machine| {
            let file = |path: &str, mode: u32, content: &[u8]| -> Member {
                (format!("./opt/kata/{path}"), mode, content.to_vec())
            };
            let program = |name: &str| -> Result<Member> {
                Ok(file(
                    &format!("bin/{name}"),
                    0o755,
                    &self.programs.fixed(machine, "kata-runtime  : 4.0.0\n")?,
                ))
            };
            let config = b"[hypervisor.qemu]\npath = \"/opt/kata/bin/qemu-system-x86_64\"\n";
            let members = [
                program("kata-runtime")?,
                program("containerd-shim-kata-v2")?,
                program("qemu-system-x86_64")?,
                file("bin/kata-collect-data.sh", 0o755, b"#!/bin/sh\nkata-runtime env\n"),
                file("share/defaults/kata-containers/configuration.toml", 0o644, config),
                file("share/kata-containers/vmlinux.container", 0o644, b"kernel\n"),
            ];
            let tar = tar_by("zstd", &self.scratch, &members)?;
            Ok(vec![(format!("kata-static-4.0.0-{}.tar.zst", machine.goarch()), tar)])
        })?;
        self.site.releases("kata-containers/kata-containers", &[("4.0.0", assets)])
    }

    /// The list only; it has no files.
    fn scx(&self) -> Result<()> {
        self.site.releases("sched-ext/scx", &[("v1.1.2", Vec::new()), ("v1.1.1", Vec::new())])
    }

    /// Debian's page of the package, as far as its links go.
    fn tilde(&self) -> Result<()> {
        let page = "<a href=\"pool/main/t/tilde/tilde_1.1.2-1.dsc\">[tilde_1.1.2-1.dsc]</a> \
                    <a href=\"pool/main/t/tilde/tilde_1.1.2.orig.tar.bz2\">[tilde_1.1.2.orig.tar.bz2]</a>\n";
        self.site.put("https://packages.debian.org/bookworm/tilde", page)
    }

    fn compose(&self) -> Result<()> {
        let assets = self.each(|machine| {
            let name = format!("docker-compose-linux-{}", machine.uname());
            let program = self.programs.fixed(machine, "Docker Compose version v2.33.1\n")?;
            let list = format!("{} *{name}\n", sha256(&program));
            Ok(vec![(format!("{name}.sha256"), list.into_bytes()), (name, program)])
        })?;
        self.site.releases("docker/compose", &[("v2.33.1", assets)])
    }

    fn cilium(&self) -> Result<()> {
        let assets = self.each(|machine| {
            let name = format!("cilium-linux-{}.tar.gz", machine.goarch());
            let says = "cilium-cli: v0.19.6 compiled with go1.26 on linux\n";
            let tar = tgz(&[("cilium".to_owned(), 0o755, self.programs.fixed(machine, says)?)])?;
            Ok(vec![(format!("{name}.sha256sum"), sums([(name.as_str(), tar.as_slice())])), (name, tar)])
        })?;
        self.site.releases("cilium/cilium-cli", &[("v0.19.6", assets)])
    }

    fn cloud_hypervisor(&self) -> Result<()> {
        let assets = self.each(|machine| {
            let suffix = if machine == Machine::Arm64 { "static-aarch64" } else { "static" };
            let program = |name: &str| {
                let program = self.programs.fixed(machine, &format!("{name} v53.0.0\n"))?;
                Ok((format!("{name}-{suffix}"), program))
            };
            ["cloud-hypervisor", "ch-remote"].into_iter().map(program).collect()
        })?;
        self.site.releases("cloud-hypervisor/cloud-hypervisor", &[("v53.0", assets)])
    }

    fn coder(&self) -> Result<()> {
        let assets = self.each(|machine| {
            let program = self.programs.fixed(machine, "Coder v2.35.2+0123456\n")?;
            let tar = tgz(&[
                ("./LICENSE".to_owned(), 0o644, b"AGPL-3.0\n".to_vec()),
                ("./coder".to_owned(), 0o755, program),
            ])?;
            Ok(vec![(format!("coder_2.35.2_linux_{}.tar.gz", machine.goarch()), tar)])
        })?;
        self.site.releases("coder/coder", &[("v2.35.2", with_sums(assets, "coder_2.35.2_checksums.txt"))])
    }

    fn dataplaneapi(&self) -> Result<()> {
        let assets = self.each(|machine| {
            let name = if machine == Machine::Arm64 { "arm64" } else { "x86_64" };
            let members = [
                ("LICENSE".to_owned(), 0o644, b"Apache-2.0\n".to_vec()),
                ("CHANGELOG.md".to_owned(), 0o644, b"# Changes\n".to_vec()),
                ("dataplaneapi.yml.dist".to_owned(), 0o644, b"config_version: 2\n".to_vec()),
                (
                    "dataplaneapi".to_owned(),
                    0o755,
                    self.programs.fixed(machine, "HAProxy Data Plane API v3.4.0 0123456\n")?,
                ),
            ];
            Ok(vec![(format!("dataplaneapi_3.4.0_linux_{name}.tar.gz"), tgz(&members)?)])
        })?;
        self.site.releases("haproxytech/dataplaneapi", &[("v3.4.0", with_sums(assets, "checksums.txt"))])
    }

    fn docker_buildx(&self) -> Result<()> {
        let assets = self.each(|machine| {
            let program = self.programs.fixed(machine, "github.com/docker/buildx v0.35.0 0123456\n")?;
            Ok(vec![(format!("buildx-v0.35.0.linux-{}", machine.goarch()), program)])
        })?;
        let lines = assets.iter().map(|(name, content)| format!("{} *{name}\n", sha256(content)));
        let list = lines.collect::<String>().into_bytes();
        let assets = [assets, vec![("checksums.txt".to_owned(), list)]].concat();
        self.site.releases("docker/buildx", &[("v0.35.0", assets)])
    }

    fn opkssh(&self) -> Result<()> {
        let assets = self.each(|machine| {
            let program = self.programs.fixed(machine, "opkssh version v0.16.0\n")?;
            Ok(vec![(format!("opkssh-linux-{}", machine.goarch()), program)])
        })?;
        self.site.releases("openpubkey/opkssh", &[("v0.16.0", with_sums(assets, "checksums.txt"))])
    }

    fn falco(&self) -> Result<()> {
        const VERSION: &str = "0.40.0";
        for machine in MACHINES {
            let name = format!("falco-{VERSION}-{}", machine.uname());
            let text =
                |path: &str, content: &str| (format!("{name}/{path}"), 0o644, content.as_bytes().to_vec());
            let mut members = vec![
                text("etc/falco/falco.yaml", "rules_files: [/etc/falco/falco_rules.yaml]\n"),
                text("etc/falco/falco_rules.yaml", "[]\n"),
                text("etc/falcoctl/falcoctl.yaml", "indexes: []\n"),
                text("usr/share/falco/plugins/README", "none\n"),
                text("usr/src/falco-8.0.0+driver/Makefile", "all:\n"),
            ];
            for program in ["falco", "falcoctl"] {
                let says = format!("{program} version: {VERSION}\n");
                members.push((
                    format!("{name}/usr/bin/{program}"),
                    0o755,
                    self.programs.dynamic(machine, &says)?,
                ));
            }
            let dir = format!("https://download.falco.org/packages/bin/{}", machine.uname());
            self.site.put(&format!("{dir}/{name}.tar.gz"), tgz(&members)?)?;
        }
        self.site.releases("falcosecurity/falco", &[(VERSION, Vec::new())])
    }

    /// 1.6.1 is Debian's.
    fn nebula(&self) -> Result<()> {
        let mut releases = Vec::new();
        for tag in ["v1.9.5", "v1.6.1"] {
            let assets = self.each(|machine| {
                let members = ["nebula", "nebula-cert"].iter().map(|name| {
                    let program = match tag {
                        "v1.6.1" => self.real.file("nebula", machine, &format!("usr/bin/{name}"))?,
                        _ => self.programs.fixed(machine, &format!("Version: {}\n", &tag[1..]))?,
                    };
                    Ok(((*name).to_owned(), 0o755, program))
                });
                let tar = tgz(&members.collect::<Result<Vec<Member>>>()?)?;
                Ok(vec![(format!("nebula-linux-{}.tar.gz", machine.goarch()), tar)])
            })?;
            releases.push((tag, with_sums(assets, "SHASUM256.txt")));
        }
        self.site.releases("slackhq/nebula", &releases)
    }

    fn ollama(&self) -> Result<()> {
        let mut releases = Vec::new();
        for (tag, suffix) in [("v0.14.0", "tar.zst"), ("v0.13.2", "tgz")] {
            let assets = self.each(|machine| {
                let says = format!("ollama version is {}\n", &tag[1..]);
                let (library, _) = self.programs.linked(machine, "libggml-base.so", &says)?;
                let members = [
                    ("bin/ollama".to_owned(), 0o755, self.programs.dynamic(machine, &says)?),
                    ("lib/ollama/libggml-base.so".to_owned(), 0o755, library),
                ];
                let tar = match suffix {
                    "tgz" => tgz(&members)?,
                    _ => tar_by("zstd", &self.scratch, &members)?,
                };
                Ok(vec![(format!("ollama-linux-{}.{suffix}", machine.goarch()), tar)])
            })?;
            // Upstream's list has a `./` before each name.
            let named: Assets = assets.iter().map(|(n, c)| (format!("./{n}"), c.clone())).collect();
            let list = sums(named.iter().map(|(n, c)| (n.as_str(), c.as_slice())));
            releases.push((tag, [assets, vec![("sha256sum.txt".to_owned(), list)]].concat()));
        }
        self.site.releases("ollama/ollama", &releases)
    }

    fn tailscale(&self) -> Result<()> {
        const VERSION: &str = "1.80.2";
        let unit = "[Unit]\nDescription=tailscaled\nAfter=network-pre.target\n[Service]\n\
                    EnvironmentFile=/etc/default/tailscaled\n\
                    ExecStart=/usr/sbin/tailscaled --port=${PORT} $FLAGS\n\
                    ExecStopPost=/usr/sbin/tailscaled --cleanup\nRestart=on-failure\nType=notify\n\
                    [Install]\nWantedBy=multi-user.target\n";
        for machine in MACHINES {
            let top = format!("tailscale_{VERSION}_{}", machine.goarch());
            let mut members: Vec<Member> = vec![
                (format!("{top}/systemd/tailscaled.service"), 0o644, unit.as_bytes().to_vec()),
                (
                    format!("{top}/systemd/tailscaled.defaults"),
                    0o644,
                    b"PORT=\"41641\"\nFLAGS=\"\"\n".to_vec(),
                ),
            ];
            for name in ["tailscale", "tailscaled"] {
                let program = self.programs.fixed(machine, &format!("{VERSION}\n  go version: go1.23\n"))?;
                members.push((format!("{top}/{name}"), 0o755, program));
            }
            let tar = tgz(&members)?;
            let url = format!("https://pkgs.tailscale.com/stable/{top}.tgz");
            self.site.put(&format!("{url}.sha256"), sha256(&tar))?;
            self.site.put(&url, tar)?;
        }
        self.site.releases("tailscale/tailscale", &[(&format!("v{VERSION}"), Vec::new())])
    }

    /// NATS 2.9.10 is Debian's.
    fn wasmcloud(&self) -> Result<()> {
        let mut releases = Vec::new();
        for (tag, name) in [("v2.0.0", "wash"), ("v1.6.1", "wasmcloud")] {
            let assets = self.each(|machine| {
                let program = self.programs.fixed(machine, &format!("{name} {}\n", &tag[1..]))?;
                Ok(vec![(format!("{name}-{}-unknown-linux-musl", machine.uname()), program)])
            })?;
            releases.push((tag, assets));
        }
        // One project, two ways to write it: GitHub's names have no case.
        self.site.releases("wasmCloud/wasmCloud", &releases)?;
        self.site.releases("wasmcloud/wasmcloud", &releases)?;
        let mut releases = Vec::new();
        for tag in ["v2.10.25", "v2.9.10"] {
            let assets = self.each(|machine| {
                let program = match tag {
                    "v2.9.10" => self.real.file("nats-server", machine, "usr/sbin/nats-server")?,
                    _ => self.programs.fixed(machine, &format!("nats-server: {tag}\n"))?,
                };
                let top = format!("nats-server-{tag}-linux-{}", machine.goarch());
                let members = [
                    (format!("{top}/nats-server"), 0o755, program),
                    (format!("{top}/LICENSE"), 0o644, b"Apache-2.0\n".to_vec()),
                ];
                Ok(vec![(format!("{top}.tar.gz"), tgz(&members)?)])
            })?;
            releases.push((tag, with_sums(assets, "SHA256SUMS")));
        }
        self.site.releases("nats-io/nats-server", &releases)
    }

    /// Since 0.15.0 the archive has no directory of its own.
    fn wasmedge(&self) -> Result<()> {
        let mut releases = Vec::new();
        for version in ["0.15.0", "0.14.1"] {
            let assets = self.each(|machine| {
                let top = if version == "0.14.1" { "WasmEdge-0.14.1-Linux/" } else { "" };
                let says = format!("wasmedge version {version}\n");
                let (library, program) = self.programs.linked(machine, "libwasmedge.so.0", &says)?;
                let members = [
                    (format!("{top}bin/wasmedge"), 0o755, program.clone()),
                    (format!("{top}bin/wasmedgec"), 0o755, program),
                    (format!("{top}lib/libwasmedge.so.0"), 0o755, library),
                ];
                let (plugin, _) = self.programs.linked(machine, "libwasmedgePluginWasiNN.so", "plugin\n")?;
                let plugin = [("libwasmedgePluginWasiNN.so".to_owned(), 0o755, plugin)];
                let uname = machine.uname();
                // As its .github/workflows/matrix-extensions.json has it, read at d516c5d (August 2026).
                let platform = match machine {
                    Machine::Amd64 => "ubuntu20.04_x86_64",
                    Machine::Arm64 => "manylinux_2_28_aarch64",
                };
                Ok(vec![
                    (format!("WasmEdge-{version}-ubuntu20.04_{uname}.tar.gz"), tgz(&members)?),
                    (format!("WasmEdge-plugin-wasi_nn-ggml-{version}-{platform}.tar.gz"), tgz(&plugin)?),
                ])
            })?;
            releases.push((version, with_sums(assets, "SHA256SUM")));
        }
        self.site.releases("WasmEdge/WasmEdge", &releases)?;
        // An empty module: magic number and version.
        let server = vec![("llama-api-server.wasm".to_owned(), b"\0asm\x01\0\0\0".to_vec())];
        // Its list is made by hand, and was forgotten here.
        self.site.releases("LlamaEdge/LlamaEdge", &[("0.16.8", server)])
    }

    fn wasmtime(&self) -> Result<()> {
        let assets = self.each(|machine| {
            let top = format!("wasmtime-v30.0.2-{}-linux", machine.uname());
            let members = [
                (
                    format!("{top}/wasmtime"),
                    0o755,
                    self.programs.dynamic(machine, "wasmtime 30.0.2 (0123456 2025-02-25)\n")?,
                ),
                (format!("{top}/LICENSE"), 0o644, b"Apache-2.0\n".to_vec()),
            ];
            Ok(vec![(format!("{top}.tar.xz"), tar_by("xz", &self.scratch, &members)?)])
        })?;
        self.site.releases("bytecodealliance/wasmtime", &[("v30.0.2", assets)])
    }
}
