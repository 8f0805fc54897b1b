//! The session that the README shows, `docs/session.txt`: it is what the commands print.

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::place::{self, repository};
use e2e::{Host, Program, Work, World};

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

/// A command of the guides, with the page that has it.
struct Command {
    page: String,
    text: String,
}

/// The commands of code blocks that run one of this project's programs. Comments, pipes and redirections are left out.
fn commands() -> Result<Vec<Command>> {
    let root = repository();
    let mut pages = vec![root.join("README.md"), root.join("CONTRIBUTING.md"), root.join("SECURITY.md")];
    for dir in ["docs", "docs/catalogue"] {
        let entries = fs::read_dir(root.join(dir)).with_context(|| dir.to_owned())?;
        let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        pages.extend(paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    pages.sort();
    let mut out = Vec::new();
    for path in pages {
        let text = fs::read_to_string(&path).with_context(|| format!("{path:?}"))?.replace("\\\n", " ");
        let mut fenced = false;
        for line in text.lines() {
            fenced ^= line.trim_start().starts_with("```");
            if !fenced && !line.starts_with("    ") {
                continue;
            }
            let line = line.trim_start().trim_start_matches(['$', '#']).trim_start();
            let line = line.strip_prefix("sudo ").unwrap_or(line);
            let line = line.strip_prefix("target/debug/").unwrap_or(line);
            let ours = ["flix ", "flatwrap ", "bakery "].iter().any(|program| line.starts_with(program));
            let ends =
                ["  #", " # ", " | ", " > ", " && ", " & ", "; "].iter().filter_map(|end| line.find(end));
            let text = line[..ends.min().unwrap_or(line.len())].trim_end().to_owned();
            // `…` stands for anything.
            if ours && !text.contains('…') {
                out.push(Command { page: path.display().to_string(), text });
            }
        }
    }
    Ok(out)
}

/// Options come and go; the guides have to follow. Whether the commands do what a guide says isn't tried here.
#[test]
fn every_command_of_the_guides_is_understood() -> Result<()> {
    let commands = commands()?;
    ensure!(commands.len() >= 80, "only {} commands found", commands.len());
    let mut wrong = Vec::new();
    for Command { page, text } in &commands {
        let words = Program::new("sh").args(["-euc", &format!("printf '%s\\n' {text}")]).run()?.stdout;
        let mut words = words.lines();
        let program = match words.next() {
            Some("flix") => place::flix()?,
            Some("flatwrap") => place::flatwrap()?,
            _ => place::bakery()?,
        };
        // Help is printed only after all that stands before it was understood.
        let outcome = Program::new(&program).args(words).arg("--help").outcome()?;
        if !outcome.status.success() {
            wrong.push(format!("{page}: {text}\n{}", outcome.stderr));
        }
    }
    ensure!(wrong.is_empty(), "{} of {} commands:\n{}", wrong.len(), commands.len(), wrong.join("\n"));
    Ok(())
}
