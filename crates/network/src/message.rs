//! Requests and responses: the content of the frames of `/igor/ask/1`.
//!
//! Invariants kept here:
//! - One message, one byte string ([`igor_protocol::codec`]), at most [`MESSAGE_BYTES_MAX`].
//! - Numbers of cases are for ever: a new one is added at the end, and a peer that does not know it answers
//!   [`Why::Unknown`]. A change that older peers must not misread is a new protocol id.

use igor_protocol::{AgentId, Epoch, Nanos, Seq, Terms, codec};
use minicbor::{Decode, Encode};
use std::fmt;

/// Largest encoded request or response, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Largest record or message that the node puts into one, in bytes.
pub const BODY_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 64;
/// Agents that one request may ask about.
pub const AGENTS_MAX: usize = 64;
/// Agents that one pulse may be about.
pub const BEATS_MAX: usize = 512;
/// Longest version text, in bytes.
pub const VERSION_BYTES_MAX: usize = 64;

/// What a node asks another.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// What the node charges and has room for.
    #[n(0)]
    Status,
    /// The signed custody records of agents: where they live, as far as the node knows.
    #[n(1)]
    Custody {
        /// Which agents; at most [`AGENTS_MAX`].
        #[n(0)]
        agents: Vec<AgentId>,
    },
    /// A message of the custody protocol, which this crate does not read.
    #[n(2)]
    Tell {
        /// At most [`BODY_BYTES_MAX`].
        #[cbor(n(0), with = "minicbor::bytes")]
        body: Vec<u8>,
    },
    /// The agents that the node runs and that the other is to go on with when it does not, again and again while all is well.
    /// What is said is a hint: where they are is for the store that they share to say.
    #[n(3)]
    Pulse {
        /// At most [`BEATS_MAX`].
        #[n(0)]
        beats: Vec<Beat>,
    },
}

/// One agent that is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Beat {
    /// Which.
    #[n(0)]
    pub agent: AgentId,
    /// The epoch that the node has it under.
    #[n(1)]
    pub epoch: Epoch,
    /// The position after the last entry of its journal.
    #[n(2)]
    pub next: Seq,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Response {
    /// To any request: no.
    #[n(0)]
    Refused {
        /// The reason.
        #[n(0)]
        why: Why,
    },
    /// To [`Request::Status`].
    #[n(1)]
    Status {
        /// What the node says of itself.
        #[n(0)]
        status: Status,
    },
    /// To [`Request::Custody`].
    #[n(2)]
    Custody {
        /// So many of the agents, the first ones, are answered for. The others did not fit: ask again for them.
        #[n(0)]
        answered: u32,
        /// What the node knows of those of whom it knows something, each of which this crate does not read; together at
        /// most [`BODY_BYTES_MAX`], counting [`RECORD_BYTES_MORE`] for each.
        #[n(1)]
        records: Vec<Record>,
    },
    /// To [`Request::Tell`].
    #[n(3)]
    Told {
        /// At most [`BODY_BYTES_MAX`].
        #[cbor(n(0), with = "minicbor::bytes")]
        body: Vec<u8>,
    },
    /// To [`Request::Pulse`]: the agents among those that it follows.
    #[n(4)]
    Following {
        /// At most [`BEATS_MAX`].
        #[n(0)]
        follows: Vec<Follow>,
    },
}

/// How far a node that stands by is with one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Follow {
    /// Which.
    #[n(0)]
    pub agent: AgentId,
    /// The position after the last entry that it has.
    #[n(1)]
    pub next: Seq,
    /// How long the other must be silent before it goes on, in nanoseconds; none where it would not.
    #[n(2)]
    pub after: Option<Nanos>,
}

/// What a node knows of one agent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Record(#[cbor(n(0), with = "minicbor::bytes")] pub Vec<u8>);

