use super::*;
use crate::options::Bind;

fn p(text: &str) -> TreePath {
    text.parse().unwrap()
}

fn image() -> Tree {
    let mut tree = Tree::default();
    for dir in ["/usr/bin", "/usr/share/zoneinfo/Etc", "/etc/terminfo/x", "/var/lib", "/var/tmp", "/srv"] {
        tree.make_dirs(&p(dir), &Meta::dir()).unwrap();
    }
    for (link, target) in [("/bin", "usr/bin"), ("/tmp", "var/tmp"), ("/var/run", "/run"), ("/data", "/srv")]
    {
        tree.insert(p(link), Node::symlink(target)).unwrap();
    }
    tree.insert(p("/etc/resolv.conf"), Node::symlink("/run/resolv.conf")).unwrap();
    tree.insert(p("/etc/issue"), Node::file(0o644, "hi")).unwrap();
    tree
}

/// The mounts, one a line, then the places made for them.
fn plan(change: impl FnOnce(&mut Options)) -> String {
    let mut options = Options::new("n".parse().unwrap()).unwrap();
    options.etc = Map::Host;
    change(&mut options);
    let mut tree = image();
    let mounts = match Mounts::new(&tree, &options) {
        Ok(mounts) => mounts,
        Err(e) => return format!("error: {e}"),
    };
    let before = tree.dump();
    if let Err(e) = mounts.make_places(&mut tree) {
        return format!("error: {e}");
    }
    let mut out = String::new();
    for m in mounts.iter() {
        let (whose, source) = match &m.source {
            Source::Host(s) => ("host", s),
            Source::Image(s) => ("image", s),
        };
        let ro = if m.read_only { " ro" } else { "" };
        let optional = if m.required { "" } else { " optional" };
        out += &format!("{} = {whose} {source}{ro}{optional}\n", m.target);
    }
    for line in tree.dump().lines().filter(|l| !before.contains(*l)) {
        out += &format!("+ {line}\n");
    }
    out
}

