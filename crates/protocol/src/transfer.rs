//! What two nodes say to each other while an agent moves: the frames of one stream, from its offer to its end.
//!
//! A frame is a kind (1 byte) and a payload; whoever carries it bounds its length by [`FRAME_BYTES_MAX`] before it
//! allocates. Commits and parts of blobs are those of a portable file, with the same kinds.
//!
//! ```text
//!   source                                  target
//!     offer ────────────────────────────────► admits it, says its Terms and what it has
//!     ◄──────────────────────────── welcome     or: refused
//!     [differs ─────────────────────────────► puts its own copy aside, which another history contradicts
//!      ◄─────────────────────────── welcome]    or: refused
//!     parts, same, commits, reached ────────► verifies, keeps, compiles, restores, follows
//!     ◄─────────────────────────────── have     again, until the rest is small
//!     (stands still) commits, reached ──────► follows to the end
//!     (hands over) commit, last ────────────► decides once and for all
//!     ◄──────────────── accepted or declined
//! ```
//!
//! Invariants kept here:
//! - Nothing that a frame says is believed: a commit is one that holds together, and no more.
//! - Every frame has one byte string.

use crate::{
    AgentId, Commit, Hash, Manifest, NodeId, Seq, Terms,
    archive::Part,
    codec, commit,
    entry::{Custody, Genesis},
    limits::{BLOB_BYTES_MAX, CAUSE_BYTES_MAX, COMMIT_BYTES_MAX},
    units::{Epoch, Nanos, Tick},
};
use minicbor::{Decode, Encode};

/// Largest frame, its kind included, in bytes.
pub const FRAME_BYTES_MAX: usize = COMMIT_BYTES_MAX + 1;

/// Most records of an offer: what began the term, and the last change, with room for what follows.
const OFFER_RECORDS_MAX: usize = 4;

const KIND_PART: u8 = 1;
const KIND_COMMIT: u8 = 2;
const KIND_OFFER: u8 = 16;
const KIND_WELCOME: u8 = 17;
const KIND_REFUSED: u8 = 18;
const KIND_REACHED: u8 = 19;
const KIND_HAVE: u8 = 20;
const KIND_LAST: u8 = 21;
const KIND_ANSWERED: u8 = 22;
const KIND_ACCEPTED: u8 = 23;
const KIND_DECLINED: u8 = 24;
const KIND_SAME: u8 = 25;
const KIND_DIFFERS: u8 = 26;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The source wants to hand an agent over.
    Offer(Box<Offer>),
    /// The target would take it.
    Welcome(Welcome),
    /// The target does not take it; nothing was agreed.
    Refused(Refusal),
    /// The journal of the source is another one than the target's where that ends.
    Differs,
    /// A part of a blob.
    Part(Part),
    /// A part of a state that is as in an earlier one, which the target has.
    Same(Same),
    /// The next commit of the journal.
    Commit(Commit),
    /// All commits up to here were sent, with the blobs that they name: the target says when it has them.
    Reached(Seq),
    /// The target has verified all commits up to here, has its instance there, and is ready for the rest.
    Have(Seq),
    /// The commit before was the last one, with the handoff: the target decides. And how the agent lived.
    Last(Manner),
    /// The target has answered this handoff before: its answer follows.
    Answered,
    /// The commit that the target decided with: its Accept.
    Accepted(Commit),
    /// The record that the target decided with.
    Declined(Box<Custody>),
}

/// What the source says of an agent. All of it is checked again from the journal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Offer {
    /// How it began: owner, policy, program, issuer.
    #[n(0)]
    pub genesis: Genesis,
    /// What it may do and use.
    #[n(1)]
    pub manifest: Manifest,
    /// The epoch of its custody now.
    #[n(2)]
    pub epoch: Epoch,
    /// The position after its last entry.
    #[n(3)]
    pub next: Seq,
    /// The length of its state in bytes.
    #[n(4)]
    pub state_bytes: u64,
    /// Its custody and what proves it: the takeover that began the term, and the last change.
    #[n(5)]
    pub records: Vec<Custody>,
    /// The handoff to the target is committed already: the source asks for the decision, and sends what is missing.
    #[n(6)]
    pub given: bool,
    /// The runtime that it lives on now; none before its init.
    #[n(7)]
    pub runtime: Option<String>,
}

