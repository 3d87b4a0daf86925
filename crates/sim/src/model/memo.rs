//! What was asked of the protocol before: the same question has the same answer, and states ask few different ones.
//!
//! Invariant kept here: an answer depends on nothing but its question. Questions are told apart by 64 bits, as states
//! are by the checker.

use super::{
    bridge,
    state::{Act, Disk, Entry, Gift, NodeIx, Record, Taken},
};
use igor_protocol::custody::{Event, Rules, Status, step_by};
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
};

/// An event of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Happening {
    Restarted,
    Timer,
    Give(NodeIx),
    Arrived { gift: Gift, extends: bool, admit: bool },
    Heard(Record),
    Asked(NodeIx),
    Ordered(Taken),
}

/// What the machine does about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Refused,
    Do(Vec<Act>),
    /// It signs what has no small record, so what no rule lets in.
    Wrong,
}

/// What a journal says.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The term at its end.
    pub(super) term: u8,
    /// The place of the next entry.
    pub(super) end: (u8, u64),
    /// What the next run costs.
    pub(super) price: u8,
    /// Whether every entry was right.
    pub(super) right: bool,
    /// The proofs of its standing.
    pub(super) proofs: Vec<Record>,
}

#[derive(Debug)]
struct Table<V>(Mutex<BTreeMap<u64, V>>);

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Clone> Table<V> {
    fn get(&self, question: &impl Hash, answer: impl FnOnce() -> V) -> V {
        let print = fingerprint(question);
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&print).cloned();
        found.unwrap_or_else(|| {
            let answer = answer();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(print, answer.clone());
            answer
        })
    }
}

pub(super) fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The answers so far.
#[derive(Debug, Default)]
pub(super) struct Memo {
    steps: Table<Answer>,
    statuses: Table<Status>,
    facts: Table<Facts>,
}

impl Memo {
    /// `journal` is the one that arrives, where one does.
    pub(super) fn step(
        &self,
        rules: Rules,
        ix: NodeIx,
        (disk, running): (&Disk, bool),
        happening: Happening,
        journal: Option<&[Entry]>,
    ) -> Answer {
        self.steps.get(&(ix, &disk.journal, &disk.keys, running, happening), || {
            let event = match happening {
                Happening::Restarted => Event::Restarted,
                Happening::Timer => Event::Timer,
                Happening::Give(to) => Event::Give { to: bridge::key(to), terms: bridge::terms(to) },
                Happening::Arrived { extends, admit, .. } => {
                    Event::Arrived { journal: bridge::fold(journal.unwrap_or_default()).0, extends, admit }
                }
                Happening::Heard(record) => Event::Heard(bridge::real(record)),
                Happening::Asked(by) => Event::Asked(bridge::key(by)),
                Happening::Ordered(taken) => Event::Ordered(bridge::order(taken)),
            };
            let known = bridge::known(disk, running);
            match step_by(rules, bridge::key(ix), bridge::NOW, &known, event).map(|actions| bridge::acts(&actions)) {
                Err(_) => Answer::Refused,
                Ok(Some(acts)) => Answer::Do(acts),
                Ok(None) => Answer::Wrong,
            }
        })
    }

    /// What the node is to the agent, all rules kept.
    pub(super) fn status(&self, ix: NodeIx, disk: &Disk) -> Status {
        self.statuses.get(&(ix, &disk.journal, &disk.keys), || bridge::known(disk, false).status(bridge::key(ix)))
    }

    pub(super) fn facts(&self, journal: &[Entry]) -> Facts {
        self.facts.get(&journal, || bridge::facts(journal))
    }

    /// All records that a node knows, as [`igor_protocol::custody::Known::records`] has them.
    pub(super) fn records(&self, disk: &Disk) -> Vec<Record> {
        let evidence = disk.keys.evidence.iter().flat_map(|(heard, known)| [Some(*heard), *known]).flatten();
        let keys = [disk.keys.signed, disk.keys.came, disk.keys.elsewhere].into_iter().flatten();
        let proofs = disk.journal.as_ref().map(|journal| self.facts(journal).proofs).unwrap_or_default();
        keys.chain(evidence).chain(proofs).collect()
    }
}
