//! A host that has nothing but what every host has.

use std::collections::BTreeSet;

use elf::closure::Options;
use tree::{Kind, Meta, Node, Tree, TreeError, TreePath};

use crate::{Program, commands};

/// Directories of every host.
const DIRS: [&str; 17] = [
    "/boot",
    "/etc",
    "/home",
    "/opt",
    "/root",
    "/run/lock",
    "/srv",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/spool",
    "/tmp",
    "/var/tmp",
];

const LINKS: [(&str, &str); 6] = [
    ("/bin", "usr/bin"),
    ("/sbin", "usr/bin"),
    ("/usr/sbin", "bin"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib64"),
    ("/var/run", "../run"),
];

/// Files of every host.
const FILES: [(&str, &str); 9] = [
    ("/etc/group", "root:x:0:\nbin:x:1:\ndaemon:x:2:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nnogroup:x:65534:\n"),
    ("/etc/hostname", "localhost\n"),
    ("/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"),
    ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"),
    ("/etc/os-release", "ID=linux\nNAME=Linux\nPRETTY_NAME=Linux\n"),
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nbin:x:1:1::/:/usr/sbin/nologin\ndaemon:x:2:2::/:/usr/sbin/nologin\n\
         nobody:x:65534:65534::/:/usr/sbin/nologin\n",
    ),
    ("/etc/resolv.conf", ""),
    ("/etc/shells", "/bin/sh\n"),
];

/// What hosts have of their own, with other content, where an image has it, too.
const HOSTS: [&str; 31] = [
    "/etc/adjtime",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/environment",
    "/etc/fstab",
    "/etc/gai.conf",
    "/etc/gshadow",
    "/etc/host.conf",
    "/etc/inputrc",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/login.defs",
    "/etc/mtab",
    "/etc/networks",
    "/etc/pki",
    "/etc/protocols",
    "/etc/services",
    "/etc/shadow",
    "/etc/ssl",
    "/etc/subgid",
    "/etc/subuid",
    "/etc/timezone",
    "/run/systemd",
    "/usr/lib/locale/locale-archive",
    "/usr/lib/os-release",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/var/lib/dbus",
];

/// Bytes of a file by which an extension has the host make something.
const LIMIT: u64 = 1 << 20;

