//! Where everything is: the index in memory, made by recovery and kept by the log and the mover.
//!
//! Invariants: it names only what is durable, except that its readers without a node believe what they find; a journal
//! that was removed leaves nothing in it but the name of its file, until that is gone.

use super::{
    local::{Local, Recent},
    segment::{Link, Segment},
};
use igor_protocol::{AgentId, Chain};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a file of commits durably holds from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The journal's [`Journal::born`].
    pub(crate) born: u64,
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

/// What a record of the log changes.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A commit: the chain before it, the chain after it, and where it is.
    Commit(Chain, Chain, Location),
    /// The journal is removed, whole.
    Remove(AgentId),
    /// A local value is put, or removed.
    Local(Local),
}

/// Places in a journal's file where a commit begins: (position of its first entry, byte), in order.
pub(crate) type Places = Vec<(u64, u64)>;

/// One agent's journal.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    /// The count of the group that has its first commit. So it differs between journals of one agent.
    pub(crate) born: u64,
    /// Its end.
    pub(crate) tail: Chain,
    /// What its file holds; nothing if it has none yet.
    pub(crate) held: Option<Held>,
    /// The commits after that, in order.
    pub(crate) recent: Vec<Location>,
    /// What readers found on their way. Shared with them, so that what they find late goes to no other journal.
    pub(crate) places: Arc<Mutex<Places>>,
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
    /// Journals whose removal is durable and whose file, if they had one, is to go: agent and [`Journal::born`].
    pub(crate) leftovers: BTreeSet<(AgentId, u64)>,
    /// Local values that are in the log and may not be in their files yet, by name.
    pub(crate) locals: BTreeMap<String, Recent>,
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

impl Journal {
    /// A journal of which nothing is in the log but what its file holds.
    pub(crate) fn begin(born: u64, tail: Chain, held: Option<Held>) -> Self {
        Self { born, tail, held, recent: Vec::new(), places: Arc::default() }
    }
}

impl Table {
    /// Takes up what a record did that is durable now. It is in the group of this count.
    pub(crate) fn apply(&mut self, change: Change, group: u64) {
        match change {
            Change::Commit(start, end, location) => {
                let begin = || Journal::begin(group, start, None);
                let journal = self.journals.entry(start.agent).or_insert_with(begin);
                journal.tail = end;
                journal.recent.push(location);
            }
            Change::Remove(agent) => {
                let removed = self.journals.remove(&agent);
                self.leftovers.extend(removed.map(|journal| (agent, journal.born)));
            }
            Change::Local(local) => drop(self.locals.insert(local.name.clone(), Recent { local, group })),
        }
    }

    pub(crate) fn tail(&self, agent: AgentId) -> Option<Chain> {
        self.journals.get(&agent).map(|journal| journal.tail)
    }

    /// All agents, sorted.
    pub(crate) fn agents(&self) -> Vec<AgentId> {
        self.journals.keys().copied().collect()
    }
}
