//! Answers that go on: a journal, events; and blobs.

use super::{Shared, agents::Named, refusal::Refusal, wire::Failure};
use crate::{Error, follow::Follower, node::blocking};
use axum::{
    body::Body,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::stream::unfold;
use hyper::body::Bytes;
use igor_protocol::{Hash, Seq, limits::BLOB_BYTES_MAX};
use igor_store::Store;
use serde::Deserialize;
use std::convert::Infallible;
use tokio::sync::OwnedSemaphorePermit;

const BYTES_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");
pub(super) const LINES_TYPE: HeaderValue = HeaderValue::from_static("application/x-ndjson");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    #[serde(default)]
    from: u64,
    #[serde(default)]
    follow: bool,
}

/// Commits from a position on, each as `length (4 bytes, big-endian) | commit`. Length 0: an error follows, as
/// `length | JSON`, and nothing after it.
pub(super) async fn journal(
    State(api): State<Shared>,
    name: Named,
    range: Result<Query<Range>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (Path(name), Query(Range { from, follow })) = (name?, range?);
    let agent = api.resolve(&name)?;
    let life = api.node.life(agent).filter(|life| follow && !life.is_over());
    let follower = Follower::new(api.node.store().clone(), agent, Seq(from), life);
    let frames = unfold(Some(follower), async |follower| {
        let mut follower = follower?;
        match follower.next().await {
            Ok(Some(commit)) => Some((Ok::<_, Infallible>(framed(&commit.encode())), Some(follower))),
            Ok(None) => None,
            Err(e) => {
                let failure = Failure { error: Refusal::from(e).body() };
                let mut frame = vec![0; 4];
                frame.extend_from_slice(&framed(&serde_json::to_vec(&failure).unwrap_or_default()));
                Some((Ok(frame.into()), None))
            }
        }
    });
    Ok(typed(Body::from_stream(frames), BYTES_TYPE))
}

fn framed(bytes: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(4 + bytes.len());
    frame.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(bytes);
    frame.into()
}

/// What happens in a life from now on, as lines of JSON.
pub(super) async fn events(State(api): State<Shared>, name: Named) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let events = api.life(&name).await?.events_from_now(api.node.store().clone());
    let lines = unfold(Some(events), async |events| {
        let mut events = events?;
        match events.next().await {
            Ok(Some(event)) => Some((Ok::<_, Infallible>(line(&event)), Some(events))),
            Ok(None) => None,
            Err(e) => Some((Ok(line(&Failure { error: Refusal::from(e).body() })), None)),
        }
    });
    Ok(typed(Body::from_stream(lines), LINES_TYPE))
}

pub(super) fn line<T: serde::Serialize>(value: &T) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

pub(super) async fn blob(
    State(api): State<Shared>,
    hash: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(text) = hash?;
    let hash: Hash = text.parse().map_err(|e| Refusal::bad_request("bad_path", e))?;
    let right = api.blobs.clone().acquire_owned().await.map_err(|e| Refusal::internal(&e))?;
    let store = api.node.store().clone();
    let held = blocking(move || {
        let bytes = store.get_blob(hash, BLOB_BYTES_MAX).map_err(Error::from)?;
        Ok::<_, Error>(bytes.map(|bytes| HeldBlob { bytes, _right: right }))
    });
    let Some(held) = held.await? else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "unknown_blob", format!("there is no blob {hash} here")));
    };
    Ok(typed(Body::from(Bytes::from_owner(held)), BYTES_TYPE))
}

/// A blob in memory, and the right to hold one: given back when nothing of it waits to be sent any more.
struct HeldBlob {
    bytes: Vec<u8>,
    _right: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for HeldBlob {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

pub(super) fn typed(body: Body, media_type: HeaderValue) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}
