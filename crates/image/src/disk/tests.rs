use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::*;
use crate::tests::{noise, run, sample, sample_volume};
use crate::{Format, ImageError, ImageOptions, Written, write};
use tree::{Event, Events, Silent};

struct Keys {
    dir: tempfile::TempDir,
}

impl Keys {
    /// An RSA key and its certificate, by openssl; other forms of the key and other keys on demand.
    fn new() -> Keys {
        let keys = Keys { dir: tempfile::tempdir().unwrap() };
        keys.openssl(
            "req -x509 -newkey rsa:2048 -nodes -subj /O=test/CN=verity -keyout key.pem -out cert.pem",
        );
        keys
    }

    fn openssl(&self, args: &str) -> Vec<u8> {
        run(Command::new("openssl").args(args.split(' ')).current_dir(self.dir.path()), "openssl")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn signer(&self) -> VeritySigner {
        VeritySigner::read(&self.path("key.pem"), &self.path("cert.pem"), &Silent).unwrap()
    }
}

fn options(format: Format, signer: Option<VeritySigner>) -> ImageOptions {
    let verity = Verity { signer: signer.map(Arc::new), architecture: None };
    ImageOptions { format, verity: Some(verity), ..ImageOptions::default() }
}

/// The image, and what it says of itself, in a directory.
fn image(volume: Volume<'_>, options: &ImageOptions) -> (tempfile::TempDir, PathBuf, Written) {
    // Staged files need attributes, which not every tmpfs holds.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = dir.path().join("sample.raw");
    let written = write(volume, &path, options, &Silent).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "something was left");
    (dir, path, written)
}

/// The partitions' bytes, by sfdisk's reading of the table.
fn partitions(image: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(image).unwrap();
    let dump = String::from_utf8(run(Command::new("sfdisk").arg("--dump").arg(image), "fdisk")).unwrap();
    let number = |line: &str, field: &str| -> usize {
        let (_, rest) = line.split_once(field).unwrap();
        rest.split(',').next().unwrap().trim().parse().unwrap()
    };
    let lines = dump.lines().filter(|l| l.contains("start="));
    lines.map(|l| bytes[number(l, "start=") * 512..][..number(l, "size=") * 512].to_vec()).collect()
}

#[test]
fn the_table_is_as_systemd_repart_makes_it() {
    let keys = Keys::new();
    let (_dir, path, written) =
        image(sample_volume(sample()).volume(), &options(Format::Squashfs, Some(keys.signer())));
    let said = run(Command::new("sfdisk").arg("--verify").arg(&path), "fdisk");
    assert!(String::from_utf8_lossy(&said).contains("No errors detected"), "{said:?}");
    let dump = String::from_utf8(run(Command::new("sfdisk").arg("--dump").arg(&path), "fdisk")).unwrap();
    let dump = dump.to_lowercase();
    let lines: Vec<&str> = dump.lines().filter(|l| l.contains("start=")).collect();
    let root_hash = written.root_hash.unwrap();
    let uuid = |hex: &str| {
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
    };
    for (line, expected) in lines.iter().zip([
        "start= 40, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, name=\"root-x86-64\", attrs=\"guid:60\"",
        "type=2c7357ed-ebd2-46d9-aec1-23d437ec2bf5, name=\"root-x86-64-verity\", attrs=\"guid:60\"",
        "size= 32, type=41092b05-9fc8-4523-994f-2def0408b176, name=\"root-x86-64-verity-sig\"",
    ]) {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        for field in expected.split(", ") {
            assert!(line.contains(field), "{line}: {field}");
        }
    }
    assert!(lines[0].contains(&uuid(&root_hash[..32])), "{}", lines[0]);
    assert!(lines[1].contains(&uuid(&root_hash[32..])), "{}", lines[1]);
    assert!(lines.len() == 3 && !lines[2].contains("attrs"), "{dump}");

    // The second table holds when the first is gone.
    let bytes = std::fs::read(&path).unwrap();
    let mut damaged = bytes.clone();
    damaged[512..20480].fill(0);
    std::fs::write(&path, damaged).unwrap();
    let again = run(Command::new("sfdisk").arg("--dump").arg(&path), "fdisk");
    let again = String::from_utf8(again).unwrap().to_lowercase();
    assert_eq!(again.lines().filter(|l| l.contains("start=")).collect::<Vec<_>>(), lines);
    assert_eq!(bytes.len() as u64, written.bytes);
}

