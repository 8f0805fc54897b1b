//! A drop-in for the options of patchelf that the rewriter serves, so that foreign test suites can run against it.
//!
//! Differences: a file is replaced by a rename, never truncated and written again, so that an interrupted run leaves it
//! whole; mode, owner and extended attributes are kept, but other hard links of the file keep the old content. Files that
//! an edit would break (static-pie programs, the loader) are refused.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use elf::{Edit, Elf, rewrite};
use tree::{Blob, Content};

const USAGE: &str = "syntax: patchelf
  [--set-interpreter FILENAME]
  [--print-interpreter]
  [--set-rpath RPATH]
  [--add-rpath RPATH]
  [--remove-rpath]
  [--print-rpath]
  [--force-rpath]
  [--shrink-rpath]
  [--allowed-rpath-prefixes PREFIXES]
  [--print-needed]
  [--print-soname]
  [--page-size SIZE]
  [--no-default-lib]
  [--output FILE]
  [--debug]
  [--version]
  FILENAME...
";

enum RunPath {
    Set(Vec<u8>),
    Add(Vec<u8>),
    Remove,
    Shrink,
}

#[derive(Default)]
struct Options {
    print_interpreter: bool,
    print_rpath: bool,
    print_needed: bool,
    print_soname: bool,
    allowed_prefixes: Option<Vec<u8>>,
    interpreter: Option<Vec<u8>>,
    runpath: Option<RunPath>,
    force_rpath: bool,
    nodeflib: bool,
    output: Option<PathBuf>,
    files: Vec<PathBuf>,
}

/// `@FILE` stands for the file's content, as patchelf has it.
fn value(arg: Option<OsString>, option: &str) -> Result<Vec<u8>> {
    let Some(arg) = arg.map(OsString::into_vec) else { bail!("missing argument to {option}") };
    match arg.strip_prefix(b"@") {
        Some(file) => {
            let path = Path::new(OsStr::from_bytes(file));
            std::fs::read(path).with_context(|| format!("getting info about {path:?}"))
        }
        None => Ok(arg),
    }
}

fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Option<Options>> {
    let mut o = Options::default();
    while let Some(arg) = args.next() {
        match arg.as_bytes() {
            b"--set-interpreter" | b"--interpreter" => {
                o.interpreter = Some(value(args.next(), "--set-interpreter")?)
            }
            b"--print-interpreter" => o.print_interpreter = true,
            b"--set-rpath" => o.runpath = Some(RunPath::Set(value(args.next(), "--set-rpath")?)),
            b"--add-rpath" => o.runpath = Some(RunPath::Add(value(args.next(), "--add-rpath")?)),
            b"--remove-rpath" => o.runpath = Some(RunPath::Remove),
            b"--print-rpath" => o.print_rpath = true,
            b"--force-rpath" => o.force_rpath = true,
            b"--shrink-rpath" => o.runpath = Some(RunPath::Shrink),
            b"--allowed-rpath-prefixes" => {
                o.allowed_prefixes = Some(value(args.next(), "--allowed-rpath-prefixes")?);
            }
            b"--print-needed" => o.print_needed = true,
            b"--print-soname" => o.print_soname = true,
            // Segments are kept apart by the largest page of the machine already.
            b"--page-size" => _ = value(args.next(), "--page-size")?,
            b"--no-default-lib" => o.nodeflib = true,
            b"--output" => o.output = Some(OsString::from_vec(value(args.next(), "--output")?).into()),
            b"--debug" => {}
            b"--version" => {
                println!("patchelf 0.18.0");
                return Ok(None);
            }
            b"--help" | b"-h" => {
                eprint!("{USAGE}");
                return Ok(None);
            }
            b"--" => {
                o.files.extend(args.by_ref().map(PathBuf::from));
            }
            unknown if unknown.starts_with(b"--") => {
                eprint!("{USAGE}");
                bail!("unknown option: {}", String::from_utf8_lossy(unknown));
            }
            _ => o.files.push(arg.into()),
        }
    }
    if o.files.is_empty() {
        eprint!("{USAGE}");
        bail!("missing filename");
    }
    if o.output.is_some() && o.files.len() != 1 {
        bail!("--output option only allowed with single input file");
    }
    Ok(Some(o))
}

fn print(line: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(line)?;
    out.write_all(b"\n")?;
    Ok(())
}

