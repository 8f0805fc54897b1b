//! Where distributions put their loader and how they call it: an ordinary program of each runs as an extension, in a root
//! that has nothing else.
#![allow(clippy::unwrap_used)]

mod common;

use common::{run, speaker};
use elf::closure::Options;
use elf::testing::{TestRoot, p};
use flix::plan::PlanError;
use flix::{Plan, Request};
use tree::{Meta, Node, Tree};

const LOADER: &str = "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
const LIBC: &str = "/lib/x86_64-linux-gnu/libc.so.6";

fn plan(lab: &TestRoot, program: &str) -> Result<(Plan, Tree), PlanError> {
    let image = lab.tree();
    let request = Request {
        wanted: vec![program.parse().unwrap()],
        selections: Vec::new(),
        sysroot: p("/usr/lib/flix/t"),
        closure: Options::default(),
        keep_sbin: false,
        charsets: false,
        host_interpreters: false,
        elsewhere: std::collections::BTreeSet::new(),
    };
    let plan = Plan::new(&image, &request)?;
    let built = plan.build(&image).unwrap_or_else(|e| panic!("{e}"));
    Ok((plan, built))
}

/// PT_INTERP of a program of an extension.
fn interpreter(tree: &Tree, program: &str) -> String {
    let content = tree.get(&p(program)).unwrap().content().unwrap();
    let elf = elf::Elf::parse(content).unwrap().unwrap();
    String::from_utf8(elf.interpreter.unwrap()).unwrap()
}

