//! Changes of owner: whatever the mode, the layer has them.

use tree::{Meta, Node};

use crate::support::{Case, busybox};

pub(super) fn owners(case: &Case) {
    let dump = case.changes(
        "cd /srv; echo a > a; chown 33:42 a; echo b > b; chown 33 b; echo c > c; chgrp 42 c; \
         echo d > d; ln -s d to-d; chown 33:33 to-d; echo e > e; ln -s /srv/e to-e; chown -h 33:33 to-e; \
         mkdir f; echo g > f/g; chown -R 33:33 f; echo h > h; chown 33:33 h; mv h i; echo h > h; \
         echo j > j; chown 33:33 j; chown 0:0 j; echo k > k; chown 33:33 k; cp k l; cp -p k m; \
         (echo 1:2 > n; tar cf n.tar n; rm n; tar xf n.tar); rm n.tar; echo o > o; chown 65534:65533 o; chown :42 o",
    );
    let expected = "/srv dir 0755 0:0\n\
         /srv/a file 0644 33:42 2 \"a\\n\"\n\
         /srv/b file 0644 33:0 2 \"b\\n\"\n\
         /srv/c file 0644 0:42 2 \"c\\n\"\n\
         /srv/d file 0644 33:33 2 \"d\\n\"\n\
         /srv/e file 0644 0:0 2 \"e\\n\"\n\
         /srv/f dir 0755 33:33\n\
         /srv/f/g file 0644 33:33 2 \"g\\n\"\n\
         /srv/h file 0644 0:0 2 \"h\\n\"\n\
         /srv/i file 0644 33:33 2 \"h\\n\"\n\
         /srv/j file 0644 0:0 2 \"j\\n\"\n\
         /srv/k file 0644 33:33 2 \"k\\n\"\n\
         /srv/l file 0644 0:0 2 \"k\\n\"\n";
    // cp and busybox's chown ask stat what the owner is, and nobody but root is to be seen in the mode with one uid.
    let rest: String = dump.strip_prefix(expected).unwrap_or_else(|| panic!("{dump}")).to_owned();
    let single = case.mode == sandbox::Mode::Single;
    let m = if single { "0:0" } else { "33:33" };
    let o = if single { "0:42" } else { "65534:42" };
    let link = if single { "0:0" } else { "33:33" };
    assert_eq!(
        rest,
        format!(
            "/srv/m file 0644 {m} 2 \"k\\n\"\n\
             /srv/n file 0644 0:0 4 \"1:2\\n\"\n\
             /srv/o file 0644 {o} 2 \"o\\n\"\n\
             /srv/to-d symlink 0777 0:0 -> d\n\
             /srv/to-e symlink 0777 {link} -> /srv/e\n"
        )
    );
}

/// Maintainer scripts are run in a chroot when a package manager works on another root.
pub(super) fn chroot(case: &Case) {
    let dump = case.changes(
        "mkdir -p /srv/jail/bin /srv/jail/etc; cp /bin/busybox /srv/jail/bin; cd /srv/jail; \
         echo 1 > one; echo 2 > two; echo 3 > etc/three; ln -s /two absolute; ln -s ../../../etc/three etc/up; \
         chroot /srv/jail /bin/busybox sh -c '/bin/busybox chown 1:1 /one; /bin/busybox chown 2:2 absolute; \
         cd etc; /bin/busybox chown 3:3 up' && rm -r bin",
    );
    assert_eq!(
        dump,
        "/srv dir 0755 0:0\n\
         /srv/jail dir 0755 0:0\n\
         /srv/jail/absolute symlink 0777 0:0 -> /two\n\
         /srv/jail/etc dir 0755 0:0\n\
         /srv/jail/etc/three file 0644 3:3 2 \"3\\n\"\n\
         /srv/jail/etc/up symlink 0777 0:0 -> ../../../etc/three\n\
         /srv/jail/one file 0644 1:1 2 \"1\\n\"\n\
         /srv/jail/two file 0644 2:2 2 \"2\\n\"\n"
    );
}

/// Files of the image keep theirs when they are copied up.
pub(super) fn of_the_image(case: &Case) {
    let mut tree = busybox();
    let mut add = |path: &str, uid, gid, mode| {
        let mut node = Node::file(mode, "x");
        (node.meta.uid, node.meta.gid) = (uid, gid);
        tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
    };
    add("/srv/web/page", 33, 33, 0o640);
    add("/srv/web/same", 33, 33, 0o640);
    add("/srv/web/agent", 0, 42, 0o2755);
    add("/srv/web/high", 200_000, 200_000, 0o644);
    tree.meta_mut(&"/srv/web".parse().unwrap()).unwrap().uid = 33;
    let line = "cd /srv/web; echo y >> page; chmod 640 same; chmod 2711 agent; chmod 600 high";
    assert_eq!(
        case.changes_of(&tree, &case.shell(line)),
        "/srv dir 0755 0:0\n\
         /srv/web dir 0755 33:0\n\
         /srv/web/agent file 2711 0:42 1 \"x\"\n\
         /srv/web/high file 0600 200000:200000 1 \"x\"\n\
         /srv/web/page file 0640 33:33 3 \"xy\\n\"\n"
    );
}

/// A change of owner takes setuid and setgid, and a group that was given before chmod stays: the trap of ssh-agent.
pub(super) fn privileges(case: &Case) {
    let dump = case.changes(
        "cd /srv; : > agent; chmod 755 agent; chgrp 42 agent; chmod 2755 agent; cp agent su; chmod 6755 su; chown 33:42 su; \
         mkdir d; chmod 2755 d; chown 33:33 d; echo x > lock; chmod 2644 lock; chown 33:33 lock",
    );
    assert_eq!(
        dump,
        "/srv dir 0755 0:0\n\
         /srv/agent file 2755 0:42 0 \"\"\n\
         /srv/d dir 2755 33:33\n\
         /srv/lock file 2644 33:33 2 \"x\\n\"\n\
         /srv/su file 0755 33:42 0 \"\"\n"
    );
}

pub(super) fn errors(case: &Case) {
    let lines = case.output(
        "cd /srv; chown 1:1 /none 2>&1; ln -s loop loop; chown 1:1 loop 2>&1; chown 1:1 old/file/x 2>&1; true",
    );
    assert_eq!(
        lines,
        [
            "chown: /none: No such file or directory",
            "chown: loop: Too many levels of symbolic links",
            "chown: old/file/x: Not a directory",
        ]
    );
}
