use std::collections::{BTreeMap, BTreeSet};

use sysext::extension::moved::Moved;
use tree::{Kind, Meta, Node, Tree, TreePath};

use super::*;

/// An image in which redis was installed, and scripts have done their work.
fn image() -> Tree {
    let mut tree = Tree::default();
    let status = "Package: redis\nStatus: install ok installed\nArchitecture: amd64\n\n\
                  Package: other\nStatus: install ok installed\nArchitecture: amd64\n";
    let list = "/etc/default/redis\n/etc/init.d/redis\n/etc/redis\n/etc/redis/redis.conf\n/lib/systemd/system/redis.service\n\
                /usr/bin/redis\n/var/lib\n/var/lib/redis-data\n/var/lib/redis-data/seed\n";
    let postinst = "adduser --system redis\nlist=1\nchown redis /var/lib/redis\n";
    let files: [(&str, &str, u32, u32); 16] = [
        (
            "/etc/passwd",
            "root:x:0:0::/root:/bin/sh\nlist:x:38:38::/:/bin/sh\nredis:x:102:104:Redis,,,:/var/lib/redis:/usr/sbin/nologin\n",
            0,
            0o644,
        ),
        ("/etc/group", "root:x:0:\nadm:x:4:\nssl-cert:x:9:redis\nredis:x:104:\n", 0, 0o644),
        ("/var/lib/dpkg/status", status, 0, 0o644),
        ("/var/lib/dpkg/info/redis.list", list, 0, 0o644),
        ("/var/lib/dpkg/info/redis.postinst", postinst, 0, 0o755),
        ("/var/lib/dpkg/info/other.list", "/etc/other/other.conf\n", 0, 0o644),
        ("/etc/other/other.conf", "x", 0, 0o644),
        ("/etc/default/redis", "A=b", 0, 0o644),
        ("/etc/init.d/redis", "x", 0, 0o755),
        ("/etc/redis/redis.conf", "dir /var/lib/redis\n", 102, 0o640),
        ("/etc/redis/made.conf", "made by a script", 0, 0o644),
        ("/etc/redis/made.conf.dpkg-old", "x", 0, 0o644),
        ("/etc/redis/key.pem", "-----BEGIN PRIVATE KEY-----\n", 102, 0o600),
        ("/etc/redis/key.pem.pub", "x", 0, 0o644),
        ("/var/lib/redis/dump/1", "data", 102, 0o644),
        ("/var/lib/redis-data/seed", "seed", 0, 0o644),
    ];
    for (path, text, uid, mode) in files {
        let mut node = Node::file(mode, text);
        node.meta.uid = uid;
        tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
    }
    let owned = [("/var/lib/redis", 0o750), ("/var/lib/redis/dump", 0o700), ("/var/log/redis", 0o2750)];
    for (path, mode) in owned {
        let mut meta = Meta::with_mode(mode);
        (meta.uid, meta.gid) = (102, if path.contains("log") { 4 } else { 104 });
        tree.insert_all(path.parse().unwrap(), Node { meta, kind: Kind::Dir }, &Meta::dir()).unwrap();
    }
    let link = Node::symlink("/etc/alternatives/x.conf");
    tree.insert_all("/etc/redis/x.conf".parse().unwrap(), link, &Meta::dir()).unwrap();
    let link = Node::symlink("/etc/redis/redis.conf");
    tree.insert_all("/etc/alternatives/x.conf".parse().unwrap(), link, &Meta::dir()).unwrap();
    tree.insert_all(
        "/lib/systemd/system/redis.service".parse().unwrap(),
        Node::file(0o644, UNIT),
        &Meta::dir(),
    )
    .unwrap();
    tree.insert_all("/usr/bin/redis".parse().unwrap(), Node::file(0o755, "x"), &Meta::dir()).unwrap();
    tree
}

const UNIT: &str = "[Service]\nUser=redis\nSupplementaryGroups=extra\nEnvironmentFile=/etc/default/redis\n\
                    ExecStart=/usr/bin/redis /etc/redis/redis.conf\nPIDFile=/run/redis/redis.pid\n\
                    [Install]\nWantedBy=multi-user.target\n";

fn extension(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::default();
    for (path, text) in files {
        tree.insert_all(path.parse().unwrap(), Node::file(0o755, *text), &Meta::dir()).unwrap();
    }
    tree
}

const PLACE: &str = "/usr/lib/systemd/system/redis.service";

fn inventory() -> Inventory {
    let paths: BTreeSet<TreePath> = ["/usr/bin/redis".parse().unwrap()].into();
    Inventory::read(&image(), &paths).unwrap()
}

