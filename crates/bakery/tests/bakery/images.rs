//! Looking at images: `bakery lint` and `bakery inspect`.

use std::path::Path;
use std::process::{Command, Output};

use image::ImageOptions;
use sysext::{Extension, ExtensionOptions, Release};
use tree::{Meta, Node, Silent, Tree};

fn image(dir: &Path, file: &str, name: &str, files: &[(&str, &str)]) {
    let mut tree = Tree::default();
    for (path, text) in files {
        let mode = if path.contains("bin/") { 0o755 } else { 0o644 };
        tree.insert_all(path.parse().unwrap(), Node::file(mode, *text), &Meta::dir()).unwrap();
    }
    let allow = ["host-symlink".to_owned()].into_iter().collect();
    let options = ExtensionOptions { allow, ..ExtensionOptions::default() };
    let extension = Extension::new(tree, name.parse().unwrap(), Release::default(), &options).unwrap();
    extension.write_image(&dir.join(file), &ImageOptions::default(), &Silent).unwrap();
}

fn bakery(dir: &Path, words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bakery"));
    command.args(words.split(' ')).current_dir(dir).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("HOME", dir).output().unwrap()
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn lint_tells_what_hurts_a_host() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    image(dir, "good-1.0-x86-64.raw", "good", &[("/usr/bin/tool", "#!/bin/sh\n"), ("/usr/share/same", "s")]);
    image(dir, "other.raw", "other", &[("/usr/bin/tool", "#!/bin/bash\n"), ("/usr/share/same", "s")]);
    image(dir, "bad.raw", "bad", &[("/usr/sbin/x", "#!/bin/sh\n")]);
    let lint = |words: &str| told(&bakery(dir, &format!("lint {words}")));

    assert_eq!(lint("good-1.0-x86-64.raw"), (Some(0), "1 image: nothing found\n".into(), String::new()));
    let (code, out, err) = lint("bad.raw");
    assert_eq!((code, err.as_str()), (Some(1), "error: 1 error\n"), "{out}");
    assert!(out.starts_with("bad.raw: error: /usr/sbin: is a real directory"), "{out}");
    let (code, out, _) = lint("--allow host-symlink bad.raw");
    assert!(code == Some(0) && out.starts_with("bad.raw: warning: /usr/sbin: "), "{out}");
    let (code, out, _) = lint("good-1.0-x86-64.raw other.raw");
    assert_eq!(
        (code, out.as_str()),
        (
            Some(1),
            "set: error: /usr/bin/tool: different files are in good and other [collision]\n\
             set: warning: /usr/share/same: the same file is in good and other [same-file]\n"
        )
    );
    // A file of another name is what aborts the merge of all.
    let (code, out, _) = lint("--name renamed other.raw");
    assert!(code == Some(1) && out.contains("No medium found [no-release-file]"), "{out}");
    let (_, out, _) = lint("--json bad.raw");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json[0]["rule"], "host-symlink");
    assert_eq!(lint("--allow nonsense bad.raw").0, Some(2));
    assert_eq!(lint("--allow no-release-file bad.raw").0, Some(2));
    assert!(lint("--rules").1.lines().any(|l| l.starts_with("collision ")));
    let (code, _, err) = lint("gone.raw");
    assert!(code == Some(1) && err.starts_with("error: \"gone.raw\": No such file"), "{err}");
}

#[test]
fn inspect_tells_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    image(dir, "good-1.0-x86-64.raw", "good", &[("/usr/bin/tool", "#!/bin/sh\n")]);
    let (code, out, err) = told(&bakery(dir, "inspect good-1.0-x86-64.raw"));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("good: squashfs, 4.0 KiB\n  ID=_any\n2 files, 18 B\n"), "{out}");
    let (_, out, _) = told(&bakery(dir, "inspect --json good-1.0-x86-64.raw"));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json[0]["name"], &json[0]["release"]["ID"]), (&"good".into(), &"_any".into()));
}

#[test]
fn lint_says_when_units_arent_checked() {
    let dir = tempfile::tempdir().unwrap();
    let unit = ("/usr/lib/systemd/system/x.service", "[Service]\nExecStart=/usr/bin/x\n");
    image(dir.path(), "x.raw", "x", &[("/usr/bin/x", "#!/bin/sh\n"), unit]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bakery"));
    // No programs at all.
    command.args(["lint", "x.raw"]).current_dir(dir.path()).env_clear().env("PATH", dir.path());
    let (code, out, err) = told(&command.env("HOME", dir.path()).output().unwrap());
    let expected = "x.raw: warning: the units aren't checked: systemd-analyze isn't installed [unit-syntax]";
    assert_eq!((code, out.lines().last()), (Some(0), Some(expected)), "{out}{err}");
}

#[test]
fn a_directory_becomes_an_image() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let put = |path: &str, text: &str| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("root/usr/lib/systemd/system/web.service", "[Service]\nExecStart=/usr/bin/web\n");
    put("root/usr/bin/web", "#!/bin/sh\n");
    let pack = |words: &str| told(&bakery(dir, &format!("pack {words}")));

    let (code, _, err) = pack("--dry-run root web");
    assert!(code == Some(0) && err.contains("(line 2): the program is not executable [unit-exec]"), "{err}");
    assert!(!dir.join("web.raw").exists());

    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.join("root/usr/bin/web"), mode).unwrap();
    let words = "--enable web.service --restart web.service --host-arch x86-64 --image-version 1.2.0";
    let (code, out, err) = pack(&format!("root web {words}"));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("web-1.2.0-x86-64.raw: "), "{out}");
    let image = std::fs::read(dir.join("web-1.2.0-x86-64.raw")).unwrap();
    // The same tree, later and elsewhere, makes the same bytes.
    std::fs::rename(dir.join("root"), dir.join("moved")).unwrap();
    std::fs::create_dir(dir.join("out")).unwrap();
    let (_, out, _) = pack(&format!("--json -o out/ moved web {words}"));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["image"]["path"], "out/web-1.2.0-x86-64.raw");
    assert_eq!(std::fs::read(dir.join("out/web-1.2.0-x86-64.raw")).unwrap(), image);
    let (_, out, _) = told(&bakery(dir, "inspect web-1.2.0-x86-64.raw"));
    for text in ["ARCHITECTURE=x86-64", "EXTENSION_RESTART_UNITS=web.service", "EXTENSION_RELOAD_MANAGER=1"] {
        assert!(out.contains(text), "{text}: {out}");
    }

    put("wrong/usr/sbin/web", "x");
    let (code, _, err) = pack("wrong web");
    assert!(code == Some(1) && err.contains("/usr/sbin: is a real directory"), "{err}");
    assert!(!dir.join("web.raw").exists());
    let (code, _, err) = pack("gone web");
    assert!(code == Some(1) && err.starts_with("error: \"gone\": No such file"), "{err}");
}
