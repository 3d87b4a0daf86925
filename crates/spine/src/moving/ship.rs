//! The source's half of a transfer: commits in order, each after the blobs that it names, and a state at last.
//!
//! Invariants kept here:
//! - What the target says that it has is not sent again: commits, the beginning of a blob, what a state has in common
//!   with an earlier one.
//! - Frames are fed, and go together: whoever ships says at the end, with a frame that is sent, what was shipped.
//! - Memory holds one commit and one blob, and the state that it is sent as a difference from.

use super::{
    Cut, Link,
    differ::{Piece, pieces},
    keep::BASE_BYTES_MAX,
};
use crate::{Error, aside};
use igor_protocol::{
    AgentId, Chain, Entry, Hash, Seq,
    archive::Part,
    entry::{Named, StoreKind},
    limits::{BLOB_BYTES_MAX, PROGRAM_BYTES_MAX},
    transfer::{Begun, Frame, Same, Welcome},
};
use igor_store::Store;
use std::collections::BTreeSet;

/// Blob bytes in one frame: small, so that a slow wire is seen to move.
const PART_BYTES: usize = 256 << 10;

/// Why nothing more could be sent.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The stream.
    #[error(transparent)]
    Cut(#[from] Cut),
    /// This side's store.
    #[error(transparent)]
    Own(#[from] Error),
}

/// One transfer, and how far it is.
pub(crate) struct Shipment<'a, S> {
    store: &'a S,
    agent: AgentId,
    /// The position after the last commit that was sent, or that the target had.
    pub(crate) next: Seq,
    /// Bytes of frames.
    pub(crate) bytes: u64,
    /// The last state that the target has.
    state: Option<Hash>,
    /// The state of the last checkpoint that it knows of.
    due: Option<Hash>,
    begun: Option<Begun>,
    /// Bodies that were sent.
    sent: BTreeSet<Hash>,
}

impl<'a, S: Store> Shipment<'a, S> {
    /// Goes on with what the target has.
    pub(crate) fn new(store: &'a S, agent: AgentId, welcome: &Welcome) -> Self {
        let Welcome { next, state, begun, .. } = *welcome;
        Self { store, agent, next, bytes: 0, state, due: welcome.wants.or(state), begun, sent: BTreeSet::new() }
    }

    /// Sends the program, which goes before all else.
    pub(crate) async fn program(&mut self, hash: Hash, link: &mut impl Link) -> Result<(), Failed> {
        self.blob(hash, PROGRAM_BYTES_MAX as u64, link).await
    }

    /// Sends the journal up to `until`, with the bodies that it names, and the state of the last checkpoint in it.
    pub(crate) async fn journal(&mut self, until: Chain, link: &mut impl Link) -> Result<(), Failed> {
        if self.store.kind(self.agent) != StoreKind::Disk {
            // The target reads it where it is.
            self.next = until.next;
            return Ok(());
        }
        if self.next < until.next {
            for commit in self.store.read(self.agent, self.next).map_err(Error::from)? {
                let commit = commit.map_err(Error::from)?;
                for (_, _, encoded) in commit.entries() {
                    for named in Entry::decode(encoded).map_err(Error::from)?.body.blobs() {
                        match named {
                            Named::State(hash) => self.due = Some(hash),
                            Named::Body(hash) if self.sent.insert(hash) => {
                                self.blob(hash, BLOB_BYTES_MAX, link).await?;
                            }
                            // A program goes by itself, before all else.
                            Named::Body(_) | Named::Program(_) => {}
                        }
                    }
                }
                let next = commit.next();
                self.frame(&Frame::Commit(commit), link).await?;
                self.next = next;
                if next >= until.next {
                    break;
                }
            }
        }
        match self.due {
            Some(due) if self.state != Some(due) => self.difference(due, link).await,
            _ => Ok(()),
        }
    }

    /// Sends a state, as what differs from the one that the target has where that saves something.
    async fn difference(&mut self, hash: Hash, link: &mut impl Link) -> Result<(), Failed> {
        let earlier = match self.state {
            // What is not here, or too large, is no reason to fail.
            Some(base) => aside(|| self.store.get_blob(base, BASE_BYTES_MAX)).ok().flatten().map(|bytes| (base, bytes)),
            None => None,
        };
        match earlier {
            None => self.blob(hash, BLOB_BYTES_MAX, link).await?,
            Some((base, earlier)) => {
                let state = self.read(hash, BLOB_BYTES_MAX)?;
                let from = self.begun(hash, state.len());
                for piece in pieces(&earlier, &state, from, PART_BYTES) {
                    self.piece(hash, &state, piece, Some(base), link).await?;
                }
                if state.is_empty() {
                    self.piece(hash, &state, Piece { offset: 0, bytes: 0, same: false }, None, link).await?;
                }
            }
        }
        self.state = Some(hash);
        Ok(())
    }

    /// Sends a blob, from where the target has it.
    async fn blob(&mut self, hash: Hash, bytes_max: u64, link: &mut impl Link) -> Result<(), Failed> {
        let blob = self.read(hash, bytes_max)?;
        let mut offset = self.begun(hash, blob.len());
        loop {
            let bytes = (blob.len() - offset).min(PART_BYTES);
            self.piece(hash, &blob, Piece { offset, bytes, same: false }, None, link).await?;
            offset += bytes;
            if offset >= blob.len() {
                return Ok(());
            }
        }
    }

    fn read(&self, hash: Hash, bytes_max: u64) -> Result<Vec<u8>, Error> {
        let bytes = aside(|| self.store.get_blob(hash, bytes_max))?;
        bytes.ok_or(Error::MissingBlob { what: "a blob that the journal names", hash })
    }

    /// How much of a blob the target has. It is told once: a later attempt is another transfer.
    fn begun(&mut self, hash: Hash, length: usize) -> usize {
        let begun = self.begun.take_if(|begun| begun.hash == hash).map_or(0, |begun| begun.bytes);
        usize::try_from(begun).ok().filter(|begun| *begun < length).unwrap_or(0)
    }

    async fn piece(
        &mut self,
        hash: Hash,
        blob: &[u8],
        piece: Piece,
        base: Option<Hash>,
        link: &mut impl Link,
    ) -> Result<(), Failed> {
        let (total, offset) = (blob.len() as u64, piece.offset as u64);
        let frame = if let Some(base) = base.filter(|_| piece.same) {
            Frame::Same(Same { hash, total, offset, bytes: piece.bytes as u64, base })
        } else {
            let bytes = blob[piece.offset..piece.offset + piece.bytes].to_vec();
            Frame::Part(Part { hash, total, offset, bytes })
        };
        self.frame(&frame, link).await
    }

    async fn frame(&mut self, frame: &Frame, link: &mut impl Link) -> Result<(), Failed> {
        let bytes = frame.encode();
        self.bytes += bytes.len() as u64;
        Ok(link.feed(bytes).await?)
    }
}
