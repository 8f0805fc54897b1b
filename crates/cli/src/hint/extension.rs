//! Hints on what goes into an extension, and on writing its image.

use host_check::TargetError;
use std::io;

use image::{ImageError, SignerError};
use services::{ServicesError, StartError};
use sysext::extension::NameError;
use sysext::{ExtensionError, RequestError, Severity};
use tree::{HostError, TarError, TreePath};

use crate::args::{NameArgError, OutputPathError, PathArgError};

pub(super) fn name(error: &NameArgError) -> Option<String> {
    match error {
        // A path, or an image, where the name should be.
        NameArgError::Name(NameError::Character(text, '/')) | NameArgError::Colon(text) => {
            let word = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let word = word.split([':', '@']).next().filter(|word| !word.is_empty()).unwrap_or("tool");
            Some(format!("the order is IMAGE NAME PATH: NAME is the extension's own, such as {word}"))
        }
        NameArgError::Name(_) => None,
    }
}

pub(super) fn path_arg(error: &PathArgError) -> Option<String> {
    match error {
        PathArgError::Request(e) => request(e),
        PathArgError::NoName => None,
    }
}

pub(super) fn request(error: &RequestError) -> Option<String> {
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

/// The hint for what is almost the name of something there.
pub(super) fn did_you_mean(similar: &[TreePath]) -> String {
    let list: Vec<String> = similar.iter().map(ToString::to_string).collect();
    format!("did you mean {}? --package P installs a package in the image first", list.join(" or "))
}

pub(super) fn extension(error: &ExtensionError) -> Option<String> {
    match error {
        ExtensionError::Refused { findings, .. } => {
            let errors = findings.iter().filter(|f| f.severity == Severity::Error);
            let mut rules: Vec<&str> = errors.map(|f| f.rule).collect();
            rules.dedup();
            let allow: Vec<String> = rules.iter().map(|r| format!("--allow {r}")).collect();
            Some(format!("PATH:DEST gives a file another place; {} accepts the risk", allow.join(" ")))
        }
        _ => None,
    }
}

pub(super) fn target(error: &TargetError) -> Option<String> {
    match error {
        TargetError::Extension(e) => extension(e),
        _ => None,
    }
}

pub(super) fn start(error: &StartError) -> Option<String> {
    match error {
        StartError::Missing { units, .. } if units.is_empty() => Some(
            "the extension has no units: add the unit to the PATHs, or its package (package:NAME)".to_owned(),
        ),
        StartError::Missing { units, .. } => {
            let list: Vec<&str> = units.iter().take(UNITS_SHOWN).map(String::as_str).collect();
            Some(format!("the extension has {}", list.join(", ")))
        }
        _ => None,
    }
}

/// More units than a line takes aren't listed.
const UNITS_SHOWN: usize = 10;

pub(super) fn services(error: &ServicesError) -> Option<String> {
    match error {
        ServicesError::Taken(_) => Some(
            "give the extension another NAME, or leave out generated files with --no-service-files"
                .to_owned(),
        ),
        _ => None,
    }
}

pub(super) fn output_path(error: &OutputPathError) -> Option<String> {
    let missing = error.source.kind() == io::ErrorKind::NotFound;
    missing.then(|| format!("mkdir -p {} makes it", error.path.display()))
}

pub(super) fn image(error: &ImageError) -> Option<String> {
    match error {
        ImageError::NoTool { package, .. } => {
            Some(format!("install {package}, or take --format squashfs"))
        }
        ImageError::Xattrs { able, .. } => Some(format!("take --format with one of {able}")),
        ImageError::Signer(e) => signer(e),
        ImageError::NoDisk { .. } => Some("take --format squashfs, or leave --verity out".to_owned()),
        ImageError::Tar { source: TarError::XattrName { .. } | TarError::Socket(_), .. } => {
            Some("take --format squashfs".to_owned())
        }
        ImageError::Host(HostError::Xattr { .. }) => Some(
            "--format dir takes root, and a file system with such attributes: another directory, or --format \
             squashfs or tar, which take neither"
                .to_owned(),
        ),
        ImageError::Unstorable { .. } => Some("take --format squashfs".to_owned()),
        _ => None,
    }
}

pub(super) fn signer(error: &SignerError) -> Option<String> {
    match error {
        SignerError::Encrypted { .. } => {
            Some("openssl pkey -in KEY -out PLAIN takes the passphrase off".to_owned())
        }
        SignerError::Key { .. } | SignerError::Pem { .. } => Some(
            "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=NAME -days 3650 -keyout KEY -out CERT makes both"
                .to_owned(),
        ),
        _ => None,
    }
}
