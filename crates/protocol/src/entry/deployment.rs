//! What an owner sends to the node that shall carry a new agent: Genesis, still without that node's signature.

use super::{Genesis, GenesisBody};
use crate::{KeyPair, Signature, codec, hash::Domain};
use minicbor::{Decode, Encode};

/// Longest encoded deployment, in bytes.
pub const DEPLOYMENT_BYTES_MAX: usize = 16 << 10;

/// The content of a Genesis with its owner's signature. It is in no journal: countersigned, it is a [`Genesis`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Deployment {
    /// What the owner wants.
    #[n(0)]
    pub body: GenesisBody,
    /// The owner's signature over the body.
    #[n(1)]
    pub owner_signature: Signature,
}

impl Deployment {
    /// Whether the owner that the body names signed it.
    pub fn is_signed(&self) -> bool {
        self.body.owner.verifies(Domain::GENESIS_OWNER, &[&codec::encode(&self.body)], &self.owner_signature)
    }

    /// Genesis: the first custodian, whose key this is, accepts what the body says.
    pub fn countersign(self, host: &KeyPair) -> Genesis {
        let Self { body, owner_signature } = self;
        let host_signature = host.sign(Domain::GENESIS_HOST, &[&codec::encode(&body)]);
        Genesis { body, owner_signature, host_signature }
    }

    /// Decodes a deployment that came from outside. Whether it is signed is to be checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        codec::decode("deployment", bytes, DEPLOYMENT_BYTES_MAX)
    }

    /// Its deterministic bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

impl GenesisBody {
    /// The body with its owner's signature, ready to be sent to the custodian that it names.
    pub fn deploy(self, owner: &KeyPair) -> Deployment {
        let owner_signature = owner.sign(Domain::GENESIS_OWNER, &[&codec::encode(&self)]);
        Deployment { body: self, owner_signature }
    }
}
