use super::*;

fn image(version: &str, arch: &str) -> Image {
    let file = format!("tool-{version}-{arch}.raw");
    let sha256 = "ab".repeat(32);
    let (size, released, series) = (1_572_864, Some("2026-11-27".to_owned()), String::new());
    Image { version: version.into(), arch: arch.into(), file, size, sha256, released, series }
}

fn page(entries: Vec<SiteEntry>) -> Page {
    Page {
        title: "A catalogue".into(),
        base_url: "https://example.org/x/".into(),
        links: String::new(),
        entries,
        signed: false,
    }
}

fn entry() -> SiteEntry {
    SiteEntry {
        name: "tool".into(),
        summary: "A tool".into(),
        homepage: "https://example.org".into(),
        licence: "MIT".into(),
        verified: "checksum".into(),
        category: "Network".into(),
        keywords: vec!["vpn".into()],
        about: About {
            starts: vec!["tool.socket".into()],
            files: vec!["/usr/bin/the_tool".into()],
            aliases: vec!["old_tool".into()],
            notes: "Needs `root`.\n\nAnd time.".into(),
            ..About::default()
        },
        images: vec![image("2.0+k3s1", "x86-64"), image("1.0", "x86-64"), image("1.0", "arm64")],
        snippets: vec![Snippet { title: "curl".into(), text: "curl -O tool-2.0+k3s1-x86-64.raw\n".into() }],
    }
}

#[test]
fn everything_is_there_without_scripts() {
    let html = html(&page(vec![entry()])).unwrap();
    for part in [
        STYLE,
        SCRIPT,
        "<title>A catalogue</title>",
        "<h1>A catalogue</h1>",
        "<code>https://example.org/x/</code>",
        "<h2><a href=\"tool/index.html\">tool</a></h2>",
        "href=\"tool/tool-2.0%2Bk3s1-x86-64.raw\">tool-2.0+k3s1-x86-64.raw</a>",
        "1.5 MiB",
        "href=\"tool/tool-1.0-arm64.spdx.json\" aria-label=\"SBOM of tool-1.0-arm64.raw\">SBOM</a>",
        "href=\"tool/tool-2.0%2Bk3s1-x86-64.intoto.json\"",
        "data-text=\"tool a tool mit network vpn old-tool tool.socket /usr/bin/the-tool\"",
        "data-category=\"Network\"",
        "last release <time datetime=\"2026-11-27\">2026-11-27</time>",
        "<td data-label=\"Released\">2026-11-27</td>",
        "<link rel=\"alternate\" type=\"application/atom+xml\" title=\"New images\" href=\"feed.xml\">",
        "<dt>Starts by itself</dt><dd><code>tool.socket</code></dd>",
        "<p>Needs <code>root</code>.</p><p>And time.</p>",
        "curl -O tool-2.0+k3s1-x86-64.raw",
        "2 versions, 3 images",
        "1 extension<",
        "value=\"arm64\"",
    ] {
        assert!(html.contains(part), "{part}\n{html}");
    }
}

#[test]
fn an_extension_has_a_page_of_its_own() {
    let other = SiteEntry { name: "other".into(), ..entry() };
    let mut tool = entry();
    tool.about.conflicts = vec!["other".into()];
    let page = page(vec![tool.clone(), other]);
    let html = extension(&page, &tool).unwrap().unwrap();
    for part in [
        "<title>tool · A catalogue</title>",
        "<a href=\"../index.html\">A catalogue</a>",
        "<h1>tool</h1>",
        "<a href=\"../other/index.html\">other</a>",
        "href=\"../tool/tool-2.0%2Bk3s1-x86-64.raw\"",
        "href=\"../feed.xml\"",
        "<details open>",
    ] {
        assert!(html.contains(part), "{part}\n{html}");
    }
    assert!(!html.contains("<details>"), "all is open");
    assert_eq!(extension(&page, &SiteEntry { images: vec![], ..tool }).unwrap(), None);
}

#[test]
fn the_feed_has_an_entry_for_each_version() {
    let mut tool = entry();
    tool.summary = "Tools & <more>".into();
    tool.images[0].released = None;
    tool.images[2].released = Some("2026-11-28".into());
    let mut other = SiteEntry { name: "other".into(), ..entry() };
    other.images.truncate(1);
    let feed = atom(&page(vec![tool, other]));
    let titles: Vec<&str> =
        feed.split("<title>").skip(1).filter_map(|rest| rest.split("</title>").next()).collect();
    assert_eq!(
        titles,
        ["A catalogue", "tool 1.0", "other 2.0+k3s1"],
        "the newest first, and no day, no entry"
    );
    for part in [
        "<updated>2026-11-28T00:00:00Z</updated>",
        "<id>https://example.org/x/tool/index.html#1.0</id>",
        "<summary>Tools &amp; &lt;more&gt;. x86-64 (1.5 MiB), arm64 (1.5 MiB)</summary>",
        "<category term=\"Network\"/>",
        "<link rel=\"alternate\" href=\"tool/index.html\"/>",
    ] {
        assert!(feed.contains(part), "{part}\n{feed}");
    }
    assert!(atom(&page(vec![])).contains("<updated>1970-01-01T00:00:00Z</updated>"));
}

#[test]
fn text_cannot_become_markup() {
    let evil = "</script><script>alert(1)</script>\"'&";
    let mut entry = entry();
    entry.name = evil.into();
    entry.summary = evil.into();
    entry.homepage = "javascript:alert(1)".into();
    entry.about.notes = evil.into();
    entry.about.starts = vec![evil.into()];
    entry.about.conflicts = vec![evil.into()];
    entry.images[0].file = evil.into();
    entry.snippets[0].text = evil.into();
    entry.category = evil.into();
    entry.keywords = vec![evil.into()];
    entry.images[0].released = Some(evil.into());
    let page = Page { title: evil.into(), ..page(vec![entry]) };
    let whole = extension(&page, &page.entries[0]).unwrap().unwrap();
    for html in [html(&page).unwrap(), whole] {
        assert!(!html.contains("<script>alert"), "{html}");
        assert!(!html.contains("javascript:"));
        assert_eq!(html.matches("</script>").count(), 2, "the page's own: data and script");
    }
    let feed = atom(&page);
    assert!(!feed.contains("<script"), "{feed}");
}

#[test]
fn nothing_comes_from_elsewhere() {
    let html = html(&page(vec![entry()])).unwrap();
    for word in ["src=", "@import", "url(", "<link rel=\"stylesheet", "fetch(", "XMLHttp"] {
        assert!(!html.contains(word), "{word}");
    }
}

#[test]
fn an_extension_without_images_is_not_shown() {
    let none = SiteEntry { images: vec![], ..entry() };
    assert!(html(&page(vec![none])).unwrap().contains("0 extensions"));
}

#[test]
fn sizes() {
    for (bytes, text) in
        [(0, "0.0 KiB"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB"), (1_610_612_736, "1536.0 MiB")]
    {
        assert_eq!(size(bytes), text);
    }
}
