//! What all transfers of a program share.

use std::time::{Duration, Instant};

use tree::{Event, Events};

use super::connection::{Connections, Response};
use super::options::HttpOptions;
use super::redirect::{self, RedirectPolicy};
use super::retry::{RetryPolicy, TransferError};
use super::tls::Trust;
use super::{HttpError, Url};
use crate::Environment;

/// Connections to servers, and when to try again. May be used from several threads at once.
#[derive(Debug)]
pub struct HttpClient {
    connections: Connections,
    pub(super) retry: RetryPolicy,
}

impl HttpClient {
    /// A client without connections. The environment says which proxies to use.
    pub fn new(options: HttpOptions, environment: Environment) -> HttpClient {
        let trust = Trust::new(options.ca_files.clone(), options.certs_dirs.clone());
        let retry = options.retry.clone();
        let connections = Connections::new(environment, trust, options);
        HttpClient { connections, retry }
    }

    /// One POST of a form, without redirects.
    ///
    /// # Errors
    /// No answer.
    pub fn post_form(&self, url: &Url, insecure: bool, form: &str) -> Result<Response, HttpError> {
        self.connections.send(url, insecure, &[], Some(form))
    }

    /// A GET that follows redirects as far as `policy` allows. The authorization stays with its origin.
    ///
    /// # Errors
    /// No answer, or a redirect that isn't followed. A status that is no success is no error.
    pub fn get(
        &self,
        url: &Url,
        authorization: Option<&str>,
        headers: &[(&str, &str)],
        policy: &dyn RedirectPolicy,
    ) -> Result<Response, HttpError> {
        redirect::follow(&self.connections, url, authorization, headers, policy)
    }

    /// Retries after transient failures. `spare` means that there is another server to ask.
    ///
    /// # Errors
    /// The last attempt's.
    pub fn retrying<T, E: TransferError>(
        &self,
        spare: bool,
        events: &dyn Events,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut failed = 0;
        loop {
            let error = match attempt() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            failed += 1;
            match self.pause(&error, failed, spare) {
                Some(pause) => self.wait(&error, pause, events),
                None => return Err(error),
            }
        }
    }

    /// How long to wait before the next attempt; none if there should be none.
    pub(super) fn pause(&self, error: &dyn TransferError, failed: u32, spare: bool) -> Option<Duration> {
        let reach = &self.connections.reach;
        let hopeless = error.http().is_some_and(|e| reach.is_hopeless(e));
        let pause = self.retry.pause(error, failed, spare || hopeless);
        if let (None, Some(error)) = (pause, error.http()) {
            reach.give_up(error, Instant::now());
        }
        pause
    }

    pub(super) fn wait(&self, error: &dyn TransferError, pause: Duration, events: &dyn Events) {
        let text = format!("{error}; trying again in {:.1} s", pause.as_secs_f32());
        // Soon over, and an error says the same if it doesn't help.
        let soon = matches!(error.http(), Some(HttpError::Connect { refused: true, .. }));
        events.event(if soon { Event::Step(text.into()) } else { Event::Warning(text.into()) });
        (self.retry.sleep)(pause);
    }
}
