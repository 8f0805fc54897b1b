//! Files that every host has, or makes of all that it has: one of an extension hides the host's own.

use super::{HOST_DATABASE, HOST_UNIT, finding};
use crate::extension::Finding;
use tree::{StaticPath, Tree, escape};

const UNITS: StaticPath = StaticPath::new("/usr/lib/systemd/system");

/// Units without which no host boots, shuts down, or merges.
const HOST_UNITS: [&str; 44] = [
    "basic.target",
    "ctrl-alt-del.target",
    "dbus-broker.service",
    "dbus.service",
    "dbus.socket",
    "default.target",
    "emergency.service",
    "emergency.target",
    "final.target",
    "getty.target",
    "getty@.service",
    "graphical.target",
    "halt.target",
    "local-fs.target",
    "modprobe@.service",
    "multi-user.target",
    "network-online.target",
    "network.target",
    "paths.target",
    "poweroff.target",
    "reboot.target",
    "remote-fs.target",
    "rescue.service",
    "rescue.target",
    "serial-getty@.service",
    "shutdown.target",
    "sockets.target",
    "swap.target",
    "sysinit.target",
    "system.slice",
    "systemd-confext.service",
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-logind.service",
    "systemd-modules-load.service",
    "systemd-networkd.service",
    "systemd-sysctl.service",
    "systemd-sysext.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-setup.service",
    "systemd-udevd.service",
    "timers.target",
    "umount.target",
    "user@.service",
];

/// What the host's tools make of all files of a kind. `*` stands for one name.
const DATABASES: [&str; 18] = [
    "/usr/lib/*/gconv/gconv-modules.cache",
    "/usr/lib/*/gdk-pixbuf-2.0/*/loaders.cache",
    "/usr/lib/*/gio/modules/giomodule.cache",
    "/usr/lib/gconv/gconv-modules.cache",
    "/usr/lib/gio/modules/giomodule.cache",
    "/usr/lib/locale/locale-archive",
    "/usr/lib/modules/*/modules.alias",
    "/usr/lib/modules/*/modules.alias.bin",
    "/usr/lib/modules/*/modules.dep",
    "/usr/lib/modules/*/modules.dep.bin",
    "/usr/lib/sysimage/rpm/*",
    "/usr/lib/udev/hwdb.bin",
    "/usr/share/applications/mimeinfo.cache",
    "/usr/share/glib-2.0/schemas/gschemas.compiled",
    "/usr/share/icons/hicolor/icon-theme.cache",
    "/usr/share/info/dir",
    "/usr/share/mime/mime.cache",
    "/usr/share/rpm/*",
];

pub(super) fn check(tree: &Tree, out: &mut Vec<Finding>) {
    for (path, node) in tree.children(&UNITS.path()) {
        let name = path.file_name().map(escape).unwrap_or_default();
        if !node.is_dir() && HOST_UNITS.contains(&name.as_str()) {
            let message = "takes the place of the host's unit: a drop-in changes it";
            out.push(finding(&HOST_UNIT, Some(path.clone()), message));
        }
    }
    for (path, node) in tree.iter() {
        let is = |pattern: &&str| {
            let parts = pattern.split('/').skip(1);
            parts.clone().count() == path.depth()
                && path.components().zip(parts).all(|(name, part)| part == "*" || name == part.as_bytes())
        };
        if !node.is_dir() && DATABASES.iter().any(is) {
            let message = "takes the place of what the host makes of all its files, and knows those of the extension only";
            out.push(finding(&HOST_DATABASE, Some(path.clone()), message));
        }
    }
}
