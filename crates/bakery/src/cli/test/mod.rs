//! `bakery test`.

mod machine;
mod report;
mod subject;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use cli::{ReportArgs, Terminal};
use oci::ImageRef;
use tree::{Arch, Event, Events};

use super::{CatalogueArgs, WorkArgs, args::pair};
use recipes::context::BuildContext;
use report::Outcome;
use subject::Subject;
use sysext::merge_test::{MergeTest, MergeTestError, Report};
use vm::guest::{self, Inside};
use vm::{Accel, Attached, Disk, Guest, Machine, MachineError};

const EXAMPLES: &str = "\
Examples:
  sudo bakery test tailscale
      Build the newest pinned tailscale if necessary, merge it with this machine's /usr in a private mount namespace, and
      run its tests.
  sudo bakery test docker 27.5.1 nebula --root /srv/debian
      Test two extensions, one after the other, on the root directory of another host.
  sudo bakery test --together --all
      Test everything in the lock file, merged at once.
  bakery test --vm kubernetes-v1.32.2-x86-64.raw
      Test an image in a virtual machine, which doesn't take root, with the tests of the recipe of that name.

Exit status: 0 if all tests passed, 1 otherwise, 2 on wrong usage.";

/// Merge extensions and run the tests of their recipes, without changing the host.
///
/// systemd-sysext merges them in a private mount namespace, on the root directory of a host, or in a virtual machine.
/// Extensions that a recipe requires are included.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Recipes, which are built from the lock file if necessary, or images; each may be followed by a version
    #[arg(required_unless_present = "all", value_name = "NAME|FILE [VERSION]")]
    what: Vec<String>,

    /// Test everything in the lock file for the architecture
    #[arg(long, conflicts_with = "what")]
    all: bool,

    /// Merge all extensions at once instead of one by one
    #[arg(long)]
    together: bool,

    /// Root directory of the host to merge on
    #[arg(long, value_name = "DIR", default_value = "/", conflicts_with = "vm")]
    root: PathBuf,

    /// Boot a virtual machine instead, as "bakery boot" does
    #[arg(long)]
    vm: bool,

    /// With --vm, container image to build the machine from
    #[arg(long, value_name = "IMAGE", default_value = guest::BASE, requires = "vm")]
    base: ImageRef,

    /// With --vm, time limit in seconds, including the boot; 0 for none
    #[arg(long, value_name = "SECONDS", default_value_t = 900, requires = "vm")]
    timeout: u64,

    /// Use images in this directory, and keep newly built ones there [default: use those in the current directory, keep none]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// Parameter of the recipe, as pinned; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, conflicts_with = "all", help_heading = "Recipes")]
    set: Vec<(String, String)>,

    /// Component that is omitted, as pinned; repeatable
    #[arg(long, value_name = "COMPONENT", conflicts_with = "all", help_heading = "Recipes")]
    without: Vec<String>,

    #[command(flatten)]
    catalogue: CatalogueArgs,

    #[command(flatten)]
    work: WorkArgs,

    #[command(flatten)]
    report: ReportArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let events = Terminal::new(args.report.verbosity());
    tree::remove_on_interrupt().context("signals can't be handled")?;
    let host = TestHost::of(args)?;
    let catalogue = args.catalogue.catalogue()?;
    let lock = args.work.read_lock(&catalogue)?;
    let fetcher = args.work.fetcher()?;
    let scratch = fetcher.cache().scratch("test")?;
    let images = args.work.images(&fetcher);
    let context = BuildContext { fetcher: &fetcher, images: &images, events: &events };
    let finder = subject::Finder { args, catalogue: &catalogue, lock: &lock, arch: host.arch(), context };
    let subjects = finder.subjects(scratch.path())?;
    if args.report.dry_run {
        events.clear();
        return print(&report::plan(&subjects));
    }

    let mut outcomes = Vec::new();
    for (i, group) in groups(&subjects, args.together)?.iter().enumerate() {
        let names: Vec<String> = group.iter().map(|s| s.title()).collect();
        events.event(Event::Step(format!("testing {}", names.join(", ")).into()));
        let dir = scratch.path().join(format!("merge-test-{i}"));
        std::fs::create_dir_all(&dir).with_context(|| format!("{dir:?}"))?;
        let merge_test = merge_test(group, args);
        let report = match &host {
            TestHost::Root(_) => merge_test.run(&dir),
            TestHost::Machine(machine) => in_machine(args, machine, &merge_test, &events)?,
        };
        outcomes.extend(report::outcomes(group, report)?);
    }
    events.clear();
    let quiet = args.report.quiet && !args.report.json;
    if !quiet {
        print(&if args.report.json { report::json(&outcomes) } else { report::text(&outcomes) })?;
    }
    match outcomes.iter().map(Outcome::failures).sum() {
        0 => Ok(()),
        1 => bail!("1 test failed"),
        n => bail!("{n} tests failed"),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    cli::print(text.as_bytes()).context("stdout")
}

