//! What extensions need of the host's kernel: modules, file systems, options, a version.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use sysext::extension::units::{Directive, command_lines};
use tree::{StaticPath, TreePath};

use crate::files::{file, text};
use crate::kernel::{Kernel, configured_names, normal};
use crate::layer::Layer;
use crate::overlay::{Merged, Owner};
use crate::rules::{KERNEL_MODULES, KERNEL_OPTION, KERNEL_VERSION};
use crate::units::Units;
use crate::{Finding, Host, Severity, compare_versions};

/// Something of the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// A module, or a part of the kernel that could be one.
    Module(String),
    /// A type of file systems.
    FileSystem(String),
    /// What is built in or not there.
    Option(&'static str),
}

/// A need that is known in advance.
#[derive(Debug, Clone, Copy)]
enum Part {
    Module(&'static str),
    Option(&'static str),
}

impl From<Part> for Need {
    fn from(part: Part) -> Need {
        match part {
            Part::Module(name) => Need::Module(name.to_owned()),
            Part::Option(name) => Need::Option(name),
        }
    }
}

/// What happens to a directive whose part of the kernel is missing.
#[derive(Debug, Clone, Copy)]
enum Without {
    Fails,
    HasNoEffect,
}

/// Directives of units, by the part of the kernel that they take. systemd.resource-control(5), systemd.exec(5).
const DIRECTIVES: [(&[&str], Part, Without); 13] = [
    (
        &["MemoryMax", "MemoryHigh", "MemoryMin", "MemoryLow", "MemorySwapMax", "MemoryZSwapMax"],
        Part::Option("MEMCG"),
        Without::HasNoEffect,
    ),
    (&["CPUQuota"], Part::Option("CFS_BANDWIDTH"), Without::HasNoEffect),
    (&["CPUWeight"], Part::Option("FAIR_GROUP_SCHED"), Without::HasNoEffect),
    (&["TasksMax"], Part::Option("CGROUP_PIDS"), Without::HasNoEffect),
    (&["AllowedCPUs", "AllowedMemoryNodes"], Part::Option("CPUSETS"), Without::HasNoEffect),
    (
        &[
            "IOWeight",
            "IODeviceWeight",
            "IOReadBandwidthMax",
            "IOWriteBandwidthMax",
            "IOReadIOPSMax",
            "IOWriteIOPSMax",
        ],
        Part::Option("BLK_CGROUP"),
        Without::HasNoEffect,
    ),
    (
        &[
            "IPAddressAllow",
            "IPAddressDeny",
            "SocketBindAllow",
            "SocketBindDeny",
            "RestrictNetworkInterfaces",
        ],
        Part::Option("CGROUP_BPF"),
        Without::HasNoEffect,
    ),
    (&["RestrictFileSystems"], Part::Option("BPF_LSM"), Without::HasNoEffect),
    (
        &["SystemCallFilter", "RestrictAddressFamilies", "RestrictNamespaces", "MemoryDenyWriteExecute"],
        Part::Option("SECCOMP_FILTER"),
        Without::HasNoEffect,
    ),
    (&["PrivateUsers"], Part::Option("USER_NS"), Without::Fails),
    (&["PrivateNetwork"], Part::Option("NET_NS"), Without::HasNoEffect),
    (&["ListenMessageQueue"], Part::Option("POSIX_MQUEUE"), Without::Fails),
    (&["AppArmorProfile"], Part::Option("SECURITY_APPARMOR"), Without::HasNoEffect),
];

/// What the kernel shows in the file system, by the part that shows it.
const PATHS: [(&str, Part); 14] = [
    ("/dev/fuse", Part::Module("fuse")),
    ("/dev/kvm", Part::Module("kvm")),
    ("/dev/net/tun", Part::Module("tun")),
    ("/dev/vhost-net", Part::Module("vhost_net")),
    ("/dev/vhost-vsock", Part::Module("vhost_vsock")),
    ("/dev/vsock", Part::Module("vsock")),
    ("/dev/zram0", Part::Module("zram")),
    ("/proc/sys/net/bridge", Part::Module("br_netfilter")),
    ("/proc/sys/net/ipv6", Part::Module("ipv6")),
    ("/sys/fs/bpf", Part::Option("BPF_SYSCALL")),
    ("/sys/kernel/btf", Part::Option("DEBUG_INFO_BTF")),
    ("/sys/kernel/sched_ext", Part::Option("SCHED_CLASS_EXT")),
    ("/sys/kernel/security/apparmor", Part::Option("SECURITY_APPARMOR")),
    ("/sys/module/zswap", Part::Option("ZSWAP")),
];

/// Kernel parameters, by how they begin.
const PARAMETERS: [(&str, Part); 8] = [
    ("net.bridge.", Part::Module("br_netfilter")),
    ("net.netfilter.", Part::Module("nf_conntrack")),
    ("net.ipv6.", Part::Module("ipv6")),
    ("net.mptcp.", Part::Option("MPTCP")),
    ("net.core.bpf_", Part::Option("BPF_JIT")),
    ("kernel.unprivileged_bpf_disabled", Part::Option("BPF_SYSCALL")),
    ("kernel.apparmor_", Part::Option("SECURITY_APPARMOR")),
    ("vm.nr_hugepages", Part::Option("HUGETLBFS")),
];

/// File systems that are built in or not there, and words that are none.
const NO_MODULES: [&str; 19] = [
    "auto",
    "bind",
    "bpf",
    "cgroup",
    "cgroup2",
    "debugfs",
    "devpts",
    "devtmpfs",
    "hugetlbfs",
    "mqueue",
    "none",
    "proc",
    "ramfs",
    "rootfs",
    "securityfs",
    "swap",
    "sysfs",
    "tmpfs",
    "tracefs",
];

pub(crate) fn findings(host: &Host, merged: &Merged, units: &Units, layers: &[Layer<'_>]) -> Vec<Finding> {
    let kernels = Kernel::all(&host.tree, &merged.tree);
    if kernels.is_empty() {
        return Vec::new();
    }
    let names = OnceCell::new();
    let mut check = Check { merged, layers, kernels, names, out: Vec::new() };
    let of_extension = |path: &TreePath| matches!(merged.owner(path), Owner::Extension(_));
    for name in units.with(of_extension) {
        let Some(path) = units.path(name, of_extension) else { continue };
        check.unit(name, path, &units.directives(&merged.tree, name));
    }
    for path in merged.owners.keys() {
        let dir = path.parent();
        let is_in = |place: &StaticPath| dir.as_ref().is_some_and(|dir| *dir == place.path());
        if !path.file_name().is_some_and(|name| name.ends_with(b".conf")) {
            continue;
        }
        const MODULES: StaticPath = StaticPath::new("/usr/lib/modules-load.d");
        const PARAMETERS: StaticPath = StaticPath::new("/usr/lib/sysctl.d");
        const FORMATS: StaticPath = StaticPath::new("/usr/lib/binfmt.d");
        let text = || {
            String::from_utf8_lossy(&text(&merged.tree, path.to_absolute()).unwrap_or_default()).into_owned()
        };
        if is_in(&MODULES) {
            check.modules(path, &text());
        } else if is_in(&PARAMETERS) {
            check.parameters(path, &text());
        } else if is_in(&FORMATS) {
            check.need(path, &Need::Module("binfmt_misc".to_owned()), "binary formats", Severity::Error);
        }
    }
    check.out
}

struct Check<'a> {
    merged: &'a Merged,
    layers: &'a [Layer<'a>],
    kernels: Vec<Kernel<'a>>,
    /// Those of modprobe.d.
    names: OnceCell<BTreeSet<String>>,
    out: Vec<Finding>,
}

impl Check<'_> {
    fn unit(&mut self, name: &str, path: &TreePath, lines: &[Directive]) {
        let mut told: BTreeSet<Need> = BTreeSet::new();
        let places = places(lines);
        for (at, line) in lines.iter().enumerate() {
            let value = String::from_utf8_lossy(&line.value).into_owned();
            let key = line.key.as_str();
            let Some(place) = places.get(&setting(line)) else { continue };
            if place.reset.is_some_and(|reset| at <= reset) {
                continue;
            }
            // Of switches and limits the last one counts; these are off.
            let is_off = matches!(value.as_str(), "no" | "false" | "off" | "0" | "infinity");
            if is_off || (place.last != at && (is_switch(key) || key == "Type")) {
                continue;
            }
            if let Some((_, part, without)) = DIRECTIVES.iter().find(|(keys, ..)| keys.contains(&key)) {
                let need = Need::from(*part);
                let (effect, severity) = match without {
                    Without::Fails => ("fails", Severity::Error),
                    Without::HasNoEffect => ("has no effect", Severity::Warning),
                };
                if told.insert(need.clone()) {
                    self.need(path, &need, &format!("{key}= {effect}"), severity);
                }
            }
            match (line.section.as_str(), key) {
                ("Unit", _) => self.condition(name, path, key, &value),
                ("Mount", "Type") if !value.contains('%') => {
                    self.need(
                        path,
                        &Need::FileSystem(value.clone()),
                        &format!("Type={value}"),
                        Severity::Error,
                    );
                }
                ("Socket", "ListenStream" | "ListenDatagram") if value.starts_with("vsock:") => {
                    self.need(
                        path,
                        &Need::Module("vsock".to_owned()),
                        &format!("{key}={value}"),
                        Severity::Error,
                    );
                }
                ("Service" | "Socket", _) if key.starts_with("Exec") => self.modprobe(path, key, &line.value),
                _ => {}
            }
        }
    }

