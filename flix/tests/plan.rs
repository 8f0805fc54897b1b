//! Plans and what they build, on small images with real programs; the results run in a root that has nothing else.
#![allow(clippy::unwrap_used)]

mod common;

use common::{run, speaker};
use elf::closure::Options;
use elf::testing::{TestRoot, p};
use flix::{Explanation, Plan, Request};
use tree::Tree;

const RPATH: &str = "-Wl,--disable-new-dtags";
const RUNPATH: &str = "-Wl,--enable-new-dtags";

fn request(words: &[&str]) -> Request {
    Request {
        wanted: words.iter().map(|w| w.parse().unwrap()).collect(),
        selections: Vec::new(),
        sysroot: p("/usr/lib/flix/t"),
        closure: Options::default(),
        keep_sbin: false,
        charsets: false,
        host_interpreters: false,
        elsewhere: std::collections::BTreeSet::new(),
    }
}

fn plan(lab: &TestRoot, words: &[&str]) -> (Plan, Tree) {
    let image = lab.tree();
    let plan = Plan::new(&image, &request(words)).unwrap_or_else(|e| panic!("{e}"));
    let built = plan.build(&image).unwrap_or_else(|e| panic!("{e}"));
    (plan, built)
}

fn refused(lab: &TestRoot, words: &[&str]) -> String {
    Plan::new(&lab.tree(), &request(words)).unwrap_err().to_string()
}

