//! The program as users have it.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::{Command, Output};

/// A home, and an image with one program in it.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("image/usr/bin")).unwrap();
        std::fs::create_dir_all(dir.path().join("home")).unwrap();
        // Of this machine, and never run.
        std::fs::copy("/bin/busybox", dir.path().join("image/usr/bin/prog")).expect("install busybox-static");
        Bench(dir)
    }

    fn image(&self) -> String {
        format!("dir:{}", self.0.path().join("image").display())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_flatwrap"));
        let home: PathBuf = self.0.path().join("home");
        c.args(args).current_dir(&home).env_clear().env("HOME", &home).env("COLUMNS", "100");
        c
    }
}

fn said(output: Output) -> (i32, String, String) {
    let text = |b| String::from_utf8(b).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// As for the shell tools.
#[test]
fn empty_variables_count_as_unset() {
    let bench = Bench::new();
    let variables = [
        "FORMAT",
        "OS",
        "SOURCE_DATE_EPOCH",
        "CMD",
        "ARCH",
        "REGISTRY",
        "ETCMAP",
        "VARMAP",
        "HOMEMAP",
        "CHROOT",
        "HOST",
        "RELOAD",
    ];
    let run = |set: bool| {
        let mut command = bench.command(&["--json", "-n", &bench.image(), "one", "/usr/bin/prog"]);
        if set {
            command.envs(variables.map(|v| (v, "")));
        }
        said(command.output().unwrap())
    };
    let (code, out, err) = run(true);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, run(false).1);
}

#[test]
fn a_bare_command_shows_its_help() {
    let bench = Bench::new();
    for variables in [&[][..], &[("OS", "flatcar"), ("ETCMAP", "chroot")]] {
        let (code, out, err) = said(bench.command(&[]).envs(variables.iter().copied()).output().unwrap());
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("Usage: flatwrap") && err.contains("Examples:"), "{err}");
    }
}

#[test]
fn a_directory_is_held_to_the_architecture_asked_for() {
    let bench = Bench::new();
    for (arch, expected, error) in [
        ("amd64", 0, ""),
        (
            "arm64",
            1,
            "image is for linux/amd64, expected linux/arm64\nhint: a tar or directory can't be chosen by --arch; leave it (and ARCH) out for linux/amd64\n",
        ),
    ] {
        let args = ["-n", "--arch", arch, &bench.image(), "one", "/usr/bin/prog"];
        let (code, _, err) = said(bench.command(&args).output().unwrap());
        assert!(code == expected && err.ends_with(error), "{arch}: {err}");
    }
}

#[test]
fn odd_matches_of_a_pattern_are_left_out() {
    let bench = Bench::new();
    let bin = bench.0.path().join("image/usr/bin");
    std::os::unix::fs::symlink("nowhere", bin.join("dead")).unwrap();
    assert!(Command::new("mkfifo").arg(bin.join("fifo")).status().unwrap().success());
    let (code, out, err) =
        said(bench.command(&["-n", &bench.image(), "one", "/usr/bin/*"]).output().unwrap());
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("/usr/bin/prog") && !out.contains("dead") && !out.contains("fifo"), "{out}");
    assert!(err.contains("/usr/bin/dead") && err.contains("/usr/bin/fifo"), "{err}");
    let (code, _, _) = said(bench.command(&["-n", &bench.image(), "one", "/usr/bin/fifo"]).output().unwrap());
    assert_eq!(code, 1);
}

#[test]
fn what_else_it_can_do() {
    let bench = Bench::new();
    for (args, word) in [
        (&["--completions", "bash"][..], "etcmap"),
        (&["--man"], ".TH flatwrap"),
        (&["--version"], "flatwrap "),
        (&["--cache-list"], "0 entries, 0 B"),
        (&["--cache-prune=0d"], "0 entries removed, 0 B; 0 in use"),
    ] {
        let (code, out, err) = said(bench.command(args).output().unwrap());
        assert!(code == 0 && out.contains(word), "{args:?}: {out}{err}");
    }
}

