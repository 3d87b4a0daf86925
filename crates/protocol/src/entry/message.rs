//! Inbound messages, and how the same message is recognised when it comes again.

use crate::{Hash, OwnerId, codec, hash::Domain};
use minicbor::{Decode, Encode};

/// A message that came in. Committed before its sender is told so.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Message {
    /// Who sent it, as authenticated by the node.
    #[n(0)]
    pub sender: Sender,
    /// Its name; the same sender and id is the same message.
    #[n(1)]
    pub id: MessageId,
    /// What it says.
    #[n(2)]
    pub body: Content,
}

/// An authenticated sender.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Sender {
    /// A user of the node's machine, over its Unix socket.
    #[n(0)]
    Uid(#[n(0)] u32),
    /// The holder of a named API token.
    #[n(1)]
    Token(#[n(0)] String),
    /// The holder of a key, which signed the message.
    #[n(2)]
    Key(#[n(0)] OwnerId),
}

/// The sender's name for a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum MessageId {
    /// Any text. The last [`crate::limits::REMEMBERED_PER_SENDER`] of a sender are remembered.
    #[n(0)]
    Opaque(#[n(0)] String),
    /// The `n`th of a stream, counted from 1. Only the highest is kept, so it is known for ever.
    #[n(1)]
    Numbered {
        /// The stream's name.
        #[n(0)]
        stream: String,
        /// The number; a stream's messages are accepted in rising order only.
        #[n(1)]
        n: u64,
    },
}

impl MessageId {
    /// 16 bytes that stand for an opaque id where ids are remembered.
    pub(crate) fn digest(id: &str) -> [u8; 16] {
        Hash::in_domain(Domain::MESSAGE_ID, &[id.as_bytes()]).short()
    }
}

/// Bytes, inline when short, else a blob by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Content {
    /// At most [`crate::limits::INLINE_BYTES_MAX`] bytes.
    #[n(0)]
    Inline(
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        Vec<u8>,
    ),
    /// A longer one.
    #[n(1)]
    Blob {
        /// The blob's hash.
        #[n(0)]
        hash: Hash,
        /// Its length in bytes.
        #[n(1)]
        bytes: u64,
    },
}

impl Content {
    /// The content for these bytes, and whether they must be kept as a blob.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.len() <= crate::limits::INLINE_BYTES_MAX {
            Self::Inline(bytes.to_vec())
        } else {
            Self::Blob { hash: Hash::of_blob(bytes), bytes: bytes.len() as u64 }
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob { bytes, .. } => *bytes,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is in the one form that its length prescribes.
    pub fn is_well_formed(&self) -> bool {
        match self {
            Self::Inline(bytes) => bytes.len() <= crate::limits::INLINE_BYTES_MAX,
            Self::Blob { bytes, .. } => *bytes > crate::limits::INLINE_BYTES_MAX as u64,
        }
    }

    /// The hash of the bytes, inline or not.
    pub fn hash(&self) -> Hash {
        match self {
            Self::Inline(bytes) => Hash::of_blob(bytes),
            Self::Blob { hash, .. } => *hash,
        }
    }
}

impl Sender {
    /// How a sender is shown: `uid:0`, `token:ci`, `did:key:...`.
    pub fn label(&self) -> String {
        match self {
            Self::Uid(uid) => format!("uid:{uid}"),
            Self::Token(name) => format!("token:{name}"),
            Self::Key(key) => key.to_string(),
        }
    }
}

impl Message {
    /// The encoded length, as limits on the inbox count it.
    pub fn encoded_len(&self) -> usize {
        codec::encode(self).len()
    }
}
