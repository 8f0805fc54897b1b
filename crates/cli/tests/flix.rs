//! The program as users have it.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use elf::testing::TestRoot;

struct Flix {
    home: tempfile::TempDir,
}

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Flix {
    fn new() -> Flix {
        Flix { home: tempfile::tempdir().unwrap() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_flix"));
        c.args(args)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("COLUMNS", "100");
        c
    }

    fn run(&self, args: &[&str]) -> Said {
        said(self.command(args).output().unwrap())
    }

    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.home.path()).unwrap();
        let mut names: Vec<String> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|n| !n.starts_with('.'));
        names.sort();
        names
    }
}

fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// An image with one musl program and a library.
fn image() -> (TestRoot, String) {
    let lab = TestRoot::musl();
    lab.with_musl().shared_library("usr/lib/libone.so.1", "libone.so.1", &[], &[]);
    lab.program("usr/bin/prog", &["usr/lib/libone.so.1"], &[]).script("usr/bin/script", "#!/bin/sh\n");
    let place = format!("dir:{}", lab.path("").display());
    (lab, place)
}

#[test]
fn an_image_is_written_and_told_of() {
    let (flix, (_lab, image)) = (Flix::new(), image());
    let said = flix.run(&[&image, "one", "/usr/bin/prog"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert!(said.out.starts_with("one.raw: "), "{}", said.out);
    assert_eq!(flix.files(), ["one.raw"]);
}

#[test]
fn what_an_image_was_made_of_is_written_beside_it() {
    let (flix, (_lab, image)) = (Flix::new(), image());
    let said = flix.run(&["--provenance", &image, "one", "/usr/bin/prog"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert_eq!(flix.files(), ["one.intoto.json", "one.raw"]);
    let text = std::fs::read(flix.home.path().join("one.intoto.json")).unwrap();
    let statement: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let sha256 = statement["subject"][0]["digest"]["sha256"].as_str().unwrap();
    assert!(said.out.contains(sha256), "{}", said.out);
    let base = &statement["predicate"]["buildDefinition"]["resolvedDependencies"][0];
    assert_eq!((base["name"].as_str(), base["uri"].as_str()), (Some("rootfs"), Some(image.as_str())));

    let said = flix.run(&["--provenance", "--format", "dir", &image, "two", "/usr/bin/prog"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{}", said.err);
    assert_eq!(said.err, "error: --provenance: a directory has no digest, choose another --format\n");
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let (flix, (_lab, image)) = (Flix::new(), image());
    let said = flix.run(&["--dry-run", &image, "one", "/usr/bin/prog"]);
    insta::assert_snapshot!(said.out, @r#"
    /usr/bin/prog relocate
        interpreter /usr/lib/flix/one/lib/ld-musl-x86_64.so.1
        rpath /usr/lib/flix/one/usr/lib
    /usr/lib/flix/one/etc/ld-musl-x86_64.path text
    /usr/lib/flix/one/lib/ld-musl-x86_64.so.1 confine
    /usr/lib/flix/one/usr/lib/libone.so.1 relocate
        rpath /usr/lib/flix/one/usr/lib
    "#);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(flix.files().is_empty());
}

#[test]
fn a_wrong_command_line_is_json_too() {
    let said = Flix::new().run(&["--json", "dir:/", "alpine:latest", "/usr/bin/prog"]);
    assert_eq!(said.code, 2);
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert!(json["error"].as_str().unwrap().contains("\"alpine:latest\" has ':'"), "{json}");
    assert_eq!(json["hint"], "the order is IMAGE NAME PATH: NAME is the extension's own, such as alpine");
    assert!(said.err.contains("\nhint: the order is IMAGE NAME PATH"), "{}", said.err);
    let said = Flix::new().run(&["--json", "--help"]);
    assert!(said.code == 0 && said.out.starts_with("Build a systemd"), "{}", said.out);
    let said = Flix::new().run(&["dir:/"]);
    assert!(said.code == 2 && said.out.is_empty(), "{}", said.out);
}

#[test]
fn reasons_and_json() {
    let (flix, (_lab, image)) = (Flix::new(), image());
    let said = flix.run(&["-n", "--explain", &image, "one", "/usr/bin/prog"]);
    let digits = said.out.replace(|c: char| c.is_ascii_digit(), "#");
    insta::assert_snapshot!(digits, @r#"
    /usr/bin/prog
      /usr/bin/prog ##.# KiB
        /usr/lib/flix/one/lib/ld-musl-x##_##.so.# ###.# KiB, as libc.so, also for /usr/lib/flix/one/usr/lib/libone.so.#
        /usr/lib/flix/one/usr/lib/libone.so.# ##.# KiB, as libone.so.#
    search path of the loader
      /usr/lib/flix/one/etc/ld-musl-x##_##.path ## B
    release file
      /usr/lib/extension-release.d/extension-release.one ## B
    # files, ###.# KiB
    "#);
    let said = flix.run(&["--json", &image, "one", "/usr/bin/prog", "--sysroot", "/opt/one"]);
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["sysroot"], "/opt/one");
    assert_eq!(json["image"]["path"], "one.raw");
    assert_eq!(json["files"].as_array().unwrap().len(), 4);
    let program = json["files"].as_array().unwrap().iter().find(|f| f["path"] == "/usr/bin/prog").unwrap();
    assert_eq!(program["interpreter"], "/opt/one/lib/ld-musl-x86_64.so.1");
    assert_eq!(program["rpath"][0], "/opt/one/usr/lib");
}

#[test]
fn errors_have_hints_and_leave_nothing() {
    let (flix, (lab, image)) = (Flix::new(), image());
    lab.shared_library("tmp/libgone.so", "libgone.so", &[], &[]).program(
        "usr/bin/bad",
        &["tmp/libgone.so"],
        &[],
    );
    lab.write("usr/lib64/x", "x").write("srv/y", "y");
    for (args, code, error) in [
        (
            &["/usr/bin/absent"][..],
            1,
            "error: /usr/bin/absent is not in the image\nhint: --package P installs a package in the image first, --run CMD runs a command\n",
        ),
        (&["/opt/prog"], 1, "error: /opt/prog is not in the image\nhint: the image has /usr/bin/prog\n"),
        (
            &["/srv/y"],
            1,
            "error: /srv/y is neither below /usr nor below /opt, the only folders that an extension can fill\nhint: say where it goes: /srv/y:/usr/bin/y for a program, /srv/y:/usr/share/srv/y for data\n",
        ),
        (
            &["/usr/bin/script"],
            1,
            "error: /usr/bin/script: script needs /bin/sh, which is not part of the extension\nhint: the image does not have it: --package installs it, --host-interpreters leaves the script to the host's\n",
        ),
        (
            &["/usr/bin/bad"],
            1,
            "error: libgone.so: not in the image, needed by /usr/bin/bad\nhint: the image has /tmp/libgone.so, where nothing looks for it: --extra-lib /tmp/libgone.so takes it along\n",
        ),
        (
            &["/usr/lib64/x"],
            1,
            "error: extension one is refused: /usr/lib64: is a real directory, where hosts have a symlink whose place it takes [host-symlink]\nhint: PATH:DEST gives a file another place; --allow host-symlink accepts the risk\n",
        ),
        (
            &["prog"],
            2,
            "error: invalid value 'prog' for '[PATH]...': \"prog\" is not an absolute path of the image\n\nFor more information, try '--help'.\nhint: paths start with a slash: /usr/bin/prog\n",
        ),
        (
            &["/usr/bin/prog:bin/x"],
            2,
            "error: invalid value '/usr/bin/prog:bin/x' for '[PATH]...': /usr/bin/prog:bin/x: destination \"bin/x\" has to be an absolute path\n\nFor more information, try '--help'.\nhint: PATH:DEST is /usr/bin/a:/usr/bin/b; a path with a colon in its name needs a destination: /usr/bin/prog:bin/x:/usr/bin/b\n",
        ),
    ] {
        let mut all = vec!["--no-install", image.as_str(), "one"];
        all.extend(args);
        let said = flix.run(&all);
        assert_eq!((said.code, said.err.as_str(), said.out.as_str()), (code, error, ""), "{args:?}");
        assert!(flix.files().is_empty(), "{args:?}");
    }
}

/// mtr starts mtr-packet, which is a file of its own package, by a name without a path.
#[test]
fn programs_of_the_same_packages_that_a_program_names_are_missed() {
    let (flix, (lab, image)) = (Flix::new(), image());
    let source = "#include <stdio.h>\nint main(int c, char **v) {\n\
                  static const char *const all[] = { \"start ./ping-packet\", \"tool-of-helper\", \"other-tool\", \"shell\", \"ping-six\" };\n\
                  puts(all[c]); return 0; }\n";
    lab.compile(source, &lab.path("usr/bin/ping"), &[], &[]);
    for name in ["ping-packet", "tool-of-helper", "other-tool", "shell"] {
        lab.script(&format!("usr/bin/{name}"), "x");
    }
    lab.symlink("usr/bin/ping-six", "ping");
    let warned = |image: &str, more: &[&str]| {
        let said = flix.run(&[&[image, "one", "--no-check", "--dry-run", "/usr/bin/ping"], more].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        said.err
    };
    // Nothing is known of what belongs together but the names.
    let hint = "or use flatwrap, which runs programs in the whole image\n";
    let adds = "hint: to include what these programs look for, add to the PATHs:";
    assert_eq!(
        warned(&image, &[]),
        format!(
            "warning: /usr/bin/ping: runs /usr/bin/ping-packet, which the extension lacks\n{adds} /usr/bin/ping-packet; {hint}"
        )
    );
    let package = |name: &str, depends: &str| {
        format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\n{depends}\n")
    };
    let status = package("ping", "Depends: helper\n") + &package("helper", "") + &package("other", "");
    lab.write("var/lib/dpkg/status", &status);
    for (name, files) in [
        ("ping", "/usr/bin/ping\n/usr/bin/ping-packet\n/usr/bin/ping-six\n"),
        ("helper", "/usr/bin/tool-of-helper\n/usr/bin/shell\n"),
        ("other", "/usr/bin/other-tool\n"),
    ] {
        lab.write(&format!("var/lib/dpkg/info/{name}.list"), files);
    }
    assert_eq!(
        warned(&image, &[]),
        format!(
            "warning: /usr/bin/ping: runs /usr/bin/ping-packet, /usr/bin/tool-of-helper, which the extension lacks\n\
             {adds} package:ping; {hint}"
        )
    );
    let named = ["/usr/bin/ping-packet", "/usr/bin/tool-of-helper", "--host-interpreters"];
    assert_eq!(warned(&image, &named), "");
}

/// A program is taken by its name or by a trace from an image whose package database can't be read, with a warning where that matters.
#[test]
fn a_damaged_database_fails_no_program() {
    let (flix, (lab, image)) = (Flix::new(), image());
    let source = "#include <pwd.h>\n#include <unistd.h>\nint main(void) { return setuid(getpwnam(\"capture\")->pw_uid); }\n";
    lab.compile(source, &lab.path("usr/bin/capture"), &[], &[]);
    lab.write("etc/passwd", "capture:x:100:100::/:/bin/false\n");
    lab.write("etc/capture.conf", "x");
    lab.write("var/lib/rpm/rpmdb.sqlite", "no database");
    lab.write("list", "/usr/bin/capture\n/etc/capture.conf\n");
    let list = lab.path("list");
    let named = ["/usr/bin/capture"];
    let listed = ["--paths-from", list.to_str().unwrap()];
    for (what, expected) in [
        (&named[..], "warning: /usr/bin/capture: can't determine whether it runs as a user of its package: "),
        (&listed, "warning: files in /etc that the run opened are not made on the host: "),
    ] {
        let said = flix.run(&[&[&image, "one", "--no-check", "--dry-run"], what].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(said.err.contains(expected), "{}", said.err);
    }
}

/// perl doesn't need the modules that another package has for it, unless somebody's script does.
#[test]
fn modules_of_other_packages_are_a_note() {
    let (flix, (lab, image)) = (Flix::new(), image());
    let source =
        "#include <stdlib.h>\n#include <stdio.h>\nint main(void) { puts(getenv(\"PERL5LIB\")); return 0; }\n";
    lab.compile(source, &lab.path("usr/bin/perl"), &[], &[]);
    lab.write("usr/share/perl/5.36/strict.pm", "1;\n");
    lab.write("usr/share/perl5/Other.pm", "1;\n");
    let package =
        |name: &str| format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\n\n");
    lab.write("var/lib/dpkg/status", &(package("perl") + &package("other")));
    lab.write("var/lib/dpkg/info/perl.list", "/usr/bin/perl\n/usr/share/perl/5.36/strict.pm\n");
    lab.write("var/lib/dpkg/info/other.list", "/usr/share/perl5/Other.pm\n");
    let said = |what: &str| flix.run(&[&image, "one", "--no-check", "--dry-run", what]).err;
    let lacks = "/usr/bin/perl: needs Perl's modules (/usr/share/perl5), which the extension lacks";
    let by_package = said("package:perl");
    assert!(
        by_package.contains(&format!("note: {lacks}\n")) && !by_package.contains("hint: "),
        "{by_package}"
    );
    assert!(said("/usr/bin/perl").contains("warning: /usr/bin/perl: needs Perl's modules (/usr/share/perl"));
}

#[test]
fn the_shell_tools_environment_counts() {
    let (flix, (lab, image)) = (Flix::new(), image());
    lab.shared_library("usr/lib/libextra.so", "libextra.so", &[], &[]);
    let output = flix
        .command(&["--json", &image, "one", "/usr/bin/prog"])
        .envs([("EXTRALIBS", "/usr/lib/libextra.so"), ("OS", "flatcar"), ("RELOAD", "1"), ("FORMAT", "tar")])
        .output()
        .unwrap();
    let said = said(output);
    let json: serde_json::Value = serde_json::from_str(&said.out).expect(&said.err);
    assert!(
        json["files"]
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["path"] == "/usr/lib/flix/one/usr/lib/libextra.so")
    );
    let release = json["release"].as_str().unwrap();
    for line in ["ID=flatcar", "SYSEXT_LEVEL=1.0", "EXTENSION_RELOAD_MANAGER=1", "ARCHITECTURE=x86-64"] {
        assert!(release.lines().any(|l| l == line), "{release}");
    }
    assert_eq!(flix.files(), ["one.tar"]);
}

/// As for the shell tools.
#[test]
fn empty_variables_count_as_unset() {
    let (flix, (_lab, image)) = (Flix::new(), image());
    let variables = [
        "FORMAT",
        "OS",
        "SOURCE_DATE_EPOCH",
        "CMD",
        "ARCH",
        "REGISTRY",
        "EXTRALIBS",
        "RELOAD",
        "FLIX_CACHE_DIR",
        "FLIX_SANDBOX",
        "CONTAINERS_REGISTRIES_CONF",
        "REGISTRY_AUTH_FILE",
    ];
    let mut command = flix.command(&["--json", &image, "one", "/usr/bin/prog"]);
    let said = said(command.envs(variables.map(|v| (v, ""))).output().unwrap());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["release"], "ID=_any\nARCHITECTURE=x86-64\n");
    assert_eq!(flix.files(), ["one.raw"]);
}

#[test]
fn a_bare_command_shows_its_help() {
    let flix = Flix::new();
    for variables in [&[][..], &[("OS", "flatcar"), ("ARCH", "arm64"), ("EXTRALIBS", "x")]] {
        let said = said(flix.command(&[]).envs(variables.iter().copied()).output().unwrap());
        assert_eq!((said.code, said.out.as_str()), (2, ""));
        assert!(said.err.contains("Usage: flix") && said.err.contains("Examples:"), "{}", said.err);
    }
}

/// Before the image is looked at, which isn't even there.
#[test]
fn a_missing_output_directory_is_told_first() {
    let flix = Flix::new();
    for more in [&[][..], &["-n"]] {
        let args = [&["dir:/does/not/exist", "one", "/usr/bin/x", "-o", "none/one.raw"], more].concat();
        let said = flix.run(&args);
        let error = "error: output directory \"none\": No such file or directory (os error 2)\nhint: mkdir -p none makes it\n";
        assert_eq!((said.code, said.err.as_str()), (1, error));
    }
}

#[test]
fn a_directory_is_held_to_the_architecture_asked_for() {
    let (flix, (lab, image)) = (Flix::new(), image());
    for (arch, code, error) in [
        ("amd64", 0, String::new()),
        (
            "arm64",
            1,
            format!(
                "error: {:?}: image is for linux/amd64, expected linux/arm64\nhint: a tar or directory can't be chosen by --arch; leave it (and ARCH) out for linux/amd64\n",
                lab.path("")
            ),
        ),
        (
            "amd46",
            1,
            "error: architecture \"amd46\" is unknown, expected one of amd64, arm64, 386, arm, riscv64, ppc64le, s390x, loong64, mips, mipsle, mips64, mips64le, ppc64\n".to_owned(),
        ),
    ] {
        let said = flix.run(&["-n", "--arch", arch, &image, "one", "/usr/bin/prog"]);
        assert_eq!((said.code, said.err), (code, error), "{arch}");
    }
}

#[test]
fn same_input_same_bytes() {
    let (lab, image) = image();
    let write = |umask: &str, date: &str| {
        let flix = Flix::new();
        let line =
            format!("umask {umask} && exec \"$0\" -q '{image}' one /usr/bin/prog /usr/lib/libone.so.1:/opt/");
        let output = Command::new("/bin/sh")
            .args(["-c", &line, env!("CARGO_BIN_EXE_flix")])
            .current_dir(flix.home.path())
            .envs([("TZ", date), ("HOME", flix.home.path().to_str().unwrap())])
            .output()
            .unwrap();
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        std::fs::read(flix.home.path().join("one.raw")).unwrap()
    };
    let first = write("022", "UTC");
    let status = Command::new("touch").arg(lab.path("usr/bin/prog")).status().unwrap();
    assert!(status.success());
    assert_eq!(first, write("077", "Asia/Tokyo"));
}

#[test]
fn help_completions_and_manual() {
    let flix = Flix::new();
    let said = flix.run(&["-h"]);
    for word in ["Usage: flix", "IMAGE", "--extra-lib", "--dry-run", "Examples:"] {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }
    for shell in ["bash", "zsh", "fish"] {
        let said = flix.run(&["--completions", shell]);
        assert!(said.code == 0 && said.out.contains("extra-lib"), "{shell}: {}", said.err);
    }
    let said = flix.run(&["--man"]);
    assert!(said.code == 0 && said.out.contains(".TH flix"), "{}", said.err);
    assert_eq!(flix.run(&["--version"]).out, format!("flix {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(flix.run(&["dir:/", "x"]).code, 2);
}

#[test]
fn an_error_is_json_where_a_result_would_be() {
    let (_lab, place) = image();
    let flix = Flix::new();
    let said = flix.run(&[&place, "one", "/opt/prog", "--json"]);
    assert_eq!(said.code, 1);
    let value: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(value["error"], "/opt/prog is not in the image");
    assert_eq!(value["hint"], "the image has /usr/bin/prog");
    assert!(said.err.starts_with("error: /opt/prog is not in the image\n"), "{}", said.err);
    assert_eq!(flix.run(&[&place, "one", "/opt/prog"]).out, "");
}

/// Traced twice, and built from the list of the first trace.
#[test]
fn a_trace_and_its_list_give_the_same_bytes() {
    let flix = Flix::new();
    let image = flix.home.path().join(".image");
    std::fs::create_dir_all(image.join("usr/bin")).unwrap();
    std::fs::create_dir_all(image.join("usr/share/app")).unwrap();
    std::fs::copy("/bin/busybox", image.join("usr/bin/busybox")).expect("install busybox-static");
    for name in ["sh", "app"] {
        std::os::unix::fs::symlink("busybox", image.join("usr/bin").join(name)).unwrap();
    }
    std::os::unix::fs::symlink("usr/bin", image.join("bin")).unwrap();
    std::fs::write(image.join("usr/share/app/used"), "used\n").unwrap();
    std::fs::write(image.join("usr/share/app/unused"), "unused\n").unwrap();
    let image = format!("dir:{}", image.display());
    let build = |args: &[&str]| {
        let common = ["-q", "--no-install", "--network", "none", image.as_str(), "app", "/usr/bin/busybox"];
        let said = flix.run(&[&common, args].concat());
        assert_eq!((said.code, said.out.as_str()), (0, ""), "{}", said.err);
        std::fs::read(flix.home.path().join("app.raw")).unwrap()
    };
    let trace = ["--trace", "read x < /usr/share/app/used"];
    let first = build(&[&trace[..], &["--paths-to", "list"]].concat());
    let list = std::fs::read_to_string(flix.home.path().join("list")).unwrap();
    assert_eq!(
        list,
        "# Paths of the image, for --paths-from. Selected by:\n#   --trace 'read x < /usr/share/app/used'\n\
         /usr/bin/sh\n/usr/share/app/used\n"
    );
    assert!(build(&trace) == first);
    assert!(build(&["--paths-from", "list"]) == first);
    assert!(build(&[]) != first);
}
