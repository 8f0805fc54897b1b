//! The flatwrap command: a whole image behind entry points.

mod args;
pub use args::Args;

use std::collections::BTreeSet;

use ::run_check::{Outcome, Program};
use anyhow::Context as _;
use flatwrap::options::{Map, Workdir, absolute};
use flatwrap::{
    Options, Plan, PlanError, Process, Pruned, Report, Shown, Source, StateDir, add_state, narrow,
};
use flix::plan::{Selection, is_host_program};
use image::Written;
use oci::{Config, Rootfs};
use services::{Needs, StateKind, WithoutUnits};
use sysext::extension::unit_programs::is_unit;
use sysext::request::{home, locate};
use sysext::{Extension, ExtensionName, RequestedPath};
use tree::{Event, Events, Machine, StaticPath, Tree, TreePath};

use crate::args::{PathArg, written_line};
use crate::convert::{Built, Conversion, convert, hint_at_texts};
use crate::lazy_database::LazyDatabase;
use crate::package_selection::{PackagesError, shown};
use crate::private_root;
use crate::root::program;
use crate::run_check::{self, CheckError, Programs};
use crate::selection::{LeaveOut, programs};

const HINT: &str = "--trace CMD includes the files that CMD opens, --etcmap merge shows the image's /etc, and directories in /var are made \
                    unless --no-service-files is given; --no-check leaves the check out";

const VAR: StaticPath = StaticPath::new("/var");
const PASSWD: StaticPath = StaticPath::new("/etc/passwd");

/// Does what the arguments ask for.
///
/// # Errors
/// Whatever went wrong, with the chain of reasons.
pub fn run(args: &Args) -> anyhow::Result<()> {
    convert(&args.common, args.image.as_ref(), args.name.as_ref(), &PathArg::paths(&args.paths), args)
}

impl Conversion for Args {
    type Plan = Plan;
    type Report = Report;

    /// Nothing: the programs see the image, not the host.
    const LEAVE_OUT: LeaveOut = |_, _| {};

    /// Entry points that root starts make the state themselves.
    fn without_units(&self) -> WithoutUnits {
        WithoutUnits::State
    }

    fn sees_host(&self, plan: &Plan, path: &TreePath) -> bool {
        plan.mounts().hides(path)
    }

