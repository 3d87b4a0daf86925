//! A journal on object storage: numbered slots, each written once by whoever comes first.
//!
//! Invariants kept here:
//! - A slot's bytes are one writer's word: agent, number, hash of the slot before, the process that wrote it, a commit,
//!   all under its signature. Two processes never make the same bytes, for each draws a [`Nonce`] of its own; so whoever
//!   reads its own bytes back knows that it was first.
//! - Which slots count depends on nothing but the slots before them ([`End::judge`]): all readers agree, for ever. What
//!   does not count is void, whoever put it there, and is passed over by everybody.
//! - Of one epoch all slots are by one process, but for the handoff that opens one: a change of custody is the first entry
//!   of a slot, and what an earlier process still writes does not link to it.
//! - What writers, readers and collectors decide is decided here, without I/O, so that the model explores what nodes do.
//!
//! A slot's bytes: `[version, agent, number, prev, nonce, writer, commit, signature]`, deterministic CBOR.

mod bundle;
mod harvest;
mod judge;
mod place;
mod reader;
mod rule;
mod writer;

pub use bundle::{BUNDLE_BYTES_MAX, Bundle, PACK_BYTES_MAX, PACK_SLOTS_MAX, Pack};
pub use harvest::Harvest;
pub use judge::{Claim, Counts, End, Void};
pub use place::Place;
pub use reader::{Ask, Judged, Next, Reader};
pub use rule::{Rule, Rules};
pub use writer::{Found, Landed, Position, Refused, Sealed, Ticket, Turn, Writer};

use crate::{
    AgentId, Commit, Hash, KeyPair, NodeId, Signature, codec, hash::Domain, limits::COMMIT_BYTES_MAX, units::Slot,
};
use minicbor::{Decode, Decoder, Encode, Encoder};

/// The format of a slot.
const VERSION: u8 = 1;
/// Longest slot, in bytes.
pub const SLOT_BYTES_MAX: usize = COMMIT_BYTES_MAX + (64 << 10);

/// Which process wrote a slot: drawn at random when it begins to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Nonce(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

/// What one slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Whose journal.
    pub agent: AgentId,
    /// Its number, which its key says too.
    pub number: Slot,
    /// The hash of the slot before it that counts; zero for the first.
    pub prev: Hash,
    /// Which process wrote it.
    pub nonce: Nonce,
    /// Which node wrote it, and signs.
    pub writer: NodeId,
    /// What it adds to the journal.
    pub commit: Commit,
    /// The writer's signature over all before it.
    pub signature: Signature,
}

impl Object {
    /// A slot of this node's own.
    pub fn sign(at: Position, nonce: Nonce, commit: Commit, node: &KeyPair) -> Self {
        let (agent, writer, unsigned) = (commit.agent(), node.public(), Signature([0; 64]));
        let mut object = Self { agent, number: at.number, prev: at.prev, nonce, writer, commit, signature: unsigned };
        object.signature = node.sign(Domain::SLOT, &[&object.content()]);
        object
    }

    /// Whether its writer signed it.
    pub fn is_signed(&self) -> bool {
        self.writer.verifies(Domain::SLOT, &[&self.content()], &self.signature)
    }

    /// Its deterministic bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.content();
        let mut e = Encoder::new(&mut bytes);
        let written = e.encode(self.signature).map(drop);
        debug_assert!(written.is_ok(), "encoding into memory does not fail");
        bytes
    }

    /// The hash that the next slot links to, of these bytes.
    pub fn hash(bytes: &[u8]) -> Hash {
        Hash::in_domain(Domain::SLOT, &[bytes])
    }

    /// All but the signature.
    fn content(&self) -> Vec<u8> {
        let commit = self.commit.encode();
        let mut bytes = Vec::with_capacity(commit.len() + 256);
        let written = (|| {
            let mut e = Encoder::new(&mut bytes);
            e.array(8)?.u8(VERSION)?.encode(self.agent)?.encode(self.number)?.encode(self.prev)?;
            e.encode(self.nonce)?.encode(self.writer)?.bytes(&commit)?;
            Ok::<_, minicbor::encode::Error<std::convert::Infallible>>(())
        })();
        debug_assert!(written.is_ok(), "encoding into memory does not fail");
        bytes
    }

    /// Decodes what stands in a slot. Its commit is checked to link within itself; whether the slot counts is for
    /// [`End::judge`] to say.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        if bytes.len() > SLOT_BYTES_MAX {
            let (bytes, max) = (bytes.len() as u64, SLOT_BYTES_MAX as u64);
            return Err(codec::Error::TooLarge { what: "slot", bytes, max });
        }
        let malformed = |why: String| codec::Error::Malformed { what: "slot", why };
        let mut d = Decoder::new(bytes);
        let fields = d.array().map_err(|e| malformed(e.to_string()))?;
        match d.u64().map_err(|e| malformed(e.to_string()))? {
            number if number == u64::from(VERSION) => {}
            number => return Err(codec::Error::Unsupported { what: "slot version", number }),
        }
        let read = (|| {
            if fields != Some(8) {
                return Err(minicbor::decode::Error::message("it has eight fields"));
            }
            let (agent, number, prev) = (d.decode()?, d.decode()?, d.decode()?);
            let (nonce, writer) = (d.decode()?, d.decode()?);
            let commit = Commit::decode(d.bytes()?).map_err(|e| minicbor::decode::Error::message(e.to_string()))?;
            Ok(Self { agent, number, prev, nonce, writer, commit, signature: d.decode()? })
        })();
        let object = read.map_err(|e| malformed(e.to_string()))?;
        // Catches trailing bytes, and lengths in more bytes than needed.
        if object.encode() == bytes { Ok(object) } else { Err(codec::Error::NotCanonical { what: "slot" }) }
    }
}
