use super::*;
use tree::{Meta, Node};

fn p(text: &str) -> TreePath {
    text.parse().unwrap()
}

fn image() -> Tree {
    let mut tree = Tree::default();
    let mut add = |path: &str, node: Node| tree.insert_all(p(path), node, &Meta::dir()).unwrap();
    add("/usr/sbin/nginx", Node::file(0o755, "elf"));
    add("/usr/bin/busybox", Node::file(0o755, "elf"));
    add("/usr/bin/wget", Node::symlink("busybox"));
    add("/usr/bin/vi", Node::symlink("/etc/alternatives/vi"));
    add("/etc/alternatives/vi", Node::symlink("/usr/bin/vim.basic"));
    add("/usr/bin/vim.basic", Node::file(0o755, "elf"));
    add("/usr/bin/su", Node::file(0o4755, "elf"));
    add("/usr/bin/dangling", Node::symlink("/nope"));
    add("/usr/bin/it's $(x)", Node::file(0o755, "elf"));
    add("/usr/bin/new\nline", Node::file(0o755, "elf"));
    add("/usr/share/nginx/index.html", Node::file(0o644, "hi"));
    add("/usr/share/www", Node::symlink("nginx"));
    add("/usr/lib/systemd/system/nginx.service", Node::file(0o644, "[Service]\nExecStart=/usr/bin/nginx\n"));
    add("/etc/nginx/nginx.conf", Node::file(0o644, "conf"));
    add("/usr/share/pipe", Node { meta: Meta::with_mode(0o644), kind: Kind::Fifo });
    add("/dev/null", Node { meta: Meta::with_mode(0o666), kind: Kind::CharDevice { major: 1, minor: 3 } });
    for (link, target) in [("/bin", "usr/bin"), ("/sbin", "usr/sbin"), ("/lib", "usr/lib")] {
        add(link, Node::symlink(target));
    }
    tree
}

fn plan_with(words: &[&str], change: impl FnOnce(&mut Options)) -> Result<Plan, PlanError> {
    let mut options = Options::new("web".parse().unwrap()).unwrap();
    options.etc = Map::Host;
    change(&mut options);
    let items: Vec<RequestedPath> = words.iter().map(|w| w.parse().unwrap()).collect();
    Plan::new(&image(), &items, options)
}

fn plan(words: &[&str]) -> Result<Plan, PlanError> {
    plan_with(words, |_| {})
}

/// What shows on the host, with notes and warnings; or the error.
fn show(words: &[&str]) -> String {
    match plan(words) {
        Ok(plan) => {
            let shown = plan.to_string();
            let lines = shown.lines().skip(1).take_while(|l| l.starts_with("  ")).map(str::trim_start);
            let notes = plan.notes.iter().map(|n| format!("note: {n}"));
            let warnings = plan.warnings.iter().map(|w| format!("warning: {w}"));
            lines.map(String::from).chain(notes).chain(warnings).collect::<Vec<_>>().join("\n")
        }
        Err(e) => format!("error: {e}"),
    }
}

#[test]
fn kinds_of_paths() {
    for (words, expected) in [
        (
            &["/usr/sbin/nginx"][..],
            "/usr/bin/nginx runs /usr/sbin/nginx\nnote: /usr/sbin/nginx is installed as /usr/bin/nginx",
        ),
        (&["/bin/busybox:/usr/bin/busybox"], "/usr/bin/busybox runs /usr/bin/busybox"),
        (&["/bin/wget"], "/usr/bin/wget runs /usr/bin/wget"),
        (
            &["/usr/bin/vi"],
            "/usr/bin/vi runs /usr/bin/vim.basic\nnote: /usr/bin/vi leads through /etc/alternatives/vi, which is the \
             host's: the entry point runs /usr/bin/vim.basic",
        ),
        (
            &["/usr/bin/su"],
            "/usr/bin/su runs /usr/bin/su\nwarning: /usr/bin/su has privileges of its own in the image; in the \
             private root only root has any",
        ),
        (&["/usr/share/nginx"], "/usr/share/nginx -> /usr/lib/flatwrap/web/usr/share/nginx"),
        (&["/usr/share/www"], "/usr/share/www -> /usr/lib/flatwrap/web/usr/share/nginx"),
        (
            &["/usr/share/nginx/index.html"],
            "/usr/share/nginx/index.html -> /usr/lib/flatwrap/web/usr/share/nginx/index.html",
        ),
        (&["/etc/nginx:/usr/share/web-etc"], "/usr/share/web-etc -> /usr/lib/flatwrap/web/etc/nginx"),
        (
            &["/lib/systemd/system/nginx.service"],
            "/usr/lib/systemd/system/nginx.service is a copy of /usr/lib/systemd/system/nginx.service",
        ),
        (&["/usr/bin/it's $(x)"], "/usr/bin/it's $(x) runs /usr/bin/it's $(x)"),
        (&["/usr/bin/wget", "/bin/wget"], "/usr/bin/wget runs /usr/bin/wget"),
    ] {
        assert_eq!(show(words), expected, "{words:?}");
    }
}

