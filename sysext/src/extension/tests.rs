use super::*;
use tree::{Arch, Kind};

fn p(s: &str) -> TreePath {
    s.parse().unwrap()
}

/// A tree with one good file, to be spoiled.
fn tree() -> Tree {
    let mut t = Tree::default();
    t.insert_all(p("/usr/bin/tool"), Node::file(0o755, "#!/bin/sh\n"), &Meta::dir()).unwrap();
    t
}

fn put(t: &mut Tree, path: &str, node: Node) {
    t.insert_all(p(path), node, &Meta::dir()).unwrap();
}

fn node(kind: Kind) -> Node {
    Node { meta: Meta::with_mode(0o644), kind }
}

fn with_xattr(mut node: Node, name: &str) -> Node {
    node.meta.xattrs.insert(name.as_bytes().to_vec(), b"y".to_vec());
    node
}

fn owned(mut node: Node, uid: u32, gid: u32) -> Node {
    (node.meta.uid, node.meta.gid) = (uid, gid);
    node
}

/// The start of an ELF file.
fn elf(machine: u16) -> Node {
    let mut head = b"\x7fELF\x02\x01\x01".to_vec();
    head.resize(18, 0);
    head.extend(machine.to_le_bytes());
    head.resize(64, 0);
    Node::file(0o755, head)
}

fn release() -> Release {
    Release { architecture: Some(Arch::X86_64), ..Release::default() }
}

fn make(tree: Tree, release: Release, allow: &[&str]) -> Result<Extension, ExtensionError> {
    let allow = allow.iter().map(ToString::to_string).collect();
    let options = ExtensionOptions { epoch: 7, allow, findings: Vec::new() };
    Extension::new(tree, "ext".parse().unwrap(), release, &options)
}

fn findings(result: Result<Extension, ExtensionError>) -> Vec<String> {
    let found = match result {
        Ok(extension) => extension.findings().to_vec(),
        Err(ExtensionError::Refused { findings, .. }) => findings,
        Err(e) => panic!("{e}"),
    };
    found.iter().map(|f| format!("{} {f}", f.severity)).collect()
}

type Spoil = fn(&mut Tree, &mut Release);

