//! Paths that programs name but don't need: shared directories, the host's configuration, optional libraries.

use tree::{TreePath, is_triplet};

/// Folders below /usr/share and /usr/lib that many packages share: a program that names one names none of its own.
const SHARED: &[&str] = &[
    "lib/X11",
    "lib/bfd-plugins",
    "lib/debug",
    "lib/emacs",
    "lib/firmware",
    "lib/games",
    "lib/jvm",
    "lib/locale",
    "lib/mime",
    "lib/modules",
    "lib/pkgconfig",
    "lib/python3",
    "lib/sysctl.d",
    "lib/systemd",
    "lib/tmpfiles.d",
    "lib/udev",
    "share/X11",
    "share/X11/locale",
    "share/applications",
    "share/bash-completion",
    "share/common-licenses",
    "share/dbus-1",
    "share/dict",
    "share/doc",
    "share/emacs",
    "share/fonts",
    "share/gnupg",
    "share/i18n/charmaps",
    "share/icons",
    "share/info",
    "share/java",
    "share/javascript",
    "share/locale",
    "share/man",
    "share/mime",
    "share/misc",
    "share/perl5",
    "share/pixmaps",
    "share/sgml",
    "share/themes",
    "share/xml",
    "share/xsessions",
    "share/zoneinfo",
];

/// Directories that programs don't need or that the host provides, with everything in them.
const UNUSED: &[&str] = &[
    "include",
    "lib/debug",
    "lib/locale",
    "lib/modules",
    "lib/os-release",
    "lib/terminfo",
    "local",
    "share/doc",
    "share/info",
    "share/locale",
    "share/man",
    "share/terminfo",
    "share/zoneinfo",
    "src",
];

/// Files and folders of /etc that belong to the base system, in one form or another on each host.
const OF_HOST: &[&str] = &[
    "X11",
    "adjtime",
    "alternatives",
    "bash.bashrc",
    "cron.d",
    "crontab",
    "debian_version",
    "default",
    "environment",
    "ethers",
    "gai.conf",
    "host.conf",
    "hosts.allow",
    "hosts.deny",
    "init.d",
    "inittab",
    "inputrc",
    "iproute2",
    "issue",
    "issue.net",
    "login.defs",
    "magic",
    "mailcap",
    "mime.types",
    "mke2fs.conf",
    "modprobe.d",
    "modules",
    "motd",
    "netgroup",
    "networks",
    "opt",
    "pam.d",
    "profile",
    "profile.d",
    "protocols",
    "rpc",
    "securetty",
    "security",
    "selinux",
    "services",
    "shells",
    "skel",
    "sysctl.conf",
    "sysctl.d",
    "systemd",
    "terminfo",
    "udev",
    "xattr.conf",
    "xdg",
];

/// Programs that are a user's or an administrator's choice: named in case they are there.
const CHOICES: &[&str] = &[
    "awk",
    "dash",
    "editor",
    "ex",
    "gpgconf",
    "login",
    "mail",
    "nologin",
    "pager",
    "passwd",
    "rmt",
    "sendmail",
    "sensible-browser",
    "sensible-editor",
    "sensible-pager",
    "su",
    "vi",
    "www-browser",
    "x-terminal-emulator",
    "zsh",
];

/// Libraries, by their names without version, that work without the files that they name.
const SELF_SUFFICIENT: &[&str] = &[
    "libGLX_mesa",
    "libX11",
    "libXpm",
    "libXt",
    "libabsl_time_zone",
    "libasan",
    "libasound",
    "libattr",
    "libaudit",
    "libbabeltrace-ctf",
    "libbabeltrace-ctf-text",
    "libbluray",
    "libc",
    "libcaca",
    "libcares",
    "libcdio",
    "libcrypto",
    "libcurl",
    "libcurl-gnutls",
    "libdebuginfod",
    "libdrm_amdgpu",
    "libfontenc",
    "libfuse3",
    "libgbm",
    "libgssapi_krb5",
    "libkrb5",
    "libmfx",
    "libmysofa",
    "libncurses",
    "libncursesw",
    "libpam",
    "libsasl2",
    "libssl",
    "libsystemd",
    "libthai",
    "libtinfo",
    "libtinfow",
    "libudev",
    "libutempter",
    "libvdpau",
    "libxkbcommon",
];

