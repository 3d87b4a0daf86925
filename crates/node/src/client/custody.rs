//! Files that go to a node, owners' orders that say who goes on with an agent, and where agents are.

use super::{ANSWER_WITHIN, Body, Client, Error, agent_path};
use crate::api::wire::{
    Absent, AgentInfo, Deleted, Elsewhere, Imported, Orphan, Orphans, Release, Released, TakenOver,
};
use futures_util::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Method,
    body::{Bytes, Frame},
    header::{CONTENT_LENGTH, HeaderValue},
};
use igor_protocol::{AgentId, Credits, Epoch, NodeId, entry::Order};
use std::{fs::File, io, io::Read, path::Path, time::Duration};

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 256 << 10;
/// Longest time until a file of any size was sent, verified and taken in.
const IMPORTED_WITHIN: Duration = Duration::from_mins(30);
/// Longest time until an agent was stopped and checkpointed, or restored.
const CARRIED_OUT_WITHIN: Duration = Duration::from_mins(3);

impl Client {
    /// Sends a portable file, for the node to take in. Sending it again is safe.
    pub async fn import(&self, path: &Path, name: Option<&str>, archive: bool) -> Result<Imported, Error> {
        let file = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = file.map_err(|e| self.unread(path, &e))?;
        let named = name.map(|name| format!("&name={}", super::escaped(name))).unwrap_or_default();
        let target = format!("/v1/imports?archive={archive}{named}");
        let mut request = self.request(Method::POST, &target, Bytes::new())?.map(|_| streamed(file));
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        self.answer(request, IMPORTED_WITHIN).await
    }

    /// Deletes what is there of an agent that others have: its journal, or the branches that takeovers orphaned.
    pub async fn delete(&self, name: &str, orphans: bool) -> Result<Deleted, Error> {
        let target = format!("{}?orphans={orphans}", agent_path(name, &[]));
        let request = self.request(Method::DELETE, &target, Bytes::new())?;
        self.answer(request, CARRIED_OUT_WITHIN).await
    }

    fn unread(&self, path: &Path, why: &io::Error) -> Error {
        self.protocol(format!("nothing was asked: {} cannot be read: {why}", path.display()))
    }

    /// Gives an agent to a node by file. Asking again is safe.
    pub async fn release(&self, name: &str, to: NodeId, price_per_second: Option<Credits>) -> Result<Released, Error> {
        let release = Release { to, price_per_second };
        let request = self.json(Method::POST, &agent_path(name, &["release"]), &release)?;
        self.answer(request, CARRIED_OUT_WITHIN).await
    }

    /// Has the node carry out an owner's takeover order. The same order again is safe.
    pub async fn take_over(&self, name: &str, order: &Order) -> Result<Epoch, Error> {
        let request = self.request(Method::POST, &agent_path(name, &["takeover"]), order.encode().into())?;
        self.answer::<TakenOver>(request, CARRIED_OUT_WITHIN).await.map(|taken| taken.epoch)
    }

    /// Has the node read an agent's journal from its bucket.
    pub async fn attach(&self, agent: AgentId) -> Result<AgentInfo, Error> {
        let request = self.request(Method::POST, &agent_path(&agent.to_string(), &["attach"]), Bytes::new())?;
        self.answer(request, CARRIED_OUT_WITHIN).await
    }

    /// Where an agent is that does not live on this node, as far as it and those that it asks know.
    pub async fn whereabouts(&self, agent: AgentId) -> Result<Option<Elsewhere>, Error> {
        let request = self.request(Method::GET, &agent_path(&agent.to_string(), &["custody"]), Bytes::new())?;
        match self.answer(request, ANSWER_WITHIN * 2).await {
            Ok(elsewhere) => Ok(Some(elsewhere)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An agent that this node has no journal of, if it knows anything of it.
    pub async fn absent(&self, name: &str) -> Result<Option<Absent>, Error> {
        let request = self.request(Method::GET, &agent_path(name, &["absent"]), Bytes::new())?;
        match self.answer(request, ANSWER_WITHIN).await {
            Ok(absent) => Ok(Some(absent)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The branches that takeovers orphaned on this node.
    pub async fn orphans(&self) -> Result<Vec<Orphan>, Error> {
        let request = self.request(Method::GET, "/v1/orphans", Bytes::new())?;
        self.answer::<Orphans>(request, CARRIED_OUT_WITHIN).await.map(|answer| answer.orphans)
    }
}

/// A file as a body, a piece at a time.
fn streamed(file: File) -> Body {
    let pieces = unfold(Some(file), async |file| {
        let mut file = file?;
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let read = file.read(&mut piece)?;
            piece.truncate(read);
            Ok::<_, io::Error>((file, piece))
        });
        match read.await.unwrap_or_else(|e| Err(io::Error::other(e))) {
            Ok((_, piece)) if piece.is_empty() => None,
            Ok((file, piece)) => Some((Ok(Frame::data(Bytes::from(piece))), Some(file))),
            Err(e) => Some((Err(e), None)),
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}
