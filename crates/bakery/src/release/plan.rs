//! What is to be built for a release.

use serde_json::json;

use recipes::lock::Key;

/// Output format of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum PlanFormat {
    /// For people.
    #[default]
    Table,
    /// A matrix for GitHub Actions, on one line.
    GithubMatrix,
    /// One JSON object a line.
    Json,
}

/// The word that names a build: `NAME@VERSION:ARCH`, as `--only` takes it.
pub(crate) fn word(key: &Key) -> String {
    format!("{}@{}:{}", key.name, key.version, key.arch.systemd())
}

/// A plan's text. `missing` is to be built, `there` was found.
pub(crate) fn text(missing: &[&Key], there: usize, format: PlanFormat) -> String {
    match format {
        PlanFormat::Table => table(missing, there),
        PlanFormat::GithubMatrix => {
            let include: Vec<_> = missing.iter().map(|key| entry(key, true)).collect();
            format!("{}\n", json!({ "include": include }))
        }
        PlanFormat::Json => missing.iter().map(|key| format!("{}\n", entry(key, false))).collect(),
    }
}

fn entry(key: &Key, runner: bool) -> serde_json::Value {
    let arch = key.arch.systemd();
    let mut entry = json!({
        "name": key.name, "version": key.version.as_str(), "arch": arch, "file": key.image_file().to_string(),
        "only": word(key),
    });
    if runner {
        // A machine of the image's own architecture: sources are compiled there.
        entry["runner"] = if arch == "arm64" { "ubuntu-24.04-arm" } else { "ubuntu-24.04" }.into();
    }
    entry
}

/// So many images, in words.
pub(crate) fn images(n: usize) -> String {
    if n == 1 { "1 image".to_owned() } else { format!("{n} images") }
}

fn table(missing: &[&Key], there: usize) -> String {
    let mut out = String::new();
    let name = missing.iter().map(|k| k.name.len()).max().unwrap_or(0);
    let version = missing.iter().map(|k| k.version.as_str().len()).max().unwrap_or(0);
    for key in missing {
        out.push_str(&format!("{:name$}  {:version$}  {}\n", key.name, key.version.as_str(), key.arch));
    }
    match (missing.len(), there) {
        (0, there) => out.push_str(&format!("nothing to build: {} there already\n", images(there))),
        (n, 0) => out.push_str(&format!("{} to build\n", images(n))),
        (n, there) => out.push_str(&format!("{} to build, {there} there already\n", images(n))),
    }
    out
}
