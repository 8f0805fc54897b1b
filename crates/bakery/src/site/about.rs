//! What the page says of an extension beside its images: what it starts, what it needs, what is in it.

use maud::{Markup, html};

use super::{About, Place, SiteEntry};

/// What an extension is found by: lower case, with `-` for `_`, which the script puts into what is searched for, too.
pub(super) fn words(entry: &SiteEntry) -> String {
    let about = &entry.about;
    let lists = [&entry.keywords, &about.aliases, &about.starts, &about.units, &about.files];
    let words = [&entry.name, &entry.summary, &entry.licence, &entry.category]
        .into_iter()
        .chain(lists.into_iter().flatten());
    let words: Vec<&str> = words.map(String::as_str).filter(|word| !word.is_empty()).collect();
    words.join(" ").to_lowercase().replace('_', "-")
}

/// What is to be known before it is merged.
pub(super) fn list(about: &About, place: Place<'_>) -> Markup {
    let code = |name: &str| html! { code { (name) } };
    let link = |name: &str| match place.names.contains(name) {
        true => html! { a href=(place.page(name)) { (name) } },
        false => html! { (name) },
    };
    let rows: [(&str, Vec<Markup>); 4] = [
        ("Starts by itself", about.starts.iter().map(|n| code(n)).collect()),
        ("Other units", about.units.iter().map(|n| code(n)).collect()),
        ("Requires", about.requires.iter().map(|n| link(n)).collect()),
        ("Conflicts with", about.conflicts.iter().map(|n| link(n)).collect()),
    ];
    let rows: Vec<_> = rows.iter().filter(|(_, words)| !words.is_empty()).collect();
    html! {
        @if !rows.is_empty() {
            dl class="about" {
                @for (label, words) in rows {
                    dt { (label) }
                    dd { (separated(words)) }
                }
            }
            "\n"
        }
    }
}

/// Its files and notes, if there are any.
pub(super) fn more(entry: &SiteEntry, place: Place<'_>) -> Markup {
    let about = &entry.about;
    let files: Vec<Markup> = about.files.iter().map(|file| html! { code { (file) } }).collect();
    let notes = about.notes.trim();
    html! {
        @if !files.is_empty() || !notes.is_empty() {
            details open[place.alone] {
                summary { "About " (entry.name) }
                @for paragraph in notes.split("\n\n").filter(|p| !p.trim().is_empty()) {
                    p { (text(paragraph)) }
                }
                @if !files.is_empty() {
                    p class="files" { "Files: " (separated(&files)) }
                }
            }
            "\n"
        }
    }
}

fn separated(words: &[Markup]) -> Markup {
    html! {
        @for (i, word) in words.iter().enumerate() {
            @if i > 0 { ", " }
            (word)
        }
    }
}

/// A paragraph, with words between backquotes as code.
fn text(paragraph: &str) -> Markup {
    html! {
        @for (i, part) in paragraph.trim().split('`').enumerate() {
            @if i % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn words_between_backquotes_are_code() {
        let html = text("Starts `a.service` and <b>`c`").into_string();
        assert_eq!(html, "Starts <code>a.service</code> and &lt;b&gt;<code>c</code>");
    }

    #[test]
    fn only_what_is_on_the_page_is_a_link() {
        let about = About { conflicts: vec!["crio".into(), "k3s".into()], ..About::default() };
        let names = BTreeSet::from(["crio"]);
        for (alone, up) in [(false, ""), (true, "../")] {
            let place = Place { alone, names: &names, links: "" };
            let html = list(&about, place).into_string();
            let row =
                format!("<dt>Conflicts with</dt><dd><a href=\"{up}crio/index.html\">crio</a>, k3s</dd>");
            assert!(html.contains(&row), "{html}");
            assert_eq!(list(&About::default(), place).into_string(), "");
        }
    }
}
