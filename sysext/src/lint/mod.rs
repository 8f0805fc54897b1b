//! What is wrong with an extension, also with one that others built.
//!
//! The rules for a single tree are in [`crate::extension::RULES`]. Here are those that take more than one tree, or reading
//! ELF files, or systemd's own tools: [`RULES`].

mod collisions;
pub use collisions::{Member, collisions, version_forms};

pub mod needs;
pub use needs::{Need, Needs};

pub mod release_file;
pub use release_file::ReleaseFile;

mod launchers;

mod of_host;

mod passed_over;

mod programs;

mod references;
pub use references::{implied, missing_interpreter, shebang, units};

mod state;

mod sysusers;

mod tmpfiles;

pub mod verify;

use std::collections::BTreeSet;

use crate::extension::accounts::{Texts, texts};
use crate::extension::units::words;
use crate::extension::{Finding, Rule, Severity, rule};
use crate::{Extension, ExtensionError, ExtensionName, ExtensionOptions, Release};
use tree::{ContentError, Node, StaticPath, Tree, TreePath, escape};

macro_rules! rules {
    ($($id:ident $name:literal $severity:ident $allowable:literal $about:literal;)*) => {
        $(#[doc = $about]
        pub const $id: Rule =
            Rule { name: $name, severity: Severity::$severity, allowable: $allowable, about: $about };)*
        /// The rules of this module, beside those of [`crate::extension`].
        pub const RULES: &[Rule] = &[$($id),*];
    };
}

rules! {
    NO_RELEASE "no-release-file" Error false
        "without a release file of its own name systemd-sysext refuses an image and aborts the merge of all others";
    BAD_RELEASE "release-fields" Error false
        "a blank or malformed release file aborts the merge of all extensions";
    OWNER "owner" Warning true
        "files of other owners than root belong to whoever has that number on the host";
    UNIT_SYNTAX "unit-syntax" Warning true
        "systemd-analyze has something against a unit, and systemd ignores the line or the unit";
    STATE "service-files" Warning true
        "a unit needs a directory in /var or a file in /etc that nothing in the extension makes";
    SYSUSERS_SYNTAX "sysusers-syntax" Error true
        "systemd-sysusers ignores a malformed line, and nobody makes its user";
    TMPFILES_SYNTAX "tmpfiles-syntax" Error true
        "systemd-tmpfiles ignores a malformed line, and nobody makes its file";
    UNIT_REFERENCE "unit-reference" Warning true
        "a unit requires, wants or starts a unit that is neither in the extension nor on every host";
    DROP_IN_NAME "drop-in-name" Warning true
        "systemd ignores a drop-in whose name doesn't end in .conf";
    TMPFILES_READ_ONLY "tmpfiles-read-only" Warning true
        "a line of tmpfiles.d makes a file in /usr or /opt, which a merge makes read-only";
    TMPFILES_SOURCE "tmpfiles-source" Warning true
        "a line of tmpfiles.d copies or links a file of /usr that the extension lacks";
    DANGLING_LINK "dangling-link" Warning true
        "a link among the programs or units leads nowhere in the extension";
    HOST_PROGRAM "host-program" Warning true
        "a program that every host has is replaced while the extension is merged";
    SCRIPT_INTERPRETER "script-interpreter" Warning true
        "a program is a script for an interpreter that neither the extension nor every host has";
    SELINUX_LABEL "selinux-label" Warning true
        "some files have SELinux labels and others have none, or labels of containers and home directories";
    SCOPE "scope" Warning true
        "SYSEXT_SCOPE without system: only the initrd, or portable services, take the extension";
    IGNORED_FILE "ignored-file" Warning true
        "systemd passes over a file because of its name or directory";
    MASKED_UNIT "masked-unit" Warning true
        "an empty unit is a masked one, which never starts";
    WANTS_LINK "wants-link" Warning true
        "systemd ignores what is no link in a .wants directory, and starts units by the names of the links";
    LATE_START "late-start" Warning true
        "a merge doesn't start what a target only wants";
    NOT_EXECUTABLE "not-executable" Warning true
        "a program in /usr/bin whose mode forbids to start it";
    NOT_A_PROGRAM "not-a-program" Warning true
        "an executable file in /usr/bin is neither an ELF file nor a script";
    WORLD_WRITABLE "world-writable" Warning true
        "everybody may write to a file, if the extension is merged from a directory or as mutable";
    LAYER_WHITEOUT "layer-whiteout" Warning true
        "files called .wh.* are deletions of a container's layer, which nobody applied";
    HOST_UNIT "host-unit" Warning true
        "a unit that every host has is replaced while the extension is merged";
    HOST_DATABASE "host-database" Warning true
        "a cache or database that the host makes of all its files is replaced by one of the extension's files";
    COLLISION "collision" Error true
        "two extensions of a set have different files of one name: the one whose name sorts later hides the other's";
    SAME_FILE "same-file" Warning true
        "two extensions of a set have the same file: they may not agree about it for long";
    CONFLICT "conflict" Error true
        "two extensions of a set can't be merged at the same time, as a recipe of theirs says";
    VERSION_FORM "version-form" Error true
        "systemd sorts versions that begin with a digit after all that begin with v: hosts never update from the first to the second";
    ELF "elf" Warning true
        "a file that looks like a program can't be read as one";
    TAR "not-mergeable" Error true
        "systemd-sysext merges directories and disk images, no tars";
}

