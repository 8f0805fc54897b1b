//! Every block of commands in the guides: run as it stands, or bound to the test that runs it.

mod held;
mod session;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::guides::{self, At, Block};
use e2e::{Program, place};

use held::{Held, TABLE};
use session::Session;

/// The blocks of commands of a page, with how each is held: as the table has it, block by block.
fn held(page: &str) -> Result<Vec<(Block, Held)>> {
    let blocks = guides::blocks(page)?.into_iter().filter(Block::is_shell);
    if let Some(name) = page.strip_prefix("docs/catalogue/") {
        return held::of_catalogue(name.trim_end_matches(".md"), blocks.collect());
    }
    let rows = TABLE.iter().find(|(of, _)| *of == page).map_or(&[][..], |(_, rows)| rows);
    let mut rows = rows.iter();
    let mut out = Vec::new();
    for block in blocks {
        let first = block.commands().into_iter().next().context("no command")?.text;
        let at = format!("{page}:{}", block.line);
        let (start, way) = rows.next().with_context(|| {
            format!(
                "{at}: no test runs {first:?} (tests/tests/bakery/guides/held.rs)\n{}",
                block.lines.join("\n")
            )
        })?;
        ensure!(first.starts_with(start), "{at}: expected {start:?}, got {first:?}");
        out.push((block, *way));
    }
    let more = rows.next();
    ensure!(more.is_none(), "{page}: no block begins with {:?}", more.map(|row| row.0));
    Ok(out)
}

/// What a shell gets: without prompts and output.
fn script(block: &Block) -> String {
    block.commands().iter().map(|command| format!("{}\n", command.text)).collect()
}

/// Names a test for each block that isn't run here, and says how many there are of each kind.
#[test]
fn every_block_is_run_or_bound_to_a_test() -> Result<()> {
    let (mut run, mut bound, mut parsed, mut commands) = (0, 0, 0, 0);
    for page in guides::pages()? {
        for (block, way) in held(&page)? {
            let at = format!("{page}:{}", block.line);
            for shell in ["bash", "dash"] {
                Program::new(shell).arg("-n").input(script(&block)).run().with_context(|| at.clone())?;
            }
            commands += block.commands().len();
            match way {
                Held::Run => run += 1,
                Held::Parsed => parsed += 1,
                Held::By { file, test, words } => {
                    ensure!(guides::has_test(Path::new(file), test)?, "{at}: {file} has no test {test}");
                    let source = guides::text(file)?;
                    ensure!(source.contains(words), "{at}: {words:?} isn't in {file}");
                    let own = words.ends_with(".md") || script(&block).contains(words);
                    ensure!(own, "{at}: {words:?} isn't in the block");
                    bound += 1;
                }
            }
        }
    }
    let pages: Vec<String> = guides::pages()?;
    let gone = TABLE.iter().find(|(page, _)| !pages.iter().any(|p| p == page));
    ensure!(gone.is_none(), "no such page: {:?}", gone.map(|row| row.0));
    let all = run + bound + parsed;
    let said = format!(
        "{all} blocks with {commands} commands: {run} are run as they stand, {bound} are bound to a test that runs them, {parsed} are parsed"
    );
    println!("{said}");
    let testing = guides::text("docs/testing.md")?.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(testing.contains(&said), "docs/testing.md: expected {said:?}");
    Ok(())
}

