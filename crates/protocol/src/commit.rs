//! The chain, and commits: entries made durable together.
//!
//! Invariants: a [`Commit`] links its entries to the head before them, whoever made it; bytes that decode to one
//! have been checked to do so. Nothing else is said of the entries: [`crate::ledger`] says whether they are right.

use crate::{
    AgentId, Entry, Hash, codec,
    hash::Domain,
    limits::{COMMIT_BYTES_MAX, COMMIT_ENTRIES_MAX},
    units::{Epoch, Seq},
};
use minicbor::{Decode, Encode, bytes::ByteVec};

/// The format of an encoded commit.
const VERSION: u8 = 1;

/// The end of a journal: where the next entry goes and what it links to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Whose journal it is.
    pub agent: AgentId,
    /// The custody under which the next entry is written.
    pub epoch: Epoch,
    /// The position of the next entry.
    pub next: Seq,
    /// The hash of everything before.
    pub head: Hash,
}

impl Chain {
    /// The empty journal of an agent.
    pub const fn begin(agent: AgentId) -> Self {
        Self { agent, epoch: Epoch { term: 0, n: 0 }, next: Seq(0), head: Hash::ZERO }
    }

    /// The chain after one more entry with these bytes.
    #[must_use]
    pub fn link(&self, entry: &[u8]) -> Self {
        let (term, n, seq) = (self.epoch.term.to_be_bytes(), self.epoch.n.to_be_bytes(), self.next.0.to_be_bytes());
        let head = Hash::in_domain(Domain::CHAIN, &[&self.head.0, &term, &n, &seq, entry]);
        Self { head, next: self.next.next(), ..*self }
    }
}

/// Entries that become durable together or not at all, linked to what is before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    start: Chain,
    entries: Vec<Vec<u8>>,
    head: Hash,
}

/// A commit's bytes: `[version, agent, term, n, first, prev, [entry...], head]`.
#[derive(Encode, Decode)]
struct Wire {
    #[n(0)]
    version: u8,
    #[n(1)]
    agent: AgentId,
    #[n(2)]
    epoch: Epoch,
    #[n(3)]
    first: Seq,
    #[n(4)]
    prev: Hash,
    #[n(5)]
    entries: Vec<ByteVec>,
    #[n(6)]
    head: Hash,
}

/// Where a commit's bytes say that it belongs, read without hashing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The chain before it.
    pub start: Chain,
    /// The chain after it.
    pub end: Chain,
}

impl Outline {
    /// Reads the outline of a commit that was checked before; of others, what they claim.
    pub fn of(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = |e: minicbor::decode::Error| codec::Error::Malformed { what: "commit", why: e.to_string() };
        if let Some(number) = version(bytes).filter(|number| *number != u64::from(VERSION)) {
            return Err(codec::Error::Unsupported { what: "commit version", number }.into());
        }
        let mut d = minicbor::Decoder::new(bytes);
        let fields = (|| {
            d.array()?;
            d.u8()?;
            let (agent, epoch) = (d.decode()?, d.decode()?);
            let start = Chain { agent, epoch, next: d.decode()?, head: d.decode()? };
            Ok((start, d.array()?.unwrap_or(0)))
        })();
        let (start, count) = fields.map_err(malformed)?;
        let entries = usize::try_from(count).ok().filter(|n| (1..=COMMIT_ENTRIES_MAX).contains(n));
        let entries = entries.ok_or(Error::Count(usize::try_from(count).unwrap_or(usize::MAX)))?;
        let next = start.next.0.checked_add(entries as u64).map(Seq).ok_or(Error::Count(entries))?;
        let head = bytes.last_chunk::<32>().map_or(Hash::ZERO, |head| Hash(*head));
        Ok(Self { start, end: Chain { next, head, ..start } })
    }
}

