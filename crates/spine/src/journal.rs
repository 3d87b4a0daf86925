//! The end of one agent's journal: what was committed, and the only maker of [`Committed`].
//!
//! Invariants kept here:
//! - The book in memory is what the store has, plus what is under way and one draft behind it: a fast agent does several
//!   ticks while one append becomes durable, and they become one commit. On a shared store, which answers later than a disk,
//!   a few may be under way at once where somebody waits; they land in their order.
//! - A [`Committed`] exists only for what the store has confirmed. On a shared store that confirmation is recent: who was
//!   paused until another node may have gone on with the agent asks the store once more before anything is released.
//! - The journal's time rises, whatever the wall clock does.
//! - A seal comes before anything is released to others, else within [`SEAL_WITHIN`] of the first unsealed entry.

use crate::{Error, World, event::Event};
use futures_util::{StreamExt, stream::FuturesOrdered};
use igor_protocol::{
    Body, Chain, Commit, Credits, Entry, Hash, KeyPair, Ledger, Manifest, Nanos, Seq, Timestamp,
    entry::{Content, Run, Seal, StoreKind},
    ledger::{Book, Draft},
};
use igor_store::Store;
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

/// Longest time that entries stay without a seal.
pub(crate) const SEAL_WITHIN: Nanos = Nanos::from_millis(100);
/// A commit carries a seal when the last one is this old, so that a busy agent needs no commits for seals alone.
const SEAL_EVERY: Nanos = Nanos::from_millis(80);

/// What an append to a shared store confirms is released within this time of its beginning, or after another append. A
/// process that was paused in between can be a moment late still: no clock tells it about a pause after its last look.
const RELEASE_WITHIN: Nanos = Nanos::from_secs(10);

/// Appends to a shared store that are under way at once.
const FLYING_MAX: usize = 4;

/// Entries that may wait for the append before theirs; then the agent waits.
const STAGED_ENTRIES_MAX: usize = 128;
/// Bytes that may wait for the append before theirs.
const STAGED_BYTES_MAX: usize = 256 << 10;

/// Something that is durable. Only the journal makes one.
#[derive(Debug)]
pub struct Committed<T> {
    value: T,
}

impl<T> Committed<T> {
    /// What was committed.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Borrows what was committed.
    pub const fn get(&self) -> &T {
        &self.value
    }
}

type Append = Pin<Box<dyn Future<Output = Result<(), igor_store::Error>> + Send>>;

/// Appends that the store has not confirmed yet.
#[derive(Default)]
struct Flying {
    /// Never locked: the mutex only says that a shared reference to it is of no use, so that lives can be shared.
    appends: Mutex<FuturesOrdered<Append>>,
    /// What may be told once each landed, and when it was launched.
    of: VecDeque<(Vec<Event>, Nanos)>,
}

/// What became durable, and how long that took.
pub(crate) struct Landed {
    pub(crate) events: Committed<Vec<Event>>,
    pub(crate) took: Nanos,
}

/// One agent's journal, open for appending.
pub(crate) struct Journal<S, W> {
    pub(crate) store: Arc<S>,
    pub(crate) world: Arc<W>,
    pub(crate) key: Arc<KeyPair>,
    book: Book,
    /// Entries that are not in an append yet, and what may be told once they are durable.
    draft: Draft,
    staged: Vec<Event>,
    /// What landed last did so too late to be released, and nothing follows it: something new must be confirmed.
    is_late: bool,
    flying: Flying,
    clock: JournalClock,
    /// When the first entry without a seal was committed.
    unsealed: Option<Nanos>,
    last_seal: Nanos,
}

/// The journal's time: the wall clock when it was opened, moved on by the monotonic one, never before the last entry.
struct JournalClock {
    wall: Timestamp,
    monotonic: Nanos,
}

impl JournalClock {
    fn start<W: World>(world: &W, last: Timestamp) -> Self {
        Self { wall: world.wall_clock().max(last), monotonic: world.monotonic() }
    }

