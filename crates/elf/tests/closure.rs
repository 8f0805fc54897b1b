//! Search rules of the loaders, one case each, on small roots with real ELF files. Wherever the real loader can judge (it
//! runs in a chroot of the same root) it does.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;

use elf::closure::{Options, Reason};
use elf::testing::{TestRoot, p};
use elf::{Closure, ClosureError, DlopenPolicy, ExtraLib, Resolver};

const RPATH: &str = "-Wl,--disable-new-dtags";
const RUNPATH: &str = "-Wl,--enable-new-dtags";
const LIB: &str = "/usr/lib/x86_64-linux-gnu";

fn needed_only() -> Options {
    Options { needed_only: true, dlopen: DlopenPolicy::None, ..Options::default() }
}

fn resolve(lab: &TestRoot, program: &str, options: Options) -> Result<Closure, ClosureError> {
    let tree = lab.tree();
    let mut resolver = Resolver::new(&tree, options);
    resolver.add_root(&p(program))?;
    resolver.finish()
}

fn names(closure: &Closure, program: &str) -> BTreeSet<String> {
    let start = closure.maps[&p(program)].start();
    start.iter().filter(|&l| *l != p(program)).map(ToString::to_string).collect()
}

/// What the real loader says in a chroot of the test root; none if it refuses.
fn oracle(lab: &TestRoot, loader: &str, program: &str) -> Option<BTreeSet<String>> {
    let root = lab.path("");
    if lab.path("etc/ld.so.conf").exists() {
        let status = Command::new("/sbin/ldconfig").arg("-r").arg(&root).status();
        assert!(status.expect("ldconfig; install libc-bin").success());
    }
    let mut command = match rustix_uid() {
        0 => Command::new("/usr/sbin/chroot"),
        _ => {
            let mut c = Command::new("/usr/bin/unshare");
            c.args(["--map-root-user", "/usr/sbin/chroot"]);
            c
        }
    };
    let output = command
        .arg(&root)
        .args([loader, "--list", program])
        .env_clear()
        .output()
        .expect("chroot; install coreutils");
    let text = String::from_utf8(output.stdout).unwrap();
    if !output.status.success() || text.contains("not found") {
        return None;
    }
    let tree = lab.tree();
    let path = |line: &str| {
        let path = line.rsplit("=> ").next()?.trim().rsplit_once(" (")?.0;
        let path = path.split_whitespace().next()?;
        path.starts_with('/').then(|| tree.resolve(path, true).unwrap().path.to_string())
    };
    Some(text.lines().filter_map(path).collect())
}

fn rustix_uid() -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap())
}

/// Our answer, which has to be the real loader's.
fn agree(lab: &TestRoot, program: &str) -> Result<BTreeSet<String>, String> {
    let (loader, name) = match lab.path("lib/ld-musl-x86_64.so.1").exists() {
        true => ("/lib/ld-musl-x86_64.so.1", "musl"),
        false => ("/lib64/ld-linux-x86-64.so.2", "glibc"),
    };
    let expected = oracle(lab, loader, program);
    let ours = resolve(lab, program, needed_only()).map(|c| names(&c, program)).map_err(|e| e.to_string());
    match (&ours, &expected) {
        (Ok(ours), Some(expected)) => assert_eq!(ours, expected, "{name}'s loader differs"),
        (Err(_), None) => {}
        other => panic!("{name}'s loader differs: {other:?}"),
    }
    ours
}

fn has(found: &Result<BTreeSet<String>, String>, path: &str) -> bool {
    found.as_ref().unwrap().contains(path)
}

#[test]
fn a_runpath_does_not_reach_the_libraries_libraries() {
    for (tags, inherited) in [(RPATH, true), (RUNPATH, false)] {
        let lab = TestRoot::glibc();
        lab.with_glibc().shared_library("opt/x/libb.so", "libb.so", &[], &[]);
        lab.shared_library("opt/x/liba.so", "liba.so", &["opt/x/libb.so"], &[]);
        lab.program("usr/bin/prog", &["opt/x/liba.so"], &[tags, "-Wl,-rpath,/opt/x"]);
        let got = agree(&lab, "/usr/bin/prog");
        assert_eq!(got.is_ok(), inherited, "{tags}");
        if let Err(e) = got {
            assert_eq!(e, "libb.so: not in the image, needed by /opt/x/liba.so, needed by /usr/bin/prog");
        }
    }
}

