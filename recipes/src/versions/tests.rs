use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use crate::recipe::Files;

fn recipe(versions: &str) -> Recipe {
    Recipe::parse("thing", &format!("summary = \"A thing\"\n[versions]\n{versions}\n"), Files::default())
        .unwrap()
}

/// A web of documents; says what was asked for.
struct Web(BTreeMap<String, String>, RefCell<Vec<String>>);

impl Web {
    fn new<'a>(pages: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        Web(pages.into_iter().map(|(u, t)| (u.to_owned(), t)).collect(), RefCell::default())
    }

    fn ask(&self, url: &str) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        self.1.borrow_mut().push(url.to_owned());
        self.0.get(url).map(|t| t.clone().into_bytes()).ok_or_else(|| format!("{url}: got 404").into())
    }
}

fn show(versions: &[Version]) -> String {
    versions.iter().map(Version::as_str).collect::<Vec<_>>().join(" ")
}

const SCHEDULE: &str = "\
# a comment
schedules:
- endOfLifeDate: \"2026-02-28\"
  next:
    cherryPickDeadline: \"2025-03-07\"
    release: 1.32.3
  previousPatches:
  - cherryPickDeadline: \"2025-02-07\"
    release: 1.32.2
    targetDate: \"2025-02-11\"
  - release: 1.32.1
  release: \"1.32\"
- release: \"1.31\"
  previousPatches:
    - release: 1.31.6
      note: x
- release: \"1.33\" # not a patch yet
# No number: as one it would be 1.3.
- release: 1.30
upcoming_releases:
- release: 1.99.9
";

#[test]
fn every_kind_of_list() {
    let table = [
        (
            "source = { github-releases = \"a/b\" }\nmatch = 'v(\\d[\\d.]*)'",
            "https://api.github.com/repos/a/b/releases?per_page=100&page=1",
            r#"[{"tag_name":"v1.9.0"},{"tag_name":"v1.10.0","prerelease":false},{"tag_name":"v2.0.0","prerelease":true},
                {"tag_name":"v3.0.0","draft":true},{"tag_name":"api/v9"}]"#,
            "1.10.0 1.9.0",
        ),
        (
            "source = { github-tags = \"a/b\" }",
            "https://api.github.com/repos/a/b/tags?per_page=100&page=1",
            r#"[{"name":"v1.0"},{"name":"x/y"},{"name":"v1.0"}]"#,
            "v1.0",
        ),
        (
            "source = { gitlab-tags = \"https://gitlab.com/g/h/p\" }",
            "https://gitlab.com/api/v4/projects/g%2Fh%2Fp/repository/tags?per_page=100&page=1",
            r#"[{"name":"1"},{"name":"2"}]"#,
            "2 1",
        ),
        (
            "source = { html-index = \"https://e.org/x/\" }\nmatch = 'docker-([0-9.]+)\\.tgz'",
            "https://e.org/x/",
            "<a HREF = \"docker-27.1.0.tgz\">docker</a> <a href='/x/docker-28.0.1.tgz?x'>x</a>\n<a href=docker-rootless-28.tgz>",
            "28.0.1 27.1.0",
        ),
        (
            "source = { json-index = { url = \"https://e.org/j\", pointer = \"/data/*/latest\" } }",
            "https://e.org/j",
            r#"{"data":[{"latest":"v1.32.2+k3s1"},{"id":1},{"latest":"v1.31.6+k3s1"}]}"#,
            "v1.32.2+k3s1 v1.31.6+k3s1",
        ),
        (
            "source = { json-index = { url = \"https://e.org/j\", pointer = \"/a~1b\" } }",
            "https://e.org/j",
            r#"{"a/b":["1","2"]}"#,
            "2 1",
        ),
        (
            "source = { json-index = { url = \"https://e.org/j\", pointer = \"/releases\", keys = true } }",
            "https://e.org/j",
            r#"{"releases":{"3.2.1":{"file":"x"},"3.2.10":{}}}"#,
            "3.2.10 3.2.1",
        ),
        (
            "source = { text = \"https://e.org/t\" }\nmatch = 'v(.+)'",
            "https://e.org/t",
            "\n  v1.2.3\n",
            "1.2.3",
        ),
        (
            "source = { kubernetes-schedule = \"https://e.org/s\" }",
            "https://e.org/s",
            SCHEDULE,
            "v1.33.0 v1.32.2 v1.32.1 v1.31.6 v1.30.0",
        ),
    ];
    for (versions, url, body, expected) in table {
        let web = Web::new([(url, body.to_owned())]);
        let found = all(&recipe(versions), &|u| web.ask(u)).unwrap_or_else(|e| panic!("{versions}: {e}"));
        assert_eq!(show(&found), expected, "{versions}");
    }
}

