//! What the services of an extension need beside their programs: collected from the image, added to the extension, reported.

use std::collections::BTreeSet;

use flix::plan::{Selection, is_host_program};
use image::{ImageOptions, Volume, Written};
use services::{
    Etc, Inventory, Needs, Options, Owner, ServicesError, StartError, StateKind, WithoutUnits,
    is_configuration,
};
use sysext::extension::late::LATE_FILES;
use sysext::extension::moved::Moved;
use sysext::extension::unit_programs::{NOT_FOLLOWED, UNIT_LIMIT, is_unit, programs};
use sysext::request::{home, locate};
use sysext::{Extension, ExtensionName, RequestedPath};
use tree::{Event, Events, Node, Tree, TreePath, list_some};

use crate::args::{OutputArgs, ServiceArgs};
use crate::hint::TEXTS;
use crate::lazy_database::LazyDatabase;

/// What an extension brings besides programs, the most of it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ServiceKind {
    None,
    /// Files that a merge doesn't apply.
    Late,
    /// Files in /etc that a run of its programs opened.
    Opened,
    /// Whole packages, or units.
    Whole,
}

/// What a request names of it. `has_packages`: some of the selections are packages.
pub(crate) fn kind(
    image: &Tree,
    wanted: &[RequestedPath],
    selections: &[Selection],
    has_packages: bool,
) -> ServiceKind {
    if has_packages {
        return ServiceKind::Whole;
    }
    let is_late = |path: &TreePath| LATE_FILES.iter().any(|f| f.is_needed && path.starts_with(&f.dir.path()));
    let kind = |path: TreePath| match home(&path, false) {
        Some(path) if is_unit(&path) => ServiceKind::Whole,
        Some(path) if is_late(&path) => ServiceKind::Late,
        _ => ServiceKind::None,
    };
    let kind = paths(image, wanted, selections).into_iter().map(kind).max().unwrap_or(ServiceKind::None);
    if opened(selections).is_empty() { kind } else { kind.max(ServiceKind::Opened) }
}

/// The files in /etc that the selections name, such as those that a run opened, and that aren't the host's business.
pub(crate) fn opened(selections: &[Selection]) -> BTreeSet<TreePath> {
    selections.iter().flat_map(|s| &s.paths).filter(|path| is_configuration(path)).cloned().collect()
}

/// All paths of the image that a request has. A request that can't be followed is an error later.
fn paths(image: &Tree, wanted: &[RequestedPath], selections: &[Selection]) -> BTreeSet<TreePath> {
    let mut out: BTreeSet<TreePath> = selections.iter().flat_map(|s| &s.paths).cloned().collect();
    for item in locate(image, wanted, false).unwrap_or_default() {
        out.extend(image.subtree(&item.real).map(|(path, _)| path.clone()));
        out.insert(item.source);
    }
    out
}

/// Takes from an image what services of the requested packages need.
///
/// # Errors
/// As [`Inventory::read`].
pub(crate) fn inventory(
    image: &Tree,
    database: &LazyDatabase,
    wanted: &[RequestedPath],
    selections: &[Selection],
    kind: ServiceKind,
    events: &dyn Events,
) -> Result<Option<Inventory>, ServicesError> {
    let database = database.get(image);
    if kind == ServiceKind::Opened {
        return match database {
            // Nobody asked for packages. The plan warns of the files.
            Err(e) => {
                let text = format!("files in /etc that the run opened are not made on the host: {e}");
                events.event(Event::Warning(text.into()));
                Ok(None)
            }
            Ok(database) => Inventory::with_database(image, database.as_deref(), &BTreeSet::new()).map(Some),
        };
    }
    let mut paths = paths(image, wanted, selections);
    paths.extend(units_of(image, &paths));
    Inventory::with_database(image, database?.as_deref(), &paths).map(Some)
}

