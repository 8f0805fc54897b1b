//! The machine itself: qemu.

use std::fmt;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use store::Cache;
use tree::{
    Arch, Event, Events,
    process::{ChildGuard, is_in_path},
};

use super::console::Console;
use super::guest_files;

/// How the machine's processor is virtualised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accel {
    /// The processor itself if that works, else emulation.
    #[default]
    Auto,
    /// The processor itself.
    Kvm,
    /// Emulation.
    Tcg,
}

impl FromStr for Accel {
    type Err = MachineError;

    fn from_str(text: &str) -> Result<Self, MachineError> {
        match text {
            "auto" => Ok(Accel::Auto),
            "kvm" => Ok(Accel::Kvm),
            "tcg" => Ok(Accel::Tcg),
            _ => Err(MachineError::Word { got: text.into(), expected: "auto, kvm or tcg" }),
        }
    }
}

/// A port of this machine that leads to one of the virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Here, on 127.0.0.1.
    pub host: u16,
    /// There.
    pub guest: u16,
}

impl FromStr for Port {
    type Err = MachineError;

    fn from_str(text: &str) -> Result<Self, MachineError> {
        let bad = || MachineError::Word { got: text.into(), expected: "HOST:GUEST, like 8080:80" };
        let (host, guest) = text.split_once(':').unwrap_or((text, text));
        let port = |t: &str| t.parse::<u16>().ok().filter(|&p| p != 0).ok_or_else(bad);
        Ok(Port { host: port(host)?, guest: port(guest)? })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.guest)
    }
}

/// What the machine starts from.
#[derive(Debug, Clone, Copy)]
pub enum Disk<'a> {
    /// A kernel and a root in memory.
    Memory {
        /// The kernel.
        kernel: &'a Path,
        /// The root.
        initrd: &'a Path,
    },
    /// A disk image. What the machine writes is thrown away.
    Image {
        /// The image.
        path: &'a Path,
    },
}

/// A machine to be started.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its processor.
    pub arch: Arch,
    /// Whether it is virtualised or emulated.
    pub accel: Accel,
    /// MiB.
    pub memory: u32,
    /// Processors. None: one if it is emulated, else two.
    pub cpus: Option<u32>,
    /// Ports that are passed on.
    pub ports: Vec<Port>,
    /// Seconds that a command may take, the start included; 0 is no limit.
    pub limit: u64,
}

/// How a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was switched off.
    Off,
    /// The command in it ended with this status.
    Status(u8),
}

