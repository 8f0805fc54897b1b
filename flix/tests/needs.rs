//! Libraries that no search path of a file leads to, in each way that there is to ask for them. What a program says in the
//! image (run in a chroot of it) it has to say in the extension.
#![allow(clippy::unwrap_used)]

mod common;

use common::{run, speaker};
use elf::closure::Options;
use elf::testing::{TestRoot, p};
use flix::plan::PlanError;
use flix::{Plan, Request};
use tree::Tree;

const RPATH: &str = "-Wl,--disable-new-dtags";
const RUNPATH: &str = "-Wl,--enable-new-dtags";

fn try_plan(lab: &TestRoot, wanted: &[&str], closure: Options) -> Result<(Plan, Tree), PlanError> {
    let image = lab.tree();
    let request = Request {
        wanted: wanted.iter().map(|w| w.parse().unwrap()).collect(),
        selections: Vec::new(),
        sysroot: p("/usr/lib/flix/t"),
        closure,
        keep_sbin: false,
        charsets: false,
        host_interpreters: false,
        elsewhere: std::collections::BTreeSet::new(),
    };
    let plan = Plan::new(&image, &request)?;
    let built = plan.build(&image).unwrap_or_else(|e| panic!("{e}"));
    Ok((plan, built))
}

fn plan(lab: &TestRoot, wanted: &[&str], closure: Options) -> (Plan, Tree) {
    try_plan(lab, wanted, closure).unwrap_or_else(|e| panic!("{e}"))
}

fn extra(libs: &[&str], allow_missing: bool) -> Options {
    Options {
        extra_libs: libs.iter().map(|l| l.parse().unwrap()).collect(),
        allow_missing,
        ..Options::default()
    }
}

/// Compiles a program or library from its source.
fn build(lab: &TestRoot, out: &str, source: &str, flags: &[&str], needs: &[&str]) {
    let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
    lab.compile(source, &lab.path(out), &flags, needs);
}

const SAYS: &str = "#include <stdio.h>\nint f(void);\nint main(void) { printf(\"%d\\n\", f()); return 0; }\n";

fn f(value: u8) -> String {
    format!("int f(void) {{ return {value}; }}\n")
}

fn root_with_libc(musl: bool) -> TestRoot {
    let root = if musl { TestRoot::musl() } else { TestRoot::glibc() };
    match musl {
        true => root.with_musl(),
        false => root.with_glibc(),
    };
    root
}

#[test]
fn an_extra_library_stands_in_for_a_needed_name() {
    for musl in [false, true] {
        let lab = root_with_libc(musl);
        // The file has another name than its SONAME, and needs a neighbour that isn't in the search path either.
        lab.shared_library("opt/v/lib/libtwo.so", "libtwo.so", &[], &[]);
        let source =
            "const char *f_libtwo_so(void);\nconst char *f_libone_so_1(void) { return f_libtwo_so(); }\n";
        let flags = ["-shared", "-fPIC", "-Wl,-soname,libone.so.1"];
        build(&lab, "opt/v/lib/libone-1.2.so", source, &flags, &["opt/v/lib/libtwo.so"]);
        speaker(&lab, "usr/bin/prog", &["libone.so.1"], &["opt/v/lib/libone-1.2.so"], &[]);
        let error = try_plan(&lab, &["/usr/bin/prog"], Options::default()).err().unwrap().to_string();
        assert_eq!(error, "libone.so.1: not in the image, needed by /usr/bin/prog");
        for (libs, allow_missing) in [
            (&["/opt/v/lib"][..], false),
            (&["/opt/v/lib"], true),
            (&["/opt/v/lib/libone-1.2.so", "/opt/v/lib/libtwo.so"], false),
            (&["/opt/v/lib/libone-1.2.so", "libtwo.so"], false),
        ] {
            let (_, tree) = plan(&lab, &["/usr/bin/prog"], extra(libs, allow_missing));
            assert_eq!(run(&tree, &["/usr/bin/prog"]), "opt/v/lib/libtwo.so\n", "{libs:?} {musl}");
        }
    }
}

