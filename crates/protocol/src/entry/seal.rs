//! The custodian's signature over the head: from here back, it cannot deny the history.

use crate::{
    AgentId, Hash, KeyPair, NodeId, Signature,
    hash::Domain,
    units::{Epoch, Seq},
};
use minicbor::{Decode, Encode};

/// A signature over (agent, epoch, seq, head) of the entry before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Seal {
    /// By the custodian of the epoch.
    #[n(0)]
    pub signature: Signature,
}

fn with_parts<T>(agent: &AgentId, epoch: Epoch, seq: Seq, head: &Hash, f: impl FnOnce(&[&[u8]]) -> T) -> T {
    let (term, n, seq) = (epoch.term.to_be_bytes(), epoch.n.to_be_bytes(), seq.0.to_be_bytes());
    f(&[agent.as_bytes(), &term, &n, &seq, &head.0])
}

impl Seal {
    /// Seals the entry at `seq`, after which the chain has `head`.
    pub fn sign(node: &KeyPair, agent: &AgentId, epoch: Epoch, seq: Seq, head: &Hash) -> Self {
        Self { signature: with_parts(agent, epoch, seq, head, |parts| node.sign(Domain::SEAL, parts)) }
    }

    /// Whether `node` sealed that.
    pub fn is_signed_by(&self, node: &NodeId, agent: &AgentId, epoch: Epoch, seq: Seq, head: &Hash) -> bool {
        with_parts(agent, epoch, seq, head, |parts| node.verifies(Domain::SEAL, parts, &self.signature))
    }
}