pub(crate) fn is_hosts(path: &TreePath) -> bool {
    let absolute = path.to_absolute();
    HOSTS.iter().any(|host| {
        absolute.strip_prefix(host.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    })
}

/// A host with these files alone, and the accounts, directories and files that `extension` has made by systemd-sysusers and
/// systemd-tmpfiles.
///
/// # Errors
/// None, unless the tree is broken.
pub fn minimal_host(extension: &Tree) -> Result<Tree, TreeError> {
    let mut host = Tree::default();
    for dir in DIRS {
        if let Ok(dir) = TreePath::new(dir) {
            host.make_dirs(&dir, &Meta::dir())?;
        }
    }
    for (path, target) in LINKS {
        put(&mut host, path.as_bytes(), Node::symlink(target))?;
    }
    let mut accounts: Vec<(&str, String)> = FILES.map(|(path, text)| (path, text.to_owned())).into();
    for words in lines(extension, "/usr/lib/sysusers.d") {
        let [kind, name, ..] = words.as_slice() else { continue };
        // Any number will do: nobody is to become one of them here.
        for (path, text) in &mut accounts {
            match (*path, kind.as_str()) {
                ("/etc/passwd", "u" | "u!") => *text += &format!("{name}:x:0:0::/:/usr/sbin/nologin\n"),
                ("/etc/group", "u" | "u!" | "g") => *text += &format!("{name}:x:0:\n"),
                _ => {}
            }
        }
    }
    for (path, text) in accounts {
        put(&mut host, path.as_bytes(), Node::file(0o644, text))?;
    }
    let mut copied = 0;
    for words in lines(extension, "/usr/lib/tmpfiles.d") {
        let [kind, path, ..] = words.as_slice() else { continue };
        let argument = words.get(6).map(String::as_str).filter(|a| *a != "-");
        match kind.trim_end_matches(['!', '-', '+', '=', '^', '$', '~', '?']) {
            "d" | "D" | "q" | "Q" | "v" => make_dir(&mut host, path)?,
            "f" | "F" => put(&mut host, path.as_bytes(), Node::file(0o644, argument.unwrap_or_default()))?,
            "L" => {
                let factory = format!("/usr/share/factory{path}");
                put(&mut host, path.as_bytes(), Node::symlink(argument.unwrap_or(&factory)))?;
            }
            "C" => {
                let factory = format!("/usr/share/factory{path}");
                if let (Ok(from), Ok(to)) =
                    (TreePath::new(argument.unwrap_or(&factory)), TreePath::new(path.as_bytes()))
                    && !host.contains(&to)
                {
                    graft(&mut host, &to, extension, &from, &mut copied)?;
                }
            }
            _ => {}
        }
    }
    Ok(host)
}

/// What the host sees with the extension merged: its files, and those of the extension over them. Scripts find the interpreters
/// and tools that every host has, which are the image's here.
///
/// # Errors
/// None, unless the tree is broken.
pub fn merge(
    mut host: Tree,
    extension: &Tree,
    image: &Tree,
    programs: &[Program],
    is_host_program: &dyn Fn(&TreePath) -> bool,
    needs_shell: bool,
) -> Result<Tree, TreeError> {
    let script = |p: &Program| {
        let real = extension.resolve(p.place.to_absolute(), true).ok();
        real.and_then(|r| extension.get(&r.path)).is_some_and(commands::is_script)
    };
    if needs_shell || programs.iter().any(script) {
        add_tools(&mut host, image, is_host_program)?;
    }
    for (path, node) in extension.iter().filter(|(path, _)| !path.is_root()) {
        let Ok(at) = host.resolve(path.to_absolute(), false).map(|r| r.path) else {
            put(&mut host, &path.to_absolute(), node.clone())?;
            continue;
        };
        if !(node.is_dir() && host.get(&at).is_some_and(Node::is_dir)) {
            host.remove(&at);
            host.insert_all(at, node.clone(), &Meta::dir())?;
        }
    }
    Ok(host)
}

/// The image's programs that every host has, in place of the host's.
fn add_tools(
    host: &mut Tree,
    image: &Tree,
    is_host_program: &dyn Fn(&TreePath) -> bool,
) -> Result<(), TreeError> {
    let mut resolver = elf::Resolver::new(image, Options::of_start());
    let mut wanted = BTreeSet::new();
    const FOLDERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    for folder in FOLDERS {
        let Ok(folder) = image.resolve(folder, true) else { continue };
        for (path, _) in image.children(&folder.path) {
            let place = sysext::request::home(path, false);
            let Ok(real) = image.resolve(path.to_absolute(), true) else { continue };
            if place.as_ref().is_some_and(is_host_program) || path.file_name() == Some(b"sh") {
                // What can't be read is none.
                let _ = resolver.add_root(&real.path);
                wanted.extend(real.links);
                wanted.insert(real.path);
            }
        }
    }
    if let Ok(closure) = resolver.finish() {
        wanted.extend(closure.maps.values().flat_map(|map| map.start().iter().cloned()));
        wanted.extend(closure.objects.keys().cloned());
    }
    // Libraries and loaders are looked for by their links.
    let links = links_to(image, &|path| wanted.contains(path));
    for path in wanted.into_iter().chain(links) {
        if let Some(node) = image.get(&path) {
            put(host, &path.to_absolute(), node.clone())?;
        }
    }
    Ok(())
}

/// Puts a node where its path leads on the host, if nothing is there.
fn put(host: &mut Tree, path: &[u8], node: Node) -> Result<(), TreeError> {
    let Ok(path) = TreePath::new(path) else { return Ok(()) };
    let Some(name) = path.file_name() else { return Ok(()) };
    let dir = path.parent().unwrap_or_else(TreePath::root);
    // Directories that the host calls otherwise; those that it lacks are made.
    let mut real = TreePath::root();
    for component in dir.components() {
        let Ok(next) = real.join(component) else { return Ok(()) };
        real = match host.resolve(next.to_absolute(), true) {
            Ok(found) => found.path,
            Err(_) if host.contains(&next) => return Ok(()),
            Err(_) => next,
        };
    }
    let Ok(at) = real.join(name) else { return Ok(()) };
    if host.contains(&at) || host.get(&real).is_some_and(|n| !n.is_dir()) {
        return Ok(());
    }
    host.insert_all(at, node, &Meta::dir())
}

fn make_dir(host: &mut Tree, path: &str) -> Result<(), TreeError> {
    put(host, path.as_bytes(), Node::dir())
}

/// Entries that a host has copied at most: many lines may copy the same directory.
const MOST_COPIED: usize = 100_000;

/// Copies `from` of a tree, with what is below it, to `to`.
fn graft(
    host: &mut Tree,
    to: &TreePath,
    tree: &Tree,
    from: &TreePath,
    copied: &mut usize,
) -> Result<(), TreeError> {
    let Ok(from) = tree.resolve(from.to_absolute(), true).map(|r| r.path) else { return Ok(()) };
    for (path, node) in tree.subtree(&from) {
        if *copied == MOST_COPIED {
            return Ok(());
        }
        *copied += 1;
        let rest = path.strip_prefix(&from).unwrap_or_default();
        let target = [&to.to_absolute(), b"/".as_slice(), rest].concat();
        if matches!(node.kind, Kind::File(_) | Kind::Dir | Kind::Symlink(_)) {
            put(host, &target, node.clone())?;
        }
    }
    Ok(())
}

/// The lines of a directory's files, as words.
fn lines(extension: &Tree, dir: &str) -> Vec<Vec<String>> {
    let Ok(dir) = TreePath::new(dir) else { return Vec::new() };
    let mut out = Vec::new();
    for (path, node) in extension.subtree(&dir) {
        let real = extension.resolve(path.to_absolute(), true).ok();
        let node = real.and_then(|r| extension.get(&r.path)).unwrap_or(node);
        let Some(Ok(text)) = node.content().map(|c| c.read(LIMIT)) else { continue };
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        out.extend(
            lines.map(|line| line.split_whitespace().map(|w| w.trim_matches('"').to_owned()).collect()),
        );
    }
    out
}

/// Of [`Tree::resolve_within`], for all symlinks of a tree. A million usual ones take a tenth of it.
const RESOLUTION: u64 = 1 << 30;

/// The symlinks that lead to a path for which `is_wanted` holds; those whose neighbors exceed the limit aren't followed.
fn links_to(tree: &Tree, is_wanted: &dyn Fn(&TreePath) -> bool) -> Vec<TreePath> {
    let mut left = RESOLUTION;
    let links = tree.iter().filter(|(_, node)| node.symlink_target().is_some());
    let leads = links.filter(|(path, _)| {
        tree.resolve_within(path.to_absolute(), true, &mut left).is_ok_and(|found| is_wanted(&found.path))
    });
    leads.map(|(path, _)| path.clone()).collect()
}

/// What the kernel and the loader open to start a program of a tree: by their names there.
pub(crate) fn started(tree: &Tree, program: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let Ok(program) = tree.resolve(program, true) else { return out };
    let mut resolver = elf::Resolver::new(tree, Options::of_start());
    // What can't be read is found by trying.
    let _ = resolver.add_root(&program.path);
    if let Ok(closure) = resolver.finish() {
        let objects: BTreeSet<&TreePath> = closure.maps.values().flat_map(|map| map.start()).collect();
        // By their links, too.
        out.extend(links_to(tree, &|path| objects.contains(path)).iter().map(TreePath::to_absolute));
        out.extend(objects.into_iter().map(TreePath::to_absolute));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_makes_what_the_extension_tells_it() {
        let mut extension = Tree::default();
        let mut add = |path: &str, text: &str| {
            extension.insert_all(path.parse().unwrap(), Node::file(0o644, text), &Meta::dir()).unwrap();
        };
        add("/usr/lib/sysusers.d/web.conf", "# none\nu web - \"Web server\" /var/lib/web\ng web-admins -\n");
        add(
            "/usr/lib/tmpfiles.d/web.conf",
            "d /var/lib/web 0750 web web - -\nd /var/run/web\nC /etc/web - - - - /usr/share/factory/web/etc/web\n\
             C /etc/hosts - - - - /usr/share/factory/web/etc/web\n",
        );
        add("/usr/share/factory/web/etc/web/web.conf", "x");
        add("/usr/bin/web", "elf");
        let host = minimal_host(&extension).unwrap();
        let tools = |_: &TreePath| false;
        let seen = merge(host, &extension, &Tree::default(), &[], &tools, false).unwrap();
        for path in
            ["/var/lib/web", "/run/web", "/etc/web/web.conf", "/usr/bin/web", "/usr/sbin/web", "/etc/hosts"]
        {
            assert!(seen.resolve(path, true).is_ok(), "{path}");
        }
        let text = |path: &str| {
            String::from_utf8(
                seen.get(&path.parse().unwrap()).unwrap().content().unwrap().read(LIMIT).unwrap(),
            )
            .unwrap()
        };
        assert!(text("/etc/passwd").ends_with("web:x:0:0::/:/usr/sbin/nologin\n"));
        assert!(text("/etc/group").ends_with("web:x:0:\nweb-admins:x:0:\n"));
        assert!(text("/etc/hosts").starts_with("127.0.0.1"));
    }
}
