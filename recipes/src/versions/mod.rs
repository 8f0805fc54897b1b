//! Which versions upstream has: lists are fetched, entries filtered, and the newest ones chosen.

mod lists;
pub use lists::ListError;

mod schedule;

use std::collections::BTreeSet;
use std::error::Error;

use crate::{
    format::{BRANCH, Latest, Pattern, SourceTable},
    recipe::{Query, Recipe},
    version::{Version, compare},
};

/// Fetches a document by its URL. For tests something else than the network.
pub type Ask<'a> = dyn Fn(&str) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> + 'a;

/// The schedule of Kubernetes' releases, for extensions that follow it without listing it.
pub(crate) const KUBERNETES_SCHEDULE: &str =
    "https://raw.githubusercontent.com/kubernetes/website/main/data/releases/schedule.yaml";

/// Pages of a list that are asked for. GitHub has a hundred entries on each.
const PAGES: usize = 20;
const PER_PAGE: usize = 100;
/// Documents of branches that are asked for.
const BRANCHES: usize = 50;

/// Why there are no versions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum VersionsError {
    /// A list can't be fetched. The source names its URL.
    #[error("recipe {recipe}: {source}")]
    Ask { recipe: String, source: Box<dyn Error + Send + Sync> },
    /// A list isn't what it should be.
    #[error("recipe {recipe}: {url}: {source}")]
    List { recipe: String, url: String, source: ListError },
    /// A promise of this module is broken.
    #[error("internal error: recipe {recipe}: {message}")]
    Internal { recipe: String, message: &'static str },
    /// No entry has the form that the recipe asks for.
    #[error("recipe {recipe}: {url}: none of {entries} entries is a version of the form {pattern}{}", beginning(.first))]
    None {
        recipe: String,
        /// Where the list is.
        url: String,
        /// How many there are.
        entries: usize,
        pattern: String,
        first: Vec<String>,
    },
}

fn beginning(list: &[String]) -> String {
    if list.is_empty() { String::new() } else { format!("; got {}, …", list.join(", ")) }
}

/// How much of a list is wanted. Releases on GitHub are listed by time, so the rest of the list need not be fetched when it
/// is found.
enum Wanted<'a> {
    All,
    Newest,
    /// The newest version of so many minor versions.
    Minors(usize),
    /// The newest version of each of these minor versions that is released.
    Each(&'a BTreeSet<String>),
}

impl Wanted<'_> {
    fn is_found(&self, versions: &[Version]) -> bool {
        let minors = || versions.iter().map(|v| v.minor().to_owned()).collect::<BTreeSet<_>>();
        // Versions are the newest first. What is newer than all isn't released yet, and is on no later page.
        let is_ahead = |minor: &str| versions.first().is_some_and(|v| compare(minor, v.minor()).is_gt());
        match self {
            Wanted::All => false,
            Wanted::Newest => !versions.is_empty(),
            Wanted::Minors(count) => minors().len() >= *count,
            Wanted::Each(these) => {
                let found = minors();
                !versions.is_empty() && these.iter().all(|minor| found.contains(minor) || is_ahead(minor))
            }
        }
    }
}

/// The versions that are built if none is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestVersions {
    /// Newest first.
    pub versions: Vec<Version>,
    /// A problem with the lists, for the user.
    pub warning: Option<String>,
}

fn own_query(recipe: &Recipe) -> Query {
    Query {
        name: recipe.name().to_string(),
        source: recipe.source().clone(),
        pattern: recipe.pattern().cloned(),
    }
}

/// All versions that a recipe's list has, newest first.
///
/// # Errors
/// The list can't be had, or has none.
pub fn all(recipe: &Recipe, ask: &Ask<'_>) -> Result<Vec<Version>, VersionsError> {
    of(recipe, &own_query(recipe), &Wanted::All, ask)
}