/// Why a machine did not do its work.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum MachineError {
    /// An argument has an unknown value.
    #[error("got {got:?}, expected {expected}")]
    Word { got: String, expected: &'static str },
    /// There is no emulator for this architecture.
    #[error("{0} isn't installed")]
    NoTool(&'static str),
    /// There is no machine for this architecture.
    #[error("no machine for architecture {0}, expected x86-64 or arm64")]
    Arch(&'static str),
    /// The emulator can't be run.
    #[error("{program}: {source}")]
    Run { program: &'static str, source: io::Error },
    /// The machine's firmware is missing.
    #[error("firmware for {0} isn't installed")]
    NoFirmware(&'static str),
    #[error("the machine didn't run the command: {0}")]
    Refused(String),
    /// The command's output has nowhere to go.
    #[error("output: {0}")]
    Output(io::Error),
    /// The machine ended before the command did.
    #[error("the machine ended before the command did ({status}); its last output:\n{console}")]
    Died {
        /// How the emulator ended.
        status: String,
        /// The end of the console.
        console: String,
    },
    /// It took too long.
    #[error("the command didn't end within {seconds} s; the console's last output:\n{console}")]
    Limit {
        seconds: u64,
        /// The end of the console.
        console: String,
    },
}

/// Where Debian and others have UEFI for arm64.
const FIRMWARE: [&str; 4] = [
    "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
    "/usr/share/AAVMF/AAVMF_CODE.fd",
    "/usr/share/edk2/aarch64/QEMU_EFI.fd",
    "/usr/share/qemu/edk2-aarch64-code.fd",
];

/// Longer than any kernel takes to print its first message on a virtualised processor.
const FIRST_WORD: Duration = Duration::from_secs(20);

/// A kernel patches its own code while it runs (static keys; text_poke_bp in arch/x86/kernel/alternative.c), with an int3 in place of what
/// is being replaced. With thread=multi, another emulated processor may still run that int3 when the kernel has forgotten it, and the
/// kernel oopses. With one processor there is no other.
const EMULATED_CPUS: u32 = 1;

const VIRTUALIZED_CPUS: u32 = 2;

/// Kernel parameters that spare an emulated processor work, by leaving out self-tests and the protection of a machine that lives longer.
/// With norandmaps, shared libraries have the same addresses in all processes, so that their code isn't translated for each anew.
const EMULATED: &str = " mitigations=off init_on_alloc=0 cryptomgr.notests norandmaps";

impl Machine {
    /// Whether the emulator is there: to be asked before anything long begins.
    ///
    /// # Errors
    /// It isn't, or there is none for this architecture.
    pub fn check(&self) -> Result<(), MachineError> {
        let program = self.program()?;
        match is_in_path(program) {
            true => Ok(()),
            false => Err(MachineError::NoTool(program)),
        }
    }

    fn program(&self) -> Result<&'static str, MachineError> {
        match self.arch {
            Arch::X86_64 => Ok("qemu-system-x86_64"),
            Arch::Arm64 => Ok("qemu-system-aarch64"),
            other => Err(MachineError::Arch(other.systemd())),
        }
    }

    /// The emulator's command line.
    pub(super) fn command(&self, disk: &Disk<'_>, kvm: bool, words: bool) -> Result<Command, MachineError> {
        let mut qemu = Command::new(self.program()?);
        if self.arch == Arch::Arm64 {
            qemu.args(["-machine", "virt"]);
        }
        qemu.args(if kvm {
            ["-accel", "kvm", "-cpu", "host"]
        } else {
            ["-accel", "tcg,thread=multi", "-cpu", "max"]
        });
        let cpus = self.cpus.unwrap_or(if kvm { VIRTUALIZED_CPUS } else { EMULATED_CPUS });
        qemu.args(["-smp", &cpus.to_string(), "-m", &self.memory.to_string()]);
        // No disk drives that nobody wants: looking for them takes seconds.
        qemu.args(["-nodefaults", "-display", "none", "-serial", "mon:stdio", "-no-reboot"]);
        let mut network = String::from("user,model=virtio-net-pci");
        for port in &self.ports {
            network.push_str(&format!(",hostfwd=tcp:127.0.0.1:{}-:{}", port.host, port.guest));
        }
        qemu.args(["-nic", &network]);
        match disk {
            Disk::Memory { kernel, initrd } => {
                // edd=off: asking an emulated BIOS for its disks takes long. no_timer_check: on a busy machine an emulated timer
                // is late, which a kernel that checks it takes for a broken one. The kernel's messages stay on: the first
                // shows that the machine is alive.
                let console = guest_files::console(self.arch);
                let quiet = if words { " systemd.show_status=false" } else { "" };
                let emulated = if kvm { "" } else { EMULATED };
                let line = format!(
                    "console={console} edd=off no_timer_check panic=-1 rdinit=/init{quiet}{emulated}"
                );
                qemu.args(["-append", &line]).arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
            }
            Disk::Image { path } => {
                qemu.arg("-drive").arg(drive(path));
                if self.arch == Arch::Arm64 {
                    // A PC has firmware in qemu's own package, this machine has none but UEFI's.
                    let found = FIRMWARE.iter().find(|f| Path::new(f).is_file());
                    qemu.args(["-bios", found.ok_or(MachineError::NoFirmware(self.arch.systemd()))?]);
                }
            }
        }
        Ok(qemu)
    }

    /// Starts the machine and waits for its end. With `words` the console is searched for a command's output, which goes to
    /// `out`, and for its status; without, all of it goes to `out`, and stdin is the console's keyboard. `cache` remembers
    /// whether this processor's virtualization works.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn run(
        &self,
        disk: &Disk<'_>,
        words: bool,
        out: &mut dyn Write,
        cache: &Cache,
        events: &dyn Events,
    ) -> Result<Ended, MachineError> {
        self.check()?;
        let kvm = match self.accel {
            Accel::Kvm => true,
            Accel::Tcg => false,
            Accel::Auto => {
                // Finding out can cost 20 seconds: once for each start of this machine is enough.
                let silent = cache.key("boot", "silent").ok().flatten();
                let silent = silent.is_some_and(|id| Some(id) == boot_id());
                Arch::host() == Some(self.arch) && can_kvm() && !silent
            }
        };
        if kvm {
            let patience = (self.accel == Accel::Auto).then_some(FIRST_WORD);
            if let Some(ended) = self.attempt(disk, true, patience, words, out)? {
                return Ok(ended);
            }
            let note =
                "the machine doesn't start on this processor's virtualization: starting it again, emulated";
            events.event(Event::Note(note.into()));
        }
        match self.attempt(disk, false, None, words, out)? {
            Some(ended) => {
                // A disk without a system is silent everywhere. If it can't be kept, the next start takes as long.
                if let Some(id) = boot_id().filter(|_| kvm) {
                    let _ = cache.set_key("boot", "silent", &id);
                }
                Ok(ended)
            }
            None => Err(MachineError::Died { status: "silent".into(), console: String::new() }),
        }
    }

    /// None: it printed nothing within `patience`, or ended without one.
    fn attempt(
        &self,
        disk: &Disk<'_>,
        kvm: bool,
        patience: Option<Duration>,
        words: bool,
        out: &mut dyn Write,
    ) -> Result<Option<Ended>, MachineError> {
        let mut qemu = self.command(disk, kvm, words)?;
        qemu.stdin(if words { Stdio::null() } else { Stdio::inherit() }).stdout(Stdio::piped());
        let program = self.program()?;
        let io = |source| MachineError::Run { program, source };
        let mut child = ChildGuard::spawn(&mut qemu).map_err(io)?;
        let (send, receive) = mpsc::sync_channel(16);
        let mut stdout = child.stdout();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Some(Ok(n @ 1..)) = stdout.as_mut().map(|s| s.read(&mut buffer)) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let start = Instant::now();
        let limit = (words && self.limit > 0).then_some(self.limit);
        let mut console = Console::default();
        let mut nowhere = io::sink();
        loop {
            let until = match patience.filter(|_| !console.alive) {
                Some(patience) => Some(patience),
                None => limit.map(Duration::from_secs),
            };
            let received = match until {
                Some(until) => receive.recv_timeout(until.saturating_sub(start.elapsed())),
                None => receive.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(bytes) => {
                    if !words {
                        out.write_all(&bytes).and_then(|()| out.flush()).map_err(MachineError::Output)?;
                    }
                    let to: &mut dyn Write = if words { out } else { &mut nowhere };
                    console.take(&bytes, to).map_err(MachineError::Output)?;
                    if let Some(status) = console.status.filter(|_| words) {
                        return match console.refusal() {
                            Some(why) => Err(MachineError::Refused(why)),
                            None => Ok(Some(Ended::Status(status))),
                        };
                    }
                }
                Err(RecvTimeoutError::Timeout) => match limit {
                    _ if patience.is_some() && !console.alive => return Ok(None),
                    Some(seconds) => return Err(MachineError::Limit { seconds, console: console.tail() }),
                    // Without a limit there is nothing to be late for.
                    None => {}
                },
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let _ = reader.join();
        let status = child.wait().map_err(io)?;
        // Nested virtualization is often there and not whole: then the emulator gives up at once.
        if patience.is_some() && !console.alive && !status.success() {
            return Ok(None);
        }
        if words || !status.success() {
            return Err(MachineError::Died { status: status.to_string(), console: console.tail() });
        }
        Ok(Some(Ended::Off))
    }
}

/// Whether this user may use the processor's virtualization. That it works shows only in use.
fn can_kvm() -> bool {
    std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// Another one each time that this machine starts. None where /proc isn't mounted.
fn boot_id() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
}

fn drive(path: &Path) -> std::ffi::OsString {
    let mut drive = std::ffi::OsString::from("if=virtio,format=raw,snapshot=on,file=");
    drive.push(doubled(path));
    drive
}

/// A path in a list of qemu's, where a comma ends a value unless there are two.
fn doubled(path: &Path) -> PathBuf {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let mut bytes = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        bytes.push(byte);
        if byte == b',' {
            bytes.push(byte);
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}
