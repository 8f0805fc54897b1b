//! What is compiled or taken out of an OCI image.

use std::collections::BTreeSet;

use oci::Rootfs;
use sandbox::{Network, Run};
use services::{Etc, Inventory, Needs, Options, WithoutUnits};
use store::Digest;
use sysext::extension::moved::Moved;
use sysext::extension::unit_programs::is_unit;
use sysext::extension::{Finding, rule};
use sysext::request::{home, locate};
use sysext::{ExtensionName, RequestedPath};
use tree::{Event, Events, Meta, StaticPath, Tree, TreePath};

use super::BuildCause;
use crate::{
    assemble::Input,
    context::BuildContext,
    lock::Packages,
    packages,
    recipe::instance::{Build, Image, Tool},
};

/// Where `[build]` finds its sources, and where it installs.
const SOURCES: StaticPath = StaticPath::new("/src");
const DESTDIR: StaticPath = StaticPath::new("/out");
/// Where extensions have their libraries, each below its name.
const SYSROOTS: StaticPath = StaticPath::new("/usr/lib/flix");

/// A source, unpacked, and the digest of what it was unpacked from.
pub(super) struct Source<'a> {
    pub id: &'a str,
    pub input: &'a Input,
    pub digest: Digest,
}

/// Runs the script of `[build]` and gives what it installed.
pub(super) fn compile(
    build: &Build,
    mut rootfs: Rootfs,
    sources: &[Source<'_>],
    vendored: Option<&Tree>,
    packages: &Packages,
    epoch: i64,
    context: BuildContext<'_>,
) -> Result<Tree, BuildCause> {
    packages::install(&mut rootfs, packages, context).map_err(Box::new)?;
    let mut id = format!("{}", rootfs.id);
    for source in sources {
        let dir = SOURCES.path().join(source.id)?;
        place(&mut rootfs.tree, &dir, source.input)?;
        id.push_str(&format!("\n{dir} {}", source.digest));
    }
    // Which they are is among the sources, and what they are is known by their digests.
    if let Some(crates) = vendored {
        put(&mut rootfs.tree, &SOURCES.path(), crates)?;
    }
    rootfs.tree.make_dirs(&DESTDIR.path(), &Meta::dir())?;
    // The sources are part of what the run's result is kept under.
    rootfs.id = Digest::of(&id);
    let mut run = Run::new(["/bin/sh", "-euc", build.script.as_str()].map(Into::into).to_vec());
    let fixed = [
        ("DESTDIR", DESTDIR.as_str().to_owned()),
        ("SOURCE_DATE_EPOCH", epoch.to_string()),
        ("LC_ALL", "C".to_owned()),
    ];
    let own = build.environment.iter().map(|(k, v)| (k.as_str(), v.clone()));
    run.env = fixed.into_iter().chain(own).map(|(k, v)| (k.into(), v.into())).collect();
    run.network = Network::None;
    run.title = Some("compiling".to_owned());
    run.offline = context.fetcher.is_offline();
    let built = sandbox::run(rootfs, &run, context.cache(), context.events)?;
    below(&built.tree, &DESTDIR.path())
}

/// Puts a source into the image; owners in upstream's archives mean nothing here.
fn place(tree: &mut Tree, dir: &TreePath, input: &Input) -> Result<(), BuildCause> {
    match input {
        Input::File(content) => {
            let name =
                dir.file_name().ok_or(BuildCause::Internal("a source's directory is the root"))?.to_vec();
            tree.insert_all(dir.join(name)?, tree::Node::file(0o755, content.clone()), &Meta::dir())?;
        }
        Input::Tree(source) => put(tree, dir, source)?,
    }
    Ok(())
}

fn put(tree: &mut Tree, dir: &TreePath, source: &Tree) -> Result<(), BuildCause> {
    tree.make_dirs(dir, &Meta::dir())?;
    for (path, node) in source.iter().filter(|(p, _)| !p.is_root()) {
        let mut node = node.clone();
        (node.meta.uid, node.meta.gid) = (0, 0);
        tree.insert_all(dir.join(path.as_relative())?, node, &Meta::dir())?;
    }
    Ok(())
}

/// A directory of a tree as a tree of its own.
fn below(tree: &Tree, dir: &TreePath) -> Result<Tree, BuildCause> {
    let mut out = Tree::default();
    for (path, node) in tree.subtree(dir) {
        let rest = path.strip_prefix(dir);
        let rest = rest.ok_or(BuildCause::Internal("a directory of a tree has a path that isn't in it"))?;
        if !rest.is_empty() {
            out.insert(TreePath::new(rest)?, node.clone())?;
        }
    }
    Ok(out)
}

/// What was taken out of an image.
#[derive(Debug, Default)]
pub(super) struct Extracted {
    /// The tree, to which all else is added.
    pub tree: Tree,
    /// What is to be said of it.
    pub findings: Vec<Finding>,
    /// What the image has for units, if hosts are to get it.
    inventory: Option<Inventory>,
    /// What the programs see of the image, if not just the extension.
    mounts: Option<flatwrap::Mounts>,
    /// The private root, if there is one.
    root: Option<TreePath>,
    /// Programs that are elsewhere than in the image.
    moved: Moved,
}

impl Extracted {
    /// Adds what the units of the assembled extension need of the image.
    pub(super) fn serve(
        &self,
        tree: &mut Tree,
        name: &ExtensionName,
        events: &dyn Events,
    ) -> Result<(), BuildCause> {
        let Self { inventory: Some(inventory), mounts, .. } = self else { return Ok(()) };
        let sees_host = |path: &TreePath| mounts.as_ref().is_none_or(|m| m.hides(path));
        let passwd = TreePath::new("/etc/passwd")?;
        let options = Options {
            sees_host: &sees_host,
            etc: Etc::Factory,
            numbers: mounts.as_ref().is_some_and(|m| m.keeps(&passwd)),
            contents: false,
            named: &BTreeSet::new(),
            without_units: WithoutUnits::Nothing,
            root: self.root.as_ref(),
            moved: &self.moved,
        };
        let needs = Needs::new(inventory, tree, options).map_err(Box::new)?;
        needs.write(tree, name).map_err(Box::new)?;
        for secret in &needs.secrets {
            let text = format!("{secret} is not included, since no two hosts may share a key or password");
            events.event(Event::Warning(text.into()));
        }
        for dir in needs.made.keys() {
            let text = format!("{dir}: files that no package owns, made in the image, are not included");
            events.event(Event::Warning(text.into()));
        }
        Ok(())
    }
}

/// What flix or flatwrap makes of an image. `has_units`: the recipe brings units of its own.
pub(super) fn extract(
    image: &Image,
    mut rootfs: Rootfs,
    name: &ExtensionName,
    has_units: bool,
    packages: &Packages,
    context: BuildContext<'_>,
) -> Result<Extracted, BuildCause> {
    packages::install(&mut rootfs, packages, context).map_err(Box::new)?;
    let wanted = image.paths.iter().map(|p| p.parse::<RequestedPath>()).collect::<Result<Vec<_>, _>>()?;
    let paths = paths(&rootfs.tree, &wanted)?;
    let inventory = match image.service_files {
        true => Some(Inventory::read(&rootfs.tree, &paths).map_err(Box::new)?),
        false => None,
    };
    match image.tool {
        Tool::Flix => {
            // Without a unit nobody waits for copies of files in /etc, and none are made.
            let has_units =
                has_units || paths.iter().filter_map(|path| home(path, false)).any(|path| is_unit(&path));
            let copied = inventory.as_ref().filter(|_| has_units);
            let elsewhere = copied
                .map_or_else(|| Ok(BTreeSet::new()), |i| i.files(&BTreeSet::new()))
                .map_err(Box::new)?;
            let request = flix::Request {
                wanted,
                selections: Vec::new(),
                sysroot: SYSROOTS.path().join(name.as_str())?,
                closure: elf::closure::Options {
                    ld_library_path: elf::closure::ld_library_path(&rootfs.config.env),
                    ..elf::closure::Options::default()
                },
                keep_sbin: false,
                charsets: false,
                host_interpreters: false,
                elsewhere,
            };
            let plan = flix::Plan::new(&rootfs.tree, &request).map_err(Box::new)?;
            tell(&plan.notes, &plan.warnings, context.events);
            let tree = plan.build(&rootfs.tree).map_err(Box::new)?;
            let missing = plan.missing.iter().filter_map(|m| {
                let rule = rule("needs-host-libraries")?;
                let path = m.chain.first().and_then(|p| plan.home(p));
                let message = format!("needs {}, which the extension lacks", m.name);
                Some(Finding { rule: rule.name, severity: rule.severity, path, message })
            });
            Ok(Extracted {
                tree,
                findings: missing.collect(),
                inventory,
                moved: plan.moved,
                ..Extracted::default()
            })
        }
        Tool::Flatwrap => {
            let mut options = flatwrap::Options::new(name.clone())?;
            options.take_variables(&rootfs.config);
            let plan = flatwrap::Plan::new(&rootfs.tree, &wanted, options).map_err(Box::new)?;
            tell(&plan.notes, &plan.warnings, context.events);
            let (mounts, root) = (Some(plan.mounts().clone()), plan.sysroot().clone());
            let (tree, _) = plan.build(rootfs.tree).map_err(Box::new)?;
            Ok(Extracted { tree, inventory, mounts, root: Some(root), ..Extracted::default() })
        }
    }
}

/// All paths of the image that are taken.
fn paths(image: &Tree, wanted: &[RequestedPath]) -> Result<BTreeSet<TreePath>, BuildCause> {
    let mut paths = BTreeSet::new();
    for item in locate(image, wanted, false).map_err(Box::new)? {
        paths.extend(image.subtree(&item.real).map(|(path, _)| path.clone()));
        paths.insert(item.source);
    }
    Ok(paths)
}

fn tell(notes: &[String], warnings: &[String], events: &dyn Events) {
    notes.iter().for_each(|n| events.event(Event::Note(n.into())));
    warnings.iter().for_each(|w| events.event(Event::Warning(w.into())));
}
