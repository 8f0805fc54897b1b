//! The matrix of real roots: programs of many distributions, relocated by `flix`, merged onto a host without a C library,
//! and run. `cargo xtask bench --matrix` prints all of it (docs/matrix.md); the test `matrix` runs a part.

mod layouts;
mod programs;
mod roots;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use layouts::{Layout, layout, nix};
pub use programs::{ALL, Job, Kind};
use roots::{alpine, debian, musl};
pub use rows::Row;

use crate::{
    Host, Program, Work, http,
    place::{self, repository},
    registry::Authority,
};

/// What a root's programs are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// x86-64, which runs the tests.
    Amd64,
    /// 32-bit x86, which it runs as well.
    I386,
    /// Run by qemu.
    Arm64,
}

/// Where a root has its programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In /usr/bin and /usr/lib.
    Usual,
    /// In a folder of the store each.
    Nix,
    /// busybox and musl.
    Musl,
}

/// A row.
#[derive(Debug)]
pub struct Root {
    /// In names of tests.
    pub name: String,
    /// In the table.
    pub title: String,
    /// The root directory.
    pub dir: PathBuf,
    /// What its programs are made for.
    pub machine: Machine,
    form: Form,
    /// Folder of the libraries, below /usr.
    lib: String,
}

/// What became of a cell.
#[derive(Debug)]
pub enum Verdict {
    /// It says what it has to.
    Runs,
    /// Nothing was made, and it was said why.
    Refused(String),
    /// It was made and doesn't run as it did, or nothing was said.
    Fails(String),
}

/// A cell, for one way of making it.
#[derive(Debug)]
pub struct Cell {
    /// What became of it.
    pub verdict: Verdict,
    /// How long it took to make the image.
    pub time: Duration,
}

/// What all cells share: a page over TLS, and the host.
#[derive(Debug)]
pub struct Matrix {
    work: Work,
    host: Host,
    page: String,
}