#[test]
fn partitions_of_every_architecture_are_systemds() {
    // From `systemd-id128 show`, systemd 257.
    let table = [
        (Arch::X86_64, "4f68bce3e8cd4db196e7fbcaf984b709", "41092b059fc84523994f2def0408b176"),
        (Arch::Arm64, "b921b0451df041c3af444c6f280d3fae", "6db69de629f44758a7a5962190f00ce3"),
        (Arch::X86, "44479540f29741b29af7d131d5f0458a", "5996fc05109c48de808b23fa0830b676"),
        (Arch::Arm, "69dad7102ce44e3cb16c21a1d49abed3", "42b0455feb11491d98d356145ba9d037"),
        (Arch::Riscv64, "72ec70a6cf7440e6bd494bda08e8f224", "efe0f087ea8d4469821a4c2a96a8386a"),
        (Arch::Ppc64Le, "c31c45e63f39412e80fb4809c4980599", "d4a236e7e8734c07bf1dbf6cf7f1c3c6"),
        (Arch::S390x, "5eead9a9fe094a1ea1d7520d00531306", "c80187a573a3491a901a017c3fa953e9"),
        (Arch::LoongArch64, "77055800792c4f94b39a98c91b762bb6", "5afb67ebecc84f85ae8eac1e7c50e7d0"),
    ];
    assert_eq!(table.len(), Arch::ALL.len());
    for (arch, root, signature) in table {
        let kinds = gpt::root_types(arch);
        assert_eq!((hex(&kinds[0]).as_str(), hex(&kinds[2]).as_str()), (root, signature), "{arch}");
    }
}

/// Data of that many blocks, with something in the first, the last and one in the middle.
fn sparse_disk(blocks: u64) -> (tempfile::TempDir, File) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = File::options().read(true).write(true).create_new(true).open(dir.path().join("data")).unwrap();
    file.set_len(blocks * verity::BLOCK).unwrap();
    for block in [0, blocks / 2, blocks - 1] {
        file.write_all_at(&noise(4096, block + 1), block * verity::BLOCK).unwrap();
    }
    (dir, file)
}

#[test]
fn the_tree_is_veritysetups() {
    for blocks in [1, 2, 128, 129, 128 * 128, 128 * 128 + 1] {
        let (dir, file) = sparse_disk(blocks);
        let (salt, uuid) = ([0x5a; 32], [0x17; 16]);
        let format = Command::new("veritysetup")
            .args(["format", "--salt", &hex(&salt), "--uuid", "17171717-1717-1717-1717-171717171717"])
            .args([dir.path().join("data"), dir.path().join("tree")])
            .output()
            .expect("veritysetup: apt-get install cryptsetup-bin");
        assert!(format.status.success(), "{}", String::from_utf8_lossy(&format.stderr));
        let said = String::from_utf8(format.stdout).unwrap();
        let root = said.lines().find_map(|l| l.strip_prefix("Root hash:")).unwrap().trim();

        let layout = verity::Layout::new(blocks * verity::BLOCK);
        let place = blocks * verity::BLOCK;
        file.set_len(place + layout.len()).unwrap();
        let threads = NonZeroUsize::new(3).unwrap();
        let root_hash = layout.write(&file, 0, place, &salt, &uuid, threads).unwrap();
        assert_eq!(hex(&root_hash), root, "{blocks} blocks");
        let mut tree = vec![0; layout.len() as usize];
        file.read_exact_at(&mut tree, place).unwrap();
        assert!(tree == std::fs::read(dir.path().join("tree")).unwrap(), "{blocks} blocks");
    }
}

