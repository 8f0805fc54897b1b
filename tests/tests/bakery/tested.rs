//! `bakery test`: recipes' tests on a real host, as a command.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use e2e::{Host, Upstream, Work, place, place_program, roots};
use serde_json::Value;

use crate::kitchen::Kitchen;

/// A recipe without anything of upstream's.
fn recipe(dir: &Path, name: &str, tests: &str) -> Result<()> {
    let dir = dir.join(name);
    fs::create_dir_all(&dir)?;
    let text = format!(
        "summary = \"Says hello\"\n[versions]\nsource = {{ text = \"https://github.com/versions\" }}\n\
         [[file]]\npath = \"/usr/bin/{name}\"\nmode = \"0755\"\ncontent = \"#!/bin/sh\\necho {name} {{version}}\\n\"\n{tests}"
    );
    Ok(fs::write(dir.join("recipe.toml"), text)?)
}

fn host() -> Result<String> {
    let host = Host::bookworm()?;
    Ok(host.root().to_str().context("a path without UTF-8")?.to_owned())
}

#[test]
fn what_is_pinned_is_built_and_tried_and_what_it_requires_comes_along() -> Result<()> {
    let (kitchen, host) = (Kitchen::new(Upstream::get()?)?, host()?);
    for (name, version, set) in [
        ("nebula", "v1.6.1", &[] as &[&str]),
        ("nebula", "v1.9.5", &[]),
        ("wasmedge", "0.14.1", &[]),
        ("llamaedge", "0.16.8", &["wasmedge-version=0.14.1"]),
    ] {
        kitchen.lock(name, version, set)?;
    }
    let test = |args: &[&str]| {
        let common = ["test", "--root", &host];
        kitchen.bakery(&[&common, args].concat())
    };
    let out = test(&["nebula"])?.run()?;
    assert!(out.stdout.contains("nebula     v1.9.5   passed  nebula -version"), "{}", out.stdout);
    assert!(out.stdout.ends_with("\n1 of 1 tests passed\n"), "{}", out.stdout);
    // Nothing stays, and what was built before is taken as it is.
    let image = kitchen.work.path().join("nebula-v1.9.5-x86-64.raw");
    assert!(!image.exists());
    kitchen.bakery(&["build", "nebula"])?.run()?;
    let plan = test(&["nebula", "--dry-run"])?.run()?;
    assert!(plan.stdout.contains("nebula-v1.9.5-x86-64.raw\n  nebula -version\n"), "{}", plan.stdout);
    assert!(!test(&["nebula"])?.run()?.stderr.contains("building"));

    // A real one of Debian's, as a file: it needs the host's C library.
    kitchen.bakery(&["build", "nebula", "v1.6.1", "--allow", "needs-host-libraries"])?.run()?;
    let out = test(&["nebula-v1.6.1-x86-64.raw", "nebula", "v1.9.5", "--json"])?.run()?;
    let told: Value = serde_json::from_str(&out.stdout)?;
    for (i, version) in ["v1.6.1", "v1.9.5"].iter().enumerate() {
        assert_eq!(told[i]["version"], *version, "{told}");
        let output = told[i]["tests"][0]["output"].as_str().unwrap_or_default();
        assert!(output.contains(&version[1..]) && told[i]["passed"] == true, "{told}");
    }

    let llamaedge = test(&["llamaedge", "--set", "wasmedge-version=0.14.1"])?.run()?;
    assert!(llamaedge.stdout.contains("passed"), "{}", llamaedge.stdout);
    let plan = test(&["llamaedge", "--set", "wasmedge-version=0.14.1", "--dry-run"])?.run()?;
    assert!(plan.stdout.contains("  with wasmedge: ./wasmedge-0.14.1-x86-64.raw\n"), "{}", plan.stdout);
    Ok(())
}

/// The stand-in refuses what CRI-O refuses: programs and a policy that aren't where upstream's configuration names them.
#[test]
fn cri_o_starts_and_answers() -> Result<()> {
    let (kitchen, host) = (Kitchen::new(Upstream::get()?)?, host()?);
    kitchen.lock("crio", "v1.32.0", &[])?;
    let out = kitchen.bakery(&["test", "crio", "--root", &host])?.run()?;
    assert!(out.stdout.ends_with("\n3 of 3 tests passed\n"), "{}", out.stdout);
    Ok(())
}

