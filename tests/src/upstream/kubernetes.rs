//! Kubernetes, and those that have it in them: k3s, rke2.

use anyhow::Result;

use super::Maker;
use super::programs::{MACHINES, Machine};
use super::site::{Member, sha256, sums, tgz, with_sums};

/// As the website's, shortened.
const SCHEDULE: &str = "schedules:
- endOfLifeDate: '2026-02-28'
  maintenanceModeStartDate: '2025-12-28'
  next:
    cherryPickDeadline: '2025-03-07'
    release: 1.32.3
    targetDate: '2025-03-11'
  previousPatches:
  - cherryPickDeadline: '2025-02-07'
    release: 1.32.2
    targetDate: '2025-02-12'
  - release: 1.32.1
    targetDate: '2025-01-15'
  release: '1.32'
  releaseDate: '2024-12-11'
- endOfLifeDate: '2025-10-28'
  previousPatches:
  - release: 1.31.6
    targetDate: '2025-02-12'
  release: '1.31'
  releaseDate: '2024-08-13'
";

impl Maker {
    pub(super) fn kubernetes(&self) -> Result<()> {
        let schedule =
            "https://raw.githubusercontent.com/kubernetes/website/main/data/releases/schedule.yaml";
        self.site.put(schedule, SCHEDULE)?;
        for version in ["v1.32.2", "v1.31.6"] {
            for machine in MACHINES {
                for name in ["kubeadm", "kubectl", "kubelet"] {
                    let program =
                        self.programs.fixed(machine, &format!("Kubernetes {version} ({name})\n"))?;
                    let url = format!("https://dl.k8s.io/{version}/bin/linux/{}/{name}", machine.goarch());
                    // A bare hash.
                    self.site.put(&format!("{url}.sha256"), sha256(&program))?;
                    self.site.put(&url, program)?;
                }
            }
        }
        let tags = ["v1.32.2", "v1.31.6", "v1.32.1"].map(|tag| (tag, Vec::new()));
        self.site.releases("kubernetes/kubernetes", &tags)?;
        self.cni()?;
        self.k3s()?;
        self.rke2()
    }

    fn cni(&self) -> Result<()> {
        const VERSION: &str = "v1.6.2";
        let mut assets = Vec::new();
        for machine in MACHINES {
            let mut members: Vec<Member> = vec![("./README.md".to_owned(), 0o644, b"# plugins\n".to_vec())];
            for name in ["bridge", "host-local", "loopback", "portmap"] {
                let says = format!("CNI {name} plugin {VERSION}\n");
                members.push((format!("./{name}"), 0o755, self.programs.fixed(machine, &says)?));
            }
            let name = format!("cni-plugins-linux-{}-{VERSION}.tgz", machine.goarch());
            let tar = tgz(&members)?;
            assets.push((format!("{name}.sha256"), sums([(name.as_str(), tar.as_slice())])));
            assets.push((name, tar));
        }
        self.site.releases("containernetworking/plugins", &[(VERSION, assets)])
    }

    fn k3s(&self) -> Result<()> {
        const VERSION: &str = "v1.32.2+k3s1";
        let mut assets = Vec::new();
        for machine in MACHINES {
            let name = if machine == Machine::Arm64 { "k3s-arm64" } else { "k3s" };
            let program = self.programs.fixed(machine, &format!("k3s version {VERSION} (0123abcd)\n"))?;
            let list = sums([("k3s-airgap-images.tar", b"".as_slice()), (name, program.as_slice())]);
            assets.push((format!("sha256sum-{}.txt", machine.goarch()), list));
            assets.push((name.to_owned(), program));
        }
        self.site.releases("k3s-io/k3s", &[(VERSION, assets)])
    }

    fn rke2(&self) -> Result<()> {
        const VERSION: &str = "v1.32.2+rke2r1";
        let mut all = Vec::new();
        for machine in MACHINES {
            let mut members: Vec<Member> = Vec::new();
            members.push((
                "bin/rke2".to_owned(),
                0o755,
                self.programs.fixed(machine, &format!("rke2 version {VERSION}\n"))?,
            ));
            for script in ["rke2-killall.sh", "rke2-uninstall.sh"] {
                members.push((format!("bin/{script}"), 0o755, b"#!/bin/sh\nexit 0\n".to_vec()));
            }
            for role in ["server", "agent"] {
                let unit = format!(
                    "[Unit]\nDescription=RKE2 {role}\nWants=network-online.target\nAfter=network-online.target\n\
                     [Service]\nType=notify\nEnvironmentFile=-/usr/local/lib/systemd/system/%N.env\n\
                     ExecStart=/usr/local/bin/rke2 {role}\nExecStopPost=-/bin/sh -c \"true\"\n\
                     [Install]\nWantedBy=multi-user.target\n"
                );
                members.push((format!("lib/systemd/system/rke2-{role}.service"), 0o644, unit.into_bytes()));
                members.push((
                    format!("lib/systemd/system/rke2-{role}.env"),
                    0o644,
                    b"HOME=/root\n".to_vec(),
                ));
            }
            members.push(("share/rke2/LICENSE.txt".to_owned(), 0o644, b"Apache-2.0\n".to_vec()));
            let assets = vec![(format!("rke2.linux-{}.tar.gz", machine.goarch()), tgz(&members)?)];
            all.extend(with_sums(assets, &format!("sha256sum-{}.txt", machine.goarch())));
        }
        self.site.releases("rancher/rke2", &[(VERSION, all)])
    }
}
