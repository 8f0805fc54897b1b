//! Sets that break a host, made after what users reported, and sets that don't.

use elf::testing::TestRoot;
use tree::{Kind, Meta, Node, Tree};

use super::*;

/// The entries of a host: of an image with systemd 257, usr-merged.
const HOST: &[&str] = &[
    "/etc/os-release=ID=test\nID_LIKE=parent\nVERSION_ID=1\nSYSEXT_LEVEL=2\n",
    "/etc/passwd=root:x:0:0::/root:/bin/sh\nmessagebus:x:100:100::/:/bin/false\n",
    "/etc/group=root:x:0:\nmessagebus:x:100:\n",
    "/bin->usr/bin",
    "/sbin->usr/sbin",
    "/lib->usr/lib",
    "/usr/sbin->bin",
    "/usr/bin/sh*=sh",
    "/usr/bin/systemd-sysext*=sysext",
    "/usr/bin/systemd-sysusers*=sysusers",
    "/usr/lib/libxkbcommon.so.0=1.7",
    "/usr/lib/libxkbcommon.so->libxkbcommon.so.0",
    "/usr/lib/systemd/libsystemd-shared-257.so=x",
    "/usr/lib/systemd/system/multi-user.target=[Unit]\n",
    "/usr/lib/systemd/system/systemd-sysext.service=[Unit]\nBefore=sysinit.target systemd-tmpfiles-setup.service\n",
    "/usr/lib/systemd/system/sshd.service=[Service]\nExecStart=/usr/bin/sh\n",
    "/usr/lib/modules/6.12.1/modules.dep=x.ko:\n",
    "/usr/lib/modules/6.12.1/x.ko=x",
    "/usr/share/glib-2.0/schemas/gschemas.compiled=host",
    "/usr/share/doc/sh/copyright=host",
    "/opt/extensions/a=a",
];

/// `PATH` (directory), `PATH=TEXT`, `PATH*=TEXT` (executable), `PATH->TARGET`, `PATH!` (whiteout), `PATH@MODE` (directory).
fn tree(entries: &[&str]) -> Tree {
    let mut tree = Tree::default();
    for entry in entries {
        let arrow = entry.find("->").filter(|at| entry.find('=').is_none_or(|equals| *at < equals));
        let (path, node) = if let Some(at) = arrow {
            (&entry[..at], Node::symlink(&entry[at + 2..]))
        } else if let Some((path, text)) = entry.split_once("*=") {
            (path, Node::file(0o755, text))
        } else if let Some((path, text)) = entry.split_once('=') {
            (path, Node::file(0o644, text))
        } else if let Some(path) = entry.strip_suffix('!') {
            (path, Node { meta: Meta::with_mode(0), kind: Kind::CharDevice { major: 0, minor: 0 } })
        } else if let Some((path, mode)) = entry.split_once("%%") {
            let meta = Meta::with_mode(u32::from_str_radix(mode, 8).unwrap());
            (path, Node { meta, kind: Kind::Dir })
        } else {
            (*entry, Node::dir())
        };
        tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
    }
    tree
}

/// With a release file for every host, if the entries have none.
fn with_release(name: &str, entries: &[&str]) -> Tree {
    let mut tree = tree(entries);
    let path = format!("/usr/lib/extension-release.d/extension-release.{name}").parse().unwrap();
    if !entries.iter().any(|e| e.contains("extension-release.")) && !entries.is_empty() {
        let node = Node::file(0o644, "ID=_any\nEXTENSION_RELOAD_MANAGER=1\n");
        tree.insert_all(path, node, &Meta::dir()).unwrap();
    }
    tree
}

fn report(host: Tree, set: &[(&str, &[&str])], options: &Options) -> Report {
    let host = Host::new("test".into(), host, Some(tree::Arch::X86_64)).unwrap();
    let trees: Vec<Tree> = set.iter().map(|(name, entries)| with_release(name, entries)).collect();
    let extension = |((name, _), tree): (&(&str, &[&str]), _)| Extension {
        name: name.parse().unwrap(),
        tree,
        is_directory: false,
        size: 0,
        labels_known: true,
        notes: Vec::new(),
    };
    let extensions: Vec<Extension<'_>> = set.iter().zip(&trees).map(extension).collect();
    check(&host, &extensions, options).unwrap()
}

/// `SEVERITY RULE PATH` of all but notes.
fn said(report: &Report) -> Vec<String> {
    let shown = report.findings.iter().filter(|f| f.severity > Severity::Note);
    shown.map(|f| format!("{} {} {}", f.severity, f.rule, f.path.as_deref().unwrap_or("-"))).collect()
}

type Set = &'static [(&'static str, &'static [&'static str])];