#[test]
fn a_document_for_each_branch() {
    let versions = |latest: &str| {
        recipe(&format!(
            "match = '\\d+\\.\\d+\\.\\d+'\nlatest = \"{latest}\"\nminors = 2\n[versions.source.json-index]\n\
             url = \"https://e.org/{{branch}}/releases.json\"\npointer = \"/releases\"\nkeys = true\n\
             branches = {{ source = {{ html-index = \"https://e.org/\" }}, match = '3\\.\\d+' }}\n"
        ))
    };
    let listing = "<a href='2.9/'>x</a> <a href='3.0/'>x</a> <a href='3.2/'>x</a> <a href='3.10/'>x</a> <a href='3.9/'>x</a>";
    let web = || {
        Web::new([
            ("https://e.org/", listing.to_owned()),
            ("https://e.org/3.10/releases.json", r#"{"releases":{"3.10-dev1":{}}}"#.to_owned()),
            ("https://e.org/3.9/releases.json", r#"{"releases":{}}"#.to_owned()),
            ("https://e.org/3.2/releases.json", r#"{"releases":{"3.2.9":{},"3.2.10":{}}}"#.to_owned()),
            ("https://e.org/3.0/releases.json", r#"{"releases":{"3.0.1":{}}}"#.to_owned()),
        ])
    };
    let found = |latest_of: &str| {
        let web = web();
        let found = latest(&versions(latest_of), &|u| web.ask(u)).unwrap();
        let last = web.1.borrow().last().cloned();
        (show(&found.versions), last.unwrap_or_default())
    };
    // No more documents than are needed.
    assert_eq!(found("newest"), ("3.2.10".to_owned(), "https://e.org/3.2/releases.json".to_owned()));
    assert_eq!(
        found("newest-per-minor"),
        ("3.2.10 3.0.1".to_owned(), "https://e.org/3.0/releases.json".to_owned())
    );
    let broken = Web::new([
        ("https://e.org/", "<a href='3.0/'>x</a>".to_owned()),
        ("https://e.org/3.0/releases.json", "{}".to_owned()),
    ]);
    let error = all(&versions("newest"), &|u| broken.ask(u)).unwrap_err().to_string();
    assert_eq!(
        error,
        "recipe thing: https://e.org/3.0/releases.json: list has no object with keys at \"/releases\""
    );
    let many = |n: usize| (0..n).map(|i| format!("<a href='3.{i}/'>x</a>")).collect::<String>();
    let many = Web::new([("https://e.org/", many(51))]);
    let error = all(&versions("newest"), &|u| many.ask(u)).unwrap_err().to_string();
    assert_eq!(
        error,
        "recipe thing: https://e.org/: list has 51 branches, expected at most 50: match takes some of them"
    );
}

#[test]
fn pages_are_turned() {
    let page = |from: usize, count: usize| {
        let list: Vec<String> = (from..from + count).map(|i| format!("{{\"name\":\"1.{i}\"}}")).collect();
        format!("[{}]", list.join(","))
    };
    let url = "https://api.github.com/repos/a/b/tags?per_page=100&page=";
    let (one, two) = (format!("{url}1"), format!("{url}2"));
    let web = Web::new([(one.as_str(), page(0, 100)), (two.as_str(), page(100, 7))]);
    let found = all(&recipe("source = { github-tags = \"a/b\" }"), &|u| web.ask(u)).unwrap();
    assert_eq!((found.len(), found[0].as_str()), (107, "1.106"));
    assert_eq!(*web.1.borrow(), [one, two]);
}

const LIST: &str = "https://e.org/list";

#[test]
fn the_latest_ones() {
    let list = "1.33.0\n1.32.2\n1.32.1\n1.31.6\n1.30.9\n1.29.0\n";
    let web = |list: &str| Web::new([(KUBERNETES_SCHEDULE, SCHEDULE.to_owned()), (LIST, list.to_owned())]);
    let latest = |rest: &str, web: &Web| {
        let recipe = recipe(&format!("source = {{ text = \"{LIST}\" }}\n{rest}"));
        latest(&recipe, &|u| web.ask(u)).unwrap()
    };
    let table = [
        ("", "1.33.0"),
        ("latest = \"newest-per-minor\"", "1.33.0 1.32.2 1.31.6 1.30.9 1.29.0"),
        ("latest = \"newest-per-minor\"\nminors = 2", "1.33.0 1.32.2"),
        ("latest = \"kubernetes-minors\"", "1.33.0 1.32.2 1.31.6 1.30.9"),
    ];
    for (rest, expected) in table {
        let found = latest(rest, &web(list));
        assert_eq!((show(&found.versions).as_str(), found.warning), (expected, None), "{rest}");
    }
    // Upstream is ahead of the schedule, whose newest minor version is 1.33.
    let ahead = latest("latest = \"kubernetes-minors\"", &web(&format!("{list}1.34.1\n1.34.0\n")));
    assert_eq!(show(&ahead.versions), "1.34.1 1.33.0 1.32.2 1.31.6 1.30.9");
    let warning = ahead.warning.unwrap();
    assert!(
        warning.contains("is older than upstream's releases: it ends at 1.33, but 1.34.1 has been released"),
        "{warning}"
    );
}

#[test]
fn no_page_is_fetched_for_nothing() {
    // Patches of four minor versions, the newest first, 250 of them.
    let tag = |i: usize| format!("{{\"tag_name\":\"v1.{}.{}\"}}", 33 - i % 4, 90 - i / 4);
    let page = |from: usize, to: usize| format!("[{}]", (from..to).map(tag).collect::<Vec<_>>().join(","));
    let url = |n: usize| format!("https://api.github.com/repos/a/b/releases?per_page=100&page={n}");
    let (one, two, three) = (url(1), url(2), url(3));
    let pages = [
        (one.as_str(), page(0, 100)),
        (two.as_str(), page(100, 200)),
        (three.as_str(), page(200, 250)),
        (KUBERNETES_SCHEDULE, SCHEDULE.to_owned()),
    ];
    let asked = |rest: &str| {
        let web = Web::new(pages.clone());
        let recipe = recipe(&format!("source = {{ github-releases = \"a/b\" }}\n{rest}"));
        let found = latest(&recipe, &|u| web.ask(u)).unwrap().versions;
        let asked = web.1.borrow().iter().filter(|u| u.contains("api.github.com")).count();
        (asked, show(&found))
    };
    assert_eq!(asked(""), (1, "v1.33.90".to_owned()));
    assert_eq!(asked("latest = \"newest-per-minor\"\nminors = 2"), (1, "v1.33.90 v1.32.90".to_owned()));
    assert_eq!(
        asked("latest = \"kubernetes-minors\""),
        (1, "v1.33.90 v1.32.90 v1.31.90 v1.30.90".to_owned())
    );
    // What isn't on the first page is looked for on the next ones.
    assert_eq!(asked("match = 'v1\\.30\\.4\\d'").0, 2);
    let web = Web::new(pages.clone());
    let everything = all(&recipe("source = { github-releases = \"a/b\" }"), &|u| web.ask(u)).unwrap();
    assert_eq!((everything.len(), web.1.borrow().len()), (250, 3));
}

#[test]
fn a_minor_version_that_isnt_released_yet_fetches_no_more_pages() {
    let tag = |i: usize| format!("{{\"tag_name\":\"v1.{}.{}\"}}", 33 - i % 4, 90 - i / 4);
    let page = |from: usize| format!("[{}]", (from..from + 100).map(tag).collect::<Vec<_>>().join(","));
    let url = |n: usize| format!("https://api.github.com/repos/a/b/releases?per_page=100&page={n}");
    let urls = [url(1), url(2), url(3)];
    let ask = |schedule: &str| {
        let pages = urls.iter().enumerate().map(|(i, url)| (url.as_str(), page(i * 100)));
        let empty = url(4);
        let last = [(KUBERNETES_SCHEDULE, schedule.to_owned()), (empty.as_str(), "[]".to_owned())];
        let web = Web::new(pages.chain(last));
        let recipe = recipe("source = { github-releases = \"a/b\" }\nlatest = \"kubernetes-minors\"");
        let found = latest(&recipe, &|u| web.ask(u)).unwrap().versions;
        let asked = web.1.borrow().iter().filter(|u| u.contains("api.github.com")).count();
        (asked, show(&found))
    };
    let newer = SCHEDULE.replace("release: \"1.31\"", "release: \"1.34\"");
    assert_eq!(ask(&newer), (1, "v1.33.90 v1.32.90 v1.30.90".to_owned()));
    // An older one may be on a later page.
    let older = SCHEDULE.replace("release: \"1.31\"", "release: \"1.29\"");
    assert_eq!(ask(&older).0, 4);
}

#[test]
fn lists_that_are_none() {
    let table = [
        (
            "source = { github-tags = \"a/b\" }",
            "{}",
            "recipe thing: https://api.github.com/repos/a/b/tags: list is malformed: ",
        ),
        (
            "source = { text = \"https://e.org/t\" }\nmatch = 'v(.+)'",
            "a\nb\n",
            "recipe thing: https://e.org/t: none of 2 entries is a version of the form v(.+); got a, b, …",
        ),
        (
            "source = { json-index = { url = \"https://e.org/t\", pointer = \"/x\" } }",
            "{\"x\":1}",
            "recipe thing: https://e.org/t: list has no text at \"/x\"",
        ),
        (
            "source = { kubernetes-schedule = \"https://e.org/t\" }",
            "<html>",
            "recipe thing: https://e.org/t: list is malformed: ",
        ),
        (
            "source = { kubernetes-schedule = \"https://e.org/t\" }",
            "schedules: []\n",
            "recipe thing: https://e.org/t: schedule has no releases",
        ),
        ("source = { gitlab-tags = \"gitlab.com/a\" }", "", "recipe thing: gitlab.com/a: is no project, "),
        ("source = { text = \"https://e.org/gone\" }", "", "recipe thing: https://e.org/gone: got 404"),
    ];
    for (versions, body, message) in table {
        let urls = ["https://api.github.com/repos/a/b/tags?per_page=100&page=1", "https://e.org/t"];
        let web = Web::new(urls.map(|u| (u, body.to_owned())));
        let error = all(&recipe(versions), &|u| web.ask(u)).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