#[test]
fn loaders_with_a_version_in_their_name() {
    // The file, and the symlinks from what programs name to it. Debian 11, Ubuntu 20.04, RHEL 8, a chain, the other way
    // round, and none at all.
    for (file, links, name) in [
        (
            "usr/lib/x86_64-linux-gnu/ld-2.31.so",
            &[
                ("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "ld-2.31.so"),
                ("usr/lib64/ld-linux-x86-64.so.2", "../lib/x86_64-linux-gnu/ld-2.31.so"),
            ][..],
            "usr/lib64/ld-linux-x86-64.so.2",
        ),
        (
            "usr/lib/x86_64-linux-gnu/ld-2.31.so",
            &[("usr/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/ld-2.31.so")],
            "usr/lib64/ld-linux-x86-64.so.2",
        ),
        (
            "usr/lib64/ld-2.28.so",
            &[("usr/lib64/ld-linux-x86-64.so.2", "ld-2.28.so")],
            "usr/lib64/ld-linux-x86-64.so.2",
        ),
        (
            "opt/glibc/ld-2.17.so",
            &[
                ("opt/glibc/current", "/opt/glibc/ld-2.17.so"),
                ("usr/lib64/ld-lsb-x86-64.so.3", "/opt/glibc/current"),
                ("usr/lib64/ld-linux-x86-64.so.2", "ld-lsb-x86-64.so.3"),
            ],
            "usr/lib64/ld-linux-x86-64.so.2",
        ),
        (
            "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            &[
                ("usr/lib/x86_64-linux-gnu/ld-2.31.so", "ld-linux-x86-64.so.2"),
                ("usr/lib64/ld-linux-x86-64.so.2", "/usr/lib/x86_64-linux-gnu/ld-2.31.so"),
            ],
            "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        ),
    ] {
        let lab = TestRoot::glibc();
        lab.copy(LOADER, file).copy(LIBC, "usr/lib/x86_64-linux-gnu/libc.so.6");
        lab.symlink("lib", "usr/lib").symlink("lib64", "usr/lib64");
        for (from, to) in links {
            lab.symlink(from, to);
        }
        lab.shared_library("usr/lib/x86_64-linux-gnu/libone.so.1", "libone.so.1", &[], &[]);
        let needs = ["usr/lib/x86_64-linux-gnu/libone.so.1"];
        // The loader is needed by name, too, as libc.so.6 and libstdc++ do.
        let flags = [&format!("-Wl,--push-state,--no-as-needed,{LOADER},--pop-state")[..]];
        speaker(&lab, "usr/bin/prog", &["libone.so.1"], &needs, &flags);
        let (_, tree) = plan(&lab, "/usr/bin/prog").unwrap();
        assert_eq!(run(&tree, &["/usr/bin/prog"]), "usr/lib/x86_64-linux-gnu/libone.so.1\n", "{file}");
        assert_eq!(interpreter(&tree, "/usr/bin/prog"), format!("/usr/lib/flix/t/{name}"));
    }
}

#[test]
fn programs_that_name_another_loader_than_the_psabi() {
    for (asked, file) in [
        ("/lib64/ld-lsb-x86-64.so.3", "lib64/ld-linux-x86-64.so.2"),
        (
            "/home/linuxbrew/.linuxbrew/lib/ld.so",
            "home/linuxbrew/.linuxbrew/Cellar/glibc/2.39/lib/ld-linux-x86-64.so.2",
        ),
        ("/usr/glibc-compat/lib/ld-linux-x86-64.so.2", "usr/glibc-compat/lib/ld-linux-x86-64.so.2"),
        ("/opt/old/ld-2.31.so", "opt/old/ld-2.31.so"),
    ] {
        let lab = TestRoot::glibc();
        lab.copy(LOADER, file).copy(LIBC, "lib/x86_64-linux-gnu/libc.so.6");
        if asked.trim_start_matches('/') != file {
            lab.symlink(asked, &format!("/{file}"));
        }
        lab.shared_library("lib/x86_64-linux-gnu/libone.so.1", "libone.so.1", &[], &[]);
        let flag = format!("-Wl,--dynamic-linker={asked}");
        speaker(&lab, "usr/bin/prog", &["libone.so.1"], &["lib/x86_64-linux-gnu/libone.so.1"], &[&flag]);
        let (_, tree) = plan(&lab, "/usr/bin/prog").unwrap();
        assert_eq!(run(&tree, &["/usr/bin/prog"]), "lib/x86_64-linux-gnu/libone.so.1\n", "{asked}");
    }
}

#[test]
fn a_store_without_a_configuration() {
    let store = |rest: &str| format!("nix/store/0c7n0000-{rest}");
    let lab = TestRoot::glibc();
    lab.copy(LOADER, &store("glibc-2.39/lib/ld-linux-x86-64.so.2"));
    lab.copy(LIBC, &store("glibc-2.39/lib/libc.so.6"));
    let own =
        |dir: &str| format!("-Wl,--enable-new-dtags,-rpath,/{}:/{}", store(dir), store("glibc-2.39/lib"));
    let (one, two) = (store("one-1.0/lib/libone.so.1"), store("two-1.0/lib/libtwo.so.2"));
    lab.shared_library(&two, "libtwo.so.2", &[], &[&own("none")]);
    lab.shared_library(&one, "libone.so.1", &[&two], &[&own("two-1.0/lib")]);
    let loader = format!("-Wl,--dynamic-linker=/{}", store("glibc-2.39/lib/ld-linux-x86-64.so.2"));
    let program = store("prog-1.0/bin/prog");
    speaker(&lab, &program, &["libone.so.1"], &[&one], &[&own("one-1.0/lib"), &loader]);
    let (plan, tree) = plan(&lab, &format!("/{program}:/usr/bin/prog")).unwrap();
    assert!(plan.entries.contains_key(&p(&format!("/usr/lib/flix/t/{two}"))));
    assert_eq!(run(&tree, &["/usr/bin/prog"]), format!("{one}\n"));
}

/// libc6-compat of Alpine: musl's loader under glibc's name.
#[test]
fn musl_under_glibcs_name_keeps_to_its_own_directories() {
    let lab = TestRoot::musl();
    lab.with_musl().symlink("lib64/ld-linux-x86-64.so.2", "../lib/ld-musl-x86_64.so.1");
    let source = "#include <dlfcn.h>\n#include <stdio.h>\nint main(void) {\n\
                  puts(dlopen(\"libprobe.so\", RTLD_NOW) ? \"the host's\" : \"none\");\n\
                  puts(dlopen(\"libone.so.1\", RTLD_NOW) ? \"one\" : \"lost\");\n}\n";
    lab.shared_library("usr/lib/libone.so.1", "libone.so.1", &[], &[]);
    let flags = ["-Wl,--dynamic-linker=/lib64/ld-linux-x86-64.so.2".to_owned()];
    lab.compile(source, &lab.path("usr/bin/prog"), &flags, &["usr/lib/libone.so.1"]);
    let (_, mut tree) = plan(&lab, "/usr/bin/prog").unwrap();
    lab.shared_library("host/libprobe.so", "libprobe.so", &[], &["-nostdlib"]);
    let probe = std::fs::read(lab.path("host/libprobe.so")).unwrap();
    tree.insert_all(p("/usr/lib/libprobe.so"), Node::file(0o755, probe), &Meta::dir()).unwrap();
    assert_eq!(run(&tree, &["/usr/bin/prog"]), "none\none\n");
    assert_eq!(interpreter(&tree, "/usr/bin/prog"), "/usr/lib/flix/t/lib64/ld-linux-x86-64.so.2");
}

/// gcompat of Alpine: a program under glibc's name that executes musl's loader.
#[test]
fn a_program_in_the_place_of_glibcs_loader_is_refused() {
    let lab = TestRoot::musl();
    let source = "int execve(const char *, char **, char **);\nint main(int c, char **v, char **e) {\n\
                  return execve(\"/lib/ld-musl-x86_64.so.1\", v, e);\n}\n";
    for flags in [&["-static"][..], &["-static-pie"]] {
        let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
        lab.compile(source, &lab.path("lib/ld-linux-x86-64.so.2"), &flags, &[]);
        lab.program("usr/bin/prog", &[], &["-Wl,--dynamic-linker=/lib/ld-linux-x86-64.so.2"]);
        let error = plan(&lab, "/usr/bin/prog").err().unwrap().to_string();
        assert_eq!(
            error,
            "/usr/bin/prog: interpreter \"/lib/ld-linux-x86-64.so.2\" is no loader, but a program that executes \
             \"/lib/ld-musl-x86_64.so.1\"",
            "{flags:?}"
        );
    }
}