    /// Conditions on the kernel: a unit that doesn't meet one isn't started, and nothing is logged as an error.
    fn condition(&mut self, name: &str, path: &TreePath, key: &str, value: &str) {
        let (condition, severity, effect) = match (key.strip_prefix("Condition"), key.strip_prefix("Assert"))
        {
            (Some(condition), _) => (condition, Severity::Warning, "is skipped"),
            (_, Some(condition)) => (condition, Severity::Error, "fails"),
            _ => return,
        };
        // One of several is enough, or it isn't to be there.
        if value.starts_with(['|', '!']) {
            return;
        }
        let what = format!("{key}={value}: {name} {effect}");
        match condition {
            "PathExists" | "PathIsDirectory" | "PathIsReadWrite" | "PathIsMountPoint"
            | "DirectoryNotEmpty" => {
                let is_below = |place: &str| {
                    value.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                if let Some((_, part)) = PATHS.iter().find(|(place, _)| is_below(place)) {
                    self.need(path, &Need::from(*part), &what, severity);
                }
            }
            "KernelModuleLoaded" => self.need(path, &Need::Module(value.to_owned()), &what, severity),
            "KernelVersion" => self.version(path, value, &what, severity),
            "Version" => {
                if let Some(versions) = value.strip_prefix("kernel ") {
                    self.version(path, versions, &what, severity);
                }
            }
            _ => {}
        }
    }

    /// systemd.unit(5), `ConditionVersion=`.
    fn version(&mut self, path: &TreePath, value: &str, what: &str, severity: Severity) {
        let others: Vec<&str> = {
            let releases = self.kernels.iter().map(|kernel| kernel.release.as_str());
            releases.filter(|release| is_version(release, value) == Some(false)).collect()
        };
        if others.is_empty() {
            return;
        }
        let severity =
            if others.len() < self.kernels.len() { severity.min(Severity::Warning) } else { severity };
        let message = format!("{what} on kernel {}", others.join(", "));
        self.out.push(KERNEL_VERSION.finding(self.by(path), Some(path), message).with(severity));
    }

    fn modprobe(&mut self, path: &TreePath, key: &str, value: &[u8]) {
        let optional = value.first() == Some(&b'-');
        for command in command_lines(value) {
            let words: Vec<String> =
                command.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect();
            let Some((program, arguments)) = words.split_first() else { continue };
            if program.rsplit('/').next() != Some("modprobe") {
                continue;
            }
            let has = |short: char, long: &str| {
                let is_short = |a: &String| a.starts_with('-') && !a.starts_with("--") && a.contains(short);
                arguments.iter().any(|a| a == long || is_short(a))
            };
            if has('r', "--remove") || has('n', "--dry-run") || has('D', "--show-depends") {
                continue;
            }
            let named = arguments.iter().filter(|a| !a.starts_with('-'));
            // What follows the one module are its parameters.
            let count = if has('a', "--all") { usize::MAX } else { 1 };
            for module in named.take(count).filter(|a| !a.contains(['%', '$'])) {
                let severity = if optional { Severity::Note } else { Severity::Error };
                let what = format!("{key}=modprobe {module}");
                self.need(path, &Need::Module(module.clone()), &what, severity);
            }
        }
    }

    /// modules-load.d(5).
    fn modules(&mut self, path: &TreePath, text: &str) {
        for line in text.lines().map(str::trim) {
            if !line.is_empty() && !line.starts_with(['#', ';']) {
                self.need(path, &Need::Module(line.to_owned()), line, Severity::Error);
            }
        }
    }

    /// sysctl.d(5).
    fn parameters(&mut self, path: &TreePath, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            let Some((name, value)) = line.split_once('=') else { continue };
            let (name, severity) = match name.trim().strip_prefix('-') {
                Some(name) => (name, Severity::Note),
                None => (name.trim(), Severity::Warning),
            };
            let (name, value) = (name.replace('/', "."), value.trim());
            let part = PARAMETERS
                .iter()
                .find(|(begin, _)| name.starts_with(begin))
                .map(|(_, part)| Need::from(*part));
            // The value is the name of a module; those of the second column are always there.
            let need = match name.as_str() {
                "net.ipv4.tcp_congestion_control" if value != "reno" => {
                    Some(Need::Module(format!("tcp_{value}")))
                }
                "net.core.default_qdisc" if value != "pfifo_fast" => {
                    Some(Need::Module(format!("sch_{value}")))
                }
                _ => part,
            };
            if let Some(need) = need {
                self.need(path, &need, &format!("{name}={value}"), severity);
            }
        }
    }

