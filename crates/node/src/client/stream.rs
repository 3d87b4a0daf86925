//! Answers that are read as they come: commits and events.

use super::{Address, Error};
use crate::api::wire::Failure;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use igor_protocol::{Commit, limits::COMMIT_BYTES_MAX};
use serde::de::DeserializeOwned;
use std::{collections::VecDeque, marker::PhantomData};

/// Longest line of events, in bytes: a log line and its JSON escapes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// A body, read in pieces.
struct Pieces {
    address: Address,
    body: Incoming,
    held: VecDeque<u8>,
}

impl Pieces {
    /// Reads more. Nothing when the answer is complete.
    async fn more(&mut self) -> Result<Option<()>, Error> {
        let data = match self.body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => frame.into_data().unwrap_or_else(|_| Bytes::new()),
            Some(Err(e)) => return Err(Error::Interrupted { address: self.address.clone(), why: e.to_string() }),
        };
        self.held.extend(data);
        Ok(Some(()))
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        self.held.drain(..bytes).collect()
    }

    /// What the node says instead of going on: the rest of the answer, after eight bytes.
    async fn failure(&mut self) -> Error {
        while self.held.len() <= LINE_BYTES_MAX {
            match self.more().await {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(e) => return e,
            }
        }
        let bytes: Vec<u8> = self.held.iter().skip(8).copied().collect();
        Self::failed(&bytes).unwrap_or_else(|| self.cut())
    }

    /// An error that the node sends in the middle of an answer.
    fn failed(json: &[u8]) -> Option<Error> {
        let Failure { error } = serde_json::from_slice(json).ok()?;
        Some(match error.elsewhere {
            Some(elsewhere) => Error::Moved { elsewhere, message: error.message },
            None => Error::Refused { status: 500, code: error.code, message: error.message, retry_after: None },
        })
    }

    fn cut(&self) -> Error {
        Error::Interrupted { address: self.address.clone(), why: "the answer ends in the middle".into() }
    }

    fn protocol(&self, why: impl Into<String>) -> Error {
        Error::Protocol { address: self.address.clone(), why: why.into() }
    }
}

/// Commits of a journal, each checked to hold together; the reader checks that they link.
pub struct CommitStream(Pieces);

impl CommitStream {
    pub(super) fn new(address: Address, body: Incoming) -> Self {
        Self(Pieces { address, body, held: VecDeque::new() })
    }

    /// The next commit; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Commit>, Error> {
        let pieces = &mut self.0;
        loop {
            if let Some(length) = frame_length(&pieces.held) {
                if length == 0 {
                    return Err(pieces.failure().await);
                }
                if length > COMMIT_BYTES_MAX {
                    return Err(pieces.protocol("a commit is longer than commits may be"));
                }
                if pieces.held.len() >= 4 + length {
                    pieces.take(4);
                    let bytes = pieces.take(length);
                    return Commit::decode(&bytes).map(Some).map_err(|e| pieces.protocol(e.to_string()));
                }
            }
            if pieces.more().await?.is_none() {
                return if pieces.held.is_empty() { Ok(None) } else { Err(pieces.cut()) };
            }
        }
    }
}

fn frame_length(held: &VecDeque<u8>) -> Option<usize> {
    let mut length = [0; 4];
    for (i, byte) in length.iter_mut().enumerate() {
        *byte = *held.get(i)?;
    }
    Some(u32::from_be_bytes(length) as usize)
}

/// Lines of JSON: the events of an agent, or of a move.
pub struct LineStream<T>(Pieces, PhantomData<fn() -> T>);

impl<T: DeserializeOwned> LineStream<T> {
    pub(super) fn new(address: Address, body: Incoming) -> Self {
        Self(Pieces { address, body, held: VecDeque::new() }, PhantomData)
    }

    /// The next one; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        let pieces = &mut self.0;
        // What was searched for a line's end need not be searched again.
        let mut searched = 0;
        loop {
            if let Some(end) = pieces.held.iter().skip(searched).position(|byte| *byte == b'\n') {
                let line = pieces.take(searched + end + 1);
                let event = serde_json::from_slice(&line).map(Some);
                return event.map_err(|e| Pieces::failed(&line).unwrap_or_else(|| pieces.protocol(e.to_string())));
            }
            searched = pieces.held.len();
            if searched > LINE_BYTES_MAX {
                return Err(pieces.protocol("a line of events does not end"));
            }
            if pieces.more().await?.is_none() {
                return if pieces.held.is_empty() { Ok(None) } else { Err(pieces.cut()) };
            }
        }
    }
}
