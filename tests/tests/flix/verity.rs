//! Signed disk images, on a host that demands them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::{Account, Program, Vm, Work, World, roots};

use crate::assert_says;

/// A key and its certificate, `NAME.pem` and `NAME.crt`.
fn make_key(by: &Account, name: &str) -> Result<()> {
    let request = "req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /O=tests -keyout";
    let openssl = by.program("openssl").args(request.split(' ')).arg(format!("{name}.pem"));
    openssl.arg("-out").arg(format!("{name}.crt")).run().map(drop)
}

/// busybox as an extension named `box`, with more options.
fn make(by: &Account, output: &str, options: &[&str]) -> Result<PathBuf> {
    let flix =
        World::get()?.flix(by).args(["little:latest", "box", "/bin/busybox:/usr/bin/busybox", "-o", output]);
    let out = flix.args(options).run()?;
    assert!(out.stdout.contains("\nroot hash: "), "{}", out.stdout);
    Ok(by.home().join(output))
}

/// What sfdisk says of an image's partitions: field and value.
fn partitions(image: &Path) -> Result<Vec<Vec<(String, String)>>> {
    let dump = Program::new("sfdisk").arg("--dump").arg(image).run()?.stdout;
    let lines = dump.lines().filter_map(|l| l.split_once(" : ")).map(|(_, fields)| fields);
    let field = |f: &str| f.trim().split_once('=').map(|(k, v)| (k.to_owned(), v.trim().to_owned()));
    Ok(lines.map(|l| l.split(", ").filter_map(field).collect()).collect())
}

/// The first byte of a partition. Bytes.
fn start(image: &Path, partition: usize) -> Result<usize> {
    let partitions = partitions(image)?;
    let start = partitions.get(partition).context("a partition is missing")?.iter().find(|f| f.0 == "start");
    Ok(start.context("a partition without a start")?.1.parse::<usize>()? * 512)
}

/// Copies of an image with one byte changed: in the file system's superblock, in a file of it, in the tree of hashes, and in
/// the signature.
fn damaged(image: &Path, dir: &Path) -> Result<Vec<PathBuf>> {
    let bytes = fs::read(image)?;
    let (root, tree, signature) = (start(image, 0)?, start(image, 1)?, start(image, 2)?);
    let field = br#""signature":""#;
    let text = &bytes[signature..];
    let at = text.windows(field.len()).position(|w| w == field).context("no signature")?;
    let places = [
        ("root", root + 8),
        ("content", root + 40_000),
        ("tree", tree + 4096 + 9),
        // In the middle of the RSA signature, where any character of base64 may stand.
        ("signature", signature + at + field.len() + 300),
    ];
    places
        .map(|(name, place)| {
            let mut copy = bytes.clone();
            copy[place] = if copy[place] == b'A' { b'B' } else { b'A' };
            let path = dir.join(format!("{name}.image"));
            fs::write(&path, copy).with_context(|| format!("{path:?}"))?;
            Ok(path)
        })
        .into_iter()
        .collect()
}

/// Merges one image after the other. Whether it is merged is seen by its program.
const CASES: &str = r#"
echo 1 >/proc/sys/kernel/printk
cd /etc/extensions
mkdir -p /run/extensions /etc/verity.d
try() {
    cp "$1.image" /run/extensions/box.raw
    systemd-sysext --no-pager --image-policy="$2" merge >log 2>&1 || true
    if busybox true 2>>log; then echo "$1: runs"
    elif test -e /usr/bin/busybox; then echo "$1: is damaged"
    else echo "$1: is refused"; fi
    systemd-sysext unmerge >>log 2>&1
    rm /run/extensions/box.raw
    # Images of one root hash share a device, which goes a moment after its last user.
    n=0; while ls -d /sys/block/dm-* >>log 2>&1 && test $n -lt 50; do n=$((n+1)); sleep 0.1; done
    sed "s/^/  $1: /" log >>/run/logs
}
signed='root=signed+absent:usr=signed+absent'
try good "$signed"
cp other.crt /etc/verity.d/
try good "$signed"
echo 'with the certificate'
cp ours.crt /etc/verity.d/
for image in root content tree signature unsigned plain good erofs theirs; do try $image "$signed"; done
try unsigned 'root=verity+absent:usr=verity+absent'
systemd-dissect --validate good.image
echo 'the end'
cat /run/logs
"#;

const EXPECTED: &str = "good: is refused
good: is refused
with the certificate
root: is refused
content: is damaged
tree: is refused
signature: is refused
unsigned: is refused
plain: is refused
good: runs
erofs: runs
theirs: runs
unsigned: runs
OK
the end";

