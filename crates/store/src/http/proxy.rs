//! Which proxy a request takes, by the environment variables that Go's and curl's programs share.

use std::net::IpAddr;

use super::{HttpError, Scheme, Url};
use crate::Environment;

/// The proxy for a URL, if any: `https_proxy` or `http_proxy`, else `all_proxy`, in either case, unless `no_proxy` names the
/// host. Loopback addresses are never asked for by proxy, as with Go's programs.
pub(super) fn select(environment: &Environment, url: &Url) -> Result<Option<ureq::Proxy>, HttpError> {
    let both = |name: &str| {
        let upper = name.to_ascii_uppercase();
        let value = environment.text(name).map(|v| (name.to_owned(), v));
        value.or_else(|| environment.text(&upper).map(|v| (upper.clone(), v)))
    };
    let own = match url.scheme {
        Scheme::Https => "https_proxy",
        Scheme::Http => "http_proxy",
    };
    let Some((variable, address)) = both(own).or_else(|| both("all_proxy")) else { return Ok(None) };
    if is_loopback(url.host()) || both("no_proxy").is_some_and(|(_, list)| excluded(list, url)) {
        return Ok(None);
    }
    // The address may hold a password, so it is not in the message.
    let full = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    ureq::Proxy::new(&full).map(Some).map_err(|_| HttpError::Proxy { variable })
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || address(host).is_some_and(|ip| ip.is_loopback())
}

/// `no_proxy`: host names (which stand for their subdomains, too), addresses, networks in CIDR form, each with an optional
/// port; `*` is all.
fn excluded(list: &str, url: &Url) -> bool {
    list.split([',', ' ']).map(str::trim).filter(|e| !e.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        let host = url.host();
        if let (Some((network, bits)), Some(ip)) = (entry.split_once('/'), address(host)) {
            return within(ip, network, bits);
        }
        if let (Some(entry), Some(ip)) = (address(entry), address(host)) {
            return entry == ip;
        }
        let entry = entry.to_ascii_lowercase();
        let name = match entry.rsplit_once(':') {
            Some((name, port)) if port.parse() == Ok(url.port()) => name,
            Some((_, port)) if port.bytes().all(|b| b.is_ascii_digit()) => return false,
            _ => entry.as_str(),
        };
        let name = name.trim_start_matches('*').trim_start_matches('.');
        host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
    })
}

fn within(ip: IpAddr, network: &str, bits: &str) -> bool {
    let Ok(bits) = bits.parse::<u32>() else { return false };
    let same = |a: u128, b: u128, width: u32| match width.checked_sub(bits) {
        None => false,
        Some(shift) if shift >= 128 => true,
        Some(shift) => a >> shift == b >> shift,
    };
    match (ip, address(network)) {
        (IpAddr::V4(a), Some(IpAddr::V4(b))) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), Some(IpAddr::V6(b))) => same(a.into(), b.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selection() {
        let chosen = |variables: &[(&str, &str)], url: &str| {
            let environment = variables.iter().copied().collect();
            select(&environment, &Url::parse(url).unwrap()).unwrap().map(|p| p.host().to_owned())
        };
        let all = [("HTTPS_PROXY", "http://s:1"), ("http_proxy", "p:2"), ("ALL_PROXY", "socks5://a:3")];
        assert_eq!(chosen(&all, "https://x.io").as_deref(), Some("s"));
        assert_eq!(chosen(&all, "http://x.io").as_deref(), Some("p"));
        assert_eq!(chosen(&all[2..], "http://x.io").as_deref(), Some("a"));
        assert_eq!(chosen(&all[1..2], "https://x.io"), None);
        assert_eq!(chosen(&all, "http://127.0.0.1:5000/"), None);
        assert_eq!(chosen(&all, "http://[::1]:5000/"), None);
        let bad = Environment::from_iter([("https_proxy", "ftp://user:s3cret@x")]);
        let error = select(&bad, &Url::parse("https://x.io").unwrap()).unwrap_err().to_string();
        assert!(error.contains("https_proxy") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn exceptions() {
        for (list, url, expected) in [
            ("x.io", "https://x.io", true),
            ("x.io", "https://a.x.io", true),
            (".x.io", "https://a.x.io", true),
            ("*.x.io", "https://a.x.io", true),
            ("x.io", "https://ax.io", false),
            ("X.io", "https://x.io", true),
            ("a,b, x.io:5000", "https://x.io:5000", true),
            ("x.io:5000", "https://x.io", false),
            ("*", "https://x.io", true),
            ("10.0.0.0/8", "https://10.1.2.3", true),
            ("10.0.0.0/8", "https://11.1.2.3", false),
            ("10.0.0.0/99", "https://10.1.2.3", false),
            ("0.0.0.0/0", "https://10.1.2.3", true),
            ("::/0", "https://[fe80::1]", true),
            ("fe80::/10", "https://[fe80::1]:1", true),
            ("10.1.2.3", "https://10.1.2.3:5", true),
            ("", "https://x.io", false),
        ] {
            assert_eq!(excluded(list, &Url::parse(url).unwrap()), expected, "{list} {url}");
        }
    }
}
