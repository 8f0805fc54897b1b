//! The feed of new images. Atom, RFC 4287.

use maud::{Markup, PreEscaped, html};

use super::{INDEX, Image, Page, SiteEntry, href, shown, size};

/// Entries; older ones are left to the pages.
const LIMIT: usize = 100;

/// A version of an extension, with its images.
struct Release<'a> {
    /// The last day on which one of its images was released.
    day: &'a str,
    entry: &'a SiteEntry,
    version: &'a str,
    images: Vec<&'a Image>,
}

/// The feed's text: an entry for each version whose day of release is known, the newest first. The same data gives the same
/// bytes.
pub fn atom(page: &Page) -> String {
    let mut releases: Vec<Release<'_>> = Vec::new();
    for (entry, _) in shown(page) {
        for image in &entry.images {
            let Some(day) = image.released.as_deref() else { continue };
            // Images of one version follow each other.
            let last = releases.last_mut();
            match last.filter(|r| r.entry.name == entry.name && r.version == image.version) {
                Some(release) => {
                    release.day = release.day.max(day);
                    release.images.push(image);
                }
                None => releases.push(Release { day, entry, version: &image.version, images: vec![image] }),
            }
        }
    }
    // A stable sort: of one day in the order of the page.
    releases.sort_by(|a, b| b.day.cmp(a.day));
    releases.truncate(LIMIT);
    let base = page.base_url.trim_end_matches('/');
    // Without an entry there is no day, and the feed has to have one.
    let updated = releases.first().map_or("1970-01-01", |release| release.day);
    let feed = html! {
        feed xmlns="http://www.w3.org/2005/Atom" {
            "\n" title { (page.title) }
            "\n" id { (base) "/" }
            "\n" (link(INDEX))
            "\n" updated { (time(updated)) }
            "\n" author { name { (page.title) } }
            @for release in &releases { "\n" (entry(base, release)) }
            "\n"
        }
    };
    format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n{}\n", feed.into_string())
}

fn entry(base: &str, release: &Release<'_>) -> Markup {
    let (name, version) = (&release.entry.name, release.version);
    let page = href(&format!("{name}/{INDEX}"));
    let images: Vec<String> =
        release.images.iter().map(|image| format!("{} ({})", image.arch, size(image.size))).collect();
    html! {
        entry {
            "\n" title { (name) " " (version) }
            // Stays the same for ever.
            "\n" id { (base) "/" (page) "#" (href(version)) }
            "\n" (link(&page))
            "\n" updated { (time(release.day)) }
            "\n" summary { (release.entry.summary) ". " (images.join(", ")) }
            @if !release.entry.category.is_empty() {
                "\n" (PreEscaped("<category term=\"")) (release.entry.category) (PreEscaped("\"/>"))
            }
            "\n"
        }
    }
}

/// A page beside the feed: pages may be hosted elsewhere than images. HTML's own `link` has no end, which XML's must have.
fn link(page: &str) -> Markup {
    html! { (PreEscaped("<link rel=\"alternate\" href=\"")) (page) (PreEscaped("\"/>")) }
}

/// The day's beginning, RFC 3339.
fn time(day: &str) -> String {
    format!("{day}T00:00:00Z")
}
