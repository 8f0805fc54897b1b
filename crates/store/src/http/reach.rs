//! Which hosts can't be reached: without a network, one failure has to be enough for all that want something of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::HttpError;

/// For so long, a host that gave no connection isn't tried again for another file.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// What a program has found out about its network. May be used from several threads at once.
#[derive(Debug, Default)]
pub(super) struct Reach {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// There was an answer from anywhere.
    answered: bool,
    /// Hosts that gave no connection when the last attempt was over: since when, and why.
    given_up: HashMap<String, (Instant, String)>,
}

impl Reach {
    /// The error for a host that has been given up just now.
    pub(super) fn check(&self, host: &str, now: Instant) -> Result<(), HttpError> {
        let state = self.state();
        match state.given_up.get(host) {
            Some((since, message)) if now.saturating_duration_since(*since) < GIVEN_UP => {
                Err(HttpError::Connect { host: host.to_owned(), message: message.clone(), refused: true })
            }
            _ => Ok(()),
        }
    }

    /// A host has answered.
    pub(super) fn answered(&self, host: &str) {
        let mut state = self.state();
        state.answered = true;
        state.given_up.remove(host);
    }

    /// The last attempt is over.
    pub(super) fn give_up(&self, error: &HttpError, now: Instant) {
        if let HttpError::Connect { host, message, refused: true } = error {
            self.state().given_up.entry(host.clone()).or_insert_with(|| (now, message.clone()));
        }
    }

    /// Whether patience is in vain: the host has been given up, or another one has and none has ever answered.
    pub(super) fn is_hopeless(&self, error: &HttpError) -> bool {
        let HttpError::Connect { host, refused: true, .. } = error else { return false };
        let state = self.state();
        state.given_up.contains_key(host) || (!state.answered && !state.given_up.is_empty())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(host: &str) -> HttpError {
        HttpError::Connect { host: host.into(), message: "no network".into(), refused: true }
    }

    #[test]
    fn one_failure_is_enough_without_a_network() {
        let (reach, now) = (Reach::default(), Instant::now());
        assert!(!reach.is_hopeless(&refused("a")));
        reach.give_up(&refused("a"), now);
        assert_eq!(reach.check("a", now).unwrap_err().to_string(), "a: no network");
        assert!(reach.check("b", now).is_ok());
        // Nobody has answered: a second host isn't worth several attempts.
        assert!(reach.is_hopeless(&refused("b")));
        let broken = HttpError::Connect { host: "b".into(), message: "broken".into(), refused: false };
        assert!(!reach.is_hopeless(&broken));

        // One that is down among others.
        reach.answered("b");
        assert!(reach.is_hopeless(&refused("a")) && !reach.is_hopeless(&refused("c")));
        // It is asked again later, and its answer counts.
        assert!(reach.check("a", now + GIVEN_UP).is_ok());
        reach.answered("a");
        assert!(!reach.is_hopeless(&refused("a")) && reach.check("a", now).is_ok());
        // A connection that breaks is no reason.
        reach.give_up(&broken, now);
        assert!(reach.check("b", now).is_ok());
    }
}
