//! Who comes in: decided before anything of a request is read but its header.

use super::{refusal::Refusal, tokens::Tokens};
use crate::{Error, home::own_uid, node::Node};
use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, HOST, ORIGIN},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use igor_protocol::entry::Sender;
use std::sync::Arc;

/// Names that a caller on this machine may use for its node.
const LOCAL_HOSTS: [&str; 4] = ["localhost", "127.0.0.1", "[::1]", "igor"];

/// How a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Through the Unix socket, from a process of this user.
    User(u32),
    /// Over TCP.
    Network,
}

/// Who asks. Handlers find it among a request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller(pub(super) Sender);

/// What opens the ways in.
pub(super) struct Doors {
    tokens: Tokens,
    hosts: Vec<String>,
}

impl Doors {
    /// The doors that a node's configuration describes.
    pub(super) fn of(node: &Node) -> Result<Self, Error> {
        let api = &node.config().api;
        let mut hosts = api.hosts.clone();
        let Some(listen) = api.listen else { return Ok(Self { tokens: Tokens::default(), hosts }) };
        // An IPv6 address stands in brackets in a Host header, as it does in a socket address.
        let address = listen.to_string();
        hosts.extend(address.rsplit_once(':').map(|(host, _)| host.to_owned()));
        if listen.ip().is_loopback() {
            hosts.push("localhost".to_owned());
        }
        // A relative path is one in the home.
        let path = api.tokens.clone().unwrap_or_default();
        Ok(Self { tokens: Tokens::read(&node.home().path().join(path))?, hosts })
    }

    fn identify(&self, peer: Peer, headers: &HeaderMap) -> Result<Sender, Refusal> {
        match peer {
            Peer::User(uid) if uid == own_uid() || uid == 0 => Ok(Sender::Uid(uid)),
            Peer::User(uid) => {
                let words = format!("user {uid} may not call this node; only its own user and root may");
                Err(Refusal::new(StatusCode::FORBIDDEN, "wrong_user", words))
            }
            Peer::Network => {
                let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                let token = header.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
                let name = token.and_then(|token| self.tokens.name_of(token)).ok_or_else(|| {
                    let words = "over TCP a request needs `Authorization: Bearer TOKEN` with a token of this node";
                    Refusal::new(StatusCode::UNAUTHORIZED, "no_token", words)
                })?;
                Ok(Sender::Token(name.to_owned()))
            }
        }
    }

    fn check_host(&self, peer: Peer, host: &str) -> Result<(), Refusal> {
        let name = match host.rsplit_once(':') {
            // The colons of an IPv6 address are inside brackets.
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let known = match peer {
            Peer::User(_) => LOCAL_HOSTS.iter().any(|known| name.eq_ignore_ascii_case(known)),
            Peer::Network => self.hosts.iter().any(|known| name.eq_ignore_ascii_case(known)),
        };
        if known {
            return Ok(());
        }
        let words = "the Host of the request is not a name of this node; add it to api.hosts in node.toml if it is";
        Err(Refusal::new(StatusCode::FORBIDDEN, "wrong_host", words))
    }
}

/// Lets a request in, or refuses it.
pub(super) async fn admit(State(doors): State<Arc<Doors>>, mut request: Request, next: Next) -> Response {
    match check(&doors, &request) {
        Ok(sender) => {
            request.extensions_mut().insert(Caller(sender));
            next.run(request).await
        }
        Err(refusal) => {
            tracing::debug!(code = refusal.code, path = request.uri().path(), "a request was refused");
            refusal.into_response()
        }
    }
}

fn check(doors: &Doors, request: &Request) -> Result<Sender, Refusal> {
    let headers = request.headers();
    let peer = *request.extensions().get::<Peer>().ok_or_else(|| Refusal::internal(&"a request from nowhere"))?;
    // Browsers say where a request comes from; no other program has a reason to.
    let from_page = headers.contains_key(ORIGIN) || headers.get("sec-fetch-site").is_some_and(|site| site != "none");
    if from_page {
        let words = "requests from web pages are not served";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "web_page", words));
    }
    let no_host = || Refusal::bad_request("wrong_host", "the request has no Host");
    let host = headers.get(HOST).ok_or_else(no_host)?.to_str().map_err(|_| no_host())?;
    doors.check_host(peer, host)?;
    if let Some(authority) = request.uri().authority() {
        doors.check_host(peer, authority.as_str())?;
    }
    doors.identify(peer, headers)
}
