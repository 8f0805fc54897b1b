//! Projects that sign their lists of checksums. Upstream's secret keys are upstream's: stand-ins are signed by keys of their own, and
//! [`Upstream::trust`](super::Upstream::trust) makes recipes that trust these.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use zip::write::SimpleFileOptions;

use super::Maker;
use super::programs::{MACHINES, Machine};
use super::site::{Assets, Member, sha256, sums, tgz, with_sums};
use crate::Program;

/// Recipes, and the key that each trusts.
const KEYS: [(&str, &str); 5] = [
    ("consul", "hashicorp.asc"),
    ("ig", "inspektor-gadget.pub"),
    ("nerdctl", "akihiro-suda.asc"),
    ("nomad", "hashicorp.asc"),
    ("vault", "hashicorp.asc"),
];

/// One key of each kind: files `openpgp.asc` and `cosign.pub` in a directory, which also has the secret ones.
pub(super) struct Signers {
    dir: PathBuf,
}

impl Signers {
    pub(super) fn make(dir: PathBuf) -> Result<Signers> {
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        let signers = Signers { dir };
        signers.gpg(&[
            "--quick-generate-key",
            "Upstream <upstream@example.org>",
            "rsa3072",
            "sign",
            "never",
        ])?;
        signers.gpg(&["--armor", "--output", "openpgp.asc", "--export"])?;
        signers.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "cosign.key"])?;
        signers.openssl(&["ec", "-in", "cosign.key", "-pubout", "-out", "cosign.pub"])?;
        Ok(signers)
    }

    fn gpg(&self, args: &[&str]) -> Result<()> {
        let program = Program::new("gpg").arg("--homedir").arg(&self.dir).dir(&self.dir);
        let quiet = ["--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""];
        program.args(quiet).args(args).run().map(drop)
    }

    fn openssl(&self, args: &[&str]) -> Result<()> {
        Program::new("openssl").args(args).dir(&self.dir).run().map(drop)
    }

    fn sign(&self, content: &[u8], by: impl FnOnce() -> Result<()>) -> Result<Vec<u8>> {
        fs::write(self.dir.join("content"), content)?;
        by()?;
        Ok(fs::read(self.dir.join("signature"))?)
    }

    fn openpgp(&self, content: &[u8]) -> Result<Vec<u8>> {
        self.sign(content, || self.gpg(&["--output", "signature", "--detach-sign", "content"]))
    }

    fn openpgp_armored(&self, content: &[u8]) -> Result<Vec<u8>> {
        self.sign(content, || self.gpg(&["--armor", "--output", "signature", "--detach-sign", "content"]))
    }

    /// As `cosign sign-blob --key`: base64 of an ECDSA signature.
    fn cosign(&self, content: &[u8]) -> Result<Vec<u8>> {
        self.sign(content, || {
            self.openssl(&["dgst", "-sha256", "-sign", "cosign.key", "-out", "raw", "content"])?;
            self.openssl(&["base64", "-A", "-in", "raw", "-out", "signature"])
        })
    }
}

/// Copies the catalogue's recipes of [`KEYS`] into a directory, with the keys of `signers` in place of upstream's.
pub(super) fn trust(signers: &Path, catalogue: &Path, dir: &Path) -> Result<()> {
    for (name, key) in KEYS {
        Program::new("cp").arg("-r").args([&catalogue.join(name), &dir.join(name)]).run()?;
        let own = if key.ends_with(".pub") { "cosign.pub" } else { "openpgp.asc" };
        fs::copy(signers.join(own), dir.join(name).join("keys").join(key))?;
    }
    Ok(())
}

fn zip(members: &[Member]) -> Result<Vec<u8>> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, mode, content) in members {
        zip.start_file(path.as_str(), SimpleFileOptions::default().unix_permissions(*mode))?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}

impl Maker {
    pub(super) fn signed(&self) -> Result<()> {
        self.hashicorp("consul", "2.0.2", "Consul v2.0.2\nRevision 0123456\n")?;
        self.hashicorp("nomad", "2.0.4", "Nomad v2.0.4\nBuildDate 2026-07-01\n")?;
        self.hashicorp("vault", "2.0.3", "Vault v2.0.3 (0123456), built 2026-07-01\n")?;
        self.nerdctl()?;
        self.ig()
    }

