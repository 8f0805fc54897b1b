//! Files of an image that are selected as a group: those of a package, or those that a run opened.
//!
//! Files that can't be used are reported in groups; they are not errors, since the user didn't name them.

use std::collections::{BTreeMap, BTreeSet};

use sysext::extension::HostLibrary;
use sysext::request::{allowed, home};
use tree::{Kind, TreePath, is_triplet, list_some};

use super::host::{
    TIME_ZONES, is_host_business, is_host_data, is_host_program, is_program_dir, symlink_above,
};
use super::planner::{Planner, relative};
use super::{Action, PlanError, Why};

/// Files of the image that are included as far as an extension can hold them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// What they are called: `package:git`.
    pub text: String,
    /// Files, symlinks, and directories that are wanted even if they are empty; what is below a directory is not part of
    /// it. Paths that the image lacks are ignored.
    pub paths: BTreeSet<TreePath>,
}

/// Maximum number of entries copied from a directory outside /usr that a symlink leads to.
const COPY_LIMIT: usize = 1000;

/// Characters of a selection's text in a message.
const LINE_LIMIT: usize = 60;

/// Bytes. Larger files with the same target aren't compared.
const EQUAL_LIMIT: u64 = 64 << 20;

/// Files and folders of /etc that are of no use to the programs of an extension, or that make no difference where they
/// are missing.
const UNUSED: &[&str] = &[
    "X11",
    "alternatives",
    "apparmor.d",
    "bash_completion.d",
    "bindresvport.blacklist",
    "cron.d",
    "cron.daily",
    "cron.hourly",
    "cron.monthly",
    "cron.weekly",
    "default",
    "init.d",
    "logrotate.d",
    "magic",
    "magic.mime",
    "netconfig",
    "rc0.d",
    "rc1.d",
    "rc2.d",
    "rc3.d",
    "rc4.d",
    "rc5.d",
    "rc6.d",
    "rcS.d",
    "ufw",
];

/// Where a file of a selection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Where its programs look for it.
    Own(TreePath),
    /// Libraries of the usual directories, found by the search paths of what loads them.
    Library(TreePath),
    /// In the sysroot, since hosts have a symlink where it would be.
    Aside(TreePath),
    /// The host has its own.
    Host,
    /// Below neither /usr nor /opt.
    Outside,
}

/// Files of one selection that are not where its programs look for them.
#[derive(Debug, Default)]
struct Left {
    host: BTreeSet<TreePath>,
    outside: BTreeSet<TreePath>,
    aside: BTreeMap<TreePath, usize>,
    special: BTreeSet<TreePath>,
}

