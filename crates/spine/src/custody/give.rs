//! Giving an agent to another node, from the offer to the answer.
//!
//! Invariants kept here:
//! - Before the freeze everything may fail: the agent goes on here.
//! - In the pause only what was committed since goes over, and no state: the target follows the journal with an instance
//!   of its own while the agent ticks here.
//! - After it the agent is this node's again only with a signed decline. Without an answer it is asked for, for ever.
//! - One move of an agent at a time goes out; how many of all agents do is for [`Peers::open`] to say. From the freeze to
//!   the handoff no life of it begins, and nobody else writes to its journal.

use super::{Error, Host, Peers, Steward};
use crate::{
    World,
    moving::{Cut, ShipFailed, Shipment, receive, send},
};
use futures_util::future::join;
use igor_protocol::{
    AgentId, Chain, Commit, Entry, Nanos, NodeId, Seq,
    custody::{Event, Held, Refusal as Refused, Status},
    entry::{Body, Custody, Phase},
    transfer::{Frame, Offer, Reason, Refusal, Welcome},
};
use igor_store::Store;

/// Bytes that the last round may have sent when the agent is frozen.
const REST_BYTES: u64 = 64 << 10;
/// The first round takes the target long: it compiles and restores. What was done here meanwhile goes ahead as well.
const ROUNDS_MIN: u32 = 2;
/// Rounds of going ahead, at most: an agent that writes faster than the wire takes is frozen all the same.
const ROUNDS_MAX: u32 = 8;

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// As many moves as may go out at once are on their way; this one has its turn after them.
    Waiting,
    /// The target would take it.
    Offered {
        /// What it has already.
        has: Seq,
    },
    /// Another round of going ahead, while the agent ticks.
    Ahead {
        /// The round.
        round: u32,
        /// Bytes sent so far.
        bytes: u64,
    },
    /// The agent stands still.
    Frozen,
    /// The handoff is durable, and the rest is on its way.
    Given {
        /// Bytes sent in the pause.
        bytes: u64,
    },
}

/// A move that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// How long nobody ran the agent: from when it was told to stand still until the target's answer.
    pub pause: Nanos,
    /// Bytes sent in all.
    pub bytes: u64,
    /// Bytes sent in the pause.
    pub last_bytes: u64,
}

/// Why an agent did not move.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The target does not take it. The agent goes on here.
    #[error("the node does not take it: {0}")]
    Refused(Refusal),
    /// The agent is on its way already.
    #[error("the agent is on its way to another node already")]
    Moving,
    /// The target declined after the handoff. The agent is back here.
    #[error("the node declined after all; the agent is back here")]
    Declined,
    /// The target's history of the agent is not this one.
    #[error("the node has another history of this agent: its head at seq=`{0}` is not ours")]
    OtherHistory(Seq),
    /// The connection failed before anything was decided. The agent goes on here.
    #[error("nothing was decided, and the agent goes on here: {0}")]
    Before(Cut),
    /// The connection failed after the handoff. This node asks for the answer until it has it.
    #[error(
        "the handoff stands, and the node has not answered yet ({0}); it is asked until it does, and nobody runs the agent meanwhile"
    )]
    Unanswered(Cut),
    /// This side failed.
    #[error(transparent)]
    Own(#[from] Error),
}

impl From<ShipFailed> for Failed {
    fn from(failed: ShipFailed) -> Self {
        match failed {
            ShipFailed::Cut(cut) => Self::Before(cut),
            ShipFailed::Own(error) => Self::Own(error.into()),
        }
    }
}

/// What the target answered.
enum Answer {
    Accepted(Commit),
    Declined(Box<Custody>),
}

