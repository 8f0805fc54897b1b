//! What has to be made on each host before a service's first start: keys, and databases that can't be shared.

use std::collections::BTreeSet;

use sysext::request::home;
use tree::{Tree, TreePath};

use crate::configuration::is_token;
use crate::inventory::{Inventory, TEXT_LIMIT};
use crate::state::is_file;

/// A command that a package's scripts run when it is installed, to be run on each host instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstStart {
    /// The program, in the extension, and its arguments.
    pub command: Vec<String>,
    /// What isn't there before it has run; none if it finds out itself.
    pub unless: Option<TreePath>,
    /// What the image has of its kind and the extension leaves out.
    pub replaces: Vec<TreePath>,
    /// Directories below /etc in which it makes something.
    pub writes: Vec<TreePath>,
}

/// The programs of these commands. An extension that has the service has to have them.
pub const FIRST_START_PROGRAMS: [&str; 6] = [
    "mariadb-install-db",
    "mysql_install_db",
    "nsd-control-setup",
    "pg_createcluster",
    "rndc-confgen",
    "ssh-keygen",
];

/// A program of a package that makes a key for services when it is installed, and the one with which a host makes it: a private
/// root of the package has to have it behind an entry point.
pub const KEY_MAKERS: [(&str, &str); 1] = [("make-ssl-cert", "openssl")];

/// The commands for what the extension has.
pub(crate) fn commands(
    inventory: &Inventory,
    extension: &Tree,
    secrets: &BTreeSet<TreePath>,
) -> Vec<FirstStart> {
    let mut out = Vec::new();
    let program = |name: &str| {
        let dirs = ["/usr/bin", "/usr/sbin", "/usr/libexec"];
        dirs.iter().find_map(|dir| {
            let path = TreePath::new(format!("{dir}/{name}")).ok()?;
            let place =
                [home(&path, false), Some(path)].into_iter().flatten().find(|p| is_file(extension, p));
            Some(place?.to_string())
        })
    };
    // Behind an entry point that hides no program of the host.
    let program = |name: &str| {
        program(name).or_else(|| {
            let libexec = TreePath::new("/usr/libexec").ok()?;
            let ends = [format!("/usr/bin/{name}"), format!("/usr/sbin/{name}")];
            let found = extension.subtree(&libexec).filter(|(_, node)| node.is_file());
            let mut found = found.map(|(path, _)| path.to_string());
            found.find(|path| is_plain(path) && ends.iter().any(|end| path.ends_with(end)))
        })
    };
    let path = |text: &str| TreePath::new(text).ok();
    // ssh-keygen(1): keys of those types of which there is none.
    if let (Some(keygen), Some(_)) = (program("ssh-keygen"), program("sshd")) {
        let is_key = |p: &&TreePath| {
            p.file_name().is_some_and(|n| n.starts_with(b"ssh_host_") && n.ends_with(b"_key"))
        };
        let replaces = secrets.iter().filter(is_key).cloned().collect();
        out.push(FirstStart {
            command: vec![keygen, "-A".to_owned()],
            unless: None,
            replaces,
            writes: path("/etc/ssh").into_iter().collect(),
        });
    }
    // mariadb-install-db(1).
    let install = program("mariadb-install-db").or_else(|| program("mysql_install_db"));
    let server = program("mariadbd").or_else(|| program("mysqld"));
    if let (Some(install), Some(_), Some(data)) = (install, server, path("/var/lib/mysql")) {
        // The configuration says where the server's package has it. `--rpm`: without looking up the host's name.
        let options =
            ["--no-defaults", "--rpm", "--user=mysql", "--datadir=/var/lib/mysql", "--skip-test-db"];
        let command = [&[install.as_str()], options.as_slice()].concat();
        out.push(FirstStart {
            command: command.into_iter().map(str::to_owned).collect(),
            unless: data.join("mysql").ok(),
            replaces: vec![data],
            writes: Vec::new(),
        });
    }
    out.extend(secrets.iter().filter_map(|key| made_once(inventory, key, program)));
    // pg_createcluster(1): each cluster has its configuration and its data.
    if let Some(create) = program("pg_createcluster") {
        for (version, name) in clusters(inventory) {
            let replaces = ["/etc/postgresql", "/var/lib/postgresql"];
            let replaces: Vec<TreePath> =
                replaces.iter().filter_map(|d| path(&format!("{d}/{version}/{name}"))).collect();
            out.push(FirstStart {
                unless: replaces.first().and_then(|c| c.join("postgresql.conf").ok()),
                command: vec![create.clone(), version, name],
                replaces,
                writes: path("/etc/postgresql").into_iter().collect(),
            });
        }
    }
    out
}

/// Whether a path is one word for a shell and for systemd.
fn is_plain(path: &str) -> bool {
    path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
}

/// The key of Debian's ssl-cert, which its packages' configuration names.
const SNAKEOIL: &str = "/etc/ssl/private/ssl-cert-snakeoil.key";

/// The command that makes a key, for those that a command makes without asking anything.
fn made_once(
    inventory: &Inventory,
    key: &TreePath,
    program: impl Fn(&str) -> Option<String>,
) -> Option<FirstStart> {
    let text = key.to_string();
    let node = inventory.tree.get(key).filter(|_| is_plain(&text))?;
    let (user, group) = inventory.owners(node);
    let (user, group) = (user.text(), group.text());
    let path = |text: &str| TreePath::new(text).ok();
    let (mut replaces, mut writes) = (vec![key.clone()], vec![key.parent()?]);
    let command = match text.as_str() {
        // rndc-confgen(8).
        "/etc/bind/rndc.key" => vec![program("rndc-confgen")?, "-a -u".to_owned(), user],
        // The command of make-ssl-cert(8), which needs debconf. %H is the host's name.
        SNAKEOIL => {
            writes.extend(path("/etc/ssl/certs"));
            vec![
                program("openssl")?,
                "req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=%H -config /etc/ssl/openssl.cnf"
                    .to_owned(),
                format!("-keyout {text} -out /etc/ssl/certs/ssl-cert-snakeoil.pem"),
            ]
        }
        // nsd-control(8). It makes both keys, with certificates.
        "/etc/nsd/nsd_server.key" => {
            replaces.extend(path("/etc/nsd/nsd_control.key"));
            vec![program("nsd-control-setup")?]
        }
        _ if is_token(key, &node.content()?.read(TEXT_LIMIT).ok()?) => {
            let random = "/proc/sys/kernel/random/uuid";
            let mode = node.meta.mode & 0o660;
            vec![format!("install -m {mode:o}"), format!("-o {user} -g {group} {random} {text}")]
        }
        _ => return None,
    };
    Some(FirstStart { command, unless: Some(key.clone()), replaces, writes })
}

/// The clusters that the image's scripts made: `/etc/postgresql/VERSION/NAME/postgresql.conf`.
fn clusters(inventory: &Inventory) -> Vec<(String, String)> {
    let Ok(top) = TreePath::new("/etc/postgresql") else { return Vec::new() };
    let plain = |b: &[u8]| {
        let text = std::str::from_utf8(b).ok()?;
        let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        is_plain.then(|| text.to_owned())
    };
    let of = |path: &TreePath| {
        let mut parts = path.strip_prefix(&top)?.split(|&b| b == b'/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(version), Some(name), Some(b"postgresql.conf"), None) => {
                Some((plain(version)?, plain(name)?))
            }
            _ => None,
        }
    };
    inventory.tree.subtree(&top).filter_map(|(path, _)| of(path)).collect()
}
