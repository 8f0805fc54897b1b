//! What of an image is a service's, and what is the host's.

use tree::{Kind, Node, StaticPath, TreePath};

use crate::accounts::Accounts;

/// Who owns something: an account by its name if the image has one, else by its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// An account's name.
    Name(String),
    /// A number without a name in the image.
    Number(u32),
}

impl Owner {
    /// As tmpfiles.d(5) and chown(1) take it.
    pub fn text(&self) -> String {
        match self {
            Owner::Name(name) => name.clone(),
            Owner::Number(number) => number.to_string(),
        }
    }

    /// The owner and the group of an inode of an image.
    pub(crate) fn of(node: &Node, accounts: &Accounts) -> (Owner, Owner) {
        let (uid, gid) = (node.meta.uid, node.meta.gid);
        let root = |id: u32| (id == 0).then(|| Owner::Name("root".to_owned()));
        let user = accounts.user_of(uid).map(|u| Owner::Name(u.name.clone()));
        let group = accounts.group_of(gid).map(|g| Owner::Name(g.name.clone()));
        (root(uid).or(user).unwrap_or(Owner::Number(uid)), root(gid).or(group).unwrap_or(Owner::Number(gid)))
    }
}

/// What is made at a place of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateKind {
    /// A directory.
    Directory,
    /// A symlink to this target.
    Link(Vec<u8>),
}

/// A directory or symlink below /var, /srv or /run that a service has to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePath {
    /// Where.
    pub path: TreePath,
    /// What.
    pub kind: StateKind,
    /// The lower twelve bits of st_mode; of no meaning for a symlink.
    pub mode: u32,
    /// Its owner.
    pub owner: Owner,
    /// Its group.
    pub group: Owner,
}

impl StatePath {
    /// As an inode of the image has it. None for what is neither a directory nor a symlink.
    pub(crate) fn of(path: &TreePath, node: &Node, accounts: &Accounts) -> Option<StatePath> {
        let kind = match &node.kind {
            Kind::Dir => StateKind::Directory,
            Kind::Symlink(target) => StateKind::Link(target.to_vec()),
            _ => return None,
        };
        let (owner, group) = Owner::of(node, accounts);
        Some(StatePath { path: path.clone(), kind, mode: node.meta.mode & 0o7777, owner, group })
    }
}

/// Whether a path is one of the directories whose content hosts change, or below one.
pub(crate) fn is_state(path: &TreePath) -> bool {
    path.starts_with(&VAR.path()) || path.starts_with(&SRV.path())
}

pub(crate) const ETC: StaticPath = StaticPath::new("/etc");
pub(crate) const RUN: StaticPath = StaticPath::new("/run");
pub(crate) const SRV: StaticPath = StaticPath::new("/srv");
pub(crate) const VAR: StaticPath = StaticPath::new("/var");

pub(crate) const UNITS: StaticPath = StaticPath::new("/usr/lib/systemd/system");
pub(crate) const SYSUSERS: StaticPath = StaticPath::new("/usr/lib/sysusers.d");
pub(crate) const TMPFILES: StaticPath = StaticPath::new("/usr/lib/tmpfiles.d");