#[test]
fn a_glibc_program_with_links_origin_and_variants() {
    let lab = TestRoot::glibc();
    lab.with_glibc();
    lab.shared_library("usr/lib/x86_64-linux-gnu/libone.so.1.2", "libone.so.1", &[], &[]);
    lab.symlink("usr/lib/x86_64-linux-gnu/libone.so.1", "libone.so.1.2");
    lab.shared_library("usr/lib/app/libtwo.so", "libtwo.so", &[], &[]);
    lab.shared_library("usr/lib/app/glibc-hwcaps/x86-64-v2/libtwo.so", "libtwo.so", &[], &[]);
    let needs = ["usr/lib/x86_64-linux-gnu/libone.so.1.2", "usr/lib/app/libtwo.so"];
    let path = "-Wl,-rpath,$ORIGIN/../lib/app";
    speaker(&lab, "usr/sbin/prog", &["libone.so.1", "libtwo.so"], &needs, &[RUNPATH, path]);
    let (plan, tree) = plan(&lab, &["/usr/sbin/prog"]);
    insta::assert_snapshot!(plan.to_string(), @r#"
    /usr/bin/prog relocate from /usr/sbin/prog
        interpreter /usr/lib/flix/t/lib64/ld-linux-x86-64.so.2
        rpath /usr/lib/flix/t/usr/lib/app:/usr/lib/flix/t/lib/x86_64-linux-gnu:/usr/lib/flix/t/usr/lib/x86_64-linux-gnu
    /usr/lib/flix/t/lib/x86_64-linux-gnu/libc.so.6 relocate
        rpath /usr/lib/flix/t/lib/x86_64-linux-gnu:/usr/lib/flix/t/usr/lib/x86_64-linux-gnu
    /usr/lib/flix/t/lib64/ld-linux-x86-64.so.2 confine
    /usr/lib/flix/t/usr/lib/app/glibc-hwcaps/x86-64-v2/libtwo.so relocate
        rpath /usr/lib/flix/t/lib/x86_64-linux-gnu:/usr/lib/flix/t/usr/lib/x86_64-linux-gnu
    /usr/lib/flix/t/usr/lib/app/libtwo.so relocate
        rpath /usr/lib/flix/t/lib/x86_64-linux-gnu:/usr/lib/flix/t/usr/lib/x86_64-linux-gnu
    /usr/lib/flix/t/usr/lib/x86_64-linux-gnu/libone.so.1 symlink -> libone.so.1.2
    /usr/lib/flix/t/usr/lib/x86_64-linux-gnu/libone.so.1.2 relocate
        rpath /usr/lib/flix/t/lib/x86_64-linux-gnu:/usr/lib/flix/t/usr/lib/x86_64-linux-gnu
    "#);
    assert_eq!(plan.notes, ["/usr/sbin/prog goes to /usr/bin/prog"]);
    insta::assert_snapshot!(Explanation::new(&plan, &tree).to_string().replace(|c: char| c.is_ascii_digit(), "#"), @r#"
    /usr/sbin/prog
      /usr/bin/prog ##.# KiB
        /usr/lib/flix/t/lib/x##_##-linux-gnu/libc.so.# #.# MiB, as libc.so.#, also for /usr/lib/flix/t/usr/lib/app/glibc-hwcaps/x##-##-v#/libtwo.so and # more
        /usr/lib/flix/t/lib##/ld-linux-x##-##.so.# ###.# KiB, loader, also for /usr/lib/flix/t/lib/x##_##-linux-gnu/libc.so.#
        /usr/lib/flix/t/usr/lib/app/libtwo.so ##.# KiB, as libtwo.so
          /usr/lib/flix/t/usr/lib/app/glibc-hwcaps/x##-##-v#/libtwo.so ##.# KiB, variant for better processors
        /usr/lib/flix/t/usr/lib/x##_##-linux-gnu/libone.so.#.# ##.# KiB, as libone.so.#
          /usr/lib/flix/t/usr/lib/x##_##-linux-gnu/libone.so.# # B, symlink
    # files, #.# MiB
    "#);
    let said = run(&tree, &["/usr/bin/prog"]);
    assert!(said.starts_with("usr/lib/x86_64-linux-gnu/libone.so.1.2\nusr/lib/app/"), "{said}");
}

#[test]
fn a_musl_program_and_its_path_file() {
    let lab = TestRoot::musl();
    lab.with_musl().symlink("lib/libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1");
    lab.shared_library("usr/lib/libone.so.1", "libone.so.1", &[], &[]);
    lab.shared_library("usr/local/lib/libtwo.so.2", "libtwo.so.2", &[], &[]);
    speaker(
        &lab,
        "bin/prog",
        &["libone.so.1", "libtwo.so.2"],
        &["usr/lib/libone.so.1", "usr/local/lib/libtwo.so.2"],
        &[],
    );
    let (plan, tree) = plan(&lab, &["/bin/prog"]);
    insta::assert_snapshot!(plan.to_string(), @r#"
    /usr/bin/prog relocate from /bin/prog
        interpreter /usr/lib/flix/t/lib/ld-musl-x86_64.so.1
        rpath /usr/lib/flix/t/usr/local/lib:/usr/lib/flix/t/usr/lib
    /usr/lib/flix/t/etc/ld-musl-x86_64.path text
    /usr/lib/flix/t/lib/ld-musl-x86_64.so.1 confine
    /usr/lib/flix/t/usr/lib/libone.so.1 relocate
        rpath /usr/lib/flix/t/usr/local/lib:/usr/lib/flix/t/usr/lib
    /usr/lib/flix/t/usr/local/lib/libtwo.so.2 relocate
        rpath /usr/lib/flix/t/usr/local/lib:/usr/lib/flix/t/usr/lib
    "#);
    let file = tree
        .get(&p("/usr/lib/flix/t/etc/ld-musl-x86_64.path"))
        .unwrap()
        .content()
        .unwrap()
        .read(999)
        .unwrap();
    assert_eq!(file, b"/usr/lib/flix/t/usr/local/lib\n/usr/lib/flix/t/usr/lib\n");
    assert_eq!(run(&tree, &["/usr/bin/prog"]), "usr/lib/libone.so.1\nusr/local/lib/libtwo.so.2\n");
}

#[test]
fn an_inherited_rpath_reaches_the_libraries_libraries() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("opt/app/lib/libb.so", "libb.so", &[], &[]);
    // The decoy is what the default directories have.
    lab.shared_library("usr/lib/libb.so", "libb.so", &[], &[]);
    let source = "const char *f_libb_so(void);\nconst char *f_liba_so(void) { return f_libb_so(); }\n";
    let flags = ["-shared", "-fPIC", "-Wl,-soname,liba.so"].map(str::to_owned);
    lab.compile(source, &lab.path("opt/app/lib/liba.so"), &flags, &["opt/app/lib/libb.so"]);
    speaker(
        &lab,
        "usr/bin/prog",
        &["liba.so"],
        &["opt/app/lib/liba.so"],
        &[RPATH, "-Wl,-rpath,/opt/app/lib"],
    );
    let (plan, tree) = plan(&lab, &["/usr/bin/prog"]);
    assert!(!plan.entries.contains_key(&p("/usr/lib/flix/t/usr/lib/libb.so")));
    assert_eq!(run(&tree, &["/usr/bin/prog"]), "opt/app/lib/libb.so\n");
}

#[test]
fn a_folder_is_used_where_it_stands() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("srv/app/lib/libplug.so", "libplug.so", &[], &[]);
    speaker(
        &lab,
        "srv/app/bin/prog",
        &["libplug.so"],
        &["srv/app/lib/libplug.so"],
        &[RUNPATH, "-Wl,-rpath,$ORIGIN/../lib"],
    );
    lab.symlink("srv/app/current", "bin/prog")
        .symlink("srv/app/abs", "/srv/app/lib")
        .symlink("srv/app/dead", "gone");
    lab.write("srv/app/data.txt", "x").write("etc/outside", "y").symlink("srv/app/out", "../../etc/outside");
    let (plan, tree) = plan(&lab, &["/srv/app:/usr/lib/app"]);
    insta::assert_snapshot!(plan.to_string(), @r#"
    /usr/lib/app directory from /srv/app
    /usr/lib/app/abs symlink -> lib
    /usr/lib/app/bin directory from /srv/app/bin
    /usr/lib/app/bin/prog relocate from /srv/app/bin/prog
        interpreter /usr/lib/flix/t/lib64/ld-linux-x86-64.so.2
        rpath /usr/lib/app/lib:/usr/lib/flix/t/lib/x86_64-linux-gnu
    /usr/lib/app/current symlink -> bin/prog
    /usr/lib/app/data.txt copy from /srv/app/data.txt
    /usr/lib/app/dead symlink -> gone
    /usr/lib/app/lib directory from /srv/app/lib
    /usr/lib/app/lib/libplug.so relocate from /srv/app/lib/libplug.so
        rpath /usr/lib/flix/t/lib/x86_64-linux-gnu
    /usr/lib/app/out symlink -> ../flix/t/etc/outside
    /usr/lib/flix/t/etc/outside copy
    /usr/lib/flix/t/lib/x86_64-linux-gnu/libc.so.6 relocate
        rpath /usr/lib/flix/t/lib/x86_64-linux-gnu
    /usr/lib/flix/t/lib64/ld-linux-x86-64.so.2 confine
    "#);
    assert_eq!(plan.warnings, ["/usr/lib/app/dead: leads to \"gone\", which is not in the image"]);
    assert_eq!(run(&tree, &["/usr/lib/app/current"]), "srv/app/lib/libplug.so\n");
}

#[test]
fn libraries_of_the_usual_directories_stay_away_from_the_hosts() {
    let lab = TestRoot::glibc();
    let dir = "usr/lib/x86_64-linux-gnu";
    lab.copy("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", &format!("{dir}/ld-linux-x86-64.so.2"));
    lab.copy("/lib/x86_64-linux-gnu/libc.so.6", &format!("{dir}/libc.so.6"));
    lab.symlink("lib", "usr/lib").symlink("lib64", "usr/lib64");
    lab.symlink("usr/lib64/ld-linux-x86-64.so.2", "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
    lab.symlink("usr/bin/ld.so", "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
    lab.shared_library(&format!("{dir}/libone.so.1.2"), "libone.so.1", &[], &[]);
    lab.symlink(&format!("{dir}/libone.so.1"), "libone.so.1.2").write(&format!("{dir}/data"), "x");
    speaker(&lab, "usr/bin/prog", &["libone.so.1"], &[&format!("{dir}/libone.so.1.2")], &[]);
    for words in [
        &["/usr/bin/ld.so"][..],
        &["/lib64/ld-linux-x86-64.so.2"],
        &["/usr/lib/x86_64-linux-gnu/libc.so.6"],
        &["/usr/lib/x86_64-linux-gnu/libone.so.1", "/usr/bin/prog"],
        &["/usr/lib/x86_64-linux-gnu/lib*", "/usr/bin/prog"],
        &["/usr/lib/x86_64-linux-gnu", "/usr/bin/*"],
        &["/usr/lib", "/usr/bin/prog"],
        &["/lib/x86_64-linux-gnu", "/usr/bin/prog", "/usr/bin/ld.so"],
    ] {
        let (plan, tree) = plan(&lab, words);
        let there = |p: &&tree::TreePath| sysext::extension::HostLibrary::at(p).is_some();
        assert_eq!(tree.iter().map(|(p, _)| p).find(there), None, "{words:?}\n{plan}");
        for (path, node) in tree.iter().filter(|(_, n)| !n.is_dir()) {
            assert!(tree.resolve(path.to_absolute(), true).is_ok(), "{words:?}: {path} {node:?}");
        }
        let note = "go to /usr/lib/flix/t, since hosts have their own there";
        assert!(plan.notes.iter().any(|n| n.ends_with(note)), "{words:?}: {:?}", plan.notes);
        if words.contains(&"/usr/bin/prog") {
            assert_eq!(run(&tree, &["/usr/bin/prog"]), format!("{dir}/libone.so.1.2\n"), "{words:?}");
        }
    }
}

#[test]
fn a_library_that_the_user_puts_at_a_usual_place_has_a_second_copy() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("usr/lib/libone.so.1", "libone.so.1", &[], &[]);
    speaker(&lab, "usr/bin/prog", &["libone.so.1"], &["usr/lib/libone.so.1"], &[]);
    let (plan, tree) = plan(&lab, &["/usr/bin/prog", "/usr/lib/libone.so.1:/usr/lib/libone.so.1"]);
    assert!(plan.entries.contains_key(&p("/usr/lib/libone.so.1")));
    assert!(plan.entries.contains_key(&p("/usr/lib/flix/t/usr/lib/libone.so.1")));
    assert!(!plan.to_string().contains("rpath /usr/lib:"), "{plan}");
    assert_eq!(run(&tree, &["/usr/bin/prog"]), "usr/lib/libone.so.1\n");
}

#[test]
fn symlinks_bring_their_targets() {
    let lab = TestRoot::musl();
    lab.with_musl();
    lab.compile(
        "#include <stdio.h>\nint main(int c, char **v) { puts(v[0]); return 0; }\n",
        &lab.path("bin/busybox"),
        &[],
        &[],
    );
    lab.symlink("bin/sh", "busybox").symlink("usr/bin/tool", "../lib/tool/real");
    lab.compile(
        "#include <stdio.h>\nint main(void) { puts(\"tool\"); return 0; }\n",
        &lab.path("usr/lib/tool/real"),
        &[],
        &[],
    );
    let (plan, tree) = plan(&lab, &["/bin/sh", "/usr/bin/tool", "/bin/busybox:/opt/bb"]);
    insta::assert_snapshot!(plan.to_string(), @r#"
    /opt/bb relocate from /bin/busybox
        interpreter /usr/lib/flix/t/lib/ld-musl-x86_64.so.1
    /usr/bin/sh symlink -> ../../opt/bb
    /usr/bin/tool symlink -> ../lib/tool/real
    /usr/lib/flix/t/etc/ld-musl-x86_64.path text
    /usr/lib/flix/t/lib/ld-musl-x86_64.so.1 confine
    /usr/lib/tool/real relocate
        interpreter /usr/lib/flix/t/lib/ld-musl-x86_64.so.1
    "#);
    assert_eq!(run(&tree, &["/usr/bin/sh"]), "/usr/bin/sh\n");
    assert_eq!(run(&tree, &["/usr/bin/tool"]), "tool\n");
}

#[test]
fn hard_links_stay_links() {
    let lab = TestRoot::glibc();
    lab.with_glibc().program("usr/bin/a", &[], &[]);
    std::fs::hard_link(lab.path("usr/bin/a"), lab.path("usr/bin/b")).unwrap();
    let image = Tree::from_dir(&lab.path(""), &tree::ReadOptions::default()).unwrap();
    let plan = Plan::new(&image, &request(&["/usr/bin/a", "/usr/bin/b"])).unwrap();
    let tree = plan.build(&image).unwrap();
    assert_eq!(tree.ino(&p("/usr/bin/a")), tree.ino(&p("/usr/bin/b")));
}

#[test]
fn what_loads_together_is_told_in_the_order_of_loading() {
    let lab = TestRoot::glibc();
    lab.with_glibc().program("usr/bin/a", &[], &[]).program("usr/sbin/b", &[], &[]);
    let (plan, tree) = plan(&lab, &["/usr/bin/a", "/usr/sbin/b"]);
    let order: Vec<String> = plan.load_order().iter().map(ToString::to_string).collect();
    assert_eq!(order[0], "/usr/bin/a");
    assert!(order[1].contains("ld-linux"), "{order:?}");
    assert!(order[2].ends_with("/libc.so.6"), "{order:?}");
    assert_eq!(order[3], "/usr/bin/b");
    assert!(plan.load_order().iter().all(|path| tree.get(path).is_some_and(tree::Node::is_file)));
}

#[test]
fn scripts_go_with_their_interpreters() {
    let lab = TestRoot::musl();
    lab.with_musl();
    lab.compile(
        "#include <stdio.h>\nint main(int c, char **v) { puts(v[0]); return 0; }\n",
        &lab.path("bin/busybox"),
        &[],
        &[],
    );
    lab.symlink("bin/sh", "busybox").script("usr/bin/script", "#!/bin/sh -e\nexit\n");
    lab.script("usr/bin/envy", "#!/usr/bin/env sh\n").script("usr/lib/x/inner", "#!/usr/bin/perl\n");
    lab.script("usr/bin/split", "#!/usr/bin/env -S sh -e -u\n");
    lab.write("usr/lib/x/not-executable", "#!/usr/bin/perl\n");
    let error = refused(&lab, &["/usr/bin/script"]);
    assert_eq!(error, "/usr/bin/script: script needs /bin/sh, which is not part of the extension");
    let (plan, tree) =
        plan(&lab, &["/usr/bin/script", "/usr/bin/envy", "/usr/bin/split", "/usr/lib/x", "/bin/busybox"]);
    let first = |path: &str| {
        String::from_utf8(tree.get(&p(path)).unwrap().content().unwrap().read(99).unwrap()).unwrap()
    };
    assert_eq!(first("/usr/bin/script"), "#!/usr/lib/flix/t/bin/sh -e\nexit\n");
    assert_eq!(first("/usr/bin/envy"), "#!/usr/lib/flix/t/bin/sh\n");
    assert_eq!(first("/usr/bin/split"), "#!/usr/bin/env -S /usr/lib/flix/t/bin/sh -e -u\n");
    let told = "/usr/bin/split: the host's /usr/bin/env -S splits its first line into words";
    assert!(plan.notes.iter().any(|n| n == told), "{:?}", plan.notes);
    assert_eq!(
        plan.warnings,
        ["/usr/lib/x/inner: script needs /usr/bin/perl of the host, which is not part of the extension"]
    );
    assert_eq!(run(&tree, &["/usr/bin/script"]), "/usr/lib/flix/t/bin/sh\n");
    let host = Request { host_interpreters: true, ..request(&["/usr/bin/script"]) };
    assert!(Plan::new(&lab.tree(), &host).unwrap().warnings.is_empty());
}

#[test]
fn units_follow_their_programs() {
    let lab = TestRoot::glibc();
    lab.with_glibc().program("usr/sbin/daemon", &[], &[]).symlink("sbin", "usr/sbin");
    let unit = "[Unit]\nConditionFileIsExecutable=|/usr/sbin/daemon\nAssertPathExists=/etc/conf\n[Service]\nExecStart=\\\n  /usr/sbin/daemon -x /usr/sbin/daemon\nExecStop=-/sbin/daemon stop\nExecReload=/bin/kill $MAINPID\n";
    lab.write("etc/systemd/system/d.service", unit);
    // Moved, and no program.
    lab.write("etc/conf", "x");
    let (plan, tree) =
        plan(&lab, &["/usr/sbin/daemon", "/etc/systemd/system/d.service", "/etc/conf:/usr/share/conf"]);
    let text =
        tree.get(&p("/usr/lib/systemd/system/d.service")).unwrap().content().unwrap().read(999).unwrap();
    let expected = "[Unit]\nConditionFileIsExecutable=|/usr/bin/daemon\nAssertPathExists=/etc/conf\n[Service]\nExecStart=\\\n  /usr/bin/daemon -x /usr/bin/daemon\nExecStop=-/usr/bin/daemon stop\nExecReload=/bin/kill $MAINPID\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    assert!(plan.has_units);
}

/// A path within a shell's script, and in other texts by which a host starts programs.
#[test]
fn texts_follow_their_programs_or_are_told_of() {
    let lab = TestRoot::glibc();
    lab.with_glibc().program("usr/sbin/daemon", &[], &[]).symlink("sbin", "usr/sbin");
    let unit = "[Service]\nExecStartPre=/bin/sh -c 'test -x /usr/sbin/daemon && exec /sbin/daemon -c \"$X\"'\n\
                ExecStart=/bin/sh -c '${ROOT}/usr/sbin/daemon'\n# /usr/sbin/daemon\n";
    lab.write("usr/lib/systemd/system/d.service", unit);
    lab.write("usr/share/dbus-1/system-services/d.service", "[D-BUS Service]\nExec=/usr/sbin/daemon --bus\n");
    lab.write(
        "usr/share/applications/d.desktop",
        "[Desktop Entry]\nTryExec=/usr/sbin/daemon\nExec=/usr/sbin/daemon %U\n",
    );
    lab.script(
        "usr/bin/d-helper",
        "#!/usr/bin/sh\n# /usr/sbin/daemon\n. /usr/share/d/common\nexec /usr/sbin/daemon \"$@\"\n",
    );
    lab.write("usr/share/d/common", "DAEMON=/usr/sbin/daemon\nROOT=$X/usr/sbin/daemon\n");
    let words = [
        "/usr/sbin/daemon",
        "/usr/lib/systemd/system/d.service",
        "/usr/share/dbus-1",
        "/usr/share/applications/d.desktop",
        "/usr/bin/d-helper",
        "/usr/share/d",
    ];
    let image = lab.tree();
    let request = Request { host_interpreters: true, ..request(&words) };
    let plan = Plan::new(&image, &request).unwrap();
    let tree = plan.build(&image).unwrap();
    let text = |path: &str| {
        let bytes = tree.get(&p(path)).unwrap().content().unwrap().read(999).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    insta::assert_snapshot!(text("/usr/lib/systemd/system/d.service"), @r#"
    [Service]
    ExecStartPre=/bin/sh -c 'test -x /usr/bin/daemon && exec /usr/bin/daemon -c "$X"'
    ExecStart=/bin/sh -c '${ROOT}/usr/sbin/daemon'
    # /usr/sbin/daemon
    "#);
    insta::assert_snapshot!(text("/usr/share/dbus-1/system-services/d.service"), @r"
    [D-BUS Service]
    Exec=/usr/bin/daemon --bus
    ");
    insta::assert_snapshot!(text("/usr/share/applications/d.desktop"), @r"
    [Desktop Entry]
    TryExec=/usr/bin/daemon
    Exec=/usr/bin/daemon %U
    ");
    insta::assert_snapshot!(text("/usr/bin/d-helper"), @r##"
    #!/usr/bin/sh
    # /usr/sbin/daemon
    . /usr/share/d/common
    exec /usr/bin/daemon "$@"
    "##);
    insta::assert_snapshot!(text("/usr/share/d/common"), @r"
    DAEMON=/usr/bin/daemon
    ROOT=$X/usr/sbin/daemon
    ");
    insta::assert_snapshot!(plan.warnings.join("\n"), @r"
    /usr/lib/systemd/system/d.service: line 3 names /usr/sbin/daemon, which is not followed: it is /usr/bin/daemon there
    ");
}

/// A mail server starts the sendmail beside it, and says where that is.
#[test]
fn compiled_in_paths_follow_their_programs() {
    let lab = TestRoot::glibc();
    lab.with_glibc().program("usr/sbin/helper", &[], &[]);
    let source = "#include <stdio.h>\n#include <unistd.h>\nint main(void) {\n\
                  puts(\"/usr/sbin/helper\"); puts(\"/usr/sbin\"); puts(\"/usr/sbin/other\");\n\
                  fflush(stdout); execl(\"/usr/sbin/helper\", \"helper\", (char *)0); return 1; }\n";
    lab.compile(source, &lab.path("usr/sbin/daemon"), &[], &[]);
    let (plan, tree) = plan(&lab, &["/usr/sbin/daemon", "/usr/sbin/helper"]);
    assert_eq!(run(&tree, &["/usr/bin/daemon"]), "/usr//bin/helper\n/usr//bin\n/usr/sbin/other\n");
    assert!(plan.notes.contains(&"/usr/bin/daemon: /usr/sbin/helper is /usr/bin/helper there".to_owned()));
}

/// Bytecode stays fresh when the first line of its source gets longer. Python itself confirms it.
#[test]
fn bytecode_follows_its_script() {
    let lab = TestRoot::glibc();
    lab.with_glibc().copy("/usr/bin/python3", "usr/bin/python3.x").symlink("usr/bin/python", "python3.x");
    lab.script("usr/lib/app/tool.py", "#!/usr/bin/python\nX = 1\n").write("usr/lib/app/other.py", "X = 1\n");
    let python = |args: &[&str]| {
        let out =
            std::process::Command::new("/usr/bin/python3").args(args).output().expect("install python3");
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{args:?}: {text}");
        text
    };
    python(&["-m", "compileall", "-q", lab.path("usr/lib/app").to_str().unwrap()]);
    let image = Tree::from_dir(&lab.path(""), &tree::ReadOptions::default()).unwrap();
    let mut request = request(&["/usr/bin/python3.x", "/usr/lib/app"]);
    request.closure.allow_missing = true;
    let plan = Plan::new(&image, &request).unwrap();
    let options = sysext::ExtensionOptions { epoch: 1_600_000_000, ..Default::default() };
    let built = plan.build(&image).unwrap();
    let made = sysext::Extension::new(built, "t".parse().unwrap(), Default::default(), &options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    _ = made.tree().write_dir(dir.path(), &tree::WriteOptions::for_caller()).unwrap();
    let app = dir.path().join("usr/lib/app");
    assert!(std::fs::read(app.join("tool.py")).unwrap().starts_with(b"#!/usr/lib/flix/t/usr/bin/python\n"));
    let script = "import sys; sys.path[0] = sys.argv[1]; import tool, other";
    let said = python(&["-v", "-B", "-S", "-E", "-s", "-c", script, app.to_str().unwrap()]);
    for module in ["tool.py", "other.py"] {
        assert!(said.lines().any(|l| l.contains(" matches ") && l.ends_with(module)), "{module}: {said}");
    }
}

/// A script that is its own archive, by the place of a byte.
#[test]
fn data_behind_a_script_stays_in_its_place() {
    let lab = TestRoot::glibc();
    for program in ["dash", "tail", "cat"] {
        lab.copy(&format!("/bin/{program}"), &format!("usr/bin/{program}"));
    }
    lab.with_glibc().symlink("bin", "usr/bin").symlink("usr/bin/sh", "dash");
    let archive = |first: &str| {
        let text = format!("{first}\ntail -c +NN \"$0\"; exit\n");
        let at = text.len() + 1;
        let mut bytes = text.replace("NN", &at.to_string()).into_bytes();
        assert_eq!(bytes.len() + 1, at, "two digits");
        bytes.extend(b"data\0");
        bytes
    };
    // The new line is shorter, as long, and longer.
    lab.script("usr/bin/short", "").write("usr/bin/short", archive("#!/usr/bin/env dash"));
    lab.script("usr/bin/long", "").write("usr/bin/long", archive("#!/bin/sh"));
    let words = ["/usr/bin/dash", "/usr/bin/tail", "/usr/bin/short", "/usr/bin/long", "/usr/bin/sh"];
    let (plan, tree) = plan(&lab, &words);
    assert_eq!(
        plan.warnings,
        ["/usr/bin/long: script has data behind its text, which would move; it keeps /bin/sh of the host"]
    );
    assert_eq!(run(&tree, &["/usr/bin/short"]), "data\0");
    let kept = tree.get(&p("/usr/bin/long")).unwrap().content().unwrap().read(999).unwrap();
    assert_eq!(kept, archive("#!/bin/sh"));
}

/// What the user didn't name is included unchanged, with a warning, if it can't be used as a program.
#[test]
fn odd_matches_of_a_pattern_are_no_errors() {
    let lab = TestRoot::glibc();
    lab.with_glibc().program("usr/bin/p-good", &[], &[]).script("usr/bin/p-script", "#!/usr/bin/perl\n");
    lab.symlink("usr/bin/p-dead", "nowhere").write("usr/bin/p-broken", "\x7fELF and no more");
    lab.program("usr/bin/p-full", &[], &["-fuse-ld=lld", "-Wl,--build-id=none"]);
    let mut full = std::fs::read(lab.path("usr/bin/p-full")).unwrap();
    full.extend_from_slice(b"data to be found at the end of the file");
    lab.write("usr/bin/p-full", &full);

    let (plan, tree) = plan(&lab, &["/usr/bin/p-*"]);
    // How much room there is depends on the linker's version.
    let warnings = plan.warnings.join("\n").replace(|c: char| c.is_ascii_digit(), "#");
    insta::assert_snapshot!(warnings, @r#"
    /usr/bin/p-broken: e_ident has class ## and data encoding ##, expected # or # for both; it is included unchanged
    /usr/bin/p-dead: leads to "nowhere", which is not in the image
    /usr/bin/p-full: file has no room for the edit: ### more bytes, and the ## bytes appended at #x#### have to stay at its end; it is included unchanged
    /usr/bin/p-script: script needs /usr/bin/perl of the host, which is not part of the extension
    "#);
    for (path, expected) in [("p-full", full), ("p-broken", b"\x7fELF and no more".to_vec())] {
        let content = tree.get(&p(&format!("/usr/bin/{path}"))).unwrap().content().unwrap();
        assert_eq!(content.read(1 << 30).unwrap(), expected, "{path}");
    }
    assert_eq!(run(&tree, &["/usr/bin/p-good"]), "");
    for path in ["p-script", "p-dead", "p-broken", "p-full"] {
        let made = Plan::new(&lab.tree(), &request(&[&format!("/usr/bin/{path}")]));
        assert!(made.map_or(true, |plan| plan.build(&lab.tree()).is_err()), "{path} is named");
    }
    assert_eq!(refused(&lab, &["/usr/bin/q-*"]), "pattern /usr/bin/q-* matches nothing in the image");
}

#[test]
fn refusals() {
    let lab = TestRoot::glibc();
    lab.with_glibc().program("usr/bin/prog", &[], &[]).write("usr/lib/a", "1").write("srv/a", "2");
    for (words, expected) in [
        (&["/usr/bin/none"][..], "/usr/bin/none is not in the image"),
        (
            &["/srv/a"],
            "/srv/a is neither below /usr nor below /opt, the only folders that an extension can fill",
        ),
        (&["/usr/lib/a", "/srv/a:/usr/lib/a"], "/usr/lib/a is wanted from both /usr/lib/a and /srv/a"),
        (
            &["/usr/lib/a:/usr/lib/x", "/srv/a:/usr/lib/x/b/c"],
            "/usr/lib/x/b/c, from /srv/a, can't be below /usr/lib/x, which is a file from /usr/lib/a",
        ),
    ] {
        assert_eq!(refused(&lab, words), expected);
    }
    for sysroot in ["/var/x", "/usr", "/usr/lib/a:b", "/usr/lib/a b", "/usr/lib/$x"] {
        let request = Request { sysroot: p(sysroot), ..request(&["/usr/bin/prog"]) };
        let error = Plan::new(&lab.tree(), &request).unwrap_err().to_string();
        assert!(error.starts_with("sysroot"), "{error}");
    }
}

#[test]
fn the_loader_forgets_the_hosts_cache() {
    let lab = TestRoot::glibc();
    lab.with_glibc().program("usr/bin/prog", &[], &[]);
    let (_, tree) = plan(&lab, &["/usr/bin/prog"]);
    let loader = tree
        .get(&p("/usr/lib/flix/t/lib64/ld-linux-x86-64.so.2"))
        .unwrap()
        .content()
        .unwrap()
        .read(9 << 20)
        .unwrap();
    for path in ["/etc/ld.so.cache", "/etc/ld.so.preload"] {
        let path = [path.as_bytes(), b"\0"].concat();
        assert!(!loader.windows(path.len()).any(|w| w == path));
    }
}

#[test]
fn character_sets_come_from_the_sysroot_alone() {
    let lab = TestRoot::glibc();
    let gconv = "/usr/lib/x86_64-linux-gnu/gconv";
    lab.with_glibc();
    for file in ["gconv-modules", "gconv-modules.cache", "EUC-JP.so", "libJIS.so"] {
        lab.copy(&format!("{gconv}/{file}"), &format!("{gconv}/{file}"));
    }
    for file in std::fs::read_dir(format!("{gconv}/gconv-modules.d")).unwrap() {
        let file = file.unwrap().path();
        lab.copy(file.to_str().unwrap(), file.to_str().unwrap());
    }
    // Those of another machine's libc, which libc doesn't name.
    lab.write("usr/lib/i386-linux-gnu/gconv/gconv-modules", "");
    let source = "#include <iconv.h>\n#include <stdio.h>\nint main(void) {\n\
        puts(iconv_open(\"UTF-8\", \"EUC-JP\") == (iconv_t)-1 ? \"no\" : \"yes\");\n\
        puts(iconv_open(\"UTF-8\", \"UCS-4\") == (iconv_t)-1 ? \"no\" : \"yes\"); }\n";
    lab.compile(source, &lab.path("usr/bin/prog"), &[], &[]);
    let image = lab.tree();
    for (charsets, expected) in [(true, "yes\nyes\n"), (false, "no\nyes\n")] {
        let plan = Plan::new(&image, &Request { charsets, ..request(&["/usr/bin/prog"]) }).unwrap();
        let note = "/usr/bin/prog: converts character sets, of which only UTF-8, UCS-2, UCS-4 and ASCII are included";
        assert_eq!(plan.notes.iter().any(|n| n == note), !charsets, "{:?}", plan.notes);
        let mut tree = plan.build(&image).unwrap();
        // What the host has at the old place must not count.
        tree.insert_all(
            p(&format!("{gconv}/gconv-modules")),
            tree::Node::file(0o644, "module EUC-JP// INTERNAL /x 1\n"),
            &tree::Meta::dir(),
        )
        .unwrap();
        assert_eq!(run(&tree, &["/usr/bin/prog"]), expected);
    }
    let long = Request {
        charsets: true,
        sysroot: p("/usr/lib/flix/a-rather-long-name"),
        ..request(&["/usr/bin/prog"])
    };
    assert!(Plan::new(&image, &long).unwrap_err().to_string().starts_with("sysroot is too long"));
}

/// A symlink in a wanted folder, wanted by itself or with what it leads to in its place.
#[test]
fn a_folder_and_what_is_in_it_are_no_rivals() {
    let lab = TestRoot::glibc();
    lab.with_glibc().program("usr/lib/app/real", &[], &[]).symlink("usr/lib/app/link", "real");
    lab.write("usr/share/x", "data").symlink("usr/lib/app/out", "/usr/share/x");
    lab.write("usr/share/d/y", "data").symlink("usr/lib/app/dir", "../../share/d");
    for (words, path, is_link) in [
        (&["/usr/lib/app", "/usr/lib/app/link"][..], "/usr/lib/app/link", true),
        (&["/usr/lib/app/link", "/usr/lib/app"], "/usr/lib/app/link", true),
        (&["/usr/lib/app", "/usr/lib/app/*"], "/usr/lib/app/link", true),
        (&["/usr/lib/app", "/usr/lib/app/out"], "/usr/lib/app/out", true),
        (&["/usr/lib/app", "/usr/share/x:/usr/lib/app/out"], "/usr/lib/app/out", false),
        (&["/usr/share/x:/usr/lib/app/out", "/usr/lib/app"], "/usr/lib/app/out", false),
        (&["/usr/lib/app", "/usr/lib/app/real:/usr/lib/app/link"], "/usr/lib/app/link", false),
        (&["/usr/lib/app", "/usr/share/d:/usr/lib/app/dir"], "/usr/lib/app/dir/y", false),
        (&["/usr/share/d:/usr/lib/app/dir", "/usr/lib/app"], "/usr/lib/app/dir/y", false),
    ] {
        let (_, tree) = plan(&lab, words);
        let node = tree.get(&p(path)).unwrap_or_else(|| panic!("{words:?}\n{}", tree.dump()));
        assert_eq!(node.symlink_target().is_some(), is_link, "{words:?}");
        assert!(tree.resolve(path, true).is_ok(), "{words:?}");
        if tree.contains(&p("/usr/lib/app/real")) {
            assert_eq!(run(&tree, &["/usr/lib/app/real"]), "");
        }
    }
    let words = ["/usr/lib/app", "/usr/share/d/y:/usr/lib/app/out"];
    assert_eq!(
        refused(&lab, &words),
        "/usr/lib/app/out is wanted from both /usr/lib/app/out and /usr/share/d/y"
    );
}

#[test]
fn a_folder_of_plugins_may_be_one_of_extra_libraries_too() {
    for dir in ["usr/lib/app/plugins", "usr/lib/x86_64-linux-gnu/plugins", "usr/lib/x86_64-linux-gnu"] {
        let lab = TestRoot::glibc();
        lab.with_glibc().shared_library(&format!("{dir}/libplug.so.1.2"), "libplug.so.1", &[], &[]);
        lab.symlink(&format!("{dir}/libplug.so.1"), "./libplug.so.1.2");
        lab.symlink(&format!("{dir}/libplug.so"), &format!("/{dir}/libplug.so.1"));
        let source = "#include <dlfcn.h>\n#include <stdio.h>\nint main(void) {\n\
            void *l = dlopen(\"libplug.so\", RTLD_NOW); if (!l) { puts(dlerror()); return 1; }\n\
            const char *(*f)(void) = dlsym(l, \"f_libplug_so_1\"); puts(f()); return 0; }\n";
        lab.compile(source, &lab.path("usr/bin/prog"), &[], &[]);
        let words = ["/usr/bin/prog", &format!("/{dir}")];
        let extra_libs = vec![format!("/{dir}").parse().unwrap()];
        let closure = Options { extra_libs, ..Options::default() };
        let image = lab.tree();
        let plan = Plan::new(&image, &Request { closure, ..request(&words) });
        let tree = plan.unwrap_or_else(|e| panic!("{dir}: {e}")).build(&image).unwrap();
        assert_eq!(run(&tree, &["/usr/bin/prog"]), format!("{dir}/libplug.so.1.2\n"));
    }
}

/// What lacks a library in the image works there without: a module that nothing loads.
#[test]
fn a_module_without_its_library_does_not_refuse_its_folder() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("tmp/libgone.so", "libgone.so", &[], &[]);
    lab.shared_library("usr/lib/app/good.so", "good.so", &[], &[]);
    lab.shared_library("usr/lib/app/optional.so", "optional.so", &["tmp/libgone.so"], &[]);
    lab.program("usr/bin/prog", &[], &[]);
    std::fs::remove_file(lab.path("tmp/libgone.so")).unwrap();
    let warning =
        "libgone.so: not in the image, needed by /usr/lib/app/optional.so, which can't be loaded without it";
    let extra = |path: &str| Request {
        closure: Options { extra_libs: vec![path.parse().unwrap()], ..Options::default() },
        ..request(&["/usr/bin/prog"])
    };
    let image = lab.tree();
    for words in [&["/usr/lib/app", "/usr/bin/prog"][..], &["/usr/bin/prog", "/usr/lib/app/*.so"]] {
        let (plan, tree) = plan(&lab, words);
        assert_eq!(plan.warnings, [warning], "{words:?}");
        assert!(tree.contains(&p("/usr/lib/app/optional.so")) && tree.contains(&p("/usr/lib/app/good.so")));
        assert_eq!(run(&tree, &["/usr/bin/prog"]), "");
    }
    let plan = Plan::new(&image, &extra("/usr/lib/app")).unwrap();
    assert!(plan.warnings[0].starts_with("libgone.so: not in the image, needed by"), "{:?}", plan.warnings);
    assert_eq!(run(&plan.build(&image).unwrap(), &["/usr/bin/prog"]), "");
    // By its own name, it is an error.
    for words in [&["/usr/lib/app/optional.so"][..], &["/usr/lib/app", "/usr/lib/app/optional.so"]] {
        assert_eq!(refused(&lab, words), "libgone.so: not in the image, needed by /usr/lib/app/optional.so");
    }
    let error = Plan::new(&image, &extra("/usr/lib/app/optional.so")).unwrap_err().to_string();
    assert!(error.starts_with("libgone.so: not in the image"), "{error}");
}

#[test]
fn files_of_another_machine_are_data_in_a_folder() {
    let lab = TestRoot::glibc();
    lab.with_glibc().program("usr/lib/app/prog", &[], &[]);
    lab.shared_library("usr/lib/app/arm64/plugin.so", "plugin.so", &["lib/x86_64-linux-gnu/libc.so.6"], &[]);
    lab.program("usr/lib/app/arm64/prog", &[], &[]).program("usr/lib/app/arm64/static", &[], &["-static"]);
    for name in ["plugin.so", "prog", "static"] {
        let path = lab.path(&format!("usr/lib/app/arm64/{name}"));
        let mut bytes = std::fs::read(&path).unwrap();
        // e_machine, EM_AARCH64; and the name of that machine's loader, as long as the old one.
        bytes[18..20].copy_from_slice(&183u16.to_le_bytes());
        let old = b"/lib64/ld-linux-x86-64.so.2";
        if let Some(at) = bytes.windows(old.len()).position(|w| w == old) {
            bytes[at..at + old.len()].copy_from_slice(b"/lib/ld-linux-aarch64.so.1\0");
        }
        elf::testing::place_program(&path, &bytes);
    }
    for words in [&["/usr/lib/app"][..], &["/usr/lib/app/**"]] {
        let (plan, tree) = plan(&lab, words);
        assert_eq!(plan.machines.iter().map(|m| m.number).collect::<Vec<_>>(), [62], "{words:?}");
        for name in ["plugin.so", "prog", "static"] {
            let path = p(&format!("/usr/lib/app/arm64/{name}"));
            let told = |t: &&String| t.contains(&path.to_string()) && t.ends_with("it is included unchanged");
            let said = plan.warnings.iter().chain(&plan.notes);
            assert!(said.clone().any(|t| told(&t)), "{path}: {said:?}");
            let content = tree.get(&path).unwrap().content().unwrap().read(1 << 30).unwrap();
            assert_eq!(content, std::fs::read(lab.path(&path.to_string())).unwrap());
        }
        assert_eq!(run(&tree, &["/usr/lib/app/prog"]), "");
    }
    // Where there is nothing else, they tell what the extension is for.
    let (other, _) = plan(&lab, &["/usr/lib/app/arm64"]);
    assert_eq!(other.machines.iter().map(|m| m.number).collect::<Vec<_>>(), [183]);
    let error = refused(&lab, &["/usr/lib/app/arm64/plugin.so", "/usr/lib/app"]);
    assert_eq!(error, "/usr/lib/app/arm64/plugin.so: the image has no loader for this library's machine");
}
