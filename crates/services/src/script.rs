//! What the scripts of packages make.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use tree::TreePath;

use crate::named;

/// The numbers of groups that packages make. Debian Policy 9.2.2, Alpine's addgroup, Fedora's SYS_GID_MIN.
pub(crate) const OF_PACKAGES: RangeInclusive<u32> = 101..=999;

/// What is part of commands on accounts: other words of such a line are names.
const COMMANDS: [&str; 12] = [
    "addgroup",
    "adduser",
    "chgrp",
    "chown",
    "getent",
    "gpasswd",
    "groupadd",
    "install ",
    "statoverride",
    "sysusers",
    "useradd",
    "usermod",
];

/// What a maintainer script names. Neither variables nor branches are followed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Script {
    /// Words of commands on accounts, and the values of variables.
    pub names: BTreeSet<String>,
    /// Paths below /etc, /run, /srv and /var.
    pub paths: BTreeSet<TreePath>,
}

impl Script {
    pub(crate) fn parse(text: &str) -> Script {
        let mut out = Script::default();
        for line in text.replace("\\\n", " ").lines().map(str::trim).filter(|l| !l.starts_with('#')) {
            out.paths.extend(named::paths(line.as_bytes()));
            if COMMANDS.iter().any(|command| line.contains(command)) {
                let is_part = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
                let words = line.split(|c| !is_part(c)).filter(|w| !w.is_empty());
                out.names.extend(words.map(str::to_owned));
            } else if let Some((_, value)) = line.split_once('=') {
                out.names.insert(value.trim_matches(['"', '\'', ';']).to_owned());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_scripts() {
        for (text, names, others) in [
            ("adduser --system \\\n  --group --force-badname Debian-exim", "Debian-exim", ""),
            ("chown -R web:www /var/lib/web", "web www", ""),
            ("install -o web -g adm /dev/null /var/log/web", "web adm", ""),
            ("getent group web >/dev/null || true", "web", ""),
            ("worker_user=\"vcache\"\nUSER=web\nGROUP='www'", "vcache web www", ""),
            ("for i in postmaster www ftp abuse; do", "", "ftp"),
            ("check=\"$check proftpd pure-ftpd\"", "", "proftpd"),
            ("# chown tor:tor", "", "tor"),
            ("mount --bind /var/lib/x /srv/y", "", "bind"),
        ] {
            let got = Script::parse(text).names;
            assert!(names.split_whitespace().all(|n| got.contains(n)), "{text}: {got:?}");
            assert!(others.split_whitespace().all(|n| !got.contains(n)), "{text}: {got:?}");
        }
    }

    #[test]
    fn paths_of_scripts() {
        let script = Script::parse("mkdir -p /var/lib/varnish\n# rm /var/lib/old\nrm -f $D/var/lib/x");
        assert_eq!(script.paths, ["/var/lib/varnish".parse().unwrap()].into());
    }
}