/// Directories that every host has, or that belong to the image's package manager and to systemd.
const HOSTS: [&str; 34] = [
    "/srv",
    "/var",
    "/var/account",
    "/var/adm",
    "/var/backups",
    "/var/cache",
    "/var/cache/apk",
    "/var/cache/apt",
    "/var/cache/debconf",
    "/var/cache/dnf",
    "/var/cache/ldconfig",
    "/var/cache/libdnf5",
    "/var/cache/man",
    "/var/cache/private",
    "/var/empty",
    "/var/lib",
    "/var/lib/apk",
    "/var/lib/apt",
    "/var/lib/dbus",
    "/var/lib/dnf",
    "/var/lib/dpkg",
    "/var/lib/pacman",
    "/var/lib/pam",
    "/var/lib/private",
    "/var/lib/rpm",
    "/var/lib/systemd",
    "/var/lib/ucf",
    "/var/local",
    "/var/lock",
    "/var/log",
    "/var/mail",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

/// Directories that are the host's with all that is in them.
const HOSTS_WHOLE: [&str; 17] = [
    "/var/cache/apk",
    "/var/cache/apt",
    "/var/cache/debconf",
    "/var/cache/dnf",
    "/var/cache/libdnf5",
    "/var/cache/man",
    "/var/lib/apk",
    "/var/lib/apt",
    "/var/lib/dbus",
    "/var/lib/dpkg",
    "/var/lib/dnf",
    "/var/lib/pacman",
    "/var/lib/pam",
    "/var/lib/rpm",
    "/var/lib/systemd",
    "/var/lib/ucf",
    "/var/log/apt",
];

/// Whether a place of the state is the host's business.
pub(crate) fn is_hosts_state(path: &TreePath) -> bool {
    let text = path.to_absolute();
    // Supervisors other than systemd have no part here.
    HOSTS.iter().any(|h| h.as_bytes() == text)
        || text.starts_with(b"/var/log/runit")
        || HOSTS_WHOLE.iter().any(|h| TreePath::new(h).is_ok_and(|h| path.starts_with(&h)))
}

/// Entries of /etc that say who the host is, or that other programs than the services read.
const HOSTS_ETC: [&str; 76] = [
    "X11",
    "adjtime",
    "alternatives",
    "apk",
    "apparmor.d",
    "apt",
    "bash.bashrc",
    "bash_completion.d",
    "bindresvport.blacklist",
    "ca-certificates",
    "ca-certificates.conf",
    "cron.d",
    "cron.daily",
    "cron.hourly",
    "cron.monthly",
    "cron.weekly",
    "default",
    "dhcp",
    "dpkg",
    "environment",
    "fstab",
    "group",
    "gshadow",
    "host.conf",
    "hostname",
    "hosts",
    "hosts.allow",
    "hosts.deny",
    "init.d",
    "insserv.conf.d",
    "issue",
    "kernel",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "logcheck",
    "login.defs",
    "logrotate.d",
    "lsb-release",
    "machine-id",
    "modprobe.d",
    "modules-load.d",
    "motd",
    "mtab",
    "network",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "pki",
    "ppp",
    "profile",
    "profile.d",
    "protocols",
    "rc0.d",
    "rc1.d",
    "rc2.d",
    "rc3.d",
    "rc4.d",
    "rc5.d",
    "rc6.d",
    "rcS.d",
    "resolv.conf",
    "resolvconf",
    "rsyslog.d",
    "runit",
    "selinux",
    "services",
    "shadow",
    "shells",
    "skel",
    "sv",
    "sysconfig",
    "systemd",
    "ufw",
    "update-motd.d",
];

/// Whether something of /etc is the host's business, unless a unit names it.
pub(crate) fn is_hosts_configuration(path: &TreePath) -> bool {
    let mut parts = path.components().skip(1);
    let Some(first) = parts.next() else { return true };
    // Whom a host trusts; what programs call their own below it isn't that.
    let trust =
        first == b"ssl" && parts.next().is_none_or(|second| [&b"certs"[..], b"private"].contains(&second));
    trust || HOSTS_ETC.iter().any(|h| h.as_bytes() == first)
}

/// Whether something is below /etc and no business of the host's.
pub fn is_configuration(path: &TreePath) -> bool {
    path.starts_with(&ETC.path()) && !is_hosts_configuration(path)
}

/// Whether a name is that of a file which a package manager has set aside, or an editor.
pub(crate) fn is_set_aside(path: &TreePath) -> bool {
    const ENDINGS: [&str; 12] = [
        "~",
        ".apk-new",
        ".dpkg-dist",
        ".dpkg-new",
        ".dpkg-old",
        ".dpkg-tmp",
        ".pacnew",
        ".pacsave",
        ".rpmnew",
        ".rpmsave",
        ".ucf-dist",
        ".ucf-old",
    ];
    path.file_name().is_some_and(|n| ENDINGS.iter().any(|e| n.ends_with(e.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(HOSTS.is_sorted() && HOSTS_ETC.is_sorted());
    }

    #[test]
    fn what_is_the_hosts() {
        for (path, expected) in [
            ("/var/lib", true),
            ("/var/lib/nginx", false),
            ("/var/lib/dpkg/info", true),
            ("/var/www", false),
            ("/var/log/runit/ssh", true),
        ] {
            assert_eq!(is_hosts_state(&path.parse().unwrap()), expected, "{path}");
        }
        for (path, expected) in [
            ("/etc", true),
            ("/etc/nginx/nginx.conf", false),
            ("/etc/passwd", true),
            ("/etc/ssl/certs/x.pem", true),
            ("/etc/ssl/openssl.cnf", false),
            ("/etc/default/x", true),
            ("/etc/selinux/semanage.conf", true),
        ] {
            assert_eq!(is_hosts_configuration(&path.parse().unwrap()), expected, "{path}");
        }
    }
}
