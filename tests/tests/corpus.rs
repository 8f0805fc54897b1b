//! Every ELF file of a Debian root with well-known packages, relocated: it loads what it loaded, from the sysroot alone, and
//! its programs say what they said; so they do after strip, and after ten rewrites.
//!
//! `FLIX_CORPUS=DIR` takes another root, one that is there already. `--nocapture` shows the counts.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use e2e::{Program, place, work};
use elf::{Edit, Elf, ElfKind, RewriteError, rewrite};
use tree::{Blob, Content};

/// Unpacked with all that they depend on, some 900 packages and 3,600 ELF files: C, C++, Rust, Go, Perl, Python, PHP and
/// Ruby modules, servers, and what is known for loading plugins.
const PACKAGES: &str = "
libc-bin libc6 base-files bash dash coreutils util-linux mount login passwd procps psmisc grep sed gawk mawk
findutils diffutils tar gzip bzip2 xz-utils zstd lz4 p7zip-full unzip zip cpio file less nano vim-nox patch make
perl perl-modules-5.36 libxml-parser-perl libdbd-sqlite3-perl python3-minimal python3 python3-numpy python3-lxml
python3-cryptography python3-yaml python3-pil ruby php8.2-cli php8.2-mbstring php8.2-xml lua5.4 guile-3.0 tcl
git git-lfs subversion mercurial curl wget rsync openssh-client openssh-server gnupg openssl gnutls-bin
ca-certificates
nginx-full apache2-bin haproxy squid-openssl postfix dovecot-core unbound bind9 bind9-dnsutils dnsmasq-base
chrony avahi-daemon samba smbclient nfs-common openvpn wireguard-tools strongswan-charon
postgresql-15 postgresql-client-15 mariadb-server-core mariadb-client-core redis-server memcached sqlite3
systemd systemd-container udev dbus iproute2 iputils-ping iptables nftables ipset ethtool tcpdump nmap socat
ncat lsof strace ltrace htop tmux screen
e2fsprogs btrfs-progs xfsprogs dosfstools ntfs-3g parted fdisk lvm2 mdadm cryptsetup-bin squashfs-tools
erofs-utils smartmontools nvme-cli
gcc g++ gdb binutils cmake ninja-build autoconf pkg-config flex bison
ffmpeg imagemagick-6.q16 graphicsmagick ghostscript poppler-utils gstreamer1.0-plugins-base
gstreamer1.0-plugins-good gstreamer1.0-tools sox librsvg2-bin
docker-registry skopeo podman runc crun containernetworking-plugins
ripgrep fd-find bat hyperfine busybox musl fakeroot fakechroot qemu-utils libvirt-clients jq tree bc dc units
cowsay fortune-mod rename";

/// For arm64, run by qemu.
const ARM64_PACKAGES: &str = "
libc-bin base-files bash dash coreutils util-linux mount login passwd procps grep sed gawk findutils diffutils tar gzip
xz-utils zstd file less perl python3 git curl openssh-client gnupg openssl nginx-light redis-server sqlite3 systemd dbus
iproute2 nftables tcpdump e2fsprogs binutils jq ripgrep busybox skopeo";

/// Where the sysroot is: long enough that no string fits its old room. It leads to `/`, so that plugins which are opened by
/// an absolute path are the relocated ones, too.
const SYSROOT: &str = "/usr/lib/flix/some-program-with-a-long-name";

/// How a machine's programs are run.
#[derive(Clone, Copy)]
struct Machine {
    debian: &'static str,
    packages: &'static str,
    elf_machine: u16,
    loader: &'static str,
    directories: &'static [&'static str],
    /// qemu of the host.
    runner: Option<&'static str>,
    strip: &'static str,
}

const X86_64: Machine = Machine {
    debian: "amd64",
    packages: PACKAGES,
    elf_machine: 62,
    loader: "/lib64/ld-linux-x86-64.so.2",
    directories: &["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"],
    runner: None,
    strip: "strip",
};

