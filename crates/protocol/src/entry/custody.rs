//! Custody changes hands: what each side signs, and what that proves.
//!
//! Invariants kept here:
//! - A record stands alone. An Accept has the handoff that it answers inside it, a Return the decline, a Takeover the
//!   owner's order, each with its signature; so whoever has the record needs no journal to check it ([`Custody::check`]).
//! - A record names its place (agent, epoch, position, head before it), so it counts at that place only.
//! - Nothing nests without end: what is inside a record is of a fixed kind.
//!
//! ```text
//!              handoff n+1            accept n+1
//!   custodian ─────────────► pending ────────────► the other node is custodian
//!       ▲                       │ decline (no entry)
//!       └───────────────────────┘ return n+2
//!   takeover (order's counter, 0): from anywhere, by the node that the owner names
//!   fence n+1: from anywhere, by a standby node or by the custodian itself, where a shared store decides who was first
//! ```

use super::{Action, Body, Entry, Order};
use crate::{
    AgentId, Chain, Hash, KeyPair, NodeId, OwnerId, Signature, Terms, codec,
    hash::Domain,
    ledger::Fault,
    units::{Epoch, Seq, Timestamp},
};
use minicbor::{Decode, Encode};

/// What a fault names where an owner's signature is not over a takeover order. All else of the record was checked then.
pub const TAKEOVER_ORDER: &str = "the takeover order";

/// Largest record that is decoded from outside, in bytes.
const RECORD_BYTES_MAX: usize = 4096;
/// No journal comes so far, so whatever stands below it has a place after it.
const PLACE_SEQ_MAX: u64 = 1 << 62;

/// A signed record of custody. All phases but a decline are journal entries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Custody {
    /// What is said.
    #[n(0)]
    pub phase: Phase,
    /// The signature over it of [`Phase::writer`].
    #[n(1)]
    pub signature: Signature,
}

/// What a record of custody says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Phase {
    /// The custodian gives the agent away. Its last act, unless the agent comes back.
    #[n(0)]
    Handoff(#[n(0)] Handoff),
    /// The node that was named takes it.
    #[n(1)]
    Accept(#[n(0)] Accept),
    /// The node that was named does not. No entry: it stands inside the Return.
    #[n(2)]
    Decline(#[n(0)] Decline),
    /// The node that gave it away has it back, since it was declined.
    #[n(3)]
    Return(#[n(0)] Return),
    /// The owner made another node custodian.
    #[n(4)]
    Takeover(#[n(0)] Takeover),
    /// A node that the owner named as standby goes on, or the custodian itself after a restart. It counts only where the
    /// shared store has it: what is shown of it elsewhere proves nothing.
    #[n(5)]
    Fence(#[n(0)] Fence),
}

/// Where an entry stands, and so which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Place {
    /// Whose journal.
    #[n(0)]
    pub agent: AgentId,
    /// The epoch that it is written under.
    #[n(1)]
    pub epoch: Epoch,
    /// Its position.
    #[n(2)]
    pub seq: Seq,
    /// The head before it.
    #[n(3)]
    pub prev: Hash,
    /// The time of its entry.
    #[n(4)]
    pub at: Timestamp,
}

/// Where a journal is durable. An agent stays where its Genesis put it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum StoreKind {
    /// On the disk of each custodian.
    #[default]
    #[n(0)]
    Disk,
    /// In object storage that all its nodes reach.
    #[n(1)]
    Bucket(#[n(0)] StoreId),
}

/// Which bucket: drawn when it is first used and kept in it, so that a copy at another address is the same store, and
/// another bucket at the same address is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct StoreId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

impl std::fmt::Display for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The custodian's word that the agent is another node's, once that accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Handoff {
    /// Its place; the epoch is one above that before it.
    #[n(0)]
    pub place: Place,
    /// Who gives it away, and signs.
    #[n(1)]
    pub from: NodeId,
    /// Who may take it.
    #[n(2)]
    pub to: NodeId,
    /// The price of `to` for the runs that follow.
    #[n(3)]
    pub terms: Terms,
    /// Where the journal goes on.
    #[n(4)]
    pub store: StoreKind,
}

/// A handoff with its signature, inside its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Given {
    /// What was given.
    #[n(0)]
    pub handoff: Handoff,
    /// The signature of `from`.
    #[n(1)]
    pub signature: Signature,
}

/// The word of the node that was named: the agent is its own, at the price that the handoff says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Accept {
    /// Its place, right after the handoff and in the same epoch.
    #[n(0)]
    pub place: Place,
    /// What it accepts.
    #[n(1)]
    pub given: Given,
}

/// The word of the node that was named: it did not accept and never will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Decline {
    /// What it declines.
    #[n(0)]
    pub given: Given,
    /// When, by its clock.
    #[n(1)]
    pub at: Timestamp,
}

/// A decline with its signature, inside the Return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Declined {
    /// What was declined.
    #[n(0)]
    pub decline: Decline,
    /// The signature of the node that declined.
    #[n(1)]
    pub signature: Signature,
}