/// Whether a path is a shared directory or one that programs don't need.
pub(super) fn is_shared(path: &TreePath) -> bool {
    let parts: Vec<&[u8]> = path.components().collect();
    match parts.as_slice() {
        [b"usr", b"bin" | b"sbin", _] => false,
        [] | [_] | [b"usr", _] => true,
        [b"usr", b"lib", triplet] if is_triplet(triplet) => true,
        [b"usr", b"lib", triplet, rest @ ..] if is_triplet(triplet) => {
            matches!(rest, [b"pkgconfig" | b"gconv" | b"dri" | b"bfd-plugins", ..])
        }
        [b"usr", b"local", ..] => true,
        [b"usr", rest @ ..] => {
            let rest = rest.join(&b'/');
            let below = |d: &&str| {
                rest.strip_prefix(d.as_bytes()).is_some_and(|r| matches!(r.first(), None | Some(b'/')))
            };
            SHARED.iter().any(|d| d.as_bytes() == rest) || UNUSED.iter().any(below)
        }
        _ => false,
    }
}

/// Whether few users of the program need the file: a script for one of busybox's many programs.
pub(super) fn is_rare(path: &TreePath) -> bool {
    path.as_relative().starts_with(b"usr/share/udhcpc")
}

/// Whether a folder beside a program is documentation.
pub(super) fn is_documentation(name: &[u8]) -> bool {
    matches!(name, b"doc" | b"docs" | b"legal" | b"man" | b"info" | b"include" | b"README" | b"LICENSE")
}

/// Whether something of /etc belongs to the base system. `path` is below /etc.
pub(super) fn is_of_host(path: &TreePath) -> bool {
    let name = path.components().nth(1);
    name.is_none_or(|name| OF_HOST.iter().any(|h| h.as_bytes() == name))
}

/// Whether a program is named in case it is there.
pub(super) fn is_choice(program: &TreePath) -> bool {
    program.file_name().is_some_and(|name| CHOICES.iter().any(|c| c.as_bytes() == name))
}

/// Whether a library is known to work without the files that it names, by its DT_SONAME.
pub(super) fn is_self_sufficient(soname: &[u8]) -> bool {
    let end = soname.windows(3).position(|w| w == b".so").unwrap_or(soname.len());
    let name = &soname[..end];
    // libbfd-2.40-system, libncursesw
    let stem = name.split(|&b| b == b'-').next().unwrap_or(name);
    let known = |n: &[u8]| SELF_SUFFICIENT.iter().any(|l| l.as_bytes() == n);
    known(name) || matches!(stem, b"libbfd" | b"libdebuginfod" | b"libgio")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        for table in [SHARED, UNUSED, OF_HOST, CHOICES, SELF_SUFFICIENT] {
            assert!(table.is_sorted(), "{table:?}");
        }
    }

    #[test]
    fn folders_of_nobody() {
        for (path, expected) in [
            ("/usr/share", true),
            ("/usr/lib/x86_64-linux-gnu", true),
            ("/usr/lib/x86_64-linux-gnu/gawk", false),
            ("/usr/share/misc", true),
            ("/usr/share/misc/magic.mgc", false),
            ("/usr/share/man/man1", true),
            ("/usr/share/mandala", false),
            ("/usr/local/share/x", true),
            ("/usr/lib/git-core", false),
            ("/opt/x", false),
        ] {
            assert_eq!(is_shared(&path.parse().unwrap()), expected, "{path}");
        }
        for (soname, expected) in [("libc.so.6", true), ("libcurl.so.4", true), ("libmagic.so.1", false)] {
            assert_eq!(is_self_sufficient(soname.as_bytes()), expected, "{soname}");
        }
    }
}