fn options() -> Options<'static> {
    static NONE: BTreeSet<TreePath> = BTreeSet::new();
    static UNMOVED: Moved = Moved { programs: BTreeMap::new(), dirs: BTreeMap::new() };
    Options {
        sees_host: &|_| true,
        etc: Etc::Factory,
        numbers: false,
        contents: false,
        named: &NONE,
        without_units: WithoutUnits::Nothing,
        root: None,
        moved: &UNMOVED,
    }
}

fn text(tree: &Tree, path: &str) -> String {
    let content = tree.get(&path.parse().unwrap()).unwrap_or_else(|| panic!("{path}")).content().unwrap();
    String::from_utf8(content.read(1 << 20).unwrap()).unwrap()
}

const SYSUSERS: &str = "/usr/lib/sysusers.d/r-setup.conf";
const TMPFILES: &str = "/usr/lib/tmpfiles.d/r-setup.conf";

#[test]
fn what_a_service_gets() {
    let mut tree = extension(&[(PLACE, UNIT), ("/usr/bin/redis", "x")]);
    let needs = Needs::new(&inventory(), &tree, options()).unwrap();
    needs.write(&mut tree, &"r".parse().unwrap()).unwrap();
    assert_eq!(
        text(&tree, SYSUSERS),
        "# Users of r.\ng extra -\ng ssl-cert -\nu redis - Redis /var/lib/redis /usr/sbin/nologin\nm redis ssl-cert\n"
    );
    assert_eq!(
        text(&tree, TMPFILES),
        "# State of r.\n\
         d /run/redis :0755 :redis :root -\n\
         d /var/lib/redis :0750 :redis :redis -\n\
         d /var/lib/redis-data :0755 :root :root -\n\
         d /var/log/redis :2750 :redis :adm -\n\
         C /etc/default/redis :0644 :root :root - /usr/share/factory/r/etc/default/redis\n\
         d /etc/redis :0755 :root :root -\n\
         C /etc/redis/made.conf :0644 :root :root - /usr/share/factory/r/etc/redis/made.conf\n\
         C /etc/redis/redis.conf :0640 :redis :root - /usr/share/factory/r/etc/redis/redis.conf\n\
         L /etc/redis/x.conf - - - - /etc/redis/redis.conf\n"
    );
    assert_eq!(text(&tree, "/usr/share/factory/r/etc/redis/redis.conf"), "dir /var/lib/redis\n");
    let drop_in = "/usr/lib/systemd/system/redis.service.d/10-r-setup.conf";
    assert_eq!(text(&tree, drop_in), "[Unit]\nWants=r-setup.service\nAfter=r-setup.service\n");
    let unit = text(&tree, "/usr/lib/systemd/system/r-setup.service");
    assert!(unit.contains("ExecStart=systemd-sysusers r-setup.conf\n"), "{unit}");
    let shown = |paths: Vec<&TreePath>| paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(shown(needs.secrets.iter().collect()), "/etc/redis/key.pem");
    assert_eq!(shown(needs.left_out.iter().collect()), "/var/lib/redis-data/seed");
    assert_eq!(needs.made, [("/var/lib/redis".parse().unwrap(), 1)].into());
}

#[test]
fn what_the_extension_makes_itself_is_not_made_twice() {
    let mut tree = extension(&[
        (PLACE, UNIT),
        ("/usr/lib/sysusers.d/own.conf", "u redis -\ng extra -\n"),
        ("/usr/lib/tmpfiles.d/own.conf", "d /run/redis\nd /var/lib/redis 0700 redis redis\n"),
    ]);
    let needs = Needs::new(&inventory(), &tree, options()).unwrap();
    needs.write(&mut tree, &"r".parse().unwrap()).unwrap();
    assert!(!tree.contains(&SYSUSERS.parse().unwrap()));
    let made = text(&tree, TMPFILES);
    assert!(!made.contains("/run/redis") && !made.contains("/var/lib/redis :"), "{made}");
    let unit = text(&tree, "/usr/lib/systemd/system/r-setup.service");
    assert!(unit.contains("ExecStart=systemd-sysusers own.conf\n"), "{unit}");
    assert!(unit.contains("ExecStart=systemd-tmpfiles --create own.conf r-setup.conf\n"), "{unit}");
}

