//! What a command looks up.

use std::process::Command;

use oci::Rootfs;
use sandbox::{SandboxError, trace};
use store::{Cache, Digest};
use tree::{Meta, Node, Tree};

use crate::support::{Case, busybox};

/// A root with files to look up, and links to them.
fn root() -> Tree {
    let mut tree = busybox();
    let mut add =
        |path: &str, node: Node| tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
    for path in ["/usr/share/a/one", "/usr/share/a/two", "/usr/share/a/deep/three", "/usr/share/b/one"] {
        add(path, Node::file(0o644, "text\n"));
    }
    add("/usr/share/link", Node::symlink("a/one"));
    add("/usr/share/dir", Node::symlink("/usr/share/a"));
    add("/usr/share/out", Node::symlink("/nowhere"));
    add("/usr/bin/script", Node::file(0o755, "#!/usr/lib/sh\n"));
    add("/usr/lib/sh", Node::symlink("../../bin/sh"));
    tree
}

fn image() -> Rootfs {
    Rootfs { tree: root(), id: Digest::of("root"), manifest: None, config: oci::Config::default() }
}

/// What the line looks up, but for what each does: the shell's own.
fn traced(case: &Case, line: &str) -> Result<String, SandboxError> {
    let mut files = Tree::default();
    files.insert("/l".parse().unwrap(), Node::symlink("/usr/share/b/one")).unwrap();
    files.insert_all("/d/lent".parse().unwrap(), Node::file(0o644, "lent\n"), &Meta::dir()).unwrap();
    let cache = Cache::open(&case.dir.join("cache")).unwrap();
    let got = trace(&image(), &[case.shell(line)], Some(&files), &cache, &case.events);
    let scratch = std::fs::read_dir(cache.dir().join("scratch")).unwrap().count();
    assert_eq!(scratch, 0, "the scratch directory is left after {got:?}");
    let got = got.map(|mut each| each.remove(0));
    let paths: Vec<String> = got?.iter().map(ToString::to_string).collect();
    let all = paths.join(" ");
    Ok(all
        .strip_prefix("/bin/busybox /bin/sh")
        .unwrap_or_else(|| panic!("{line}: {all}"))
        .trim_start()
        .to_owned())
}

