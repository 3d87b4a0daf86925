//! Taking an agent from another node, from the offer to the answer.
//!
//! Invariants kept here:
//! - What comes is admitted by the operator's policy, then bounded, then verified, then kept.
//! - The answer is durable before it is given, and it is given again to whoever asks again.
//! - Whoever has given an agent to this node gets an answer: what would be a refusal before is a decline then, so that
//!   the agent goes on where it was.
//! - One move of an agent at a time comes in here. It gives way to one that shows later custody.
//! - A copy of a journal that another history contradicts gives way only where this node never had custody of the agent,
//!   and is kept as a file: all of it is signed, so it is evidence against who signed it.

use super::{
    Admission, Coming, Error, Host, Peers, Steward,
    entrance::{GaveWay, Shown},
    give::accept_in,
    offered,
};
use crate::{
    World,
    moving::{Cut, Keeper, NotKept, receive, send},
};
use igor_protocol::{
    AgentId, Chain, Commit, NodeId, Seq,
    custody::{Event, Refusal as StepRefusal, Status, Tidings},
    entry::{Custody, Order, Phase, StoreKind},
    ledger::Fault,
    transfer::{Frame, Manner, Offer, Reason, Refusal, Welcome},
};
use igor_store::Store;

/// How an incoming move ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The agent lives here now.
    Accepted(AgentId),
    /// It was declined, durably.
    Declined(AgentId),
    /// It was refused before it was given; nothing binds anybody.
    Refused(AgentId, Refusal),
}

/// An agent that was admitted is forgotten when this is dropped, unless it lives then.
pub(super) struct Admitted<'a, H: Host> {
    pub(super) host: &'a H,
    pub(super) agent: AgentId,
}

impl<H: Host> Drop for Admitted<'_, H> {
    fn drop(&mut self) {
        self.host.forget(self.agent);
    }
}

/// Why nothing came of it.
pub(super) enum Ended {
    Refused(Refusal),
    Cut(Cut),
    Own(Error),
}

impl From<Cut> for Ended {
    fn from(cut: Cut) -> Self {
        Self::Cut(cut)
    }
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

impl From<GaveWay> for Ended {
    fn from(_: GaveWay) -> Self {
        Self::Refused(Refusal::new(Reason::Busy, "another node shows later custody of the agent, and brings it in"))
    }
}

impl From<NotKept> for Ended {
    fn from(refused: NotKept) -> Self {
        match refused {
            // An owner's takeover was carried out here meanwhile.
            NotKept::Own(crate::Error::Store(igor_store::Error::Fenced { .. })) => {
                Self::Refused(Refusal::new(Reason::Epoch, "custody of the agent changed here while it came in"))
            }
            NotKept::Own(error) => Self::Own(error.into()),
            NotKept::Quota { .. } => Self::Refused(Refusal::new(Reason::Capacity, refused)),
            // There is room again once other moves are done.
            NotKept::Memory => Self::Refused(Refusal::new(Reason::Busy, refused)),
            NotKept::Bad { .. } | NotKept::Blob(_) | NotKept::Unsealed => {
                Self::Refused(Refusal::new(Reason::History, refused))
            }
        }
    }
}

impl<S: Store, W: World, P: Peers, H: Host> Steward<S, W, P, H> {
    /// Takes part in a move that another node began over this stream.
    pub async fn take(&self, from: NodeId, link: &mut P::Link) -> Result<Taken, Error> {
        let offer = match receive(link).await {
            Ok(Frame::Offer(offer)) => *offer,
            Ok(other) => return Err(Error::Host(Cut::unexpected(&other, "an offer").to_string())),
            Err(cut) => return Err(Error::Host(cut.to_string())),
        };
        let agent = offer.agent();
        match Box::pin(self.taken(from, agent, &offer, link)).await {
            Ok(taken) => Ok(taken),
            Err(Ended::Refused(refusal)) => {
                if let Some(declined) = self.decline(from, agent, &offer, refusal.reason).await? {
                    // Where it expects something else than an answer, it asks again.
                    drop(send(link, &Frame::Declined(Box::new(declined))).await);
                    return Ok(Taken::Declined(agent));
                }
                // Whoever does not hear it asks again.
                drop(send(link, &Frame::Refused(refusal.clone())).await);
                Ok(Taken::Refused(agent, refusal))
            }
            Err(Ended::Cut(cut)) => Err(Error::Host(cut.to_string())),
            Err(Ended::Own(error)) => {
                drop(
                    send(link, &Frame::Refused(Refusal::new(Reason::Store, "this node failed; its log says why")))
                        .await,
                );
                Err(error)
            }
        }
    }

