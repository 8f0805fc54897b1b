//! Programs of an extension on hosts that offer them other libraries: by LD_LIBRARY_PATH, and where the image's loader would
//! look by itself. Each runs in a root with the extension and such libraries.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use elf::closure::Options;
use elf::testing::{TestRoot, p};
use flix::{Plan, Request};
use tree::{Tree, WriteOptions};

const RUNPATH: &str = "-Wl,--enable-new-dtags";

fn build(lab: &TestRoot, words: &[&str], closure: Options) -> (Plan, Tree) {
    let request = Request {
        wanted: words.iter().map(|w| w.parse().unwrap()).collect(),
        selections: Vec::new(),
        sysroot: p("/usr/lib/flix/t"),
        closure,
        keep_sbin: false,
        charsets: false,
        host_interpreters: false,
        elsewhere: std::collections::BTreeSet::new(),
    };
    let image = lab.tree();
    let plan = Plan::new(&image, &request).unwrap_or_else(|e| panic!("{e}"));
    let built = plan.build(&image).unwrap_or_else(|e| panic!("{e}"));
    (plan, built)
}

/// A host: the extension, and folders of a lab in the places given.
struct Host(tempfile::TempDir);

impl Host {
    fn new(tree: &Tree, folders: &[(&Path, &str)]) -> Host {
        let dir = tempfile::tempdir().unwrap();
        let (written, root) = (dir.path().join("written"), dir.path().join("root"));
        std::fs::create_dir(&written).unwrap();
        _ = tree.write_dir(&written, &WriteOptions::for_caller()).unwrap();
        // A child's copies, for the reason that `place_program` gives.
        let copy = |from: &Path, to: &Path| {
            std::fs::create_dir_all(to).unwrap();
            let from = from.join(".");
            assert!(Command::new("cp").arg("-a").arg(&from).arg(to).status().unwrap().success(), "{from:?}");
        };
        copy(&written, &root);
        for (from, to) in folders {
            copy(from, &root.join(to));
        }
        Host(dir)
    }

    /// What a program says, and on which variables.
    fn run(&self, argv: &[&str], env: &[(&str, &str)]) -> String {
        let root_user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
        let mut command = match root_user {
            true => Command::new("/usr/sbin/chroot"),
            false => {
                let mut c = Command::new("/usr/bin/unshare");
                c.args(["--map-root-user", "/usr/sbin/chroot"]);
                c
            }
        };
        // Set inside: chroot and unshare are programs of the machine and would follow LD_LIBRARY_PATH.
        let env = env.iter().map(|(name, value)| format!("{name}={value}"));
        command.arg(self.0.path().join("root")).arg("/env").args(env).args(argv);
        let output = command.env_clear().output().expect("chroot; install coreutils");
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{argv:?}: {} {text}", output.status);
        text
    }
}

/// env(1) for hosts that have nothing.
fn place_env(lab: &TestRoot) {
    let source = "#include <string.h>\n#include <unistd.h>\nint main(int c, char **v) {\n\
        int i = 1; while (v[i] && strchr(v[i], '=')) i++;\n\
        char *p = v[i], *env[64] = { 0 }; for (int j = 1; j < i; j++) env[j - 1] = v[j];\n\
        execve(p, v + i, env); return 127; }\n";
    lab.compile(source, &lab.path("env/env"), &["-static".to_owned()], &[]);
}

/// Prints what two libraries say, then what those say that it is to open.
const OPENER: &str = "#include <dlfcn.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n\
    const char *f_libone_so_1(void);\n\
    int main(int c, char **v) {\n\
        if (c > 2 && !getenv(\"AGAIN\")) {\n\
            setenv(\"AGAIN\", \"1\", 1); setenv(\"LD_LIBRARY_PATH\", v[2], 1); execv(v[0], v); return 9; }\n\
        puts(f_libone_so_1());\n\
        if (c > 1) {\n\
            void *l = dlopen(v[1], RTLD_NOW); if (!l) { puts(dlerror()); return 0; }\n\
            const char *(*f)(void) = dlsym(l, \"say\"); puts(f()); }\n\
        return 0; }\n";

/// A library whose `say` is what a function of another one says.
fn caller(lab: &TestRoot, relative: &str, soname: &str, function: &str, needs: &[&str], flags: &[&str]) {
    let source = format!("const char *{function}(void);\nconst char *say(void) {{ return {function}(); }}\n");
    let mut args = vec!["-shared".to_owned(), "-fPIC".to_owned(), format!("-Wl,-soname,{soname}")];
    args.extend(flags.iter().map(|f| (*f).to_owned()));
    lab.compile(&source, &lab.path(relative), &args, needs);
}