#[test]
fn a_failed_test_is_shown_and_is_the_status() -> Result<()> {
    let (kitchen, host) = (Kitchen::new(Upstream::get()?)?, host()?);
    let mine = kitchen.work.dir("mine")?;
    recipe(&mine, "good", "[[test]]\nrun = \"good\"\nexpect = \"good {version}\"\n")?;
    recipe(&mine, "bad", "[[test]]\nrun = \"bad; echo it broke >&2; exit 3\"\nexpect = \"good\"\n")?;
    recipe(&mine, "untested", "")?;
    let names = ["good", "bad", "untested"];
    for name in names {
        kitchen.bakery(&["lock", name, "1.2.3", "--recipes", "mine"])?.run()?;
    }
    let test =
        |args: &[&str]| kitchen.bakery(&[&["test", "--recipes", "mine", "--root", &host], args].concat());
    let out = test(&names)?.outcome()?.failure()?;
    assert_eq!(out.status.code(), Some(1));
    for part in [
        "good       1.2.3    passed  good\n",
        "bad        1.2.3    FAILED  bad; echo it broke >&2; exit 3\n",
        "untested   1.2.3    merged  its recipe has no tests\n",
        "  status 3, expected 0; \"good\" expected in the output; it printed:\n  | bad 1.2.3\n  | it broke\n",
        "\n1 of 2 tests passed\n",
    ] {
        assert!(out.stdout.contains(part), "{part}: {}", out.stdout);
    }
    assert!(out.stderr.contains("error: 1 test failed"), "{}", out.stderr);

    // All at once, in the order of the lock.
    let out = test(&["--all", "--together", "--json"])?.outcome()?.failure()?;
    let told: Value = serde_json::from_str(&out.stdout)?;
    let passed: Vec<bool> = told.as_array().context("no list")?.iter().map(|o| o["passed"] == true).collect();
    assert_eq!(passed, [false, true, true], "{told}");
    Ok(())
}

#[test]
fn what_can_not_work_is_told_before_anything_is_built() -> Result<()> {
    let (kitchen, host) = (Kitchen::new(Upstream::get()?)?, host()?);
    kitchen.lock("docker", "27.5.1", &[])?;
    kitchen.lock("crio", "v1.32.0", &[])?;
    let refused = |args: &[&str], parts: &[&str]| -> Result<()> {
        let out = kitchen.bakery(&[&["test"], args].concat())?.outcome()?.failure()?;
        for part in parts {
            assert!(out.stderr.contains(part), "{args:?}: {part}: {}", out.stderr);
        }
        assert!(!out.stderr.contains("building") && out.stdout.is_empty(), "{out:?}");
        Ok(())
    };
    refused(&["dokcer"], &["recipe \"dokcer\" is unknown, did you mean \"docker\""])?;
    refused(&["nebula", "--root", &host], &["nebula x86-64 isn't pinned in", "hint: \"bakery lock\""])?;
    refused(&["docker", "99", "--root", &host], &["docker 99", "has docker 27.5.1"])?;
    refused(&["docker", "--root", "nowhere"], &["\"nowhere\": No such file"])?;
    refused(&["docker", "--root", "."], &["\".\": has no systemd-sysext", "hint: --root DIR"])?;
    refused(&["docker", "--arch", "arm64"], &["architecture is arm64, expected x86-64", "hint: --vm"])?;
    refused(
        &["docker", "crio", "--together", "--root", &host],
        &["docker 27.5.1 and crio v1.32.0 conflict"],
    )?;

    let work = Work::new()?;
    let user = work.user("user")?;
    let program = work.path().join("bakery");
    place_program(&place::bakery()?, &program)?;
    let out = user.program(&program).args(["test", "docker"]).outcome()?.failure()?;
    assert!(
        out.stderr.contains("user is 64777, expected root") && out.stderr.contains("hint: run it as root")
    );
    Ok(())
}

#[test]
fn what_systemd_refuses_has_failed() -> Result<()> {
    let (kitchen, host) = (Kitchen::new(Upstream::get()?)?, host()?);
    kitchen.lock("nebula", "v1.9.5", &[])?;
    kitchen.bakery(&["build", "nebula", "--os", "other", "--os-version", "7"])?.run()?;
    let image = "nebula-v1.9.5-x86-64.raw";
    let out = kitchen.bakery(&["test", image, "--root", &host])?.outcome()?.failure()?;
    assert!(out.stdout.contains("nebula     v1.9.5   FAILED  is merged"), "{}", out.stdout);
    assert!(out.stdout.contains("systemd-sysext left nebula out"), "{}", out.stdout);
    Ok(())
}

#[test]
fn a_machine_takes_no_root() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    let mine = kitchen.work.dir("mine")?;
    let tests = "[[test]]\nrun = \"good\"\nexpect = \"good {version}\"\n[[test]]\nrun = \"systemctl is-system-running\"\n\
                 expect = \"no such state\"\n";
    recipe(&mine, "good", tests)?;
    kitchen.bakery(&["lock", "good", "1.2.3", "--recipes", "mine"])?.run()?;
    // A root with systemd and a kernel: nothing is installed.
    let base = format!("dir:{}", roots::host("trixie")?.display());
    let args = ["test", "good", "--recipes", "mine", "--vm", "--base", &base];
    let out = kitchen.bakery(&args)?.outcome()?.failure()?;
    for part in
        ["1.2.3    passed  good\n", "1.2.3    FAILED  systemctl is-system-running\n", "1 of 2 tests passed"]
    {
        assert!(out.stdout.contains(part), "{part}: {} {}", out.stdout, out.stderr);
    }
    Ok(())
}
