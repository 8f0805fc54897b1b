//! Entry points, started for real: on this machine's own root, from an extension that isn't merged.
//!
//! Merged ones are tested by the end-to-end tests.

#![allow(clippy::unwrap_used)]

mod fixture;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use fixture::{Caller, Extension, ODD, USER, image};
use flatwrap::{Bwrap, Map};
use tree::{Meta, Node};

#[test]
fn arguments_arrive_as_they_were() {
    let extension = Extension::new(image(), |_| {});
    let odd = [
        "a b",
        "",
        "it's",
        "\"q\"",
        "$(id)",
        "`id`",
        "line\nbreak\n",
        "*",
        "-n",
        "--",
        "\\",
        "\u{e9}\u{1f600}",
    ];
    let expected: String = odd.iter().map(|a| format!("<{a}>")).collect();
    for caller in Caller::ALL {
        let out = extension.run(caller, "for a; do printf '<%s>' \"$a\"; done", &odd);
        assert_eq!(out, expected, "{caller:?}");
    }
}

#[test]
fn names_are_data() {
    // The sysroot and the place of the extension are hostile, too.
    let extension = Extension::new(image(), |o| {
        o.sysroot = format!("/usr/lib/{ODD}/root").parse().unwrap();
        o.env = vec![("ODD".into(), ODD.into())];
    });
    for caller in Caller::ALL {
        let mut c = extension.wrap(caller, extension.entry(ODD), "");
        if caller != Caller::Root {
            c.arg(extension.root().join("usr/bin").join(ODD));
        }
        let out = c.arg("x").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), "odd: x\n", "{caller:?} {out:?}");
        assert_eq!(extension.run(caller, "printf %s \"$ODD\"", &[]), ODD, "{caller:?}");
        assert_eq!(std::fs::read_dir(extension.home(caller)).unwrap().count(), 0, "{caller:?}");
    }
    assert!(!extension.listing().contains("hacked\n") && !std::path::Path::new("hacked").exists());
}

