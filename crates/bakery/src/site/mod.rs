//! The catalogue page of a release: one HTML file without external parts, complete without scripts.
//!
//! The page lists every extension with its images, sizes and checksums, and snippets that can be copied as they are. With
//! scripts it can be searched, filtered by architecture, and shows the snippets of the version that was chosen.

use std::collections::BTreeSet;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;
use store::http::form_encode;

mod about;

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

/// The page's text. The same data gives the same bytes.
///
/// # Errors
/// serde_json's, which has no reason for one.
pub fn html(page: &Page) -> Result<String, serde_json::Error> {
    let entries = || page.entries.iter().filter_map(|e| Some((e, e.images.first()?)));
    let archs: BTreeSet<&str> =
        entries().flat_map(|(e, _)| e.images.iter().map(|i| i.arch.as_str())).collect();
    let names: BTreeSet<&str> = entries().map(|(e, _)| e.name.as_str()).collect();
    let cards: Vec<Markup> =
        entries().map(|(entry, first)| card(entry, first, &names, &page.links)).collect::<Result<_, _>>()?;
    let count = match cards.len() {
        1 => "1 extension".to_owned(),
        n => format!("{n} extensions"),
    };
    let markup = html! {
        (DOCTYPE) "\n"
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content="bakery";
                title { (page.title) }
                link rel="icon" href="data:,";
                style { "\n" (PreEscaped(STYLE)) }
            }
            "\n"
            body {
                a class="skip" href="#catalogue" { "Skip to the catalogue" }
                header {
                    h1 { (page.title) }
                    p class="lead" {
                        "System extensions for " code { "systemd-sysext" }
                        ": each is one read-only image that adds a program to an immutable host."
                    }
                    (filter(&archs, &count))
                }
                "\n"
                main id="catalogue" tabindex="-1" {
                    "\n"
                    @for card in cards { (card) "\n" }
                    p id="nothing" hidden { "No extension matches. " button type="button" id="reset" { "Show all" } }
                }
                "\n"
                (footer(page))
                script { "\n" (PreEscaped(SCRIPT)) }
            }
        }
        "\n"
    };
    Ok(markup.into_string())
}

/// The search and the filter, which only scripts show.
fn filter(archs: &BTreeSet<&str>, count: &str) -> Markup {
    html! {
        form class="tools" role="search" id="tools" hidden {
            label class="search" {
                span { "Search" } " "
                input type="search" id="search" name="q" autocomplete="off" spellcheck="false"
                    placeholder="name, description, unit or file";
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

fn footer(page: &Page) -> Markup {
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
        }
    }
}

/// What is shown of an extension. `first` is the first of its images.
fn card(
    entry: &SiteEntry,
    first: &Image,
    names: &BTreeSet<&str>,
    links: &str,
) -> Result<Markup, serde_json::Error> {
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
        article id=(name) data-text=(text) data-arch=(archs.join(" ")) {
            h2 { a href={ "#" (name) } { (name) } }
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
            (about::list(&entry.about, names))
            (install(entry, first, &versions, &archs))
            "\n"
            (table(entry, versions.len(), links))
            "\n"
            (about::more(entry))
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
    if !entry.verified.is_empty() {
        facts.push(html! { "sources verified by " (entry.verified) });
    }
    facts
}

fn install(entry: &SiteEntry, first: &Image, versions: &[&str], archs: &[&str]) -> Markup {
    let options = |values: &[&str], selected: &str| {
        html! {
            @for value in values { option value=(value) selected[*value == selected] { (value) } }
        }
    };
    html! {
        details {
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

fn table(entry: &SiteEntry, versions: usize, links: &str) -> Markup {
    let (images, v) = (entry.images.len(), if versions == 1 { "version" } else { "versions" });
    let i = if images == 1 { "image" } else { "images" };
    html! {
        details {
            summary { (versions) " " (v) ", " (images) " " (i) }
            div class="scroll" {
                table {
                    thead {
                        tr {
                            th { "Version" }
                            th { "Architecture" }
                            th { "File" }
                            th class="number" { "Size" }
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
