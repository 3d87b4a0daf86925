//! Journals in object storage that all nodes reach, with this machine's disk as their cache.
//!
//! ```text
//!   append ──► blobs that it names ──► next slot, put if absent ──► cache on the disk ──► durable
//!                                        │ taken: read it
//!                                        ├ the same bytes: it was ours ─► durable
//!                                        ├ counts for nothing: one slot further
//!                                        └ somebody else's: fenced off
//! ```
//!
//! Invariants kept here:
//! - An append returns once it is in the bucket and all before it are; the disk never has more of a journal than the
//!   bucket, so whatever is read from it is what every other node reads.
//! - Which bytes stand in a slot is decided by the bucket alone: put-if-absent, and nothing is sent for a slot but the
//!   same bytes until it is known what is there. No clock and no lock is believed.
//! - A process appends only after a change of custody of its own, made since it read the journal; so what an earlier
//!   process, or an append that nobody waited for, still has on its way counts for nothing, or came before.
//! - Who changes custody looks afterwards whether slots were collected from that place on: then it was not the end.
//! - The disk keeps, with each commit, up to which slot it has read, in a note. A bucket that does not have
//!   what was there before is refused.
//! - Agents on this machine's disk go by as if this were not here.

mod blobs;
mod collect;
mod counted;
mod identity;
mod keys;
mod log;
mod note;
mod reading;

pub use counted::Requests;
pub use identity::{NotIdentified, answers, identify, identity};
pub use keys::slot as slot_key;
pub use note::name as note_name;

use crate::{Commits, Error, Store, bucket::Bucket};
use counted::Counted;
use igor_protocol::{
    AgentId, Chain, Commit, Entry, Hash, KeyPair, Seq,
    entry::{Body, StoreId, StoreKind},
    slot::Nonce,
};
use log::Log;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A disk, and a bucket for the agents whose journals are there.
pub struct Shared<D, B> {
    disk: Arc<D>,
    wing: Option<Wing<B>>,
    logs: Mutex<BTreeMap<AgentId, Arc<Log>>>,
}

/// The bucket, and as whom this process writes there.
pub struct Wing<B> {
    /// The bucket.
    pub bucket: B,
    /// Which one it is.
    pub id: StoreId,
    /// The node's key: it signs each slot.
    pub key: Arc<KeyPair>,
    /// This process.
    pub nonce: Nonce,
    /// Slots before a checkpoint that are worth a bundle.
    pub bundle_slots_min: u64,
}

/// What [`Wing::bundle_slots_min`] is as a rule: one delete and a part of a bundle are worth less than what a reader saves.
pub const BUNDLE_SLOTS_MIN: u64 = 64;

impl<D: Store, B: Bucket> Shared<D, B> {
    /// Journals of agents on this machine's disk, and with a bucket of those there. Finds what the disk has of them.
    pub fn open(disk: Arc<D>, wing: Option<Wing<B>>) -> Result<Self, Error> {
        let mut logs = BTreeMap::new();
        for name in disk.list_local()?.iter().filter(|name| name.starts_with(note::PREFIX)) {
            let note = note::read(&*disk, name)?;
            logs.insert(note.agent, Arc::new(Log::new(note.store)));
        }
        Ok(Self { disk, wing, logs: Mutex::new(logs) })
    }

    /// The disk.
    pub const fn disk(&self) -> &Arc<D> {
        &self.disk
    }

