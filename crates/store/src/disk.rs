//! The store in a directory of this machine: our own log, since it is the heart of everything.
//!
//! Commits of all agents go into one shared log in segments that are made and zeroed beforehand; one thread
//! writes what has come together and syncs once for all. A mover copies full segments into one file per agent
//! and drops them. A journal is removed by a record in the log, and its file when that is durable. Local values are
//! records of the log too, and get a file each when their segment is dropped. Blobs are files. The bytes are in `docs/formats/disk.md`.
//!
//! What survives what:
//!
//! | what | process killed | power cut | disk full | bits lost on the disk |
//! | --- | --- | --- | --- | --- |
//! | a commit, removal, blob or local value whose call returned | there | there | there | reported, never skipped |
//! | one whose call did not return | there or not, whole | there or not, whole | there or not, whole | - |
//! | a commit, removal or local value refused with [`Error::Full`], [`Error::Conflict`], [`Error::Fenced`] | not there | not there | not there | - |
//!
//! - Damage is an error everywhere but in the very last group of the log: that one may look as if its write had
//!   been cut off, and then counts as never written. After 100 ms without a commit an empty group follows, and a
//!   mark elsewhere in the file says so, which leaves nothing to be lost unseen. Under load a mark follows every 64
//!   groups; until then, a lost block that takes away the headers of all groups from some point to the end looks
//!   like a log that ended there.
//! - What a restart finds may be in the page cache only. It writes the last group again, and syncs it and the
//!   names it found, before it believes them.
//! - A failed sync poisons the store: the kernel may have dropped what was not written, so nothing here knows what
//!   is durable. Everything is refused from then on; the process must end, and the next start recovers.
//! - When the disk is full, commits are refused, with the agent named, and are accepted again once there is space.
//!   The last quarter of a segment (at most 1 MiB) is kept for commits with a checkpoint, an end or a custody entry, for
//!   seals, for removals and for local values, and a reserve file gives way to blobs and to the files of local values.
//! - Sectors are taken to be written whole or not at all, as disks promise.
//!
//! Every sync here has a name, [`crate::files::SyncPoint`], and so has everything else that is done in a certain order
//! or compared, [`crate::files::Rule`]: for each there is a test that leaves it out and sees what is lost.

mod agent_file;
mod blob;
mod core;
mod home;
mod local;
mod lock;
mod log;
mod mover;
mod reader;
mod reading;
mod recovery;
mod segment;
mod spares;
mod table;
mod threads;

pub use self::{core::Core, home::FORMAT, reader::Reader};

use self::{
    home::Home,
    local::Local,
    lock::Lock,
    log::Pending,
    table::Shared,
    threads::{Answer, Threads, ToFiles, ToLog},
};
use crate::{
    Commits, Error, Store,
    files::{Files, RealFiles},
};
use igor_protocol::{AgentId, Chain, Commit, Hash, Seq};
use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, path::Path, sync::Arc};
use tokio::sync::oneshot;

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What the lock says about this process to others, besides its pid: its socket, say.
    pub note: String,
    /// The size of the first segment, in bytes. Each next one is four times as large.
    pub segment_bytes_first: u64,
    /// The size at which segments stop growing, in bytes.
    pub segment_bytes_max: u64,
    /// Room kept for a full disk, for the blobs of agents that end or go and for local values, in bytes.
    pub reserve_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { note: String::new(), segment_bytes_first: 1 << 20, segment_bytes_max: 32 << 20, reserve_bytes: 4 << 20 }
    }
}

/// The store in a directory.
///
/// Dropping it waits until what was asked for is durable. Requests that are waiting take memory for their commits:
/// at most one commit a waiting caller.
pub struct Disk {
    home: Arc<Home>,
    table: Shared,
    threads: Threads,
    _lock: Option<Lock>,
}

