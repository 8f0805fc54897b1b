//! The Debian packages that the tests need: `tests/packages.txt`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command;

/// The names in `tests/packages.txt`: one a line, `#` starts a comment.
pub(crate) fn listed() -> Result<Vec<String>> {
    let path = crate::root().join("tests/packages.txt");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Those of `names` that aren't installed.
fn missing(names: &[String]) -> Result<Vec<String>> {
    // dpkg-query exits with 1 if it doesn't know one of the names, and still lists the others.
    let out = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(names)
        .stderr(Stdio::null())
        .output()
        .context("dpkg-query: not started (the tests need Debian 12 or a relative)")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let installed: Vec<&str> = text.lines().filter_map(|l| l.strip_suffix(" installed")).collect();
    Ok(names.iter().filter(|n| !installed.contains(&n.as_str())).cloned().collect())
}

/// Installs what is missing, as root; else says how, and fails.
pub(crate) fn install() -> Result<()> {
    let missing = missing(&listed()?)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "{} Debian packages are missing; as root:\n    apt-get update && apt-get install -y --no-install-recommends {}",
            missing.len(),
            missing.join(" ")
        );
    }
    eprintln!("installing {}", missing.join(" "));
    let apt = || {
        let mut c = Command::new("apt-get");
        c.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-y", "-o", "DPkg::Lock::Timeout=300"]);
        c
    };
    // A new machine has no package lists, or ones that name versions which the mirror no longer has. One source
    // that can't be reached doesn't matter while the packages can be had from the others.
    if !command::status(apt().arg("update"))?.success() {
        eprintln!("warning: apt-get update had errors");
    }
    command::run(apt().args(["install", "--no-install-recommends"]).args(&missing))
}

#[cfg(test)]
mod tests {
    #[test]
    fn comments_and_blanks_are_no_packages() {
        assert_eq!(super::parse("# all\n\nskopeo   # registry\n umoci\n"), ["skopeo", "umoci"]);
    }

    #[test]
    fn what_dpkg_does_not_know_is_missing() {
        let names = ["dpkg".to_owned(), "no-such-package-at-all".to_owned()];
        assert_eq!(super::missing(&names).unwrap(), ["no-such-package-at-all"]);
    }
}