/// How the operator of the source had the agent live, where that was not as its manifest says. It lives so at the target
/// until the operator there says something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Manner {
    /// It does not tick.
    #[n(0)]
    pub paused: bool,
    /// Time between two interval ticks.
    #[n(1)]
    pub interval: Option<Nanos>,
    /// Time between two checkpoints.
    #[n(2)]
    pub checkpoint_interval: Option<Nanos>,
    /// It does not run at all.
    #[n(3)]
    pub stopped: bool,
    /// Failures up to this tick are forgiven: it may try once more although it is suspended.
    #[n(4)]
    pub forgiven: Option<Tick>,
}

/// What the target asks, and what need not be sent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Welcome {
    /// Its price, to which the handoff binds it.
    #[n(0)]
    pub terms: Terms,
    /// It has all commits before this position...
    #[n(1)]
    pub next: Seq,
    /// ...the last of which led to this head.
    #[n(2)]
    pub head: Hash,
    /// It has the program.
    #[n(3)]
    pub has_program: bool,
    /// A state of the agent that it has: others may be sent as what differs.
    #[n(4)]
    pub state: Option<Hash>,
    /// The state of the last checkpoint in what it has, if it does not have that state.
    #[n(5)]
    pub wants: Option<Hash>,
    /// The beginning of a blob, left from a transfer that was cut.
    #[n(6)]
    pub begun: Option<Begun>,
    /// What it runs programs with. Runs of another runtime cannot be followed: the source then freezes with a
    /// checkpoint.
    #[n(7)]
    pub runtime: String,
}

/// The beginning of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Begun {
    /// Which blob.
    #[n(0)]
    pub hash: Hash,
    /// How many bytes of it are there.
    #[n(1)]
    pub bytes: u64,
}

/// A part of a state that equals the bytes at the same place of an earlier state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Same {
    /// The hash of the whole state.
    #[n(0)]
    pub hash: Hash,
    /// Its length.
    #[n(1)]
    pub total: u64,
    /// Where this part begins, in both.
    #[n(2)]
    pub offset: u64,
    /// Its length.
    #[n(3)]
    pub bytes: u64,
    /// The hash of the earlier state.
    #[n(4)]
    pub base: Hash,
}

impl Same {
    /// Whether it lies inside a state that may be.
    pub fn is_within_blob(&self) -> bool {
        let end = self.offset.checked_add(self.bytes);
        self.bytes > 0 && self.total <= BLOB_BYTES_MAX && end.is_some_and(|end| end <= self.total)
    }
}

/// Why the target does not take an agent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{why} ({})", reason.name())]
pub struct Refusal {
    /// The kind of reason.
    #[n(0)]
    pub reason: Reason,
    /// In words, for the operator of the source: at most [`CAUSE_BYTES_MAX`] bytes.
    #[n(1)]
    pub why: String,
}

/// The kinds of reasons for which a node does not take an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Reason {
    /// The operator does not take agents from this node or of this owner.
    #[n(0)]
    Policy,
    /// Its price is above what the owner allows.
    #[n(1)]
    Price,
    /// The operator does not grant what the manifest asks for.
    #[n(2)]
    Capability,
    /// No room: agents, memory, stored bytes.
    #[n(3)]
    Capacity,
    /// It is about to stop.
    #[n(4)]
    Draining,
    /// The program cannot be compiled or run here.
    #[n(5)]
    Program,
    /// The history does not verify, or is another one than the target knows.
    #[n(6)]
    History,
    /// The target knows of a newer epoch.
    #[n(7)]
    Epoch,
    /// The same agent is being taken over another stream.
    #[n(8)]
    Busy,
    /// Its disk failed or is full.
    #[n(9)]
    Store,
}

impl Reason {
    /// The name used in logs, metrics and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Price => "price",
            Self::Capability => "capability",
            Self::Capacity => "capacity",
            Self::Draining => "draining",
            Self::Program => "program",
            Self::History => "history",
            Self::Epoch => "epoch",
            Self::Busy => "busy",
            Self::Store => "store",
        }
    }
}

impl Refusal {
    /// A refusal; the words are cut to what a frame may carry.
    pub fn new(reason: Reason, why: impl std::fmt::Display) -> Self {
        let mut why = why.to_string();
        why.truncate(why.floor_char_boundary(CAUSE_BYTES_MAX));
        Self { reason, why }
    }
}

impl Offer {
    /// Whose move it is.
    pub fn agent(&self) -> AgentId {
        self.genesis.body.agent_id()
    }

