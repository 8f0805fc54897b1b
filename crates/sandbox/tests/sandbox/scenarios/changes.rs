//! What comes back as a layer.

use sandbox::{Mode, Run, SandboxError};
use tree::{Node, Tree};

use crate::support::{Case, busybox};

const LINE: &str = "echo new > /srv/new; rm /srv/old/file; rm -r /srv/old/dir; mkdir /srv/old/dir; echo x > /srv/old/dir/x; \
    chown 33:33 /srv/new; echo x >> /etc/shadow";

pub(super) fn changes(case: &Case) {
    assert_eq!(
        case.changes(LINE),
        "/etc dir 0755 0:0\n\
         /etc/shadow file 0640 0:42 16 \"root:*:::::::\\nx\\n\"\n\
         /srv dir 0755 0:0\n\
         /srv/new file 0644 33:33 4 \"new\\n\"\n\
         /srv/old dir 0755 0:0\n\
         /srv/old/.wh.file file 0000 0:0 0 \"\"\n\
         /srv/old/dir dir 0755 0:0\n\
         /srv/old/dir/.wh..wh..opq file 0000 0:0 0 \"\"\n\
         /srv/old/dir/x file 0644 0:0 2 \"x\\n\"\n"
    );
}

pub(super) fn without_overlay(case: &Case) {
    let mut run = case.shell(LINE);
    run.no_overlay = true;
    assert_eq!(
        case.changes_of(&busybox(), &run),
        "/etc dir 0755 0:0\n\
         /etc/shadow file 0640 0:42 16 \"root:*:::::::\\nx\\n\"\n\
         /srv dir 0755 0:0\n\
         /srv/new file 0644 33:33 4 \"new\\n\"\n\
         /srv/old dir 0755 0:0\n\
         /srv/old/.wh.file file 0000 0:0 0 \"\"\n\
         /srv/old/dir dir 0755 0:0\n\
         /srv/old/dir/.wh.deep file 0000 0:0 0 \"\"\n\
         /srv/old/dir/x file 0644 0:0 2 \"x\\n\"\n"
    );
}

pub(super) fn none(case: &Case) {
    let lines = [
        "true",
        "cat /srv/old/file",
        // Copied up by overlayfs all the same.
        "chmod 644 /srv/old/file; chown 0:0 /srv/old/file; : >> /srv/old/file",
        "chmod 755 /srv/old/dir",
        "echo x > /run.txt; rm /run.txt",
        "mkdir -p /dev/x && echo x > /dev/shm/y && echo 9 > /dev/null",
    ];
    for line in lines {
        assert_eq!(case.changes(line), "", "{line}");
    }
    // Only what is in /run is left out.
    assert_eq!(
        case.changes("mkdir /run; echo x > /run/pid"),
        "/run dir 0755 0:0\n/run/pid file 0644 0:0 2 \"x\\n\"\n"
    );
    let mut tree = busybox();
    tree.insert("/run".parse().unwrap(), Node::dir()).unwrap();
    assert_eq!(case.changes_of(&tree, &case.shell("echo x > /run/pid; mkdir /run/lock")), "");
}

pub(super) fn kinds(case: &Case) {
    let dump = case.changes(
        "cd /srv; mkfifo pipe; ln -s /nowhere link; echo a > one; ln one two; ln old/file hard; mkdir -m 1777 sticky; \
         echo n > \"$(printf 'a\\nb')\"; rm -r old/dir; echo f > old/dir; chmod 000 one; truncate -s 1M holes; \
         printf x >> holes",
    );
    assert_eq!(
        dump,
        "/srv dir 0755 0:0\n\
         /srv/a\\x0ab file 0644 0:0 2 \"n\\n\"\n\
         /srv/hard file 0644 0:0 3 \"old\"\n\
         /srv/holes file 0644 0:0 1048577\n\
         /srv/link symlink 0777 0:0 -> /nowhere\n\
         /srv/old dir 0755 0:0\n\
         /srv/old/dir file 0644 0:0 2 \"f\\n\"\n\
         /srv/old/file hardlink /srv/hard\n\
         /srv/one file 0000 0:0 2 \"a\\n\"\n\
         /srv/pipe fifo 0644 0:0\n\
         /srv/sticky dir 1777 0:0\n\
         /srv/two hardlink /srv/one\n"
    );
}

