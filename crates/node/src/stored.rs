//! What each agent has stored here: counted as it is written, or read afterwards, and remembered in the home.
//!
//! Invariants kept here:
//! - Every journal that is here is counted, whoever wrote it: a life, a move that came in or broke off, an import. A count
//!   says up to which entry it goes; what is behind that is read and counted before the count is used or written down.
//! - A count is written down whenever it has grown by [`STEP_BYTES`], and at the end of a life, a move or an import. So
//!   after a crash little is read again, and nothing is forgotten.
//! - Programs and states are counted with every agent that has them, though the disk keeps equal bytes once: what one
//!   agent may store does not depend on the others.
//! - What is promised to those who come in is never more than there is room for.

use crate::{Error, bucket::NodeStore, local, node::blocking};
use igor_protocol::{
    AgentId, Body, Chain, Commit, Entry, Hash, Seq,
    entry::{Content, Request, StoreKind},
    limits::{BLOB_BYTES_MAX, PROGRAM_BYTES_MAX},
};
use igor_store::{Commits, Store};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Notify;

/// Growth after which a count is written down again, in bytes.
const STEP_BYTES: u64 = 4 << 20;

/// What an agent has stored, up to some entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) bytes: u64,
    /// The first entry that is not counted.
    pub(crate) next: Seq,
    /// The last blob that was counted: a state that has not changed takes no more room.
    pub(crate) last: Option<Hash>,
}

/// What all agents have stored.
#[derive(Debug)]
pub(crate) struct Accounts {
    max: u64,
    max_per_agent: u64,
    all: Arc<AtomicU64>,
    by_agent: Mutex<BTreeMap<AgentId, Arc<Stored>>>,
    /// Branches that takeovers orphaned, as files.
    orphans: AtomicU64,
    /// What those who come in may still bring.
    promised: Arc<AtomicU64>,
    promises: Mutex<BTreeMap<AgentId, Promise>>,
}

/// Room that is kept for somebody, until this is dropped.
#[derive(Debug)]
pub(crate) struct Promise {
    promised: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Accounts {
    pub(crate) fn new(max: u64, max_per_agent: u64) -> Self {
        Self {
            max,
            max_per_agent,
            all: Arc::default(),
            by_agent: Mutex::default(),
            orphans: AtomicU64::new(0),
            promised: Arc::default(),
            promises: Mutex::default(),
        }
    }

    /// The account of an agent. A new one has counted nothing yet.
    pub(crate) fn of(&self, agent: AgentId) -> Arc<Stored> {
        let new = || Arc::new(Stored::new(agent, self.max_per_agent, self.all.clone()));
        lock(&self.by_agent).entry(agent).or_insert_with(new).clone()
    }

    /// There is no journal of the agent here any more.
    pub(crate) fn close(&self, agent: AgentId) {
        if let Some(stored) = lock(&self.by_agent).remove(&agent) {
            stored.close();
        }
    }

    /// So many bytes are in files of orphaned branches.
    pub(crate) fn orphans_are(&self, bytes: u64) {
        self.orphans.store(bytes, Ordering::Relaxed);
    }

    /// What is stored.
    pub(crate) fn used(&self) -> u64 {
        self.all.load(Ordering::Relaxed).saturating_add(self.orphans.load(Ordering::Relaxed))
    }

    /// What nobody has, nor was promised.
    pub(crate) fn free(&self) -> u64 {
        self.max.saturating_sub(self.used()).saturating_sub(self.promised.load(Ordering::Relaxed))
    }

    /// How much an agent may bring that nobody was promised.
    pub(crate) fn room(&self, agent: AgentId) -> u64 {
        self.max_per_agent.saturating_sub(self.of(agent).bytes()).min(self.free())
    }

    /// Promises room to an agent that comes in: half of what is free, so that others find room meanwhile, and no more
    /// than one agent may have. Gives how much; until [`Accounts::settle`] nobody else is promised it.
    pub(crate) fn promise(&self, agent: AgentId) -> u64 {
        let own = self.max_per_agent.saturating_sub(self.of(agent).bytes());
        let mut promises = lock(&self.promises);
        promises.remove(&agent);
        let bytes = own.min(self.free() / 2);
        self.promised.fetch_add(bytes, Ordering::Relaxed);
        promises.insert(agent, Promise { promised: self.promised.clone(), bytes });
        bytes
    }

    /// It came, or does not come any more.
    pub(crate) fn settle(&self, agent: AgentId) {
        lock(&self.promises).remove(&agent);
    }

    /// Room for a file that comes in, of which nothing is there yet.
    pub(crate) fn begin(&self) -> Promise {
        Promise { promised: self.promised.clone(), bytes: 0 }
    }

    /// Room for so many bytes more of a file. Says whether there is.
    pub(crate) fn extend(&self, promise: &mut Promise, bytes: u64) -> bool {
        let taken = self.promised.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |promised| {
            let wanted = promised.checked_add(bytes)?;
            (wanted <= self.max.saturating_sub(self.used())).then_some(wanted)
        });
        if taken.is_ok() {
            promise.bytes += bytes;
        }
        taken.is_ok()
    }
}