    fn root<'p>(&self, plan: &'p Plan) -> Option<&'p TreePath> {
        Some(plan.sysroot())
    }

    fn sees_image_users(&self, plan: &Plan) -> bool {
        plan.mounts().keeps(&PASSWD.path())
    }

    fn service_paths(
        &self,
        image: &Tree,
        database: &LazyDatabase,
        wanted: &[RequestedPath],
    ) -> anyhow::Result<Vec<RequestedPath>> {
        match wanted.is_empty() && !self.packages().is_empty() {
            true => Ok(self.programs(image, database)?),
            false => Ok(wanted.to_vec()),
        }
    }

    fn plan(
        &self,
        name: &ExtensionName,
        rootfs: &Rootfs,
        _database: &LazyDatabase,
        wanted: Vec<RequestedPath>,
        selections: Vec<Selection>,
        _elsewhere: BTreeSet<TreePath>,
    ) -> anyhow::Result<Plan> {
        let variable = |name| std::env::var(name).ok();
        let options = options(self, name, rootfs, variable("CHROOT"), variable("HOST"))?;
        let mut plan = Plan::new(&rootfs.tree, &wanted, options)?;
        if !selections.is_empty() {
            plan.notes.extend(hidden(&plan, &rootfs.tree));
        }
        let starts = |shown: &Shown| !matches!(shown, Shown::Link(_));
        if !self.packages().is_empty() && !plan.shown().values().any(starts) {
            let text = "no entry points: no PATH is a program. Without any PATH but packages, their programs become entry points";
            plan.warnings.push(text.to_owned());
        }
        Ok(plan)
    }

    fn narrow(
        &self,
        mut rootfs: Rootfs,
        database: &LazyDatabase,
        wanted: &[RequestedPath],
        selections: &[Selection],
    ) -> anyhow::Result<(Rootfs, Vec<RequestedPath>)> {
        let mut wanted = wanted.to_vec();
        if selections.is_empty() {
            return Ok((rootfs, wanted));
        }
        let image = &rootfs.tree;
        if wanted.is_empty() && !self.entrypoint {
            wanted = self.programs(image, database)?;
        }
        let mut kept: BTreeSet<TreePath> = selections.iter().flat_map(|s| &s.paths).cloned().collect();
        if self.varmap == Map::Host {
            // Never seen. Files of it stay, so that the plan shows it.
            let var = VAR.path();
            kept.retain(|path| !path.starts_with(&var) || image.get(path).is_some_and(tree::Node::is_file));
        }
        for item in locate(image, &wanted, self.keep_sbin).map_err(PlanError::Request)? {
            kept.extend(image.subtree(&item.real).map(|(path, _)| path.clone()));
            kept.insert(item.source);
        }
        if self.entrypoint {
            let command = process(&rootfs.config).command(image).map_err(PlanError::Command)?;
            kept.insert(command.program);
        }
        let secrets = match self.packages().is_empty() {
            true => BTreeSet::new(),
            false => private_root::secrets(image, database, &kept)?,
        };
        narrow(&mut rootfs.tree, &kept);
        // Those to which links led.
        for secret in &secrets {
            rootfs.tree.remove(secret);
        }
        Ok((rootfs, wanted))
    }

    fn without_packages(&self) -> Vec<&'static str> {
        self.packages.without_packages(self.prune)
    }

    fn packages(&self) -> Vec<String> {
        PathArg::packages(&self.paths)
    }

    fn select_packages(
        &self,
        rootfs: &Rootfs,
        database: &LazyDatabase,
        events: &dyn Events,
    ) -> Result<Vec<Selection>, PackagesError> {
        let packages = PathArg::packages(&self.paths);
        if PathArg::paths(&self.paths).is_empty() && !self.entrypoint {
            let (_, hosts) = entry_points(&packages, &rootfs.tree, database)?;
            if let Some(list) = shown(hosts.iter().map(TreePath::to_string)) {
                let text = format!("no entry points for {list}: every host has its own");
                events.event(Event::Note(text.into()));
            }
        }
        private_root::select(&packages, &self.packages, &rootfs.tree, database, events)
    }

    fn sources(&self, _plan: &Plan, image: &Tree) -> BTreeSet<TreePath> {
        image.iter().map(|(path, _)| path.clone()).collect()
    }

    fn machines(&self, plan: &Plan, rootfs: &Rootfs) -> BTreeSet<Machine> {
        plan.machines(&rootfs.tree)
    }

    fn build(&self, plan: &Plan, rootfs: Rootfs, events: &dyn Events) -> anyhow::Result<(Built, Report)> {
        let Rootfs { tree, config, .. } = rootfs;
        let (tree, report) = plan.build(tree)?;
        tell_image(self, &config, events);
        tell(plan, &report, events);
        let has_units = plan.shown().keys().any(is_unit);
        Ok((Built { tree, has_units, findings: Vec::new(), load_order: Vec::new() }, report))
    }

    fn add_state(&self, plan: &Plan, tree: &mut Tree, needs: &Needs) -> anyhow::Result<()> {
        let dirs = needs.state.iter().filter(|s| s.kind == StateKind::Directory).map(|s| StateDir {
            path: s.path.clone(),
            mode: s.mode,
            owner: s.owner.text(),
            group: s.group.text(),
        });
        Ok(add_state(tree, plan.sysroot(), &dirs.collect::<Vec<_>>())?)
    }

    fn programs(
        &self,
        plan: &Plan,
        image: &Rootfs,
        _extension: &Tree,
        host: Tree,
        _needs_shell: bool,
    ) -> Result<Programs, CheckError> {
        let program = |path: &TreePath| Program { place: path.clone(), source: path.clone() };
        let env = plan.environment().into_iter().map(|(name, value)| format!("{name}={value}"));
        Ok(Programs {
            programs: plan.programs().map(program).collect(),
            config: Config { env: env.collect(), ..Config::default() },
            seen: plan.private_root(&image.tree, &host)?,
            hint: HINT,
        })
    }

    fn report(
        &self,
        plan: &Plan,
        report: &Report,
        extension: &Extension,
        checked: &[Outcome],
        written: Option<&Written>,
    ) -> anyhow::Result<String> {
        match &self.common.report {
            args if args.json => json(plan, report, extension, checked, written),
            args if args.quiet && written.is_some() => Ok(String::new()),
            _ => Ok(written.map_or_else(|| plan.to_string(), written_line)),
        }
    }
}

