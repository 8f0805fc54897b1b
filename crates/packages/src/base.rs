//! Packages that an extension leaves to the host.

use crate::Package;

/// Packages of Debian, Fedora, openSUSE, Arch and Alpine that every host with systemd-sysext has in a form of its own: the
/// C library, shell, coreutils and their like, systemd; and what describes the host: its accounts, certificates, time zones.
///
/// perl-base and ncurses-base are essential on Debian and missing on other hosts, so they aren't part of it.
const BASE: &[&str] = &[
    "aaa_base",
    "alpine-baselayout",
    "alpine-baselayout-data",
    "alpine-release",
    "base-files",
    "base-passwd",
    "basesystem",
    "bash",
    "bsdutils",
    "busybox",
    "busybox-binsh",
    "ca-certificates",
    "ca-certificates-bundle",
    "ca-certificates-mozilla",
    "ca-certificates-utils",
    "centos-stream-release",
    "coreutils",
    "coreutils-common",
    "coreutils-single",
    "dash",
    "dbus",
    "dbus-bin",
    "dbus-broker",
    "dbus-common",
    "dbus-daemon",
    "dbus-session-bus-common",
    "dbus-system-bus-common",
    "debianutils",
    "fedora-release",
    "fedora-release-common",
    "fedora-release-container",
    "filesystem",
    "findutils",
    "glibc",
    "glibc-common",
    "glibc-minimal-langpack",
    "grep",
    "gzip",
    "hostname",
    "iana-etc",
    "kmod",
    "libc-bin",
    "libc-utils",
    "libc6",
    "login",
    "lsb-base",
    "media-types",
    "mount",
    "musl",
    "musl-utils",
    "netbase",
    "openSUSE-release",
    "passwd",
    "rocky-release",
    "sed",
    "setup",
    "shadow",
    "shadow-utils",
    "ssl_client",
    "system-user-root",
    "systemd",
    "systemd-libs",
    "systemd-pam",
    "systemd-sysv",
    "systemd-udev",
    "sysvinit-utils",
    "tar",
    "tzdata",
    "tzdata-legacy",
    "udev",
    "usr-is-merged",
    "usrmerge",
    "util-linux",
    "util-linux-core",
    "util-linux-extra",
    "util-linux-libs",
];

/// Packages that others need while they are installed, removed or configured, and not when they run.
const INSTALL_TIME: &[&str] = &[
    "adduser",
    "alpine-keys",
    "alternatives",
    "apk-tools",
    "apt",
    "apt-utils",
    "archlinux-keyring",
    "cdebconf",
    "chkconfig",
    "crypto-policies-scripts",
    "debconf",
    "debconf-i18n",
    "debian-archive-keyring",
    "dnf",
    "dnf5",
    "dpkg",
    "emacsen-common",
    "fedora-gpg-keys",
    "fedora-repos",
    "init-system-helpers",
    "install-info",
    "libdebconfclient0",
    "microdnf",
    "pacman",
    "pacman-mirrorlist",
    "python3-debconf",
    "rpm",
    "rpm-libs",
    "scanelf",
    "system-user-nobody",
    "ucf",
    "update-alternatives",
    "update-inetd",
    "yum",
    "zypper",
];

/// Packages of these that some hosts lack, and without which programs fail. Their files would replace the hosts' own, which
/// may be newer.
const OFTEN: &[&str] = &["tzdata", "tzdata-legacy"];

/// Whether most hosts have its files, and the leanest don't. An extension replaces them only if it is asked to.
pub fn is_often(package: &Package) -> bool {
    OFTEN.contains(&package.name.as_str())
}

/// Whether every host has its own.
pub fn is_base(package: &Package) -> bool {
    BASE.binary_search(&package.name.as_str()).is_ok() || package.name.starts_with("glibc-langpack-")
}

/// Whether it is needed to install packages only.
pub fn is_install_time(package: &Package) -> bool {
    INSTALL_TIME.binary_search(&package.name.as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(BASE.is_sorted());
        assert!(INSTALL_TIME.is_sorted());
    }
}
