mod defects;

use tree::{Arch, Meta, Node};

use super::*;

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::default();
    for (path, text) in files {
        let mode = if path.contains("/bin/") { 0o755 } else { 0o644 };
        tree.insert_all(path.parse().unwrap(), Node::file(mode, *text), &Meta::dir()).unwrap();
    }
    tree
}

const RELEASE: (&str, &str) = (
    "/usr/lib/extension-release.d/extension-release.x",
    "ID=_any\nARCHITECTURE=x86-64\nEXTENSION_RELOAD_MANAGER=1\n",
);

fn check(tree: &Tree, options: &LintOptions) -> Vec<String> {
    let found = lint(tree, &"x".parse().unwrap(), options).unwrap();
    found.iter().map(|f| format!("{}: {f}", f.severity)).collect()
}

fn errors(files: &[(&str, &str)]) -> Vec<String> {
    check(&tree(files), &LintOptions::default())
}

#[test]
fn a_good_image_has_no_findings() {
    assert_eq!(errors(&[RELEASE, ("/usr/share/x/a", "text")]), [""; 0]);
}

#[test]
fn what_mkfs_makes_is_no_finding() {
    let mut image = tree(&[RELEASE, ("/usr/share/x/a", "text")]);
    image.insert("/lost+found".parse().unwrap(), Node::dir()).unwrap();
    assert_eq!(check(&image, &LintOptions::default()), [""; 0]);
    image.insert("/lost+found/x".parse().unwrap(), Node::file(0o644, "x")).unwrap();
    let found = check(&image, &LintOptions::default());
    assert!(found.len() == 1 && found[0].starts_with("error: /lost+found: is outside"), "{found:?}");
}

#[test]
fn release_files() {
    let at = |name: &str| format!("/usr/lib/extension-release.d/extension-release.{name}");
    assert!(errors(&[("/usr/share/x/a", "")])[0].contains("Package not installed [no-release-file]"));
    let other = at("docker-compose");
    let found = errors(&[(&other, "ID=_any\n")]);
    assert!(
        found[0]
            .contains("the image is x, its release file for docker-compose; systemd says: No medium found"),
        "{found:?}"
    );
    for (text, message) in [
        ("", "has no ID; systemd says: Package not installed [release-fields]"),
        ("ID=\"\"\n", "has no ID"),
        ("ID=_any\nARCHITECTURE=amd64\n", "ARCHITECTURE=amd64 is none of systemd's"),
        ("ID=Flat Car\n", "is invalid"),
        ("ID=_any\nnonsense\n", "line \"nonsense\" is no NAME=VALUE"),
    ] {
        let found = errors(&[(RELEASE.0, text)]);
        assert!(found[0].starts_with("error: ") && found[0].contains(message), "{found:?}");
    }
    let quoted = "# comment\nID='flatcar'\nSYSEXT_LEVEL=\"1.0\"\nARCHITECTURE=arm64\n";
    let file = release_file::find(&tree(&[(RELEASE.0, quoted)]), &"x".parse().unwrap()).unwrap().unwrap();
    assert_eq!((file.release.id.as_str(), file.release.sysext_level.as_deref()), ("flatcar", Some("1.0")));
    assert_eq!((file.release.architecture, file.problems.len()), (Some(Arch::Arm64), 0));

    // The one file that says so itself counts under any name.
    let mut lax = tree(&[(&other, "ID=_any\n")]);
    lax.meta_mut(&other.parse().unwrap())
        .unwrap()
        .xattrs
        .insert(b"user.extension-release.strict".to_vec(), b"0".to_vec());
    assert!(release_file::find(&lax, &"x".parse().unwrap()).unwrap().is_some());
}

