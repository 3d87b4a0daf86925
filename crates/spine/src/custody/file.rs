//! Custody that goes by file: the handoff is committed without the target, and the journal travels by itself.
//!
//! Invariants kept here:
//! - A handoff by file binds as any other does: from then on only the target's answer, or the owner, changes anything.
//!   It is pursued over the network as well, where there is one.
//! - What cannot be gone on from is refused and not declined: the file is still good once that is mended.

use super::{Coming, Error, Host, Peers, Steward, take::Admitted};
use crate::World;
use igor_protocol::{
    AgentId, NodeId, Terms,
    custody::{Event, Held, Refusal, Status, Tidings},
    entry::{Custody, Handoff, Phase, StoreKind},
    transfer::Manner,
};
use igor_store::Store;

/// What became of a handoff by file at the node that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// The agent lives here now.
    Accepted,
    /// It was accepted before.
    Before,
}

/// Why a handoff by file came to nothing here.
#[derive(Debug, thiserror::Error)]
pub enum NotArrived {
    /// This node declined it, for good.
    #[error(
        "this node has declined this handoff for good: the node that gave the agent has it back when it hears of that"
    )]
    Declined,
    /// The agent was accepted from this handoff, and has gone on since.
    #[error("the handoff was answered before, and the agent has gone on since")]
    GoneOn,
    /// The agent does not come to life from what is here.
    #[error("the agent cannot be restored here: {0}")]
    Restore(igor_protocol::transfer::Refusal),
    /// Custody does not allow it, or this side failed.
    #[error(transparent)]
    Own(#[from] Error),
}

impl<S: Store, W: World, P: Peers, H: Host> Steward<S, W, P, H> {
    /// Gives an agent to a node that need not be there: freezes it and makes the handoff durable. Asked again, it is the
    /// same handoff. Returns that.
    pub async fn give_by_file(&self, agent: AgentId, to: NodeId, terms: Terms) -> Result<Handoff, Error> {
        self.must_be_on_disk(agent)?;
        if self.status(agent)? == Status::Unfinished {
            // What a kill left of an attempt before.
            self.happen(agent, Event::Restarted).await?;
        }
        if self.status(agent)? == Status::Custodian {
            // What would be refused in the end is refused while the agent still goes on.
            let held = self.book(agent)?.ok_or(Error::Unknown(agent))?.held();
            Held { sealed: true, ..held }.handoff(to, terms, self.world.wall_clock())?;
            self.freeze_for_file(agent, Event::Give { to, terms }).await?;
        }
        let standing = self.book(agent)?.ok_or(Error::Unknown(agent))?.held().standing;
        let handoff = standing.last().and_then(|record| record.phase.handoff().copied());
        match (self.status(agent)?, handoff) {
            (Status::Given(_) | Status::Elsewhere, Some(handoff)) if handoff.from == self.me() && handoff.to == to => {
                Ok(handoff)
            }
            (Status::Suspended(doubt), _) => Err(Refusal::Doubt(doubt).into()),
            _ => Err(Refusal::NotCustodian.into()),
        }
    }

    /// Takes an agent whose whole journal is here and ends with a handoff to this node. The caller has let it in
    /// ([`Steward::coming`]) and found that the operator takes it, at the terms of the handoff.
    pub async fn arrive(&self, agent: AgentId) -> Result<Arrived, NotArrived> {
        self.must_be_on_disk(agent)?;
        match self.status(agent)? {
            Status::Custodian => return Ok(Arrived::Before),
            Status::Unfinished => {
                // The accept was signed, and a kill came before its entry.
                self.happen(agent, Event::Timer).await?;
                return Ok(Arrived::Accepted);
            }
            Status::Undecided => {}
            Status::Elsewhere if self.has_declined(agent)? => return Err(NotArrived::Declined),
            Status::Elsewhere | Status::Given(_) => return Err(NotArrived::GoneOn),
            Status::Absent => return Err(Error::Unknown(agent).into()),
            Status::Suspended(doubt) => return Err(Error::from(Refusal::Doubt(doubt)).into()),
        }
        let _admitted = Admitted { host: &*self.host, agent };
        // A file does not say how it lived.
        self.host.heed(agent, Manner::default()).await.map_err(Error::Host)?;
        self.host.restore(agent).await.map_err(NotArrived::Restore)?;
        let journal = self.book(agent)?.ok_or(Error::Unknown(agent))?.held();
        self.happen(agent, Event::Arrived { journal, extends: true, admit: true }).await?;
        match self.status(agent)? {
            Status::Custodian => Ok(Arrived::Accepted),
            Status::Suspended(doubt) => Err(Error::from(Refusal::Doubt(doubt)).into()),
            _ => Err(Error::from(Refusal::NotCustodian).into()),
        }
    }

    /// Of a journal in a bucket a file is a copy: what is decided on it nobody else would see.
    fn must_be_on_disk(&self, agent: AgentId) -> Result<(), Error> {
        let store = self.book(agent)?.ok_or(Error::Unknown(agent))?.held().store;
        if store == StoreKind::Disk { Ok(()) } else { Err(Error::InBucket(agent)) }
    }

    fn has_declined(&self, agent: AgentId) -> Result<bool, Error> {
        let memory = self.known(agent, false)?.memory;
        Ok(memory.signed.is_some_and(|signed| matches!(signed.phase, Phase::Decline(_))))
    }

    /// Ends the agent's life with a checkpoint, and makes the handoff durable; if that fails it lives on.
    async fn freeze_for_file(&self, agent: AgentId, give: Event) -> Result<(), Error> {
        let _leaving = self.leaving.begin(agent).ok_or(Error::Leased(agent))?;
        let given = {
            let _freezing = self.freezing.begin(agent).ok_or(Error::Leased(agent))?;
            // Not in the agent's turn: what is heard of it meanwhile counts.
            match self.host.freeze(agent, true).await {
                Ok(()) => self.hand_off(agent, give).await,
                Err(why) => Err(Error::Host(why)),
            }
        };
        // Only if the handoff is not signed: what is signed is finished.
        if given.is_err() && self.status(agent)? == Status::Custodian {
            self.happen(agent, Event::Timer).await?;
        }
        given
    }

    /// The right to let an agent in; nothing while somebody else has it.
    pub fn coming(&self, agent: AgentId) -> Option<Coming<'_>> {
        self.coming.begin(agent)
    }

    /// Hears what a journal that comes in proves by itself: an owner's takeover, say, or the answer to a handoff. A
    /// branch here that it orphans is left.
    pub async fn learn(&self, coming: &Coming<'_>, agent: AgentId, records: Vec<Custody>) -> Result<(), Error> {
        self.hear(Tidings { agent, records: records.clone() }).await?;
        self.leave_buried(coming, &records).await
    }
}