#[test]
fn what_a_merge_does_not_apply_is_applied() {
    let late = [
        ("/usr/lib/modules-load.d/r.conf", "bridge\n"),
        ("/usr/lib/sysctl.d/60-r.conf", "net.ipv4.ip_forward=1\n"),
        ("/usr/lib/binfmt.d/r.conf", ":r:M::r::/usr/bin/r:\n"),
        ("/usr/lib/udev/rules.d/60-r.rules", "SUBSYSTEM==\"block|net\", RUN+=\"x\"\n"),
        ("/usr/share/dbus-1/system.d/r.conf", "<busconfig/>\n"),
    ];
    let applied = "ExecStart=-/usr/lib/systemd/systemd-modules-load r.conf\n\
                   ExecStart=-/usr/lib/systemd/systemd-sysctl 60-r.conf\n\
                   ExecStart=-/usr/lib/systemd/systemd-binfmt r.conf\n\
                   ExecStart=-sh -c '[ \"$$(cat /usr/lib/udev/rules.d/60-r.rules)\" = \"$$(cat /run/r-setup.rules 2>/dev/null)\" ] || \
                   { udevadm control --reload && udevadm trigger --action=change && \
                   cat /usr/lib/udev/rules.d/60-r.rules >/run/r-setup.rules; }'\n\
                   ExecStart=-busctl call ";
    let setup = "/usr/lib/systemd/system/r-setup.service";
    let drop_in = "/usr/lib/systemd/system/multi-user.target.d/10-r-setup.conf";
    let name = "r".parse().unwrap();

    let mut tree = extension(&late);
    Needs::new(&inventory(), &tree, options()).unwrap().write(&mut tree, &name).unwrap();
    let unit = text(&tree, setup);
    assert!(unit.contains(applied) && unit.ends_with("RemainAfterExit=yes\n"), "{unit}");
    assert_eq!(text(&tree, drop_in), "[Unit]\nUpholds=r-setup.service\n");
    assert_eq!(upheld(&tree, &name).as_deref(), Some("r-setup.service"));

    // Where a service waits for it, it is run before each start.
    let mut tree = extension(&[&late[..], &[(PLACE, UNIT)]].concat());
    Needs::new(&inventory(), &tree, options()).unwrap().write(&mut tree, &name).unwrap();
    let unit = text(&tree, setup);
    assert!(unit.contains(applied) && !unit.contains("RemainAfterExit"), "{unit}");
    assert_eq!(upheld(&tree, &name), None);

    // What no command applies makes no service, which would start nothing.
    for file in [("/usr/bin/r", "x"), ("/usr/lib/udev/hwdb.d/60-r.hwdb", "usb:*\n")] {
        let mut tree = extension(&[file]);
        Needs::new(&inventory(), &tree, options()).unwrap().write(&mut tree, &name).unwrap();
        assert!(!tree.contains(&setup.parse().unwrap()), "{file:?}");
    }
}

#[test]
fn devices_that_are_there_get_new_rules() {
    for (rules, expected) in [
        (
            "SUBSYSTEM==\"mem\", KERNEL==\"null\"\n# x\nKERNEL==\"a\", SUBSYSTEM==\"net\"\n",
            " --subsystem-match=mem --subsystem-match=net",
        ),
        ("SUBSYSTEM==\"mem\"\nKERNEL==\"a\"\n", ""),
        ("SUBSYSTEMS==\"usb\"\n", ""),
        (
            "ACTION==\"remove\", GOTO=\"end\"\nSUBSYSTEM!=\"net\", GOTO=\"end\"\nKERNEL==\"a\", NAME=\"b\"\nLABEL=\"end\"\n",
            " --subsystem-match=net",
        ),
        ("SUBSYSTEM!=\"net\", GOTO=\"end\"\nKERNEL==\"a\"\nLABEL=\"end\"\nKERNEL==\"c\"\n", ""),
        ("SUBSYSTEM==\"mem|x y\"\n", ""),
    ] {
        let mut tree = extension(&[(PLACE, UNIT), ("/usr/lib/udev/rules.d/60-r.rules", rules)]);
        Needs::new(&inventory(), &tree, options()).unwrap().write(&mut tree, &"r".parse().unwrap()).unwrap();
        let unit = text(&tree, "/usr/lib/systemd/system/r-setup.service");
        assert!(unit.contains(&format!("udevadm trigger --action=change{expected} &&")), "{rules}: {unit}");
    }
}

