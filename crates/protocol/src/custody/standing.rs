//! Who has custody at the end of a journal, and which record of custody may come next.
//!
//! Invariants kept here:
//! - [`Held::admit`] is the one rule for it: verifiers judge entries by it, and a node keeps no record that it refuses.
//! - After a handoff only its answer, or a takeover, may follow.
//! - Custodian and terms are within what the owner's policy allows.

use crate::{
    Chain, NodeId, Terms,
    entry::{Action, Custody, EndCause, Fence, Given, Handoff, Phase, Policy, StoreKind, Takeover},
    ledger::Fault,
    units::{Epoch, Timestamp},
};
use minicbor::{Decode, Encode};

/// Who may append, at which price, and the proof.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Standing {
    /// The custodian. While a handoff has no answer it is who gave, and may do nothing but take a return.
    #[n(0)]
    pub custodian: NodeId,
    /// What runs of the custodian cost.
    #[n(1)]
    pub terms: Terms,
    /// The takeover that began the term, where one did, and the last custody entry. Empty: as Genesis says.
    #[n(2)]
    pub proofs: Vec<Custody>,
}

impl Standing {
    /// Before any change of custody.
    pub const fn first(custodian: NodeId, terms: Terms) -> Self {
        Self { custodian, terms, proofs: Vec::new() }
    }

    /// The last custody entry.
    pub fn last(&self) -> Option<&Custody> {
        self.proofs.last()
    }

    /// The takeover that began the term.
    pub fn takeover(&self) -> Option<&Custody> {
        self.proofs.first().filter(|record| matches!(record.phase, Phase::Takeover(_)))
    }

    /// The handoff that has no answer yet.
    pub fn pending(&self) -> Option<Given> {
        self.last().and_then(Custody::given)
    }

    /// After one more custody entry, which must be one that [`Held::admit`] lets in.
    #[must_use]
    pub fn after(&self, record: &Custody) -> Self {
        let mut proofs: Vec<Custody> = self.takeover().cloned().into_iter().collect();
        let (custodian, terms) = match &record.phase {
            Phase::Accept(accept) => (accept.given.handoff.to, accept.given.handoff.terms),
            Phase::Takeover(takeover) => {
                proofs.clear();
                (takeover.custodian, takeover.terms)
            }
            Phase::Fence(fence) => (fence.custodian, fence.terms),
            Phase::Handoff(_) | Phase::Decline(_) | Phase::Return(_) => (self.custodian, self.terms),
        };
        proofs.push(record.clone());
        Self { custodian, terms, proofs }
    }
}

/// The end of a journal, as far as custody depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where the next entry goes.
    pub chain: Chain,
    /// The time of the last entry.
    pub at: Timestamp,
    /// Who has custody.
    pub standing: Standing,
    /// Whether the last entry is a seal or a custody entry, so that its writer cannot deny what is before.
    pub sealed: bool,
    /// Whether the agent ended.
    pub ended: Option<EndCause>,
    /// The counter of the last order.
    pub order_counter: u64,
    /// The first custodian, which the policy always allows.
    pub first: NodeId,
    /// What the owner allows.
    pub policy: Policy,
    /// Whether that is by an order, and not as Genesis says.
    pub ordered: bool,
    /// Where the journal is durable.
    pub store: StoreKind,
}

impl Held {
    /// Whether a record may be the next entry. Signatures are not looked at.
    pub fn admit(&self, phase: &Phase) -> Result<(), Fault> {
        let place = phase.place().ok_or(Fault::Custody("a decline is no entry: it stands inside the return"))?;
        if (place.agent, place.seq, place.prev) != (self.chain.agent, self.chain.next, self.chain.head) {
            return Err(Fault::Custody("it was signed for another place"));
        }
        if place.at < self.at {
            return Err(Fault::Time("an entry is older than the one before it"));
        }
        if self.ended.is_some_and(|cause| cause != EndCause::Exhausted) {
            return Err(Fault::Place("the agent has ended"));
        }
        let same = self.chain.epoch;
        let epoch = match (phase, self.standing.pending()) {
            (Phase::Handoff(handoff), None) => {
                self.admit_handoff(handoff)?;
                same.raised()
            }
            (Phase::Accept(accept), Some(given)) if accept.given == given => Some(same),
            (Phase::Return(back), Some(given)) if back.declined.decline.given == given => same.raised(),
            (Phase::Takeover(takeover), _) => {
                self.admit_takeover(takeover)?;
                Some(Epoch { term: takeover.order.body.counter, n: 0 })
            }
            (Phase::Fence(fence), _) => {
                self.admit_fence(fence)?;
                same.raised()
            }
            (Phase::Handoff(_), Some(_)) => return Err(Fault::Custody("it was given away before")),
            _ => return Err(Fault::Custody("it does not answer the handoff before it")),
        };
        if epoch == Some(place.epoch) {
            Ok(())
        } else {
            Err(Fault::Custody("its epoch is not the one that comes next"))
        }
    }

    fn admit_handoff(&self, handoff: &Handoff) -> Result<(), Fault> {
        if handoff.from != self.standing.custodian {
            return Err(Fault::Custody("only its custodian gives an agent away"));
        }
        if handoff.store != self.store {
            return Err(Fault::Custody("it names another store than the agent's"));
        }
        if handoff.to == handoff.from {
            return Err(Fault::Custody("the agent lives on that node already"));
        }
        if !self.sealed {
            return Err(Fault::Place("a seal stands before a handoff"));
        }
        self.within_policy(handoff.to, &handoff.terms)
    }

    fn admit_takeover(&self, takeover: &Takeover) -> Result<(), Fault> {
        let order = &takeover.order.body;
        if !matches!(order.action, Action::Takeover { .. }) {
            return Err(Fault::Custody("a takeover carries out a takeover order"));
        }
        if order.term != self.chain.epoch.term {
            return Err(Fault::Order("it is for another branch: its term is not the journal's"));
        }
        if order.counter <= self.order_counter {
            return Err(Fault::Order("its counter is not above that of the last order"));
        }
        self.within_policy(takeover.custodian, &takeover.terms)
    }

    fn admit_fence(&self, fence: &Fence) -> Result<(), Fault> {
        if self.store == StoreKind::Disk {
            return Err(Fault::Custody("a fence needs a shared store, which decides who was first"));
        }
        if fence.from != self.standing.custodian {
            return Err(Fault::Custody("another node has custody than the one that is fenced off"));
        }
        // Also while a handoff has no answer: the store has either the accept or this.
        if fence.custodian == self.standing.custodian {
            return if fence.terms == self.standing.terms {
                Ok(())
            } else {
                Err(Fault::Custody("who fences off an earlier process of its own keeps its terms"))
            };
        }
        if !self.policy.standby.nodes.contains(&fence.custodian) {
            return Err(Fault::Custody("the owner's policy does not name the node as standby"));
        }
        self.within_policy(fence.custodian, &fence.terms)
    }

    fn within_policy(&self, node: NodeId, terms: &Terms) -> Result<(), Fault> {
        if !self.policy.names(node, self.first) {
            return Err(Fault::Custody("the owner's policy does not name the node"));
        }
        if self.policy.allows(terms) {
            Ok(())
        } else {
            Err(Fault::Limit("the terms are above what the owner's policy allows"))
        }
    }
}
