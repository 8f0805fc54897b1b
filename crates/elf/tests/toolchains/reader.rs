//! What the reader says of what compilers make.

use std::fs;
use std::process::Command;

use elf::{Class, Elf, ElfKind, Endian, Libc, Priority};

use super::bench::{content, must, tool};

const MAIN: &str = "int main(void) { return 0; }\n";

struct Work(tempfile::TempDir);

impl Work {
    fn new() -> Work {
        Work(tempfile::tempdir().unwrap())
    }

    fn compile(&self, compiler: &str, source: &str, flags: &[&str]) -> Elf {
        let (file, out) = (self.0.path().join("a.c"), self.0.path().join("a.out"));
        fs::write(&file, source).unwrap();
        must(Command::new(compiler).current_dir(self.0.path()).arg(&file).arg("-o").arg(&out).args(flags));
        Elf::parse(&content(&out)).unwrap().unwrap()
    }
}

#[test]
fn kinds() {
    let work = Work::new();
    let table: &[(&str, &[&str], ElfKind)] = &[
        ("gcc", &[], ElfKind::DynamicExecutable),
        ("gcc", &["-no-pie"], ElfKind::DynamicExecutable),
        ("gcc", &["-static"], ElfKind::StaticExecutable),
        ("gcc", &["-static-pie"], ElfKind::StaticPie),
        ("musl-gcc", &["-static"], ElfKind::StaticExecutable),
        ("gcc", &["-shared", "-fPIC", "-Wl,-soname,liba.so.1"], ElfKind::SharedObject),
        ("gcc", &["-shared", "-fPIC"], ElfKind::SharedObject),
        ("gcc", &["-shared", "-fPIC", "-nostdlib", "-Wl,-soname,liba.so.1"], ElfKind::SharedObject),
        ("gcc", &["-shared", "-fPIC", "-nostdlib", "-Wl,-e,main"], ElfKind::Loader),
        (
            "gcc",
            &["-shared", "-fPIC", "-Wl,-soname,liba.so,-dynamic-linker,/lib/ld.so"],
            ElfKind::SharedObject,
        ),
        ("gcc", &["-c"], ElfKind::Other),
        ("gcc", &["-fuse-ld=lld"], ElfKind::DynamicExecutable),
        ("gcc", &["-fuse-ld=lld", "-static-pie"], ElfKind::StaticPie),
        ("gcc", &["-fuse-ld=mold", "-static-pie"], ElfKind::StaticPie),
    ];
    for (compiler, flags, kind) in table {
        assert_eq!(work.compile(compiler, MAIN, flags).kind, *kind, "{compiler} {flags:?}");
    }
}

#[test]
fn debug_files_are_nothing_to_load() {
    let work = Work::new();
    for flags in [&["-g"][..], &["-g", "-shared", "-fPIC"], &["-g", "-static"]] {
        work.compile("gcc", MAIN, flags);
        let (from, to) = (work.0.path().join("a.out"), work.0.path().join("a.debug"));
        must(Command::new("objcopy").arg("--only-keep-debug").arg(&from).arg(&to));
        assert_eq!(Elf::parse(&content(&to)).unwrap().unwrap().kind, ElfKind::Other, "objcopy {flags:?}");
        must(
            Command::new("eu-strip")
                .arg("-f")
                .arg(&to)
                .arg("-o")
                .arg(work.0.path().join("a.stripped"))
                .arg(&from),
        );
        assert_eq!(Elf::parse(&content(&to)).unwrap().unwrap().kind, ElfKind::Other, "eu-strip {flags:?}");
    }
}

#[test]
fn names_and_paths() {
    let work = Work::new();
    let elf = work.compile(
        "gcc",
        "#include <math.h>\nint main(int c, char **v) { return sin(c); }\n",
        &["-Wl,--no-as-needed,-rpath,$ORIGIN/../lib:/opt,--enable-new-dtags", "-lm"],
    );
    assert_eq!(elf.interpreter.as_deref(), Some(&b"/lib64/ld-linux-x86-64.so.2"[..]));
    assert_eq!(elf.needed, [b"libm.so.6".to_vec(), b"libc.so.6".to_vec()]);
    assert_eq!((elf.rpath, elf.runpath), (None, Some(b"$ORIGIN/../lib:/opt".to_vec())));
    assert_eq!((elf.class, elf.endian), (Class::Elf64, Endian::Little));
    let libc = elf.version_needs.iter().find(|n| n.file == b"libc.so.6").unwrap();
    assert!(libc.versions.contains(&b"GLIBC_2.34".to_vec()));

    let elf = work.compile(
        "gcc",
        MAIN,
        &["-shared", "-fPIC", "-Wl,-soname,a.so.3,-rpath,/old,--disable-new-dtags"],
    );
    assert_eq!((elf.soname, elf.interpreter), (Some(b"a.so.3".to_vec()), None));
    assert_eq!((elf.rpath, elf.runpath), (Some(b"/old".to_vec()), None));
}