/// The word of the node that gave it away: it has it back, at the price from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Return {
    /// Its place, right after the handoff; the epoch is one above that of the handoff.
    #[n(0)]
    pub place: Place,
    /// Why it may.
    #[n(1)]
    pub declined: Declined,
}

/// The word of the node that the owner named.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Takeover {
    /// Its place, right after the base that the order names; the epoch is (counter of the order, 0).
    #[n(0)]
    pub place: Place,
    /// Who takes it, and signs.
    #[n(1)]
    pub custodian: NodeId,
    /// The price for the runs that follow.
    #[n(2)]
    pub terms: Terms,
    /// The order, which names the same.
    #[n(3)]
    pub order: Order,
}

/// The word of a node that goes on with an agent on a shared store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Fence {
    /// Its place; the epoch is one above that before it.
    #[n(0)]
    pub place: Place,
    /// Who had custody.
    #[n(1)]
    pub from: NodeId,
    /// Who has it from here on, and signs. The same node, where that fences off what is left of an earlier process.
    #[n(2)]
    pub custodian: NodeId,
    /// The price for the runs that follow.
    #[n(3)]
    pub terms: Terms,
}

impl Place {
    /// The chain before the entry, already under its epoch.
    pub const fn chain(&self) -> Chain {
        Chain { agent: self.agent, epoch: self.epoch, next: self.seq, head: self.prev }
    }
}

impl Given {
    /// The handoff as the record that it was.
    pub const fn record(&self) -> Custody {
        Custody { phase: Phase::Handoff(self.handoff), signature: self.signature }
    }

    /// The chain after its entry.
    pub fn end(&self) -> Chain {
        let place = self.handoff.place;
        place.chain().link(&Entry { at: place.at, body: Body::Custody(self.record()) }.encode())
    }
}

impl Declined {
    /// The decline as the record that it was.
    pub const fn record(&self) -> Custody {
        Custody { phase: Phase::Decline(self.decline), signature: self.signature }
    }
}

impl Phase {
    /// The name used in timelines and documents.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Handoff(_) => "handoff",
            Self::Accept(_) => "accept",
            Self::Decline(_) => "decline",
            Self::Return(_) => "return",
            Self::Takeover(_) => "takeover",
            Self::Fence(_) => "fence",
        }
    }

    /// Where it stands in the journal; a decline does not.
    pub const fn place(&self) -> Option<&Place> {
        match self {
            Self::Handoff(handoff) => Some(&handoff.place),
            Self::Accept(accept) => Some(&accept.place),
            Self::Decline(_) => None,
            Self::Return(back) => Some(&back.place),
            Self::Takeover(takeover) => Some(&takeover.place),
            Self::Fence(fence) => Some(&fence.place),
        }
    }

    /// The handoff that it is, answers or takes back.
    pub const fn handoff(&self) -> Option<&Handoff> {
        match self {
            Self::Handoff(handoff) => Some(handoff),
            Self::Accept(accept) => Some(&accept.given.handoff),
            Self::Decline(decline) => Some(&decline.given.handoff),
            Self::Return(back) => Some(&back.declined.decline.given.handoff),
            Self::Takeover(_) | Self::Fence(_) => None,
        }
    }

    /// The agent that it is about.
    pub const fn agent(&self) -> AgentId {
        match self {
            Self::Decline(decline) => decline.given.handoff.place.agent,
            Self::Handoff(Handoff { place, .. })
            | Self::Accept(Accept { place, .. })
            | Self::Return(Return { place, .. })
            | Self::Takeover(Takeover { place, .. })
            | Self::Fence(Fence { place, .. }) => place.agent,
        }
    }

    /// The epoch that it is written under; of a decline, that of the handoff.
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Decline(decline) => decline.given.handoff.place.epoch,
            Self::Handoff(Handoff { place, .. })
            | Self::Accept(Accept { place, .. })
            | Self::Return(Return { place, .. })
            | Self::Takeover(Takeover { place, .. })
            | Self::Fence(Fence { place, .. }) => place.epoch,
        }
    }

    /// The node that says and signs it.
    pub const fn writer(&self) -> NodeId {
        match self {
            Self::Handoff(handoff) => handoff.from,
            Self::Accept(accept) => accept.given.handoff.to,
            Self::Decline(decline) => decline.given.handoff.to,
            Self::Return(back) => back.declined.decline.given.handoff.from,
            Self::Takeover(takeover) => takeover.custodian,
            Self::Fence(fence) => fence.custodian,
        }
    }

    /// The record of it. `node` must be the writer's key.
    pub fn sign(self, node: &KeyPair) -> Custody {
        let signature = node.sign(Domain::CUSTODY, &[&codec::encode(&self)]);
        Custody { phase: self, signature }
    }
}