/// The units of the image that start one of the files: the package that has one has what the service keeps, too
/// (nginx-common for nginx). Programs of every host don't count: any service may start `/bin/true` or `find`.
fn units_of(image: &Tree, files: &BTreeSet<TreePath>) -> Vec<TreePath> {
    let real = |path: &[u8]| image.resolve(path, true).ok().map(|found| found.path);
    let own = files.iter().filter(|path| !home(path, false).as_ref().is_some_and(is_host_program));
    let files: BTreeSet<TreePath> = own.filter_map(|path| real(&path.to_absolute())).collect();
    let Ok(dir) = image.resolve("/usr/lib/systemd/system", true) else { return Vec::new() };
    let starts = |node: &Node| {
        let text = node.content().and_then(|content| content.read(UNIT_LIMIT).ok());
        let text = text.and_then(|text| String::from_utf8(text).ok()).unwrap_or_default();
        let mut programs = programs(&text).into_iter().filter(|exec| exec.starts && exec.key == "ExecStart");
        programs.any(|exec| real(exec.program.as_bytes()).is_some_and(|path| files.contains(&path)))
    };
    let units = image.children(&dir.path).filter(|(path, node)| is_unit(path) && starts(node));
    units.map(|(path, _)| path.clone()).collect()
}

/// What the programs of an extension see.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// Whether that is the host's file at a path of the image.
    pub(crate) sees_host: &'a dyn Fn(&TreePath) -> bool,
    /// Whether they see the image's users with their numbers.
    pub(crate) sees_image_users: bool,
    /// Files in /etc that are asked for by themselves.
    pub(crate) named: &'a BTreeSet<TreePath>,
    /// What is made without any unit.
    pub(crate) without_units: WithoutUnits,
    /// Where their files are in the extension, if that is a private root.
    pub(crate) root: Option<&'a TreePath>,
    /// Programs that they find elsewhere than in the image.
    pub(crate) moved: &'a Moved,
}

/// Adds to the extension what its services need, and reports it.
///
/// # Errors
/// As [`Needs::new`] and [`Needs::write`].
pub(crate) fn add(
    inventory: &Inventory,
    extension: &mut Tree,
    name: &ExtensionName,
    args: &ServiceArgs,
    view: View<'_>,
    events: &dyn Events,
) -> Result<Needs, ServicesError> {
    let etc = if args.confext { Etc::Confext } else { Etc::Factory };
    // Files of an image belong to numbers.
    let numbers = view.sees_image_users || args.confext;
    let View { sees_host, named, without_units, root, moved, .. } = view;
    let contents = args.state_files;
    let options = Options { sees_host, etc, numbers, contents, named, without_units, root, moved };
    let needs = Needs::new(inventory, extension, options)?;
    needs.write(extension, name)?;
    report(&needs, name, args, events);
    Ok(needs)
}

/// Lets a unit start by itself, and reports what that brings beside it.
///
/// # Errors
/// As [`services::enable`].
pub fn enable(
    extension: &mut Tree,
    name: &ExtensionName,
    unit: &str,
    events: &dyn Events,
) -> Result<(), StartError> {
    for enabled in services::enable(extension, name, unit)? {
        if enabled.unit != unit {
            events.event(Event::Note(format!("{unit}: {} is enabled with it", enabled.unit).into()));
        }
        if !enabled.aliases.is_empty() {
            let aliases = enabled.aliases.join(", ");
            let text =
                format!("{}: a host's own {aliases} is hidden, which is another name of it", enabled.unit);
            events.event(Event::Note(text.into()));
        }
    }
    Ok(())
}

/// Writes the files in /etc as an image beside the extension's, in the same way.
///
/// # Errors
/// The image can't be written.
pub(crate) fn write_confext(
    needs: &Needs,
    extension: &Extension,
    output: &OutputArgs,
    options: &ImageOptions,
    events: &dyn Events,
) -> anyhow::Result<Option<Written>> {
    let name = extension.name();
    let Some(tree) = services::confext(needs, name, extension.epoch())? else {
        let text = format!("{name}.confext.raw is not written: the services have no files in /etc");
        events.event(Event::Warning(text.into()));
        return Ok(None);
    };
    let volume = Volume { tree: &tree, ..extension.volume() };
    let options = ImageOptions { first: Vec::new(), ..options.clone() };
    Ok(Some(image::write(volume, &output.confext_path(name), &options, events)?))
}

