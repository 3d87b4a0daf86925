//! Which slots count.
//!
//! Invariant kept here: the judgement of a slot is a function of it and of the slots that count before it.

use super::{Nonce, Object, Position};
use crate::{
    Chain, Entry, Hash, NodeId, OwnerId,
    custody::Held,
    entry::{Body, Custody, StoreKind},
    ledger::Fault,
    units::{Seq, Slot},
};

/// The end of a journal on object storage, after some slot that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Where the next slot goes, and what it links to.
    pub next: Position,
    /// Which process writes under the epoch of the journal's end.
    pub nonce: Nonce,
    /// The slot by which that began: the first of all, or a change of custody. It is never collected.
    pub run: Slot,
}

/// Why a slot does not count. It is passed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// Not a slot, or one of a version that is not known.
    #[error("it is not a slot: {0}")]
    Malformed(String),
    /// It says that it is another one than its key says.
    #[error("it was written for another place")]
    Misplaced,
    /// It does not go on from the slot that counts before it.
    #[error("it does not link to the slot before it")]
    Unlinked,
    /// Its signature is not its writer's.
    #[error("its signature is not of the node that it names")]
    Forged,
    /// Its writer, or the process that wrote it, may not append here.
    #[error("its writer may not append here: {0}")]
    NotPermitted(String),
}

/// What a slot that counts is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// The end of the journal after it.
    pub end: End,
    /// The change of custody that it begins with, if it does.
    pub change: Option<Custody>,
}

impl End {
    /// Judges the first slot: what stands there counts if it begins this agent by its Genesis, on this store.
    pub fn judge_first(object: &Object, bytes: &[u8], store: StoreKind) -> Result<Counts, Void> {
        let first = |why: &str| Void::NotPermitted(why.to_owned());
        let Some(commit) = object.commits.first() else { return Err(Void::Misplaced) };
        if object.number != Slot(0) || object.prev != Hash::ZERO || commit.start() != Chain::begin(object.agent) {
            return Err(Void::Misplaced);
        }
        let genesis = match first_entry(object, 0)? {
            Body::Genesis(genesis) => genesis,
            _ => return Err(first("a journal begins with its Genesis")),
        };
        if genesis.body.agent_id() != object.agent || genesis.body.store != store {
            return Err(first("its Genesis is of another agent, or for another store"));
        }
        if genesis.body.custodian != object.writer || !genesis.is_signed() {
            return Err(first("only the first custodian begins an agent, with its owner's signature"));
        }
        object.linked(Chain::begin(object.agent))?;
        Ok(Counts { end: object.end(bytes, object.number), change: None })
    }

    /// Judges what stands in the next slot. `held` is the journal's end before it, `owner` whose agent it is.
    pub fn judge(&self, object: &Object, bytes: &[u8], held: &Held, owner: &OwnerId) -> Result<Counts, Void> {
        if (object.agent, object.number) != (held.chain.agent, self.next.number) {
            return Err(Void::Misplaced);
        }
        if object.prev != self.next.prev {
            return Err(Void::Unlinked);
        }
        let forbidden = |fault: Fault| Void::NotPermitted(fault.to_string());
        let (writer, epoch, change) = match first_entry(object, 0)? {
            Body::Custody(record) => {
                held.admit(&record.phase).map_err(forbidden)?;
                record.check(owner).map_err(forbidden)?;
                (record.phase.writer(), record.phase.epoch(), Some(record))
            }
            _ if held.standing.pending().is_some() => {
                return Err(Void::NotPermitted("it was given away and not accepted".into()));
            }
            _ => (held.standing.custodian, held.chain.epoch, None),
        };
        self.permit(object, writer, change.is_some())?;
        object.linked(Chain { epoch, ..held.chain })?;
        let run = if change.is_some() { object.number } else { self.run };
        Ok(Counts { end: object.end(bytes, run), change })
    }

    fn permit(&self, object: &Object, writer: NodeId, changes: bool) -> Result<(), Void> {
        if object.writer != writer {
            return Err(Void::NotPermitted("another node has custody".into()));
        }
        if !changes && object.nonce != self.nonce {
            return Err(Void::NotPermitted("another process of this node has custody".into()));
        }
        if object.is_signed() { Ok(()) } else { Err(Void::Forged) }
    }
}

impl Object {
    /// The end after it. `bytes` are its own.
    fn end(&self, bytes: &[u8], run: Slot) -> End {
        End { next: Position { number: self.number.next(), prev: Self::hash(bytes) }, nonce: self.nonce, run }
    }

    /// Whether its commits follow one another from `start`, in one epoch, with custody changed by the first entry only.
    fn linked(&self, start: Chain) -> Result<(), Void> {
        let mut end = start;
        for (index, commit) in self.commits.iter().enumerate() {
            if commit.start() != end {
                return Err(Void::Unlinked);
            }
            if index > 0 && matches!(first_entry(self, index)?, Body::Custody(_)) {
                return Err(Void::NotPermitted("a change of custody begins a slot".into()));
            }
            end = commit.end();
        }
        if end.next == start.next || end.next.0 > PLACES_MAX {
            return Err(Void::Unlinked);
        }
        Ok(())
    }
}

/// No journal comes so far.
const PLACES_MAX: u64 = 1 << 62;

/// The first entry of one of its commits.
fn first_entry(object: &Object, index: usize) -> Result<Body, Void> {
    let encoded = object.commits.get(index).and_then(|commit| commit.entries().next());
    let (_, _, bytes): (Seq, Hash, &[u8]) = encoded.ok_or(Void::Misplaced)?;
    Entry::decode(bytes).map(|entry| entry.body).map_err(|e| Void::Malformed(e.to_string()))
}