#[test]
fn sets_that_break_a_host() {
    const RELEASE: &str = "/usr/lib/extension-release.d/extension-release";
    assert!(RELEASE.starts_with("/usr"));
    let unit = "/usr/lib/systemd/system";
    assert!(unit.starts_with("/usr"));
    let table: &[(Set, &[&str])] = &[
        // Names and release files: sysext-bakery #52, systemd's own messages.
        (
            &[
                ("a", &["/usr/lib/extension-release.d/extension-release.b=ID=_any\n"]),
                ("c", &["/usr/bin/c*=c"]),
            ],
            &["error merge-aborted -"],
        ),
        (
            &[(
                "a",
                &[
                    "/usr/bin/a*=a",
                    "/usr/lib/extension-release.d/extension-release.a=ID=other\nVERSION_ID=1\n",
                ],
            )],
            &["error not-merged -"],
        ),
        (
            &[("a", &["/usr/lib/extension-release.d/extension-release.a=ID=test\nVERSION_ID=2\n"])],
            &["error not-merged -"],
        ),
        (
            &[("a", &["/usr/lib/extension-release.d/extension-release.a=ID=test\nSYSEXT_LEVEL=1\n"])],
            &["error not-merged -"],
        ),
        (
            &[("a", &["/usr/lib/extension-release.d/extension-release.a=ID=parent\nVERSION_ID=1\n"])],
            &["error not-merged -"],
        ),
        (
            &[("a", &["/usr/lib/extension-release.d/extension-release.a=ID=_any\nARCHITECTURE=arm64\n"])],
            &["error not-merged -"],
        ),
        (
            &[("a", &["/usr/lib/extension-release.d/extension-release.a=ID=_any\nSYSEXT_SCOPE=portable\n"])],
            &["error not-merged -"],
        ),
        (&[("a", &["/usr/lib/os-release=ID=x\n"])], &["error not-merged -"]),
        (&[("a", &["/usr/bin/a*=a"]), ("a", &["/usr/bin/a*=a"])], &["error same-name -"]),
        // sysext-bakery #131, fedora-coreos-tracker #1744.
        (&[("a", &["/usr/sbin/a*=a"])], &["error directory-over-link /usr/sbin"]),
        (&[("a", &["/usr/lib/systemd->../x"])], &["error link-over-directory /usr/lib/systemd"]),
        // systemd #41574 and others: the mode of a mkdtemp(3).
        (&[("a", &["/usr/bin%%700", "/usr/bin/a*=a"])], &["error directory-mode /usr/bin"]),
        (&[("a", &["/usr/bin/sh!"])], &["error deleted /usr/bin/sh"]),
        // snosi #781.
        (&[("a", &["/usr/lib/libxkbcommon.so.0=1.5"])], &["error host-file /usr/lib/libxkbcommon.so.0"]),
        // Schemas of all other programs.
        (
            &[("a", &["/usr/share/glib-2.0/schemas/gschemas.compiled=a"])],
            &["error index /usr/share/glib-2.0/schemas/gschemas.compiled"],
        ),
        // sysext-bakery #50: one drop-in of two extensions.
        (
            &[
                (
                    "a",
                    &[
                        "/usr/lib/systemd/system/multi-user.target.d/10.conf=[Unit]\nUpholds=a.service\n",
                        "/usr/lib/systemd/system/a.service=[Service]\nExecStart=/usr/bin/sh\n",
                    ],
                ),
                (
                    "b",
                    &[
                        "/usr/lib/systemd/system/multi-user.target.d/10.conf=[Unit]\nUpholds=b.service\n",
                        "/usr/lib/systemd/system/b.service=[Service]\nExecStart=/usr/bin/sh\n",
                    ],
                ),
            ],
            &["error extension-file /usr/lib/systemd/system/multi-user.target.d/10.conf"],
        ),
        // sysext-bakery #128: docker and containerd twice.
        (
            &[("a", &["/usr/bin/containerd*=1"]), ("b", &["/usr/bin/containerd*=2"])],
            &["error extension-file /usr/bin/containerd"],
        ),
        // Flatcar #2111.
        (&[("a", &["/opt/a/a=a"])], &["warning opt-read-only /opt"]),
        (
            &[("a", &["/usr/lib/systemd/system/a.service=[Service]\nExecStart=/usr/sbin/a\n"])],
            &["error unit-program /usr/lib/systemd/system/a.service"],
        ),
        (
            &[(
                "a",
                &[
                    "/usr/lib/systemd/system/a.service=[Unit]\nRequires=b.service\n[Service]\nExecStart=/bin/sh\n",
                ],
            )],
            &["error unit-requires /usr/lib/systemd/system/a.service"],
        ),
        (
            &[("a", &["/usr/lib/systemd/system/a.service=[Service]\nExecStart=/bin/sh\nUser=www\n"])],
            &["error account /usr/lib/systemd/system/a.service"],
        ),
        // systemd #41662.
        (
            &[(
                "a",
                &[
                    "/usr/lib/systemd/system/a.service=[Service]\nExecStart=/bin/sh\nUser=www\n",
                    "/usr/lib/sysusers.d/a.conf=u www -\n",
                ],
            )],
            &[
                "error account-late /usr/lib/systemd/system/a.service",
                "warning late /usr/lib/sysusers.d/a.conf",
            ],
        ),
        (
            &[("a", &["/usr/share/dbus-1/system.d/a.conf=<busconfig/>"])],
            &["warning late /usr/share/dbus-1/system.d/a.conf"],
        ),
        (
            &[(
                "a",
                &[
                    "/usr/lib/systemd/system/a.timer=[Timer]\nOnCalendar=daily\n",
                    "/usr/lib/systemd/system/b.socket=[Socket]\nListenStream=1\nService=c.service\n",
                ],
            )],
            &[
                "error unit-requires /usr/lib/systemd/system/a.timer",
                "error unit-requires /usr/lib/systemd/system/b.socket",
            ],
        ),
        (
            &[(
                "a",
                &[
                    "/usr/bin/a*=#!/usr/bin/perl -w\n",
                    "/usr/bin/b*=#!/usr/bin/env -S python3\n",
                    "/usr/bin/c*=#!/bin/sh\n",
                    "/usr/lib/systemd/system/a.service=[Service]\nExecStart=/usr/bin/a\n",
                ],
            )],
            &[
                "error unit-program /usr/lib/systemd/system/a.service",
                "warning script-interpreter /usr/bin/a",
                "warning script-interpreter /usr/bin/b",
            ],
        ),
        (
            &[(
                "a",
                &[
                    "/usr/lib/systemd/system/a.service=[Service]\nExecStart=/bin/sh\nType=dbus\nBusName=org.a\n",
                    "/usr/lib/systemd/system/b.service=[Service]\nExecStart=/bin/sh\nType=dbus\nBusName=org.b.x\n",
                    "/usr/share/dbus-1/system.d/a.conf=<deny own=\"*\"/><allow own='org.ab'/><allow own_prefix=\"org.b\"/>",
                    "/usr/share/dbus-1/system-services/a.service=[D-BUS Service]\nName=org.a\nSystemdService=gone.service\n",
                ],
            )],
            &[
                "error dbus-name /usr/lib/systemd/system/a.service",
                "error dbus-name /usr/share/dbus-1/system-services/a.service",
                "warning late /usr/share/dbus-1/system.d/a.conf",
            ],
        ),
        // snosi PR 822.
        (&[("a", &["/usr/lib/udev/rules.d/a.rules=x"])], &["warning late /usr/lib/udev/rules.d/a.rules"]),
        (
            &[(
                "a",
                &[
                    "/usr/lib/systemd/system/multi-user.target.wants/a.service->../a.service",
                    "/usr/lib/systemd/system/a.service=[Service]\nExecStart=/bin/sh\n",
                ],
            )],
            &["warning late-start /usr/lib/systemd/system/multi-user.target.wants/a.service"],
        ),
        (
            &[(
                "a",
                &["/usr/lib/systemd/system/sshd.service.d/a.conf=[Service]\nExecStart=\nExecStart=/bin/sh\n"],
            )],
            &["warning unit-changed /usr/lib/systemd/system/sshd.service.d/a.conf"],
        ),
        (
            &[("a", &["/usr/lib/systemd/system/service.d/a.conf=[Service]\nMemoryMax=1\n"])],
            &["warning all-units /usr/lib/systemd/system/service.d/a.conf"],
        ),
        // Flatcar #1859: a driver for another kernel.
        (
            &[("a", &["/usr/lib/modules/6.6.1/extra/a.ko=a"])],
            &["error kernel-modules /usr/lib/modules/6.6.1"],
        ),
        (
            &[("a", &["/usr/lib/modules/6.12.1/extra/a.ko=a"])],
            &["warning kernel-modules /usr/lib/modules/6.12.1"],
        ),
        (
            &[(
                "a",
                &[
                    "/usr/lib/extension-release.d/extension-release.a=ID=_any\n",
                    "/usr/lib/systemd/system/a.service=[Service]\nExecStart=/bin/sh\n",
                ],
            )],
            &["warning no-reload -"],
        ),
    ];
    for (set, expected) in table {
        let found = said(&report(tree(HOST), set, &Options::default()));
        assert_eq!(found, *expected, "{set:?}");
    }
}

