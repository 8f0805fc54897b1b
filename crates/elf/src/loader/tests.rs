use super::*;
use tree::{Meta, Node};

const GLIBC: &str = "/lib64/ld-linux-x86-64.so.2";
const MUSL: &str = "/lib/ld-musl-x86_64.so.1";

fn bytes(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}; install the packages of tests/packages.txt"))
}

fn tree(path: &str, content: impl Into<Content>) -> Tree {
    let mut t = Tree::default();
    let node = Node { meta: Meta::with_mode(0o755), kind: tree::Kind::File(content.into()) };
    t.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
    t
}

fn shown(dirs: &[Vec<u8>]) -> Vec<String> {
    dirs.iter().map(|d| d.escape_ascii().to_string()).collect()
}

/// The file with one string in the place of another of the same length, wherever it is.
fn replaced(mut bytes: Vec<u8>, old: &str, new: &str) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let places: Vec<usize> = bytes
        .windows(old.len())
        .enumerate()
        .filter(|(_, w)| *w == old.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "{old}");
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
    }
    bytes
}

#[test]
fn a_loader_is_known_by_what_it_is_whatever_its_name() {
    for (file, family) in [
        (GLIBC, Family::Glibc),
        ("/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1", Family::Glibc),
        ("/usr/powerpc-linux-gnu/lib/ld.so.1", Family::Glibc),
        (MUSL, Family::Musl),
    ] {
        for name in [
            "/lib64/ld-2.31.so",
            "/lib64/ld-lsb-x86-64.so.3",
            "/home/linuxbrew/.linuxbrew/lib/ld.so",
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/ld-musl-x86_64.so.1",
        ] {
            let l = Loader::find(&tree(name, bytes(file)), name.as_bytes()).unwrap();
            assert_eq!(l.family, family, "{file} as {name}");
        }
    }
}

#[test]
fn a_name_that_is_a_symlink_stays_the_name() {
    let mut t = tree("/usr/lib/x86_64-linux-gnu/ld-2.31.so", bytes(GLIBC));
    let mut link = |path: &str, to: &str| {
        t.insert_all(path.parse().unwrap(), Node::symlink(to), &Meta::dir()).unwrap();
    };
    link("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "ld-2.31.so");
    link("/usr/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
    link("/lib", "usr/lib");
    link("/lib64", "/usr/lib64");
    let l = Loader::find(&t, GLIBC.as_bytes()).unwrap();
    assert_eq!(l.path.to_string(), "/usr/lib/x86_64-linux-gnu/ld-2.31.so");
    assert_eq!(l.name.to_string(), "/usr/lib64/ld-linux-x86-64.so.2");
}

#[test]
fn glibc_directories_come_from_the_file_itself() {
    let l = Loader::find(&tree(GLIBC, bytes(GLIBC)), GLIBC.as_bytes()).unwrap();
    let expected = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"];
    assert_eq!(shown(&l.system_dirs), expected);
    assert_eq!(l.lib_token(), b"lib/x86_64-linux-gnu");
    assert_eq!(l.path_file(&l.path), None);
    assert_eq!(l.configuration().unwrap(), b"/etc/ld.so.conf");
    assert!(!l.is_builtin(b"libc.so.6"));
}

#[test]
fn a_glibc_below_a_prefix_has_its_configuration_there() {
    for (cache, dirs, token) in [
        // Alpine's glibc; one directory, as where libdir and slibdir are the same.
        ("/usr/glibc-compat", &["/usr/glibc-compat/lib"][..], "lib"),
        ("/usr/glibc-compat", &["/usr/glibc-compat/lib64", "/usr/glibc-compat/lib"], "lib64"),
        ("/nix/store/0c7n-glibc-2.39-52", &["/nix/store/0c7n-glibc-2.39-52/lib"], "lib"),
        ("", &["/lib64", "/usr/lib64"], "lib64"),
    ] {
        let mut text = format!("\0unused /etc/x\n\0{cache}/etc/ld.so.cache\0");
        text += &dirs.iter().map(|d| format!("{d}/\0")).collect::<String>();
        let bytes = text.as_bytes();
        let cache = compiled_in_caches(bytes).remove(0);
        let system_dirs = compiled_in_dirs(bytes, &cache).unwrap();
        assert_eq!(shown(&system_dirs), dirs);
        let path: TreePath = "/lib/ld.so".parse().unwrap();
        let l = Loader {
            family: Family::Glibc,
            path: path.clone(),
            name: path,
            system_dirs,
            cache,
            musl_arch: Vec::new(),
        };
        assert_eq!(l.lib_token(), token.as_bytes());
    }
    // The whole string counts, not one that has it at its end.
    let caches = compiled_in_caches(b"\x90x/etc/ld.so.cache\0use /a/etc/ld.so.cache\0/p/etc/ld.so.cache\0");
    assert_eq!(shown(&caches)[0], "/p/etc/ld.so.cache");
    assert!(compiled_in_dirs(b"\0/usr/lib/\0x", b"/etc/ld.so.cache").is_none());
}

#[test]
fn a_loader_without_a_list_gets_the_usual_places() {
    let mut bytes = bytes(GLIBC);
    let dir = "/lib/x86_64-linux-gnu/";
    bytes = replaced(bytes, dir, &"x".repeat(dir.len()));
    bytes = replaced(bytes, "/lib/\0", "xxxxx\0");
    let name = "/lib/ld-linux-aarch64.so.1";
    let l = Loader::find(&tree(name, bytes), name.as_bytes()).unwrap();
    assert_eq!(shown(&l.system_dirs), ["/lib", "/lib64", "/usr/lib64", "/usr/lib"]);
}

#[test]
fn musl_takes_its_path_file_from_the_interpreters_prefix() {
    let l = Loader::find(&tree(MUSL, bytes(MUSL)), MUSL.as_bytes()).unwrap();
    let at = |i: &str| l.path_file(&i.parse().unwrap()).unwrap().to_string();
    assert_eq!(at("/lib/ld-musl-x86_64.so.1"), "/etc/ld-musl-x86_64.path");
    assert_eq!(at("/usr/lib/flix/x/usr/lib/ld.so"), "/usr/lib/flix/x/usr/etc/ld-musl-x86_64.path");
    assert_eq!(at("/lib64/ld-linux-x86-64.so.2"), "/etc/ld-musl-x86_64.path");
    for name in ["libc.so", "libc.musl-x86_64.so.1", "libpthread.so.0", "ld-musl-x86_64.so.1"] {
        assert!(l.is_builtin(name.as_bytes()), "{name}");
    }
    assert!(!l.is_builtin(b"libcrypt.so.1"));
}

#[test]
fn what_only_has_the_name_of_a_loader_is_refused() {
    let refused =
        |content: Vec<u8>| Loader::find(&tree(GLIBC, content), GLIBC.as_bytes()).unwrap_err().to_string();
    let other =
        |what: &str| format!("interpreter \"{GLIBC}\" is neither glibc's nor musl's loader, but {what}");
    assert_eq!(refused(b"nothing".to_vec()), other("no ELF file"));
    assert_eq!(refused(bytes("/lib/x86_64-linux-gnu/libc.so.6")), other("another ELF file"));
    assert_eq!(refused(bytes("/bin/true")), other("a program that needs a loader itself"));
    assert!(matches!(
        Loader::find(&Tree::default(), b"/lib/ld-musl-x.so.1"),
        Err(LoaderError::Missing { .. })
    ));
}