#[test]
fn what_was_asked_for() {
    let mut tree = extension(&[(PLACE, UNIT)]);
    let all = Options { numbers: true, contents: true, ..options() };
    let needs = Needs::new(&inventory(), &tree, all).unwrap();
    needs.write(&mut tree, &"r".parse().unwrap()).unwrap();
    assert!(text(&tree, SYSUSERS).contains("u redis 102 Redis"), "{}", text(&tree, SYSUSERS));
    assert!(
        text(&tree, TMPFILES)
            .contains("C /var/lib/redis-data/seed :0644 :root :root - /usr/share/factory/r/var/")
    );

    // Programs of a private root see the image's files; systemd reads those that units name.
    let mut tree = extension(&[(PLACE, UNIT)]);
    let sees = |p: &TreePath| p.starts_with(&"/var".parse().unwrap());
    let needs = Needs::new(&inventory(), &tree, Options { sees_host: &sees, ..options() }).unwrap();
    needs.write(&mut tree, &"r".parse().unwrap()).unwrap();
    let made = text(&tree, TMPFILES);
    assert!(made.contains("C /etc/default/redis") && made.contains("C /etc/redis/redis.conf"), "{made}");
    // With the image's users, they can read all of it there.
    let with_numbers = Options { sees_host: &sees, numbers: true, ..options() };
    let made = Needs::new(&inventory(), &tree, with_numbers).unwrap().configuration;
    assert_eq!(made.len(), 1, "{made:?}");

    let tree = extension(&[("/usr/bin/redis", "x")]);
    assert!(Needs::new(&inventory(), &tree, options()).unwrap().is_empty());
    let of = |without_units| Needs::new(&inventory(), &tree, Options { without_units, ..options() }).unwrap();
    let state = of(WithoutUnits::State);
    assert!(!state.state.is_empty() && state.configuration.is_empty() && state.units.is_empty());
    let everything = of(WithoutUnits::Everything);
    assert!(!everything.state.is_empty() && everything.units.is_empty());
    let made: Vec<String> = everything.configuration.iter().map(|c| c.path.to_string()).collect();
    assert_eq!(made, ["/etc/redis", "/etc/redis/made.conf", "/etc/redis/redis.conf", "/etc/redis/x.conf"]);

    let mut confext_needs = Needs::new(&inventory(), &extension(&[(PLACE, UNIT)]), options()).unwrap();
    let image = confext(&confext_needs, &"r".parse().unwrap(), 7).unwrap().unwrap();
    assert_eq!(text(&image, "/etc/extension-release.d/extension-release.r"), "ID=_any\n");
    assert_eq!(image.get(&"/etc/redis/redis.conf".parse().unwrap()).unwrap().meta.uid, 102);
    confext_needs.configuration.clear();
    assert!(confext(&confext_needs, &"r".parse().unwrap(), 7).unwrap().is_none());
}

/// The copies that hosts get are of use to programs that flix has moved.
#[test]
fn configuration_names_programs_where_the_extension_has_them() {
    let mut image = image();
    let text = "# /usr/sbin/helper\ndir /usr/sbin\nhelper = /usr/sbin/helper\nother ${X}/usr/sbin/helper\n";
    image.remove(&"/etc/redis/redis.conf".parse().unwrap());
    image
        .insert_all("/etc/redis/redis.conf".parse().unwrap(), Node::file(0o640, text), &Meta::dir())
        .unwrap();
    let inventory = Inventory::read(&image, [&"/usr/bin/redis".parse().unwrap()]).unwrap();
    let pairs = |old: &str, new: &str| BTreeMap::from([(old.to_owned(), new.parse().unwrap())]);
    let moved = Moved {
        programs: pairs("/usr/sbin/helper", "/usr/bin/helper"),
        dirs: pairs("/usr/sbin", "/usr/bin"),
    };
    let mut tree = extension(&[("/usr/lib/systemd/system/redis.service", UNIT)]);
    let needs = Needs::new(&inventory, &tree, Options { moved: &moved, ..options() }).unwrap();
    needs.write(&mut tree, &"r".parse().unwrap()).unwrap();
    assert_eq!(
        self::text(&tree, "/usr/share/factory/r/etc/redis/redis.conf"),
        "# /usr/sbin/helper\ndir /usr/bin\nhelper = /usr/bin/helper\nother ${X}/usr/sbin/helper\n"
    );
    let lines: Vec<String> =
        needs.unfollowed.iter().map(|(p, n, old, new)| format!("{p} {n} {old} {new}")).collect();
    assert_eq!(lines, ["/etc/redis/redis.conf 4 /usr/sbin/helper /usr/bin/helper"]);
    assert_eq!(needs.followed.into_keys().collect::<Vec<_>>(), ["/etc/redis/redis.conf".parse().unwrap()]);
}