    /// The node that ran it first.
    pub const fn first_custodian(&self) -> NodeId {
        self.genesis.body.custodian
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No bytes at all.
    #[error("a frame has a kind and a payload; this one is empty")]
    Empty,
    /// A kind that this program does not know.
    #[error("a frame of kind {0} is not known to this version of igor")]
    Kind(u8),
    /// A payload that does not decode.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// A commit that does not hold together.
    #[error(transparent)]
    Commit(#[from] commit::Error),
    /// A value out of its bounds.
    #[error("{0}")]
    Bounds(&'static str),
}

impl Frame {
    /// The name of the kind, used in errors and documents.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Offer(_) => "an offer",
            Self::Welcome(_) => "a welcome",
            Self::Refused(_) => "a refusal",
            Self::Differs => "that its history is another",
            Self::Part(_) => "a part of a blob",
            Self::Same(_) => "a part that has not changed",
            Self::Commit(_) => "a commit",
            Self::Reached(_) => "a position that was reached",
            Self::Have(_) => "that it has what was sent",
            Self::Last(_) => "the end of what is sent",
            Self::Answered => "that it answered before",
            Self::Accepted(_) => "an accept",
            Self::Declined(_) => "a decline",
        }
    }

    /// The bytes of a frame.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, payload) = match self {
            Self::Part(part) => (KIND_PART, codec::encode(part)),
            Self::Commit(commit) => (KIND_COMMIT, commit.encode()),
            Self::Offer(offer) => (KIND_OFFER, codec::encode(&**offer)),
            Self::Welcome(welcome) => (KIND_WELCOME, codec::encode(welcome)),
            Self::Refused(refusal) => (KIND_REFUSED, codec::encode(refusal)),
            Self::Reached(next) => (KIND_REACHED, codec::encode(next)),
            Self::Have(next) => (KIND_HAVE, codec::encode(next)),
            Self::Same(same) => (KIND_SAME, codec::encode(same)),
            Self::Differs => (KIND_DIFFERS, Vec::new()),
            Self::Last(manner) => (KIND_LAST, codec::encode(manner)),
            Self::Answered => (KIND_ANSWERED, Vec::new()),
            Self::Accepted(commit) => (KIND_ACCEPTED, commit.encode()),
            Self::Declined(record) => (KIND_DECLINED, Custody::encode(record)),
        };
        let mut bytes = Vec::with_capacity(1 + payload.len());
        bytes.push(kind);
        bytes.extend_from_slice(&payload);
        bytes
    }

    /// Decodes all of `bytes` as one frame.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (kind, payload) = bytes.split_first().ok_or(Error::Empty)?;
        match *kind {
            KIND_PART => {
                let part: Part = codec::decode("blob part", payload, FRAME_BYTES_MAX)?;
                let within = part.is_within_blob();
                if within { Ok(Self::Part(part)) } else { Err(Error::Bounds("a blob part lies outside its blob")) }
            }
            KIND_COMMIT => Ok(Self::Commit(Commit::decode(payload)?)),
            KIND_OFFER => {
                let offer: Offer = codec::decode("offer", payload, 128 << 10)?;
                if offer.records.len() > OFFER_RECORDS_MAX {
                    return Err(Error::Bounds("an offer has at most four records of custody"));
                }
                Ok(Self::Offer(Box::new(offer)))
            }
            KIND_WELCOME => Ok(Self::Welcome(codec::decode("welcome", payload, 1024)?)),
            KIND_REFUSED => {
                let refusal: Refusal = codec::decode("refusal", payload, 2 * CAUSE_BYTES_MAX)?;
                let short = refusal.why.len() <= CAUSE_BYTES_MAX;
                if short {
                    Ok(Self::Refused(refusal))
                } else {
                    Err(Error::Bounds("the words of a refusal are too long"))
                }
            }
            KIND_REACHED => Ok(Self::Reached(codec::decode("position", payload, 16)?)),
            KIND_HAVE => Ok(Self::Have(codec::decode("position", payload, 16)?)),
            KIND_SAME => {
                let same: Same = codec::decode("unchanged part", payload, 256)?;
                let within = same.is_within_blob();
                if within { Ok(Self::Same(same)) } else { Err(Error::Bounds("a part of a state lies outside it")) }
            }
            KIND_LAST => Ok(Self::Last(codec::decode("manner", payload, 64)?)),
            KIND_ANSWERED if payload.is_empty() => Ok(Self::Answered),
            KIND_DIFFERS if payload.is_empty() => Ok(Self::Differs),
            KIND_ANSWERED | KIND_DIFFERS => Err(Error::Bounds("a frame of this kind has no payload")),
            KIND_ACCEPTED => Ok(Self::Accepted(Commit::decode(payload)?)),
            KIND_DECLINED => Ok(Self::Declined(Box::new(Custody::decode(payload)?))),
            kind => Err(Error::Kind(kind)),
        }
    }
}
