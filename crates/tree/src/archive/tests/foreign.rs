//! Archives that other programs wrote.

use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::*;

fn run(program: &str, package: &str, args: &[&str], dir: &Path) {
    let output = Command::new(program).args(args).current_dir(dir).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}; install the Debian package {package}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A directory with a bit of everything that needs no privileges.
fn sample(dir: &Path) {
    let deep = dir.join("d".repeat(90)).join("e".repeat(90));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("f".repeat(90)), "deep").unwrap();
    symlink("t".repeat(150), dir.join("link")).unwrap();
    std::fs::write(dir.join("a"), "hello").unwrap();
    std::fs::set_permissions(dir.join("a"), std::fs::Permissions::from_mode(0o4750)).unwrap();
    std::fs::hard_link(dir.join("a"), dir.join("b")).unwrap();
    let sparse = std::fs::File::create(dir.join("sparse")).unwrap();
    for i in 0..40 {
        sparse.write_all_at(b"data", i * 65536).unwrap();
    }
    sparse.set_len(3 << 20).unwrap();
}

#[test]
fn gnu_tar_in_all_its_formats() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    sample(&root);
    let formats: &[&[&str]] = &[
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=oldgnu", "--sparse"],
        &["--format=posix"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
    ];
    let mut expected: Option<String> = None;
    for options in formats {
        let mut args = options.to_vec();
        args.extend(["--sort=name", "--owner=3:3", "--group=4:4", "--mtime=@-7.5", "-cf", "../x.tar", "."]);
        run("tar", "tar", &args, &root);
        let bytes = std::fs::read(dir.path().join("x.tar")).unwrap();
        let t = tree(&bytes).unwrap();
        let sparse = t.get(&"/sparse".parse().unwrap()).unwrap().content().unwrap();
        assert_eq!(sparse.extents().is_some(), options.contains(&"--sparse"), "{options:?}");
        let read = sparse.read(4 << 20).unwrap();
        assert!(read == std::fs::read(root.join("sparse")).unwrap(), "{options:?}");
        let shown = t.dump_with(crate::tree::DumpOptions { mtime: true, text: 60 });
        assert!(shown.contains("/a file 4750 3:4 @-8 5 \"hello\""), "{options:?}: {shown}");
        assert!(shown.contains("/b hardlink /a"), "{options:?}: {shown}");
        assert_eq!(&shown, expected.get_or_insert_with(|| shown.clone()), "{options:?}");
    }
}
