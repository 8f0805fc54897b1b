//! `WWW-Authenticate`. RFC 9110, section 11.6.1: several headers, several challenges in one, parameters in either form.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Lower case: `bearer`, `basic`.
    pub scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All challenges of some headers. What can't be understood ends its header.
    pub(super) fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Vec<Challenge> {
        let mut out = Vec::new();
        for header in headers {
            let mut rest = header;
            while let Some(after) = one(rest, &mut out) {
                rest = after;
            }
        }
        out
    }
}

/// Takes a scheme, or a parameter of the last scheme. Returns what is behind it.
fn one<'a>(text: &'a str, out: &mut Vec<Challenge>) -> Option<&'a str> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let end = text.find(|c: char| !is_token(c)).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if word.is_empty() {
        return None;
    }
    let after = rest.trim_start_matches([' ', '\t']);
    match after.strip_prefix('=') {
        // token68 (`Negotiate abc==`) has its padding here; no scheme of ours uses it.
        Some(value) if !value.starts_with('=') => {
            let (value, rest) = parameter(value.trim_start_matches([' ', '\t']))?;
            let last = out.last_mut()?;
            last.parameters.push((word.to_ascii_lowercase(), value));
            Some(rest)
        }
        Some(_) => Some(after.trim_start_matches('=')),
        None => {
            out.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
            Some(rest)
        }
    }
}

fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Registries forget the quotes around addresses, so everything up to a comma or blank counts.
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(headers: &[&str]) -> Vec<String> {
        let show = |c: &Challenge| {
            let parameters: Vec<String> = c.parameters.iter().map(|(n, v)| format!("{n}={v}")).collect();
            format!("{} {}", c.scheme, parameters.join("|")).trim_end().to_owned()
        };
        Challenge::parse(headers.iter().copied()).iter().map(show).collect()
    }

    #[test]
    fn forms() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#;
        for (headers, expected) in [
            (
                vec![hub],
                vec![
                    "bearer realm=https://auth.docker.io/token|service=registry.docker.io|scope=repository:a/b:pull",
                ],
            ),
            (vec!["Basic realm=\"x, y\", Bearer realm=z"], vec!["basic realm=x, y", "bearer realm=z"]),
            (vec!["Negotiate", "BASIC Realm = \"a\\\"b\""], vec!["negotiate", "basic realm=a\"b"]),
            (vec!["Negotiate abc==, Basic realm=x"], vec!["negotiate", "basic realm=x"]),
            (vec!["Bearer realm=https://h/t?a,service=s"], vec!["bearer realm=https://h/t?a|service=s"]),
            (vec![", ,Basic"], vec!["basic"]),
            (vec!["Bearer realm=\"open"], vec!["bearer"]),
            (vec!["realm=x"], vec![]),
            (vec!["", "\u{e9}", "=", "\""], vec![]),
        ] {
            assert_eq!(show(&headers), expected, "{headers:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,80}|[Ba =\",\\\\]{0,40}") {
            Challenge::parse([text.as_str()]);
        }
    }
}