#[test]
fn the_image_has_its_say_on_variables() {
    let text = "a\n'b' $(touch hacked) \"";
    let extension = Extension::new(image(), |o| {
        o.image_env = [
            ("PATH", "/opt/lang/bin:/usr/bin"),
            // In the image; a host's value would lead astray.
            ("LANG_HOME", "/usr/lib"),
            ("MY_HOME", "/usr/lib"),
            // The host's directory is seen there.
            ("STATE", "/var/state"),
            ("LANG", "C.UTF-8"),
            ("MODE", "image"),
            ("TEXT", text),
            ("LD_LIBRARY_PATH", "/opt/lang/lib"),
            ("LD_PRELOAD", "/opt/lang/none.so"),
            ("FIXED", "image"),
            ("not a name", "x"),
            ("PWD", "/x"),
            ("NOBWRAP", "0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        o.env = vec![("FIXED".into(), "option".into())];
        o.caller_env = vec!["MY_HOME".into()];
    });
    let names = "PATH LANG_HOME MY_HOME STATE LANG MODE TEXT LD_LIBRARY_PATH LD_PRELOAD FIXED";
    let probe = format!("for v in {names}; do eval \"echo \\\"$v=\\$$v\\\"\"; done");
    let alone = format!(
        "PATH=/opt/lang/bin:/usr/bin:HOST\nLANG_HOME=/usr/lib\nMY_HOME=/usr/lib\nSTATE=/var/state\nLANG=C.UTF-8\n\
         MODE=image\nTEXT={text}\nLD_LIBRARY_PATH=/opt/lang/lib\nLD_PRELOAD=/opt/lang/none.so\nFIXED=option\n"
    );
    let against = format!(
        "PATH=/opt/lang/bin:/usr/bin:/bin:/usr/bin\nLANG_HOME=/usr/lib\nMY_HOME=/h\nSTATE=/h\nLANG=C.UTF-8\n\
         MODE=host\nTEXT={text}\nLD_LIBRARY_PATH=/opt/lang/lib:/h\nLD_PRELOAD=/opt/lang/none.so\nFIXED=option\n"
    );
    let host = std::env::var("PATH").unwrap();
    for caller in Caller::ALL {
        let out = extension.command(caller, &probe).output().unwrap();
        // The host's programs on the way would have complained about the library.
        assert_eq!(String::from_utf8_lossy(&out.stderr), "", "{caller:?}");
        assert_eq!(String::from_utf8_lossy(&out.stdout), alone.replace("HOST", &host), "{caller:?}");
        let mut command = extension.command(caller, &probe);
        for name in ["LANG_HOME", "MY_HOME", "STATE", "LD_LIBRARY_PATH", "FIXED"] {
            command.env(name, "/h");
        }
        let out =
            command.env("LANG", "de_DE.UTF-8").env("MODE", "host").env("PATH", "/bin:/usr/bin").output();
        assert_eq!(String::from_utf8_lossy(&out.unwrap().stdout), against, "{caller:?}");
    }
}

#[test]
fn what_the_image_runs() {
    let extension = Extension::new(image(), |o| {
        o.name = "served".parse().unwrap();
        o.workdir = Some("/usr/lib".parse().unwrap());
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        o.process = Some(flatwrap::Process {
            entrypoint: words(&["probe", "fixed $(id)"]),
            cmd: words(&["it's", "two\nlines"]),
            path: "/usr/local/bin:/usr/bin".to_owned(),
            working_dir: "/usr/lib".to_owned(),
        });
    });
    let probe = "pwd; for a; do printf '<%s>' \"$a\"; done";
    for caller in Caller::ALL {
        for (args, expected) in [
            (&[][..], "/usr/lib\n<fixed $(id)><it's><two\nlines>"),
            (&["other"][..], "/usr/lib\n<fixed $(id)><other>"),
        ] {
            let mut c = extension.wrap(caller, extension.entry("served"), probe);
            if caller != Caller::Root {
                c.arg(extension.root().join("usr/bin/served"));
            }
            let out = c.args(args).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), expected, "{caller:?} {out:?}");
        }
    }
}

#[test]
fn programs_see_what_was_mapped() {
    // What the image has as /etc/whose, /var/whose and /home/whose says "image"; on the host the file is missing.
    let whose = "for d in /etc /var /home; do [ -e $d/whose ] && cat $d/whose || echo host; done; \
                 cat /usr/lib/whose; [ -e /usr/lib/dpkg ] && echo leak; :";
    for (etc, var, home) in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)] {
        let map = |n| if n == 0 { Map::Host } else { Map::Chroot };
        let say = |n| if n == 0 { "host\n" } else { "image\n" };
        let extension = Extension::new(image(), |o| {
            (o.etc, o.var, o.home) = (map(etc), map(var), map(home));
        });
        let expected = format!("{}{}{}image\n", say(etc), say(var), say(home));
        for caller in Caller::ALL {
            assert_eq!(extension.run(caller, whose, &[]), expected, "{caller:?} {etc}{var}{home}");
        }
    }
}