/// One row a rule: what breaks it, and what is found. Each row is also made with the rule allowed.
const TABLE: &[(&str, Spoil, &str)] = &[
    (
        "outside-usr",
        |t, _| put(t, "/var/lib/x", Node::dir()),
        "error /var: is outside /usr and /opt, so it is not merged [outside-usr]",
    ),
    (
        "outside-usr",
        |t, _| put(t, "/bin", Node::symlink("usr/bin")),
        "error /bin: is outside /usr and /opt, so it is not merged [outside-usr]",
    ),
    ("etc", |t, _| put(t, "/etc/tool.conf", Node::file(0o644, "")), "error /etc: is not merged [etc]"),
    (
        "opt",
        |t, _| put(t, "/opt/tool/x", Node::file(0o644, "")),
        "warning /opt: makes all of /opt read-only on the host [opt]",
    ),
    (
        "os-release",
        |t, _| put(t, "/usr/lib/os-release", Node::symlink("x")),
        "error /usr/lib/os-release: belongs to the host [os-release]",
    ),
    (
        "host-symlink",
        |t, _| put(t, "/usr/sbin/x", Node::file(0o755, "")),
        "error /usr/sbin: is a real directory, where hosts have a symlink whose place it takes [host-symlink]",
    ),
    (
        "host-symlink",
        |t, _| put(t, "/usr/local/x", Node::file(0o755, "")),
        "error /usr/local: is a real directory, where hosts have a symlink whose place it takes [host-symlink]",
    ),
    (
        "host-directory",
        |t, _| put(t, "/usr/sbin", Node::symlink("bin")),
        "error /usr/sbin: is a symlink, where hosts have a directory [host-directory]",
    ),
    (
        "host-directory",
        |t, _| put(t, "/usr/share", Node::file(0o644, "")),
        "error /usr/share: is a regular file, where hosts have a directory [host-directory]",
    ),
    (
        "host-library",
        |t, _| put(t, "/usr/lib/x86_64-linux-gnu/libc.so.6", Node::symlink("libc-2.28.so")),
        "error /usr/lib/x86_64-linux-gnu/libc.so.6: takes the place of the host's C library or loader [host-library]",
    ),
    (
        "shared-library",
        |t, _| put(t, "/usr/lib/libz.so.1", Node::file(0o644, "")),
        "warning /usr/lib/libz.so.1: is found by the host's programs, maybe before their own [shared-library]",
    ),
    (
        "directory-mode",
        |t, _| t.meta_mut(&p("/usr/bin")).unwrap().mode = 0o700,
        "warning /usr/bin: mode 0700 would become the host's; made 0755 [directory-mode]",
    ),
    (
        "directory-mode",
        |t, _| put(t, "/usr/lib/systemd/system", Node { meta: Meta::with_mode(0o1777), kind: Kind::Dir }),
        "warning /usr/lib/systemd/system: mode 1777 would become the host's; made 0755 [directory-mode]",
    ),
    (
        "control-character",
        |t, _| put(t, "/usr/bin/a\nb", Node::file(0o644, "")),
        "error /usr/bin/a\\x0ab: has a control character in its name [control-character]",
    ),
    (
        "control-character",
        |t, _| put(t, "/usr/bin/a\u{9b}b", Node::dir()),
        "error /usr/bin/a\\xc2\\x9bb: has a control character in its name [control-character]",
    ),
    (
        "overlay-whiteout",
        |t, _| put(t, "/usr/bin/ls", node(Kind::CharDevice { major: 0, minor: 0 })),
        "error /usr/bin/ls: is a whiteout, which deletes the host's file of that name [overlay-whiteout]",
    ),
    (
        "overlay-xattr",
        |t, _| put(t, "/usr/lib/d", with_xattr(Node::dir(), "trusted.overlay.opaque")),
        "error /usr/lib/d: trusted.overlay.opaque takes effect when merged [overlay-xattr]",
    ),
    (
        "user-overlay-xattr",
        |t, _| put(t, "/usr/lib/d", with_xattr(Node::dir(), "user.overlay.opaque")),
        "warning /usr/lib/d: user.overlay.opaque is dropped [user-overlay-xattr]",
    ),
    (
        "system-xattr",
        |t, _| put(t, "/usr/lib/d", with_xattr(Node::dir(), "system.posix_acl_access")),
        "warning /usr/lib/d: system.posix_acl_access is dropped [system-xattr]",
    ),
    (
        "foreign-xattr",
        |t, _| put(t, "/usr/lib/d", with_xattr(Node::dir(), "com.apple.provenance")),
        "warning /usr/lib/d: com.apple.provenance is dropped: no attribute of Linux's [foreign-xattr]",
    ),
    (
        "foreign-xattr",
        |t, _| put(t, "/usr/lib/d", with_xattr(Node::dir(), "btrfs.compression")),
        "warning /usr/lib/d: btrfs.compression is dropped: no attribute of Linux's [foreign-xattr]",
    ),
    (
        "foreign-xattr",
        |t, _| put(t, "/usr/lib/d", with_xattr(Node::dir(), "user.")),
        "warning /usr/lib/d: user. is dropped: no attribute of Linux's [foreign-xattr]",
    ),
    (
        "32-bit-hosts",
        |_, r| r.architecture = Some(Arch::Arm),
        "warning ARCHITECTURE=arm: hosts with a 64-bit kernel don't merge it, whatever programs they could run [32-bit-hosts]",
    ),
    (
        "device",
        |t, _| put(t, "/usr/lib/null", node(Kind::CharDevice { major: 1, minor: 3 })),
        "warning /usr/lib/null: is a character device, of no use in an extension [device]",
    ),
    (
        "device",
        |t, _| put(t, "/usr/lib/pipe", node(Kind::Fifo)),
        "warning /usr/lib/pipe: is a pipe, of no use in an extension [device]",
    ),
    (
        "setuid",
        |t, _| put(t, "/usr/bin/su", Node::file(0o4755, "")),
        "warning /usr/bin/su: mode 4755 holds on the host, too [setuid]",
    ),
    (
        "foreign-setuid",
        |t, _| put(t, "/usr/bin/su", owned(Node::file(0o4755, ""), 7, 0)),
        "warning /usr/bin/su: mode 4755 of 7:0 would become root's [foreign-setuid]",
    ),
    (
        "foreign-setuid",
        |t, _| put(t, "/usr/bin/wall", owned(Node::file(0o2755, ""), 0, 5)),
        "warning /usr/bin/wall: mode 2755 of 0:5 would become root's [foreign-setuid]",
    ),
    (
        "capability",
        |t, _| put(t, "/usr/bin/ping", with_xattr(Node::file(0o755, ""), "security.capability")),
        "warning /usr/bin/ping: has file capabilities, which hold on the host, too [capability]",
    ),
    (
        "release-file",
        |t, _| put(t, "/usr/lib/extension-release.d/extension-release.other", Node::file(0o644, "")),
        "error /usr/lib/extension-release.d/extension-release.other: is not extension-release.ext [release-file]",
    ),
    (
        "release-replaced",
        |t, _| put(t, "/usr/lib/extension-release.d/extension-release.ext", Node::file(0o644, "ID=x")),
        "warning /usr/lib/extension-release.d/extension-release.ext: said something else and was replaced [release-replaced]",
    ),
    (
        "no-level",
        |_, r| r.id = "debian".into(),
        "warning ID=debian without SYSEXT_LEVEL and VERSION_ID: most hosts don't merge it [no-level]",
    ),
    (
        "any-with-level",
        |_, r| r.sysext_level = Some("1.0".into()),
        "warning SYSEXT_LEVEL and VERSION_ID mean nothing with ID=_any [any-with-level]",
    ),
    (
        "architecture",
        |t, r| {
            put(t, "/usr/bin/e", elf(62));
            r.architecture = None
        },
        "warning /usr/bin/e: is an ELF file, but the release file has no ARCHITECTURE [architecture]",
    ),
    (
        "wrong-architecture",
        |t, _| put(t, "/usr/bin/e", elf(183)),
        "warning /usr/bin/e: is for arm64, and no ELF file is for x86-64 as ARCHITECTURE says [wrong-architecture]",
    ),
    (
        "unit-exec",
        |t, r| {
            put(
                t,
                "/usr/lib/systemd/system/x.service",
                Node::file(0o644, "[Service]\nExecStart=/usr/bin/gone\n"),
            );
            r.reload_manager = true;
        },
        "warning /usr/lib/systemd/system/x.service: ExecStart=/usr/bin/gone (line 2): the extension has no such program [unit-exec]",
    ),
    (
        "user",
        |t, r| {
            put(t, "/usr/lib/systemd/system/x.service", Node::file(0o644, "[Service]\nUser=www\n"));
            r.reload_manager = true;
        },
        "warning /usr/lib/systemd/system/x.service: User=www (line 2): the host has to have this user, which nothing in the extension makes [user]",
    ),
    (
        "late-merge",
        |t, _| put(t, "/usr/lib/modules-load.d/x.conf", Node::file(0o644, "bridge\n")),
        "warning /usr/lib/modules-load.d/x.conf: kernel modules to load: systemd-modules-load.service reads them before a merge on a running system, and no unit of the extension applies them [late-merge]",
    ),
    (
        "reload",
        |t, _| {
            put(
                t,
                "/usr/lib/systemd/system/x.service",
                Node::file(0o644, "[Service]\nExecStart=-/bin/tool\n"),
            )
        },
        "warning /usr/lib/systemd/system/x.service: is a unit, but the release file has no EXTENSION_RELOAD_MANAGER=1 [reload]",
    ),
    (
        "usr-not-directory",
        |t, _| {
            t.remove(&p("/usr"));
            put(t, "/usr", Node::symlink("x"))
        },
        "error /usr: is a symlink, expected a directory [usr-not-directory]",
    ),
    (
        "release-directory",
        |t, _| put(t, "/usr/lib/extension-release.d", Node::symlink("/etc")),
        "error /usr/lib/extension-release.d: is a symlink, expected a directory [release-directory]",
    ),
    (
        "release-directory",
        |t, _| put(t, "/usr/lib/extension-release.d/extension-release.ext", Node::dir()),
        "error /usr/lib/extension-release.d/extension-release.ext: is a directory, expected the release file [release-directory]",
    ),
];

