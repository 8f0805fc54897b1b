//! What a command sees of the host, and what it may do.

use std::path::PathBuf;

use rustix::fs::OFlags;
use sandbox::{Mode, Network, run_in};
use tree::{Event, Events, Node};

use crate::support::{Case, Log, busybox};

pub(super) fn processes_and_mounts(case: &Case) {
    let lines = case.output(
        "echo $$; hostname; ls /proc | grep -c '^[0-9]'; ls /sys | wc -l; cut -d' ' -f5 /proc/self/mountinfo",
    );
    // The first process, the shell, and those of the pipe at most.
    let pids: u32 = lines[2].parse().unwrap();
    assert_eq!((lines[0].as_str(), lines[1].as_str(), lines[3].as_str()), ("2", "localhost", "0"));
    assert!(pids <= 4, "{pids}");
    for mount in &lines[4..] {
        let known = ["/", "/etc/hosts", "/etc/resolv.conf"].contains(&mount.as_str())
            || ["/proc", "/dev"].iter().any(|dir| mount.starts_with(dir));
        assert!(known, "{mount} is mounted");
    }
    let names = case.output("for n in mnt pid ipc uts user; do readlink /proc/self/ns/$n; done");
    for (i, name) in ["mnt", "pid", "ipc", "uts", "user"].iter().enumerate() {
        let host = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        let same = host.to_str().unwrap() == names[i];
        assert_eq!(same, *name == "user" && case.mode == Mode::Root, "{name}");
    }
}

pub(super) fn devices(case: &Case) {
    let lines = case.output("ls /dev; echo x > /dev/null; cat /dev/null");
    let names = [
        "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
        "zero",
    ];
    assert_eq!(lines, names);
    // No descriptor of the host's: standard ones, and the directory that ls reads.
    let lines = case.output("ls /proc/self/fd; readlink /proc/self/fd/0; cat; echo end");
    assert_eq!(lines, ["0", "1", "2", "3", "/dev/null", "end"]);
    // The numbers of the host's disks lead nowhere, even for those who may make such files.
    let lines = case.output("mknod /tmp/disk b 1 0 2>&1; cat /tmp/disk 2>&1; true");
    let last = lines.last().unwrap();
    assert!(last.contains("denied") || last.contains("No such file"), "{lines:?}");
}

pub(super) fn privileges(case: &Case) {
    let lines = case.output("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; umask; id -u");
    let value = |name: &str| {
        let line = lines.iter().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP
    let allowed = u64::from_str_radix("a80401fb", 16).unwrap();
    for name in ["CapPrm", "CapEff", "CapBnd"] {
        let got = u64::from_str_radix(&value(name), 16).unwrap();
        assert_eq!(got & !allowed, 0, "{name} {got:x}");
        assert_ne!(got & 1, 0, "{name} {got:x}");
    }
    assert_eq!((value("CapInh"), value("CapAmb")), ("0000000000000000".into(), "0000000000000000".into()));
    assert_eq!(value("NoNewPrivs") == "1", case.mode != Mode::Root);
    assert_eq!(value("Seccomp:"), "2");
    assert_eq!(lines[lines.len() - 2..], ["0022", "0"]);
    let lines = case.output(
        "unshare -U true 2>&1; unshare -m true 2>&1; mount -t tmpfs t /tmp 2>&1; hostname evil 2>&1; true",
    );
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines
            .iter()
            .all(|l| l.contains("not permitted") || l.contains("denied") || l.contains("must be superuser")),
        "{lines:?}"
    );
    // Programs that drop privileges run; where there is nobody to become, they stay root.
    let lines = case.output("su -s /bin/sh www -c 'id -u' 2>&1");
    assert_eq!(lines, [if case.mode == Mode::Single { "0" } else { "33" }]);
}