#[test]
fn a_name_of_several_libraries_has_to_be_a_path() {
    let lab = TestRoot::glibc();
    lab.with_glibc().program("usr/bin/prog", &[], &[]);
    for dir in ["opt/a", "opt/b"] {
        lab.shared_library(&format!("{dir}/libx.so"), "libx.so", &[], &[]);
    }
    let error = try_plan(&lab, &["/usr/bin/prog"], extra(&["libx.so"], false)).err().unwrap().to_string();
    let expected =
        "extra library \"libx.so\" is in several places of the image: /opt/a/libx.so, /opt/b/libx.so";
    assert_eq!(error, expected);
}

/// A JDK's: libjava.so needs libjvm.so, which the launcher opens by its path, from a directory that nobody searches.
#[test]
fn a_library_of_a_wanted_folder_stands_in() {
    for (musl, wanted) in [(false, "/opt/jdk"), (false, "/opt/jdk:/usr/lib/jdk"), (true, "/opt/jdk")] {
        let lab = root_with_libc(musl);
        lab.shared_library("opt/jdk/lib/server/libjvm.so", "libjvm.so", &[], &[]);
        let source =
            "const char *f_libjvm_so(void);\nconst char *f_libjava_so(void) { return f_libjvm_so(); }\n";
        let flags = ["-shared", "-fPIC", "-Wl,-soname,libjava.so"];
        build(&lab, "opt/jdk/lib/libjava.so", source, &flags, &["opt/jdk/lib/server/libjvm.so"]);
        let source = "#include <dlfcn.h>\n#include <stdio.h>\n#include <string.h>\n\
            static void *at(const char *self, const char *rest) {\n\
              char path[999]; strcpy(path, self); *strrchr(path, '/') = 0; strcat(path, rest);\n\
              void *lib = dlopen(path, RTLD_NOW | RTLD_GLOBAL); if (!lib) puts(dlerror()); return lib; }\n\
            int main(int c, char **v) {\n\
              at(v[0], \"/../lib/server/libjvm.so\");\n\
              void *java = at(v[0], \"/../lib/libjava.so\");\n\
              const char *(*f)(void) = java ? dlsym(java, \"f_libjava_so\") : 0;\n\
              puts(f ? f() : \"nothing\"); return 0; }\n";
        build(&lab, "opt/jdk/bin/java", source, &[], &[]);
        let (plan, tree) = plan(&lab, &[wanted], Options::default());
        let home = wanted.rsplit(':').next().unwrap();
        let said = run(&tree, &[&format!("{home}/bin/java")]);
        assert_eq!(said, "opt/jdk/lib/server/libjvm.so\n", "{wanted} {musl}");
        assert!(plan.warnings.is_empty() && plan.opened.is_empty(), "{:?} {:?}", plan.warnings, plan.opened);
    }
}

#[test]
fn what_may_be_missing_is_no_defect() {
    // liba finds libx where only it looks; libb lacks it.
    for musl in [false, true] {
        let lab = root_with_libc(musl);
        lab.shared_library("opt/x/libx.so", "libx.so", &[], &[]);
        lab.shared_library("usr/lib/libb.so", "libb.so", &["opt/x/libx.so"], &[]);
        lab.shared_library("opt/a/liba.so", "liba.so", &["opt/x/libx.so"], &[RUNPATH, "-Wl,-rpath,/opt/x"]);
        build(&lab, "usr/bin/one", "int main(void) { return 0; }", &[], &["usr/lib/libb.so"]);
        let path = [RUNPATH, "-Wl,-rpath,/opt/a"];
        build(&lab, "usr/bin/two", "int main(void) { return 0; }", &path, &["opt/a/liba.so"]);
        let (got, _) = plan(&lab, &["/usr/bin/one", "/usr/bin/two"], extra(&[], true));
        assert_eq!(got.missing.len(), 1);
        assert!(try_plan(&lab, &["/usr/bin/one"], Options::default()).is_err());
    }
}

