//! A glibc program on a host that has musl. The other way round is what all the other tests here do.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Result;
use e2e::{Host, Program, Work, World, place};
use tree::WriteOptions;

use crate::{MAPPED, USER, image, musl_image, run_on, wrap};

/// busybox and musl, nothing else.
fn little(work: &Path) -> Result<PathBuf> {
    let root = work.join("little");
    fs::create_dir(&root)?;
    let _ = musl_image(work)?.write_dir(&root, &WriteOptions::all())?;
    for applet in ["mkdir", "umount"] {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(root.join("etc/os-release"), "ID=little\nVERSION_ID=1\n")?;
    Ok(root)
}

/// The real thing, where `../shared` is.
fn alpine(work: &Path) -> Result<Option<PathBuf>> {
    let Some(tar) = place::shared("images/alpine-minirootfs-3.20.3-x86_64.tar.gz") else { return Ok(None) };
    let root = work.join("alpine");
    fs::create_dir(&root)?;
    Program::new("tar").arg("-C").arg(&root).arg("-xzf").arg(tar).run()?;
    Ok(Some(root))
}

/// What such a host lacks for entry points is util-linux, which flix brings.
#[test]
fn a_glibc_program_on_a_musl_host() -> Result<()> {
    let work = Work::new()?;
    let by = work.root("root")?;
    let debian = format!("dir:{}", Host::bookworm()?.root().display());
    let tools = ["/usr/bin/unshare", "/usr/bin/mount", "/usr/bin/setpriv"];
    World::get()?.flix(&by).args([debian.as_str(), "tools"]).args(tools).run()?;

    let libc = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
    let probe = wrap(work.path(), image(work.path(), "gcc", &libc)?, "probe", |_| {})?;
    let inner = format!(
        "[ -e /lib/ld-musl-x86_64.so.1 ] && [ ! -e /lib64 ] && echo musl\n\
         export PROBE='id -u; {MAPPED}'\nas_root probe\nas_user probe\n"
    );
    let mapped = format!("{}\n{}\n/usr/bin/maps\n", libc[0], libc[1]);
    for root in [Some(little(work.path())?), alpine(work.path())?].into_iter().flatten() {
        for dir in ["dev", "etc/extensions", "home", "mnt", "proc", "root", "run", "srv", "sys", "tmp"] {
            fs::create_dir_all(root.join(dir))?;
        }
        let out = run_on(
            &Host::foreign(root.clone())?,
            work.path(),
            &[by.home().join("tools.raw"), probe.clone()],
            &inner,
        )?;
        assert_eq!(out, format!("musl\n0\n{mapped}{USER}\n{mapped}"), "{root:?}");
    }
    Ok(())
}
