//! The catalogue page of a release: one HTML file without external parts, complete without scripts.
//!
//! The page lists every extension with its images, sizes and checksums, and snippets that can be copied as they are. With
//! scripts it can be searched, filtered by architecture, and shows the snippets of the version that was chosen.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;
use store::http::form_encode;

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
    pub entries: Vec<Entry>,
    /// Whether manifests are signed.
    pub signed: bool,
}

/// An extension of the page.
#[derive(Debug, Clone)]
pub struct Entry {
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
    /// Newest first. An extension without images isn't shown.
    pub images: Vec<Image>,
    /// The snippets of the first image.
    pub snippets: Vec<Snippet>,
}

/// An image of an extension.
#[derive(Debug, Clone, Serialize)]
pub struct Image {
    /// As in the file's name.
    pub version: String,
    /// systemd's name of the architecture.
    pub arch: String,
    /// The file's name; in the release it is in the extension's directory.
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

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page's text. The same data gives the same bytes.
pub fn html(page: &Page) -> String {
    let entries: Vec<&Entry> = page.entries.iter().filter(|e| !e.images.is_empty()).collect();
    let archs: BTreeSet<&str> =
        entries.iter().flat_map(|e| e.images.iter().map(|i| i.arch.as_str())).collect();
    let mut choices = choice("", "All", true);
    for arch in &archs {
        choices.push_str(&choice(arch, arch, false));
    }
    let mut cards = String::new();
    for entry in &entries {
        card(&mut cards, entry, &page.links);
    }
    let count = match entries.len() {
        1 => "1 extension".to_owned(),
        n => format!("{n} extensions"),
    };
    let parts = [
        ("STYLE", STYLE.to_owned()),
        ("SCRIPT", SCRIPT.to_owned()),
        ("TITLE", escape(&page.title)),
        ("ARCHITECTURES", choices),
        ("COUNT", count),
        ("ENTRIES", cards),
        ("FOOTER", footer(page)),
    ];
    fill(PAGE, &parts)
}

/// Puts the parts in the template's places, in one pass: a part's own text is never looked at.
fn fill(template: &str, parts: &[(&str, String)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(start) = rest.find('@') {
        out.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let part = rest.split_once('@').and_then(|(name, _)| parts.iter().find(|(n, _)| *n == name));
        match part {
            Some((name, text)) => {
                out.push_str(text);
                rest = &rest[name.len() + 1..];
            }
            None => out.push('@'),
        }
    }
    out.push_str(rest);
    out
}

/// A radio button of the filter.
fn choice(value: &str, label: &str, checked: bool) -> String {
    let (value, label) = (escape(value), escape(label));
    let checked = if checked { " checked" } else { "" };
    format!(
        "<label><input type=\"radio\" name=\"arch\" value=\"{value}\"{checked}><span>{label}</span></label>\n"
    )
}

fn footer(page: &Page) -> String {
    let base = escape(&page.base_url);
    let manifest = if page.signed {
        "<code>SHA256SUMS</code>, signed in <code>SHA256SUMS.gpg</code>"
    } else {
        "<code>SHA256SUMS</code>"
    };
    format!(
        "<p>Every extension's directory has its checksums in {manifest}. This catalogue's address is <code>{base}</code>.</p>\n"
    )
}

fn card(out: &mut String, entry: &Entry, links: &str) {
    let name = escape(&entry.name);
    let mut archs: Vec<&str> = entry.images.iter().map(|i| i.arch.as_str()).collect();
    archs.sort_unstable();
    archs.dedup();
    let mut versions: Vec<&str> = entry.images.iter().map(|i| i.version.as_str()).collect();
    versions.dedup();
    let text = escape(&format!("{} {} {}", entry.name, entry.summary, entry.licence).to_lowercase());
    let badges: String = archs.iter().map(|a| format!("<span>{}</span>", escape(a))).collect();
    let newest = escape(versions[0]);
    let _ = write!(
        out,
        "<article id=\"{name}\" data-text=\"{text}\" data-arch=\"{}\">\n<h2><a href=\"#{name}\">{name}</a></h2>\n\
         <p class=\"badges\"><span>{newest}</span> {badges}</p>\n<p class=\"summary\">{}</p>\n<p class=\"facts\">",
        escape(&archs.join(" ")),
        escape(&entry.summary)
    );
    let mut facts = Vec::new();
    // A page address of another scheme would run as a script.
    if entry.homepage.starts_with("https://") || entry.homepage.starts_with("http://") {
        facts.push(format!("<a href=\"{}\" rel=\"noopener\">Project page</a>", escape(&entry.homepage)));
    }
    if !entry.licence.is_empty() {
        facts.push(escape(&entry.licence));
    }
    if !entry.verified.is_empty() {
        facts.push(format!("sources verified by {}", escape(&entry.verified)));
    }
    let _ = writeln!(out, "{}</p>", facts.join(" · "));
    install(out, entry, &versions, &archs);
    table(out, entry, versions.len(), links);
    // `<` has no place in a script element's text.
    let data = serde_json::to_string(&entry.images).unwrap_or_default().replace('<', "\\u003c");
    let _ = writeln!(out, "<script type=\"application/json\">{data}</script>\n</article>");
}

fn install(out: &mut String, entry: &Entry, versions: &[&str], archs: &[&str]) {
    let name = escape(&entry.name);
    let options = |values: &[&str], selected: &str| -> String {
        let option = |v: &&str| {
            let mark = if *v == selected { " selected" } else { "" };
            format!("<option value=\"{0}\"{mark}>{0}</option>", escape(v))
        };
        values.iter().map(option).collect()
    };
    let first = &entry.images[0];
    let _ = write!(
        out,
        "<details><summary>Use {name}</summary>\n<div class=\"choose\" hidden>\
         <label>Version <select name=\"version\">{}</select></label>\
         <label>Architecture <select name=\"arch\">{}</select></label></div>\n",
        options(versions, &first.version),
        options(archs, &first.arch)
    );
    for snippet in &entry.snippets {
        let title = escape(&snippet.title);
        let _ = write!(
            out,
            "<section class=\"snippet\"><div class=\"head\"><h3>{title}</h3>\
             <button type=\"button\" class=\"copy\" aria-label=\"Copy {title} of {name}\" hidden>Copy</button></div>\n\
             <pre tabindex=\"0\">{}</pre></section>\n",
            // A parser drops a line break that follows <pre>.
            escape(snippet.text.trim_start_matches('\n'))
        );
    }
    out.push_str("</details>\n");
}

fn table(out: &mut String, entry: &Entry, versions: usize, links: &str) {
    let (images, v) = (entry.images.len(), if versions == 1 { "version" } else { "versions" });
    let i = if images == 1 { "image" } else { "images" };
    let _ = write!(
        out,
        "<details><summary>{versions} {v}, {images} {i}</summary>\n<div class=\"scroll\"><table>\n\
         <thead><tr><th>Version</th><th>Architecture</th><th>File</th><th class=\"number\">Size</th><th>SHA-256</th></tr></thead>\n<tbody>\n"
    );
    for image in &entry.images {
        let file = escape(&image.file);
        let _ = writeln!(
            out,
            "<tr data-arch=\"{arch}\"><td data-label=\"Version\">{}</td><td data-label=\"Architecture\">{arch}</td>\
             <td data-label=\"File\"><a href=\"{}\">{file}</a></td><td class=\"number\" data-label=\"Size\">{}</td>\
             <td class=\"sum\" data-label=\"SHA-256\"><code>{}</code></td></tr>",
            escape(&image.version),
            escape(&format!("{links}{}", href(&format!("{}/{}", entry.name, image.file)))),
            size(image.size),
            escape(&image.sha256),
            arch = escape(&image.arch),
        );
    }
    out.push_str("</tbody></table></div></details>\n");
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

/// Text as HTML's text or attribute value.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
