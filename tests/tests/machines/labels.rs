//! SELinux labels: those of setfiles(8), file by file, without its privileges.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::{Account, Program, Vm, Work, place, place_program, roots};
use selinux::{FileContexts, LABEL, Sources};
use tree::{Node, ReadOptions, Tree};

use crate::bootable;
use crate::flatcar::Parts;

/// The policy of the root, as its own programs find it.
const FILE_CONTEXTS: &str = "/etc/selinux/default/contexts/files/file_contexts";

/// Paths for which policies have lines of all kinds: `$1` is the tree.
const ODD: &str = r#"
mkdir -p "$1" && cd "$1"
mkdir -p dev/shm etc/init.d etc/ssh home/user/.ssh/sub home/user/public_html lib64/security lost+found opt/x/bin opt/x/lib64 proc root/.ssh \
    run/lock srv/www sys tmp/x usr/lib/firefox usr/lib/systemd/system usr/lib32 usr/libexec usr/local/lib/systemd usr/local/sbin \
    usr/lost+found/x usr/share/doc var/cache/private/x var/lib/docker/overlay2/a var/log/private var/named/chroot/proc var/run var/tmp/x
touch etc/passwd etc/shadow etc/init.d/x home/user/.ssh/authorized_keys home/user/public_html/index.html lib64/libc.so.6 \
    lib64/security/pam_x.so opt/x/bin/run opt/x/lib64/libx.so.1 root/.bashrc usr/lib/systemd/system/x.service usr/lib/systemd/systemd \
    usr/local/lib/systemd/x usr/local/sbin/y usr/lost+found/x/y usr/share/doc/copyright var/cache/private/x/y var/lib/docker/overlay2/a/b \
    var/log/messages var/tmp/x/y usr/lib/firefox/firefox 'usr/lib/a b' 'usr/lib/line
feed.so' "$(printf 'usr/lib/\377.so')" usr/libexec/z '.journal' usr/.journal var/lib/docker/config.env tmp/x/y
ln -s ../lib/firefox/firefox usr/libexec/firefox
ln -s libx.so.1 opt/x/lib64/libx.so
ln home/user/public_html/index.html home/user/public_html/other.html
mkfifo run/initctl dev/log.fifo
mknod dev/null c 1 3
mknod dev/sda b 8 0
mknod dev/tty1 c 4 1
chown -R 1000:1000 home/user
"#;

/// A private copy of the root with the policy.
fn root(work: &Work) -> Result<PathBuf> {
    let root = work.path().join("root");
    Program::new("cp").arg("-a").arg(roots::selinux()?).arg(&root).run()?;
    Ok(root)
}

/// A directory of a root, as setfiles(8) labels it: by the root's own policy, and as if it were a root itself.
fn setfiles(root: &Path, dir: &str) -> Result<Tree> {
    Program::new("chroot").arg(root).args(["setfiles", "-r", dir, FILE_CONTEXTS, dir]).run()?;
    read(&root.join(dir.trim_start_matches('/')), true)
}

fn read(dir: &Path, labels: bool) -> Result<Tree> {
    Ok(Tree::from_dir(dir, &ReadOptions { selinux: labels, ..ReadOptions::default() })?)
}

/// Paths and labels.
fn labels(tree: &Tree) -> BTreeMap<String, String> {
    let label = |node: &Node| match node.meta.xattrs.get(LABEL) {
        Some(label) => tree::escape(label.strip_suffix(b"\0").unwrap_or(b"no NUL at its end")),
        None => "none".to_owned(),
    };
    tree.iter().map(|(path, node)| (path.to_string(), label(node))).collect()
}

/// Files whose labels differ, or that one of both lacks.
fn differences(theirs: &BTreeMap<String, String>, ours: &BTreeMap<String, String>) -> Vec<String> {
    let paths: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let differ = |path: &&String| theirs.get(*path) != ours.get(*path);
    let line = |path: &String| format!("{path}: {:?}, ours {:?}", theirs.get(path), ours.get(path));
    paths.into_iter().filter(differ).map(line).collect()
}

