//! The first entry: who owns the agent, what it runs, who runs it at which price, and with how much money.

use crate::{
    AgentId, Hash, KeyPair, NodeId, OwnerId, Signature, Terms, codec,
    entry::StoreKind,
    hash::Domain,
    units::{Credits, Nanos, Timestamp},
};
use minicbor::{Decode, Encode};

/// Genesis with the two signatures that make it valid. The agent's id covers the body only.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Genesis {
    /// What was agreed.
    #[n(0)]
    pub body: GenesisBody,
    /// The owner's signature over the body.
    #[n(1)]
    pub owner_signature: Signature,
    /// The first custodian's signature over the body: it accepts the terms.
    #[n(2)]
    pub host_signature: Signature,
}

/// The signed content of Genesis. Its hash is the [`AgentId`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct GenesisBody {
    /// Whose agent it is.
    #[n(0)]
    pub owner: OwnerId,
    /// Makes two agents that are alike in everything else different.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub nonce: [u8; 16],
    /// The alias that it was created under.
    #[n(2)]
    pub name: String,
    /// The blob hash of the wasm module.
    #[n(3)]
    pub program: Hash,
    /// The blob hash of the encoded manifest.
    #[n(4)]
    pub manifest: Hash,
    /// The runtime that runs it first.
    #[n(5)]
    pub runtime: String,
    /// The first custodian.
    #[n(6)]
    pub custodian: NodeId,
    /// The custodian's price.
    #[n(7)]
    pub terms: Terms,
    /// The money that it begins with.
    #[n(8)]
    pub budget: Credits,
    /// Whose signature funds it. By default the owner.
    #[n(9)]
    pub issuer: OwnerId,
    /// What the owner allows of custody.
    #[n(10)]
    pub policy: Policy,
    /// A custodian refuses to begin the agent after this moment.
    #[n(11)]
    pub expires: Timestamp,
    /// Where the journal is durable.
    #[n(12)]
    pub store: StoreKind,
}

/// The owner's bounds on who may run the agent and at which price. An order may change them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Policy {
    /// Nodes that may be custodian beside the first. Empty: any.
    #[n(0)]
    pub custodians: Vec<NodeId>,
    /// The highest terms that a custodian may ask. None: no bound.
    #[n(1)]
    pub terms_max: Option<Terms>,
    /// Who goes on when its node does not. Only on a shared store, which decides who was first.
    #[n(2)]
    pub standby: Standby,
}

/// Nodes that may go on with an agent by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Standby {
    /// The nodes, the first in line first. Empty: nobody does.
    #[n(0)]
    pub nodes: Vec<NodeId>,
    /// All of them are first in line.
    #[n(1)]
    pub any_order: bool,
    /// How long its node must have been silent before the first in line goes on. None: 700 ms.
    #[n(2)]
    pub silent_for: Option<Nanos>,
}

impl Policy {
    /// Whether a node may be custodian of an agent that `first` began.
    pub fn names(&self, node: NodeId, first: NodeId) -> bool {
        self.custodians.is_empty() || node == first || self.custodians.contains(&node)
    }

    /// Whether a custodian may ask these terms.
    pub fn allows(&self, terms: &Terms) -> bool {
        self.terms_max
            .is_none_or(|max| terms.price_per_ns <= max.price_per_ns && terms.price_per_fuel <= max.price_per_fuel)
    }
}

impl GenesisBody {
    /// The id of the agent that this body begins.
    pub fn agent_id(&self) -> AgentId {
        AgentId(Hash::in_domain(Domain::GENESIS, &[&codec::encode(self)]))
    }

    /// Genesis, signed by the owner and by the first custodian.
    pub fn sign(self, owner: &KeyPair, host: &KeyPair) -> Genesis {
        self.deploy(owner).countersign(host)
    }
}

impl Genesis {
    /// Whether both signatures are those of the owner and the custodian that the body names.
    pub fn is_signed(&self) -> bool {
        let bytes = codec::encode(&self.body);
        self.body.owner.verifies(Domain::GENESIS_OWNER, &[&bytes], &self.owner_signature)
            && self.body.custodian.verifies(Domain::GENESIS_HOST, &[&bytes], &self.host_signature)
    }
}