pub(super) fn unstorable(case: &Case) {
    assert_eq!(case.changes("echo x > /srv/.wh.old; nc -lU /srv/socket & sleep 0.2"), "");
    let warnings = std::mem::take(&mut *case.events.warnings.lock().unwrap());
    assert_eq!(warnings, ["left out, since a layer can't hold names that start with \".wh.\": /srv/.wh.old"]);
}

/// Holes cost nothing: neither bytes of the layer nor of the limit.
pub(super) fn holes(case: &Case) {
    let line = "cd /srv; printf abc > holes; truncate -s 40G holes; printf z >> holes; truncate -s 60G empty";
    let tree = case.run(&busybox(), &case.shell(line)).unwrap();
    let content = |path: &str| tree.get(&path.parse().unwrap()).unwrap().content().unwrap();
    let holes = content("/srv/holes");
    let mut ends = [[7; 4]; 2];
    holes.read_at(&mut ends[0], 0).unwrap();
    holes.read_at(&mut ends[1], (40 << 30) - 3).unwrap();
    assert_eq!((holes.len(), ends), ((40 << 30) + 1, [*b"abc\0", *b"\0\0\0z"]));
    // What is stored of them.
    assert_eq!(holes.extents().map(<[_]>::len), Some(2));
    assert_eq!((content("/srv/empty").len(), content("/srv/empty").extents()), (60 << 30, Some(&[][..])));
}

/// Times of installations make no other layer.
pub(super) fn records(case: &Case) {
    let dump = case.changes(
        "mkdir -p /var/log/apt /var/cache/ldconfig; cd /var/log; echo x > apt/history.log; echo x > dpkg.log; echo x > alternatives.log; \
         echo x > ../cache/ldconfig/aux-cache; echo y > apt/own.log",
    );
    assert_eq!(
        dump,
        "/var dir 0755 0:0\n\
         /var/cache dir 0755 0:0\n\
         /var/cache/ldconfig dir 0755 0:0\n\
         /var/log dir 0755 0:0\n\
         /var/log/apt dir 0755 0:0\n\
         /var/log/apt/own.log file 0644 0:0 2 \"y\\n\"\n"
    );
}

pub(super) fn deep(case: &Case) {
    // Twice a thousand levels, made where each is within PATH_MAX.
    let line = "p=d; for i in 0 1 2 3 4 5 6 7 8 9; do p=$p/$p; done; mkdir -p x/$p y/$p; mv y x/$p";
    match case.run(&busybox(), &case.shell(&format!("cd /srv; {line}"))) {
        Err(SandboxError::Step { step, message }) => {
            assert_eq!(step, "reading the changes");
            assert!(message.contains("expected at most 4095"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

pub(super) fn chain(case: &Case) {
    let one = |tree: &Tree, line: &str| -> Tree {
        let layer = case.run(tree, &case.shell(line)).unwrap();
        let mut tree = tree.clone();
        for (path, node) in layer.iter() {
            tree.insert(path.clone(), node.clone()).unwrap();
        }
        tree
    };
    let first = one(&busybox(), "echo x > /srv/x; chown 33:42 /srv/x; chmod 6755 /srv/x; chown 33:33 /srv");
    // What the first run left is below an overlay now, and copied up again.
    let line = "stat -c %a /srv/x; echo y >> /srv/x; chmod 2711 /srv/x";
    let dump = case.changes_of(&first, &case.shell(line));
    assert_eq!(dump, "/srv dir 0755 33:33\n/srv/x file 2711 33:42 4 \"x\\ny\\n\"\n");
    assert_eq!(case.events.take_lines(), ["6755"]);
    if case.mode == Mode::Root {
        let run = Run { mode: Some(Mode::Root), ..Run::shell("mknod /srv/null c 1 3") };
        assert_eq!(case.changes_of(&first, &run), "/srv dir 0755 33:33\n/srv/null char 0644 0:0 1:3\n");
    }
}