#[test]
fn a_library_needed_by_its_path_is_led_to() {
    for (needed, file) in [
        ("/opt/v/lib/libvendor.so", "opt/v/lib/libvendor.so"),
        ("$ORIGIN/../lib/libvendor.so", "opt/v/lib/libvendor.so"),
        ("${ORIGIN}/libvendor.so", "opt/v/bin/libvendor.so"),
        // Depends on the working directory: what the user names stands in.
        ("build/lib/libvendor.so", "opt/v/lib/libvendor.so"),
    ] {
        let lab = TestRoot::glibc();
        lab.with_glibc();
        // With versions: the file that has them is named in DT_VERNEED, too. The decoy has the same name.
        lab.write("map", "V1 { global: f; local: *; };");
        let map = format!("-Wl,--version-script={}", lab.path("map").display());
        build(&lab, "usr/lib/libvendor.so", &f(1), &["-shared", "-fPIC", &map], &[]);
        // Without a SONAME of its own a library is known by the path that the linker was given: here the one needed.
        let soname = format!("-Wl,-soname,{needed}");
        build(&lab, "soname.so", &f(0), &["-shared", "-fPIC", &map, &soname], &[]);
        build(&lab, file, &f(42), &["-shared", "-fPIC", &map], &[]);
        // A second library asks for it by the same words, which mean the same file only for the program.
        build(&lab, "opt/v/bin/prog", SAYS, &[], &["soname.so"]);
        std::fs::remove_file(lab.path("soname.so")).unwrap();
        let options = extra(if needed.starts_with("build") { &["/opt/v/lib"] } else { &[] }, false);
        let (got, tree) = plan(&lab, &["/opt/v/bin/prog:/usr/bin/prog"], options);
        assert_eq!(run(&tree, &["/usr/bin/prog"]), "42\n", "{needed}\n{got}");
        let content = tree.get(&p("/usr/bin/prog")).unwrap().content().unwrap();
        let elf = elf::Elf::parse(content).unwrap().unwrap();
        let path = format!("/usr/lib/flix/t/{file}").into_bytes();
        assert!(elf.needed.contains(&path) && elf.version_needs.iter().any(|v| v.file == path), "{elf:?}");
        assert!(got.warnings.is_empty(), "{:?}", got.warnings);
    }
    let lab = TestRoot::glibc();
    lab.with_glibc();
    build(&lab, "x.so", &f(0), &["-shared", "-fPIC", "-Wl,-soname,/opt/gone/x.so"], &[]);
    build(&lab, "usr/bin/prog", SAYS, &[], &["x.so"]);
    let error = try_plan(&lab, &["/usr/bin/prog"], Options::default()).err().unwrap().to_string();
    assert_eq!(error, "/opt/gone/x.so: not in the image, needed by /usr/bin/prog");
}

#[test]
fn the_same_words_lead_each_file_to_its_own_library() {
    let lab = TestRoot::glibc();
    lab.with_glibc();
    for (dir, value) in [("one", 1), ("two", 20)] {
        let soname = "-Wl,-soname,$ORIGIN/libown.so";
        let source = format!("int own_{dir}(void) {{ return {value}; }}\n");
        build(&lab, &format!("opt/{dir}/libown.so"), &source, &["-shared", "-fPIC", soname], &[]);
        let source = format!("int own_{dir}(void);\nint f_{dir}(void) {{ return own_{dir}(); }}\n");
        let name = format!("-Wl,-soname,lib{dir}.so");
        let own = format!("opt/{dir}/libown.so");
        build(&lab, &format!("opt/{dir}/lib{dir}.so"), &source, &["-shared", "-fPIC", &name], &[&own]);
        // As it is on real systems: no SONAME with a token in it.
        build(
            &lab,
            &own,
            &format!("int own_{dir}(void) {{ return {value}; }}\n"),
            &["-shared", "-fPIC"],
            &[],
        );
    }
    let source = "#include <stdio.h>\nint f_one(void), f_two(void);\n\
                  int main(void) { printf(\"%d\\n\", f_one() + f_two()); return 0; }\n";
    let needs = ["opt/one/libone.so", "opt/two/libtwo.so"];
    build(&lab, "usr/bin/prog", source, &[RUNPATH, "-Wl,-rpath,/opt/one:/opt/two"], &needs);
    assert_eq!(run(&lab.tree(), &["/usr/bin/prog"]), "21\n");
    let (_, tree) = plan(&lab, &["/usr/bin/prog"], Options::default());
    assert_eq!(run(&tree, &["/usr/bin/prog"]), "21\n");
}

