//! What a merge on a running system doesn't apply: files that the host reads once, earlier in a boot or when a daemon starts.

use tree::{StaticPath, Tree, TreePath};

use super::accounts::texts;
use super::findings::Findings;
use super::rules::LATE;
use super::units::parse;
use super::{ExtensionError, Release};

/// Files that somebody has to apply.
#[derive(Debug, Clone, Copy)]
pub struct LateFiles {
    /// The directory that they are in.
    pub dir: StaticPath,
    /// What they are, for people, in the plural.
    pub what: &'static str,
    /// The host's unit that reads them.
    pub service: &'static str,
    /// Parts of commands that apply them.
    pub commands: &'static [&'static str],
    /// Whether an extension that has them lacks something without them.
    pub is_needed: bool,
}

/// All kinds of such files.
pub const LATE_FILES: [LateFiles; 11] = [
    LateFiles {
        dir: StaticPath::new("/usr/lib/udev/rules.d"),
        what: "udev rules",
        service: "systemd-udevd.service",
        commands: &["udevadm"],
        is_needed: true,
    },
    LateFiles {
        dir: StaticPath::new("/usr/lib/udev/hwdb.d"),
        what: "hardware database entries",
        service: "systemd-hwdb-update.service",
        commands: &["systemd-hwdb"],
        is_needed: true,
    },
    LateFiles {
        dir: StaticPath::new("/usr/lib/sysusers.d"),
        what: "users and groups",
        service: "systemd-sysusers.service",
        commands: &["systemd-sysusers"],
        is_needed: true,
    },
    LateFiles {
        dir: StaticPath::new("/usr/lib/tmpfiles.d"),
        what: "files and directories of tmpfiles.d",
        service: "systemd-tmpfiles-setup.service",
        commands: &["systemd-tmpfiles"],
        is_needed: true,
    },
    LateFiles {
        dir: StaticPath::new("/usr/lib/sysctl.d"),
        what: "kernel parameters",
        service: "systemd-sysctl.service",
        commands: &["sysctl"],
        is_needed: true,
    },
    LateFiles {
        dir: StaticPath::new("/usr/lib/modules-load.d"),
        what: "kernel modules to load",
        service: "systemd-modules-load.service",
        commands: &["modprobe", "systemd-modules-load"],
        is_needed: true,
    },
    LateFiles {
        dir: StaticPath::new("/usr/lib/binfmt.d"),
        what: "binary formats",
        service: "systemd-binfmt.service",
        commands: &["systemd-binfmt"],
        is_needed: true,
    },
    LateFiles {
        dir: StaticPath::new("/usr/share/dbus-1/system.d"),
        what: "D-Bus policies",
        service: "dbus.service",
        commands: &["ReloadConfig", "reload dbus", "reload-or-restart dbus", "try-reload-or-restart dbus"],
        is_needed: true,
    },
    LateFiles {
        dir: StaticPath::new("/usr/share/polkit-1/rules.d"),
        what: "polkit rules",
        service: "polkit.service",
        commands: &["restart polkit"],
        is_needed: false,
    },
    LateFiles {
        dir: StaticPath::new("/usr/lib/systemd/network"),
        what: "network configuration files",
        service: "systemd-networkd.service",
        commands: &["networkctl"],
        is_needed: false,
    },
    LateFiles {
        dir: StaticPath::new("/usr/lib/systemd/system-preset"),
        what: "presets",
        service: "the first boot",
        commands: &["preset"],
        is_needed: false,
    },
];

impl LateFiles {
    /// The first such file of an extension. Names that end in nothing (`README`) aren't read by anybody.
    pub fn first<'t>(&self, extension: &'t Tree) -> Option<&'t TreePath> {
        let is_read = |path: &TreePath| path.file_name().is_some_and(|name| name.contains(&b'.'));
        let files = extension.subtree(&self.dir.path()).filter(|(_, node)| !node.is_dir());
        files.map(|(path, _)| path).find(|path| is_read(path))
    }
}

const UNITS: StaticPath = StaticPath::new("/usr/lib/systemd/system");

/// The commands of an extension's units and drop-ins.
#[derive(Debug, Default)]
pub struct Commands(Vec<String>);

impl Commands {
    /// Reads them.
    ///
    /// # Errors
    /// A unit can't be read.
    pub fn of(extension: &Tree) -> Result<Commands, ExtensionError> {
        let units = texts(extension, &UNITS.path(), |_| true)
            .map_err(|(path, source)| ExtensionError::Content { path, source })?;
        let directives = units.iter().flat_map(|(_, text)| parse(text));
        let commands = directives.filter(|d| d.key.starts_with("Exec"));
        Ok(Commands(commands.map(|d| String::from_utf8_lossy(&d.value).into_owned()).collect()))
    }

    /// Whether one of them has one of these parts.
    pub fn run(&self, parts: &[&str]) -> bool {
        self.0.iter().any(|command| parts.iter().any(|part| command.contains(part)))
    }
}

/// What the host lacks nothing without, or what is held against the needs of units: lint rule `service-files`.
const ELSEWHERE: [&str; 1] = ["systemd-tmpfiles-setup.service"];

/// Finds files that a merge doesn't apply, and nothing in the extension either.
pub(super) fn check(tree: &Tree, release: &Release, lint: &mut Findings<'_>) -> Result<(), ExtensionError> {
    let needed = LATE_FILES.iter().filter(|files| files.is_needed && !ELSEWHERE.contains(&files.service));
    let found: Vec<_> = needed.filter_map(|files| Some((files, files.first(tree)?))).collect();
    if found.is_empty() {
        return Ok(());
    }
    let commands = Commands::of(tree)?;
    for (files, path) in found {
        let mut restarted = release.restart_units.iter().chain(&release.reload_or_restart_units);
        if restarted.any(|unit| unit == files.service) || commands.run(files.commands) {
            continue;
        }
        let message = format!(
            "{}: {} reads them before a merge on a running system, and no unit of the extension applies them",
            files.what, files.service
        );
        lint.add(&LATE, Some(path), message);
    }
    Ok(())
}
