//! One request, one answer: connections, TLS, proxies. Redirects, authentication and patience are the callers'.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use ureq::http::{HeaderMap, Request};
use ureq::{Agent, Body};

use super::error::one_line;
use super::retry::retry_after;
use super::tls::Trust;
use super::url::{Scheme, Url};
use super::{ClientError, proxy};
use store::Environment;

/// Bytes of an error's body that are looked at.
const ERROR_BODY: u64 = 64 << 10;

/// An answer. The body has not been read.
#[derive(Debug)]
pub(super) struct Response {
    /// Where it came from, after redirects.
    pub url: Url,
    /// A redirect led there from another host: what it asks for isn't the registry's word.
    pub foreign: bool,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Body,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length").and_then(|v| v.parse().ok())
    }

    /// Lower case, without parameters.
    pub fn content_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// What an answer that is no success says, in one line. Distribution-spec: `{"errors": [{"code", "message"}]}`; token
    /// servers: `{"details"}`, `{"error_description"}`.
    pub fn message(self) -> String {
        let is_text = self.content_type().is_none_or(|t| t != "text/html");
        let mut bytes = Vec::new();
        let _ = self.body.into_reader().take(ERROR_BODY).read_to_end(&mut bytes);
        if let Ok(json) = serde_json::from_slice::<serde_json::Value>(&bytes) {
            let first = &json["errors"][0];
            let found = [&first["message"], &first["code"], &json["details"], &json["error_description"]];
            let text = found.iter().find_map(|v| v.as_str().filter(|t| !t.is_empty()));
            return one_line(text.unwrap_or_default());
        }
        if is_text { one_line(&String::from_utf8_lossy(&bytes)) } else { String::new() }
    }

    /// The error for an answer that is none of those expected.
    pub fn into_error(self) -> ClientError {
        let (url, status) = (self.url.to_string(), self.status);
        let retry_after = retry_after(self.header("retry-after"), self.header("date"));
        let message = self.message();
        match status {
            404 => ClientError::NotFound { url, message },
            _ => ClientError::Status { url, status, message, retry_after },
        }
    }
}

/// What makes two connections exchangeable.
type Key = (Scheme, String, bool);

/// Connections to hosts.
#[derive(Debug)]
pub(super) struct Http {
    environment: Environment,
    trust: Trust,
    user_agent: String,
    connect_timeout: Duration,
    idle_timeout: Duration,
    agents: Mutex<HashMap<Key, Agent>>,
}

impl Http {
    pub fn new(
        environment: Environment,
        trust: Trust,
        user_agent: String,
        connect_timeout: Duration,
        idle_timeout: Duration,
    ) -> Self {
        Http { environment, trust, user_agent, connect_timeout, idle_timeout, agents: Mutex::default() }
    }

    fn agent(&self, url: &Url, insecure: bool) -> Result<Agent, ClientError> {
        let key = (url.scheme, url.authority.clone(), insecure);
        let mut agents = self.agents.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let mut builder = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(&self.user_agent)
            .proxy(proxy::select(&self.environment, url)?)
            .timeout_connect(Some(self.connect_timeout))
            // Not the whole of an answer: a layer may take an hour. Silence is what ends it.
            .timeout_per_read(Some(self.idle_timeout))
            .timeout_per_write(Some(self.idle_timeout))
            .timeout_recv_response(Some(self.idle_timeout))
            .max_idle_connections_per_host(4);
        if url.scheme == Scheme::Https {
            builder = builder.tls_config(self.trust.config(&url.authority, insecure)?);
        }
        let agent = builder.build().new_agent();
        agents.insert(key, agent.clone());
        Ok(agent)
    }

    /// A GET, or a POST of a form if there is one.
    pub fn send(
        &self,
        url: &Url,
        insecure: bool,
        headers: &[(&str, &str)],
        form: Option<&str>,
    ) -> Result<Response, ClientError> {
        let agent = self.agent(url, insecure)?;
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
        let (parts, body) = sent.map_err(|e| explain(e, url))?.into_parts();
        let status = parts.status.as_u16();
        Ok(Response { url: url.clone(), foreign: false, status, headers: parts.headers, body })
    }
}

/// Sorts a transport's error.
fn explain(error: ureq::Error, url: &Url) -> ClientError {
    let host = url.authority.clone();
    let connect = |message: String, refused| ClientError::Connect { host: host.clone(), message, refused };
    let tls = |e: &rustls::Error| match e {
        // An answer to the ClientHello that is no TLS record.
        rustls::Error::InvalidMessage(_) => ClientError::PlainHttp { host: host.clone() },
        e => ClientError::Tls { host: host.clone(), message: e.to_string() },
    };
    match error {
        ureq::Error::Rustls(e) => tls(&e),
        ureq::Error::Tls(e) => ClientError::Tls { host, message: e.into() },
        ureq::Error::HostNotFound => connect("host not found".into(), true),
        ureq::Error::ConnectionFailed => connect("no connection".into(), true),
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            connect("no connection within the time limit".into(), true)
        }
        ureq::Error::Timeout(_) => connect("no answer within the time limit".into(), false),
        ureq::Error::Io(e) => {
            if let Some(e) = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
                return tls(e);
            }
            use std::io::ErrorKind;
            let refused = matches!(
                e.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
            );
            connect(e.to_string(), refused)
        }
        ureq::Error::LargeResponseHeader(_, limit) => {
            ClientError::TooLarge { url: url.to_string(), what: "header", limit: limit as u64 }
        }
        other => connect(other.to_string(), false),
    }
}
