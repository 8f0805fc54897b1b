//! `bakery bake-image`, from Flatcar's server to partitions that the kernel mounts.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::Result;

use crate::{
    disk::{self, MIB},
    flatcar::{CONF, Flatcar, IMAGE, Keys, Parts, extension},
};

const ROOT: &str = "\
d 755 0:0 /etc
d 755 0:0 /etc/extensions
l 777 0:0 /etc/extensions/tool.raw /opt/extensions/tool/tool.raw
d 755 0:0 /etc/sysupdate.d
f 644 0:0 /etc/sysupdate.d/noop.conf
d 755 0:0 /etc/sysupdate.tool.d
f 644 0:0 /etc/sysupdate.tool.d/tool.conf
d 755 0:0 /opt
d 755 0:0 /opt/extensions
d 755 0:0 /opt/extensions/tool
f 644 0:0 /opt/extensions/tool/tool.raw
";

/// Nobody's privileges are enough for the root partition.
#[test]
fn root_gets_file_link_and_configuration_without_privileges() -> Result<()> {
    let flatcar = Flatcar::new()?;
    let user = flatcar.work.user("user")?;
    flatcar.tool(&user)?;
    let out = flatcar.bake(&user).arg("tool:tool.raw").run()?;
    assert_eq!(out.stdout, format!("{IMAGE}\n"));
    assert!(
        out.stderr.starts_with("note: this takes debugfs and e2fsck, no privileges: all of it is there\n"),
        "{}",
        out.stderr
    );
    assert!(out.stderr.contains("is signed by key"), "{}", out.stderr);
    let image = user.home().join(IMAGE);
    assert_eq!(disk::listing(&image, "ROOT")?, ROOT);
    let read = r#"cmp "$OLDPWD/tool.raw" opt/extensions/tool/tool.raw; cat etc/sysupdate.tool.d/tool.conf; cat etc/sysupdate.d/noop.conf"#;
    let text = disk::on_mounted(&image, "ROOT", &read.replace("$OLDPWD", &user.home().to_string_lossy()))?;
    assert!(text.starts_with(CONF) && text.contains("MatchPattern=invalid@v.raw\n"), "{text}");
    disk::check(&image)?;
    let original = Parts::get()?.image();
    assert_eq!(disk::difference(&original, &image, &["ROOT"])?, None);
    assert!(disk::taken(&image)? < disk::taken(&original)? + 8 * MIB, "zeros are written out");

    // Once more without a network: the same bytes.
    let again = flatcar.bake(&user).args(["--offline", "-o", "again.bin", "tool:tool.raw"]).run()?;
    assert_eq!(again.stdout, "again.bin\n");
    assert!(fs::read(&image)? == fs::read(user.home().join("again.bin"))?);
    assert_eq!(image.metadata()?.uid(), user.uid());
    Ok(())
}

