//! How a run ends, and that nothing of it is left.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sandbox::{Exceeded, Mode, Run, RunLimits, SandboxError, Status, run_in};
use store::{Cache, Digest};
use tree::{Event, Events};

use crate::support::{Case, busybox};

pub(super) fn output(case: &Case) {
    let lines = case.output("echo one; echo two >&2; printf 'three\\rfour'; printf '\\n\\033[31mred\\n'");
    assert_eq!(lines, ["one", "two", "three", "four", "red"]);
    let line = "i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done; exit 3";
    match case.run(&busybox(), &case.shell(line)) {
        Err(e @ SandboxError::Failed { status: Status::Exited(3), .. }) => {
            let text = e.to_string();
            assert!(text.starts_with("command \"i=0; while"), "{text}");
            assert!(
                text.contains("ended with exit status 3; the last that it printed:\n  line 30\n"),
                "{text}"
            );
            assert!(text.ends_with("\n  line 49"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(case.events.take_lines().len(), 50);
    match case.run(&busybox(), &case.shell("kill -9 $$")) {
        Err(SandboxError::Failed { status: Status::Signaled(9), tail, .. }) => assert_eq!(tail, [""; 0]),
        other => panic!("{other:?}"),
    }
}

pub(super) fn daemons(case: &Case) {
    let seconds = marker();
    let line =
        format!("setsid sleep {seconds} > /dev/null 2>&1 & setsid sleep {seconds} & echo started > /srv/x");
    assert_eq!(case.changes(&line), "/srv dir 0755 0:0\n/srv/x file 0644 0:0 8 \"started\\n\"\n");
    assert!(!runs(&seconds));
}

pub(super) fn reader_fails(case: &Case) {
    let scratch = case.scratch();
    let run = case.shell("truncate -s 10M /srv/large");
    let full = || std::io::Error::from_raw_os_error(28);
    let result = run_in(&busybox(), &oci::Config::default(), &run, &scratch, &case.events, |reader| {
        let mut some = [0; 4096];
        reader.read_exact(&mut some).unwrap();
        Err::<(), _>(SandboxError::Io { path: "layer".into(), source: full() })
    });
    assert_eq!(result.unwrap_err().to_string(), format!("\"layer\": {}", full()));
    assert!(!scratch.exists());
}

pub(super) fn cached(case: &Case) {
    let cache = Cache::open(&case.dir.join("cache")).unwrap();
    let config = oci::Config::default();
    let mut run = case.shell("echo x > /srv/x; echo ran");
    let layer = |run: &_, id: &str| {
        let layer = sandbox::layer(&busybox(), &Digest::of(id), &config, run, &cache, &case.events).unwrap();
        (layer.diff_id, case.events.take_lines().len())
    };
    let (first, ran) = layer(&run, "image");
    assert_eq!(ran, 1);
    assert_eq!(layer(&run, "image"), (first, 0));
    assert_eq!(layer(&run, "other image").1, 1);
    run.rerun = true;
    assert_eq!(layer(&run, "image").1, 1);
    run.rerun = false;
    run.argv[2].push(" again");
    assert_eq!(layer(&run, "image").1, 1);
    assert_eq!(cache.layer(&first).unwrap().unwrap().diff_id, first);
    // A failure isn't kept.
    run.argv[2].push("; exit 1");
    for _ in 0..2 {
        sandbox::layer(&busybox(), &Digest::of("image"), &config, &run, &cache, &case.events).unwrap_err();
        assert_eq!(case.events.take_lines().len(), 1);
    }
    assert_eq!(std::fs::read_dir(cache.dir().join("scratch")).unwrap().count(), 0);
    // Of several at once, one runs and the others wait for it.
    let run = case.shell("echo x > /srv/y; echo ran");
    let one =
        || sandbox::layer(&busybox(), &Digest::of("image"), &config, &run, &cache, &case.events).unwrap();
    let layers: Vec<Digest> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| one().diff_id)).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(layers.iter().all(|layer| *layer == layers[0]));
    assert_eq!(case.events.take_lines(), ["ran"]);
}

struct Print;

impl Events for Print {
    fn event(&self, event: Event<'_>) {
        if let Event::Output(line) = event {
            println!("{line}");
        }
    }
}

/// The program that is to be killed.
pub(crate) fn wait(case: &Case) {
    let seconds = std::env::var("SANDBOX_SECONDS").unwrap();
    let run = case.shell(&format!(
        "echo x > /srv/x; mkdir -p /srv/a/b; chmod 000 /srv/a; chown -R 33 /srv; echo ready; sleep {seconds}"
    ));
    let scratch = case.scratch();
    let _ = run_in(&busybox(), &oci::Config::default(), &run, &scratch, &Print, |_| Ok(()));
}

pub(super) fn killed_program(case: &Case) {
    for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
        killed(case, signal, |pid| pid);
    }
}

/// The helper is this program's child.
pub(super) fn killed_helper(case: &Case) {
    killed(case, Signal::KILL, |pid| {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.split_whitespace().next().unwrap().parse().unwrap()
    });
}

/// A failed assertion must not leave the program, which holds this one's output open.
struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn killed(case: &Case, signal: Signal, whom: impl Fn(u32) -> u32) {
    let dir = tempfile::tempdir_in(&case.dir).unwrap();
    let seconds = marker();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.env("SANDBOX_SCENARIO", "wait").env("SANDBOX_MODE", case.mode.to_string());
    command.env("SANDBOX_DIR", dir.path()).env("SANDBOX_SECONDS", &seconds).stdout(Stdio::piped());
    let mut child = Guard(command.spawn().unwrap());
    let child = &mut child.0;
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let scratch = dir.path().join("scratch");
    assert!(scratch.join("lower").exists());
    until(|| runs(&seconds), "the command doesn't run");
    let pid = whom(child.id());
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
    child.wait().unwrap();
    until(|| !runs(&seconds), "the command still runs");
    if pid == child.id() || case.mode != Mode::Subuid {
        until(|| !scratch.exists(), "the scratch directory is still there");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(scratch.to_str().unwrap()), "{mounts}");
}

/// A command line that nobody else has.
fn marker() -> String {
    format!(
        "9{:09}.{}",
        std::process::id(),
        std::time::SystemTime::now().elapsed().map_or(1, |d| d.subsec_nanos() + 1)
    )
}

fn runs(marker: &str) -> bool {
    let commands = Path::new("/proc").read_dir().unwrap().flatten().filter_map(|entry| {
        let mut text = Vec::new();
        std::fs::File::open(entry.path().join("cmdline")).ok()?.read_to_end(&mut text).ok()?;
        Some(text)
    });
    commands
        .into_iter()
        .any(|c| c.starts_with(b"sleep\0") && c.windows(marker.len()).any(|w| w == marker.as_bytes()))
}

/// Kills take effect without anybody's waiting, in a moment.
fn until(mut done: impl FnMut() -> bool, what: &str) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What never ends by itself is stopped, whatever it takes.
pub(super) fn limits(case: &Case) {
    let none = RunLimits::default();
    for (line, limits, expected) in [
        (
            "sleep 100000",
            RunLimits { time: Some(Duration::from_millis(300)), ..none },
            Exceeded::Time(Duration::from_millis(300)),
        ),
        (
            "x=0123456789abcdef; while true; do x=$x$x; sleep 0.02; done",
            RunLimits { memory: Some(64 << 20), ..none },
            Exceeded::Memory(64 << 20),
        ),
        (
            "while true; do sleep 100000 & sleep 0.01; done",
            RunLimits { processes: Some(40), ..none },
            Exceeded::Processes(40),
        ),
        (
            // Of no process's memory: a file in memory that is written, and not mapped.
            "while true; do cat /bin/busybox; done > /dev/shm/file",
            RunLimits { memory: Some(64 << 20), ..none },
            Exceeded::Memory(64 << 20),
        ),
        (
            // What was unlinked while it is open can't be found.
            "exec 3>/srv/large; rm /srv/large; while true; do cat /bin/busybox >&3; done",
            RunLimits { disk: 16 << 20, ..none },
            Exceeded::Disk(16 << 20),
        ),
        (
            "while true; do cat /bin/busybox >> /srv/large; done",
            RunLimits { disk: 64 << 20, ..none },
            Exceeded::Disk(64 << 20),
        ),
    ] {
        let run = Run { limits, ..case.shell(line) };
        match case.run(&busybox(), &run) {
            Err(SandboxError::Stopped { command, exceeded }) => {
                assert_eq!((command.as_str(), exceeded), (line, expected));
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}
