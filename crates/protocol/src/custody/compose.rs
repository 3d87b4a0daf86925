//! What a node may say next about custody, made from the end of the journal.
//!
//! Invariant kept here: whatever is made here, [`Held::admit`] lets in; so a node never signs what it cannot append.

use super::Held;
use crate::{
    NodeId, Terms,
    entry::{Accept, Action, Decline, Declined, Fence, Given, Handoff, Order, Phase, Place, Return, Takeover},
    ledger::Fault,
    units::{Epoch, Timestamp},
};

const NO_EPOCH: Fault = Fault::Custody("no epoch is left");
const NO_HANDOFF: Fault = Fault::Custody("there is no handoff to answer");

impl Held {
    /// The custodian gives the agent to `to`, at its terms.
    pub fn handoff(&self, to: NodeId, terms: Terms, now: Timestamp) -> Result<Phase, Fault> {
        let place = self.place(self.chain.epoch.raised().ok_or(NO_EPOCH)?, now);
        let from = self.standing.custodian;
        self.admitted(Phase::Handoff(Handoff { place, from, to, terms, store: self.store }))
    }

    /// The node that was named takes it.
    pub fn accept(&self, now: Timestamp) -> Result<Phase, Fault> {
        let place = self.place(self.chain.epoch, now);
        self.admitted(Phase::Accept(Accept { place, given: self.given()? }))
    }

    /// The node that was named does not take it.
    pub fn decline(&self, now: Timestamp) -> Result<Phase, Fault> {
        Ok(Phase::Decline(Decline { given: self.given()?, at: now }))
    }

    /// The node that gave it has it back.
    pub fn give_back(&self, declined: Declined, now: Timestamp) -> Result<Phase, Fault> {
        let place = self.place(self.chain.epoch.raised().ok_or(NO_EPOCH)?, now);
        self.admitted(Phase::Return(Return { place, declined }))
    }

    /// A standby node goes on, at its terms; or the custodian itself, whose earlier process may still write.
    pub fn fence(&self, custodian: NodeId, terms: Terms, now: Timestamp) -> Result<Phase, Fault> {
        let place = self.place(self.chain.epoch.raised().ok_or(NO_EPOCH)?, now);
        let from = self.standing.custodian;
        self.admitted(Phase::Fence(Fence { place, from, custodian, terms }))
    }

    /// The node that the owner named goes on from here.
    pub fn take_over(&self, order: &Order, now: Timestamp) -> Result<Phase, Fault> {
        let Action::Takeover { base_seq, base_head, custodian, terms } = order.body.action else {
            return Err(Fault::Custody("a takeover carries out a takeover order"));
        };
        if (Some(self.chain.next.0), self.chain.head) != (base_seq.0.checked_add(1), base_head) {
            return Err(Fault::Custody("the journal here does not end at the base that the order names"));
        }
        let place = self.place(Epoch { term: order.body.counter, n: 0 }, now);
        self.admitted(Phase::Takeover(Takeover { place, custodian, terms, order: order.clone() }))
    }

    fn place(&self, epoch: Epoch, now: Timestamp) -> Place {
        let chain = self.chain;
        Place { agent: chain.agent, epoch, seq: chain.next, prev: chain.head, at: now.max(self.at) }
    }

    fn given(&self) -> Result<Given, Fault> {
        self.standing.pending().ok_or(NO_HANDOFF)
    }

    fn admitted(&self, phase: Phase) -> Result<Phase, Fault> {
        self.admit(&phase)?;
        Ok(phase)
    }
}