    /// The bucket, where there is one.
    pub const fn wing(&self) -> Option<&Wing<B>> {
        self.wing.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, Arc<Log>>> {
        // No update can fail in the middle.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the journal of an agent has asked of the bucket since this process knows of it; nothing where it is in none.
    pub fn requests(&self, agent: AgentId) -> Option<Requests> {
        self.log(agent).map(|log| log.counters.now())
    }

    /// Whether appends to the journal of an agent leave time in which another process may take the next slot: one that
    /// appends all the time is first in every race for it, and nobody could go on instead. They take longer then.
    pub fn leave_room(&self, agent: AgentId, leaves: bool) {
        if let Some(log) = self.log(agent) {
            log.leave_room(leaves);
        }
    }

    /// The log of an agent whose journal is in a bucket.
    fn log(&self, agent: AgentId) -> Option<Arc<Log>> {
        self.lock().get(&agent).cloned()
    }

    /// Nothing of an agent is here: nothing is remembered of it, also by who waits for its turn.
    fn leave(&self, agent: AgentId, log: &Log) {
        if log.leave() {
            self.lock().remove(&agent);
        }
    }

    /// The bucket that a journal is in.
    fn wing_of<'a>(&'a self, agent: AgentId, log: &'a Log) -> Result<Counted<'a, B>, Error> {
        let wing = self.wing.as_ref().filter(|wing| wing.id == log.store);
        let wing = wing.ok_or(Error::NoBucket { agent, store: log.store })?;
        Ok(Counted::new(wing, &log.counters))
    }
}

impl<D: Store, B: Bucket> Store for Shared<D, B> {
    async fn create(&self, commit: Commit) -> Result<(), Error> {
        match store_of(&commit) {
            StoreKind::Bucket(store) => {
                let new = || Arc::new(Log::new(store));
                let log = self.lock().entry(commit.agent()).or_insert_with(new).clone();
                let wing = self.wing_of(commit.agent(), &log)?;
                log.begin(&wing, &*self.disk, &commit)?;
                log.append(&wing, &*self.disk, commit).await
            }
            StoreKind::Disk => self.disk.create(commit).await,
        }
    }

    async fn append(&self, commit: Commit) -> Result<(), Error> {
        match self.log(commit.agent()) {
            Some(log) => log.append(&self.wing_of(commit.agent(), &log)?, &*self.disk, commit).await,
            None => self.disk.append(commit).await,
        }
    }

    async fn append_noting(&self, commit: Commit, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        if self.log(commit.agent()).is_none() {
            return self.disk.append_noting(commit, name, bytes).await;
        }
        // What is in the bucket needs no note to be true: between the two the note is behind, and nothing else.
        self.append(commit).await?;
        self.disk.put_local(name, bytes).await
    }

    async fn remove(&self, agent: AgentId) -> Result<(), Error> {
        if let Some(log) = self.log(agent) {
            // The bucket keeps what it has. First the journal: a note without one says that nothing was read yet.
            let _turn = log.turn.lock().await;
            log.forget();
            self.disk.remove(agent).await?;
            self.disk.remove_local(&note::name(agent)).await?;
            self.leave(agent, &log);
            return Ok(());
        }
        self.disk.remove(agent).await
    }

    async fn settle(&self) -> Result<(), Error> {
        self.disk.settle().await
    }

    async fn refresh(&self, agent: AgentId) -> Result<(), Error> {
        match self.log(agent) {
            Some(log) => log.refresh(&self.wing_of(agent, &log)?, &*self.disk, agent).await,
            None => Ok(()),
        }
    }

    async fn collect(&self, agent: AgentId) -> Result<(), Error> {
        match self.log(agent) {
            Some(log) => match log.collect(&self.wing_of(agent, &log)?, &*self.disk, agent).await {
                // It was removed meanwhile: what is left in the bucket is for whoever has the agent.
                Err(Error::Unknown { .. }) => Ok(()),
                collected => collected,
            },
            None => Ok(()),
        }
    }

    async fn attach(&self, agent: AgentId, until: Option<Seq>, bytes_max: u64) -> Result<(), Error> {
        let Some(wing) = &self.wing else { return Err(Error::NoBucket { agent, store: StoreId([0; 16]) }) };
        if self.disk.tail(agent)?.is_some() && self.log(agent).is_none() {
            return Ok(());
        }
        loop {
            let log = self.lock().entry(agent).or_insert_with(|| Arc::new(Log::new(wing.id))).clone();
            let wing = self.wing_of(agent, &log)?;
            let _turn = log.turn.lock().await;
            if log.is_over() {
                continue; // somebody else found nothing, or removed it, and there is a new one
            }
            let attached = log.read_on(&wing, &*self.disk, agent, (until, bytes_max)).await;
            if self.disk.tail(agent)?.is_none() {
                self.leave(agent, &log);
            }
            return attached;
        }
    }

    fn kind(&self, agent: AgentId) -> StoreKind {
        self.log(agent).map_or(StoreKind::Disk, |log| StoreKind::Bucket(log.store))
    }

    fn tail(&self, agent: AgentId) -> Result<Option<Chain>, Error> {
        self.disk.tail(agent)
    }

    fn read(&self, agent: AgentId, from: Seq) -> Result<Commits, Error> {
        self.disk.read(agent, from)
    }

    fn list(&self) -> Result<Vec<AgentId>, Error> {
        self.disk.list()
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash, Error> {
        self.disk.put_blob(bytes).await
    }

    fn has_blob(&self, hash: Hash) -> Result<bool, Error> {
        self.disk.has_blob(hash)
    }

    fn get_blob(&self, hash: Hash, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        self.disk.get_blob(hash, bytes_max)
    }

    async fn put_local(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        self.disk.put_local(name, bytes).await
    }

    async fn remove_local(&self, name: &str) -> Result<(), Error> {
        self.disk.remove_local(name).await
    }

    fn get_local(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.disk.get_local(name)
    }

    fn list_local(&self) -> Result<Vec<String>, Error> {
        self.disk.list_local()
    }
}

/// Where a journal is to be that begins with this commit.
fn store_of(first: &Commit) -> StoreKind {
    let genesis = first.entries().next().and_then(|(_, _, bytes)| Entry::decode(bytes).ok());
    match genesis.map(|entry| entry.body) {
        Some(Body::Genesis(genesis)) => genesis.body.store,
        _ => StoreKind::Disk,
    }
}