/// An image whose program needs a library that needs another, and what else is there: `host` with other libraries of
/// those names, `unpacked` with libraries that nobody relocates.
fn image(lab: &TestRoot, lib: &str) {
    lab.shared_library(&format!("{lib}/libtwo.so.1"), "libtwo.so.1", &[], &[]);
    let source =
        "const char *f_libtwo_so_1(void);\nconst char *f_libone_so_1(void) { return f_libtwo_so_1(); }\n";
    let args = ["-shared", "-fPIC", "-Wl,-soname,libone.so.1"].map(str::to_owned);
    lab.compile(source, &lab.path(&format!("{lib}/libone.so.1")), &args, &[&format!("{lib}/libtwo.so.1")]);
    let flags = [RUNPATH.to_owned(), format!("-Wl,-rpath,/{lib}")];
    lab.compile(OPENER, &lab.path("usr/bin/prog"), &flags, &[&format!("{lib}/libone.so.1")]);
    lab.shared_library("host/libone.so.1", "libone.so.1", &[], &[]);
    lab.shared_library("host/libtwo.so.1", "libtwo.so.1", &[], &[]);
    lab.shared_library("host/libthree.so.1", "libthree.so.1", &[], &[]);
    lab.shared_library("unpacked/libown.so", "libown.so", &[], &[]);
    caller(lab, "unpacked/own.so", "own.so", "f_libown_so", &["unpacked/libown.so"], &[]);
    caller(lab, "unpacked/two.so", "two.so", "f_libtwo_so_1", &[&format!("{lib}/libtwo.so.1")], &[]);
    place_env(lab);
}

#[test]
fn the_hosts_library_path_comes_after_the_extensions_own() {
    let lab = TestRoot::glibc();
    lab.with_glibc();
    let lib = "usr/lib/x86_64-linux-gnu";
    image(&lab, lib);
    // No C library at all, under the name of one.
    lab.shared_library("host/libc.so.6", "libc.so.6", &[], &["-nostdlib"]);
    caller(&lab, "unpacked/three.so", "three.so", "f_libthree_so_1", &["host/libthree.so.1"], &[]);
    let path = [RUNPATH, "-Wl,-rpath,/nowhere"];
    caller(&lab, "unpacked/path.so", "path.so", "f_libthree_so_1", &["host/libthree.so.1"], &path);
    let (plan, tree) = build(&lab, &["/usr/bin/prog"], Options::default());
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    let folders = [
        (lab.path("env"), ""),
        (lab.path("host"), "host"),
        (lab.path("unpacked"), "unpacked"),
        // Where the image's loader looks by itself.
        (lab.path("host"), "lib/x86_64-linux-gnu"),
        (lab.path("host"), "usr/lib/x86_64-linux-gnu"),
    ];
    let folders: Vec<(&Path, &str)> = folders.iter().map(|(a, b)| (a.as_path(), *b)).collect();
    let host = Host::new(&tree, &folders);
    let prog = "/usr/bin/prog";
    let own = format!("{lib}/libtwo.so.1\n");
    for env in [&[][..], &[("LD_LIBRARY_PATH", "/host")], &[("LD_LIBRARY_PATH", "/host:/unpacked")]] {
        assert_eq!(host.run(&[prog], env), own);
        // Libraries that a program unpacks find those of the extension first, whatever else there is.
        assert_eq!(host.run(&[prog, "/unpacked/two.so"], env), format!("{own}{own}"));
        assert_eq!(
            host.run(&[prog, "/unpacked/own.so", "/unpacked:/host"], env),
            format!("{own}unpacked/libown.so\n")
        );
    }
    // Nor does one that isn't relocated find what the host has at the usual places.
    for plugin in ["three", "path"] {
        let said = host.run(&[prog, &format!("/unpacked/{plugin}.so")], &[]);
        assert!(said.contains("libthree.so.1: cannot open shared object file"), "{plugin}: {said}");
    }
}

#[test]
fn musls_loader_reads_a_variable_that_no_host_sets() {
    let lab = TestRoot::musl();
    lab.with_musl();
    image(&lab, "usr/lib");
    let (plan, tree) = build(&lab, &["/usr/bin/prog"], Options::default());
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    let host = Host::new(
        &tree,
        &[(&lab.path("env"), ""), (&lab.path("host"), "host"), (&lab.path("unpacked"), "unpacked")],
    );
    let prog = "/usr/bin/prog";
    let own = "usr/lib/libtwo.so.1\n";
    for env in [&[][..], &[("LD_LIBRARY_PATH", "/host")], &[("LD_LIBRARY_PATH", "/host:/unpacked")]] {
        assert_eq!(host.run(&[prog], env), own);
        assert_eq!(host.run(&[prog, "/unpacked/two.so"], env), format!("{own}{own}"));
        // It starts itself again with the variable set, as programs do that have unpacked their libraries.
        assert_eq!(
            host.run(&[prog, "/unpacked/own.so", "/unpacked"], env),
            format!("{own}unpacked/libown.so\n")
        );
    }
}

