//! Flatcar's servers on the loopback interface: an index, disk images, signatures by a key of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use e2e::upstream::site::sums;
use e2e::{Account, Program, Work, http, place, place_program};

use crate::disk;

/// The newest stable one.
pub(crate) const STABLE: &str = "4152.2.0";
pub(crate) const IMAGE: &str = "flatcar_production_image.bin";

/// A directory with gpg's keys.
#[derive(Debug)]
pub(crate) struct Keys {
    dir: PathBuf,
}

impl Keys {
    pub(crate) fn new(dir: PathBuf) -> Result<Keys> {
        Program::new("install").args(["-d", "-m", "700"]).arg(&dir).run()?;
        Ok(Keys { dir })
    }

    pub(crate) fn gpg(&self) -> Program {
        let quiet = ["--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""];
        Program::new("gpg").clean_env().env("GNUPGHOME", &self.dir).args(quiet)
    }

    /// Makes a key that signs; its fingerprint.
    pub(crate) fn make(&self, who: &str, expires: &str) -> Result<String> {
        self.gpg().args(["--quick-gen-key", who, "rsa2048", "sign", expires]).run()?;
        let list = self.gpg().args(["--with-colons", "--list-keys", who]).run()?.stdout;
        let line = list.lines().find(|l| l.starts_with("fpr:")).context("no fingerprint")?;
        Ok(line.split(':').nth(9).context("no fingerprint")?.to_owned())
    }

    pub(crate) fn export(&self, who: &str, to: &Path) -> Result<()> {
        self.gpg().args(["--armor", "--yes", "--output"]).arg(to).args(["--export", who]).run().map(drop)
    }

    pub(crate) fn sign(&self, who: &str, file: &Path, to: &Path) -> Result<()> {
        let gpg = self.gpg().args(["--yes", "--local-user", who, "--output"]).arg(to);
        gpg.arg("--detach-sign").arg(file).run().map(drop)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // gpg leaves an agent.
        let _ = Program::new("gpgconf").arg("--homedir").arg(&self.dir).args(["--kill", "all"]).run();
    }
}

/// What all tests of this process share. Nobody changes its files.
#[derive(Debug)]
pub(crate) struct Parts {
    work: Work,
    pub fingerprint: String,
}

impl Parts {
    pub(crate) fn get() -> Result<&'static Parts> {
        static PARTS: OnceLock<Parts> = OnceLock::new();
        static MAKING: Mutex<()> = Mutex::new(());
        let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parts) = PARTS.get() {
            return Ok(parts);
        }
        let work = Work::new()?;
        let keys = Keys::new(work.path().join("keys"))?;
        let fingerprint = keys.make("flatcar@example.org", "never")?;
        keys.export("flatcar@example.org", &work.path().join("key.asc"))?;
        let image = work.path().join(IMAGE);
        disk::make(&image, disk::LAYOUT, None)?;
        let compressed = work.path().join("image.bz2");
        Program::new("sh")
            .args(["-euc", r#"bzip2 -1 -c "$1" > "$2""#, "sh"])
            .args([&image, &compressed])
            .run()?;
        keys.sign("flatcar@example.org", &compressed, &work.path().join("image.sig"))?;
        place_program(&place::bakery()?, &work.path().join("bakery"))?;
        Ok(PARTS.get_or_init(|| Parts { work, fingerprint }))
    }

    /// The disk image as it is.
    pub(crate) fn image(&self) -> PathBuf {
        self.work.path().join(IMAGE)
    }

    pub(crate) fn compressed(&self) -> PathBuf {
        self.work.path().join("image.bz2")
    }

    pub(crate) fn signature(&self) -> PathBuf {
        self.work.path().join("image.sig")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.work.path().join("key.asc")
    }

    /// The program, where every user can run it.
    pub(crate) fn bakery(&self, by: &Account) -> Program {
        by.program(self.work.path().join("bakery"))
    }
}

/// A server of one test.
#[derive(Debug)]
pub(crate) struct Flatcar {
    pub work: Work,
    pub address: String,
    parts: &'static Parts,
}

impl Flatcar {
    /// With stable for x86-64 and beta for arm64, and extension `tool` 1.0 in a catalogue.
    pub(crate) fn new() -> Result<Flatcar> {
        let (work, parts) = (Work::new()?, Parts::get()?);
        let site = work.dir("site")?;
        let address = format!("http://{}", http::serve(site)?);
        let flatcar = Flatcar { work, address, parts };
        for place in [format!("stable/amd64-usr/{STABLE}"), "beta/arm64-usr/4186.1.0".into()] {
            let dir = flatcar.work.dir(&format!("site/{place}"))?;
            // Links, but of others' own: they can be replaced.
            Program::new("cp")
                .args(["--link"])
                .arg(parts.compressed())
                .arg(dir.join(format!("{IMAGE}.bz2")))
                .run()?;
            Program::new("cp")
                .args(["--link"])
                .arg(parts.signature())
                .arg(dir.join(format!("{IMAGE}.bz2.sig")))
                .run()?;
        }
        let index = format!(
            r#"{{"{STABLE}": {{"channel": "stable"}}, "3975.2.2": {{"channel": "stable"}}, "current": {{"channel": "stable"}},
                "4186.1.0": {{"channel": "beta"}}}}"#
        );
        fs::write(flatcar.work.dir("site/www/releases-json")?.join("releases.json"), index)?;
        let config = format!(
            "[mirrors]\n\"https://stable.release.flatcar-linux.net/\" = \"{0}/stable/\"\n\
             \"https://beta.release.flatcar-linux.net/\" = \"{0}/beta/\"\n\"https://www.flatcar.org/\" = \"{0}/www/\"\n",
            flatcar.address
        );
        fs::write(flatcar.work.path().join("config.toml"), config)?;
        let catalogue = flatcar.work.dir("site/extensions/tool")?;
        let tool = catalogue.join("tool-1.0-x86-64.raw");
        extension(&tool, "tool", "x86-64", 3_000_001)?;
        fs::write(catalogue.join("tool.conf"), CONF)?;
        let bytes = fs::read(&tool)?;
        let list = sums([("tool-1.0-x86-64.raw", bytes.as_slice()), ("tool.conf", CONF.as_bytes())]);
        fs::write(catalogue.join("SHA256SUMS"), list)?;
        Ok(flatcar)
    }

    /// A file of the release that is the newest stable one.
    pub(crate) fn release(&self, file: &str) -> PathBuf {
        self.work.path().join(format!("site/stable/amd64-usr/{STABLE}")).join(file)
    }

    /// Puts other content in a file's place, which may be a link to everybody's.
    pub(crate) fn replace(&self, file: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.release(file);
        fs::remove_file(&path)?;
        fs::write(&path, content).with_context(|| format!("{path:?}"))
    }

    /// `bakery bake-image`, which trusts our key.
    pub(crate) fn bake(&self, by: &Account) -> Program {
        let bakery = self.bare(by).args(["--fingerprint", &self.parts.fingerprint]);
        bakery.arg("--key").arg(self.parts.key())
    }

    /// `bakery bake-image`.
    pub(crate) fn bare(&self, by: &Account) -> Program {
        let config = self.work.path().join("config.toml");
        self.parts.bakery(by).arg("bake-image").env("BAKERY_CONFIG", config)
    }

    /// An extension's file in the catalogue.
    pub(crate) fn catalogue(&self, file: &str) -> PathBuf {
        self.work.path().join("site/extensions/tool").join(file)
    }

    /// The extension with its configuration beside it, at somebody's home.
    pub(crate) fn tool(&self, by: &Account) -> Result<()> {
        fs::copy(self.catalogue("tool-1.0-x86-64.raw"), by.home().join("tool.raw"))?;
        fs::write(by.home().join("tool.conf"), CONF)?;
        Ok(())
    }
}

