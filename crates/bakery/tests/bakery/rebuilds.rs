//! What makes an image that was built before stale, and what doesn't.

use std::path::Path;
use std::process::Command;

use crate::mirror::Mirror;

const THING: &str = r#"
summary = "A thing"
architectures = ["x86-64"]
[versions]
source = { text = "https://e.org/versions" }
[[download]]
id = "thing"
url = "https://e.org/thing-{version}"
checksum = "lock-only"
[[install]]
from = "thing"
to = "/usr/bin/thing"
mode = "0755"
"#;

fn mirror() -> Mirror {
    let mirror = Mirror::new();
    mirror.recipe("thing", THING);
    mirror.put("e.org/versions", "1.0\n");
    mirror.put("e.org/thing-1.0", "#!/bin/sh\n");
    mirror.bakery(&["lock", "thing"]).good();
    mirror
}

const BUILD: [&str; 4] = ["build", "thing", "--arch", "x86-64"];
const UP_TO_DATE: &str = "nothing to do: 1 image is up to date\n";

fn build(mirror: &Mirror, more: &[&str]) -> String {
    mirror.bakery(&[&BUILD, more].concat()).good()
}

/// Makes a key and its certificate, in place of any that are there.
fn key(dir: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-days", "2"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir)
        .output();
    let made = made.expect("openssl is missing: install openssl");
    assert!(made.status.success(), "{made:?}");
}

#[test]
fn a_key_that_is_replaced_in_place_makes_images_stale() {
    let mirror = mirror();
    key(&mirror.path("work"));
    let signed = ["--sign-verity", "key.pem", "--cert", "cert.pem"];
    let first = build(&mirror, &signed);
    assert_eq!(build(&mirror, &signed), UP_TO_DATE);
    key(&mirror.path("work"));
    let second = build(&mirror, &signed);
    assert!(second.starts_with("thing-1.0-x86-64.raw: ") && second != first, "{second}");
    assert_eq!(build(&mirror, &signed), UP_TO_DATE);
}

#[test]
fn images_outlive_another_copy_of_the_program() {
    let mirror = mirror();
    build(&mirror, &[]);
    let copy = mirror.path("bakery");
    // A child writes it: a descriptor open for writing here would be inherited by others.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_bakery")).arg(&copy).status().unwrap();
    assert!(copied.success());
    let like = mirror.command(&BUILD);
    let mut command = Command::new(&copy);
    command.args(like.get_args()).current_dir(mirror.path("work")).env_clear();
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), UP_TO_DATE);
}

#[test]
fn options_that_change_bytes_make_images_stale() {
    let mirror = mirror();
    build(&mirror, &[]);
    let options: [&[&str]; 6] = [
        &["--compression", "zstd:9"],
        &["--block-size", "64K"],
        &["--verity"],
        &["--epoch", "1"],
        &["--os", "flatcar"],
        &["--reload"],
    ];
    for more in options {
        assert!(build(&mirror, more).starts_with("thing-1.0-x86-64.raw: "), "{more:?}");
        assert_eq!(build(&mirror, more), UP_TO_DATE, "{more:?}");
    }
}

#[test]
fn the_format_of_builds_does_not_reach_lint() {
    let mirror = mirror();
    let lint = |format: &str| {
        let mut command = mirror.command(&["lint", "thing", "--arch", "x86-64"]);
        let output = command.env("FORMAT", format).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    // A tar is a finding of its own, and no format at all would be an error.
    for format in ["", "tar", "none"] {
        assert_eq!(lint(format), (true, "1 image: nothing found\n".to_owned()), "FORMAT={format}");
    }
}

#[test]
fn lint_builds_in_the_environment_of_builds() {
    let mirror = mirror();
    for (variable, value, message) in [
        ("SOURCE_DATE_EPOCH", "never", "SOURCE_DATE_EPOCH: invalid digit"),
        ("OS", "Flatcar Linux", "ID=\"Flatcar Linux\" is invalid"),
        ("RELOAD", "perhaps", "RELOAD: expected true or false"),
    ] {
        let mut command = mirror.command(&["lint", "thing", "--arch", "x86-64"]);
        let output = command.env(variable, value).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(message), "{variable}: {said}");
    }
}