#[test]
fn a_merged_etc_follows_the_hosts_files() {
    let mut image = image();
    for (path, text) in [("/etc/passwd", "image"), ("/etc/only-here/conf", "image"), ("/etc/fstab", "image")]
    {
        image.insert_all(path.parse().unwrap(), Node::file(0o644, text), &Meta::dir()).unwrap();
    }
    let extension = Extension::new(image, |_| {});
    let dir = tempfile::Builder::new().prefix("flatwrap-etc-").tempdir_in("/var/tmp").unwrap();
    std::os::unix::fs::chown(dir.path(), Some(USER), Some(USER)).unwrap();
    let place = dir.path().display();
    // In a mount namespace with an /etc of its own: the host's passwd is replaced by rename while the program runs.
    let host = format!(
        "mount -t tmpfs tmpfs /etc; echo one >/etc/passwd; echo probe.conf >/etc/probe; echo host >/etc/fstab; \
         mkfifo -m 666 {place}/ready {place}/go; exec 3<>{place}/go; \
         \"$@\" & read -r x <{place}/ready; echo two >/etc/new; mv /etc/new /etc/passwd; echo go >&3; wait $!"
    );
    let probe = format!(
        "cat /etc/passwd /etc/probe /etc/fstab /etc/only-here/conf; echo; echo >{place}/ready; read x <{place}/go; \
         cat /etc/passwd; (echo >/etc/new) 2>/dev/null || echo read-only"
    );
    for caller in Caller::ALL {
        let mut inner = extension.command(caller, &probe);
        let mut c = Command::new("unshare");
        c.args(["--mount", "sh", "-ec", &host, "sh"]).arg(inner.get_program()).args(inner.get_args());
        c.env_clear().envs(inner.get_envs().filter_map(|(k, v)| Some((k, v?))));
        c.current_dir(inner.current_dir("/").get_current_dir().unwrap());
        let out = c.output().unwrap();
        let expected = "one\nprobe.conf\nhost\nimage\ntwo\nread-only\n";
        assert_eq!(String::from_utf8_lossy(&out.stdout), expected, "{caller:?} {out:?}");
        for fifo in ["ready", "go"] {
            std::fs::remove_file(dir.path().join(fifo)).unwrap();
        }
    }
}

#[test]
fn state_directories_are_made_once() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = tempfile::Builder::new().prefix("flatwrap-state-").tempdir_in("/var/tmp").unwrap();
    let at = |path: &str| dir.path().join(path);
    let state = |path: &str, mode, owner: &str| flatwrap::StateDir {
        path: at(path).to_str().unwrap().parse().unwrap(),
        mode,
        owner: owner.into(),
        group: owner.into(),
    };
    let dirs = [
        state("lib/web", 0o2750, "daemon"),
        state("log/web/body", 0o700, "daemon"),
        state("log/web", 0o755, "root"),
        state("unknown", 0o755, "nobody-knows-this-user"),
        state("unknown/below", 0o755, "daemon"),
        state("link", 0o755, "root"),
        state("given/below", 0o755, "root"),
        state("given", 0o755, "daemon"),
        state("given/link", 0o755, "root"),
        state("given/link/below", 0o755, "daemon"),
        state("open", 0o777, "root"),
        state("open/below", 0o755, "root"),
    ];
    std::os::unix::fs::symlink("/var/tmp/nowhere", at("link")).unwrap();
    for dir in ["given", "open", "elsewhere"] {
        std::fs::create_dir(at(dir)).unwrap();
    }
    // As somebody who owns the directory above could put it there.
    std::os::unix::fs::symlink(at("elsewhere"), at("given/link")).unwrap();
    let script = at("state");
    std::fs::write(&script, flatwrap::state::script(&dirs).unwrap()).unwrap();
    for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
        let mut c = Command::new(shell[0]);
        let out = c
            .args(&shell[1..])
            .arg("-euc")
            .arg(". \"$1\"; echo \"$2\"")
            .arg("sh")
            .arg(&script)
            .arg("on")
            .output();
        let out = out.unwrap();
        assert_eq!(
            (out.stdout.as_slice(), out.stderr.as_slice()),
            (&b"on\n"[..], &b""[..]),
            "{shell:?} {out:?}"
        );
        let daemon = std::fs::metadata(at("log/web/body")).unwrap();
        assert_eq!(
            (daemon.permissions().mode() & 0o7777, daemon.uid(), daemon.gid()),
            (0o700, 1, 1),
            "{shell:?}"
        );
        let web = std::fs::metadata(at("lib/web")).unwrap();
        assert_eq!((web.permissions().mode() & 0o7777, web.uid()), (0o2750, 1), "{shell:?}");
        let log = std::fs::metadata(at("log/web")).unwrap();
        assert_eq!((log.permissions().mode() & 0o7777, log.uid()), (0o755, 0), "{shell:?}");
        // Nothing through a symlink, nothing below what others could write, and nothing of the wrong owner.
        for path in ["given/below", "elsewhere/below", "open/below", "unknown"] {
            assert!(!at(path).exists(), "{shell:?} {path}");
        }
        assert!(!std::path::Path::new("/var/tmp/nowhere").exists(), "{shell:?}");
        std::fs::remove_dir_all(at("lib")).unwrap();
        std::fs::remove_dir_all(at("log")).unwrap();
    }
}

