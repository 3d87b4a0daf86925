//! The target's half of a transfer: what comes is verified and kept, commit by commit.
//!
//! Invariants kept here:
//! - A commit is appended only after it was verified on top of everything before it, with the blobs that it names.
//! - Memory holds one blob that is coming in, and commits that wait for the disk up to [`AHEAD_BYTES`].
//! - Bytes are counted against a quota before they are kept.

use crate::{Error, inspect};
use futures_util::future::try_join_all;
use igor_protocol::{
    AgentId, Chain, Commit, Hash, Manifest, Seq,
    archive::{PART_BYTES, Part},
    entry::Genesis,
    ledger::{Book, Fault},
    limits::PROGRAM_BYTES_MAX,
    verify::{self, Blobs},
};
use igor_store::Store;
use std::{collections::BTreeSet, sync::Arc};

/// Bytes of verified commits that wait to be appended together.
const AHEAD_BYTES: usize = 4 << 20;
/// Memory for what a peer only promised is taken in steps of this.
const TRUST_BYTES: usize = 4 << 20;

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
    manifest: Manifest,
    /// The history so far; none before Genesis came.
    book: Option<Book>,
    /// Verified, but not durable yet.
    ahead: Vec<Commit>,
    ahead_bytes: usize,
    partial: Option<Partial>,
    /// Blobs that came and that no entry has named yet.
    loose: BTreeSet<Hash>,
    kept_bytes: u64,
    bytes_max: u64,
}

struct Partial {
    hash: Hash,
    total: u64,
    bytes: Vec<u8>,
}

/// The blobs of a store, for verification.
pub struct StoreBlobs<'a, S>(pub &'a S);

impl<S: Store> Blobs for StoreBlobs<'_, S> {
    fn blob(&self, hash: Hash, bytes_max: u64) -> Option<Vec<u8>> {
        self.0.get_blob(hash, bytes_max).ok().flatten()
    }
}

impl<S: Store> Keeper<S> {
    /// Goes on with what is here of an agent that began like this. At most `bytes_max` are kept.
    pub async fn open(store: Arc<S>, genesis: &Genesis, manifest: Manifest, bytes_max: u64) -> Result<Self, NotKept> {
        let (agent, program) = (genesis.body.agent_id(), genesis.body.program);
        let book = match store.tail(agent)? {
            None => None,
            Some(end) => {
                let book = inspect::book_at_end(|from| store.read(agent, from), &StoreBlobs(&*store), end.next);
                Some(book.map_err(Error::from)?)
            }
        };
        store.put_blob(manifest.encode()).await?;
        let (ahead, partial, loose) = (Vec::new(), None, BTreeSet::new());
        Ok(Self {
            store,
            agent,
            program,
            manifest,
            book,
            ahead,
            ahead_bytes: 0,
            partial,
            loose,
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
        Ok(self.store.get_blob(self.program, PROGRAM_BYTES_MAX as u64)?.is_some())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), NotKept> {
        self.kept_bytes = self.kept_bytes.saturating_add(bytes as u64);
        if self.kept_bytes > self.bytes_max { Err(NotKept::Quota { max: self.bytes_max }) } else { Ok(()) }
    }

    /// Takes a part of a blob. Parts of one blob come in order, one blob after the other.
    pub async fn part(&mut self, part: Part) -> Result<(), NotKept> {
        self.charge(part.bytes.len())?;
        let begins = part.offset == 0 && self.partial.is_none();
        if begins {
            let room = usize::try_from(part.total).unwrap_or(usize::MAX).min(TRUST_BYTES);
            let bytes = Vec::with_capacity(room);
            self.partial = Some(Partial { hash: part.hash, total: part.total, bytes });
        }
        let whole = {
            let due = |partial: &&mut Partial| {
                let ends = part.offset + part.bytes.len() as u64 == part.total;
                partial.hash == part.hash
                    && partial.total == part.total
                    && partial.bytes.len() as u64 == part.offset
                    && (ends || part.bytes.len() == PART_BYTES)
            };
            let partial = self.partial.as_mut().filter(due);
            let partial = partial.ok_or(NotKept::Blob("the parts of a blob do not come in order"))?;
            partial.bytes.extend_from_slice(&part.bytes);
            partial.bytes.len() as u64 == partial.total
        };
        if whole && let Some(Partial { hash, bytes, .. }) = self.partial.take() {
            if Hash::of_blob(&bytes) != hash {
                return Err(NotKept::Blob("a blob does not have the hash that it is called by"));
            }
            self.store.put_blob(bytes).await?;
            // A state comes after the checkpoint that names it; everything else before.
            let state = self.book.as_ref().and_then(|book| book.ledger().checkpoint).map(|checkpoint| checkpoint.root);
            if state != Some(hash) {
                self.loose.insert(hash);
            }
        }
        Ok(())
    }

    /// Verifies the next commit and keeps it. It is durable after [`Keeper::flush`].
    pub async fn commit(&mut self, commit: Commit) -> Result<(), NotKept> {
        let first = commit.first();
        if commit.agent() != self.agent {
            return Err(NotKept::Bad { seq: first, fault: Fault::Link("it is another agent's") });
        }
        let blobs = StoreBlobs(&*self.store);
        let bad = |seq| move |fault| NotKept::Bad { seq, fault };
        let book = match &mut self.book {
            Some(book) => book,
            none => none.insert(verify::begin(&commit, &blobs).map_err(bad(first))?),
        };
        let entries = book.apply(&commit).map_err(|(seq, fault)| NotKept::Bad { seq, fault })?;
        for (seq, _, entry) in &entries {
            verify::check_blobs(entry, &blobs).map_err(bad(*seq))?;
            for named in entry.body.blobs() {
                self.loose.remove(&named.hash());
            }
        }
        // The program comes before Genesis, and a state after its checkpoint.
        self.loose.remove(&self.program);
        if !self.loose.is_empty() {
            return Err(NotKept::Blob("a blob came that no entry names"));
        }
        let bytes: usize = commit.entries().map(|(_, _, entry)| entry.len()).sum();
        self.charge(bytes)?;
        self.ahead.push(commit);
        self.ahead_bytes += bytes;
        if self.ahead_bytes >= AHEAD_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Returns once everything that came is durable.
    pub async fn flush(&mut self) -> Result<(), NotKept> {
        let ahead = std::mem::take(&mut self.ahead);
        self.ahead_bytes = 0;
        // In order: each is given to the store when it is polled first.
        let appends = ahead.into_iter().map(|commit| {
            let store = &self.store;
            async move {
                if commit.first() == Seq(0) { store.create(commit).await } else { store.append(commit).await }
            }
        });
        try_join_all(appends).await?;
        Ok(())
    }

    /// Whether everything is here that the agent needs to go on from its last entry.
    pub fn is_complete(&self) -> Result<bool, NotKept> {
        let Some(book) = &self.book else { return Ok(false) };
        let state = book.ledger().checkpoint.map(|checkpoint| (checkpoint.root, checkpoint.bytes));
        let state =
            state.map_or(Ok(true), |(root, bytes)| Ok::<_, NotKept>(self.store.get_blob(root, bytes)?.is_some()))?;
        Ok(state && self.partial.is_none() && self.ahead.is_empty())
    }

    /// The manifest that Genesis names.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}