#[test]
fn an_own_runpath_switches_the_programs_rpath_off() {
    for (own, works) in [(&[][..], true), (&[RUNPATH, "-Wl,-rpath,/opt/empty"][..], false)] {
        let lab = TestRoot::glibc();
        lab.with_glibc().shared_library("opt/x/libb.so", "libb.so", &[], &[]);
        lab.shared_library("opt/x/liba.so", "liba.so", &["opt/x/libb.so"], own);
        lab.program("usr/bin/prog", &["opt/x/liba.so"], &[RPATH, "-Wl,-rpath,/opt/x"]);
        assert_eq!(agree(&lab, "/usr/bin/prog").is_ok(), works, "{own:?}");
    }
}

#[test]
fn musl_inherits_every_search_path() {
    for tags in [RPATH, RUNPATH] {
        let lab = TestRoot::musl();
        lab.with_musl().shared_library("opt/x/libb.so", "libb.so", &[], &[]);
        lab.shared_library("opt/x/liba.so", "liba.so", &["opt/x/libb.so"], &[]);
        lab.program("usr/bin/prog", &["opt/x/liba.so"], &[tags, "-Wl,-rpath,/opt/x"]);
        let got = agree(&lab, "/usr/bin/prog");
        assert!(has(&got, "/opt/x/libb.so") && has(&got, "/lib/ld-musl-x86_64.so.1"), "{tags}: {got:?}");
    }
}

#[test]
fn musl_reads_its_path_file() {
    for (text, works) in [("/srv/none\n/srv/libs", true), ("/srv/none", false)] {
        let lab = TestRoot::musl();
        lab.with_musl().write("etc/ld-musl-x86_64.path", text);
        lab.shared_library("srv/libs/liba.so", "liba.so", &[], &[]).program(
            "usr/bin/prog",
            &["srv/libs/liba.so"],
            &[],
        );
        assert_eq!(agree(&lab, "/usr/bin/prog").is_ok(), works, "{text:?}");
    }
}

#[test]
fn origin_lib_and_platform_are_filled_in() {
    for path in ["$ORIGIN/../private", "${ORIGIN}/../private", "/$LIB/private", "/opt/${PLATFORM}"] {
        let lab = TestRoot::glibc();
        let dir = path.replace("$ORIGIN/..", "usr").replace("${ORIGIN}/..", "usr");
        let dir = dir.replace("$LIB", "lib/x86_64-linux-gnu").replace("${PLATFORM}", "x86_64");
        let file = format!("{}/liba.so", dir.trim_start_matches('/'));
        lab.with_glibc().shared_library(&file, "liba.so", &[], &[]);
        lab.program("usr/bin/prog", &[&file], &[RUNPATH, &format!("-Wl,-rpath,{path}")]);
        // glibc changes its platform by processor (haswell); ours is the kernel's.
        let got = match path.contains("PLATFORM") {
            true => Ok(names(&resolve(&lab, "/usr/bin/prog", needed_only()).unwrap(), "/usr/bin/prog")),
            false => agree(&lab, "/usr/bin/prog"),
        };
        assert!(has(&got, &format!("/{file}")), "{path}: {got:?}");
    }
}

#[test]
fn origin_of_a_library_is_where_it_was_found() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("opt/real/dep/libb.so", "libb.so", &[], &[]);
    lab.shared_library(
        "opt/real/liba.so.1.2",
        "liba.so",
        &["opt/real/dep/libb.so"],
        &[RUNPATH, "-Wl,-rpath,$ORIGIN/dep"],
    );
    lab.symlink("opt/link/liba.so", "../real/liba.so.1.2").symlink("opt/link/dep", "../real/dep");
    lab.program("usr/bin/prog", &["opt/real/liba.so.1.2"], &[RUNPATH, "-Wl,-rpath,/opt/link"]);
    let got = agree(&lab, "/usr/bin/prog");
    assert!(has(&got, "/opt/real/dep/libb.so"), "{got:?}");
}

#[test]
fn configured_directories_come_in_their_order() {
    let lab = TestRoot::glibc();
    lab.with_glibc().write("etc/ld.so.conf", "include ld.so.conf.d/*.conf\n/srv/last\n");
    lab.write("etc/ld.so.conf.d/a.conf", "/srv/first\n");
    for dir in ["srv/first", "srv/last", "usr/lib"] {
        lab.shared_library(&format!("{dir}/liba.so.1"), "liba.so.1", &[], &[]);
    }
    lab.shared_library("srv/last/libb.so.1", "libb.so.1", &[], &[]);
    lab.program("usr/bin/prog", &["srv/first/liba.so.1", "srv/last/libb.so.1"], &[]);
    let got = agree(&lab, "/usr/bin/prog");
    assert!(has(&got, "/srv/first/liba.so.1") && has(&got, "/srv/last/libb.so.1"), "{got:?}");
}