    /// Carries out the owner's order to go on with an agent from the journal that is here. Refused where that cannot be
    /// gone on from: nobody runs an agent that a node took and cannot restore.
    pub async fn take_over(&self, agent: AgentId, order: Order) -> Result<(), Error> {
        if !order.is_signed_by(&self.owner(agent)?) {
            return Err(Fault::Signature("the takeover order").into());
        }
        if self.is_shared(agent) {
            // Where the journal ends now: from there it goes on, or the order is for another place.
            self.store.refresh(agent).await.map_err(Error::from)?;
        }
        let ran_here = match self.status(agent)? {
            Status::Custodian | Status::Unfinished | Status::Given(_) => true,
            Status::Absent | Status::Undecided | Status::Elsewhere | Status::Suspended(_) => false,
        };
        if !ran_here {
            self.host.restore(agent).await.map_err(|refusal| Error::Host(refusal.to_string()))?;
        }
        let _admitted = Admitted { host: &*self.host, agent };
        let done = self.happen(agent, Event::Ordered(order)).await;
        if matches!(done, Err(Error::Refused(StepRefusal::Known))) && self.is_shared(agent) {
            // Whoever carried it out may have died before it could begin the life.
            self.host.unsettled(agent);
        }
        done.map(drop)
    }

    async fn taken(&self, from: NodeId, agent: AgentId, offer: &Offer, link: &mut P::Link) -> Result<Taken, Ended> {
        offered::check(offer, from, self.me())?;
        let busy = || Refusal::new(Reason::Busy, "the agent is coming in already");
        let shown = Shown::by(offer, self.host.lists(from));
        let coming = self.coming.begin_offered(agent, shown).await.ok_or_else(busy)?;
        let mut admitted = None;
        if self.is_unknown(agent)? {
            // Whoever may not bring an agent leaves no trace of one that nobody here knows.
            admitted = Some(self.admit(from, offer)?);
            // In a bucket the journal says who has it, and what this node has lost has no part in that.
            if offer.genesis.body.store == StoreKind::Disk && offer.first_custodian() == self.me() {
                let why = "this node began the agent and has lost what it knew of it; only the owner can decide";
                return Err(Refusal::new(Reason::Epoch, why).into());
            }
        }
        // What it proves by itself may be news: a takeover that this node slept through, say.
        if offer.genesis.body.store != StoreKind::Disk {
            // A second one is kept out; which of them it is the store decides.
            let _coming = coming;
            return Box::pin(self.taken_shared(from, agent, offer, link)).await;
        }
        self.hear(Tidings { agent, records: offer.records.clone() }).await.map_err(|error| match error {
            Error::Record(fault) => Ended::Refused(Refusal::new(Reason::History, fault)),
            error => Ended::Own(error),
        })?;
        self.leave_buried(&coming, &offer.records).await?;
        if let Some(taken) = self.answered(agent, offer, link).await? {
            return Ok(taken);
        }
        self.may_come(agent, offer)?;
        let (admission, _admitted) = match admitted {
            Some(admitted) => admitted,
            None => self.admit(from, offer)?,
        };
        let mut keeper = self.welcome(agent, offer, admission, link).await?;
        let mut frame = coming.wait(receive(link)).await?;
        if let Ok(Frame::Differs) = frame {
            drop(keeper);
            self.yield_copy(agent, offer).await?;
            keeper = self.welcome(agent, offer, admission, link).await?;
            frame = coming.wait(receive(link)).await?;
        }
        let taken = self.follow((from, &coming), offer, &mut keeper, admission, frame, link).await;
        // A blob that was cut off goes on from there.
        if let Some(coming) = keeper.into_rest() {
            self.arrivals.keep(agent, self.world.monotonic(), coming);
        }
        taken
    }

