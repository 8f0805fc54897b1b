//! `bakery boot`.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};
use oci::{Context, ImageRef};
use sysext::cli::{Terminal, Verbosity};
use sysext::{Arch, Events, ExtensionName};

use crate::bake::{Payload, Target, bake};
use crate::boot::guest::{self, Inside};
use crate::boot::{Accel, Attached, Disk, Ended, Guest, Machine, Port, ignition};

const EXAMPLES: &str = "\
Examples:
  bakery boot nginx.raw
      a small Debian with nginx.raw merged, a root shell on this terminal; leaving the shell switches it off
  bakery boot --ports 8080:80 nginx.raw
      http://127.0.0.1:8080 leads to port 80 of the machine
  bakery boot nginx.raw nebula.raw --exec 'nginx -v && nebula -version'
      runs a command and exits with its status
  bakery boot --image flatcar_production_image.bin kubernetes:kubernetes-v1.31.4-x86-64.raw
      Flatcar instead; the image isn't written to
";

/// Boots a virtual machine with extensions merged.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Images of extensions; NAME is the extension's name where the file has another
    #[arg(value_name = "[NAME:]FILE.raw")]
    extensions: Vec<Named>,

    /// Run this line with sh, print what it prints, and exit with its status
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,

    /// Boot this disk image, which isn't written to
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,

    /// Make the machine of this container image: one with systemd and a kernel, or a Debian that gets them
    #[arg(long, value_name = "IMAGE", default_value = guest::BASE, conflicts_with = "image")]
    base: ImageRef,

    /// Ports of this machine that lead to the virtual one's: HOST:GUEST,…
    #[arg(long, value_name = "HOST:GUEST", value_delimiter = ',')]
    ports: Vec<Port>,

    /// MiB of memory
    #[arg(long, value_name = "MIB", default_value_t = 3072, value_parser = clap::value_parser!(u32).range(256..))]
    memory: u32,

    /// Processors
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,

    /// auto, kvm or tcg (emulation)
    #[arg(long, default_value = "auto")]
    accel: Accel,

    /// Seconds that --exec may take, the start included; 0 is no limit
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,

    #[command(flatten)]
    source: oci::cli::SourceArgs,

    /// Print errors only
    #[arg(short, long)]
    quiet: bool,
}

/// `NAME:FILE` or `FILE`.
#[derive(Debug, Clone)]
struct Named(Attached);

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = match text.split_once(':') {
            Some((name, path)) if !name.contains('/') => (name, Path::new(path)),
            _ => {
                let path = Path::new(text);
                let name = path.file_name().and_then(|n| n.to_str()).ok_or("has no file name")?;
                (name.strip_suffix(".raw").ok_or("expected FILE.raw or NAME:FILE")?, path)
            }
        };
        let name = name.parse::<ExtensionName>().map_err(|e| e.to_string())?;
        Ok(Named(Attached { name, path: path.to_owned() }))
    }
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
    sysext::remove_on_interrupt().context("signals can't be handled")?;
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
    let extensions: Vec<Attached> = args.extensions.iter().map(|n| n.0.clone()).collect();
    for extension in &extensions {
        let found = extension.path.metadata().with_context(|| format!("{:?}", extension.path))?;
        if !found.is_file() {
            bail!("{:?}: is no image file", extension.path);
        }
    }
    let context = args.source.context()?;
    match &args.image {
        Some(image) => from_disk(args, image, &extensions, &machine, &context, events),
        None => {
            let inside = Inside { extensions: &extensions, command: args.exec.as_deref() };
            let guest = Guest::new(&context, &args.base, arch, &inside, events)?;
            let disk = Disk::Memory { kernel: &guest.kernel, initrd: &guest.initrd };
            start(args, &machine, &disk, events)
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
    let scratch = context.cache.scratch("boot")?;
    let config = scratch.path().join("ignition.json");
    if let Some(command) = &args.exec {
        std::fs::write(&config, ignition::command(command, machine.arch))
            .with_context(|| format!("{config:?}"))?;
    }
    let mut payload = Payload::default();
    for extension in extensions {
        let size = extension.path.metadata().with_context(|| format!("{:?}", extension.path))?.len();
        let file = format!("{}.raw", extension.name);
        payload.extension(&Target::default(), &extension.name, &file, extension.path.clone(), size)?;
    }
    // Even without extensions: the image may be compressed.
    let baked = scratch.path().join("image.bin");
    bake(image, &payload, &baked, events)?;
    let ignition = args.exec.is_some().then_some(config.as_path());
    start(args, machine, &Disk::Image { path: &baked, ignition }, events)
}

fn start(args: &Args, machine: &Machine, disk: &Disk<'_>, events: &dyn Events) -> anyhow::Result<Ended> {
    events.event(sysext::Event::Step("booting".into()));
    Ok(machine.run(disk, args.exec.is_some(), &mut io::stdout(), events)?)
}
