//! What each agent has stored: counted as it is written, and remembered in the home.
//!
//! Invariants kept here:
//! - A count is never below what was counted before a crash by more than [`STEP_BYTES`]: it is written down whenever it
//!   has grown by so much, and at the end of a life; of an agent that is given away, once that is settled.
//! - Programs and states are counted with every agent that has them, though the disk keeps equal bytes once: what one
//!   agent may store does not depend on the others.

use crate::{Error, local};
use igor_protocol::{
    AgentId, Body, Chain, Commit, Entry, Hash, Seq,
    entry::{Content, Request},
};
use igor_store::{Commits, Store, disk::Disk};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::Notify;

/// Growth after which a count is written down again, in bytes.
const STEP_BYTES: u64 = 4 << 20;

/// What one agent has stored.
#[derive(Debug)]
pub(crate) struct Stored {
    agent: AgentId,
    bytes: AtomicU64,
    /// What was written down.
    noted: AtomicU64,
    /// What it may store.
    max: u64,
    /// What all agents have.
    all: Arc<AtomicU64>,
    news: Notify,
}

impl Stored {
    /// An agent that has stored so many bytes, which are part of `all` already.
    pub(crate) fn new(agent: AgentId, bytes: u64, max: u64, all: Arc<AtomicU64>) -> Self {
        let noted = AtomicU64::new(bytes);
        Self { agent, bytes: AtomicU64::new(bytes), noted, max, all, news: Notify::new() }
    }

    /// So many bytes more.
    pub(crate) fn add(&self, bytes: u64) {
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.all.fetch_add(bytes, Ordering::Relaxed);
        if now >= self.noted.load(Ordering::Relaxed).saturating_add(STEP_BYTES) || now > self.max {
            self.news.notify_one();
        }
    }

    /// Comes back when the count is to be written down, or is above what the agent may store.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// Why the agent may not go on, if it may not.
    pub(crate) fn excess(&self) -> Option<String> {
        let (bytes, max) = (self.bytes.load(Ordering::Relaxed), self.max);
        let words = || {
            format!(
                "it has stored {bytes} bytes, and this node allows {max}; raise admission.stored_bytes_per_agent in node.toml"
            )
        };
        (bytes > max).then(words)
    }

    /// Writes the count down.
    pub(crate) async fn note(&self, store: &Disk) -> Result<(), local::Error> {
        let bytes = self.bytes.load(Ordering::Relaxed);
        if self.noted.swap(bytes, Ordering::Relaxed) == bytes {
            return Ok(());
        }
        local::put_stored(store, self.agent, bytes).await
    }
}

/// Counts what a journal and its blobs take, where nobody has done so before. Reads all of it: waits for disks.
pub(crate) fn measure(store: &Disk, agent: AgentId, program: u64, manifest: u64) -> Result<u64, Error> {
    let content = |content: &Content| if let Content::Blob { bytes, .. } = content { *bytes } else { 0 };
    let mut sum = program + manifest;
    for commit in store.read(agent, Seq(0))? {
        for (_, _, bytes) in commit?.entries() {
            sum += bytes.len() as u64;
            sum += match Entry::decode(bytes).map_err(igor_spine::Error::from)?.body {
                Body::Checkpoint(checkpoint) => checkpoint.bytes + content(&checkpoint.remembered),
                Body::Message(message) => content(&message.body),
                Body::Run(run) => {
                    let reply =
                        |request: &Request| if let Request::Reply { body, .. } = request { content(body) } else { 0 };
                    run.requests.iter().map(reply).sum()
                }
                _ => 0,
            };
        }
    }
    Ok(sum)
}

/// The disk as one agent's life has it: whatever it writes is counted.
pub(crate) struct Shelf {
    disk: Arc<Disk>,
    stored: Arc<Stored>,
    /// The last blob: a state that has not changed takes no more room.
    last: Mutex<Option<Hash>>,
}

impl Shelf {
    pub(crate) fn new(disk: Arc<Disk>, stored: Arc<Stored>) -> Self {
        Self { disk, stored, last: Mutex::default() }
    }
}

impl Store for Shelf {
    async fn create(&self, commit: Commit) -> Result<(), igor_store::Error> {
        let bytes = entry_bytes(&commit);
        self.disk.create(commit).await?;
        self.stored.add(bytes);
        Ok(())
    }

    async fn append(&self, commit: Commit) -> Result<(), igor_store::Error> {
        let bytes = entry_bytes(&commit);
        self.disk.append(commit).await?;
        self.stored.add(bytes);
        Ok(())
    }

    async fn append_noting(&self, commit: Commit, name: &str, note: Vec<u8>) -> Result<(), igor_store::Error> {
        let bytes = entry_bytes(&commit);
        self.disk.append_noting(commit, name, note).await?;
        self.stored.add(bytes);
        Ok(())
    }

    async fn settle(&self) -> Result<(), igor_store::Error> {
        self.disk.settle().await
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
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(hash);
        if last != Some(hash) {
            self.stored.add(length);
        }
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
