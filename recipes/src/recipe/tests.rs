use super::*;
use crate::recipe::instance::{Archive, Checksum, Static};

const MINIMAL: &str = "\
summary = \"A thing\"
[versions]
source = { github-tags = \"a/b\" }
";

fn parse(rest: &str) -> Result<Recipe, RecipeError> {
    parse_with(rest, Files::default())
}

fn parse_with(rest: &str, files: Files) -> Result<Recipe, RecipeError> {
    Recipe::parse("thing", &format!("{MINIMAL}{rest}"), files)
}

fn text(content: &str) -> Entry {
    Entry::File { executable: false, content: content.as_bytes().into() }
}

fn at(recipe: &Recipe, version: &str) -> Result<Instance, InstanceError> {
    recipe.at(&version.parse().unwrap(), Arch::X86_64, &Settings::default())
}

#[test]
fn what_makes_no_sense_is_told_with_its_line() {
    let download = "[[download]]\nid = \"x\"\nurl = \"https://e.org/x\"\nchecksum = \"lock-only\"\n";
    let table = [
        ("[[dowload]]\n", ":4:3: unknown key \"dowload\", did you mean \"download\"?"),
        (
            "[[download]]\nid = \"x\"\nchecksum = \"lock-onyl\"\n",
            ":6:12: unknown word \"lock-onyl\", did you mean \"lock-only\"?",
        ),
        (
            "[[download]]\nid = \"x\"\nchecksum = { lst = \"x\" }\n",
            ":6:14: unknown key \"lst\", did you mean \"list\"?",
        ),
        (
            "[[download]]\nid = \"x\"\nchecksum = 3\n",
            ":6:12: invalid type: integer `3`, expected \"github-digest\", \"lock-only\", { list = URL } or an array of them",
        ),
        ("[[download]]\nid = \"x\"\n", ":4:1: missing field `url`"),
        (
            "[[test]]\nrun = \"a\"\nzzzzzzz = 1\n",
            ":6:1: unknown key \"zzzzzzz\", expected one of run, expect, when",
        ),
        (
            "[[test]]\nrun = \"a\"\nwhen = { version = \"1.2\" }\n",
            ":6:20: version range \"1.2\" has no operator, expected one of <, <=, =, !=, >=, > before each version",
        ),
        (
            "[[test]]\nrun = \"a\"\nwhen = { arch = \"amd64\" }\n",
            ":6:17: architecture is \"amd64\", expected systemd's name \"x86-64\"",
        ),
        (
            "[[test]]\nrun = \"{verison}\"\n",
            ":4:1: unknown {verison} in \"{verison}\", did you mean \"version\"?",
        ),
        (
            "[[test]]\nrun = \"x\"\nwhen = { with = \"docker\" }\n",
            ":4:1: unknown component \"docker\", there are none",
        ),
        (
            "[[file]]\npath = \"/usr/x\"\ncontent = \"\"\nmode = \"0888\"\n",
            ":7:8: mode \"0888\" is invalid, expected octal digits as in \"0755\"",
        ),
        (
            "[[file]]\npath = \"usr/x\"\ncontent = \"\"\n",
            ":4:1: path is \"usr/x\", expected one from the root: /usr/…",
        ),
        (
            "[[file]]\npath = \"/usr/../etc/x\"\ncontent = \"\"\n",
            ":4:1: path \"/usr/../etc/x\" has a \"..\" component",
        ),
        ("[[file]]\npath = \"/usr/x\"\n", ":4:1: file needs one of content and source"),
        (
            "[[file]]\npath = \"/usr/x\"\nsource = \"y\"\n",
            ":4:1: \"parts/y\" is no file in the recipe's folder, there are none",
        ),
        ("[[install]]\nfrom = \"x:*\"\nto = \"/usr/bin/\"\n", ":4:1: unknown download \"x\", there are none"),
        ("[[install]]\nfrom = \"build:*\"\nto = \"/usr/bin/\"\n", ":4:1: there is no [build]"),
        ("[[only]]\npaths = [\"/usr/x*\"]\nwhen = {}\n", ":4:1: \"/usr/x*\" matches nothing in files/"),
        ("[[uphold]]\nunit = \"a b\"\n", ":4:1: unit is \"a b\", expected a name as in \"x.service\""),
        (
            "[parameters.x]\nabout = \"a\"\n",
            ":4:1: parameter \"x\" needs one of source, default and required = true",
        ),
        (
            "[parameters.x]\nabout = \"a\"\n[parameters.x.source.json-index]\nurl = \"https://e.org/j\"\npointer = \"/a\"\n\
             branches = { source = { text = \"https://e.org/t\" } }\n",
            ":4:1: \"https://e.org/j\" has no {branch}, but branches are listed",
        ),
        (
            "[parameters.version]\nabout = \"a\"\nrequired = true\n",
            ":4:1: parameter \"version\" is no free word of small letters, digits and hyphens",
        ),
        (
            "[[variable]]\nname = \"a\"\nvalue = \"{b}\"\n[[variable]]\nname = \"b\"\nvalue = \"\"\n",
            ":4:1: unknown {b} in \"{b}\", expected one of ",
        ),
        ("x = [1,\n", ":4:8: unclosed array, expected `]`"),
    ];
    for (rest, expected) in table {
        let error = parse(rest).expect_err(rest).to_string();
        let start = format!("recipe thing: recipe.toml{expected}");
        assert!(error.starts_with(&start), "got      {error}\nexpected {start}");
    }
    let signed = format!("{download}signature = {{ openpgp = \"{{url}}.asc\", key = \"keys/k.asc\" }}\n");
    let error = parse(&signed).unwrap_err().to_string();
    assert_eq!(
        error,
        "recipe thing: recipe.toml:4:1: \"keys/k.asc\" is no file in the recipe's folder, there are none"
    );
    assert!(parse_with(&signed, [("keys/k.asc", text("key"))].into_iter().collect()).is_ok());
    let unsigned = format!("{download}signature = {{ key = \"keys/k.asc\" }}\n");
    assert!(parse(&unsigned).unwrap_err().message.starts_with("signature needs one of openpgp"));
    let odd = parse_with("", [("x", text(""))].into_iter().collect()).unwrap_err().to_string();
    assert_eq!(
        odd,
        "recipe thing: recipe.toml: \"x\" is in no folder of a recipe, expected files/, parts/ or keys/"
    );
}

#[test]
fn downloads_are_expanded() {
    let recipe = parse(
        "[[variable]]\nname = \"suffix\"\nvalue = \"tar.zst\"\nwhen = { version = \">=0.14.0\" }\n\
         [[variable]]\nname = \"suffix\"\nvalue = \"tgz\"\n\
         [[download]]\nid = \"x\"\nurl = \"https://e.org/v{version}/x-{uname}-{goarch}-{arch}.{suffix}?a=b\"\n\
         checksum = { list = \"{url}/{file}/{minor}/{major}\" }\n\
         [[download]]\nid = \"y\"\nurl = \"https://e.org/y\"\nchecksum = \"lock-only\"\nwhen = { arch = \"arm64\" }\n",
    )
    .unwrap();
    let new = at(&recipe, "0.14.1").unwrap();
    let [x] = new.downloads.as_slice() else { panic!("{new:?}") };
    assert_eq!(x.url, "https://e.org/v0.14.1/x-x86_64-amd64-x86-64.tar.zst?a=b");
    assert_eq!(x.archive, Archive::Tar);
    let list = Checksum::List {
        url: format!("{}/x-x86_64-amd64-x86-64.tar.zst/0.14/0", x.url),
        name: "x-x86_64-amd64-x86-64.tar.zst".into(),
        signature: None,
    };
    assert_eq!(x.checksums, [list]);
    let old = recipe.at(&"v0.13.9".parse().unwrap(), Arch::Arm64, &Settings::default()).unwrap();
    assert_eq!(old.downloads[0].url, "https://e.org/vv0.13.9/x-aarch64-arm64-arm64.tgz?a=b");
    assert_eq!(old.downloads[1].archive, Archive::File);
    let error = recipe.at(&"1".parse().unwrap(), Arch::S390x, &Settings::default()).unwrap_err();
    assert_eq!(error.to_string(), "recipe thing: architecture is s390x, expected x86-64 or arm64");
}

#[test]
fn parameters_and_components() {
    let files = [("files/usr/lib/a.service", text("a")), ("files/usr/lib/b.service", text("b"))];
    let recipe = parse_with(
        "[parameters.a]\nabout = \"found out\"\nsource = { text = \"https://e.org/{version}\" }\n\
         [parameters.b]\nabout = \"has a default\"\ndefault = \"{minor}.0\"\n\
         [components]\none = \"the one\"\ntwo = \"the other\"\n\
         [[only]]\npaths = [\"/usr/lib/a*\"]\nwhen = { with = \"one\" }\n\
         [[file]]\npath = \"/usr/share/{name}\"\ncontent = \"{a} {b} ${X}\\n\"\n\
         [[uphold]]\nunit = \"a.service\"\nwhen = { with = \"one\" }\n\
         [[symlink]]\npath = \"/usr/l\"\ntarget = \"{b}\"\n",
        files.into_iter().collect(),
    )
    .unwrap();
    let version = "1.2.3".parse().unwrap();
    let queries = recipe.queries(&version, Arch::X86_64, &Settings::default()).unwrap();
    assert_eq!(queries.len(), 1);
    assert_eq!(queries[0].source.template().as_str(), "https://e.org/1.2.3");
    assert_eq!(
        at(&recipe, "1.2.3").unwrap_err().to_string(),
        "recipe thing: parameter a has no value: found out"
    );

    let show = |settings: &Settings| {
        let instance = recipe.at(&version, Arch::X86_64, settings).unwrap();
        let show = |(path, node): (&tree::TreePath, &Static)| match node {
            Static::File { content, .. } => format!("{path}={:?}", String::from_utf8_lossy(content)),
            Static::Symlink(target) => format!("{path}->{target}"),
        };
        instance.files.iter().map(show).collect::<Vec<_>>().join(" ")
    };
    let mut settings = Settings { parameters: [("a".into(), "7".into())].into(), ..Settings::default() };
    assert_eq!(
        show(&settings),
        "/usr/l->1.2.0 /usr/lib/a.service=\"a\" /usr/lib/b.service=\"b\" \
         /usr/lib/systemd/system/multi-user.target.d/10-a-service.conf=\"[Unit]\\nUpholds=a.service\\n\" \
         /usr/share/thing=\"7 1.2.0 ${X}\\n\""
    );
    settings.without.insert("one".into());
    settings.parameters.insert("b".into(), "9".into());
    assert_eq!(show(&settings), "/usr/l->9 /usr/lib/b.service=\"b\" /usr/share/thing=\"7 9 ${X}\\n\"");

    let fail = |settings: &Settings| recipe.at(&version, Arch::X86_64, settings).unwrap_err().to_string();
    settings.without.insert("two".into());
    assert_eq!(fail(&settings), "recipe thing: all components are left out");
    settings.without = ["on".into()].into();
    assert_eq!(fail(&settings), "recipe thing: unknown component \"on\", did you mean \"one\"?");
    settings.parameters.insert("b".into(), "../x".into());
    assert_eq!(
        fail(&settings),
        "recipe thing: parameter b is \"../x\", expected letters, digits and any of \".,_+~^-\""
    );
    settings.parameters.insert("c".into(), "1".into());
    settings.parameters.remove("b");
    assert_eq!(fail(&settings), "recipe thing: unknown parameter \"c\", did you mean \"a\"?");
}

#[test]
fn rules_that_meet_are_told() {
    let download = "[[download]]\nid = \"x\"\nurl = \"https://e.org/x\"\nchecksum = \"lock-only\"\n";
    let table = [
        (format!("{download}{download}"), "two downloads are called \"x\""),
        (
            format!("{download}when = {{ version = \"<1\" }}\n[[install]]\nfrom = \"x\"\nto = \"/usr/x\"\n"),
            "download \"x\" isn't made for this version, architecture or setting",
        ),
        ("[[file]]\npath = \"/usr/x\"\ncontent = \"\"\n[[symlink]]\npath = \"/usr/{name}\"\ntarget = \"\"\n".replace("{name}", "x"), "/usr/x is made twice"),
        ("[[download]]\nid = \"x\"\nurl = \"file:///x\"\nchecksum = \"lock-only\"\n".into(), "url is \"file:///x\", expected https://… with a file's name at its end"),
    ];
    for (rest, message) in table {
        let error = at(&parse(&rest).unwrap(), "1").unwrap_err().to_string();
        assert_eq!(error, format!("recipe thing 1: {message}"));
    }
}

#[test]
fn the_digest_changes_with_every_file() {
    let digest = |files: &[(&str, Entry)]| {
        parse_with("", files.iter().cloned().collect()).unwrap().digest().to_string()
    };
    let executable = Entry::File { executable: true, content: b"a"[..].into() };
    let all = [
        digest(&[]),
        digest(&[("files/a", text("a"))]),
        digest(&[("files/a", executable)]),
        digest(&[("files/a", Entry::Symlink("a".into()))]),
        digest(&[("files/a", text("b"))]),
        digest(&[("files/b", text("a"))]),
    ];
    for (i, a) in all.iter().enumerate() {
        assert!(!all[i + 1..].contains(a), "{i}");
    }
}