    /// Says which kernels lack something.
    fn need(&mut self, path: &TreePath, need: &Need, what: &str, severity: Severity) {
        let lacks = |kernel: &&Kernel<'_>| self.has(kernel, need) == Some(false);
        let lacking: Vec<&str> =
            self.kernels.iter().filter(lacks).map(|kernel| kernel.release.as_str()).collect();
        if lacking.is_empty() {
            return;
        }
        let severity =
            if lacking.len() < self.kernels.len() { severity.min(Severity::Warning) } else { severity };
        let (rule, missing) = match need {
            Need::Module(name) => (KERNEL_MODULES, format!("module {name}")),
            Need::FileSystem(name) => (KERNEL_MODULES, format!("file system {name}")),
            Need::Option(name) => (KERNEL_OPTION, format!("CONFIG_{name}")),
        };
        let message = format!("{what}: kernel {} has no {missing}", lacking.join(", "));
        self.out.push(rule.finding(self.by(path), Some(path), message).with(severity));
    }

    fn has(&self, kernel: &Kernel<'_>, need: &Need) -> Option<bool> {
        let found = |names: &[&str]| {
            let configured = self.names.get_or_init(|| configured_names(&self.merged.tree));
            if names.iter().any(|name| configured.contains(&normal(name))) {
                return Some(true);
            }
            names.iter().filter_map(|name| kernel.has_module(name)).reduce(|one, other| one || other)
        };
        match need {
            // A pattern of devices, which is found by what the modules say of themselves.
            Need::Module(name) if name.contains(':') => None,
            Need::Module(name) => found(&[name]),
            Need::FileSystem(name) => {
                let (kind, _) = name.split_once('.').unwrap_or((name, ""));
                let helper = |dir: &str| file(&self.merged.tree, format!("{dir}/mount.{name}")).is_some();
                match NO_MODULES.contains(&kind) || helper("/usr/sbin") || helper("/usr/bin") {
                    true => None,
                    false => found(&[kind, &format!("fs-{kind}")]),
                }
            }
            Need::Option(name) => kernel.has_option(name),
        }
    }

