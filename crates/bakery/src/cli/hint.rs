//! What helps after an error. Libraries say what is wrong; the remedy is named here.

use std::collections::BTreeSet;
use std::error::Error;

use sysext::ExtensionError;
use sysext::extension::Severity;

use super::sign_key::SignKeyError;
use crate::release::FormsError;
use crate::release::directory::DirectoryError;
use osimage::vendor::VendorError;
use osimage::{BakeError, Ext4Error, MountError};
use recipes::PackagesError;
use recipes::build::{BuildCause, BuildError};
use recipes::catalogue::CatalogueError;
use recipes::context::ImageUseError;
use recipes::fetch::{FetchCause, FetchError};
use recipes::lock::LockError;
use recipes::pin::{PinCause, PinError};
use recipes::recipe::InstanceError;
use recipes::versions::VersionsError;
use store::HttpError;
use sysext::CompatibilityError;
use sysext::merge_test::MergeTestError;
use vm::MachineError;

/// One line for the user, if there is something to say.
pub fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    None.or_else(|| error.downcast_ref().and_then(fetch))
        .or_else(|| error.downcast_ref().and_then(|e: &PinError| pin(&e.cause)))
        .or_else(|| error.downcast_ref().and_then(|e: &BuildError| build(&e.cause)))
        .or_else(|| error.downcast_ref().and_then(image_use))
        .or_else(|| error.downcast_ref().and_then(instance))
        .or_else(|| error.downcast_ref().and_then(versions))
        .or_else(|| error.downcast_ref().and_then(lock))
        .or_else(|| error.downcast_ref().and_then(catalogue))
        .or_else(|| error.downcast_ref().and_then(directory))
        .or_else(|| error.downcast_ref().map(forms))
        .or_else(|| error.downcast_ref().map(sign_key))
        .or_else(|| error.downcast_ref().and_then(bake))
        .or_else(|| error.downcast_ref().and_then(vendor))
        .or_else(|| error.downcast_ref().and_then(machine))
        .or_else(|| error.downcast_ref().and_then(merge_test))
        .or_else(|| error.downcast_ref().and_then(compatibility))
        .or_else(|| cli::hint(error))
}

fn directory(error: &DirectoryError) -> Option<String> {
    match error {
        DirectoryError::NoRelease { .. } => {
            Some("--empty-place accepts a place without a release".to_owned())
        }
        DirectoryError::Listing { location, .. } => Some(format!(
            "without {location}, the next run takes the days on which images were released for unknown"
        )),
        DirectoryError::Fetch(e) => fetch(e),
        _ => None,
    }
}

fn forms(error: &FormsError) -> String {
    let FormsError { name, plain, with_v, old } = error;
    match old {
        Some(old) => {
            format!(
                "remove {name}/{name}-{old}-* from the release, and other images of that form, to replace them"
            )
        }
        None => format!("remove {name}/{name}-{plain}-* or {name}/{name}-{with_v}-* from the release"),
    }
}

fn sign_key(_: &SignKeyError) -> String {
    "--sign takes what \"gpg --export-secret-keys KEY\" writes of a key that can sign and has no passphrase"
        .to_owned()
}

fn compatibility(error: &CompatibilityError) -> Option<String> {
    match error {
        CompatibilityError::Name { path, got, .. } | CompatibilityError::Ambiguous { path, got } => {
            let name = got.first()?;
            Some(format!("name it so: {name}:{}", path.display()))
        }
        CompatibilityError::Arch { got, .. } => Some(format!(
            "--arch {} makes a machine for it, or take the extension's other image",
            got.systemd()
        )),
        _ => None,
    }
}

fn merge_test(error: &MergeTestError) -> Option<String> {
    Some(match error {
        MergeTestError::NotRoot(_) => {
            "run it as root (sudo), or --vm: a virtual machine doesn't need root".into()
        }
        MergeTestError::Architecture { .. } => "--vm boots a machine of that architecture".into(),
        MergeTestError::NoHost { .. } => "--root DIR names another host's, --vm boots one".into(),
        MergeTestError::Program { program: "unshare", .. } => "install package util-linux".into(),
        _ => return None,
    })
}

const REPLACED: &str =
    "upstream has replaced the file, or somebody changed it on its way; what is pinned is not taken for it";

