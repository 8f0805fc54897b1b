//! Hints on getting a root file system: registries, files, commands in it.

use oci::{ClientError, ManifestError, PolicyError, PullCause, PullError};
use oci::{RootfsError, SourceError};
use sandbox::{Cause, Exceeded, Mode, SandboxError, Status, Unavailable};
use store::{CacheError, HttpError};

use crate::package_selection::PackagesError;
use packages::ClosureError;

use super::extension::did_you_mean;
use crate::root::RootError;

pub(super) fn root(error: &RootError) -> Option<String> {
    match error {
        RootError::Rootfs(e) => rootfs(e),
        RootError::Sandbox(e) => sandbox(e),
        RootError::Installation { source, similar } => Some(match (similar.as_slice(), source) {
            ([], SandboxError::Install { .. }) => {
                "NAME was tried as a package, since a PATH is missing; --package P names others, --no-install forbids \
                 it, --verbose shows all that the package manager says"
                    .to_owned()
            }
            ([], e) => sandbox(e).unwrap_or_else(|| {
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

pub(super) fn cache(error: &CacheError) -> Option<String> {
    match error {
        CacheError::Unsafe { .. } => Some(
            "name another directory with --cache-dir, or make this one the user's own (chown, chmod go-w) if nobody \
             else has put anything in it"
                .to_owned(),
        ),
        _ => None,
    }
}

pub(super) fn rootfs(error: &RootfsError) -> Option<String> {
    match error {
        RootfsError::Pull(e) => pull(e),
        RootfsError::Source(e) => source(e),
        _ => None,
    }
}

pub(super) fn source(error: &SourceError) -> Option<String> {
    match error {
        SourceError::Platform { .. }
        | SourceError::Manifest { source: ManifestError::NoPlatform { .. }, .. } => {
            Some("pass --arch for another architecture".into())
        }
        SourceError::Several { example, .. } | SourceError::NoImage { example, .. } => {
            Some(format!("name one of them, such as {example}"))
        }
        SourceError::Policy { source, .. } => Some(policy(source)),
        _ => None,
    }
}

pub(super) fn pull(error: &PullError) -> Option<String> {
    match &error.cause {
        PullCause::Offline { .. } => return Some("run once without --offline".to_owned()),
        PullCause::Platform { .. } => return Some("pass --arch for another architecture".to_owned()),
        PullCause::Policy(e) => return Some(policy(e)),
        _ => {}
    }
    match error.client()? {
        ClientError::Denied { .. } => Some("log in with podman or skopeo, or pass --authfile".to_owned()),
        ClientError::Http(HttpError::Connect { refused: true, .. }) => Some(
            "is there a network? HTTPS_PROXY names a proxy, --registries-conf a mirror, and --offline uses what is in \
             the cache"
                .to_owned(),
        ),
        ClientError::Http(HttpError::PlainHttp { .. }) => {
            Some("pass --insecure HOST[:PORT], or mark it in registries.conf".to_owned())
        }
        ClientError::Http(HttpError::WithoutTls { .. }) => Some(
            "pass --insecure HOST[:PORT] for that host too, if you trust the network path to it".to_owned(),
        ),
        ClientError::Http(HttpError::Tls { .. }) => {
            Some("pass --ca-file if the registry has its own authority".to_owned())
        }
        ClientError::Http(HttpError::Status { status: 429, .. }) => {
            Some("log in for a higher limit, or set up a mirror".to_owned())
        }
        _ => None,
    }
}

fn policy(error: &PolicyError) -> String {
    match error {
        PolicyError::NotAccepted { reasons, .. } if reasons.iter().any(|r| r.contains("for the name")) => {
            "signedIdentity in the policy says which names count: cosign signs names without a tag, which \
             {\"type\": \"matchRepository\"} accepts"
        }
        PolicyError::NotAccepted { reasons, .. } if reasons.iter().any(|r| r.contains("expired")) => {
            "the image's owner has to sign it again, or publish the key with a later end: put it where the policy's key is"
        }
        PolicyError::Unsigned { .. } => {
            "registries.d names the places of OpenPGP signatures; cosign's are at the registry, under the tag sha256-….sig"
        }
        _ => "containers-policy.json(5) explains the rules; --policy names another file",
    }
    .to_owned()
}

pub(super) fn packages(error: &PackagesError) -> Option<String> {
    match error {
        PackagesError::Closure(ClosureError::NotInstalled { provided_by, .. }) => {
            Some(match provided_by.first() {
                Some(name) => format!("{name} provides it: package:{name}"),
                None => {
                    "the image's package manager may use another name for it; --package P installs packages, and a \
                         package is installed automatically unless --no-install is given or the image is this machine (dir:/)"
                        .to_owned()
                }
            })
        }
        PackagesError::NoDatabase { .. } | PackagesError::Database(_) => {
            Some("give its files as PATHs, or find them with --trace 'COMMAND'".to_owned())
        }
        _ => None,
    }
}

pub(super) fn sandbox(error: &SandboxError) -> Option<String> {
    match error {
        SandboxError::Unavailable(tried) => tried.iter().find_map(unavailable),
        SandboxError::WrongMachine { .. } => {
            Some("install qemu-user-static (and binfmt-support), so that the kernel can run programs of other machines".into())
        }
        SandboxError::NoInterpreter { interpreter, .. } if interpreter == "/bin/sh" => {
            Some("the image has no shell; use an image that has one, or add files with another layer".into())
        }
        SandboxError::Failed { status: Status::Exited(127), .. } => Some(
            "the image lacks a program that the command starts: --package P installs the package that contains it".into(),
        ),
        SandboxError::Stopped { exceeded: Exceeded::Time(_), .. } => {
            Some("--timeout gives it more time".into())
        }
        SandboxError::Stopped { exceeded: Exceeded::Full(_), .. } => {
            Some("--cache-prune makes room, --cache-dir names a directory on another disk".into())
        }
        SandboxError::Install { .. } => Some("--verbose shows all that the package manager says".into()),
        SandboxError::Offline { .. } => Some(
            "once without --offline, its result is kept; --rerun and other packages or images take it anew".into(),
        ),
        SandboxError::NoPackageManager => Some("use an image with apk, apt, dnf, zypper or pacman, or --run".into()),
        _ => None,
    }
}

pub(super) fn unavailable(error: &Unavailable) -> Option<String> {
    Some(match error.cause {
        Some(Cause::AppArmor) => {
            "run as root, or `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or give \
            this program an AppArmor profile with `userns,`"
                .into()
        }
        Some(Cause::MaxUserNamespaces) => {
            "run as root, or `sudo sysctl user.max_user_namespaces=15000`".into()
        }
        Some(Cause::UnprivilegedUsernsClone) => {
            "run as root, or `sudo sysctl kernel.unprivileged_userns_clone=1`".into()
        }
        None if error.step.contains("/proc") => {
            "in a container? its engine hides parts of /proc: start it with \
            `--security-opt systempaths=unconfined` (docker) or `--security-opt unmask=ALL` (podman)"
                .into()
        }
        None if error.mode != Mode::Root => "in a container? its engine forbids name spaces: start it with \
            `--security-opt seccomp=unconfined` or `--privileged`"
            .into(),
        Some(_) | None => return None,
    })
}
