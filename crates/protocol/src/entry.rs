//! The closed set of journal entries.
//!
//! Numbers of kinds are part of the format. A kind that is not built yet has its number reserved and is refused
//! with [`codec::Error::Unsupported`]: 3 effect result.

mod checkpoint;
mod custody;
mod deployment;
mod genesis;
mod message;
mod order;
mod run;
mod seal;

pub use checkpoint::{Checkpoint, CheckpointKind, Receipt};
pub use custody::{
    Accept, Custody, Decline, Declined, Fence, Given, Handoff, Phase, Place, Return, StoreId, StoreKind,
    TAKEOVER_ORDER, Takeover,
};
pub use deployment::{DEPLOYMENT_BYTES_MAX, Deployment};
pub use genesis::{Genesis, GenesisBody, Policy, Standby};
pub use message::{Content, Message, MessageId, Sender};
pub use order::{Action, Order, OrderBody};
pub use run::{Call, Destination, Failure, Listed, Log, Observation, Outcome, Request, Run, Trigger};
pub use seal::Seal;

use crate::{Hash, codec, limits::ENTRY_BYTES_MAX, units::Timestamp};
use minicbor::{Decode, Encode};

/// One item of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// When it was written, by the custodian's clock, which never goes back within a journal.
    #[n(0)]
    pub at: Timestamp,
    /// What happened.
    #[n(1)]
    pub body: Body,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[allow(clippy::large_enum_variant)] // entries are made one at a time and soon become bytes
pub enum Body {
    /// The agent begins. Only ever entry 0.
    #[n(0)]
    Genesis(#[n(0)] Genesis),
    /// One call into the guest.
    #[n(1)]
    Run(#[n(0)] Run),
    /// A message came in.
    #[n(2)]
    Message(#[n(0)] Message),
    /// The state between runs, with the ledger.
    #[n(4)]
    Checkpoint(#[n(0)] Checkpoint),
    /// An order of the owner.
    #[n(5)]
    Order(#[n(0)] Order),
    /// The agent changes hands. The first entry of its commit.
    #[n(6)]
    Custody(#[n(0)] Custody),
    /// The custodian vouches for everything before.
    #[n(7)]
    Seal(#[n(0)] Seal),
    /// The agent ended; a fund order revives one that is exhausted.
    #[n(8)]
    End(#[n(0)] EndCause),
}

/// What an entry names by its hash instead of holding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The module that the agent runs.
    Program(Hash),
    /// What an entry cannot be checked or gone on from without: the manifest, bodies, message ids.
    Body(Hash),
    /// The state of a checkpoint: of use as long as no later one stands for it.
    State(Hash),
}

impl Named {
    /// The hash of the blob.
    pub const fn hash(&self) -> Hash {
        match self {
            Self::Program(hash) | Self::Body(hash) | Self::State(hash) => *hash,
        }
    }
}

/// Why an agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum EndCause {
    /// Its money ended. A fund order revives it.
    #[n(0)]
    Exhausted,
    /// It said that it is done.
    #[n(1)]
    Completed,
    /// Its owner ordered it.
    #[n(2)]
    Recalled,
}

impl EndCause {
    /// The name used in events, timelines and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Completed => "completed",
            Self::Recalled => "recalled",
        }
    }
}

impl Body {
    /// The blobs that it names, in order.
    pub fn blobs(&self) -> Vec<Named> {
        let content = |content: &Content| match content {
            Content::Inline(_) => None,
            Content::Blob { hash, .. } => Some(Named::Body(*hash)),
        };
        match self {
            Self::Genesis(genesis) => vec![Named::Program(genesis.body.program), Named::Body(genesis.body.manifest)],
            Self::Message(message) => content(&message.body).into_iter().collect(),
            Self::Run(run) => run
                .requests
                .iter()
                .filter_map(|request| match request {
                    Request::Reply { body, .. } => content(body),
                    Request::WakeAt(_) | Request::Finish | Request::MigrateTo(_) => None,
                })
                .collect(),
            Self::Checkpoint(checkpoint) => {
                content(&checkpoint.remembered).into_iter().chain([Named::State(checkpoint.root)]).collect()
            }
            Self::Order(_) | Self::Custody(_) | Self::Seal(_) | Self::End(_) => Vec::new(),
        }
    }

    /// The name of the kind, used in timelines and documents.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Genesis(_) => "genesis",
            Self::Run(_) => "run",
            Self::Message(_) => "message",
            Self::Checkpoint(_) => "checkpoint",
            Self::Order(_) => "order",
            Self::Custody(_) => "custody",
            Self::Seal(_) => "seal",
            Self::End(_) => "end",
        }
    }
}

impl Entry {
    /// The deterministic bytes, which the chain covers.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes one entry from all of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        // What a later version may use.
        if let Some(number @ (3 | 9..)) = kind_number(bytes) {
            return Err(codec::Error::Unsupported { what: "journal entry kind", number });
        }
        codec::decode("journal entry", bytes, ENTRY_BYTES_MAX)
    }

    /// Whether `bytes` say that they are a Checkpoint: for whoever looks for one, without decoding all others.
    pub fn is_checkpoint(bytes: &[u8]) -> bool {
        kind_number(bytes) == Some(4)
    }
}

/// The number of the kind that an entry says it is of.
fn kind_number(bytes: &[u8]) -> Option<u64> {
    let mut decoder = minicbor::Decoder::new(bytes);
    decoder.array().ok()?;
    decoder.u64().ok()?;
    decoder.array().ok()?;
    decoder.u64().ok()
}
