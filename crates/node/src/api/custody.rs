//! Agents that come by file or by their owner's order, that leave by file, and that are elsewhere.
//!
//! Invariants kept here:
//! - A file that comes in is written to a place of its own, within its bounds and in time, before any of it is looked
//!   at; whatever comes of it, it does not stay there.
//! - Few files come in at once, and together they take no more room than there is.

use super::{
    Api, Shared,
    agents::Named,
    guard::Caller,
    json,
    messages::read_body,
    refusal::Refusal,
    wire::{Orphans, Release, TakenOver},
};
use crate::{Error, Import, node::blocking};
use axum::{
    Extension,
    body::Body,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use http_body_util::BodyExt;
use igor_protocol::{
    AgentId,
    entry::{Order, Sender},
};
use serde::Deserialize;
use std::{io::Write, path::Path as FilePath};
use tokio::time::timeout;

/// Longest order, in bytes.
const ORDER_BYTES_MAX: usize = 4096;
/// Longest request to release an agent, in bytes.
const RELEASE_BYTES_MAX: usize = 1024;

/// How a file is to be taken in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    name: Option<String>,
    #[serde(default)]
    archive: bool,
}

/// Takes a portable file in.
pub(super) async fn import(
    State(api): State<Shared>,
    Extension(Caller(caller)): Extension<Caller>,
    how: Result<Query<How>, QueryRejection>,
    body: Body,
) -> Result<Response, Refusal> {
    let Query(How { name, archive }) = how?;
    let _place = api.programs.acquire().await.map_err(|e| Refusal::internal(&e))?;
    let accounts = api.node.admission().accounts();
    let bytes_max = api.node.config().admission.stored_bytes_per_agent.min(accounts.free());
    // What the file takes is kept free for what it becomes.
    let mut room = accounts.begin();
    let file = receive(&api, body, bytes_max, |bytes| accounts.extend(&mut room, bytes)).await?;
    let by_operator = matches!(caller, Sender::Uid(_));
    let import = Import { path: file.to_path_buf(), bytes_max, name, archive, by_operator };
    // Whoever sent it calls it by another name.
    let imported = api.node.import(import).await.map_err(|error| error.of_file_called(FilePath::new("the file")))?;
    json(StatusCode::OK, &imported)
}

/// Writes a body to a file, which is removed when it is dropped.
async fn receive(
    api: &Api,
    mut body: Body,
    bytes_max: u64,
    mut has_room: impl FnMut(u64) -> bool,
) -> Result<tempfile::TempPath, Refusal> {
    let too_large = || {
        let words = format!("the file is longer than {bytes_max} bytes, which is all that this node has for it");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", words)
    };
    if hyper::body::Body::size_hint(&body).lower() > bytes_max {
        return Err(too_large());
    }
    let failed = |e: std::io::Error| Refusal::internal(&format!("a file that comes in cannot be kept: {e}"));
    let file = tempfile::NamedTempFile::new_in(api.node.home().incoming()).map_err(failed)?;
    let (mut file, path) = file.into_parts();
    let mut bytes = 0;
    loop {
        // Each piece has its time: a large file may take as long as it comes at all.
        let Ok(frame) = timeout(api.limits.body_within, body.frame()).await else {
            let words = format!("nothing of the file came for {} s", api.limits.body_within.as_secs_f32());
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "too_slow", words));
        };
        let Some(frame) = frame else { return Ok(path) };
        let frame = frame.map_err(|e| Refusal::bad_request("bad_body", e))?;
        let Ok(piece) = frame.into_data() else { continue };
        bytes += piece.len() as u64;
        // Others come in meanwhile.
        if bytes > bytes_max || !has_room(piece.len() as u64) {
            return Err(too_large());
        }
        let written = tokio::task::spawn_blocking(move || file.write_all(&piece).map(|()| file));
        file = written.await.map_err(|e| Refusal::internal(&e))?.map_err(failed)?;
    }
}

/// What is to be deleted of an agent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct What {
    #[serde(default)]
    orphans: bool,
}

/// Deletes what is here of an agent that others have.
pub(super) async fn delete(
    State(api): State<Shared>,
    Extension(Caller(caller)): Extension<Caller>,
    name: Named,
    what: Result<Query<What>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (Path(name), Query(What { orphans })) = (name?, what?);
    if !matches!(caller, Sender::Uid(_)) {
        let words = "only the operator deletes, over the node's own socket; a token is not enough";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "operator_only", words));
    }
    let node = api.node.clone();
    let agent = blocking(move || node.find(&name)).await?;
    let deleted = if orphans { api.node.delete_orphans(agent).await? } else { api.node.delete(agent).await? };
    json(StatusCode::OK, &deleted)
}

/// Carries out an owner's takeover order.
pub(super) async fn take_over(State(api): State<Shared>, name: Named, body: Body) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let agent = api.resolve(&name)?;
    let bytes = read_body(body, ORDER_BYTES_MAX, api.limits.body_within).await?;
    let order = Order::decode(&bytes).map_err(|e| Refusal::bad_request("bad_order", e))?;
    let epoch = api.node.take_over(agent, order).await?;
    json(StatusCode::OK, &TakenOver { epoch })
}

/// Reads an agent's journal from the bucket.
pub(super) async fn attach(State(api): State<Shared>, name: Named) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let agent: AgentId = name.parse().map_err(|e| Refusal::bad_request("bad_agent", e))?;
    api.node.attach(agent).await?;
    let node = api.node.clone();
    json(StatusCode::OK, &blocking(move || node.agent(agent)).await?)
}

/// Gives an agent to a node by file.
pub(super) async fn release(State(api): State<Shared>, name: Named, body: Body) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let agent = api.resolve(&name)?;
    let bytes = read_body(body, RELEASE_BYTES_MAX, api.limits.body_within).await?;
    let Release { to, price_per_second } =
        serde_json::from_slice(&bytes).map_err(|e| Refusal::bad_request("bad_json", e))?;
    json(StatusCode::OK, &api.node.release(agent, to, price_per_second).await?)
}

/// Where an agent is, also one that was never here: other nodes are asked.
pub(super) async fn whereabouts(State(api): State<Shared>, name: Named) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let agent = match name.parse::<AgentId>() {
        Ok(agent) => agent,
        Err(_) => match api.resolve(&name) {
            Ok(agent) => agent,
            Err(refusal) => refusal.elsewhere.as_ref().map(|elsewhere| elsewhere.agent).ok_or(refusal)?,
        },
    };
    if let Some(elsewhere) = api.node.whereabouts(agent).await? {
        return json(StatusCode::OK, &elsewhere);
    }
    let words = format!("no node that answers knows that agent {name} is anywhere but here");
    Err(Refusal::new(StatusCode::NOT_FOUND, "unknown_whereabouts", words))
}

/// An agent that this node has no journal of, if it knows anything of it.
pub(super) async fn absent(State(api): State<Shared>, name: Named) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let node = api.node.clone();
    let asked = name.clone();
    match blocking(move || node.absent(&asked)).await? {
        Some(absent) => json(StatusCode::OK, &absent),
        None => Err(Error::UnknownAgent { name: name.chars().take(100).collect() }.into()),
    }
}

/// The branches that takeovers orphaned here.
pub(super) async fn orphans(State(api): State<Shared>) -> Result<Response, Refusal> {
    let node = api.node.clone();
    let orphans = blocking(move || node.orphans(None)).await?;
    json(StatusCode::OK, &Orphans { orphans })
}
