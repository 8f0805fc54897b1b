//! The workflow that releases the catalogue: valid, and its commands do what they should.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::place::{self, cached, repository};
use e2e::{Host, Program, Upstream, Work, http};

use crate::{
    kitchen::{CATALOGUE, Kitchen},
    shelf::{agrees, files, same, whole},
};

/// `check-jsonschema`'s version; it brings the schema of workflows along.
const CHECK: &str = "check-jsonschema==0.39.0";

fn text() -> Result<String> {
    let path = repository().join(".github/workflows/release.yml");
    fs::read_to_string(&path).with_context(|| format!("{path:?}"))
}

/// As root one is already.
const SUDO: &str = "sudo env \"PATH=$PATH\" ";

/// The lines that call bakery.
fn commands() -> Result<Vec<String>> {
    let text = text()?;
    let lines = text.lines().filter_map(|l| l.trim_start().trim_start_matches("- ").strip_prefix("run: "));
    let lines = lines.map(|l| l.strip_prefix(SUDO).unwrap_or(l));
    Ok(lines.filter(|l| l.starts_with("bakery ")).map(str::to_owned).collect())
}

#[test]
fn workflows_are_valid() -> Result<()> {
    let venv = cached("check-jsonschema", CHECK, |dir| {
        Program::new("python3").args(["-m", "venv"]).arg(dir).run()?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", CHECK];
        Program::new(dir.join("bin/python")).args(pip).run().map(drop)
    })?;
    let work = Work::new()?;
    let check = |path: &Path| {
        let args = ["-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"];
        Program::new(venv.join("bin/python")).args(args).arg(path).outcome()
    };
    for entry in fs::read_dir(repository().join(".github/workflows"))? {
        let path = entry?.path();
        check(&path)?.success()?;
        // Others' programs are named by the commit, or by a major version in what has no secrets.
        for line in fs::read_to_string(&path)?.lines().filter(|l| l.contains("uses: ")) {
            let version = line.split_once('@').context("an action without a version")?.1;
            let commit = version.split(' ').next().unwrap_or_default();
            let pinned = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            ensure!(pinned || !path.ends_with("release.yml"), "{path:?}: {line}");
        }
    }
    let bad = work.path().join("bad.yml");
    fs::write(&bad, text()?.replace("    needs: plan\n", "    needed: plan\n"))?;
    let error = check(&bad)?.failure()?;
    assert!(error.stdout.contains("needed") || error.stderr.contains("needed"), "{error:?}");
    Ok(())
}

/// As the workflow runs it: each step in a directory of its own, with what the artifacts bring, and nothing else.
#[test]
fn its_commands_make_what_a_single_machine_makes() -> Result<()> {
    let upstream = Upstream::get()?;
    let (work, single) = (Work::new()?, Kitchen::new(upstream)?);
    // Nothing is hosted yet.
    let address = http::serve(work.dir("hosted")?)?;
    let base = format!("http://{address}/");
    let file = whole("https://example.org/").replace("[\"v1.9.5\"]", "[\"latest\"]");
    single.write("release.toml", &file)?;
    let args = ["release", "--update", "--place", &base, "--empty-place", "--base-url", &base];
    single.bakery(&args)?.run()?;

    // The program is on the PATH under its own name.
    let bin = work.dir("bin")?;
    e2e::place_program(&place::bakery()?, &bin.join("bakery"))?;
    let path = format!("{}:{}", bin.display(), std::env::var("PATH")?);
    let step = |kitchen: &Kitchen, command: &str, only: &str| {
        let shell = Program::new("bash").args(["--noprofile", "--norc", "-eo", "pipefail", "-c", command]);
        let shell = shell.clean_env().env("PATH", &path).env("HOME", kitchen.path(""));
        let shell = shell.env("BAKERY_CONFIG", kitchen.path("config.toml"));
        let shell = shell.env("BAKERY_RECIPES", kitchen.path("trusted"));
        shell.env("PLACE", &base).env("FIRST", "--empty-place").env("ONLY", only).dir(kitchen.path("")).run()
    };
    let commands = commands()?;
    let [plan, build, lint, test, merge] = &commands[..] else { anyhow::bail!("{commands:?}") };

    let host = Host::bookworm()?;
    let planner = Kitchen::new(upstream)?;
    planner.write("release.toml", &file)?;
    step(&planner, plan, "")?;
    let matrix: serde_json::Value = serde_json::from_slice(&fs::read(planner.path("matrix.json"))?)?;
    let entries = matrix["include"].as_array().context("no entries")?;
    assert_eq!(entries.len(), CATALOGUE.len() * 2);

    let merger = Kitchen::new(upstream)?;
    merger.write("release.toml", &file)?;
    merger.take_lock(&planner)?;
    fs::create_dir(merger.path("parts"))?;
    for entry in entries {
        let word = |name: &str| entry[name].as_str().with_context(|| format!("{entry}: no {name}"));
        let arm = word("arch")? == "arm64";
        assert_eq!(word("runner")?, if arm { "ubuntu-24.04-arm" } else { "ubuntu-24.04" });
        assert!(!word("file")?.contains(['"', ':', '<', '>', '|', '*', '?', '/', '\\']));
        let builder = Kitchen::new(upstream)?;
        builder.write("release.toml", &file)?;
        builder.take_lock(&planner)?;
        step(&builder, build, word("only")?)?;
        step(&builder, lint, "")?;
        if !arm {
            // This machine may be a container.
            step(&builder, &format!("{test} --root {}", host.root().display()), "")?;
        }
        let images = files(&builder.path("part"))?.into_keys().filter(|n| n.ends_with(".raw"));
        assert_eq!(images.collect::<Vec<_>>(), [format!("{}/{}", word("name")?, word("file")?)]);
        // Artifacts are unpacked over each other.
        Program::new("cp").arg("-rT").args([builder.path("part"), merger.path("parts")]).run()?;
    }
    step(&merger, merge, "")?;
    same(&files(&single.path("release"))?, &files(&merger.path("release"))?);
    agrees(&merger.path("release"))
}