impl Planner<'_> {
    /// Includes the files of all selections.
    pub(super) fn selections(&mut self) -> Result<(), PlanError> {
        for selection in &self.request.selections {
            self.selection(selection)?;
        }
        Ok(())
    }

    fn selection(&mut self, selection: &Selection) -> Result<(), PlanError> {
        let mut left = Left::default();
        let (mut links, mut folders) = (BTreeSet::new(), BTreeSet::new());
        let mut sources = BTreeSet::new();
        for path in &selection.paths {
            let Ok(found) = self.tree.resolve(path.to_absolute(), false) else { continue };
            sources.insert(found.path);
        }
        for source in &sources {
            match self.tree.get(source).map(|n| &n.kind) {
                Some(Kind::Dir) => _ = folders.insert(source),
                Some(Kind::Symlink(_)) => _ = links.insert(source),
                Some(Kind::File(_)) => {
                    let place = self.place_of_selected(source)?;
                    self.include(source, &place, selection, &mut left)?;
                }
                Some(_) => _ = left.special.insert(source.clone()),
                None => {}
            }
        }
        // Links last: what they lead to may have a place by then.
        for link in links {
            self.selected_link(link, selection, &mut left)?;
        }
        for folder in folders {
            self.selected_folder(folder, &sources, selection)?;
        }
        self.report(selection, left);
        Ok(())
    }

    /// Where a file or symlink goes. `source` is its path in the image, the directories resolved.
    fn place_of_selected(&self, source: &TreePath) -> Result<Place, PlanError> {
        let Some(place) = home(source, self.request.keep_sbin) else { return Ok(Place::Outside) };
        let sysroot = || self.request.sysroot.join(source.as_relative());
        if is_host_program(&place) || is_host_data(&place) {
            return Ok(Place::Host);
        }
        if HostLibrary::at(&place).is_some() {
            return Ok(Place::Library(sysroot()?));
        }
        // With `keep_sbin`, the user has decided that the host has a real /usr/local.
        let kept = self.request.keep_sbin && place.starts_with(&TreePath::new("/usr/local")?);
        if symlink_above(&place).is_some() && !kept {
            return Ok(Place::Aside(sysroot()?));
        }
        Ok(Place::Own(place))
    }

    /// Leads from the sysroot to folders of plugins at their own places: a library in the sysroot may look for its plugins
    /// beside itself (graphviz does).
    pub(super) fn plugin_folders(&mut self) -> Result<(), PlanError> {
        let mut links: BTreeMap<TreePath, (TreePath, String)> = BTreeMap::new();
        for placed in &self.placed {
            let Some(entry) = self.plan.entries.get(&placed.target) else { continue };
            let text = entry.why.iter().find_map(|w| match w {
                Why::Selected(text) => Some(text.clone()),
                _ => None,
            });
            let parts: Vec<&[u8]> = placed.target.components().collect();
            let usual = match parts.as_slice() {
                [b"usr", b"lib", triplet, _, _, ..] if is_triplet(triplet) => 4,
                [b"usr", b"lib", _, _, ..] => 3,
                _ => continue,
            };
            let (Some(text), Action::Relocate(_)) = (text, &entry.action) else { continue };
            let folder = TreePath::new(parts[..usual].join(&b'/'))?;
            if placed.source.starts_with(&folder) && !folder.starts_with(&self.request.sysroot) {
                links.entry(self.request.sysroot.join(folder.as_relative())?).or_insert((folder, text));
            }
        }
        for (link, (folder, text)) in links {
            // Only where libraries are that could look for it, and nothing of the closure is in its place.
            let beside = link.parent().is_some_and(|dir| {
                let mut below = self.plan.entries.range(dir.clone()..).map(|(path, _)| path);
                below.by_ref().take_while(|p| p.starts_with(&dir)).any(|p| p.parent().as_ref() == Some(&dir))
            });
            let names: Vec<TreePath> = self
                .plan
                .entries
                .range(link.clone()..)
                .map(|(p, _)| p.clone())
                .take_while(|p| p.starts_with(&link))
                .collect();
            // Names of the folder's own files are in it, too.
            let is_same = |name: &TreePath| {
                let rest = name.strip_prefix(&link).filter(|rest| !rest.is_empty());
                let there = rest
                    .and_then(|r| folder.join(r).ok())
                    .is_some_and(|p| self.plan.entries.contains_key(&p));
                there && matches!(self.plan.entries.get(name).map(|e| &e.action), Some(Action::Symlink(_)))
            };
            if beside && names.iter().all(is_same) {
                for name in &names {
                    self.plan.entries.remove(name);
                }
                let target = relative(&link, &folder);
                self.put(link, Some(folder), Action::Symlink(target), Why::Selected(text), 0)?;
            }
        }
        Ok(())
    }

    /// Puts a file at its place, and says where that is.
    fn include(
        &mut self,
        source: &TreePath,
        place: &Place,
        selection: &Selection,
        left: &mut Left,
    ) -> Result<Option<TreePath>, PlanError> {
        let target = match place {
            Place::Own(target) | Place::Library(target) => target,
            Place::Aside(target) => {
                let above = home(source, true).as_ref().and_then(symlink_above);
                *left.aside.entry(above.map_or_else(TreePath::root, Into::into)).or_default() += 1;
                target
            }
            Place::Host => {
                left.host.insert(source.clone());
                return Ok(None);
            }
            Place::Outside => {
                left.outside.insert(source.clone());
                return Ok(None);
            }
        };
        let why = Why::Selected(selection.text.clone());
        let brought = self.bring(source, target, &why, (false, true));
        Ok(self.unless_taken(brought)?.then(|| target.clone()))
    }

    /// Whether it was put down. Of two files for one place the first counts.
    fn unless_taken(&mut self, put: Result<(), PlanError>) -> Result<bool, PlanError> {
        match put {
            Ok(()) => Ok(true),
            Err(PlanError::Clash { first, second, .. }) if self.is_equal(&first, &second) => Ok(false),
            Err(PlanError::Clash { target, first, second }) => {
                self.warnings.insert(format!(
                    "{target} is wanted from both {first} and {second}; {second} is left out"
                ));
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    /// Whether two files of the image have the same content.
    fn is_equal(&self, a: &TreePath, b: &TreePath) -> bool {
        let content = |p| self.tree.get(p).and_then(|n| n.content());
        match (content(a), content(b)) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                matches!((a.read(EQUAL_LIMIT), b.read(EQUAL_LIMIT)), (Ok(a), Ok(b)) if a == b)
            }
            _ => false,
        }
    }

    fn selected_link(
        &mut self,
        source: &TreePath,
        selection: &Selection,
        left: &mut Left,
    ) -> Result<(), PlanError> {
        let place = match self.place_of_selected(source)? {
            Place::Own(p) | Place::Library(p) | Place::Aside(p) => p,
            Place::Host => {
                left.host.insert(source.clone());
                return Ok(());
            }
            Place::Outside => {
                left.outside.insert(source.clone());
                return Ok(());
            }
        };
        let Some(link) = self.tree.get(source).and_then(|n| n.symlink_target()) else { return Ok(()) };
        let link = link.to_vec();
        let Ok(real) = self.tree.resolve(source.to_absolute(), true).map(|r| r.path) else {
            // Hosts create these when they start (/run), so that the image doesn't have them. Other dangling links of packages
            // lead to packages that aren't installed.
            let start = [&b"/run/"[..], b"/var/", b"/etc/", b"/proc/", b"/dev/"];
            if start.iter().any(|s| link.starts_with(s)) {
                self.put_link(source, &place, link, selection)?;
            }
            return Ok(());
        };
        let target = self.place_of_target(source, &real, &place, selection, left)?;
        match target {
            Some(target) if target == place => Ok(()),
            Some(target) => {
                // A relative link that is still correct in the extension is unchanged.
                let same = place == *source && target == real && !link.starts_with(b"/");
                let link = if same { link } else { relative(&place, &target) };
                self.put_link(source, &place, link, selection)
            }
            None => self.put_link(source, &place, real.to_absolute(), selection),
        }
    }

    /// Where a link leads to in the extension, which includes the target. None if it leads to the host's.
    fn place_of_target(
        &mut self,
        source: &TreePath,
        real: &TreePath,
        place: &TreePath,
        selection: &Selection,
        left: &mut Left,
    ) -> Result<Option<TreePath>, PlanError> {
        if let Some(known) = self.plan.places.get(real) {
            return Ok(Some(known.clone()));
        }
        let is_dir = self.tree.get(real).is_some_and(|n| n.is_dir());
        let is_empty = is_dir && self.tree.children(real).next().is_none();
        let wanted = match self.place_of_selected(real)? {
            Place::Own(target) if is_dir => return Ok(Some(target)),
            Place::Host => return Ok(None),
            Place::Outside if is_host_business(real) || is_empty => return Ok(None),
            Place::Outside => {
                if self.tree.subtree(real).take(COPY_LIMIT + 1).count() > COPY_LIMIT {
                    self.warnings
                        .insert(format!("{source}: leads to {real}, which is too large to be included"));
                    return Ok(None);
                }
                let target = self.request.sysroot.join(real.as_relative())?;
                let brought = self.bring(real, &target, &Why::Target(place.clone()), (false, true));
                return Ok(self.unless_taken(brought)?.then_some(target));
            }
            Place::Library(target) | Place::Aside(target) if is_dir => return Ok(Some(target)),
            wanted => wanted,
        };
        self.include(real, &wanted, selection, left)
    }

    fn put_link(
        &mut self,
        source: &TreePath,
        place: &TreePath,
        link: Vec<u8>,
        selection: &Selection,
    ) -> Result<(), PlanError> {
        let why = Why::Selected(selection.text.clone());
        let put = self.put(place.clone(), Some(source.clone()), Action::Symlink(link), why, 0);
        self.unless_taken(put).map(|_| ())
    }

    /// Includes a directory that has no other path of the selection in it.
    fn selected_folder(
        &mut self,
        folder: &TreePath,
        sources: &BTreeSet<TreePath>,
        selection: &Selection,
    ) -> Result<(), PlanError> {
        let below = sources.range(folder.clone()..).nth(1).is_some_and(|next| next.starts_with(folder));
        let Some(node) = self.tree.get(folder).filter(|_| !below) else { return Ok(()) };
        let Place::Own(place) = self.place_of_selected(folder)? else { return Ok(()) };
        if place.depth() < 3 {
            return Ok(());
        }
        let why = Why::Selected(selection.text.clone());
        let action = Action::Directory(node.meta.clone());
        let put = self.put(place, Some(folder.clone()), action, why, 0);
        self.unless_taken(put).map(|_| ())
    }

    fn report(&mut self, selection: &Selection, left: Left) {
        let text = short(&selection.text);
        let (programs, data): (BTreeSet<TreePath>, BTreeSet<TreePath>) =
            left.host.into_iter().partition(|p| home(p, true).as_ref().is_some_and(is_program_dir));
        if let Some(list) = list(&programs) {
            self.notes.insert(format!("{text}: every host has its own {list}, not included"));
        }
        if let Some(list) = list(&data) {
            self.notes.insert(format!("{text}: the host's own data is used, not included: {list}"));
        }
        let useful = |p: &TreePath| {
            let parts: Vec<&[u8]> = p.components().take(2).collect();
            !matches!(parts.as_slice(), [b"etc", name] if UNUSED.iter().any(|u| u.as_bytes() == *name))
                && !self.is_aliased(p)
                && !self.request.elsewhere.contains(p)
                && (p.components().next() != Some(b"etc") || !is_host_business(p))
        };
        let outside: BTreeSet<TreePath> = left.outside.into_iter().filter(useful).collect();
        if let Some(list) = list(&outside) {
            self.warnings.insert(format!(
                "{text}: not included, since an extension can only hold /usr and /opt: {list}"
            ));
        }
        self.outside.extend(outside);
        for (dir, count) in left.aside {
            self.warnings.insert(format!(
                "{text}: {} of {dir} {} not where programs look for {}, since some hosts have a symlink there",
                if count == 1 { "one file".to_owned() } else { format!("{count} files") },
                if count == 1 { "is" } else { "are" },
                if count == 1 { "it" } else { "them" },
            ));
        }
        let zones = TIME_ZONES.path();
        if selection.paths.iter().any(|path| path.starts_with(&zones)) {
            self.notes.insert(format!("{text}: replaces the time zones of hosts that have them ({zones})"));
        }
        if let Some(list) = list(&left.special) {
            self.warnings.insert(format!("{text}: devices, sockets and FIFOs can't be included: {list}"));
        }
    }

    /// Whether the extension has the file anyway: in the sysroot, since a link leads to it.
    fn is_aliased(&self, path: &TreePath) -> bool {
        !allowed(path) && self.plan.places.contains_key(path)
    }
}

/// What a selection is called in a message: a command may have many lines.
fn short(text: &str) -> String {
    let mut out = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = out.char_indices().nth(LINE_LIMIT) {
        out.truncate(end);
        out.push('…');
    }
    out
}

/// The first three, and how many more there are. None for no path.
pub(super) fn list(paths: &BTreeSet<TreePath>) -> Option<String> {
    Some(list_some(paths, 3)).filter(|text| !text.is_empty())
}