/// util-linux's, with its libraries, for an image that has none.
fn add_setpriv(image: &mut tree::Tree) {
    let mut add = |path: &str| {
        let node = tree::Node::file(0o755, std::fs::read(path).unwrap());
        image.insert_all(path.parse().unwrap(), node, &tree::Meta::dir()).unwrap();
    };
    add("/usr/bin/setpriv");
    let out = Command::new("ldd").arg("/usr/bin/setpriv").output().expect("ldd: install libc-bin");
    for path in String::from_utf8(out.stdout).unwrap().split_whitespace().filter(|w| w.starts_with('/')) {
        add(path);
    }
}

#[test]
fn commands_of_a_unit_become_its_user() {
    let unit = "[Service]\nUser=daemon\nGroup=adm\nSupplementaryGroups=audio video\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n\
                ExecStart=-/usr/bin/probe\nExecReload=+/usr/bin/probe\n";
    let path = "/usr/lib/systemd/system/probe.service";
    let mut with_setpriv = image();
    add_setpriv(&mut with_setpriv);
    let mut plain = image();
    for (image, unit) in [
        (&mut with_setpriv, unit.to_owned()),
        (&mut plain, unit.lines().filter(|l| !l.starts_with(['S', 'A'])).map(|l| format!("{l}\n")).collect()),
    ] {
        image.insert_all(path.parse().unwrap(), tree::Node::file(0o644, unit), &tree::Meta::dir()).unwrap();
    }
    let probe = "id -u; id -g; id -G; while read k v; do [ $k = CapEff: ] && echo $((0x$v)); done </proc/self/status; \
                 stat -c %u \"$HOME\"/of-games; echo ${_flatwrap_uid-unset}";
    for (image, arguments, expected) in [
        (with_setpriv, "daemon adm audio,video /usr/bin/probe", "1\n4\n4 29 44\n1024\n5\nunset\n"),
        // Nothing but what util-linux's unshare can do.
        (plain, "daemon adm - /usr/bin/probe", "1\n4\n4\n0\n5\nunset\n"),
    ] {
        let has_setpriv = arguments.contains("audio");
        let extension = Extension::with(image, &[path], |_| {});
        let text = std::fs::read_to_string(extension.root().join(&path[1..])).unwrap();
        let command = format!("!/usr/lib/flatwrap/probe/.flatwrap/unit {arguments}");
        assert!(text.contains(&format!("ExecStart=-{command}\nExecReload=+/usr/bin/probe\n")), "{text}");
        let of_games = extension.home(Caller::Root).join("of-games");
        std::fs::write(&of_games, "").unwrap();
        std::os::unix::fs::chown(&of_games, Some(5), None).unwrap();
        let start = |words: &str, user: &str| {
            let script = extension.root().join("usr/lib/flatwrap/probe/.flatwrap/unit");
            let mut c = Command::new("/usr/bin/setpriv");
            if has_setpriv {
                c.args(["--inh-caps", "+net_bind_service", "--ambient-caps", "+net_bind_service"]);
            }
            // As systemd does for User=.
            c.arg("--").arg(script).args(words.split(' '));
            c.env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap())
                .env("PROBE", probe)
                .env("USER", user);
            c.env("FLATWRAP_ROOT", extension.root()).env("HOME", extension.home(Caller::Root));
            c.output().unwrap()
        };
        let out = start(arguments, "daemon");
        assert_eq!(String::from_utf8_lossy(&out.stdout), expected, "{out:?}");
        assert_eq!((out.status.code(), out.stderr.as_slice()), (Some(0), &b""[..]), "{out:?}");
        for (words, user, expected) in [
            (
                arguments.to_owned(),
                "www-data",
                "the unit has User=www-data, and its commands name daemon: change both",
            ),
            (arguments.replace("adm", "nogroup-here"), "daemon", "no group nogroup-here"),
            (arguments.replace("daemon", "no-one-here"), "no-one-here", "no user no-one-here"),
        ] {
            let out = start(&words, user);
            let stderr = String::from_utf8_lossy(&out.stderr);
            assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(125), &b""[..]), "{out:?}");
            assert!(
                stderr.ends_with(&format!("unit: the private root can't be made: {expected}\n")),
                "{stderr}"
            );
        }
    }
}