#[test]
fn musl_opens_a_path_and_fills_in_nothing() {
    let lab = TestRoot::musl();
    lab.with_musl();
    build(&lab, "opt/v/libv.so", &f(42), &["-shared", "-fPIC", "-Wl,-soname,/opt/v/libv.so"], &[]);
    build(&lab, "usr/bin/prog", SAYS, &[], &["opt/v/libv.so"]);
    let (_, tree) = plan(&lab, &["/usr/bin/prog"], Options::default());
    assert_eq!(run(&tree, &["/usr/bin/prog"]), "42\n");
    build(&lab, "x.so", &f(0), &["-shared", "-fPIC", "-Wl,-soname,$ORIGIN/../v/libv.so"], &[]);
    build(&lab, "opt/bin/prog", SAYS, &[], &["x.so"]);
    assert!(try_plan(&lab, &["/opt/bin/prog:/usr/bin/prog"], Options::default()).is_err());
}

#[test]
fn filter_libraries_do_what_they_do_in_the_image() {
    for (flag, there, says) in [
        ("-F", true, Some("42\n")),
        ("-f", true, Some("42\n")),
        ("-f", false, Some("1\n")),
        ("-F", false, None),
    ] {
        let lab = TestRoot::glibc();
        lab.with_glibc();
        if there {
            let name = "-Wl,-soname,libreal.so.1";
            build(&lab, "opt/real/libreal.so.1", &f(42), &["-shared", "-fPIC", name], &[]);
        }
        let filter = format!("-Wl,{flag},libreal.so.1");
        let flags =
            ["-shared", "-fPIC", "-Wl,-soname,libstub.so.1", &filter, RUNPATH, "-Wl,-rpath,/opt/real"];
        build(&lab, "usr/lib/libstub.so.1", &f(1), &flags, &[]);
        build(&lab, "usr/bin/prog", SAYS, &[], &["usr/lib/libstub.so.1"]);
        match (try_plan(&lab, &["/usr/bin/prog"], Options::default()), says) {
            (Ok((_, tree)), Some(says)) => {
                assert_eq!(run(&lab.tree(), &["/usr/bin/prog"]), says, "{flag} in the image");
                assert_eq!(run(&tree, &["/usr/bin/prog"]), says, "{flag} in the extension");
            }
            (Err(e), None) => {
                let chain = "needed by /usr/lib/libstub.so.1, needed by /usr/bin/prog";
                assert_eq!(e.to_string(), format!("libreal.so.1: not in the image, {chain}"));
            }
            (got, _) => panic!("{flag} {there}: {:?}", got.map(|(plan, _)| plan.to_string())),
        }
    }
    // By a path, as libglvnd's vendors may; and musl, which knows no filters.
    let lab = TestRoot::glibc();
    lab.with_glibc();
    build(&lab, "opt/real/libreal.so", &f(42), &["-shared", "-fPIC"], &[]);
    let flags = ["-shared", "-fPIC", "-Wl,-soname,libstub.so.1", "-Wl,-f,/opt/real/libreal.so"];
    build(&lab, "usr/lib/libstub.so.1", &f(1), &flags, &[]);
    build(&lab, "usr/bin/prog", SAYS, &[], &["usr/lib/libstub.so.1"]);
    let (_, tree) = plan(&lab, &["/usr/bin/prog"], Options::default());
    assert_eq!(run(&tree, &["/usr/bin/prog"]), "42\n");
    let lab = TestRoot::musl();
    lab.with_musl();
    let flags = ["-shared", "-fPIC", "-Wl,-soname,libstub.so.1", "-Wl,-F,libgone.so"];
    build(&lab, "usr/lib/libstub.so.1", &f(1), &flags, &[]);
    build(&lab, "usr/bin/prog", SAYS, &[], &["usr/lib/libstub.so.1"]);
    let (_, tree) = plan(&lab, &["/usr/bin/prog"], Options::default());
    assert_eq!(run(&tree, &["/usr/bin/prog"]), "1\n");
}

