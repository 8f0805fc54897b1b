//! Files that are selected as a group: where they go, what is left out, and what is said of it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{run, speaker};
use elf::closure::Options;
use elf::testing::{TestRoot, p};
use flix::plan::Selection;
use flix::{Plan, Request};
use sysext::RequestedPath;
use tree::Tree;

fn request(paths: &[&str]) -> Request {
    Request {
        wanted: Vec::new(),
        selections: vec![Selection {
            text: "package:app".to_owned(),
            paths: paths.iter().map(|path| p(path)).collect(),
        }],
        sysroot: p("/usr/lib/flix/t"),
        closure: Options::default(),
        keep_sbin: false,
        charsets: false,
        host_interpreters: false,
        elsewhere: std::collections::BTreeSet::new(),
    }
}

fn plan(lab: &TestRoot, request: &Request) -> (Plan, Tree) {
    let image = lab.tree();
    let plan = Plan::new(&image, request).unwrap_or_else(|e| panic!("{e}"));
    let built = plan.build(&image).unwrap_or_else(|e| panic!("{e}"));
    (plan, built)
}

fn entries(plan: &Plan) -> Vec<String> {
    let text = plan.to_string();
    text.lines().filter(|l| !l.starts_with(' ')).map(str::to_owned).collect()
}

#[test]
fn programs_libraries_plugins_data_and_links() {
    let lab = TestRoot::glibc();
    lab.with_glibc();
    lab.shared_library("usr/lib/x86_64-linux-gnu/libone.so.1.2", "libone.so.1", &[], &[]);
    lab.symlink("usr/lib/x86_64-linux-gnu/libone.so.1", "libone.so.1.2");
    lab.shared_library("usr/lib/app/plugin.so", "plugin.so", &["usr/lib/x86_64-linux-gnu/libone.so.1"], &[]);
    lab.shared_library("usr/lib/x86_64-linux-gnu/app/plugin.so", "plugin.so", &[], &[]);
    speaker(&lab, "usr/sbin/prog.real", &["libone.so.1"], &["usr/lib/x86_64-linux-gnu/libone.so.1"], &[]);
    lab.symlink("usr/bin/prog", "/etc/alternatives/prog")
        .symlink("etc/alternatives/prog", "/usr/sbin/prog.real");
    lab.write("usr/share/app/data", "x").symlink("usr/share/app/link", "data");
    lab.script("usr/bin/app-script", "#!/bin/sh\n").script("usr/share/app/module.py", "#!/usr/bin/python3\n");
    lab.write("usr/bin/twice", "x").write("usr/sbin/twice", "x");
    let (plan, tree) = plan(
        &lab,
        &request(&[
            "/usr/bin/prog",
            "/usr/sbin/prog.real",
            "/usr/bin/app-script",
            "/usr/bin/twice",
            "/usr/sbin/twice",
            "/usr/share/app/module.py",
            "/usr/lib/app/plugin.so",
            "/usr/lib/x86_64-linux-gnu/app/plugin.so",
            "/usr/lib/x86_64-linux-gnu/libone.so.1",
            "/usr/share/app",
            "/usr/share/app/data",
            "/usr/share/app/link",
            "/usr/share/app/gone",
        ]),
    );
    assert_eq!(
        entries(&plan),
        [
            "/usr/bin/app-script copy",
            "/usr/bin/prog symlink -> prog.real",
            "/usr/bin/prog.real relocate from /usr/sbin/prog.real",
            "/usr/bin/twice copy",
            "/usr/lib/app/plugin.so relocate",
            "/usr/lib/flix/t/lib/x86_64-linux-gnu/libc.so.6 relocate",
            "/usr/lib/flix/t/lib64/ld-linux-x86-64.so.2 confine",
            "/usr/lib/flix/t/usr/lib/x86_64-linux-gnu/app symlink -> ../../../../../x86_64-linux-gnu/app",
            "/usr/lib/flix/t/usr/lib/x86_64-linux-gnu/libone.so.1 symlink -> libone.so.1.2",
            "/usr/lib/flix/t/usr/lib/x86_64-linux-gnu/libone.so.1.2 relocate",
            "/usr/lib/x86_64-linux-gnu/app/plugin.so relocate",
            "/usr/share/app/data copy",
            "/usr/share/app/link symlink -> data",
            "/usr/share/app/module.py copy",
        ]
    );
    assert_eq!((plan.warnings.as_slice(), plan.notes.as_slice()), (&[][..], &[][..]));
    assert_eq!(run(&tree, &["/usr/bin/prog"]), "usr/lib/x86_64-linux-gnu/libone.so.1.2\n");
}

