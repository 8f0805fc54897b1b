//! Much of everything, and what goes wrong on the way.

use std::os::unix::ffi::OsStrExt as _;

use super::*;
use crate::{ImageOptions, Volume};
use tree::Silent;

#[test]
fn large_and_many_attributes() {
    let mut t = Tree::default();
    // XATTR_SIZE_MAX, and lists that cross metadata blocks.
    let mut largest = Node::file(0o644, "a");
    largest.meta.xattrs.insert(b"user.largest".to_vec(), text(65_536, 7));
    largest.meta.xattrs.insert([b"user.".as_slice(), &[b'n'; 250]].concat(), b"longest name".to_vec());
    t.insert(p("/largest"), largest).unwrap();
    for i in 0..3000u32 {
        let mut node = Node::file(0o644, "");
        node.meta.xattrs.insert(b"user.number".to_vec(), i.to_string().into_bytes());
        t.insert(p(&format!("/{i}")), node).unwrap();
    }
    assert_kernel_agrees(&t, &options(Codec::Zstd));
}

#[test]
fn the_longest_link_and_many_owners() {
    let mut t = Tree::default();
    // PATH_MAX less the final NUL.
    t.insert(p("/link"), Node::symlink("l".repeat(4095))).unwrap();
    for i in 0..40_000u32 {
        let mut node = Node::symlink("x");
        node.meta.uid = 100_000 + i;
        node.meta.gid = 4_000_000_000;
        t.insert(p(&format!("/{i}")), node).unwrap();
    }
    assert_kernel_agrees(&t, &options(Codec::Zstd));
    for i in 0..30_000u32 {
        let mut node = Node::symlink("x");
        node.meta.uid = 200_000 + i;
        t.insert(p(&format!("/more{i}")), node).unwrap();
    }
    let mut file = tempfile::tempfile().unwrap();
    let error = write(&t, &mut file, &options(Codec::Zstd), &mut |_| {}).unwrap_err();
    assert!(matches!(error, WriteError::TooManyIds), "{error}");
}

#[test]
fn a_file_that_shrinks_meanwhile_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let blob = dir.path().join("blob");
    let len = 8 << 20;
    std::fs::write(&blob, text(len, 9)).unwrap();
    let mut t = Tree::default();
    t.insert(p("/shrinks"), Node::file(0o644, Content::in_blob(Blob::at_path(&blob), 0, len as u64)))
        .unwrap();
    // At the first progress most blocks are still to be read: few may be ahead.
    let mut shrink = |_| std::fs::File::options().write(true).open(&blob).unwrap().set_len(9).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let error = write(&t, &mut file, &options(Codec::Lz4), &mut shrink).unwrap_err().to_string();
    assert!(error.starts_with("/shrinks: ") && error.contains("blob"), "{error}");
}

#[test]
fn a_full_disk_is_told_and_nothing_left() {
    assert!(rustix::process::geteuid().is_root(), "mounting takes root: run the tests as root");
    let dir = tempfile::tempdir().unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(dir.path()));
    let disk = Mounted(dir);
    let mut t = Tree::default();
    t.insert_all(p("/usr/lib/noise"), Node::file(0o644, noise(1, 4 << 20)), &Meta::dir()).unwrap();
    let volume = Volume { tree: &t, name: "full", architecture: None, epoch: 0 };
    let path = disk.0.path().join("full.raw");
    let error = crate::write(volume, &path, &ImageOptions::default(), &Silent).unwrap_err().to_string();
    assert!(error.contains("full.raw") && error.contains("No space left on device"), "{error}");
    assert_eq!(std::fs::read_dir(disk.0.path()).unwrap().count(), 0);
}

/// Bytes. The bound of the writer's own memory: 64 MiB, and 4 MiB a thread.
const BOUND: u64 = (64 << 20) + 2 * (4 << 20);
const MEMORY_HELPER: &str = "squashfs::tests::edge::helper_that_measures_memory";

/// Not a test by itself: a process of its own for [`memory_is_bounded_whatever_the_number_of_files`], since memory is
/// counted by process. Prints how much more was in use than the tree took: VmHWM, proc_pid_status(5).
#[test]
fn helper_that_measures_memory() {
    if std::env::var_os("SYSEXT_TEST_MEMORY").is_none() {
        return;
    }
    let status = |field: &str| -> u64 {
        let text = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    };
    let mut t = Tree::default();
    for d in 0..100 {
        let dir = p(&format!("/{d}"));
        t.insert(dir.clone(), Node::dir()).unwrap();
        for f in 0..1000 {
            // All of one length, so that all are compared.
            t.insert(dir.join(f.to_string()).unwrap(), Node::file(0o644, format!("{d:08} {f:08}"))).unwrap();
        }
    }
    let before = status("VmRSS:");
    // "5" forgets the peak, proc_pid_clear_refs(5).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (file, _) = image(&t, &options(Codec::Zstd));
    println!("took {} bytes", status("VmHWM:").saturating_sub(before));
    let mounted = Mounted::new(file.path());
    assert_eq!(std::fs::read_dir(mounted.0.path()).unwrap().count(), 100);
    let last = std::fs::read(mounted.0.path().join("99/999")).unwrap();
    assert_eq!(last, b"00000099 00000999");
}

#[test]
fn memory_is_bounded_whatever_the_number_of_files() {
    let said = run(Command::new(std::env::current_exe().unwrap())
        .args(["--exact", MEMORY_HELPER, "--nocapture"])
        .env("SYSEXT_TEST_MEMORY", "1"));
    let took = said.split_once("took ").and_then(|(_, rest)| rest.split_once(' ')).map(|(n, _)| n);
    let took: u64 = took.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    // 100,000 files are a twentieth of the two million that the bound has to hold for.
    assert!(took < BOUND / 6, "{took} bytes");
}

#[test]
fn names_of_all_lengths_are_found() {
    let mut t = Tree::default();
    for len in 1..=255usize {
        for letter in [b'a', b'~', 0xff, 1] {
            t.insert(TreePath::new(vec![letter; len]).unwrap(), Node::file(0o644, vec![letter; len]))
                .unwrap();
        }
    }
    let (file, _) = image(&t, &options(Codec::Zstd));
    let mounted = Mounted::new(file.path());
    for (path, node) in t.iter().filter(|(path, _)| !path.is_root()) {
        // By name: the look-up takes the directory's index.
        let found = std::fs::read(mounted.0.path().join(std::ffi::OsStr::from_bytes(path.as_relative())));
        assert!(found.unwrap() == node.content().unwrap().read(999).unwrap(), "{path}");
    }
}
