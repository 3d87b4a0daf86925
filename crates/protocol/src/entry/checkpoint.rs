//! The state of an agent between two runs: a cache of replay, and where a journal may begin after pruning.

use super::message::Content;
use crate::{
    AgentId, Hash, KeyPair, NodeId, Signature, codec,
    hash::Domain,
    ledger::Ledger,
    units::{Credits, Tick},
};
use minicbor::{Decode, Encode};

/// A checkpoint. Committed together with the Run(checkpoint) and the Run(resume) before it, which took and proved it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Checkpoint {
    /// How the state was taken.
    #[n(0)]
    pub kind: CheckpointKind,
    /// The last tick that the state includes.
    #[n(1)]
    pub tick: Tick,
    /// The blob hash of the state.
    #[n(2)]
    pub root: Hash,
    /// The length of the state in bytes.
    #[n(3)]
    pub bytes: u64,
    /// The ledger before this entry.
    #[n(4)]
    pub ledger: Ledger,
    /// Message ids to refuse: the encoded [`crate::ledger::Remembered`].
    #[n(5)]
    pub remembered: Content,
    /// What the agent paid since the last checkpoint.
    #[n(6)]
    pub receipt: Receipt,
}

/// How a state was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum CheckpointKind {
    /// By the agent's own serialisation.
    #[n(0)]
    State,
    /// By its whole memory. Reserved: no writer makes it yet.
    #[n(1)]
    Memory,
}

/// What an agent paid for its runs up to a checkpoint, signed by the node that was paid.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Receipt {
    /// Who paid.
    #[n(0)]
    pub agent: AgentId,
    /// The first tick that it covers.
    #[n(1)]
    pub from: Tick,
    /// The last tick that it covers.
    #[n(2)]
    pub to: Tick,
    /// What all runs since the last receipt cost.
    #[n(3)]
    pub cost: Credits,
    /// The balance after them.
    #[n(4)]
    pub balance: Credits,
    /// The head of the chain before the checkpoint.
    #[n(5)]
    pub head: Hash,
    /// The node's signature over all of the above.
    #[n(6)]
    pub signature: Signature,
}

impl Receipt {
    /// A receipt, signed by the node that was paid. The signature of `unsigned` is replaced.
    pub fn sign(mut unsigned: Self, node: &KeyPair) -> Self {
        unsigned.signature = node.sign(Domain::RECEIPT, &[&unsigned.signed_bytes()]);
        unsigned
    }

    /// Whether `node` signed it.
    pub fn is_signed_by(&self, node: &NodeId) -> bool {
        node.verifies(Domain::RECEIPT, &[&self.signed_bytes()], &self.signature)
    }

    fn signed_bytes(&self) -> Vec<u8> {
        codec::encode(&Self { signature: Signature([0; 64]), ..self.clone() })
    }
}