/// Options of the check.
#[derive(Debug, Clone, Default)]
pub struct LintOptions {
    /// Names of rules whose errors are warnings.
    pub allow: BTreeSet<String>,
    /// Libraries and loaders of the host, by their sonames, that the extension may need.
    pub host_libraries: Vec<String>,
    /// Units that the host has: those of other extensions that are merged with it.
    pub units: BTreeSet<String>,
    /// Check units with systemd-analyze. Units that can't be checked, since it isn't installed, are a warning.
    pub verify_units: bool,
}

/// All that the rules have against the tree of an image called `name`, errors first.
///
/// # Errors
/// Content of the tree can't be read.
pub fn lint(tree: &Tree, name: &ExtensionName, options: &LintOptions) -> Result<Vec<Finding>, ContentError> {
    let mut out = Vec::new();
    let release = release(tree, name, &mut out)?;
    let any = release.as_ref().is_none_or(Release::is_any);
    let known = release.clone();
    let mut of_tree = of_tree(tree, name, release.unwrap_or_default())?;
    // Nothing of a file that isn't there.
    of_tree.retain(|finding| known.is_some() || finding.rule != "reload");
    out.extend(of_tree);
    owners(tree, &mut out);
    state::check(tree, &mut out)?;
    sysusers::check(tree, &mut out)?;
    tmpfiles::check(tree, &mut out)?;
    let units = references::Units::new(tree, &options.units);
    references::check(tree, &units, &mut out)?;
    if let Some(release) = &known {
        of_release(release, tree, name, &units, &mut out)?;
    }
    passed_over::check(tree, &units, known.as_ref(), &mut out)?;
    programs::check(tree, known.as_ref(), &mut out)?;
    of_host::check(tree, &mut out);
    launchers::check(tree, &units, &mut out)?;
    if any {
        out.extend(needs::findings(&Needs::of(tree), &options.host_libraries));
    }
    if options.verify_units {
        out.extend(verify::units(tree).unwrap_or_else(|e| {
            let unchecked = finding(&UNIT_SYNTAX, None, format!("the units aren't checked: {e}"));
            vec![Finding { severity: Severity::Warning, ..unchecked }]
        }));
    }
    // mkfs.ext4 makes it, and no host sees it.
    let lost = LOST_AND_FOUND.path();
    if tree.get(&lost).is_some_and(Node::is_dir) && tree.children(&lost).next().is_none() {
        out.retain(|finding| finding.path.as_ref() != Some(&lost));
    }
    allow(&mut out, &options.allow);
    Ok(out)
}

/// The files of a directory whose lines systemd reads (sysusers.d, tmpfiles.d): those that end in `.conf`.
fn configuration(tree: &Tree, dir: StaticPath) -> Result<Texts, ContentError> {
    let is_read = |path: &TreePath| path.file_name().is_some_and(|name| name.ends_with(b".conf"));
    texts(tree, &dir.path(), is_read).map_err(|(_, error)| error)
}

/// Lines of such files of which `problem` says, by their columns, what is wrong.
fn malformed(
    tree: &Tree,
    dir: StaticPath,
    rule: &Rule,
    problem: impl Fn(&[String]) -> Option<String>,
    out: &mut Vec<Finding>,
) -> Result<(), ContentError> {
    for (path, text) in configuration(tree, dir)? {
        for (at, line) in text.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).enumerate() {
            if matches!(line.first(), None | Some(b'#')) {
                continue;
            }
            let columns: Vec<String> = words(line).iter().map(|w| escape(&w.text)).collect();
            if let Some(problem) = problem(&columns) {
                let message = format!("line {}: {problem}", at + 1);
                out.push(finding(rule, Some(path.clone()), message));
            }
        }
    }
    Ok(())
}

/// Where e2fsck puts what it finds.
const LOST_AND_FOUND: StaticPath = StaticPath::new("/lost+found");

