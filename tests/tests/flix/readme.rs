//! The session that the README shows, `docs/session.txt`: it is what the commands print.

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::place::repository;
use e2e::{Host, Work, World};

/// A command and what it printed.
struct Step {
    command: String,
    output: String,
}

fn session() -> Result<Vec<Step>> {
    let path = repository().join("docs/session.txt");
    let mut steps: Vec<Step> = Vec::new();
    for line in fs::read_to_string(&path).with_context(|| format!("{path:?}"))?.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_owned(), output: String::new() }),
            (None, Some(step)) => step.output += &format!("{line}\n"),
            (None, None) => anyhow::bail!("{path:?}: begins with no command"),
        }
    }
    Ok(steps)
}

/// Without sizes and digests: they depend on the day's packages.
fn plain(text: &str) -> String {
    let word = |word: &str| match (word.starts_with("sha256:"), word.parse::<f64>()) {
        (true, _) => "sha256:…".to_owned(),
        (_, Ok(_)) => "0".to_owned(),
        _ => word.to_owned(),
    };
    text.lines().map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn the_session_is_what_the_commands_print() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let steps = session()?;
    let [make, copy, refresh, run] = &steps[..] else { anyhow::bail!("got {} commands", steps.len()) };

    // In place of the real Alpine, which isn't everywhere, the image in its manner.
    let words = make.command.strip_prefix("flix ").context("begins with flix")?.split(' ');
    let words: Vec<String> = words.map(|w| w.replace("alpine", "little")).collect();
    let out = World::get()?.flix(&user).args(&words).run()?;
    let printed = format!("{}{}", out.stderr, out.stdout).replace("little", "alpine");
    assert_eq!(plain(&printed), plain(&make.output));

    ensure!(copy.command == "sudo cp b3sum.raw /etc/extensions/" && copy.output.is_empty());
    ensure!(refresh.command == "sudo systemd-sysext refresh");
    let script = format!("chroot \"$place\" {}", run.command);
    let out = Host::bookworm()?.merged(work.path(), &[&user.home().join("b3sum.raw")], &script)?;
    // The harness merges below a root of its own.
    let merged = out.stderr.replace(&format!("'{}/usr'", "/"), "'/usr'");
    for line in refresh.output.lines() {
        assert!(merged.contains(line), "{line:?} is not in {merged}");
    }
    assert_eq!(out.stdout, run.output);
    Ok(())
}
