//! When to try again, and how long to wait before.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::HttpError;
use super::pace::is_too_slow;

/// A transfer error that may be transient.
pub trait TransferError: fmt::Display {
    /// The HTTP error, if it is one.
    fn http(&self) -> Option<&HttpError>;
}

impl TransferError for HttpError {
    fn http(&self) -> Option<&HttpError> {
        Some(self)
    }
}

/// Exponential back-off without randomness: a build asks one registry from one machine, not a herd of them.
#[derive(Clone)]
pub struct RetryPolicy {
    /// Requests in all until one makes progress.
    pub attempts: u32,
    /// Pause before the second request; it doubles with each further one.
    pub base: Duration,
    /// The longest pause of our own choice.
    pub cap: Duration,
    /// The longest pause that a registry may ask for with Retry-After; if it wants more, that is an error.
    pub longest: Duration,
    /// How to wait. Tests don't.
    pub sleep: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("attempts", &self.attempts)
            .field("base", &self.base)
            .field("cap", &self.cap)
            .field("longest", &self.longest)
            .finish_non_exhaustive()
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts: 5,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(15),
            longest: Duration::from_secs(120),
            sleep: Arc::new(std::thread::sleep),
        }
    }
}

impl RetryPolicy {
    /// How long to wait after the `failed`th failure in a row (from 1) before the next request; none if there should be
    /// none. `spare` says that there is another place to ask, so that this one needs less patience.
    pub(super) fn pause(&self, error: &dyn TransferError, failed: u32, spare: bool) -> Option<Duration> {
        let error = error.http().filter(|e| e.is_transient())?;
        let attempts = match error {
            HttpError::Connect { refused: true, .. } if spare => 1,
            HttpError::Connect { refused: true, .. } => self.attempts.min(3),
            // Each attempt costs as much time as patience allows.
            HttpError::Body { source, .. } if is_too_slow(source) => self.attempts.min(2),
            _ if spare => self.attempts.min(2),
            _ => self.attempts,
        };
        if failed >= attempts {
            return None;
        }
        let own = self.base.saturating_mul(1 << (failed - 1).min(16)).min(self.cap);
        match error {
            HttpError::Status { retry_after: Some(wanted), .. } if *wanted > self.longest => None,
            HttpError::Status { retry_after: Some(wanted), .. } => Some((*wanted).max(own)),
            _ => Some(own),
        }
    }
}

/// RFC 9110, section 10.2.3: seconds, or a date. The date is held against the answer's own `Date`, so that no clock of ours
/// matters.
pub(super) fn retry_after(value: Option<&str>, date: Option<&str>) -> Option<Duration> {
    let value = value?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let parse = |text: &str| httpdate::parse_http_date(text).ok();
    let (then, now) = (parse(value)?, parse(date?.trim())?);
    // A date that has passed means: now.
    Some(then.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, after: Option<u64>) -> HttpError {
        let retry_after = after.map(Duration::from_secs);
        HttpError::Status { url: String::new(), status, message: String::new(), retry_after }
    }

    #[test]
    fn pauses() {
        let policy = RetryPolicy::default();
        let refused = HttpError::Connect { host: String::new(), message: String::new(), refused: true };
        let ms = |error: &HttpError, spare| -> Vec<u128> {
            (1..).map_while(|n| policy.pause(error, n, spare)).map(|d| d.as_millis()).collect()
        };
        assert_eq!(ms(&status(503, None), false), [500, 1000, 2000, 4000]);
        assert_eq!(ms(&status(503, None), true), [500]);
        assert_eq!(ms(&status(429, Some(3)), false), [3000, 3000, 3000, 4000]);
        assert_eq!(ms(&status(429, Some(1000)), false), [0; 0]);
        assert_eq!(ms(&status(404, None), false), [0; 0]);
        assert_eq!(ms(&refused, false), [500, 1000]);
        assert_eq!(ms(&refused, true), [0; 0]);
        assert_eq!(policy.pause(&status(500, None), 4_000_000_000, false), None);
    }

    #[test]
    fn dates() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for bad in
            ["", "x", "Sun, 06 Xxx 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49", "Sun, 99 Nov 1994 1:1:1"]
        {
            assert_eq!(retry_after(Some(bad), Some(date)), None, "{bad}");
        }
        let after = |value, date| retry_after(Some(value), date).map(|d| d.as_secs());
        assert_eq!(after("7", None), Some(7));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT", Some(date)), Some(60));
        assert_eq!(after(date, Some("Sun, 06 Nov 1994 08:50:37 GMT")), Some(0));
        assert_eq!(
            after("Thu, 29 Feb 2024 12:00:00 GMT", Some("Thu, 01 Jan 1970 00:00:00 GMT")),
            Some(1_709_208_000)
        );
        assert_eq!(after(date, None), None);
        assert_eq!(after("-1", None), None);
        assert_eq!(after("soon", Some(date)), None);
    }
}
