//! Slots that were put together, so that the objects they came from can be deleted.
//!
//! Invariants kept here:
//! - A bundle is nothing but the bytes of slots, each with its writer's signature: what counts of it is judged as if they
//!   were read one by one. So it does not matter who made it.
//! - Bundles of one run are numbered without a gap, and made before the first of their slots is deleted. So a reader who
//!   finds no bundle of the next number knows that nothing was deleted from there on: no listing has to be believed.
//!
//! Its bytes: `[version, agent, run, index, next, [slot...]]`, deterministic CBOR; `next` is the number after the last
//! slot of which it stands in place, void ones included.

use crate::{AgentId, codec, units::Slot};
use minicbor::{Decode, Encode};

/// The format of a bundle.
const VERSION: u8 = 1;
/// Longest bundle, in bytes: whoever makes one stops before.
pub const BUNDLE_BYTES_MAX: usize = 16 << 20;
/// Most slots of one bundle.
pub const BUNDLE_SLOTS_MAX: usize = 4096;

/// Slots of one run, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
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
    /// The number after the last slot that it stands for.
    #[n(4)]
    pub next: Slot,
    /// The slots that count, as they were.
    #[n(5)]
    pub slots: Vec<minicbor::bytes::ByteVec>,
}

impl Bundle {
    /// A bundle of these slots.
    pub fn new(agent: AgentId, run: Slot, index: u32, next: Slot, slots: Vec<Vec<u8>>) -> Self {
        Self { version: VERSION, agent, run, index, next, slots: slots.into_iter().map(Into::into).collect() }
    }

    /// Its deterministic bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes what was found under its key. Nothing is believed of it before its slots are judged.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        let bundle: Self = codec::decode("bundle of slots", bytes, BUNDLE_BYTES_MAX)?;
        if bundle.version != VERSION {
            let number = u64::from(bundle.version);
            return Err(codec::Error::Unsupported { what: "bundle version", number });
        }
        let (count, max) = (bundle.slots.len() as u64, BUNDLE_SLOTS_MAX as u64);
        if count > max {
            return Err(codec::Error::TooLarge { what: "bundle of slots", bytes: count, max });
        }
        Ok(bundle)
    }
}