impl Disk {
    /// Opens a home, or makes one, takes its lock and recovers. Waits for disks: not for an async thread.
    pub fn open(home: &Path, options: &Options) -> Result<Self, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(home);
        made.map_err(|e| Home::new(Arc::new(RealFiles::new(home))).error("", e))?;
        let lock = Lock::exclusive(home, &options.note)?;
        Ok(Self { _lock: Some(lock), ..Self::open_files(Arc::new(RealFiles::new(home)), options)? })
    }

    /// Opens over other files. The caller sees to it that no other process has them.
    pub fn open_files(files: Arc<dyn Files>, options: &Options) -> Result<Self, Error> {
        let core = Core::open(files, options)?;
        let (home, table) = (core.home.clone(), core.table.clone());
        Ok(Self { home, table, threads: Threads::start(core)?, _lock: None })
    }

    /// Comes back once the store is poisoned, with the cause. The process should then end.
    pub async fn poisoned(&self) -> Error {
        let mut poisoned = self.home.watch_poison();
        // The sender lives as long as `self`, so this waits for the value.
        drop(poisoned.wait_for(|poisoned| *poisoned).await);
        self.home.check().err().unwrap_or_else(gone)
    }

    /// The hashes of all blobs that are here, sorted.
    pub fn list_blobs(&self) -> Result<Vec<Hash>, Error> {
        blob::list(&self.home)
    }

    /// Removes blobs. The caller knows that no journal here names them, and that nobody is about to append what does.
    pub async fn remove_blobs(&self, hashes: Vec<Hash>) -> Result<(), Error> {
        self.files(|answer| ToFiles::RemoveBlobs(hashes, answer)).await
    }

    /// Asks the log's thread, now, and waits for its answer.
    async fn log<T>(&self, request: impl FnOnce(Answer<T>) -> ToLog) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.threads.log.send(request(answer)).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Asks the thread of the blobs.
    async fn files<T>(&self, request: impl FnOnce(Answer<T>) -> ToFiles) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.threads.files.send(request(answer)).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Store for Disk {
    async fn create(&self, commit: Commit) -> Result<(), Error> {
        if commit.first() != Seq(0) {
            let (agent, offered) = (commit.agent(), commit.first());
            return Err(Error::Conflict { agent, tail: self.tail(agent)?.map(Box::new), offered });
        }
        self.append(commit).await
    }

    async fn append(&self, commit: Commit) -> Result<(), Error> {
        let commit = Pending::new(&commit)?;
        self.log(|answer| ToLog::Append(commit, answer)).await
    }

    async fn append_noting(&self, commit: Commit, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let (commit, local) = (Pending::new(&commit)?, Local::put(name, &bytes)?);
        self.log(|answer| ToLog::AppendNoting(commit, local, answer)).await
    }

    async fn remove(&self, agent: AgentId) -> Result<(), Error> {
        self.log(|answer| ToLog::Remove(agent, answer)).await
    }

    async fn settle(&self) -> Result<(), Error> {
        self.log(ToLog::Settle).await
    }

    fn tail(&self, agent: AgentId) -> Result<Option<Chain>, Error> {
        Ok(self.table.lock().tail(agent))
    }

    fn read(&self, agent: AgentId, from: Seq) -> Result<Commits, Error> {
        reading::read(&self.home, &self.table, agent, from)
    }

    fn list(&self) -> Result<Vec<AgentId>, Error> {
        Ok(self.table.lock().agents())
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash, Error> {
        self.files(|answer| ToFiles::PutBlob(bytes, answer)).await
    }

    fn has_blob(&self, hash: Hash) -> Result<bool, Error> {
        blob::has(&self.home, hash)
    }

    fn get_blob(&self, hash: Hash, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        blob::get(&self.home, hash, bytes_max)
    }

    async fn put_local(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let local = Local::put(name, &bytes)?;
        self.log(|answer| ToLog::Local(local, answer)).await
    }

    async fn remove_local(&self, name: &str) -> Result<(), Error> {
        let local = Local::removal(name)?;
        self.log(|answer| ToLog::Local(local, answer)).await
    }

    fn get_local(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        local::get(&self.home, &self.table, name)
    }

    fn list_local(&self) -> Result<Vec<String>, Error> {
        local::list(&self.home, &self.table)
    }
}

fn gone() -> Error {
    Error::Poisoned { why: "a thread of the store is gone".into() }
}
