//! The page of a real release, in a real browser.

use std::fs;

use anyhow::{Context, Result};
use e2e::browser::Browser;
use e2e::{Program, Upstream, Work, http};

use crate::{
    kitchen::Kitchen,
    shelf::{files, released, whole},
};

const SHOWN: &str = "[...document.querySelectorAll('article:not([hidden])')].map(a => a.id).join(' ')";

/// Chooses in a card, as `change` of the element would.
fn choose(card: &str, name: &str, value: &str) -> String {
    format!(
        "(() => {{ const s = document.querySelector('#{card} select[name={name}]'); s.value = '{value}'; \
         s.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
    )
}

/// The snippet of a title.
fn snippet(card: &str, title: &str) -> String {
    format!(
        "[...document.querySelectorAll('#{card} .snippet')].find(s => s.querySelector('h3').textContent === '{title}')\
         .querySelector('pre').textContent"
    )
}

#[test]
fn a_released_page_is_used_on_a_phone_and_a_desk() -> Result<()> {
    let (kitchen, work) = (Kitchen::new(Upstream::get()?)?, Work::new()?);
    let address = http::serve(kitchen.path("release"))?;
    let base = format!("http://{address}/");
    let file =
        whole(&base).replace("kubernetes = { versions = [", "kubernetes = { versions = [\"v1.31.6\", ");
    kitchen.write("release.toml", &file)?;
    // Hosted elsewhere so far, and without that version.
    kitchen.take_lock(released()?)?;
    Program::new("cp").arg("-rT").args([released()?.path("release"), kitchen.path("release")]).run()?;
    kitchen.bakery(&["release", "--update"])?.run()?;
    let released = files(&kitchen.path("release"))?;
    let mut browser = Browser::start(&work.path().join("profile"))?;
    browser
        .call(
            "Browser.grantPermissions",
            serde_json::json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] }),
        )
        .ok();
    for width in [320, 390, 1280] {
        browser.open(&format!("{base}index.html"), width, 844)?;
        shot(&mut browser, &format!("top-{width}"))?;
        let links =
            browser.evaluate("[...document.querySelectorAll('td a')].map(a => a.href).join('\\n')")?;
        let links: Vec<String> =
            links.as_str().context("no links")?.lines().map(|l| l.replace("%2B", "+")).collect();
        // Each image, and what is released beside it.
        let endings = [".raw", ".spdx.json", ".intoto.json"];
        let images = released.keys().filter(|n| endings.iter().any(|e| n.ends_with(e)));
        let images: Vec<String> = images.map(|n| format!("{base}{n}")).collect();
        let mut sorted = links.clone();
        sorted.sort();
        assert_eq!(sorted, images);

        browser.press("/")?;
        browser.text("webassembly")?;
        let shown = browser.evaluate(SHOWN)?;
        assert!(shown.as_str().is_some_and(|s| s.contains("wasmedge") && !s.contains("docker")), "{shown}");
        browser.evaluate("document.getElementById('search').value = ''")?;
        browser.text("k3s")?;
        assert_eq!(browser.evaluate(SHOWN)?, "k3s");

        // What the card says is what the commands print, of the image that was chosen.
        browser.evaluate("document.querySelector('#k3s summary').focus()")?;
        browser.press("Enter")?;
        browser.evaluate(&choose("k3s", "arch", "arm64"))?;
        let butane = |args: &[&str]| -> Result<String> {
            let args = [&["butane", "--arch", "arm64", "--base-url", &base], args].concat();
            Ok(kitchen.bakery(&args)?.run()?.stdout)
        };
        let k3s = "v1.32.2+k3s1";
        assert_eq!(browser.evaluate(&snippet("k3s", "Butane"))?, butane(&["k3s", k3s])?);
        let updates = ["k3s", k3s, "--sysupdate", "--stream", "--then", "reboot"];
        assert_eq!(browser.evaluate(&snippet("k3s", "Butane with updates"))?, butane(&updates)?);
        let released_file = |name: &str| {
            released.get(name).map(|b| String::from_utf8_lossy(b).into_owned()).context("no file")
        };
        let expected = released_file("k3s/k3s-v1.32.conf")?;
        assert_eq!(browser.evaluate(&snippet("k3s", "systemd-sysupdate"))?, expected);

        // Another minor version, another stream.
        browser.evaluate("document.getElementById('reset').click()")?;
        browser.evaluate("document.querySelector('#kubernetes summary').focus()")?;
        browser.press("Enter")?;
        browser.evaluate(&choose("kubernetes", "version", "v1.31.6"))?;
        let expected = released_file("kubernetes/kubernetes-v1.31.conf")?;
        assert_eq!(browser.evaluate(&snippet("kubernetes", "systemd-sysupdate"))?, expected);
        browser.evaluate(&choose("kubernetes", "arch", "arm64"))?;
        let updates = ["kubernetes", "v1.31.6", "--sysupdate", "--stream", "--then", "reboot"];
        let text = butane(&updates)?;
        assert_eq!(browser.evaluate(&snippet("kubernetes", "Butane with updates"))?, text);

        // Copied by keyboard alone: from the choice to the second tab and its button.
        browser.evaluate("document.querySelector('#kubernetes .choose select[name=arch]').focus()")?;
        for key in ["Tab", "ArrowRight", "Tab"] {
            browser.press(key)?;
        }
        let focus = browser.evaluate("document.activeElement.getAttribute('aria-label')")?;
        assert_eq!(focus, "Copy Butane with updates of kubernetes");
        browser.press("Enter")?;
        let copied = "new Promise(done => { const b = document.activeElement; const look = () => \
                      b.textContent === 'Copied' ? done(true) : setTimeout(look, 10); look(); })";
        assert_eq!(browser.evaluate(copied)?, true);
        assert_eq!(browser.evaluate("navigator.clipboard.readText()")?, text);
        browser.evaluate("document.getElementById('kubernetes').scrollIntoView()")?;
        shot(&mut browser, &format!("card-{width}"))?;
        browser.evaluate("document.querySelectorAll('#kubernetes details')[1].open = true")?;
        browser.evaluate("document.querySelector('#kubernetes table').scrollIntoView()")?;
        shot(&mut browser, &format!("table-{width}"))?;
        let over = browser.evaluate("document.documentElement.scrollWidth - innerWidth")?;
        assert!(over.as_i64().is_some_and(|o| o <= 0), "{width}: {over}");
    }
    assert_eq!(browser.errors(), [""; 0]);
    let elsewhere: Vec<_> =
        browser.requests().iter().filter(|r| !r.starts_with(&base) && !r.starts_with("data:")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    Ok(())
}

/// Kept where `BAKERY_SCREENSHOTS` says, for people to look at.
fn shot(browser: &mut Browser, name: &str) -> Result<()> {
    let shot = browser.screenshot()?;
    if let Some(dir) = std::env::var_os("BAKERY_SCREENSHOTS") {
        fs::write(std::path::Path::new(&dir).join(format!("{name}.png")), shot)?;
    }
    Ok(())
}
