//! Agents whose journal is in a store that all their nodes reach: that decides who has custody, and nothing else does.
//!
//! Invariants kept here:
//! - Before anything is decided the journal is read on to its end; what a record says that is not in it has no weight.
//! - A process appends only after a change of custody of its own: whoever goes on after a restart fences off what an
//!   earlier process still has on its way.
//! - Who is overtaken reads on and decides anew. A standby gives up when somebody else has the agent by then.
//! - Where the answer to a change of custody came late, and it was read meanwhile that somebody else went on, no life begins.
//! - An agent that was given away and is not taken is taken back: the slot after the handoff has one of the two.

use super::{
    Error, Host, Peers, Steward,
    give::{Failed, accept_in},
    steward::Desk,
    take::{Ended, Taken},
};
use crate::{
    World,
    moving::{Cut, receive, send},
};
use igor_protocol::{
    AgentId, Commit, Epoch, Nanos, NodeId, Seq, Terms,
    custody::{Event, Held, Refusal, Status, Tidings},
    entry::{Custody, StoreKind},
    ledger::Book,
    transfer::{Frame, Manner, Offer, Reason, Refusal as Refused, Welcome},
};
use igor_store::Store;
use std::sync::{Mutex, PoisonError};

/// Times that a fence is tried again after somebody was faster: a custodian that still appends is one of them each time.
const FENCES_MAX: u32 = 64;
/// After this long without an answer a handoff is taken back.
const TAKEN_BACK_AFTER: Nanos = Nanos::from_secs(5);

/// What came of a standby's attempt to go on with an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    /// The agent lives here now, under this epoch.
    Taken(Epoch),
    /// This node has it, or somebody else does since.
    GoneOn(NodeId, Epoch),
    /// There is nothing to go on with: the agent has ended, or is suspended.
    Rests,
}

impl<S: Store, W: World, P: Peers, H: Host> Steward<S, W, P, H> {
    /// Whether the agent's journal is in a shared store.
    pub fn is_shared(&self, agent: AgentId) -> bool {
        self.store.kind(agent) != StoreKind::Disk
    }

    /// Looks at the book at the end of what is here of a journal; nothing if there is none. Waits for disks.
    pub fn look<T>(&self, agent: AgentId, look: impl FnOnce(&Book) -> T) -> Result<Option<T>, Error> {
        Ok(self.books.look(&*self.store, agent, look)?)
    }

    /// The end of a journal as it is in the shared store now.
    async fn read_on(&self, agent: AgentId) -> Result<Held, Error> {
        self.store.refresh(agent).await?;
        Ok(self.book(agent)?.ok_or(Error::Unknown(agent))?.held())
    }