/// An entry point's script names each file of /etc, and is no part of the image.
#[test]
fn scripts_of_a_private_root_are_the_images() {
    let mut image = image();
    let texts = [("/etc/other/own.conf", "x"), ("/etc/backup-of-passwd", "/var/lib/redis-data\n")];
    for (path, text) in texts {
        image.insert_all(path.parse().unwrap(), Node::file(0o644, text), &Meta::dir()).unwrap();
    }
    let inventory = Inventory::read(&image, [&"/usr/bin/redis".parse().unwrap()]).unwrap();
    let root: TreePath = "/usr/lib/flatwrap/r".parse().unwrap();
    let tree = extension(&[
        ("/usr/lib/systemd/system/redis.service", "[Service]\nExecStart=/usr/bin/start\n"),
        ("/usr/bin/start", "#!/bin/sh\n. /etc/backup-of-passwd\n"),
        ("/usr/lib/flatwrap/r/usr/sbin/start", "#!/bin/sh\n. /etc/other/own.conf\n"),
    ]);
    let configuration = |root| -> Vec<String> {
        let needs = Needs::new(&inventory, &tree, Options { root, ..options() }).unwrap();
        needs.configuration.iter().map(|c| c.path.to_string()).filter(|p| !p.contains("redis")).collect()
    };
    assert_eq!(configuration(None), ["/etc/backup-of-passwd"]);
    assert_eq!(configuration(Some(&root)), ["/etc/other/own.conf"]);
}

/// A directory of the image that programs write has to be the host's, and then all that is in it.
#[test]
fn configuration_that_is_written_is_the_hosts() {
    let none = |_: &TreePath| false;
    let all = "/etc/redis /etc/redis/made.conf /etc/redis/redis.conf /etc/redis/x.conf";
    let etc = |inventory: &Inventory, unit: &str| {
        let mut tree = extension(&[(PLACE, unit)]);
        let needs = Needs::new(inventory, &tree, Options { sees_host: &none, ..options() }).unwrap();
        needs.write(&mut tree, &"r".parse().unwrap()).unwrap();
        let got: Vec<String> = needs.configuration.iter().map(|c| c.path.to_string()).collect();
        got.join(" ")
    };
    let plain = UNIT.replace("EnvironmentFile=/etc/default/redis\n", "");
    // Only its owner may read redis.conf, and the owner's number is another one on the host.
    assert_eq!(etc(&inventory(), &plain), all);
    let mut image = image();
    image.insert("/etc/redis/redis.conf".parse().unwrap(), Node::file(0o644, "x")).unwrap();
    let open = Inventory::read(&image, &["/usr/bin/redis".parse().unwrap()]).unwrap();
    for (more, expected) in [
        ("", ""),
        (
            "ConfigurationDirectory=redis:link other\n",
            "/etc/other /etc/other/other.conf /etc/redis /etc/redis/made.conf /etc/redis/redis.conf /etc/redis/x.conf",
        ),
        ("ReadWritePaths=/var/lib/redis -/etc/other\n", "/etc/other /etc/other/other.conf"),
        (
            "EnvironmentFile=/etc/other/other.conf\nEnvironmentFile=-/etc/redis/none\n",
            "/etc/other /etc/other/other.conf",
        ),
        ("EnvironmentFile=/etc/default/redis\n", "/etc/default/redis"),
        ("ReadWritePaths=-/etc/systemd /etc/%p +/etc\n", ""),
    ] {
        let unit = UNIT.replace("EnvironmentFile=/etc/default/redis\n", more);
        assert_eq!(etc(&open, &unit), expected, "{more}");
    }
}

#[test]
fn units_that_start_by_themselves() {
    let name = "r".parse().unwrap();
    for (unit, expected) in [
        ("redis.service", "multi-user.target.d/10-r-redis-service.conf"),
        ("x@1.service", "multi-user.target.d/10-r-x@1-service.conf"),
        ("y.timer", "timers.target.d/10-r-y-timer.conf"),
        ("z.socket", "multi-user.target.d/10-r-z-socket.conf"),
    ] {
        let mut tree = extension(&[
            (PLACE, UNIT),
            ("/usr/lib/systemd/system/x@.service", "[Install]\nWantedBy=graphical.target\n"),
            ("/usr/lib/systemd/system/y.timer", ""),
            ("/usr/lib/systemd/system/z.socket", "[Install]\nWantedBy=multi-user.target\n"),
        ]);
        enable(&mut tree, &name, unit).unwrap();
        assert_eq!(
            text(&tree, &format!("/usr/lib/systemd/system/{expected}")),
            format!("[Unit]\nUpholds={unit}\n")
        );
    }
    let mut tree = extension(&[(PLACE, UNIT), ("/usr/lib/systemd/system/x@.service", "")]);
    for (unit, message) in [
        ("gone.service", "unit gone.service is not in the extension"),
        ("x@.service", "unit x@.service is a template, expected an instance such as \"x@1.service\""),
        ("../x.service", "unit \"../x.service\" is invalid, expected a name such as \"x.service\""),
    ] {
        assert_eq!(enable(&mut tree, &name, unit).unwrap_err().to_string(), message);
    }
}