/// Why bytes are not a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not the encoding of a commit.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// No entries, or more than a commit may have.
    #[error("a commit has 1 to {COMMIT_ENTRIES_MAX} entries; this one has {0}")]
    Count(usize),
    /// The entries do not lead to the head that stands with them: something was changed.
    #[error("the entries from seq=`{first}` do not lead to the head that was recorded with them")]
    BrokenChain {
        /// The first entry of the commit.
        first: Seq,
    },
}

impl Commit {
    /// Links entries to the end of a chain. There must be at least one.
    pub fn new<'a>(start: Chain, entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        Self::from_encoded(start, entries.into_iter().map(Entry::encode).collect())
    }

    /// Links entries that are bytes already.
    pub fn from_encoded(start: Chain, entries: Vec<Vec<u8>>) -> Self {
        debug_assert!(!entries.is_empty(), "a commit has entries");
        let head = entries.iter().fold(start, |chain, entry| chain.link(entry)).head;
        Self { start, entries, head }
    }

    /// Whose journal it belongs to.
    pub const fn agent(&self) -> AgentId {
        self.start.agent
    }

    /// The custody under which it was written.
    pub const fn epoch(&self) -> Epoch {
        self.start.epoch
    }

    /// The position of its first entry.
    pub const fn first(&self) -> Seq {
        self.start.next
    }

    /// The position after its last entry.
    pub fn next(&self) -> Seq {
        Seq(self.start.next.0 + self.entries.len() as u64)
    }

    /// The hash that it links to.
    pub const fn prev(&self) -> Hash {
        self.start.head
    }

    /// The hash after its last entry.
    pub const fn head(&self) -> Hash {
        self.head
    }

    /// The chain before it.
    pub const fn start(&self) -> Chain {
        self.start
    }

    /// The chain after it.
    pub fn end(&self) -> Chain {
        Chain { next: self.next(), head: self.head, ..self.start }
    }

    /// The encoded entries in order, each with its position and the chain's head after it.
    pub fn entries(&self) -> impl Iterator<Item = (Seq, Hash, &[u8])> {
        self.entries.iter().scan(self.start, |chain, entry| {
            let seq = chain.next;
            *chain = chain.link(entry);
            Some((seq, chain.head, entry.as_slice()))
        })
    }

    /// Its deterministic bytes.
    pub fn encode(&self) -> Vec<u8> {
        let size: usize = self.entries.iter().map(|entry| entry.len() + 9).sum();
        let mut bytes = Vec::with_capacity(size + 160);
        let mut e = minicbor::Encoder::new(&mut bytes);
        let written = (|| {
            e.array(7)?.u8(VERSION)?.encode(self.start.agent)?.encode(self.start.epoch)?;
            e.encode(self.start.next)?.encode(self.start.head)?.array(self.entries.len() as u64)?;
            for entry in &self.entries {
                e.bytes(entry)?;
            }
            e.encode(self.head)?.ok()
        })();
        debug_assert!(written.is_ok(), "encoding into memory does not fail");
        bytes
    }

    /// Decodes a commit and checks that its entries lead from its start to its head.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        if let Some(number) = version(bytes).filter(|number| *number != u64::from(VERSION)) {
            return Err(codec::Error::Unsupported { what: "commit version", number }.into());
        }
        let wire: Wire = codec::decode("commit", bytes, COMMIT_BYTES_MAX)?;
        if wire.entries.is_empty() || wire.entries.len() > COMMIT_ENTRIES_MAX {
            return Err(Error::Count(wire.entries.len()));
        }
        let start = Chain { agent: wire.agent, epoch: wire.epoch, next: wire.first, head: wire.prev };
        if start.next.0.checked_add(wire.entries.len() as u64).is_none() {
            return Err(Error::Count(wire.entries.len()));
        }
        let commit = Self::from_encoded(start, wire.entries.into_iter().map(Vec::from).collect());
        if commit.head == wire.head { Ok(commit) } else { Err(Error::BrokenChain { first: start.next }) }
    }
}

fn version(bytes: &[u8]) -> Option<u64> {
    let mut decoder = minicbor::Decoder::new(bytes);
    decoder.array().ok()?;
    decoder.u64().ok()
}
