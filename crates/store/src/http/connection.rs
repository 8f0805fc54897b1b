//! One request, one answer: connections, TLS, proxies. Redirects, authentication and retries are the callers'.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::{HeaderMap, Request};

use super::error::{HttpError, one_line};
use super::options::HttpOptions;
use super::pace::{Deadline, Paced};
use super::proxy;
use super::reach::Reach;
use super::retry::retry_after;
use super::tls::Trust;
use super::url::{Scheme, Url};
use crate::Environment;

/// Bytes of an error's body that are looked at.
const ERROR_BODY: u64 = 64 << 10;

/// An answer. The body has not been read.
pub struct Response {
    /// Where it came from, after redirects.
    pub url: Url,
    /// A redirect led there from another host: what it asks for isn't the registry's word.
    pub foreign: bool,
    /// HTTP status.
    pub status: u16,
    /// As they came.
    pub headers: HeaderMap,
    /// What follows the headers. One that is too slow ends in an error.
    pub body: Box<dyn Read + Send>,
    /// How long all of a small body may take.
    pub(super) document_timeout: Duration,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} from {})", self.status, self.url)
    }
}

impl Response {
    /// A header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// Length of the body in bytes, if the server sends it.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length").and_then(|v| v.parse().ok())
    }

    /// Lower case, without parameters.
    pub fn content_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// Whether it is a successful response of type text/html.
    pub fn is_page(&self) -> bool {
        self.status == 200 && self.content_type().as_deref() == Some("text/html")
    }

    /// All of a body that has `limit` bytes at most.
    ///
    /// # Errors
    /// The connection breaks, or the body is larger.
    pub fn bytes(self, limit: u64, too_large: impl Fn() -> HttpError) -> Result<Vec<u8>, HttpError> {
        if self.content_length().is_some_and(|len| len > limit) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        let body = Deadline::new(self.body, self.document_timeout);
        let read = body.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|source| HttpError::Body { url: self.url.to_string(), source })?;
        if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
    }

    /// What an answer that is no success says, in one line. Distribution-spec: `{"errors": [{"code", "message"}]}`; token
    /// servers: `{"details"}`, `{"error_description"}`.
    pub fn message(self) -> String {
        let is_text = self.content_type().is_none_or(|t| t != "text/html");
        let mut bytes = Vec::new();
        let body = Deadline::new(self.body, self.document_timeout);
        let _ = body.take(ERROR_BODY).read_to_end(&mut bytes);
        if let Ok(json) = serde_json::from_slice::<serde_json::Value>(&bytes) {
            let first = &json["errors"][0];
            let found = [&first["message"], &first["code"], &json["details"], &json["error_description"]];
            let text = found.iter().find_map(|v| v.as_str().filter(|t| !t.is_empty()));
            return one_line(text.unwrap_or_default());
        }
        if is_text { one_line(&String::from_utf8_lossy(&bytes)) } else { String::new() }
    }

    /// The error for an answer that is none of those expected.
    pub fn into_error(self) -> HttpError {
        let (url, status) = (self.url.to_string(), self.status);
        let retry_after = retry_after(self.header("retry-after"), self.header("date"));
        let message = self.message();
        match status {
            404 => HttpError::NotFound { url, message },
            _ => HttpError::Status { url, status, message, retry_after },
        }
    }
}

/// What makes two connections exchangeable.
type Key = (Scheme, String, bool);

#[derive(Debug)]
pub(super) struct Connections {
    environment: Environment,
    trust: Trust,
    options: HttpOptions,
    agents: Mutex<HashMap<Key, Agent>>,
    pub(super) reach: Reach,
}

impl Connections {
    pub(super) fn new(environment: Environment, trust: Trust, options: HttpOptions) -> Self {
        Connections { environment, trust, options, agents: Mutex::default(), reach: Reach::default() }
    }

