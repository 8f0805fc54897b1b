//! `bakery boot`: machines that boot with extensions merged, and the errors it reports.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e::program::{place_program, processes};
use e2e::{Account, Program, Upstream, Work, World, images};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::{
    bootable, disk,
    flatcar::{Parts, extension},
};

/// `bakery boot` by somebody, with the registry as docker.io's mirror. Emulated: what /dev/kvm is worth here nobody knows.
fn boot(by: &Account) -> Result<Program> {
    static PUSHED: OnceLock<()> = OnceLock::new();
    static PUSHING: Mutex<()> = Mutex::new(());
    let _one = PUSHING.lock().unwrap_or_else(PoisonError::into_inner);
    if PUSHED.get().is_none() {
        World::get()?.push(&images::trixie()?, "trixie-slim", "library/debian")?;
        let _ = PUSHED.set(());
    }
    let program = Parts::get()?.bakery(by).args(["boot", "--accel", "tcg"]);
    Ok(program.env("CONTAINERS_REGISTRIES_CONF", World::get()?.registries_conf()))
}

/// The base that is made by the first test, for all.
fn cache() -> Result<PathBuf> {
    static WORK: OnceLock<Work> = OnceLock::new();
    static MAKING: Mutex<()> = Mutex::new(());
    let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if WORK.get().is_none() {
        let _ = WORK.set(Work::new()?);
    }
    Ok(WORK.get().context("no directory")?.path().join("cache"))
}

const NGINX: [&str; 5] = [
    "debian:bookworm",
    "nginx",
    "/usr/sbin/nginx",
    "/usr/sbin/start-stop-daemon",
    "/usr/lib/systemd/system/nginx.service",
];

/// A page for the world, and an access log that can be waited for.
const SERVE: &str = r#"
mkdir -p /etc/nginx /srv/www
echo "a page from the extension" > /srv/www/index.html
mkfifo /run/access
exec 4<>/run/access
cat > /etc/nginx/nginx.conf <<'END'
user root;
pid /run/nginx.pid;
events { }
http {
  access_log /run/access;
  server { listen 80; root /srv/www; }
}
END
systemctl start nginx.service || { journalctl --no-pager -u nginx.service; exit 1; }
echo "nginx is $(systemctl is-active nginx.service)"
nebula -version
test ! -t 1 || echo "colours: $TERM $SYSTEMD_COLORS"
systemd-sysext status --no-pager --no-legend
while read -r line <&4; do
    case $line in *"GET /done "*) break ;; esac
done
echo "the host was here"
kill -KILL $$
"#;

