//! Moving agents, and where to.

use super::{
    Shared,
    agents::Named,
    json,
    messages::read_body,
    refusal::Refusal,
    streams::{LINES_TYPE, line, typed},
    wire::{Check, DrainEvent, Failure, Move, Nodes},
};
use crate::{Error, node::blocking};
use axum::{
    body::Body,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use futures_util::stream::unfold;
use serde::Serialize;
use std::convert::Infallible;
use tokio::sync::mpsc;

/// Longest request, in bytes.
const MOVE_BYTES_MAX: usize = 1024;

/// Hands an agent to another node, and says how far that is. It goes on whoever listens.
pub(super) async fn begin(State(api): State<Shared>, name: Named, body: Body) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let agent = api.resolve(&name)?;
    let bytes = read_body(body, MOVE_BYTES_MAX, api.limits.body_within).await?;
    let Move { to } = serde_json::from_slice(&bytes).map_err(|e| Refusal::bad_request("bad_json", e))?;
    // Whoever asks the wrong node is told which one is right; all else is for the move to find.
    let node = api.node.clone();
    if let Err(elsewhere @ Error::NotCustodian(_)) = blocking(move || node.check_custody(agent)).await {
        return Err(elsewhere.into());
    }
    // A move has few events; they wait for a slow reader, and the move does not.
    let (tell, told) = mpsc::unbounded_channel();
    let node = api.node.clone();
    tokio::spawn(async move {
        let progress = tell.clone();
        let moved = node.give(agent, to, move |event| drop(progress.send(Ok(event)))).await;
        let last = moved.map_err(Refusal::from);
        // Whoever went away sees in the journal what came of it.
        drop(tell.send(last));
    });
    Ok(stream(told))
}

/// Hands every agent on, and says what became of each. It goes on whoever listens.
pub(super) async fn drain(State(api): State<Shared>) -> Response {
    // One for each agent, all of which may come at once.
    let (tell, told) = mpsc::unbounded_channel();
    let node = api.node.clone();
    tokio::spawn(async move {
        let each = tell.clone();
        let events = node.drain(None, move |event| drop(each.send(Ok(event.clone())))).await;
        let moved = events.iter().filter(|event| matches!(event, DrainEvent::Moved { .. })).count();
        drop(tell.send(Ok(DrainEvent::Drained { moved, staying: events.len() - moved })));
    });
    stream(told)
}

/// Events as lines, as they come.
fn stream<T: Serialize + Send + 'static>(told: mpsc::UnboundedReceiver<Result<T, Refusal>>) -> Response {
    let lines = unfold(told, async |mut told| {
        let bytes = match told.recv().await? {
            Ok(event) => line(&event),
            Err(refusal) => line(&Failure { error: refusal.body() }),
        };
        Some((Ok::<_, Infallible>(bytes), told))
    });
    typed(Body::from_stream(lines), LINES_TYPE)
}

/// What would happen if this node died now.
pub(super) async fn check(State(api): State<Shared>) -> Result<Response, Refusal> {
    json(StatusCode::OK, &Check { agents: api.node.check() })
}

/// The other nodes.
pub(super) async fn nodes(State(api): State<Shared>) -> Result<Response, Refusal> {
    json(StatusCode::OK, &Nodes { nodes: api.node.known_nodes() })
}