    fn now<W: World>(&self, world: &W) -> Timestamp {
        self.wall.after(world.monotonic().saturating_sub(self.monotonic))
    }
}

impl<S: Store, W: World> Journal<S, W> {
    /// Goes on with a journal whose book was read from the store, or begins one whose Genesis is in `draft`.
    pub(crate) fn new(store: Arc<S>, world: Arc<W>, key: Arc<KeyPair>, mut book: Book, draft: Option<Draft>) -> Self {
        book.append_own();
        let clock = JournalClock::start(&*world, book.ledger().at);
        let unsealed = (!book.is_sealed()).then(|| world.monotonic());
        let draft = draft.unwrap_or_else(|| book.draft());
        let (staged, flying) = (Vec::new(), Flying::default());
        let (is_late, last_seal) = (false, Nanos::ZERO);
        Self { store, world, key, book, draft, staged, is_late, flying, clock, unsealed, last_seal }
    }

    /// The time that entries written now carry.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now(&*self.world)
    }

    /// The moment on the monotonic clock at which the journal's time is `at`.
    pub(crate) fn moment(&self, at: Timestamp) -> Nanos {
        self.clock.monotonic.saturating_add(at.since(self.clock.wall))
    }

    pub(crate) const fn book(&self) -> &Book {
        &self.book
    }

    pub(crate) const fn ledger(&self) -> &Ledger {
        self.book.ledger()
    }

    pub(crate) const fn chain(&self) -> Chain {
        self.book.chain()
    }

    pub(crate) const fn manifest(&self) -> &Manifest {
        self.book.manifest()
    }

    /// What a run may be charged: its bill, and no more than the balance.
    pub(crate) fn bill(&self, run: &Run) -> (Credits, Credits) {
        let ceiling = self.manifest().ceiling.of(run.fuel, run.hostcalls());
        let bill = self.book.terms().bill(run.duration, ceiling, run.fuel);
        (bill, bill.min(self.ledger().balance))
    }

    /// Adds an entry to the next commit.
    pub(crate) fn push(&mut self, body: Body) -> Result<(Seq, Hash), Error> {
        let at = self.now();
        let seq = self.chain().next;
        self.book.push(&mut self.draft, Entry { at, body }).map_err(|fault| Error::Journal { seq, fault })
    }

    /// Adds a Checkpoint to the next commit.
    pub(crate) fn push_checkpoint(&mut self, root: Hash, bytes: u64) -> Result<(Seq, Hash), Error> {
        let (at, seq) = (self.now(), self.chain().next);
        let pushed = self.book.push_checkpoint(&mut self.draft, &self.key, root, bytes, at);
        pushed.map_err(|fault| Error::Journal { seq, fault })
    }

    /// Adds what may be told once everything that was pushed so far is durable.
    pub(crate) fn stage(&mut self, events: impl IntoIterator<Item = Event>) {
        self.staged.extend(events);
    }

    /// Whether an append is under way.
    pub(crate) fn is_flying(&self) -> bool {
        !self.flying.of.is_empty()
    }

    /// Whether something is durable that may not be released before an append that is still to be launched.
    pub(crate) const fn is_late(&self) -> bool {
        self.is_late
    }

    /// Whether others read the journal from where it is durable.
    fn is_shared(&self) -> bool {
        self.book.genesis().store != StoreKind::Disk
    }

    /// Whether so much waits behind the append under way that no more should be pushed.
    pub(crate) fn is_full(&self) -> bool {
        self.is_flying() && (self.draft.len() >= STAGED_ENTRIES_MAX || self.draft.bytes() >= STAGED_BYTES_MAX)
    }

    /// Begins to append what was pushed, unless as much is under way as may be. With `seal`, or when one is due, a seal
    /// comes last, and somebody waits.
    pub(crate) fn launch(&mut self, seal: bool) -> Result<(), Error> {
        let nothing =
            self.draft.is_empty() && self.staged.is_empty() && !self.is_late && !(seal && self.unsealed.is_some());
        let most = if seal && self.is_shared() { FLYING_MAX } else { 1 };
        if self.flying.of.len() >= most || nothing {
            return Ok(());
        }
        let begun = self.world.monotonic();
        let events = std::mem::take(&mut self.staged);
        let commit = self.close(seal, begun)?;
        self.is_late = false;
        let store = self.store.clone();
        let append: Append = match commit {
            None => Box::pin(std::future::ready(Ok(()))),
            Some(commit) if commit.first() == Seq(0) => Box::pin(async move { store.create(commit).await }),
            Some(commit) => Box::pin(async move { store.append(commit).await }),
        };
        self.flying.appends.get_mut().unwrap_or_else(PoisonError::into_inner).push_back(append);
        self.flying.of.push_back((events, begun));
        Ok(())
    }

    /// Waits for the first append under way, if there is one. After an error the journal must be dropped and opened again.
    ///
    /// Dropping the future loses nothing: the append goes on, and the next call waits for it.
    pub(crate) async fn land(&mut self) -> Result<Option<Landed>, Error> {
        let appends = self.flying.appends.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(landed) = appends.next().await else { return Ok(None) };
        landed?;
        let (events, begun) = self.flying.of.pop_front().unwrap_or_default();
        let took = self.world.monotonic().saturating_sub(begun);
        let mut told = events;
        if self.is_shared() && took > RELEASE_WITHIN {
            // Told once the next append is confirmed, if this process has custody still.
            self.is_late = !self.is_flying();
            let next = self.flying.of.front_mut().map_or(&mut self.staged, |(events, _)| events);
            next.splice(0..0, std::mem::take(&mut told));
        }
        Ok(Some(Landed { events: Committed { value: told }, took }))
    }

    /// The commit of what was pushed; nothing if there is nothing to write.
    fn close(&mut self, seal: bool, now: Nanos) -> Result<Option<Commit>, Error> {
        if self.draft.is_empty() && !self.is_late && !(seal && self.unsealed.is_some()) {
            return Ok(None);
        }
        // What others read and go on from is vouched for.
        if seal || self.is_shared() || now >= self.last_seal.saturating_add(SEAL_EVERY) {
            let (at, seq) = (self.now(), self.chain().next);
            let pushed = self.book.push_seal(&mut self.draft, &self.key, at);
            pushed.map_err(|fault| Error::Journal { seq, fault })?;
            (self.last_seal, self.unsealed) = (now, None);
        } else {
            self.unsealed.get_or_insert(now);
        }
        let draft = std::mem::replace(&mut self.draft, self.book.draft());
        let seq = self.chain().next;
        self.book.commit(draft).map(Some).map_err(|fault| Error::Journal { seq, fault })
    }

    /// When the next seal must come, where entries are without one.
    pub(crate) fn seal_due(&self) -> Option<Nanos> {
        self.unsealed.map(|since| since.saturating_add(SEAL_WITHIN))
    }

    /// A signature over everything that is committed, for someone who waits for an answer.
    pub(crate) fn vouch(&self) -> (Seq, Hash, Seal) {
        let chain = self.chain();
        (Seq(chain.next.0.saturating_sub(1)), chain.head, self.book.seal(&self.key))
    }

    /// Keeps bytes where an entry can name them: inline, or as a durable blob.
    pub(crate) async fn keep(&self, bytes: Vec<u8>) -> Result<Content, Error> {
        let content = Content::of(&bytes);
        if let Content::Blob { .. } = content {
            self.store.put_blob(bytes).await?;
        }
        Ok(content)
    }
}

/// Reads what an entry holds, inline or as a blob.
pub(crate) fn open_content<S: Store>(store: &S, content: &Content) -> Result<Vec<u8>, Error> {
    match content {
        Content::Inline(bytes) => Ok(bytes.clone()),
        Content::Blob { hash, bytes } => {
            store.get_blob(*hash, *bytes)?.ok_or(Error::MissingBlob { what: "a message body", hash: *hash })
        }
    }
}