fn run(options: &Options, path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("getting info about {path:?}"))?;
    let meta = file.metadata()?;
    let content = Content::in_blob(Blob::from_file(path, file), 0, meta.len());
    let Some(elf) = Elf::parse(&content)? else { bail!("not an ELF executable") };
    if options.print_interpreter {
        match &elf.interpreter {
            Some(i) => print(i)?,
            None => bail!("cannot find section '.interp'. The input file is most likely statically linked"),
        }
    }
    let old = elf.runpath.as_ref().or(elf.rpath.as_ref());
    if options.print_rpath {
        print(old.map_or(&[], Vec::as_slice))?;
    }
    if options.print_needed {
        elf.needed.iter().try_for_each(|n| print(n))?;
    }
    if options.print_soname {
        print(elf.soname.as_deref().unwrap_or_default())?;
    }
    let runpath = match &options.runpath {
        None => None,
        Some(RunPath::Set(new)) => Some(new.clone()),
        Some(RunPath::Remove) => Some(Vec::new()),
        Some(RunPath::Shrink) => match old {
            Some(old) => Some(shrink(&elf, old, options.allowed_prefixes.as_deref())),
            None => return Ok(()),
        },
        Some(RunPath::Add(new)) => Some(match old {
            Some(old) if !old.is_empty() => [old.as_slice(), new].join(&b':'),
            _ => new.clone(),
        }),
    };
    let edit = Edit {
        interpreter: options.interpreter.clone(),
        runpath,
        force_rpath: options.force_rpath,
        nodeflib: options.nodeflib,
        ..Edit::default()
    };
    if edit == (Edit { force_rpath: edit.force_rpath, ..Edit::default() }) && options.output.is_none() {
        return Ok(());
    }
    let new = if elf.is_dynamic() || options.output.is_none() { rewrite(&content, &edit)? } else { content };
    write(&new, path, options.output.as_deref())
}

/// The directories that have a needed library which none before them has; relative ones stay.
fn shrink(elf: &Elf, old: &[u8], allowed: Option<&[u8]>) -> Vec<u8> {
    let mut missing = elf.needed.clone();
    let is_allowed = |dir: &[u8]| match allowed {
        Some(list) => list.split(|&b| b == b':').any(|prefix| dir.starts_with(prefix)),
        None => true,
    };
    let dirs = old.split(|&b| b == b':').filter(|dir| !dir.is_empty()).filter(|dir| {
        if !dir.starts_with(b"/") {
            return true;
        }
        if !is_allowed(dir) {
            return false;
        }
        let before = missing.len();
        missing.retain(|name| {
            !is_library(&Path::new(OsStr::from_bytes(dir)).join(OsStr::from_bytes(name)), elf)
        });
        missing.len() < before
    });
    dirs.collect::<Vec<_>>().join(&b':')
}

/// Whether a file is one that a process of `elf` could load.
fn is_library(path: &Path, elf: &Elf) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let Ok(len) = file.metadata().map(|m| m.len()) else { return false };
    let content = Content::in_blob(Blob::from_file(path, file), 0, len);
    matches!(Elf::parse(&content), Ok(Some(other)) if elf.is_compatible(&other))
}

/// Writes beside the final place and renames.
fn write(content: &Content, input: &Path, output: Option<&Path>) -> Result<()> {
    let input = std::fs::canonicalize(input)?;
    let target = output.map_or(input.clone(), Path::to_path_buf);
    // A rename would put a file in the place of a device or a pipe.
    if std::fs::metadata(&target).is_ok_and(|m| !m.is_file()) {
        let mut device =
            File::options().write(true).open(&target).with_context(|| format!("open: {target:?}"))?;
        std::io::copy(&mut content.reader(), &mut device)?;
        return Ok(());
    }
    let dir = match target.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    // A file would take the place of a device or a pipe, and of what /dev/stdout leads to.
    if output.is_some() && std::fs::metadata(&target).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        let mut out =
            File::options().write(true).open(&target).with_context(|| format!("open: {target:?}"))?;
        std::io::copy(&mut content.reader(), &mut out)?;
        return Ok(());
    }
    if target.is_dir() {
        bail!("open: {target:?}: is a directory");
    }
    let mut temp = tempfile::NamedTempFile::new_in(dir).with_context(|| format!("open: {dir:?}"))?;
    std::io::copy(&mut content.reader(), temp.as_file_mut())?;
    let from = File::open(&input)?;
    let meta = from.metadata()?;
    if output.is_none() {
        // Owner first: chown takes setuid bits and file capabilities away.
        let _ = std::os::unix::fs::fchown(temp.as_file(), Some(meta.uid()), Some(meta.gid()));
        copy_xattrs(&from, temp.as_file())?;
    }
    temp.as_file().set_permissions(meta.permissions())?;
    temp.as_file().sync_all()?;
    temp.persist(&target).with_context(|| format!("open: {target:?}"))?;
    Ok(())
}

fn copy_xattrs(from: &File, to: &File) -> Result<()> {
    let mut names = vec![0u8; 64 << 10];
    let Ok(len) = rustix::fs::flistxattr(from, &mut names) else { return Ok(()) };
    for name in names[..len].split(|&b| b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0u8; 64 << 10];
        let len = rustix::fs::fgetxattr(from, name, &mut value)?;
        let name = OsStr::from_bytes(name);
        rustix::fs::fsetxattr(to, name, &value[..len], rustix::fs::XattrFlags::empty())
            .with_context(|| format!("extended attribute {name:?}"))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let result = parse(std::env::args_os().skip(1)).and_then(|options| match options {
        Some(o) => o.files.iter().try_for_each(|f| run(&o, f)),
        None => Ok(()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("patchelf: {e:#}");
            ExitCode::FAILURE
        }
    }
}