/// The shell executes its own file for the commands that are applets of busybox, so these are looked up by their paths only.
pub(super) fn lookups(case: &Case) {
    let mut wrong = Vec::new();
    for (line, expected) in [
        ("read x < /usr/share/a/one", "/usr/share/a/one"),
        ("cat /usr/share/a/two", "/usr/share/a/two"),
        // Relative paths, from directories that were changed to.
        ("cd /usr/share/b && read x < ../a/one", "/usr/share/a/one /usr/share/b"),
        ("cd /usr/share/a/deep && read x < three", "/usr/share/a/deep /usr/share/a/deep/three"),
        // Links on the way, and those that are only read.
        ("read x < /usr/share/link", "/usr/share/a/one /usr/share/link"),
        ("read x < /usr/share/dir/two", "/usr/share/a/two /usr/share/dir"),
        ("readlink /usr/share/link", "/usr/share/link"),
        ("[ -h /usr/share/out ]", "/usr/share/out"),
        // What is only asked for; what isn't there is nothing.
        ("[ -e /usr/share/a/one ]", "/usr/share/a/one"),
        ("[ -r /usr/share/b ]", "/usr/share/b"),
        ("[ -e /usr/share/none ] || [ -e /usr/share/a/one/none ] || true", ""),
        // A directory that is listed, without the files in it, and with them.
        ("for f in /usr/share/a/*; do :; done", "/usr/share/a"),
        ("ls -s /usr/share/b", "/usr/share/b /usr/share/b/one"),
        // Programs' interpreters, which the kernel looks up.
        ("/usr/bin/script", "/usr/bin/script /usr/lib/sh"),
        // Of children, and of theirs.
        ("(sh -c 'read x < /usr/share/a/one; exit 0' & wait)", "/usr/share/a/one"),
        ("setsid sh -c 'read x < /usr/share/a/two' && sleep 0.1", "/usr/share/a/two"),
        // What the command has made, over a link that it has made, and what it is lent.
        ("echo x > /tmp/x; mkdir /usr/share/new; echo x > /usr/share/new/x; cat /tmp/x /usr/share/new/x", ""),
        ("ln -s /usr/share/a /tmp/made; read x < /tmp/made/one", "/usr/share/a/one"),
        ("read x < /tmp/d/lent && [ $x = lent ]", ""),
        ("read x < /tmp/l", "/usr/share/b/one"),
        // Another root.
        (
            "mkdir /usr/share/bin; cp /bin/busybox /usr/share/bin/cat; chroot /usr/share /bin/cat /a/one a/two",
            "/usr/share /usr/share/a/one /usr/share/a/two",
        ),
        ("read x < /proc/self/status; [ -c /dev/null ]; echo > /dev/null; ls /proc/self/fd > /dev/null", ""),
        ("ps > /dev/null; cat /etc/passwd > /dev/null", "/etc/passwd"),
    ] {
        // The same list the second time.
        let twice = if line.contains('*') { 2 } else { 1 };
        for _ in 0..twice {
            let got = traced(case, line).unwrap_or_else(|e| panic!("{line}: {e}"));
            if got != expected {
                wrong.push(format!("{line}\n  got      {got}\n  expected {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

pub(super) fn failing(case: &Case) {
    match traced(case, "echo so it goes; exit 3") {
        Err(SandboxError::Failed { status, tail, .. }) => {
            assert_eq!((status.to_string().as_str(), tail), ("exit status 3", vec!["so it goes".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
    let run = sandbox::Run { mode: Some(case.mode), ..sandbox::Run::new(vec!["/bin/none".into()]) };
    let cache = Cache::open(&case.dir.join("cache")).unwrap();
    let e = trace(&image(), &[run], None, &cache, &case.events).unwrap_err();
    assert_eq!(e.to_string(), "command \"/bin/none\": no such program in the image");
    // Owners are still recorded where they can't be set.
    let line = "chown 33:42 /usr/share/a/one && [ $(stat -c %u /usr/share/a/one) = ";
    let seen = if case.mode == sandbox::Mode::Single { 0 } else { 33 };
    assert!(traced(case, &format!("{line}{seen} ]")).is_ok());
}

/// Several commands, of which none sees what another did, and one that fails.
pub(super) fn several(case: &Case) {
    let cache = Cache::open(&case.dir.join("cache")).unwrap();
    let lines = [
        "read x < /usr/share/a/one; echo changed > /usr/share/a/two; rm /usr/share/b/one; chown 33 /usr/share",
        "read x < /usr/share/a/two; [ $x = text ]; read x < /usr/share/b/one",
        "[ -e /usr/share/a/deep ]",
    ];
    let more = |line| sandbox::Run { no_overlay: true, ..case.shell(line) };
    for runs in [lines.map(|line| case.shell(line)), lines.map(more)] {
        // Again, with what is written by then.
        for _ in 0..2 {
            let got = trace(&image(), &runs, None, &cache, &case.events).unwrap();
            let got = got.iter().map(|paths| {
                let shares = paths.iter().map(ToString::to_string).filter(|p| p.starts_with("/usr/share/"));
                shares.collect::<Vec<_>>().join(" ")
            });
            let expected = ["/usr/share/a/one /usr/share/b/one", "/usr/share/a/two /usr/share/b/one"];
            assert_eq!(got.collect::<Vec<_>>(), [&expected[..], &["/usr/share/a/deep"]].concat());
        }
    }
    let kept = std::fs::read_dir(cache.dir().join("trees")).unwrap().count();
    assert_eq!(kept, if case.mode == sandbox::Mode::Subuid { 0 } else { 2 });
    let runs = [case.shell("true"), case.shell("echo no; exit 4"), case.shell("true")];
    match trace(&image(), &runs, None, &cache, &case.events) {
        Err(SandboxError::Failed { command, tail, .. }) => {
            assert_eq!((command.as_str(), tail), ("echo no; exit 4", vec!["no".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
}

/// Takes the only seccomp listener that a process can have, and becomes a command. Arguments: the number of seccomp(2), the
/// command.
const SUPERVISOR: &str = "\
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
allow = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))
program = struct.pack('HxxxxxxP', 1, ctypes.addressof(allow))
PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER, NEW_LISTENER = 38, 1, 8
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
listener = libc.syscall(int(sys.argv[1]), SECCOMP_SET_MODE_FILTER, NEW_LISTENER, program)
assert listener > 2, os.strerror(ctypes.get_errno())
os.set_inheritable(listener, True)
os.execv(sys.argv[2], sys.argv[2:])
";

/// As in a container whose engine has taken the listener.
pub(super) fn below_another_supervisor(case: &Case) {
    if std::env::var_os("SANDBOX_SUPERVISED").is_none() {
        let outcome = Command::new("python3")
            .args(["-c", SUPERVISOR, &libc::SYS_seccomp.to_string()])
            .arg(std::env::current_exe().unwrap())
            .env("SANDBOX_SCENARIO", "traces_below_another_supervisor")
            .env("SANDBOX_MODE", case.mode.to_string())
            .env("SANDBOX_DIR", &case.dir)
            .env("SANDBOX_SUPERVISED", "1")
            .output()
            .expect("install python3");
        assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
        return;
    }
    let e = traced(case, "read x < /usr/share/a/one").unwrap_err();
    assert_eq!(
        e.to_string(),
        "sandbox: tracing the command: no seccomp listener: the kernel lacks it, or another supervisor holds the only one"
    );
    // Nothing but the trace needs it.
    assert_eq!(case.output("echo fine"), ["fine"]);
}