#[test]
fn a_command_sees_both_extensions_and_the_host_sees_its_port() -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    World::get()?.flix(&root).args(NGINX).run()?;
    let config = root.home().join("config.toml");
    fs::write(&config, Upstream::get()?.config())?;
    let build = Parts::get()?.bakery(&root).env("BAKERY_CONFIG", &config);
    build.args(["build", "--update", "nebula", "v1.9.5", "--arch", "x86-64"]).run()?;

    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut machine = boot(&root)?.arg("--cache-dir").arg(cache()?).args([
        "--ports",
        &format!("{port}:80"),
        "nginx.raw",
        "nebula:nebula-v1.9.5-x86-64.raw",
        "--exec",
        SERVE,
    ]);
    machine.command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = machine.start()?;
    let page = loop {
        if let Some(page) = get(port, "/").filter(|p| p.contains("200 OK")) {
            break page;
        }
        if let Some(status) = child.try_wait()? {
            let out = child.wait_with_output()?;
            bail!(
                "{status}: {}{}",
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr)
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(page.contains("a page from the extension"), "{page}");
    get(port, "/done");
    let out = child.wait_with_output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    // 128 and the signal, as a shell says it.
    assert_eq!(out.status.code(), Some(137), "{stdout}{stderr}");
    for said in [
        "nginx is active\n",
        "Version: 1.9.5\n",
        "colours: dumb 0\n",
        "/usr nebula ",
        " nginx ",
        "the host was here\n",
    ] {
        assert!(stdout.contains(said), "{said}: {stdout}{stderr}");
    }
    // Nothing but the command's own words.
    assert!(!stdout.contains('\r') && !stdout.contains('\x1b') && !stdout.contains("bakery: "), "{stdout}");
    Ok(())
}

/// One request; none if nobody answers.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn anybody_boots_and_gets_the_commands_status() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    extension(&user.home().join("some-1.0-x86-64.raw"), "some", "x86-64", 1000)?;
    // Its name is in the image. Debian 12 as base.
    let command = "wc -c < /usr/share/some; echo complaint >&2; cat; exit 3";
    let machine = boot(&user)?.args(["--base", "debian:bookworm", "some-1.0-x86-64.raw", "--exec", command]);
    let out = machine.input("not for the command").outcome()?;
    assert_eq!((out.status.code(), out.stdout.as_str()), (Some(3), "1000\ncomplaint\n"), "{}", out.stderr);

    // The same base from the cache, without a network. Another system's extension, which systemd leaves out with status 0.
    let tree = user.home().join("tree/usr/lib/extension-release.d");
    fs::create_dir_all(&tree)?;
    fs::write(tree.join("extension-release.other"), "ID=flatcar\nSYSEXT_LEVEL=1.0\n")?;
    let image = user.home().join("other.raw");
    Program::new("mksquashfs")
        .arg(user.home().join("tree"))
        .arg(&image)
        .args(["-quiet", "-no-progress", "-all-root"])
        .run()?;
    let machine =
        boot(&user)?.args(["--base", "debian:bookworm", "--offline", "other.raw", "some-1.0-x86-64.raw"]);
    let out = machine.args(["--exec", "echo run all the same"]).outcome()?.failure()?;
    assert_eq!((out.status.code(), out.stdout.as_str()), (Some(1), ""), "{}", out.stderr);
    assert!(
        out.stderr
            .contains("error: the machine didn't run the command: not merged: other; systemd-sysext says:\n"),
        "{}",
        out.stderr
    );
    assert!(
        out.stderr.contains("Using extensions 'some'.") && out.stderr.contains("\nhint: "),
        "{}",
        out.stderr
    );
    Ok(())
}

#[test]
fn what_cannot_boot_is_told_at_once() -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    extension(&root.home().join("arm.raw"), "arm", "arm64", 1000)?;
    fs::write(root.home().join("text.raw"), "no image")?;
    fs::create_dir(root.home().join("empty"))?;
    let refused = |program: Program, said: &str| -> Result<()> {
        let out = program.outcome()?.failure()?;
        assert!(out.stderr.contains(said), "{said:?}: {}", out.stderr);
        Ok(())
    };
    let here = |args: &[&str]| -> Result<Program> { Ok(Parts::get()?.bakery(&root).arg("boot").args(args)) };
    refused(here(&["arm.raw"])?, "error: \"arm.raw\": is for arm64, expected x86-64\nhint: ")?;
    refused(
        here(&["x:arm.raw", "--exec", "true"])?,
        "\"arm.raw\": its release file is for arm, expected x\nhint: name it so: arm:arm.raw",
    )?;
    refused(here(&["text.raw"])?, "\"text.raw\": is no image of an extension")?;
    refused(here(&["gone.raw"])?, "\"gone.raw\": No such file or directory")?;
    refused(here(&["empty"])?, "\"empty\": is no image file")?;
    refused(here(&["--ports", "80:x"])?, "got \"80:x\", expected HOST:GUEST")?;
    refused(here(&["--image", "gone.bin"])?, "\"gone.bin\": No such file or directory")?;
    let path = |dir: &str| root.home().join(dir).display().to_string();
    let without = here(&["--exec", "true"])?.env("PATH", path("empty"));
    refused(without, "error: qemu-system-x86_64 isn't installed\nhint: install package qemu-system-x86\n")?;
    let without = here(&["--arch", "arm64"])?.env("PATH", path("empty"));
    refused(without, "error: qemu-system-aarch64 isn't installed\nhint: install package qemu-system-arm\n")
}

/// A machine on a terminal of its own.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    seen: String,
}

impl Terminal {
    /// `script` makes the terminal; what is written to it are keys.
    fn start(by: &Account, args: &[&str]) -> Result<Terminal> {
        let bakery = boot(by)?.args(args);
        let line: Vec<String> = {
            let mut bakery = bakery;
            let command = bakery.command();
            std::iter::once(command.get_program())
                .chain(command.get_args())
                .map(|w| format!("'{}'", w.to_string_lossy()))
                .collect()
        };
        let mut script = by.program("script").env("TERM", "dumb").args([
            "--quiet",
            "--return",
            "--command",
            &line.join(" "),
            "/dev/null",
        ]);
        script = script.env("CONTAINERS_REGISTRIES_CONF", World::get()?.registries_conf());
        script.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = script.start()?;
        let keys = child.stdin.take().context("no stdin")?;
        let screen = child.stdout.take().context("no stdout")?;
        Ok(Terminal { child, keys, screen, seen: String::new() })
    }

