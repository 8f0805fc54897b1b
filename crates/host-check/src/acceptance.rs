//! Whether systemd-sysext merges an extension at all.

use sysext::lint::release_file::{self, ReleaseFile};
use tree::{ContentError, StaticPath};

use crate::{Extension, Host};

/// What systemd-sysext does with an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acceptance {
    /// It is merged.
    Merged,
    /// It is left out, and the others are merged.
    Ignored(String),
    /// Nothing is merged, not even the others.
    Aborts(String),
}

/// `ID=_any`, `ARCHITECTURE=_any`. os-release(5).
const ANY: &str = "_any";
const OS_RELEASE: StaticPath = StaticPath::new("/usr/lib/os-release");

/// Holds an extension's release file against the host's os-release, as systemd does. os-release(5), systemd-sysext(8).
///
/// # Errors
/// The release file can't be read.
pub fn acceptance(host: &Host, extension: &Extension<'_>) -> Result<Acceptance, ContentError> {
    let Some(file) = release_file::find(extension.tree, &extension.name)? else {
        let why = match release_file::names(extension.tree).as_slice() {
            [] => "it has no release file".to_owned(),
            names => {
                format!(
                    "it is merged as {}, and its release file is for {}",
                    extension.name,
                    names.join(", ")
                )
            }
        };
        return Ok(match extension.is_directory {
            true => Acceptance::Ignored(why),
            false => Acceptance::Aborts(why),
        });
    };
    if extension.tree.contains(&OS_RELEASE.path()) {
        return Ok(Acceptance::Ignored(format!(
            "it contains {}, which systemd refuses",
            OS_RELEASE.as_str()
        )));
    }
    Ok(match refusal(host, &file) {
        Some(why) => Acceptance::Ignored(why),
        None => Acceptance::Merged,
    })
}

/// Why the release file doesn't fit the host.
fn refusal(host: &Host, file: &ReleaseFile) -> Option<String> {
    let field = |name: &str| file.fields.get(name).map(String::as_str).filter(|v| !v.is_empty());
    if let Some(scope) = file.fields.get("SYSEXT_SCOPE")
        && !scope.split_whitespace().any(|word| word == "system")
    {
        return Some(format!("SYSEXT_SCOPE={scope:?} doesn't contain system"));
    }
    if let (Some(arch), Some(own)) = (field("ARCHITECTURE"), host.architecture)
        && arch != ANY
        && arch != own.systemd()
    {
        return Some(format!("it is for ARCHITECTURE={arch}, and the host is {}", own.systemd()));
    }
    let Some(id) = field("ID") else { return Some("its release file has no ID".to_owned()) };
    if id == ANY {
        return None;
    }
    let own = host.field("ID");
    if own != Some(id) {
        // systemd 258.
        let alike = host.field("ID_LIKE").is_some_and(|like| like.split_whitespace().any(|word| word == id));
        let shown = own.unwrap_or("linux");
        match (alike, host.systemd) {
            (true, Some(258..) | None) => {}
            (true, Some(old)) => {
                return Some(format!(
                    "it is for ID={id}, and the host is {shown}: systemd {old} doesn't compare ID_LIKE, 258 does"
                ));
            }
            (false, _) => return Some(format!("it is for ID={id}, and the host is {shown}")),
        }
    }
    match (host.field("SYSEXT_LEVEL"), field("SYSEXT_LEVEL"), host.field("VERSION_ID"), field("VERSION_ID")) {
        (Some(own), Some(level), ..) if own == level => None,
        (Some(own), Some(level), ..) => {
            Some(format!("it is for SYSEXT_LEVEL={level}, and the host has {own}"))
        }
        // A rolling release.
        (_, _, None, _) => None,
        (_, _, Some(own), Some(version)) if own == version => None,
        (_, _, Some(own), Some(version)) => {
            Some(format!("it is for VERSION_ID={version}, and the host has {own}"))
        }
        (_, level, Some(own), None) => Some(match level {
            Some(level) => format!(
                "it is for SYSEXT_LEVEL={level}, the host has none, and without VERSION_ID={own} it isn't merged"
            ),
            None => format!("it names neither the host's VERSION_ID={own} nor a SYSEXT_LEVEL"),
        }),
    }
}