impl Args {
    /// The programs of the packages, and those that the traced commands name; not those that every host has or the entry points
    /// need.
    fn programs(&self, image: &Tree, database: &LazyDatabase) -> Result<Vec<RequestedPath>, PackagesError> {
        let packages = PathArg::packages(&self.paths);
        let (mut found, _) = entry_points(&packages, image, database)?;
        let mut elsewhere = Vec::new();
        if !self.common.services.no_service_files {
            let files = private_root::service_files(&packages, image, database)?;
            found.extend(files.paths);
            elsewhere = files.elsewhere;
        }
        found.extend(programs(&self.common.selection.trace).iter().filter_map(|name| program(image, name)));
        let mut out: Vec<RequestedPath> = Vec::new();
        for path in found.iter().filter(|path| !is_hosts(path)) {
            // One that isn't UTF-8 couldn't be typed either.
            let Ok(text) = String::from_utf8(path.to_absolute()) else { continue };
            if !out.iter().any(|p| p.text == text) {
                out.push(RequestedPath { text: text.clone(), source: text, target: None });
            }
        }
        for path in elsewhere {
            let Some(name) = &self.name else { continue };
            let Ok(source) = String::from_utf8(path.to_absolute()) else { continue };
            let target = format!("/usr/libexec/{name}{source}");
            out.push(RequestedPath { text: source.clone(), source, target: Some(target) });
        }
        Ok(out)
    }
}

/// The programs of packages: those that become entry points, and those that every host has.
fn entry_points(
    packages: &[String],
    image: &Tree,
    database: &LazyDatabase,
) -> Result<(Vec<TreePath>, Vec<TreePath>), PackagesError> {
    let found = private_root::programs(packages, image, database)?;
    Ok(found.into_iter().partition(|path| !is_hosts(path)))
}

/// Whether every host has the program, or an entry point for it would be in the way of others.
fn is_hosts(path: &TreePath) -> bool {
    Plan::is_reserved(path) || home(path, false).as_ref().is_some_and(is_host_program)
}

/// What of the private root programs don't see, since a directory of the host is over it.
fn hidden(plan: &Plan, image: &Tree) -> Option<String> {
    let hidden = |path: &TreePath| {
        !plan.mounts().shows(path) && plan.mounts().over(path).is_some_and(|m| m.target.depth() == 1)
    };
    let files = image.iter().filter(|(path, node)| node.is_file() && hidden(path));
    let files: Vec<TreePath> = files.map(|(path, _)| path.clone()).collect();
    let (n, list) = (files.len(), shorten(&files));
    (n > 0).then(|| format!("{n} files are hidden at run time by directories of the host: {list}"))
}

