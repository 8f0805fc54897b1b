//! What else the command line promises: offline, other architectures, the variables of the shell tools.

use std::fs;

use anyhow::Result;
use e2e::{Program, Work, World, place};

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
    // From a cache that can't be written either, on a medium of another machine, say: the layers are hashed again.
    let cache = user.home().join(".cache/flix");
    for entry in fs::read_dir(cache.join("layers"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "ok") {
            fs::remove_file(path)?;
        }
    }
    user.program("chmod").args(["-R", "a-w"]).arg(&cache).run()?;
    offline().arg("--offline").run()?;
    assert!(online == fs::read(user.home().join("perl.raw"))?);
    user.program("chmod").args(["-R", "u+w"]).arg(&cache).run()?;
    Ok(())
}

#[test]
fn offline_installs_nothing_anew() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let flix = || World::get().map(|w| w.flix(&user).args(["little:latest", "b3sum", "/usr/bin/b3sum"]));
    for args in [&[][..], &["--package", "b3sum"]] {
        flix()?.args(args).run()?;
        // What ran before is in the cache.
        flix()?.args(args).arg("--offline").run()?;
        let out = flix()?.args(args).args(["--offline", "--rerun"]).outcome()?.failure()?;
        assert_says(
            &out,
            &["error: ", "installing b3sum (apk)", "needs network access", "hint: ", "--offline"],
        );
        assert!(!out.stderr.contains("fetch "), "{}", out.stderr);
    }
    // A command may do without a network, and gets none.
    let run = "wget -q -O - \"$(cat /etc/apk/repositories)/x86_64/APKINDEX.tar.gz\" >/usr/bin/made || \
               cp /bin/busybox /usr/bin/made";
    let made = |arg: Option<&str>| -> Result<u64> {
        let flix = World::get()?.flix(&user).args(["little:latest", "made", "/usr/bin/made", "--run", run]);
        flix.args(arg).args(["--host-interpreters", "--format=dir"]).run()?;
        Ok(fs::metadata(user.home().join("made/usr/bin/made"))?.len())
    };
    let offline = made(Some("--offline"))?;
    assert_eq!(offline, fs::metadata("/bin/busybox")?.len());
    assert_ne!(made(None)?, offline);
    Ok(())
}

#[test]
fn slips_of_the_finger_are_told() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    for (name, path, words, tried) in [
        // Nobody bothers apk for this.
        (
            "tools",
            "/usr/bin/busybx",
            &["/usr/bin/busybx is not in the image", "did you mean /bin/busybox"][..],
            false,
        ),
        // The extension's name is that of a package, which has it under another name.
        (
            "b3sum",
            "/usr/bin/b3sm",
            &["/usr/bin/b3sm is not in the image", "did you mean /usr/bin/b3sum"],
            true,
        ),
        // The path has the extension's name: it was asked for, and what apk says is one line.
        (
            "busyboxx",
            "/usr/bin/busyboxx",
            &[
                "busyboxx can't be installed: ERROR: unable to select packages: busyboxx (no such package)",
                "did you mean /bin/busybox",
            ],
            true,
        ),
    ] {
        let out = World::get()?.flix(&user).args(["little:latest", name, path]).outcome()?.failure()?;
        assert_says(&out, words);
        assert_eq!(out.stderr.contains("installing its package"), tried, "{}", out.stderr);
        assert!(out.stderr.lines().count() <= 3, "{}", out.stderr);
    }
    let out = World::get()?.flix(&user).args(["little:latest", "x", "usr/bin/perl"]).outcome()?.failure()?;
    assert_says(&out, &["hint: paths start with a slash: /usr/bin/perl"]);
    Ok(())
}

#[test]
fn a_name_that_hosts_refuse_is_told() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    for program in [World::get()?.flix(&user), World::get()?.flatwrap(&user)] {
        let out =
            program.args(["little:latest", "bb", "/bin/busybox:/usr/bin/bb", "-o", "bb-1.2.raw"]).run()?;
        assert_says(&out, &["warning: bb-1.2.raw", "No medium found", "bb.raw there", "bb.raw.v/bb_1.2.raw"]);
    }
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

#[test]
fn a_policy_holds_for_all_commands() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let world = World::get()?;
    let own = user.home().join(".config/containers");
    fs::create_dir_all(&own)?;
    fs::write(own.join("policy.json"), r#"{"default":[{"type":"reject"}]}"#)?;
    let recipe = user.home().join("recipes/mine");
    fs::create_dir_all(&recipe)?;
    let text = "summary = \"Mine\"\nhomepage = \"https://example.org/\"\nlicence = \"MIT\"\n\
                [versions]\nsource = { github-tags = \"x/y\" }\n\
                [image]\nreference = \"docker.io/library/little:latest\"\ntool = \"flix\"\npaths = [\"/bin/busybox\"]\n\
                [[test]]\nrun = \"busybox\"\n";
    fs::write(recipe.join("recipe.toml"), text)?;
    let bakery = |args: &[&str]| -> Result<Program> {
        let program = user.program(place::bakery()?).env("BAKERY_RECIPES", user.home().join("recipes"));
        Ok(program.env("CONTAINERS_REGISTRIES_CONF", world.registries_conf()).args(args))
    };
    let convert = ["little:latest", "mine", "/bin/busybox"];
    for program in [
        world.flix(&user).args(convert),
        world.flatwrap(&user).args(convert),
        bakery(&["lock", "mine", "1"])?,
    ] {
        let out = program.outcome()?.failure()?;
        let says =
            ["error: ", "little", "image is rejected by the rule for \"default\"", "hint: ", "--policy"];
        assert_says(&out, &says);
    }
    assert!(!user.home().join("mine.raw").exists());
    // The tag would have been noted: nobody was asked.
    assert!(!user.home().join(".cache/flix/keys/tag").exists());

    let policy = user.home().join("accept.json");
    let accept = r#"{"docker.io/library/little":[{"type":"insecureAcceptAnything"}]}"#;
    fs::write(&policy, format!(r#"{{"default":[{{"type":"reject"}}],"transports":{{"docker":{accept}}}}}"#))?;
    world.flix(&user).arg("--policy").arg(&policy).args(convert).run()?;
    world
        .flatwrap(&user)
        .arg("--policy")
        .arg(&policy)
        .args(["little:latest", "wrapped", "/bin/busybox"])
        .run()?;
    bakery(&["lock", "mine", "1", "--policy"])?.arg(&policy).run()?;
    let out = world.flix(&user).args(["debian:bookworm", "perl", "/usr/bin/perl", "--policy"]).arg(&policy);
    assert_says(
        &out.outcome()?.failure()?,
        &["debian:bookworm: image is rejected by the rule for \"default\""],
    );
    fs::write(&policy, "{}")?;
    let out = world.flix(&user).arg("--policy").arg(&policy).args(convert).outcome()?.failure()?;
    assert_says(&out, &["accept.json", "missing field `default`"]);
    Ok(())
}