#[test]
fn what_is_refused() {
    for (words, expected) in [
        (&[][..], "no path is to show on the host"),
        (&["/usr/bin/none"], "/usr/bin/none is not in the image"),
        (
            &["/usr/bin/dangling"],
            "/usr/bin/dangling leads nowhere in the image: /usr/bin/dangling: no such file or directory (/nope is missing)",
        ),
        (
            &["/etc/nginx"],
            "/etc/nginx is neither below /usr nor below /opt, the only folders that an extension can fill",
        ),
        (
            &["/etc/nginx:/etc/nginx"],
            "/etc/nginx:/etc/nginx: target /etc/nginx is neither below /usr nor below /opt",
        ),
        (
            &["/usr/bin/wget:/usr/bin/x", "/usr/bin/busybox:/usr/bin/x"],
            "/usr/bin/x is wanted from both /usr/bin/wget and /usr/bin/busybox",
        ),
        (
            &["/usr/share/nginx", "/usr/share/nginx/index.html"],
            "/usr/share/nginx would hide /usr/share/nginx/index.html: both are to show on the host",
        ),
        (
            &["/usr/bin/wget:/usr/share/nginx/x", "/usr/share/nginx"],
            "/usr/share/nginx would hide /usr/share/nginx/x: both are to show on the host",
        ),
        (
            &["/usr/bin/busybox:/usr/bin/sh"],
            "/usr/bin/sh would hide the host's own, which the entry points need",
        ),
        (
            &["/usr/share/nginx:/usr/lib/systemd/system"],
            "/usr/lib/systemd/system would hide the host's own, a directory with all that is in it",
        ),
        (
            &["/usr/bin/wget:/usr/lib/flatwrap"],
            "/usr/lib/flatwrap is in the sysroot /usr/lib/flatwrap/web or above it",
        ),
        (
            &["/usr/bin/wget:/usr/lib/flatwrap/web/x"],
            "/usr/lib/flatwrap/web/x is in the sysroot /usr/lib/flatwrap/web or above it",
        ),
        (&["/usr/share/pipe"], "/usr/share/pipe is neither a file nor a directory"),
    ] {
        assert_eq!(show(words), format!("error: {expected}"), "{words:?}");
    }
    let items: [RequestedPath; 1] = ["/usr/bin/new\nline".parse().unwrap()];
    let options = Options::new("web".parse().unwrap()).unwrap();
    assert!(matches!(Plan::new(&image(), &items, options), Err(PlanError::BadName(_))));
    let mut odd = image();
    odd.insert(p("/.flatwrap"), Node::dir()).unwrap();
    let options = Options::new("web".parse().unwrap()).unwrap();
    assert!(matches!(Plan::new(&odd, &["/bin/wget".parse().unwrap()], options), Err(PlanError::Reserved(_))));
    for sysroot in ["/srv/web", "/usr/web", "/usr"] {
        let error = plan_with(&["/bin/wget"], |o| o.sysroot = p(sysroot)).unwrap_err();
        assert!(matches!(error, PlanError::BadSysroot(_)), "{sysroot}");
    }
    let error = plan_with(&["/bin/wget"], |o| o.workdir = Some(p("/usr/nope"))).unwrap_err();
    assert!(matches!(error, PlanError::NoWorkdir(_)));
    // The host's: nobody knows yet.
    assert!(plan_with(&["/bin/wget"], |o| o.workdir = Some(p("/var/lib/nginx"))).is_ok());
}

