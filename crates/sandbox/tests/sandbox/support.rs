//! Users to be, a root to work in, layers to look at.

use std::ffi::OsString;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use sandbox::{Mode, Run, SandboxError, run_in};
use tree::{Blob, Event, Events, Kind, Meta, Node, Tree};

pub(crate) const MODES: &[Mode] = &[Mode::Root, Mode::Subuid, Mode::Single];

/// nobody's, whom every Debian has.
const UID: u32 = 65534;

pub(crate) type Scenario = (&'static str, &'static [Mode], fn(&Case));

/// What a scenario has at hand.
pub(crate) struct Case {
    pub mode: Mode,
    pub dir: PathBuf,
    pub events: Log,
}

/// Events that were reported.
#[derive(Default)]
pub(crate) struct Log {
    pub lines: Mutex<Vec<String>>,
    pub warnings: Mutex<Vec<String>>,
}

impl Events for Log {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Output(line) => self.lines.lock().unwrap().push(line.to_owned()),
            Event::Warning(text) => self.warnings.lock().unwrap().push(text.into_owned()),
            _ => {}
        }
    }
}

impl Log {
    pub(crate) fn take_lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap())
    }
}

/// Runs the scenario as the user that its mode is for.
pub(crate) fn start(name: &str, mode: Mode, scenario: fn(&Case)) -> Result<(), String> {
    let dir = tempfile::Builder::new().prefix("flix-sandbox-test-").tempdir().unwrap();
    if mode == Mode::Root {
        let case = Case { mode, dir: dir.path().to_owned(), events: Log::default() };
        return std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario(&case))).map_err(|e| {
            format!(
                "{:?}",
                e.downcast_ref::<String>()
                    .cloned()
                    .or_else(|| e.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            )
        });
    }
    let mut command = child(name, mode, dir.path());
    if name == crate::scenarios::DEBIAN {
        command.stdin(std::fs::File::open(crate::scenarios::debian::tar()).unwrap());
    }
    let outcome = command.output().unwrap();
    if outcome.status.success() {
        print!("{}", String::from_utf8_lossy(&outcome.stdout));
        return Ok(());
    }
    Err(format!("{}\n{}", outcome.status, String::from_utf8_lossy(&outcome.stderr)))
}

/// Puts a copy of a program at a path.
///
/// A child process writes it. If this one did, a child that another thread forks meanwhile would have the file open for
/// writing until its own exec, and until then the kernel executes it for nobody ("Text file busy").
fn place_program(path: &Path, from: &Path) {
    let status = Command::new("install").args(["-m", "755"]).arg(from).arg(path).status();
    assert!(status.unwrap().success(), "{path:?}");
}

/// This program as the user nobody, whose `dir` becomes, about to run a scenario.
pub(crate) fn child(name: &str, mode: Mode, dir: &Path) -> Command {
    // The target directory may be closed to others.
    let program = dir.join("test");
    place_program(&program, &std::env::current_exe().unwrap());
    let home = dir.join("home");
    std::fs::create_dir(&home).unwrap();
    let id = if mode == Mode::Root { 0 } else { UID };
    chown(&home, Some(id), Some(id)).unwrap();
    chown(dir, Some(id), Some(id)).unwrap();
    let mut command = if mode == Mode::Subuid {
        // Ranges for this test alone, in a mount name space of its own.
        let ranges = dir.join("subid");
        std::fs::write(&ranges, format!("{UID}:100000:65536\nnobody:100000:65536\n")).unwrap();
        let mut command = Command::new("unshare");
        let script = "for f in subuid subgid; do [ -e /etc/$f ] || : > /etc/$f; mount --bind \"$1\" /etc/$f || exit 9; done; shift; exec \"$@\"";
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(&ranges)
            .arg("setpriv");
        command
    } else {
        Command::new("setpriv")
    };
    command
        .args([&format!("--reuid={id}"), &format!("--regid={id}"), "--clear-groups", "--"])
        .arg(program)
        .env("SANDBOX_SCENARIO", name)
        .env("SANDBOX_MODE", mode.to_string())
        .env("SANDBOX_DIR", home)
        .env("TMPDIR", dir);
    command
}