/// Options come and go; the guides have to follow, in their text, too.
#[test]
fn every_command_is_understood() -> Result<()> {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for page in guides::pages()? {
        // Notes of decisions are about the day that they were made on.
        let spans = if page.starts_with("docs/decisions/") { Vec::new() } else { guides::spans(&page)? };
        let of_text =
            spans.into_iter().filter(|span| !span.starts_with("cargo ") && !span.contains(" COMMAND"));
        let mut lines: Vec<String> = of_text.map(|span| span.replace(" IMAGE ", " image ")).collect();
        for block in guides::blocks(&page)?.iter().filter(|block| block.is_shell()) {
            lines.extend(block.commands().into_iter().map(|command| command.text.replace("\\\n", " ")));
        }
        for line in lines {
            let line = line.trim_start_matches("sudo ").trim_start_matches("target/debug/");
            let line = line.replace("cargo run -p bakery -- ", "bakery ");
            let ours = ["flix ", "flatwrap ", "bakery ", "cargo "].iter().any(|p| line.starts_with(p));
            let ends =
                ["  #", " # ", " | ", " > ", " && ", " & ", "; "].iter().filter_map(|end| line.find(end));
            let text = line[..ends.min().unwrap_or(line.len())].trim_end();
            // `…` stands for anything.
            if !ours || text.contains('…') {
                continue;
            }
            count += 1;
            let words = Program::new("sh").args(["-euc", &format!("printf '%s\\n' {text}")]).run()?.stdout;
            let mut words = words.lines();
            let program = match words.next() {
                Some("flix") => place::flix()?,
                Some("flatwrap") => place::flatwrap()?,
                Some("bakery") => place::bakery()?,
                _ if text.starts_with("cargo xtask") => {
                    words.next();
                    place::xtask()?
                }
                _ => "cargo".into(),
            };
            // Help is printed only after all that stands before it was understood.
            let help = if program.as_os_str() == "cargo" { "-h" } else { "--help" };
            let outcome = Program::new(&program).args(words).arg(help).outcome()?;
            // A text names an option without its value.
            if !outcome.status.success() && !outcome.stderr.contains("a value is required for") {
                wrong.push(format!("{page}: {text}\n{}", outcome.stderr));
            }
        }
    }
    ensure!(wrong.is_empty(), "{} of {count} commands:\n{}", wrong.len(), wrong.join("\n"));
    println!("{count} commands are understood");
    Ok(())
}

/// Runs the blocks of a page that are to be run here, one after the other, and compares what they print.
fn follow(page: &str, prepare: impl Fn(&Session, usize, &Block) -> Result<()>) -> Result<()> {
    let session = Session::new()?;
    for (index, (block, way)) in held(page)?.into_iter().enumerate() {
        if way != Held::Run {
            continue;
        }
        let at = format!("{page}:{}", block.line);
        prepare(&session, index, &block).with_context(|| format!("{at}: preparation"))?;
        let mut commands = block.commands().into_iter().peekable();
        while let Some(first) = commands.next() {
            // Those of one place that follow each other share a shell.
            let (mut text, mut output) = (format!("{}\n", first.text), first.output);
            while output.is_empty()
                && let Some(next) = commands.next_if(|next| next.at == first.at)
            {
                text += &format!("{}\n", next.text);
                output = next.output;
            }
            let out = match first.at {
                At::Builder if text.contains("sudo ") && !text.contains("bakery") => session.on_host(&text),
                At::Builder => session.build(&text),
                At::Host => session.on_host(&text),
            };
            let out = out.with_context(|| at.clone())?;
            let printed = format!("{}{}", out.stderr, out.stdout);
            for line in output.iter().filter(|line| *line != "…") {
                let found = printed.lines().any(|p| alike(p, line));
                ensure!(found, "{at}: {line:?} isn't printed by {text}\n{printed}");
            }
        }
    }
    Ok(())
}

/// Whether two lines differ in nothing but numbers and digests.
fn alike(a: &str, b: &str) -> bool {
    let word = |w: &str| match (w.starts_with("sha256:"), w.parse::<f64>()) {
        (true, _) => "sha256:…".to_owned(),
        (_, Ok(_)) => "0".to_owned(),
        _ => w.replace("MiB", "KiB"),
    };
    let words = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>();
    words(a) == words(b)
}

#[test]
fn readme() -> Result<()> {
    follow("README.md", |session, index, _| {
        if index == 2 {
            session.release_file(
                "base-url = \"https://127.0.0.1:1/\"\n[extensions]\ntailscale = [\"1.80.2\"]\n",
            )?;
            session.write("FILE", "x")?;
            session.pack("redis")?;
        }
        Ok(())
    })
}

/// Fills the recipe in as the guide does, before blocks with these words.
fn fill_in_before(words: &'static str) -> impl Fn(&Session, usize, &Block) -> Result<()> {
    move |session, _, block| {
        if !script(block).contains(words) {
            return Ok(());
        }
        let blocks = guides::blocks("docs/adding-an-extension.md")?;
        let recipe = blocks.iter().find(|b| b.lines.iter().any(|l| l.starts_with("summary")));
        session.write("hello/recipe.toml", &(recipe.context("no recipe")?.lines.join("\n") + "\n"))
    }
}

#[test]
fn contributing() -> Result<()> {
    follow("CONTRIBUTING.md", fill_in_before(" build "))
}

#[test]
fn security() -> Result<()> {
    follow("SECURITY.md", |_, _, _| Ok(()))
}