    /// Makes this process the one that appends. `wanted` says whether it still should, at each end of the journal that is
    /// met on the way. Gives the epoch that begins.
    pub(super) async fn fence(
        &self,
        agent: AgentId,
        terms: Option<Terms>,
        wanted: impl Fn(&Held) -> Result<(), Error>,
    ) -> Result<Epoch, Error> {
        if !self.is_shared(agent) {
            // What is here came by file: what is appended to that nobody else sees.
            return Err(Error::InBucket(agent));
        }
        let mut last = None;
        for _ in 0..FENCES_MAX {
            let held = self.read_on(agent).await?;
            wanted(&held)?;
            let own = held.standing.custodian == self.me();
            let terms = terms.filter(|_| !own).unwrap_or(held.standing.terms);
            let record = held.fence(self.me(), terms, self.world.wall_clock())?.sign(&self.key);
            let epoch = record.phase.epoch();
            match self.append(agent, record, None).await {
                Ok(()) => return Ok(epoch),
                Err(Error::Own(crate::Error::Store(error))) if error.is_overtaken() => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.map_or(Error::Unknown(agent), Error::from))
    }

    /// As [`Steward::fence`], for an agent that is this node's and that nobody was given.
    pub(super) async fn fence_own(&self, agent: AgentId) -> Result<Epoch, Error> {
        let mine = |held: &Held| {
            let mine = held.standing.custodian == self.me() && held.standing.pending().is_none();
            if mine { Ok(()) } else { Err(Error::Refused(Refusal::NotCustodian)) }
        };
        Box::pin(self.fence(agent, None, mine)).await
    }

    /// Goes on with an agent whose node seems to be gone: one that the owner named this node as standby for, while `node`
    /// has it under `epoch`, and as `is_still` says once the journal was read on. Whoever is wrong about that costs the agent a
    /// pause, and nothing else.
    pub async fn succeed(
        &self,
        agent: AgentId,
        (node, epoch): (NodeId, Epoch),
        terms: Terms,
        is_still: impl Fn() -> bool,
    ) -> Result<Succession, Error> {
        let turn = self.turn(agent);
        let mut desk = turn.lock().await;
        if desk.is_leased() || self.freezing.has(agent) {
            return Err(Error::Leased(agent));
        }
        let instead = Mutex::new(None);
        let wanted = |held: &Held| {
            let now = (held.standing.custodian, held.chain.epoch);
            let suspended = self.books.look(&*self.store, agent, |book| book.ledger().is_suspended())?;
            let found = if held.ended.is_some() || suspended == Some(true) {
                Succession::Rests
            } else if now == (node, epoch) && is_still() {
                return Ok(());
            } else {
                Succession::GoneOn(now.0, now.1)
            };
            *instead.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            Err(Error::Refused(Refusal::Known))
        };
        let fenced = Box::pin(self.fence(agent, Some(terms), wanted)).await;
        let instead = instead.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (fenced, instead) {
            (Ok(epoch), _) if self.start(&mut desk, agent)? => Ok(Succession::Taken(epoch)),
            (Ok(_), _) => {
                let held = self.book(agent)?.ok_or(Error::Unknown(agent))?.held();
                Ok(Succession::GoneOn(held.standing.custodian, held.chain.epoch))
            }
            (Err(Error::Refused(Refusal::Known)), Some(instead)) => Ok(instead),
            (Err(error), _) => Err(error),
        }
    }

    /// Whether an agent that became this node's still is, by what was read of its journal since.
    pub(super) fn still_has(&self, agent: AgentId) -> Result<bool, Error> {
        Ok(!self.is_shared(agent) || self.status(agent)? == Status::Custodian)
    }

    /// The agent lives here from now on, if this node still has it. Says whether it does.
    pub(super) fn start(&self, desk: &mut Desk, agent: AgentId) -> Result<bool, Error> {
        let starts = self.still_has(agent)?;
        if starts {
            self.host.start(agent, desk.lease());
        } else {
            // It is to stand by.
            self.host.unsettled(agent);
        }
        Ok(starts)
    }

    /// A life goes on here that has no custody any more, as the store says: it ends.
    pub async fn dismiss(&self, agent: AgentId) -> Result<(), Error> {
        let turn = self.turn(agent);
        let mut desk = turn.lock().await;
        if desk.is_leased() && self.status(agent)? == Status::Elsewhere {
            desk.take_back().await;
        }
        Ok(())
    }

    /// Another node says that it has an agent under an epoch. Where this one has it under a later one, as what is here of the
    /// journal says, that node is told, so that it reads on. Says whether it was. Waits for disks.
    pub fn corrects(&self, node: NodeId, agent: AgentId, epoch: Epoch) -> Result<bool, Error> {
        let Some(held) = self.books.look(&*self.store, agent, Book::held)? else { return Ok(false) };
        let is_past = held.chain.epoch > epoch && self.status(agent)? == Status::Custodian;
        if is_past {
            self.peers.tell(node, Tidings { agent, records: self.records(agent)? });
        }
        Ok(is_past)
    }

    /// Settles what is left to be done about custody: an agent that was given away and is not taken is taken back.
    pub(super) async fn settle_shared(&self, agent: AgentId) -> Result<bool, Error> {
        let turn = self.turn(agent);
        let mut desk = turn.lock().await;
        let held = self.read_on(agent).await?;
        let given = held.standing.pending().filter(|given| given.handoff.from == self.me());
        let Some(given) = given else { return Ok(true) };
        // A clock that was ahead when it was given, or is now, keeps nobody waiting for longer.
        let (now, at) = (self.world.wall_clock(), given.handoff.place.at);
        let is_recent = now.since(at) < TAKEN_BACK_AFTER && at.since(now) < TAKEN_BACK_AFTER;
        if self.leaving.has(agent) || is_recent {
            return Ok(false);
        }
        let still = |held: &Held| {
            let still = held.standing.pending() == Some(given);
            if still { Ok(()) } else { Err(Error::Refused(Refusal::NotCustodian)) }
        };
        match Box::pin(self.fence(agent, None, still)).await {
            Ok(_) => {
                if !desk.is_leased() && !self.freezing.has(agent) {
                    self.start(&mut desk, agent)?;
                }
                Ok(true)
            }
            // It was taken after all.
            Err(Error::Refused(Refusal::NotCustodian)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Hears from the shared store how a handoff was answered, where the target says that it was.
    pub(super) async fn heed_answer(&self, agent: AgentId, commit: &Commit) -> Result<(), Failed> {
        let turn = self.turn(agent);
        let _desk = turn.lock().await;
        self.read_on(agent).await?;
        let taken = accept_in(commit).is_some() && self.status(agent)? == Status::Elsewhere;
        if taken { Ok(()) } else { Err(Failed::Unanswered(Cut::Lost("the store does not have its answer".to_owned()))) }
    }

    /// As [`Steward::take`]: the journal is read from the shared store, and the other node says only up to where.
    pub(super) async fn taken_shared(
        &self,
        from: NodeId,
        agent: AgentId,
        offer: &Offer,
        link: &mut P::Link,
    ) -> Result<Taken, Ended> {
        let (admission, _admitted) = self.admit(from, offer)?;
        self.attach(agent, admission.bytes_max).await?;
        if let Some(taken) = self.answered_shared(agent, offer, link).await? {
            return Ok(taken);
        }
        if !matches!(self.status(agent)?, Status::Elsewhere | Status::Undecided) {
            return Err(Refused::new(Reason::Epoch, "this node has custody of the agent").into());
        }
        let end = self.store.tail(agent).map_err(Error::from)?.ok_or(Error::Unknown(agent))?;
        let welcome = Welcome {
            terms: admission.terms,
            next: end.next,
            head: end.head,
            has_program: true,
            state: None,
            wants: None,
            begun: None,
            runtime: self.host.runtime(),
        };
        send(link, &Frame::Welcome(welcome)).await?;
        let manner = loop {
            match receive(link).await? {
                Frame::Reached(next) => {
                    self.reach(agent, next).await?;
                    self.host.prepare(offer.genesis.body.program, &offer.manifest).await?;
                    // What cannot be followed is restored at the end.
                    match self.host.restore(agent).await {
                        Err(refusal) if !offer.given => return Err(refusal.into()),
                        _ => {}
                    }
                    send(link, &Frame::Have(next)).await?;
                }
                Frame::Last(manner) => break manner,
                other => return Err(Cut::unexpected(&other, "how far the journal is").into()),
            }
        };
        self.decide_shared(from, agent, admission.terms, manner, link).await
    }

    async fn attach(&self, agent: AgentId, bytes_max: u64) -> Result<(), Ended> {
        match self.store.attach(agent, None, bytes_max).await {
            Ok(()) if self.is_shared(agent) => Ok(()),
            Ok(()) => Err(Refused::new(Reason::History, "the shared store has no such journal").into()),
            Err(error @ igor_store::Error::NoBucket { .. }) => Err(Refused::new(Reason::Policy, error).into()),
            Err(error @ igor_store::Error::Quota { .. }) => Err(Refused::new(Reason::Capacity, error).into()),
            Err(error) => Err(Error::from(error).into()),
        }
    }

    /// Reads on until the journal here goes as far as the other node says that it does.
    async fn reach(&self, agent: AgentId, next: Seq) -> Result<(), Ended> {
        let held = self.read_on(agent).await?;
        if held.chain.next < next {
            return Err(
                Refused::new(Reason::History, "the shared store does not have commits before this position").into()
            );
        }
        Ok(())
    }

    async fn decide_shared(
        &self,
        from: NodeId,
        agent: AgentId,
        terms: Terms,
        manner: Manner,
        link: &mut P::Link,
    ) -> Result<Taken, Ended> {
        let journal = self.read_on(agent).await?;
        let given = journal.standing.pending().map(|given| given.handoff);
        let Some(given) = given.filter(|given| given.from == from && given.to == self.me()) else {
            return Err(Refused::new(Reason::Epoch, "the journal does not end with a handoff to this node").into());
        };
        if !given.terms.covers(&terms) || !self.ready(agent, manner).await {
            // Nothing is signed for that: it is taken back by who gave it.
            return Err(Refused::new(Reason::Price, "it is not taken as it was given").into());
        }
        match self.happen(agent, Event::Arrived { journal, extends: true, admit: true }).await {
            Ok(_) => {}
            Err(Error::Refused(refusal)) => return Err(Refused::new(Reason::Epoch, refusal).into()),
            Err(error) => return Err(error.into()),
        }
        let commit = self.accept_at(agent, given.place.seq.next())?.ok_or(Error::Unknown(agent))?;
        drop(send(link, &Frame::Accepted(commit)).await);
        Ok(Taken::Accepted(agent))
    }

    /// Gives the answer again that the shared store has.
    async fn answered_shared(&self, agent: AgentId, offer: &Offer, link: &mut P::Link) -> Result<Option<Taken>, Ended> {
        let given = offer.records.last().and_then(Custody::given).filter(|_| offer.given);
        let Some(given) = given else { return Ok(None) };
        let Some(commit) = self.accept_at(agent, given.handoff.place.seq.next())? else { return Ok(None) };
        send(link, &Frame::Answered).await?;
        send(link, &Frame::Accepted(commit)).await?;
        Ok(Some(Taken::Accepted(agent)))
    }
}
