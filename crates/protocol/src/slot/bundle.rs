//! Slots that were put together, so that the objects they came from can be deleted.
//!
//! Invariants kept here:
//! - A pack is nothing but the bytes of slots, each with its writer's signature: what counts of it is judged as if they
//!   were read one by one. So what is left out of it is found missing, for each slot has the hash of the one before it, and
//!   only who wrote a run can make slots that count in it.
//! - A bundle is the word of who wrote its run: what anybody else puts there counts for nothing, and hides nothing.
//! - The bundles of a run are numbered without a gap, and each is made after its pack and before the first of its slots is
//!   deleted. So a reader who finds no bundle of the next number knows that nothing was deleted from there on: no listing
//!   has to be believed.
//!
//! The bytes of a bundle: `[version, agent, run, index, next, pack, bytes, signature]`; of a pack: `[version, [slot...]]`;
//! deterministic CBOR both. The bundle is small, for whoever only asks whether there is more. Its signature is over the
//! array of all fields before it.

use crate::{AgentId, Hash, KeyPair, NodeId, Signature, codec, hash::Domain, units::Slot};
use minicbor::{Decode, Decoder, Encode};

const VERSION: u8 = 1;
/// Longest bundle, in bytes.
pub const BUNDLE_BYTES_MAX: usize = 512;
/// Longest pack, in bytes: whoever makes one stops before.
pub const PACK_BYTES_MAX: usize = 16 << 20;
/// Most slots of one pack.
pub const PACK_SLOTS_MAX: usize = 4096;

/// Where slots of one run are, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Bundle {
    #[n(0)]
    version: u8,
    /// Whose journal.
    #[n(1)]
    pub agent: AgentId,
    /// The slot by which the run began.
    #[n(2)]
    pub run: Slot,
    /// Its number among the bundles of the run; the first is 0.
    #[n(3)]
    pub index: u32,
    /// The number after its last slot.
    #[n(4)]
    pub next: Slot,
    /// The hash of its pack.
    #[n(5)]
    pub pack: Hash,
    /// The length of its pack in bytes.
    #[n(6)]
    pub bytes: u64,
    /// Of the node that wrote the run.
    #[n(7)]
    signature: Signature,
}

/// The slots of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Pack {
    #[n(0)]
    version: u8,
    #[n(1)]
    slots: Vec<minicbor::bytes::ByteVec>,
}

impl Bundle {
    /// The bundle of a pack, by the node that wrote its run.
    pub fn sign(agent: AgentId, (run, index): (Slot, u32), next: Slot, pack: &[u8], node: &KeyPair) -> Self {
        let (bytes, pack, signature) = (pack.len() as u64, Hash::of_blob(pack), Signature([0; 64]));
        let mut bundle = Self { version: VERSION, agent, run, index, next, pack, bytes, signature };
        bundle.signature = node.sign(Domain::BUNDLE, &[&bundle.content()]);
        bundle
    }

    /// All but the signature.
    fn content(&self) -> Vec<u8> {
        let Self { version, agent, run, index, next, pack, bytes, .. } = self;
        codec::encode(&(version, agent, run, index, next, pack, bytes))
    }

    /// Its deterministic bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes what was found under its key, if it belongs there and is by the node that `wrote` the run. Its slots are judged
    /// all the same.
    pub fn decode(bytes: &[u8], agent: AgentId, (run, index): (Slot, u32), wrote: NodeId) -> Option<Self> {
        let bundle: Self = codec::decode("bundle of slots", bytes, BUNDLE_BYTES_MAX).ok()?;
        let Self { version, bytes, .. } = bundle;
        let belongs = (version, bundle.agent, bundle.run, bundle.index) == (VERSION, agent, run, index);
        let counts = belongs && bytes <= PACK_BYTES_MAX as u64;
        (counts && wrote.verifies(Domain::BUNDLE, &[&bundle.content()], &bundle.signature)).then_some(bundle)
    }
}

impl Pack {
    /// A pack of these slots.
    pub fn new(slots: Vec<Vec<u8>>) -> Self {
        Self { version: VERSION, slots: slots.into_iter().map(Into::into).collect() }
    }

    /// The bytes of its slots, in order.
    pub fn slots(&self) -> impl Iterator<Item = &[u8]> {
        self.slots.iter().map(|slot| &***slot)
    }

    /// Its deterministic bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes the pack of a bundle.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        const WHAT: &str = "pack of slots";
        // How many there are is known before any is held.
        let mut d = Decoder::new(bytes);
        let head = (|| Ok::<_, minicbor::decode::Error>((d.array()?, d.u64()?, d.array()?)))();
        let (_, number, count) = head.map_err(|e| codec::Error::Malformed { what: WHAT, why: e.to_string() })?;
        if number != u64::from(VERSION) {
            return Err(codec::Error::Unsupported { what: "pack version", number });
        }
        // Without a length it would not be canonical.
        let (count, max) = (count.unwrap_or(u64::MAX), PACK_SLOTS_MAX as u64);
        if count > max {
            return Err(codec::Error::TooLarge { what: WHAT, bytes: count, max });
        }
        codec::decode(WHAT, bytes, PACK_BYTES_MAX)
    }
}
