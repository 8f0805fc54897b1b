//! What else the command line promises: offline, other architectures, the variables of the shell tools.

use std::fs;

use anyhow::Result;
use e2e::{Program, Work, World};

use crate::{assert_says, names, unsquash};

#[test]
fn offline_uses_what_is_there_and_says_what_is_not() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let world = World::get()?;
    let flix = || world.flix(&user).args(["debian:bookworm", "perl", "/usr/bin/perl"]);

    let out = flix().arg("--offline").outcome()?.failure()?;
    assert_says(&out, &["error: ", "debian:bookworm"]);
    assert!(!user.home().join("perl.raw").exists());

    flix().run()?;
    let online = fs::read(user.home().join("perl.raw"))?;
    fs::remove_file(user.home().join("perl.raw"))?;
    // No mirror any more; the loopback's discard port answers nobody.
    let nowhere = work.path().join("nowhere.conf");
    fs::write(
        &nowhere,
        "[[registry]]\nprefix = \"docker.io\"\nlocation = \"127.0.0.1:9\"\ninsecure = true\n",
    )?;
    let offline = || flix().env("CONTAINERS_REGISTRIES_CONF", &nowhere);
    offline().arg("--offline").run()?;
    assert!(online == fs::read(user.home().join("perl.raw"))?);
    Ok(())
}

#[test]
fn another_architecture_needs_no_processor_of_it() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let world = World::get()?;
    world.flix(&user).args(["--arch", "arm64", "little:latest", "hello", "/usr/bin/hello"]).run()?;
    let raw = user.home().join("hello.raw");
    let root = unsquash(&raw, work.path())?;
    let release = fs::read_to_string(root.join("usr/lib/extension-release.d/extension-release.hello"))?;
    assert!(release.contains("ARCHITECTURE=arm64\n"), "{release}");
    // -L: where the emulator looks for the loader and libraries first.
    let run =
        Program::new("qemu-aarch64-static").arg("-L").arg(&root).arg(root.join("usr/bin/hello")).run()?;
    assert_eq!(run.stdout, "hello from arm64\n");
    Ok(())
}

/// flix.sh and oci-rootfs.sh: CMD, ARCH, REGISTRY, EXTRALIBS, OS, FORMAT, RELOAD, SOURCE_DATE_EPOCH.
#[test]
fn the_variables_of_the_shell_tools_count() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let world = World::get()?;

    // A program that the command makes, another host, another format.
    let flix = world.flix(&user).args(["little:latest", "busybox", "/usr/bin/made"]);
    flix.env("CMD", "cp /bin/busybox /usr/bin/made")
        .env("OS", "flatcar")
        .env("RELOAD", "1")
        .env("FORMAT", "dir")
        .env("SOURCE_DATE_EPOCH", "1000000000")
        .run()?;
    let root = user.home().join("busybox");
    let release = fs::read_to_string(root.join("usr/lib/extension-release.d/extension-release.busybox"))?;
    for line in ["ID=flatcar", "SYSEXT_LEVEL=1.0", "ARCHITECTURE=x86-64", "EXTENSION_RELOAD_MANAGER=1"] {
        assert!(release.lines().any(|l| l == line), "{line}: {release}");
    }
    let stat = Program::new("stat").args(["-c", "%Y"]).arg(root.join("usr/bin/made")).run()?;
    assert_eq!(stat.stdout.trim(), "1000000000");

    let flix = world.flix(&user).args(["little:latest", "b3sum", "/usr/bin/b3sum"]);
    flix.env("CMD", "apk -U add b3sum && cp /usr/lib/libblake3.so.0 /usr/lib/plugin.so")
        .env("EXTRALIBS", "/usr/lib/plugin.so")
        .run()?;
    let root = unsquash(&user.home().join("b3sum.raw"), work.path())?;
    assert!(root.join("usr/lib/flix/b3sum/usr/lib/plugin.so").exists());

    world.flix(&user).args(["little:latest", "hello", "/usr/bin/hello"]).env("ARCH", "arm64").run()?;
    let root = unsquash(&user.home().join("hello.raw"), work.path())?;
    assert!(names(&root.join("usr/bin"))?.contains(&"hello".to_owned()));
    Ok(())
}