fn shorten(paths: &[TreePath]) -> String {
    let shown: Vec<String> = paths.iter().take(3).map(ToString::to_string).collect();
    let more = if paths.len() > 3 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// The options of the plan: the flags, and the variables that the shell tool reads.
///
/// `CHROOT` names directories of the image as `--chroot-dir` does, but for those that it hasn't; `HOST` takes the place of
/// the directories that are the host's by default. Some shells set `HOST` to the machine's name: only paths count.
fn options(
    args: &Args,
    name: &ExtensionName,
    rootfs: &Rootfs,
    chroot: Option<String>,
    host: Option<String>,
) -> anyhow::Result<Options> {
    let Rootfs { tree: image, config, .. } = rootfs;
    let words = |variable: &str, text: Option<String>| -> anyhow::Result<Option<Vec<TreePath>>> {
        let Some(text) = text.filter(|t| t.trim_start().starts_with('/')) else { return Ok(None) };
        let list: Result<Vec<TreePath>, _> = text.split_whitespace().map(absolute).collect();
        Ok(Some(list.with_context(|| variable.to_owned())?))
    };
    let mut options = Options::new(name.clone())?;
    if let Some(dirs) = words("HOST", host)? {
        options.host_defaults = dirs;
    }
    options.chroot_dirs = args.chroot_dir.clone();
    for dir in words("CHROOT", chroot)?.unwrap_or_default() {
        if image.resolve(dir.to_absolute(), true).is_ok() {
            options.chroot_dirs.push(dir);
        }
    }
    if let Some(sysroot) = &args.sysroot {
        options.sysroot = sysroot.clone();
    }
    (options.etc, options.var, options.home) = (args.etcmap, args.varmap, args.homemap);
    options.host_dirs = args.host_dir.clone();
    options.binds = args.bind.clone();
    for (name, value) in &args.env {
        match value {
            Some(value) => options.env.push((name.clone(), value.clone())),
            None => options.caller_env.push(name.clone()),
        }
    }
    if !args.no_image_env {
        options.take_variables(config);
    }
    options.process = args.entrypoint.then(|| process(config));
    options.workdir = match &args.workdir {
        Some(Workdir::Is(dir)) => Some(dir.clone()),
        Some(Workdir::Image) => working_dir(config)?,
        None if args.entrypoint => working_dir(config)?,
        None => None,
    };
    options.bwrap = args.bwrap;
    options.relax_units = args.relax_units;
    options.keep_sbin = args.keep_sbin;
    options.prune = args.prune.then(|| args.packages.locale.clone());
    Ok(options)
}

fn process(config: &Config) -> Process {
    // Docker's default.
    const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let path =
        config.variables().into_iter().find(|(name, _)| *name == "PATH").map_or(PATH, |(_, path)| path);
    Process {
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        path: path.to_owned(),
        working_dir: config.working_dir.clone(),
    }
}

/// The image's working directory, if it says one. The root is one, too: it is where containers start.
fn working_dir(config: &Config) -> anyhow::Result<Option<TreePath>> {
    match config.working_dir.as_str() {
        "" => Ok(None),
        dir => {
            Ok(Some(TreePath::new(dir).with_context(|| format!("the image's working directory {dir:?}"))?))
        }
    }
}

/// What the image says of its programs, and what becomes of it.
fn tell_image(args: &Args, config: &Config, events: &dyn Events) {
    let note = |text: String| events.event(Event::Note(text.into()));
    let variables = config.notable_variables().join(", ");
    if !variables.is_empty() {
        note(match args.no_image_env {
            false => format!("programs get the image's {variables} (--no-image-env leaves that out)"),
            true => format!("programs don't get the image's {variables}"),
        });
    }
    let dir = config.working_dir.as_str();
    if !matches!(dir, "" | "/") && args.workdir.is_none() && !args.entrypoint {
        note(format!(
            "the image's programs start in {dir:?}, these in the caller's directory (--workdir image)"
        ));
    }
    if !config.entrypoint.is_empty() && !args.entrypoint {
        let words = config.entrypoint.iter().chain(&config.cmd).map(|w| format!("{w:?}"));
        let words = words.collect::<Vec<_>>().join(" ");
        note(format!("the image runs {words}: --entrypoint makes an entry point of it"));
    }
    let user = config.user.split(':').next().unwrap_or_default();
    if !matches!(user, "" | "root" | "0") {
        note(format!("the image's programs run as user {user:?}, these as whoever starts them"));
    }
}

fn tell(plan: &Plan, report: &Report, events: &dyn Events) {
    for note in &plan.notes {
        events.event(Event::Note(note.into()));
    }
    if !report.privileged.is_empty() {
        let (n, list) = (report.privileged.len(), shorten(&report.privileged));
        events
            .event(Event::Note(format!("set-id bits and file capabilities dropped from {n}: {list}").into()));
    }
    if !report.specials.is_empty() {
        let (n, list) = (report.specials.len(), shorten(&report.specials));
        events.event(Event::Note(format!("devices, sockets and pipes left out, {n}: {list}").into()));
    }
    if let Some(pruned) = &report.pruned {
        events.event(Event::Note(pruned.to_string().into()));
    }
    for warning in &plan.warnings {
        events.event(Event::Warning(warning.into()));
    }
    hint_at_texts(&plan.warnings, events);
    if plan.units_forbid {
        let hint =
            "--relax-units adds drop-ins that allow it; flix makes extensions whose programs need none of it";
        events.event(Event::Hint(hint.into()));
    }
}

fn json(
    plan: &Plan,
    report: &Report,
    extension: &Extension,
    checked: &[Outcome],
    written: Option<&Written>,
) -> anyhow::Result<String> {
    let shown: Vec<_> = plan
        .shown()
        .iter()
        .map(|(path, shown)| {
            let kind = match shown {
                Shown::EntryPoint(_) | Shown::Command(_) => "entry-point",
                Shown::Link(_) => "link",
                Shown::Unit(_) if is_unit(path) => "unit",
                Shown::Unit(_) => "copy",
            };
            serde_json::json!({ "path": path.to_string(), "kind": kind, "source": shown.path().to_string() })
        })
        .collect();
    let mounts: Vec<_> = plan
        .mounts()
        .iter()
        .map(|m| {
            let (whose, source) = match &m.source {
                Source::Host(p) => ("host", p),
                Source::Image(p) => ("image", p),
            };
            serde_json::json!({
                "path": m.target.to_string(), "of": whose, "source": source.to_string(),
                "read_only": m.read_only, "required": m.required,
            })
        })
        .chain(plan.mounts().links().map(|link| {
            let path = link.to_string();
            serde_json::json!({ "path": path, "of": "host", "source": path, "read_only": false, "required": false })
        }))
        .collect();
    let mut warnings = plan.warnings.clone();
    warnings.extend(extension.findings().iter().map(ToString::to_string));
    let value = serde_json::json!({
        "name": extension.name().as_str(),
        "image": written.map(|w| {
            let mut image = serde_json::json!({
                "path": w.path.to_string_lossy(), "bytes": w.bytes, "sha256": w.sha256,
            });
            if let Some(root_hash) = &w.root_hash {
                image["root_hash"] = root_hash.as_str().into();
            }
            image
        }),
        "release": extension.release().text(),
        "shown": shown,
        "mounts": mounts,
        "pruned_bytes": report.pruned.as_ref().map(Pruned::bytes),
        "notes": plan.notes,
        "warnings": warnings,
        "checked": run_check::json(checked),
    });
    Ok(format!("{value:#}\n"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn the_variables_of_the_shell_tool() {
        let args = Args::parse_from(["flatwrap", "x", "n", "/usr/bin/x", "--chroot-dir", "/usr"]);
        let mut tree = tree::Tree::default();
        tree.insert("/usr".parse().unwrap(), tree::Node::dir()).unwrap();
        let rootfs = Rootfs { tree, config: Config::default(), id: store::Digest::of(b""), manifest: None };
        let show = |chroot: Option<&str>, host: Option<&str>| {
            let owned = |o: Option<&str>| o.map(str::to_owned);
            let o = options(&args, &"n".parse().unwrap(), &rootfs, owned(chroot), owned(host)).unwrap();
            let join = |l: &[TreePath]| l.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            format!("{} | {}", join(&o.chroot_dirs), join(&o.host_defaults))
        };
        let default = "/dev /proc /run /sys /tmp /var/tmp";
        assert_eq!(show(None, None), format!("/usr | {default}"));
        assert_eq!(show(Some("/usr /lib64"), Some("/dev  /srv")), "/usr /usr | /dev /srv");
        assert_eq!(show(Some(""), Some("machine")), format!("/usr | {default}"));
    }
}
