//! `NAME/index.json`: what a release has of an extension, for programs, and the days on which its images were released.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::site::SiteEntry;

/// The file's name.
pub(crate) const LISTING: &str = "index.json";

#[derive(Serialize)]
struct Listing<'a> {
    name: &'a str,
    summary: &'a str,
    homepage: &'a str,
    licence: &'a str,
    category: &'a str,
    images: Vec<ListedImage<'a>>,
}

#[derive(Serialize)]
struct ListedImage<'a> {
    version: &'a str,
    architecture: &'a str,
    file: &'a str,
    size: u64,
    sha256: &'a str,
    released: Option<&'a str>,
}

/// The text for an extension. The same data gives the same bytes.
///
/// # Errors
/// serde_json's, which has no reason for one.
pub(crate) fn text(entry: &SiteEntry) -> Result<String, serde_json::Error> {
    let images = entry.images.iter().map(|image| ListedImage {
        version: &image.version,
        architecture: &image.arch,
        file: &image.file,
        size: image.size,
        sha256: &image.sha256,
        released: image.released.as_deref(),
    });
    let listing = Listing {
        name: &entry.name,
        summary: &entry.summary,
        homepage: &entry.homepage,
        licence: &entry.licence,
        category: &entry.category,
        images: images.collect(),
    };
    Ok(serde_json::to_string_pretty(&listing)? + "\n")
}

/// What is read again of it: the days. Other versions of this program may write more.
#[derive(Deserialize)]
struct Days {
    images: Vec<Day>,
}

#[derive(Deserialize)]
struct Day {
    file: String,
    released: Option<String>,
}

/// The days of an extension's images, by file name; None where none is known.
///
/// # Errors
/// The text is no such file, or has something else in a day's place.
pub(crate) fn days(text: &[u8]) -> Result<BTreeMap<String, Option<String>>, serde_json::Error> {
    let days: Days = serde_json::from_slice(text)?;
    let one = |day: Day| {
        let parsed = day.released.map(|text| text.parse::<jiff::civil::Date>()).transpose();
        let parsed = parsed.map_err(<serde_json::Error as serde::de::Error>::custom)?;
        Ok((day.file, parsed.map(|date| date.to_string())))
    };
    days.images.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_days() {
        let text =
            |day: &str| format!("{{\"images\":[{{\"file\":\"a.raw\",\"released\":{day},\"more\":1}}]}}");
        let good = days(text("\"2026-11-27\"").as_bytes()).unwrap();
        assert_eq!(good["a.raw"].as_deref(), Some("2026-11-27"));
        assert_eq!(days(text("null").as_bytes()).unwrap()["a.raw"], None);
        for bad in ["\"<script>\"", "\"2026-13-01\"", "3"] {
            assert!(days(text(bad).as_bytes()).is_err(), "{bad}");
        }
        assert!(days(b"[]").is_err());
    }
}
