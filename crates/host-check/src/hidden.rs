//! What is hidden, and how bad that is.

use tree::{StaticPath, TreePath, escape};

use crate::layer::Layer;
use crate::overlay::{Change, Hidden, Merged, Owner};
use crate::rules::{
    ATTRIBUTES, CACHE, DELETED, DIRECTORY_MODE, DIRECTORY_REPLACED, EXTENSION_FILE, FILE_MODE, HOST_FILE,
    LINK_REPLACED, OWNER, SAME_FILE, UNREAD,
};
use crate::{Finding, Host, Severity};

/// Where files are for people, not for programs.
const DOCUMENTATION: [StaticPath; 8] = [
    StaticPath::new("/usr/share/doc"),
    StaticPath::new("/usr/share/gtk-doc"),
    StaticPath::new("/usr/share/help"),
    StaticPath::new("/usr/share/info"),
    StaticPath::new("/usr/share/licenses"),
    StaticPath::new("/usr/share/lintian"),
    StaticPath::new("/usr/share/locale"),
    StaticPath::new("/usr/share/man"),
];

/// Files that list what many packages have, by their names.
const INDEXES: [&str; 19] = [
    "mime.cache",
    "mimeinfo.cache",
    "gschemas.compiled",
    "icon-theme.cache",
    "hwdb.bin",
    "giomodule.cache",
    "loaders.cache",
    "immodules.cache",
    "locale-archive",
    "modules.dep",
    "modules.dep.bin",
    "modules.alias",
    "modules.alias.bin",
    "modules.symbols",
    "modules.symbols.bin",
    "modules.builtin.alias.bin",
    "fonts.dir",
    "rpmdb.sqlite",
    "ca-certificates.crt",
];

/// Findings for all that the layers hide.
pub(crate) fn findings(host: &Host, merged: &Merged, layers: &[Layer<'_>]) -> Vec<Finding> {
    let names: Vec<&str> = layers.iter().map(|e| e.name.as_str()).collect();
    let is_known = |owner: Owner| match owner {
        Owner::Host => host.notes.is_empty(),
        Owner::Extension(i) => layers.get(i).is_some_and(|e| e.notes.is_empty()),
    };
    let is_metadata =
        |c: &Change| matches!(c, Change::Mode { .. } | Change::Ids { .. } | Change::Attributes(_));
    let comparable =
        |h: &&Hidden| !is_metadata(&h.change) || (is_known(h.whose) && is_known(Owner::Extension(h.by)));
    let mut out: Vec<Finding> =
        merged.hidden.iter().filter(comparable).map(|hidden| finding(hidden, &names)).collect();
    out.extend(host.notes.iter().map(|note| UNREAD.finding(None, None, format!("host: {note}"))));
    for layer in layers {
        out.extend(
            layer.notes.iter().map(|note| UNREAD.finding(Some(layer.name.as_str()), None, note.as_str())),
        );
    }
    out
}

pub(crate) fn finding(hidden: &Hidden, names: &[&str]) -> Finding {
    let name = |i: usize| names.get(i).copied();
    let Hidden { path, by, whose, change, is_directory } = hidden;
    let owner = match whose {
        Owner::Host => "the host".to_owned(),
        Owner::Extension(i) => format!("extension {}", name(*i).unwrap_or_default()),
    };
    let of = match whose {
        Owner::Host => "the host's".to_owned(),
        Owner::Extension(_) => format!("{owner}'s"),
    };
    let file = match whose {
        Owner::Host => &HOST_FILE,
        Owner::Extension(_) => &EXTENSION_FILE,
    };
    let (rule, message, severity) = match change {
        Change::Same => (&SAME_FILE, format!("{owner} has the same file"), Severity::Note),
        Change::Content if is_index(path) => {
            (&CACHE, format!("hides {of} list: what only that one lists is gone"), Severity::Error)
        }
        Change::Content => (file, format!("hides {of} file, which has other content"), file_severity(path)),
        Change::Target { before, now } => {
            let (before, now) = (escape(before), escape(now));
            (file, format!("leads to {now}, and {of} to {before}"), file_severity(path))
        }
        Change::Kind => {
            (file, format!("hides {of} file or link, which is of another kind"), file_severity(path))
        }
        Change::DirectoryOverLink { target } => {
            let target = escape(target);
            (
                &LINK_REPLACED,
                format!("replaces {of} link to {target}: what was found through it is gone"),
                Severity::Error,
            )
        }
        Change::DirectoryOverFile => {
            (&LINK_REPLACED, format!("a directory replaces {of} file"), Severity::Error)
        }
        Change::OverDirectory { gone } => {
            let what = format!("replaces {of} directory: {} gone", files(*gone));
            (&DIRECTORY_REPLACED, what, Severity::Error)
        }
        Change::Deleted { gone } => {
            (&DELETED, format!("a whiteout deletes {} of {owner}", files_alone(*gone)), Severity::Error)
        }
        Change::Opaque { gone } => (
            &DELETED,
            format!("an opaque directory hides {} of {owner}", files_alone(*gone)),
            Severity::Error,
        ),
        Change::Mode { before, now } => {
            let message = format!("mode is {now:04o}, and {of} is {before:04o}");
            match is_directory {
                // What somebody could read or enter, and can't now.
                true if before & !now & 0o555 != 0 => (&DIRECTORY_MODE, message, Severity::Error),
                true => (&DIRECTORY_MODE, message, Severity::Warning),
                false => (&FILE_MODE, message, Severity::Warning),
            }
        }
        Change::Ids { before, now } => {
            let message = format!("belongs to {}:{}, and {of} to {}:{}", now.0, now.1, before.0, before.1);
            (&OWNER, message, Severity::Warning)
        }
        Change::Attributes(attributes) => {
            let list: Vec<String> = attributes.iter().map(|a| escape(a)).collect();
            (&ATTRIBUTES, format!("{} differs from {of}", list.join(", ")), Severity::Warning)
        }
    };
    rule.finding(name(*by), Some(path), message).with(severity)
}

fn files(n: usize) -> String {
    match n {
        1 => "1 file in it is".to_owned(),
        n => format!("{n} files in it are"),
    }
}

fn files_alone(n: usize) -> String {
    match n {
        1 => "1 file".to_owned(),
        n => format!("{n} files"),
    }
}

fn is_index(path: &TreePath) -> bool {
    path.file_name().is_some_and(|name| INDEXES.iter().any(|index| index.as_bytes() == name))
}

/// Texts for people break nothing.
fn file_severity(path: &TreePath) -> Severity {
    match DOCUMENTATION.iter().any(|dir| path.starts_with(&dir.path())) {
        true => Severity::Warning,
        false => Severity::Error,
    }
}