fn report(needs: &Needs, name: &ExtensionName, args: &ServiceArgs, events: &dyn Events) {
    let note = |text: String| events.event(Event::Note(text.into()));
    let warn = |text: String| events.event(Event::Warning(text.into()));
    let users: Vec<&str> = needs.users.iter().map(|u| u.name.as_str()).collect();
    if !users.is_empty() {
        note(format!("users that hosts without them get: {}", users.join(", ")));
    }
    let dirs = needs.state.iter().filter(|s| s.kind == StateKind::Directory).map(|s| &s.path);
    if let Some(list) = list(dirs) {
        note(format!("directories that hosts without them get: {list}"));
    }
    let files = needs.configuration.iter().filter(|c| !c.node.is_dir()).map(|c| &c.path);
    if let Some(list) = list(files) {
        match args.confext {
            true => note(format!("configuration in {name}.confext.raw: {list}")),
            false => note(format!("configuration that hosts without it get: {list}")),
        }
    }
    for (path, old) in &needs.followed {
        let old = old.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        note(format!("{path}: names the new place of {old}"));
    }
    for (path, line, old, new) in &needs.unfollowed {
        warn(format!("{path}: line {line} names {old}, {NOT_FOLLOWED}: it is {new} there"));
    }
    if !needs.unfollowed.is_empty() {
        events.event(Event::Hint(TEXTS.into()));
    }
    for start in &needs.first_starts {
        note(format!("before the service's first start, each host runs {}", start.command.join(" ")));
    }
    let of_number = |owners: [&Owner; 2]| owners.into_iter().any(|owner| matches!(owner, Owner::Number(_)));
    let state = needs.state.iter().filter(|s| of_number([&s.owner, &s.group])).map(|s| &s.path);
    let files = needs.configuration.iter().filter(|c| of_number([&c.owner, &c.group])).map(|c| &c.path);
    if let Some(list) = list(state.chain(files)) {
        warn(format!(
            "belongs to a number that no user or group of the image has, and to whoever has it on a host: {list}"
        ));
    }
    if let Some(list) = list(needs.secrets.iter()) {
        warn(format!("not included, since no two hosts may share a key or password: {list}"));
    }
    for (dir, count) in &needs.made {
        warn(format!(
            "{dir}: {count} {} that no package owns, made when it was installed in the image, not included (--state-files)",
            if *count == 1 { "file" } else { "files" }
        ));
    }
    if let Some(list) = list(needs.left_out.iter()) {
        note(format!("files of packages in /var, not included (--state-files): {list}"));
    }
}

/// The first three, and how many more there are. None for no path.
fn list<'p>(paths: impl Iterator<Item = &'p TreePath>) -> Option<String> {
    Some(list_some(paths, 3)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::Meta;

    /// A file of tmpfiles.d makes no service: libselinux1 has one, and is among the dependencies of most packages.
    #[test]
    fn kinds() {
        let kind = |paths: &[&str], has_packages| {
            let paths = paths.iter().map(|path| path.parse().unwrap()).collect();
            kind(&Tree::default(), &[], &[Selection { text: "x".into(), paths }], has_packages)
        };
        let (program, late) = ("/usr/bin/x", "/usr/lib/tmpfiles.d/x.conf");
        assert_eq!(kind(&[program, "/etc/passwd"], false), ServiceKind::None);
        assert_eq!(kind(&[program, late], false), ServiceKind::Late);
        assert_eq!(kind(&[program, late, "/etc/x.conf"], false), ServiceKind::Opened);
        assert_eq!(kind(&[late, "/lib/systemd/system/x.service", program], false), ServiceKind::Whole);
        assert_eq!(kind(&[program], true), ServiceKind::Whole);
    }

    #[test]
    fn units_of_programs_that_every_host_has_are_nobodys() {
        let mut image = Tree::default();
        let mut add = |path: &str, text: &str| {
            image.insert_all(path.parse().unwrap(), Node::file(0o755, text), &Meta::dir()).unwrap();
        };
        for program in ["less", "true", "find", "nginx"] {
            add(&format!("/usr/bin/{program}"), "x");
        }
        let units = [("nginx", "nginx -g x"), ("postgresql", "true"), ("man-db", "find /x -delete")];
        for (unit, command) in units {
            add(
                &format!("/usr/lib/systemd/system/{unit}.service"),
                &format!("[Service]\nExecStart=/usr/bin/{command}\n"),
            );
        }
        let files = ["/usr/bin/less", "/usr/bin/true", "/usr/bin/find"].map(|path| path.parse().unwrap());
        assert_eq!(units_of(&image, &files.clone().into()), []);
        let files = files.into_iter().chain(["/usr/bin/nginx".parse().unwrap()]).collect();
        assert_eq!(units_of(&image, &files), ["/usr/lib/systemd/system/nginx.service".parse().unwrap()]);
    }
}
