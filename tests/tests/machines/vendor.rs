//! `--vendor`: what is asked of git, docker and the SDK, by programs that stand in for them.

use std::fs;
use std::path::Path;

use anyhow::Result;
use e2e::{Program, place_program};

use crate::{
    disk,
    flatcar::{Flatcar, IMAGE, Keys},
};

/// Each says how it was called. The repository that "git" clones has the SDK's front door.
const GIT: &str = r#"#!/bin/sh -eu
echo "git $*" >> "$CALLS"
for dir; do :; done
mkdir "$dir"
cp "$STAND_INS/run_sdk_container" "$dir/"
"#;
const DOCKER: &str = "#!/bin/sh -eu\necho \"docker $*\" >> \"$CALLS\"\n";
const SDK: &str = r#"#!/bin/sh -eu
echo "sdk $*" >> "$CALLS"
ls >> "$CALLS"
[ -z "${SDK_FAILS:-}" ] || exit 3
cp flatcar_production_image.bin flatcar_production_azure_image.vhd
echo notes > flatcar_production_azure.README
"#;

#[test]
fn the_sdk_gets_a_baked_image() -> Result<()> {
    let flatcar = Flatcar::new()?;
    let root = flatcar.work.root("root")?;
    flatcar.tool(&root)?;
    let programs = flatcar.work.dir("programs")?;
    for (name, text) in [("git", GIT), ("docker", DOCKER), ("run_sdk_container", SDK)] {
        let draft = flatcar.work.path().join("draft");
        fs::write(&draft, text)?;
        place_program(&draft, &programs.join(name))?;
    }
    let keys = Keys::new(flatcar.work.path().join("sdk-keys"))?;
    // What the SDK wants beside the image, by the same key: here one that signs all three.
    keys.make("sdk@example.org", "never")?;
    keys.export("sdk@example.org", &root.home().join("sdk.asc"))?;
    for file in ["version.txt", "flatcar_production_image_sysext.squashfs"] {
        fs::write(flatcar.release(file), file)?;
    }
    for file in ["version.txt", "flatcar_production_image_sysext.squashfs", &format!("{IMAGE}.bz2")] {
        let signature = flatcar.release(&format!("{file}.sig"));
        let _ = fs::remove_file(&signature);
        keys.sign("sdk@example.org", &flatcar.release(file), &signature)?;
    }
    let calls = root.home().join("calls");
    let bake = |path: &str| -> Program {
        let bare = flatcar.bare(&root).env("PATH", path).env("CALLS", &calls).env("STAND_INS", &programs);
        bare.args(["--key", "sdk.asc", "--vendor", "azure", "-o", "out", "tool:tool.raw"])
    };
    fs::create_dir(root.home().join("out"))?;

    // The real programs aren't asked for: that they are missing is said at the start.
    let lacks = bake(&programs.join("none").display().to_string()).outcome()?.failure()?;
    assert!(
        lacks.stderr.starts_with("error: git: program is missing, which the Flatcar SDK needs"),
        "{}",
        lacks.stderr
    );

    let path = format!("{}:/usr/bin:/bin", programs.display());
    let out = bake(&path).run()?;
    assert!(
        out.stderr.contains("; git and docker for the Flatcar SDK: all of it is there"),
        "{}",
        out.stderr
    );
    assert_eq!(out.stdout, "out/flatcar_production_azure.README\nout/flatcar_production_azure_image.vhd\n");
    let image = root.home().join("out/flatcar_production_azure_image.vhd");
    let listing = disk::listing(&image, "ROOT")?;
    assert!(listing.contains("/etc/extensions/tool.raw /opt/extensions/tool/tool.raw\n"), "{listing}");
    let text = fs::read_to_string(&calls)?;
    for part in [
        "git clone --quiet --depth=1 --branch stable-4152.2.0 -- https://github.com/flatcar/scripts.git ",
        "./image_to_vm.sh --from=./ --to=./ --board=amd64-usr --getbinpkg --format=azure\n",
        "flatcar_production_image.bin\nflatcar_production_image_sysext.squashfs\nrun_sdk_container\nversion.txt\n",
        "docker container rm --force flatcar-bake-",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }

    fs::remove_file(&calls)?;
    let failed = bake(&path).env("SDK_FAILS", "1").outcome()?.failure()?;
    assert!(
        failed.stderr.contains("run_sdk_container") && failed.stderr.contains("exit status: 3"),
        "{}",
        failed.stderr
    );
    assert!(fs::read_to_string(&calls)?.contains("docker container rm --force flatcar-bake-"));
    assert!(is_empty(&root.home().join(".cache/flix/scratch"))?);
    Ok(())
}

fn is_empty(dir: &Path) -> Result<bool> {
    Ok(!dir.exists() || fs::read_dir(dir)?.next().is_none())
}
