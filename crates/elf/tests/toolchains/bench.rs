//! A workbench: programs made by a compiler, a private sysroot for them, and the judges.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use elf::{Edit, RewriteError, rewrite};
use tree::{Blob, Content};

use elf::testing::{place_copy, place_program};

/// Says what it sees of itself: its arguments, what libraries tell, the bytes of its notes, whether AT_PHDR holds, memory.
pub(crate) const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
extern int far_value(int);
__thread int per_thread = 7;
static int from_constructor;
static char zeros[70000];
__attribute__((constructor)) static void construct(void) { from_constructor = 5; }
static int object(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size; (void)data;
    unsigned long sum = 0; int loads = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD) loads++;
        if (p->p_type != PT_NOTE) continue;
        const unsigned char *b = (const unsigned char *)(info->dlpi_addr + p->p_vaddr);
        for (size_t n = 0; n < p->p_filesz; n++) sum = sum * 31 + b[n];
    }
    if (info->dlpi_name[0] == 0) printf("notes %lx, has loads %d\n", sum, loads > 0);
    return 0;
}
int main(int argc, char **argv) {
    const ElfW(Phdr) *phdr = (const ElfW(Phdr) *)getauxval(AT_PHDR);
    int dynamic = 0;
    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++) dynamic += phdr[i].p_type == PT_DYNAMIC;
    long sum = 0;
    for (size_t i = 0; i < sizeof zeros; i++) sum += zeros[i];
    for (int i = 0; i < 2000; i++) { char *p = malloc(4000); memset(p, 1, 4000); sum += p[3999]; }
    printf("%d %s %d %d %d %d %ld\n", argc, argc > 1 ? argv[1] : "", far_value(3), per_thread, from_constructor, dynamic, sum);
    dl_iterate_phdr(object, 0);
    return 42;
}
"#;

/// A library that needs another one.
pub(crate) const NEAR: &str =
    "extern int farther_value(int); int far_value(int n) { return farther_value(n) + 1; }\n";
/// The other one, with data to relocate.
pub(crate) const FAR: &str = r#"
static int ten = 10; int *const pointers[] = { &ten, &ten, &ten };
int farther_value(int n) { return *pointers[n % 3] * n; }
"#;

/// What the program prints, but for the notes' sum.
pub(crate) const SAYS: &str = "2 word 31 7 5 1 2000\n";

/// A compiler and how its programs are run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub compiler: &'static str,
    pub strip: &'static str,
    /// Runs a program of another machine.
    pub runner: Option<&'static str>,
}

pub(crate) const HOST: Target = Target { compiler: "gcc", strip: "strip", runner: None };

/// A directory with a program, its two libraries, and a place for a sysroot.
#[derive(Debug)]
pub(crate) struct Bench {
    pub dir: tempfile::TempDir,
    pub target: Target,
    /// Loader and C library by their own paths.
    loader: PathBuf,
}

pub(crate) fn tool(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| {
        panic!("{:?}: {e}; install the packages that tests/packages.txt names", command.get_program())
    })
}

pub(crate) fn must(command: &mut Command) -> String {
    let out = tool(command);
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    assert!(out.status.success(), "{command:?}: {}\n{}{}", out.status, text(&out.stdout), text(&out.stderr));
    text(&out.stdout)
}

pub(crate) fn content(path: &Path) -> Content {
    Content::in_blob(Blob::at_path(path), 0, path.metadata().unwrap().len())
}

pub(crate) fn write(content: &Content, path: &Path) {
    place_program(path, &content.read(1 << 30).unwrap());
}

/// Rewrites a file in its place.
pub(crate) fn rewrite_file(path: &Path, edit: &Edit) -> Result<(), RewriteError> {
    // All is read before the first byte is written: the content is a view of the file.
    let bytes = rewrite(&content(path), edit)?.read(1 << 30).unwrap();
    place_program(path, &bytes);
    Ok(())
}