#[test]
fn libc_and_machine() {
    let work = Work::new();
    let glibc = work.compile("gcc", MAIN, &[]);
    let musl = work.compile("musl-gcc", MAIN, &[]);
    let arm = work.compile("aarch64-linux-gnu-gcc", MAIN, &[]);
    let powerpc = work.compile("powerpc-linux-gnu-gcc", MAIN, &[]);
    assert_eq!((glibc.libc(), musl.libc()), (Some(Libc::Glibc), Some(Libc::Musl)));
    assert_eq!((powerpc.class, powerpc.endian), (Class::Elf32, Endian::Big));
    assert_eq!((arm.libc(), powerpc.libc()), (Some(Libc::Glibc), Some(Libc::Glibc)));
    assert!(glibc.is_compatible(&musl) && !glibc.is_compatible(&arm) && !arm.is_compatible(&powerpc));
}

const NOTED: &str = r#"
#define NOTE(section, type, json) __asm__(".pushsection " section ",\"a\",%note\n.balign 4\n.long 4, 1f-0f, " type \
  "\n.asciz \"FDO\"\n0: .asciz \"" json "\"\n1: .balign 4\n.popsection\n")
NOTE(".note.dlopen", "0x407c0c0a", "[{\\\"soname\\\":[\\\"libfido2.so.1\\\"],\\\"feature\\\":\\\"fido\\\",\\\"priority\\\":\\\"required\\\"}]");
NOTE(".note.other-name", "0x407c0c0a", "[{\\\"soname\\\":[\\\"liba.so\\\",\\\"libb.so\\\"]}]");
NOTE(".note.broken", "0x407c0c0a", "{not json");
NOTE(".note.package", "0xcafe1a7e", "{}");
int main(void) { return 0; }
"#;

#[test]
fn dlopen_notes() {
    let work = Work::new();
    for flags in [&[][..], &["-fuse-ld=lld"], &["-s"]] {
        let elf = work.compile("gcc", NOTED, flags);
        let mut names: Vec<_> = elf.dlopen.iter().map(|n| (n.soname.concat(), n.priority)).collect();
        names.sort();
        let wanted = [
            (b"liba.solibb.so".to_vec(), Priority::Recommended),
            (b"libfido2.so.1".to_vec(), Priority::Required),
        ];
        assert_eq!(names, wanted, "{flags:?}");
        assert_eq!(elf.defects.len(), 1, "{flags:?}: {:?}", elf.defects);
    }
}

/// The reader's word on every library of the machine is readelf's.
#[test]
fn same_as_readelf() {
    let mut seen = 0;
    let mut paths: Vec<_> =
        fs::read_dir("/usr/lib/x86_64-linux-gnu").unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|p| p.is_file() && !p.is_symlink()).step_by(5).take(60) {
        let Ok(Some(elf)) = Elf::parse(&content(path)) else { continue };
        if elf.kind == ElfKind::Other {
            continue;
        }
        let out = tool(Command::new("readelf").env("LC_ALL", "C").arg("-dW").arg(path));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let of = |tag: &str| -> Vec<Vec<u8>> {
            let lines = text.lines().filter(|l| l.contains(&format!("({tag})")));
            lines.filter_map(|l| Some(l.split_once('[')?.1.rsplit_once(']')?.0.as_bytes().to_vec())).collect()
        };
        assert_eq!(elf.needed, of("NEEDED"), "{path:?}");
        assert_eq!(elf.soname, of("SONAME").pop(), "{path:?}");
        assert_eq!(elf.runpath, of("RUNPATH").pop(), "{path:?}");
        seen += 1;
    }
    assert!(seen > 10, "only {seen} libraries looked at");
}
