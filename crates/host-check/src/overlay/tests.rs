use super::*;

/// A tree of `PATH` (directory), `PATH=TEXT`, `PATH->TARGET`, `PATH!` (whiteout), `PATH/*` (opaque directory).
fn tree(entries: &[&str]) -> Tree {
    let mut tree = Tree::default();
    for entry in entries {
        let (path, node) = if let Some((path, target)) = entry.split_once("->") {
            (path, Node::symlink(target))
        } else if let Some((path, text)) = entry.split_once('=') {
            (path, Node::file(0o644, text))
        } else if let Some(path) = entry.strip_suffix('!') {
            (path, Node { meta: Meta::with_mode(0), kind: Kind::CharDevice { major: 0, minor: 0 } })
        } else if let Some(path) = entry.strip_suffix("/*") {
            let mut node = Node::dir();
            node.meta.xattrs.insert(OPAQUE.to_vec(), b"y".to_vec());
            (path, node)
        } else {
            (*entry, Node::dir())
        };
        tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
    }
    tree
}

/// What is seen below /usr and /opt, as [`tree`] takes it, directories that aren't empty left out.
fn seen(merged: &Merged) -> Vec<String> {
    let mut out = Vec::new();
    for (path, node) in merged.tree.iter().filter(|(p, _)| !p.is_root()) {
        out.push(match &node.kind {
            Kind::Dir if merged.tree.children(path).next().is_some() => continue,
            Kind::Dir => path.to_string(),
            Kind::File(content) => {
                format!("{path}={}", String::from_utf8(content.read(99).unwrap()).unwrap())
            }
            Kind::Symlink(target) => format!("{path}->{}", String::from_utf8_lossy(target)),
            other => panic!("{other:?}"),
        });
    }
    out
}

#[test]
fn layers_as_the_kernel_shows_them() {
    type Row = (&'static [&'static str], &'static [&'static [&'static str]], &'static [&'static str]);
    let table: [Row; 10] = [
        (&["/usr/bin/a=1"], &[&["/usr/bin/b=2"]], &["/usr/bin/a=1", "/usr/bin/b=2"]),
        (&["/usr/bin/a=1"], &[&["/usr/bin/a=2"], &["/usr/bin/a=3"]], &["/usr/bin/a=3"]),
        (&["/usr/sbin->bin", "/usr/bin/a=1"], &[&["/usr/sbin/b=2"]], &["/usr/bin/a=1", "/usr/sbin/b=2"]),
        (&["/usr/lib/x/a=1"], &[&["/usr/lib/x->y"]], &["/usr/lib/x->y"]),
        (&["/usr/lib/x/a=1"], &[&["/usr/lib/x=f"], &["/usr/lib/x/b=2"]], &["/usr/lib/x/b=2"]),
        (&["/usr/lib/x/a=1"], &[&["/usr/lib/x!"], &["/usr/lib/x/b=2"]], &["/usr/lib/x/b=2"]),
        (&["/usr/lib/x/a=1"], &[&["/usr/lib/x/*", "/usr/lib/x/b=2"]], &["/usr/lib/x/b=2"]),
        (&["/usr/a=1"], &[&["/usr/b!"], &["/etc/x=1", "/opt"]], &["/usr/a=1"]),
        (
            &["/usr/a=1", "/opt->var/opt", "/var/opt/b=2"],
            &[&["/opt/c=3"]],
            &["/opt->var/opt", "/usr/a=1", "/var/opt/b=2", "/var/opt/c=3"],
        ),
        (
            &["/usr/a=1"],
            &[&["/usr->elsewhere", "/elsewhere/b=2"], &["/opt/c=1"]],
            &["/opt/c=1", "/usr/a=1", "/usr/b=2"],
        ),
    ];
    for (host, layers, expected) in table {
        let trees: Vec<Tree> = layers.iter().map(|l| tree(l)).collect();
        let merged = merge(&tree(host), &trees.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(seen(&merged), expected, "{host:?} {layers:?}");
    }
}

#[test]
fn what_is_hidden_has_an_owner() {
    let host = tree(&["/usr/sbin->bin", "/usr/bin/a=1", "/usr/lib/d/e=1", "/usr/lib/w=1", "/usr/share/s=1"]);
    let mut one = tree(&["/usr/sbin/x=1", "/usr/lib/d->e", "/usr/lib/w!", "/usr/share/s=1", "/usr/bin/a=2"]);
    one.meta_mut(&"/usr/bin".parse().unwrap()).unwrap().mode = 0o700;
    let two = tree(&["/usr/bin/a=3"]);
    let merged = merge(&host, &[&one, &two]).unwrap();
    let said: Vec<String> =
        merged.hidden.iter().map(|h| format!("{} {} {:?} {:?}", h.path, h.by, h.whose, h.change)).collect();
    assert_eq!(
        said,
        [
            "/usr/bin 0 Host Mode { before: 493, now: 448 }",
            "/usr/bin/a 0 Host Content",
            "/usr/lib/d 0 Host OverDirectory { gone: 1 }",
            "/usr/lib/w 0 Host Deleted { gone: 1 }",
            "/usr/sbin 0 Host DirectoryOverLink { target: [98, 105, 110] }",
            "/usr/share/s 0 Host Same",
            "/usr/bin 1 Extension(0) Mode { before: 448, now: 493 }",
            "/usr/bin/a 1 Extension(0) Content",
        ]
    );
    assert_eq!(merged.owner(&"/usr/bin/a".parse().unwrap()), Owner::Extension(1));
    assert_eq!(merged.owner(&"/usr/lib".parse().unwrap()), Owner::Host);
}
