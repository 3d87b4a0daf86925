//! The chain, and commits: entries made durable together.
//!
//! Invariants: a [`Commit`] links its entries to the head before them, whoever made it; bytes that decode to one
//! have been checked to do so, entry by entry, and an error names the first that does not. Nothing else is said of the
//! entries: [`crate::ledger`] says whether they are right.
//!
//! A commit's bytes: `[version, agent, epoch, first, prev, marks, [entry...], head]`, where marks are the first eight
//! bytes of the head after each entry but the last.

use crate::{
    AgentId, Entry, Hash, codec,
    hash::Domain,
    limits::{COMMIT_BYTES_MAX, COMMIT_ENTRIES_MAX},
    units::{Epoch, Seq},
};
use minicbor::Decoder;

/// The format of an encoded commit.
const VERSION: u8 = 1;
/// What stands of the head after each entry but the last, so that damage is found where it is.
const MARK_BYTES: usize = 8;

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
    /// The head after each entry but the last.
    heads: Vec<Hash>,
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
        let header = Header::read(&mut Decoder::new(bytes))?;
        let head = bytes.last_chunk::<32>().map_or(Hash::ZERO, |head| Hash(*head));
        Ok(Self { start: header.start, end: Chain { next: header.next, head, ..header.start } })
    }
}

/// What stands before a commit's entries.
struct Header<'b> {
    start: Chain,
    next: Seq,
    count: usize,
    marks: &'b [u8],
}

impl<'b> Header<'b> {
    fn read(d: &mut Decoder<'b>) -> Result<Self, Error> {
        let fields = d.array().map_err(malformed)?;
        match d.u64().map_err(malformed)? {
            number if number == u64::from(VERSION) => {}
            number => return Err(codec::Error::Unsupported { what: "commit version", number }.into()),
        }
        if fields != Some(8) {
            return Err(malformed(minicbor::decode::Error::message("it has eight fields")));
        }
        let (start, marks, count) = (|| {
            let (agent, epoch) = (d.decode()?, d.decode()?);
            let start = Chain { agent, epoch, next: d.decode()?, head: d.decode()? };
            Ok((start, d.bytes()?, d.array()?.unwrap_or(0)))
        })()
        .map_err(malformed)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let next = start.next.0.checked_add(count as u64).map(Seq);
        match next.filter(|_| (1..=COMMIT_ENTRIES_MAX).contains(&count)) {
            Some(next) => Ok(Self { start, next, count, marks }),
            None => Err(Error::Count(count)),
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // the shape that map_err takes
fn malformed(e: minicbor::decode::Error) -> Error {
    codec::Error::Malformed { what: "commit", why: e.to_string() }.into()
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
    /// An entry does not lead to the head that stands with it: something was changed.
    #[error("the entry does not lead to the head that was recorded with it")]
    BrokenChain {
        /// Which of the commit's entries, counted from 0.
        index: usize,
    },
}

impl Error {
    /// Which of the commit's entries is the first bad one; 0 where the commit as a whole is.
    pub const fn index(&self) -> u64 {
        match self {
            Self::BrokenChain { index } => *index as u64,
            Self::Codec(_) | Self::Count(_) => 0,
        }
    }
}

impl Commit {
    /// Links entries to the end of a chain. There must be at least one.
    pub fn new<'a>(start: Chain, entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        Self::from_encoded(start, entries.into_iter().map(Entry::encode).collect())
    }

    /// Links entries that are bytes already.
    pub fn from_encoded(start: Chain, entries: Vec<Vec<u8>>) -> Self {
        debug_assert!(!entries.is_empty(), "a commit has entries");
        let mut heads = Vec::with_capacity(entries.len().saturating_sub(1));
        let mut chain = start;
        for entry in &entries {
            if chain.next != start.next {
                heads.push(chain.head);
            }
            chain = chain.link(entry);
        }
        Self { start, entries, heads, head: chain.head }
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
        let heads = self.heads.iter().chain([&self.head]);
        heads
            .zip(&self.entries)
            .zip(self.start.next.0..)
            .map(|((head, entry), seq)| (Seq(seq), *head, entry.as_slice()))
    }

    /// Its deterministic bytes.
    pub fn encode(&self) -> Vec<u8> {
        let size: usize = self.entries.iter().map(|entry| entry.len() + 9 + MARK_BYTES).sum();
        let mut bytes = Vec::with_capacity(size + 160);
        let written = self.write(&mut bytes);
        debug_assert!(written.is_ok(), "encoding into memory does not fail");
        bytes
    }

    fn write<W: minicbor::encode::Write>(&self, to: W) -> Result<(), minicbor::encode::Error<W::Error>> {
        let mut e = minicbor::Encoder::new(to);
        e.array(8)?.u8(VERSION)?.encode(self.start.agent)?.encode(self.start.epoch)?;
        let marks: Vec<u8> = self.heads.iter().flat_map(|head| *mark(head)).collect();
        e.encode(self.start.next)?.encode(self.start.head)?.bytes(&marks)?.array(self.entries.len() as u64)?;
        for entry in &self.entries {
            e.bytes(entry)?;
        }
        e.encode(self.head)?.ok()
    }

    fn is_encoded_as(&self, bytes: &[u8]) -> bool {
        let mut rest = codec::Expected(bytes);
        self.write(&mut rest).is_ok() && rest.0.is_empty()
    }

    /// Decodes a commit and checks that its entries lead from its start to its head, each to what stands with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > COMMIT_BYTES_MAX {
            let (bytes, max) = (bytes.len() as u64, COMMIT_BYTES_MAX as u64);
            return Err(codec::Error::TooLarge { what: "commit", bytes, max }.into());
        }
        let mut d = Decoder::new(bytes);
        let Header { start, count, marks, .. } = Header::read(&mut d)?;
        let mut expected = marks.chunks(MARK_BYTES);
        let (mut entries, mut heads) = (Vec::with_capacity(count), Vec::with_capacity(count - 1));
        let mut chain = start;
        for index in 0..count {
            // Of the last one, the whole head stands after it.
            let last = index + 1 == count;
            let entry = d.bytes().map_err(|_| Error::BrokenChain { index })?;
            chain = chain.link(entry);
            if !last {
                if expected.next() != Some(&mark(&chain.head)[..]) {
                    return Err(Error::BrokenChain { index });
                }
                heads.push(chain.head);
            }
            entries.push(entry.to_vec());
        }
        let head: Hash = d.decode().map_err(malformed)?;
        if chain.head != head {
            return Err(Error::BrokenChain { index: count - 1 });
        }
        let commit = Self { start, entries, heads, head };
        // Catches trailing bytes, and lengths in more bytes than needed.
        if expected.next().is_none() && commit.is_encoded_as(bytes) {
            Ok(commit)
        } else {
            Err(codec::Error::NotCanonical { what: "commit" }.into())
        }
    }
}

/// What stands in a commit of a head.
fn mark(head: &Hash) -> &[u8; MARK_BYTES] {
    head.0.first_chunk().unwrap_or(&[0; MARK_BYTES])
}