pub(crate) const CONF: &str = "[Transfer]\nVerify=false\n";

/// An extension with a file that doesn't compress.
pub(crate) fn extension(path: &Path, name: &str, arch: &str, size: usize) -> Result<()> {
    let dir = tempfile_dir(path)?;
    let release = dir.join("usr/lib/extension-release.d");
    fs::create_dir_all(&release)?;
    let arch = if arch.is_empty() { String::new() } else { format!("ARCHITECTURE={arch}\n") };
    fs::write(release.join(format!("extension-release.{name}")), format!("ID=_any\n{arch}"))?;
    fs::create_dir_all(dir.join("usr/share"))?;
    // xorshift: the same every time, and of no use to a compressor.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(size + 8);
    while noise.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(size);
    fs::write(dir.join("usr/share").join(name), noise)?;
    let make = Program::new("mksquashfs").args([&dir, path]).args(["-noappend", "-quiet", "-no-progress"]);
    make.args(["-all-root", "-noI", "-noD"]).run()?;
    fs::remove_dir_all(dir)?;
    Ok(())
}

fn tempfile_dir(path: &Path) -> Result<PathBuf> {
    let dir = path.with_extension("tree");
    fs::create_dir(&dir).with_context(|| format!("{dir:?}"))?;
    Ok(dir)
}