/// If this is a child: runs the scenario.
pub(crate) fn as_child(all: &[Scenario]) -> Option<i32> {
    let name = std::env::var("SANDBOX_SCENARIO").ok()?;
    let mode = std::env::var("SANDBOX_MODE").unwrap().parse().unwrap();
    let dir = std::env::var_os("SANDBOX_DIR").unwrap().into();
    let case = Case { mode, dir, events: Log::default() };
    if name == "wait" {
        crate::scenarios::wait(&case);
        return Some(0);
    }
    let (_, _, scenario) = all.iter().find(|s| s.0 == name).unwrap();
    scenario(&case);
    Some(0)
}

/// A root with nothing but busybox, /etc and /tmp.
pub(crate) fn busybox() -> Tree {
    let path = "/bin/busybox";
    let program = std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}; install busybox-static"));
    assert!(!program.windows(10).any(|w| w == b"/ld-linux-"), "{path} isn't static; install busybox-static");
    let mut tree = Tree::default();
    let mut add =
        |path: &str, node: Node| tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
    let len = program.len() as u64;
    let blob = Blob::at_path(path);
    let node = Node { meta: Meta::with_mode(0o755), kind: Kind::File(tree::Content::in_blob(blob, 0, len)) };
    add("/bin/busybox", node);
    for name in [
        "sh", "cat", "chgrp", "chmod", "chown", "chroot", "cp", "cut", "echo", "env", "grep", "hostname",
        "id", "ip", "kill", "ln", "ls", "mkdir", "mkfifo", "mknod", "mount", "mv", "nc", "printf", "ps",
        "readlink", "rm", "rmdir", "sed", "setsid", "sleep", "sort", "stat", "su", "touch", "tar", "test",
        "tr", "true", "truncate", "unshare", "wc",
    ] {
        add(&format!("/bin/{name}"), Node::symlink("busybox"));
    }
    add("/etc/passwd", Node::file(0o644, "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/:/bin/sh\n"));
    add("/etc/group", Node::file(0o644, "root:x:0:\nwww:x:33:\nshadow:x:42:\n"));
    let mut shadow = Node::file(0o640, "root:*:::::::\n");
    shadow.meta.gid = 42;
    add("/etc/shadow", shadow);
    let mut tmp = Node::dir();
    tmp.meta.mode = 0o1777;
    add("/tmp", tmp);
    add("/srv/old/file", Node::file(0o644, "old"));
    add("/srv/old/dir/deep", Node::file(0o644, "deep"));
    tree
}

impl Case {
    pub(crate) fn scratch(&self) -> PathBuf {
        let path = self.dir.join("scratch");
        std::fs::create_dir(&path).unwrap();
        path
    }

    pub(crate) fn shell(&self, line: &str) -> Run {
        let mut run = Run::shell(OsString::from(line));
        run.mode = Some(self.mode);
        run
    }

    /// The layer's dump, without times.
    pub(crate) fn run(&self, tree: &Tree, run: &Run) -> Result<Tree, SandboxError> {
        let scratch = self.scratch();
        let tar = self.dir.join("layer.tar");
        let result = run_in(tree, &oci::Config::default(), run, &scratch, &self.events, |reader| {
            let mut file = std::fs::File::create(&tar).unwrap();
            std::io::copy(reader, &mut file).map_err(|source| SandboxError::Io { path: tar.clone(), source })
        });
        assert!(!scratch.exists(), "the scratch directory is left after {result:?}");
        let len = result?;
        let blob = Blob::from_file(&tar, std::fs::File::open(&tar).unwrap());
        std::fs::remove_file(&tar).unwrap();
        Ok(Tree::from_tar(&blob, 0, len, &tree::Limits::default()).unwrap())
    }

    /// Runs a line of shell and gives the dump of what it changed, without the root's line.
    pub(crate) fn changes(&self, line: &str) -> String {
        self.changes_of(&busybox(), &self.shell(line))
    }

    pub(crate) fn changes_of(&self, tree: &Tree, run: &Run) -> String {
        let layer = self.run(tree, run).unwrap_or_else(|e| panic!("{e}"));
        layer.dump().lines().skip(1).map(|l| format!("{l}\n")).collect()
    }

    /// What a line of shell prints.
    pub(crate) fn output(&self, line: &str) -> Vec<String> {
        self.events.take_lines();
        self.run(&busybox(), &self.shell(line)).unwrap_or_else(|e| panic!("{e}"));
        self.events.take_lines()
    }
}
