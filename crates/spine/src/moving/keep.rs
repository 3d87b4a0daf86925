//! The target's half of a transfer: what comes is verified and kept, commit by commit.
//!
//! Invariants kept here:
//! - A commit is appended only after it was verified on top of everything before it, with the blobs that it names, and
//!   only once a signature of the custodian vouches for it: whoever never had custody cannot write anything here.
//! - A blob is written only when an entry names it, right before that. Of a move that breaks off nothing else stays, but
//!   the program.
//! - Bytes are counted against a quota before they are kept, and all that is in memory against a bound of all moves
//!   ([`MEMORY_BYTES_MAX`](super::coming::MEMORY_BYTES_MAX)).

use super::coming::{Arrivals, Coming, Weight};
use crate::{Error, aside};
use futures_util::future::try_join_all;
use igor_protocol::{
    AgentId, Chain, Commit, Hash, Manifest, Seq,
    archive::Part,
    entry::Genesis,
    ledger::{Book, CheckpointRef, Fault},
    limits::PROGRAM_BYTES_MAX,
    transfer::{Begun, Same},
    verify::{self, Blobs},
};
use igor_store::Store;
use std::{collections::BTreeMap, sync::Arc};

/// Bytes of verified commits, with their bodies, that wait to be made durable together.
const AHEAD_BYTES: usize = 4 << 20;
/// Bytes of verified commits that wait for a seal: its writer makes one at least every 100 ms.
const UNSEALED_BYTES_MAX: usize = 16 << 20;
/// Smallest piece of a blob but its last.
const PIECE_BYTES_MIN: u64 = 4 << 10;
/// What a blob counts for beside its bytes.
const BLOB_COST_BYTES: u64 = 4 << 10;
/// Largest state of which others are taken as differences: it is in memory meanwhile.
pub(super) const BASE_BYTES_MAX: u64 = 64 << 20;