#[test]
fn sets_that_are_not_blamed() {
    let service = "/usr/lib/systemd/system/a.service=[Service]\nExecStart=/usr/bin/a\n";
    let program = "/usr/bin/a*=a";
    let upholds = "/usr/lib/systemd/system/multi-user.target.d/10-a.conf=[Unit]\nUpholds=a.service\n";
    let sets: [&[(&str, &[&str])]; 13] = [
        &[("a", &[program])],
        &[("a", &[program, service, upholds])],
        &[("a", &[program]), ("b", &["/usr/bin/b*=b"]), ("b2", &["/usr/bin/b2*=b"])],
        &[(
            "a",
            &[
                program,
                "/usr/lib/extension-release.d/extension-release.a=ID=test\nSYSEXT_LEVEL=2\nARCHITECTURE=x86-64\n",
            ],
        )],
        &[(
            "a",
            &[
                program,
                "/usr/lib/extension-release.d/extension-release.a=ID=test\nVERSION_ID=1\nSYSEXT_SCOPE=system initrd\n",
            ],
        )],
        // The same file of two extensions, and one that the host has.
        &[("a", &["/usr/share/x=1"]), ("b", &["/usr/share/x=1"])],
        &[("a", &["/usr/bin/sh*=sh"])],
        // A copy of what a link of the host leads to.
        &[("a", &["/usr/lib/libxkbcommon.so=1.7"])],
        // An own unit makes the user.
        &[(
            "a",
            &[
                program,
                "/usr/lib/systemd/system/a.service=[Unit]\nRequires=a-setup.service\nAfter=a-setup.service\n[Service]\nExecStart=/usr/bin/a\nUser=www\n",
                "/usr/lib/systemd/system/a-setup.service=[Service]\nType=oneshot\nExecStart=systemd-sysusers a.conf\n",
                "/usr/lib/sysusers.d/a.conf=u www -\n",
                upholds,
            ],
        )],
        &[("a", &[program, "/usr/lib/tmpfiles.d/a.conf=d /var/lib/a\n"])],
        &[(
            "a",
            &[
                program,
                "/usr/lib/systemd/system/a@.service=[Service]\nExecStart=/usr/bin/a %i\nUser=%i\n",
                "/usr/lib/systemd/system/b.service=[Unit]\nRequires=a@x.service -.mount\n[Service]\nExecStart=-/usr/bin/none\nExecStart=/usr/bin/a\nDynamicUser=yes\nUser=b\n",
            ],
        )],
        &[(
            "a",
            &[
                program,
                "/usr/lib/systemd/system/a.service=[Service]\nExecStart=/usr/bin/a\nUser=messagebus\nExecReload=/bin/sh\n",
            ],
        )],
        &[(
            "a",
            &[program, service, "/usr/lib/systemd/system/multi-user.target.upholds/a.service->../a.service"],
        )],
    ];
    for set in sets {
        let found = said(&report(tree(HOST), set, &Options::default()));
        assert!(found.is_empty(), "{set:?}: {found:?}");
    }
}