fn vendor(error: &VendorError) -> Option<String> {
    match error {
        VendorError::NoTool(_) => Some(
            "--vendor hands the image over to the Flatcar SDK: install git and docker, or leave it out for the disk image \
             alone"
                .to_owned(),
        ),
        _ => None,
    }
}

fn bake(error: &BakeError) -> Option<String> {
    Some(match error {
        BakeError::Mount(MountError::NeedsRoot(_)) => {
            "run as root, or put extensions on partition ROOT: --install-to root:/opt/extensions".into()
        }
        BakeError::Ext4(Ext4Error::NoTool { .. }) => "install package e2fsprogs".into(),
        BakeError::Ext4(Ext4Error::NoSpace { .. }) => {
            "leave out extensions, or put them on the other partition: --install-to oem:/extensions".into()
        }
        BakeError::Mount(MountError::NoSpace { .. }) => {
            "leave out extensions, or put them on partition ROOT: --install-to root:/opt/extensions".into()
        }
        BakeError::Gpt { .. } => {
            "expected is a Flatcar disk image: flatcar_production_image.bin, compressed or not".into()
        }
        _ => return None,
    })
}

fn machine(error: &MachineError) -> Option<String> {
    Some(match error {
        MachineError::NoTool("qemu-system-aarch64") => "install package qemu-system-arm".into(),
        MachineError::NoTool(_) => "install package qemu-system-x86".into(),
        MachineError::NoFirmware(_) => "install package qemu-efi-aarch64".into(),
        MachineError::Refused(_) => {
            "\"bakery inspect\" shows which system an extension is for; --image boots a system other than Debian"
                .into()
        }
        MachineError::Limit { .. } => "--timeout SECONDS raises the limit, 0 removes it".into(),
        _ => return None,
    })
}

fn fetch(error: &FetchError) -> Option<String> {
    let mirrored = error.location.as_deref().is_some_and(|p| p != error.url);
    let github = error.location.as_deref().is_some_and(|p| p.starts_with("https://api.github.com/"));
    match &error.cause {
        FetchCause::Offline => Some("run once without --offline".to_owned()),
        FetchCause::NoMirror => Some("see [mirrors] in the configuration".to_owned()),
        FetchCause::Checksum { .. } | FetchCause::Size { .. } => Some(REPLACED.to_owned()),
        FetchCause::Download(e) if e.is_content() => Some(REPLACED.to_owned()),
        FetchCause::Http(e) => match e.as_ref() {
            HttpError::Status { status: 403 | 429, .. } if github => Some(
                "set GITHUB_TOKEN to a token of any account: without one, GitHub allows 60 requests an hour"
                    .to_owned(),
            ),
            HttpError::NotFound { .. } if mirrored => {
                Some("the mirror may lack what upstream has".to_owned())
            }
            HttpError::NotFound { .. } => {
                Some("upstream has no such version, or has moved the file".to_owned())
            }
            HttpError::Connect { refused: true, .. } if !mirrored => {
                Some(
                    "is there a network? HTTPS_PROXY names a proxy, [mirrors] in the configuration other places to \
                     ask, and --offline uses what is in the cache"
                        .to_owned(),
                )
            }
            HttpError::Tls { .. } => {
                Some("ca-files in the configuration names further authorities to trust".to_owned())
            }
            _ => None,
        },
        _ => None,
    }
}

fn pin(error: &PinCause) -> Option<String> {
    match error {
        PinCause::Instance(e) => instance(e),
        PinCause::Versions(e) => versions(e),
        PinCause::Fetch(e) => fetch(e),
        PinCause::ImageUse(e) => image_use(e),
        PinCause::Packages(e) => packages(e),
        _ => None,
    }
}

fn build(error: &BuildCause) -> Option<String> {
    match error {
        BuildCause::Instance(e) => instance(e),
        BuildCause::Fetch(e) => fetch(e),
        BuildCause::ImageUse(e) => image_use(e),
        BuildCause::Packages(e) => packages(e),
        BuildCause::Stale { .. } => {
            Some("\"bakery lock --update NAME VERSION\" pins what the recipe has now".to_owned())
        }
        BuildCause::Assemble { .. } => {
            Some("upstream has another layout in this version: the recipe needs a rule for it".to_owned())
        }
        BuildCause::Extension(e) => refused(e),
        BuildCause::Target(e) => cli::hint(e.as_ref()),
        BuildCause::Image(e) => cli::hint(e.as_ref()),
        BuildCause::FlixPlan(e) => cli::hint(e.as_ref()),
        BuildCause::Flatwrap(e) => cli::hint(e.as_ref()),
        _ => None,
    }
}

