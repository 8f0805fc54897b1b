//! A small image, an extension made of it in a directory, and the three ways in.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use flatwrap::{Options, Plan};
use tree::{Blob, Content, Meta, Node, Tree, WriteOptions};

/// A user that nobody knows.
pub(crate) const USER: u32 = 64_779;

/// The name of a program.
pub(crate) const ODD: &str = "it's \"$(touch hacked)\" `touch hacked` ${HOME} & ; > x * \\ #";

/// Who starts a program, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Root,
    Unshare,
    Bwrap,
}

impl Caller {
    pub(crate) const ALL: [Caller; 3] = [Caller::Root, Caller::Unshare, Caller::Bwrap];
}

/// A static busybox and its applets; `/usr/bin/probe` runs `$PROBE` with its own arguments.
pub(crate) fn image() -> Tree {
    let busybox = Path::new("/bin/busybox");
    let len = std::fs::metadata(busybox).expect("/bin/busybox: install busybox-static").len();
    let mut tree = Tree::default();
    let mut add =
        |path: &str, node: Node| tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
    add(
        "/usr/bin/busybox",
        Node::file(0o755, Content::in_blob(Blob::at_path(std::fs::canonicalize(busybox).unwrap()), 0, len)),
    );
    let applets = [
        "sh", "cat", "id", "touch", "stat", "env", "sort", "grep", "unshare", "true", "ls", "rm", "kill",
        "pwd", "mkdir",
    ];
    for applet in applets {
        add(&format!("/usr/bin/{applet}"), Node::symlink("busybox"));
    }
    add("/bin", Node::symlink("usr/bin"));
    // A name that tries all that a shell might do with it.
    add(&format!("/usr/bin/{ODD}"), Node::file(0o755, "#!/bin/sh\necho \"odd: $1\"\n"));
    add("/usr/bin/probe", Node::file(0o755, "#!/bin/sh\neval \"$PROBE\"\n"));
    for dir in ["/etc", "/var", "/home", "/usr/lib", "/etc/terminfo"] {
        add(&format!("{dir}/whose"), Node::file(0o644, "image\n"));
    }
    add("/usr/share/dpkg", Node::symlink("/usr/share/dpkg-of-the-host"));
    add("/tmp", Node::symlink("/var/tmp"));
    tree
}

/// Copies a directory with programs to where they are executed.
///
/// A child process does it. What this one writes, a child that another thread forks meanwhile has open for writing until
/// its own exec, and until then the kernel executes it for nobody ("Text file busy").
fn place_programs(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    std::fs::remove_dir_all(from).unwrap();
}

/// An extension in a directory of its own, readable by all.
pub(crate) struct Extension {
    dir: tempfile::TempDir,
}

impl Extension {
    pub(crate) fn new(image: Tree, change: impl FnOnce(&mut Options)) -> Extension {
        Extension::with(image, &[], change)
    }

    /// With other paths of the image besides the programs.
    pub(crate) fn with(image: Tree, paths: &[&str], change: impl FnOnce(&mut Options)) -> Extension {
        assert!(
            rustix::process::geteuid().is_root(),
            "the tests of flatwrap have to run as root: they start programs as root and as others"
        );
        let mut options = Options::new("probe".parse().unwrap()).unwrap();
        change(&mut options);
        let odd = format!("/usr/bin/{ODD}");
        let items: Vec<sysext::RequestedPath> =
            ["/usr/bin/probe", &odd].iter().chain(paths).map(|i| i.parse().unwrap()).collect();
        let plan = Plan::new(&image, &items, options).unwrap();
        let (tree, _) = plan.build(image).unwrap();
        let dir = tempfile::Builder::new().prefix("flatwrap-test-").tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let extension = Extension { dir };
        let written = extension.dir.path().join("written");
        std::fs::create_dir(&written).unwrap();
        let _ = tree.write_dir(&written, &WriteOptions::all()).unwrap();
        place_programs(&written, &extension.root());
        for caller in Caller::ALL {
            let home = extension.home(caller);
            std::fs::create_dir(&home).unwrap();
            if caller != Caller::Root {
                chown(&home, Some(USER), Some(USER)).unwrap();
            }
        }
        extension
    }

    /// What `FLATWRAP_ROOT` says.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("ext")
    }

    pub(crate) fn home(&self, caller: Caller) -> PathBuf {
        self.dir.path().join(format!("home-{caller:?}"))
    }

    /// What root starts; for others, what [`Extension::wrap`] replaces.
    pub(crate) fn entry(&self, name: &str) -> Command {
        Command::new(self.root().join("usr/bin").join(name))
    }

    /// The entry point as `caller` starts it, with `script` to be run inside.
    pub(crate) fn command(&self, caller: Caller, script: &str) -> Command {
        let entry = self.root().join("usr/bin/probe");
        let mut c = self.wrap(caller, Command::new(&entry), script);
        if caller != Caller::Root {
            c.arg(entry);
        }
        c
    }

    /// `command` for root; for others setpriv (Debian package util-linux), to which the command has to be added.
    pub(crate) fn wrap(&self, caller: Caller, command: Command, script: &str) -> Command {
        let mut c = command;
        if caller != Caller::Root {
            let id = USER.to_string();
            c = Command::new("/usr/bin/setpriv");
            c.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]);
        }
        c.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("PROBE", script);
        c.env("FLATWRAP_ROOT", self.root()).env("HOME", self.home(caller)).current_dir(self.home(caller));
        match caller {
            Caller::Root => {}
            Caller::Unshare => _ = c.env("NOBWRAP", "1"),
            Caller::Bwrap => _ = c.env("FLATWRAP_BWRAP", "1"),
        }
        c
    }

    /// What `script` prints inside.
    pub(crate) fn run(&self, caller: Caller, script: &str, args: &[&str]) -> String {
        let out = self.command(caller, script).args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(stderr.is_empty() || out.status.success(), "{caller:?}: {} {stderr}", out.status);
        String::from_utf8(out.stdout).unwrap()
    }

    /// All files with their times.
    pub(crate) fn listing(&self) -> String {
        let out = Command::new("find").arg(self.root()).args(["-printf", "%p %m %T@ %s\n"]).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }
}