impl Bench {
    /// Builds the libraries with `lib_flags` and the program with `flags`.
    pub(crate) fn new(target: Target, flags: &[&str], lib_flags: &[&str]) -> Bench {
        let dir = tempfile::Builder::new().prefix("flix-elf-").tempdir().unwrap();
        let bench = Bench { dir, target, loader: PathBuf::new() };
        // The one option that makes no sense for a library.
        let lib_flags: Vec<&str> = lib_flags.iter().copied().filter(|f| *f != "-no-pie").collect();
        bench.compile(NEAR, "libfar.so", &["-shared", "-fPIC", "-Wl,-soname,libfar.so"], &[]);
        bench.compile(
            FAR,
            "libfarther.so",
            &[&["-shared", "-fPIC", "-Wl,-soname,libfarther.so"], &lib_flags[..]].concat(),
            &[],
        );
        let near = [&["-shared", "-fPIC", "-Wl,-soname,libfar.so"], &lib_flags[..]].concat();
        bench.compile(NEAR, "libfar.so", &near, &["-L.", "-lfarther"]);
        bench.compile(PROGRAM, "program", flags, &["-L.", "-lfar", "-Wl,-rpath-link,."]);
        let elf = elf::Elf::parse(&content(&bench.path("program"))).unwrap().unwrap();
        let interpreter = elf.interpreter.expect("the program has an interpreter");
        let loader = Path::new(OsStr::new(std::str::from_utf8(&interpreter).unwrap())).to_path_buf();
        Bench { loader, ..bench }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Compiles a source text.
    pub(crate) fn compile(&self, source: &str, output: &str, flags: &[&str], libs: &[&str]) {
        let file = self.path(&format!("{output}.c"));
        fs::write(&file, source).unwrap();
        must(
            Command::new(self.target.compiler)
                .current_dir(self.dir.path())
                .args(["-O1", "-w"])
                .args(flags)
                .args(["-o", output])
                .arg(&file)
                .args(libs),
        );
    }

    /// The sysroot's library directory: a long name, so that no string fits its old room.
    pub(crate) fn sysroot(&self) -> PathBuf {
        self.path(
            "a-private-sysroot-with-a-rather-long-name/usr/lib/flix/program/usr/lib/some-machine-linux-gnu",
        )
    }

    /// The file that the compiler links with.
    fn shared_library(&self, name: &str) -> PathBuf {
        let out = must(Command::new(self.target.compiler).arg(format!("-print-file-name={name}")));
        fs::canonicalize(out.trim()).unwrap_or_else(|e| panic!("{name} of {}: {e}", self.target.compiler))
    }

    /// What every file of the sysroot gets.
    pub(crate) fn edit(&self, name: &str) -> Edit {
        let sysroot = self.sysroot().to_str().unwrap().to_owned();
        let has_interpreter = name == "program" || name.starts_with("libc.so");
        Edit {
            interpreter: has_interpreter
                .then(|| self.loader_in_sysroot().to_str().unwrap().to_owned().into_bytes()),
            runpath: Some(format!("{sysroot}:{sysroot}/another-directory").into_bytes()),
            nodeflib: true,
            ..Edit::default()
        }
    }

    pub(crate) fn loader_in_sysroot(&self) -> PathBuf {
        self.sysroot().join(self.loader.file_name().unwrap())
    }

    /// Copies loader, C library and the two libraries to the sysroot and rewrites all but the loader.
    pub(crate) fn fill_sysroot(&self) {
        fs::create_dir_all(self.sysroot()).unwrap();
        let loader_name = self.loader.file_name().unwrap().to_str().unwrap();
        place_copy(&self.loader_in_sysroot(), &self.shared_library(loader_name));
        let musl = loader_name.starts_with("ld-musl");
        if !musl {
            place_copy(&self.sysroot().join("libc.so.6"), &self.shared_library("libc.so.6"));
            self.relocate(&self.sysroot().join("libc.so.6"), "libc.so.6");
        }
        for name in ["libfar.so", "libfarther.so"] {
            place_copy(&self.sysroot().join(name), &self.path(name));
            self.relocate(&self.sysroot().join(name), name);
        }
    }

    fn relocate(&self, path: &Path, name: &str) {
        let mut edit = self.edit(name);
        let elf = elf::Elf::parse(&content(path)).unwrap().unwrap();
        if elf.interpreter.is_none() {
            edit.interpreter = None;
        }
        rewrite_file(path, &edit).unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// Runs a program; its output, the exit code has to be 42.
    pub(crate) fn run(&self, program: &Path, libraries: Option<&Path>) -> String {
        let mut command = match self.target.runner {
            Some(runner) => Command::new(runner),
            None => Command::new(program),
        };
        command.env_clear();
        if let Some(dir) = libraries {
            match self.target.runner {
                // The loader of another machine is not where the program says.
                Some(_) => {
                    let sysroot = self.shared_library("libc.so.6");
                    let root = sysroot.parent().and_then(Path::parent).unwrap();
                    command.arg("-L").arg(root).arg("-E");
                    command.arg(format!("LD_LIBRARY_PATH={}:{}", dir.display(), root.join("lib").display()));
                }
                None => {
                    command.env("LD_LIBRARY_PATH", dir);
                }
            }
        }
        if self.target.runner.is_some() {
            command.arg(program);
        }
        let out = tool(command.arg("word"));
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        assert_eq!(
            out.status.code(),
            Some(42),
            "{program:?}: {}\n{}{}",
            out.status,
            text(&out.stdout),
            text(&out.stderr)
        );
        text(&out.stdout)
    }

    /// The whole check: rewritten, it runs as before from the sysroot alone; so it does after strip, and after ten more
    /// rewrites; the judges have no complaint that they didn't have before. Says how much the program grew.
    pub(crate) fn check(&self, what: &str) -> u64 {
        let (old, new) = (self.path("program"), self.path("rewritten"));
        let before = self.run(&old, Some(self.dir.path()));
        assert!(before.starts_with(SAYS), "{what}: {before}");
        self.fill_sysroot();
        // Nothing to fall back to.
        for name in ["libfar.so", "libfarther.so"] {
            fs::rename(self.path(name), self.path(&format!("{name}.away"))).unwrap();
        }
        let edited = rewrite(&content(&old), &self.edit("program")).unwrap_or_else(|e| panic!("{what}: {e}"));
        write(&edited, &new);
        let again = rewrite(&edited, &self.edit("program")).unwrap();
        assert_eq!(
            again.read(1 << 30).unwrap(),
            edited.read(1 << 30).unwrap(),
            "{what}: the same edit twice"
        );
        assert_eq!(self.run(&new, None), before, "{what}: rewritten");
        self.judge(what, &old, &new);
        self.judge(what, &self.path("libfar.so.away"), &self.sysroot().join("libfar.so"));

        let stripped = self.path("stripped");
        must(Command::new(self.target.strip).arg("-o").arg(&stripped).arg(&new));
        assert_eq!(self.run(&stripped, None), before, "{what}: stripped");
        for name in ["libfar.so", "libfarther.so"] {
            must(Command::new(self.target.strip).arg(self.sysroot().join(name)));
        }
        assert_eq!(self.run(&new, None), before, "{what}: with stripped libraries");

        let mut repeated = edited.clone();
        for n in 0..10 {
            let dir = self.sysroot().join("directory/".repeat(n * 7 % 10));
            let edit = Edit { runpath: Some(dir.to_str().unwrap().into()), ..self.edit("program") };
            repeated = rewrite(&repeated, &edit).unwrap_or_else(|e| panic!("{what}: rewrite {n}: {e}"));
        }
        repeated = rewrite(&repeated, &self.edit("program")).unwrap();
        write(&repeated, &self.path("repeated"));
        assert_eq!(self.run(&self.path("repeated"), None), before, "{what}: ten rewrites");
        assert!(repeated.len() < edited.len() + 4096, "{what}: grows at each rewrite: {}", repeated.len());
        edited.len() - content(&old).len()
    }

    /// readelf has no warning and eu-elflint no complaint about `new` that it doesn't have about `old`.
    pub(crate) fn judge(&self, what: &str, old: &Path, new: &Path) {
        let warnings = |path: &Path| {
            let out = tool(Command::new("readelf").args(["-lWdSnV"]).arg(path));
            String::from_utf8_lossy(&out.stderr)
                .lines()
                .filter(|l| l.contains("arning") || l.contains("rror"))
                .count()
        };
        assert!(warnings(new) <= warnings(old), "{what}: readelf has new warnings");
        let lint = |path: &Path| {
            let out = tool(Command::new("eu-elflint").arg("--gnu-ld").arg(path));
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            // Numbers change with the headers' order and addresses.
            let plain = |l: &str| l.chars().filter(|c| !c.is_ascii_hexdigit()).collect::<String>();
            text.lines().map(|l| (plain(l), l.to_owned())).collect::<Vec<_>>()
        };
        let known = lint(old);
        for (plain, line) in lint(new).into_iter().filter(|(_, line)| line != "No errors") {
            assert!(known.iter().any(|(k, _)| *k == plain), "{what}: eu-elflint: {line}");
        }
    }
}
