//! The command line: arguments, the way through, and what is told at the end.

mod args;
pub use args::Args;

mod hint;
pub use hint::hint;

mod report;

use anyhow::Context as _;
use sysext::Extension;
use sysext::cli::Terminal;
use sysext::extension::{Finding, rule};
use sysext::image::ImageOptions;
use tree::{Event, Events, TreePath};

use crate::Explanation;
use crate::plan::units::NOT_FOLLOWED;
use crate::plan::{Plan, Request};
use elf::closure::{self, ExtraLib};
use report::Report;

/// Does what the arguments ask for.
///
/// # Errors
/// Whatever went wrong, with the chain of reasons.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(text) = args.other.run::<Args>(&args.source)? {
        return sysext::cli::print(&text).context("stdout");
    }
    let events = Terminal::new(args.report.verbosity());
    // Clap has seen to it that they are there.
    let image = args.image.as_ref().context("IMAGE is missing")?;
    let name = args.name.as_ref().context("NAME is missing")?;
    tree::remove_on_interrupt().context("signals can't be handled")?;

    // Before the work: a key that can't be read, or a directory that takes no image, should cost no pull.
    args.output.check_place(name)?;
    let image_options = args.output.image_options(args.source.architecture(), &events)?;
    let rootfs = oci::fetch::fetch(&args.source, &args.sandbox, image, &args.paths, name.as_str(), &events)?;
    let tree = rootfs.tree;
    let plan = Plan::new(&tree, &request(args, &rootfs.config.env)?)?;
    args.source.check_machines(image, plan.machines.iter().copied())?;
    tell(&plan, args.allow_missing, &events);
    let variables = rootfs.config.notable_variables();
    if !variables.is_empty() && !plan.machines.is_empty() {
        let list = variables.join(", ");
        let text = format!(
            "the image sets {list} for its programs, and nothing does on the host: a unit's Environment=, or flatwrap, which \
             takes them along"
        );
        events.event(Event::Note(text.into()));
    }
    let built = plan.build(&tree)?;
    let image_for = args.source.image_architecture(rootfs.config.platform.as_ref());
    let architecture = args.release.architecture(&plan.machines, image_for, &events);
    let release = args.release.release(architecture, plan.has_units)?;
    let mut options = args.output.extension_options();
    options.findings.extend(findings(&plan));
    let extension = Extension::new(built, name.clone(), release, &options)?;
    let options = ImageOptions { first: plan.load_order(), ..image_options };
    let written = args.output.write(&extension, &options, &args.report, &events)?;
    events.clear();
    let report = Report { plan: &plan, extension: &extension, written: written.as_ref() };
    let text = match args.report.json {
        true => report.json()?,
        false => {
            let explanation = args.explain.then(|| Explanation::new(&plan, extension.tree()));
            report.text(args.report.dry_run, args.report.quiet, explanation.as_ref())
        }
    };
    sysext::cli::print(text.as_bytes()).context("stdout")
}

/// The request, from the flags and from the environment that the shell tool reads.
fn request(args: &Args, environment: &[String]) -> anyhow::Result<Request> {
    let name = args.name.as_ref().context("NAME is missing")?;
    let sysroot = match &args.sysroot {
        Some(dir) => dir.clone(),
        None => TreePath::new("/usr/lib/flix")?.join(name.as_str())?,
    };
    let mut extra_libs = args.extra_lib.clone();
    if let Ok(list) = std::env::var("EXTRALIBS") {
        for word in list.split([' ', '\t', '\n', ':']).filter(|w| !w.is_empty()) {
            extra_libs.push(word.parse::<ExtraLib>().with_context(|| format!("EXTRALIBS: {word}"))?);
        }
    }
    Ok(Request {
        wanted: args.paths.clone(),
        sysroot,
        closure: closure::Options {
            allow_missing: args.allow_missing,
            dlopen: args.dlopen.into(),
            needed_only: false,
            sealed: false,
            extra_libs,
            library_path: closure::library_path(environment),
        },
        keep_sbin: args.keep_sbin,
        charsets: args.charsets,
        host_interpreters: args.host_interpreters,
    })
}

fn tell(plan: &Plan, allow_missing: bool, events: &dyn Events) {
    for note in &plan.notes {
        events.event(Event::Note(note.into()));
    }
    for warning in &plan.warnings {
        events.event(Event::Warning(warning.into()));
    }
    for text in hint::warnings(plan) {
        events.event(Event::Note(text.into()));
    }
    if plan.warnings.iter().any(|w| w.contains(NOT_FOLLOWED)) {
        events.event(Event::Hint("--run 'sed -i …' changes a text in the image first".into()));
    }
    if !allow_missing && !plan.missing.is_empty() {
        // Named by a folder or a pattern alone, so that it is no error.
        events.event(Event::Hint(hint::MISSING.into()));
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