/// As `systemctl enable` does.
#[test]
fn units_that_are_enabled_with_others() {
    let unit = "[Install]\nWantedBy=multi-user.target\nAlias=dbus-org.r.service sshd.service x.socket ../y.service\n\
                Also=r.socket r.service gone.socket\n";
    let mut tree = extension(&[
        ("/usr/lib/systemd/system/r.service", unit),
        ("/usr/lib/systemd/system/r.socket", "[Install]\nWantedBy=sockets.target\nAlso=r.service\n"),
        ("/usr/lib/systemd/system/sshd.service", ""),
    ]);
    let got = enable(&mut tree, &"r".parse().unwrap(), "r.service").unwrap();
    let aliases = vec!["dbus-org.r.service".to_owned()];
    let expected = [
        Enabled { unit: "r.service".to_owned(), aliases },
        Enabled { unit: "r.socket".to_owned(), aliases: Vec::new() },
    ];
    assert_eq!(got, expected);
    let units = "/usr/lib/systemd/system";
    let drop_in = text(&tree, &format!("{units}/sockets.target.d/10-r-r-socket.conf"));
    assert_eq!(drop_in, "[Unit]\nUpholds=r.socket\n");
    let link = tree.get(&format!("{units}/dbus-org.r.service").parse().unwrap()).unwrap();
    assert_eq!(link.symlink_target(), Some(&b"r.service"[..]));
}

/// Directories that scripts make for root, for a group, and below those of root: varnish, samba.
#[test]
fn state_of_scripts() {
    let mut image = image();
    let group = "root:x:0:\nadm:x:4:\nredis:x:104:\nshare:x:105:\nlpadmin:x:106:\n";
    image.insert("/etc/group".parse().unwrap(), Node::file(0o644, group)).unwrap();
    let postinst =
        "addgroup --system lpadmin\nmkdir -p /var/lib/plain\nchgrp share /var/lib/redis-data/shares\n";
    let path = "/var/lib/dpkg/info/redis.postinst".parse().unwrap();
    image.insert(path, Node::file(0o755, postinst)).unwrap();
    for (path, uid, gid) in [
        ("/var/lib/plain", 0, 0),
        ("/var/lib/foreign", 0, 0),
        ("/var/lib/outer/inner", 102, 104),
        ("/var/lib/redis-data/shares", 0, 105),
    ] {
        let mut node = Node { meta: Meta::dir(), kind: Kind::Dir };
        (node.meta.uid, node.meta.gid) = (uid, gid);
        image.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
    }
    let inventory = Inventory::read(&image, &["/usr/bin/redis".parse().unwrap()]).unwrap();
    let mut tree = extension(&[(PLACE, UNIT)]);
    Needs::new(&inventory, &tree, options()).unwrap().write(&mut tree, &"r".parse().unwrap()).unwrap();
    let lines = text(&tree, TMPFILES);
    for line in [
        "d /var/lib/plain :0755 :root :root -",
        "d /var/lib/outer :0755 :root :root -",
        "d /var/lib/outer/inner :0755 :redis :redis -",
        "d /var/lib/redis-data/shares :0755 :root :share -",
    ] {
        assert!(lines.contains(&format!("{line}\n")), "{line}: {lines}");
    }
    assert!(!lines.contains("foreign"), "{lines}");
    let users = text(&tree, SYSUSERS);
    assert!(users.contains("g lpadmin -\ng share -\n"), "{users}");
}

#[test]
fn an_empty_directory_is_nobodys() {
    let mut image = image();
    let list = Node::file(0o644, "/etc/other/other.conf\n/etc/shared\n");
    image.insert("/var/lib/dpkg/info/other.list".parse().unwrap(), list).unwrap();
    let dir = Node { meta: Meta::dir(), kind: Kind::Dir };
    image.insert_all("/etc/shared".parse().unwrap(), dir, &Meta::dir()).unwrap();
    let paths = ["/usr/bin/redis", "/etc/shared"].map(|path| path.parse().unwrap());
    let inventory = Inventory::read(&image, &paths).unwrap();
    assert_eq!(inventory.packages().collect::<Vec<_>>(), ["redis"]);
}

