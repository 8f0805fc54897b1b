//! Redirects.

use super::connection::{Connections, Response};
use super::{HttpError, Url};

/// Redirects that are followed for one request. As many as Go's client follows, which registries are tested with.
const REDIRECTS: usize = 10;

/// Which servers a request may be sent to.
pub trait RedirectPolicy {
    /// Whether TLS may go unverified there.
    fn is_insecure(&self, url: &Url) -> bool;

    /// Whether a redirect may be followed.
    ///
    /// # Errors
    /// It may not.
    fn check(&self, from: &Url, to: &Url) -> Result<(), HttpError>;
}

pub(super) fn follow(
    connections: &Connections,
    url: &Url,
    authorization: Option<&str>,
    headers: &[(&str, &str)],
    policy: &dyn RedirectPolicy,
) -> Result<Response, HttpError> {
    let mut at = url.clone();
    let mut seen = vec![url.full()];
    for _ in 0..=REDIRECTS {
        let mut all = headers.to_vec();
        if let Some(authorization) = authorization.filter(|_| at.same_origin(url)) {
            all.push(("authorization", authorization));
        }
        let mut response = connections.send(&at, policy.is_insecure(&at), &all, None)?;
        response.foreign = !at.same_origin(url);
        if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(response);
        }
        let bad = |message: String| HttpError::Redirect { url: at.to_string(), message };
        let location = response.headers.get("location").map(|v| v.as_bytes().trim_ascii());
        let location = location.filter(|l| !l.is_empty()).ok_or_else(|| bad("leads nowhere".into()))?;
        let next = at.join_bytes(location).map_err(|e| bad(format!("leads to an address that {e}")))?;
        policy.check(&at, &next)?;
        if seen.contains(&next.full()) {
            return Err(bad("leads in a circle".into()));
        }
        seen.push(next.full());
        at = next;
    }
    let message = format!("leads on more than {REDIRECTS} times");
    Err(HttpError::Redirect { url: url.to_string(), message })
}
