//! Directories of the programs' state, made by entry points that root starts: systemd-tmpfiles doesn't run when an extension is
//! merged, nor where no systemd is.

use std::fmt::Write as _;

use tree::{Meta, Node, Tree, TreePath};

use crate::plan::PlanError;
use crate::quote::{is_text, sh};
use crate::script::DIR;

/// A directory of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    /// Where.
    pub path: TreePath,
    /// The lower twelve bits of st_mode.
    pub mode: u32,
    /// Name or number. If the host doesn't know it, the directory isn't made.
    pub owner: String,
    /// Name or number of the group. If the host doesn't know it, it is root's.
    pub group: String,
}

/// Adds the directories to an extension that [`crate::Plan::build`] has made.
///
/// # Errors
/// The extension has no such sysroot.
pub fn add_state(extension: &mut Tree, sysroot: &TreePath, dirs: &[StateDir]) -> Result<(), PlanError> {
    let Some(text) = script(dirs) else { return Ok(()) };
    let path = sysroot.join(DIR)?.join("state")?;
    Ok(extension.insert_all(path, Node::file(0o644, text), &Meta::dir())?)
}

/// What `enter` sources. None if there is nothing to be made. One test of each directory if all of them are there.
///
/// Whatever is made is root's alone until all is made, and then given away from the innermost out. So nobody else can put a symlink
/// in the way, as long as all directories above are root's: below one that others could write before, nothing is made.
pub fn script(dirs: &[StateDir]) -> Option<String> {
    let mut dirs: Vec<&StateDir> = dirs.iter().filter(|dir| is_text(&dir.path)).collect();
    dirs.sort_by(|a, b| a.path.cmp(&b.path));
    dirs.dedup_by(|a, b| a.path == b.path);
    if dirs.is_empty() {
        return None;
    }
    let text = |path: &TreePath| sh(&String::from_utf8_lossy(&path.to_absolute()));
    let tests: Vec<String> = dirs.iter().map(|dir| format!("[ -d {} ]", text(&dir.path))).collect();
    let mut out = format!(
        "# shellcheck shell=sh\n\
         # Made by flatwrap. Directories for the programs' state, for hosts on which nobody has made them.\n\
         {} || (\n  umask 022\n",
        tests.join(" &&\n  ")
    );
    for (i, dir) in dirs.iter().enumerate() {
        // Below one that others can write, the one above has to be made just now.
        let above: Vec<usize> = (0..i).filter(|&n| dir.path.starts_with(&dirs[n].path)).collect();
        let safe = match above.last() {
            Some(n) if above.iter().any(|&n| dirs[n].is_shared()) => {
                format!("[ -n \"$_flatwrap_{n}\" ] && ")
            }
            _ => String::new(),
        };
        let path = text(&dir.path);
        let parent = text(&dir.path.parent().unwrap_or_else(TreePath::root));
        let _ = write!(
            out,
            "  _flatwrap_{i}=''\n  [ -e {path} ] || [ -L {path} ] || {{\n    \
             {safe}mkdir -p -- {parent} && mkdir -m 0700 -- {path} && _flatwrap_{i}=yes\n  }}\n"
        );
    }
    for (i, dir) in dirs.iter().enumerate().rev() {
        let path = text(&dir.path);
        let _ = write!(out, "  [ -z \"$_flatwrap_{i}\" ] || {{ ");
        if !is_root(&dir.group) {
            let _ = write!(out, "chgrp -h -- {} {path}; ", sh(&dir.group));
        }
        let mode = dir.mode & 0o7777;
        if is_root(&dir.owner) {
            let _ = writeln!(out, "chmod {mode:04o} -- {path}; }}");
            continue;
        }
        // A directory of the wrong owner would stay so: whoever makes users later makes this one, too.
        let below = dirs[i + 1..].iter().rev().filter(|below| below.path.starts_with(&dir.path));
        let made: Vec<String> = below.map(|below| text(&below.path)).chain([path.clone()]).collect();
        let _ = writeln!(
            out,
            "chown -h -- {} {path} && chmod {mode:04o} -- {path} || rmdir -- {}; }}",
            sh(&dir.owner),
            made.join(" ")
        );
    }
    out.push_str("  :\n) 2>/dev/null || :\n");
    Some(out)
}

impl StateDir {
    /// Whether others than root can put something into it.
    fn is_shared(&self) -> bool {
        !is_root(&self.owner) || self.mode & 0o022 != 0
    }
}

fn is_root(name: &str) -> bool {
    name == "root" || name == "0"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script() {
        assert_eq!(script(&[]), None);
        let dir = |path: &str, mode, owner: &str| StateDir {
            path: path.parse().unwrap(),
            mode,
            owner: owner.into(),
            group: owner.into(),
        };
        let dirs = [dir("/var/lib/it's", 0o2750, "web"), dir("/var/lib/it's/body", 0o700, "root")];
        insta::assert_snapshot!(script(&dirs).unwrap(), @r#"
        # shellcheck shell=sh
        # Made by flatwrap. Directories for the programs' state, for hosts on which nobody has made them.
        [ -d "/var/lib/it's" ] &&
          [ -d "/var/lib/it's/body" ] || (
          umask 022
          _flatwrap_0=''
          [ -e "/var/lib/it's" ] || [ -L "/var/lib/it's" ] || {
            mkdir -p -- /var/lib && mkdir -m 0700 -- "/var/lib/it's" && _flatwrap_0=yes
          }
          _flatwrap_1=''
          [ -e "/var/lib/it's/body" ] || [ -L "/var/lib/it's/body" ] || {
            [ -n "$_flatwrap_0" ] && mkdir -p -- "/var/lib/it's" && mkdir -m 0700 -- "/var/lib/it's/body" && _flatwrap_1=yes
          }
          [ -z "$_flatwrap_1" ] || { chmod 0700 -- "/var/lib/it's/body"; }
          [ -z "$_flatwrap_0" ] || { chgrp -h -- web "/var/lib/it's"; chown -h -- web "/var/lib/it's" && chmod 2750 -- "/var/lib/it's" || rmdir -- "/var/lib/it's/body" "/var/lib/it's"; }
          :
        ) 2>/dev/null || :
        "#);
    }
}