/// Why what came is not kept.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// An entry is wrong.
    #[error("entry seq=`{seq}` is bad: {fault}")]
    Bad {
        /// The entry.
        seq: Seq,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A blob that is not what it says, or that nothing names.
    #[error("{0}")]
    Blob(&'static str),
    /// More than was granted.
    #[error("it takes more than {max} bytes, which is all that this node gives it")]
    Quota {
        /// The quota.
        max: u64,
    },
    /// Too much is coming in at once.
    #[error("more is coming in than this node keeps in memory; try again when other moves are done")]
    Memory,
    /// Too much that nobody signed.
    #[error("no seal of the custodian came in {UNSEALED_BYTES_MAX} bytes of journal")]
    Unsealed,
    /// This side's store.
    #[error(transparent)]
    Own(#[from] Error),
}

impl From<igor_store::Error> for NotKept {
    fn from(error: igor_store::Error) -> Self {
        Self::Own(error.into())
    }
}

/// An agent's history as it comes in.
pub struct Keeper<S> {
    store: Arc<S>,
    agent: AgentId,
    program: Hash,
    /// The largest body or state that its manifest allows.
    body_bytes_max: u64,
    /// The history so far; none before Genesis came.
    book: Option<Book>,
    /// Verified, but not durable yet.
    vouched: Ahead,
    /// As well, and nobody signed it yet.
    unsealed: Ahead,
    coming: Option<Coming>,
    /// The beginning of a blob, from a transfer that was cut.
    left: Option<Coming>,
    /// A state that is here whole, and its bytes once they were needed.
    state: Option<Hash>,
    base: Option<Vec<u8>>,
    /// Blobs that came and that no entry has named yet.
    loose: BTreeMap<Hash, Vec<u8>>,
    weight: Weight,
    kept_bytes: u64,
    bytes_max: u64,
}

/// Commits that wait, and the blobs that they name.
#[derive(Default)]
struct Ahead {
    commits: Vec<Commit>,
    blobs: Vec<(Hash, Vec<u8>)>,
    bytes: usize,
}

impl Ahead {
    fn extend(&mut self, other: &mut Self) {
        self.commits.append(&mut other.commits);
        self.blobs.append(&mut other.blobs);
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

/// The blobs of a store, for verification.
pub struct StoreBlobs<'a, S>(pub &'a S);

impl<S: Store> Blobs for StoreBlobs<'_, S> {
    fn blob(&self, hash: Hash, bytes_max: u64) -> Option<Vec<u8>> {
        self.0.get_blob(hash, bytes_max).ok().flatten()
    }

    fn lacks(&self, hash: Hash) -> bool {
        matches!(self.0.has_blob(hash), Ok(false))
    }
}

/// Those of a store, and those that came and are not in it yet.
struct AllBlobs<'a, S> {
    store: &'a S,
    loose: &'a BTreeMap<Hash, Vec<u8>>,
    ahead: [&'a Ahead; 2],
}

impl<S: Store> Blobs for AllBlobs<'_, S> {
    fn blob(&self, hash: Hash, bytes_max: u64) -> Option<Vec<u8>> {
        let waiting = self.ahead.iter().flat_map(|ahead| &ahead.blobs).find(|(named, _)| *named == hash);
        let came = self.loose.get(&hash).or_else(|| waiting.map(|(_, bytes)| bytes));
        came.cloned().or_else(|| StoreBlobs(self.store).blob(hash, bytes_max))
    }
}

impl<S: Store> Keeper<S> {
    /// Goes on with what is here of an agent that began like this: its book, and what is left of a blob. At most
    /// `bytes_max` are kept.
    pub(crate) async fn open(
        store: Arc<S>,
        (genesis, manifest): (&Genesis, &Manifest),
        book: Option<Book>,
        arrivals: &Arrivals,
        left: Option<Coming>,
        bytes_max: u64,
    ) -> Result<Self, NotKept> {
        let (agent, program) = (genesis.body.agent_id(), genesis.body.program);
        if manifest.hash() != genesis.body.manifest {
            return Err(NotKept::Blob("the manifest is not the one that Genesis names"));
        }
        let (written, limits) = (manifest.encode(), &manifest.limits);
        let body_bytes_max = limits.state_bytes.max(limits.message_bytes.into()).max(written.len() as u64);
        // The entries are verified with it, whoever sent it.
        store.put_blob(written).await?;
        let last = book.as_ref().and_then(|book| book.ledger().checkpoint).map(|last| last.root);
        let mut state = None;
        for hash in last.into_iter().chain(left.as_ref().and_then(Coming::base)) {
            if state.is_none() && store.has_blob(hash)? {
                state = Some(hash);
            }
        }
        Ok(Self {
            store,
            agent,
            program,
            body_bytes_max,
            book,
            vouched: Ahead::default(),
            unsealed: Ahead::default(),
            coming: None,
            left,
            state,
            base: None,
            loose: BTreeMap::new(),
            weight: arrivals.weight(),
            kept_bytes: 0,
            bytes_max,
        })
    }

    /// The end of what was verified.
    pub fn end(&self) -> Chain {
        self.book.as_ref().map_or(Chain::begin(self.agent), Book::chain)
    }

    /// The history so far.
    pub const fn book(&self) -> Option<&Book> {
        self.book.as_ref()
    }

    /// Whether the program is here.
    pub fn has_program(&self) -> Result<bool, NotKept> {
        Ok(self.store.has_blob(self.program)?)
    }

    /// A state that is here: others may come as differences from it.
    pub const fn state(&self) -> Option<Hash> {
        self.state
    }

    /// The state of the last checkpoint, where it is not here.
    pub fn wants(&self) -> Option<Hash> {
        self.lacking().map(|last| last.root)
    }

    fn lacking(&self) -> Option<CheckpointRef> {
        let last = self.book.as_ref().and_then(|book| book.ledger().checkpoint);
        last.filter(|last| self.state != Some(last.root))
    }

    /// What is left of a blob whose transfer was cut.
    pub fn begun(&self) -> Option<Begun> {
        self.left.as_ref().map(Coming::begun)
    }

    /// The blob that is not whole.
    pub(crate) fn into_rest(self) -> Option<Coming> {
        self.coming.or(self.left)
    }

    fn charge(&mut self, bytes: u64) -> Result<(), NotKept> {
        self.kept_bytes = self.kept_bytes.saturating_add(bytes);
        if self.kept_bytes > self.bytes_max { Err(NotKept::Quota { max: self.bytes_max }) } else { Ok(()) }
    }

    /// Counts what is in memory.
    fn weigh(&mut self) -> Result<(), NotKept> {
        let coming = self.coming.as_ref().map_or(0, |coming| coming.begun().bytes);
        let blobs = self.loose.values().chain(&self.base).map(|bytes| bytes.len() as u64).sum::<u64>();
        let ahead = (self.vouched.bytes + self.unsealed.bytes) as u64;
        if self.weight.set(coming + blobs + ahead) { Ok(()) } else { Err(NotKept::Memory) }
    }

    /// Takes a part of a blob. Parts of one blob come in order, one blob after the other.
    pub async fn part(&mut self, part: Part) -> Result<(), NotKept> {
        self.due(part.hash, part.total, part.offset, part.bytes.len() as u64)?.part(&part);
        self.whole().await
    }

    /// Takes a part of a state that is as in the one that is here.
    pub async fn same(&mut self, same: Same) -> Result<(), NotKept> {
        if self.state != Some(same.base) {
            return Err(NotKept::Blob("a state is to be made from one that is not here"));
        }
        let base = match self.base.take() {
            Some(base) => base,
            // One that does not read, or is too large, has no part in common with anything.
            None => aside(|| self.store.get_blob(same.base, BASE_BYTES_MAX)).ok().flatten().unwrap_or_default(),
        };
        let coming = self.due(same.hash, same.total, same.offset, same.bytes)?;
        if !coming.same(&same, &base) {
            return Err(NotKept::Blob("a state is to be made from a part that the one here does not have"));
        }
        self.base = Some(base);
        self.whole().await
    }

    /// The blob that this piece is the next one of.
    fn due(&mut self, hash: Hash, total: u64, offset: u64, bytes: u64) -> Result<&mut Coming, NotKept> {
        self.charge(bytes)?;
        if self.coming.is_none() {
            let left = self.left.take().filter(|left| left.is_next(hash, total, offset));
            self.charge(left.as_ref().map_or(0, |left| left.begun().bytes).saturating_add(BLOB_COST_BYTES))?;
            self.coming = match left {
                None if offset == 0 => Some(self.begin(hash, total)?),
                left => left,
            };
        }
        let fits = bytes >= PIECE_BYTES_MIN || offset.checked_add(bytes) == Some(total);
        let coming = self.coming.as_mut().filter(|coming| fits && coming.is_next(hash, total, offset));
        coming.ok_or(NotKept::Blob("the parts of a blob do not come in order"))
    }

    /// A blob of which nothing came yet, no larger than what it is may be.
    fn begin(&self, hash: Hash, total: u64) -> Result<Coming, NotKept> {
        let max = match self.lacking() {
            Some(last) if last.root == hash => last.bytes,
            _ if hash == self.program => PROGRAM_BYTES_MAX as u64,
            _ => self.body_bytes_max,
        };
        if total > max {
            return Err(NotKept::Blob("a blob is larger than what names it allows"));
        }
        Ok(Coming::begin(hash, total, self.state))
    }

    /// Keeps the blob that is coming in once it is whole.
    async fn whole(&mut self) -> Result<(), NotKept> {
        self.weigh()?;
        let Some(coming) = self.coming.take_if(|coming| coming.is_whole()) else { return Ok(()) };
        let blob = aside(|| coming.finish());
        let (hash, bytes) = blob.ok_or(NotKept::Blob("a blob does not have the hash that it is called by"))?;
        // A state comes after the checkpoint that names it, the program before all else; everything else before the
        // entry that names it.
        if let Some(last) = self.lacking().filter(|last| last.root == hash) {
            if self.unsealed.commits.first().is_some_and(|first| first.first() <= last.seq) {
                return Err(NotKept::Unsealed);
            }
            // Before its checkpoint is durable: from what is here an owner's takeover can go on.
            self.store.put_blob(bytes).await?;
            (self.state, self.base) = (Some(hash), None);
        } else if hash == self.program {
            self.store.put_blob(bytes).await?;
        } else if self.state != Some(hash) {
            self.loose.insert(hash, bytes);
        }
        self.weigh()
    }

    /// Verifies the next commit and keeps it. It is durable after [`Keeper::flush`].
    pub async fn commit(&mut self, commit: Commit) -> Result<(), NotKept> {
        let first = commit.first();
        if commit.agent() != self.agent {
            return Err(NotKept::Bad { seq: first, fault: Fault::Link("it is another agent's") });
        }
        let bad = |seq| move |fault| NotKept::Bad { seq, fault };
        let blobs = AllBlobs { store: &*self.store, loose: &self.loose, ahead: [&self.vouched, &self.unsealed] };
        let book = match &mut self.book {
            Some(book) => book,
            none => none.insert(verify::begin(&commit, &blobs).map_err(bad(first))?),
        };
        let entries = book.apply(&commit).map_err(|(seq, fault)| NotKept::Bad { seq, fault })?;
        let mut named = Vec::new();
        for (seq, _, entry) in &entries {
            verify::check_blobs(entry, &blobs).map_err(bad(*seq))?;
            named.extend(entry.body.blobs().iter().map(igor_protocol::entry::Named::hash));
        }
        let sealed = book.is_sealed();
        let named: Vec<_> = named.iter().filter_map(|hash| self.loose.remove_entry(hash)).collect();
        self.unsealed.bytes += named.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        self.unsealed.blobs.extend(named);
        if !self.loose.is_empty() {
            return Err(NotKept::Blob("a blob came that no entry names"));
        }
        let bytes: usize = commit.entries().map(|(_, _, entry)| entry.len()).sum();
        self.charge(bytes as u64)?;
        self.unsealed.bytes += bytes;
        self.unsealed.commits.push(commit);
        if sealed {
            self.vouched.extend(&mut self.unsealed);
        } else if self.unsealed.bytes > UNSEALED_BYTES_MAX {
            return Err(NotKept::Unsealed);
        }
        self.weigh()?;
        if self.vouched.bytes >= AHEAD_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Returns once everything that came and is vouched for is durable.
    pub async fn flush(&mut self) -> Result<(), NotKept> {
        let Ahead { commits, blobs, .. } = std::mem::take(&mut self.vouched);
        for (_, bytes) in blobs {
            self.store.put_blob(bytes).await?;
        }
        // In order: each is given to the store when it is polled first.
        let appends = commits.into_iter().map(|commit| {
            let store = &self.store;
            async move {
                if commit.first() == Seq(0) { store.create(commit).await } else { store.append(commit).await }
            }
        });
        try_join_all(appends).await?;
        self.weigh()
    }

    /// Whether everything is here, durably, that the agent needs to go on from its last entry.
    pub fn is_complete(&self) -> bool {
        let waits = [&self.vouched, &self.unsealed].iter().any(|ahead| !ahead.commits.is_empty());
        self.book.is_some() && self.lacking().is_none() && self.coming.is_none() && !waits
    }
}
