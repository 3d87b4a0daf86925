//! The HTTP API of a node: JSON over its Unix socket, and over TCP for holders of a token.
//!
//! Invariants kept here:
//! - Nobody is served who is not known: the peer of the socket by its user id, a caller over TCP by its token.
//! - No web page is served, whatever address it found: requests with an `Origin`, or for another `Host`, are refused.
//! - Every request is bounded in size, time and number before any of it is believed.
//! - A refusal is JSON with a code for programs and words for people (docs/api.md lists them). Only what is no HTTP
//!   at all is refused below this, by the status alone.

use crate::{Error, node::Node};
use axum::{
    Router,
    body::Body,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

mod agents;
mod custody;
mod deploy;
mod guard;
mod messages;
mod moves;
mod patient;
mod refusal;
mod server;
mod streams;
mod tokens;
pub mod wire;

pub use server::Server;

use guard::Doors;
use refusal::{Reason, Refusal};

/// How much the API takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once through the Unix socket.
    pub connections: usize,
    /// Connections at once over TCP. They take no places of the socket, so that nobody there can keep its user out.
    pub tcp_connections: usize,
    /// Time for the header of a request, and between two requests of a connection.
    pub header_within: Duration,
    /// Time for the body of a request.
    pub body_within: Duration,
    /// Time for a body that is larger than others may be: a deployment with its program.
    pub program_within: Duration,
    /// Time in which a caller takes something of an answer that waits for it.
    pub taken_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            tcp_connections: 64,
            header_within: Duration::from_secs(10),
            body_within: Duration::from_secs(10),
            program_within: Duration::from_mins(1),
            taken_within: Duration::from_secs(30),
        }
    }
}

/// Longest header of a request, in bytes.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Most header fields of a request.
const HEADERS_MAX: usize = 64;
/// Large deployments that are taken at once.
const PROGRAMS_AT_ONCE: usize = 2;
/// Blobs that are held in memory for answers at once.
const BLOBS_AT_ONCE: usize = 2;

/// What the handlers share.
struct Api {
    node: Arc<Node>,
    limits: Limits,
    blobs: Arc<Semaphore>,
    programs: Semaphore,
}

impl Api {
    fn new(node: &Arc<Node>, limits: Limits) -> Shared {
        let (blobs, programs) = (Arc::new(Semaphore::new(BLOBS_AT_ONCE)), Semaphore::new(PROGRAMS_AT_ONCE));
        Arc::new(Self { node: node.clone(), limits, blobs, programs })
    }
}

type Shared = Arc<Api>;

/// Begins to serve a node: on its socket, and over TCP where its configuration says so.
pub async fn serve(node: &Arc<Node>, limits: Limits) -> Result<Server, Error> {
    let doors = Arc::new(Doors::of(node)?);
    Server::listen(node, limits, router(Api::new(node, limits), doors)).await
}

fn router(api: Shared, doors: Arc<Doors>) -> Router {
    let counted = api.node.metrics().clone();
    Router::new()
        .route("/v1/node", get(agents::node))
        .route("/v1/sender", get(messages::sender))
        .route("/v1/node/drain", post(moves::drain))
        .route("/v1/node/check", get(moves::check))
        .route("/v1/agents", get(agents::list).post(deploy::deploy))
        .route("/v1/agents/{name}", get(agents::show).delete(custody::delete))
        .route("/v1/agents/{name}/pause", post(agents::pause))
        .route("/v1/agents/{name}/resume", post(agents::resume))
        .route("/v1/agents/{name}/stop", post(agents::stop))
        .route("/v1/agents/{name}/orders", post(agents::order))
        .route("/v1/agents/{name}/moves", post(moves::begin))
        .route("/v1/agents/{name}/release", post(custody::release))
        .route("/v1/agents/{name}/takeover", post(custody::take_over))
        .route("/v1/agents/{name}/attach", post(custody::attach))
        .route("/v1/agents/{name}/custody", get(custody::whereabouts))
        .route("/v1/agents/{name}/absent", get(custody::absent))
        .route("/v1/imports", post(custody::import))
        .route("/v1/orphans", get(custody::orphans))
        .route("/v1/nodes", get(moves::nodes))
        .route("/v1/agents/{name}/messages", post(messages::take))
        .route("/v1/agents/{name}/messages/{id}", get(messages::status))
        .route("/v1/agents/{name}/streams/{stream}", get(messages::stream))
        .route("/v1/agents/{name}/journal", get(streams::journal))
        .route("/v1/agents/{name}/events", get(streams::events))
        .route("/v1/blobs/{hash}", get(streams::blob))
        .route("/metrics", get(agents::metrics))
        .fallback(async || {
            Refusal::new(StatusCode::NOT_FOUND, "unknown_path", "there is no such path; docs/api.md lists them")
        })
        .method_not_allowed_fallback(async || {
            let words = "this path does not take this method; docs/api.md lists them";
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", words)
        })
        .with_state(api)
        .layer(middleware::from_fn_with_state(doors, guard::admit))
        .layer(middleware::map_response(move |response: Response| {
            let reason = response.extensions().get().map(|Reason(code)| *code);
            counted.answered(response.status().as_u16(), reason);
            std::future::ready(response)
        }))
}

/// A JSON answer.
fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Response, Refusal> {
    let bytes = serde_json::to_vec(value).map_err(|e| Refusal::internal(&e))?;
    let mut response = (status, Body::from(bytes)).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

#[cfg(test)]
mod tests;