/// apache2's mime.types belongs to another package.
#[test]
fn configuration_that_configuration_names() {
    let mut image = image();
    for (path, text) in [
        ("/etc/redis/made.conf", "TypesConfig /etc/mime.types\n# x /etc/commented\nuser /etc/passwd\n"),
        ("/etc/redis/sites-available/x", "y /etc/unread\n"),
        ("/etc/redis/sites-available/chosen", "y /etc/read\n"),
        ("/etc/mime.types", "x"),
        ("/etc/read", "x"),
        ("/etc/commented", "x"),
        ("/etc/unread", "x"),
    ] {
        image.insert_all(path.parse().unwrap(), Node::file(0o644, text), &Meta::dir()).unwrap();
    }
    let link = Node::symlink("../sites-available/chosen");
    image.insert_all("/etc/redis/sites-enabled/1".parse().unwrap(), link, &Meta::dir()).unwrap();
    let inventory = Inventory::read(&image, &["/usr/bin/redis".parse().unwrap()]).unwrap();
    let needs = Needs::new(&inventory, &extension(&[(PLACE, UNIT)]), options()).unwrap();
    let has = |path: &str| needs.configuration.iter().any(|c| c.path.to_string() == path);
    assert!(has("/etc/mime.types") && has("/etc/read") && has("/etc/redis/sites-available/x"));
    assert!(!has("/etc/commented") && !has("/etc/unread") && !has("/etc/passwd"));
}

/// Keys and words that each host has to have of its own, and can make.
#[test]
fn keys_that_hosts_make() {
    let mut image = image();
    let snakeoil = "/etc/ssl/private/ssl-cert-snakeoil.key";
    let list = "/etc/bind\n/etc/nsd\n/etc/redis\n/lib/systemd/system/redis.service\n/usr/bin/redis\n";
    for (path, text, mode) in [
        ("/var/lib/dpkg/info/redis.list", list, 0o644),
        (snakeoil, "-----BEGIN PRIVATE KEY-----\n", 0o640),
        ("/etc/ssl/private/unused.key", "-----BEGIN PRIVATE KEY-----\n", 0o640),
        ("/etc/redis/secret", "b1946ac9\n", 0o600),
        ("/etc/redis/control.key", "-----BEGIN PRIVATE KEY-----\n", 0o600),
        ("/etc/redis/control.pem", "x", 0o644),
        ("/etc/nsd/nsd_server.key", "-----BEGIN PRIVATE KEY-----\n", 0o600),
        ("/etc/nsd/nsd_control.key", "-----BEGIN PRIVATE KEY-----\n", 0o600),
        ("/etc/ssl/certs/x.pem", "x", 0o644),
        ("/etc/bind/rndc.key", "secret \"x==\";\n", 0o640),
        ("/etc/redis/sites-available/tls", "key /etc/ssl/private/unused.key\n", 0o644),
    ] {
        image.insert_all(path.parse().unwrap(), Node::file(mode, text), &Meta::dir()).unwrap();
    }
    let link = Node::symlink(snakeoil);
    image.insert_all("/etc/redis/tls.key".parse().unwrap(), link, &Meta::dir()).unwrap();
    let inventory = Inventory::read(&image, &["/usr/bin/redis".parse().unwrap()]).unwrap();
    let programs = [
        (PLACE, UNIT),
        ("/usr/bin/openssl", ""),
        ("/usr/bin/rndc-confgen", ""),
        ("/usr/bin/nsd-control-setup", ""),
    ];
    let mut tree = extension(&programs);
    let needs = Needs::new(&inventory, &tree, options()).unwrap();
    needs.write(&mut tree, &"r".parse().unwrap()).unwrap();
    let setup = text(&tree, "/usr/lib/systemd/system/r-setup.service");
    for line in [
        "[ -e /etc/nsd/nsd_server.key ] || exec /usr/bin/nsd-control-setup'",
        "[ -e /etc/bind/rndc.key ] || exec /usr/bin/rndc-confgen -a -u root'",
        "[ -e /etc/redis/secret ] || exec install -m 600 -o root -g root /proc/sys/kernel/random/uuid /etc/redis/secret'",
        "|| exec /usr/bin/openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=%H",
    ] {
        assert!(setup.contains(line), "{line}: {setup}");
    }
    let secrets: Vec<String> = needs.secrets.iter().map(TreePath::to_string).collect();
    assert_eq!(secrets.join(" "), "/etc/redis/control.key /etc/redis/key.pem");
    let made = text(&tree, TMPFILES);
    assert!(!made.contains("control.pem") && made.contains("d /etc/ssl/certs :0755"), "{made}");
    // Behind an entry point that doesn't hide the host's.
    let hostile = "/usr/libexec/a'; touch x; '/usr/bin/openssl";
    let behind = extension(&[(PLACE, UNIT), (hostile, ""), ("/usr/libexec/r/usr/bin/openssl", "")]);
    let needs_of_root = Needs::new(&inventory, &behind, options()).unwrap();
    let commands: Vec<&str> = needs_of_root.first_starts.iter().map(|c| c.command[0].as_str()).collect();
    assert!(commands.contains(&"/usr/libexec/r/usr/bin/openssl"), "{commands:?}");
    // No name becomes a part of a shell's command.
    let needs_of_root =
        Needs::new(&inventory, &extension(&[(PLACE, UNIT), (hostile, "")]), options()).unwrap();
    assert!(needs_of_root.secrets.contains(&snakeoil.parse().unwrap()), "{:?}", needs_of_root.secrets);
    // Without the programs, nothing makes them.
    let tree = extension(&programs[..1]);
    let needs = Needs::new(&inventory, &tree, options()).unwrap();
    assert_eq!(needs.secrets.len(), 6, "{:?}", needs.secrets);
}

