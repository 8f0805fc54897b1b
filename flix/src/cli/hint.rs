//! What helps after an error. Libraries say what is wrong; the way out is told here.

use std::error::Error;

use sysext::extension::HostLibrary;

use crate::plan::{BuildError, Plan, PlanError};
use elf::RewriteError;
use elf::closure::ClosureError;
use elf::loader::LoaderError;

/// What helps against a missing library.
pub(super) const MISSING: &str = "--package P installs what has it, --extra-lib PATH names it where it is";

/// One line for the user, if there is something to say.
pub fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    None.or_else(|| error.downcast_ref::<PlanError>().and_then(plan))
        .or_else(|| error.downcast_ref::<ClosureError>().and_then(closure))
        .or_else(|| error.downcast_ref::<BuildError>().and_then(build))
        .or_else(|| oci::cli::hint(error))
}

/// What helps where a plan only warns.
pub(super) fn warnings(plan: &Plan) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(path) = plan.opened.iter().find_map(|o| o.paths.first()) {
        out.push(match crate::request::allowed(path) && HostLibrary::at(path).is_none() {
            true => {
                format!("libraries opened by path come along there if they are added to the paths: {path}")
            }
            false => format!("no extension can have a library at {path}: flatwrap takes the whole image"),
        });
    }
    if let Some(dir) = plan.unseen.first() {
        out.push(format!("libraries that a program opens by name come along with --extra-lib {dir}"));
    }
    out
}

fn plan(error: &PlanError) -> Option<String> {
    match error {
        PlanError::Request(e) => sysext::cli::hint(e),
        PlanError::Closure(e) => closure(e),
        PlanError::Interpreter { found: Some(found), .. } => Some(format!(
            "add {found} to the paths (with the modules that it needs), or leave the script to the host's with \
             --host-interpreters"
        )),
        PlanError::Interpreter { found: None, .. } => Some(
            "the image does not have it: --package installs it, --host-interpreters leaves the script to the host's"
                .to_owned(),
        ),
        PlanError::Sysroot(_) => Some("leave --sysroot out for /usr/lib/flix/NAME".to_owned()),
        PlanError::CharsetsRoom { .. } => Some("a shorter NAME, or a shorter --sysroot, makes room".to_owned()),
        PlanError::NoCharsets => Some("in Debian and its like they are part of libc6, elsewhere of a package of their own".to_owned()),
        PlanError::Clash { .. } | PlanError::Below { .. } => Some("give one of them another place: PATH:DEST".to_owned()),
        _ => None,
    }
}

fn closure(error: &ClosureError) -> Option<String> {
    match error {
        ClosureError::Missing(missing) if missing.iter().any(|m| m.elsewhere.is_some()) => {
            let place = missing.iter().find_map(|m| m.elsewhere.as_ref())?;
            Some(format!("the image has {place}, where nothing looks for it: --extra-lib {place} takes it along"))
        }
        ClosureError::Missing(_) => Some(format!("{MISSING}, --allow-missing goes on without")),
        ClosureError::ManyExtraLibs { .. } => Some("give the path of the one that is meant".to_owned()),
        ClosureError::NoExtraLib(_) => {
            Some("give its path in the image, or install the package that has it with --package".to_owned())
        }
        ClosureError::Packed { path } => Some(format!(
            "unpack it in the image: --package upx-ucl (Debian's name, upx elsewhere) --run 'upx -d {path}'; flatwrap runs it \
             as it is"
        )),
        ClosureError::Loader { source: LoaderError::Stub { .. }, .. } => Some(
            "the program is made for glibc and the image makes do with musl (gcompat): take it from an image with glibc, or \
             a build of it for musl; flatwrap takes the whole image"
                .to_owned(),
        ),
        ClosureError::Loader { source: LoaderError::Unknown { .. }, .. } => {
            Some("flatwrap takes the whole image, with whatever loader it has".to_owned())
        }
        _ => None,
    }
}

fn build(error: &BuildError) -> Option<String> {
    match error {
        BuildError::Differs { .. } => {
            Some("this is a defect of flix: please report it, with the command line".to_owned())
        }
        BuildError::Rewrite { source: RewriteError::Payload { .. }, .. } => Some(
            "a shorter --sysroot may fit; flatwrap runs such a program as it is, its data where it expects them"
                .to_owned(),
        ),
        _ => None,
    }
}