/// Runs a script in a root where the kernel hands programs of arm64 to qemu: in a namespace of users, and so for nobody else.
/// The extension is unpacked and laid over the host's /usr, as systemd-sysext does; which here merges x86-64's only.
const BY_QEMU: &str = r#"
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
header='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
echo ":arm64:M::$header:$mask:/usr/bin/qemu-aarch64-static:F" > /proc/sys/fs/binfmt_misc/register
root=$1; place=$2; work=$3; image=$4
mkdir -p "$place"
mount --rbind "$root" "$place"
mount -t tmpfs tmpfs "$place/tmp"
mount --rbind /dev "$place/dev"
mount --rbind /proc "$place/proc"
if [ -n "$image" ]; then
    unsquashfs -quiet -no-progress -no-xattrs -d "$work/extension" "$image" > /dev/null
    grep -q ^ARCHITECTURE=arm64 "$work"/extension/usr/lib/extension-release.d/*
    mount -t overlay -o "lowerdir=$work/extension/usr:$place/usr" overlay "$place/usr"
fi
cd "$work"
. ./script
"#;

impl Matrix {
    /// # Errors
    /// The host can't be made, or no certificate.
    pub fn new() -> Result<Matrix> {
        let work = Work::new()?;
        let authority = Authority::new(&work.dir("authority")?)?;
        let other = Authority::new(&work.dir("other")?)?;
        let files = work.dir("files")?;
        let programs = repository().join("tests/programs");
        for (from, name) in [
            (authority.ca.clone(), "ca.crt"),
            (other.ca, "other.crt"),
            (programs.join("matrix.py"), "matrix.py"),
            (programs.join("matrix.pl"), "matrix.pl"),
        ] {
            fs::copy(&from, files.join(name)).with_context(|| format!("{from:?}"))?;
        }
        let pages = work.dir("pages")?;
        fs::write(pages.join("page"), "a page over TLS\n")?;
        let address = http::serve_tls(pages, &authority)?;
        let page = format!("https://localhost:{}/page", address.port());
        let host = Host::foreign(roots::lean(work.path())?)?;
        Ok(Matrix { work, host, page })
    }

    /// Where roots that aren't kept may be made.
    pub fn work(&self) -> &Path {
        self.work.path()
    }

    /// Fails unless a program says in its own root what it has to: else its row is to blame.
    ///
    /// # Errors
    /// It says something else.
    pub fn at_home(&self, root: &Root, job: &Job) -> Result<()> {
        let work = Work::new()?;
        let said = if root.machine == Machine::Arm64 {
            let script = self.script(&job.at_home, "/usr/bin:/bin");
            self.by_qemu(&root.dir, &work, None, &script)?
        } else {
            let bwrap = Program::new("bwrap").clean_env().arg("--ro-bind").arg(&root.dir).arg("/");
            let bwrap = bwrap
                .args(["--dev", "/dev", "--proc", "/proc", "--ro-bind"])
                .arg(self.work.path().join("files"));
            let bwrap =
                bwrap.args(["/tmp", "--clearenv", "--setenv", "HOME", "/", "--setenv", "PAGE", &self.page]);
            let path = format!("{}/usr/bin:/bin", root.store_path()?);
            bwrap.args(["--setenv", "PATH", &path]).args(&job.at_home).run()?.stdout
        };
        ensure!(
            said == job.says,
            "{} in its own root says\n{said}\ninstead of\n{}",
            job.at_home.join(" "),
            job.says
        );
        Ok(())
    }

    /// By `flix`.
    ///
    /// # Errors
    /// The harness's own.
    pub fn flix(&self, root: &Root, job: &Job) -> Result<Cell> {
        let work = Work::new()?;
        let image = work.path().join("cell.raw");
        let by = work.root("home")?;
        let mut flix = by.program(place::flix()?);
        if root.machine == Machine::Arm64 {
            flix = flix.args(["--arch", "arm64"]);
        }
        let flix = flix.args(&job.options).arg("-o").arg(&image);
        let flix = flix.arg(format!("dir:{}", root.dir.display())).arg("cell").args(&job.items);
        let before = Instant::now();
        let out = flix.outcome()?;
        let time = before.elapsed();
        let error = out.stderr.lines().find_map(|l| l.strip_prefix("error: "));
        let verdict = match (out.status.success(), error) {
            (true, _) => self.runs(root, job, &work, &image)?,
            (false, Some(error)) => Verdict::Refused(error.to_owned()),
            (false, None) => Verdict::Fails(format!("{}: {}", out.status, out.stderr.trim())),
        };
        Ok(Cell { verdict, time })
    }

    /// By a script with patchelf, cp and mksquashfs.
    ///
    /// # Errors
    /// The harness's own.
    pub fn patchelf(&self, root: &Root, job: &Job) -> Result<Cell> {
        let work = Work::new()?;
        let image = work.path().join("cell.raw");
        let steps = Program::new(repository().join("tests/programs/matrix-steps.sh")).clean_env();
        let before = Instant::now();
        let out = steps.arg(&root.dir).arg("cell").arg(&image).args(&job.items).outcome()?;
        let time = before.elapsed();
        let verdict = if out.status.success() {
            self.runs(root, job, &work, &image)?
        } else {
            Verdict::Fails(out.stderr.lines().last().unwrap_or("").to_owned())
        };
        Ok(Cell { verdict, time })
    }

    fn runs(&self, root: &Root, job: &Job, work: &Work, image: &Path) -> Result<Verdict> {
        let script = self.script(&job.argv, "/usr/bin:/bin");
        // A program that fails ends the script, which is its verdict; a host that can't merge it says so in the same way.
        let said = match root.machine {
            Machine::Arm64 => self.by_qemu(self.host.root(), work, Some(image), &script),
            _ => self.host.merged(work.path(), &[image], &script).map(|out| out.stdout),
        };
        Ok(match said {
            Ok(said) if said == job.says => Verdict::Runs,
            Ok(said) => Verdict::Fails(format!("it says\n{said}\ninstead of\n{}", job.says)),
            Err(e) => Verdict::Fails(format!("{e:#}")),
        })
    }

    /// Puts the files to /tmp, and runs the program with nothing in its environment.
    fn script(&self, argv: &[String], path: &str) -> String {
        let quoted: Vec<String> = argv.iter().map(|w| format!("'{}'", w.replace('\'', r"'\''"))).collect();
        let files = self.work.path().join("files");
        format!(
            "cp {}/* \"$place/tmp/\"\nexec env -i PATH={path} HOME=/ PAGE={} \"$(command -v chroot)\" \"$place\" {}\n",
            files.display(),
            self.page,
            quoted.join(" ")
        )
    }

    fn by_qemu(&self, root: &Path, work: &Work, image: Option<&Path>, script: &str) -> Result<String> {
        let place = work.dir("place")?;
        fs::write(work.path().join("script"), script)?;
        let run = Program::new("unshare").clean_env();
        let run = run.args(["--user", "--map-root-user", "--mount", "sh", "-euc", BY_QEMU, "qemu"]);
        let run = run.arg(root).arg(place).arg(work.path()).arg(image.unwrap_or(Path::new("")));
        Ok(run.run()?.stdout)
    }
}

impl Root {
    /// The folders of programs of the store, each with a colon.
    fn store_path(&self) -> Result<String> {
        let store = self.dir.join("nix/store");
        if self.form != Form::Nix {
            return Ok(String::new());
        }
        let mut path = String::new();
        for entry in fs::read_dir(&store).with_context(|| format!("{store:?}"))? {
            let bin = entry?.path().join("bin");
            if bin.is_dir() {
                path += &format!("/{}:", bin.strip_prefix(&self.dir)?.display());
            }
        }
        Ok(path)
    }
}

impl Verdict {
    /// Whether it says what it has to.
    pub fn runs(&self) -> bool {
        matches!(self, Verdict::Runs)
    }

    /// One line.
    pub fn short(&self) -> String {
        match self {
            Verdict::Runs => "ok".into(),
            Verdict::Refused(why) => format!("refused: {why}"),
            Verdict::Fails(why) => format!("FAILS: {why}"),
        }
    }
}