/// Rules of the lint. In the recipe there is a better place for what a file's destination is and for what upstream forces on us.
fn refused(error: &ExtensionError) -> Option<String> {
    let ExtensionError::Refused { findings, .. } = error else { return cli::hint(error) };
    let errors: BTreeSet<&str> =
        findings.iter().filter(|f| f.severity == Severity::Error).map(|f| f.rule).collect();
    let host = errors.contains("needs-host-libraries");
    let host = if host { "host-libraries in the recipe names what every host has; " } else { "" };
    let rules =
        |form: fn(&&str) -> String, between| errors.iter().map(form).collect::<Vec<_>>().join(between);
    Some(format!(
        "{host}{} accepts the risk, allow = [{}] in the recipe always does",
        rules(|r| format!("--allow {r}"), " "),
        rules(|r| format!("{r:?}"), ", ")
    ))
}

fn image_use(error: &ImageUseError) -> Option<String> {
    match error {
        ImageUseError::Rootfs(e) => cli::hint(e.as_ref()),
        ImageUseError::Sandbox(e) => cli::hint(e.as_ref()),
        _ => None,
    }
}

fn packages(error: &PackagesError) -> Option<String> {
    match error {
        PackagesError::Image(e) => image_use(e),
        PackagesError::Fetch(e) if e.is_not_found() => Some(
            "distributions remove old packages: \"bakery lock --update NAME VERSION\" pins those of now, and [mirrors] in the \
             configuration names places that keep old ones"
                .to_owned(),
        ),
        PackagesError::Fetch(e) => fetch(e),
        _ => None,
    }
}

fn instance(error: &InstanceError) -> Option<String> {
    match error {
        InstanceError::NoValue { name, .. } => Some(format!("--set {name}=… gives it one")),
        InstanceError::Parameter { .. } | InstanceError::Component { .. } => {
            Some("\"bakery list -v\" lists parameters and components".to_owned())
        }
        _ => None,
    }
}

fn versions(error: &VersionsError) -> Option<String> {
    match error {
        VersionsError::Ask { source, .. } => source.downcast_ref().and_then(fetch),
        _ => None,
    }
}

fn lock(error: &LockError) -> Option<String> {
    match error {
        LockError::NotPinned { .. } => {
            Some("\"bakery lock\" with the same words pins it, --update does both".to_owned())
        }
        _ => None,
    }
}

fn catalogue(error: &CatalogueError) -> Option<String> {
    match error {
        CatalogueError::Unknown { .. } => {
            Some("\"bakery list\" names them all, --recipes DIR adds others".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn githubs_limit_has_its_hint_in_every_command() {
        let api = "https://api.github.com/repos/a/b/releases";
        let refused = |location: &str, status| {
            let (url, location) = (api.to_owned(), Some(location.to_owned()));
            let status =
                HttpError::Status { url: api.into(), status, message: String::new(), retry_after: None };
            FetchError { url, location, cause: FetchCause::Http(Box::new(status)), others: Vec::new() }
        };
        for status in [403, 429] {
            assert!(hint(&refused(api, status)).unwrap().contains("GITHUB_TOKEN"), "{status}");
            let of_list = VersionsError::Ask { recipe: "x".into(), source: Box::new(refused(api, status)) };
            assert!(hint(&of_list).unwrap().contains("GITHUB_TOKEN"), "{status}");
        }
        assert_eq!(hint(&refused("https://mirror.example.org/releases", 403)), None);
        assert_eq!(hint(&refused(api, 500)), None);
    }

    #[test]
    fn an_image_that_cant_be_written_has_its_hint() {
        let cause =
            BuildCause::Image(Box::new(image::ImageError::NoTool { tool: "mkfs.x", package: "x-tools" }));
        assert_eq!(build(&cause).unwrap(), "install x-tools, or take --format squashfs");
    }
}
