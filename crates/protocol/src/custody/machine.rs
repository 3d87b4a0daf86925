//! The step: from what is known and what happens, to what is done.
//!
//! Invariants kept here:
//! - Whatever is to be kept was let in by the rule that judges entries ([`Held::admit`]), so what is signed can be
//!   appended.
//! - Of what is told, nothing is in an action: [`Action::Tell`] and [`Action::Transfer`] send what is durable when they
//!   are done. So nothing is told that a crash could take back.
//! - A step that is refused changes nothing.
//!
//! What the driver owes it: one step at a time for an agent, each with what is durable then; its actions in order,
//! all done, or the node restarted; nothing else appended to the journal between a step that keeps and its last
//! action; records and journals verified before they come in ([`Custody::check`], [`crate::verify`]).

use super::{Doubt, Evidence, Held, Known, Memory, Rule, Rules, Status, evidence};
use crate::{
    NodeId, Signature, Terms,
    entry::{Action as Ordered, Custody, Declined, GenesisBody, Order, Phase, StoreKind},
    ledger::Fault,
    units::{Epoch, Timestamp},
};

/// What happens to an agent's custody at one node. An offer that is agreed, or a copy that goes ahead, is not here: it
/// binds nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // made one at a time
pub enum Event {
    /// The node is up again.
    Restarted,
    /// Some time passed. After a restart or an [`Action::Ask`] the driver first gives peers the time to answer.
    Timer,
    /// The agent is frozen, checkpointed and sealed, and goes to this node, whose terms these are.
    Give {
        /// Who agreed to take it.
        to: NodeId,
        /// What it asks.
        terms: Terms,
    },
    /// A whole journal that ends with a handoff is here and verified.
    Arrived {
        /// Its end.
        journal: Held,
        /// Whether it goes on from the journal that is here, or none is.
        extends: bool,
        /// Whether this node takes the agent: its policy, capacity and terms are as agreed, and the state restores.
        admit: bool,
    },
    /// A record came in, from anyone.
    Heard(Custody),
    /// A node asks what is known.
    Asked(NodeId),
    /// The owner's takeover order, signed by it, came in.
    Ordered(Order),
}

