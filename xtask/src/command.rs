//! Running programs, with errors that say which.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// A cargo command at the repository's root. The toolchain is the one that runs this task.
pub fn cargo<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::root()).args(args);
    command
}

/// The same command with SIGINT and SIGQUIT as they are by default. env(1), coreutils 8.31.
pub fn interruptible(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=INT,QUIT").arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        env.current_dir(dir);
    }
    env
}

/// The command as one would type it.
pub fn show(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or_default();
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                word.into_owned()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs it with this task's own stdout and stderr.
pub fn status(command: &mut Command) -> Result<ExitStatus> {
    command.stdin(Stdio::null()).status().with_context(|| format!("{}: not started", show(command)))
}

/// Runs it; anything but success is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{}: {status}", show(command));
    }
    Ok(())
}

/// Runs it and returns what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let out = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{}: not started", show(command)))?;
    if !out.status.success() {
        bail!("{}: {}", show(command), out.status);
    }
    String::from_utf8(out.stdout).with_context(|| format!("{}: output is not UTF-8", show(command)))
}

/// Runs it, passing its stdout on line by line, and showing each line to `look`.
pub fn tee(command: &mut Command, mut look: impl FnMut(&str)) -> Result<ExitStatus> {
    let name = show(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name}: not started"))?;
    let mut out = std::io::stdout().lock();
    if let Some(pipe) = child.stdout.take() {
        for line in BufReader::new(pipe).split(b'\n') {
            let mut line = line.with_context(|| format!("{name}: output can't be read"))?;
            look(&String::from_utf8_lossy(&line));
            line.push(b'\n');
            out.write_all(&line)?;
            out.flush()?;
        }
    }
    child.wait().with_context(|| format!("{name}: not waited for"))
}
