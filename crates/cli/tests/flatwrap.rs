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
