use sandbox::{Cause, Mode, SandboxError, Unavailable};

use super::*;
use crate::root::RootError;

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

#[test]
fn an_unavailable_sandbox_says_how_to_allow_it() {
    for (cause, words) in [
        (Some(Cause::MaxUserNamespaces), "sysctl user.max_user_namespaces=15000"),
        (Some(Cause::UnprivilegedUsernsClone), "userns_clone=1"),
        (Some(Cause::AppArmor), "AppArmor profile"),
        (None, "seccomp=unconfined"),
    ] {
        let step = "new user name space".to_owned();
        let message = "no space left on device".into();
        let error = SandboxError::Unavailable(vec![Unavailable { mode: Mode::Single, step, message, cause }]);
        let text = hint(&error).unwrap();
        assert!(text.contains(words), "{cause:?}: {text}");
    }
}

#[test]
fn a_missing_tool_is_named_with_its_package() {
    let error = image::ImageError::NoTool { tool: "mkfs.of-tomorrow", package: "tomorrow-utils" };
    assert_eq!(hint(&error).unwrap(), "install tomorrow-utils, or take --format squashfs");
}

#[test]
fn what_is_missing_in_the_sandbox_or_the_source_is_named() {
    let machine = SandboxError::WrongMachine { program: "/bin/vax".to_owned(), machine: "VAX".to_owned() };
    assert!(hint(&machine).unwrap().contains("qemu-user-static"));
    let step = "mount of /proc".to_owned();
    let hidden = Unavailable { mode: Mode::Root, step, message: "refused".into(), cause: None };
    assert!(hint(&SandboxError::Unavailable(vec![hidden])).unwrap().contains("unmask=ALL"));
    let example = "oci:x:one".to_owned();
    let several = oci::SourceError::Several { path: "x".into(), names: "one, two".to_owned(), example };
    assert_eq!(hint(&several).unwrap(), "name one of them, such as oci:x:one");
}

#[test]
fn a_unit_that_is_missing_is_found_among_those_that_are_there() {
    let missing = |units: &[&str]| services::StartError::Missing {
        unit: "x.service".to_owned(),
        units: units.iter().map(|u| (*u).to_owned()).collect(),
    };
    let found = hint(&missing(&["a.service", "b.socket"])).unwrap();
    assert_eq!(found, "the extension has a.service, b.socket");
    assert!(hint(&missing(&[])).unwrap().contains("package:NAME"));
    let taken = services::ServicesError::Taken("/usr/lib/tmpfiles.d/x-setup.conf".parse().unwrap());
    assert!(hint(&taken).unwrap().contains("--no-service-files"));
}

#[test]
fn a_name_in_the_wrong_place_is_explained() {
    for (text, expected) in [("/usr/bin/jq", "jq"), ("ghcr.io/a/b:1", "b"), ("alpine:latest", "alpine")] {
        let error = crate::args::extension_name(text).unwrap_err();
        let found = hint(&error).unwrap();
        assert_eq!(
            found,
            format!("the order is IMAGE NAME PATH: NAME is the extension's own, such as {expected}")
        );
    }
    assert_eq!(hint(&crate::args::extension_name("a b").unwrap_err()), None);
}