#[test]
fn nodeflib_needs_no_default_directories() {
    for (dir, works) in [("usr/lib", false), ("srv/x", true)] {
        let lab = TestRoot::glibc();
        lab.with_glibc().write("etc/ld.so.conf", "/usr/lib\n/srv/x\n");
        lab.shared_library(&format!("{dir}/liba.so.1"), "liba.so.1", &[], &[]);
        let lib = format!("{dir}/liba.so.1");
        lab.copy("/lib/x86_64-linux-gnu/libc.so.6", "srv/c/libc.so.6");
        lab.program("usr/bin/prog", &[&lib], &["-Wl,-z,nodefaultlib", RUNPATH, "-Wl,-rpath,/srv/c"]);
        assert_eq!(agree(&lab, "/usr/bin/prog").is_ok(), works, "{dir}");
    }
}

#[test]
fn files_that_do_not_fit_are_passed_over() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("opt/good/liba.so", "liba.so", &[], &[]);
    let good = std::fs::read(lab.path("opt/good/liba.so")).unwrap();
    let mut arm = good.clone();
    arm[18] = 183;
    let mut narrow = good.clone();
    narrow[4] = 1;
    lab.write("opt/arm/liba.so", arm).write("opt/narrow/liba.so", narrow);
    lab.symlink("opt/dangling/liba.so", "nowhere");
    let path = "-Wl,-rpath,/opt/none:/opt/dangling:/opt/arm:/opt/narrow:/opt/good";
    lab.program("usr/bin/prog", &["opt/good/liba.so"], &[RUNPATH, path]);
    let ours = resolve(&lab, "/usr/bin/prog", needed_only()).unwrap();
    assert!(names(&ours, "/usr/bin/prog").contains("/opt/good/liba.so"));
    assert!(!ours.lib_dirs.contains(&p("/opt/arm")) && ours.lib_dirs.contains(&p("/opt/good")));
}

#[test]
fn links_lead_through_the_image_only() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("usr/lib/x86_64-linux-gnu/blas/libblas.so.3.1", "libblas.so.3", &[], &[]);
    lab.symlink("usr/lib/x86_64-linux-gnu/libblas.so.3", "/etc/alternatives/libblas.so.3");
    lab.symlink("etc/alternatives/libblas.so.3", "/usr/lib/x86_64-linux-gnu/blas/libblas.so.3.1");
    lab.program("usr/bin/prog", &["usr/lib/x86_64-linux-gnu/blas/libblas.so.3.1"], &[]);
    let got = agree(&lab, "/usr/bin/prog");
    assert!(has(&got, &format!("{LIB}/blas/libblas.so.3.1")), "{got:?}");
    let closure = resolve(&lab, "/usr/bin/prog", needed_only()).unwrap();
    assert_eq!(closure.links[&p(&format!("{LIB}/libblas.so.3"))], p(&format!("{LIB}/blas/libblas.so.3.1")));
}

#[test]
fn circles_end_and_sonames_count() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("usr/lib/libb.so.1", "libb.so.1", &[], &[]);
    lab.shared_library("usr/lib/liba.so.1", "liba.so.1", &["usr/lib/libb.so.1"], &[]);
    lab.shared_library("usr/lib/libb.so.1", "libb.so.1", &["usr/lib/liba.so.1"], &[]);
    // Another file with the soname that is loaded already is not looked at.
    lab.shared_library("opt/x/other.so", "liba.so.1", &[], &[]);
    lab.shared_library("opt/x/libc2.so", "libc2.so", &["opt/x/other.so"], &[RUNPATH, "-Wl,-rpath,/opt/x"]);
    lab.program(
        "usr/bin/prog",
        &["usr/lib/liba.so.1", "opt/x/libc2.so"],
        &[RUNPATH, "-Wl,-rpath,/usr/lib:/opt/x"],
    );
    let got = agree(&lab, "/usr/bin/prog");
    assert!(has(&got, "/usr/lib/libb.so.1") && !has(&got, "/opt/x/other.so"), "{got:?}");
}

