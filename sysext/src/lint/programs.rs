//! Programs that can't be started, or are open to everybody.

use super::references::{is_script_of_dos, started};
use super::{LAYER_WHITEOUT, NOT_A_PROGRAM, NOT_EXECUTABLE, SCRIPT_INTERPRETER, WORLD_WRITABLE, finding};
use crate::Release;
use crate::extension::{Finding, rule};
use tree::{Content, ContentError, Machine, StaticPath, Tree, TreePath, escape};

const PROGRAMS: [StaticPath; 2] = [StaticPath::new("/usr/bin"), StaticPath::new("/usr/libexec")];
/// Roots of images, in which /tmp is everybody's.
const PRIVATE: [StaticPath; 2] = [StaticPath::new("/usr/lib/flatwrap"), StaticPath::new("/usr/lib/flix")];
const WRONG_ARCHITECTURE: &str = "wrong-architecture";

pub(super) fn check(
    tree: &Tree,
    release: Option<&Release>,
    out: &mut Vec<Finding>,
) -> Result<(), ContentError> {
    for (path, node) in tree.iter() {
        if path.file_name().is_some_and(|name| name.starts_with(b".wh.")) {
            let message =
                "is a deletion of a container's layer: unpack the image with a tool that applies it";
            out.push(finding(&LAYER_WHITEOUT, Some(path.clone()), message));
        }
        let is_private = PRIVATE.iter().any(|dir| path.starts_with(&dir.path()));
        if node.is_file() && node.meta.mode & 0o002 != 0 && !is_private {
            let message = format!("mode {:04o} lets everybody write to it", node.meta.mode & 0o7777);
            out.push(finding(&WORLD_WRITABLE, Some(path.clone()), message));
        }
    }
    let known_wrong = out.iter().any(|finding| finding.rule == WRONG_ARCHITECTURE);
    for (path, node) in tree.children(&PROGRAMS[0].path()) {
        let Some(content) = node.content() else { continue };
        let mode = node.meta.mode;
        // gettext.sh: others read it.
        let is_read = path.file_name().is_some_and(|name| name.ends_with(b".sh"));
        if mode & 0o001 == 0 && !is_read {
            let who = if mode & 0o111 == 0 { "nobody" } else { "only its owner and group" };
            let message = format!("mode {:04o}: {who} can start it", mode & 0o7777);
            out.push(finding(&NOT_EXECUTABLE, Some(path.clone()), message));
        }
        if mode & 0o111 != 0 {
            kind(path, content, out)?;
        }
    }
    for (path, node) in PROGRAMS.iter().flat_map(|dir| tree.children(&dir.path())) {
        let Some(content) = node.content().filter(|_| node.meta.mode & 0o111 != 0 && !known_wrong) else {
            continue;
        };
        let machine = Machine::of(&content.head(Machine::HEAD)?);
        let arch = release.and_then(|release| release.architecture);
        let (Some(machine), Some(arch)) = (machine, arch) else { continue };
        if let Some(rule) = rule(WRONG_ARCHITECTURE)
            && machine != arch.machine()
            && arch.compat(machine).is_none()
        {
            let message = format!("is for {machine}, and hosts are {arch}");
            out.push(finding(rule, Some(path.clone()), message));
        }
    }
    for path in started(tree)? {
        let Some(content) = tree.get(&path).and_then(|node| node.content()) else { continue };
        if let Some(line) = is_script_of_dos(content)? {
            let message = format!("is a script for {}: its lines end as those of DOS do", escape(&line));
            out.push(finding(&SCRIPT_INTERPRETER, Some(path.clone()), message));
        }
    }
    Ok(())
}

/// What the kernel starts by itself. execve(2).
fn kind(path: &TreePath, content: &Content, out: &mut Vec<Finding>) -> Result<(), ContentError> {
    let head = content.head(4)?;
    if !head.starts_with(b"\x7fELF") && !head.starts_with(b"#!") {
        let what = if head.is_empty() { "is empty" } else { "is neither an ELF file nor a script with #!" };
        out.push(finding(&NOT_A_PROGRAM, Some(path.clone()), format!("{what}: it can't be started")));
    }
    Ok(())
}
