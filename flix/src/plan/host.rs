//! Files that every host with systemd has, which a selection must not replace.

use sysext::extension::HOST_SYMLINKS;
use tree::{StaticPath, TreePath};

/// Programs of coreutils, util-linux, findutils, grep, sed, tar, gzip, bash and systemd, by the names that they have in
/// the folders of programs.
const PROGRAMS: &[&str] = &[
    "[",
    "agetty",
    "arch",
    "b2sum",
    "base32",
    "base64",
    "basename",
    "basenc",
    "bash",
    "blkid",
    "blockdev",
    "bootctl",
    "busctl",
    "cat",
    "chcon",
    "chgrp",
    "chmod",
    "chown",
    "chroot",
    "chrt",
    "cksum",
    "comm",
    "coredumpctl",
    "cp",
    "csplit",
    "cut",
    "date",
    "dd",
    "df",
    "dir",
    "dircolors",
    "dirname",
    "dmesg",
    "du",
    "echo",
    "egrep",
    "env",
    "expand",
    "expr",
    "factor",
    "fallocate",
    "false",
    "fgrep",
    "find",
    "findmnt",
    "flock",
    "fmt",
    "fold",
    "fsck",
    "getopt",
    "grep",
    "groups",
    "gunzip",
    "gzip",
    "halt",
    "head",
    "hostid",
    "hostnamectl",
    "id",
    "init",
    "install",
    "ionice",
    "ipcrm",
    "ipcs",
    "join",
    "journalctl",
    "kernel-install",
    "kill",
    "link",
    "ln",
    "localectl",
    "loginctl",
    "logname",
    "losetup",
    "ls",
    "lsblk",
    "lscpu",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mknod",
    "mkswap",
    "mktemp",
    "more",
    "mount",
    "mountpoint",
    "mv",
    "networkctl",
    "nice",
    "nl",
    "nohup",
    "nproc",
    "nsenter",
    "numfmt",
    "od",
    "paste",
    "pathchk",
    "pinky",
    "poweroff",
    "pr",
    "printenv",
    "printf",
    "prlimit",
    "ptx",
    "pwd",
    "rbash",
    "readlink",
    "realpath",
    "reboot",
    "renice",
    "resolvectl",
    "rm",
    "rmdir",
    "runcon",
    "sed",
    "seq",
    "setpriv",
    "setsid",
    "sh",
    "sha1sum",
    "sha224sum",
    "sha256sum",
    "sha384sum",
    "sha512sum",
    "shred",
    "shuf",
    "shutdown",
    "sleep",
    "sort",
    "split",
    "stat",
    "stdbuf",
    "stty",
    "sulogin",
    "sum",
    "swapoff",
    "swapon",
    "sync",
    "systemctl",
    "systemd-analyze",
    "systemd-cat",
    "systemd-cgls",
    "systemd-cgtop",
    "systemd-creds",
    "systemd-delta",
    "systemd-detect-virt",
    "systemd-escape",
    "systemd-id128",
    "systemd-inhibit",
    "systemd-machine-id-setup",
    "systemd-mount",
    "systemd-notify",
    "systemd-path",
    "systemd-run",
    "systemd-sysext",
    "systemd-sysusers",
    "systemd-tmpfiles",
    "systemd-tty-ask-password-agent",
    "systemd-umount",
    "tac",
    "tail",
    "tar",
    "taskset",
    "tee",
    "test",
    "timedatectl",
    "timeout",
    "touch",
    "tr",
    "true",
    "truncate",
    "tsort",
    "tty",
    "udevadm",
    "umount",
    "uname",
    "unexpand",
    "uniq",
    "unlink",
    "unshare",
    "uptime",
    "users",
    "vdir",
    "wc",
    "who",
    "whoami",
    "xargs",
    "yes",
    "zcat",
];

/// Files and folders below /usr that describe the host itself, or that a tool of the host writes from all that it has
/// installed.
const DATA: &[StaticPath] = &[
    StaticPath::new("/usr/lib/firmware"),
    StaticPath::new("/usr/lib/initrd-release"),
    StaticPath::new("/usr/lib/kernel"),
    StaticPath::new("/usr/lib/locale/locale-archive"),
    StaticPath::new("/usr/lib/modules"),
    StaticPath::new("/usr/lib/os-release"),
    StaticPath::new("/usr/lib/sysimage"),
    StaticPath::new("/usr/lib/udev/hwdb.bin"),
    StaticPath::new("/usr/share/applications/mimeinfo.cache"),
    StaticPath::new("/usr/share/dbus-1/session.conf"),
    StaticPath::new("/usr/share/dbus-1/system.conf"),
    StaticPath::new("/usr/share/glib-2.0/schemas/gschemas.compiled"),
    StaticPath::new("/usr/share/info/dir"),
    StaticPath::new("/usr/share/mime"),
];