/// What a record takes in a message beside its bytes.
pub const RECORD_BYTES_MORE: usize = 8;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Why {
    /// A limit of the node, for this peer or for all. Later it may be another answer.
    #[n(0)]
    Busy,
    /// It could not be read.
    #[n(1)]
    Malformed,
    /// The node does not answer this to this peer.
    #[n(2)]
    NotAllowed,
    /// The node tried and failed.
    #[n(3)]
    Failed,
    /// A request that this version does not know.
    #[n(4)]
    Unknown,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "it is busy; ask again later",
            Self::Malformed => "it could not read the request",
            Self::NotAllowed => "it does not answer this to this node",
            Self::Failed => "it tried and failed",
            Self::Unknown => "it does not know this request; it may need an update",
        })
    }
}

/// What a node says of itself. Nothing of it is signed: it is a hint where to ask for an offer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Status {
    /// Its price.
    #[n(0)]
    pub prices: Terms,
    /// How many more agents it would take.
    #[n(1)]
    pub agents_free: u32,
    /// Memory that it has left for agents.
    #[n(2)]
    pub memory_free_bytes: u64,
    /// Room that it has left for journals, checkpoints and programs.
    #[n(3)]
    pub stored_free_bytes: u64,
    /// Whether it takes no more agents and gives away those that it has.
    #[n(4)]
    pub draining: bool,
    /// Its version; at most [`VERSION_BYTES_MAX`].
    #[n(5)]
    pub version: String,
}

/// A message whose fields are longer than this protocol allows, as the codec says it.
fn bounded(what: &'static str, bytes: usize, max: usize) -> Result<(), codec::Error> {
    if bytes > max { Err(codec::Error::TooLarge { what, bytes: bytes as u64, max: max as u64 }) } else { Ok(()) }
}

impl Request {
    /// Its bytes, if they may be sent.
    pub fn encode(&self) -> Result<Vec<u8>, codec::Error> {
        self.check()?;
        Ok(codec::encode(self))
    }

    /// Reads what [`encode`](Self::encode) wrote; refuses everything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        let request: Self = codec::decode("request", bytes, MESSAGE_BYTES_MAX)?;
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), codec::Error> {
        match self {
            Self::Status => Ok(()),
            Self::Custody { agents } => bounded("list of agents", agents.len(), AGENTS_MAX),
            Self::Tell { body } => bounded("message", body.len(), BODY_BYTES_MAX),
            Self::Pulse { beats } => bounded("list of beats", beats.len(), BEATS_MAX),
        }
    }
}

impl Response {
    /// Its bytes, if they may be sent.
    pub fn encode(&self) -> Result<Vec<u8>, codec::Error> {
        self.check()?;
        Ok(codec::encode(self))
    }

    /// Reads what [`encode`](Self::encode) wrote; refuses everything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        let response: Self = codec::decode("response", bytes, MESSAGE_BYTES_MAX)?;
        response.check()?;
        Ok(response)
    }

    fn check(&self) -> Result<(), codec::Error> {
        match self {
            Self::Refused { .. } => Ok(()),
            Self::Status { status } => bounded("version", status.version.len(), VERSION_BYTES_MAX),
            Self::Custody { records, .. } => {
                let bytes = records.iter().map(|record| record.0.len() + RECORD_BYTES_MORE).sum();
                bounded("records", bytes, BODY_BYTES_MAX)
            }
            Self::Told { body } => bounded("message", body.len(), BODY_BYTES_MAX),
            Self::Following { follows } => bounded("list of agents", follows.len(), BEATS_MAX),
        }
    }
}

/// Whether bytes are a request of a kind that only a newer version knows.
pub(crate) fn is_newer(bytes: &[u8]) -> bool {
    let mut decoder = minicbor::Decoder::new(bytes);
    let newer = |decoder: &mut minicbor::Decoder<'_>| -> Result<bool, minicbor::decode::Error> {
        let whole = decoder.array()? == Some(2);
        Ok(whole && decoder.u32()? > 3 && decoder.array()?.is_some())
    };
    newer(&mut decoder).unwrap_or(false)
}

#[cfg(test)]
mod tests;