/// The files of /etc that come with a service beside its extension, also those that scripts made.
#[test]
fn files_that_come_with_services() {
    let files = inventory().files(&BTreeSet::new()).unwrap();
    for path in ["/etc/redis/redis.conf", "/etc/redis/made.conf"] {
        assert!(files.contains(&path.parse().unwrap()), "{files:?}");
    }
}

/// Whatever is in an image's texts, nothing panics, and no line of a generated file is another's.
#[test]
fn hostile_names() {
    let mut image = image();
    let passwd = "a b:x:1:1::/:/\nredis:x:102:104:Re\"dis %n:/var/\\lib:/bin/sh\n:::::::\nx:x:y:z:::\n";
    image.insert("/etc/passwd".parse().unwrap(), Node::file(0o644, passwd)).unwrap();
    let odd = TreePath::new(b"/etc/redis/a b\nd /evil %\xff".as_slice()).unwrap();
    image.insert_all(odd, Node::file(0o644, "x"), &Meta::dir()).unwrap();
    let inventory = Inventory::read(&image, &["/usr/bin/redis".parse().unwrap()]).unwrap();
    let mut tree = extension(&[(PLACE, UNIT)]);
    Needs::new(&inventory, &tree, options()).unwrap().write(&mut tree, &"r".parse().unwrap()).unwrap();
    let users = text(&tree, SYSUSERS);
    assert!(users.contains("u redis - \"Re\\\"dis %%n\" \"/var/\\\\lib\" /bin/sh\n"), "{users}");
    let content = tree.get(&TMPFILES.parse().unwrap()).unwrap().content().unwrap().read(1 << 20).unwrap();
    let lines: Vec<&[u8]> = content.split(|&b| b == b'\n').filter(|l| l.starts_with(b"d /evil")).collect();
    assert!(lines.is_empty());
    // systemd-tmpfiles(8) doesn't unquote the last column.
    let copy = b" - /usr/share/factory/r/etc/redis/a\\x20b\\x0ad\\x20/evil\\x20%%\xff\n";
    assert!(content.windows(copy.len()).any(|w| w == copy), "{}", String::from_utf8_lossy(&content));
}

#[test]
fn groups_with_one_number_and_groups_of_administrators() {
    let mut image = image();
    let groups = "root:x:0:\nweb:x:104:\naaa:x:104:\nsudo:x:27:redis\nssl-cert:x:9:redis\n";
    image.insert("/etc/group".parse().unwrap(), Node::file(0o644, groups)).unwrap();
    // A set-id bit never reaches a host, nor does a home that is no path.
    let passwd = "redis:x:102:104::var/lib:/bin/sh\n";
    image.insert("/etc/passwd".parse().unwrap(), Node::file(0o644, passwd)).unwrap();
    image.insert("/etc/redis/made.conf".parse().unwrap(), Node::file(0o4755, "x")).unwrap();
    let inventory = Inventory::read(&image, &["/usr/bin/redis".parse().unwrap()]).unwrap();
    let mut tree = extension(&[(PLACE, UNIT)]);
    Needs::new(&inventory, &tree, options()).unwrap().write(&mut tree, &"r".parse().unwrap()).unwrap();
    let users = text(&tree, SYSUSERS);
    assert!(users.contains("u redis -:web - - /bin/sh\n") && users.contains("g web -\n"), "{users}");
    assert!(users.contains("m redis ssl-cert\n") && !users.contains("sudo"), "{users}");
    let content = tree.get(&TMPFILES.parse().unwrap()).unwrap().content().unwrap().read(1 << 20).unwrap();
    let files = String::from_utf8_lossy(&content);
    assert!(files.contains("C /etc/redis/made.conf :0755 :root :root"), "{files}");
}