/// What the kernel shows of an image's labels.
fn mounted(image: &Path) -> Result<BTreeMap<String, String>> {
    const SCRIPT: &str = r#"
mount -o loop,ro "$1" /mnt
cd /mnt
getfattr --recursive --no-dereference --dump --match='^security\.selinux$' .
"#;
    let unshare = ["--mount", "--propagation", "private", "sh", "-euc", SCRIPT, "sh"];
    let out = Program::new("unshare").args(unshare).arg(image).run()?.stdout;
    let mut found = BTreeMap::new();
    let mut path = String::new();
    for line in out.lines() {
        if let Some(name) = line.strip_prefix("# file: ") {
            path = format!("/{}", name.strip_prefix("./").unwrap_or(if name == "." { "" } else { name }));
        } else if let Some(value) = line.strip_prefix("security.selinux=") {
            found.insert(path.clone(), value.trim_matches('"').to_owned());
        }
    }
    Ok(found)
}

#[test]
fn labels_are_those_of_setfiles() -> Result<()> {
    let work = Work::new()?;
    let root = root(&work)?;
    let contexts = FileContexts::new(Sources::read(&root.join(FILE_CONTEXTS.trim_start_matches('/')))?)?;
    assert_eq!(Sources::of_host(&read(&root, false)?)?.main, contexts.sources().main);

    let copy = r#"mkdir -p "$1/var/tmp/system/var"; cp -a "$1/usr" "$1/etc" "$1/opt" "$1/bin" "$1/lib" "$1/var/tmp/system"
        cp -a "$1/var/lib" "$1/var/log" "$1/var/cache" "$1/var/tmp/system/var""#;
    Program::new("sh").args(["-euc", copy, "sh"]).arg(&root).run()?;
    Program::new("sh").args(["-euc", ODD, "sh"]).arg(root.join("var/tmp/odd")).run()?;
    for (name, files) in [("system", 5000), ("odd", 90)] {
        let dir = format!("/var/tmp/{name}");
        let mut ours = read(&root.join(dir.trim_start_matches('/')), false)?;
        let theirs = setfiles(&root, &dir)?;
        selinux::label(&mut ours, &contexts)?;
        assert!(ours.len() > files, "{name}: {}", ours.len());
        let kinds = labels(&ours).into_values().collect::<BTreeSet<_>>().len();
        assert!(kinds > 20, "{name}: {kinds}");
        let differ = differences(&labels(&theirs), &labels(&ours));
        assert!(differ.is_empty(), "{name}: {differ:#?}");
    }
    Ok(())
}

