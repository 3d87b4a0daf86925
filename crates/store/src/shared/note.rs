//! Up to where the disk has a journal that is in a bucket.
//!
//! Invariant kept here: a note is durable with the commits that it is about, both or neither.

use crate::{Error, LOCAL_BYTES_MAX, Store};
use futures_util::{FutureExt, StreamExt, stream::FuturesOrdered};
use igor_protocol::{
    AgentId, Commit, codec,
    entry::StoreId,
    slot::{End, Nonce, Place, Position},
    units::{Seq, Slot},
};
use minicbor::{Decode, Encode};
use std::sync::atomic::{AtomicBool, Ordering};

/// What the names of all notes begin with.
pub(super) const PREFIX: &str = "slots-";
const VERSION: u8 = 1;

/// What is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Note {
    #[n(0)]
    version: u8,
    /// Whose journal.
    #[n(1)]
    pub(super) agent: AgentId,
    /// Where it is.
    #[n(2)]
    pub(super) store: StoreId,
    /// The position after the last entry that was read.
    #[n(3)]
    pub(super) entries: Seq,
    #[n(4)]
    number: Slot,
    #[n(5)]
    prev: igor_protocol::Hash,
    #[n(6)]
    nonce: Nonce,
    #[n(7)]
    run: Slot,
    /// How many bundles of the last run are known.
    #[n(8)]
    bundles: u32,
    /// The first slot of the last run that is in none of them.
    #[n(9)]
    bundled: Slot,
    /// The last slot that counts.
    #[n(10)]
    last: Slot,
}

impl Note {
    pub(super) const fn new(agent: AgentId, store: StoreId, entries: Seq, at: Place) -> Self {
        let Place { end: End { next, nonce, run }, bundles, bundled, last } = at;
        let (number, prev) = (next.number, next.prev);
        Self { version: VERSION, agent, store, entries, number, prev, nonce, run, bundles, bundled, last }
    }

    /// Up to where it was read.
    pub(super) const fn place(&self) -> Place {
        let end = End { next: Position { number: self.number, prev: self.prev }, nonce: self.nonce, run: self.run };
        Place { end, bundles: self.bundles, bundled: self.bundled, last: self.last }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

/// Writes commits to the disk with their notes: in their order, but they wait for the disk together. Says of each, in
/// that order, that it is there; nothing is one that is there already. Where this is cut off `writing` stays set.
pub(super) async fn write<D: Store>(
    disk: &D,
    writing: &AtomicBool,
    all: impl IntoIterator<Item = Option<(Commit, Note)>>,
    mut done: impl FnMut(),
) -> Result<(), Error> {
    writing.store(true, Ordering::Release);
    let mut writes = FuturesOrdered::new();
    for one in all {
        writes.push_back(async move {
            let Some((commit, note)) = one else { return Ok(()) };
            disk.append_noting(commit, &name(note.agent), note.encode()).await
        });
        // It is before the next one from here on.
        while let Some(Some(written)) = writes.next().now_or_never() {
            written?;
            done();
        }
    }
    while let Some(written) = writes.next().await {
        written?;
        done();
    }
    writing.store(false, Ordering::Release);
    Ok(())
}

/// The name of the local value that says how far a bucket was read, where the journal of an agent is in one.
pub fn name(agent: AgentId) -> String {
    format!("{PREFIX}{}", &agent.0.to_string()[..32])
}

/// Reads a note that is there.
pub(super) fn read<D: Store>(disk: &D, name: &str) -> Result<Note, Error> {
    let damaged = |why: String| Error::Damaged { path: format!("local/{name}").into(), at: 0, why };
    let bytes = disk.get_local(name)?.ok_or_else(|| damaged("it is gone".into()))?;
    let max = usize::try_from(LOCAL_BYTES_MAX).unwrap_or(usize::MAX);
    let note: Note = codec::decode("note of slots", &bytes, max).map_err(|e| damaged(e.to_string()))?;
    if note.version == VERSION {
        return Ok(note);
    }
    let (found, known) = (u64::from(note.version), u64::from(VERSION));
    Err(Error::OtherVersion { path: format!("local/{name}").into(), found, known })
}
