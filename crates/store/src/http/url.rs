//! URLs: http and https, absolute, without user and password. What a server sends is refused or escaped, never normalized as
//! browsers do: a cache key and a same-origin check want one spelling. RFC 3986.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Port 80.
    Http,
    /// Port 443.
    Https,
}

impl Scheme {
    fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }
}

/// An absolute URL without user, password and fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether TLS is spoken.
    pub scheme: Scheme,
    /// Host and port as they stand there, lower case.
    pub authority: String,
    /// Starts with a slash.
    path: String,
    /// With its question mark; may hold the signature that opens a blob store.
    query: String,
}

/// Without the query, which may be secret.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Url {
    /// `path` starts with a slash.
    pub fn new(scheme: Scheme, authority: &str, path: &str) -> Url {
        Url { scheme, authority: authority.to_ascii_lowercase(), path: path.into(), query: String::new() }
    }

    /// # Errors
    /// What is wrong, without the text.
    pub fn parse(text: &str) -> Result<Url, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("has no scheme")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err("has a scheme other than http and https"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.contains('@') {
            return Err("has a user name");
        }
        if !is_authority(authority) {
            return Err("has no valid host");
        }
        let mut url = Url::new(scheme, authority, "/");
        url.set_rest(rest)?;
        Ok(url)
    }

    fn set_rest(&mut self, rest: &str) -> Result<(), &'static str> {
        let rest = rest.split('#').next().unwrap_or_default();
        if !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("has characters that need an escape");
        }
        let (path, query) = match rest.find('?') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        self.path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
        self.query = query.into();
        Ok(())
    }

    /// Where a `Location` header leads, whatever stands in it: what needs an escape and has none gets one, as in browsers.
    ///
    /// # Errors
    /// What is wrong, without the text.
    pub(crate) fn join_bytes(&self, location: &[u8]) -> Result<Url, &'static str> {
        if location.iter().any(u8::is_ascii_control) {
            return Err("has control characters");
        }
        self.join(&percent_encode(location, NEED_ESCAPE).to_string())
    }

    /// RFC 3986, section 5.2.
    fn join(&self, location: &str) -> Result<Url, &'static str> {
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(&format!("{}://{rest}", self.scheme));
        }
        // A colon may stand in a path (sha256:…), but only behind a slash.
        if location.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':')) {
            return Url::parse(location);
        }
        let mut url = self.clone();
        if location.starts_with('/') {
            url.set_rest(location)?;
        } else if location.starts_with('?') {
            url.set_rest(&format!("{}{location}", self.path))?;
        } else {
            let dir = self.path.rfind('/').map_or("", |slash| &self.path[..slash]);
            url.set_rest(&format!("{dir}/{location}"))?;
        }
        url.path = without_dots(&url.path);
        Ok(url)
    }

    /// Adds a parameter to the query.
    pub fn with(mut self, name: &str, value: &str) -> Url {
        self.query.push(if self.query.is_empty() { '?' } else { '&' });
        self.query.push_str(&form_encode(name));
        self.query.push('=');
        self.query.push_str(&form_encode(value));
        self
    }

    /// All of it.
    pub fn full(&self) -> String {
        format!("{self}{}", self.query)
    }

    /// Whether credentials for one may be sent to the other.
    pub fn same_origin(&self, other: &Url) -> bool {
        (self.scheme, self.host(), self.port()) == (other.scheme, other.host(), other.port())
    }

    /// Without the port; IPv6 addresses in brackets.
    pub fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => host,
            _ => &self.authority,
        }
    }

    /// That of the URL, or of its scheme.
    pub fn port(&self) -> u16 {
        let port = self.authority[self.host().len()..].strip_prefix(':').and_then(|p| p.parse().ok());
        port.unwrap_or_else(|| self.scheme.default_port())
    }
}

/// Host with an optional port: names, IPv4, IPv6 in brackets.
pub fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match port.strip_prefix(':') {
                None => return port.is_empty(),
                Some(port) => ("ipv6", Some(port)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    host.split('.').all(label)
        && port.is_none_or(|p| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|p| p > 0))
}

