//! What an owner orders of an agent.
//!
//! Action numbers that are reserved: 2 upgrade, 3 approve.

use super::Policy;
use crate::{
    AgentId, Hash, KeyPair, NodeId, PublicKey, Signature, Terms, codec,
    hash::Domain,
    units::{Credits, Seq, Timestamp},
};
use minicbor::{Decode, Encode};

/// A signed order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Order {
    /// What is ordered.
    #[n(0)]
    pub body: OrderBody,
    /// The owner's signature (for a fund order the issuer's).
    #[n(1)]
    pub signature: Signature,
}

/// The signed content of an order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OrderBody {
    /// The agent that it is for.
    #[n(0)]
    pub agent: AgentId,
    /// The term of the branch that it is valid on.
    #[n(1)]
    pub term: u64,
    /// Strictly rising over all orders of an agent, so that an order counts once.
    #[n(2)]
    pub counter: u64,
    /// When it was signed, by the owner's clock.
    #[n(3)]
    pub at: Timestamp,
    /// What to do.
    #[n(4)]
    pub action: Action,
}

/// What is ordered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Action {
    /// All funding so far, this order's included, is `total`; a repeat adds nothing.
    #[n(0)]
    Fund {
        /// The cumulative total.
        #[n(0)]
        total: Credits,
    },
    /// End the agent.
    #[n(1)]
    Recall,
    /// Another node goes on with the agent from here, in a term of its own. What the journal has beyond the base
    /// elsewhere is orphaned. Stands in the Custody entry that carries it out, not in an entry of its own.
    #[n(4)]
    Takeover {
        /// The last entry that counts.
        #[n(0)]
        base_seq: Seq,
        /// The head after it.
        #[n(1)]
        base_head: Hash,
        /// The node that goes on.
        #[n(2)]
        custodian: NodeId,
        /// Its price.
        #[n(3)]
        terms: Terms,
    },
    /// What is allowed of custody from here on.
    #[n(5)]
    Policy(#[n(0)] Policy),
}

impl OrderBody {
    /// The order, signed.
    pub fn sign(self, key: &KeyPair) -> Order {
        let signature = key.sign(Domain::ORDER, &[&codec::encode(&self)]);
        Order { body: self, signature }
    }
}

impl Order {
    /// Whether `key` signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verifies(Domain::ORDER, &[&codec::encode(&self.body)], &self.signature)
    }

    /// Decodes an order that came from outside.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        codec::decode("order", bytes, 4096)
    }

    /// Its deterministic bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
}