#[test]
fn a_musl_loader_without_the_variable_is_told_of() {
    let lab = TestRoot::musl();
    lab.with_musl().program("usr/bin/prog", &[], &[]);
    let loader = lab.path("lib/ld-musl-x86_64.so.1");
    let mut bytes = std::fs::read(&loader).unwrap();
    let name = b"\0LD_LIBRARY_PATH\0";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap();
    bytes[at + 1] = b'X';
    elf::testing::place_program(&loader, &bytes);
    let (plan, _) = build(&lab, &["/usr/bin/prog"], Options::default());
    let expected = "/lib/ld-musl-x86_64.so.1: has no LD_LIBRARY_PATH to switch off; where the host sets it, the host's \
                    libraries come first";
    assert_eq!(plan.warnings, [expected]);
}

/// As PyInstaller's programs: data in the file, from which they unpack libraries, which need the image's glibc.
#[test]
fn what_a_program_unpacks_finds_the_rest_of_glibc() {
    let lab = || {
        let lab = TestRoot::glibc();
        lab.with_glibc().copy("/lib/x86_64-linux-gnu/libm.so.6", "lib/x86_64-linux-gnu/libm.so.6");
        image(&lab, "usr/lib/x86_64-linux-gnu");
        lab
    };
    for section in [false, true] {
        let lab = lab();
        let source = "#include <math.h>\nvolatile double x = 0;\n\
            const char *say(void) { return cos(x) == 1 ? \"one\" : \"wrong\"; }\n";
        // With a search path of its own, as Python's are: the program's doesn't count then.
        for (name, path) in [("math", RUNPATH), ("path", "-Wl,-rpath,/nowhere")] {
            let args = ["-shared", "-fPIC", RUNPATH, path, "-lm"].map(str::to_owned);
            lab.compile(source, &lab.path(&format!("unpacked/{name}.so")), &args, &[]);
        }
        // No libm at all, under the name of one.
        lab.shared_library("other/libm.so.6", "libm.so.6", &[], &["-nostdlib"]);
        let prog = lab.path("usr/bin/prog");
        let payload = vec![b'p'; 8 << 10];
        if section {
            lab.write("payload", &payload);
            let add = format!("pydata={}", lab.path("payload").display());
            let status = Command::new("objcopy").args(["--add-section", &add]).arg(&prog).status();
            assert!(status.expect("objcopy; install binutils").success());
        } else {
            let bytes = [std::fs::read(&prog).unwrap(), payload.clone()].concat();
            elf::testing::place_program(&prog, &bytes);
        }
        let (plan, tree) = build(&lab, &["/usr/bin/prog"], Options::default());
        let note = "/usr/bin/prog: carries data and opens libraries, perhaps out of it: all of glibc is included for them";
        assert!(plan.notes.iter().any(|n| n == note), "section {section}: {:?}", plan.notes);
        let content = tree.get(&p("/usr/bin/prog")).unwrap().content().unwrap().read(1 << 30).unwrap();
        assert!(content.windows(payload.len()).any(|w| w == payload));
        assert!(section || content.ends_with(&payload));
        let (unpacked, other) = (lab.path("unpacked"), lab.path("other"));
        let folders = [
            (lab.path("env"), ""),
            (unpacked, "unpacked"),
            (other.clone(), "other"),
            (other, "lib/x86_64-linux-gnu"),
        ];
        let folders: Vec<(&Path, &str)> = folders.iter().map(|(a, b)| (a.as_path(), *b)).collect();
        let host = Host::new(&tree, &folders);
        for env in [&[][..], &[("LD_LIBRARY_PATH", "/other")]] {
            for name in ["math", "path"] {
                let library = format!("/unpacked/{name}.so");
                let said = host.run(&["/usr/bin/prog", &library, "/unpacked:/other"], env);
                assert!(said.ends_with("\none\n"), "{name}, section {section}: {said}");
            }
        }
    }
    let (plan, _) = build(&lab(), &["/usr/bin/prog"], Options::default());
    assert!(!plan.entries.keys().any(|p| p.file_name() == Some(b"libm.so.6")), "only where there is data");
}