#[test]
fn a_host_that_demands_signatures_takes_ours_and_nothing_else() -> Result<()> {
    let work = Work::new()?;
    let by = work.root("root")?;
    for key in ["ours", "other"] {
        make_key(&by, key)?;
    }
    let sign = ["--sign-verity", "ours.pem", "--cert", "ours.crt"];
    let good = make(&by, "good.image", &sign)?;
    let mut files = damaged(&good, by.home())?;
    files.push(good);
    files.push(make(&by, "erofs.image", &[&sign[..], &["--format", "erofs"]].concat())?);
    files.push(make(&by, "unsigned.image", &["--verity"])?);
    World::get()?
        .flix(&by)
        .args(["little:latest", "box", "/bin/busybox:/usr/bin/busybox", "-o", "plain.image"])
        .run()?;
    files.push(by.home().join("plain.image"));
    files.push(systemds(&by)?);
    files.extend(["ours.crt", "other.crt"].map(|f| by.home().join(f)));
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let said = Vm::trixie()?.run(work.path(), &files, CASES)?;
    let (results, log) = said.split_once("the end").context(said.clone())?;
    assert_eq!(format!("{}the end", results.trim_start()), EXPECTED, "{log}");
    Ok(())
}

/// The extension by systemd-repart of Debian 13.
fn systemds(by: &Account) -> Result<PathBuf> {
    World::get()?
        .flix(by)
        .args(["little:latest", "box", "/bin/busybox:/usr/bin/busybox", "--format", "dir", "-o", "box"])
        .run()?;
    // Its temporary files are its own: others read this root at the same time.
    let script = r#"
mount --bind "$2" "$1/mnt"
mount -t tmpfs tmpfs "$1/var/tmp"
mount -t tmpfs tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
chroot "$1" systemd-repart --offline=yes --make-ddi=sysext --private-key=/mnt/ours.pem --certificate=/mnt/ours.crt \
    --copy-source=/mnt/box /mnt/theirs.image
"#;
    let root = roots::host("trixie")?;
    let run = Program::new("unshare").clean_env().args(["--mount", "--propagation", "private", "sh", "-euc"]);
    run.args([script, "repart"]).args([&root, by.home()]).run()?;
    Ok(by.home().join("theirs.image"))
}

/// Field by field: what differs is what is drawn by lot there, and lengths.
#[test]
fn the_partitions_are_those_of_systemd_repart() -> Result<()> {
    let work = Work::new()?;
    let by = work.root("root")?;
    make_key(&by, "ours")?;
    let theirs = partitions(&systemds(&by)?)?;
    let sign = ["--format", "erofs", "--sign-verity", "ours.pem", "--cert", "ours.crt"];
    let ours = partitions(&make(&by, "ours.image", &sign)?)?;
    let fixed = |fields: &[(String, String)]| -> Vec<String> {
        let kept = fields.iter().filter(|(k, _)| ["type", "name", "attrs"].contains(&k.as_str()));
        kept.map(|(k, v)| format!("{k}={v}")).collect()
    };
    assert_eq!(theirs.len(), 3);
    assert_eq!(
        ours.iter().map(|p| fixed(p)).collect::<Vec<_>>(),
        theirs.iter().map(|p| fixed(p)).collect::<Vec<_>>()
    );
    // The first begins where theirs does, and the signature's is as long.
    assert_eq!((&ours[0][0], &ours[2][1]), (&theirs[0][0], &theirs[2][1]));
    Ok(())
}

#[test]
fn the_command_line_says_what_is_wrong_before_it_pulls() -> Result<()> {
    let work = Work::new()?;
    let by = work.root("root")?;
    make_key(&by, "ours")?;
    make_key(&by, "other")?;
    for (options, words) in [
        (
            &["--verity", "--format", "tar"][..],
            &["tar can't be protected by verity", "hint: ", "squashfs"][..],
        ),
        (&["--sign-verity", "ours.pem"], &["--cert"]),
        (&["--sign-verity", "gone.pem", "--cert", "ours.crt"], &["gone.pem", "no such file"]),
        (&["--sign-verity", "ours.crt", "--cert", "ours.crt"], &["no private key", "hint: openssl"]),
        (&["--sign-verity", "ours.pem", "--cert", "other.crt"], &["for another key"]),
    ] {
        let flix = World::get()?.flix(&by).args(["nowhere.example/gone", "box", "/bin/box"]).args(options);
        assert_says(&flix.outcome()?.failure()?, words);
    }
    by.program("chmod").args(["644", "ours.pem"]).run()?;
    let options = ["--json", "--sign-verity", "ours.pem", "--cert", "ours.crt"];
    let paths = ["little:latest", "box", "/bin/busybox:/usr/bin/busybox"];
    for program in [World::get()?.flix(&by), World::get()?.flatwrap(&by)] {
        let out = program.args(paths).args(options).run()?;
        assert_says(&out, &["warning: ", "ours.pem", "0644", "\"root_hash\": \""]);
    }
    Ok(())
}
