//! Which slots count.
//!
//! Invariants kept here:
//! - The judgement of a slot is a function of it and of the slots that count before it.
//! - What can be decided without its bytes is decided by [`End::decide`], so that the model decides the same.

use super::{Nonce, Object, Position, Rule, Rules};
use crate::{
    Chain, Entry, Hash, OwnerId,
    custody::Held,
    entry::{Body, Custody, StoreKind},
    ledger::Fault,
    units::Slot,
};

/// The end of a journal on object storage, after some slot that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// Where the next slot goes, and what it links to.
    pub next: Position,
    /// Which process writes under the epoch of the journal's end.
    pub nonce: Nonce,
    /// The slot by which that began: the first of all, or a change of custody. It is never collected.
    pub run: Slot,
}

/// What a slot says of itself, as far as that decides whether it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<W> {
    /// Its number, and what it links to.
    pub at: Position,
    /// Which process wrote it.
    pub nonce: Nonce,
    /// Which node wrote it.
    pub writer: W,
    /// Whose the change of custody is that it begins with, if it does and if that may be made there.
    pub change: Option<W>,
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
    /// The journal after it.
    pub held: Held,
}

impl End {
    /// Judges the first slot: what stands there counts if it begins this agent by its Genesis, on this store.
    pub fn judge_first(object: &Object, bytes: &[u8], store: StoreKind) -> Result<Counts, Void> {
        let first = |why: &str| Void::NotPermitted(why.to_owned());
        if object.number != Slot(0) || object.prev != Hash::ZERO {
            return Err(Void::Misplaced);
        }
        let Body::Genesis(genesis) = first_entry(object)? else {
            return Err(first("a journal begins with its Genesis"));
        };
        if genesis.body.agent_id() != object.agent || genesis.body.store != store {
            return Err(first("its Genesis is of another agent, or for another store"));
        }
        if genesis.body.custodian != object.writer || !genesis.is_signed() {
            return Err(first("only the first custodian begins an agent, with its owner's signature"));
        }
        if !object.is_signed() {
            return Err(Void::Forged);
        }
        object.linked(Chain::begin(object.agent))?;
        let held = object.followed(&Held::before(&genesis.body))?;
        let begin = Self { next: object.at(), nonce: object.nonce, run: object.number };
        Ok(Counts { end: begin.after(Object::hash(bytes), object.nonce, false), change: None, held })
    }

    /// Judges what stands in the next slot. `held` is the journal's end before it, `owner` whose agent it is.
    pub fn judge(&self, object: &Object, bytes: &[u8], held: &Held, owner: &OwnerId) -> Result<Counts, Void> {
        if object.agent != held.chain.agent {
            return Err(Void::Misplaced);
        }
        let forbidden = |fault: Fault| Void::NotPermitted(fault.to_string());
        let change = match first_entry(object)? {
            Body::Custody(record) => Some(record),
            _ => None,
        };
        let writer = change.as_ref().map(|record| record.phase.writer());
        let claim = Claim { at: object.at(), nonce: object.nonce, writer: object.writer, change: writer };
        let standing = &held.standing;
        let custodian = standing.pending().is_none().then_some(standing.custodian);
        self.decide(Rules::ALL, &claim, custodian)?;
        if let Some(record) = &change {
            held.admit(&record.phase).map_err(forbidden)?;
            record.check(owner).map_err(forbidden)?;
        }
        if !object.is_signed() {
            return Err(Void::Forged);
        }
        let epoch = change.as_ref().map_or(held.chain.epoch, |record| record.phase.epoch());
        object.linked(Chain { epoch, ..held.chain })?;
        let held = object.followed(held)?;
        Ok(Counts { end: self.after(Object::hash(bytes), object.nonce, change.is_some()), change, held })
    }

    /// Whether a slot goes on from here, by what it says of itself. `custodian` is who may append: nobody, while a handoff
    /// waits for its answer.
    pub fn decide<W: Copy + PartialEq>(
        &self,
        rules: Rules,
        claim: &Claim<W>,
        custodian: Option<W>,
    ) -> Result<(), Void> {
        let not_permitted = |why: &str| Err(Void::NotPermitted(why.to_owned()));
        if claim.at.number != self.next.number || claim.at.number.0 > PLACES_MAX {
            return Err(Void::Misplaced);
        }
        if rules.forbid(Rule::Linked, claim.at.prev != self.next.prev) {
            return Err(Void::Unlinked);
        }
        let Some(writer) = claim.change.or(custodian) else {
            return not_permitted("it was given away and not accepted");
        };
        if claim.writer != writer {
            return not_permitted("another node has custody");
        }
        if claim.change.is_none() && claim.nonce != self.nonce {
            return not_permitted("another process of this node has custody");
        }
        Ok(())
    }

    /// The end after the next slot, which has this hash and is by this process.
    #[must_use]
    pub const fn after(&self, hash: Hash, nonce: Nonce, changes: bool) -> Self {
        let number = self.next.number;
        let run = if changes { number } else { self.run };
        Self { next: Position { number: number.next(), prev: hash }, nonce, run }
    }
}

impl Object {
    /// Where it goes, and what it links to.
    const fn at(&self) -> Position {
        Position { number: self.number, prev: self.prev }
    }

    /// Whether its commit goes on from `start`.
    fn linked(&self, start: Chain) -> Result<(), Void> {
        if self.commit.agent() == self.agent && self.commit.start() == start && self.commit.next().0 <= PLACES_MAX {
            Ok(())
        } else {
            Err(Void::Unlinked)
        }
    }

    /// The journal after its commit, if that may be followed.
    fn followed(&self, held: &Held) -> Result<Held, Void> {
        let mut held = held.clone();
        match held.follow(&self.commit) {
            Ok(()) => Ok(held),
            Err(fault) => Err(Void::NotPermitted(fault.to_string())),
        }
    }
}

/// No journal comes so far, in entries or in slots.
const PLACES_MAX: u64 = 1 << 62;

/// The first entry of its commit, which is the only one that can change custody.
fn first_entry(object: &Object) -> Result<Body, Void> {
    let (_, _, bytes) = object.commit.entries().next().ok_or(Void::Misplaced)?;
    Entry::decode(bytes).map(|entry| entry.body).map_err(|e| Void::Malformed(e.to_string()))
}
