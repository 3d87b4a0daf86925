//! Slots that were put together, so that the objects they came from can be deleted.
//!
//! Invariants kept here:
//! - A pack is nothing but the bytes of slots, each with its writer's signature: what counts of it is judged as if they
//!   were read one by one. So what is left out of it is found missing, for each slot has the hash of the one before it, and
//!   only who wrote a run can make slots that count in it.
//! - The bundles of a run are numbered without a gap, and each is made after its pack and before the first of its slots is
//!   deleted. So a reader who finds no bundle of the next number knows that nothing was deleted from there on: no listing
//!   has to be believed.
//!
//! The bytes of a bundle: `[version, agent, run, index, next, pack, bytes]`; of a pack: `[version, [slot...]]`;
//! deterministic CBOR both. The bundle is small, for whoever only asks whether there is more.

use crate::{AgentId, Hash, codec, units::Slot};
use minicbor::{Decode, Encode};

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
    /// The bundle of a pack.
    pub fn new(agent: AgentId, run: Slot, index: u32, next: Slot, pack: &[u8]) -> Self {
        Self { version: VERSION, agent, run, index, next, pack: Hash::of_blob(pack), bytes: pack.len() as u64 }
    }

    /// Its deterministic bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes what was found under its key, if it belongs there. Nothing is believed of it before its slots are judged.
    pub fn decode(bytes: &[u8], agent: AgentId, run: Slot, index: u32) -> Option<Self> {
        let bundle: Self = codec::decode("bundle of slots", bytes, BUNDLE_BYTES_MAX).ok()?;
        let Self { version, bytes, .. } = bundle;
        let belongs = (version, bundle.agent, bundle.run, bundle.index) == (VERSION, agent, run, index);
        (belongs && bytes <= PACK_BYTES_MAX as u64).then_some(bundle)
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
        let pack: Self = codec::decode("pack of slots", bytes, PACK_BYTES_MAX)?;
        let (count, max) = (pack.slots.len() as u64, PACK_SLOTS_MAX as u64);
        match u64::from(pack.version) {
            number if number != u64::from(VERSION) => Err(codec::Error::Unsupported { what: "pack version", number }),
            _ if count > max => Err(codec::Error::TooLarge { what: "pack of slots", bytes: count, max }),
            _ => Ok(pack),
        }
    }
}