/// What to do. In order, each done and durable before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // made one at a time
pub enum Action {
    /// Drop the instance: it runs no more, and nothing of it is released.
    Stop,
    /// The agent may run from here on.
    Start,
    /// Make the journal that arrived the one here. A branch that it does not go on from is kept aside, as orphaned.
    Adopt,
    /// Sign this and keep it in the keystore ([`Memory::keep`]).
    Keep(Phase),
    /// Append the record that was kept last.
    Append,
    /// Keep this as the tombstone; the journal here becomes an archive.
    Bury(Custody),
    /// Keep this as evidence.
    Suspend(Evidence),
    /// Send the journal, which ends with a handoff, to the node that it names. Skips what that has.
    Transfer(NodeId),
    /// Send all records that are known to this node.
    Tell(NodeId),
    /// Send them to all peers that are known.
    Announce,
    /// Ask all peers that are known for what they know.
    Ask,
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Only who has custody gives it away.
    #[error("this node does not have custody of the agent now")]
    NotCustodian,
    /// It is for another node.
    #[error("it names another node")]
    NotForMe,
    /// The journal does not end with a handoff.
    #[error("the journal does not end with a handoff")]
    NotGiven,
    /// There is no journal to go on from.
    #[error("there is no journal of the agent here: import one that ends at the order's base")]
    NoJournal,
    /// What is known here is newer.
    #[error("it is of epoch {offered}; this node knows of epoch {known}")]
    Stale {
        /// Its epoch.
        offered: Epoch,
        /// The newest one here.
        known: Epoch,
    },
    /// It says nothing new.
    #[error("it is known already")]
    Known,
    /// Its writer is nobody that this node knows to have had custody.
    #[error("it does not follow from what this node knows of the agent")]
    Unlinked,
    /// The node cannot tell whether it has custody.
    #[error("custody is in doubt: {0}; the owner's takeover order decides")]
    Doubt(#[from] Doubt),
    /// The journal would not let it in.
    #[error(transparent)]
    Fault(#[from] Fault),
}

type Actions = Result<Vec<Action>, Refusal>;

/// What node `me` does about `event`, given what it knows. `now` is its clock, for what it signs.
pub fn step(me: NodeId, now: Timestamp, known: &Known, event: Event) -> Actions {
    step_by(Rules::ALL, me, now, known, event)
}

/// As [`step`], but with a rule left out: for the model checker, to show what the rule is for.
pub fn step_by(rules: Rules, me: NodeId, now: Timestamp, known: &Known, event: Event) -> Actions {
    let machine = Machine { rules, me, now, known, status: known.status_by(rules, me) };
    match event {
        Event::Restarted => Ok(machine.restarted()),
        Event::Timer => machine.timer(),
        Event::Give { to, terms } => machine.give(to, terms),
        Event::Arrived { journal, extends, admit } => machine.arrived(&journal, extends, admit),
        Event::Heard(record) => machine.heard(record),
        Event::Asked(by) => Ok(known.records().next().map(|_| Action::Tell(by)).into_iter().collect()),
        Event::Ordered(order) => machine.ordered(&order),
    }
}

/// Whether node `me` may begin an agent: with a Genesis that names it, in time, and only once.
pub fn may_begin(me: NodeId, now: Timestamp, genesis: &GenesisBody, memory: &Memory) -> Result<(), Refusal> {
    if genesis.custodian != me {
        return Err(Refusal::NotForMe);
    }
    if now > genesis.expires {
        return Err(Fault::Time("Genesis had expired").into());
    }
    match memory.signed_epoch().max(memory.elsewhere_epoch()) {
        Some(known) => Err(Refusal::Stale { offered: Epoch::default(), known }),
        None if memory.evidence.is_some() => Err(Doubt::Evidence.into()),
        None => Ok(()),
    }
}

struct Machine<'a> {
    rules: Rules,
    me: NodeId,
    now: Timestamp,
    known: &'a Known,
    status: Status,
}

impl Machine<'_> {
    /// Only completes what was signed. Whether to go on waits for what peers say.
    fn restarted(&self) -> Vec<Action> {
        match self.status {
            Status::Unfinished => vec![Action::Append, Action::Ask],
            Status::Custodian | Status::Given(_) => vec![Action::Ask],
            Status::Absent | Status::Undecided | Status::Elsewhere | Status::Suspended(_) => vec![],
        }
    }

    fn timer(&self) -> Actions {
        Ok(match self.status {
            Status::Unfinished => self.known.memory.signed.as_ref().map(finish).unwrap_or_default(),
            Status::Custodian if !self.known.running => vec![Action::Start],
            Status::Custodian => vec![Action::Ask],
            Status::Given(_) if !self.rules.keep(Rule::GivenStaysGiven) => vec![Action::Start],
            Status::Given(_) if !self.rules.keep(Rule::SilenceIsNoDecline) => {
                let held = self.known.held.as_ref().ok_or(Refusal::NoJournal)?;
                let Phase::Decline(decline) = held.decline(self.now)? else { return Ok(vec![]) };
                self.take_back(held, &Declined { decline, signature: Signature([0; 64]) })?
            }
            Status::Given(to) => vec![Action::Transfer(to), Action::Ask],
            Status::Absent | Status::Undecided | Status::Elsewhere | Status::Suspended(_) => vec![],
        })
    }

