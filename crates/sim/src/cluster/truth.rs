//! What the journals in a bucket are, for who sees everything: of all that ever stood in each slot, the first.
//!
//! Invariants kept here:
//! - The journal of an agent only grows: what counts is decided by the slots before it, and by nothing that comes later.
//! - Nobody in the cluster is told.

use igor_protocol::{
    AgentId, Commit, Entry, Epoch, Hash, NodeId, OwnerId, Seq, Slot,
    custody::Held,
    entry::{Body, Custody, Phase, StoreId, StoreKind},
    slot::{End, Object, Position},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The bucket of every simulated cluster that has one.
pub(super) const STORE: StoreId = StoreId([7; 16]);

/// All journals in a bucket. Clones are the same ones.
#[derive(Clone, Default)]
pub struct Truth(Arc<Mutex<BTreeMap<AgentId, Line>>>);

/// One of them.
struct Line {
    owner: OwnerId,
    held: Held,
    end: End,
    /// The slot after the last that was judged.
    number: Slot,
    commits: Vec<Commit>,
    /// The chain's head after each entry.
    heads: BTreeMap<Seq, Hash>,
}

/// What a slot came to that stands there for the first time.
pub(super) enum News {
    /// It counts, and its commit begins with this, if with a change of custody.
    Counts(Option<Box<Custody>>),
    /// It does not.
    Void,
}

impl Truth {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads on in the slots of an agent.
    pub(super) fn read_on(&self, agent: AgentId, first: impl Fn(Slot) -> Option<bytes::Bytes>) -> Vec<News> {
        let (mut all, mut news) = (self.lock(), Vec::new());
        loop {
            let number = all.get(&agent).map_or(Slot(0), |line| line.number);
            let Some(bytes) = first(number) else { return news };
            let object = Object::decode(&bytes).ok();
            let Some(line) = all.get_mut(&agent) else {
                let begun = object.and_then(|object| Some((begin(&object, &bytes)?, object.commit)));
                let Some((mut line, commit)) = begun else { return news };
                line.take(commit);
                all.insert(agent, line);
                news.push(News::Counts(None));
                continue;
            };
            let end = End { next: Position { number, ..line.end.next }, ..line.end };
            line.number = number.next();
            let counts =
                object.and_then(|object| Some((end.judge(&object, &bytes, &line.held, &line.owner).ok()?, object)));
            let Some((counts, object)) = counts else {
                news.push(News::Void);
                continue;
            };
            (line.end, line.held) = (counts.end, counts.held);
            news.push(News::Counts(custody_in(&object.commit).map(Box::new)));
            line.take(object.commit);
        }
    }

    /// Whether this is the head of an agent's journal after the entry at `seq`.
    pub fn has(&self, agent: AgentId, seq: Seq, head: Hash) -> bool {
        self.lock().get(&agent).is_some_and(|line| line.heads.get(&seq) == Some(&head))
    }

    /// The end of an agent's journal; nothing where it has not begun.
    pub fn held(&self, agent: AgentId) -> Option<Held> {
        self.lock().get(&agent).map(|line| line.held.clone())
    }

    /// The epoch at the end of an agent's journal.
    pub fn epoch(&self, agent: AgentId) -> Epoch {
        self.lock().get(&agent).map_or(Epoch::default(), |line| line.held.chain.epoch)
    }

    /// The position after the last entry of an agent's journal.
    pub fn end(&self, agent: AgentId) -> Seq {
        self.lock().get(&agent).map_or(Seq(0), |line| line.held.chain.next)
    }

    /// Who has an agent at the end of its journal.
    pub fn custodian(&self, agent: AgentId) -> Option<NodeId> {
        self.lock().get(&agent).map(|line| line.held.standing.custodian)
    }

    /// An agent's journal.
    pub fn commits(&self, agent: AgentId) -> Vec<Commit> {
        self.lock().get(&agent).map(|line| line.commits.clone()).unwrap_or_default()
    }

    /// Whether an owner's takeover from this position is in the journal.
    pub fn was_taken_over(&self, agent: AgentId, from: Seq) -> bool {
        let all = self.lock();
        let commits = all.get(&agent).map_or(&[][..], |line| &line.commits);
        let at = commits.partition_point(|commit| commit.first() < from);
        let record = commits.get(at).filter(|commit| commit.first() == from).and_then(custody_in);
        record.is_some_and(|record| matches!(record.phase, Phase::Takeover(_)))
    }
}

fn begin(object: &Object, bytes: &[u8]) -> Option<Line> {
    let counts = End::judge_first(object, bytes, StoreKind::Bucket(STORE)).ok()?;
    let (_, _, first) = object.commit.entries().next()?;
    let Body::Genesis(genesis) = Entry::decode(first).ok()?.body else { return None };
    let (owner, held, end) = (genesis.body.owner, counts.held, counts.end);
    Some(Line { owner, held, end, number: Slot(1), commits: Vec::new(), heads: BTreeMap::new() })
}

impl Line {
    fn take(&mut self, commit: Commit) {
        self.heads.extend(commit.entries().map(|(seq, head, _)| (seq, head)));
        self.commits.push(commit);
    }
}

/// The change of custody that a commit begins with.
fn custody_in(commit: &Commit) -> Option<Custody> {
    let (_, _, bytes) = commit.entries().next()?;
    match Entry::decode(bytes).ok()?.body {
        Body::Custody(record) => Some(record),
        _ => None,
    }
}