#[test]
fn variants_for_better_processors_come_along_with_their_needs() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("usr/lib/libextra.so", "libextra.so", &[], &[]);
    lab.shared_library("usr/lib/liba.so.1", "liba.so.1", &[], &[]);
    lab.shared_library(
        "usr/lib/glibc-hwcaps/x86-64-v3/liba.so.1",
        "liba.so.1",
        &["usr/lib/libextra.so"],
        &[],
    );
    lab.shared_library("usr/lib/haswell/liba.so.1", "liba.so.1", &[], &[]);
    lab.program("usr/bin/prog", &["usr/lib/liba.so.1"], &[]);
    let closure = resolve(&lab, "/usr/bin/prog", needed_only()).unwrap();
    for path in [
        "/usr/lib/liba.so.1",
        "/usr/lib/glibc-hwcaps/x86-64-v3/liba.so.1",
        "/usr/lib/haswell/liba.so.1",
        "/usr/lib/libextra.so",
    ] {
        assert!(closure.objects.contains_key(&p(path)), "{path}");
    }
    assert!(
        closure.objects[&p("/usr/lib/haswell/liba.so.1")]
            .reasons
            .contains(&Reason::Variant { of: p("/usr/lib/liba.so.1") })
    );
}

#[test]
fn missing_libraries_name_who_needs_them() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("tmp/libgone.so.9", "libgone.so.9", &[], &[]);
    lab.shared_library("usr/lib/liba.so", "liba.so", &["tmp/libgone.so.9"], &[]).program(
        "usr/bin/prog",
        &["usr/lib/liba.so"],
        &[],
    );
    let error = agree(&lab, "/usr/bin/prog").unwrap_err();
    assert_eq!(error, "libgone.so.9: not in the image, needed by /usr/lib/liba.so, needed by /usr/bin/prog");
    let options = Options { allow_missing: true, ..needed_only() };
    let closure = resolve(&lab, "/usr/bin/prog", options).unwrap();
    assert_eq!(closure.missing.len(), 1);
    assert!(closure.objects.contains_key(&p("/usr/lib/liba.so")));
}

#[test]
fn name_services_and_the_unwinder_come_along() {
    let lab = TestRoot::glibc();
    lab.with_glibc().write("etc/nsswitch.conf", "passwd: files sss\nhosts: files dns\n");
    lab.shared_library("usr/lib/libnss_sss.so.2", "libnss_sss.so.2", &[], &[]);
    lab.shared_library("usr/lib/libgcc_s.so.1", "libgcc_s.so.1", &[], &[]);
    lab.shared_library("usr/lib/libnss_unnamed.so.2", "libnss_unnamed.so.2", &[], &[]);
    for (call, expected) in [
        ("", &[][..]),
        ("getpwnam(0);", &["/usr/lib/libnss_sss.so.2"]),
        ("pthread_exit(0);", &["/usr/lib/libgcc_s.so.1"]),
    ] {
        let source =
            format!("#include <pwd.h>\n#include <pthread.h>\nint main(void) {{ {call} return 0; }}\n");
        lab.compile(&source, &lab.path("usr/bin/prog"), &[], &[]);
        let closure = resolve(&lab, "/usr/bin/prog", Options::default()).unwrap();
        let later: Vec<String> =
            closure.maps[&p("/usr/bin/prog")].later().iter().map(ToString::to_string).collect();
        assert_eq!(later, expected, "{call}");
    }
}

/// glibc before 2.34 has them as files, and where nsswitch.conf is missing it asks both.
#[test]
fn the_usual_name_services_come_along_without_a_configuration() {
    let lab = TestRoot::glibc();
    lab.with_glibc();
    for name in ["libnss_files.so.2", "libnss_dns.so.2", "libnss_nis.so.2"] {
        lab.shared_library(&format!("usr/lib/{name}"), name, &[], &[]);
    }
    let source = "#include <netdb.h>\nint main(void) { gethostbyname(\"x\"); return 0; }\n";
    lab.compile(source, &lab.path("usr/bin/prog"), &[], &[]);
    let closure = resolve(&lab, "/usr/bin/prog", Options::default()).unwrap();
    let later: Vec<String> =
        closure.maps[&p("/usr/bin/prog")].later().iter().map(ToString::to_string).collect();
    assert_eq!(later, ["/usr/lib/libnss_dns.so.2", "/usr/lib/libnss_files.so.2"]);
}