/// Everything of the host stays its own, and what can't be included is said in one line each.
#[test]
fn what_belongs_to_the_host() {
    let lab = TestRoot::glibc();
    lab.with_glibc();
    lab.program("usr/bin/sort", &[], &[]).program("usr/bin/app", &[], &[]);
    lab.symlink("usr/bin/own-sort", "sort");
    lab.script("usr/bin/basher", "#!/bin/bash\n").script("usr/lib/app/basher", "#!/bin/bash\n");
    lab.write("usr/share/zoneinfo/UTC", "x").symlink("usr/share/app/utc", "../zoneinfo/UTC");
    for file in ["a", "b", "c", "d"] {
        lab.write(&format!("etc/app/{file}"), "x");
    }
    lab.write("etc/init.d/app", "x").write("etc/ssl/certs/all.crt", "x").write("var/lib/app/state", "x");
    lab.symlink("usr/lib/app/conf", "/etc/app").symlink("usr/lib/app/certs", "/etc/ssl/certs");
    std::fs::create_dir_all(lab.path("var/lib/app/empty")).unwrap();
    lab.symlink("usr/lib/app/logs", "/var/lib/app/empty");
    lab.symlink("usr/lib/app/one", "/etc/app/a").symlink("usr/lib/app/socket", "/run/app.sock");
    lab.symlink("usr/lib/app/missing", "other").symlink("usr/lib/app/state", "/var/lib/app/state");
    lab.write("usr/lib64/app/data", "x");
    let paths = [
        "/usr/bin/sort",
        "/usr/bin/app",
        "/usr/bin/own-sort",
        "/usr/bin/basher",
        "/usr/lib/app/basher",
        "/usr/share/zoneinfo/UTC",
        "/usr/share/app/utc",
        "/etc/init.d/app",
        "/var/lib/app/state",
        "/usr/lib/app/certs",
        "/usr/lib/app/one",
        "/usr/lib/app/socket",
        "/usr/lib/app/missing",
        "/usr/lib/app/logs",
        "/usr/lib/app/state",
        "/usr/lib64/app/data",
        "/etc/app/a",
        "/etc/app/b",
        "/etc/app/c",
        "/etc/app/d",
    ];
    let (plan, _) = plan(&lab, &request(&paths));
    let entries: Vec<String> = entries(&plan).into_iter().filter(|e| !e.contains("x86")).collect();
    assert_eq!(
        entries,
        [
            "/usr/bin/app relocate",
            "/usr/bin/basher copy",
            "/usr/bin/own-sort symlink -> /usr/bin/sort",
            "/usr/lib/app/basher copy",
            "/usr/lib/app/certs symlink -> /etc/ssl/certs",
            "/usr/lib/app/logs symlink -> /var/lib/app/empty",
            "/usr/lib/app/one symlink -> ../flix/t/etc/app/a",
            "/usr/lib/app/socket symlink -> /run/app.sock",
            "/usr/lib/app/state symlink -> ../flix/t/var/lib/app/state",
            "/usr/lib/flix/t/etc/app/a copy",
            "/usr/lib/flix/t/usr/lib64/app/data copy",
            "/usr/lib/flix/t/var/lib/app/state copy",
            "/usr/share/app/utc symlink -> ../zoneinfo/UTC",
            "/usr/share/zoneinfo/UTC copy",
        ]
    );
    assert_eq!(
        plan.warnings,
        [
            "/usr/bin/basher: script needs /bin/bash of the host, which is not part of the extension",
            "package:app: not included, since an extension can only hold /usr and /opt: /etc/app/b, /etc/app/c, /etc/app/d",
            "package:app: one file of /usr/lib64 is not where programs look for it, since some hosts have a symlink \
             there",
        ]
    );
    assert_eq!(
        plan.notes,
        [
            "package:app: every host has its own /usr/bin/sort, not included",
            "package:app: replaces the time zones of hosts that have them (/usr/share/zoneinfo)",
        ]
    );
}