/// Time zones, which most hosts have. A package that depends on them doesn't replace these.
pub(super) const TIME_ZONES: StaticPath = StaticPath::new("/usr/share/zoneinfo");

/// Files and folders of /etc that always belong to the host, even if a link leads to them.
const CONFIGURATION: &[&str] = &[
    "ca-certificates",
    "fstab",
    "group",
    "gshadow",
    "hostname",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "machine-id",
    "mtab",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "pki",
    "resolv.conf",
    "shadow",
    "ssl",
    "subgid",
    "subuid",
    "timezone",
];

/// A folder of programs, which has a rule of its own: [`sysext::request::home`].
const SBIN: StaticPath = StaticPath::new("/usr/sbin");

/// Exceptions from these: key stores of Java, which hosts have only if they have Java.
const KEY_STORES: &[StaticPath] = &[
    StaticPath::new("/etc/ssl/certs/java"),
    StaticPath::new("/etc/pki/java"),
    StaticPath::new("/etc/pki/ca-trust/extracted/java"),
];

/// Whether this is a program of every host. `place` is one in an extension.
pub fn is_host_program(place: &TreePath) -> bool {
    let name = place.file_name().and_then(|n| std::str::from_utf8(n).ok());
    is_program_dir(place) && name.is_some_and(|n| PROGRAMS.binary_search(&n).is_ok())
}

/// Whether the file is in a folder of programs.
pub(super) fn is_program_dir(place: &TreePath) -> bool {
    let parts: Vec<&[u8]> = place.components().collect();
    matches!(parts.as_slice(), [b"usr", b"bin" | b"sbin", _] | [b"usr", b"local", b"bin" | b"sbin", _])
}

/// Whether every host has data of its own there.
pub(super) fn is_host_data(place: &TreePath) -> bool {
    DATA.iter().any(|d| place.starts_with(&d.path()))
}

/// Whether a path outside /usr and /opt belongs to the host: everything except a package's own configuration.
pub(super) fn is_host_business(real: &TreePath) -> bool {
    if KEY_STORES.iter().any(|s| real.starts_with(&s.path())) {
        return false;
    }
    let mut parts = real.components();
    match (parts.next(), parts.next()) {
        // Data that scripts of packages made for it; state has no link to it below /usr.
        (Some(b"var"), Some(b"lib")) => real.depth() < 4,
        (Some(b"etc"), Some(name)) => CONFIGURATION.iter().any(|c| c.as_bytes() == name),
        _ => true,
    }
}

/// The directory above `place` that some hosts have as a symlink, so that an extension with a real one hides all that they
/// have there.
pub(super) fn symlink_above(place: &TreePath) -> Option<StaticPath> {
    HOST_SYMLINKS.into_iter().find(|d| *d != SBIN && place.starts_with(&d.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(PROGRAMS.is_sorted());
    }

    #[test]
    fn what_hosts_have() {
        for (path, program, data) in [
            ("/usr/bin/sh", true, false),
            ("/usr/sbin/blkid", true, false),
            ("/usr/bin/git", false, false),
            ("/usr/lib/git-core/mktemp", false, false),
            ("/usr/share/mime/packages", false, true),
            ("/usr/share/mime.x", false, false),
            ("/usr/share/zoneinfo/UTC", false, false),
        ] {
            let path = path.parse().unwrap();
            assert_eq!((is_host_program(&path), is_host_data(&path)), (program, data), "{path}");
        }
        for (path, expected) in [
            ("/etc/java-17-openjdk/security/java.security", false),
            ("/etc/ssl/certs/ca-certificates.crt", true),
            ("/etc/ssl/certs/java/cacerts", false),
            ("/etc", true),
            ("/var/lib/x", true),
            ("/var/lib/aspell/en.rws", false),
        ] {
            assert_eq!(is_host_business(&path.parse().unwrap()), expected, "{path}");
        }
    }
}