#[test]
fn the_images_library_path_has_its_place() {
    // glibc: after DT_RPATH, before DT_RUNPATH and the usual directories. musl: before all.
    for (musl, tags, expected) in [
        (false, RPATH, "opt/own/libone.so\n"),
        (false, RUNPATH, "opt/path/libone.so\n"),
        (true, RPATH, "opt/path/libone.so\n"),
        (true, RUNPATH, "opt/path/libone.so\n"),
    ] {
        let lab = root_with_libc(musl);
        for dir in ["opt/own", "opt/path", "usr/lib"] {
            lab.shared_library(&format!("{dir}/libone.so"), "libone.so", &[], &[]);
        }
        let needs = ["opt/own/libone.so"];
        speaker(&lab, "usr/bin/prog", &["libone.so"], &needs, &[tags, "-Wl,-rpath,/opt/own"]);
        speaker(&lab, "usr/bin/bare", &["libone.so"], &needs, &[]);
        let environment =
            ["LD_LIBRARY_PATH=/gone".to_owned(), "LD_LIBRARY_PATH=/opt/gone:/opt/path".to_owned()];
        let options =
            || Options { ld_library_path: elf::closure::ld_library_path(&environment), ..Options::default() };
        let (_, tree) = plan(&lab, &["/usr/bin/prog"], options());
        assert_eq!(run(&tree, &["/usr/bin/prog"]), expected, "{musl} {tags}");
        let (_, tree) = plan(&lab, &["/usr/bin/bare"], options());
        assert_eq!(run(&tree, &["/usr/bin/bare"]), "opt/path/libone.so\n", "{musl}");
    }
}

#[test]
fn libraries_that_are_opened_by_their_path_are_told() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("usr/lib/app/plugin.so", "plugin.so", &[], &[]);
    lab.shared_library("opt/path/libby-name.so", "libby-name.so", &[], &[]).write("usr/lib/app/text.so", "x");
    let source = "#include <dlfcn.h>\n#include <stdio.h>\nconst char *other = \"/usr/lib/app/text.so\";\n\
                  int main(void) { puts(dlopen(\"/usr/lib/app/plugin.so\", RTLD_NOW) ? \"there\" : \"gone\"); }\n";
    build(&lab, "usr/bin/prog", source, &[], &[]);
    let path = || Options { ld_library_path: b"/opt/path:/opt/none".to_vec(), ..Options::default() };
    let (got, _) = plan(&lab, &["/usr/bin/prog"], path());
    let told: Vec<String> = got.opened.iter().map(ToString::to_string).collect();
    let expected =
        "/usr/bin/prog: may open /usr/lib/app/plugin.so by its path, where the extension has nothing";
    assert_eq!(told, [expected]);
    assert_eq!(got.unseen.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/opt/path"]);
    let options = Options { extra_libs: vec!["/opt/path".parse().unwrap()], ..path() };
    let (got, tree) = plan(&lab, &["/usr/bin/prog", "/usr/lib/app/plugin.so"], options);
    assert_eq!(run(&tree, &["/usr/bin/prog"]), "there\n");
    assert!(got.opened.is_empty() && got.unseen.is_empty(), "{:?} {:?}", got.opened, got.unseen);
}

/// A program with these strings in its data.
fn with_strings(lab: &TestRoot, out: &str, strings: &[&str]) {
    let list: Vec<String> = strings.iter().map(|s| format!("\"{s}\"")).collect();
    let source = format!(
        "#include <stdio.h>\nstatic const char *const all[] = {{ {} }};\n\
         int main(int c, char **v) {{ puts(all[c - 1]); return 0; }}\n",
        list.join(", ")
    );
    build(lab, out, &source, &[], &[]);
}

/// What a plan says that programs look for: `PROGRAM KIND PATHS`, in parentheses what isn't likely to be missed.
fn unbundled(lab: &TestRoot, wanted: &[&str]) -> Vec<String> {
    let (plan, _) = plan(lab, wanted, Options::default());
    let show = |u: &flix::plan::Unbundled| {
        let paths: Vec<String> = u.paths.iter().map(ToString::to_string).collect();
        let text = format!("{} {:?} {}", u.by, u.kind, paths.join(" "));
        if u.is_likely { text } else { format!("({text})") }
    };
    plan.unbundled.iter().map(show).collect()
}

