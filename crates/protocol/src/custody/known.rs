//! What a node durably knows about the custody of one agent, and what follows from it.
//!
//! Invariants kept here:
//! - [`Known::status`] depends on nothing but what is durable, so it is the same before and after a crash.
//! - What a node signed outlives the journal: [`Memory`] is kept when the journal is deleted.

use super::{Evidence, Held, Rule, Rules};
use crate::{
    NodeId, codec,
    entry::{Custody, Phase, StoreKind},
    units::Epoch,
};
use minicbor::{Decode, Encode};

/// Largest encoded memory, in bytes.
const MEMORY_BYTES_MAX: usize = 16 << 10;

/// What a node's keystore has about one agent, for ever. Each change is durable before the next action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Memory {
    /// The last record that this node signed. Its epochs rise.
    #[n(0)]
    pub signed: Option<Custody>,
    /// The last accept or takeover that it signed: how the agent came here, and proof for who gave it and forgot.
    #[n(1)]
    pub came: Option<Custody>,
    /// The tombstone: the newest record by which the agent is elsewhere.
    #[n(2)]
    pub elsewhere: Option<Custody>,
    /// Why the agent is suspended, in the term of what was heard and those before.
    #[n(3)]
    pub evidence: Option<Evidence>,
}

impl Memory {
    /// Takes in a record that this node just signed.
    pub fn keep(&mut self, record: Custody) {
        if matches!(record.phase, Phase::Accept(_) | Phase::Takeover(_)) {
            self.came = Some(record.clone());
        }
        self.signed = Some(record);
    }

    /// All records, to be told to whoever asks.
    pub fn records(&self) -> impl Iterator<Item = &Custody> {
        let evidence =
            self.evidence.iter().flat_map(|evidence| std::iter::once(&evidence.heard).chain(&evidence.known));
        self.signed.iter().chain(&self.came).chain(&self.elsewhere).chain(evidence)
    }

    /// The epoch of the last record that this node signed.
    pub fn signed_epoch(&self) -> Option<Epoch> {
        self.signed.as_ref().map(|record| record.phase.epoch())
    }

    /// The epoch up to which the agent is known to be elsewhere.
    pub fn elsewhere_epoch(&self) -> Option<Epoch> {
        self.elsewhere.as_ref().map(|record| record.phase.epoch())
    }

    /// Whether evidence bars this term. Only the owner's takeover, which begins another, goes past it.
    pub fn bars(&self, term: u64) -> bool {
        self.evidence.as_ref().is_some_and(|evidence| term <= evidence.heard.phase.epoch().term)
    }

    /// Its deterministic bytes, for the keystore.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes what the keystore has.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        codec::decode("custody memory", bytes, MEMORY_BYTES_MAX)
    }
}

/// All that a step depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The end of the journal here; none where there is no journal of the agent. Durable.
    pub held: Option<Held>,
    /// What the keystore has. Durable.
    pub memory: Memory,
    /// Whether the node may run the agent now: set by [`Start`](super::Action::Start), cleared by
    /// [`Stop`](super::Action::Stop) and by every restart.
    pub running: bool,
}

/// What a node is to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has no journal of it.
    Absent,
    /// It has custody and may run it.
    Custodian,
    /// The last record that it signed is still to be written.
    Unfinished,
    /// It gave it to this node, and has no answer.
    Given(NodeId),
    /// It has the journal of an agent that was given to it, and has not answered.
    Undecided,
    /// It has an archive, a copy or an orphaned branch: others have custody.
    Elsewhere,
    /// It cannot tell whether it has custody.
    Suspended(Doubt),
}

/// Why a node cannot tell whether it has custody. The owner's takeover order decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Two records contradict each other, or this node signed one that it does not remember.
    #[error("there is signed evidence that custody was given twice or forgotten")]
    Evidence,
    /// The journal lacks a record that this node signed.
    #[error("the journal here is older than what this node signed: it was rolled back, or lost its end")]
    JournalBehind,
    /// The keystore lacks a record of this node that is in the journal.
    #[error("the keystore is older than the journal: it was rolled back, or is another node's")]
    KeystoreBehind,
}

impl Known {
    /// What node `me` is to the agent.
    pub fn status(&self, me: NodeId) -> Status {
        self.status_by(Rules::ALL, me)
    }