#[test]
fn by_default_all_that_changes_is_the_hosts() {
    insta::assert_snapshot!(plan(|_| {}), @r"
        /dev = host /dev optional
        /etc = host /etc optional
        /home = host /home optional
        /proc = host /proc optional
        /root = host /root optional
        /run = host /run optional
        /sys = host /sys optional
        /tmp = host /tmp optional
        /var = host /var optional
        + /dev dir 0755 0:0
        + /home dir 0755 0:0
        + /proc dir 0755 0:0
        + /root dir 0755 0:0
        + /run dir 0755 0:0
        + /sys dir 0755 0:0
        ");
}

#[test]
fn the_images_var_keeps_the_hosts_directories_in_it() {
    insta::assert_snapshot!(plan(|o| (o.var, o.home) = (Map::Chroot, Map::Chroot)), @r"
        /dev = host /dev optional
        /etc = host /etc optional
        /proc = host /proc optional
        /run = host /run optional
        /sys = host /sys optional
        /tmp = host /tmp optional
        /var/tmp = host /var/tmp optional
        + /dev dir 0755 0:0
        + /proc dir 0755 0:0
        + /run dir 0755 0:0
        + /sys dir 0755 0:0
        ");
}

#[test]
fn the_images_etc_takes_the_hosts_resolver() {
    insta::assert_snapshot!(plan(|o| {
        o.etc = Map::Chroot;
        o.host_defaults.clear();
    }), @r#"
        /.flatwrap-etc = host /etc ro optional
        /etc/hosts = host /etc/hosts ro optional
        /home = host /home optional
        /root = host /root optional
        /var = host /var optional
        + /.flatwrap-etc dir 0755 0:0
        + /etc/hosts file 0644 0:0 0 ""
        + /etc/resolv.conf symlink 0777 0:0 -> /.flatwrap-etc/resolv.conf
        + /home dir 0755 0:0
        + /root dir 0755 0:0
        "#);
}

#[test]
fn parts_of_the_image_show_in_the_hosts_directories() {
    insta::assert_snapshot!(plan(|o| {
        o.host_defaults.clear();
        o.home = Map::Chroot;
        o.chroot_dirs = vec![p("/etc/terminfo"), p("/usr"), p("/bin"), p("/etc/terminfo/x")];
    }), @r"
        /etc = host /etc optional
        /etc/terminfo = image /etc/terminfo ro
        /var = host /var optional
        ");
}

#[test]
fn places_are_real_directories() {
    let bind = |source: &str, target: &str| Bind {
        source: p(source),
        target: p(target),
        read_only: false,
        optional: false,
        file: false,
    };
    insta::assert_snapshot!(plan(|o| {
        o.home = Map::Chroot;
        o.var = Map::Chroot;
        o.etc = Map::Chroot;
        o.host_defaults = vec![p("/run"), p("/tmp")];
        // Through the image's symlink into the host's /run; through one into the image; over a file.
        o.binds = vec![bind("/a", "/var/run/sub/x"), bind("/b", "/data/deep/er"), bind("/c", "/etc/issue")];
    }), @r#"
        /.flatwrap-etc = host /etc ro optional
        /etc/hosts = host /etc/hosts ro optional
        /etc/issue = host /c
        /run = host /run optional
        /run/sub/x = host /a
        /srv/deep/er = host /b
        /tmp = host /tmp optional
        + /.flatwrap-etc dir 0755 0:0
        + /etc/hosts file 0644 0:0 0 ""
        + /etc/resolv.conf symlink 0777 0:0 -> /.flatwrap-etc/resolv.conf
        + /run dir 0755 0:0
        + /srv/deep dir 0755 0:0
        + /srv/deep/er dir 0755 0:0
        "#);
}

#[test]
fn asked_for_wins_over_default_and_contradictions_are_errors() {
    let dirs = |list: &[&str]| list.iter().map(|d| p(d)).collect::<Vec<_>>();
    for (host, chroot, expected) in [
        (&["/opt"][..], &["/tmp"][..], "/opt = host /opt\n"),
        (&["/opt", "/opt"], &[], "/opt = host /opt\n/tmp = host /tmp optional\n"),
        (&["/usr"], &["/usr"], "error: /usr: two different things are to be seen there"),
        (&[], &["/nope"], "error: /nope: the image has no such file or directory"),
        (&["/etc/issue/x"], &[], "error: /etc/issue/x: /etc/issue is not a directory in the image"),
    ] {
        let got = plan(|o| {
            (o.etc, o.var, o.home) = (Map::Chroot, Map::Chroot, Map::Chroot);
            o.host_defaults = dirs(&["/tmp"]);
            (o.host_dirs, o.chroot_dirs) = (dirs(host), dirs(chroot));
        });
        let got: String = got
            .split_inclusive('\n')
            .filter(|l| !l.starts_with('+') && !l.contains("hosts") && !l.contains("host /etc ro"))
            .collect();
        assert_eq!(got, expected, "{host:?} {chroot:?}");
    }
}

#[test]
fn what_is_seen_where() {
    let mut options = Options::new("n".parse().unwrap()).unwrap();
    options.etc = Map::Host;
    options.chroot_dirs = vec![p("/etc/terminfo")];
    let mounts = Mounts::new(&image(), &options).unwrap();
    for (path, host, shows) in [
        ("/usr/bin/x", false, true),
        ("/etc/passwd", true, false),
        ("/etc/terminfo/x/xterm", false, true),
        ("/etcetera", false, true),
        ("/var/tmp/x", true, false),
    ] {
        assert_eq!((mounts.is_host(&p(path)), mounts.shows(&p(path))), (host, shows), "{path}");
    }
}

#[test]
fn a_merged_etc_is_the_images_where_the_host_has_nothing() {
    let mut image = Tree::default();
    for path in [
        "/etc/java/conf",
        "/etc/vimrc",
        "/etc/ld.so.cache",
        "/etc/pam.d/su",
        "/etc/pki/java/cacerts",
        "/etc/pki/ca-trust/extracted/java/cacerts",
        "/etc/pki/ca-trust/extracted/pem/all.pem",
        "/etc/ssl/openssl.cnf",
    ] {
        image.insert_all(p(path), Node::file(0o644, ""), &Meta::dir()).unwrap();
    }
    image.insert_all(p("/etc/mtab"), Node::symlink("/proc/mounts"), &Meta::dir()).unwrap();
    let mut options = Options::new("n".parse().unwrap()).unwrap();
    options.etc_names = ["tool.conf", "vimrc", "ld.so.preload"].map(|n| n.as_bytes().to_vec()).into();
    let mounts = Mounts::new(&image, &options).unwrap();
    let of = |path: &str| mounts.over(&p(path)).map(|m| (m.target.to_string(), m.required));
    let host = |path: &str| Some((path.to_owned(), false));
    for (path, expected) in [
        ("/etc", None),
        ("/etc/java/conf", host("/etc/java")),
        ("/etc/vimrc", host("/etc/vimrc")),
        ("/etc/ssl", None),
        ("/etc/ssl/openssl.cnf", host("/etc/ssl/openssl.cnf")),
        ("/etc/ssl/certs/x.pem", host("/etc/ssl/certs")),
        ("/etc/pki/java/cacerts", host("/etc/pki/java")),
        ("/etc/pki/ca-trust/extracted/java/cacerts", host("/etc/pki/ca-trust/extracted/java")),
        ("/etc/pki/ca-trust/extracted/openssl/x", host("/etc/pki/ca-trust/extracted/openssl")),
        ("/etc/pki/ca-trust/source/x", None),
        ("/etc/passwd", None),
        ("/usr/share/zoneinfo/UTC", host("/usr/share/zoneinfo")),
        ("/etc/ld.so.cache", None),
        ("/etc/pam.d/su", None),
        ("/etc/mtab", None),
    ] {
        assert_eq!(of(path), expected, "{path}");
    }
    let links: Vec<String> = mounts.links().map(ToString::to_string).collect();
    assert_eq!(
        links.join(" "),
        "/etc/ca-certificates /etc/environment /etc/gai.conf /etc/group /etc/gshadow /etc/host.conf /etc/hostname \
         /etc/locale.conf /etc/machine-id /etc/passwd /etc/protocols /etc/resolv.conf /etc/services /etc/shadow \
         /etc/timezone /etc/tool.conf"
    );
    assert!(mounts.is_host(&p("/etc/passwd")) && !mounts.is_host(&p("/etc/ld.so.cache")));
    mounts.make_places(&mut image).unwrap();
    assert_eq!(image.get(&p("/etc/passwd")).unwrap().symlink_target().unwrap(), b"/.flatwrap-etc/passwd");
    assert!(image.get(&p("/etc/ssl/certs")).is_some_and(Node::is_dir));
    // An image without any sees the host's whole directory.
    let mounts = Mounts::new(&Tree::default(), &options).unwrap();
    let over = mounts.over(&p("/etc/ssl/certs/x.pem")).map(|m| m.target.to_string());
    assert_eq!(over.as_deref(), Some("/etc/ssl"));
}
