//! The environment that the image's config gives its programs, and how it meets the caller's.

use std::fmt::Write as _;

use tree::{Tree, TreePath};

use crate::{
    mounts::Mounts,
    options::{self, Options},
    quote::sh,
};

/// Who has the last word on a variable that the image sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precedence {
    /// `--env`, and what is about the image's own files.
    Image,
    /// The image has a default: a caller's value stays.
    Caller,
    /// A list of directories: the image's come before the caller's.
    Front,
}

/// A variable that the entry points set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// A name that shells take, or, of one that is set late, env(1).
    pub name: String,
    /// Any text.
    pub value: String,
    pub(crate) precedence: Precedence,
    /// Set by the image's own env(1), the last before the program: the host's programs on the way there must not follow
    /// it.
    pub late: bool,
}

/// What sets variables inside.
const ENV: &str = "/usr/bin/env";

const LISTS: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

/// Variables by which the loader of any program looks for files. ld.so(8).
fn is_loaders(name: &str) -> bool {
    name.starts_with("LD_") || matches!(name, "GLIBC_TUNABLES" | "GCONV_PATH" | "LOCPATH")
}

/// What the entry points set, and names of the image's that a shell can't set.
pub fn variables(image: &Tree, mounts: &Mounts, options: &Options) -> (Vec<Variable>, Vec<String>) {
    let (mut out, mut odd) = (Vec::new(), Vec::new());
    let env = TreePath::new(ENV).is_ok_and(|env| !mounts.is_host(&env))
        && image
            .resolve(ENV, true)
            .ok()
            .and_then(|r| image.get(&r.path))
            .is_some_and(|n| n.is_file() && n.meta.mode & 0o111 != 0);
    let variable = |name: &str, value: &str, precedence| Variable {
        name: name.to_owned(),
        value: value.to_owned(),
        precedence,
        late: env && is_loaders(name),
    };
    for (i, (name, value)) in options.image_env.iter().enumerate() {
        let said_later = options.image_env[i + 1..].iter().chain(&options.env).any(|(n, _)| n == name);
        // What the entry points themselves look at is the host's business.
        let ours = name.starts_with("FLATWRAP_") || name.starts_with("_flatwrap") || name == "NOBWRAP";
        if said_later || ours || options::is_shells_own(name) {
            continue;
        }
        // env(1) sets those that no shell can, and no shell knows whether the caller has one.
        let is_kept = options::is_name(name) || env && options::is_plain(name);
        if value.contains('\0') || !is_kept {
            odd.push(name.clone());
            continue;
        }
        if !options::is_name(name) {
            out.push(Variable { late: true, ..variable(name, value, Precedence::Image) });
            continue;
        }
        let list = LISTS.contains(&name.as_str());
        if list && value.is_empty() {
            continue;
        }
        let precedence = if options.caller_env.contains(name) {
            Precedence::Caller
        } else if list {
            Precedence::Front
        } else if is_of_image(name, value, image, mounts) {
            Precedence::Image
        } else {
            Precedence::Caller
        };
        out.push(variable(name, value, precedence));
    }
    for (i, (name, value)) in options.env.iter().enumerate() {
        if options.env[i + 1..].iter().any(|(n, _)| n == name) {
            continue;
        }
        let late = !options::is_name(name);
        if late && !env {
            odd.push(name.clone());
            continue;
        }
        let variable = variable(name, value, Precedence::Image);
        out.push(Variable { late: late || variable.late, ..variable });
    }
    (out, odd)
}

/// Whether a host's value would lead astray: the variable names a file of the image, or a locale, of which the image has
/// its own.
fn is_of_image(name: &str, value: &str, image: &Tree, mounts: &Mounts) -> bool {
    if name == "HOME" {
        return false;
    }
    if matches!(name, "LANG" | "LANGUAGE") || name.starts_with("LC_") {
        return true;
    }
    let Ok(path) = TreePath::new(value) else { return false };
    value.starts_with('/')
        && !path.is_root()
        && !mounts.is_host(&path)
        && image.resolve(value, true).is_ok_and(|r| !mounts.is_host(&r.path))
}

/// The lines of `enter` for them.
pub(crate) fn script(variables: &[Variable]) -> String {
    let mut out = String::new();
    for Variable { name, value, precedence, late } in variables {
        let value = sh(value);
        let set = |value: &str| match late {
            true => format!("set -- {ENV} {name}={value} \"$@\""),
            false => format!("export {name}={value}"),
        };
        let _ = match precedence {
            Precedence::Image => writeln!(out, "{}", set(&value)),
            Precedence::Caller => writeln!(out, "[ \"${{{name}+set}}\" ] || {}", set(&value)),
            Precedence::Front => {
                // One pair of quotes: shellcheck takes two next to each other for a mistake.
                let quoted = value.strip_suffix('"').map_or_else(|| format!("{value}\""), str::to_owned);
                let both = set(&format!("{quoted}${{{name}:+:${name}}}\""));
                writeln!(out, "case \"${{{name}-}}\" in\n{value} | {value}:*) ;;\n*) {both} ;;\nesac")
            }
        };
    }
    out
}