impl Custody {
    /// The handoff with its signature, if that is what this is.
    pub const fn given(&self) -> Option<Given> {
        match self.phase {
            Phase::Handoff(handoff) => Some(Given { handoff, signature: self.signature }),
            _ => None,
        }
    }

    /// The decline with its signature, if that is what this is.
    pub const fn declined(&self) -> Option<Declined> {
        match self.phase {
            Phase::Decline(decline) => Some(Declined { decline, signature: self.signature }),
            _ => None,
        }
    }

    /// Whether this and all that is inside is signed by whom it names, and fits together.
    ///
    /// That proves what those nodes said. Whether they had the right to is for a journal to say, or for whoever knows
    /// that the agent was with one of them. `owner` is the agent's: its order makes a takeover right everywhere.
    pub fn check(&self, owner: &OwnerId) -> Result<(), Fault> {
        if !self.is_signed() {
            return Err(Fault::Signature("the custody record"));
        }
        if self.parts().any(|part| part.phase.place().is_some_and(|place| place.seq.0 > PLACE_SEQ_MAX)) {
            return Err(Fault::Custody("no journal is so long"));
        }
        match &self.phase {
            Phase::Handoff(_) | Phase::Fence(_) => Ok(()),
            Phase::Accept(accept) => {
                check_signed(&accept.given.record(), "the handoff")?;
                if accept.place.chain() != accept.given.end() {
                    return Err(Fault::Custody("an accept stands right after the handoff that it accepts"));
                }
                Ok(())
            }
            Phase::Decline(decline) => check_signed(&decline.given.record(), "the handoff"),
            Phase::Return(back) => {
                let given = back.declined.decline.given;
                check_signed(&given.record(), "the handoff")?;
                check_signed(&back.declined.record(), "the decline")?;
                let epoch = given.handoff.place.epoch.raised();
                if epoch.map(|epoch| Chain { epoch, ..given.end() }) != Some(back.place.chain()) {
                    return Err(Fault::Custody("a return stands right after the handoff that was declined"));
                }
                Ok(())
            }
            Phase::Takeover(takeover) => takeover.check(owner),
        }
    }

    fn is_signed(&self) -> bool {
        self.phase.writer().verifies(Domain::CUSTODY, &[&codec::encode(&self.phase)], &self.signature)
    }

    /// Its deterministic bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes a record that came from outside. Nothing is believed of it before [`Custody::check`].
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        codec::decode("custody record", bytes, RECORD_BYTES_MAX)
    }
}

fn check_signed(record: &Custody, what: &'static str) -> Result<(), Fault> {
    if record.is_signed() { Ok(()) } else { Err(Fault::Signature(what)) }
}

impl Takeover {
    /// Whether the order is the owner's and orders just this.
    fn check(&self, owner: &OwnerId) -> Result<(), Fault> {
        let (place, order) = (&self.place, &self.order.body);
        let Action::Takeover { base_seq, base_head, custodian, terms } = order.action else {
            return Err(Fault::Custody("a takeover carries out a takeover order"));
        };
        let named = (order.agent, base_seq.0.checked_add(1), base_head, custodian, terms);
        if named != (place.agent, Some(place.seq.0), place.prev, self.custodian, self.terms) {
            return Err(Fault::Custody("the takeover is not what the order says"));
        }
        if place.epoch != (Epoch { term: order.counter, n: 0 }) || order.term >= order.counter {
            return Err(Fault::Custody("the epoch of a takeover is the counter of its order, above the term before"));
        }
        if self.order.is_signed_by(owner) { Ok(()) } else { Err(Fault::Signature(TAKEOVER_ORDER)) }
    }
}