    /// <https://releases.hashicorp.com>: an index with editions and candidates, a zip for each machine, a list that is signed.
    fn hashicorp(&self, name: &str, version: &str, says: &str) -> Result<()> {
        let base = format!("https://releases.hashicorp.com/{name}");
        let mut versions = serde_json::Map::new();
        for version in [version.to_owned(), format!("{version}+ent"), "99.0.0-rc1".to_owned()] {
            versions.insert(version.clone(), serde_json::json!({ "name": name, "version": version }));
        }
        let index = serde_json::json!({ "name": name, "versions": versions });
        self.site.put(&format!("{base}/index.json"), index.to_string())?;
        let mut archives: Assets = Vec::new();
        for machine in MACHINES {
            // nomad is linked to the C library.
            let program = match name {
                "nomad" => self.programs.dynamic(machine, says)?,
                _ => self.programs.fixed(machine, says)?,
            };
            let members = [
                ("LICENSE.txt".to_owned(), 0o644, b"Business Source License 1.1\n".to_vec()),
                (name.to_owned(), 0o755, program),
            ];
            archives.push((format!("{name}_{version}_linux_{}.zip", machine.goarch()), zip(&members)?));
        }
        let list = sums(archives.iter().map(|(n, c)| (n.as_str(), c.as_slice())));
        let place = format!("{base}/{version}/{name}_{version}");
        self.site.put(&format!("{place}_SHA256SUMS.sig"), self.signers.openpgp(&list)?)?;
        self.site.put(&format!("{place}_SHA256SUMS"), list)?;
        archives
            .iter()
            .try_for_each(|(name, content)| self.site.put(&format!("{base}/{version}/{name}"), content))
    }

    fn nerdctl(&self) -> Result<()> {
        let assets = MACHINES.into_iter().map(|machine| {
            let script = |name: &str| (name.to_owned(), 0o755, b"#!/bin/sh\nexit 0\n".to_vec());
            let members = [
                ("nerdctl".to_owned(), 0o755, self.programs.fixed(machine, "nerdctl version 2.3.5\n")?),
                script("containerd-rootless-setuptool.sh"),
                script("containerd-rootless.sh"),
            ];
            Ok((format!("nerdctl-2.3.5-linux-{}.tar.gz", machine.goarch()), tgz(&members)?))
        });
        let mut assets = with_sums(assets.collect::<Result<Assets>>()?, "SHA256SUMS");
        let list = assets.iter().find(|(name, _)| name == "SHA256SUMS").map(|(_, list)| list.clone());
        assets.push(("SHA256SUMS.asc".to_owned(), self.signers.openpgp_armored(&list.unwrap_or_default())?));
        self.site.releases("containerd/nerdctl", &[("v2.3.5", assets)])
    }

    fn ig(&self) -> Result<()> {
        const VERSION: &str = "v0.54.1";
        let archive = |name: &str, machine: Machine| {
            let members = [
                ("LICENSE".to_owned(), 0o644, b"Apache-2.0\n".to_vec()),
                (name.to_owned(), 0o755, self.programs.fixed(machine, &format!("{VERSION}\n"))?),
            ];
            Ok((format!("{name}-linux-{}-{VERSION}.tar.gz", machine.goarch()), tgz(&members)?))
        };
        let all =
            ["ig", "gadgetctl"].into_iter().flat_map(|name| MACHINES.map(|machine| archive(name, machine)));
        let assets = all.collect::<Result<Assets>>()?;
        // As goreleaser and sha256sum write it, in one list.
        let list: String =
            assets.iter().map(|(name, content)| format!("{}  {name}\n", sha256(content))).collect();
        let signature = self.signers.cosign(list.as_bytes())?;
        let lists =
            vec![("SHA256SUMS".to_owned(), list.into_bytes()), ("SHA256SUMS.sig".to_owned(), signature)];
        self.site.releases("inspektor-gadget/inspektor-gadget", &[(VERSION, [assets, lists].concat())])
    }
}
