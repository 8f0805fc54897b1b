//! What helps after an error. Libraries say what is wrong; the way out is told here.

use oci::source::RootfsError;

use crate::closure::ClosureError;
use crate::plan::{BuildError, PlanError};
use crate::request::RequestError;

/// One line for the user, if there is something to say.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|e| {
        None.or_else(|| e.downcast_ref::<PlanError>().and_then(plan))
            .or_else(|| e.downcast_ref::<RequestError>().and_then(request))
            .or_else(|| e.downcast_ref::<ClosureError>().and_then(closure))
            .or_else(|| e.downcast_ref::<BuildError>().and_then(build))
            .or_else(|| e.downcast_ref::<sysext::ExtensionError>().and_then(extension))
            .or_else(|| e.downcast_ref::<RootfsError>().and_then(|e| e.hint().map(str::to_owned)))
            .or_else(|| e.downcast_ref::<oci::SandboxError>().and_then(oci::SandboxError::hint))
    })
}

fn plan(error: &PlanError) -> Option<String> {
    match error {
        PlanError::Request(e) => request(e),
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
        PlanError::Clash { .. } => Some("give one of them another place: PATH:DEST".to_owned()),
        _ => None,
    }
}

fn request(error: &RequestError) -> Option<String> {
    match error {
        RequestError::NotFound { similar, .. } if !similar.is_empty() => {
            let list: Vec<String> = similar.iter().map(ToString::to_string).collect();
            Some(format!("the image has {}", list.join(", ")))
        }
        RequestError::NotFound { .. } | RequestError::NoMatch(_) => {
            Some("--package P installs a package in the image first, --run CMD runs a command".to_owned())
        }
        RequestError::NoPlace(path) => Some(format!("say where it goes: {path}:/usr/share{path}")),
        RequestError::BadTarget { .. } => Some("an extension can fill /usr and /opt only".to_owned()),
        RequestError::Clash { .. } => Some("give one of them another place: PATH:DEST".to_owned()),
        RequestError::NotAbsolute(text) => Some(format!("paths start with a slash: /usr/bin/{text}")),
        _ => None,
    }
}

fn closure(error: &ClosureError) -> Option<String> {
    match error {
        ClosureError::Missing(_) => Some(
            "--package P installs what has it, --extra-lib PATH names it where it is, --allow-missing goes on without"
                .to_owned(),
        ),
        ClosureError::NoExtraLib(_) => {
            Some("give its path in the image, or install the package that has it with --package".to_owned())
        }
        _ => None,
    }
}

fn build(error: &BuildError) -> Option<String> {
    match error {
        BuildError::Differs { .. } => {
            Some("this is a defect of flix: please report it, with the command line".to_owned())
        }
        _ => None,
    }
}

fn extension(error: &sysext::ExtensionError) -> Option<String> {
    match error {
        sysext::ExtensionError::Refused { findings, .. } => {
            let errors = findings.iter().filter(|f| f.severity == sysext::Severity::Error);
            let mut rules: Vec<&str> = errors.map(|f| f.rule).collect();
            rules.dedup();
            let allow: Vec<String> = rules.iter().map(|r| format!("--allow {r}")).collect();
            Some(format!("PATH:DEST gives a file another place; {} takes the risk", allow.join(" ")))
        }
        _ => None,
    }
}
