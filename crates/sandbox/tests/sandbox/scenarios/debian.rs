//! A real Debian, whose packages change owners, add users and groups, and want to start services.

use std::path::{Path, PathBuf};
use std::process::Command;

use sandbox::{Mode, Run, packages};
use tree::{Blob, Limits, Tree};

use crate::support::Case;

/// A tar of Debian's minimal root, made once.
pub(crate) fn tar() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-bookworm.tar");
    let lock = std::fs::File::create(path.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !path.exists() {
        let new = path.with_extension("new.tar");
        let made =
            Command::new("mmdebstrap").args(["--quiet", "--variant=minbase", "bookworm"]).arg(&new).status();
        assert!(made.unwrap_or_else(|e| panic!("mmdebstrap: {e}; install mmdebstrap")).success());
        std::fs::rename(&new, &path).unwrap();
    }
    path
}

/// Standard input is the tar, which may be where this user can't look.
pub(crate) fn packages(case: &Case) {
    let file = match case.mode {
        Mode::Root => std::fs::File::open(tar()).unwrap(),
        _ => std::fs::File::from(rustix::io::dup(rustix::stdio::stdin()).unwrap()),
    };
    let len = file.metadata().unwrap().len();
    let tree = Tree::from_tar(&Blob::from_file("debian.tar", file), 0, len, &Limits::default()).unwrap();
    let manager = packages::detect(&tree).unwrap();
    let install = Run {
        mode: Some(case.mode),
        ..manager.install(&["openssh-client".into(), "nginx-light".into()]).unwrap()
    };
    let layer = case.run(&tree, &install).unwrap_or_else(|e| panic!("{e}"));
    let line = |path: &str| {
        let node = layer.get(&path.parse().unwrap()).unwrap_or_else(|| panic!("{path} is missing"));
        format!("{:04o} {}:{}", node.meta.mode, node.meta.uid, node.meta.gid)
    };
    // The group comes from the package's own addgroup.
    let group =
        layer.get(&"/etc/group".parse().unwrap()).and_then(|n| n.content()).unwrap().read(1 << 20).unwrap();
    let group = String::from_utf8(group).unwrap();
    let ssh = group.lines().find_map(|l| l.strip_prefix("_ssh:x:")).unwrap().trim_end_matches(':').to_owned();
    assert_ne!(ssh, "0");
    let rows = [
        ("/usr/bin/ssh", "0755 0:0".to_owned()),
        ("/usr/bin/ssh-agent", format!("2755 0:{ssh}")),
        ("/usr/sbin/nginx", "0755 0:0".to_owned()),
        // www-data:adm
        ("/var/log/nginx", "0755 0:4".to_owned()),
        ("/var/lib/nginx", "0755 0:0".to_owned()),
        // groupadd gives the new file the owner that it sees the old one have. Where there is only one uid, that is root.
        ("/etc/gshadow", if case.mode == Mode::Single { "0640 0:0" } else { "0640 0:42" }.to_owned()),
    ];
    for (path, expected) in rows {
        assert_eq!(line(path), expected, "{path}");
    }
    for gone in ["/etc/resolv.conf", "/etc/hosts", "/usr/sbin/policy-rc.d", "/run/nginx.pid", "/dev", "/proc"]
    {
        assert!(!layer.contains(&gone.parse().unwrap()), "{gone}");
    }
    assert_eq!(*case.events.warnings.lock().unwrap(), [""; 0]);
    // nginx wasn't started.
    assert!(case.events.take_lines().iter().any(|l| l.contains("policy-rc.d denied execution of start")));
}