#[test]
fn a_good_tree_has_no_findings() {
    assert_eq!(findings(make(tree(), release(), &[])), [""; 0]);
}

#[test]
fn each_rule_finds_what_breaks_it() {
    for (name, spoil, expected) in TABLE {
        let (mut tree, mut release) = (tree(), release());
        spoil(&mut tree, &mut release);
        let result = make(tree.clone(), release.clone(), &[]);
        assert_eq!(result.is_err(), expected.starts_with("error"), "{name}");
        assert_eq!(findings(result), [*expected]);

        let rule = rule(name).unwrap();
        let allowed = make(tree, release, &[name]);
        if rule.allowable {
            assert_eq!(findings(Ok(allowed.unwrap())), [expected.replacen("error ", "warning ", 1)]);
        } else {
            assert!(matches!(allowed, Err(ExtensionError::NotAllowable(_))), "{name}");
        }
    }
}

#[test]
fn each_rule_has_a_row() {
    for rule in RULES.iter().filter(|r| !["needs-host-libraries", "host-file"].contains(&r.name)) {
        assert!(TABLE.iter().any(|(name, ..)| *name == rule.name), "{}", rule.name);
    }
    let mut names: Vec<&str> = RULES.iter().map(|r| r.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), RULES.len());
}

#[test]
fn findings_of_the_caller_count() {
    let finding = Finding {
        rule: "needs-host-libraries",
        severity: Severity::Error,
        path: Some(p("/usr/bin/tool")),
        message: "needs libc.so.6".into(),
    };
    let options = ExtensionOptions { findings: vec![finding], ..ExtensionOptions::default() };
    let refused = Extension::new(tree(), "ext".parse().unwrap(), release(), &options).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "extension ext is refused: /usr/bin/tool: needs libc.so.6 [needs-host-libraries]"
    );
    let allow = BTreeSet::from(["needs-host-libraries".to_owned()]);
    let options = ExtensionOptions { allow, ..options };
    assert!(Extension::new(tree(), "ext".parse().unwrap(), release(), &options).is_ok());
}

