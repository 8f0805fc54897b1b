//! The roots of the matrix: Debian's by mmdebstrap, with the programs that are compiled in them; Alpine's; and musl alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Form, Machine, Root};
use crate::{
    Program,
    place::{cached, repository, shared},
    place_program,
    work::require_root,
};

/// In `../shared`.
pub(super) const ALPINE: &str = "images/alpine-minirootfs-3.20.3-x86_64.tar.gz";

const PACKAGES: &str = "bash,curl,ca-certificates,python3,perl,g++,libc-bin";
/// They are unpacked without their scripts, so that no compiler of another machine has to run.
const ARM64_PACKAGES: &str = "bash,dash,curl,ca-certificates,python3,perl,libc-bin,libstdc++6";
/// What the tools of other machines are taken from.
const TOOLS: &str = "golang-go,g++-aarch64-linux-gnu,rustc,libstd-rust-dev:arm64,libstd-rust-dev:i386";

/// The security archive's lists for other machines lag behind now and then, and apt refuses them then.
const NO_SECURITY: &str = r#"--setup-hook=sed -i /security/d "$1/etc/apt/sources.list""#;

/// Compiles for a root: a compiler driver in it, with the folders of both sides at their places.
const CC: &str = r#"#!/bin/sh
set -eu
root=@ROOT@
set -- @CC@ "$@"
for name in @FOLDERS@; do set -- --ro-bind "$name" "$name" "$@"; done
for name in bin etc lib lib32 lib64 usr; do
    if [ -L "$root/$name" ]; then
        set -- --symlink "$(readlink "$root/$name")" "/$name" "$@"
    elif [ -e "$root/$name" ]; then
        set -- --ro-bind "$root/$name" "/$name" "$@"
    fi
done
exec bwrap --dev /dev --proc /proc --tmpfs /tmp --bind @WORK@ @WORK@ --chdir "$PWD" --setenv TMPDIR @WORK@ "$@"
"#;

impl Machine {
    pub(super) fn debian(self) -> &'static str {
        match self {
            Machine::Amd64 => "amd64",
            Machine::I386 => "i386",
            Machine::Arm64 => "arm64",
        }
    }

    fn goarch(self) -> &'static str {
        match self {
            Machine::I386 => "386",
            other => other.debian(),
        }
    }

    fn rust(self) -> &'static str {
        match self {
            Machine::Amd64 => "x86_64-unknown-linux-gnu",
            Machine::I386 => "i686-unknown-linux-gnu",
            Machine::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// Debian's folder of libraries, below /usr and /.
    pub(super) fn lib(self) -> &'static str {
        match self {
            Machine::Amd64 => "lib/x86_64-linux-gnu",
            Machine::I386 => "lib/i386-linux-gnu",
            Machine::Arm64 => "lib/aarch64-linux-gnu",
        }
    }
}

/// Debian's root; with a Go program if wanted, which takes a download of its own.
///
/// # Errors
/// mmdebstrap's, or a compiler's.
pub(super) fn debian(suite: &str, machine: Machine, go: bool) -> Result<Root> {
    require_root()?;
    let sources = sources(&["matrix.sh", "matrix.cc", "matrix.rs", "matrix.go"])?;
    let name = if machine == Machine::Amd64 { suite.into() } else { format!("{suite}-{}", machine.debian()) };
    let name = if go { format!("{name}-go") } else { name };
    let base = base(suite, machine)?;
    let recipe = format!("{}{sources}", fs::read_to_string(base.join("recipe"))?);
    let dir = cached(&format!("matrix-{name}"), &recipe, |dir| {
        let root = dir.join("root");
        Program::new("cp").arg("-al").arg(base.join("root")).arg(&root).run()?;
        complete(&root)?;
        let programs = repository().join("tests/programs");
        place_program(&programs.join("matrix.sh"), &root.join("usr/bin/matrix-sh"))?;
        let tools = if machine == Machine::Amd64 && !go { None } else { Some(tools()?) };
        let build = Build::new(dir, &root, machine, tools)?;
        build.cpp()?;
        build.rust()?;
        if go {
            build.go()?;
        }
        build.done()?;
        small(&root)
    })?;
    let title = format!("Debian {}", number(suite));
    let title = if machine == Machine::Amd64 { title } else { format!("{title}, {}", machine.debian()) };
    let dir = dir.join("root");
    Ok(Root { name, title, dir, machine, form: Form::Usual, lib: machine.lib().into() })
}

fn number(suite: &str) -> &str {
    match suite {
        "bullseye" => "11",
        "bookworm" => "12",
        "trixie" => "13",
        other => other,
    }
}

fn sources(names: &[&str]) -> Result<String> {
    let read = |name: &&str| {
        let path = repository().join("tests/programs").join(name);
        fs::read_to_string(&path).with_context(|| format!("{path:?}"))
    };
    names.iter().map(read).collect()
}