    /// Reads on until these words come; a terminal that stays silent for good is an error that shows what was seen.
    fn wait_for(&mut self, words: &str) -> Result<()> {
        const SILENCE: Timespec = Timespec { tv_sec: 600, tv_nsec: 0 };
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.seen.find(words) {
                self.seen.drain(..at + words.len());
                return Ok(());
            }
            if poll(&mut [PollFd::new(&self.screen, PollFlags::IN)], Some(&SILENCE))? == 0 {
                self.child.kill()?;
                bail!("the terminal is silent before {words:?}: {}", self.seen);
            }
            match self.screen.read(&mut buffer)? {
                0 => bail!("the terminal ended before {words:?}: {}", self.seen),
                n => self.seen.push_str(&String::from_utf8_lossy(&buffer[..n])),
            }
        }
    }

    fn press(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes())?;
        Ok(self.keys.flush()?)
    }
}

#[test]
fn a_shell_on_the_terminal() -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    extension(&root.home().join("some.raw"), "some", "x86-64", 1234)?;
    let cache = cache()?;
    let mut terminal = Terminal::start(&root, &["--cache-dir", &cache.to_string_lossy(), "some.raw"])?;
    terminal.wait_for("Leaving this shell switches the machine off")?;
    terminal.wait_for("# ")?;
    terminal.press("echo =$(wc -c < /usr/share/some)=\r")?;
    terminal.wait_for("=1234=")?;
    terminal.wait_for("# ")?;
    // Ctrl-C is the machine's. Between a line and its program the shell puts the terminal back into its usual state, and a key
    // that comes before that isn't echoed: only a line's output shows that this is over.
    terminal.press("echo =$((40 + 2))=; cat\r")?;
    terminal.wait_for("=42=")?;
    terminal.press("typed\r")?;
    // As it was typed, and as cat gives it back.
    terminal.wait_for("typed\r")?;
    terminal.wait_for("typed\r")?;
    terminal.press("\x03")?;
    terminal.wait_for("# ")?;
    terminal.press("echo status=$?\r")?;
    terminal.wait_for("status=130")?;
    terminal.wait_for("# ")?;
    terminal.press("exit\r")?;
    let mut rest = String::new();
    terminal.screen.read_to_string(&mut rest)?;
    let status = terminal.child.wait()?;
    assert!(status.success(), "{status}: {rest}");
    Ok(())
}

/// Emulators whose command line has this.
fn machines(mark: &str) -> Result<Vec<String>> {
    Ok(processes(mark)?.into_iter().filter(|line| line.starts_with("qemu-system")).collect())
}

#[test]
fn no_machine_outlives_the_command() -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    // A kernel that never says a word would do as well; this is a disk without a system.
    disk::make(&root.home().join("disk.bin"), &[(9, "ROOT", 16)], None)?;
    let cache = root.home().join("cache");
    let mark = cache.display().to_string();
    let machine = |args: &[&str]| -> Result<Program> {
        // nohup(1) and a shell's `&` have signals ignored, which is passed on, and stays so here as everywhere.
        let program = root.program("env").arg("--default-signal=HUP,INT,TERM");
        let program = program.arg(Parts::get()?.bakery(&root).command().get_program());
        let program = program.args(["boot", "--accel", "tcg", "--memory", "256"]);
        Ok(program.args(["--image", "disk.bin", "--exec", "true", "--cache-dir"]).arg(&cache).args(args))
    };
    let out = machine(&["--timeout", "1"])?.outcome()?.failure()?;
    assert!(
        out.stderr.contains("error: the command didn't end within 1 s; the console's last output:\n"),
        "{}",
        out.stderr
    );
    assert!(out.stderr.contains("hint: --timeout SECONDS"), "{}", out.stderr);
    assert_eq!(machines(&mark)?, Vec::<String>::new());
    assert_eq!(scratch(&cache)?, 0);

    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut program = machine(&[])?;
        program.command().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = program.start()?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while machines(&mark)?.is_empty() {
            assert!(child.try_wait()?.is_none() && Instant::now() < deadline, "no machine has started");
            std::thread::sleep(Duration::from_millis(2));
        }
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("no pid")?;
        // Ctrl-C is for all of a terminal's processes, the others for this one.
        if signal == Signal::INT {
            kill_process_group(pid, signal)?
        } else {
            kill_process(pid, signal)?
        }
        assert!(!child.wait()?.success());
        let deadline = Instant::now() + Duration::from_secs(60);
        while !machines(&mark)?.is_empty() {
            assert!(Instant::now() < deadline, "{signal:?}: {:?}", machines(&mark)?);
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(scratch(&cache)?, 0, "{signal:?}");
    }
    Ok(())
}

