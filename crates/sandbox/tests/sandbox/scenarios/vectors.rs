//! The vectors of tests/vectors/layers.json as a root file system in which commands run.

use std::fmt::Write as _;

use oci::{Config, Rootfs};
use store::{Digest, LayerBlob};
use tree::{Blob, Silent};

use crate::support::{Case, MODES, busybox};

/// In the short form, each vector is tried by one user, with or without overlayfs; in the long form, by all and both.
const LONG: &str = "SUITE_LONG";

pub(super) fn vectors(case: &Case) {
    let user = MODES.iter().position(|mode| *mode == case.mode).unwrap();
    let long = std::env::var_os(LONG).is_some();
    let mut count = 0;
    for (n, vector) in crate::vectors::all().iter().enumerate() {
        let Some(expected) = &vector.tree else { continue };
        for no_overlay in [false, true] {
            if !long && n % (2 * MODES.len()) != 2 * user + usize::from(no_overlay) {
                continue;
            }
            let layer = |(i, tar): (usize, Vec<u8>)| {
                let path = case.dir.join(format!("vector{i}.tar"));
                std::fs::write(&path, &tar).unwrap();
                let blob = Blob::from_file(&path, std::fs::File::open(&path).unwrap());
                LayerBlob { diff_id: Digest::of(&tar), digest: None, blob, offset: 0, len: tar.len() as u64 }
            };
            let layers: Vec<LayerBlob> = vector.tars().into_iter().enumerate().map(layer).collect();
            let mut tree = Rootfs::from_layers(Config::default(), &layers, &Silent).unwrap().tree;
            // What the shell needs, beside what the vector has.
            for (path, node) in busybox().iter() {
                if !tree.contains(path) && path.to_absolute().starts_with(b"/bin") {
                    tree.insert_all(path.clone(), node.clone(), &tree::Meta::dir()).unwrap();
                }
            }
            let mut script = String::from("bad() { echo \"bad: $1\"; }\n");
            for (path, kind) in expected {
                // Only real root can make devices, and overlayfs takes the one of the vectors for a whiteout.
                let devices = (case.mode == sandbox::Mode::Root).then_some(no_overlay);
                check(&mut script, path, kind, devices);
            }
            script.push_str("echo done\n");
            case.events.take_lines();
            let run = sandbox::Run { no_overlay, ..case.shell(&script) };
            let changes = case.run(&tree, &run).unwrap_or_else(|e| panic!("{}: {e}", vector.name));
            assert_eq!(case.events.take_lines(), ["done"], "{} {no_overlay}", vector.name);
            assert_eq!(changes.iter().count(), 1, "{} {no_overlay}: {}", vector.name, changes.dump());
            count += 1;
        }
    }
    println!("counted: layers in the sandbox, {}: {count}", case.mode);
    for dir in ["/", "/etc", "/tmp", "/data"] {
        assert!(std::path::Path::new(dir).join("vector-escaped").symlink_metadata().is_err(), "{dir}");
    }
}

/// A line of shell that complains unless a path is of a kind. `devices`: whether device nodes show, if they can be made.
fn check(script: &mut String, path: &str, kind: &str, devices: Option<bool>) {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    // The sandbox has file systems of its own there.
    if ["/tmp", "/proc", "/dev"].iter().any(|own| path.starts_with(own)) {
        return;
    }
    let path = quoted(path);
    let (word, rest) = kind.split_once(' ').unwrap_or((kind, ""));
    let test = match word {
        "file" => format!("[ -f {path} ] && [ ! -L {path} ] && [ \"$(cat {path})\" = {} ]", quoted(rest)),
        "dir" if rest.is_empty() => format!("[ -d {path} ] && [ ! -L {path} ]"),
        "dir" => format!("[ ! -L {path} ] && [ \"$(stat -c %04a {path})\" = {rest} ]"),
        "symlink" => format!("[ \"$(readlink {path})\" = {} ]", quoted(rest)),
        "hardlink" => format!("[ {path} -ef {} ]", quoted(rest)),
        "fifo" => format!("[ -p {path} ]"),
        "char" => match devices {
            Some(true) => format!("[ -c {path} ]"),
            Some(false) => format!("[ ! -e {path} ]"),
            None => return,
        },
        other => panic!("{other:?}"),
    };
    let _ = writeln!(script, "{test} || bad {path}");
}
