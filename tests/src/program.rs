//! Running programs, with errors that show what they said.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A program to be run to its end.
#[derive(Debug)]
pub struct Program {
    command: Command,
    input: Vec<u8>,
}

/// What a program did.
#[derive(Debug)]
pub struct Outcome {
    /// As one would type it.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed; bytes that aren't UTF-8 are replaced.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl Program {
    /// A program of the machine, by name or path. `tests/packages.txt` lists the Debian packages of all of them.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Program { command: Command::new(program), input: Vec::new() }
    }

    /// Adds arguments.
    pub fn args<I: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = I>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds one argument.
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Drops all variables but `PATH`.
    pub fn clean_env(mut self) -> Self {
        self.command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            self.command.env("PATH", path);
        }
        self
    }

    /// Where it runs.
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// What it reads from its standard input.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it; anything but success is an error with all that it printed.
    ///
    /// # Errors
    /// It can't be started, or fails.
    pub fn run(self) -> Result<Outcome> {
        self.outcome()?.success()
    }

    /// Runs it, however it ends.
    ///
    /// # Errors
    /// It can't be started.
    pub fn outcome(mut self) -> Result<Outcome> {
        let input = std::mem::take(&mut self.input);
        let line = self.line();
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.start()?;
        let stdin = child.stdin.take();
        let writer = std::thread::spawn(move || {
            // The program may end without reading; that is its business.
            stdin.map(|mut pipe| pipe.write_all(&input))
        });
        let out = child.wait_with_output().with_context(|| line.clone())?;
        let _ = writer.join();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Outcome { line, status: out.status, stdout: text(out.stdout), stderr: text(out.stderr) })
    }

    /// Starts it and doesn't wait; its output goes nowhere unless it was redirected by [`Program::command`].
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(&mut self) -> Result<Child> {
        let line = self.line();
        self.command.spawn().with_context(|| format!("{line}: not started (packages: tests/packages.txt)"))
    }

    /// The command, for what isn't covered here.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    fn line(&self) -> String {
        std::iter::once(self.command.get_program())
            .chain(self.command.get_args())
            .map(|w| w.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Copies a program to where it is executed.
///
/// A child process does it. What this one writes, a child that another thread forks meanwhile has open for writing until
/// its own exec, and until then the kernel executes it for nobody ("Text file busy").
///
/// # Errors
/// `install`'s.
pub fn place_program(from: &Path, to: &Path) -> Result<()> {
    Program::new("install").args(["-m", "755"]).arg(from).arg(to).run().map(drop)
}

impl Outcome {
    /// Anything but success as an error with all that was printed.
    ///
    /// # Errors
    /// The program failed.
    pub fn success(self) -> Result<Self> {
        if !self.status.success() {
            bail!("{}: {}\n{}{}", self.line, self.status, self.stdout, self.stderr);
        }
        Ok(self)
    }

    /// A success as an error with all that was printed: for what has to fail.
    ///
    /// # Errors
    /// The program succeeded.
    pub fn failure(self) -> Result<Self> {
        if self.status.success() {
            bail!("{}: succeeded, expected a failure\n{}{}", self.line, self.stdout, self.stderr);
        }
        Ok(self)
    }
}

/// Waits until `ready` says so; whether the process is still there then.
///
/// # Errors
/// It takes two minutes.
pub fn wait_for(child: &mut Child, mut ready: impl FnMut() -> bool) -> Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if ready() {
            return Ok(child.try_wait()?.is_none());
        }
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            bail!("the moment to interrupt it never came");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The command lines of all processes that have this in them, in a variable, or in the name of their current directory.
///
/// # Errors
/// There is no /proc.
pub fn processes(mark: &str) -> Result<Vec<String>> {
    use std::os::unix::ffi::OsStringExt;
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        if entry.file_name().to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        // A process that has ended meanwhile has none of these.
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let directory = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let line = read("cmdline");
        let places = [&line, &read("environ"), &directory.into_os_string().into_vec()];
        if places.iter().any(|place| String::from_utf8_lossy(place).contains(mark)) {
            found.push(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    Ok(found)
}

/// Bytes on the disk of files in a directory that have no name, or one that goes when they are complete: what is written there just now.
pub fn being_written(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.blocks() * 512);
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let named = names.filter(|e| e.file_name().as_encoded_bytes().ends_with(b".tmp"));
    let named: u64 = named.map(|e| size(&e.path())).sum();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let open = processes.filter_map(|p| std::fs::read_dir(p.path().join("fd")).ok()).flatten().flatten();
    let nameless = open.filter(|e| {
        let link = std::fs::read_link(e.path()).unwrap_or_default();
        link.starts_with(dir) && link.as_os_str().as_encoded_bytes().ends_with(b" (deleted)")
    });
    // Several processes and descriptors may have the same.
    named + nameless.map(|e| size(&e.path())).max().unwrap_or(0)
}
