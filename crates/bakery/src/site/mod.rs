//! The pages of a release: the catalogue and a page for each extension, each one HTML file without external parts, complete
//! without scripts, and the feed of what is new.
//!
//! A page lists extensions with their images, sizes and checksums, and snippets that can be copied as they are. With
//! scripts the catalogue can be searched, filtered by category and architecture, and shows the snippets of the version that was
//! chosen.

use std::collections::BTreeSet;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;
use store::http::form_encode;

mod about;

mod feed;
pub use feed::atom;

#[cfg(test)]
mod tests;

/// What the page shows.
#[derive(Debug, Clone)]
pub struct Page {
    /// The page's heading.
    pub title: String,
    /// The URL of the release, with a slash at its end.
    pub base_url: String,
    /// What links to images start with: nothing if the page lies in the directory of the release, else `base_url`.
    pub links: String,
    /// In the order shown.
    pub entries: Vec<SiteEntry>,
    /// Whether manifests are signed.
    pub signed: bool,
}

/// An extension of the page.
#[derive(Debug, Clone)]
pub struct SiteEntry {
    /// The extension's name.
    pub name: String,
    /// One line.
    pub summary: String,
    /// The upstream project's page, empty if there is none.
    pub homepage: String,
    /// SPDX expression, empty if unknown.
    pub licence: String,
    /// How the sources were verified, in a word or two.
    pub verified: String,
    /// Its category for people, empty if it has none.
    pub category: String,
    /// Words by which it is found.
    pub keywords: Vec<String>,
    /// What it does to a host.
    pub about: About,
    /// Newest first. An extension without images isn't shown.
    pub images: Vec<Image>,
    /// The snippets of the first image.
    pub snippets: Vec<Snippet>,
}

/// What an operator asks before an extension is merged.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Units that start by themselves.
    pub starts: Vec<String>,
    /// Its other units.
    pub units: Vec<String>,
    /// Extensions that can't be merged together with it.
    pub conflicts: Vec<String>,
    /// Extensions that have to be merged with it.
    pub requires: Vec<String>,
    /// Absolute paths of programs and other files, as patterns where they are.
    pub files: Vec<String>,
    /// Names that it had before.
    pub aliases: Vec<String>,
    /// Paragraphs of Markdown, of which words between backquotes are shown as code.
    pub notes: String,
}

/// An image of an extension.
#[derive(Debug, Clone, Serialize)]
pub struct Image {
    /// As in the file's name.
    pub version: String,
    /// systemd's name of the architecture.
    pub arch: String,
    /// The file's name; in the release it is in the extension's directory, with its SBOM and provenance.
    pub file: String,
    /// Bytes.
    pub size: u64,
    /// 64 hexadecimal digits.
    pub sha256: String,
    /// The day on which it was released, as in `2026-11-27`, if it is known.
    pub released: Option<String>,
    /// The beginning of the versions that the snippets stay on, `v1.32`; empty if they follow all.
    pub series: String,
}

/// Text to copy. It names the first image's file and checksum; the page puts other images' in their place.
#[derive(Debug, Clone)]
pub struct Snippet {
    /// What it is: "Butane", …
    pub title: String,
    /// The text.
    pub text: String,
}

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Where a card is shown.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// On the extension's own page, all of it is open.
    alone: bool,
    /// The names of all extensions, which have pages.
    names: &'a BTreeSet<&'a str>,
    /// What links to images start with.
    links: &'a str,
}

impl Place<'_> {
    /// The page of another extension, seen from here.
    fn page(&self, name: &str) -> String {
        let up = if self.alone { "../" } else { "" };
        format!("{up}{}", href(&format!("{name}/{INDEX}")))
    }
}

/// The name of each page in its directory.
pub const INDEX: &str = "index.html";
/// The feed's name, beside the catalogue's page.
pub const FEED: &str = "feed.xml";

fn shown(page: &Page) -> impl Iterator<Item = (&SiteEntry, &Image)> {
    page.entries.iter().filter_map(|e| Some((e, e.images.first()?)))
}

/// The text of the catalogue's page. The same data gives the same bytes.
///
/// # Errors
/// serde_json's, which has no reason for one.
pub fn html(page: &Page) -> Result<String, serde_json::Error> {
    let archs: BTreeSet<&str> =
        shown(page).flat_map(|(e, _)| e.images.iter().map(|i| i.arch.as_str())).collect();
    let categories: BTreeSet<&str> =
        shown(page).map(|(e, _)| e.category.as_str()).filter(|c| !c.is_empty()).collect();
    let names: BTreeSet<&str> = shown(page).map(|(e, _)| e.name.as_str()).collect();
    let place = Place { alone: false, names: &names, links: &page.links };
    let cards: Vec<Markup> =
        shown(page).map(|(entry, first)| card(entry, first, place)).collect::<Result<_, _>>()?;
    let count = match cards.len() {
        1 => "1 extension".to_owned(),
        n => format!("{n} extensions"),
    };
    let body = html! {
        a class="skip" href="#catalogue" { "Skip to the catalogue" }
        header {
            h1 { (page.title) }
            p class="lead" {
                "System extensions for " code { "systemd-sysext" }
                ": each is one read-only image that adds a program to an immutable host."
            }
            (filter(&archs, &categories, &count))
        }
        "\n"
        main id="catalogue" class="cards" tabindex="-1" {
            "\n"
            @for card in cards { (card) "\n" }
            p id="nothing" hidden { "No extension matches. " button type="button" id="reset" { "Show all" } }
        }
        "\n"
        (footer(page, ""))
    };
    Ok(document(&page.title, "", &body))
}