    fn give(&self, to: NodeId, terms: Terms) -> Actions {
        let (Status::Custodian, Some(held)) = (self.status, &self.known.held) else {
            return Err(self.doubt().map_or(Refusal::NotCustodian, Refusal::Doubt));
        };
        let mut actions = vec![Action::Keep(held.handoff(to, terms, self.now)?), Action::Append, Action::Transfer(to)];
        if self.rules.keep(Rule::StopBeforeGiving) {
            actions.insert(0, Action::Stop);
        }
        Ok(actions)
    }

    fn arrived(&self, journal: &Held, extends: bool, admit: bool) -> Actions {
        // On a shared store it is what is there now, whoever went on since it was read.
        let journal = self.known.held.as_ref().filter(|held| held.store != StoreKind::Disk).unwrap_or(journal);
        let given = journal.standing.pending().ok_or(Refusal::NotGiven)?;
        let (from, epoch) = (given.handoff.from, given.handoff.place.epoch);
        if given.handoff.to != self.me {
            return Err(Refusal::NotForMe);
        }
        let memory = &self.known.memory;
        if let Some(signed) = memory.signed.as_ref().filter(|signed| signed.parts().any(|part| part == given.record()))
            && self.rules.keep(Rule::OneAnswer)
        {
            return Ok(if self.status == Status::Unfinished { finish(signed) } else { vec![Action::Tell(from)] });
        }
        if let Some(evidence) = self.contradiction(&given.record()) {
            return Ok(vec![Action::Stop, Action::Suspend(evidence)]);
        }
        self.newer(epoch)?;
        if memory.bars(epoch.term) {
            return Err(Doubt::Evidence.into());
        }
        let mut actions = vec![];
        if self.term().is_some_and(|term| epoch.term > term) {
            // The takeover is in the journal that came; the branch here is over.
            let takeover = journal.standing.takeover().cloned();
            actions.extend([Some(Action::Stop), takeover.map(Action::Bury)].into_iter().flatten());
        } else if matches!(self.status, Status::Custodian | Status::Unfinished) {
            // It came back without having been given away, as far as this node remembers.
            return Ok(vec![Action::Stop, Action::Suspend(Evidence { heard: given.record(), known: None })]);
        } else if self.status == Status::Suspended(Doubt::KeystoreBehind) {
            return Err(Doubt::KeystoreBehind.into());
        }
        if admit && (extends || self.term() != Some(epoch.term)) {
            let accept = Action::Keep(journal.accept(self.now)?);
            actions.extend([Action::Adopt, accept, Action::Append, Action::Start, Action::Tell(from)]);
            if !self.rules.keep(Rule::StartAfterAccept) {
                let start = actions.len() - 2;
                actions[start - 2..=start].rotate_right(1);
            }
        } else {
            actions.extend([Action::Keep(journal.decline(self.now)?), Action::Tell(from)]);
        }
        Ok(actions)
    }

    fn heard(&self, record: Custody) -> Actions {
        let memory = &self.known.memory;
        if self.known.records().any(|known| *known == record) {
            return Err(Refusal::Known);
        }
        if let Phase::Fence(_) = record.phase {
            return Err(Refusal::Unlinked);
        }
        if let Some(evidence) = self.contradiction(&record) {
            return Ok(vec![Action::Stop, Action::Suspend(evidence)]);
        }
        if record.phase.writer() == self.me {
            return Err(Refusal::Known);
        }
        let epoch = record.phase.epoch();
        if let Phase::Takeover(_) = record.phase {
            // A node that never had the agent keeps no tombstones for strangers.
            if self.known.held.is_none() && memory.signed.is_none() {
                return Err(Refusal::Unlinked);
            }
            self.newer(epoch)?;
            if self.term().is_some_and(|term| epoch.term <= term) {
                return Err(Refusal::Known);
            }
            return if self.rules.keep(Rule::TakeoverIsHeard) { Ok(self.bury(record)) } else { Ok(vec![]) };
        }
        match (self.status, &self.known.held) {
            (Status::Given(to), Some(held)) => self.answered(held, to, &record),
            (Status::Absent | Status::Elsewhere, _) => match &memory.elsewhere {
                Some(tombstone) if follows(&record, tombstone) => Ok(vec![Action::Bury(record)]),
                _ => Err(Refusal::Unlinked),
            },
            (Status::Custodian, Some(held)) if self.is_by_its_giver(held, &record) => {
                let known = held.standing.last().cloned();
                Ok(vec![Action::Stop, Action::Suspend(Evidence { heard: record, known })])
            }
            (Status::Custodian, Some(held))
                if !self.rules.keep(Rule::StrangersAreIgnored) && epoch > held.chain.epoch =>
            {
                Ok(self.bury(record))
            }
            (Status::Suspended(doubt), _) => Err(doubt.into()),
            _ => Err(Refusal::Unlinked),
        }
    }