/// What one agent has stored.
#[derive(Debug)]
pub(crate) struct Stored {
    agent: AgentId,
    tally: Mutex<Tally>,
    /// Held by who reads what is to be counted.
    reading: Mutex<()>,
    /// What it may store.
    max: u64,
    /// What all agents have.
    all: Arc<AtomicU64>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Tally {
    count: Count,
    /// Parts of the journal before its end that are not counted.
    unread: Vec<Range<Seq>>,
    /// What was written down.
    noted: Count,
    /// The journal is gone.
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No update can fail in the middle.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stored {
    fn new(agent: AgentId, max: u64, all: Arc<AtomicU64>) -> Self {
        Self { agent, tally: Mutex::default(), reading: Mutex::default(), max, all, news: Notify::new() }
    }

    /// What was written down before.
    pub(crate) fn recall(&self, count: Count) {
        let mut tally = lock(&self.tally);
        self.all.fetch_add(count.bytes, Ordering::Relaxed);
        (tally.count, tally.noted) = (count, count);
    }

    fn close(&self) {
        let mut tally = lock(&self.tally);
        self.all.fetch_sub(tally.count.bytes, Ordering::Relaxed);
        *tally = Tally { closed: true, ..Tally::default() };
    }

    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.tally).count.bytes
    }

    /// So many bytes more.
    pub(crate) fn add(&self, bytes: u64) {
        self.add_to(&mut lock(&self.tally), bytes);
    }

    fn add_to(&self, tally: &mut Tally, bytes: u64) {
        if tally.closed {
            return;
        }
        let now = tally.count.bytes.saturating_add(bytes);
        tally.count.bytes = now;
        self.all.fetch_add(bytes, Ordering::Relaxed);
        if now >= tally.noted.bytes.saturating_add(STEP_BYTES) || now > self.max {
            self.news.notify_one();
        }
    }

    /// A commit of a life is durable.
    fn appended(&self, first: Seq, next: Seq, bytes: u64) {
        let mut tally = lock(&self.tally);
        let counted = tally.count.next;
        // Whoever read the journal meanwhile has counted it.
        if first < counted {
            return;
        }
        if first > counted {
            tally.unread.push(counted..first);
        }
        tally.count.next = next;
        self.add_to(&mut tally, bytes);
    }

    /// A blob of a life is durable.
    fn put(&self, blob: Hash, bytes: u64) {
        let mut tally = lock(&self.tally);
        if tally.count.last.replace(blob) != Some(blob) {
            self.add_to(&mut tally, bytes);
        }
    }