#[test]
fn layers_are_in_order_and_what_starts_is_listed() {
    let drop_in = "/usr/lib/systemd/system/multi-user.target.d/10-x9.conf=[Unit]\nUpholds=sshd.service\n";
    let set: [(&str, &[&str]); 2] = [("x10", &["/usr/bin/x*=10"]), ("x9", &["/usr/bin/x*=9", drop_in])];
    let report = report(tree(HOST), &set, &Options::default());
    let names: Vec<&str> = report.extensions.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(
        (names, &report.hierarchies[0].layers),
        (vec!["x9", "x10"], &vec!["x9".to_owned(), "x10".to_owned()])
    );
    let hidden = report.findings.iter().find(|f| f.rule == "extension-file").unwrap();
    assert_eq!(hidden.extension.as_deref(), Some("x10"));
    let starts: Vec<String> =
        report.starts.iter().map(|s| format!("{} {} {}", s.unit, s.by, s.extension)).collect();
    assert_eq!(starts, ["sshd.service Upholds= of multi-user.target x9"]);
}

#[test]
fn errors_that_are_allowed_are_warnings() {
    let options = Options { allow: ["host-file".to_owned()].into() };
    let report = report(tree(HOST), &[("a", &["/usr/bin/sh*=other"])], &options);
    assert_eq!(said(&report), ["warning host-file /usr/bin/sh"]);
    assert_eq!(report.worst(), Some(Severity::Warning));
}

#[test]
fn labels_count_where_there_is_a_policy() {
    for (mode, expected) in [
        ("enforcing", &["error selinux-labels -"][..]),
        ("permissive", &["warning selinux-labels -"]),
        ("disabled", &[]),
    ] {
        let policy = format!("/etc/selinux/config=# x\nSELINUX={mode}\n");
        let host = tree(&[HOST, &[policy.as_str()]].concat());
        assert_eq!(
            said(&report(host, &[("a", &["/usr/bin/a*=a"])], &Options::default())),
            expected,
            "{mode}"
        );
    }
}

