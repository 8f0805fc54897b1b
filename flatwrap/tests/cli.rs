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