#[test]
fn what_hurts_hosts() {
    let mut bad = tree(&[
        RELEASE,
        ("/usr/sbin/tool", "x"),
        ("/usr/lib/os-release", "ID=x\n"),
        ("/etc/x.conf", ""),
        ("/usr/bin/tool", "x"),
    ]);
    let mut change = |path: &str, f: &dyn Fn(&mut Meta)| f(bad.meta_mut(&path.parse().unwrap()).unwrap());
    change("/usr/bin", &|m| m.mode = 0o700);
    change("/usr/bin/tool", &|m| (m.uid, m.gid) = (1000, 1000));
    change("/usr/lib", &|m| drop(m.xattrs.insert(b"trusted.overlay.opaque".to_vec(), b"y".to_vec())));
    let found = check(&bad, &LintOptions::default());
    for line in [
        "error: /usr/sbin: is a real directory, where hosts have a symlink whose place it takes [host-symlink]",
        "error: /usr/lib/os-release: belongs to the host [os-release]",
        "error: /etc: is not merged [etc]",
        "error: /usr/bin: mode 0700 would become the host's [directory-mode]",
        "error: /usr/lib: trusted.overlay.opaque takes effect when merged [overlay-xattr]",
        "warning: /usr/bin/tool: belongs to 1000:1000, expected 0:0 [owner]",
    ] {
        assert!(found.iter().any(|f| f == line), "{line} in {found:#?}");
    }
    let allow = ["host-symlink", "directory-mode", "no-release-file"].map(str::to_owned);
    let found = check(&bad, &LintOptions { allow: allow.into_iter().collect(), ..LintOptions::default() });
    assert!(found.iter().any(|f| f.starts_with("warning: /usr/sbin: ")), "{found:#?}");
    let mut nothing = vec![finding(&NO_RELEASE, None, "x")];
    allow_all(&mut nothing);
    assert_eq!(nothing[0].severity, Severity::Error);
}

fn allow_all(findings: &mut [Finding]) {
    let all = RULES.iter().map(|r| r.name.to_owned()).collect();
    allow(findings, &all);
}

#[test]
fn programs_of_the_hosts_libraries() {
    // The test itself is a dynamic program.
    let own = std::fs::read("/proc/self/exe").unwrap();
    let mut with = tree(&[RELEASE]);
    let path: TreePath = "/usr/bin/prog".parse().unwrap();
    with.insert_all(path.clone(), Node::file(0o755, own), &Meta::dir()).unwrap();
    let needs = Needs::of(&with);
    let need = &needs.files[&path];
    assert!(need.loader.as_deref().is_some_and(|l| l.starts_with("/lib")), "{need:?}");
    assert!(need.libraries.contains("libc.so.6"), "{need:?}");
    let found = findings_of(&needs, &[]);
    assert!(found.len() == 1 && found[0].starts_with("error: /usr/bin/prog: needs /lib"), "{found:?}");
    let loader = need.loader.clone().unwrap().rsplit('/').next().unwrap().to_owned();
    let all: Vec<String> = need.libraries.iter().cloned().chain([loader]).collect();
    assert_eq!(findings_of(&needs, &all), [""; 0]);
    let most: Vec<String> = all.iter().filter(|n| *n != "libc.so.6").cloned().collect();
    assert_eq!(
        findings_of(&needs, &most),
        [
            "error: /usr/bin/prog: needs libc.so.6 of the host, which ID=_any doesn't promise [needs-host-libraries]"
        ]
    );

    // What the extension has, where the loader looks.
    with.insert_all("/usr/lib64/libc.so.6".parse().unwrap(), Node::file(0o644, "x"), &Meta::dir()).unwrap();
    assert!(!Needs::of(&with).files[&path].libraries.contains("libc.so.6"));

    // What is in a private root finds the rest of it, and nothing of the host's.
    let own = with.get(&path).unwrap().clone();
    let mut private = tree(&[RELEASE]);
    let inside = |path: &str| format!("/usr/lib/flatwrap/x{path}").parse::<TreePath>().unwrap();
    private.insert_all(inside("/usr/bin/prog"), own, &Meta::dir()).unwrap();
    assert!(
        findings_of(&Needs::of(&private), &[])[0]
            .starts_with("error: /usr/lib/flatwrap/x/usr/bin/prog: needs /lib")
    );
    let loader = need.loader.clone().unwrap();
    let libraries = need.libraries.iter().map(|name| format!("/usr/lib/{name}"));
    for file in libraries.chain([loader]) {
        private.insert_all(inside(&file), Node::file(0o755, "x"), &Meta::dir()).unwrap();
    }
    assert_eq!(findings_of(&Needs::of(&private), &[]), [""; 0]);

    let broken = tree(&[("/usr/bin/cut", "\x7fELF\x02\x01\x01 and nothing more")]);
    assert!(findings_of(&Needs::of(&broken), &[])[0].contains("can't be read as a program"));
}