#[test]
fn what_the_kernel_lacks() {
    let kernel = [
        "/usr/lib/modules/6.12.1/modules.builtin=kernel/fs/ext4/ext4.ko\nkernel/net/ipv6/ipv6.ko\n",
        "/usr/lib/modules/6.12.1/modules.builtin.modinfo=ext4.file=fs/ext4/ext4\0ext4.alias=fs-ext3\0",
        "/usr/lib/modules/6.12.1/modules.alias=# x\nalias net-pf-10 x\n",
        "/usr/lib/modules/6.12.1/kernel/fs/nfs-v4.ko.zst=x",
        "/usr/lib/modules/6.1.0/build=x",
        "/usr/lib/modprobe.d/x.conf=install special /bin/true\nalias other x\n",
        "/boot/config-6.12.1=CONFIG_MEMCG=y\n# CONFIG_CFS_BANDWIDTH is not set\nCONFIG_USER_NS=n\n",
    ];
    let with = |file: &str| {
        let report = report(tree(&[HOST, &kernel].concat()), &[("a", &[file])], &Options::default());
        let of_kernel = |f: &&Finding| f.rule.starts_with("kernel-");
        let shown = report.findings.iter().filter(of_kernel);
        shown.map(|f| format!("{} {}: {}", f.severity, f.rule, f.message)).collect::<Vec<_>>().join("|")
    };
    let unit = |lines: &str| with(&format!("/usr/lib/systemd/system/a.service={lines}\n"));
    let table = [
        (
            "[Service]\nExecStartPre=modprobe -a x zfs vhost-net",
            "error kernel-modules: ExecStartPre=modprobe zfs: kernel 6.12.1 has no module zfs|error kernel-modules: ExecStartPre=modprobe vhost-net: kernel 6.12.1 has no module vhost-net",
        ),
        ("[Service]\nExecStartPre=/sbin/modprobe x zfs=1\nExecStop=modprobe -r zfs", ""),
        (
            "[Service]\nExecStartPre=-/sbin/modprobe -q zfs",
            "note kernel-modules: ExecStartPre=modprobe zfs: kernel 6.12.1 has no module zfs",
        ),
        ("[Service]\nExecStartPre=modprobe -a special other ext4 nfs_v4 net-pf-10 pci:v1", ""),
        (
            "[Service]\nMemoryMax=1G\nCPUQuota=20%",
            "warning kernel-option: CPUQuota= has no effect: kernel 6.12.1 has no CONFIG_CFS_BANDWIDTH",
        ),
        ("[Service]\nCPUQuota=\nPrivateUsers=no", ""),
        // What is taken back, as a drop-in does.
        ("[Service]\nCPUQuota=20%\nPrivateUsers=yes\nCPUQuota=\nPrivateUsers=no", ""),
        ("[Service]\nExecStartPre=modprobe zfs\nExecStartPre=\nExecStartPre=modprobe x", ""),
        ("[Unit]\nConditionKernelVersion=>=7\nConditionPathExists=\nConditionKernelVersion==7.*", ""),
        (
            "[Service]\nPrivateUsers=yes",
            "error kernel-option: PrivateUsers= fails: kernel 6.12.1 has no CONFIG_USER_NS",
        ),
        (
            "[Unit]\nConditionKernelVersion=>=6.13",
            "warning kernel-version: ConditionKernelVersion=>=6.13: a.service is skipped on kernel 6.12.1",
        ),
        (
            "[Unit]\nAssertKernelVersion=< 6.13 >6.12.1",
            "error kernel-version: AssertKernelVersion=< 6.13 >6.12.1: a.service fails on kernel 6.12.1",
        ),
        (
            "[Unit]\nConditionKernelVersion=>=6.12 <7\nConditionKernelVersion=|>7\nConditionVersion=systemd >300\nConditionKernelVersion=7.*",
            "",
        ),
        (
            "[Unit]\nConditionVersion=kernel >= 7",
            "warning kernel-version: ConditionVersion=kernel >= 7: a.service is skipped on kernel 6.12.1",
        ),
        (
            "[Unit]\nConditionPathExists=/sys/kernel/sched_ext/state",
            "warning kernel-option: ConditionPathExists=/sys/kernel/sched_ext/state: a.service is skipped: kernel 6.12.1 has no CONFIG_SCHED_CLASS_EXT",
        ),
        ("[Unit]\nConditionPathExists=!/dev/kvm\nConditionPathExists=/dev/kvmx", ""),
        (
            "[Unit]\nAssertPathExists=/dev/kvm",
            "error kernel-modules: AssertPathExists=/dev/kvm: a.service fails: kernel 6.12.1 has no module kvm",
        ),
        (
            "[Socket]\nListenStream=vsock::80",
            "error kernel-modules: ListenStream=vsock::80: kernel 6.12.1 has no module vsock",
        ),
    ];
    for (lines, expected) in table {
        assert_eq!(unit(lines), expected, "{lines}");
    }
    let mount = |kind: &str| {
        with(&format!("/usr/lib/systemd/system/srv.mount=[Mount]\nWhat=x\nWhere=/srv\nType={kind}\n"))
    };
    assert_eq!(mount("xfs"), "error kernel-modules: Type=xfs: kernel 6.12.1 has no file system xfs");
    for kind in ["ext4", "ext3", "tmpfs", "%i"] {
        assert_eq!(mount(kind), "", "{kind}");
    }
    let files = [
        (
            "/usr/lib/modules-load.d/a.conf=# y\n\nx\nbr_netfilter\n",
            "error kernel-modules: br_netfilter: kernel 6.12.1 has no module br_netfilter",
        ),
        (
            "/usr/lib/sysctl.d/a.conf=net.ipv6.conf.all.forwarding=1\n-net/bridge/x = 1\nvm.swappiness=1\n",
            "note kernel-modules: net.bridge.x=1: kernel 6.12.1 has no module br_netfilter",
        ),
        (
            "/usr/lib/sysctl.d/a.conf=net.ipv4.tcp_congestion_control=bbr\n",
            "warning kernel-modules: net.ipv4.tcp_congestion_control=bbr: kernel 6.12.1 has no module tcp_bbr",
        ),
        (
            "/usr/lib/binfmt.d/a.conf=:a:M::a::/usr/bin/a:\n",
            "error kernel-modules: binary formats: kernel 6.12.1 has no module binfmt_misc",
        ),
    ];
    for (file, expected) in files {
        assert_eq!(with(file), expected, "{file}");
    }
    // Without lists of the kernel's parts and without its configuration, nothing is known; without a kernel, neither.
    let unknown = |host: Tree| {
        let unit = "/usr/lib/systemd/system/a.service=[Service]\nExecStart=modprobe zfs\nCPUQuota=20%\n";
        said(&report(
            host,
            &[("a", &[unit, "/usr/lib/sysctl.d/a.conf=net.mptcp.enabled=1\n"])],
            &Options::default(),
        ))
    };
    let silent = |found: Vec<String>| !found.iter().any(|f| f.contains(" kernel-"));
    assert!(silent(unknown(tree(HOST))) && silent(unknown(tree(&["/usr/bin/sh*=sh"]))));
}

