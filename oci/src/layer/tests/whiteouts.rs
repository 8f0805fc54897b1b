//! image-spec, layer.md, "Whiteouts".

use super::*;

fn lower() -> TarBuilder {
    b().dir("d").file("d/a", "").file("d/b", "").file("d/sub/c", "").file("e", "")
}

/// The paths that are left, without the root.
fn left(layers: &[TarBuilder]) -> Vec<String> {
    let tree = merge(layers).unwrap_or_else(|e| panic!("{e}"));
    tree.iter().skip(1).map(|(p, _)| p.to_string()).collect()
}

#[test]
fn a_whiteout_hides_files_and_whole_directories() {
    assert_eq!(
        left(&[lower(), b().file("d/.wh.a", "").file(".wh.e", "")]),
        ["/d", "/d/b", "/d/sub", "/d/sub/c"]
    );
    assert_eq!(left(&[lower(), b().file(".wh.d", "")]), ["/e"]);
    assert_eq!(left(&[lower(), b().file(".wh.nothing", "").file("no/.wh.where", "")]).len(), 6);
}

#[test]
fn whiteouts_hide_lower_layers_only_whatever_the_order() {
    let before = b().file("d/.wh.a", "").file("d/a", "new");
    let after = b().file("d/a", "new").file("d/.wh.a", "");
    for upper in [before, after] {
        let tree = merge(&[lower(), upper]).unwrap();
        assert!(tree.dump().contains("/d/a file 0644 0:0 3 \"new\""));
    }
    let replaced = b().dir("d/new").file(".wh.d", "").file("d/new/x", "");
    assert_eq!(left(&[lower(), replaced]), ["/d", "/d/new", "/d/new/x", "/e"]);
}

/// image-spec#171, moby#17819.
#[test]
fn opaque_hides_lower_layers_only_whatever_the_order() {
    let opaque = |t: TarBuilder| t.file("d/.wh..wh..opq", "");
    let first = opaque(b().dir("d")).file("d/new", "").file("d/sub/x", "");
    let last = opaque(b().dir("d").file("d/new", "").file("d/sub/x", ""));
    let without_directory = opaque(b()).file("d/new", "").file("d/sub/x", "");
    for upper in [first, last, without_directory] {
        assert_eq!(left(&[lower(), upper]), ["/d", "/d/new", "/d/sub", "/d/sub/x", "/e"]);
    }
    assert_eq!(left(&[lower(), b().file(".wh..wh..opq", "").file("only", "")]), ["/only"]);
    assert_eq!(left(&[lower(), opaque(b()), b().file("d/top", "")]), ["/d", "/d/top", "/e"]);
    assert_eq!(left(&[lower(), b().file("nothing/.wh..wh..opq", "")]).len(), 6);
}

#[test]
fn opaque_never_acts_through_a_lower_symlink() {
    let lower = b().dir("etc").file("etc/passwd", "").symlink("link", "etc").symlink("root", "/");
    let kept = ["/etc", "/etc/passwd", "/link", "/root"];
    assert_eq!(left(&[lower.clone(), b().file("link/.wh..wh..opq", "")]), kept);
    assert_eq!(left(&[lower.clone(), b().file("root/.wh..wh..opq", "")]), kept);
    // The usual case: the layer has a directory there now.
    let upper = b().dir("link").file("link/.wh..wh..opq", "").file("link/x", "");
    assert_eq!(left(&[lower, upper]), ["/etc", "/etc/passwd", "/link", "/link/x", "/root"]);
}

#[test]
fn a_whiteout_follows_a_parent_symlink_unless_the_layer_replaces_it() {
    let lower = b().dir("usr/bin").file("usr/bin/ls", "").symlink("bin", "usr/bin").symlink("up", "../..");
    let upper = b().file("bin/.wh.ls", "");
    assert_eq!(left(&[lower.clone(), upper]), ["/bin", "/up", "/usr", "/usr/bin"]);
    for upper in [b().file("bin/.wh.ls", "").dir("bin"), b().dir("bin").file("bin/.wh.ls", "")] {
        assert_eq!(left(&[lower.clone(), upper]), ["/bin", "/up", "/usr", "/usr/bin", "/usr/bin/ls"]);
    }
    // A link of the same layer says nothing about the layers below.
    let same = b().symlink("new", "usr/bin").file("new/.wh.ls", "");
    assert!(left(&[lower.clone(), same]).contains(&"/usr/bin/ls".into()));
    assert_eq!(left(&[lower, b().file("up/.wh.usr", "")]), ["/bin", "/up"]);
    let looped = b().symlink("a", "b").symlink("b", "a");
    assert_eq!(left(&[looped, b().file("a/.wh.x", "")]), ["/a", "/b"]);
}

#[test]
fn a_whiteout_of_a_symlink_hides_the_link() {
    let lower = b().dir("etc").file("etc/x", "").symlink("l", "etc");
    assert_eq!(left(&[lower, b().file(".wh.l", "")]), ["/etc", "/etc/x"]);
}

/// go-containerregistry#1623.
#[test]
fn whiteouts_count_in_the_first_layer_too() {
    let tar = b().file(".wh.gone", "").file("d/.wh..wh..opq", "").file("d/x", "").file("gone", "");
    assert_eq!(left(&[tar]), ["/d", "/d/x", "/gone"]);
}

#[test]
fn a_whiteout_may_be_of_any_type() {
    // aufs wrote them as hard links of one file, which may not even be in the layer.
    for upper in [
        b().hardlink("d/.wh.a", ".wh..wh.aufs"),
        b().symlink("d/.wh.a", "x"),
        b().dir("d/.wh.a"),
        b().device("d/.wh.a", b'3', 0, 0),
        b().file("d/.wh.a", "with content"),
    ] {
        assert_eq!(left(&[lower(), upper]), ["/d", "/d/b", "/d/sub", "/d/sub/c", "/e"]);
    }
}

#[test]
fn metadata_of_aufs_is_no_part_of_the_tree() {
    let tar = b()
        .dir(".wh..wh.aufs")
        .dir(".wh..wh.orph")
        .dir(".wh..wh.plnk")
        .file(".wh..wh.plnk/1.2", "")
        .file("x", "");
    assert_eq!(left(&[tar]), ["/x"]);
}

/// umoci's changelog, containerd's tar_test.go.
#[test]
fn whiteouts_that_name_nothing_are_errors() {
    for (name, why) in [
        (".wh.", "whiteout names no file"),
        ("d/.wh.", "whiteout names no file"),
        (".wh..", "whiteout names a directory itself"),
        ("d/.wh...", "whiteout names a directory itself"),
        (".wh..wh..", "whiteout is of an unknown kind"),
        (".wh..wh..opaque", "whiteout is of an unknown kind"),
        (".wh.x/child", "whiteout has entries below it"),
        ("d/.wh..wh..opq/child", "whiteout has entries below it"),
    ] {
        let e = merge(&[lower(), b().file(name, "")]).expect_err(name);
        assert!(e.ends_with(&format!("entry \"/{name}\" at byte 0: {why}")), "{name}: {e}");
    }
    let e = merge(&[lower(), b().file("../.wh.x", "")]).unwrap_err();
    assert!(e.contains("has a \"..\" component"), "{e}");
}
