//! What the keystore has of an agent's custody, as it is kept.
//!
//! Invariant kept here: a value that does not decode is an error, never an absent one.

use super::Memory;
use crate::{AgentId, OwnerId, codec};
use minicbor::{Decode, Encode};

const VERSION: u8 = 1;
const BYTES_MAX: usize = 32 << 10;

/// What outlives an agent's journal here.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Note {
    #[n(0)]
    version: u8,
    /// Whose agent it is: its order makes a takeover right.
    #[n(1)]
    pub owner: OwnerId,
    /// What this node signed and heard.
    #[n(2)]
    pub memory: Memory,
}

impl Note {
    /// What the names of all notes begin with.
    pub const PREFIX: &'static str = "custody-";

    /// A note of an agent of this owner.
    pub const fn new(owner: OwnerId, memory: Memory) -> Self {
        Self { version: VERSION, owner, memory }
    }

    /// The name of the value.
    pub fn name(agent: AgentId) -> String {
        format!("{}{}", Self::PREFIX, &agent.0.to_string()[..32])
    }

    /// Its deterministic bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes what the keystore has.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        let note: Self = codec::decode("custody note", bytes, BYTES_MAX)?;
        if note.version == VERSION {
            return Ok(note);
        }
        Err(codec::Error::Unsupported { what: "custody note version", number: u64::from(note.version) })
    }
}