    /// Says what is here.
    async fn welcome(
        &self,
        agent: AgentId,
        offer: &Offer,
        admission: Admission,
        link: &mut P::Link,
    ) -> Result<Keeper<S>, Ended> {
        let left = self.arrivals.take(agent, self.world.monotonic());
        let (store, arrivals) = (self.store.clone(), &self.arrivals);
        let (began, book) = ((&offer.genesis, &offer.manifest), self.book(agent)?);
        let keeper = Keeper::open(store, began, book, arrivals, left, admission.bytes_max).await?;
        let end = keeper.end();
        let welcome = Welcome {
            terms: admission.terms,
            next: end.next,
            head: end.head,
            has_program: keeper.has_program()?,
            state: keeper.state(),
            wants: keeper.wants(),
            begun: keeper.begun(),
            runtime: self.host.runtime(),
        };
        send(link, &Frame::Welcome(welcome)).await?;
        Ok(keeper)
    }

    /// Keeps what comes, with an instance that follows it, and decides at the end.
    async fn follow(
        &self,
        (from, coming): (NodeId, &Coming<'_>),
        offer: &Offer,
        keeper: &mut Keeper<S>,
        admission: Admission,
        first: Result<Frame, Cut>,
        link: &mut P::Link,
    ) -> Result<Taken, Ended> {
        let (mut prepared, mut frame) = (false, first);
        let manner = loop {
            match frame? {
                Frame::Part(part) => keeper.part(part).await?,
                Frame::Same(same) => keeper.same(same).await?,
                Frame::Commit(commit) => keeper.commit(commit).await?,
                Frame::Reached(next) => {
                    keeper.flush().await?;
                    self.prepare(offer, &mut prepared).await?;
                    if next != keeper.end().next {
                        return Err(Refusal::new(Reason::History, "commits are missing before this position").into());
                    }
                    self.ahead(offer, keeper).await?;
                    send(link, &Frame::Have(next)).await?;
                }
                Frame::Last(manner) => break manner,
                other => return Err(Cut::unexpected(&other, "a commit or a part of a blob").into()),
            }
            frame = coming.wait(receive(link)).await?;
        };
        keeper.flush().await?;
        self.prepare(offer, &mut prepared).await?;
        self.decide(from, offer.agent(), keeper, (admission, manner), link).await
    }

    pub(super) fn admit(&self, from: NodeId, offer: &Offer) -> Result<(Admission, Admitted<'_, H>), Refusal> {
        let admission = self.host.admit(from, offer)?;
        Ok((admission, Admitted { host: &*self.host, agent: offer.agent() }))
    }

    /// Has an instance at the end of what came so far, so that little is left to do in the pause. What does not restore
    /// is refused while it still runs elsewhere.
    async fn ahead(&self, offer: &Offer, keeper: &Keeper<S>) -> Result<(), Ended> {
        let runtime = keeper.book().and_then(|book| book.ledger().runtime.clone());
        if keeper.is_complete() && runtime == Some(self.host.runtime()) {
            match self.host.restore(offer.agent()).await {
                Err(refusal) if !offer.given => return Err(refusal.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts the copy of an agent's journal aside that is not the one which the other node has.
    async fn yield_copy(&self, agent: AgentId, offer: &Offer) -> Result<(), Ended> {
        let refuse = |why: &str| Ended::from(Refusal::new(Reason::History, why));
        let turn = self.turn(agent);
        let _turn = turn.lock().await;
        let known = self.known(agent, false)?;
        let gave = |record: &igor_protocol::entry::Custody| !matches!(record.phase, Phase::Decline(_));
        let had = known.memory.came.is_some()
            || known.memory.signed.as_ref().is_some_and(gave)
            || offer.first_custodian() == self.me();
        if had || !matches!(known.status(self.me()), Status::Absent | Status::Elsewhere) {
            return Err(refuse(
                "this node had custody of the agent, and its journal is another one: one of its custodians signed two",
            ));
        }
        let Some(end) = self.store.tail(agent).map_err(Error::from)? else { return Ok(()) };
        if (end.epoch, end.next) > (offer.epoch, offer.next) {
            return Err(refuse("this node has a signed history of the agent that goes further than the one offered"));
        }
        self.host.set_aside(agent, Chain::begin(agent)).await.map_err(Error::Host)?;
        Ok(self.store.remove(agent).await.map_err(Error::from)?)
    }

    async fn prepare(&self, offer: &Offer, prepared: &mut bool) -> Result<(), Ended> {
        if !*prepared {
            self.host.prepare(offer.genesis.body.program, &offer.manifest).await?;
            *prepared = true;
        }
        Ok(())
    }

    /// Gives the answer again that was given before.
    async fn answered(&self, agent: AgentId, offer: &Offer, link: &mut P::Link) -> Result<Option<Taken>, Ended> {
        let Some(given) = offer.records.last().and_then(Custody::given).filter(|_| offer.given) else {
            return Ok(None);
        };
        let memory = self.known(agent, false)?.memory;
        let answers = |record: &Custody| record.parts().any(|part| part == given.record());
        let signed = memory.signed.into_iter().chain(memory.came).find(answers);
        let has_answered = signed.is_some();
        match signed {
            Some(answer) if matches!(answer.phase, Phase::Decline(_)) => {
                send(link, &Frame::Answered).await?;
                send(link, &Frame::Declined(Box::new(answer))).await?;
                return Ok(Some(Taken::Declined(agent)));
            }
            // An accept that was signed, but is not in the journal yet, is finished first. Nothing else is begun by a
            // question.
            Some(_) if self.status(agent)? == Status::Unfinished => match self.happen(agent, Event::Timer).await {
                Ok(_) | Err(Error::Refused(_)) => {}
                Err(e) => return Err(e.into()),
            },
            _ => {}
        }
        // The journal has it, also where the agent went on from here since.
        let accept = self.accept_at(agent, Seq(given.handoff.place.seq.0 + 1))?;
        let Some(commit) = accept.filter(|commit| accept_in(commit).as_ref().is_some_and(answers)) else {
            if has_answered {
                // The journal was deleted: what was signed is told, and says the same.
                self.peers.tell(given.handoff.from, Tidings { agent, records: self.records(agent)? });
            }
            return Ok(None);
        };
        send(link, &Frame::Answered).await?;
        send(link, &Frame::Accepted(commit)).await?;
        Ok(Some(Taken::Accepted(agent)))
    }

    /// Declines, durably, what was given to this node and is refused for good. Nothing where a later attempt may end in
    /// another way, or where it is not shown that the agent was this node's to decline: what is here of its journal says
    /// that whoever gave it had it.
    async fn decline(
        &self,
        from: NodeId,
        agent: AgentId,
        offer: &Offer,
        reason: Reason,
    ) -> Result<Option<Custody>, Error> {
        if matches!(reason, Reason::Busy | Reason::Store | Reason::Epoch) || !offer.given {
            return Ok(None);
        }
        let Some(given) = offer.records.last().and_then(Custody::given) else { return Ok(None) };
        let (record, handoff) = (given.record(), given.handoff);
        if handoff.from != from || handoff.to != self.me() || handoff.place.agent != agent {
            return Ok(None);
        }
        let Some(mut journal) = self.known(agent, false)?.held else { return Ok(None) };
        if record.check(&self.owner(agent)?).is_err() {
            return Ok(None);
        }
        match journal.standing.pending() {
            Some(pending) if pending == given => {}
            None if journal.standing.custodian == from
                && journal.chain.next <= handoff.place.seq
                && journal.chain.epoch.raised() == Some(handoff.place.epoch) =>
            {
                journal.standing = journal.standing.after(&record);
            }
            _ => return Ok(None),
        }
        match self.happen(agent, Event::Arrived { journal, extends: true, admit: false }).await {
            Ok(_) | Err(Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        let signed = self.known(agent, false)?.memory.signed;
        Ok(signed.filter(|signed| matches!(&signed.phase, Phase::Decline(decline) if decline.given == given)))
    }

    /// Refuses at once what custody would refuse in the end.
    fn may_come(&self, agent: AgentId, offer: &Offer) -> Result<(), Ended> {
        let known = self.known(agent, false)?;
        match known.status(self.me()) {
            Status::Absent | Status::Elsewhere | Status::Undecided => {}
            // Nobody but this node itself writes to a journal that it has custody of.
            Status::Custodian | Status::Unfinished | Status::Given(_) => {
                return Err(Refusal::new(Reason::Epoch, "this node has custody of the agent").into());
            }
            Status::Suspended(doubt) => return Err(Refusal::new(Reason::Epoch, doubt).into()),
        }
        let newest = known.memory.signed_epoch().max(known.memory.elsewhere_epoch());
        match newest {
            Some(known) if known > offer.epoch => {
                Err(Refusal::new(Reason::Epoch, StepRefusal::Stale { offered: offer.epoch, known }).into())
            }
            _ => Ok(()),
        }
    }

    /// Decides, durably, and says so.
    async fn decide(
        &self,
        from: NodeId,
        agent: AgentId,
        keeper: &Keeper<S>,
        (admission, manner): (Admission, Manner),
        link: &mut P::Link,
    ) -> Result<Taken, Ended> {
        let Some(book) = keeper.book() else {
            return Err(Refusal::new(Reason::History, "no journal came").into());
        };
        let journal = book.held();
        if keeper.is_complete() {
            // It need not be read again.
            self.books.put(book.clone());
        }
        let given = journal.standing.pending().map(|given| given.handoff);
        let agreed = given.is_some_and(|handoff| handoff.from == from && handoff.terms.covers(&admission.terms));
        let admit = agreed && keeper.is_complete() && self.ready(agent, manner).await;
        match self.happen(agent, Event::Arrived { journal, extends: true, admit }).await {
            Ok(_) => {}
            Err(Error::Refused(refusal)) => return Err(Refusal::new(Reason::Epoch, refusal).into()),
            Err(e) => return Err(e.into()),
        }
        // Whoever does not hear the answer asks again.
        let memory = self.known(agent, false)?.memory;
        let at = given.map_or(Seq(0), |handoff| Seq(handoff.place.seq.0 + 1));
        if let Some(record) = memory.signed.filter(|signed| matches!(signed.phase, Phase::Decline(_))) {
            drop(send(link, &Frame::Declined(Box::new(record))).await);
            return Ok(Taken::Declined(agent));
        }
        let commit = self.accept_at(agent, at)?.ok_or(Error::Unknown(agent))?;
        drop(send(link, &Frame::Accepted(commit)).await);
        Ok(Taken::Accepted(agent))
    }

    /// Whether the agent can live here, as it lived before.
    pub(super) async fn ready(&self, agent: AgentId, manner: Manner) -> bool {
        self.host.heed(agent, manner).await.is_ok() && self.host.restore(agent).await.is_ok()
    }

    /// The commit that begins with the accept at this place.
    pub(super) fn accept_at(&self, agent: AgentId, at: Seq) -> Result<Option<Commit>, Error> {
        if self.store.tail(agent)?.is_none_or(|end| end.next <= at) {
            return Ok(None);
        }
        let commit = self.store.read(agent, at)?.next().transpose()?;
        Ok(commit.filter(|commit| commit.first() == at && accept_in(commit).is_some()))
    }
}

#[cfg(test)]
mod tests;
