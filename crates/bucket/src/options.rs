//! What an operator may set beside the address, and how long a request may take.

use crate::Error;
use std::time::Duration;

/// Bytes a second that a connection must at least carry: an object of 1 MiB may take a second longer than an empty one.
const BYTES_PER_SECOND_MIN: u64 = 1 << 20;

/// How a bucket is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The server, such as `https://minio.example.org`. Without one it is that of the provider, or the environment's.
    pub endpoint: Option<String>,
    /// The region of an S3 bucket. Without one it is the environment's, or `us-east-1`.
    pub region: Option<String>,
    /// Whether plain HTTP may go to other machines. To this one it always may.
    pub http_allowed: bool,
    /// How long an answer may take; the bytes of an object have a second for each MiB in addition.
    pub request_limit: Duration,
    /// How long a connection may take.
    pub connect_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            http_allowed: false,
            request_limit: Duration::from_secs(10),
            connect_limit: Duration::from_secs(2),
        }
    }
}

impl Options {
    pub(crate) fn limit(&self, bytes: u64) -> Duration {
        self.request_limit + sending(bytes)
    }
}

/// How long so many bytes are on their way, at most.
pub(crate) fn sending(bytes: u64) -> Duration {
    Duration::from_millis(bytes.saturating_mul(1000) / BYTES_PER_SECOND_MIN)
}

/// Checks an endpoint and gives it without a slash at its end.
pub(crate) fn endpoint(given: &str, http_allowed: bool) -> Result<String, Error> {
    let wrong = |why: &str| Error::Endpoint { given: given.to_owned(), why: why.to_owned() };
    let uri: hyper::Uri = given.parse().map_err(|_| wrong("write it as https://HOST or https://HOST:PORT"))?;
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(wrong("write it as https://HOST or https://HOST:PORT"));
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) || uri.query().is_some() {
        return Err(wrong("leave out user, password and query: credentials come from the environment or their files"));
    }
    match scheme {
        "https" => {}
        "http" if http_allowed || is_loopback(host) => {}
        "http" => {
            return Err(wrong("plain HTTP to another machine shows what is stored; use https, or allow_http = true"));
        }
        _ => return Err(wrong("write it as https://HOST or https://HOST:PORT")),
    }
    Ok(given.trim_end_matches('/').to_owned())
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
