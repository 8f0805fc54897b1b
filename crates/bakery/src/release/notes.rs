//! The note of a release, in Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::record::Record;
use recipes::ImageFileName;

/// The contents of the note: all images, new ones first.
///
/// `new` has the names of the files that were added by this run.
pub(crate) fn markdown(title: &str, base_url: &str, records: &[Record], new: &[String]) -> String {
    let mut out = format!("# {title}\n\n");
    let mut extensions: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        extensions.entry(&record.image.name).or_default().push(record);
    }
    let _ = writeln!(
        out,
        "{} extensions, {} images, at <{base_url}>. `SHA256SUMS` has the checksums of all.\n",
        extensions.len(),
        records.len()
    );
    let added: Vec<&Record> = records.iter().filter(|r| new.contains(&r.image.to_string())).collect();
    if !added.is_empty() {
        out.push_str("## New\n\n");
        for record in added {
            let ImageFileName { name, version, arch } = &record.image;
            let _ = writeln!(out, "- {name} {version} ({})", arch.systemd());
        }
        out.push('\n');
    }
    out.push_str("## All\n\n| extension | versions | architectures |\n|---|---|---|\n");
    for (name, records) in &extensions {
        let mut versions: Vec<&str> = records.iter().map(|r| r.image.version.as_str()).collect();
        versions.dedup();
        let mut archs: Vec<&str> = records.iter().map(|r| r.image.arch.systemd()).collect();
        archs.sort_unstable();
        archs.dedup();
        let _ = writeln!(out, "| {name} | {} | {} |", versions.join(", "), archs.join(", "));
    }
    out
}