const ARM64: Machine = Machine {
    debian: "arm64",
    packages: ARM64_PACKAGES,
    elf_machine: 183,
    loader: "/lib/ld-linux-aarch64.so.1",
    directories: &["/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib", "/usr/lib"],
    runner: Some("/usr/bin/qemu-aarch64-static"),
    strip: "aarch64-linux-gnu-strip",
};

/// An ELF file of the root.
struct File {
    /// From the root on, with a `/`.
    path: String,
    elf: Elf,
    content: Content,
}

fn walk(root: &Path, dir: &Path, out: &mut Vec<(String, PathBuf)>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("{dir:?}"))?;
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(root, &entry.path(), out)?;
        } else if kind.is_file() && entry.metadata()?.len() > 64 {
            let path = entry.path();
            let inside = path.strip_prefix(root)?.to_str().context("a path that is not UTF-8")?;
            out.push((format!("/{inside}"), path.clone()));
        }
    }
    Ok(())
}

/// All ELF files, by path.
fn elf_files(root: &Path) -> Result<Vec<File>> {
    let mut paths = Vec::new();
    walk(root, root, &mut paths)?;
    paths.sort();
    let mut out = Vec::new();
    for (path, place) in paths {
        let len = place.metadata()?.len();
        let content = Content::in_blob(Blob::at_path(&place), 0, len);
        if let Some(elf) = Elf::parse(&content).with_context(|| path.clone())? {
            out.push(File { path, elf, content });
        }
    }
    Ok(out)
}

/// The edit that moves a file to the sysroot, as `flix` does: its own run path translated, then the default directories.
fn edit(file: &File, machine: &Machine) -> Edit {
    let own = file.elf.runpath.as_ref().or(file.elf.rpath.as_ref());
    let own = own.map(|p| String::from_utf8_lossy(p).into_owned()).unwrap_or_default();
    let dir = file.path.rsplit_once('/').map_or("", |(dir, _)| dir);
    let own =
        own.split(':').filter(|d| !d.is_empty()).map(|d| d.replace("${ORIGIN}", dir).replace("$ORIGIN", dir));
    let directories = own.chain(machine.directories.iter().map(|d| (*d).to_owned()));
    let runpath = directories.map(|d| format!("{SYSROOT}{d}")).collect::<Vec<_>>().join(":");
    let interpreter = file.elf.interpreter.as_ref().map(|i| [SYSROOT.as_bytes(), i].concat());
    Edit { interpreter, runpath: Some(runpath.into_bytes()), nodeflib: true, ..Edit::default() }
}

/// A root that shares all files with `from` by hard links; the sysroot leads to itself.
fn clone_root(from: &Path, to: &Path) -> Result<()> {
    Program::new("cp").arg("-al").arg(from).arg(to).run()?;
    let sysroot = to.join(SYSROOT.trim_start_matches('/'));
    fs::create_dir_all(sysroot.parent().context("sysroot")?)?;
    symlink("/", sysroot)?;
    // Nothing but the run paths leads to a library.
    let _ = fs::remove_file(to.join("etc/ld.so.cache"));
    Ok(())
}

/// Puts a file into a root; other names of the old one keep theirs.
fn replace(root: &Path, path: &str, content: &Content) -> Result<()> {
    let place = root.join(path.trim_start_matches('/'));
    let mode = place.metadata()?.permissions().mode() | 0o200;
    // By a child, for the reason that `e2e::place_program` gives; install makes a file of its own.
    let install = Program::new("install").args(["-m", &format!("{:o}", mode & 0o7777), "/dev/stdin"]);
    install.arg(&place).input(content.read(u64::MAX)?).run()?;
    Ok(())
}