/// What ldconfig(8) was given by hand is in its cache alone.
#[test]
fn directories_of_the_cache_count_without_a_configuration() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("opt/x/liba.so", "liba.so", &[], &[]);
    lab.shared_library("usr/lib/libb.so", "libb.so", &["opt/x/liba.so"], &[]);
    lab.program("usr/bin/prog", &["usr/lib/libb.so"], &[]);
    assert!(agree(&lab, "/usr/bin/prog").is_err());
    let mut ldconfig = Command::new("/sbin/ldconfig");
    std::fs::create_dir_all(lab.path("etc")).unwrap();
    let status = ldconfig.arg("-r").arg(lab.path("")).arg("/opt/x").status();
    assert!(status.expect("ldconfig; install libc-bin").success());
    assert!(has(&agree(&lab, "/usr/bin/prog"), "/opt/x/liba.so"));
}

#[test]
fn extra_libraries_by_name_path_and_folder() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("usr/lib/libdep.so", "libdep.so", &[], &[]);
    lab.shared_library("usr/lib/libname.so", "libname.so", &["usr/lib/libdep.so"], &[]);
    lab.shared_library("opt/plugins/one.so", "one.so", &[], &[]).write("opt/plugins/README", "x");
    lab.program("usr/bin/prog", &[], &[]);
    let with = |libs: &[&str]| {
        let extra_libs = libs.iter().map(|l| l.parse::<ExtraLib>().unwrap()).collect();
        resolve(&lab, "/usr/bin/prog", Options { extra_libs, ..needed_only() })
    };
    let closure = with(&["libname.so", "/opt/plugins"]).unwrap();
    for path in ["/usr/lib/libname.so", "/usr/lib/libdep.so", "/opt/plugins/one.so"] {
        assert!(closure.objects.contains_key(&p(path)), "{path}");
    }
    assert!(closure.extra_dirs.contains(&p("/opt/plugins")));
    for absent in ["libabsent.so", "/usr/lib/absent.so", "/opt/plugins/README"] {
        let error = with(&[absent]).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("extra library {absent:?} is not in the image, or fits none of the programs")
        );
    }
}

#[test]
fn dlopen_notes_by_priority() {
    let note = |json: &str| {
        format!(
            "__asm__(\".pushsection .note.dlopen,\\\"a\\\",@note\\n.balign 4\\n.long 4, 2f-1f, 0x407c0c0a\\n\
             .asciz \\\"FDO\\\"\\n1: .asciz \\\"{}\\\"\\n2: .balign 4\\n.popsection\\n\");\nint main(void) {{ return 0; }}\n",
            json.replace('"', "\\\\\\\"")
        )
    };
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("usr/lib/libr.so.1", "libr.so.1", &[], &[]);
    lab.shared_library("usr/lib/liba.so.2", "liba.so.2", &[], &[]).shared_library(
        "usr/lib/libs.so.1",
        "libs.so.1",
        &[],
        &[],
    );
    let json = r#"[{"soname":["libr.so.1"],"priority":"required","feature":"r"},{"soname":["liba.so.3","liba.so.2"],"feature":"a"},{"soname":["libs.so.1"],"priority":"suggested"},{"soname":["libnot.so"]}]"#;
    lab.compile(&note(json), &lab.path("usr/bin/prog"), &[], &[]);
    for (dlopen, expected) in [
        (DlopenPolicy::None, &[][..]),
        (DlopenPolicy::Required, &["/usr/lib/libr.so.1"]),
        (DlopenPolicy::Recommended, &["/usr/lib/libr.so.1", "/usr/lib/liba.so.2"]),
        (DlopenPolicy::All, &["/usr/lib/libr.so.1", "/usr/lib/liba.so.2", "/usr/lib/libs.so.1"]),
    ] {
        let closure =
            resolve(&lab, "/usr/bin/prog", Options { dlopen, needed_only: true, ..Options::default() })
                .unwrap();
        let later: Vec<String> =
            closure.maps[&p("/usr/bin/prog")].later().iter().map(ToString::to_string).collect();
        assert_eq!(later, expected, "{dlopen:?}");
    }
    let json = r#"[{"soname":["libgone.so","libgone2.so"],"priority":"required","feature":"x"}]"#;
    lab.compile(&note(json), &lab.path("usr/bin/bad"), &[], &[]);
    let error = resolve(&lab, "/usr/bin/bad", Options::default()).unwrap_err().to_string();
    assert_eq!(error, "libgone.so or libgone2.so: not in the image, needed by /usr/bin/bad");
}

