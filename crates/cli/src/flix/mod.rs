//! The flix command: a program and its libraries out of an image.

mod args;
pub use args::Args;

mod remedy;

mod report;

mod users;

mod warnings;

use std::collections::BTreeSet;
use std::rc::Rc;

use ::run_check::{Outcome, Program, merge};
use anyhow::Context as _;
use elf::closure::{self, ExtraLib};
use flix::Explanation;
use flix::plan::{Action, Entry, Plan, Request, Selection, Why, is_host_program};
use image::Written;
use oci::{Config, Rootfs};
use packages::{Database, DatabaseError};
use services::WithoutUnits;
use sysext::extension::moved::Moved;
use sysext::extension::{Finding, rule};
use sysext::{Extension, ExtensionName, RequestedPath};
use tree::{Event, Events, Machine, StaticPath, Tree, TreePath};

use crate::args::PathArg;
use crate::convert::{Built, Conversion, convert, hint_at_texts};
use crate::hint::MISSING;
use crate::lazy_database::LazyDatabase;
use crate::package_selection::{PackagesError, select};
use crate::run_check::{CheckError, Programs};
use crate::selection::{LeaveOut, leave_out_hosts};
use report::Report;

const HINT: &str = "add files and directories as further PATHs, libraries with --extra-lib, or the whole package as package:NAME; with a \
                    unit among the PATHs, what is to be in /var and /etc is made; --no-check leaves the check out";

/// Where extensions have their libraries, each below its name.
const SYSROOTS: StaticPath = StaticPath::new("/usr/lib/flix");

/// A plan, and the packages of the image that it was made for, if something about them is to be shown.
#[derive(Debug)]
pub struct Planned {
    plan: Plan,
    database: Result<Option<Rc<Database>>, DatabaseError>,
}

/// Does what the arguments ask for.
///
/// # Errors
/// Whatever went wrong, with the chain of reasons.
pub fn run(args: &Args) -> anyhow::Result<()> {
    convert(&args.common, args.image.as_ref(), args.name.as_ref(), &PathArg::paths(&args.paths), args)
}

impl Conversion for Args {
    type Plan = Planned;
    type Report = ();

    const LEAVE_OUT: LeaveOut = leave_out_hosts;

    fn without_units(&self) -> WithoutUnits {
        // A package's programs look for its configuration.
        if self.packages().is_empty() { WithoutUnits::Nothing } else { WithoutUnits::Everything }
    }

    fn sees_host(&self, planned: &Planned, path: &TreePath) -> bool {
        // What a link leads to is in the sysroot.
        !planned.plan.places.contains_key(path)
    }

    fn reads_parts(&self) -> bool {
        self.partial
    }

    fn plan(
        &self,
        name: &ExtensionName,
        rootfs: &Rootfs,
        database: &LazyDatabase,
        wanted: Vec<RequestedPath>,
        selections: Vec<Selection>,
        elsewhere: BTreeSet<TreePath>,
    ) -> anyhow::Result<Planned> {
        let request = Request { wanted, selections, elsewhere, ..request(self, name, &rootfs.config.env)? };
        let mut plan = Plan::new(&rootfs.tree, &request)?;
        let is_incomplete = !plan.unbundled.is_empty() || !plan.named.is_empty();
        let shown = self.explain || self.common.report.json || is_incomplete;
        let database = if shown { database.get(&rootfs.tree) } else { Ok(None) };
        let known = database.as_ref().ok().and_then(Option::as_deref);
        remedy::expect_programs(&mut plan, known);
        remedy::expect_modules(&mut plan, known);
        Ok(Planned { plan, database })
    }

    fn moved(&self, planned: &Planned) -> Moved {
        planned.plan.moved.clone()
    }