    /// Counts what is in the journal and was not counted as it was written. Reads that: waits for disks.
    pub(crate) fn catch_up(&self, store: &NodeStore) -> Result<(), Error> {
        let _reading = lock(&self.reading);
        {
            let mut tally = lock(&self.tally);
            let Some(end) = store.tail(self.agent)?.map(|end| end.next).filter(|_| !tally.closed) else {
                return Ok(());
            };
            if end < tally.count.next {
                // Another journal of the agent took its place.
                self.all.fetch_sub(tally.count.bytes, Ordering::Relaxed);
                *tally = Tally::default();
            }
            let counted = tally.count.next;
            if counted < end {
                tally.unread.push(counted..end);
                tally.count.next = end;
            }
        }
        loop {
            let (part, mut last) = {
                let mut tally = lock(&self.tally);
                let Some(part) = tally.unread.pop() else { return Ok(()) };
                (part, tally.count.last)
            };
            let measured = measure(store, self.agent, &part, &mut last);
            let mut tally = lock(&self.tally);
            match measured {
                Ok(bytes) => {
                    tally.count.last = last;
                    self.add_to(&mut tally, bytes);
                }
                Err(error) => {
                    tally.unread.push(part);
                    return Err(error);
                }
            }
        }
    }

    /// Comes back when the count is to be written down, or is above what the agent may store.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// Why the agent may not go on, if it may not.
    pub(crate) fn excess(&self) -> Option<String> {
        let (bytes, max) = (self.bytes(), self.max);
        let words = || {
            format!(
                "it has stored {bytes} bytes, and this node allows {max}; raise admission.stored_bytes_per_agent in node.toml"
            )
        };
        (bytes > max).then(words)
    }

    /// Counts what is not counted yet, and writes the count down.
    pub(crate) async fn note(self: &Arc<Self>, store: &Arc<NodeStore>) -> Result<(), Error> {
        let (stored, disk) = (self.clone(), store.clone());
        blocking(move || stored.catch_up(&disk)).await?;
        let count = {
            let mut tally = lock(&self.tally);
            if tally.closed || tally.noted == tally.count {
                return Ok(());
            }
            tally.noted = tally.count;
            tally.count
        };
        Ok(local::put_stored(&**store, self.agent, count).await?)
    }
}

/// What these entries and the blobs that they name take. `last` is the last blob before them, then the last of them.
fn measure(store: &NodeStore, agent: AgentId, part: &Range<Seq>, last: &mut Option<Hash>) -> Result<u64, Error> {
    let mut sum = 0_u64;
    for commit in store.read(agent, part.start)? {
        let commit = commit?;
        for (_, _, bytes) in commit.entries().filter(|(seq, ..)| part.contains(seq)) {
            let entry = Entry::decode(bytes).map_err(igor_spine::Error::from)?;
            sum = sum.saturating_add(bytes.len() as u64).saturating_add(named_bytes(store, &entry.body, last)?);
        }
        if commit.next() >= part.end {
            break;
        }
    }
    Ok(sum)
}

fn named_bytes(store: &NodeStore, body: &Body, last: &mut Option<Hash>) -> Result<u64, Error> {
    let content = |content: &Content| if let Content::Blob { bytes, .. } = content { *bytes } else { 0 };
    Ok(match body {
        Body::Genesis(genesis) => {
            let here = |hash, max| Ok::<_, Error>(store.get_blob(hash, max)?.map_or(0, |blob| blob.len() as u64));
            here(genesis.body.program, PROGRAM_BYTES_MAX as u64)? + here(genesis.body.manifest, BLOB_BYTES_MAX)?
        }
        Body::Checkpoint(checkpoint) => {
            let changed = last.replace(checkpoint.root) != Some(checkpoint.root);
            content(&checkpoint.remembered) + if changed { checkpoint.bytes } else { 0 }
        }
        Body::Message(message) => content(&message.body),
        Body::Run(run) => {
            let reply = |request: &Request| if let Request::Reply { body, .. } = request { content(body) } else { 0 };
            run.requests.iter().map(reply).sum()
        }
        _ => 0,
    })
}