    fn agent(&self, url: &Url, insecure: bool) -> Result<Agent, HttpError> {
        let key = (url.scheme, url.authority.clone(), insecure);
        let mut agents = self.agents.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let mut builder = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(&self.options.user_agent)
            .proxy(proxy::select(&self.environment, url)?)
            .timeout_connect(Some(self.options.connect_timeout))
            // Not the whole of an answer: a layer may take an hour. Silence is what ends it.
            .timeout_per_read(Some(self.options.idle_timeout))
            .timeout_per_write(Some(self.options.idle_timeout))
            .timeout_recv_response(Some(self.options.idle_timeout))
            .max_idle_connections_per_host(4);
        if url.scheme == Scheme::Https {
            builder = builder.tls_config(self.trust.config(&url.authority, insecure)?);
        }
        let agent = builder.build().new_agent();
        agents.insert(key, agent.clone());
        Ok(agent)
    }

    /// A GET, or a POST of a form if there is one.
    pub(super) fn send(
        &self,
        url: &Url,
        insecure: bool,
        headers: &[(&str, &str)],
        form: Option<&str>,
    ) -> Result<Response, HttpError> {
        let agent = self.agent(url, insecure)?;
        self.reach.check(&url.authority, Instant::now())?;
        let method = if form.is_some() { "POST" } else { "GET" };
        let mut request = Request::builder().method(method).uri(url.full());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = match form {
            Some(form) => {
                let request = request.header("content-type", "application/x-www-form-urlencoded");
                request.body(form.to_owned()).map_err(ureq::Error::from).and_then(|r| agent.run(r))
            }
            None => request.body(()).map_err(ureq::Error::from).and_then(|r| agent.run(r)),
        };
        let (parts, body) = sent.map_err(|e| explain(e, url, agent.config().proxy()))?.into_parts();
        self.reach.answered(&url.authority);
        let status = parts.status.as_u16();
        let body = Box::new(Paced::new(body.into_reader(), self.options.pace));
        let document_timeout = self.options.document_timeout;
        Ok(Response {
            url: url.clone(),
            foreign: false,
            status,
            headers: parts.headers,
            body,
            document_timeout,
        })
    }
}

/// Sorts a transport's error. Of a proxy, which is asked instead of the host, its address is named, without its password.
fn explain(error: ureq::Error, url: &Url, proxy: Option<&ureq::Proxy>) -> HttpError {
    let host = url.authority.clone();
    let proxy = proxy.map(|p| format!("proxy {}:{}: ", p.host(), p.port())).unwrap_or_default();
    let connect = |message: String, refused| HttpError::Connect {
        host: host.clone(),
        message: format!("{proxy}{message}"),
        refused,
    };
    let tls = |e: &rustls::Error| match e {
        // An answer to the ClientHello that is no TLS record.
        rustls::Error::InvalidMessage(_) => HttpError::PlainHttp { host: host.clone() },
        e => HttpError::Tls { host: host.clone(), message: e.to_string() },
    };
    match error {
        ureq::Error::Rustls(e) => tls(&e),
        ureq::Error::Tls(e) => HttpError::Tls { host, message: e.into() },
        ureq::Error::HostNotFound => connect("name can't be resolved".into(), true),
        ureq::Error::ConnectionFailed => connect("no connection".into(), true),
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            connect("no connection within the time limit".into(), true)
        }
        ureq::Error::Timeout(_) => connect("no answer within the time limit".into(), false),
        ureq::Error::Io(e) => {
            if let Some(e) = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
                return tls(e);
            }
            let text = e.to_string();
            // The standard library has no kind for it.
            if let Some(reason) = text.strip_prefix("failed to lookup address information") {
                return connect(format!("name can't be resolved{reason}"), true);
            }
            use std::io::ErrorKind;
            let refused = matches!(
                e.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
            );
            connect(text, refused)
        }
        ureq::Error::LargeResponseHeader(_, limit) => {
            HttpError::TooLarge { url: url.to_string(), what: "header", limit: limit as u64 }
        }
        other => connect(other.to_string(), false),
    }
}
