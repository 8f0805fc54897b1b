//! The catalogue page in a real browser.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use bakery::site::{About, INDEX, Image, Page, SiteEntry, Snippet, extension, html};
use e2e::browser::Browser;
use e2e::place::cached;
use e2e::{Program, Work, http};

fn image(name: &str, version: &str, arch: &str) -> Image {
    let file = format!("{name}-{version}-{arch}.raw");
    let sha256 = format!("{:064x}", version.len() * 16 + arch.len());
    let (size, released, series) = (12_345_678, Some("2026-11-27".to_owned()), String::new());
    Image { version: version.into(), arch: arch.into(), file, size, sha256, released, series }
}

fn entry(name: &str, summary: &str, images: &[(&str, &str)]) -> SiteEntry {
    let images: Vec<Image> = images.iter().map(|(v, a)| image(name, v, a)).collect();
    let text = format!("curl -fLO https://example.org/{name}/{}\n# {}\n", images[0].file, images[0].sha256);
    SiteEntry {
        name: name.into(),
        summary: summary.into(),
        homepage: "https://example.org".into(),
        licence: "Apache-2.0".into(),
        verified: "checksum list".into(),
        category: if name == "wasmtime" { "WebAssembly" } else { "Containers" }.into(),
        keywords: vec![format!("{name}-keyword")],
        about: About {
            starts: vec![format!("{name}.service")],
            units: vec![format!("{name}-with-a-name-that-is-longer-than-a-narrow-screen-is-wide@.service")],
            conflicts: vec!["kubernetes".into()],
            files: vec![format!("/usr/bin/{name}_ctl")],
            aliases: vec![format!("{name}_old")],
            notes: "Starts `at once`.".into(),
            ..About::default()
        },
        images,
        snippets: vec![
            Snippet { title: "curl".into(), text },
            Snippet { title: "Butane".into(), text: format!("variant: flatcar # {name}\n") },
        ],
    }
}

fn page() -> serde_json::Result<String> {
    html(&catalogue())
}

fn catalogue() -> Page {
    let both = [("v1.10.0", "x86-64"), ("v1.10.0", "arm64"), ("v1.9.0", "x86-64")];
    Page {
        title: "Extensions".into(),
        base_url: "https://example.org/extensions/".into(),
        links: String::new(),
        entries: vec![
            entry("containerd", "A container runtime", &both),
            entry("kubernetes", "Runs containers on many machines", &both),
            entry("wasmtime", "Runs WebAssembly", &[("v30.0.0", "x86-64")]),
        ],
        signed: true,
    }
}

/// The page of the catalogue, and those of its extensions.
fn site(dir: &Path) -> Result<()> {
    let page = catalogue();
    fs::write(dir.join(INDEX), html(&page)?)?;
    for entry in &page.entries {
        let dir = dir.join(&entry.name);
        fs::create_dir(&dir)?;
        fs::write(dir.join(INDEX), extension(&page, entry)?.context("a page")?)?;
    }
    Ok(())
}

const SHOWN: &str = "[...document.querySelectorAll('article:not([hidden])')].map(a => a.id).join(' ')";
const FOCUS: &str = "(document.activeElement.getAttribute('aria-label') || document.activeElement.id || \
                     document.activeElement.value || document.activeElement.innerText)";

const TAB: &str = "document.activeElement.textContent";