pub(super) fn kernel_settings(case: &Case) {
    let lines = case.output(
        "for f in sys/kernel/core_pattern sysrq-trigger irq/default_smp_affinity; do \
         ( echo x > /proc/$f ) 2>&1 | grep -o -E 'Read-only|denied|nonexistent|No such' ; done; \
         ls /proc/acpi /proc/scsi 2>/dev/null | grep -v : | wc -l; cat /proc/kcore 2>/dev/null | wc -c",
    );
    let (last, refused) = lines.split_at(lines.len() - 2);
    assert_eq!(last.len(), 3, "{lines:?}");
    if case.mode == Mode::Root {
        assert_eq!(refused, ["0", "0"]);
    }
}

/// A user name space doesn't take from root what the kernel gives to the user 0 of the host.
pub(super) fn kernel_settings_of_root(case: &Case) {
    let single = Case { mode: Mode::Single, dir: case.dir.clone(), events: Log::default() };
    for file in ["sys/kernel/core_pattern", "sys/vm/overcommit_memory"] {
        let lines = single.output(&format!("( : >> /proc/{file} ) 2>&1 | grep -o Read-only"));
        assert_eq!(lines, ["Read-only"], "{file}");
    }
}

pub(super) fn environment(case: &Case) {
    let lines = case.output("env | grep -v -i _proxy | sort; pwd");
    assert_eq!(lines, {
        let mut expected = vec![
            "DEBIAN_FRONTEND=noninteractive",
            "HOME=/root",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PWD=/",
            "SHLVL=1",
            "TERM=dumb",
            "/",
        ];
        if case.mode == Mode::Single {
            expected.insert(0, "APT_CONFIG=/dev/.flix/apt.conf");
        }
        expected
    });
}

pub(super) fn network(case: &Case) {
    let own = case.output("readlink /proc/self/ns/net");
    assert_eq!(own, [std::fs::read_link("/proc/self/ns/net").unwrap().to_str().unwrap()]);
    let mut run = case
        .shell("readlink /proc/self/ns/net; ip -o link; ip -o -4 addr; cat /etc/resolv.conf; cat /etc/hosts");
    run.network = Network::None;
    // The image's own, since there is no nameserver to tell.
    let mut tree = busybox();
    tree.insert("/etc/resolv.conf".parse().unwrap(), Node::file(0o644, "image's\n")).unwrap();
    case.run(&tree, &run).unwrap();
    let lines = case.events.take_lines();
    assert_ne!(lines[0], own[0]);
    assert!(lines[1].starts_with("1: lo: <LOOPBACK,UP,LOWER_UP>"), "{lines:?}");
    assert!(lines[2].contains("127.0.0.1/8"), "{lines:?}");
    assert_eq!(lines[3..], ["image's", "127.0.0.1 localhost", "::1 localhost"]);
}

pub(super) fn resolv_conf(case: &Case) {
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap();
    let rows: &[(&str, Option<Node>)] = &[
        ("missing", None),
        ("a file", Some(Node::file(0o644, "image's\n"))),
        ("a dangling symlink", Some(Node::symlink("../run/systemd/resolve/stub-resolv.conf"))),
        ("a symlink out of the root", Some(Node::symlink("../../../../../../../../etc/shadow"))),
    ];
    for (name, node) in rows {
        let mut tree = busybox();
        if let Some(node) = node {
            tree.insert("/etc/resolv.conf".parse().unwrap(), node.clone()).unwrap();
        }
        let line = "cat /etc/resolv.conf; ( echo x > /etc/resolv.conf ) 2>/dev/null || echo kept; \
                    rm -f /etc/resolv.conf 2>/dev/null || echo there; mv /etc/resolv.conf /etc/x 2>/dev/null; true";
        assert_eq!(case.changes_of(&tree, &case.shell(line)), "", "{name}");
        let lines = case.events.take_lines();
        let expected: Vec<&str> =
            host.lines().filter(|l| !l.trim().is_empty()).chain(["kept", "there"]).collect();
        assert_eq!(lines, expected, "{name}");
    }
}