/// Under nested virtualization there may be a /dev/kvm with which the emulator gives up. A stand-in for it does so here, since
/// nobody knows what this machine's does; emulation is the real one's.
#[test]
fn virtualization_that_does_not_work_is_done_without() -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    disk::make(&root.home().join("disk.bin"), &[(9, "ROOT", 16)], None)?;
    let tools = root.home().join("tools");
    fs::create_dir(&tools)?;
    let refusing = "#!/bin/sh\ncase \"$*\" in *'-accel kvm'*) echo no such register >&2; kill -ABRT $$ ;; esac\n\
                    exec /usr/bin/qemu-system-x86_64 \"$@\"\n";
    fs::write(root.home().join("refusing"), refusing)?;
    place_program(&root.home().join("refusing"), &tools.join("qemu-system-x86_64"))?;
    // A file is enough for a device that is only opened.
    fs::write(root.home().join("kvm"), "")?;
    let bakery = |args: &[&str]| -> Result<Program> {
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", tools.display());
        let bwrap =
            root.program("bwrap").env("PATH", path).args(["--bind", "/", "/", "--dev", "/dev", "--bind"]);
        let bwrap = bwrap.arg(root.home().join("kvm")).arg("/dev/kvm");
        let mut bakery = Parts::get()?.bakery(&root);
        let program = bwrap
            .arg(bakery.command().get_program())
            .args(["boot", "--memory", "256", "--image", "disk.bin"]);
        Ok(program.args(["--exec", "true", "--timeout", "1"]).args(args))
    };
    let out = bakery(&[])?.outcome()?.failure()?;
    for said in [
        "no such register\n",
        "note: the machine doesn't start on this processor's virtualization: starting it again, emulated\n",
        "error: the command didn't end within 1 s; the console's last output:\n",
    ] {
        assert!(out.stderr.contains(said), "{said}: {}", out.stderr);
    }
    // Who asks for it gets nothing else.
    let out = bakery(&["--accel", "kvm"])?.outcome()?.failure()?;
    assert!(
        out.stderr.contains("error: the machine ended before the command did (signal: 6"),
        "{}",
        out.stderr
    );
    Ok(())
}

/// How many temporary directories with machines' files are left.
fn scratch(cache: &Path) -> Result<usize> {
    let mut found = 0;
    for entry in fs::read_dir(cache.join("scratch")).into_iter().flatten() {
        found += usize::from(entry?.path().join("image.bin").exists());
    }
    Ok(found)
}

#[test]
fn a_disk_image_boots_with_extensions_and_stays_as_it_was() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let original = bootable::image()?;
    let image = user.home().join("disk.bin");
    Program::new("cp").args(["--sparse=always", "--no-preserve=all"]).args([&original, &image]).run()?;
    extension(&user.home().join("some.raw"), "some", "x86-64", 4321)?;
    let command = "wc -c < /usr/share/some; findmnt -n -o SOURCE,FSTYPE /; readlink /etc/extensions/some.raw; \
                   echo written > /mark; sync; exit 7";
    let machine = boot(&user)?.args(["--image", "disk.bin", "some:some.raw", "--exec", command]);
    let out = machine.outcome()?;
    assert_eq!(out.status.code(), Some(7), "{}{}", out.stdout, out.stderr);
    let lines: Vec<&str> = out.stdout.lines().collect();
    assert_eq!(lines, ["4321", "/dev/vda9 ext4", "/opt/extensions/some/some.raw"], "{}", out.stderr);
    assert_eq!(disk::difference(&original, &image, &[])?, None);
    Ok(())
}
