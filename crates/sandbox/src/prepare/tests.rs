use super::*;
use store::Digest;

type File<'a> = (&'a str, Node);

fn tree(nodes: &[File]) -> Tree {
    let mut tree = Tree::default();
    for (path, node) in nodes {
        tree.insert_all(path.parse().unwrap(), node.clone(), &Meta::dir()).unwrap();
    }
    tree
}

fn prepared(nodes: &[File], mode: Mode) -> Prepared {
    let files = vec![("/etc/resolv.conf", b"nameserver 127.0.0.53\n".to_vec())];
    prepare(&tree(nodes), &Run::shell("true"), mode, &[], files, false).unwrap()
}

fn text(paths: &[Vec<u8>]) -> Vec<&str> {
    paths.iter().map(|p| std::str::from_utf8(p).unwrap()).collect()
}

#[test]
fn mount_points_are_what_they_should_be_whatever_the_image_has() {
    let p = prepared(
        &[
            ("/dev", Node::symlink("/host/dev")),
            ("/proc/sys/planted", Node::file(0o644, "x")),
            ("/run/lock", Node::dir()),
            ("/etc/resolv.conf", Node::symlink("../run/systemd/resolve/stub-resolv.conf")),
        ],
        Mode::Root,
    );
    insta::assert_snapshot!(p.tree.dump(), @r#"
    / dir 0755 0:0
    /dev dir 0755 0:0
    /etc dir 0755 0:0
    /etc/resolv.conf file 0644 0:0 0 ""
    /proc dir 0755 0:0
    /run dir 0755 0:0
    /run/lock dir 0755 0:0
    /sys dir 0755 0:0
    "#);
    let ignored: Vec<&str> =
        ["proc", "dev", "sys", "run"].iter().chain(RECORDS).chain(&["etc/resolv.conf"]).copied().collect();
    assert_eq!(text(&p.go.ignored), ignored);
    assert_eq!(p.go.files[0].0, b"etc/resolv.conf");
}

#[test]
fn resolv_conf_follows_etc() {
    let rows: &[(&str, &[File], Option<&str>)] = &[
        ("no /etc", &[], Some("etc/resolv.conf")),
        ("a file", &[("/etc/resolv.conf", Node::file(0o600, "x"))], Some("etc/resolv.conf")),
        ("a directory", &[("/etc/resolv.conf/x", Node::dir())], Some("etc/resolv.conf")),
        (
            "/etc elsewhere",
            &[("/etc", Node::symlink("usr/etc")), ("/usr/etc", Node::dir())],
            Some("usr/etc/resolv.conf"),
        ),
        (
            "/etc out of the root",
            &[("/etc", Node::symlink("../../../x")), ("/x", Node::dir())],
            Some("x/resolv.conf"),
        ),
        ("/etc nowhere", &[("/etc", Node::symlink("none"))], None),
        ("/etc a file", &[("/etc", Node::file(0o644, ""))], None),
        ("/etc a loop", &[("/etc", Node::symlink("etc"))], None),
    ];
    for (name, nodes, expected) in rows {
        let p = prepared(nodes, Mode::Root);
        let got = p.go.files.first().map(|f| String::from_utf8(f.0.clone()).unwrap());
        assert_eq!(got.as_deref(), *expected, "{name}");
        if let Some(path) = expected {
            assert!(p.tree.get(&path.parse().unwrap()).unwrap().is_file(), "{name}");
        }
    }
}

#[test]
fn services_are_kept_from_starting() {
    let dpkg = ("/var/lib/dpkg/status", Node::file(0o644, ""));
    let sbin = ("/usr/sbin", Node::dir());
    let own = ("/usr/sbin/policy-rc.d", Node::file(0o755, "own"));
    let rows: &[(&str, &[File], &[&str])] = &[
        ("no debian", std::slice::from_ref(&sbin), &[]),
        ("debian", &[dpkg.clone(), sbin.clone()], &["usr/sbin/policy-rc.d"]),
        ("a policy of its own", &[dpkg.clone(), own], &[]),
        ("no /usr/sbin", &[dpkg], &[]),
    ];
    for (name, nodes, expected) in rows {
        assert_eq!(text(&prepared(nodes, Mode::Root).go.added), *expected, "{name}");
    }
}

#[test]
fn what_takes_privileges_is_left_to_the_helper() {
    let with = |mut node: Node, uid, gid, mode| {
        (node.meta.uid, node.meta.gid, node.meta.mode) = (uid, gid, mode);
        node
    };
    let mut ping = Node::file(0o755, "ping");
    ping.meta.xattrs.insert(b"security.capability".to_vec(), b"cap".to_vec());
    ping.meta.xattrs.insert(b"security.selinux".to_vec(), b"label".to_vec());
    ping.meta.xattrs.insert(b"trusted.x".to_vec(), b"y".to_vec());
    ping.meta.xattrs.insert(b"user.x".to_vec(), b"y".to_vec());
    let nodes = [
        ("/bin/ping", ping),
        ("/bin/su", with(Node::file(0o755, "su"), 0, 0, 0o4755)),
        ("/etc/shadow", with(Node::file(0o640, ""), 0, 42, 0o640)),
        ("/home/link", with(Node::symlink("x"), 1000, 1000, 0o777)),
    ];
    let p = prepared(&nodes, Mode::Single);
    let seen: Vec<_> =
        p.go.fixups
            .iter()
            .map(|f| {
                let names: Vec<_> = f.xattrs.iter().map(|(n, _)| String::from_utf8_lossy(n)).collect();
                format!(
                    "{} {}:{} {:?} {}",
                    String::from_utf8_lossy(&f.path),
                    f.uid,
                    f.gid,
                    f.mode,
                    names.join(",")
                )
            })
            .collect();
    assert_eq!(
        seen,
        [
            "bin/ping 0:0 Some(493) security.capability",
            "etc/shadow 0:42 Some(416) ",
            "home/link 1000:1000 None "
        ]
    );
    let left: Vec<_> =
        p.tree.get(&"/bin/ping".parse().unwrap()).unwrap().meta.xattrs.keys().cloned().collect();
    assert_eq!(left, [b"user.x".to_vec()]);
    assert!(prepared(&nodes, Mode::Root).go.fixups.is_empty());
}

#[test]
fn environments() {
    let config = Config { env: vec!["PATH=/image/bin".into(), "A=image".into()], ..Config::default() };
    let mut run = Run::shell("true");
    run.env = vec![("A".into(), "run".into()), ("B".into(), "2=3".into())];
    let env: Vec<String> = environment(&config, &run)
        .into_iter()
        .map(|(n, v)| format!("{}={}", n.to_string_lossy(), v.to_string_lossy()))
        .collect();
    assert_eq!(
        env,
        ["HOME=/root", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive", "PATH=/image/bin", "A=run", "B=2=3"]
    );
    let host = |name: &str| matches!(name, "http_proxy" | "NO_PROXY" | "SECRET").then(|| OsString::from("x"));
    let proxies = proxies(host);
    assert_eq!(proxies.iter().map(|p| p.0.to_str().unwrap()).collect::<Vec<_>>(), ["http_proxy", "NO_PROXY"]);
}

#[test]
fn keys_differ_where_results_may() {
    let id = Digest::of("image");
    let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.into(), v.into())).collect::<Vec<_>>();
    let run = |words: &[&str]| Run::new(words.iter().map(OsString::from).collect());
    let base = key(&id, &run(&["a", "b"]), &env(&[("X", "1"), ("Y", "2")]));
    let mut offline = run(&["a", "b"]);
    offline.network = Network::None;
    let others = [
        key(&Digest::of("other"), &run(&["a", "b"]), &env(&[("X", "1"), ("Y", "2")])),
        key(&id, &run(&["a b"]), &env(&[("X", "1"), ("Y", "2")])),
        key(&id, &run(&["a", "b", ""]), &env(&[("X", "1"), ("Y", "2")])),
        key(&id, &run(&["a", "b"]), &env(&[("X", "1")])),
        key(&id, &run(&["a", "b", "X", "1"]), &env(&[("Y", "2")])),
        key(&id, &offline, &env(&[("X", "1"), ("Y", "2")])),
    ];
    for (i, other) in others.iter().enumerate() {
        assert_ne!(*other, base, "{i}");
    }
    let mut same = run(&["a", "b"]);
    (same.mode, same.no_overlay, same.rerun) = (Some(Mode::Single), true, true);
    assert_eq!(key(&id, &same, &env(&[("Y", "2"), ("X", "1")])), base);
}