#[test]
fn a_kernel_that_gives_no_namespaces_is_named() {
    let extension = Extension::new(image(), |_| {});
    let entry = extension.root().join("usr/bin/probe");
    // Limits of a user namespace's own.
    for (limit, by_user, expected) in [
        (
            "user",
            true,
            "probe: the private root can't be made: user namespaces are forbidden on this machine: /proc/sys/user/max_user_namespaces is 0\n",
        ),
        (
            "mnt",
            true,
            "probe: the private root can't be made: unshare: unshare failed: No space left on device\n",
        ),
        (
            "mnt",
            false,
            "probe: the private root can't be made: unshare: unshare failed: No space left on device\n",
        ),
    ] {
        let id = if by_user { USER } else { 0 };
        let script = format!("echo 0 >/proc/sys/user/max_{limit}_namespaces; exec \"$@\"");
        let mut c = Command::new("unshare");
        c.args(["--user", &format!("--map-user={id}"), &format!("--map-group={id}"), "--keep-caps"]);
        c.args(["sh", "-ec", &script, "sh"]);
        c.arg(&entry).env("NOBWRAP", "1").env("PROBE", "echo ran").env("FLATWRAP_ROOT", extension.root());
        let out = c.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stderr), expected, "{out:?}");
        assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(125), &b""[..]), "{out:?}");
    }
}

#[test]
fn the_host_is_there_and_the_image_is_read_only() {
    let extension = Extension::new(image(), |o| o.var = Map::Chroot);
    let probe = "echo x >/dev/null && [ -c /dev/null ] && [ -e /proc/self/status ] && [ -d /sys/kernel ] && \
                 echo x >/tmp/flatwrap-probe-$$ && rm /tmp/flatwrap-probe-$$ && \
                 echo x >/var/tmp/flatwrap-probe-$$ && rm /var/tmp/flatwrap-probe-$$ && \
                 for d in /usr /var /; do (echo x >$d/new) 2>/dev/null && echo \"$d is writable\"; done; echo done";
    for caller in Caller::ALL {
        assert_eq!(extension.run(caller, probe, &[]), "done\n", "{caller:?}");
    }
}

/// As those of a service's file systems, of a container's, and of a host whose /usr has `nodev`: a user namespace keeps them.
#[test]
fn flags_of_mounts_stay() {
    let extension = Extension::new(image(), |_| {});
    // The image's, which it could write, and the host's, where no program is.
    let own = extension.root().join("usr/lib/flatwrap/probe/usr");
    std::os::unix::fs::chown(&own, Some(USER), Some(USER)).unwrap();
    let script =
        "mount --bind \"$1\" \"$1\"; mount -o remount,bind,nosuid,nodev \"$1\"; zones=/usr/share/zoneinfo
mount --bind $zones $zones; mount -o remount,bind,noexec,nosuid $zones; shift; exec \"$@\"";
    // Root of a container that somebody else than root has started is in a user namespace, too.
    let container = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"];
    let ways =
        Caller::ALL.map(|caller| (caller, &[][..])).into_iter().chain([(Caller::Root, &container[..])]);
    for (caller, container) in ways {
        let inner = extension.command(caller, "(echo x >/usr/new) 2>/dev/null || echo ran");
        let mut c = Command::new("unshare");
        c.args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh"]).arg(extension.root());
        c.args(container).arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            c.env(name, value.unwrap_or_default());
        }
        let out = c.current_dir("/").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stderr), "", "{caller:?} {container:?}");
        assert_eq!(String::from_utf8_lossy(&out.stdout), "ran\n", "{caller:?} {container:?}");
    }
}

