//! Where everything is: the index in memory, made by recovery and kept by the log and the mover.
//!
//! Invariant: it names only what is durable, except that its readers without a node believe what they find.

use super::segment::{Link, Segment};
use igor_protocol::{AgentId, Chain};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a file of commits durably holds from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The chain after its last commit.
    pub(crate) end: Chain,
    /// The length of the file up to there, in bytes.
    pub(crate) bytes: u64,
}

/// A commit that is still in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Location {
    /// The position of its first entry.
    pub(crate) first: u64,
    pub(crate) segment: u64,
    pub(crate) at: u64,
    pub(crate) bytes: u32,
}

/// A commit in the log: the chain before it, the chain after it, and where it is.
pub(crate) type Ordered = (Chain, Chain, Location);

/// One agent's journal.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    /// Its end.
    pub(crate) tail: Chain,
    /// What its file holds; nothing if it has none yet.
    pub(crate) held: Option<Held>,
    /// The commits after that, in order.
    pub(crate) recent: Vec<Location>,
    /// Places in its file where a commit begins: (position of its first entry, byte), in order.
    pub(crate) points: Vec<(u64, u64)>,
}

/// A segment that has groups.
#[derive(Clone)]
pub(crate) struct InUse {
    pub(crate) segment: Arc<Segment>,
    /// The link before its first group.
    pub(crate) before: Link,
    /// The link after its last group that counts; a later one was written again in the next segment.
    pub(crate) last: Link,
}

/// The index.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) journals: BTreeMap<AgentId, Journal>,
    pub(crate) archives: BTreeMap<AgentId, Held>,
    /// By number; the last one is being written.
    pub(crate) segments: BTreeMap<u64, InUse>,
    /// The end of the log.
    pub(crate) link: Link,
    /// The number of the next segment to be made.
    pub(crate) next_segment: u64,
}

/// The index as the threads share it. It is held for look-ups and updates only, never while a disk is waited for.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Table>>);

impl Shared {
    pub(crate) fn new(table: Table) -> Self {
        Self(Arc::new(Mutex::new(table)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        // Every update is one that cannot fail in the middle, so a panic elsewhere leaves the table right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The end of a journal that is not an archive.
    pub(crate) fn journal_tail(&self, agent: AgentId) -> Option<Chain> {
        self.journals.get(&agent).map(|journal| journal.tail)
    }

    pub(crate) fn tail(&self, agent: AgentId) -> Option<Chain> {
        self.journal_tail(agent).or_else(|| self.archives.get(&agent).map(|held| held.end))
    }

    /// All agents, archives too, sorted.
    pub(crate) fn agents(&self) -> Vec<AgentId> {
        let mut agents: Vec<_> = self.journals.keys().chain(self.archives.keys()).copied().collect();
        agents.sort_unstable();
        agents
    }
}