/// An update that keeps the kernel before it.
#[test]
fn one_of_two_kernels() {
    let older =
        ["/usr/lib/modules/6.1.0/modules.builtin=kernel/x.ko\n", "/usr/lib/modules/6.1.0/zfs.ko.xz=x"];
    let host = || tree(&[HOST, &older, &["/usr/lib/modules/6.12.1/modules.builtin="]].concat());
    let files = ["/usr/lib/systemd/system/zfs.mount=[Unit]\nAssertKernelVersion=>6.2\n[Mount]\nType=zfs\n"];
    let expected = ["warning kernel-modules", "warning kernel-version"]
        .map(|rule| format!("{rule} /usr/lib/systemd/system/zfs.mount"));
    assert_eq!(said(&report(host(), &[("a", &files)], &Options::default())), expected);
}

#[test]
fn circles_in_the_order_of_units() {
    let host = [
        "/usr/lib/systemd/system/sysinit.target=[Unit]\n",
        "/usr/lib/systemd/system/basic.target=[Unit]\nAfter=sysinit.target\n",
    ];
    let with = |text: &str| {
        let unit =
            format!("/usr/lib/systemd/system/a.service=[Unit]\n{text}\n[Service]\nExecStart=/bin/sh\n");
        let report = report(tree(&[HOST, &host].concat()), &[("a", &[&unit])], &Options::default());
        report
            .findings
            .iter()
            .filter(|f| f.rule == "ordering-cycle")
            .map(|f| f.message.clone())
            .collect::<Vec<_>>()
    };
    // A service that is to start early, and has forgotten that services start late.
    assert_eq!(
        with("Before=sysinit.target"),
        ["a.service comes before itself: after sysinit.target, after a.service"]
    );
    assert!(with("Before=sysinit.target\nDefaultDependencies=no").is_empty());
    assert!(with("After=basic.target\nBefore=multi-user.target").is_empty());
    assert_eq!(with("After=sshd.service\nBefore=sshd.service").len(), 1);
}

#[test]
fn texts_of_others_are_shown_in_one_line() {
    let unit =
        "/usr/lib/systemd/system/a.service=[Unit]\nRequires=\u{1b}[31mx\n[Service]\nExecStart=/bin/sh\n";
    let report = report(tree(HOST), &[("a", &[unit])], &Options::default());
    assert!(report.text().contains("Requires=\\u{1b}[31mx: there is no such unit"), "{}", report.text());
    assert!(!report.text().contains('\u{1b}'));
}

