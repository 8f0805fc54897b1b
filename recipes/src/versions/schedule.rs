//! The schedule of Kubernetes' releases. A list of maps, one per minor version that is supported:
//!
//! ```yaml
//! schedules:
//! - release: "1.32"
//!   previousPatches:
//!   - release: 1.32.2
//!     targetDate: "2025-02-11"
//! ```

use serde::Deserialize;

use super::ListError;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    schedules: Vec<Schedule>,
}

/// Of a minor version. What is `next:` is not out yet.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Schedule {
    release: String,
    previous_patches: Option<Vec<Patch>>,
}

#[derive(Deserialize)]
struct Patch {
    release: String,
}

/// Minor versions: `1.32`.
pub(super) fn minors(body: &[u8]) -> Result<Vec<String>, ListError> {
    Ok(read(body)?.into_iter().map(|schedule| schedule.release).collect())
}

/// Releases as upstream tags them: `v1.32.2`. A minor version without patches has its `.0`.
pub(super) fn releases(body: &[u8]) -> Result<Vec<String>, ListError> {
    let out = read(body)?.into_iter().flat_map(|Schedule { release: minor, previous_patches }| {
        let patches = previous_patches.unwrap_or_default();
        let first = patches.is_empty().then(|| format!("v{minor}.0"));
        first.into_iter().chain(patches.into_iter().map(|p| format!("v{}", p.release)))
    });
    Ok(out.collect())
}

fn read(body: &[u8]) -> Result<Vec<Schedule>, ListError> {
    let text = std::str::from_utf8(body).map_err(|_| ListError::Encoding)?;
    let file: File = serde_saphyr::from_str(text).map_err(|e| ListError::Malformed(e.to_string()))?;
    if file.schedules.is_empty() { Err(ListError::Schedule) } else { Ok(file.schedules) }
}
