//! The message ids that an agent remembers, so that a message that comes again is known.

use crate::{
    codec,
    entry::{MessageId, Sender},
    limits::{MESSAGE_ID_BYTES_MAX, REMEMBERED_PER_SENDER, SENDERS_MAX, STREAMS_PER_SENDER},
    units::Seq,
};
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, VecDeque};

/// Longest encoding: every sender with every id and stream, generously.
const BYTES_MAX: usize = 256 << 20;

/// What is known of a message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It did not come before.
    New,
    /// It came: in this entry, or, for a number below the highest of its stream, in an earlier one.
    Came(Seq),
    /// The numbers of a stream have no gaps; this one comes next.
    Gap {
        /// The number that the stream goes on with.
        expected: u64,
    },
    /// The inbox cannot remember one more sender or stream, or the name is too long.
    Refused(&'static str),
}

/// All ids that are remembered, of all senders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered(BTreeMap<Sender, Memory>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Memory {
    order: VecDeque<[u8; 16]>,
    ids: BTreeMap<[u8; 16], Seq>,
    streams: BTreeMap<String, (u64, Seq)>,
}

impl Remembered {
    /// What is known of this sender's id.
    pub fn lookup(&self, sender: &Sender, id: &MessageId) -> Known {
        let memory = self.0.get(sender);
        let name = match id {
            MessageId::Opaque(name) | MessageId::Numbered { stream: name, .. } => name,
        };
        if name.is_empty() || name.len() > MESSAGE_ID_BYTES_MAX {
            return Known::Refused("a message id or stream name has 1 to 128 bytes");
        }
        if memory.is_none() && self.0.len() >= SENDERS_MAX {
            return Known::Refused("the inbox knows 256 senders already");
        }
        match id {
            MessageId::Opaque(name) => {
                let digest = MessageId::digest(name);
                memory.and_then(|m| m.ids.get(&digest)).map_or(Known::New, |seq| Known::Came(*seq))
            }
            MessageId::Numbered { stream, n } => match memory.and_then(|m| m.streams.get(stream)) {
                Some((highest, seq)) if n <= highest => Known::Came(*seq),
                Some((highest, _)) if highest.checked_add(1) == Some(*n) => Known::New,
                Some((highest, _)) => Known::Gap { expected: highest.saturating_add(1) },
                None if memory.is_some_and(|m| m.streams.len() >= STREAMS_PER_SENDER) => {
                    Known::Refused("the inbox knows 1024 streams of this sender already")
                }
                None if *n == 1 => Known::New,
                None => Known::Gap { expected: 1 },
            },
        }
    }

    /// Remembers an id that [`Remembered::lookup`] found to be new.
    pub(super) fn insert(&mut self, sender: &Sender, id: &MessageId, seq: Seq) {
        let memory = self.0.entry(sender.clone()).or_default();
        match id {
            MessageId::Opaque(name) => {
                let digest = MessageId::digest(name);
                memory.ids.insert(digest, seq);
                memory.order.push_back(digest);
                if memory.order.len() > REMEMBERED_PER_SENDER
                    && let Some(oldest) = memory.order.pop_front()
                {
                    memory.ids.remove(&oldest);
                }
            }
            MessageId::Numbered { stream, n } => {
                memory.streams.insert(stream.clone(), (*n, seq));
            }
        }
    }

    /// The highest number of a stream that came in, and where.
    pub fn stream(&self, sender: &Sender, stream: &str) -> Option<(u64, Seq)> {
        self.0.get(sender)?.streams.get(stream).copied()
    }

    /// The deterministic bytes that a checkpoint holds.
    pub fn encode(&self) -> Vec<u8> {
        let senders = self.0.iter().map(|(sender, memory)| WireSender {
            sender: sender.clone(),
            ids: memory.order.iter().map(|id| WireId { digest: *id, seq: memory.ids[id] }).collect(),
            streams: memory
                .streams
                .iter()
                .map(|(name, (highest, seq))| WireStream { name: name.clone(), highest: *highest, seq: *seq })
                .collect(),
        });
        codec::encode(&Wire { senders: senders.collect() })
    }

    /// Decodes what [`Remembered::encode`] wrote, in the same order and within the same bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        let wire: Wire = codec::decode("remembered message ids", bytes, BYTES_MAX)?;
        let mut remembered = Self::default();
        for sender in wire.senders {
            let memory = remembered.0.entry(sender.sender).or_default();
            for id in sender.ids {
                memory.order.push_back(id.digest);
                memory.ids.insert(id.digest, id.seq);
            }
            for stream in sender.streams {
                memory.streams.insert(stream.name, (stream.highest, stream.seq));
            }
            if memory.order.len() != memory.ids.len() {
                return Err(codec::Error::NotCanonical { what: "remembered message ids" });
            }
        }
        let over = |m: &Memory| m.order.len() > REMEMBERED_PER_SENDER || m.streams.len() > STREAMS_PER_SENDER;
        if remembered.0.len() > SENDERS_MAX || remembered.0.values().any(over) || remembered.encode() != bytes {
            return Err(codec::Error::NotCanonical { what: "remembered message ids" });
        }
        Ok(remembered)
    }
}

#[derive(Encode, Decode)]
struct Wire {
    #[n(0)]
    senders: Vec<WireSender>,
}

#[derive(Encode, Decode)]
struct WireSender {
    #[n(0)]
    sender: Sender,
    #[n(1)]
    ids: Vec<WireId>,
    #[n(2)]
    streams: Vec<WireStream>,
}

#[derive(Encode, Decode)]
struct WireId {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    digest: [u8; 16],
    #[n(1)]
    seq: Seq,
}

#[derive(Encode, Decode)]
struct WireStream {
    #[n(0)]
    name: String,
    #[n(1)]
    highest: u64,
    #[n(2)]
    seq: Seq,
}