    fn without_packages(&self) -> Vec<&'static str> {
        self.packages.without_packages(false)
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
        select(&self.packages(), &self.packages, &rootfs.tree, database, events)
    }

    fn sources(&self, planned: &Planned, _image: &Tree) -> BTreeSet<TreePath> {
        planned.plan.entries.values().filter_map(|entry| entry.source.clone()).collect()
    }

    fn warn_of_users(&self, planned: &Planned, image: &Tree, database: &LazyDatabase, events: &dyn Events) {
        users::warn(&planned.plan, image, database, events);
    }

    fn machines(&self, planned: &Planned, _rootfs: &Rootfs) -> BTreeSet<Machine> {
        planned.plan.machines.clone()
    }

    fn build(&self, planned: &Planned, rootfs: Rootfs, events: &dyn Events) -> anyhow::Result<(Built, ())> {
        let Planned { plan, database } = planned;
        if let Err(e) = database {
            events.event(Event::Warning(format!("can't determine which packages own the files: {e}").into()));
        }
        tell(plan, self.allow_missing, events);
        warnings::unbundled(plan, events);
        remedy::hint(plan, database.as_ref().ok().and_then(Option::as_deref), events);
        let variables = rootfs.config.notable_variables();
        if !variables.is_empty() && !plan.machines.is_empty() {
            let list = variables.join(", ");
            let text = format!(
                "the image sets {list} for its programs, and nothing does on the host: a unit's Environment=, or \
                 flatwrap, which takes them along"
            );
            events.event(Event::Note(text.into()));
        }
        let tree = plan.build(&rootfs.tree)?;
        let load_order = plan.load_order();
        Ok((Built { tree, has_units: plan.has_units, findings: findings(plan), load_order }, ()))
    }

    fn programs(
        &self,
        planned: &Planned,
        image: &Rootfs,
        extension: &Tree,
        host: Tree,
        needs_shell: bool,
    ) -> Result<Programs, CheckError> {
        let programs = tried(&planned.plan);
        let seen = merge(host, extension, &image.tree, &programs, &is_host_program, needs_shell)?;
        Ok(Programs { programs, config: Config::default(), seen, hint: HINT })
    }

    fn report(
        &self,
        planned: &Planned,
        _report: &(),
        extension: &Extension,
        checked: &[Outcome],
        written: Option<&Written>,
    ) -> anyhow::Result<String> {
        let Planned { plan, database } = planned;
        let database = database.as_ref().ok().and_then(Option::as_deref);
        let owner = |path: &TreePath| Some(database?.owner(path)?.name.clone());
        let report = Report { plan, extension, checked, written, owner: &owner };
        let args = &self.common.report;
        if args.json {
            return Ok(report.json()?);
        }
        let explanation = self.explain.then(|| Explanation::with_packages(plan, extension.tree(), &owner));
        Ok(report.text(args.dry_run, args.quiet, explanation.as_ref()))
    }
}

/// The programs that were named, or that a package has for its users.
fn tried(plan: &Plan) -> Vec<Program> {
    let runs = |action: &Action| match action {
        Action::Relocate(relocation) => relocation.interpreter.is_some(),
        Action::Script { .. } => true,
        _ => false,
    };
    let named = |why: &Why| matches!(why, Why::Asked(_) | Why::Selected(_));
    let tried = plan.entries.iter().filter(|(place, entry)| {
        let in_path =
            place.parent().is_some_and(|dir| dir.file_name().is_some_and(|n| n == b"bin" || n == b"sbin"));
        runs(&entry.action) && in_path && entry.why.iter().any(named)
    });
    let program = |(place, entry): (&TreePath, &Entry)| {
        Some(Program { place: place.clone(), source: entry.source.clone()? })
    };
    tried.filter_map(program).collect()
}

/// The request, from the flags and from the environment that the shell tool reads.
fn request(args: &Args, name: &ExtensionName, environment: &[String]) -> anyhow::Result<Request> {
    let sysroot = match &args.sysroot {
        Some(dir) => dir.clone(),
        None => SYSROOTS.path().join(name.as_str())?,
    };
    let mut extra_libs = args.extra_lib.clone();
    if let Ok(list) = std::env::var("EXTRALIBS") {
        for word in list.split([' ', '\t', '\n', ':']).filter(|w| !w.is_empty()) {
            extra_libs.push(word.parse::<ExtraLib>().with_context(|| format!("EXTRALIBS: {word}"))?);
        }
    }
    Ok(Request {
        wanted: PathArg::paths(&args.paths),
        selections: Vec::new(),
        sysroot,
        closure: closure::Options {
            allow_missing: args.allow_missing,
            dlopen: args.dlopen.into(),
            needed_only: false,
            sealed: false,
            extra_libs,
            ld_library_path: closure::ld_library_path(environment),
        },
        keep_sbin: args.keep_sbin,
        charsets: args.charsets,
        host_interpreters: args.host_interpreters,
        elsewhere: BTreeSet::new(),
    })
}

fn tell(plan: &Plan, allow_missing: bool, events: &dyn Events) {
    for note in &plan.notes {
        events.event(Event::Note(note.into()));
    }
    for warning in &plan.warnings {
        events.event(Event::Warning(warning.into()));
    }
    for text in warnings::warnings(plan) {
        events.event(Event::Note(text.into()));
    }
    hint_at_texts(&plan.warnings, events);
    if !allow_missing && !plan.missing.is_empty() {
        // Named by a folder or a pattern alone, so that it is no error.
        events.event(Event::Hint(MISSING.into()));
    }
}

/// What the lint can't know by itself: libraries that the programs would take from the host.
fn findings(plan: &Plan) -> Vec<Finding> {
    let rule = rule("needs-host-libraries");
    let of = |m: &closure::Missing| {
        let rule = rule?;
        let path = m.chain.first().and_then(|p| plan.home(p));
        let message = format!("needs {}, which the extension lacks", m.name);
        Some(Finding { rule: rule.name, severity: rule.severity, path, message })
    };
    plan.missing.iter().filter_map(of).collect()
}
