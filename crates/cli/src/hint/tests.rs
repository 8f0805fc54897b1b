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
