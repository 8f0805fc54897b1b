//! Relocates each ELF file below directories into a file beside it, and has both loaded, as they are and after strip(1): by
//! their loader's `--list` with all relocations done at once, and by dlopen, which runs constructors. What the loader says
//! has to be the same. Prints a table, a row for each directory, and each file that differs or is refused.
//!
//! `load.txt` lists what it was tried with and how that is downloaded. Needs binutils, python3, musl and, for arm64, qemu-user-static and the cross C library.
#![allow(clippy::print_stdout)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result};
use elf::{Edit, Elf, rewrite};
use tree::{Blob, Content};

/// Before the file's own run path: a usual one, and longer than any room that is left.
const PREFIX: &str = "/usr/lib/flix/some-program/usr/lib/x86_64-linux-gnu:/usr/lib/flix/some-program/usr/lib";
const ARM64_ROOT: &str = "/usr/aarch64-linux-gnu";

#[derive(Debug, Default, Clone)]
struct Row {
    files: u32,
    left_alone: u32,
    relocated: u32,
    grown: u32,
    loaded: u32,
    errors: u32,
    stripped: u32,
    refused: u32,
    wrong: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Glibc,
    Musl,
    Arm64,
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries: Vec<_> =
        fs::read_dir(dir).with_context(|| format!("{dir:?}"))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files(&entry.path(), out)?;
        } else if kind.is_file() && !entry.file_name().to_string_lossy().starts_with(".flix-") {
            out.push(entry.path());
        }
    }
    Ok(())
}

fn content(path: &Path) -> Result<Content> {
    Ok(Content::in_blob(Blob::at_path(path), 0, path.metadata()?.len()))
}

/// What a loader says of a file, without the file's own name and without addresses.
fn loads(path: &Path, host: Host, plugin: bool) -> Result<String> {
    let mut said = String::new();
    let mut ask = |command: &mut Command| -> Result<()> {
        let out = command
            .env("LD_WARN", "1")
            .env("LD_BIND_NOW", "1")
            .output()
            .with_context(|| format!("{command:?}"))?;
        let text = [out.stdout, out.stderr].concat();
        let text = String::from_utf8_lossy(&text).replace(&path.display().to_string(), "FILE");
        // The loader's own line is PT_INTERP, which is another one.
        for line in text.lines().filter(|l| !l.trim_start().starts_with('/')) {
            let line = line.split(" (0x").next().unwrap_or(line);
            said.push_str(line);
            said.push('\n');
        }
        said.push_str(&format!("{}\n", out.status));
        Ok(())
    };
    match host {
        Host::Glibc => ask(Command::new("/lib64/ld-linux-x86-64.so.2").arg("--list").arg(path))?,
        Host::Musl => ask(Command::new("/lib/ld-musl-x86_64.so.1").arg("--list").arg(path))?,
        Host::Arm64 => ask(Command::new("qemu-aarch64-static")
            .args(["-L", ARM64_ROOT, &format!("{ARM64_ROOT}/lib/ld-linux-aarch64.so.1"), "--list"])
            .arg(path))?,
    }
    if host == Host::Glibc && plugin {
        let script = "import ctypes, os, sys\ntry: ctypes.PyDLL(sys.argv[1], os.RTLD_NOW)\nexcept OSError as e: print(e)";
        ask(Command::new("python3").args(["-c", script]).arg(path))?;
    }
    Ok(said)
}

fn host(elf: &Elf) -> Option<Host> {
    let musl = elf.needed.iter().any(|n| n.starts_with(b"libc.musl-"))
        || elf.interpreter.as_ref().is_some_and(|i| i.starts_with(b"/lib/ld-musl-"));
    match (elf.machine, musl) {
        (62, true) => Some(Host::Musl),
        (62, false) => Some(Host::Glibc),
        (183, false) => Some(Host::Arm64),
        _ => None,
    }
}

/// A copy beside the file, stripped.
fn strip(path: &Path, host: Host) -> Result<Option<PathBuf>> {
    let out = path.with_file_name(format!(".flix-strip-{}", path.file_name().unwrap_or_default().display()));
    let tool = if host == Host::Arm64 { "aarch64-linux-gnu-strip" } else { "strip" };
    let done = Command::new(tool).arg("-o").arg(&out).arg(path).output().context("strip")?;
    Ok(done.status.success().then_some(out))
}

fn stripped_loads(path: &Path, host: Host, plugin: bool) -> Result<Option<String>> {
    let Some(stripped) = strip(path, host)? else { return Ok(None) };
    let said = loads(&stripped, host, plugin);
    fs::remove_file(&stripped)?;
    said.map(Some)
}