/// What mmdebstrap makes, compilers and all.
fn base(suite: &str, machine: Machine) -> Result<PathBuf> {
    let packages = if machine == Machine::Arm64 { ARM64_PACKAGES } else { PACKAGES };
    cached(&format!("matrix-base-{suite}-{}", machine.debian()), &format!("{packages} 1"), |dir| {
        let debstrap = Program::new("mmdebstrap").args(["--quiet", "--mode=root", "--format=directory"]);
        let without = ["doc", "man", "locale"].map(|d| format!("--dpkgopt=path-exclude=/usr/share/{d}/*"));
        let mut debstrap = debstrap.args(without);
        if machine != Machine::Amd64 {
            debstrap = debstrap.arg(format!("--architectures={}", machine.debian())).arg(NO_SECURITY);
        }
        debstrap = match machine {
            Machine::Arm64 => debstrap.args([
                "--variant=extract",
                "--skip=check/qemu",
                "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
            ]),
            _ => debstrap.arg("--variant=minbase"),
        };
        debstrap.arg(format!("--include={packages}")).arg(suite).arg(dir.join("root")).run().map(drop)
    })
}

/// What the programs ask for, and what an unpacked root doesn't have.
fn complete(root: &Path) -> Result<()> {
    let script = "rm -f etc/hosts
        echo 127.0.0.1 localhost > etc/hosts
        [ -e etc/passwd ] || echo root:x:0:0:root:/root:/bin/sh > etc/passwd
        [ -e etc/group ] || echo root:x:0: > etc/group
        [ -e bin/sh ] || ln -s dash bin/sh";
    Program::new("sh").args(["-euc", script]).dir(root).run().map(drop)
}

