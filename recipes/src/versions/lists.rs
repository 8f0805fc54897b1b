//! Lists of versions as sites publish them.

use serde::Deserialize;
use serde_json::Value;

/// Why a document is no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ListError {
    /// Not JSON, or of another shape.
    #[error("list is malformed: {0}")]
    Malformed(String),
    /// Not UTF-8.
    #[error("list is no UTF-8")]
    Encoding,
    /// The pointer leads nowhere, or to something that is no text.
    #[error("list has no text at {0:?}")]
    Pointer(String),
    /// The pointer leads nowhere, or to something that is no object.
    #[error("list has no object with keys at {0:?}")]
    Keys(String),
    /// Each is a document to fetch.
    #[error("list has {0} branches, expected at most {limit}: match takes some of them", limit = super::BRANCHES)]
    Branches(usize),
    /// Not a project's URL.
    #[error("is no project, expected https://HOST/GROUP/PROJECT")]
    NoProject,
    /// A schedule without releases.
    #[error("schedule has no releases")]
    Schedule,
}

/// The tags of a page that count, and how many entries it has.
pub(super) type Page = (Vec<String>, usize);

#[derive(Deserialize)]
struct Release {
    tag_name: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    prerelease: bool,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
}

fn parse<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, ListError> {
    serde_json::from_slice(body).map_err(|e| ListError::Malformed(e.to_string()))
}

/// A page of releases: the tags that count, and how many entries the page has.
pub(super) fn github_releases(body: &[u8]) -> Result<Page, ListError> {
    let list: Vec<Release> = parse(body)?;
    let count = list.len();
    let tags = list.into_iter().filter(|r| !r.draft && !r.prerelease).map(|r| r.tag_name);
    Ok((tags.collect(), count))
}

/// A page of tags, GitHub's or GitLab's.
pub(super) fn tags(body: &[u8]) -> Result<Page, ListError> {
    let list: Vec<Tag> = parse(body)?;
    let count = list.len();
    Ok((list.into_iter().map(|t| t.name).collect(), count))
}

/// The API's URL for the tags of a project. <https://docs.gitlab.com/api/tags/>
pub(super) fn gitlab_url(project: &str) -> Option<String> {
    let rest = project.trim_end_matches('/').strip_prefix("https://")?;
    let (host, path) = rest.split_once('/').filter(|(_, path)| path.contains('/'))?;
    Some(format!("https://{host}/api/v4/projects/{}/repository/tags", path.replace('/', "%2F")))
}

/// The last part of each link. Directory listings need no more than that of HTML.
pub(super) fn html(body: &[u8]) -> Result<Vec<String>, ListError> {
    let page = std::str::from_utf8(body).map_err(|_| ListError::Encoding)?;
    let mut out = Vec::new();
    let lower = page.to_ascii_lowercase();
    for (at, _) in lower.match_indices("href") {
        let rest = page[at + 4..].trim_start();
        let Some(value) = rest.strip_prefix('=').map(str::trim_start) else { continue };
        let link = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split(quote).next(),
            _ => value.split([' ', '>', '\n', '\t']).next(),
        };
        let path = link.unwrap_or_default().split(['?', '#']).next().unwrap_or_default();
        let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if !last.is_empty() {
            out.push(last.replace("%2B", "+").replace("%2b", "+").replace("&amp;", "&"));
        }
    }
    Ok(out)
}

/// Texts at a JSON pointer in which `*` stands for all members, or the keys of objects there.
pub(super) fn json(body: &[u8], pointer: &str, keys: bool) -> Result<Vec<String>, ListError> {
    let document: Value = parse(body)?;
    let mut values = vec![&document];
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        values = values.into_iter().flat_map(|value| members(value, &part)).collect();
    }
    if keys {
        let objects: Vec<_> = values.iter().filter_map(|value| value.as_object()).collect();
        if objects.is_empty() {
            return Err(ListError::Keys(pointer.to_owned()));
        }
        return Ok(objects.into_iter().flat_map(|object| object.keys().cloned()).collect());
    }
    let texts = values.into_iter().flat_map(|value| match value {
        Value::Array(list) => list.iter().collect(),
        other => vec![other],
    });
    let texts: Vec<String> = texts.filter_map(|v| v.as_str().map(str::to_owned)).collect();
    if texts.is_empty() { Err(ListError::Pointer(pointer.to_owned())) } else { Ok(texts) }
}

fn members<'v>(value: &'v Value, part: &str) -> Vec<&'v Value> {
    match value {
        Value::Array(list) if part == "*" => list.iter().collect(),
        Value::Object(map) if part == "*" => map.values().collect(),
        Value::Array(list) => part.parse::<usize>().ok().and_then(|i| list.get(i)).into_iter().collect(),
        Value::Object(map) => map.get(part).into_iter().collect(),
        _ => Vec::new(),
    }
}

pub(super) fn text(body: &[u8]) -> Result<Vec<String>, ListError> {
    let text = std::str::from_utf8(body).map_err(|_| ListError::Encoding)?;
    Ok(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect())
}