impl<S: Store, W: World, P: Peers, H: Host> Steward<S, W, P, H> {
    /// Hands an agent that lives here to another node.
    pub async fn give(
        &self,
        agent: AgentId,
        to: NodeId,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Moved, Failed> {
        let _leaving = self.leaving.begin(agent).ok_or(Failed::Moving)?;
        match Box::pin(self.move_out(agent, to, progress)).await {
            // A takeover that was heard of meanwhile put the journal aside.
            Err(Failed::Own(Error::Own(_) | Error::Unknown(_)))
                if matches!(self.status(agent), Ok(Status::Absent | Status::Elsewhere)) =>
            {
                Err(Failed::Own(Error::Refused(Refused::NotCustodian)))
            }
            moved => moved,
        }
    }

    async fn move_out(
        &self,
        agent: AgentId,
        to: NodeId,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Moved, Failed> {
        self.may_leave(agent, to)?;
        let mut link = self.peers.open(to, || progress(Progress::Waiting)).await.map_err(Failed::Before)?;
        // It may have waited long.
        self.may_leave(agent, to)?;
        let (welcome, offer) = self.offer(agent, false, &mut link).await?;
        let Some(welcome) = welcome else {
            return Err(Failed::Refused(Refusal::new(Reason::Busy, "it answered at once")));
        };
        progress(Progress::Offered { has: welcome.next });
        let mut shipment = Shipment::new(&*self.store, agent, &welcome);
        if !welcome.has_program {
            shipment.program(offer.genesis.body.program, &mut link).await?;
        }
        for round in 1..=ROUNDS_MAX {
            self.host.seal(agent).await;
            let (until, before) = (self.end(agent).map_err(Error::from)?, shipment.bytes);
            Box::pin(shipment.journal(until, &mut link)).await?;
            send(&mut link, &Frame::Reached(shipment.next)).await.map_err(Failed::Before)?;
            match receive(&mut link).await.map_err(Failed::Before)? {
                Frame::Have(next) if next == shipment.next => {}
                Frame::Refused(refusal) => return Err(Failed::Refused(refusal)),
                other => return Err(Failed::Before(Cut::unexpected(&other, "that it has what was sent"))),
            }
            progress(Progress::Ahead { round, bytes: shipment.bytes });
            if round >= ROUNDS_MIN && shipment.bytes - before <= REST_BYTES {
                break;
            }
        }
        let ahead = shipment.bytes;
        let frozen = self.world.monotonic();
        let way = (&mut shipment, &mut link);
        let rest = Box::pin(self.freeze(agent, to, &welcome, way, || progress(Progress::Frozen))).await?;
        let answer = match rest {
            Ok(()) => Box::pin(self.hand_over(agent, &mut link, &mut shipment)).await,
            Err(failed) => Err(failed),
        }
        .map_err(unanswered)?;
        let pause = self.world.monotonic().saturating_sub(frozen);
        let last_bytes = shipment.bytes - ahead;
        progress(Progress::Given { bytes: last_bytes });
        Box::pin(self.take_answer(agent, answer)).await?;
        Ok(Moved { pause, bytes: shipment.bytes, last_bytes })
    }

    /// Asks for the answer to a handoff, sending what the target lacks. Call it again and again until it comes back
    /// well, or the status is another.
    pub async fn pursue(&self, agent: AgentId) -> Result<(), Failed> {
        let Status::Given(to) = self.status(agent)? else { return Ok(()) };
        // A move that goes on brings the answer by itself.
        let Some(_leaving) = self.leaving.begin(agent) else { return Ok(()) };
        let mut link = self.peers.open(to, || ()).await.map_err(Failed::Unanswered)?;
        let (welcome, offer) = match self.offer(agent, true, &mut link).await {
            Err(Failed::Before(cut)) => return Err(Failed::Unanswered(cut)),
            other => other?,
        };
        let answer = match welcome {
            None => answer_in(receive(&mut link).await.map_err(Failed::Unanswered)?).map_err(Failed::Unanswered)?,
            Some(welcome) => {
                let mut shipment = Shipment::new(&*self.store, agent, &welcome);
                if !welcome.has_program {
                    shipment.program(offer.genesis.body.program, &mut link).await.map_err(unanswered)?;
                }
                Box::pin(self.hand_over(agent, &mut link, &mut shipment)).await.map_err(unanswered)?
            }
        };
        Box::pin(self.take_answer(agent, answer)).await
    }

    /// Tries to finish what is left to be done about the custody of an agent. Says whether nothing is any more; else call
    /// it again after a pause, as also where it fails.
    pub async fn settle(&self, agent: AgentId) -> Result<bool, Failed> {
        if self.is_shared(agent) {
            return Ok(self.settle_shared(agent).await?);
        }
        self.keep_news_now(agent).await?;
        self.leave_buried_now(agent).await?;
        match self.status(agent)? {
            Status::Unfinished => drop(self.happen(agent, Event::Timer).await?),
            Status::Given(_) => match self.pursue(agent).await {
                Ok(()) | Err(Failed::Declined) => {}
                Err(failed) => return Err(failed),
            },
            Status::Absent | Status::Custodian | Status::Undecided | Status::Elsewhere | Status::Suspended(_) => {}
        }
        Ok(self.is_settled(agent)?)
    }

    /// Refuses at once what custody would refuse in the end.
    fn may_leave(&self, agent: AgentId, to: NodeId) -> Result<(), Failed> {
        let refused = |refusal| Failed::Own(Error::Refused(refusal));
        let known = self.known(agent, false)?;
        let held = match (known.status(self.me()), &known.held) {
            (Status::Custodian, Some(held)) => held,
            (Status::Given(_), _) => return Err(Failed::Moving),
            (Status::Suspended(doubt), _) => return Err(refused(doubt.into())),
            _ => return Err(refused(Refused::NotCustodian)),
        };
        self.must_be_awake(agent)?;
        // Its terms are not known yet; those of now are within the owner's policy. A life seals before it ends.
        let held = Held { sealed: true, ..held.clone() };
        held.handoff(to, held.standing.terms, self.world.wall_clock()).map_err(|fault| refused(fault.into()))?;
        Ok(())
    }

    /// Makes the offer. Nothing comes back where the target has answered the handoff before: its answer follows.
    async fn offer(&self, agent: AgentId, given: bool, link: &mut P::Link) -> Result<(Option<Welcome>, Offer), Failed> {
        let book = self.book(agent)?.ok_or(Error::Unknown(agent))?;
        let (genesis, manifest) = self.genesis(agent)?;
        let offer = Offer {
            genesis,
            manifest,
            epoch: book.chain().epoch,
            next: book.chain().next,
            state_bytes: book.ledger().checkpoint.map_or(0, |checkpoint| checkpoint.bytes),
            records: book.held().standing.proofs,
            given,
            runtime: book.ledger().runtime.clone(),
        };
        send(link, &Frame::Offer(Box::new(offer.clone()))).await.map_err(Failed::Before)?;
        let mut told = false;
        loop {
            match receive(link).await.map_err(Failed::Before)? {
                Frame::Welcome(welcome) if self.head_at(agent, welcome.next)? == Some(welcome.head) => {
                    return Ok((Some(welcome), offer));
                }
                // A copy that is no copy of this journal: the target may put it aside.
                Frame::Welcome(_) if !told => send(link, &Frame::Differs).await.map_err(Failed::Before)?,
                Frame::Welcome(welcome) => return Err(Failed::OtherHistory(welcome.next)),
                Frame::Answered if given => return Ok((None, offer)),
                Frame::Refused(refusal) => return Err(Failed::Refused(refusal)),
                other => return Err(Failed::Before(Cut::unexpected(&other, "a welcome or a refusal"))),
            }
            told = true;
        }
    }

    /// Ends the agent's life here, and makes the handoff durable while what was committed since goes over; if that fails
    /// the agent lives on. Fails with what ended the stream, if only that did.
    async fn freeze(
        &self,
        agent: AgentId,
        to: NodeId,
        welcome: &Welcome,
        (shipment, link): (&mut Shipment<'_, S>, &mut P::Link),
        stands: impl FnOnce(),
    ) -> Result<Result<(), ShipFailed>, Failed> {
        let frozen = {
            let _freezing = self.freezing.begin(agent).ok_or(Failed::Moving)?;
            let runtime = self.books.look(&*self.store, agent, |book| book.ledger().runtime.clone());
            let runtime = runtime.map_err(Error::from)?.flatten();
            // Whoever cannot execute what was run here begins from its end.
            let checkpoint = runtime.is_some_and(|runtime| runtime != welcome.runtime);
            // Not in the agent's turn: what is heard of it meanwhile counts.
            match self.host.freeze(agent, checkpoint).await {
                Ok(()) => {
                    stands();
                    let until = self.end(agent);
                    let rest = async {
                        Box::pin(shipment.journal(until?, link)).await?;
                        Ok::<_, ShipFailed>(send(link, &Frame::Reached(shipment.next)).await?)
                    };
                    // In this order: the target is at work while this side signs.
                    let (rest, given) =
                        join(rest, self.hand_off(agent, Event::Give { to, terms: welcome.terms })).await;
                    given.map(|()| rest)
                }
                Err(why) => Err(Error::Host(why)),
            }
        };
        // Only if the handoff is not signed: what is signed is finished.
        if frozen.is_err() && self.status(agent)? == Status::Custodian {
            self.happen(agent, Event::Timer).await?;
        }
        Ok(frozen?)
    }

    pub(super) async fn hand_off(&self, agent: AgentId, give: Event) -> Result<(), Error> {
        let turn = self.turn(agent);
        let mut desk = turn.lock().await;
        desk.take_back().await;
        self.store.settle().await?;
        self.seal(agent).await?;
        self.happen_at(&mut desk, agent, give).await.map(drop)
    }

    /// Sends what is left and waits for the answer.
    async fn hand_over(
        &self,
        agent: AgentId,
        link: &mut P::Link,
        shipment: &mut Shipment<'_, S>,
    ) -> Result<Answer, ShipFailed> {
        let until = self.store.tail(agent).map_err(crate::Error::from)?.unwrap_or(Chain::begin(agent));
        shipment.journal(until, link).await?;
        send(link, &Frame::Last(self.host.manner(agent))).await?;
        let answer = match receive(link).await? {
            // To what went over while the handoff was signed.
            Frame::Have(_) => receive(link).await?,
            frame => frame,
        };
        Ok(answer_in(answer)?)
    }

    async fn take_answer(&self, agent: AgentId, answer: Answer) -> Result<(), Failed> {
        match answer {
            Answer::Accepted(commit) if self.is_shared(agent) => self.heed_answer(agent, &commit).await,
            Answer::Accepted(commit) => {
                let record = accept_in(&commit).ok_or(Error::Unknown(agent))?;
                self.hear_one(agent, record).await?;
                // It lives there, as the keystore has it now: whether the archive says so too changes nothing.
                if let Err(error) = self.extend(agent, commit).await {
                    self.host.unwritten(agent, &error);
                }
                Ok(())
            }
            Answer::Declined(record) => {
                self.hear_one(agent, *record).await?;
                Err(Failed::Declined)
            }
        }
    }

    /// The archive ends with the accept, so that it says by itself where the agent went.
    async fn extend(&self, agent: AgentId, commit: Commit) -> Result<(), Error> {
        // If the agent is on its way back already, that brings the accept along.
        let Some(_coming) = self.coming.begin(agent) else { return Ok(()) };
        let mut book = self.book(agent)?.ok_or(Error::Unknown(agent))?;
        if commit.next() <= book.chain().next {
            return Ok(());
        }
        book.apply(&commit).map_err(|(seq, fault)| crate::Error::Journal { seq, fault })?;
        self.store.append(commit).await?;
        self.books.put(book);
        Ok(())
    }

    fn end(&self, agent: AgentId) -> Result<Chain, crate::Error> {
        self.store.tail(agent)?.ok_or(crate::Error::NoJournal(agent))
    }

    /// The head before a position of the journal that is here; nothing where it does not reach there.
    fn head_at(&self, agent: AgentId, next: Seq) -> Result<Option<igor_protocol::Hash>, Error> {
        let Some(last) = next.0.checked_sub(1).map(Seq) else { return Ok(Some(Chain::begin(agent).head)) };
        let Some(commit) = self.store.read(agent, last)?.next().transpose()? else { return Ok(None) };
        let found = commit.entries().find(|(seq, ..)| *seq == last).map(|(_, head, _)| head);
        Ok(found)
    }
}

/// After the handoff: nothing but the target's answer ends it.
fn unanswered(failed: ShipFailed) -> Failed {
    match failed {
        ShipFailed::Cut(cut) => Failed::Unanswered(cut),
        ShipFailed::Own(error) => Failed::Own(error.into()),
    }
}

fn answer_in(frame: Frame) -> Result<Answer, Cut> {
    match frame {
        Frame::Accepted(commit) => Ok(Answer::Accepted(commit)),
        Frame::Declined(record) => Ok(Answer::Declined(record)),
        Frame::Refused(refusal) => Err(Cut::Lost(refusal.to_string())),
        other => Err(Cut::unexpected(&other, "an accept or a decline")),
    }
}

/// The accept that a commit begins with.
pub(super) fn accept_in(commit: &Commit) -> Option<Custody> {
    let (_, _, bytes) = commit.entries().next()?;
    match Entry::decode(bytes).ok()?.body {
        Body::Custody(record) if matches!(record.phase, Phase::Accept(_)) => Some(record),
        _ => None,
    }
}