/// The text of an extension's own page, which lies in the extension's directory. None: it has no images.
///
/// # Errors
/// serde_json's, which has no reason for one.
pub fn extension(page: &Page, entry: &SiteEntry) -> Result<Option<String>, serde_json::Error> {
    let Some(first) = entry.images.first() else { return Ok(None) };
    let names: BTreeSet<&str> = shown(page).map(|(e, _)| e.name.as_str()).collect();
    let links = if page.links.is_empty() { "../" } else { &page.links };
    let body = html! {
        header {
            nav aria-label="Breadcrumb" { a href={ "../" (INDEX) } { (page.title) } }
        }
        "\n"
        main { "\n" (card(entry, first, Place { alone: true, names: &names, links })?) "\n" }
        "\n"
        (footer(page, "../"))
    };
    Ok(Some(document(&format!("{} · {}", entry.name, page.title), "../", &body)))
}

/// A whole page. `up` leads to the directory of the catalogue.
fn document(title: &str, up: &str, body: &Markup) -> String {
    let markup = html! {
        (DOCTYPE) "\n"
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content="bakery";
                title { (title) }
                link rel="icon" href="data:,";
                link rel="alternate" type="application/atom+xml" title="New images" href={ (up) (FEED) };
                style { "\n" (PreEscaped(STYLE)) }
            }
            "\n"
            body {
                (body)
                script { "\n" (PreEscaped(SCRIPT)) }
            }
        }
        "\n"
    };
    markup.into_string()
}

/// The search and the filter, which only scripts show.
fn filter(archs: &BTreeSet<&str>, categories: &BTreeSet<&str>, count: &str) -> Markup {
    html! {
        form class="tools" role="search" id="tools" hidden {
            label class="search" {
                span { "Search" } " "
                input type="search" id="search" name="q" autocomplete="off" spellcheck="false"
                    placeholder="name, description, unit or file";
            }
            @if categories.len() > 1 {
                label class="category" {
                    span { "Category" } " "
                    select id="category" {
                        option value="" { "All" }
                        @for category in categories { option { (category) } }
                    }
                }
            }
            fieldset id="arch" {
                legend { "Architecture" }
                (choice("", "All", true))
                @for arch in archs { (choice(arch, arch, false)) }
            }
            output id="count" for="search" role="status" { (count) }
        }
    }
}

/// A radio button of the filter.
fn choice(value: &str, label: &str, checked: bool) -> Markup {
    html! {
        label { input type="radio" name="arch" value=(value) checked[checked]; span { (label) } } " "
    }
}

fn footer(page: &Page, up: &str) -> Markup {
    html! {
        footer {
            p {
                "Every extension's directory has its checksums in " code { "SHA256SUMS" }
                @if page.signed { ", signed in " code { "SHA256SUMS.gpg" } }
                ". This catalogue's address is " code { (page.base_url) } "."
            }
            p {
                "“Sources verified by” names what upstream's files were held against when they were pinned. Each image has a list of what is "
                "in it (SBOM, SPDX) and of the files that it was made of, with their digests (provenance, SLSA)."
            }
            p { "New images are announced in the " a href={ (up) (FEED) } { "Atom feed" } "." }
        }
    }
}

/// What is shown of an extension. `first` is the first of its images.
fn card(entry: &SiteEntry, first: &Image, place: Place<'_>) -> Result<Markup, serde_json::Error> {
    let name = &entry.name;
    let mut archs: Vec<&str> = entry.images.iter().map(|i| i.arch.as_str()).collect();
    archs.sort_unstable();
    archs.dedup();
    let mut versions: Vec<&str> = entry.images.iter().map(|i| i.version.as_str()).collect();
    versions.dedup();
    let text = about::words(entry);
    // `<` has no place in a script element's text.
    let data = serde_json::to_string(&entry.images)?.replace('<', "\\u003c");
    Ok(html! {
        article id=(name) data-text=(text) data-arch=(archs.join(" ")) data-category=(entry.category) {
            @if place.alone {
                h1 { (name) }
            } @else {
                h2 { a href=(place.page(name)) { (name) } }
            }
            "\n"
            p class="badges" {
                span { (first.version) }
                @for arch in &archs { " " span { (arch) } }
            }
            p class="summary" { (entry.summary) }
            p class="facts" {
                @for (i, fact) in facts(entry).iter().enumerate() {
                    @if i > 0 { " · " }
                    (fact)
                }
            }
            (about::list(&entry.about, place))
            (install(entry, first, &versions, &archs, place))
            "\n"
            (table(entry, versions.len(), place))
            "\n"
            (about::more(entry, place))
            script type="application/json" { (PreEscaped(data)) }
        }
    })
}