#[test]
fn hostile_names_and_paths_do_no_harm() {
    let lab = TestRoot::glibc();
    lab.with_glibc().shared_library("opt/x/liba.so", "odd\nname", &[], &[]);
    lab.program("usr/bin/newline", &["opt/x/liba.so"], &[]);
    let error = resolve(&lab, "/usr/bin/newline", needed_only()).unwrap_err().to_string();
    assert_eq!(error, r"odd\nname: not in the image, needed by /usr/bin/newline");
    // The loader opens a name with a slash as a path; relative ones depend on the working directory.
    lab.shared_library("opt/x/libb.so", "sub/libb.so", &[], &[]).program(
        "usr/bin/slash",
        &["opt/x/libb.so"],
        &[],
    );
    assert!(resolve(&lab, "/usr/bin/slash", needed_only()).is_err());
    lab.shared_library("opt/x/libup.so", "../../../../opt/x/libup.so", &[], &[]).program(
        "usr/bin/up",
        &["opt/x/libup.so"],
        &[],
    );
    assert!(resolve(&lab, "/usr/bin/up", needed_only()).is_err());
    let long = format!("-Wl,-rpath,/{}", "x:/".repeat(12_000));
    lab.program("usr/bin/long", &[], &[RUNPATH, &long]);
    assert!(matches!(resolve(&lab, "/usr/bin/long", needed_only()), Err(ClosureError::PathTooLong { .. })));
    lab.program("usr/bin/relative", &[], &[RUNPATH, "-Wl,-rpath,lib:$NOPE/x:/ok"]);
    let warnings = resolve(&lab, "/usr/bin/relative", needed_only()).unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn programs_without_a_loader_are_errors_and_static_ones_need_nothing() {
    let lab = TestRoot::glibc();
    lab.program("usr/bin/dynamic", &[], &[]).program("usr/bin/static", &[], &["-static"]);
    let error = resolve(&lab, "/usr/bin/dynamic", needed_only()).unwrap_err().to_string();
    assert_eq!(error, "/usr/bin/dynamic: interpreter \"/lib64/ld-linux-x86-64.so.2\" is not in the image");
    let closure = resolve(&lab, "/usr/bin/static", needed_only()).unwrap();
    assert!(closure.objects.is_empty());
    lab.write("usr/bin/text", "no program");
    assert!(matches!(resolve(&lab, "/usr/bin/text", needed_only()), Err(ClosureError::NotLoadable { .. })));
}

/// A program as UPX leaves it: headers of its own, then those of the program inside, here without compression.
fn packed_by_upx(inside: &[u8], shell: &[u8], method: u8) -> Vec<u8> {
    let count = |file: &[u8]| usize::from(u16::from_le_bytes([file[56], file[57]]));
    let head = &inside[..64 + 56 * count(inside)];
    let stored = if method == 0 { head.len() } else { head.len() - 1 };
    let mut info = b"\0\0\0\0UPX!\0\0\x0e\x16".to_vec();
    info.extend([0; 12]);
    info.extend((head.len() as u32).to_le_bytes());
    info.extend((stored as u32).to_le_bytes());
    info.extend([method, 0, 0, 0]);
    info.extend(head);
    let mut out = shell.to_vec();
    let at = 64 + 56 * count(shell);
    out[at..at + info.len()].copy_from_slice(&info);
    out
}

#[test]
fn programs_packed_by_upx_hide_their_needs() {
    const LZMA: u8 = 14;
    let lab = TestRoot::glibc();
    lab.program("usr/bin/dynamic", &[], &[]).program("usr/bin/static", &[], &["-static"]);
    let read = |name: &str| std::fs::read(lab.path(name)).unwrap();
    let (dynamic, shell) = (read("usr/bin/dynamic"), read("usr/bin/static"));
    lab.write("usr/bin/one", packed_by_upx(&dynamic, &shell, 0));
    lab.write("usr/bin/two", packed_by_upx(&shell, &shell, 0));
    lab.write("usr/bin/three", packed_by_upx(&dynamic, &shell, LZMA));
    assert!(matches!(resolve(&lab, "/usr/bin/one", needed_only()), Err(ClosureError::Packed { .. })));
    assert!(resolve(&lab, "/usr/bin/two", needed_only()).unwrap().warnings.is_empty());
    let warnings = resolve(&lab, "/usr/bin/three", needed_only()).unwrap().warnings;
    assert!(warnings.iter().any(|w| w.contains("packed by UPX")), "{warnings:?}");
}