#[test]
fn images_are_labeled_without_privileges() -> Result<()> {
    let work = Work::new()?;
    let root = root(&work)?;
    let user = work.user("user")?;
    let make = r#"mkdir -p x/usr/bin x/usr/lib/systemd/system x/usr/lib/x x/opt/x/bin
        for file in bin/tool bin/mount lib/systemd/system/x.service lib/x/x.so; do echo "$file" > "x/usr/$file"; done
        chmod 755 x/usr/bin/*
        ln x/usr/bin/tool x/opt/x/bin/tool
        ln -s ../bin/mount x/usr/lib/x/link"#;
    user.program("sh").args(["-euc", make]).run()?;
    let bakery = |by: &Account, policy: &str, format: &str| {
        let output = format!("x.{format}");
        let args =
            ["pack", "x", "x", "--file-contexts", policy, "--format", format, "--no-verify", "-o", &output];
        Parts::get()?.bakery(by).args(args).run()
    };
    let (policy, host) =
        (root.join(FILE_CONTEXTS.trim_start_matches('/')), format!("dir:{}", root.display()));
    let policy = policy.to_str().context("path")?.to_owned();

    // The tree that is to be labeled, as it is in the image.
    let pack = ["pack", "x", "x", "--format", "dir", "--no-verify", "-o"];
    let plain = root.join("var/tmp/x");
    Parts::get()?.bakery(&work.root("root")?).args(pack).arg(&plain).dir(user.home()).run()?;
    let expected = labels(&setfiles(&root, "/var/tmp/x")?);
    assert!(expected.len() > 12 && !expected.values().any(|l| l == "none"), "{expected:?}");
    assert_eq!(expected["/usr/bin/mount"], "system_u:object_r:mount_exec_t:s0");

    for (policy, format) in
        [(&policy, "squashfs"), (&policy, "erofs"), (&host, "squashfs"), (&host, "ext4"), (&host, "btrfs")]
    {
        bakery(&user, policy, format)?;
        let found = mounted(&user.home().join(format!("x.{format}")))?;
        // No host shows the root of an image, and mkfs.btrfs gives it no attributes.
        let shown = |path: &String| path != "/lost+found" && (path != "/" || format != "btrfs");
        let found = found.into_iter().filter(|(path, _)| shown(path)).collect();
        let mut expected = expected.clone();
        expected.retain(|path, _| shown(path));
        let differ = differences(&expected, &found);
        assert!(differ.is_empty(), "{format}: {differ:#?}");
        fs::remove_file(user.home().join(format!("x.{format}")))?;
    }
    // `bakery check` says that there are none, and that there are some.
    let checker = work.root("checker")?;
    let check = |image: &str| {
        let out = Parts::get()?.bakery(&checker).args(["check", "--host", &host, image]).dir(user.home());
        let said = out.outcome()?.stdout;
        assert!(said.contains("  x: merged, "), "{said}");
        Ok::<_, anyhow::Error>(said.contains("[selinux-labels]"))
    };
    bakery(&user, &policy, "squashfs")?;
    fs::rename(user.home().join("x.squashfs"), user.home().join("x.raw"))?;
    assert!(!check("x.raw")?);
    Parts::get()?.bakery(&user).args(["pack", "x", "x", "--no-verify"]).run()?;
    assert!(check("x.raw")?);
    Ok(())
}

/// A service that writes into its state's directory and reads its data.
const SERVICE: &str = r#"
cd "$1"
mkdir -p usr/bin usr/lib/systemd/system "usr/lib/$2"
printf '#!/bin/sh\nmkdir -p /var/lib/%s && cat /usr/lib/%s/data > /var/lib/%s/file\n' "$2" "$2" "$2" > "usr/bin/$2"
chmod 755 "usr/bin/$2"
echo data > "usr/lib/$2/data"
printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/%s\n' "$2" > "usr/lib/systemd/system/$2.service"
"#;

/// Starts the three services, that of the extension without labels last, and prints what SELinux would have denied.
const DENIED: &str = r#"
test "$(cat /sys/fs/selinux/enforce)" = 0
for name in host-tool good-tool plain-tool; do
    test ! -e "/root/$name.raw" || { mv "/root/$name.raw" /etc/extensions && systemd-sysext refresh; }
    systemctl daemon-reload
    echo "with $name: $(ls --directory --context /usr/lib)"
    systemctl start "$name"
    systemctl is-active --quiet "$name"
    test "$(cat "/var/lib/$name/file")" = data
done
echo "denied:"
dmesg --notime | grep avc:
"#;

/// In a machine whose policy is permissive: what is denied to the host's own service is denied to the extension's, and nothing else.
#[test]
fn a_labeled_extension_is_as_the_hosts_own() -> Result<()> {
    let work = Work::new()?;
    let root = root(&work)?;
    let user = work.user("user")?;
    let service = |by: &str, dir: &Path, name: &str| {
        Program::new("sh").args(["-euc", SERVICE, by]).arg(dir).arg(name).run().map(drop)
    };
    service("host", &root, "host-tool")?;
    let policy = root.join(FILE_CONTEXTS.trim_start_matches('/'));
    let policy = policy.to_str().context("path")?;
    for (name, options) in [("good-tool", &["--file-contexts", policy][..]), ("plain-tool", &[])] {
        let dir = user.home().join(name);
        fs::create_dir(&dir)?;
        service("extension", &dir, name)?;
        Parts::get()?.bakery(&user).args(["pack", name, name, "--no-verify"]).args(options).run()?;
    }
    Vm::prepare(&root, &[&user.home().join("good-tool.raw")], DENIED)?;
    fs::copy(user.home().join("plain-tool.raw"), root.join("root/plain-tool.raw"))?;
    Program::new("chroot").arg(&root).args(["setfiles", FILE_CONTEXTS, "/"]).run()?;
    let (initrd, disk) = (work.path().join("initrd.cpio"), work.path().join("disk"));
    bootable::initrd(&root, work.path(), "/dev/vda")?;
    File::create(&disk)?.set_len(1 << 30)?;
    Program::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).args([&root, &disk]).run()?;
    // Nobody listens to the kernel's audit, so that it prints all that is denied, and keeps that. The journal misses some of it on a busy machine.
    let parameters =
        "security=selinux selinux=1 enforcing=0 audit=1 sysctl.kernel.printk_ratelimit=0 log_buf_len=16M";
    let printed = Vm::run_disk(work.path(), &root.join("boot/vmlinuz"), &initrd, &disk, parameters)?;
    let (_, denied) = printed.split_once("denied:").context("the script's end")?;
    let of = |name: &str| -> BTreeSet<String> {
        // Not of the image, which is the host's file.
        let lines =
            denied.lines().filter(|line| line.contains(&format!("/{name}")) && !line.contains(".raw"));
        let without_numbers = |line: &str| {
            let words = line
                .split(' ')
                .filter(|w| !["pid=", "ino=", "audit(", "msg="].iter().any(|k| w.starts_with(k)));
            words.collect::<Vec<_>>().join(" ").replace(name, "NAME")
        };
        lines.map(without_numbers).collect()
    };
    assert!(of("plain-tool").iter().any(|line| line.contains("unlabeled_t")), "{denied}");
    // The topmost image has the label of a directory that several have.
    for line in [
        "with good-tool: system_u:object_r:lib_t:s0 /usr/lib",
        "with plain-tool: system_u:object_r:unlabeled_t:s0 /usr/lib",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
    assert_eq!(of("good-tool"), of("host-tool"), "{denied}");
    assert!(!of("good-tool").iter().any(|line| line.contains("unlabeled_t")), "{denied}");
    Ok(())
}

#[test]
fn what_is_no_policy_is_an_error() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let make = r#"mkdir -p x/usr/bin host/usr/bin; echo x > x/usr/bin/x; echo '/usr/(?!x).* a:b:c' > look
        printf '/.*\n' > short"#;
    user.program("sh").args(["-euc", make]).run()?;
    for (policy, said) in [
        ("dir:host", "the host has no SELinux policy"),
        ("look", "look: line 1: /usr/(?!x).*: pattern has look-around, which isn't supported"),
        ("short", "short: line 1: expected a path, a label, and a kind between them if it has one"),
    ] {
        let args = ["pack", "x", "x", "--no-verify", "--file-contexts", policy];
        let out = Parts::get()?.bakery(&user).args(args).outcome()?.failure()?;
        assert!(out.stderr.contains(said), "{policy}: {}", out.stderr);
        assert!(!user.home().join("x.raw").exists());
    }
    Ok(())
}

#[test]
fn what_the_host_has_is_left_out_and_what_hides_its_files_is_refused() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let make = r#"mkdir -p x/usr/bin x/usr/share/x host/usr/bin host/usr/share/x
        for dir in x host; do echo same > $dir/usr/bin/same; echo data > $dir/usr/share/x/data; chmod 755 $dir/usr/bin/same; done
        echo new > x/usr/bin/new; chmod 755 x/usr/bin/new
        tar -C host --owner=0 --group=0 -cf host.tar .
        cp -a x other; echo other > other/usr/bin/same"#;
    user.program("sh").args(["-euc", make]).run()?;
    let bakery = |args: &[&str]| Parts::get()?.bakery(&user).args(args).outcome();
    let pack = ["--no-verify", "--format", "dir", "--host", "host.tar"];
    let out = bakery(&[&["pack", "x", "x", "-o", "made"], &pack[..]].concat())?.success()?;
    assert!(
        out.stderr.contains("2 files left out, which the host has: /usr/bin/same, /usr/share/x/data"),
        "{}",
        out.stderr
    );
    let made = user.program("find").args(["made", "-type", "f", "-printf", "%P "]).run()?.stdout;
    let mut made: Vec<&str> = made.split_whitespace().collect();
    made.sort_unstable();
    assert_eq!(made, ["usr/bin/new", "usr/lib/extension-release.d/extension-release.x"]);
    let refused = bakery(&[&["pack", "other", "x", "-o", "refused"], &pack[..]].concat())?.failure()?;
    let said =
        "extension x is refused: /usr/bin/same: hides the host's file, which has other content [host-file]";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    assert!(refused.stderr.contains("--allow host-file"), "{}", refused.stderr);
    assert!(!user.home().join("refused").exists());
    bakery(&[&["pack", "other", "x", "-o", "allowed", "--allow", "host-file"], &pack[..]].concat())?
        .success()?;
    assert!(user.home().join("allowed/usr/bin/same").exists());

    // The same of images.
    let flix = ["dir:x", "x", "/usr/bin/same", "/usr/bin/new", "-o", "taken"];
    let program = work.path().join("flix");
    place_program(&place::flix()?, &program)?;
    let out = user.program(&program).args(flix).args(["--format", "dir", "--host", "host.tar"]).run()?;
    assert!(out.stderr.contains("1 file left out, which the host has: /usr/bin/same"), "{}", out.stderr);
    Ok(())
}