/// Host and port of a URL. Laxer than those of references: buckets have names with underscores, and with hyphens at the end.
fn is_authority(text: &str) -> bool {
    if is_domain(text) {
        return true;
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let label =
        |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let digits = |p: &str| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|p| p > 0);
    host.strip_suffix('.').unwrap_or(host).split('.').all(label) && port.is_none_or(digits)
}

/// RFC 3986, section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    out.pop();
                }
                if last {
                    out.push("");
                }
            }
            segment => out.push(segment),
        }
    }
    format!("/{}", out.join("/"))
}

/// What may stand in no part of a URL. RFC 3986, section 2.
const NEED_ESCAPE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// For a name or value in a query or a form.
pub fn form_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        for (text, host, port, full) in [
            ("https://Quay.IO", "quay.io", 443, "https://quay.io/"),
            ("http://h:5000/a?b=c#d", "h", 5000, "http://h:5000/a?b=c"),
            ("https://[::1]:5000/x", "[::1]", 5000, "https://[::1]:5000/x"),
            ("HTTP://[::1]?q", "[::1]", 80, "http://[::1]/?q"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host(), url.port(), url.full().as_str()), (host, port, full));
        }
        for bad in ["", "/x", "ftp://x/", "file:///etc/passwd", "https://", "https://a b/", "https://h/a b"] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Url::parse("https://u:p@h/"), Err("has a user name"));
        assert_eq!(Url::parse("https://h/x?sig=secret").unwrap().to_string(), "https://h/x");
    }

    #[test]
    fn joins() {
        let base = Url::parse("https://h:1/v2/x/blobs/y?z").unwrap();
        for (location, full) in [
            ("/a?b", "https://h:1/a?b"),
            ("c", "https://h:1/v2/x/blobs/c"),
            ("//other/a", "https://other/a"),
            ("http://o/a", "http://o/a"),
            ("/blobs/sha256:1", "https://h:1/blobs/sha256:1"),
        ] {
            assert_eq!(base.join(location).unwrap().full(), full);
        }
        for (location, full) in [
            ("/a b/\u{e9}?x=y z", "https://h:1/a%20b/%C3%A9?x=y%20z"),
            ("/a%20b?sig=%2F", "https://h:1/a%20b?sig=%2F"),
            ("../up?q", "https://h:1/v2/x/up?q"),
            ("./././c", "https://h:1/v2/x/blobs/c"),
            ("../../../../../a/..", "https://h:1/"),
            ("/a/./b/../c/", "https://h:1/a/c/"),
            ("?new", "https://h:1/v2/x/blobs/y?new"),
            ("https://my_bucket.s3.example/k", "https://my_bucket.s3.example/k"),
            ("https://bucket-.s3.example:9000/k", "https://bucket-.s3.example:9000/k"),
            ("//h.example./k", "https://h.example./k"),
        ] {
            assert_eq!(base.join_bytes(location.as_bytes()).unwrap().full(), full);
        }
        for bad in
            [&b"/a\r\nX: y"[..], b"/a\0", b"https://a b/", b"https://h..x/", b"https://h:0/", b"https://_@x/"]
        {
            assert!(base.join_bytes(bad).is_err(), "{bad:?}");
        }
        assert!(base.join("javascript:x").is_err());
        assert!(base.join("/a\r\nX: y").is_err());
        assert_eq!(base.clone().with("a b", "c&d").full(), "https://h:1/v2/x/blobs/y?z&a%20b=c%26d");
        for (a, b, same) in [
            ("https://h/", "https://h:443/x", true),
            ("https://h/", "http://h/", false),
            ("https://h/", "https://h:444/", false),
            ("https://h/", "https://x.h/", false),
        ] {
            assert_eq!(Url::parse(a).unwrap().same_origin(&Url::parse(b).unwrap()), same);
        }
    }
}