#[test]
fn the_oem_partition_takes_root_and_is_left_as_it_was() -> Result<()> {
    let flatcar = Flatcar::new()?;
    let (root, user) = (flatcar.work.root("root")?, flatcar.work.user("user")?);
    flatcar.tool(&root)?;
    flatcar.tool(&user)?;
    // Said before anything is downloaded.
    let refused =
        flatcar.bake(&user).args(["--install-to", "oem:/ours", "tool:tool.raw"]).outcome()?.failure()?;
    assert!(
        refused.stderr.contains("error: partition OEM has to be mounted, which requires root\nhint: "),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains("signed") && !user.home().join(IMAGE).exists());

    // The spelling of the shell scripts, too.
    let out = flatcar.bake(&root).args(["--install_to", "oem:/ours/", "tool:tool.raw"]).run()?;
    assert!(
        out.stderr.contains("root's privileges to mount partition OEM: all of it is there"),
        "{}",
        out.stderr
    );
    let image = root.home().join(IMAGE);
    let expected = "d 755 0:0 /ours\nd 755 0:0 /ours/tool\nf 644 0:0 /ours/tool/tool.raw\n";
    assert_eq!(disk::listing(&image, "OEM")?, expected);
    let root_listing = disk::listing(&image, "ROOT")?;
    assert!(
        root_listing.contains("l 777 0:0 /etc/extensions/tool.raw /oem/ours/tool/tool.raw\n"),
        "{root_listing}"
    );
    assert!(
        root_listing.contains("f 644 0:0 /etc/sysupdate.tool.d/tool.conf\n")
            && !root_listing.contains("/opt")
    );
    let cmp = format!(r#"cmp "{}/tool.raw" ours/tool/tool.raw"#, root.home().display());
    disk::on_mounted(&image, "OEM", &cmp)?;
    disk::check(&image)?;
    assert_eq!(disk::difference(&Parts::get()?.image(), &image, &["ROOT", "OEM"])?, None);
    assert_eq!(disk::in_use(flatcar.work.path())?, Vec::<String>::new());
    Ok(())
}

#[test]
fn releases_architectures_and_local_images() -> Result<()> {
    let flatcar = Flatcar::new()?;
    let user = flatcar.work.user("user")?;
    extension(&user.home().join("any.raw"), "any", "", 1000)?;
    extension(&user.home().join("arm.raw"), "arm", "arm64", 1000)?;
    let bake = |args: &[&str]| flatcar.bake(&user).args(["-o", "out.bin"]).args(args).outcome();
    for args in [
        &["--release", "beta", "--arch", "arm64", "arm:arm.raw"][..],
        &["--release", "4186.1.0", "--arch", "arm64", "any:any.raw"],
    ] {
        let out = bake(args)?.success()?;
        assert!(out.stderr.contains("beta.release.flatcar-linux.net/arm64-usr/4186.1.0/"), "{}", out.stderr);
    }
    for (args, said) in [
        (&["--release", "alpha", "any:any.raw"][..], "releases.json: no release of channel alpha"),
        (&["--release", "9999.2.0", "any:any.raw"], "stable.release.flatcar-linux.net/amd64-usr/9999.2.0/"),
        (&["--release", "next", "any:any.raw"], "expected alpha, beta, stable, lts or a version"),
        (&["--arch", "riscv64", "any:any.raw"], "Flatcar has no images for riscv64"),
        (&["arm:arm.raw"], "\"arm.raw\": is for arm64, expected x86-64"),
    ] {
        let out = bake(args)?.failure()?;
        assert!(out.stderr.contains(said), "{args:?}: {}", out.stderr);
    }

    // A file that is here: as it is, and compressed with its signature beside it.
    let parts = Parts::get()?;
    let local = user.home().join("local.bin.bz2");
    fs::copy(parts.compressed(), &local)?;
    let out = flatcar.bake(&user).args(["--image", "local.bin.bz2", "arm:arm.raw"]).run()?;
    assert!(
        out.stderr.contains("isn't verified: there is no \"local.bin.bz2.sig\"")
            && out.stdout == "local-baked.bin\n",
        "{out:?}"
    );
    fs::copy(parts.signature(), user.home().join("local.bin.bz2.sig"))?;
    let out = flatcar.bake(&user).args(["--image", "local.bin.bz2", "arm:arm.raw"]).run()?;
    assert!(out.stderr.contains("local.bin.bz2 is signed by key"), "{}", out.stderr);
    let mut bytes = fs::read(&local)?;
    bytes[100] ^= 1;
    fs::write(&local, bytes)?;
    let out = flatcar
        .bake(&user)
        .args(["--image", "local.bin.bz2", "-o", "bad.bin", "arm:arm.raw"])
        .outcome()?
        .failure()?;
    assert!(
        out.stderr.contains("the file is not the one that was signed")
            && !user.home().join("bad.bin").exists()
    );
    Ok(())
}

#[test]
fn the_catalogues_extensions_are_verified() -> Result<()> {
    let flatcar = Flatcar::new()?;
    let user = flatcar.work.user("user")?;
    let base = format!("{}/extensions/", flatcar.address);
    let bake = |args: &[&str]| {
        let args = [&["--fetch", "--base-url", &base, "-o", "out.bin", "--image"], args].concat();
        flatcar.bake(&user).args(args)
    };
    fs::copy(Parts::get()?.image(), user.home().join("plain.bin"))?;
    let fetched = "tool:tool-1.0-x86-64.raw";
    let out = bake(&["plain.bin", fetched]).run()?;
    let listing = disk::listing(&user.home().join("out.bin"), "ROOT")?;
    assert!(
        listing.contains("/etc/extensions/tool.raw /opt/extensions/tool/tool-1.0-x86-64.raw\n"),
        "{listing}"
    );
    assert!(listing.contains("/etc/sysupdate.tool.d/tool.conf\n"), "{} {listing}", out.stderr);

    let fails = |args: &[&str], said: &str| -> Result<()> {
        fs::remove_file(user.home().join("out.bin"))
            .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
        let out = bake(args).outcome()?.failure()?;
        assert!(out.stderr.contains(said), "{said}: {}", out.stderr);
        assert!(!user.home().join("out.bin").exists());
        Ok(())
    };
    fails(&["plain.bin", "tool:tool-9.9-x86-64.raw"], "SHA256SUMS: doesn't list tool-9.9-x86-64.raw")?;
    fails(&["plain.bin", "loot:loot-1.0-x86-64.raw"], "loot/SHA256SUMS")?;

    // Signed manifests.
    let keys = Keys::new(flatcar.work.path().join("catalogue-keys"))?;
    keys.make("catalogue@example.org", "never")?;
    keys.make("other@example.org", "never")?;
    let [key, other] = ["catalogue", "other"].map(|n| user.home().join(format!("{n}.asc")));
    keys.export("catalogue@example.org", &key)?;
    keys.export("other@example.org", &other)?;
    keys.sign(
        "catalogue@example.org",
        &flatcar.catalogue("SHA256SUMS"),
        &flatcar.catalogue("SHA256SUMS.gpg"),
    )?;
    bake(&["plain.bin", "--catalogue-key", "catalogue.asc", fetched]).run()?;
    fails(&["plain.bin", "--catalogue-key", "other.asc", fetched], "SHA256SUMS.gpg: signature is by key")?;

    // Another file under the listed name. What was fetched before is in the cache.
    fs::remove_dir_all(user.home().join(".cache"))?;
    let file = flatcar.catalogue("tool-1.0-x86-64.raw");
    let mut bytes = fs::read(&file)?;
    bytes[2000] ^= 1;
    fs::write(&file, bytes)?;
    fails(&["plain.bin", fetched], "tool-1.0-x86-64.raw")?;
    let mut list = fs::read(flatcar.catalogue("SHA256SUMS"))?;
    list[3] = if list[3] == b'0' { b'1' } else { b'0' };
    fs::write(flatcar.catalogue("SHA256SUMS"), list)?;
    fails(
        &["plain.bin", "--catalogue-key", "catalogue.asc", fetched],
        "the file is not the one that was signed",
    )
}
