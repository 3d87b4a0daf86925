//! Blobs that come in piece by piece, and what is left of them after a cut.
//!
//! Invariants kept here:
//! - Pieces of one blob come in order, one blob after the other; nothing counts before its whole hash was checked.
//! - Memory for what a peer only promised is taken in steps of [`TRUST_BYTES`]; all that is in memory of all moves is at
//!   most [`MEMORY_BYTES_MAX`].
//! - What is left after cuts is at most [`LEFT_BYTES_MAX`], for at most [`LEFT_FOR`]; it is a cache, lost with the
//!   process.

use igor_protocol::{
    AgentId, Hash, Nanos,
    archive::Part,
    transfer::{Begun, Same},
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Memory for what a peer only promised is taken in steps of this.
const TRUST_BYTES: usize = 4 << 20;
/// What is in memory of all moves that come in, in bytes.
pub(super) const MEMORY_BYTES_MAX: u64 = 512 << 20;
/// What is left of all blobs, in bytes.
const LEFT_BYTES_MAX: usize = 64 << 20;
/// How long something is left.
const LEFT_FOR: Nanos = Nanos::from_secs(600);

/// A blob that is not whole yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coming {
    hash: Hash,
    total: u64,
    bytes: Vec<u8>,
    /// The state that it may be sent as a difference from.
    base: Option<Hash>,
}

impl Coming {
    /// A blob of which nothing came yet.
    pub(super) fn begin(hash: Hash, total: u64, base: Option<Hash>) -> Self {
        let room = usize::try_from(total).unwrap_or(usize::MAX).min(TRUST_BYTES);
        Self { hash, total, bytes: Vec::with_capacity(room), base }
    }

    /// What is there of it.
    pub(crate) fn begun(&self) -> Begun {
        Begun { hash: self.hash, bytes: self.bytes.len() as u64 }
    }

    /// The state that it may be sent as a difference from.
    pub(crate) const fn base(&self) -> Option<Hash> {
        self.base
    }

    /// Whether a piece at this place is the next one.
    pub(super) fn is_next(&self, hash: Hash, total: u64, offset: u64) -> bool {
        self.hash == hash && self.total == total && self.bytes.len() as u64 == offset
    }

    /// Takes the next piece.
    pub(super) fn part(&mut self, part: &Part) {
        self.bytes.extend_from_slice(&part.bytes);
    }

    /// Takes the next piece from an earlier state; gives false where that has no such piece.
    pub(super) fn same(&mut self, same: &Same, earlier: &[u8]) -> bool {
        let (Ok(offset), Ok(bytes)) = (usize::try_from(same.offset), usize::try_from(same.bytes)) else { return false };
        let Some(piece) = offset.checked_add(bytes).and_then(|end| earlier.get(offset..end)) else { return false };
        self.bytes.extend_from_slice(piece);
        true
    }

    pub(super) const fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.total
    }

    /// The blob, if it is what it is called; nothing is left of one that is not.
    pub(super) fn finish(self) -> Option<(Hash, Vec<u8>)> {
        (Hash::of_blob(&self.bytes) == self.hash).then_some((self.hash, self.bytes))
    }
}

/// What all moves that come in have in memory, and what is left of blobs whose transfer was cut, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    left: Mutex<VecDeque<(AgentId, Nanos, Coming)>>,
    bytes: Arc<AtomicU64>,
}

/// What one move has in memory; nothing once it is dropped.
#[derive(Debug)]
pub(super) struct Weight {
    all: Arc<AtomicU64>,
    bytes: u64,
}

impl Weight {
    /// From now on it is so much. Says whether there is room for that.
    pub(super) fn set(&mut self, bytes: u64) -> bool {
        let all = if bytes >= self.bytes {
            self.all.fetch_add(bytes - self.bytes, Ordering::Relaxed).saturating_add(bytes - self.bytes)
        } else {
            self.all.fetch_sub(self.bytes - bytes, Ordering::Relaxed)
        };
        let grew = bytes > self.bytes;
        self.bytes = bytes;
        !grew || all <= MEMORY_BYTES_MAX
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Arrivals {
    /// The weight of a move that begins.
    pub(super) fn weight(&self) -> Weight {
        Weight { all: self.bytes.clone(), bytes: 0 }
    }

    fn with<T>(&self, now: Nanos, work: impl FnOnce(&mut VecDeque<(AgentId, Nanos, Coming)>) -> T) -> T {
        // No update can fail in the middle.
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|(_, since, _)| now.saturating_sub(*since) < LEFT_FOR);
        work(&mut left)
    }

    /// Keeps the beginning of a blob of this agent, in place of what was left of another. The oldest ones give way.
    pub(crate) fn keep(&self, agent: AgentId, now: Nanos, coming: Coming) {
        self.with(now, |left| {
            left.retain(|(of, ..)| *of != agent);
            left.push_back((agent, now, coming));
            let mut bytes: usize = left.iter().map(|(.., coming)| coming.bytes.capacity()).sum();
            while bytes > LEFT_BYTES_MAX {
                let Some((.., dropped)) = left.pop_front() else { break };
                bytes -= dropped.bytes.capacity();
            }
        });
    }

    /// Gives what was left for this agent.
    pub(crate) fn take(&self, agent: AgentId, now: Nanos) -> Option<Coming> {
        self.with(now, |left| {
            let at = left.iter().position(|(of, ..)| *of == agent)?;
            left.remove(at).map(|(.., coming)| coming)
        })
    }
}

#[cfg(test)]
mod tests;