    /// Whether a record is a later one of the node that this one has the agent from. Only this node may raise the epoch.
    fn is_by_its_giver(&self, held: &Held, record: &Custody) -> bool {
        let giver = match held.standing.last().map(|last| &last.phase) {
            Some(Phase::Accept(accept)) => Some(accept.given.handoff.from),
            _ => None,
        };
        let epoch = held.chain.epoch;
        let later = |part: Custody| {
            let at = part.phase.epoch();
            Some(part.phase.writer()) == giver && at.term == epoch.term && at > epoch
        };
        self.rules.forbid(Rule::GiversAreOut, record.parts().any(later))
    }

    /// A record while a handoff has no answer.
    fn answered(&self, held: &Held, to: NodeId, record: &Custody) -> Actions {
        let given = held.standing.pending().ok_or(Refusal::NotGiven)?;
        if let Some(declined) = record.declined().filter(|declined| declined.decline.given == given) {
            return self.take_back(held, &declined);
        }
        let any = !self.rules.keep(Rule::OnlyTheNamedAnswers) && record.phase.epoch() > given.handoff.place.epoch;
        if any || shows_custody(record, to, given.handoff.place.epoch) {
            return Ok(vec![Action::Bury(record.clone())]);
        }
        Err(Refusal::Unlinked)
    }

    fn take_back(&self, held: &Held, declined: &Declined) -> Actions {
        let mut back = held.give_back(*declined, self.now)?;
        if let (Phase::Return(back), false) = (&mut back, self.rules.keep(Rule::ReturnRaisesEpoch)) {
            back.place.epoch = held.chain.epoch;
        }
        Ok(vec![Action::Keep(back), Action::Append, Action::Start])
    }

    fn ordered(&self, order: &Order) -> Actions {
        let Ordered::Takeover { custodian, .. } = order.body.action else { return Err(Refusal::NotForMe) };
        if custodian != self.me {
            return Err(Refusal::NotForMe);
        }
        let is_it = |record: &Custody| matches!(&record.phase, Phase::Takeover(takeover) if takeover.order == *order);
        if let Some(signed) = self.known.memory.signed.as_ref().filter(|signed| is_it(signed)) {
            return if self.status == Status::Unfinished { Ok(finish(signed)) } else { Err(Refusal::Known) };
        }
        let held = self.known.held.as_ref().ok_or(Refusal::NoJournal)?;
        // In a shared store it may have come to stand after whoever wrote it had died.
        if held.standing.takeover().is_some_and(is_it) {
            return Err(Refusal::Known);
        }
        let takeover = held.take_over(order, self.now)?;
        self.newer(takeover.epoch())?;
        if self.known.memory.bars(takeover.epoch().term) {
            return Err(Doubt::Evidence.into());
        }
        Ok(vec![Action::Stop, Action::Keep(takeover), Action::Append, Action::Start, Action::Announce])
    }