#[test]
fn what_a_program_looks_for_is_found_unless_it_is_included() {
    for musl in [false, true] {
        let lab = root_with_libc(musl);
        with_strings(
            &lab,
            "usr/bin/app",
            &[
                "/usr/share/app/%s.txt",
                "/usr/lib/app/plugins:/usr/share/nowhere",
                "/usr/bin/helper --now",
                "/etc/app/main.conf",
                "/etc/app.conf",
                "/etc/hosts",
                "/bin/sh",
                "/usr/bin/vi",
                "/usr/share/locale",
                "/usr/share/zoneinfo",
                "see /usr/share/other for more",
            ],
        );
        for file in ["app/a.txt", "app/b.txt", "locale/de/app.mo", "zoneinfo/UTC", "other/x"] {
            lab.write(&format!("usr/share/{file}"), "x");
        }
        lab.write("usr/lib/app/plugins/list", "x");
        for file in ["app/main.conf", "app.conf", "hosts"] {
            lab.write(&format!("etc/{file}"), "x");
        }
        lab.script("usr/bin/helper", "x").script("bin/sh", "x").script("usr/bin/vi", "x");
        let app = "/usr/bin/app";
        let zones = "/usr/bin/app Family(\"time zones, where the host has none\") /usr/share/zoneinfo";
        assert_eq!(
            unbundled(&lab, &[app]),
            [
                "/usr/bin/app Data /usr/lib/app/plugins /usr/share/app",
                "(/usr/bin/app Programs /usr/bin/vi)",
                "/usr/bin/app Programs /usr/bin/helper",
                "(/usr/bin/app Configuration /etc/app/main.conf /etc/app.conf)",
                zones,
            ],
            "{musl}"
        );
        let named = ["/usr/lib/app/plugins/list", "/usr/bin/helper", "/usr/bin/vi"];
        let config = "(/usr/bin/app Configuration /etc/app/main.conf /etc/app.conf)";
        for (files, expected) in [
            (&["/usr/share/app/a.txt"][..], &["/usr/bin/app Data /usr/share/app", config, zones][..]),
            (&["/usr/share/app/a.txt", "/usr/share/app/b.txt"], &[config, zones]),
        ] {
            let wanted = [&[app][..], &named, files].concat();
            assert_eq!(unbundled(&lab, &wanted), expected, "{musl} {files:?}");
        }
        let all = [app, "/usr/share/app", "/usr/lib/app", "/usr/bin/helper", "/usr/bin/vi"];
        assert_eq!(
            unbundled(&lab, &all),
            ["(/usr/bin/app Configuration /etc/app/main.conf /etc/app.conf)", zones],
            "{musl}"
        );
    }
}

#[test]
fn folders_that_no_path_names_are_found() {
    let lab = TestRoot::glibc();
    lab.with_glibc();
    with_strings(&lab, "usr/bin/snake", &["PYTHONUNBUFFERED", "HOME"]);
    with_strings(&lab, "usr/lib/jvm/17/bin/java", &["x"]);
    lab.write("usr/lib/python3.11/os.py", "x");
    lab.write("usr/lib/jvm/17/lib/modules", "x");
    lab.write("usr/lib/jvm/17/docs/index", "x");
    lab.write("usr/lib/pythonic/x", "x");
    with_strings(&lab, "usr/lib/librustc_driver-1a2b.so", &["x"]);
    lab.write("usr/lib/rustlib/x/lib/std.rlib", "x");
    let rust = "/usr/lib/librustc_driver-1a2b.so Family(\"Rust's standard library\") /usr/lib/rustlib";
    assert_eq!(unbundled(&lab, &["/usr/lib/librustc_driver-1a2b.so"]), [rust]);
    let python = "/usr/bin/snake Family(\"the standard library of Python\") /usr/lib/python3.11";
    assert_eq!(unbundled(&lab, &["/usr/bin/snake"]), [python]);
    assert_eq!(unbundled(&lab, &["/usr/bin/snake", "/usr/lib/python3.11"]), [""; 0]);
    let java = "/usr/lib/jvm/17/bin/java Siblings /usr/lib/jvm/17/lib";
    assert_eq!(unbundled(&lab, &["/usr/lib/jvm/17/bin/java"]), [java]);
    assert_eq!(unbundled(&lab, &["/usr/lib/jvm/17"]), [""; 0]);
}

