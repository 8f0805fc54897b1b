//! What helps after an error, on a line of its own. Libraries say what is wrong; the options that mend it are named here.

use std::error::Error;
use std::io;

use elf::RewriteError;
use elf::closure::ClosureError;
use elf::loader::LoaderError;
use image::ImageError;
use sandbox::SandboxError;
use sysext::{ExtensionError, RequestError, Severity};
use tree::TreePath;

use crate::args::OutputPathError;
use crate::root::RootError;

/// What helps against a missing library.
pub(crate) const MISSING: &str = "--package P installs what has it, --extra-lib PATH names it where it is";

/// One line for the user on an error of the libraries, if there is something to say. It looks at this error alone, not at
/// its sources.
pub fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    None.or_else(|| error.downcast_ref::<flix::plan::PlanError>().and_then(flix_plan))
        .or_else(|| error.downcast_ref::<ClosureError>().and_then(closure))
        .or_else(|| error.downcast_ref::<flix::plan::BuildError>().and_then(flix_build))
        .or_else(|| error.downcast_ref::<flatwrap::PlanError>().and_then(flatwrap_plan))
        .or_else(|| error.downcast_ref::<RootError>().and_then(root))
        .or_else(|| error.downcast_ref::<RequestError>().and_then(request))
        .or_else(|| error.downcast_ref::<ExtensionError>().and_then(extension))
        .or_else(|| error.downcast_ref::<OutputPathError>().and_then(output_path))
        .or_else(|| error.downcast_ref::<ImageError>().and_then(ImageError::hint))
}

fn root(error: &RootError) -> Option<String> {
    match error {
        RootError::Rootfs(e) => e.hint(),
        RootError::Sandbox(e) => e.hint(),
        RootError::Installation { source, similar } => Some(match (similar.as_slice(), source) {
            ([], SandboxError::Install { .. }) => {
                "NAME was tried as a package, since a PATH is missing; --package P names others, --no-install forbids \
                 it, --verbose shows all that the package manager says"
                    .to_owned()
            }
            ([], e) => e.hint().unwrap_or_else(|| {
                "NAME was tried as a package; --package P names others, --no-install forbids it".to_owned()
            }),
            (similar, _) => did_you_mean(similar),
        }),
        RootError::Machine { got, .. } => {
            Some(format!("a tar or directory can't be chosen by --arch; leave it (and ARCH) out for {got}"))
        }
        _ => None,
    }
}

/// The hint for what is almost the name of something there.
fn did_you_mean(similar: &[TreePath]) -> String {
    let list: Vec<String> = similar.iter().map(ToString::to_string).collect();
    format!("did you mean {}? --package P installs a package in the image first", list.join(" or "))
}

fn request(error: &RequestError) -> Option<String> {
    match error {
        RequestError::NotFound { text, similar } if !similar.is_empty() => {
            let name = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            if similar.iter().any(|p| p.file_name() != Some(name.as_bytes())) {
                return Some(did_you_mean(similar));
            }
            let list: Vec<String> = similar.iter().map(ToString::to_string).collect();
            Some(format!("the image has {}", list.join(", ")))
        }
        RequestError::NotFound { .. } | RequestError::NoMatch(_) => {
            Some("--package P installs a package in the image first, --run CMD runs a command".to_owned())
        }
        RequestError::NoPlace(path) => {
            let path = path.to_string();
            let name = path.rsplit('/').next().unwrap_or_default();
            Some(format!(
                "say where it goes: {path}:/usr/bin/{name} for a program, {path}:/usr/share{path} for data"
            ))
        }
        RequestError::BadTarget { .. } => Some("an extension can fill /usr and /opt only".to_owned()),
        RequestError::Clash { .. } => Some("give one of them another place: PATH:DEST".to_owned()),
        RequestError::RelativeTarget { text, .. } => Some(format!(
            "PATH:DEST is /usr/bin/a:/usr/bin/b; a path with a colon in its name needs a destination: {text}:/usr/bin/b"
        )),
        RequestError::NotAbsolute(text) => {
            let text = text.trim_start_matches("./");
            let dir = if text.contains('/') { "/" } else { "/usr/bin/" };
            Some(format!("paths start with a slash: {dir}{text}"))
        }
        _ => None,
    }
}

fn output_path(error: &OutputPathError) -> Option<String> {
    let missing = error.source.kind() == io::ErrorKind::NotFound;
    missing.then(|| format!("mkdir -p {} makes it", error.path.display()))
}

fn extension(error: &ExtensionError) -> Option<String> {
    match error {
        ExtensionError::Refused { findings, .. } => {
            let errors = findings.iter().filter(|f| f.severity == Severity::Error);
            let mut rules: Vec<&str> = errors.map(|f| f.rule).collect();
            rules.dedup();
            let allow: Vec<String> = rules.iter().map(|r| format!("--allow {r}")).collect();
            Some(format!("PATH:DEST gives a file another place; {} takes the risk", allow.join(" ")))
        }
        _ => None,
    }
}

fn flix_plan(error: &flix::plan::PlanError) -> Option<String> {
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

fn flix_build(error: &flix::plan::BuildError) -> Option<String> {
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

fn flatwrap_plan(error: &flatwrap::PlanError) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_nobody_asked_for_is_explained() {
        let failed = || SandboxError::HelperDied(Vec::new());
        let installation = |source| RootError::Installation { source, similar: Vec::new() };
        assert_eq!(hint(&RootError::Sandbox(failed())), None);
        let text = hint(&installation(failed())).unwrap();
        assert_eq!(text, "NAME was tried as a package; --package P names others, --no-install forbids it");
        // What the sandbox itself has to say goes first.
        let text = hint(&installation(SandboxError::NoPackageManager)).unwrap();
        assert!(text.contains("--run"), "{text}");
    }
}