    /// What makes a record a contradiction: another of the same epoch, or this node's own word that it forgot.
    fn contradiction(&self, record: &Custody) -> Option<Evidence> {
        if self.known.memory.bars(record.phase.epoch().term) {
            return None; // it is suspended already
        }
        if self.rules.keep(Rule::ContradictionSuspends)
            && let Some(evidence) = evidence::find(record, self.known.records())
        {
            return Some(evidence);
        }
        let forgot = |part: &Custody| {
            part.phase.writer() == self.me && Some(part.phase.epoch()) > self.known.memory.signed_epoch()
        };
        // Of a journal that has the agent's first node in doubt, the keystore is behind, and that is said elsewhere.
        let found = self.rules.forbid(Rule::ForgottenSuspends, record.parts().any(|part| forgot(&part)));
        found.then(|| Evidence { heard: record.clone(), known: None })
    }

    /// Refuses what is not above all that this node signed or buried.
    fn newer(&self, offered: Epoch) -> Result<(), Refusal> {
        let memory = &self.known.memory;
        let signed = memory.signed_epoch().filter(|signed| {
            let again = *signed == offered && !self.rules.keep(Rule::OneAnswer);
            self.rules.keep(Rule::NewerThanSigned) && !again
        });
        let tombstone = memory.elsewhere_epoch().filter(|_| self.rules.keep(Rule::NewerThanTombstone));
        match signed.max(tombstone) {
            Some(known) if offered <= known => Err(Refusal::Stale { offered, known }),
            _ => Ok(()),
        }
    }

    fn bury(&self, record: Custody) -> Vec<Action> {
        if self.rules.keep(Rule::StopOnNews) {
            vec![Action::Stop, Action::Bury(record)]
        } else {
            vec![Action::Bury(record)]
        }
    }

    /// The term of the journal here.
    fn term(&self) -> Option<u64> {
        self.known.held.as_ref().map(|held| held.chain.epoch.term)
    }

    fn doubt(&self) -> Option<Doubt> {
        if let Status::Suspended(doubt) = self.status { Some(doubt) } else { None }
    }
}

/// What is left to do about a record that was kept.
fn finish(signed: &Custody) -> Vec<Action> {
    let append = Action::Append;
    match &signed.phase {
        Phase::Handoff(handoff) => vec![append, Action::Transfer(handoff.to)],
        Phase::Accept(accept) => vec![append, Action::Start, Action::Tell(accept.given.handoff.from)],
        Phase::Return(_) => vec![append, Action::Start],
        Phase::Takeover(_) => vec![append, Action::Start, Action::Announce],
        // Who fences keeps nothing: the store has it, or nobody does.
        Phase::Decline(_) | Phase::Fence(_) => vec![],
    }
}

/// Whether a record can be a tombstone. A handoff cannot: it may be to this very node, which is still to answer it.
const fn settles(record: &Custody) -> bool {
    matches!(record.phase, Phase::Accept(_) | Phase::Return(_))
}

/// Whether a record shows that `node` took custody that it was given in `epoch`: it accepted, or acted on it since.
fn shows_custody(record: &Custody, node: NodeId, epoch: Epoch) -> bool {
    let shows = |part: Custody| {
        let (at, by) = (part.phase.epoch(), part.phase.writer() == node);
        match part.phase {
            Phase::Accept(_) => by && at.term == epoch.term && at >= epoch,
            Phase::Handoff(_) | Phase::Return(_) => by && at.term == epoch.term && at > epoch,
            Phase::Decline(_) | Phase::Takeover(_) | Phase::Fence(_) => false,
        }
    };
    settles(record) && record.parts().any(shows)
}

/// Whether a record is a later word in the same term about where a tombstone says that the agent went.
fn follows(record: &Custody, tombstone: &Custody) -> bool {
    let (was, is) = (tombstone.phase.epoch(), record.phase.epoch());
    // Of an accept, a return and a takeover the writer is the custodian after it.
    let from = record.phase.handoff().map(|handoff| handoff.from);
    settles(record) && is.term == was.term && is > was && from == Some(tombstone.phase.writer())
}
