//! Which daemons, and what they are asked.

use super::Daemon;

const HTTP: &str = r"talk 80 'GET / HTTP/1.0\r\n\r\n' 15";
/// A DNS query over TCP for the address of localhost, and the end of the answer.
const DNS: &str = r"talk 53 '\x00\x1b\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09localhost\x00\x00\x01\x00\x01' 45 | od -An -v -tx1 | tr -d '\n'";
/// The beginning of the answer to another one.
const DNS_HEADER: &str = r"talk 53 '\x00\x1b\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09localhost\x00\x00\x01\x00\x01' 6 | od -An -v -tx1";
/// Three packets of MQTT 3.1.1: connect, subscribe to `t`, publish `hi` there. What is published comes back.
const MQTT: &str = r"talk 1883 '\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab\x82\x06\x00\x01\x00\x01t\x00\x30\x05\x00\x01thi' 16 | od -An -v -tx1";
const METRICS: &str = r"talk 9100 'GET /metrics HTTP/1.0\r\n\r\n' 1000000 | grep ^node_uname_info";
/// SOCKS 5, without authentication.
const SOCKS: &str = r"talk 9050 '\x05\x01\x00' 2 | od -An -v -tx1";

/// Version 2c: the description of the system.
const SNMP: &str = r"ask_port 161 '\x30\x29\x02\x01\x01\x04\x06public\xa0\x1c\x02\x04\x00\x00\x00\x01\x02\x01\x00\x02\x01\x00\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\x00\x05\x00' | od -An -v -tx1 | tr -d '\n'";
const XMPP: &str = r#"talk 5222 '<stream:stream to="localhost" xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" version="1.0">' 60"#;
/// A request for the address from which it comes, and the head of the answer.
const STUN: &str =
    r"ask_port 3478 '\x00\x01\x00\x00\x21\x12\xa4\x42AAAABBBBCCCC' | od -An -v -tx1 | head -n 1";
/// An access request for `test`, who is rejected.
const RADIUS: &str =
    r"ask_port 1812 '\x01\x01\x00\x1aAAAABBBBCCCCDDDD\x01\x06test' | od -An -v -tx1 | head -n 1";
/// Mode 3, version 4.
const NTP: &str = r#"echo "answer of $(ask_port 123 "\x23$(printf '\\x00%.0s' $(seq 47))" | wc -c) bytes""#;
/// A session with `*SMBSERVER`, accepted.
const NETBIOS: &str = r"talk 139 '\x81\x00\x00\x44\x20CKFDENECFDEFFCFGEFFCCACACACACACA\x00\x20EDEIECEBEIEDAACACACACACACACACACA\x00' 4 | od -An -v -tx1";
/// FCGI_GET_VALUES, and the head of its result.
const FASTCGI: &str = r#"perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new("/run/php/php8.2-fpm.sock") or die "$!\n"; syswrite $s, "\1\11\0\0\0\20\0\0\16\0FCGI_MAX_CONNS"; sysread $s, $r, 8; print unpack("H*", $r)'"#;

