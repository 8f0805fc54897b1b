//! `bakery boot`.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};
use cli::{Terminal, Verbosity};
use oci::{Context, ImageRef};
use store::{Cache, ScratchGuard};
use sysext::ExtensionName;
use tree::{Arch, Event, Events};

use osimage::{InstallPath, Payload, bake};
use sysext::{Compatibility, check_compatibility};
use vm::guest::{self, Inside};
use vm::{Accel, Attached, Disk, Ended, Guest, GuestFile, Machine, Port, guest_files};

const EXAMPLES: &str = "\
Examples:
  bakery boot nginx.raw
      Boot a small Debian with nginx.raw merged, with a root shell on this terminal. Leave the shell to shut it down.
  bakery boot --ports 8080:80 nginx.raw
      Forward http://127.0.0.1:8080 to port 80 of the machine.
  bakery boot nginx.raw nebula.raw --exec 'nginx -v && nebula -version'
      Run a command and exit with its status.
  bakery boot --image flatcar_production_image.bin kubernetes:kubernetes-v1.31.4-x86-64.raw
      Boot Flatcar. The image isn't modified.
";

/// Boot a virtual machine with extensions merged.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Extension images; NAME defaults to the name in the image
    #[arg(value_name = "[NAME:]FILE.raw")]
    extensions: Vec<Named>,

    /// Run CMD with sh in the machine, print its output, and exit with its status
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,

    /// Boot this disk image; it isn't modified
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,

    /// Build the machine from this container image, which has systemd and a kernel, or is a Debian to install them in
    #[arg(long, value_name = "IMAGE", default_value = guest::BASE, conflicts_with = "image")]
    base: ImageRef,

    /// Forward ports of the host to the machine: HOST:GUEST,…
    #[arg(long, value_name = "HOST:GUEST", value_delimiter = ',')]
    ports: Vec<Port>,

    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 3072, value_parser = clap::value_parser!(u32).range(256..))]
    memory: u32,

    /// Number of processors [default: 2, or 1 if the machine is emulated: a kernel with more may crash there]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: Option<u32>,

    /// Accelerator: auto, kvm, or tcg (emulation)
    #[arg(long, default_value = "auto")]
    accel: Accel,

    /// Time limit for --exec in seconds, including the boot; 0 for none
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,

    #[command(flatten)]
    source: cli::SourceArgs,

    /// Print errors only
    #[arg(short, long)]
    quiet: bool,
}

/// `NAME:FILE` or `FILE`.
#[derive(Debug, Clone)]
struct Named {
    name: Option<ExtensionName>,
    path: PathBuf,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((name, path)) if !name.contains('/') => {
                let name = name.parse::<ExtensionName>().map_err(|e| e.to_string())?;
                Ok(Named { name: Some(name), path: path.into() })
            }
            _ => Ok(Named { name: None, path: text.into() }),
        }
    }
}

impl Named {
    /// With the name that the image has, if none is given.
    fn attached(&self, arch: Arch, cache: &Cache, events: &dyn Events) -> anyhow::Result<Attached> {
        let path = self.path.clone();
        let found = path.metadata().with_context(|| format!("{path:?}"))?;
        if !found.is_file() {
            bail!("{path:?}: is no image file");
        }
        let name = match (check_compatibility(&path, self.name.as_ref(), Some(arch), cache)?, &self.name) {
            (Some(Compatibility { name, .. }), _) => name,
            (None, name) => {
                let text = format!("{path:?}: can't inspect the image before the machine boots with it");
                events.event(Event::Warning(text.into()));
                match name {
                    Some(name) => name.clone(),
                    None => stem(&path)?.parse()?,
                }
            }
        };
        Ok(Attached { name, path })
    }
}

fn stem(path: &Path) -> anyhow::Result<&str> {
    let name = path.file_name().and_then(|n| n.to_str()).with_context(|| format!("{path:?}: odd name"))?;
    Ok(name.strip_suffix(".raw").unwrap_or(name))
}

/// Boots it. A command's status becomes this process's.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let events = Terminal::new(if args.quiet { Verbosity::Quiet } else { Verbosity::Normal });
    let ended = boot(args, &events)?;
    events.clear();
    match ended {
        Ended::Status(status) if status != 0 => std::process::exit(status.into()),
        Ended::Status(_) | Ended::Off => Ok(()),
    }
}

fn boot(args: &Args, events: &dyn Events) -> anyhow::Result<Ended> {
    tree::remove_on_interrupt().context("signals can't be handled")?;
    let arch = arch(args)?;
    let machine = Machine {
        arch,
        accel: args.accel,
        memory: args.memory,
        cpus: args.cpus,
        ports: args.ports.clone(),
        limit: args.timeout,
    };
    machine.check()?;
    let context = args.source.context()?;
    let mut extensions = Vec::new();
    for named in &args.extensions {
        let attached = named.attached(arch, &context.cache, events)?;
        if extensions.iter().any(|e: &Attached| e.name == attached.name) {
            bail!("extension {} is given twice", attached.name);
        }
        extensions.push(attached);
    }
    match &args.image {
        Some(image) => from_disk(args, image, &extensions, &machine, &context, events),
        None => {
            let inside = Inside { extensions: &extensions, command: args.exec.as_deref() };
            let guest = Guest::new(&context, &args.base, arch, &inside, events)?;
            let disk = Disk::Memory { kernel: &guest.kernel, initrd: &guest.initrd };
            start(args, &machine, &disk, &context, events)
        }
    }
}

fn arch(args: &Args) -> anyhow::Result<Arch> {
    match args.source.arch.as_deref().filter(|a| !a.is_empty()) {
        Some(word) => Ok(word.parse::<Arch>()?),
        None => Arch::host().context("this machine's architecture has no name; say --arch"),
    }
}

fn from_disk(
    args: &Args,
    image: &Path,
    extensions: &[Attached],
    machine: &Machine,
    context: &Context,
    events: &dyn Events,
) -> anyhow::Result<Ended> {
    let scratch = ScratchGuard::new(&context.cache, "boot")?;
    let mut payload = Payload::default();
    for extension in extensions {
        let size = extension.path.metadata().with_context(|| format!("{:?}", extension.path))?.len();
        let file = format!("{}.raw", extension.name);
        payload.extension(&InstallPath::default(), &extension.name, &file, extension.path.clone(), size)?;
    }
    for (path, file) in guest_files(machine.arch, extensions.iter().map(|e| &e.name), args.exec.as_deref()) {
        match file {
            GuestFile::Text(text) => payload.text(&path, text)?,
            GuestFile::Link(target) => payload.link(&path, target)?,
        }
    }
    let baked = scratch.path().join("image.bin");
    bake(image, &payload, &baked, events)?;
    start(args, machine, &Disk::Image { path: &baked }, context, events)
}

fn start(
    args: &Args,
    machine: &Machine,
    disk: &Disk<'_>,
    context: &Context,
    events: &dyn Events,
) -> anyhow::Result<Ended> {
    events.event(Event::Step("booting".into()));
    Ok(machine.run(disk, args.exec.is_some(), &mut io::stdout(), &context.cache, events)?)
}