/// As the USR-A partition of Flatcar.
#[test]
fn an_image_of_usr_alone_gets_what_the_first_boot_makes() {
    let host = tree(&[
        "/usr/bin/sh*=sh",
        "/usr/bin/systemd-sysext*=x",
        "/usr/lib/os-release=ID=flatcar\n",
        "/usr/lib64/libx.so=x",
        "/usr/share/flatcar/etc/group=docker:x:233:\n",
        "/usr/share/flatcar/etc/systemd/system/y.target=[Unit]\n",
        "/usr/share/baselayout/passwd=core:x:500:500::/home/core:/bin/bash\n",
    ]);
    let unit = "/usr/lib/systemd/system/a.service=[Unit]\nRequires=y.target\n[Service]\nExecStart=/bin/sh\nUser=core\nGroup=docker\n";
    assert!(said(&report(host.clone(), &[("a", &[unit])], &Options::default())).is_empty());
    let host = Host::new("test".into(), host, None).unwrap();
    assert!(host.tree.resolve("/lib64/libx.so", true).is_ok() && host.tree.resolve("/lib32", true).is_err());
    // A system that has run has what it wants.
    let ran = tree(&["/etc/passwd=root:x:0:\n", "/usr/etc/x=x", "/usr/bin/sh=x", "/bin/busybox=x"]);
    let ran = Host::new("test".into(), ran, None).unwrap();
    assert!(ran.tree.resolve("/etc/x", true).is_err() && ran.tree.resolve("/bin/sh", true).is_err());
}

#[test]
fn mounts_below_a_hierarchy() {
    let fstab = "/etc/fstab=# x /opt/no\n/dev/vdb /opt/data ext4 defaults 0 0\n/dev/vdc /data ext4\n";
    let unit = "/etc/systemd/system/opt-cni.mount=[Mount]\nWhere=/opt/cni\n";
    let host = tree(&[HOST, &[fstab, unit]].concat());
    let found = said(&report(host, &[("a", &["/opt/a=a"])], &Options::default()));
    let expected =
        ["error nested-mount /opt/cni", "error nested-mount /opt/data", "warning opt-read-only /opt"];
    assert_eq!(found, expected);
}

#[test]
fn composefs_leaves_room_for_one_overlay() {
    let path = "/usr/lib/ostree/prepare-root.conf";
    let with = |text: &str| {
        let configuration = format!("{path}={text}");
        let host = tree(&[HOST, &[configuration.as_str()]].concat());
        said(&report(host, &[("a", &["/usr/bin/a*=a"])], &Options::default()))
    };
    assert!(with("[composefs]\nenabled=yes\n").is_empty());
    assert_eq!(with("[composefs]\nenabled=yes\n[root]\ntransient=true\n"), [format!("error stack {path}")]);
}