/// An OCI layout of one layer, with that `config` in its config.
fn layout(bench: &Bench, config: &str) -> String {
    let dir = bench.0.path().join("layout");
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8], kind: &str| {
        let digest = store::Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        let length = bytes.len();
        format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":{length}}}"#)
    };
    let tree = tree::Tree::from_dir(&bench.0.path().join("image"), &tree::ReadOptions::default()).unwrap();
    let mut tar = Vec::new();
    tree.write_tar(&mut tar).unwrap();
    let diff_id = store::Digest::of(&tar);
    let layer = put(&tar, "layer.v1.tar");
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{config},"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
    );
    let config = put(config.as_bytes(), "config.v1+json");
    let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#);
    let manifest = put(manifest.as_bytes(), "manifest.v1+json");
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::fs::write(dir.join("index.json"), format!(r#"{{"schemaVersion":2,"manifests":[{manifest}]}}"#))
        .unwrap();
    format!("oci:{}", dir.display())
}

#[test]
fn the_image_says_how_its_programs_run() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.0.path().join("image/app")).unwrap();
    let image = layout(
        &bench,
        r#"{"Env":["PATH=/opt/bin:/usr/bin","PROG_HOME=/app","PROG_VERSION=1"],"Entrypoint":["prog","-x"],"Cmd":["a b"],
            "WorkingDir":"/app","User":"65532:65532"}"#,
    );
    let run = |args: &[&str]| {
        let all = [&["--format=dir", "-o", "out", "--arch", "amd64"], args].concat();
        let (code, out, err) = said(bench.command(&all).output().unwrap());
        assert_eq!(code, 0, "{out}{err}");
        let file =
            |name: &str| std::fs::read_to_string(bench.0.path().join("home/out/usr").join(name)).unwrap();
        (err, file("lib/flatwrap/one/.flatwrap/enter"), file("bin/one"))
    };
    let (err, enter, _) = run(&[&image, "one", "/usr/bin/prog:/usr/bin/one"]);
    let notes: Vec<&str> = err.lines().collect();
    assert_eq!(
        notes,
        [
            "note: programs get the image's PATH, PROG_HOME (--no-image-env leaves that out)",
            "note: the image's programs start in \"/app\", these in the caller's directory (--workdir image)",
            "note: the image runs \"prog\" \"-x\" \"a b\": --entrypoint makes an entry point of it",
            "note: the image's programs run as user \"65532\", these as whoever starts them",
        ]
    );
    assert!(enter.contains("export PROG_HOME=/app\n") && !enter.contains("--chdir"), "{enter}");

    let (err, enter, _) =
        run(&["--no-image-env", "--workdir", "image", &image, "one", "/usr/bin/prog:/usr/bin/one"]);
    assert!(err.starts_with("note: programs don't get the image's PATH, PROG_HOME\n"), "{err}");
    assert!(!enter.contains("PROG_HOME") && enter.contains("--chdir /app"), "{enter}");

    let (err, enter, one) = run(&["--entrypoint", "--env", "PROG_HOME", &image, "one"]);
    assert!(!err.contains("--entrypoint") && !err.contains("--workdir"), "{err}");
    assert!(enter.contains("--chdir /app") && enter.contains("[ \"${PROG_HOME+set}\" ] ||"), "{enter}");
    assert!(one.contains("|| set -- 'a b'\nset -- /usr/bin/prog -x \"$@\"\n"), "{one}");
}