/// As libpci's list of names, which distributions pack or don't.
#[test]
fn what_is_looked_for_packed_is_found_unpacked() {
    let lab = TestRoot::glibc();
    lab.with_glibc();
    with_strings(&lab, "usr/bin/app", &["/usr/share/misc/names.gz", "/usr/share/misc/packed.xz"]);
    lab.write("usr/share/misc/names", "x").write("usr/share/misc/packed.xz", "x");
    lab.write("usr/share/misc/packed", "x");
    let expected = "/usr/bin/app Data /usr/share/misc/names /usr/share/misc/packed.xz";
    assert_eq!(unbundled(&lab, &["/usr/bin/app"]), [expected]);
}

#[test]
fn a_script_names_what_it_runs_and_reads() {
    let lab = TestRoot::glibc();
    lab.with_glibc();
    with_strings(&lab, "usr/bin/sh", &["x"]);
    lab.script(
        "usr/bin/tool",
        "#!/bin/sh\n# /usr/share/comment\n. /usr/share/tool/lib.sh\nif helper -x; then cat y | other; fi\n",
    );
    lab.symlink("bin", "usr/bin");
    lab.script("usr/bin/helper", "x").script("usr/bin/other", "x").script("usr/bin/cat", "x");
    lab.write("usr/share/tool/lib.sh", "x");
    lab.write("usr/share/comment", "x");
    assert_eq!(
        unbundled(&lab, &["/usr/bin/tool", "/usr/bin/sh"]),
        [
            "/usr/bin/tool Data /usr/share/tool/lib.sh",
            "(/usr/bin/tool Programs /usr/bin/helper /usr/bin/other)",
        ]
    );
}

/// An image where /bin isn't merged with /usr/bin.
#[test]
fn programs_of_hosts_are_known_in_a_real_bin() {
    let lab = TestRoot::glibc();
    lab.with_glibc();
    lab.script("usr/bin/tool", "#!/bin/sh\ncat x | other\n");
    lab.script("bin/sh", "x").script("bin/cat", "x").script("bin/other", "x");
    let expected = ["(/usr/bin/tool Programs /usr/bin/other)"];
    assert_eq!(unbundled(&lab, &["/usr/bin/tool", "/bin/sh"]), expected);
}

/// A library of this SONAME with a string, and a program that prints the string.
fn library_with_string(lab: &TestRoot, soname: &str, string: &str) {
    let path = format!("usr/lib/x86_64-linux-gnu/{soname}");
    let source = format!(
        "const char *said(void) {{ return \"{}\"; }}\n",
        string.replace('"', "\\\"").replace('\0', "\\0")
    );
    build(lab, &path, &source, &["-shared", "-fPIC", &format!("-Wl,-soname,{soname}")], &[]);
    let source = "#include <stdio.h>\nconst char *said(void);\nint main(void) { puts(said()); return 0; }\n";
    build(lab, "usr/bin/prog", source, &[], &[&path]);
}

#[test]
fn terminal_descriptions_that_have_no_room_are_reported() {
    for (list, fits) in [
        ("/usr/share/terminfo", false),
        ("/a/terminfo:/b/terminfo", false),
        ("/etc/terminfo:/usr/share/terminfo", true),
        // The image has none there.
        ("/opt/terminfo", true),
    ] {
        let lab = TestRoot::glibc();
        lab.with_glibc().write("usr/share/terminfo/x/xterm", "x").write("b/terminfo/x/xterm", "x");
        library_with_string(&lab, "libtinfo.so.6", list);
        let (plan, _) = plan(&lab, &["/usr/bin/prog"], Options::default());
        let expected = format!(
            "/usr/lib/x86_64-linux-gnu/libtinfo.so.6: terminal descriptions aren't included, since \
             /usr/lib/flix/t/terminfo is longer than {list}, which is compiled in"
        );
        let expected = if fits { Vec::new() } else { vec![expected] };
        assert_eq!(plan.warnings, expected, "{list}");
    }
}

