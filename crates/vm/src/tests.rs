use std::process::{Command, Stdio};

use std::io::Write as _;

use tree::{Arch, Content, Meta, Node, Tree, TreePath};

use super::console::Console;
use super::guest_files::{BEGIN, END, REFUSED};
use super::*;

/// A console that has seen this, in pieces of so many bytes; and what the command printed.
fn seen(whole: &[u8], size: usize) -> (Console, Vec<u8>) {
    let (mut console, mut out) = (Console::default(), Vec::new());
    whole.chunks(size).for_each(|piece| console.take(piece, &mut out).unwrap());
    (console, out)
}

#[test]
fn the_console_gives_the_commands_output_alone() {
    let mut whole = b"[    0.0] Linux version 6\r\nnoise\r\n".to_vec();
    whole.extend_from_slice(BEGIN);
    whole.extend_from_slice(b"one\r\ntwo\rthree \x1e four\x1ebakery: no\r\n");
    whole.extend_from_slice(END);
    whole.extend_from_slice(b"42\x1e[ 9.9] reboot: Power down\r\n");
    // Whatever the pieces are in which it comes.
    for size in [1, 2, 3, 7, 64, 4096] {
        let (console, out) = seen(&whole, size);
        assert_eq!(String::from_utf8(out).unwrap(), "one\ntwo\rthree \x1e four\x1ebakery: no\n", "{size}");
        assert_eq!(console.status, Some(42), "{size}");
        assert!(console.alive && console.tail().contains("Power down"), "{size}");
    }
}

#[test]
fn an_archive_is_what_cpio_reads() {
    let mut tree = Tree::new(Meta::dir());
    let mut put =
        |path: &str, node| tree.insert_all(TreePath::new(path).unwrap(), node, &Meta::dir()).unwrap();
    put("/a/long name", Node::file(0o755, Content::from(b"12345".to_vec())));
    put("/a/link", Node::symlink("long name"));
    put("/empty", Node::file(0o600, Content::from(Vec::new())));
    let mut archive = Vec::new();
    cpio::write(&tree, &mut archive).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new("cpio")
        .args(["--extract", "--quiet", "--make-directories", "--no-absolute-filenames"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("install package cpio");
    child.stdin.take().unwrap().write_all(&archive).unwrap();
    assert!(child.wait().unwrap().success());
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert_eq!(
        (read("a/long name"), read("a/link"), read("empty")),
        (b"12345".into(), b"12345".into(), vec![])
    );
    assert!(dir.path().join("a/link").is_symlink());
}

fn machine() -> Machine {
    Machine {
        arch: Arch::X86_64,
        accel: Accel::Tcg,
        memory: 1024,
        cpus: None,
        ports: vec!["8080:80".parse().unwrap(), "443".parse().unwrap()],
        limit: 0,
    }
}

#[test]
fn the_emulators_arguments() {
    let disk = Disk::Image { path: "/a,b.bin".as_ref() };
    let command = machine().command(&disk, true, true).unwrap();
    let line = command.get_args().map(|a| a.to_str().unwrap()).collect::<Vec<_>>().join(" ");
    for part in [
        "-accel kvm -cpu host",
        "hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:127.0.0.1:443-:443",
        "snapshot=on,file=/a,,b.bin",
    ] {
        assert!(line.contains(part), "{part}\n{line}");
    }
    for (cpus, kvm, expected) in
        [(None, true, "2"), (None, false, "1"), (Some(3), true, "3"), (Some(3), false, "3")]
    {
        let command = Machine { cpus, ..machine() }.command(&disk, kvm, true).unwrap();
        let args: Vec<_> = command.get_args().map(|a| a.to_str().unwrap()).collect();
        let at = args.iter().position(|a| *a == "-smp").unwrap();
        assert_eq!(args[at + 1], expected, "{cpus:?} {kvm}");
    }
    for bad in ["", "0:1", "1:0", "a:1", "70000:1", "1:2:3"] {
        assert!(bad.parse::<Port>().is_err(), "{bad}");
    }
}

#[test]
fn a_refusal_is_kept_apart_from_output() {
    let mut whole = b"[    0.0] Linux version 6\r\n".to_vec();
    whole.extend_from_slice(REFUSED);
    whole.extend_from_slice(b"not merged: a\r\nwhy\r\n");
    whole.extend_from_slice(END);
    whole.extend_from_slice(b"1\x1e");
    for size in [1, 5, 4096] {
        let (console, out) = seen(&whole, size);
        assert_eq!((out, console.status), (Vec::new(), Some(1)), "{size}");
        assert_eq!(console.refusal().unwrap(), "not merged: a\nwhy");
    }
}

#[test]
fn what_a_machine_is_told() {
    let names = ["a".parse().unwrap(), "b".parse().unwrap()];
    let files = guest_files(Arch::Arm64, &names, Some("echo \"100% ü\" 'x'"));
    let text = |path: &str| match &files.iter().find(|(p, _)| p == path).unwrap().1 {
        GuestFile::Text(text) => text.clone(),
        GuestFile::Link(target) => (*target).to_owned(),
    };
    assert_eq!(text("/etc/bakery/command"), "echo \"100% ü\" 'x'\n");
    assert_eq!(text("/etc/bakery/extensions"), "a\nb\n");
    assert_eq!(text("/etc/systemd/system/serial-getty@ttyAMA0.service"), "/dev/null");
    assert!(text("/etc/systemd/system/bakery-boot.service").contains("StandardOutput=file:/dev/ttyAMA0\n"));
}

#[test]
fn only_an_emulated_kernel_goes_without_protection() {
    let disk = Disk::Memory { kernel: "/kernel".as_ref(), initrd: "/initrd".as_ref() };
    for (kvm, expected) in [(true, false), (false, true)] {
        let command = machine().command(&disk, kvm, true).unwrap();
        let args: Vec<_> = command.get_args().map(|a| a.to_str().unwrap()).collect();
        let at = args.iter().position(|a| *a == "-append").unwrap();
        assert_eq!(args[at + 1].split(' ').any(|word| word == "norandmaps"), expected, "{}", args[at + 1]);
    }
}