/// Does something to all items, on all processors.
fn in_parallel<T: Sync, R: Send>(items: &[T], each: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let threads = thread::available_parallelism()?.get();
    let results: Mutex<Vec<(usize, Result<R>)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for n in 0..threads {
            let (results, each) = (&results, &each);
            scope.spawn(move || {
                for (i, item) in items.iter().enumerate().skip(n).step_by(threads) {
                    let result = each(item);
                    if let Ok(mut list) = results.lock() {
                        list.push((i, result));
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, r)| r).collect()
}

/// What is asked of every file, in the root, by busybox's shell, so that nothing of the root is needed for asking.
const ASK: &str = r#"
while read -r kind file; do
    echo "== $kind $file"
    if [ "$kind" = load ]; then
        LD_TRACE_LOADED_OBJECTS=1 LD_WARN=yes LD_BIND_NOW=yes $RUNNER $LOADER "$file" </dev/null 2>&1
        echo "-- $?"
    else
        # Programs without a --version start to work: they get nothing to do it with.
        timeout -s KILL 20 $RUNNER "$file" --version </dev/null >/tmp/said 2>&1
        echo "-- $?"
        head -c 3000 /tmp/said
        echo
    fi
done
"#;

/// The answers of a root, by question. The sysroot's name and the places in memory are taken out.
fn ask(
    root: &Path,
    machine: &Machine,
    loader: &str,
    questions: &[String],
) -> Result<BTreeMap<String, String>> {
    let threads = thread::available_parallelism()?.get();
    let parts: Vec<Vec<&String>> =
        (0..threads).map(|n| questions.iter().skip(n).step_by(threads).collect()).collect();
    let outputs = in_parallel(&parts, |part| {
        let mut bwrap = Program::new("bwrap").clean_env().arg("--ro-bind").arg(root).arg("/").args([
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
            "--tmpfs",
            "/run",
            "--tmpfs",
            "/root",
            "--ro-bind",
            "/bin/busybox",
            "/tmp/busybox",
            "--unshare-all",
            "--die-with-parent",
            "--uid",
            "65534",
            "--gid",
            "65534",
            "--cap-drop",
            "ALL",
            "--clearenv",
            "--setenv",
            "LC_ALL",
            "C",
            "--setenv",
            "HOME",
            "/tmp",
            "--setenv",
            "PATH",
            "/usr/sbin:/usr/bin:/sbin:/bin",
            "--setenv",
            "LOADER",
            loader,
            "--chdir",
            "/tmp",
        ]);
        if let Some(runner) = machine.runner {
            bwrap = bwrap.args(["--ro-bind", runner, "/tmp/runner", "--setenv", "RUNNER", "/tmp/runner"]);
        }
        let lines: String = part.iter().map(|q| format!("{q}\n")).collect();
        Ok(bwrap.args(["/tmp/busybox", "sh", "-c", ASK]).input(lines).run()?.stdout)
    })?;
    let mut answers = BTreeMap::new();
    for output in outputs {
        let mut question = None;
        for line in output.lines() {
            if let Some(q) = line.strip_prefix("== ") {
                question = Some(q.to_owned());
                answers.insert(q.to_owned(), String::new());
            } else if let Some(answer) = question.as_ref().and_then(|q| answers.get_mut(q)) {
                answer.push_str(&plain(line));
                answer.push('\n');
            }
        }
    }
    ensure!(answers.len() == questions.len(), "{} answers for {} questions", answers.len(), questions.len());
    Ok(answers)
}

/// A line without addresses and process ids, which are different at each run.
fn plain(line: &str) -> String {
    let line = line.replace(SYSROOT, "");
    let mut out = String::new();
    let mut rest = line.as_str();
    while let Some(at) = rest.find("0x") {
        out.push_str(&rest[..at]);
        rest = rest[at + 2..].trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    out.push_str(rest);
    out
}

/// The questions that a root answers otherwise than the original does, each asked again: some programs tell the time.
fn differences(
    what: &str,
    machine: &Machine,
    (root, loader): (&Path, &str),
    original: &Path,
    questions: &[String],
    before: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let mut after = ask(root, machine, loader, questions)?;
    let mut before = before.clone();
    let mut open: Vec<String> =
        questions.iter().filter(|q| before.get(*q) != after.get(*q)).cloned().collect();
    for _ in 0..3 {
        if open.is_empty() {
            break;
        }
        let again = ask(original, machine, machine.loader, &open)?;
        after = ask(root, machine, loader, &open)?;
        open.retain(|q| {
            // What the original itself doesn't say twice can be compared but for its numbers.
            let moody = before.get(q) != again.get(q);
            let words =
                |s: Option<&String>| s.map(|s| s.chars().filter(|c| !c.is_ascii_digit()).collect::<String>());
            let same = again.get(q) == after.get(q);
            !(same || moody && words(again.get(q)) == words(after.get(q)))
        });
        before.extend(again);
    }
    let none = String::new();
    let of = |map: &BTreeMap<String, String>, q: &String| map.get(q).unwrap_or(&none).clone();
    Ok(open
        .iter()
        .map(|q| format!("{what}: {q}:\n{}instead of\n{}", of(&after, q), of(&before, q)))
        .collect())
}

fn make_root(machine: &Machine) -> Result<PathBuf> {
    work::require_root()?;
    let packages: Vec<&str> = machine.packages.split_whitespace().collect();
    let dir = place::cached(&format!("corpus-{}", machine.debian), machine.packages, |dir| {
        // Unpacking is enough: no script of a package runs, and so other machines' packages do as well.
        Program::new("mmdebstrap")
            .args(["--quiet", "--mode=root", "--variant=extract", "--format=directory"])
            .arg(format!("--architectures={}", machine.debian))
            .args(["--skip=check/qemu", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"])
            .arg(format!("--include={}", packages.join(",")))
            .arg("bookworm")
            .arg(dir.join("root"))
            .run()
            .map(drop)
    })?;
    Ok(dir.join("root"))
}

fn check(machine: &Machine, original: &Path, at_least: usize) -> Result<()> {
    let files = elf_files(original)?;
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for file in &files {
        *kinds.entry(format!("{:?}", file.elf.kind)).or_default() += 1;
    }
    println!("{} ELF files: {kinds:?}", files.len());
    let mine = |f: &&File| f.elf.machine == machine.elf_machine && f.elf.is_dynamic();
    let relocatable: Vec<&File> = files.iter().filter(mine).collect();
    ensure!(relocatable.len() >= at_least, "only {} files to relocate", relocatable.len());

    let roots = tempfile::tempdir_in(place::target().join("e2e"))?;
    let of = |name: &str| roots.path().join(name);
    for name in ["rewritten", "stripped", "repeated"] {
        clone_root(original, &of(name))?;
    }
    let growth = in_parallel(&relocatable, |file| {
        let edit = edit(file, machine);
        let new = match rewrite(&file.content, &edit) {
            Ok(new) => new,
            Err(e @ RewriteError::Payload { .. }) => return Ok(Err(format!("{}: {e}", file.path))),
            Err(e) => bail!("{}: {e}", file.path),
        };
        replace(&of("rewritten"), &file.path, &new)?;
        let mut repeated = new.clone();
        for n in 0..10usize {
            let path = "/directory".repeat(n * 7 % 10 + 1).into_bytes();
            let other = Edit { runpath: Some(path), ..edit.clone() };
            repeated = rewrite(&repeated, &other).with_context(|| format!("{}: rewrite {n}", file.path))?;
        }
        let repeated =
            rewrite(&repeated, &edit).with_context(|| format!("{}: the last rewrite", file.path))?;
        replace(&of("repeated"), &file.path, &repeated)?;
        let stripped = of("stripped").join(file.path.trim_start_matches('/'));
        fs::remove_file(&stripped)?;
        let rewritten = of("rewritten").join(file.path.trim_start_matches('/'));
        Program::new(machine.strip).arg("-o").arg(&stripped).arg(&rewritten).run()?;
        Ok(Ok((new.len() - file.content.len(), repeated.len() - new.len())))
    })?;
    let refused: Vec<&String> = growth.iter().filter_map(|g| g.as_ref().err()).collect();
    let mut grown: Vec<(u64, u64)> = growth.iter().filter_map(|g| g.as_ref().ok()).copied().collect();
    grown.sort_unstable();
    let part = |percent: usize| grown.get(grown.len() * percent / 100).map_or(0, |g| g.0);
    println!(
        "{} rewritten; growth median {}, p95 {}, p99 {} bytes; {} did not grow; ten more rewrites: at most {} more",
        grown.len(),
        part(50),
        part(95),
        part(99),
        grown.iter().filter(|g| g.0 == 0).count(),
        grown.iter().map(|g| g.1).max().unwrap_or(0)
    );
    for line in &refused {
        println!("refused: {line}");
    }

    let mut questions: Vec<String> = relocatable.iter().map(|f| format!("load {}", f.path)).collect();
    let programs = relocatable.iter().filter(|f| {
        let is_program = f.elf.kind == ElfKind::DynamicExecutable;
        let dir = f.path.rsplit_once('/').map_or("", |(dir, _)| dir);
        is_program && (dir.ends_with("bin") || dir.contains("libexec") || dir.ends_with("games"))
    });
    questions.extend(programs.map(|f| format!("run {}", f.path)));
    let before = ask(original, machine, machine.loader, &questions)?;
    // Programs that have no --version and wait for work until they are killed say nothing that could be compared.
    questions.retain(|q| {
        let waits = q.starts_with("run ") && before.get(q).is_some_and(|a| a.starts_with("-- 137"));
        if waits {
            println!("no answer from the original either: {q}");
        }
        !waits
    });
    println!("{} questions", questions.len());
    let loader = format!("{SYSROOT}{}", machine.loader);
    let mut failures = sysroot_only(&of("rewritten"), machine, &loader, &relocatable)?;
    for name in ["rewritten", "stripped", "repeated"] {
        failures.extend(differences(name, machine, (&of(name), &loader), original, &questions, &before)?);
    }
    ensure!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

/// Files that load anything from outside of the sysroot.
fn sysroot_only(root: &Path, machine: &Machine, loader: &str, files: &[&File]) -> Result<Vec<String>> {
    let some: Vec<String> = files.iter().step_by(40).map(|f| f.path.clone()).collect();
    let script = format!(
        "for f in {}; do LD_TRACE_LOADED_OBJECTS=1 $RUNNER {loader} $f; done | /tmp/busybox grep -F '=> /' | \
         /tmp/busybox grep -vF '=> {SYSROOT}/' || :",
        some.join(" ")
    );
    let mut bwrap =
        Program::new("bwrap").clean_env().arg("--ro-bind").arg(root).args(["/", "--tmpfs", "/tmp"]);
    bwrap = bwrap.args(["--ro-bind", "/bin/busybox", "/tmp/busybox", "--unshare-all", "--dev", "/dev"]);
    if let Some(runner) = machine.runner {
        bwrap = bwrap.args(["--ro-bind", runner, "/tmp/runner", "--setenv", "RUNNER", "/tmp/runner"]);
    }
    let out = bwrap.args(["/tmp/busybox", "sh", "-c", &script]).run()?;
    Ok(out.stdout.lines().map(|l| format!("not from the sysroot: {l}")).collect())
}

#[test]
fn every_file_of_a_debian_root() -> Result<()> {
    let root = match std::env::var_os("FLIX_CORPUS") {
        Some(dir) => dir.into(),
        None => make_root(&X86_64)?,
    };
    check(&X86_64, &root, 1500)
}

#[test]
fn every_file_of_an_arm64_root() -> Result<()> {
    check(&ARM64, &make_root(&ARM64)?, 300)
}
