//! From an image's name to an extension's image: the steps that flix and flatwrap share.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use clap::{Args, CommandFactory};
use flix::plan::Selection;
use image::{Format, ImageOptions, Written};
use oci::{ImageRef, Rootfs};
use run_check::Outcome;
use services::{Needs, WithoutUnits};
use sysext::extension::Finding;
use sysext::extension::moved::Moved;
use sysext::extension::unit_programs::NOT_FOLLOWED;
use sysext::{Extension, ExtensionName, RequestedPath};
use tree::{Event, Events, Machine, Tree, TreePath};

use crate::args::written_line;
use crate::args::{
    CheckArgs, OtherArgs, OutputArgs, ReleaseArgs, ReportArgs, SandboxArgs, SelectionArgs, ServiceArgs,
    SourceArgs, TargetArgs,
};
use crate::hint::TEXTS;
use crate::lazy_database::LazyDatabase;
use crate::package_selection::PackagesError;
use crate::provenance::{Provenance, Source, included};
use crate::root::{RootError, Wanted, check_machines, root_file_system};
use crate::run_check::{CheckError, Programs, RunCheck};
use crate::selection::{LeaveOut, programs, select};
use crate::service_files::{self, ServiceKind, View};
use crate::{Terminal, print};

/// The arguments of both commands.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) services: ServiceArgs,
    #[command(flatten)]
    pub(crate) check: CheckArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Also write what the image was made of to NAME.intoto.json beside it: an in-toto statement with SLSA provenance
    #[arg(long, help_heading = "Output")]
    pub(crate) provenance: bool,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) release: ReleaseArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
    #[command(flatten)]
    pub(crate) other: OtherArgs,
}

/// What a command makes of a root file system.
pub(crate) struct Built {
    /// The extension's, without its release file.
    pub(crate) tree: Tree,
    /// Whether the host's service manager has to reload.
    pub(crate) has_units: bool,
    /// What the lint can't know by itself.
    pub(crate) findings: Vec<Finding>,
    /// Files in the order in which starting the programs reads them.
    pub(crate) load_order: Vec<TreePath>,
}

/// A command's own part.
pub(crate) trait Conversion {
    type Plan;
    type Report;

    /// Takes from the files that a run opens what is the host's business.
    const LEAVE_OUT: LeaveOut;

    /// Takes from the root file system, whose packages are in the database, what the extension must not contain. The selections, if
    /// there are any, say what it is to have. Gives the paths that are wanted, too: those asked for, or those that the selections
    /// stand for.
    ///
    /// # Errors
    /// Something wanted is missing.
    fn narrow(
        &self,
        rootfs: Rootfs,
        _database: &LazyDatabase,
        wanted: &[RequestedPath],
        _selections: &[Selection],
    ) -> anyhow::Result<(Rootfs, Vec<RequestedPath>)> {
        Ok((rootfs, wanted.to_vec()))
    }

    /// What the extension is to have. `database` is that of the whole root file system. Changes nothing. Files of `elsewhere` get to the
    /// host without being part of it.
    fn plan(
        &self,
        name: &ExtensionName,
        rootfs: &Rootfs,
        database: &LazyDatabase,
        wanted: Vec<RequestedPath>,
        selections: Vec<Selection>,
        elsewhere: BTreeSet<TreePath>,
    ) -> anyhow::Result<Self::Plan>;

    /// What the host makes for an extension without units.
    fn without_units(&self) -> WithoutUnits;

    /// Whether layers may be fetched as they are read.
    fn reads_parts(&self) -> bool {
        false
    }

    /// Whether the programs see the host's file at a path of the image.
    fn sees_host(&self, _plan: &Self::Plan, _path: &TreePath) -> bool {
        true
    }

    /// Whether the programs see the image's users with their numbers.
    fn sees_image_users(&self, _plan: &Self::Plan) -> bool {
        false
    }