/// An image with a shell, two files of data, and a package of one of them.
fn with_data(bench: &Bench) {
    let image = bench.0.path().join("image");
    std::fs::rename(image.join("usr/bin/prog"), image.join("usr/bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", image.join("usr/bin/sh")).unwrap();
    std::os::unix::fs::symlink("usr/bin", image.join("bin")).unwrap();
    for (path, text) in [
        ("usr/share/d/one", "one\n"),
        ("usr/share/d/two", "two\n"),
        ("etc/one.conf", "conf\n"),
        ("usr/share/doc/tool/README", "read me\n"),
        (
            "var/lib/dpkg/status",
            "Package: tool\nStatus: install ok installed\nArchitecture: amd64\nDepends: shell\n\n\
             Package: shell\nStatus: install ok installed\nArchitecture: amd64\n\n\
             Package: other\nStatus: install ok installed\nArchitecture: amd64\n",
        ),
        (
            "var/lib/dpkg/info/tool.list",
            "/usr/bin/tool\n/usr/share/d/one\n/etc/one.conf\n/usr/share/doc/tool/README\n",
        ),
        ("var/lib/dpkg/info/shell.list", "/usr/bin/busybox\n/usr/bin/sh\n"),
        ("var/lib/dpkg/info/other.list", "/usr/share/d/two\n"),
        ("usr/bin/tool", "#!/bin/sh\nread x < /usr/share/d/one\necho $x\n"),
    ] {
        let path = image.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(image.join("usr/bin/tool"), mode).unwrap();
}

/// What is in the extension's private root, and which entry points show.
fn contents(bench: &Bench, args: &[&str]) -> String {
    let out = bench.0.path().join("out");
    let _ = std::fs::remove_dir_all(&out);
    let place = format!("{}/", out.display());
    let mut all = vec!["-q", "--no-install", "--network", "none", "--format", "dir", "-o", place.as_str()];
    std::fs::create_dir(&out).unwrap();
    let image = bench.image();
    all.extend([image.as_str(), "one"]);
    all.extend(args);
    let (code, _, err) = said(bench.command(&all).output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
    let mut found: Vec<String> = Vec::new();
    let mut todo = vec![out.join("one/usr")];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let text = path.strip_prefix(out.join("one")).unwrap().to_str().unwrap().to_owned();
            let place = text.replace("usr/lib/flatwrap/one", "@");
            match entry.file_type().unwrap().is_dir() {
                true if place.starts_with("@/.flatwrap") => {}
                true => todo.push(path),
                false if place.starts_with("usr/lib/extension-release.d") => {}
                // Places of the host's files, and symlinks to them.
                false if std::fs::read_link(&path).is_ok_and(|to| to.starts_with("/.flatwrap-etc")) => {}
                false
                    if place.starts_with("@/etc") && std::fs::metadata(&path).is_ok_and(|m| m.len() == 0) => {
                }
                false => found.push(place),
            }
        }
    }
    found.sort();
    found.join(" ")
}

#[test]
fn a_private_root_of_what_a_run_opens() {
    let bench = Bench::new();
    with_data(&bench);
    let traced = contents(&bench, &["--trace", "tool", "--paths-to", "list"]);
    assert_eq!(traced, "@/bin @/usr/bin/busybox @/usr/bin/sh @/usr/bin/tool @/usr/share/d/one usr/bin/tool");
    let list = std::fs::read_to_string(bench.0.path().join("home/list")).unwrap();
    assert_eq!(
        list,
        "# Paths of the image, for --paths-from. Selected by:\n#   --trace 'tool'\n\
         /bin\n/usr/bin/busybox\n/usr/bin/sh\n/usr/bin/tool\n/usr/share/d/one\n"
    );
    assert_eq!(contents(&bench, &["/usr/bin/tool", "--paths-from", "list"]), traced);
    // A list is for people, too.
    std::fs::write(bench.0.path().join("home/list"), format!("{list}\n# All of it.\n/usr/share/d/**\n"))
        .unwrap();
    let edited = contents(&bench, &["/usr/bin/tool", "--paths-from", "list"]);
    assert_eq!(edited, traced.replace("/one", "/one @/usr/share/d/two"));
    // A program of every host is in the private root and doesn't hide the host's.
    let host = bench.image().replacen("dir:", "", 1) + "/usr/bin/hostnamectl";
    std::fs::copy(host.replace("hostnamectl", "tool"), host).unwrap();
    let traced = contents(&bench, &["--trace", "hostnamectl; tool"]);
    assert_eq!(
        traced,
        "@/bin @/usr/bin/busybox @/usr/bin/hostnamectl @/usr/bin/sh @/usr/bin/tool @/usr/share/d/one usr/bin/tool"
    );
}

#[test]
fn a_private_root_of_a_package() {
    let bench = Bench::new();
    with_data(&bench);
    assert_eq!(
        contents(&bench, &["package:tool"]),
        "@/bin @/etc/one.conf @/usr/bin/busybox @/usr/bin/sh @/usr/bin/tool @/usr/share/d/one usr/bin/tool"
    );
    let shown = contents(&bench, &["package:tool", "/usr/bin/busybox"]);
    assert!(shown.ends_with("@/usr/share/d/one usr/bin/busybox"), "{shown}");
    let (code, _, err) =
        said(bench.command(&["-n", "--no-install", &bench.image(), "one", "package:none"]).output().unwrap());
    assert_eq!(code, 1);
    assert!(err.starts_with("error: package none is not installed in the image\n"), "{err}");
}

#[test]
fn a_command_that_fails_under_the_trace() {
    let bench = Bench::new();
    with_data(&bench);
    let args = ["-n", "--no-install", &bench.image(), "one", "--trace", "echo oh dear; exit 4"];
    let (code, _, err) = said(bench.command(&args).output().unwrap());
    assert_eq!(code, 1);
    assert_eq!(
        err,
        "error: trace: command \"echo oh dear; exit 4\" ended with exit status 4; the last that it printed:\n  oh dear\n"
    );
}

/// A service that needs a directory, a user and a file of /etc, all of which only the image has.
#[test]
fn programs_are_started_in_what_a_host_will_see() {
    let bench = Bench::new();
    with_data(&bench);
    let image = bench.0.path().join("image");
    let script = "#!/bin/sh\n[ \"$1\" = -t ] || exit 2\nread x </etc/web.conf || exit 1\n\
                  [ -e /var/lib/web/body ] || mkdir /var/lib/web/body || exit 1\nread x </usr/share/d/two\n";
    for (path, text) in [
        ("usr/bin/web", script),
        (
            "usr/lib/systemd/system/web.service",
            "[Service]\nExecStartPre=/usr/bin/web -t\nExecStart=/usr/bin/web\n",
        ),
        ("etc/web.conf", "x\n"),
        ("var/lib/web/old", "x\n"),
        (
            "var/lib/dpkg/info/other.list",
            "/usr/bin/web\n/usr/lib/systemd/system/web.service\n/etc/web.conf\n/var/lib/web\n",
        ),
    ] {
        let path = image.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    std::fs::remove_file(image.join("var/lib/web/old")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(image.join("usr/bin/web"), mode).unwrap();
    let run = |args: &[&str]| {
        let _ = std::fs::remove_dir_all(bench.0.path().join("home/one"));
        let image = bench.image();
        let mut all = vec!["--no-install", "--format", "dir", &image, "one", "/usr/bin/web"];
        all.extend(args);
        let (code, _, err) = said(bench.command(&all).output().unwrap());
        let lines: Vec<&str> =
            err.lines().filter(|l| l.contains("web -t") || l.starts_with("error")).collect();
        (code, lines.join("\n"))
    };
    let test = "warning: web -t (web.service):";
    for (args, expected) in [
        (&[][..], String::new()),
        (
            &["--no-service-files"],
            format!("{test} writes to /var/lib/web, which the image has and a host won't have"),
        ),
        (
            &["--etcmap", "host", "--no-service-files"],
            format!("{test} looks for /etc/web.conf, which the image has and a host won't have"),
        ),
        (&["--no-service-files", "--no-check"], String::new()),
        (&["--check", "web -t && [ -d /var/lib/web/body ]"], String::new()),
    ] {
        assert_eq!(run(args), (0, expected), "{args:?}");
    }
    let (code, said) = run(&["--check", "echo before; exit 3"]);
    assert_eq!(
        (code, said.as_str()),
        (1, "error: check \"echo before; exit 3\" ended with exit status 3; it printed:")
    );
    assert!(!bench.0.path().join("home/one").exists());
}
