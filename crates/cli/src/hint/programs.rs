//! Hints on the plans of flix and flatwrap.

use elf::RewriteError;
use elf::closure::ClosureError;
use elf::loader::LoaderError;

use super::extension::request;

/// What helps against a text that names a moved program.
pub(crate) const TEXTS: &str = "--run 'sed -i …' changes a text in the image first";

/// What helps against a missing library.
pub(crate) const MISSING: &str =
    "--package P installs the package that contains it, --extra-lib PATH adds it from another path";

pub(super) fn flix_plan(error: &flix::plan::PlanError) -> Option<String> {
    match error {
        flix::plan::PlanError::Request(e) => request(e),
        flix::plan::PlanError::Closure(e) => closure(e),
        flix::plan::PlanError::Interpreter { found: Some(found), .. } => Some(format!(
            "add {found} to the paths (with the modules that it needs), or leave the script to the host's with \
             --host-interpreters"
        )),
        flix::plan::PlanError::Interpreter { found: None, .. } => Some(
            "the image does not have it: --package installs it, --host-interpreters leaves the script to the host's"
                .to_owned(),
        ),
        flix::plan::PlanError::Sysroot(_) => Some("leave --sysroot out for /usr/lib/flix/NAME".to_owned()),
        flix::plan::PlanError::CharsetsRoom { .. } => Some("a shorter NAME, or a shorter --sysroot, makes room".to_owned()),
        flix::plan::PlanError::NoCharsets => Some("in Debian and its like they are part of libc6, elsewhere of a package of their own".to_owned()),
        flix::plan::PlanError::Clash { .. } | flix::plan::PlanError::Below { .. } => Some("give one of them another place: PATH:DEST".to_owned()),
        _ => None,
    }
}

pub(super) fn closure(error: &ClosureError) -> Option<String> {
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

pub(super) fn flix_build(error: &flix::plan::BuildError) -> Option<String> {
    match error {
        flix::plan::BuildError::Differs { .. } => {
            Some("this is a defect of flix: please report it, with the command line".to_owned())
        }
        flix::plan::BuildError::Rewrite { source: RewriteError::Payload { .. }, .. } => Some(
            "a shorter --sysroot may fit; flatwrap runs such a program as it is, its data where it expects them"
                .to_owned(),
        ),
        _ => None,
    }
}

pub(super) fn flatwrap_plan(error: &flatwrap::PlanError) -> Option<String> {
    match error {
        flatwrap::PlanError::Request(e) => request(e),
        flatwrap::PlanError::Hides { .. }
        | flatwrap::PlanError::HidesHost { .. }
        | flatwrap::PlanError::InSysroot { .. } => Some("give it another place: PATH:DEST".to_owned()),
        flatwrap::PlanError::BadSysroot(_) => {
            Some("leave --sysroot out for /usr/lib/flatwrap/NAME".to_owned())
        }
        flatwrap::PlanError::Command(_) => {
            Some("leave --entrypoint out, and name the program as a PATH".to_owned())
        }
        _ => None,
    }
}
