//! shellcheck (Debian package shellcheck) finds nothing in any script that options can lead to.

#![allow(clippy::unwrap_used)]

use flatwrap::script::Role;
use flatwrap::{Bind, Bwrap, Command, Map, Mounts, Options, script};
use proptest::prelude::*;
use tree::{Meta, Node, Tree, TreePath};

/// Anything but control characters, with what a shell knows more often than by chance.
fn name() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "'", "\"", "$(x)", "`x`", "\\", " ", "*", "~", "#", "!", "$HOME", "é", "--", "“", "”", "‘", "’", "″",
        "‶",
    ]);
    let part = prop_oneof![odd.prop_map(String::from), "[a-z]{1,4}"];
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.concat())
}

fn path() -> impl Strategy<Value = TreePath> {
    prop::collection::vec(name(), 1..4)
        .prop_map(|names| TreePath::new(format!("/{}", names.join("/"))).unwrap())
}

fn map() -> impl Strategy<Value = Map> {
    prop::sample::select(vec![Map::Host, Map::Chroot])
}

fn bind() -> impl Strategy<Value = Bind> {
    (path(), path(), any::<[bool; 3]>()).prop_map(|(source, target, [read_only, optional, file])| Bind {
        source,
        target: TreePath::new("/bound").unwrap().join(target.as_relative()).unwrap(),
        read_only,
        optional,
        file,
    })
}

prop_compose! {
    fn options()(
        maps in (map(), map(), map()),
        sysroot in path(),
        binds in prop::collection::btree_map(name(), bind(), 0..3),
        env in prop::collection::vec(("[A-Z_]{1,8}", "\\PC*|[a-z\n' “’]*"), 0..3),
        image_env in prop::collection::vec(("PATH|HOME|LANG|LD_[A-Z]|[A-Z_]{1,8}", "\\PC*|/etc/a b|[a-z\n' ]*"), 0..3),
        workdir in prop::option::of(path()),
        nested in any::<bool>(),
        bwrap in prop::sample::select(vec![Bwrap::Auto, Bwrap::Always, Bwrap::Never]),
    ) -> Options {
        let mut o = Options::new("name".parse().unwrap()).unwrap();
        (o.etc, o.var, o.home) = maps;
        o.sysroot = TreePath::new("/usr/lib").unwrap().join(sysroot.as_relative()).unwrap();
        o.binds = binds.into_values().collect();
        o.env = env;
        o.image_env = image_env;
        o.workdir = workdir;
        o.bwrap = bwrap;
        if nested {
            o.chroot_dirs = vec!["/etc/a b".parse().unwrap()];
        }
        o
    }
}

proptest! {
    // A run of shellcheck takes half a second.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn finds_nothing(options in options(), program in path(), becomes_users in any::<bool>()) {
        let mut image = Tree::default();
        image.insert_all("/usr/bin/env".parse().unwrap(), Node::file(0o755, "x"), &Meta::dir()).unwrap();
        image.insert_all("/etc/a b".parse().unwrap(), Node::dir(), &Meta::dir()).unwrap();
        let Ok(mounts) = Mounts::new(&image, &options) else {
            // Two of the binds at one place.
            return Ok(());
        };
        let (variables, _) = flatwrap::environment::variables(&image, &mounts, &options);
        let words: Vec<String> = options.image_env.iter().map(|(_, value)| value.clone()).collect();
        let command = Command { program: program.clone(), arguments: words.clone(), defaults: words };
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("entry", script::entry(&options, &program)),
            ("enter", script::enter(&options, &mounts, &variables, becomes_users)),
            ("unit", script::for_units(&options)),
            ("command", script::command(&options, &command)),
            ("as-root", script::inside(&options, Role::Root)),
            ("as-user", script::inside(&options, Role::User)),
            ("as-unit", script::inside(&options, Role::Unit { setpriv: becomes_users })),
        ];
        for (name, text) in &files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let out = std::process::Command::new("shellcheck")
            .args(["--severity=style", "--norc"])
            .args(files.iter().map(|(name, _)| dir.path().join(name)))
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("shellcheck: install the Debian package shellcheck");
        prop_assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    }
}