fn facts(entry: &SiteEntry) -> Vec<Markup> {
    let mut facts = Vec::new();
    // A page address of another scheme would run as a script.
    if entry.homepage.starts_with("https://") || entry.homepage.starts_with("http://") {
        facts.push(html! { a href=(entry.homepage) rel="noopener" { "Project page" } });
    }
    if !entry.licence.is_empty() {
        facts.push(html! { (entry.licence) });
    }
    if !entry.category.is_empty() {
        facts.push(html! { (entry.category) });
    }
    if let Some(day) = entry.images.iter().filter_map(|i| i.released.as_deref()).max() {
        facts.push(html! { "last release " time datetime=(day) { (day) } });
    }
    if !entry.verified.is_empty() {
        facts.push(html! { "sources verified by " (entry.verified) });
    }
    facts
}

fn install(entry: &SiteEntry, first: &Image, versions: &[&str], archs: &[&str], place: Place<'_>) -> Markup {
    let options = |values: &[&str], selected: &str| {
        html! {
            @for value in values { option value=(value) selected[*value == selected] { (value) } }
        }
    };
    html! {
        details open[place.alone] {
            summary { "Use " (entry.name) }
            div class="choose" hidden {
                label { "Version " select name="version" { (options(versions, &first.version)) } }
                label { "Architecture " select name="arch" { (options(archs, &first.arch)) } }
            }
            @for snippet in &entry.snippets {
                "\n"
                section class="snippet" {
                    div class="head" {
                        h3 { (snippet.title) }
                        button type="button" class="copy" aria-label={ "Copy " (snippet.title) " of " (entry.name) } hidden {
                            "Copy"
                        }
                    }
                    // A parser drops a line break that follows <pre>.
                    pre tabindex="0" { (snippet.text.trim_start_matches('\n')) }
                }
            }
        }
    }
}

fn table(entry: &SiteEntry, versions: usize, place: Place<'_>) -> Markup {
    let links = place.links;
    let has_days = entry.images.iter().any(|image| image.released.is_some());
    let (images, v) = (entry.images.len(), if versions == 1 { "version" } else { "versions" });
    let i = if images == 1 { "image" } else { "images" };
    html! {
        details open[place.alone] {
            summary { (versions) " " (v) ", " (images) " " (i) }
            div class="scroll" {
                table {
                    thead {
                        tr {
                            th { "Version" }
                            th { "Architecture" }
                            th { "File" }
                            th class="number" { "Size" }
                            @if has_days { th { "Released" } }
                            th { "Metadata" }
                            th { "SHA-256" }
                        }
                    }
                    tbody {
                        @for image in &entry.images {
                            "\n"
                            tr data-arch=(image.arch) {
                                td data-label="Version" { (image.version) }
                                td data-label="Architecture" { (image.arch) }
                                td data-label="File" {
                                    a href={ (links) (href(&format!("{}/{}", entry.name, image.file))) } { (image.file) }
                                }
                                td class="number" data-label="Size" { (size(image.size)) }
                                @if has_days {
                                    td data-label="Released" { (image.released.as_deref().unwrap_or("earlier")) }
                                }
                                td data-label="Metadata" { (documents(&entry.name, image, links)) }
                                td class="sum" data-label="SHA-256" { code { (image.sha256) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is released beside an image.
fn documents(name: &str, image: &Image, links: &str) -> Markup {
    let stem = image.file.strip_suffix(".raw").unwrap_or(&image.file);
    let document = |label: &str, ending: &str| {
        let place = href(&format!("{name}/{stem}{ending}"));
        html! { a href={ (links) (place) } aria-label={ (label) " of " (image.file) } { (label) } }
    };
    html! { (document("SBOM", ".spdx.json")) ", " (document("provenance", ".intoto.json")) }
}

/// A relative reference to a file, RFC 3986.
fn href(file: &str) -> String {
    file.split('/').map(form_encode).collect::<Vec<_>>().join("/")
}

/// For people: MiB with one digit, KiB below.
fn size(bytes: u64) -> String {
    // Tenths, in whole numbers: the same text on every machine.
    let tenths = |unit: u64| bytes.saturating_mul(10).saturating_add(unit / 2) / unit;
    let (value, unit) = if bytes < 1 << 20 { (tenths(1 << 10), "KiB") } else { (tenths(1 << 20), "MiB") };
    format!("{}.{} {unit}", value / 10, value % 10)
}
