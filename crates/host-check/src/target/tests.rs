use std::sync::Mutex;

use selinux::{LABEL, Sources};
use sysext::{ExtensionOptions, Release};
use tree::{Meta, Node, Tree};

use super::*;

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Events for Told {
    fn event(&self, event: Event<'_>) {
        let text = match event {
            Event::Note(text) => format!("note: {text}"),
            Event::Warning(text) => format!("warning: {text}"),
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

fn tree(files: &[(&str, u32, &str)]) -> Tree {
    let mut tree = Tree::default();
    for (path, mode, text) in files {
        let node = match text.strip_prefix("-> ") {
            Some(target) => Node::symlink(target),
            None => Node::file(*mode, *text),
        };
        tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
    }
    tree
}

fn extension(files: &[(&str, u32, &str)]) -> Extension {
    Extension::new(tree(files), "x".parse().unwrap(), Release::default(), &ExtensionOptions::default())
        .unwrap()
}

fn host(files: &[(&str, u32, &str)]) -> Target {
    Target { host: Some(Host::new("host".into(), tree(files), None).unwrap()), contexts: None }
}

fn paths(extension: &Extension) -> Vec<String> {
    let files = extension.tree().iter().filter(|(_, node)| !node.is_dir());
    files.map(|(path, _)| path.to_string()).filter(|path| !path.contains("extension-release")).collect()
}

#[test]
fn what_the_host_has_is_left_out() {
    let target = host(&[
        ("/usr/bin/a", 0o755, "a"),
        ("/usr/share/a/b/c", 0o644, "c"),
        ("/usr/lib/l.so", 0o644, "-> l.so.1"),
        ("/usr/lib/l.so.1", 0o644, "l"),
    ]);
    let mut made = extension(&[
        ("/usr/bin/a", 0o755, "a"),
        ("/usr/bin/new", 0o755, "new"),
        ("/usr/share/a/b/c", 0o644, "c"),
        ("/usr/lib/l.so", 0o644, "-> l.so.1"),
    ]);
    let told = Told::default();
    target.apply(&mut made, &BTreeSet::new(), &told).unwrap();
    assert_eq!(paths(&made), ["/usr/bin/new"]);
    // Nor are directories for nothing.
    assert!(!made.tree().contains(&"/usr/share".parse().unwrap()));
    assert_eq!(
        *told.0.lock().unwrap(),
        ["note: 3 files left out, which the host has: /usr/bin/a, /usr/lib/l.so, /usr/share/a/b/c"]
    );
}

#[test]
fn what_hides_something_of_the_host_is_refused() {
    for (has, gets, expected) in [
        (
            ("/usr/bin/a", 0o755, "a"),
            ("/usr/bin/a", 0o755, "b"),
            "hides the host's file, which has other content",
        ),
        (("/usr/lib/l", 0o644, "-> m"), ("/usr/lib/l", 0o644, "-> n"), "leads to n, and the host's to m"),
        (
            ("/usr/lib/l", 0o644, "-> share"),
            ("/usr/lib/l/a", 0o644, "a"),
            "replaces the host's link to share: ",
        ),
        (
            ("/usr/lib/d/a", 0o644, "a"),
            ("/usr/lib/d", 0o644, "x"),
            "replaces the host's directory: 1 file in it is gone",
        ),
    ] {
        let target = host(&[has]);
        let mut made = extension(&[gets, ("/usr/bin/b", 0o755, "b")]);
        let error = target.apply(&mut made, &BTreeSet::new(), &Told::default()).unwrap_err().to_string();
        assert!(error.starts_with("extension x is refused: ") && error.contains(expected), "{error}");
        assert!(error.contains("[host-file]"), "{error}");
        let (told, allow) = (Told::default(), BTreeSet::from([HOST_FILE.to_owned()]));
        target.apply(&mut made, &allow, &told).unwrap();
        assert!(told.0.lock().unwrap().concat().contains(expected));
        assert!(paths(&made).contains(&"/usr/bin/b".to_owned()));
    }
}

/// With the same content and another mode it stays: who left it out would change what the extension does.
#[test]
fn other_modes_are_no_reason_to_leave_out() {
    let mut target = host(&[("/usr/bin/a", 0o644, "a")]);
    let mut made = extension(&[("/usr/bin/a", 0o755, "a")]);
    let told = Told::default();
    target.apply(&mut made, &BTreeSet::new(), &told).unwrap();
    assert_eq!(paths(&made), ["/usr/bin/a"]);
    assert!(told.0.lock().unwrap().concat().contains("mode is 0755, and the host's is 0644"));
    // Where modes are not known, they don't differ.
    target.host.as_mut().unwrap().notes.push("read without modes".to_owned());
    target.apply(&mut made, &BTreeSet::new(), &Told::default()).unwrap();
    assert!(paths(&made).is_empty());
}

#[test]
fn all_files_are_labeled() {
    let main = b"/.* -d dir\n/usr/bin/.* -- bin\n/usr/lib/.* -- lib\n".to_vec();
    let contexts = FileContexts::new(Sources { name: "fc".into(), main, ..Sources::default() }).unwrap();
    let target = Target { host: None, contexts: Some(contexts) };
    let mut made = extension(&[("/usr/bin/a", 0o755, "a"), ("/usr/share/s", 0o644, "s")]);
    let told = Told::default();
    target.apply(&mut made, &BTreeSet::new(), &told).unwrap();
    let label = |path: &str| {
        let meta = &made.tree().get(&path.parse().unwrap()).unwrap().meta;
        meta.xattrs.get(LABEL).map(|label| String::from_utf8(label.clone()).unwrap())
    };
    let release = "/usr/lib/extension-release.d/extension-release.x";
    assert_eq!(label(release).as_deref(), Some("lib\0"));
    assert_eq!(label("/usr/bin/a").as_deref(), Some("bin\0"));
    assert_eq!(label("/usr/share").as_deref(), Some("dir\0"));
    assert_eq!(label("/usr/share/s"), None);
    assert_eq!(*told.0.lock().unwrap(), ["warning: fc: has no label for /usr/share/s"]);
}
