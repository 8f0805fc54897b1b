//! The schedule of Kubernetes' releases. A list of maps, one per minor version that is supported:
//!
//! ```yaml
//! schedules:
//! - release: "1.32"
//!   previousPatches:
//!   - release: 1.32.2
//!     targetDate: "2025-02-11"
//! ```
//!
//! Of YAML it takes no more than indentation, so that needs no parser of all of it.

use super::ListError;

/// Minor versions: `1.32`.
pub(super) fn minors(body: &[u8]) -> Result<Vec<String>, ListError> {
    Ok(read(body)?.into_iter().map(|(minor, _)| minor).collect())
}

/// Releases as upstream tags them: `v1.32.2`. A minor version without patches has its `.0`.
pub(super) fn releases(body: &[u8]) -> Result<Vec<String>, ListError> {
    let out = read(body)?.into_iter().flat_map(|(minor, patches)| {
        let first = patches.is_empty().then(|| format!("v{minor}.0"));
        first.into_iter().chain(patches.into_iter().map(|p| format!("v{p}")))
    });
    Ok(out.collect())
}

/// Minor versions and the patches that are out. `next:` is not out yet.
fn read(body: &[u8]) -> Result<Vec<(String, Vec<String>)>, ListError> {
    let text = std::str::from_utf8(body).map_err(|_| ListError::Encoding)?;
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    let mut patches = Vec::new();
    let mut minor = None;
    let mut inside = false;
    // The column of the keys of a schedule; None before the first.
    let mut column = None;
    let mut list = "";
    for line in text.lines() {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if content == line && !content.starts_with('-') {
            inside = content.trim_end() == "schedules:";
            continue;
        }
        if !inside {
            continue;
        }
        let item = content.strip_prefix("- ").map(str::trim_start);
        let key = item.unwrap_or(content);
        let at = line.len() - key.len();
        let own = *column.get_or_insert(at);
        if item.is_some() && at == own {
            out.extend(minor.take().map(|m| (m, std::mem::take(&mut patches))));
        }
        let Some((name, value)) = key.split_once(':') else { continue };
        let value = value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        if at == own {
            list = name;
            if name == "release" {
                minor = Some(value.to_owned());
            }
        } else if list == "previousPatches" && name == "release" {
            patches.push(value.to_owned());
        }
    }
    out.extend(minor.map(|m| (m, patches)));
    if out.is_empty() { Err(ListError::Schedule) } else { Ok(out) }
}