/// A program of the host's, and libraries that an extension puts in its way.
#[test]
fn libraries_that_the_loader_finds_afterwards() {
    let root = TestRoot::glibc();
    let lib = "lib/x86_64-linux-gnu";
    root.with_glibc();
    root.shared_library(&format!("{lib}/libone.so.1"), "libone.so.1", &[], &[]);
    root.shared_library("other/libone.so.1", "libone.so.1", &[], &[]);
    root.program("usr/bin/host", &[&format!("{lib}/libone.so.1")], &["-Wl,-rpath,/usr/lib/own"]);
    root.shared_library("other/libtwo.so.2", "libtwo.so.2", &[], &[]);
    root.program("other/extension", &["other/libtwo.so.2"], &[]);
    root.program("other/strange", &[], &["-Wl,--dynamic-linker=/lib64/ld-none.so.2"]);
    for (file, version, place) in
        [("one.map", "VER_1", "other/libver.so.1"), ("two.map", "VER_2", "lib/x86_64-linux-gnu/libver.so.1")]
    {
        root.write(file, format!("{version} {{ global: *; }};\n"));
        let script = format!("-Wl,--version-script={}", root.path(file).display());
        root.shared_library(place, "libver.so.1", &[], &[&script]);
    }
    let calls = "const char *f_libver_so_1(void);\nint main(void) { return f_libver_so_1() == 0; }\n";
    root.compile(calls, &root.path("usr/bin/versioned"), &[], &["lib/x86_64-linux-gnu/libver.so.1"]);
    let all = root.tree();
    let mut host = tree(HOST);
    let copy = |to: &mut Tree, from: &str, place: &str| {
        let node = all.get(&from.parse().unwrap()).unwrap().clone();
        to.insert_all(place.parse().unwrap(), node, &Meta::dir()).unwrap();
    };
    for file in [
        "/lib64/ld-linux-x86-64.so.2",
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib/x86_64-linux-gnu/libone.so.1",
        "/lib/x86_64-linux-gnu/libver.so.1",
        "/usr/bin/host",
        "/usr/bin/versioned",
    ] {
        let place = if file.starts_with("/usr") { file.to_owned() } else { format!("/usr{file}") };
        copy(&mut host, file, &place);
    }
    let found = |files: &[(&str, &str)]| {
        let mut extension = with_release("x", &["/usr/share/x"]);
        for (from, place) in files {
            copy(&mut extension, from, place);
        }
        let host = Host::new("test".into(), host.clone(), None).unwrap();
        assert_eq!(host.architecture, None, "texts are no programs");
        let set = [Extension {
            name: "x".parse().unwrap(),
            tree: &extension,
            is_directory: false,
            size: 0,
            labels_known: true,
            notes: Vec::new(),
        }];
        said(&check(&host, &set, &Options::default()).unwrap())
    };
    // In a directory that the program's own path names, and the host lacks.
    assert_eq!(
        found(&[("/other/libone.so.1", "/usr/lib/own/libone.so.1")]),
        ["error library-replaced /usr/lib/own/libone.so.1"]
    );
    assert!(found(&[("/other/libone.so.1", "/usr/lib/elsewhere/libone.so.1")]).is_empty());
    assert_eq!(
        found(&[("/other/extension", "/usr/bin/extension")]),
        ["error library-missing /usr/bin/extension"]
    );
    let both = [
        ("/other/extension", "/usr/bin/extension"),
        ("/other/libtwo.so.2", "/usr/lib/x86_64-linux-gnu/libtwo.so.2"),
    ];
    assert!(found(&both).is_empty());
    assert_eq!(found(&[("/other/strange", "/usr/bin/strange")]), ["error loader-missing /usr/bin/strange"]);
    // In the place of the host's, with a version less. The host of this test isn't usr-merged below /lib.
    let found_versions = found(&[("/other/libver.so.1", "/usr/lib/x86_64-linux-gnu/libver.so.1")]);
    assert!(
        found_versions.contains(&"error symbol-version /usr/bin/versioned".to_owned()),
        "{found_versions:?}"
    );
}

/// ld.so.cache as ldconfig(8) writes it: names and paths.
fn cache(libraries: &[(&str, &str)]) -> Vec<u8> {
    let mut strings = Vec::new();
    let mut out = b"glibc-ld.so.cache1.1".to_vec();
    out.extend((libraries.len() as u32).to_le_bytes());
    out.extend([0; 24]);
    for (name, path) in libraries {
        let mut place = |text: &str| {
            let at = 48 + 24 * libraries.len() + strings.len();
            strings.extend([text.as_bytes(), b"\0"].concat());
            (at as u32).to_le_bytes()
        };
        let (key, value) = (place(name), place(path));
        out.extend([[3, 3, 0, 0], key, value, [0; 4], [0; 4], [0; 4]].concat());
    }
    [out, strings].concat()
}

#[test]
fn a_library_that_ldconfig_has_not_seen() {
    let root = TestRoot::glibc();
    root.with_glibc();
    root.shared_library("usr/local/lib/libtwo.so.2", "libtwo.so.2", &[], &[]);
    root.program("usr/bin/extension", &["usr/local/lib/libtwo.so.2"], &[]);
    let all = root.tree();
    let with = |cached: bool, unit: &[&str]| {
        let mut host = tree(HOST);
        let mut add =
            |path: &str, node: Node| host.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
        for file in ["/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"] {
            add(&format!("/usr{file}"), all.get(&file.parse().unwrap()).unwrap().clone());
        }
        add("/etc/ld.so.conf", Node::file(0o644, "/usr/local/lib\n"));
        if cached {
            add(
                "/etc/ld.so.cache",
                Node::file(0o644, cache(&[("libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6")])),
            );
        }
        let mut extension = with_release("x", &[&["/usr/share/x"], unit].concat());
        for file in ["/usr/local/lib/libtwo.so.2", "/usr/bin/extension"] {
            let node = all.get(&file.parse().unwrap()).unwrap().clone();
            extension.insert_all(file.parse().unwrap(), node, &Meta::dir()).unwrap();
        }
        let host = Host::new("test".into(), host, None).unwrap();
        let set = [Extension {
            name: "x".parse().unwrap(),
            tree: &extension,
            is_directory: false,
            size: 0,
            labels_known: true,
            notes: Vec::new(),
        }];
        said(&check(&host, &set, &Options::default()).unwrap())
    };
    assert_eq!(with(true, &[]), ["error library-cache /usr/bin/extension"]);
    let unit = "/usr/lib/systemd/system/x.service=[Service]\nExecStart=-/usr/sbin/ldconfig\n";
    assert!(with(true, &[unit]).is_empty());
    assert!(with(false, &[]).is_empty());
}