/// The disk as one agent's life has it: whatever it writes is counted.
pub(crate) struct Shelf {
    disk: Arc<NodeStore>,
    stored: Arc<Stored>,
}

impl Shelf {
    pub(crate) const fn new(disk: Arc<NodeStore>, stored: Arc<Stored>) -> Self {
        Self { disk, stored }
    }
}

impl Store for Shelf {
    async fn create(&self, commit: Commit) -> Result<(), igor_store::Error> {
        let (first, next, bytes) = (commit.first(), commit.next(), entry_bytes(&commit));
        self.disk.create(commit).await?;
        self.stored.appended(first, next, bytes);
        Ok(())
    }

    async fn append(&self, commit: Commit) -> Result<(), igor_store::Error> {
        let (first, next, bytes) = (commit.first(), commit.next(), entry_bytes(&commit));
        self.disk.append(commit).await?;
        self.stored.appended(first, next, bytes);
        Ok(())
    }

    async fn append_noting(&self, commit: Commit, name: &str, note: Vec<u8>) -> Result<(), igor_store::Error> {
        let (first, next, bytes) = (commit.first(), commit.next(), entry_bytes(&commit));
        self.disk.append_noting(commit, name, note).await?;
        self.stored.appended(first, next, bytes);
        Ok(())
    }

    async fn settle(&self) -> Result<(), igor_store::Error> {
        self.disk.settle().await
    }

    fn kind(&self, agent: AgentId) -> StoreKind {
        self.disk.kind(agent)
    }

    async fn refresh(&self, agent: AgentId) -> Result<(), igor_store::Error> {
        self.disk.refresh(agent).await
    }

    async fn attach(&self, agent: AgentId, until: Option<Seq>, bytes_max: u64) -> Result<(), igor_store::Error> {
        self.disk.attach(agent, until, bytes_max).await
    }

    async fn collect(&self, agent: AgentId) -> Result<(), igor_store::Error> {
        self.disk.collect(agent).await
    }

    fn tail(&self, agent: AgentId) -> Result<Option<Chain>, igor_store::Error> {
        self.disk.tail(agent)
    }

    fn read(&self, agent: AgentId, from: Seq) -> Result<Commits, igor_store::Error> {
        self.disk.read(agent, from)
    }

    fn list(&self) -> Result<Vec<AgentId>, igor_store::Error> {
        self.disk.list()
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash, igor_store::Error> {
        let length = bytes.len() as u64;
        let hash = self.disk.put_blob(bytes).await?;
        self.stored.put(hash, length);
        Ok(hash)
    }

    fn has_blob(&self, hash: Hash) -> Result<bool, igor_store::Error> {
        self.disk.has_blob(hash)
    }

    fn get_blob(&self, hash: Hash, bytes_max: u64) -> Result<Option<Vec<u8>>, igor_store::Error> {
        self.disk.get_blob(hash, bytes_max)
    }

    async fn remove(&self, agent: AgentId) -> Result<(), igor_store::Error> {
        self.disk.remove(agent).await
    }

    async fn put_local(&self, name: &str, bytes: Vec<u8>) -> Result<(), igor_store::Error> {
        self.disk.put_local(name, bytes).await
    }

    fn get_local(&self, name: &str) -> Result<Option<Vec<u8>>, igor_store::Error> {
        self.disk.get_local(name)
    }

    async fn remove_local(&self, name: &str) -> Result<(), igor_store::Error> {
        self.disk.remove_local(name).await
    }

    fn list_local(&self) -> Result<Vec<String>, igor_store::Error> {
        self.disk.list_local()
    }
}

fn entry_bytes(commit: &Commit) -> u64 {
    commit.entries().map(|(_, _, bytes)| bytes.len() as u64).sum()
}

#[cfg(test)]
mod tests;
