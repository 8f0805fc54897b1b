//! Bodies that come too slowly. Silence is what the connection's own timeouts see; here it is a byte now and then.

use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

/// How slow a body may be: fewer than `rate` bytes a second over `window` are an error. Only the time that the server is waited for counts,
/// not what the reader does in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes a second. 0: any rate will do.
    pub rate: u64,
    /// How long it may be less.
    pub window: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { rate: 1 << 10, window: Duration::from_secs(30) }
    }
}

/// A body that is too slow.
#[derive(Debug, thiserror::Error)]
pub(super) enum TooSlow {
    /// [`Pace`].
    #[error("got fewer than {rate} bytes a second over {} s", .window.as_secs_f32())]
    Rate { rate: u64, window: Duration },
    /// A small document.
    #[error("is not complete after {} s", .0.as_secs_f32())]
    Deadline(Duration),
}

impl From<TooSlow> for io::Error {
    fn from(e: TooSlow) -> Self {
        io::Error::new(ErrorKind::TimedOut, e)
    }
}

/// Whether this error is about a server that sends, but hardly.
pub(super) fn is_too_slow(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|e| e.is::<TooSlow>())
}

/// A reader that has to keep a pace.
pub(super) struct Paced<R> {
    inner: R,
    pace: Pace,
    waited: Duration,
    /// Bytes that came in that time.
    got: u64,
}

impl<R> Paced<R> {
    pub(super) fn new(inner: R, pace: Pace) -> Self {
        Paced { inner, pace, waited: Duration::ZERO, got: 0 }
    }

    fn count(&mut self, waited: Duration, bytes: usize) -> Result<(), TooSlow> {
        let Pace { rate, window } = self.pace;
        self.waited += waited;
        self.got = self.got.saturating_add(bytes as u64);
        if self.waited < window {
            return Ok(());
        }
        let wanted = (rate as f64 * self.waited.as_secs_f64()) as u64;
        if self.got < wanted {
            return Err(TooSlow::Rate { rate, window });
        }
        (self.waited, self.got) = (Duration::ZERO, 0);
        Ok(())
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let start = Instant::now();
        let n = self.inner.read(buf)?;
        // The end is never late.
        if n > 0 {
            self.count(start.elapsed(), n)?;
        }
        Ok(n)
    }
}

/// A reader that has to be through in time.
pub(super) struct Deadline<R> {
    inner: R,
    limit: Duration,
    start: Instant,
}

impl<R> Deadline<R> {
    pub(super) fn new(inner: R, limit: Duration) -> Self {
        Deadline { inner, limit, start: Instant::now() }
    }
}

impl<R: Read> Read for Deadline<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if n > 0 && self.start.elapsed() > self.limit {
            return Err(TooSlow::Deadline(self.limit).into());
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_a_window() {
        let second = Duration::from_secs(1);
        let pace = Pace { rate: 100, window: 10 * second };
        let mut paced = Paced::new(io::empty(), pace);
        // A thousand at once pay for ten seconds, and nothing is saved for later windows.
        paced.count(second, 1000).unwrap();
        for _ in 0..8 {
            paced.count(second, 1).unwrap();
        }
        paced.count(second, 1).unwrap();
        for _ in 0..9 {
            paced.count(second, 100).unwrap();
        }
        let error = paced.count(second, 99).unwrap_err();
        assert_eq!(error.to_string(), "got fewer than 100 bytes a second over 10 s");
        let mut any = Paced::new(io::empty(), Pace { rate: 0, window: second });
        any.count(1000 * second, 1).unwrap();
    }

    #[test]
    fn what_is_late_is_an_error_and_what_is_complete_is_not() {
        let mut bytes = Vec::new();
        let error = Deadline::new(&b"x"[..], Duration::ZERO).read_to_end(&mut bytes).unwrap_err();
        assert!(is_too_slow(&error), "{error}");
        assert_eq!(Deadline::new(&b""[..], Duration::ZERO).read_to_end(&mut bytes).unwrap(), 0);
        assert!(!is_too_slow(&ErrorKind::TimedOut.into()));
    }
}
