//! Commands, and sandboxes, that don't start.

use std::process::Command;

use sandbox::{Cause, Mode, Run, SandboxError};
use tree::{Meta, Node, Tree};

use crate::support::{Case, busybox};

pub(super) fn fails(case: &Case) {
    let mut tree = busybox();
    let mut add =
        |path: &str, node: Node| tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
    let mut vax = std::fs::read("/bin/busybox").unwrap()[..4096].to_vec();
    vax[18] = 75;
    add("/bin/vax", Node::file(0o755, vax));
    add("/bin/script", Node::file(0o755, "#!/bin/perl -w\n"));
    add("/bin/plain", Node::file(0o755, "echo no shell asked for\n"));
    add("/bin/closed", Node::file(0o644, "#!/bin/sh\n"));
    let rows: &[(&[&str], &str)] = &[
        (&["none"], "command \"none\": no such program in the image"),
        (&["/none"], "command \"/none\": no such program in the image"),
        (
            &["vax"],
            "command \"/bin/vax\" is for ELF machine 75 (64-bit, little-endian), and this host can't run that",
        ),
        (&["script"], "command \"/bin/script\" needs \"/bin/perl\", which the image lacks"),
        (&["plain"], "command \"/bin/plain\": Exec format error (os error 8)"),
        (&["/bin/closed"], "command \"/bin/closed\": Permission denied (os error 13)"),
        (&["/bin"], "command \"/bin\": Permission denied (os error 13)"),
        (&[], "command is empty"),
    ];
    let run = |tree: &Tree, words: &[&str]| {
        let run =
            Run { mode: Some(case.mode), ..Run::new(words.iter().map(std::ffi::OsString::from).collect()) };
        case.run(tree, &run).unwrap_err()
    };
    for (words, expected) in rows {
        assert_eq!(run(&tree, words).to_string(), *expected);
    }
    let e = run(&Tree::default(), &["/bin/sh", "-c", "true"]);
    assert_eq!(e.to_string(), "command \"/bin/sh\": no such program in the image");
    assert!(matches!(run(&tree, &["vax"]), SandboxError::WrongMachine { .. }));
}

/// As on a host that forbids user name spaces: the limit is counted for each user name space, so one of our own shows it.
pub(super) fn refused(case: &Case) {
    if std::env::var_os("SANDBOX_REFUSED").is_none() {
        let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
        let outcome = Command::new("unshare")
            .args(["--user", "--map-root-user", "sh", "-c", script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .env("SANDBOX_REFUSED", "1")
            .output()
            .unwrap();
        assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
        return;
    }
    let run = Run { mode: Some(Mode::Single), ..case.shell("true") };
    let e = case.run(&busybox(), &run).unwrap_err();
    match &e {
        SandboxError::Unavailable(tried) => {
            assert_eq!(tried.len(), 1);
            assert_eq!(
                (tried[0].step.as_str(), tried[0].cause),
                ("new user name space", Some(Cause::MaxUserNamespaces))
            );
        }
        other => panic!("{other}"),
    }
    assert!(e.to_string().contains("user.max_user_namespaces=0"), "{e}");
}