/// Makes warnings of what is allowed, and sorts: errors first, otherwise as they came.
pub fn allow(findings: &mut [Finding], allow: &BTreeSet<String>) {
    let allowable = |name: &str| {
        let own = RULES.iter().find(|r| r.name == name);
        own.or_else(|| rule(name)).is_none_or(|r| r.allowable)
    };
    for finding in findings.iter_mut() {
        if allow.contains(finding.rule) && allowable(finding.rule) {
            finding.severity = Severity::Warning;
        }
    }
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
}

/// A finding of one of [`RULES`].
pub fn finding(rule: &Rule, path: Option<TreePath>, message: impl Into<String>) -> Finding {
    Finding { rule: rule.name, severity: rule.severity, path, message: message.into() }
}

/// The release file of the image, if it is there and makes sense.
fn release(
    tree: &Tree,
    name: &ExtensionName,
    out: &mut Vec<Finding>,
) -> Result<Option<Release>, ContentError> {
    let file = match release_file::find(tree, name)? {
        Some(file) => file,
        None => {
            let there = release_file::names(tree);
            let message = match there.as_slice() {
                [] => "the image has no release file; systemd says: Package not installed".to_owned(),
                names => format!(
                    "the image is {name}, its release file for {}; systemd says: No medium found",
                    names.join(", ")
                ),
            };
            out.push(finding(&NO_RELEASE, None, message));
            return Ok(None);
        }
    };
    for problem in &file.problems {
        out.push(finding(&BAD_RELEASE, Some(file.path.clone()), problem.as_str()));
    }
    Ok(Some(file.release))
}

/// What the release file asks for.
fn of_release(
    release: &Release,
    tree: &Tree,
    name: &ExtensionName,
    units: &references::Units,
    out: &mut Vec<Finding>,
) -> Result<(), ContentError> {
    let Some(file) = release_file::find(tree, name)? else { return Ok(()) };
    if let Some(scope) = release
        .scope
        .as_ref()
        .filter(|s| !s.split_whitespace().any(|word| word == "system") && release.check().is_ok())
    {
        let message = format!("SYSEXT_SCOPE={scope}: a host merges it only if \"system\" is among the words");
        out.push(finding(&SCOPE, Some(file.path.clone()), message));
    }
    for unit in release.restart_units.iter().chain(&release.reload_or_restart_units) {
        if !units.has(unit) {
            let message =
                format!("is to restart {unit}: the host has to have this unit, which isn't in the extension");
            out.push(finding(&UNIT_REFERENCE, Some(file.path.clone()), message));
        }
    }
    Ok(())
}

/// The rules for trees, in the words for an image that is there already.
fn of_tree(tree: &Tree, name: &ExtensionName, release: Release) -> Result<Vec<Finding>, ContentError> {
    // With everything allowed, all rules are checked; what they are is put back afterwards.
    let allow = crate::extension::RULES.iter().filter(|r| r.allowable).map(|r| r.name.to_owned()).collect();
    let options = ExtensionOptions { allow, ..ExtensionOptions::default() };
    // Fields that no release file takes have a finding of their own.
    let reload_manager = release.reload_manager;
    let release =
        if release.check().is_ok() { release } else { Release { reload_manager, ..Release::default() } };
    let found = match Extension::new(tree.clone(), name.clone(), release, &options) {
        Ok(extension) => extension.findings().to_vec(),
        Err(ExtensionError::Refused { findings, .. }) => findings,
        Err(ExtensionError::Content { source, .. }) => return Err(source),
        Err(e) => vec![finding(&BAD_RELEASE, None, e.to_string())],
    };
    let adapt = |mut f: Finding| {
        f.severity = rule(f.rule).map_or(f.severity, |r| r.severity);
        match f.rule {
            // It was only held against the text that this program would have written.
            "release-replaced" => return None,
            // Nobody mends it any more.
            "directory-mode" => {
                f.severity = Severity::Error;
                f.message = f.message.trim_end_matches("; made 0755").to_owned();
            }
            "foreign-setuid" => {
                f.message = f.message.replace(" would become root's", " holds on the host, too")
            }
            "user-overlay-xattr" | "system-xattr" | "foreign-xattr" => {
                f.message = f.message.replace(" is dropped", " is set")
            }
            _ => {}
        }
        Some(f)
    };
    Ok(found.into_iter().filter_map(adapt).collect())
}

fn owners(tree: &Tree, out: &mut Vec<Finding>) {
    let others: Vec<_> =
        tree.iter().filter(|(p, n)| !p.is_root() && (n.meta.uid, n.meta.gid) != (0, 0)).collect();
    if let Some((path, node)) = others.first() {
        let more = match others.len() {
            1 => String::new(),
            n => format!(", and {} others aren't root's either", n - 1),
        };
        let message = format!("belongs to {}:{}, expected 0:0{more}", node.meta.uid, node.meta.gid);
        out.push(finding(&OWNER, Some((*path).clone()), message));
    }
}

#[cfg(test)]
mod tests;
