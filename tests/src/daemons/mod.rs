//! Daemons of Debian's packages: how they are made extensions, and what they do on a host that has never heard of them.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::{Account, World};

/// A daemon, and how it is known to work.
#[derive(Debug, Clone, Copy)]
pub struct Daemon {
    /// The extension's name.
    pub name: &'static str,
    /// Packages, the daemon's own first.
    pub packages: &'static [&'static str],
    /// The unit that starts by itself.
    pub unit: &'static str,
    /// The user that it gets.
    pub user: &'static str,
    /// A shell command that asks it something.
    pub ask: &'static str,
    /// Part of the answer.
    pub expect: &'static str,
}

/// What makes an extension of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// With its libraries.
    Flix,
    /// In a private root.
    Flatwrap,
}

const HTTP: &str = r"talk 80 'GET / HTTP/1.0\r\n\r\n' 80";
/// A DNS query over TCP for the address of localhost, and the end of the answer.
const DNS: &str = r"talk 53 '\x00\x1b\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09localhost\x00\x00\x01\x00\x01' 45 | od -An -v -tx1 | tr -d '\n'";

/// All of them.
pub const ALL: [Daemon; 12] = [
    daemon("nginx", &["nginx"], "nginx.service", "www-data", HTTP, "HTTP/1.1 403 Forbidden"),
    daemon("redis", &["redis-server"], "redis-server.service", "redis", r"talk 6379 'PING\r\n' 5", "+PONG"),
    daemon(
        "haproxy",
        &["haproxy"],
        "haproxy.service",
        "haproxy",
        "test -S /run/haproxy/admin.sock && echo listens",
        "listens",
    ),
    daemon(
        "postgresql",
        &["postgresql"],
        "postgresql@15-main.service",
        "postgres",
        "runuser -u postgres -- psql -tAc 'select 41 + 1' template1",
        "42",
    ),
    daemon("mariadb", &["mariadb-server"], "mariadb.service", "mysql", "mariadb -Ne 'select 41 + 1'", "42"),
    daemon("sshd", &["openssh-server"], "ssh.service", "sshd", "talk 22 '' 21", "SSH-2.0-OpenSSH"),
    daemon("chrony", &["chrony"], "chrony.service", "_chrony", "chronyc tracking", "Reference ID"),
    daemon("dnsmasq", &["dnsmasq"], "dnsmasq.service", "dnsmasq", DNS, "7f 00 00 01"),
    daemon("unbound", &["unbound", "dns-root-data"], "unbound.service", "unbound", DNS, "7f 00 00 01"),
    daemon(
        "mosquitto",
        &["mosquitto"],
        "mosquitto.service",
        "mosquitto",
        r"talk 1883 '\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab' 4 | od -An -tx1",
        "20 02 00 00",
    ),
    daemon("lighttpd", &["lighttpd"], "lighttpd.service", "www-data", HTTP, "HTTP/1.0 "),
    daemon(
        "node-exporter",
        &["prometheus-node-exporter"],
        "prometheus-node-exporter.service",
        "prometheus",
        r"talk 9100 'GET / HTTP/1.0\r\n\r\n' 80",
        "200 OK",
    ),
];

const fn daemon(
    name: &'static str,
    packages: &'static [&'static str],
    unit: &'static str,
    user: &'static str,
    ask: &'static str,
    expect: &'static str,
) -> Daemon {
    Daemon { name, packages, unit, user, ask, expect }
}

impl Daemon {
    /// The one of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn called(name: &str) -> Daemon {
        *ALL.iter().find(|d| d.name == name).unwrap_or_else(|| panic!("no daemon is called {name}"))
    }

    /// The command's words after the program.
    pub fn words(&self) -> Vec<String> {
        let packages = self.packages.iter().map(|p| format!("package:{p}"));
        let first = ["debian:bookworm", self.name].map(str::to_owned).into_iter();
        first.chain(packages).chain(["--enable", self.unit].map(str::to_owned)).collect()
    }

    /// Makes two versions of the extension: `NAME.raw` and `NAME-2.image`.
    ///
    /// # Errors
    /// flix's or flatwrap's.
    pub fn make(&self, by: &Account, tool: Tool) -> Result<Vec<PathBuf>> {
        let world = World::get()?;
        let mut out = Vec::new();
        for (name, epoch) in [(format!("{}.raw", self.name), "1"), (format!("{}-2.image", self.name), "2")] {
            let program = if tool == Tool::Flix { world.flix(by) } else { world.flatwrap(by) };
            program.args(self.words()).args(["--output", &name, "--epoch", epoch]).run()?;
            out.push(by.home().join(name));
        }
        Ok(out)
    }

    /// A line for [`script`]: its whole life on a host.
    pub fn life(&self) -> String {
        let Daemon { name, unit, user, ask, expect, .. } = self;
        format!("live {name} {unit} {user} {} {}\n", quoted(ask), quoted(expect))
    }

    /// Whether it was active, answered three times, and is gone without a failed unit.
    ///
    /// # Errors
    /// It didn't; the message has what the machine printed.
    pub fn lived(&self, text: &str) -> Result<()> {
        let Daemon { name, user, .. } = self;
        // www-data is a user of every Debian.
        let had = *user != "www-data" && text.contains(&format!("{name}: has "));
        ensure!(!had, "{name}: the host has its user: {text}");
        let part = text.split(&format!("{name}: begins\n")).nth(1).unwrap_or_default();
        let part = part.split(&format!("{name}: inactive, failed: 0\n")).collect::<Vec<_>>();
        ensure!(part.len() > 1, "{name} isn't gone without a failed unit: {text}");
        ensure!(part[0].contains(&format!("{name}: active, {user}\n")), "{name}: {text}");
        ensure!(part[0].matches(self.expect).count() >= 3, "{name}: {:?} isn't said: {text}", self.expect);
        Ok(())
    }
}

/// A word for a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A script for a machine with images in /opt/images.
pub fn script(rest: &str) -> String {
    format!("{}\n{rest}\n", include_str!("life.sh"))
}
