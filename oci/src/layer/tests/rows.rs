//! What applying a layer means, one behaviour a test, with where it went wrong elsewhere.

use super::*;
use tree::Usage;

/// CVE-2018-15664, CVE-2025-47290, containerd#12961: a lower layer's symlink leads inside the root, at every use.
#[test]
fn parents_are_resolved_inside_the_root() {
    let lower = b().dir("etc").symlink("evil", "/../../etc").symlink("relative", "../../../../etc");
    let upper = b().file("evil/passwd", "1").file("relative/shadow", "2");
    // A parent that becomes a symlink between two entries.
    let swapped = b().dir("a").file("a/x", "3").symlink("a", "/etc").file("a/y", "4");
    insta::assert_snapshot!(dump(&[lower, upper, swapped]), @r#"
    / dir 0755 0:0
    /a symlink 0777 0:0 -> /etc
    /etc dir 0755 0:0
    /etc/passwd file 0644 0:0 1 "1"
    /etc/shadow file 0644 0:0 1 "2"
    /etc/y file 0644 0:0 1 "4"
    /evil symlink 0777 0:0 -> /../../etc
    /relative symlink 0777 0:0 -> ../../../../etc
    "#);
}

#[test]
fn the_last_component_is_never_followed() {
    let lower = b().file("target", "kept").symlink("link", "target").symlink("dangling", "nowhere");
    let upper = b().file("link", "new").file("dangling", "new");
    insta::assert_snapshot!(dump(&[lower, upper]), @r#"
    / dir 0755 0:0
    /dangling file 0644 0:0 3 "new"
    /link file 0644 0:0 3 "new"
    /target file 0644 0:0 4 "kept"
    "#);
}

/// umoci CVE-2021-29136, go-containerregistry#2399.
#[test]
fn the_root_stays_a_directory_but_may_have_an_entry() {
    let root = |name: &str| b().raw(&Raw { mode: 0o700, uid: 5, ..Raw::new(name, b'5') });
    for name in [".", "./", "/", ""] {
        assert_eq!(dump(&[root(name)]), "/ dir 0700 5:0\n", "{name:?}");
    }
    for tar in
        [b().symlink(".", "/x"), b().file("/", ""), b().symlink("", "x"), b().device("./.", b'3', 1, 3)]
    {
        assert!(dump(&[tar]).contains("would replace the root directory by something else"));
    }
}

/// tar CVE-2026-33056, CVE-2021-32760: the link is replaced, its target keeps its mode.
#[test]
fn a_directory_over_a_symlink_replaces_it() {
    let lower = b()
        .raw(&Raw { mode: 0o711, ..Raw::new("secret", b'5') })
        .file("secret/key", "")
        .symlink("d", "secret");
    let upper = b().raw(&Raw { mode: 0o777, ..Raw::new("d", b'5') }).file("d/x", "");
    insta::assert_snapshot!(dump(&[lower, upper]), @r#"
    / dir 0755 0:0
    /d dir 0777 0:0
    /d/x file 0644 0:0 0 ""
    /secret dir 0711 0:0
    /secret/key file 0644 0:0 0 ""
    "#);
}

/// umoci#29, apple/containerization#777.
#[test]
fn hard_links_stay_inside_and_keep_symlinks() {
    let lower =
        b().file("f", "lower").symlink("l", "/f").symlink("d", "/../sub").dir("sub").file("sub/g", "g");
    let upper =
        b().hardlink("f2", "/f").hardlink("l2", "l").hardlink("d/h", "d/g").hardlink("not/there/f3", "f");
    insta::assert_snapshot!(dump(&[lower, upper]), @r#"
    / dir 0755 0:0
    /d symlink 0777 0:0 -> /../sub
    /f file 0644 0:0 5 "lower"
    /f2 hardlink /f
    /l symlink 0777 0:0 -> /f
    /l2 hardlink /l
    /not dir 0755 0:0
    /not/there dir 0755 0:0
    /not/there/f3 hardlink /f
    /sub dir 0755 0:0
    /sub/g file 0644 0:0 1 "g"
    /sub/h hardlink /sub/g
    "#);
    for (tar, expected) in [
        (b().hardlink("x", "../../etc/passwd"), "has a \"..\" component"),
        (b().hardlink("x", "/etc/passwd"), "hard link target \"/etc/passwd\" is missing"),
    ] {
        let e = dump(&[tar]);
        assert!(e.contains(expected), "{e}");
    }
}

#[test]
fn hard_links_across_layers_live_on_when_one_name_goes() {
    let lower = b().file("a", "one").hardlink("b", "a").hardlink("c", "a");
    let upper = b().file("a", "two").file(".wh.b", "");
    let top = b().raw(&Raw { mode: 0o600, data: b"three".into(), ..Raw::new("a", b'0') }).hardlink("d", "c");
    insta::assert_snapshot!(dump(&[lower, upper, top]), @r#"
    / dir 0755 0:0
    /a file 0600 0:0 5 "three"
    /c file 0644 0:0 3 "one"
    /d hardlink /c
    "#);
}

/// go-containerregistry#977, #2002.
#[test]
fn layers_are_applied_bottom_up() {
    let layers =
        [b().file("f", "1").file("gone", ""), b().file("f", "2").file(".wh.gone", ""), b().file("f", "3")];
    assert_eq!(dump(&layers), "/ dir 0755 0:0\n/f file 0644 0:0 1 \"3\"\n");
}

/// umoci#546, #222: replaced, never truncated, so a hard link of the old file keeps its content.
#[test]
fn files_and_directories_replace_each_other() {
    let lower = b()
        .file("file-to-dir", "")
        .file("dir-to-file/child", "")
        .file("parent", "a file where a parent is needed")
        .raw(&Raw { mode: 0, data: b"old".into(), ..Raw::new("closed", b'0') })
        .hardlink("linked", "closed")
        .raw(&Raw { mode: 0, ..Raw::new("closed-dir", b'5') })
        .file("dir-to-link/child", "");
    let upper = b()
        .dir("file-to-dir")
        .file("dir-to-file", "")
        .file("parent/child", "")
        .file("closed", "new")
        .file("closed-dir/child", "")
        .symlink("dir-to-link", "/");
    insta::assert_snapshot!(dump(&[lower, upper]), @r#"
    / dir 0755 0:0
    /closed file 0644 0:0 3 "new"
    /closed-dir dir 0000 0:0
    /closed-dir/child file 0644 0:0 0 ""
    /dir-to-file file 0644 0:0 0 ""
    /dir-to-link symlink 0777 0:0 -> /
    /file-to-dir dir 0755 0:0
    /linked file 0000 0:0 3 "old"
    /parent dir 0755 0:0
    /parent/child file 0644 0:0 0 ""
    "#);
}

#[test]
fn directories_merge_and_the_upper_metadata_wins() {
    let lower = b().pax(b'x', &[("SCHILY.xattr.user.a", "1")]).dir("d").file("d/kept", "");
    let upper = b().raw(&Raw { mode: 0o1777, uid: 3, gid: 4, ..Raw::new("d", b'5') });
    insta::assert_snapshot!(dump(&[lower, upper]), @r#"
    / dir 0755 0:0
    /d dir 1777 3:4
    /d/kept file 0644 0:0 0 ""
    "#);
}

#[test]
fn devices_and_special_bits_are_data() {
    let tar = b()
        .device("dev/null", b'3', 1, 3)
        .device("whiteout-of-overlayfs", b'3', 0, 0)
        .raw(&Raw { mode: 0o6755, uid: 1, gid: 2, ..Raw::new("su", b'0') })
        .pax(b'x', &[("SCHILY.xattr.security.capability", "caps")])
        .file("ping", "");
    insta::assert_snapshot!(dump(&[tar]), @r#"
    / dir 0755 0:0
    /dev dir 0755 0:0
    /dev/null char 0644 0:0 1:3
    /ping file 0644 0:0 0 "" security.capability=caps
    /su file 6755 1:2 0 ""
    /whiteout-of-overlayfs char 0644 0:0 0:0
    "#);
}

#[test]
fn overlayfs_attributes_are_left_out_with_a_warning() {
    use std::sync::Mutex;
    #[derive(Default)]
    struct Collect(Mutex<Vec<String>>);
    impl tree::Events for Collect {
        fn event(&self, event: tree::Event<'_>) {
            if let tree::Event::Warning(text) = event {
                self.0.lock().unwrap().push(text.into_owned());
            }
        }
    }
    let redirect = [("SCHILY.xattr.trusted.overlay.redirect", "/etc"), ("SCHILY.xattr.user.x", "y")];
    let tar = b().pax(b'x', &redirect).dir("d").finish();
    let events = Collect::default();
    let rootfs = Rootfs::from_layers(Config::default(), &[layer(&tar)], &events).unwrap();
    assert_eq!(rootfs.tree.dump(), "/ dir 0755 0:0\n/d dir 0755 0:0 user.x=y\n");
    let text = format!("layer {}: overlayfs attributes of 1 files left out, /d first", Digest::of(&tar));
    assert_eq!(*events.0.lock().unwrap(), [text]);
}

/// CVE-2024-9676, CVE-2019-14271: owners are numbers; no passwd file is asked, neither the image's nor the host's.
#[test]
fn owner_names_are_ignored() {
    let named = Raw {
        uid: 33,
        patches: vec![(265, b"root\0".into()), (297, b"root\0".into())],
        ..Raw::new("f", b'0')
    };
    assert!(
        dump(&[b().raw(&named).pax(b'x', &[("uname", "root")]).raw(&named)]).contains("/f file 0644 33:0")
    );
}

#[test]
fn errors_name_the_layer_and_the_entry() {
    let good = layer(&b().file("a", "").finish());
    let mut bad = layer(&b().file("a", "").file("../x", "").finish());
    let e = |layers: &[LayerBlob]| {
        Rootfs::from_layers(Config::default(), layers, &Silent).unwrap_err().to_string()
    };
    let expected =
        |d: Digest| format!("layer {d}: entry \"../x\" at byte 512: path \"../x\" has a \"..\" component");
    assert_eq!(e(&[good.clone(), bad.clone()]), expected(bad.diff_id));
    bad.digest = Some(Digest::of("compressed"));
    assert_eq!(e(&[good, bad.clone()]), expected(Digest::of("compressed")));
}

#[test]
fn the_id_is_the_chain_id() {
    let layers: Vec<LayerBlob> = ["1", "2", "3"].map(|n| layer(&b().file(n, "").finish())).to_vec();
    let id = |n: usize| Rootfs::from_layers(Config::default(), &layers[..n], &Silent).unwrap().id;
    let d: Vec<Digest> = layers.iter().map(|l| l.diff_id).collect();
    assert_eq!(id(0), Digest::of(""));
    assert_eq!(id(1), d[0]);
    assert_eq!(id(2), Digest::of(format!("{} {}", d[0], d[1])));
    assert_eq!(id(3), Digest::of(format!("{} {}", id(2), d[2])));
    let mut two = Rootfs::from_layers(Config::default(), &layers[..2], &Silent).unwrap();
    two.apply(&layers[2]).unwrap();
    assert_eq!(two.id, id(3));
}

/// CVE-2017-14992.
#[test]
fn limits_hold() {
    let mut rootfs = Rootfs::empty(Config::default());
    let tar = layer(&b().file("a", "").file("b", "").finish());
    let limits = Limits { entries: 1, ..Limits::default() };
    let e = rootfs.apply_with(&tar, &limits, &mut Usage::default(), &Silent).unwrap_err().to_string();
    assert!(e.ends_with("number of entries exceeds the limit of 1"), "{e}");
}

/// A whiteout that is found through symlinks costs as an entry does.
#[test]
fn whiteouts_through_links_count() {
    let lower = layer(&b().symlink("l", "d").dir("d").file("d/a", "").file("d/b", "").finish());
    let upper = layer(&b().file("l/.wh.a", "").file("l/.wh.b", "").finish());
    let left = |resolution| {
        let limits = Limits { resolution, ..Limits::default() };
        let (mut rootfs, mut usage) = (Rootfs::empty(Config::default()), Usage::default());
        rootfs.apply_with(&lower, &limits, &mut usage, &Silent).unwrap();
        rootfs.apply_with(&upper, &limits, &mut usage, &Silent).map_err(|e| e.to_string())?;
        Ok::<_, String>(rootfs.tree.iter().map(|(p, _)| p.to_string()).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(left(4).unwrap(), "/ /d /l");
    let e = left(3).unwrap_err();
    let expected =
        "entry \"l\" at byte 512: length of all paths through symbolic links exceeds the limit of 3";
    assert!(e.ends_with(expected), "{e}");
}

/// A limit that each layer meets is no limit.
#[test]
fn limits_are_for_all_layers_together() {
    let upper = layer(&b().file("b/c/d", "12345").finish());
    let lower = layer(&b().file("a", "12345").finish());
    let both = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        let (mut rootfs, mut usage) = (Rootfs::empty(Config::default()), Usage::default());
        rootfs.apply_with(&lower, &limits, &mut usage, &Silent).unwrap();
        let done = rootfs.apply_with(&upper, &limits, &mut usage, &Silent);
        done.map(|()| usage).map_err(|e| e.to_string())
    };
    // Names: a, b/c/d, and the directories b and b/c.
    assert_eq!(both(|_| {}), Ok(Usage { entries: 2, metadata: 10, implied: 4, data: 10, resolution: 1 }));
    assert!(both(|l| (l.entries, l.metadata, l.data) = (2, 10, 10)).is_ok());
    for (change, what) in [
        ((|l| l.entries = 1) as fn(&mut Limits), "number of entries exceeds the limit of 1"),
        (|l| l.metadata = 9, "size of all metadata exceeds the limit of 9"),
        (|l| l.metadata = 5, "size of all metadata exceeds the limit of 5"),
        (|l| l.data = 9, "size of all files exceeds the limit of 9"),
    ] {
        let e = both(change).unwrap_err();
        assert!(e.ends_with(what), "{e}");
    }
    // As it is by default: five layers with a hole of 60 GiB each.
    let hole = b().pax(
        b'x',
        &[("GNU.sparse.size", "64424509440"), ("GNU.sparse.numblocks", "0"), ("GNU.sparse.map", "")],
    );
    let hole = layer(&hole.file("hole", "").finish());
    let e = Rootfs::from_layers(Config::default(), &vec![hole; 5], &Silent).unwrap_err().to_string();
    assert!(e.ends_with("size of all files exceeds the limit of 274877906944"), "{e}");
}