#[test]
fn the_page_is_used_by_keyboard_alone() -> Result<()> {
    let work = Work::new()?;
    fs::write(work.path().join("index.html"), page()?)?;
    let address = http::serve(work.path().to_owned())?;
    let url = format!("http://{address}/index.html");
    let mut browser = Browser::start(&work.path().join("profile"))?;
    browser.open(&url, 1280, 900)?;

    // Search: by its key, by words of the summary in any order.
    browser.press("/")?;
    assert_eq!(browser.evaluate(FOCUS)?, "search");
    browser.text("MACHINES runs")?;
    assert_eq!(browser.evaluate(SHOWN)?, "kubernetes");
    assert_eq!(browser.evaluate("document.getElementById('count').textContent")?, "1 extension");
    browser.text(" nowhere")?;
    assert_eq!(browser.evaluate(SHOWN)?, "");
    assert_eq!(browser.evaluate("document.getElementById('nothing').hidden")?, false);
    // What is shown has an address of its own.
    let kept = browser.evaluate("location.search")?;
    assert_eq!(kept, "?q=MACHINES+runs+nowhere");
    browser.evaluate("document.getElementById('reset').focus()")?;
    browser.press("Enter")?;
    assert_eq!(browser.evaluate(SHOWN)?, "containerd kubernetes wasmtime");

    // Units, files and former names are found, with either dash.
    for (typed, shown) in
        [("wasmtime-old", "wasmtime"), ("kubernetes_CTL", "kubernetes"), ("containerd.service", "containerd")]
    {
        browser.evaluate("document.getElementById('search').value = ''")?;
        browser.evaluate("document.getElementById('search').focus()")?;
        browser.text(typed)?;
        assert_eq!(browser.evaluate(SHOWN)?, shown);
    }
    browser.evaluate("document.getElementById('reset').click()")?;
    browser.evaluate("document.getElementById('search').focus()")?;

    // Filter: the category, then the buttons of the group by arrow.
    browser.press("Tab")?;
    assert_eq!(browser.evaluate("document.activeElement.id")?, "category");
    browser.evaluate(
        "(() => { const s = document.activeElement; s.value = 'WebAssembly'; \
         s.dispatchEvent(new Event('input', { bubbles: true })); })()",
    )?;
    assert_eq!(browser.evaluate(SHOWN)?, "wasmtime");
    assert_eq!(browser.evaluate("location.search")?, "?category=WebAssembly");
    browser.open(&format!("{url}?category=WebAssembly"), 1280, 900)?;
    assert_eq!(browser.evaluate(SHOWN)?, "wasmtime");
    browser.evaluate("document.getElementById('reset').click()")?;
    browser.evaluate("document.getElementById('category').focus()")?;
    browser.press("Tab")?;
    browser.press("ArrowRight")?;
    assert_eq!(browser.evaluate(FOCUS)?, "arm64");
    assert_eq!(browser.evaluate(SHOWN)?, "containerd kubernetes");

    // A card: opened, version chosen, copied.
    browser.evaluate("document.querySelector('#containerd summary').focus()")?;
    browser.press("Enter")?;
    assert_eq!(browser.evaluate("document.querySelector('#containerd details').open")?, true);
    let snippet = "document.querySelector('#containerd pre').textContent";
    assert!(browser.evaluate(snippet)?.as_str().is_some_and(|t| t.contains("containerd-v1.10.0-arm64.raw")));
    browser.evaluate(
        "(() => { const s = document.querySelector('#containerd select[name=version]'); s.value = 'v1.9.0'; \
         s.dispatchEvent(new Event('change', { bubbles: true })); })()",
    )?;
    let text = browser.evaluate(snippet)?;
    let expected = image("containerd", "v1.9.0", "x86-64");
    assert_eq!(
        text,
        format!("curl -fLO https://example.org/containerd/{}\n# {}\n", expected.file, expected.sha256)
    );
    browser
        .call(
            "Browser.grantPermissions",
            serde_json::json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] }),
        )
        .ok();
    browser.evaluate("document.querySelector('#containerd .choose select[name=arch]').focus()")?;
    // One snippet at a time: its tab, then its button.
    browser.press("Tab")?;
    assert_eq!(browser.evaluate(TAB)?, "curl");
    let panels =
        "[...document.querySelectorAll('#containerd .snippet')].filter(p => !p.hidden).map(p => p.innerText)";
    browser.press("ArrowRight")?;
    let shown = browser.evaluate(&format!("{panels}.join('|')"))?;
    assert!(
        shown.as_str().is_some_and(|t| t.contains("flatcar # containerd") && !t.contains("curl")),
        "{shown}"
    );
    assert_eq!(browser.evaluate("document.activeElement.getAttribute('aria-selected')")?, "true");
    browser.press("ArrowRight")?;
    assert_eq!(browser.evaluate(TAB)?, "curl");
    browser.press("Tab")?;
    assert_eq!(browser.evaluate(FOCUS)?, "Copy curl of containerd");
    browser.press("Enter")?;
    let copied = "new Promise(done => { const look = () => { const b = document.querySelector('#containerd .copy'); \
                  b.textContent === 'Copied' ? done(true) : setTimeout(look, 10); }; look(); })";
    assert_eq!(browser.evaluate(copied)?, true);
    assert_eq!(browser.evaluate("navigator.clipboard.readText()")?, text);

    assert_eq!(browser.errors(), [""; 0]);
    let elsewhere: Vec<_> = browser
        .requests()
        .iter()
        .filter(|r| !r.starts_with(&format!("http://{address}/")) && !r.starts_with("data:"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    Ok(())
}

/// The package of PyPI that has axe-core in it.
const AXE: &str = "axe-playwright-python==0.1.8";

/// What axe-core has to say of a page.
const AUDIT: &str = "axe.run().then(found => found.violations.flatMap(v => v.nodes.map(n => `${v.id}: ${v.help}: ${n.target}`)).join('\\n'))";

/// Opens a page and audits it, with all that can be folded open.
fn audit(browser: &mut Browser, axe: &str, url: &str, width: u32) -> Result<String> {
    browser.open(url, width, 900)?;
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")?;
    browser.evaluate(axe)?;
    Ok(browser.evaluate(AUDIT)?.as_str().context("axe has no result")?.to_owned())
}

#[test]
fn axe_finds_nothing_to_complain_of() -> Result<()> {
    let axe = cached("axe", AXE, |dir| {
        let venv = dir.join("venv");
        Program::new("python3").args(["-m", "venv"]).arg(&venv).run()?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", AXE];
        Program::new(venv.join("bin/python")).args(pip).run()?;
        let code = "import importlib.util as u, os; print(os.path.dirname(u.find_spec('axe_playwright_python').origin))";
        let installed = Program::new(venv.join("bin/python")).args(["-c", code]).run()?.stdout;
        fs::copy(Path::new(installed.trim()).join("axe.min.js"), dir.join("axe.js"))?;
        Ok(fs::remove_dir_all(&venv)?)
    })?;
    let axe = fs::read_to_string(axe.join("axe.js"))?;
    let work = Work::new()?;
    site(work.path())?;
    fs::write(work.path().join("bad.html"), "<title>x</title><img src=x>")?;
    let address = http::serve(work.path().to_owned())?;
    let mut browser = Browser::start(&work.path().join("profile"))?;
    let found = audit(&mut browser, &axe, &format!("http://{address}/bad.html"), 1280)?;
    assert!(found.contains("image-alt"), "{found}");
    for colours in ["light", "dark"] {
        let features = serde_json::json!([{ "name": "prefers-color-scheme", "value": colours }]);
        browser.call("Emulation.setEmulatedMedia", serde_json::json!({ "features": features }))?;
        for page in [INDEX, "kubernetes/index.html"] {
            for width in [320, 1280] {
                let found = audit(&mut browser, &axe, &format!("http://{address}/{page}"), width)?;
                assert_eq!(found, "", "{page}, {colours}, {width} pixels");
            }
        }
    }
    Ok(())
}

#[test]
fn an_extensions_page_is_whole_without_the_catalogue() -> Result<()> {
    let work = Work::new()?;
    site(work.path())?;
    let address = http::serve(work.path().to_owned())?;
    let mut browser = Browser::start(&work.path().join("profile"))?;
    browser.open(&format!("http://{address}/index.html"), 1280, 900)?;
    // Two columns on a wide screen.
    let places = browser.evaluate(
        "(() => { const [a, b] = [...document.querySelectorAll('article')].map(e => e.getBoundingClientRect()); \
         return a.top === b.top && a.right < b.left; })()",
    )?;
    assert_eq!(places, true);
    let link = browser.evaluate("document.querySelector('#kubernetes h2 a').href")?;
    for width in [320, 1280] {
        browser.open(link.as_str().context("no link")?, width, 900)?;
        assert_eq!(browser.evaluate("document.querySelector('h1').textContent")?, "kubernetes");
        let open = "[...document.querySelectorAll('details')].every(d => d.open)";
        assert_eq!(browser.evaluate(open)?, true);
        assert_eq!(browser.evaluate("document.querySelectorAll('[role=tab]').length")?, 2);
        let over = browser.evaluate("document.documentElement.scrollWidth - innerWidth")?;
        assert!(over.as_i64().is_some_and(|o| o <= 0), "{width}: {over}");
        let shot = browser.screenshot()?;
        if let Some(dir) = std::env::var_os("BAKERY_SCREENSHOTS") {
            fs::write(std::path::Path::new(&dir).join(format!("extension-{width}.png")), shot)?;
        }
    }
    assert_eq!(browser.errors(), [""; 0]);
    Ok(())
}

#[test]
fn the_page_fits_a_phone_and_a_desk() -> Result<()> {
    let work = Work::new()?;
    fs::write(work.path().join("index.html"), page()?)?;
    let address = http::serve(work.path().to_owned())?;
    let mut browser = Browser::start(&work.path().join("profile"))?;
    for scheme in ["light", "dark"] {
        let features =
            serde_json::json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.call("Emulation.setEmulatedMedia", features)?;
        for width in [320, 390, 1280] {
            browser.open(&format!("http://{address}/index.html?q=#containerd"), width, 900)?;
            browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")?;
            // Nothing sticks out to the side.
            let over = browser.evaluate("document.documentElement.scrollWidth - innerWidth")?;
            assert!(over.as_i64().is_some_and(|o| o <= 0), "{scheme} {width}: {over}");
            // Everything that is pressed is large enough for a finger.
            let small = browser.evaluate(
                "[...document.querySelectorAll('button:not([hidden]), select, input[type=search], summary, fieldset label')] \
                 .filter(e => e.offsetParent && e.getBoundingClientRect().height < 24).length",
            )?;
            assert_eq!(small, 0, "{scheme} {width}");
            let contrast = browser.evaluate(CONTRAST)?;
            assert!(contrast.as_f64().is_some_and(|c| c >= 4.5), "{scheme} {width}: {contrast}");
            let shot = browser.screenshot()?;
            assert!(shot.starts_with(b"\x89PNG"));
            if let Some(dir) = std::env::var_os("BAKERY_SCREENSHOTS") {
                fs::write(std::path::Path::new(&dir).join(format!("{scheme}-{width}.png")), shot)?;
            }
        }
    }
    Ok(())
}

/// The least contrast of text and what is behind it. WCAG 2.2, 1.4.3.
const CONTRAST: &str = "(() => {
  const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (c) => { const [r, g, b] = rgb(c).map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if ((rgb(c)[3] ?? 1) > 0) return c; } return 'rgb(255,255,255)'; };
  return Math.min(...[...document.querySelectorAll('p, h1, h2, h3, td, code, pre, a, button:not([hidden]), summary, span, label')]
    .filter(e => e.offsetParent && e.innerText.trim()).map(e => { const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); }));
})()";