    fn by(&self, path: &TreePath) -> Option<&str> {
        match self.merged.owner(path) {
            Owner::Host => None,
            Owner::Extension(i) => self.layers.get(i).map(|layer| layer.name.as_str()),
        }
    }
}

/// Where a setting stands in a unit.
#[derive(Debug, Default)]
struct Place {
    last: usize,
    /// The last line without a value, which takes back all before it.
    reset: Option<usize>,
}

/// Section and key; conditions are taken back together. systemd.unit(5).
fn setting(line: &Directive) -> (&str, &str) {
    let kind = ["Condition", "Assert"].into_iter().find(|kind| line.key.starts_with(kind));
    (&line.section, kind.unwrap_or(&line.key))
}

fn places(lines: &[Directive]) -> BTreeMap<(&str, &str), Place> {
    let mut out: BTreeMap<(&str, &str), Place> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        let place = out.entry(setting(line)).or_default();
        place.last = at;
        if line.value.is_empty() {
            place.reset = Some(at);
        }
    }
    out
}

/// Whether it is one of [`DIRECTIVES`].
fn is_switch(key: &str) -> bool {
    DIRECTIVES.iter().any(|(keys, ..)| keys.contains(&key))
}

/// Whether a version meets all comparisons of a list; none if one of them is a pattern.
fn is_version(version: &str, list: &str) -> Option<bool> {
    let mut words = list.split_whitespace();
    let mut out = true;
    while let Some(word) = words.next() {
        let at = word.find(|c| !"<>=!".contains(c)).unwrap_or(word.len());
        let (operator, mut wanted) = word.split_at(at);
        // Between the two may be a space.
        if wanted.is_empty() {
            wanted = words.next()?;
        }
        if wanted.contains(['*', '?', '[']) {
            return None;
        }
        let order = compare_versions(version, wanted);
        out &= match operator {
            "<" => order == Ordering::Less,
            "<=" => order != Ordering::Greater,
            "=" | "==" => order == Ordering::Equal,
            "!=" | "<>" => order != Ordering::Equal,
            ">=" => order != Ordering::Less,
            ">" => order == Ordering::Greater,
            _ => return None,
        };
    }
    Some(out)
}