/// The value of a parameter: the newest of its list.
///
/// # Errors
/// The list can't be had, or has none.
pub fn parameter(recipe: &Recipe, query: &Query, ask: &Ask<'_>) -> Result<String, VersionsError> {
    let newest = of(recipe, query, &Wanted::Newest, ask)?.into_iter().next();
    let newest = newest.ok_or_else(|| VersionsError::Internal {
        recipe: recipe.name().to_string(),
        message: "a list without versions was taken for one with",
    })?;
    Ok(newest.as_str().to_owned())
}

/// The versions that are built if none is named. No more of the list is fetched than is needed for them.
///
/// # Errors
/// A list can't be had.
pub fn latest(recipe: &Recipe, ask: &Ask<'_>) -> Result<LatestVersions, VersionsError> {
    let own = |wanted: &Wanted<'_>| of(recipe, &own_query(recipe), wanted, ask);
    let (versions, warning) = match recipe.latest() {
        Latest::Newest => (own(&Wanted::Newest)?.into_iter().take(1).collect(), None),
        Latest::NewestPerMinor => {
            let all = own(&Wanted::Minors(recipe.minors()))?;
            (newest_per_minor(&all).into_iter().take(recipe.minors()).collect(), None)
        }
        Latest::KubernetesMinors => {
            let wrong = |source| error(recipe, KUBERNETES_SCHEDULE, source);
            let text = ask(KUBERNETES_SCHEDULE)
                .map_err(|source| VersionsError::Ask { recipe: recipe.name().to_string(), source })?;
            let minors: BTreeSet<String> = schedule::minors(&text).map_err(wrong)?.into_iter().collect();
            supported(recipe, &minors, &own(&Wanted::Each(&minors))?)
        }
    };
    Ok(LatestVersions { versions, warning })
}

/// The newest version of each minor version that the schedule has, and of those that came out after it was written: the
/// website's schedule has lagged behind the releases by weeks.
fn supported(recipe: &Recipe, minors: &BTreeSet<String>, all: &[Version]) -> (Vec<Version>, Option<String>) {
    let last = minors.iter().max_by(|a, b| compare(a, b));
    let is_newer = |v: &Version| last.is_some_and(|last| compare(v.minor(), last).is_gt());
    let newest = newest_per_minor(all).into_iter();
    let versions: Vec<Version> = newest.filter(|v| minors.contains(v.minor()) || is_newer(v)).collect();
    let warning = versions.first().filter(|v| is_newer(v)).zip(last).map(|(first, last)| {
        format!(
            "{}: {KUBERNETES_SCHEDULE} is older than upstream's releases: it ends at {last}, but {first} has been released",
            recipe.name()
        )
    });
    (versions, warning)
}

/// The same of what is pinned; nobody is asked. Which minor versions of Kubernetes are supported isn't known then: all are taken.
pub fn latest_pinned(recipe: &Recipe, mut pinned: Vec<Version>) -> Vec<Version> {
    pinned.sort_by(|a, b| compare(b.as_str(), a.as_str()).then_with(|| b.cmp(a)));
    pinned.dedup();
    match recipe.latest() {
        Latest::Newest => pinned.into_iter().take(1).collect(),
        Latest::NewestPerMinor => newest_per_minor(&pinned).into_iter().take(recipe.minors()).collect(),
        Latest::KubernetesMinors => newest_per_minor(&pinned),
    }
}

fn newest_per_minor(all: &[Version]) -> Vec<Version> {
    let mut seen = BTreeSet::new();
    all.iter().filter(|v| seen.insert(v.minor().to_owned())).cloned().collect()
}

fn error(recipe: &Recipe, url: &str, source: ListError) -> VersionsError {
    VersionsError::List { recipe: recipe.name().to_string(), url: url.to_owned(), source }
}

