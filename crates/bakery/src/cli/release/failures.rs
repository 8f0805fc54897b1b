//! What couldn't be had while a plan was made: many failures with one cause are one line.

use std::collections::{BTreeMap, BTreeSet};

use recipes::context::BuildContext;
use recipes::fetch::{FetchCause, FetchError};
use recipes::pin::{PinCause, PinError};
use recipes::versions::VersionsError;
use store::HttpError;
use tree::{Event, list_some};

use super::super::hint;

/// Names in a line that stands for many.
const NAMES: usize = 3;

/// Extensions, or builds of them, that something is wrong with.
#[derive(Debug, Default)]
pub(super) struct Failures {
    list: Vec<(String, anyhow::Error)>,
}

impl Failures {
    pub(super) fn add(&mut self, name: String, error: anyhow::Error) {
        self.list.push((name, error));
    }

    /// Reports them, and gives their names.
    pub(super) fn tell(self, context: BuildContext<'_>) -> Vec<String> {
        for line in self.lines() {
            context.events.event(Event::Warning(line.into()));
        }
        self.list.into_iter().map(|(name, _)| name).collect()
    }

    fn lines(&self) -> Vec<String> {
        let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, (_, error)) in self.list.iter().enumerate() {
            groups.entry(common(error).map_or_else(|| format!("{at}"), |c| c.text)).or_default().push(at);
        }
        // In the order of the first of each.
        let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
        groups.sort();
        groups.iter().map(|group| self.line(group)).collect()
    }

    fn line(&self, group: &[usize]) -> String {
        let of = |at: &usize| self.list.get(*at);
        let errors: Vec<&anyhow::Error> = group.iter().filter_map(of).map(|(_, error)| error).collect();
        let Some(first) = errors.first() else { return String::new() };
        let hint = first.chain().find_map(hint).map(|h| format!("; {h}")).unwrap_or_default();
        let common: Vec<Common> = errors.iter().filter_map(|error| common(error)).collect();
        match common.first().filter(|_| errors.len() > 1) {
            None => format!("{}{hint}", cli::reasons(first.as_ref())),
            Some(Common { text, .. }) => {
                let hosts: BTreeSet<&str> = common.iter().filter_map(|c| c.host.as_deref()).collect();
                let hosts =
                    if hosts.is_empty() { String::new() } else { format!("{}: ", list_some(hosts, NAMES)) };
                let names: BTreeSet<&str> = group.iter().filter_map(of).map(|(name, _)| &**name).collect();
                format!("{} failed: {}: {hosts}{text}{hint}", errors.len(), list_some(names, NAMES))
            }
        }
    }
}

/// A cause that has nothing to do with the extension.
struct Common {
    text: String,
    host: Option<String>,
}

fn common(error: &anyhow::Error) -> Option<Common> {
    match &error.chain().find_map(fetch)?.cause {
        cause @ FetchCause::Offline => Some(Common { text: cause.to_string(), host: None }),
        FetchCause::Http(e) => match e.as_ref() {
            HttpError::Connect { host, message, refused: true } => {
                Some(Common { text: message.clone(), host: Some(host.clone()) })
            }
            _ => None,
        },
        _ => None,
    }
}

/// The failed request that an error is about.
fn fetch<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e FetchError> {
    let of_list = |error: &'e VersionsError| match error {
        VersionsError::Ask { source, .. } => source.downcast_ref::<FetchError>(),
        _ => None,
    };
    if let Some(error) = error.downcast_ref::<VersionsError>() {
        return of_list(error);
    }
    match &*error.downcast_ref::<PinError>()?.cause {
        PinCause::Fetch(error) => Some(error),
        PinCause::Versions(error) => of_list(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(url: &str, cause: FetchCause) -> anyhow::Error {
        let error = FetchError { url: url.into(), location: None, cause, others: Vec::new() };
        VersionsError::Ask { recipe: "x".into(), source: Box::new(error) }.into()
    }

    fn unresolved(host: &str) -> FetchCause {
        let message = "name can't be resolved".into();
        HttpError::Connect { host: host.into(), message, refused: true }.into()
    }

    #[test]
    fn many_failures_with_one_cause_are_one_line() {
        let mut failures = Failures::default();
        let gone = HttpError::NotFound { url: "https://c.example/l".into(), message: String::new() };
        failures.add("a".into(), failed("https://a.example/l", unresolved("a.example")));
        failures.add("c".into(), failed("https://c.example/l", gone.into()));
        for name in ["b", "d", "e", "f"] {
            failures.add(name.into(), failed("https://b.example/l", unresolved("b.example")));
        }
        let lines = failures.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        let many = "5 failed: a, b, d and 2 more: a.example, b.example: name can't be resolved; ";
        assert!(lines[0].starts_with(many), "{lines:?}");
        assert!(lines[1].starts_with("recipe x: https://c.example/l: not found"), "{lines:?}");

        let mut failures = Failures::default();
        failures.add("a".into(), failed("https://a.example/l", FetchCause::Offline));
        failures.add("b".into(), failed("https://b.example/l", FetchCause::Offline));
        let line = "2 failed: a, b: not in the cache, and network access is off; run once without --offline";
        assert_eq!(failures.lines(), [line]);
    }
}