fn findings_of(needs: &Needs, allowed: &[String]) -> Vec<String> {
    needs::findings(needs, allowed).iter().map(|f| format!("{}: {f}", f.severity)).collect()
}

#[test]
fn what_units_need_beside_their_programs() {
    let found = |unit: &str, more: &[(&str, &str)]| {
        let mut files = vec![RELEASE, ("/usr/lib/systemd/system/a.service", unit), ("/usr/bin/a", "x")];
        files.extend(more);
        let found = check(&tree(&files), &LintOptions::default());
        let ours = found.iter().filter(|f| f.ends_with("[service-files]"));
        ours.map(|f| f.split(": ").nth(2).unwrap().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let conf = "/usr/lib/tmpfiles.d/a.conf";
    for (unit, more, expected) in [
        ("EnvironmentFile=/etc/default/a\nEnvironmentFile=-/etc/b", "", "EnvironmentFile (line 2)"),
        ("EnvironmentFile=/etc/default/a", "C /etc/default/a - - - - /usr/x", ""),
        (
            "WorkingDirectory=/var/lib/a\nReadWritePaths=-/var/x +/var/y",
            "",
            "WorkingDirectory (line 2), ReadWritePaths (line 3)",
        ),
        ("WorkingDirectory=/var/lib/a\nStateDirectory=a", "", ""),
        ("WorkingDirectory=/var/lib/a", "d /var/lib/a/b", ""),
        ("WorkingDirectory=/var/lib/a/b", "d /var/lib/a", "WorkingDirectory (line 2)"),
        (
            "ExecStart=/usr/bin/a -c /etc/a.conf --x=/etc/b /var/c",
            "",
            "ExecStart (line 2), ExecStart (line 2)",
        ),
        ("ExecStart=/usr/bin/a /etc/a/%i /etc/hosts\nExecStart=", "", ""),
        ("ExecStartPre=/bin/mkdir -p /var/lib/a\nWorkingDirectory=/var/lib/a", "", ""),
        (
            "[Unit]\nConditionPathExists=/etc/a\nConditionPathExists=!/etc/b",
            "",
            "ConditionPathExists (line 3)",
        ),
        ("[Unit]\nConditionPathExists=/dev/kvm", "", ""),
    ] {
        let unit = format!("[Service]\n{unit}\n");
        assert_eq!(found(&unit, &[(conf, more)]), expected, "{unit}");
    }
}

#[test]
fn units_by_systemd_itself() {
    let good = "[Unit]\nAfter=network-online.target docker.service\nRequires=docker.service\n\
                [Service]\nExecStart=/usr/bin/a --x\nExecStartPre=/usr/bin/gone\n[Install]\nWantedBy=multi-user.target\n";
    let units = |service: &str| {
        let files = [
            ("/usr/lib/systemd/system/a.service", service),
            ("/usr/lib/systemd/system/t@.service", "[Service]\nExecStart=/usr/bin/a %i\n"),
            ("/usr/lib/systemd/system/multi-user.target.d/10-a.conf", "[Unit]\nUpholds=a.service\n"),
            ("/usr/lib/systemd/system/docker.service.d/10-a.conf", "[Service]\nEnvironment=A=b\n"),
        ];
        let found = verify::units(&tree(&files)).unwrap();
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(units(good), [""; 0]);
    let found = units(&good.replace("[Service]", "Bogus=1\n[Service]\nType=notifyy"));
    let expected = [
        "/usr/lib/systemd/system/a.service: line 4: Unknown key 'Bogus' in section [Unit], ignoring. [unit-syntax]",
        "/usr/lib/systemd/system/a.service: line 6: Failed to parse service type, ignoring: notifyy [unit-syntax]",
    ];
    assert_eq!(found.len(), 2, "{found:?}; systemd-analyze is in Debian's package systemd");
    assert!(
        found[0] == expected[0] && found[1].starts_with("/usr/lib/systemd/system/a.service: line 6: "),
        "{found:?}"
    );
    assert_eq!(verify::units(&Tree::default()).unwrap(), []);
    // A unit's name is no option of systemd-analyze.
    let dash = [("/usr/lib/systemd/system/--version.service", "[Service]\nExecStart=/usr/bin/a\nBogus=1\n")];
    let found = verify::units(&tree(&dash)).unwrap();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.iter().any(|f| f.contains("Unknown key 'Bogus'")), "{found:?}");
}

#[test]
fn sets() {
    let a = tree(&[("/usr/bin/ctr", "one"), ("/usr/bin/same", "s"), ("/usr/share/x/a", "")]);
    let b = tree(&[("/usr/bin/ctr", "two"), ("/usr/bin/same", "s"), ("/usr/share/x/b", "")]);
    let c = tree(&[("/usr/share/x", "a file")]);
    let none: &[String] = &[];
    let member = |name, tree| Member { name, version: None, tree, conflicts: none };
    let show = |set: &[Member<'_>]| {
        collisions(set).iter().map(|f| format!("{}: {f}", f.severity)).collect::<Vec<_>>()
    };
    assert_eq!(
        show(&[member("a", &a), member("b", &b)]),
        [
            "error: /usr/bin/ctr: different files are in a and b [collision]",
            "warning: /usr/bin/same: the same file is in a and b [same-file]",
        ]
    );
    assert_eq!(
        show(&[member("a", &a), member("c", &c)]),
        ["error: /usr/share/x: different files are in a and c [collision]"]
    );
    let conflicts = ["b".to_owned()];
    // What is to be merged together must say that it can't be, and no more.
    let apart = ["error: a and b can't be merged together [conflict]"];
    assert_eq!(show(&[Member { conflicts: &conflicts, ..member("a", &a) }, member("b", &b)]), apart);
    assert_eq!(
        show(&[member("b", &b), Member { conflicts: &conflicts, ..member("a", &a) }]),
        ["error: b and a can't be merged together [conflict]"]
    );
    // Versions of one extension are alternatives.
    let of = |version, tree| Member { version: Some(version), ..member("a", tree) };
    assert_eq!(show(&[of("1.2.0", &a), of("1.3.0", &b), of("1.4.0", &c)]), [""; 0]);
    assert_eq!(
        show(&[of("1.2.0", &a), of("v1.3.0", &b), of("1.4.0", &c), of("nightly", &c)]),
        [
            "error: a has versions of two forms, 1.2.0 and v1.3.0: systemd considers 1.2.0 newer [version-form]"
        ]
    );
    assert_eq!(show(&[member("a", &a)]), [""; 0]);
    // Of several versions of each, every pair of extensions is named once.
    let version = |name, version, tree| Member { version: Some(version), ..member(name, tree) };
    let versions =
        [version("a", "1", &a), version("b", "1", &b), version("a", "2", &a), version("b", "2", &b)];
    assert_eq!(show(&versions), show(&versions[..2]));
}

#[test]
fn names_that_lead_nowhere() {
    let mut image = tree(&[
        RELEASE,
        (
            "/usr/lib/systemd/system/web.service",
            "[Unit]\nRequires=db.service web@%i.socket dbus.service worker@1.service\nWants=network-online.target other.service\n\
             [Service]\nExecStart=/usr/bin/true\n[Install]\nAlias=www.service\n",
        ),
        ("/usr/lib/systemd/system/worker@.service", "[Unit]\nBindsTo=www.service\n"),
        ("/usr/lib/systemd/system/web.timer", "[Timer]\nUnit=gone.service\n"),
        ("/usr/lib/systemd/system/web.socket", "[Socket]\nListenStream=80\n"),
        ("/usr/lib/systemd/system/worker.path", "[Path]\nPathExists=/run/x\nUnit=\n"),
        ("/usr/lib/systemd/system/worker.socket", "[Socket]\nListenStream=81\nAccept=yes\n"),
        ("/usr/lib/systemd/system/lost.socket", "[Socket]\nListenStream=82\nAccept=yes\n"),
        ("/usr/lib/systemd/system/lost.timer", "[Timer]\nOnCalendar=daily\n"),
        ("/usr/lib/systemd/system/lost.timer.d/10.conf", "[Timer]\nOnCalendar=hourly\n"),
        ("/usr/lib/systemd/system/web.service.d/10-env", "[Service]\n"),
        ("/usr/lib/systemd/system/web.service.d/20-env.conf", "[Service]\n"),
        (
            "/usr/lib/tmpfiles.d/web.conf",
            "C /etc/web.conf\nC /etc/b.conf - - - - /usr/share/web/b.conf\nL /etc/mtab - - - - ../proc/self/mounts\n\
             L+ /etc/c.conf 0644 - - - /usr/share/web/c.conf\nL /etc/web/c.conf - - - - ../../usr/share/web/c.conf\n\
             L /etc/web/d.conf - - - - ../../usr/share/web/d.conf\n",
        ),
        ("/usr/share/factory/etc/web.conf", "x"),
        ("/usr/share/web/c.conf", "x"),
        ("/usr/bin/systemctl", "#!/bin/sh\n"),
        ("/usr/bin/web", "#!/bin/sh\n"),
    ]);
    for (path, target) in [
        ("/usr/bin/web2", "../libexec/web2"),
        ("/usr/bin/web3", "web"),
        ("/usr/bin/editor", "/etc/alternatives/editor"),
        ("/usr/lib/systemd/system/multi-user.target.wants/db.service", "../db.service"),
        ("/usr/lib/systemd/system/masked.service", "/dev/null"),
    ] {
        image.insert_all(path.parse().unwrap(), Node::symlink(target), &Meta::dir()).unwrap();
    }
    let found = check(&image, &LintOptions::default());
    let rules = ["unit-reference", "drop-in-name", "tmpfiles-source", "dangling-link", "host-program"];
    let found: Vec<&str> =
        found.iter().filter(|f| rules.iter().any(|r| f.contains(r))).map(String::as_str).collect();
    let units = "/usr/lib/systemd/system";
    let needs = |unit: &str, what: &str, line: u8| {
        format!(
            "warning: {units}/{unit}: {what} (line {line}): the host has to have this unit, which isn't in the extension \
             [unit-reference]"
        )
    };
    let implied = |unit: &str, starts: &str| {
        format!(
            "warning: {units}/{unit}: starts {starts}: the host has to have this unit, which isn't in the extension \
             [unit-reference]"
        )
    };
    assert_eq!(
        found,
        [
            implied("lost.socket", "lost@.service"),
            implied("lost.timer", "lost.service"),
            needs("web.service", "Requires=db.service", 2),
            needs("web.service", "Requires=web@%i.socket", 2),
            needs("web.service", "Wants=other.service", 3),
            format!(
                "warning: {units}/web.service.d/10-env: systemd ignores files of a drop-in directory whose names don't end \
                 in .conf [drop-in-name]"
            ),
            needs("web.timer", "Unit=gone.service", 2),
            implied("worker.path", "worker.service"),
            "warning: /usr/lib/tmpfiles.d/web.conf: line 2: the host has to have /usr/share/web/b.conf, which isn't in the \
             extension [tmpfiles-source]"
                .to_owned(),
            "warning: /usr/lib/tmpfiles.d/web.conf: line 6: the host has to have /usr/share/web/d.conf, which isn't in the \
             extension [tmpfiles-source]"
                .to_owned(),
            "warning: /usr/bin/web2: leads to ../libexec/web2, which isn't in the extension [dangling-link]".to_owned(),
            format!(
                "warning: {units}/multi-user.target.wants/db.service: leads to ../db.service, which isn't in the extension \
                 [dangling-link]"
            ),
            "warning: /usr/bin/systemctl: takes the place of the host's program, also for the host's own services \
             [host-program]"
                .to_owned(),
        ]
    );
    // Another extension of a set has them.
    let units = [
        "db.service",
        "gone.service",
        "lost.service",
        "lost@.service",
        "other.service",
        "web@.socket",
        "worker.service",
    ];
    let units = units.map(str::to_owned).into();
    let found = check(&image, &LintOptions { units, ..LintOptions::default() });
    assert!(!found.iter().any(|f| f.contains("[unit-reference]")), "{found:#?}");
}

#[test]
fn lines_of_sysusers() {
    let at = "/usr/lib/sysusers.d/x.conf";
    let good = "# comment\n\nu web - \"Web server\" /var/lib/web /bin/sh\nu! db 300:web\nu ref /usr/bin/x\ng web 300\n\
                m web db\nr - 500-900\nu x-%i bad bad bad\n";
    // What doesn't end in .conf isn't read.
    let readme = ("/usr/lib/sysusers.d/README", "How to write such files\n");
    let setup = (
        "/usr/lib/systemd/system/x-setup.service",
        "[Service]\nType=oneshot\nExecStart=systemd-sysusers x.conf\n",
    );
    assert_eq!(errors(&[RELEASE, (at, good), readme, setup]), [""; 0]);
    for (line, message) in [
        ("u", "a name is missing"),
        ("user web", "type \"user\" is unknown, expected u, u!, g, m, or r"),
        ("u 1web", "\"1web\" is no name of a user or group"),
        ("u web -1", "\"-1\" is no number, path or NUMBER:GROUP"),
        ("u web - Web server", "home directory \"server\" is no absolute path"),
        ("u web - \"Web\" /var/lib/web sh", "shell \"sh\" is no absolute path"),
        ("g web many", "\"many\" is no number or path"),
        ("m web", "a name is missing"),
        ("g web 1 x", "has more than 3 columns: quote what has spaces"),
        ("r - 9-1", "expected \"r - FROM-TO\""),
    ] {
        let found = errors(&[RELEASE, setup, (at, &format!("\n{line}\n"))]);
        assert_eq!(found, [format!("error: {at}: line 2: {message} [sysusers-syntax]")], "{line}");
    }
}

#[test]
fn lines_of_tmpfiles() {
    let at = "/usr/lib/tmpfiles.d/x.conf";
    let good = "# comment\n\nd /var/lib/x 0750 root root 10d\nL+? /run/x - - - - /dev/null\nf$ /run/y ~0644 :root :root - a b c\n\
                z /var/lib/%i %m - -\nd \"/var/lib/a b\" :0755\nx /tmp/x*\n";
    let setup = (
        "/usr/lib/systemd/system/x-setup.service",
        "[Service]\nType=oneshot\nExecStart=systemd-tmpfiles --create x.conf\n",
    );
    assert_eq!(errors(&[RELEASE, (at, good), setup]), [""; 0]);
    for (line, message) in [
        ("d", "a path is missing"),
        ("dir /var/lib/x", "type \"dir\" is unknown"),
        ("k /var/lib/x", "type \"k\" is unknown"),
        ("d var/lib/x", "\"var/lib/x\" is no absolute path"),
        ("d /var/lib/x rwx", "\"rwx\" is no mode: expected octal digits"),
        ("d /var/lib/x 0789", "\"0789\" is no mode: expected octal digits"),
        ("d /var/lib/x 0755 root \"a group\"", "\"a group\" is no name of a user or group"),
    ] {
        let found = errors(&[RELEASE, setup, (at, &format!("\n{line}\n"))]);
        assert!(
            found.contains(&format!("error: {at}: line 2: {message} [tmpfiles-syntax]")),
            "{line}: {found:?}"
        );
    }
}

#[test]
fn interpreters_of_scripts() {
    let fine = [
        ("/usr/bin/a", "#!/bin/sh\n"),
        ("/usr/bin/b", "#! /usr/bin/env -S A=1 bash -e\n"),
        ("/usr/bin/c", "#!/usr/bin/env ours\n"),
        ("/usr/bin/ours", "\x7fELF"),
        ("/usr/bin/d", "#!/bin/ours -x\n"),
        ("/usr/bin/e", "#!/usr/lib/x/bin/inner"),
        ("/usr/lib/x/bin/inner", "#!/usr/bin/python3\n"),
        ("/usr/bin/f", "no script"),
        ("/usr/bin/g", "#!\n"),
        ("/usr/share/x", "#!/usr/bin/python3\n"),
    ];
    let found = errors(&[&[RELEASE], &fine[..]].concat());
    assert!(!found.iter().any(|f| f.contains("[script-interpreter]")), "{found:?}");
    for (line, missing) in [
        ("#!/usr/bin/python3 -I\n", "/usr/bin/python3"),
        ("#!/usr/bin/env perl\n", "perl"),
        ("#!/usr/bin/env -S A=1 perl -w\n", "perl"),
        ("#!/opt/x/bin/sh\n", "/opt/x/bin/sh"),
        ("#!perl", "perl"),
    ] {
        let found = errors(&[RELEASE, ("/usr/bin/a", line)]);
        let message = format!(
            "warning: /usr/bin/a: is a script for {missing}, which isn't in the extension [script-interpreter]"
        );
        assert_eq!(found, [message], "{line}");
    }
}

#[test]
fn what_a_merge_does_not_apply() {
    let rules = ("/usr/lib/udev/rules.d/60-x.rules", "KERNEL==\"x\"\n");
    let modules = ("/usr/lib/modules-load.d/x.conf", "bridge\n");
    let network = ("/usr/lib/systemd/network/x.network", "[Match]\n");
    let readme = ("/usr/lib/sysusers.d/README", "How to write such files\n");
    let found = errors(&[RELEASE, rules, modules, network, readme]);
    let warning = |path: &str, what: &str| {
        format!(
            "warning: {path}: {what} reads them before a merge on a running system, and no unit of the extension applies \
             them [late-merge]"
        )
    };
    let of_rules = warning(rules.0, "udev rules: systemd-udevd.service");
    let of_modules = warning(modules.0, "kernel modules to load: systemd-modules-load.service");
    assert_eq!(found, [of_rules.as_str(), of_modules.as_str()]);
    // A unit of its own, or a drop-in, applies them.
    let unit = "/usr/lib/systemd/system/x.service.d/10.conf";
    let modprobe = (unit, "[Service]\nExecStartPre=+modprobe bridge\n");
    assert_eq!(errors(&[RELEASE, rules, modules, modprobe]), [of_rules.as_str()]);
    // So does systemd, if the release file asks for it.
    let release = format!("{}EXTENSION_RESTART_UNITS=systemd-modules-load.service\n", RELEASE.1);
    assert_eq!(errors(&[(RELEASE.0, &release), rules, modules]), [of_rules.as_str()]);
}

#[test]
fn labels_of_some_files() {
    let mut image = tree(&[RELEASE, ("/usr/share/x/a", "x"), ("/usr/share/x/b", "x")]);
    let paths: Vec<TreePath> = image.iter().map(|(p, _)| p.clone()).filter(|p| !p.is_root()).collect();
    for path in &paths {
        let label = b"system_u:object_r:usr_t:s0".to_vec();
        image.meta_mut(path).unwrap().xattrs.insert(b"security.selinux".to_vec(), label);
    }
    let found = |image: &Tree| {
        let found = check(image, &LintOptions::default());
        found.into_iter().filter(|f| f.contains("[selinux-label]")).collect::<Vec<_>>()
    };
    assert_eq!(found(&image), [""; 0]);
    image.meta_mut(&"/usr/share/x/b".parse().unwrap()).unwrap().xattrs.clear();
    let message = "warning: /usr/share/x/b: has no SELinux label, and /usr has one: services can't use what has none \
                   [selinux-label]";
    assert_eq!(found(&image), [message]);
}