fn of(
    recipe: &Recipe,
    query: &Query,
    wanted: &Wanted<'_>,
    ask: &Ask<'_>,
) -> Result<Vec<Version>, VersionsError> {
    let text = query.source.template().as_str();
    let name = || recipe.name().to_string();
    let get = |url: &str| ask(url).map_err(|source| VersionsError::Ask { recipe: name(), source });
    let enough = |entries: &[String]| wanted.is_found(&chosen(entries, query.pattern.as_ref()));
    // Tags are in no order of time.
    let never = |_: &[String]| false;
    let (entries, shown) = match &query.source {
        SourceTable::GithubReleases(_) => {
            let url = format!("https://api.github.com/repos/{text}/releases");
            pages(recipe, &url, &get, lists::github_releases, &enough)?
        }
        SourceTable::GithubTags(_) => {
            pages(recipe, &format!("https://api.github.com/repos/{text}/tags"), &get, lists::tags, &never)?
        }
        SourceTable::GitlabTags(_) => {
            let url = lists::gitlab_url(text).ok_or_else(|| error(recipe, text, ListError::NoProject))?;
            pages(recipe, &url, &get, lists::tags, &never)?
        }
        SourceTable::JsonIndex { pointer, keys, branches: Some(branches), .. } => {
            let query = Query {
                name: query.name.clone(),
                source: branches.source.clone(),
                pattern: branches.r#match.clone(),
            };
            let branches = of(recipe, &query, &Wanted::All, ask)?;
            if branches.len() > BRANCHES {
                let list = query.source.template().as_str();
                return Err(error(recipe, list, ListError::Branches(branches.len())));
            }
            let mut entries = Vec::new();
            for branch in branches {
                let url = text.replace(&format!("{{{BRANCH}}}"), branch.as_str());
                let found = lists::json(&get(&url)?, pointer, *keys);
                entries.extend(found.map_err(|e| error(recipe, &url, e))?);
                if enough(&entries) {
                    break;
                }
            }
            (entries, text.to_owned())
        }
        other => {
            let body = get(text)?;
            let entries = match other {
                SourceTable::HtmlIndex(_) => lists::html(&body),
                SourceTable::JsonIndex { pointer, keys, .. } => lists::json(&body, pointer, *keys),
                SourceTable::KubernetesSchedule(_) => schedule::releases(&body),
                _ => lists::text(&body),
            };
            (entries.map_err(|e| error(recipe, text, e))?, text.to_owned())
        }
    };
    let versions = chosen(&entries, query.pattern.as_ref());
    if versions.is_empty() {
        let pattern = query.pattern.as_ref().map_or("any version", Pattern::as_str).to_owned();
        let first = entries.iter().take(3).cloned().collect();
        return Err(VersionsError::None {
            recipe: name(),
            url: shown,
            entries: entries.len(),
            pattern,
            first,
        });
    }
    Ok(versions)
}

/// A list that comes in pages, up to the page that makes it enough. Says its URL, too.
fn pages(
    recipe: &Recipe,
    url: &str,
    get: &dyn Fn(&str) -> Result<Vec<u8>, VersionsError>,
    parse: fn(&[u8]) -> Result<lists::Page, ListError>,
    enough: &dyn Fn(&[String]) -> bool,
) -> Result<(Vec<String>, String), VersionsError> {
    let mut out = Vec::new();
    for page in 1..=PAGES {
        let body = get(&format!("{url}?per_page={PER_PAGE}&page={page}"))?;
        let (entries, count) = parse(&body).map_err(|e| error(recipe, url, e))?;
        out.extend(entries);
        if count < PER_PAGE || enough(&out) {
            break;
        }
    }
    Ok((out, url.to_owned()))
}

/// Entries of the right form as versions, newest first, each once. What is no version (a branch's name with a slash, say) is
/// none of ours.
fn chosen(entries: &[String], pattern: Option<&Pattern>) -> Vec<Version> {
    let found = entries.iter().filter_map(|entry| match pattern {
        Some(pattern) => pattern.find(entry),
        None => Some(entry.as_str()),
    });
    let mut versions: Vec<Version> = found.filter_map(|v| v.parse().ok()).collect();
    versions.sort_by(|a, b| compare(b.as_str(), a.as_str()).then_with(|| b.cmp(a)));
    versions.dedup();
    versions
}

#[cfg(test)]
mod tests;