#[test]
fn every_file_system_is_in_its_partition_and_holds() {
    for format in [Format::Squashfs, Format::Erofs, Format::Ext4, Format::Ext2, Format::Btrfs] {
        let sample = sample_volume(sample());
        let (dir, path, written) = image(sample.volume(), &options(format, None));
        let found = partitions(&path);
        assert_eq!(found.len(), 2, "{format}");
        for (name, bytes) in ["root", "tree"].iter().zip(&found) {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        let verify = |data: &str| {
            let mut command = Command::new("veritysetup");
            command.arg("verify").args([dir.path().join(data), dir.path().join("tree")]);
            command.arg(written.root_hash.as_ref().unwrap()).output().unwrap()
        };
        let out = verify("root");
        assert!(out.status.success(), "{format}: {}", String::from_utf8_lossy(&out.stderr));
        let mut flipped = found[0].clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        std::fs::write(dir.path().join("flipped"), flipped).unwrap();
        assert!(!verify("flipped").status.success(), "{format}");

        // The file system is the one of an image without verity.
        let plain = dir.path().join("plain");
        let plain_options = ImageOptions { format, ..ImageOptions::default() };
        write(sample.volume(), &plain, &plain_options, &Silent).unwrap();
        assert!(found[0] == std::fs::read(plain).unwrap(), "{format}");
    }
}

#[test]
fn the_bytes_depend_on_the_volume_and_the_key_alone() {
    let keys = Keys::new();
    let tree = sample();
    let make = |threads, name: &str| {
        let options = ImageOptions {
            threads: NonZeroUsize::new(threads),
            ..options(Format::Squashfs, Some(keys.signer()))
        };
        let volume = Volume { tree: &tree, name, architecture: Some(Arch::Arm64), epoch: 0 };
        let (_dir, path, _) = image(volume, &options);
        std::fs::read(path).unwrap()
    };
    let first = make(1, "sample");
    assert!(first == make(8, "sample"));
    assert!(first != make(1, "other"));
}

#[test]
fn signatures_are_openssls() {
    let keys = Keys::new();
    keys.openssl("rsa -traditional -in key.pem -out pkcs1.pem");
    let message = "c0ffee".repeat(10);
    std::fs::write(keys.path("message"), &message).unwrap();
    keys.openssl(
        "smime -sign -nocerts -noattr -binary -in message -inkey key.pem -signer cert.pem -outform der -out theirs",
    );
    let theirs = std::fs::read(keys.path("theirs")).unwrap();
    for key in ["key.pem", "pkcs1.pem"] {
        let signer = VeritySigner::read(&keys.path(key), &keys.path("cert.pem"), &Silent).unwrap();
        assert_eq!(signer.sign(message.as_bytes()).unwrap(), theirs, "{key}");
    }
}

#[test]
fn the_signature_partition_is_json_with_the_root_hash_signed() {
    let keys = Keys::new();
    let (_dir, path, written) =
        image(sample_volume(sample()).volume(), &options(Format::Squashfs, Some(keys.signer())));
    let content = partitions(&path).pop().unwrap();
    let end = content.iter().position(|&b| b == 0).unwrap();
    let text = std::str::from_utf8(&content[..end]).unwrap();
    assert!(content[end..].iter().all(|&b| b == 0));
    let root_hash = written.root_hash.unwrap();
    let field = |name: &str| {
        let (_, rest) = text.split_once(&format!("\"{name}\":\"")).unwrap();
        rest.split('"').next().unwrap()
    };
    assert!(text.starts_with('{') && text.ends_with('}'), "{text}");
    assert_eq!(field("rootHash"), root_hash);
    let fingerprint =
        String::from_utf8(keys.openssl("x509 -in cert.pem -noout -fingerprint -sha256")).unwrap();
    let fingerprint = fingerprint.trim().split('=').nth(1).unwrap().replace(':', "").to_lowercase();
    assert_eq!(field("certificateFingerprint"), fingerprint);

    std::fs::write(keys.path("root-hash"), &root_hash).unwrap();
    std::fs::write(keys.path("base64"), field("signature")).unwrap();
    keys.openssl("base64 -d -A -in base64 -out signature");
    let verify = "cms -verify -binary -content root-hash -inform der -in signature -certfile cert.pem -CAfile cert.pem \
                  -purpose any -out said";
    keys.openssl(verify);
    assert_eq!(std::fs::read_to_string(keys.path("said")).unwrap(), root_hash);
    std::fs::write(keys.path("root-hash"), root_hash.replace('0', "1")).unwrap();
    let mut refused = Command::new("openssl");
    let refused = refused.args(verify.split_whitespace()).current_dir(keys.dir.path()).output().unwrap();
    assert!(!refused.status.success());
}

#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Events for Said {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.lock().unwrap().push(text.into_owned());
        }
    }
}

