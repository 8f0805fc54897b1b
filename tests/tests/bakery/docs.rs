//! `bakery docs`, also for recipes of one's own.

use std::fs;

use anyhow::Result;
use e2e::Upstream;
use recipes::Catalogue;

use crate::kitchen::Kitchen;

#[test]
fn pages_are_written_once_and_held_against_the_recipes() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    let mine = kitchen.work.dir("mine/hello")?;
    let recipe = "summary = \"Says hello\"\n[versions]\nsource = { github-releases = \"example/hello\" }\n\
                  [[download]]\nid = \"hello\"\nurl = \"https://hello.example/{version}\"\nchecksum = \"lock-only\"\n\
                  [[install]]\nfrom = \"hello\"\nto = \"/usr/bin/hello\"\n";
    fs::write(mine.join("recipe.toml"), recipe)?;
    let docs = |more: &[&str]| {
        let common = ["docs", "--to", "site", "--recipes", "mine", "--base-url", "https://ours.example/x"];
        kitchen.bakery(&[&common, more].concat())
    };
    let out = docs(&["--check"])?.outcome()?.failure()?;
    assert!(out.stdout.contains("site/catalogue/hello.md: is not what the recipes say"), "{}", out.stdout);
    assert!(!kitchen.work.path().join("site").exists());

    let out = docs(&[])?.run()?;
    // One for each recipe, and the table.
    let pages = Catalogue::embedded().recipes()?.len() + 2;
    assert_eq!(out.stdout.lines().count(), pages, "{}", out.stdout);
    let page = fs::read_to_string(kitchen.work.path().join("site/catalogue/hello.md"))?;
    for part in [
        "source: https://ours.example/x/hello/hello-VERSION-x86-64.raw\n",
        "Path=https://ours.example/x/hello/\n",
        "MatchPattern=hello-@v-%a.raw\n",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let table = fs::read_to_string(kitchen.work.path().join("site/catalogue.md"))?;
    let row = "| [`hello`](catalogue/hello.md) | Says hello | nothing, pinned at first sight | `/usr/bin/hello` |  | `hello` |";
    assert!(table.contains(row), "{table}");
    assert_eq!(docs(&[])?.run()?.stdout, format!("nothing to do: {pages} pages are up to date\n"));
    docs(&["--check"])?.run()?;

    // A page of a recipe that is gone goes, what somebody wrote stays.
    fs::write(kitchen.work.path().join("site/catalogue/mine.md"), "by hand\n")?;
    fs::rename(&mine, mine.with_file_name("other"))?;
    let out = docs(&["--check"])?.outcome()?.failure()?;
    assert!(out.stdout.contains("site/catalogue/hello.md: has no recipe\n"), "{}", out.stdout);
    docs(&[])?.run()?;
    assert!(!kitchen.work.path().join("site/catalogue/hello.md").exists());
    assert!(kitchen.work.path().join("site/catalogue/mine.md").exists());
    Ok(())
}
