use super::*;
use crate::recipe::{Files, Recipe, Settings};
use tree::Arch;

fn tree(files: &[(&str, Node)]) -> Tree {
    let mut tree = Tree::default();
    for (path, node) in files {
        tree.insert_all(path.parse().unwrap(), node.clone(), &Meta::dir()).unwrap();
    }
    tree
}

fn archive() -> Input {
    let owned = |mode, text: &str| {
        let mut node = Node::file(mode, text);
        node.meta.uid = 1000;
        node.meta.xattrs.insert(b"user.x".to_vec(), b"y".to_vec());
        node
    };
    Input::Tree(tree(&[
        ("/bin/a", owned(0o700, "a")),
        ("/bin/b", owned(0o664, "b")),
        ("/bin/sub/c", owned(0o755, "c")),
        ("/bin/link", Node::symlink("a")),
        ("/etc/empty", Node::dir()),
        ("/etc/unit.service", owned(0o644, "ExecStart=/usr/sbin/a --port 1\n/usr/sbin/a\n")),
        ("/etc/binary", owned(0o644, "\0/usr/sbin/a")),
    ]))
}

fn result(rules: &str) -> Result<Tree, AssembleError> {
    let text = format!(
        "summary = \"x\"\n[versions]\nsource = {{ text = \"https://e.org\" }}\n\
         [[download]]\nid = \"x\"\nurl = \"https://e.org/x.tar\"\nchecksum = \"lock-only\"\n\
         [[download]]\nid = \"bare\"\nurl = \"https://e.org/bare\"\nchecksum = \"lock-only\"\n{rules}"
    );
    let files: Files = [("files/usr/lib/f", crate::recipe::Entry::Symlink("g".into()))].into_iter().collect();
    let recipe = Recipe::parse("thing", &text, files).unwrap();
    let instance = recipe.at(&"1".parse().unwrap(), Arch::X86_64, &Settings::default()).unwrap();
    let inputs = [("x".to_owned(), archive()), ("bare".to_owned(), Input::File("bare".into()))];
    assemble(&instance, &inputs.into(), Tree::default())
}

fn show(rules: &str) -> String {
    let tree = result(rules).unwrap_or_else(|e| panic!("{rules}: {e}"));
    let line = |(path, node): (&TreePath, &Node)| {
        assert_eq!((node.meta.uid, node.meta.xattrs.len()), (0, 0), "{path}");
        match &node.kind {
            Kind::File(content) => {
                let text = String::from_utf8(content.read(1 << 20).unwrap()).unwrap();
                Some(format!("{path} {:o} {text:?}", node.meta.mode))
            }
            Kind::Symlink(target) => Some(format!("{path} -> {}", String::from_utf8_lossy(target))),
            _ if tree.children(path).next().is_none() => Some(format!("{path}/ {:o}", node.meta.mode)),
            _ => None,
        }
    };
    tree.iter().filter_map(line).filter(|l| !l.starts_with("/usr/lib/f ")).collect::<Vec<_>>().join("\n")
}

fn rule(from: &str, to: &str, rest: &str) -> String {
    format!("[[install]]\nfrom = \"{from}\"\nto = \"{to}\"\n{rest}\n")
}

#[test]
fn places_and_modes() {
    let table = [
        (rule("x:bin/a", "/usr/bin/", ""), "/usr/bin/a 755 \"a\""),
        (rule("x:bin/a", "/usr/bin/z", "mode = \"0644\""), "/usr/bin/z 644 \"a\""),
        (rule("x:/bin/b", "/usr/bin/", ""), "/usr/bin/b 644 \"b\""),
        (rule("x:bin/?", "/usr/bin/", ""), "/usr/bin/a 755 \"a\"\n/usr/bin/b 644 \"b\""),
        (
            rule("x:bin/*", "/usr/bin/", "except = [\"bin/b\"]"),
            "/usr/bin/a 755 \"a\"\n/usr/bin/link -> a\n/usr/bin/sub/c 755 \"c\"",
        ),
        (rule("x:**", "/usr/", "except = [\"bin\", \"etc/*i*\"]"), "/usr/etc/empty/ 755"),
        (rule("x:bin/**/c", "/usr/", ""), "/usr/sub/c 755 \"c\""),
        (rule("x:bin", "/usr/", "except = [\"bin/[!a]*\"]"), "/usr/bin/a 755 \"a\""),
        (rule("x:none*", "/usr/", "optional = true"), ""),
        (rule("bare", "/usr/bin/{name}", "mode = \"0755\""), "/usr/bin/thing 755 \"bare\""),
        (
            rule(
                "x:etc/*",
                "/usr/",
                "except = [\"etc/empty\", \"etc/binary\"]\nreplace = [{ from = \"/usr/sbin/a\", to = \"/usr/bin/a\" }, { from = \" --port 1\", to = \"\" }]",
            ),
            "/usr/unit.service 644 \"ExecStart=/usr/bin/a\\n/usr/bin/a\\n\"",
        ),
    ];
    for (rules, expected) in table {
        assert_eq!(show(&rules), expected, "{rules}");
    }
    // A text is changed, a binary with the same bytes isn't.
    let changed = rule("x:etc/*", "/usr/", "replace = [{ from = \"/usr/sbin/a\", to = \"\" }]");
    assert!(show(&changed).contains("/usr/binary 644 \"\\0/usr/sbin/a\""));
}

#[test]
fn what_is_not_as_the_recipe_says() {
    let a = rule("x:bin/a", "/usr/bin/", "");
    let table = [
        (
            rule("x:sbin/*", "/usr/bin/", ""),
            "x: nothing matches \"sbin/*\", got bin/a, bin/b, bin/link, bin/sub/c, etc/binary, etc/unit.service",
        ),
        (rule("x:bin/?", "/usr/bin/z", ""), "x: \"bin/?\" matches 2 files, expected one for /usr/bin/z"),
        (format!("{a}{a}"), "/usr/bin/a is installed twice, from x and from x"),
        (rule("x:bin/a", "/usr/lib/f", ""), "/usr/lib/f is installed twice, from the recipe and from x"),
        (rule("x:bin/a", "/usr/lib/f/g", ""), "/usr/lib/f: parent is not a directory"),
        (rule("x", "/usr/x", ""), "x is an archive, expected just a file: a pattern is missing in \"from\""),
        (rule("bare:*", "/usr/x/", ""), "bare is just a file, expected an archive"),
        (
            rule("bare", "/usr/x/", ""),
            "bare is just a file, expected an archive: its new name is missing in \"to\"",
        ),
        (
            rule("x:bin/a", "/usr/x/", "replace = [{ from = \"q\", to = \"\" }]"),
            "x: \"bin/a\" has no \"q\" to replace",
        ),
    ];
    for (rules, expected) in table {
        assert_eq!(result(&rules).unwrap_err().to_string(), expected, "{rules}");
    }
}