#[test]
fn users_stay_who_they_are() {
    let extension = Extension::new(image(), |_| {});
    for caller in Caller::ALL {
        let id = if caller == Caller::Root { 0 } else { USER };
        let who =
            extension.run(caller, "id -u; id -g; touch \"$HOME/mine\"; stat -c %u:%g \"$HOME/mine\"", &[]);
        assert_eq!(who, format!("{id}\n{id}\n{id}:{id}\n"), "{caller:?}");
        let owner = std::fs::metadata(extension.home(caller).join("mine")).map(|m| {
            use std::os::unix::fs::MetadataExt;
            (m.uid(), m.gid())
        });
        assert_eq!(owner.unwrap(), (id, id), "{caller:?}");
    }
}

#[test]
fn the_working_directory_is_kept_where_it_exists() {
    let extension = Extension::new(image(), |o| o.var = Map::Chroot);
    let fixed = Extension::new(image(), |o| o.workdir = Some("/usr/lib".parse().unwrap()));
    for caller in Caller::ALL {
        let home = extension.home(caller);
        let sub = home.join("a b");
        std::fs::create_dir_all(&sub).unwrap();
        // Below /var/tmp, which is the host's, although /var isn't.
        let at = |dir: &std::path::Path| {
            let mut c = extension.command(caller, "pwd");
            String::from_utf8(c.current_dir(dir).output().unwrap().stdout).unwrap()
        };
        assert_eq!(at(&sub), format!("{}\n", sub.display()), "{caller:?}");
        assert_eq!(at("/usr/lib".as_ref()), "/usr/lib\n", "{caller:?}");
        // Not in the image: home.
        assert_eq!(at("/usr/share/perl5".as_ref()), format!("{}\n", home.display()), "{caller:?}");
        // In the image, but a symlink to a directory that the host has and the image hasn't.
        let mut nowhere = extension.command(caller, "pwd");
        nowhere.current_dir("/usr/share/dpkg").env("HOME", "/usr/share/perl5");
        assert_eq!(String::from_utf8(nowhere.output().unwrap().stdout).unwrap(), "/\n", "{caller:?}");
        assert_eq!(fixed.run(caller, "pwd", &[]), "/usr/lib\n", "{caller:?}");
    }
}

#[test]
fn the_environment_is_kept() {
    let value = "it's $(here); \"x\"\nand `there`\\".to_owned();
    let extension = Extension::new(image(), |o| o.env = vec![("SET".into(), value.clone())]);
    for caller in Caller::ALL {
        let mut c = extension.command(caller, "env | sort");
        c.env("program", "kept").env("IFS_LIKE", "a  b").env("OLDPWD", "/old");
        let out = String::from_utf8(c.output().unwrap().stdout).unwrap();
        let mut expected: Vec<String> = [
            ("PATH", std::env::var("PATH").unwrap()),
            ("HOME", extension.home(caller).display().to_string()),
            ("FLATWRAP_ROOT", extension.root().display().to_string()),
            ("PWD", extension.home(caller).display().to_string()),
            ("OLDPWD", "/old".into()),
            ("program", "kept".into()),
            ("IFS_LIKE", "a  b".into()),
            ("PROBE", "env | sort".into()),
            ("SET", value.clone()),
        ]
        .iter()
        .flat_map(|(k, v)| format!("{k}={v}").split('\n').map(str::to_owned).collect::<Vec<_>>())
        .collect();
        if caller == Caller::Unshare {
            expected.push("NOBWRAP=1".into());
        }
        if caller == Caller::Bwrap {
            expected.push("FLATWRAP_BWRAP=1".into());
        }
        // Shells count their levels.
        let mut got: Vec<&str> =
            out.lines().filter(|l| !l.starts_with("SHLVL=") && !l.starts_with("_=")).collect();
        got.sort_unstable();
        expected.sort_unstable();
        assert_eq!(got, expected, "{caller:?}");
    }
}