fn check(path: &Path, row: &mut Row) -> Result<()> {
    let old = content(path)?;
    let elf = match Elf::parse(&old) {
        Ok(Some(elf)) => elf,
        Ok(None) => return Ok(()),
        Err(e) => {
            println!("{path:?}: unreadable: {e}");
            row.files += 1;
            row.refused += 1;
            return Ok(());
        }
    };
    row.files += 1;
    let (true, Some(host)) = (elf.is_dynamic(), host(&elf)) else {
        row.left_alone += 1;
        return Ok(());
    };
    let mut dirs = vec![PREFIX.to_owned()];
    let own = elf.runpath.as_ref().or(elf.rpath.as_ref());
    dirs.extend(own.map(|own| String::from_utf8_lossy(own).into_owned()).filter(|own| !own.is_empty()));
    match host {
        Host::Glibc => dirs.push("/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu".to_owned()),
        Host::Arm64 => dirs.push("/lib".to_owned()),
        Host::Musl => {}
    }
    let longer = |i: &Vec<u8>| [b"/.".repeat(40), i.clone()].concat();
    let edit = Edit {
        interpreter: elf.interpreter.as_ref().map(longer),
        runpath: Some(dirs.join(":").into_bytes()),
        force_rpath: elf.rpath.is_some() && elf.runpath.is_none(),
        nodeflib: true,
        ..Edit::default()
    };
    let new = match rewrite(&old, &edit) {
        Ok(new) => new,
        Err(e) => {
            println!("{path:?}: refused: {e}");
            row.refused += 1;
            return Ok(());
        }
    };
    row.relocated += 1;
    row.grown += u32::from(new.len() > old.len());
    let plugin = elf.interpreter.is_none();
    let beside = path.with_file_name(format!(".flix-new-{}", path.file_name().unwrap_or_default().display()));
    std::io::copy(&mut new.reader(), &mut fs::File::create(&beside)?)?;
    fs::set_permissions(&beside, path.metadata()?.permissions())?;
    let (before, after) = (loads(path, host, plugin)?, loads(&beside, host, plugin)?);
    let mut wrong = before != after;
    if wrong {
        println!("{path:?}: loads otherwise:\n{before}-- relocated:\n{after}");
    } else {
        row.loaded += 1;
        row.errors += u32::from(before.contains("rror") || !before.contains("exit status: 0"));
    }
    match (stripped_loads(path, host, plugin)?, stripped_loads(&beside, host, plugin)?) {
        (a, b) if a == b => row.stripped += 1,
        // What strip breaks of the original, or has no word for, need not survive.
        (_, Some(b)) if b == before => row.stripped += 1,
        (a, b) => {
            println!("{path:?}: stripped it loads otherwise:\n{a:?}\n-- relocated:\n{b:?}");
            wrong = true;
        }
    }
    row.wrong += u32::from(wrong);
    fs::remove_file(&beside)?;
    Ok(())
}

fn main() -> Result<()> {
    println!(
        "| | files | left alone | relocated | of those larger | loaded the same | (with an error before, too) | stripped the same | refused | wrong |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut sum = Row::default();
    for dir in std::env::args_os().skip(1).map(PathBuf::from) {
        let mut paths = Vec::new();
        files(&dir, &mut paths)?;
        let queue = Mutex::new(paths.into_iter());
        let next = || queue.lock().ok().and_then(|mut q| q.next());
        let worker = || -> Result<Row> {
            let mut row = Row::default();
            while let Some(path) = next() {
                check(&path, &mut row).with_context(|| format!("{path:?}"))?;
            }
            Ok(row)
        };
        let mut row = Row::default();
        std::thread::scope(|scope| -> Result<()> {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
            for worker in workers {
                let part = worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
                row.add(&part);
            }
            Ok(())
        })?;
        row.print(&dir.file_name().unwrap_or_default().to_string_lossy());
        sum.add(&row);
    }
    sum.print("all");
    Ok(())
}

impl Row {
    fn add(&mut self, o: &Row) {
        self.files += o.files;
        self.left_alone += o.left_alone;
        self.relocated += o.relocated;
        self.grown += o.grown;
        self.loaded += o.loaded;
        self.errors += o.errors;
        self.stripped += o.stripped;
        self.refused += o.refused;
        self.wrong += o.wrong;
    }

    fn print(&self, what: &str) {
        let Row { files, left_alone, relocated, grown, loaded, errors, stripped, refused, wrong } = self;
        println!(
            "| {what} | {files} | {left_alone} | {relocated} | {grown} | {loaded} | {errors} | {stripped} | {refused} | {wrong} |"
        );
    }
}