/// OpenSSL's directory is linked to the host's where an extension can have it, and reported where it can't.
#[test]
fn where_certificates_can_be_linked() {
    for (dirs, linked, reported) in [
        ("/usr/lib/ssl", Some("/usr/lib/ssl"), None),
        ("/etc/ssl", None, None),
        ("/etc/pki/tls", None, Some("/etc/pki/tls")),
        ("/usr/local/ssl", None, Some("/usr/local/ssl")),
        ("/usr/lib64/ssl", None, Some("/usr/lib64/ssl")),
        ("/usr/lib/b /usr/lib/a /etc/pki/tls", Some("/usr/lib/a"), Some("/etc/pki/tls, /usr/lib/b")),
        ("/opt/a /opt/b /opt/c /opt/d /opt/e", Some("/opt/a"), Some("/opt/b, /opt/c, /opt/d and 1 more")),
    ] {
        let lab = TestRoot::glibc();
        lab.with_glibc();
        // Each in a string of its own.
        let strings: Vec<String> = dirs.split(' ').map(|d| format!("OPENSSLDIR: \"{d}\"")).collect();
        library_with_string(&lab, "libcrypto.so.3", &strings.join("\0"));
        let (plan, tree) = plan(&lab, &["/usr/bin/prog"], Options::default());
        let library = "/usr/lib/x86_64-linux-gnu/libcrypto.so.3";
        let warning = |dirs| {
            format!("{library}: looks for certificates in {dirs}, which can't be linked to the host's")
        };
        assert_eq!(plan.warnings, reported.map(warning).into_iter().collect::<Vec<_>>(), "{dirs}");
        let links: Vec<String> = tree
            .iter()
            .filter(|(_, n)| n.symlink_target().is_some_and(|t| t.starts_with(b"/etc/ssl/")))
            .map(|(p, _)| p.to_string())
            .collect();
        let names = ["cert.pem", "certs", "openssl.cnf"];
        let expected = linked.map(|dir| names.map(|name| format!("{dir}/{name}")).to_vec());
        assert_eq!(links, expected.unwrap_or_default(), "{dirs}");
    }
}

#[test]
fn terminals_and_certificates_are_included_by_default() {
    let lab = TestRoot::glibc();
    lab.with_glibc();
    let list = "/etc/terminfo:/lib/terminfo:/usr/share/terminfo";
    for (name, string) in [("libtinfo.so.6", list), ("libcrypto.so.3", "OPENSSLDIR: \\\"/usr/lib/ssl\\\"")] {
        let path = format!("usr/lib/x86_64-linux-gnu/{name}");
        let function = name.split('.').next().unwrap();
        let source = format!("const char *{function}(void) {{ return \"{string}\"; }}\n");
        build(&lab, &path, &source, &["-shared", "-fPIC", &format!("-Wl,-soname,{name}")], &[]);
    }
    let source = "#include <stdio.h>\nconst char *libtinfo(void), *libcrypto(void);\n\
        int main(void) { puts(libtinfo()); puts(libcrypto()); return 0; }\n";
    let needs = ["usr/lib/x86_64-linux-gnu/libtinfo.so.6", "usr/lib/x86_64-linux-gnu/libcrypto.so.3"];
    build(&lab, "usr/bin/prog", source, &[], &needs);
    lab.write("usr/share/terminfo/x/xterm", "an xterm");
    lab.write("usr/share/terminfo/z/zx81", "x");
    let (plan, tree) = plan(&lab, &["/usr/bin/prog"], Options::default());
    assert_eq!(
        run(&tree, &["/usr/bin/prog"]),
        "/usr/lib/flix/t/terminfo:/usr/share/terminfo///\nOPENSSLDIR: \"/usr/lib/ssl\"\n"
    );
    let xterm = tree.get(&p("/usr/lib/flix/t/terminfo/x/xterm")).unwrap().content().unwrap();
    assert_eq!(xterm.read(99).unwrap(), b"an xterm");
    assert!(!tree.contains(&p("/usr/lib/flix/t/terminfo/z/zx81")));
    let certificates = tree.get(&p("/usr/lib/ssl/certs")).unwrap().symlink_target().unwrap();
    assert_eq!(certificates, b"/etc/ssl/certs");
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
}
