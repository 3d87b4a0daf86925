//! What one node tells another of an agent's custody.

use crate::{AgentId, codec, entry::Custody};
use minicbor::{Decode, Encode};

/// Largest encoded tidings, in bytes.
pub const TIDINGS_BYTES_MAX: usize = 60 << 10;
/// Most records in them.
const RECORDS_MAX: usize = 32;

/// Records of custody of one agent. Each stands alone, and nothing of it is believed before [`Custody::check`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Tidings {
    /// Whose custody.
    #[n(0)]
    pub agent: AgentId,
    /// The records.
    #[n(1)]
    pub records: Vec<Custody>,
}

impl Tidings {
    /// Their deterministic bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes what another node sent.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        let tidings: Self = codec::decode("custody tidings", bytes, TIDINGS_BYTES_MAX)?;
        let (count, max) = (tidings.records.len() as u64, RECORDS_MAX as u64);
        if count > max {
            return Err(codec::Error::TooLarge { what: "list of custody records", bytes: count, max });
        }
        Ok(tidings)
    }
}