/// Removes the compiler: an image doesn't have one, and to read it takes time.
fn small(root: &Path) -> Result<()> {
    let script = "rm -rf usr/lib/gcc usr/libexec/gcc usr/include var/lib/apt/lists var/cache/apt
        find usr/lib lib/ -name '*.a' -delete
        rm -f usr/bin/*-linux-gnu-* usr/bin/*-linux-gnu*-gcc*";
    Program::new("sh").args(["-euc", script]).dir(root).run().map(drop)
}

/// Compilers for other machines, and Go for all of them: a root of their own.
fn tools() -> Result<PathBuf> {
    let dir = cached("matrix-tools", &format!("{TOOLS} 1"), |dir| {
        let debstrap = Program::new("mmdebstrap").args(["--quiet", "--mode=root", "--format=directory"]);
        let debstrap = debstrap.args(["--variant=extract", "--architectures=amd64,arm64,i386", NO_SECURITY]);
        let debstrap =
            debstrap.args(["--skip=check/qemu", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]);
        let debstrap = debstrap.args(["--dpkgopt=path-exclude=/usr/share/doc/*"]);
        debstrap.arg(format!("--include={TOOLS}")).arg("bookworm").arg(dir.join("root")).run().map(drop)
    })?;
    Ok(dir.join("root"))
}

/// Compiles the programs of the matrix for a root.
struct Build<'a> {
    work: PathBuf,
    root: &'a Path,
    machine: Machine,
    tools: Option<PathBuf>,
}

impl Build<'_> {
    fn new<'a>(dir: &Path, root: &'a Path, machine: Machine, tools: Option<PathBuf>) -> Result<Build<'a>> {
        let work = dir.join("build");
        fs::create_dir_all(&work)?;
        for name in ["matrix.cc", "matrix.rs", "matrix.go"] {
            fs::copy(repository().join("tests/programs").join(name), work.join(name))?;
        }
        let build = Build { work, root, machine, tools };
        for compiler in ["gcc", "g++"] {
            build.driver(compiler)?;
        }
        Ok(build)
    }

    /// A script that runs a compiler driver of the root, or of the tools' root.
    fn driver(&self, compiler: &str) -> Result<()> {
        let (root, cc) = match (&self.tools, self.machine) {
            (Some(tools), Machine::Arm64) => (tools.as_path(), format!("aarch64-linux-gnu-{compiler}")),
            _ => (self.root, compiler.to_owned()),
        };
        let shown = |path: &Path| path.display().to_string();
        // Those of whoever calls the compiler: rustc's libraries, Go's headers.
        let folders = self.tools.iter().map(|t| shown(t)).chain([shown(&rust_sysroot()?)]);
        let folders = folders.collect::<Vec<_>>().join(" ");
        let text = CC.replace("@ROOT@", &shown(root)).replace("@CC@", &cc);
        let text = text.replace("@FOLDERS@", &folders).replace("@WORK@", &shown(&self.work));
        let fresh = self.work.join(format!("{compiler}.new"));
        fs::write(&fresh, text)?;
        place_program(&fresh, &self.work.join(compiler))
    }

    fn cpp(&self) -> Result<()> {
        let cc =
            Program::new(self.work.join("g++")).args(["-O1", "-pthread", "-o", "matrix-cc", "matrix.cc"]);
        cc.dir(&self.work).run()?;
        self.install("matrix-cc")
    }

    /// By the machine's own rustc for its own kind; Debian's has libraries for the others.
    fn rust(&self) -> Result<()> {
        let linker = format!("linker={}", self.work.join("gcc").display());
        let rustc = match &self.tools {
            Some(tools) if self.machine != Machine::Amd64 => {
                let lib = tools.join("usr/lib/x86_64-linux-gnu");
                Program::new(tools.join("usr/bin/rustc"))
                    .env("LD_LIBRARY_PATH", lib)
                    .arg("--sysroot")
                    .arg(tools.join("usr"))
                    .args(["--target", self.machine.rust()])
            }
            _ => Program::new("rustc"),
        };
        let rustc = rustc.args(["--edition=2021", "-O", "-C", &linker, "-o", "matrix-rs", "matrix.rs"]);
        rustc.env("TMPDIR", &self.work).dir(&self.work).run()?;
        self.install("matrix-rs")
    }

    fn go(&self) -> Result<()> {
        let tools = self.tools.as_ref().context("Go is one of the tools")?;
        let home = tools.join("usr/lib/go");
        let go = Program::new(home.join("bin/go"))
            .args(["build", "-o", "matrix-go", "matrix.go"])
            .env("GOROOT", fs::canonicalize(&home)?)
            .env("GOARCH", self.machine.goarch())
            .env("CGO_ENABLED", "1")
            .env("CC", self.work.join("gcc"))
            .env("CXX", self.work.join("g++"))
            .env("TMPDIR", &self.work)
            .env("GO111MODULE", "off")
            .env("GOCACHE", self.work.join("cache"));
        go.dir(&self.work).run()?;
        self.install("matrix-go")
    }

    fn install(&self, name: &str) -> Result<()> {
        place_program(&self.work.join(name), &self.root.join("usr/bin").join(name))
    }

    fn done(self) -> Result<()> {
        fs::remove_dir_all(&self.work).with_context(|| format!("{:?}", self.work))
    }
}

/// Where the machine's rustc has its libraries.
fn rust_sysroot() -> Result<PathBuf> {
    let out = Program::new("rustc").args(["--print", "sysroot"]).run()?;
    Ok(out.stdout.trim().into())
}

/// busybox, musl and a program, in Alpine's manner, out of Debian's packages.
///
/// # Errors
/// A package of `tests/packages.txt` is missing.
pub(super) fn musl(work: &Path) -> Result<Root> {
    let dir = work.join("musl");
    for sub in ["bin", "dev", "etc", "lib", "proc", "tmp", "usr/bin", "usr/lib"] {
        fs::create_dir_all(dir.join(sub))?;
    }
    fs::copy("/bin/busybox", dir.join("bin/busybox"))?;
    fs::copy("/lib/ld-musl-x86_64.so.1", dir.join("lib/ld-musl-x86_64.so.1"))?;
    fs::write(dir.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    with_c(work, &dir)?;
    Ok(Root {
        name: "musl".into(),
        title: "musl of Debian's".into(),
        dir,
        machine: Machine::Amd64,
        form: Form::Musl,
        lib: "lib".into(),
    })
}

/// The real Alpine, where `../shared` is.
///
/// # Errors
/// It can't be unpacked.
pub(super) fn alpine(work: &Path) -> Result<Root> {
    let tar = shared(ALPINE).context(ALPINE)?;
    let dir = work.join("alpine");
    fs::create_dir_all(&dir)?;
    Program::new("tar").arg("-C").arg(&dir).arg("-xzf").arg(tar).run()?;
    // Its busybox doesn't try the next address of a name.
    fs::write(dir.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    with_c(work, &dir)?;
    Ok(Root {
        name: "alpine".into(),
        title: "Alpine 3.20".into(),
        dir,
        machine: Machine::Amd64,
        form: Form::Musl,
        lib: "lib".into(),
    })
}

/// A program with a library, for musl.
fn with_c(work: &Path, root: &Path) -> Result<()> {
    let library = work.join("library.c");
    fs::write(&library, "int library(int n) { return 2 * n; }\n")?;
    let gcc = || Program::new("musl-gcc").args(["-O1", "-Wall"]);
    let so = root.join("usr/lib/libmatrix.so.1");
    gcc().args(["-shared", "-fPIC", "-Wl,-soname,libmatrix.so.1", "-o"]).arg(&so).arg(&library).run()?;
    let built = work.join("matrix-c");
    let source = repository().join("tests/programs/matrix.c");
    gcc().arg("-o").arg(&built).arg(source).arg(&so).run()?;
    place_program(&built, &root.join("usr/bin/matrix-c"))
}

/// The host: busybox that needs no library, and what systemd-sysext wants to see.
///
/// # Errors
/// It can't be written.
pub(super) fn lean(work: &Path) -> Result<PathBuf> {
    let root = work.join("lean");
    for dir in [
        "bin",
        "dev",
        "etc/extensions",
        "mnt",
        "proc",
        "root",
        "run",
        "sys",
        "tmp",
        "usr/bin",
        "usr/lib",
        "var",
    ] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    fs::set_permissions(root.join("bin/busybox"), PermissionsExt::from_mode(0o755))?;
    symlink("busybox", root.join("bin/sh"))?;
    fs::write(root.join("etc/os-release"), "ID=lean\nVERSION_ID=1\n")?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    Ok(root)
}