/// CVE-2019-14271, CVE-2021-30465 and their like: what the image has at the places where mounts go.
pub(super) fn hostile_mount_points(case: &Case) {
    for (path, node) in [
        ("/dev", Node::symlink("/tmp")),
        ("/proc", Node::symlink("/tmp")),
        ("/sys", Node::file(0o644, "x")),
        ("/etc", Node::symlink("/../../../tmp")),
        ("/proc", Node { meta: tree::Meta::with_mode(0o666), kind: tree::Kind::Fifo }),
    ] {
        let mut tree = busybox();
        tree.remove(&path.parse().unwrap());
        tree.insert(path.parse().unwrap(), node).unwrap();
        let run = case.shell("[ -c /dev/null ] && [ -e /proc/self/status ] && echo fine; ls -d /tmp/*");
        let mut run = run;
        run.argv[2].push("; true");
        let changes = case.changes_of(&tree, &run);
        assert_eq!(changes, "", "{path}");
        assert_eq!(case.events.take_lines()[0], "fine", "{path}");
    }
}

/// What an image gets hold of by /proc/self/exe isn't the host's program.
pub(super) fn program(case: &Case) {
    let scratch = case.scratch();
    // More than a pipe holds: the helper can't end before all is read.
    let run = case.shell("cat /bin/busybox /bin/busybox /bin/busybox > /srv/x");
    let own = format!("PPid:\t{}\n", std::process::id());
    let programs = run_in(&busybox(), &oci::Config::default(), &run, &scratch, &case.events, |reader| {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap() {
            let dir = entry.unwrap().path();
            let status = std::fs::read_to_string(dir.join("status")).unwrap_or_default();
            let line = std::fs::read(dir.join("cmdline")).unwrap_or_default();
            if status.contains(&own) && line.starts_with(b"flix-sandbox\0") {
                found.extend(std::fs::read_link(dir.join("exe")));
            }
        }
        std::io::copy(reader, &mut std::io::sink()).unwrap();
        Ok(found)
    })
    .unwrap();
    assert!(!programs.is_empty());
    for program in programs {
        assert!(program.to_string_lossy().starts_with("/memfd:"), "{program:?}");
    }
}

/// Waits with the command for one look at the sandbox's first process.
struct Look {
    found: std::sync::Mutex<Vec<String>>,
}

impl Events for Look {
    fn event(&self, event: Event<'_>) {
        let Event::Output(name_space) = event else { return };
        // Other scenarios have sandboxes of their own.
        let same = |dir: &PathBuf| {
            let link = std::fs::read_link(dir.join("ns/pid")).unwrap_or_default();
            let status = std::fs::read_to_string(dir.join("status")).unwrap_or_default();
            let first = status.lines().any(|l| l.starts_with("NSpid:") && l.ends_with("\t1"));
            first && link.to_str() == Some(name_space)
        };
        let first = std::fs::read_dir("/proc").unwrap().map(|e| e.unwrap().path()).find(same).unwrap();
        let mut found = self.found.lock().unwrap();
        for entry in std::fs::read_dir(first.join("fd")).unwrap() {
            let link = std::fs::read_link(entry.unwrap().path()).unwrap();
            found.push(link.to_str().unwrap().to_owned());
        }
        std::fs::write(first.join("root/tmp/go"), "go\n").unwrap();
    }
}

/// What the first process keeps open, its children could reach through /proc/1/fd: nothing that has a name.
pub(super) fn descriptors(case: &Case) {
    // Inherited by everything that this process starts.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let _open = rustix::fs::open(&case.dir, flags, rustix::fs::Mode::empty()).unwrap();
    let look = Look { found: std::sync::Mutex::default() };
    let run =
        case.shell("mkfifo /tmp/go; readlink /proc/self/ns/pid; read x </tmp/go; [ $x = go ]; rm /tmp/go");
    let scratch = case.scratch();
    run_in(&busybox(), &oci::Config::default(), &run, &scratch, &look, |reader| {
        std::io::copy(reader, &mut std::io::sink()).unwrap();
        Ok(())
    })
    .unwrap();
    let found = look.found.into_inner().unwrap();
    assert!(found.len() > 3, "{found:?}");
    for link in &found {
        let known = ["socket:", "pipe:", "anon_inode:", "/dev/null"].iter().any(|k| link.starts_with(k));
        assert!(known, "{link} is open in the first process, of {found:?}");
    }
}