#[test]
fn input_and_exit_status_pass() {
    let extension = Extension::new(image(), |_| {});
    for caller in Caller::ALL {
        let mut c = extension.command(caller, "cat; exit 42");
        c.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = c.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"in\0put").unwrap();
        let out = child.wait_with_output().unwrap();
        assert_eq!((out.stdout.as_slice(), out.status.code()), (&b"in\0put"[..], Some(42)), "{caller:?}");
    }
}

/// bwrap stays in between, which is why it isn't the first choice: see [`Bwrap`].
#[test]
fn signals_reach_the_program_itself() {
    let extension = Extension::new(image(), |_| {});
    for caller in [Caller::Root, Caller::Unshare] {
        // The program says its pid as the host sees it; ready once it does.
        let mut c =
            extension.command(caller, "trap 'echo got it; exit 7' USR1; echo $$; while :; do read x; done");
        let mut child = c.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        assert_eq!(lines.next().unwrap().unwrap(), child.id().to_string(), "{caller:?}");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
        // The shell runs its trap when `read` comes back.
        drop(child.stdin.take());
        assert_eq!(lines.next().unwrap().unwrap(), "got it", "{caller:?}");
        assert_eq!(child.wait().unwrap().code(), Some(7), "{caller:?}");

        let mut c = extension.command(caller, "kill -TERM $$");
        assert_eq!(c.status().unwrap().signal(), Some(15), "{caller:?}");
    }
}

#[test]
fn a_program_ends_with_the_process_that_was_started() {
    let extension = Extension::new(image(), |_| {});
    for caller in Caller::ALL {
        let mut c = extension.command(caller, "echo ready; read x");
        let mut child = c.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        assert_eq!(line, "ready\n", "{caller:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        // The end of the pipe comes when nobody holds it any more; the program still waits for input if it lives.
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
        assert_eq!(rest, "", "{caller:?}");
    }
}

#[test]
fn user_namespaces_can_be_made_inside() {
    let extension = Extension::new(image(), |_| {});
    for caller in [Caller::Root, Caller::Bwrap] {
        assert_eq!(extension.run(caller, "unshare -U true && echo yes", &[]), "yes\n", "{caller:?}");
    }
}

#[test]
fn nothing_stays_mounted_and_nothing_is_written() {
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let extension = Extension::new(image(), |_| {});
    let files = extension.listing();
    for caller in Caller::ALL {
        extension.run(caller, "echo hi", &[]);
    }
    let new: Vec<String> = mounts()
        .lines()
        .filter(|l| !before.contains(*l))
        .filter(|l| l.contains("flatwrap"))
        .map(String::from)
        .collect();
    assert_eq!(new, [""; 0]);
    assert_eq!(extension.listing(), files);
}

#[test]
fn parts_of_the_host_at_other_places() {
    let dir = tempfile::Builder::new().prefix("flatwrap it's #1 $(x)").tempdir_in("/var/tmp").unwrap();
    std::os::unix::fs::chown(dir.path(), Some(USER), Some(USER)).unwrap();
    std::fs::write(dir.path().join("file"), "of the host\n").unwrap();
    let host: tree::TreePath = dir.path().to_str().unwrap().parse().unwrap();
    let bind = |target: &str, read_only| flatwrap::Bind {
        source: host.clone(),
        target: target.parse().unwrap(),
        read_only,
        optional: false,
        file: false,
    };
    let extension = Extension::new(image(), |o| {
        o.var = Map::Chroot;
        o.binds = vec![
            bind("/data/rw it's", false),
            bind("/data/ro", true),
            flatwrap::Bind { source: host.join("file").unwrap(), file: true, ..bind("/usr/lib/one", true) },
            flatwrap::Bind {
                source: host.join("none").unwrap(),
                optional: true,
                ..bind("/data/none", false)
            },
        ];
        o.chroot_dirs = vec!["/etc/terminfo".parse().unwrap()];
        // /etc/terminfo needs a place in the host's /etc.
        o.host_dirs = vec!["/srv".parse().unwrap()];
    });
    let probe = "cat '/data/rw it'\"'s/file\" /data/ro/file /usr/lib/one; echo new >'/data/rw it'\"'s/new\"; \
                 cat /data/ro/new; (echo x >/data/ro/x) 2>/dev/null || echo read-only; ls /data/none; \
                 cat /etc/terminfo/whose";
    let expected = "of the host\nof the host\nof the host\nnew\nread-only\nimage\n";
    for caller in Caller::ALL {
        assert_eq!(extension.run(caller, probe, &[]), expected, "{caller:?}");
    }
}

#[test]
fn what_the_host_lacks_is_skipped_or_an_error() {
    for (optional, code) in [(true, Some(0)), (false, None)] {
        let extension = Extension::new(image(), |o| {
            o.binds = vec![flatwrap::Bind {
                source: "/no such place".parse().unwrap(),
                target: "/data".parse().unwrap(),
                read_only: false,
                optional,
                file: false,
            }];
            o.host_defaults.push("/no such default".parse().unwrap());
        });
        for caller in Caller::ALL {
            let out = extension.command(caller, "echo ran").output().unwrap();
            let stderr = String::from_utf8_lossy(&out.stderr);
            // bwrap has a status of its own.
            let code = code.unwrap_or(if caller == Caller::Bwrap { 1 } else { 125 });
            assert_eq!(out.status.code(), Some(code), "{caller:?} {stderr}");
            assert_eq!(stderr.contains("/no such place"), !optional, "{caller:?} {stderr}");
            assert_eq!(out.stdout == b"ran\n", optional, "{caller:?} {stderr}");
        }
    }
}

#[test]
fn a_relative_root_and_a_path_that_leads_nowhere() {
    let extension = Extension::new(image(), |_| {});
    for caller in Caller::ALL {
        let mut c = extension.command(caller, "pwd");
        c.current_dir(extension.root().parent().unwrap())
            .env("FLATWRAP_ROOT", extension.root().file_name().unwrap());
        let out = c.output().unwrap();
        let expected = format!("{}\n", extension.root().parent().unwrap().display());
        assert_eq!(String::from_utf8_lossy(&out.stdout), expected, "{caller:?} {out:?}");
        if caller != Caller::Bwrap {
            let out = extension.command(caller, "echo ran").env("PATH", "/nowhere").output().unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), "ran\n", "{caller:?} {out:?}");
        }
    }
}

