//! The HTTP under `object_store`, and what was seen of each request.
//!
//! Invariants kept here:
//! - What is known of a request is what happened on the wire, kept in its [`Call`]: not guessed from an error's text.
//! - A body is read up to the limit of its call, the body of an error up to [`ERROR_BYTES_MAX`].
//! - Certificates are checked against the machine's own list, to which an operator can add the authority of a private
//!   server; that is why no list is built in.
//! - Plain HTTP goes where the settings allowed it: to the endpoint that was checked, and to instance metadata.

#[cfg(test)]
mod tests;

use crate::Error;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::header::{HeaderValue, USER_AGENT};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bytes of an error's body that are read: their XML has a few hundred.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// Connections that are kept open while nobody uses them; a burst may have more.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// Servers close idle connections after 20 s or later, so we do it before them.
const IDLE_TIME: Duration = Duration::from_secs(15);
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Characters of a server's words that go into a message.
const WORDS_MAX: usize = 300;

tokio::task_local! {
    /// The call that this task is in. Requests for credentials are part of the call that needs them.
    static CALL: Arc<Call>;
}

/// What was seen of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// No request was made.
    Nothing,
    /// A request went out, or was about to.
    Sent,
    /// It broke before there was an answer.
    Broken { why: String },
    /// There was an answer. Code and words are those of an error's body.
    Answer { status: u16, code: String, words: String },
}

/// One call of the store: how much it takes in, and what was seen.
pub(crate) struct Call {
    body_bytes_max: usize,
    seen: Mutex<(String, Seen)>,
}

impl Call {
    pub(crate) fn new(body_bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { body_bytes_max, seen: Mutex::new((String::new(), Seen::Nothing)) })
    }

    /// Runs the requests of a call.
    pub(crate) async fn run<F: Future>(self: &Arc<Self>, requests: F) -> F::Output {
        CALL.scope(Arc::clone(self), requests).await
    }

    /// The server that was asked last, and what was seen of it.
    pub(crate) fn seen(&self) -> (String, Seen) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn see(&self, seen: Seen) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1 = seen;
    }

    fn send(&self, server: &str) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = (server.to_owned(), Seen::Sent);
    }
}

/// Makes the client of a store, and those of its credentials: one pool of connections for all.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    client: Client<HttpsConnector<HttpConnector>, HttpRequestBody>,
}

impl Connector {
    /// `tls_needed`: whether to fail where no certificate is trusted.
    pub(crate) fn new(connect_limit: Duration, tls_needed: bool) -> Result<Self, Error> {
        let tls = tls(tls_needed)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_limit));
        tcp.set_keepalive(Some(KEEPALIVE));
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        // Where a connection of the pool turns out to be closed before anything was written to it, another one is taken:
        // that is still one request.
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(https);
        Ok(Self { client })
    }
}

fn tls(needed: bool) -> Result<ClientConfig, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 && needed {
        let why = found.errors.first().map_or_else(|| "the list is empty".to_owned(), ToString::to_string);
        return Err(Error::Roots { why });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Roots { why: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

impl object_store::client::HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let http_allowed = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        Ok(HttpClient::new(Service { client: self.client.clone(), http_allowed }))
    }
}

#[derive(Debug)]
struct Service {
    client: Client<HttpsConnector<HttpConnector>, HttpRequestBody>,
    http_allowed: bool,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let call = CALL.try_with(Arc::clone).unwrap_or_else(|_| Call::new(ERROR_BYTES_MAX));
        if request.uri().scheme_str() != Some("https") && !self.http_allowed {
            let why = "plain HTTP is not allowed here".to_owned();
            return Err(HttpError::new(HttpErrorKind::Unknown, std::io::Error::other(why)));
        }
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(concat!("igor/", env!("CARGO_PKG_VERSION"))));
        let server = request.uri().authority().map_or_else(String::new, ToString::to_string);
        call.send(&server);
        let answer = match self.client.request(request).await {
            Ok(answer) => answer,
            Err(error) => {
                let (verb, kind) = if error.is_connect() {
                    ("cannot connect to", HttpErrorKind::Connect)
                } else {
                    ("connection cut by", HttpErrorKind::Interrupted)
                };
                call.see(Seen::Broken { why: format!("{verb} {server}: {}", root_cause(&error)) });
                return Err(HttpError::new(kind, error));
            }
        };
        let status = answer.status();
        if status.is_success() {
            call.see(Seen::Answer { status: status.as_u16(), code: String::new(), words: String::new() });
            let limit = call.body_bytes_max;
            return Ok(answer.map(|body| {
                let broken = |error| HttpError::new_boxed(HttpErrorKind::Interrupted, error);
                HttpResponseBody::new(Limited::new(body, limit).map_err(broken))
            }));
        }
        refusal(&call, status, answer).await
    }
}

/// Reads what an error says, up to a limit, whatever bytes they are.
async fn refusal(
    call: &Call,
    status: StatusCode,
    answer: hyper::Response<hyper::body::Incoming>,
) -> Result<HttpResponse, HttpError> {
    let (parts, body) = answer.into_parts();
    let mut code = parts.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok()).map(clean);
    call.see(Seen::Answer { status: status.as_u16(), code: code.clone().unwrap_or_default(), words: String::new() });
    // An error whose body breaks off, or is longer, is still that error.
    let body = match Limited::new(body, ERROR_BYTES_MAX).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(_) => String::new(),
    };
    let code = code.take().or_else(|| element(&body, "Code")).unwrap_or_default();
    let words = element(&body, "Message").unwrap_or_default();
    call.see(Seen::Answer { status: status.as_u16(), code, words });
    Ok(HttpResponse::from_parts(parts, Bytes::from(body).into()))
}

/// The text of the first element of this name.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once("</")?;
    Some(clean(text))
}

fn clean(text: &str) -> String {
    text.chars().take(WORDS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