#[test]
fn floods_are_cut_and_errors_come_first() {
    let mut t = tree();
    put(&mut t, "/opt/x", Node::dir());
    for i in 0..25 {
        put(&mut t, &format!("/usr/bin/{i:02}\t"), Node::file(0o644, ""));
    }
    let found = findings(make(t, release(), &[]));
    assert_eq!(found.len(), 12);
    assert!(found[0].starts_with("error "), "{found:?}");
    assert!(found.contains(&"error and 15 more like these [control-character]".to_owned()), "{found:?}");
    assert!(found[11].starts_with("warning /opt"), "{found:?}");
}

#[test]
fn all_is_roots_and_of_one_time() {
    let mut t = tree();
    put(&mut t, "/usr/bin/su", owned(Node::file(0o6755, "x"), 0, 9));
    put(&mut t, "/usr/share/private", owned(Node { meta: Meta::with_mode(0o700), kind: Kind::Dir }, 5, 5));
    put(&mut t, "/usr/share/private/deep", Node { meta: Meta::with_mode(0o700), kind: Kind::Dir });
    put(&mut t, "/usr/share/x", with_xattr(owned(Node::file(0o644, "x"), 8, 8), "user.mime"));
    t.link(p("/usr/share/y"), &p("/usr/share/x")).unwrap();
    t.meta_mut(&TreePath::root()).unwrap().mode = 0o1777;
    let extension = make(t, Release { reload_manager: true, ..release() }, &[]).unwrap();
    insta::assert_snapshot!(extension.tree().dump_with(tree::DumpOptions { mtime: true, text: 100 }), @r##"
    / dir 0755 0:0 @7
    /usr dir 0755 0:0 @7
    /usr/bin dir 0755 0:0 @7
    /usr/bin/su file 4755 0:0 @7 1 "x"
    /usr/bin/tool file 0755 0:0 @7 10 "#!/bin/sh\n"
    /usr/lib dir 0755 0:0 @7
    /usr/lib/extension-release.d dir 0755 0:0 @7
    /usr/lib/extension-release.d/extension-release.ext file 0644 0:0 @7 55 "ID=_any\nARCHITECTURE=x86-64\nEXTENSION_RELOAD_MANAGER=1\n"
    /usr/share dir 0755 0:0 @7
    /usr/share/private dir 0755 0:0 @7
    /usr/share/private/deep dir 0700 0:0 @7
    /usr/share/x file 0644 0:0 @7 1 "x" user.mime=y
    /usr/share/y hardlink /usr/share/x
    "##);
}

#[test]
fn what_units_may_start() {
    let has = |exec: &str| {
        let mut t = tree();
        put(&mut t, "/usr/bin/link", Node::symlink("tool"));
        put(&mut t, "/usr/bin/away", Node::symlink("/etc/alternatives/away"));
        let unit = format!("[Service]\nExecStart={exec}\n");
        put(&mut t, "/usr/lib/systemd/system/x.service.d/10.conf", Node::file(0o644, unit));
        let release = Release { reload_manager: true, ..release() };
        findings(make(t, release, &[])).is_empty()
    };
    for good in [
        "/usr/bin/tool",
        "/bin/tool a",
        "@/usr/bin/link x",
        "tool",
        "/bin/sh -c x",
        "systemctl stop",
        "-/gone",
        "/usr/bin/%p",
    ] {
        assert!(has(good), "{good}");
    }
    for bad in ["/usr/sbin/tool", "/usr/bin/away", "gone", "/usr/bin", "/usr/lib/sh"] {
        assert!(!has(bad), "{bad}");
    }
}

#[test]
fn rules_and_values_that_are_none() {
    assert!(matches!(make(tree(), release(), &["nope"]), Err(ExtensionError::UnknownRule(_))));
    let bad = Release { id: String::new(), ..release() };
    assert!(matches!(make(tree(), bad, &[]), Err(ExtensionError::Release(_))));
}

#[test]
fn an_attribute_of_many_files_is_told_once() {
    let mut tree = tree();
    for i in 0..7 {
        let file = Node::file(0o644, "x");
        put(&mut tree, &format!("/usr/lib/sample/f{i}"), with_xattr(file, "com.apple.provenance"));
    }
    let extension =
        Extension::new(tree, "tool".parse().unwrap(), release(), &ExtensionOptions::default()).unwrap();
    let found: Vec<String> = extension.findings().iter().map(ToString::to_string).collect();
    let text = "/usr/lib/sample/f0: com.apple.provenance is dropped, as are 6 more of this name: no attribute of Linux's \
                [foreign-xattr]";
    assert_eq!(found, [text]);
}
