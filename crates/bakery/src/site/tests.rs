use super::*;

fn image(version: &str, arch: &str) -> Image {
    let file = format!("tool-{version}-{arch}.raw");
    let sha256 = "ab".repeat(32);
    Image { version: version.into(), arch: arch.into(), file, size: 1_572_864, sha256, series: String::new() }
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
        "<h2><a href=\"#tool\">tool</a></h2>",
        "href=\"tool/tool-2.0%2Bk3s1-x86-64.raw\">tool-2.0+k3s1-x86-64.raw</a>",
        "1.5 MiB",
        "href=\"tool/tool-1.0-arm64.spdx.json\" aria-label=\"SBOM of tool-1.0-arm64.raw\">SBOM</a>",
        "href=\"tool/tool-2.0%2Bk3s1-x86-64.intoto.json\"",
        "data-text=\"tool a tool mit old-tool tool.socket /usr/bin/the-tool\"",
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
    let html = html(&Page { title: evil.into(), ..page(vec![entry]) }).unwrap();
    assert!(!html.contains("<script>alert"), "{html}");
    assert!(!html.contains("javascript:"));
    assert_eq!(html.matches("</script>").count(), 2, "the page's own: data and script");
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