    pub(super) fn status_by(&self, rules: Rules, me: NodeId) -> Status {
        let Some(held) = &self.held else { return Status::Absent };
        if held.store != StoreKind::Disk {
            return held.shared_status(me);
        }
        let (memory, epoch) = (&self.memory, held.chain.epoch);
        // First, since others may have heard of what was signed: nobody else would write it.
        let signed = memory.signed.as_ref().filter(|signed| {
            let epoch = signed.phase.epoch();
            Some(epoch) > memory.elsewhere_epoch() && !memory.bars(epoch.term)
        });
        if let Some(status) = signed.and_then(|signed| unwritten(rules, held, signed)) {
            return status;
        }
        if memory.bars(epoch.term) {
            return Status::Suspended(Doubt::Evidence);
        }
        if rules.forbid(Rule::BuriedIsOver, memory.elsewhere_epoch() >= Some(epoch)) {
            return Status::Elsewhere;
        }
        let forgot = memory.signed_epoch() > Some(epoch);
        match held.standing.pending() {
            _ if self.is_keystore_behind(rules, me, held) => Status::Suspended(Doubt::KeystoreBehind),
            // Who has custody is offered nothing: even a decline shows that it had gone from here.
            None if held.standing.custodian == me && rules.forbid(Rule::JournalBehind, forgot) => {
                Status::Suspended(Doubt::JournalBehind)
            }
            None if held.standing.custodian == me => Status::Custodian,
            Some(given) if given.handoff.from == me => Status::Given(given.handoff.to),
            Some(given) if given.handoff.to == me => Status::Undecided,
            _ => Status::Elsewhere,
        }
    }

    fn is_keystore_behind(&self, rules: Rules, me: NodeId, held: &Held) -> bool {
        let own = held.standing.last().filter(|record| record.phase.writer() == me);
        let forgot = own.is_some_and(|record| Some(record.phase.epoch()) > self.memory.signed_epoch());
        rules.forbid(Rule::KeystoreBehind, forgot)
    }

    /// The newest word here on who has custody, and in which epoch. While a handoff has no answer that is who gave.
    pub fn custodian(&self) -> Option<(NodeId, Epoch)> {
        let held = self.held.as_ref().map(|held| (held.standing.custodian, held.chain.epoch));
        // Of an accept, a return, a takeover and a fence the writer is the custodian after it; of a handoff until it is answered.
        let written = |record: &Custody| match record.phase {
            Phase::Decline(_) => None,
            _ => Some((record.phase.writer(), record.phase.epoch())),
        };
        let memory = &self.memory;
        let signed = memory.signed.as_ref().and_then(written);
        let elsewhere = memory.elsewhere.as_ref().and_then(written);
        // Of one epoch the answer is newer than the handoff: the tombstone, or else the journal.
        [signed, held, elsewhere].into_iter().flatten().max_by_key(|(_, epoch)| *epoch)
    }

    /// Every record that is known here: the memory's, and the proofs at the journal's end.
    pub fn records(&self) -> impl Iterator<Item = &Custody> {
        self.memory.records().chain(self.held.iter().flat_map(|held| &held.standing.proofs))
    }
}

impl Held {
    /// What node `me` is to an agent on a shared store: the journal there says it all, and what is not in it, whoever
    /// signed it, has no weight.
    fn shared_status(&self, me: NodeId) -> Status {
        match self.standing.pending().map(|given| given.handoff) {
            None if self.standing.custodian == me => Status::Custodian,
            Some(handoff) if handoff.from == me => Status::Given(handoff.to),
            Some(handoff) if handoff.to == me => Status::Undecided,
            _ => Status::Elsewhere,
        }
    }
}

/// What follows where the last record that was signed is not in the journal.
fn unwritten(rules: Rules, held: &Held, signed: &Custody) -> Option<Status> {
    if let Phase::Decline(decline) = &signed.phase {
        // What was declined stays declined, though its journal may be here.
        return (held.standing.pending() == Some(decline.given)).then_some(Status::Elsewhere);
    }
    let written = held.standing.proofs.iter().flat_map(Custody::parts).any(|record| record == *signed);
    if written || signed.phase.epoch() < held.chain.epoch {
        return None;
    }
    if rules.forbid(Rule::FinishWhatWasSigned, held.admit(&signed.phase).is_ok()) {
        return Some(Status::Unfinished);
    }
    rules.keep(Rule::JournalBehind).then_some(Status::Suspended(Doubt::JournalBehind))
}