#[test]
fn adding_an_extension() -> Result<()> {
    follow("docs/adding-an-extension.md", fill_in_before(" build "))
}

#[test]
fn auto_update() -> Result<()> {
    follow("docs/auto-update.md", |session, index, _| {
        if index == 1 {
            // The older version is there by now, where the first block has made the place for its link.
            session.on_host(
                "ln -s /opt/extensions/nebula/nebula-v1.9.5-x86-64.raw /etc/extensions/nebula.raw",
            )?;
        }
        if index > 0 {
            return Ok(());
        }
        let address = session.serve()?;
        let release = |versions: &str| {
            session.release_file(&format!(
                "base-url = \"https://{address}/\"\narchitectures = [\"x86-64\"]\n[extensions]\n\
                 nebula = [{versions}]\nkubernetes = [\"v1.31.6\", \"v1.32.2\"]\n"
            ))?;
            session.build("bakery release --update")
        };
        release("\"v1.9.5\"")?;
        session.publish_nebula("v1.9.6")?;
        release("\"v1.9.5\", \"v1.9.6\"")?;
        session.write("import-pubring.gpg", "a keyring")?;
        session.on_host(
            "mkdir -p /opt/extensions/nebula /etc/sysupdate.kubernetes.d\n\
             cp release/nebula/nebula-v1.9.5-x86-64.raw /opt/extensions/nebula\n\
             cp release/kubernetes/kubernetes-v1.31.transfer /etc/sysupdate.kubernetes.d\n",
        )?;
        Ok(())
    })
}

#[test]
fn choosing() -> Result<()> {
    follow("docs/choosing.md", |_, _, _| Ok(()))
}

#[test]
fn daemons() -> Result<()> {
    follow("docs/daemons.md", |session, _, _| session.pack("redis"))
}

#[test]
fn hosting() -> Result<()> {
    follow("docs/hosting.md", fill_in_before("--recipes ."))
}

#[test]
fn installing() -> Result<()> {
    follow("docs/installing.md", |_, _, _| Ok(()))
}

#[test]
fn making_a_release() -> Result<()> {
    follow("docs/making-a-release.md", |session, index, block| {
        if index == 0 {
            session.release_file(
                "base-url = \"https://example.org/extensions/\"\n[extensions]\nnebula = [\"latest\"]\ncontainerd = [\"2.1.4\"]\n",
            )?;
        }
        if script(block).starts_with("bakery plan --update\n") {
            session.publish_nebula("v1.9.6")?;
        }
        if script(block).contains("--shard") {
            session.build("bakery plan --update\nfor n in 2 3 4; do bakery release --locked --shard $n/4 --to part$n; done")?;
        }
        Ok(())
    })
}

#[test]
fn moving_over() -> Result<()> {
    follow("docs/moving-over.md", |session, _, _| {
        session.on_host("mkdir -p /opt/extensions/tailscale && touch /opt/extensions/tailscale/tailscale-1.80.2-x86-64.raw")?;
        Ok(())
    })
}

#[test]
fn using_extensions() -> Result<()> {
    follow("docs/using-extensions.md", |session, index, _| {
        if index == 0 {
            session.build("bakery build --update nebula v1.9.5")?;
            session.on_host(
                "mkdir -p /opt/extensions/nebula\ncp nebula-v1.9.5-x86-64.raw /opt/extensions/nebula/nebula-v1.9.4-x86-64.raw",
            )?;
        }
        Ok(())
    })
}

#[test]
fn verity() -> Result<()> {
    follow("docs/verity.md", |_, _, _| Ok(()))
}

/// A page for each extension, of one template: files of these names are merged as the page does it.
#[test]
fn catalogue_pages() -> Result<()> {
    let session = Session::new()?;
    let mut all = String::new();
    for page in guides::pages()?.iter().filter(|page| page.starts_with("docs/catalogue/")) {
        let name = page.trim_start_matches("docs/catalogue/").trim_end_matches(".md");
        for (block, _) in held(page)?.into_iter().filter(|(_, way)| *way == Held::Run) {
            session.pack(name)?;
            session.build(&format!("mv {name}.raw {name}-VERSION-x86-64.raw"))?;
            all += &format!(
                "{}[ \"$(cat /usr/share/{name}/text)\" = {name} ]\nrm /etc/extensions/{name}.raw\n",
                script(&block)
            );
        }
    }
    session.on_host(&all).map(drop)
}