#[test]
fn other_shells() {
    let extension = Extension::new(image(), |_| {});
    for shell in [&["bash", "--posix"][..], &["busybox", "sh"], &["dash"]] {
        for caller in Caller::ALL {
            let entry = extension.root().join("usr/bin/probe");
            let mut c = extension.wrap(caller, Command::new(shell[0]), "pwd; for a; do echo \"<$a>\"; done");
            // setpriv takes the shell as its argument.
            c.args(&shell[if caller == Caller::Root { 1 } else { 0 }..]).arg(entry).args(["a  b", ""]);
            let out = c.output().unwrap();
            let expected = format!("{}\n<a  b>\n<>\n", extension.home(caller).display());
            assert_eq!(String::from_utf8_lossy(&out.stdout), expected, "{shell:?} {caller:?} {out:?}");
        }
    }
}

#[test]
fn bwrap_can_be_left_out_or_preferred() {
    let no_new_privs = "grep NoNewPrivs /proc/self/status";
    for (rule, expected) in [(Bwrap::Never, "NoNewPrivs:\t0\n"), (Bwrap::Always, "NoNewPrivs:\t1\n")] {
        let extension = Extension::new(image(), |o| o.bwrap = rule);
        let mut c = extension.command(Caller::Bwrap, no_new_privs);
        c.env_remove("FLATWRAP_BWRAP");
        let out = c.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), expected, "{rule:?} {out:?}");
        assert_eq!(extension.run(Caller::Unshare, no_new_privs, &[]), "NoNewPrivs:\t0\n", "{rule:?}");
    }
}