    /// The private root, in the extension.
    fn root<'p>(&self, _plan: &'p Self::Plan) -> Option<&'p TreePath> {
        None
    }

    /// Programs that the extension's programs find elsewhere than in the image.
    fn moved(&self, _plan: &Self::Plan) -> Moved {
        Moved::default()
    }

    /// Packages that the image has to have, as typed.
    fn packages(&self) -> Vec<String> {
        Vec::new()
    }

    /// Options that were given and have no effect without packages.
    fn without_packages(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// The paths whose packages' services count: those asked for, or those that packages stand for.
    fn service_paths(
        &self,
        _image: &Tree,
        _database: &LazyDatabase,
        wanted: &[RequestedPath],
    ) -> anyhow::Result<Vec<RequestedPath>> {
        Ok(wanted.to_vec())
    }

    /// The files of these packages.
    fn select_packages(
        &self,
        _rootfs: &Rootfs,
        _database: &LazyDatabase,
        _events: &dyn Events,
    ) -> Result<Vec<Selection>, PackagesError> {
        Ok(Vec::new())
    }

    /// The files of the image that are included. `image` is what [`Conversion::narrow`] left.
    fn sources(&self, plan: &Self::Plan, image: &Tree) -> BTreeSet<TreePath>;

    /// Warns of users that no host makes, since nothing of what packages need beside their files is included.
    fn warn_of_users(
        &self,
        _plan: &Self::Plan,
        _image: &Tree,
        _database: &LazyDatabase,
        _events: &dyn Events,
    ) {
    }

    /// The machines that the plan's programs are for.
    fn machines(&self, plan: &Self::Plan, rootfs: &Rootfs) -> BTreeSet<Machine>;

    /// Carries out the plan and reports what the user should know about it.
    fn build(
        &self,
        plan: &Self::Plan,
        rootfs: Rootfs,
        events: &dyn Events,
    ) -> anyhow::Result<(Built, Self::Report)>;

    /// Has the programs themselves make the directories that their services need.
    ///
    /// # Errors
    /// The tree is not the plan's.
    fn add_state(&self, _plan: &Self::Plan, _tree: &mut Tree, _needs: &Needs) -> anyhow::Result<()> {
        Ok(())
    }

    /// The programs of the extension and what they see on `host`. `image` is the root file system of the plan; scripts of the
    /// user's need a shell.
    fn programs(
        &self,
        plan: &Self::Plan,
        image: &Rootfs,
        extension: &Tree,
        host: Tree,
        needs_shell: bool,
    ) -> Result<Programs, CheckError>;

    /// What is printed on stdout.
    fn report(
        &self,
        plan: &Self::Plan,
        report: &Self::Report,
        extension: &Extension,
        checked: &[Outcome],
        written: Option<&Written>,
    ) -> anyhow::Result<String>;
}