/// A script that is named and traced: its shell is the host's, as it is for a script that is only traced.
#[test]
fn the_shell_of_a_named_script() {
    let lab = TestRoot::glibc();
    lab.write("bin/busybox", "x").symlink("bin/sh", "busybox").script("usr/bin/script", "#!/bin/sh\n");
    let text = "/usr/bin/script".to_owned();
    let wanted = vec![RequestedPath { source: text.clone(), text, target: None }];
    let alone = Request { wanted, selections: Vec::new(), ..request(&[]) };
    let error = Plan::new(&lab.tree(), &alone).unwrap_err().to_string();
    assert_eq!(error, "/usr/bin/script: script needs /bin/sh, which is not part of the extension");
    let traced = Request { selections: request(&["/bin/sh", "/usr/bin/script"]).selections, ..alone };
    let (plan, _) = plan(&lab, &traced);
    assert_eq!(entries(&plan), ["/usr/bin/script copy"]);
    assert_eq!(plan.warnings, [""; 0]);
}

/// Hosts with busybox have no bash, and the image's may not replace that of a host which has one.
#[test]
fn a_script_of_bash_gets_the_images() {
    let lab = TestRoot::glibc();
    lab.with_glibc();
    lab.program("usr/bin/bash", &[], &[]).symlink("bin", "usr/bin");
    lab.script("usr/bin/one", "#!/bin/bash -e\nexit\n").script("usr/bin/two", "#!/usr/bin/env bash\n");
    lab.script("usr/bin/posix", "#!/bin/sh\n").script("usr/share/app/example", "#!/bin/bash\n");
    let paths = ["/usr/bin/one", "/usr/bin/two", "/usr/bin/posix", "/usr/share/app/example"];
    let (plan, tree) = plan(&lab, &request(&paths));
    let bash = "/usr/lib/flix/t/usr/bin/bash";
    assert!(entries(&plan).contains(&format!("{bash} relocate")), "{plan}");
    let first = |path: &str| {
        let text = tree.get(&p(path)).unwrap().content().unwrap().read(100).unwrap();
        String::from_utf8(text).unwrap().lines().next().unwrap().to_owned()
    };
    let lines = paths.map(first);
    assert_eq!(lines, [format!("#!{bash} -e"), format!("#!{bash}"), "#!/bin/sh".into(), format!("#!{bash}")]);
    assert!(!tree.contains(&p("/usr/bin/bash")));
    assert_eq!(plan.warnings, [""; 0]);
}

/// A folder of configuration that a link leads to is copied as a whole.
#[test]
fn configuration_that_a_link_leads_to() {
    let lab = TestRoot::glibc();
    lab.write("etc/java/security/java.security", "x").symlink("usr/lib/jvm/conf", "/etc/java");
    let (plan, tree) = plan(&lab, &request(&["/usr/lib/jvm/conf", "/etc/java/security/java.security"]));
    assert_eq!(
        entries(&plan),
        [
            "/usr/lib/flix/t/etc/java directory",
            "/usr/lib/flix/t/etc/java/security directory",
            "/usr/lib/flix/t/etc/java/security/java.security copy",
            "/usr/lib/jvm/conf symlink -> ../flix/t/etc/java",
        ]
    );
    assert_eq!(plan.warnings, [""; 0]);
    assert!(tree.resolve("/usr/lib/jvm/conf/security/java.security", true).is_ok());
}

/// What can't be loaded, and a second file for one place, are never an error.
#[test]
fn nothing_of_a_selection_is_an_error() {
    let lab = TestRoot::glibc();
    lab.with_glibc();
    lab.shared_library("usr/lib/x86_64-linux-gnu/libone.so.1", "libone.so.1", &[], &[]);
    lab.shared_library("usr/lib/app/plugin.so", "plugin.so", &["usr/lib/x86_64-linux-gnu/libone.so.1"], &[]);
    std::fs::remove_file(lab.path("usr/lib/x86_64-linux-gnu/libone.so.1")).unwrap();
    let broken = [b"\x7fELF\x02\x01\x01".as_slice(), &[0xff; 100]].concat();
    lab.write("usr/bin/app", "one").write("usr/sbin/app", "two").write("usr/lib/app/broken", broken);
    let paths = ["/usr/bin/app", "/usr/sbin/app", "/usr/lib/app/plugin.so", "/usr/lib/app/broken"];
    let (plan, _) = plan(&lab, &request(&paths));
    let said = plan.warnings.join("\n");
    assert!(said.contains("/usr/bin/app is wanted from both /usr/bin/app and /usr/sbin/app"), "{said}");
    assert!(said.contains("libone.so.1: not in the image, needed by /usr/lib/app/plugin.so"), "{said}");
    assert!(said.contains("/usr/lib/app/broken: "), "{said}");
}