/// Where extensions are tested. Missing requirements are reported before any long work begins.
enum TestHost {
    Root(Arch),
    Machine(Machine),
}

impl TestHost {
    fn of(args: &Args) -> anyhow::Result<TestHost> {
        let host = Arch::host();
        let word = args.work.source.arch.as_deref().filter(|a| !a.is_empty());
        let arch = match word {
            Some(word) => word.parse::<Arch>()?,
            None => host.context("this machine's architecture is unknown: pass --arch")?,
        };
        if args.vm {
            let limit = args.timeout;
            let machine =
                Machine { arch, accel: Accel::Auto, memory: 3072, cpus: None, ports: Vec::new(), limit };
            machine.check()?;
            return Ok(TestHost::Machine(machine));
        }
        MergeTest::check(&args.root)?;
        if host != Some(arch) {
            return Err(MergeTestError::Architecture { got: arch, expected: host }.into());
        }
        Ok(TestHost::Root(arch))
    }

    fn arch(&self) -> Arch {
        match self {
            TestHost::Root(arch) => *arch,
            TestHost::Machine(machine) => machine.arch,
        }
    }
}

/// Subjects that are merged at once.
fn groups(subjects: &[Subject], together: bool) -> anyhow::Result<Vec<Vec<&Subject>>> {
    if !together {
        return Ok(subjects.iter().map(|s| vec![s]).collect());
    }
    for (i, subject) in subjects.iter().enumerate() {
        for other in &subjects[..i] {
            if other.name == subject.name {
                bail!("{} and {} can't be merged together", other.title(), subject.title());
            }
            let conflict = |a: &Subject, b: &Subject| a.conflicts.iter().any(|c| c == b.name.as_str());
            if conflict(other, subject) || conflict(subject, other) {
                bail!("{} and {} conflict, their recipes say", other.title(), subject.title());
            }
        }
    }
    Ok(vec![subjects.iter().collect()])
}

/// Each image once: two may require the same.
fn merge_test(group: &[&Subject], args: &Args) -> MergeTest {
    let mut images = Vec::new();
    for (name, path) in group.iter().flat_map(|s| std::iter::once((&s.name, &s.image)).chain(s.requires())) {
        if !images.iter().any(|(n, _)| n == name) {
            images.push((name.clone(), path.clone()));
        }
    }
    let tests = group.iter().flat_map(|s| s.tests.iter().cloned()).collect();
    MergeTest { root: args.root.clone(), images, tests }
}

/// The same in a machine. What the machine itself can't do is an error, what its systemd-sysext won't is in the result.
fn in_machine(
    args: &Args,
    machine: &Machine,
    merge_test: &MergeTest,
    events: &dyn Events,
) -> anyhow::Result<Result<Report, MergeTestError>> {
    let context = args.work.source.context()?;
    let attached =
        merge_test.images.iter().map(|(name, path)| Attached { name: name.clone(), path: path.clone() });
    let extensions: Vec<Attached> = attached.collect();
    let script = machine::script(merge_test);
    let inside = Inside { extensions: &extensions, command: Some(&script) };
    let guest = Guest::new(&context, &args.base, machine.arch, &inside, events)?;
    let disk = Disk::Memory { kernel: &guest.kernel, initrd: &guest.initrd };
    let mut output = Vec::new();
    match machine.run(&disk, true, &mut output, &context.cache, events) {
        Err(MachineError::Refused(said)) => return Ok(Err(machine::refused(merge_test, &said))),
        ended => ended?,
    };
    Ok(machine::read(merge_test, &String::from_utf8_lossy(&output)))
}