/// Does what the arguments ask for. `C` is the whole command.
///
/// # Errors
/// Whatever went wrong, with the chain of reasons.
pub(crate) fn convert<C: CommandFactory + Conversion>(
    args: &ConvertArgs,
    image: Option<&ImageRef>,
    name: Option<&ExtensionName>,
    paths: &[RequestedPath],
    command: &C,
) -> anyhow::Result<()> {
    if let Some(text) = args.other.run::<C>(&args.source)? {
        return print(&text).context("stdout");
    }
    let events = Terminal::new(args.report.verbosity());
    // Clap requires both.
    let image = image.context("IMAGE is missing")?;
    let name = name.context("NAME is missing")?;
    tree::remove_on_interrupt().context("signals can't be handled")?;

    // Before the work: a key that can't be read, or a directory that takes no image, should cost no pull.
    args.output.check_path(name)?;
    if args.provenance && args.output.format == Format::Dir {
        bail!("--provenance: a directory has no digest, choose another --format");
    }
    let image_options = args.output.image_options(args.source.architecture(), &events)?;
    let target = args.target.read(|| args.source.context().map_err(RootError::from), &events)?;
    let context = args.source.context().map_err(RootError::from)?;
    let sandbox = SandboxArgs { offline: args.source.offline, ..args.sandbox.clone() };
    let wanted = Wanted {
        paths,
        programs: programs(&args.selection.trace),
        packages: command.packages(),
        // A run sees all files.
        partial: command.reads_parts() && args.selection.trace.is_empty(),
    };
    for option in command.without_packages().into_iter().filter(|_| wanted.packages.is_empty()) {
        events.event(Event::Warning(format!("{option} has no effect: no PATH is a package:NAME").into()));
    }
    let rootfs = root_file_system(&context, &sandbox, image, &wanted, name.as_str(), &events)?;
    let database = LazyDatabase::default();
    let mut selections = command.select_packages(&rootfs, &database, &events)?;
    selections.extend(select(&args.selection, &sandbox, &rootfs, C::LEAVE_OUT, &context.cache, &events)?);
    let wanted = command.service_paths(&rootfs.tree, &database, paths)?;
    let without_units = command.without_units();
    let kind = match without_units {
        WithoutUnits::State => ServiceKind::Whole,
        _ => {
            service_files::kind(&rootfs.tree, &wanted, &selections, without_units == WithoutUnits::Everything)
        }
    };
    let inventory = match kind > ServiceKind::None && !args.services.no_service_files {
        true => service_files::inventory(&rootfs.tree, &database, &wanted, &selections, kind, &events)?,
        false => None,
    };
    // A private root has the image's.
    let opened = match without_units {
        WithoutUnits::State => BTreeSet::new(),
        _ => service_files::opened(&selections),
    };
    let copied = inventory.as_ref().filter(|_| kind > ServiceKind::Late);
    let elsewhere = copied.map_or_else(|| Ok(BTreeSet::new()), |inventory| inventory.files(&opened))?;
    // The check starts nothing if nothing is written.
    let is_unasked = args.check.check.is_empty();
    let is_refused = args.check.no_check || sandbox.untrusted && is_unasked;
    let is_checked = !is_refused && !args.report.dry_run;
    let original = is_checked.then(|| rootfs.tree.clone());
    let described = args.provenance && !args.report.dry_run;
    let owners = if described { database.get(&rootfs.tree)? } else { None };
    let (rootfs, shown) = command.narrow(rootfs, &database, paths, &selections)?;
    let plan = command.plan(name, &rootfs, &database, shown, selections, elsewhere)?;
    if inventory.is_none() || kind < ServiceKind::Whole {
        command.warn_of_users(&plan, &rootfs.tree, &database, &events);
    }
    let machines = command.machines(&plan, &rootfs);
    let narrowed = is_checked.then(|| rootfs.clone());
    let provenance = described.then(|| Provenance {
        command: C::command().get_name().to_owned(),
        image: image.to_string(),
        source: Source::of(&rootfs),
        name: name.to_string(),
        paths: paths.iter().map(|path| path.text.clone()).collect(),
        packages: sandbox.package.clone(),
        commands: sandbox.run.clone(),
        traces: args.selection.trace.clone(),
        lists: args.selection.paths_from.iter().map(|path| path.display().to_string()).collect(),
        included: included(owners.as_deref(), &command.sources(&plan, &rootfs.tree)),
    });
    check_machines(&args.source, image, machines.iter().copied())?;
    let image_for = args.source.image_architecture(rootfs.config.platform.as_ref());
    let (mut built, report) = command.build(&plan, rootfs, &events)?;
    let mut needs = None;
    if let Some(inventory) = &inventory {
        let sees_host = |path: &TreePath| command.sees_host(&plan, path);
        let moved = command.moved(&plan);
        let view = View {
            sees_host: &sees_host,
            sees_image_users: command.sees_image_users(&plan),
            named: &opened,
            without_units: if kind == ServiceKind::Opened { WithoutUnits::Everything } else { without_units },
            root: command.root(&plan),
            moved: &moved,
        };
        let added = service_files::add(inventory, &mut built.tree, name, &args.services, view, &events)?;
        command.add_state(&plan, &mut built.tree, &added)?;
        needs = Some(added);
    }
    for unit in &args.services.enable {
        service_files::enable(&mut built.tree, name, unit, &events)?;
    }
    let architecture = args.release.architecture(&machines, image_for, &events);
    let mut release =
        args.release.release(architecture, built.has_units || !services::units(&built.tree).is_empty())?;
    release.restart_units.clone_from(&args.services.restart);
    release.restart_units.extend(services::upheld(&built.tree, name));
    release.check()?;
    let mut options = args.output.extension_options();
    options.findings.extend(built.findings);
    let mut extension = Extension::new(built.tree, name.clone(), release, &options)?;
    let mut checked = Vec::new();
    if let (Some(original), Some(narrowed)) = (original, narrowed) {
        let (cache, args) = (&context.cache, &args.check);
        let check = RunCheck { args, sandbox: &sandbox, cache, machines: &machines, events: &events };
        checked = check.run(&original, extension.tree(), |host, needs_shell| {
            command.programs(&plan, &narrowed, extension.tree(), host, needs_shell)
        })?;
    }
    if let Some(read) = &target {
        read.target.apply(&mut extension, &options.allow, &events)?;
    }
    let options = ImageOptions { first: built.load_order, ..image_options };
    let written = args.output.write(&extension, &options, &args.report, &events)?;
    let wanted = needs.filter(|_| args.services.confext && !args.report.dry_run);
    let confext = match wanted {
        Some(needs) => service_files::write_confext(&needs, &extension, &args.output, &options, &events)?,
        None => None,
    };
    if let (Some(provenance), Some(written)) = (&provenance, &written) {
        provenance.write(written, confext.as_ref())?;
    }
    events.clear();
    let mut text = command.report(&plan, &report, &extension, &checked, written.as_ref())?;
    if let Some(confext) = confext.filter(|_| !args.report.json && !args.report.quiet) {
        text += &written_line(&confext);
    }
    print(text.as_bytes()).context("stdout")
}

/// The hint that belongs to warnings about texts which name moved programs.
pub(crate) fn hint_at_texts(warnings: &[String], events: &dyn Events) {
    if warnings.iter().any(|w| w.contains(NOT_FOLLOWED)) {
        events.event(Event::Hint(TEXTS.into()));
    }
}