/// All of them.
pub(super) const ALL: [Daemon; 47] = [
    daemon("nginx", "nginx.service", "www-data", HTTP, "HTTP/1.1 200 OK").with(&["--state-files"]),
    daemon("redis", "redis-server.service", "redis", r"talk 6379 'PING\r\n' 5", "+PONG")
        .of(&["redis-server"])
        .relaxed(),
    daemon(
        "haproxy",
        "haproxy.service",
        "haproxy",
        "ask_socket /run/haproxy/admin.sock 'show info' | head -n 1",
        "Name: HAProxy",
    ),
    daemon(
        "postgresql",
        "postgresql@15-main.service",
        "postgres",
        "runuser -u postgres -- psql -tAc 'select 41 + 1' template1",
        "42",
    ),
    daemon("mariadb", "mariadb.service", "mysql", "mariadb -Ne 'select 41 + 1'", "42")
        .of(&["mariadb-server", "mariadb-client-core"]),
    daemon("sshd", "ssh.service", "sshd", "talk 22 '' 15", "SSH-2.0-OpenSSH").of(&["openssh-server"]),
    daemon("chrony", "chrony.service", "_chrony", "chronyc tracking", "Reference ID").relaxed(),
    daemon("dnsmasq", "dnsmasq.service", "dnsmasq", DNS, "7f 00 00 01"),
    daemon("unbound", "unbound.service", "unbound", DNS, "7f 00 00 01").of(&["unbound", "dns-root-data"]),
    daemon("mosquitto", "mosquitto.service", "mosquitto", MQTT, "30 05 00 01 74 68 69"),
    daemon("lighttpd", "lighttpd.service", "www-data", HTTP, "HTTP/1.0 200 OK").with(&["--state-files"]),
    daemon("node-exporter", "prometheus-node-exporter.service", "prometheus", METRICS, "node_uname_info{")
        .of(&["prometheus-node-exporter"]),
    daemon("apache", "apache2.service", "www-data", HTTP, "HTTP/1.1 200 OK")
        .of(&["apache2"])
        .with(&["--state-files"]),
    daemon("bind", "named.service", "bind", DNS, "7f 00 00 01").of(&["bind9"]),
    daemon("memcached", "memcached.service", "memcache", r"talk 11211 'version\r\n' 8", "VERSION ").relaxed(),
    daemon("vsftpd", "vsftpd.service", "ftp", "talk 21 '' 12", "220 (vsFTPd "),
    daemon("postfix", "postfix@-.service", "postfix", "talk 25 '' 40", "ESMTP Postfix"),
    daemon("tor", "tor@default.service", "debian-tor", SOCKS, "05 00").relaxed(),
    daemon("squid", "squid.service", "proxy", r"talk 3128 'GET / HTTP/1.0\r\n\r\n' 400", "Server: squid"),
    daemon("cups", "cups.service", "lp", r"talk 631 'GET / HTTP/1.0\r\n\r\n' 400", "CUPS")
        .of(&["cups-daemon"]),
    daemon(
        "rsyslog",
        "rsyslog.service",
        "root",
        "logger -t e2e hello && tail -n 1 /var/log/syslog",
        "e2e: hello",
    )
    .stops_first(),
    daemon("varnish", "varnish.service", "vcache", r"talk 6081 'GET / HTTP/1.0\r\n\r\n' 15", "HTTP/1.1 503"),
    daemon("dovecot", "dovecot.service", "dovenull", "talk 143 '' 40", "* OK [CAPABILITY IMAP4")
        .of(&["dovecot-imapd"]),
    daemon(
        "avahi",
        "avahi-daemon.service",
        "avahi",
        "busctl call org.freedesktop.Avahi / org.freedesktop.Avahi.Server GetVersionString",
        "s \"avahi ",
    )
    .of(&["avahi-daemon"]),
    // Refused: there is no zone.
    daemon("nsd", "nsd.service", "nsd", DNS_HEADER, "12 34 81 05").relaxed(),
    daemon(
        "privoxy",
        "privoxy.service",
        "privoxy",
        r"talk 8118 'GET http://p.p/ HTTP/1.0\r\n\r\n' 400",
        "Privoxy",
    )
    .stops_first(),
    daemon("proftpd", "proftpd.service", "proftpd", "talk 21 '' 20", "220 ProFTPD").of(&["proftpd-core"]),
    daemon(
        "transmission",
        "transmission-daemon.service",
        "debian-transmission",
        r"talk 9091 'GET /transmission/rpc HTTP/1.0\r\n\r\n' 400",
        "Server: Transmission",
    )
    .of(&["transmission-daemon"]),
    daemon("snmpd", "snmpd.service", "Debian-snmp", SNMP, "02 01 01 04 06 70"),
    daemon("samba", "smbd.service", "root", NETBIOS, "82 00 00 00"),
    daemon("php-fpm", "php8.2-fpm.service", "www-data", FASTCGI, "010a0000").of(&["php8.2-fpm"]),
    daemon("etcd", "etcd.service", "etcd", r"talk 2379 'GET /version HTTP/1.0\r\n\r\n' 400", "etcdserver")
        .of(&["etcd-server"]),
    daemon("ntpsec", "ntpsec.service", "ntpsec", NTP, "answer of 48 bytes"),
    daemon("caddy", "caddy.service", "caddy", HTTP, "HTTP/1.0 200 OK"),
    // It listens nowhere until it is configured.
    daemon("knot", "knot.service", "knot", "knotc status", "Running").relaxed(),
    daemon("prosody", "prosody.service", "prosody", XMPP, "<stream:stream "),
    daemon("lldpd", "lldpd.service", "_lldpd", "lldpcli show chassis", "Chassis:"),
    daemon("mpd", "mpd.service", "mpd", "talk 6600 '' 10", "OK MPD").relaxed(),
    daemon("nats", "nats-server.service", "nats", "talk 4222 '' 10", "INFO {")
        .of(&["nats-server"])
        .stops_first(),
    daemon(
        "prometheus",
        "prometheus.service",
        "prometheus",
        r"talk 9090 'GET /-/healthy HTTP/1.0\r\n\r\n' 15",
        "HTTP/1.0 200 OK",
    )
    .relaxed(),
    daemon("beanstalkd", "beanstalkd.service", "beanstalkd", r"talk 11300 'stats\r\n' 3", "OK "),
    daemon("tinyproxy", "tinyproxy.service", "tinyproxy", r"talk 8888 'GET / HTTP/1.0\r\n\r\n' 9", "HTTP/1."),
    daemon(
        "minidlna",
        "minidlna.service",
        "minidlna",
        r"talk 8200 'GET / HTTP/1.0\r\n\r\n' 15",
        "HTTP/1.1 200 OK",
    ),
    daemon(
        "pgbouncer",
        "pgbouncer.service",
        "postgres",
        r"talk 6432 '\x00\x00\x00\x08\x04\xd2\x16\x2f' 1",
        "N",
    )
    .stops_first(),
    daemon("rpcbind", "rpcbind.service", "_rpc", "rpcinfo -p", "100000    4   tcp    111").stops_first(),
    daemon("coturn", "coturn.service", "turnserver", STUN, "01 01"),
    daemon("freeradius", "freeradius.service", "freerad", RADIUS, "03 01"),
];

const fn daemon(
    name: &'static str,
    unit: &'static str,
    user: &'static str,
    ask: &'static str,
    expect: &'static str,
) -> Daemon {
    Daemon { name, packages: &[], unit, user, ask, expect, options: &[], relax: false, stops_first: false }
}

impl Daemon {
    /// Packages whose names aren't the daemon's.
    const fn of(self, packages: &'static [&'static str]) -> Daemon {
        Daemon { packages, ..self }
    }

    /// Its unit forbids what entry points need.
    const fn relaxed(self) -> Daemon {
        Daemon { relax: true, ..self }
    }

    /// It needs its files, or its unit, to stop.
    const fn stops_first(self) -> Daemon {
        Daemon { stops_first: true, ..self }
    }

    const fn with(self, options: &'static [&'static str]) -> Daemon {
        Daemon { options, ..self }
    }
}