#[test]
fn programs_stay_in_sbin_on_request() {
    let plan = plan_with(&["/sbin/nginx"], |o| o.keep_sbin = true).unwrap();
    assert_eq!(plan.shown().keys().map(ToString::to_string).collect::<Vec<_>>(), ["/usr/sbin/nginx"]);
}

#[test]
fn an_extension() {
    let words = ["/usr/sbin/nginx", "/usr/share/nginx", "/lib/systemd/system/nginx.service"];
    let (tree, report) = plan(&words).unwrap().build(image()).unwrap();
    let dump = tree.dump_with(tree::DumpOptions { text: 10, ..Default::default() });
    let dump: String =
        dump.lines().filter(|l| !l.contains("/.flatwrap/")).map(|l| format!("{l}\n")).collect();
    insta::assert_snapshot!(dump, @r#"
        / dir 0755 0:0
        /usr dir 0755 0:0
        /usr/bin dir 0755 0:0
        /usr/bin/nginx file 0755 0:0 191
        /usr/lib dir 0755 0:0
        /usr/lib/flatwrap dir 0755 0:0
        /usr/lib/flatwrap/web dir 0755 0:0
        /usr/lib/flatwrap/web/.flatwrap dir 0755 0:0
        /usr/lib/flatwrap/web/bin symlink 0777 0:0 -> usr/bin
        /usr/lib/flatwrap/web/dev dir 0755 0:0
        /usr/lib/flatwrap/web/etc dir 0755 0:0
        /usr/lib/flatwrap/web/etc/alternatives dir 0755 0:0
        /usr/lib/flatwrap/web/etc/alternatives/vi symlink 0777 0:0 -> /usr/bin/vim.basic
        /usr/lib/flatwrap/web/etc/nginx dir 0755 0:0
        /usr/lib/flatwrap/web/etc/nginx/nginx.conf file 0644 0:0 4 "conf"
        /usr/lib/flatwrap/web/home dir 0755 0:0
        /usr/lib/flatwrap/web/lib symlink 0777 0:0 -> usr/lib
        /usr/lib/flatwrap/web/proc dir 0755 0:0
        /usr/lib/flatwrap/web/root dir 0755 0:0
        /usr/lib/flatwrap/web/run dir 0755 0:0
        /usr/lib/flatwrap/web/sbin symlink 0777 0:0 -> usr/sbin
        /usr/lib/flatwrap/web/sys dir 0755 0:0
        /usr/lib/flatwrap/web/tmp dir 0755 0:0
        /usr/lib/flatwrap/web/usr dir 0755 0:0
        /usr/lib/flatwrap/web/usr/bin dir 0755 0:0
        /usr/lib/flatwrap/web/usr/bin/busybox file 0755 0:0 3 "elf"
        /usr/lib/flatwrap/web/usr/bin/dangling symlink 0777 0:0 -> /nope
        /usr/lib/flatwrap/web/usr/bin/it's $(x) file 0755 0:0 3 "elf"
        /usr/lib/flatwrap/web/usr/bin/new\x0aline file 0755 0:0 3 "elf"
        /usr/lib/flatwrap/web/usr/bin/su file 0755 0:0 3 "elf"
        /usr/lib/flatwrap/web/usr/bin/vi symlink 0777 0:0 -> /etc/alternatives/vi
        /usr/lib/flatwrap/web/usr/bin/vim.basic file 0755 0:0 3 "elf"
        /usr/lib/flatwrap/web/usr/bin/wget symlink 0777 0:0 -> busybox
        /usr/lib/flatwrap/web/usr/lib dir 0755 0:0
        /usr/lib/flatwrap/web/usr/lib/systemd dir 0755 0:0
        /usr/lib/flatwrap/web/usr/lib/systemd/system dir 0755 0:0
        /usr/lib/flatwrap/web/usr/lib/systemd/system/nginx.service file 0644 0:0 35
        /usr/lib/flatwrap/web/usr/sbin dir 0755 0:0
        /usr/lib/flatwrap/web/usr/sbin/nginx file 0755 0:0 3 "elf"
        /usr/lib/flatwrap/web/usr/share dir 0755 0:0
        /usr/lib/flatwrap/web/usr/share/nginx dir 0755 0:0
        /usr/lib/flatwrap/web/usr/share/nginx/index.html file 0644 0:0 2 "hi"
        /usr/lib/flatwrap/web/usr/share/www symlink 0777 0:0 -> nginx
        /usr/lib/flatwrap/web/usr/share/zoneinfo dir 0755 0:0
        /usr/lib/flatwrap/web/var dir 0755 0:0
        /usr/lib/systemd dir 0755 0:0
        /usr/lib/systemd/system dir 0755 0:0
        /usr/lib/systemd/system/nginx.service file 0644 0:0 35
        /usr/share dir 0755 0:0
        /usr/share/nginx symlink 0777 0:0 -> /usr/lib/flatwrap/web/usr/share/nginx
        "#);
    insta::assert_snapshot!(format!("{report:?}"), @r#"Report { specials: ["/usr/share/pipe"], privileged: ["/usr/bin/su"], pruned: None }"#);
}

#[test]
fn hard_links_stay_hard_links() {
    let mut image = image();
    image.link(p("/usr/bin/hard"), &p("/usr/bin/busybox")).unwrap();
    let (tree, _) = plan(&["/bin/wget"]).unwrap().build(image).unwrap();
    let ino = |path: &str| tree.ino(&p(&format!("/usr/lib/flatwrap/web{path}"))).unwrap();
    assert_eq!(ino("/usr/bin/hard"), ino("/usr/bin/busybox"));
}

#[test]
fn texts_of_the_host_follow_entry_points_or_are_told_of() {
    let mut image = image();
    let unit = "[Service]\nExecStart=/bin/sh -c 'exec /usr/sbin/nginx $OPTS'\nExecStop=/bin/sh -c '$R/bin/x ${Y}/usr/sbin/nginx'\n";
    let bus = "[D-BUS Service]\nExec=/usr/sbin/nginx --bus\n";
    let (unit_path, bus_path) =
        (p("/usr/lib/systemd/system/x.service"), p("/usr/share/dbus-1/services/x.service"));
    image.insert_all(unit_path.clone(), Node::file(0o644, unit), &Meta::dir()).unwrap();
    image.insert_all(bus_path.clone(), Node::file(0o644, bus), &Meta::dir()).unwrap();
    let words = ["/usr/sbin/nginx".to_owned(), unit_path.to_string(), bus_path.to_string()];
    let wanted: Vec<RequestedPath> = words.iter().map(|w| w.parse().unwrap()).collect();
    let plan = Plan::new(&image, &wanted, Options::new("web".parse().unwrap()).unwrap()).unwrap();
    let text = |path| String::from_utf8(plan.units[path].clone()).unwrap();
    assert_eq!(text(&unit_path), unit.replace("exec /usr/sbin", "exec /usr/bin"));
    assert_eq!(text(&bus_path), bus.replace("/usr/sbin", "/usr/bin"));
    assert_eq!(
        plan.warnings,
        [
            "/usr/lib/systemd/system/x.service: line 3 names /usr/sbin/nginx, which is not followed: it is /usr/bin/nginx there"
        ]
    );
}

/// The commands of a unit, and what is said of it.
fn becomes(unit: &str, relax_units: bool) -> (Vec<String>, Vec<String>) {
    let mut image = image();
    for program in ["/usr/bin/sh", "/usr/bin/setpriv", "/usr/bin/recover"] {
        image.insert(p(program), Node::file(0o755, "elf")).unwrap();
    }
    let path = "/usr/lib/systemd/system/x.service";
    image.insert(p(path), Node::file(0o644, format!("[Service]\n{unit}"))).unwrap();
    let options = Options { relax_units, ..Options::new("web".parse().unwrap()).unwrap() };
    let wanted: Vec<RequestedPath> = ["/usr/sbin/nginx", path].iter().map(|w| w.parse().unwrap()).collect();
    let plan = Plan::new(&image, &wanted, options).unwrap();
    let text = String::from_utf8(plan.units[&p(path)].clone()).unwrap();
    let (_, commands) = text.split_at(text.find("Exec").unwrap());
    // As without the script that the commands start.
    let (commands, identifier) = match commands.strip_suffix("[Service]\nSyslogIdentifier=nginx\n") {
        Some(commands) => (commands, true),
        None => (
            commands.strip_suffix("[Service]\nSyslogIdentifier=sh\n").unwrap_or(commands),
            commands.contains("=sh\n"),
        ),
    };
    assert_eq!(identifier, text.contains("/.flatwrap/unit"), "{text}");
    (commands.lines().map(str::to_owned).collect(), plan.warnings)
}

#[test]
fn commands_of_a_unit_with_a_user_start_as_root() {
    const BECOMES: &str = "!/usr/lib/flatwrap/web/.flatwrap/unit www - -";
    for (unit, expected) in [
        (
            "User=www\nExecStart=/sbin/nginx -g\nExecReload=-/usr/sbin/nginx\nExecStop=!/usr/sbin/nginx\nExecStop=/bin/kill 1\n",
            format!(
                "ExecStart={BECOMES} /usr/sbin/nginx -g\nExecReload=-{BECOMES} /usr/sbin/nginx\nExecStop=!/usr/bin/nginx\nExecStop=/bin/kill 1\n"
            ),
        ),
        // A shell of the image, with the image's paths in its script.
        (
            "User=www\nExecStart=/bin/sh -c \"/usr/bin/recover; \\\n exec /usr/sbin/nginx $OPTS\"\nExecStop=/usr/sbin/nginx\n",
            format!(
                "ExecStart={BECOMES} /bin/sh -c \"/usr/bin/recover; \\\n exec /usr/sbin/nginx $OPTS\"\nExecStop={BECOMES} /usr/sbin/nginx\n"
            ),
        ),
        (
            "User=%i\nGroup=web\nSupplementaryGroups=a b\nSupplementaryGroups=c\nExecStart=/usr/sbin/nginx\n",
            "ExecStart=!/usr/lib/flatwrap/web/.flatwrap/unit %i web a,b,c /usr/sbin/nginx\n".to_owned(),
        ),
        // What the private root hasn't: all of them stay.
        (
            "User=www\nExecStart=/bin/sh -c '/usr/bin/none; /usr/sbin/nginx'\nExecStop=/usr/sbin/nginx\n",
            "ExecStart=/bin/sh -c '/usr/bin/none; /usr/bin/nginx'\nExecStop=/usr/bin/nginx\n".to_owned(),
        ),
        ("User=www\nExecStart=@/usr/sbin/nginx web\n", "ExecStart=@/usr/bin/nginx web\n".to_owned()),
        ("User=root\nExecStart=/usr/sbin/nginx\n", "ExecStart=/usr/bin/nginx\n".to_owned()),
        ("User=33\nExecStart=/usr/sbin/nginx\n", "ExecStart=/usr/bin/nginx\n".to_owned()),
        ("User=www\nDynamicUser=yes\nExecStart=/usr/sbin/nginx\n", "ExecStart=/usr/bin/nginx\n".to_owned()),
        ("User=www\nPAMName=login\nExecStart=/usr/sbin/nginx\n", "ExecStart=/usr/bin/nginx\n".to_owned()),
        (
            "User=www\nEnvironment=A=1 \"USER=x\"\nExecStart=/usr/sbin/nginx\n",
            "ExecStart=/usr/bin/nginx\n".to_owned(),
        ),
        (
            "User=www\nCapabilityBoundingSet=CAP_CHOWN\nExecStart=/usr/sbin/nginx\n",
            "ExecStart=/usr/bin/nginx\n".to_owned(),
        ),
        (
            "User=www\nSystemCallFilter=~@setuid\nExecStart=/usr/sbin/nginx\n",
            "ExecStart=/usr/bin/nginx\n".to_owned(),
        ),
    ] {
        let (commands, warnings) = becomes(unit, false);
        assert_eq!(commands.join("\n") + "\n", expected, "{unit}");
        assert!(warnings.is_empty(), "{unit}: {warnings:?}");
    }
}

#[test]
fn capabilities_of_a_units_user() {
    let unit = "User=www\nAmbientCapabilities=CAP_NET_BIND_SERVICE\nExecStart=/usr/sbin/nginx\n";
    let (commands, warnings) = becomes(unit, false);
    assert!(commands[0].contains("/unit www - - ") && warnings.is_empty(), "{commands:?} {warnings:?}");
    let bound = format!("CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n{unit}");
    let (commands, warnings) = becomes(&bound, false);
    assert_eq!(commands, ["ExecStart=/usr/bin/nginx"]);
    assert!(warnings[0].contains("AmbientCapabilities=CAP_NET_BIND_SERVICE have no effect"), "{warnings:?}");
    let (commands, warnings) = becomes(&bound, true);
    assert!(commands[0].contains("/unit www - - ") && warnings.is_empty(), "{commands:?} {warnings:?}");
}

#[test]
fn units_follow_their_programs_and_are_checked() {
    let unit = "[Service]\nUser=www\nType=forking\nExecStartPre=/usr/sbin/nginx -t\nExecStart=/sbin/nginx -g 'daemon on;'\n\
                ExecStop=-/bin/busybox kill\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\nRestrictNamespaces=yes\n";
    let mut image = image();
    image.insert(p("/usr/lib/systemd/system/x.service"), Node::file(0o644, unit)).unwrap();
    let options = Options::new("web".parse().unwrap()).unwrap();
    let words = ["/usr/sbin/nginx", "/lib/systemd/system/x.service"];
    let wanted: Vec<RequestedPath> = words.iter().map(|w| w.parse().unwrap()).collect();
    let plan = Plan::new(&image, &wanted, options).unwrap();
    let text = String::from_utf8(plan.units[&p("/usr/lib/systemd/system/x.service")].clone()).unwrap();
    assert_eq!(
        text,
        unit.replace("=/usr/sbin/nginx", "=/usr/bin/nginx").replace("=/sbin/nginx", "=/usr/bin/nginx")
    );
    let warnings: Vec<&str> = plan
        .warnings
        .iter()
        .map(|w| w.split_once(": ").unwrap().1.split([';', ' ']).next().unwrap())
        .collect();
    assert_eq!(warnings, ["RestrictNamespaces="]);
    let is_alone = |note: &String| note.contains("x.service: www sees all other users as nobody");
    assert!(plan.notes.iter().any(is_alone), "{:?}", plan.notes);

    // Root's: the bounding set counts, too.
    let unit = unit.replace("User=www\n", "");
    image.insert(p("/usr/lib/systemd/system/x.service"), Node::file(0o644, unit.as_str())).unwrap();
    let plan = Plan::new(&image, &wanted, Options::new("web".parse().unwrap()).unwrap()).unwrap();
    assert_eq!(plan.warnings.len(), 2, "{:?}", plan.warnings);
    assert!(plan.units_forbid && !plan.notes.iter().any(is_alone));

    // As root in spite of User=.
    let mut other = image.clone();
    let privileged = unit.replace("[Service]\n", "[Service]\nUser=www\n").replace("=/sbin", "=!/sbin");
    other.insert(p("/usr/lib/systemd/system/x.service"), Node::file(0o644, privileged)).unwrap();
    let plan = Plan::new(&other, &wanted, Options::new("web".parse().unwrap()).unwrap()).unwrap();
    assert_eq!(plan.warnings.len(), 2, "{:?}", plan.warnings);

    // What it forbids can be allowed.
    let relaxed = Options { relax_units: true, ..Options::new("web".parse().unwrap()).unwrap() };
    let plan = Plan::new(&image, &wanted, relaxed).unwrap();
    assert_eq!((plan.warnings.len(), plan.units_forbid), (0, false), "{:?}", plan.warnings);
    let drop_in = &plan.units[&p("/usr/lib/systemd/system/x.service.d/10-web-private-root.conf")];
    assert_eq!(
        String::from_utf8_lossy(drop_in),
        "[Service]\nCapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_CHROOT\nRestrictNamespaces=mnt\n"
    );
}