#[test]
fn unfit_keys_are_refused_in_words_that_tell_nothing_of_them() {
    let keys = Keys::new();
    keys.openssl("req -x509 -newkey rsa:2048 -nodes -subj /CN=other -keyout other.pem -out other-cert.pem");
    keys.openssl("req -x509 -newkey rsa:1024 -nodes -subj /CN=small -keyout small.pem -out small-cert.pem");
    keys.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem");
    keys.openssl("ecparam -name prime256v1 -genkey -noout -out sec1.pem");
    keys.openssl("pkcs8 -topk8 -in key.pem -passout pass:x -out encrypted.pem");
    keys.openssl("rsa -traditional -aes128 -passout pass:x -in key.pem -out old-encrypted.pem");
    let pem = std::fs::read_to_string(keys.path("key.pem")).unwrap();
    std::fs::write(keys.path("broken.pem"), pem.replacen("\nM", "\n!", 1)).unwrap();
    std::fs::write(keys.path("cut.pem"), &pem[..pem.len() / 2]).unwrap();
    std::fs::write(keys.path("large.pem"), vec![b'\n'; (1 << 20) + 1]).unwrap();
    let pem = std::fs::read_to_string(keys.path("cert.pem")).unwrap();
    std::fs::write(keys.path("bad-cert.pem"), pem.replace("MII", "AAA")).unwrap();
    for (key, cert, message) in [
        ("gone.pem", "cert.pem", "No such file"),
        ("cert.pem", "cert.pem", "has no private key in PEM: nothing of the kind in it"),
        ("key.pem", "key.pem", "has no certificate in PEM: nothing of the kind in it"),
        ("other.pem", "cert.pem", "certificate is for another key than"),
        ("small.pem", "small-cert.pem", "expected RSA of 2048 to 4096 bits"),
        ("ec.pem", "cert.pem", "expected RSA of 2048 to 4096 bits"),
        ("sec1.pem", "cert.pem", "expected RSA of 2048 to 4096 bits"),
        ("encrypted.pem", "cert.pem", "the private key is encrypted"),
        ("old-encrypted.pem", "cert.pem", "the private key is encrypted"),
        ("broken.pem", "cert.pem", "has no private key in PEM: malformed"),
        ("cut.pem", "cert.pem", "has no private key in PEM: malformed"),
        ("large.pem", "cert.pem", "is larger than 1048576 bytes"),
        ("key.pem", "bad-cert.pem", "certificate is malformed"),
    ] {
        let error = VeritySigner::read(&keys.path(key), &keys.path(cert), &Silent).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(message), "{key}, {cert}: {text}");
        for line in std::fs::read_to_string(keys.path(key)).unwrap_or_default().lines() {
            assert!(line.len() < 20 || !format!("{text} {error:?}").contains(line), "{text}");
        }
    }
}

#[test]
fn keys_that_others_can_read_make_a_warning() {
    let keys = Keys::new();
    for (mode, warnings) in [(0o600, 0), (0o400, 0), (0o640, 1), (0o644, 1)] {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(keys.path("key.pem"), permissions).unwrap();
        let said = Said::default();
        VeritySigner::read(&keys.path("key.pem"), &keys.path("cert.pem"), &said).unwrap();
        let said = said.0.into_inner().unwrap();
        assert_eq!(said.len(), warnings, "{mode:o}: {said:?}");
    }
}

#[test]
fn what_no_disk_can_hold_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sample");
    for format in [Format::Dir, Format::Tar] {
        let error =
            write(sample_volume(sample()).volume(), &path, &options(format, None), &Silent).unwrap_err();
        assert!(matches!(error, ImageError::NoDisk { .. }), "{error}");
    }
    let sample = sample_volume(sample());
    let any = Volume { architecture: None, ..sample.volume() };
    let error = write(any, &path, &options(Format::Squashfs, None), &Silent).unwrap_err();
    assert!(matches!(error, ImageError::NoArchitecture), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
