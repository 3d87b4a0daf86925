//! The real disk store on a simulated disk, with points between its steps at which the process may crash.
//!
//! Invariants kept here: a commit, a removal or a local value is acknowledged only after the flush of its group; what the store's
//! threads do in the background is done here between a flush and its acknowledgement, at turns that follow from the calls
//! alone.

use crate::{
    executor::point,
    files::{Crash, SimDisk},
};
use igor_protocol::{AgentId, Chain, Commit, Hash, Seq, verify::Blobs};
use igor_store::{
    Commits, Error, Store,
    disk::{Core, Options},
};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Every so many writes full segments are moved.
const WRITES_PER_MOVE: u64 = 3;
/// Every so many writes the log is closed as if nothing had come for a while.
const WRITES_PER_IDLE: u64 = 5;

/// A store whose machine can go down. It is opened, and recovers, when it is used first after that.
pub struct DiskStore {
    disk: SimDisk,
    core: Mutex<Option<Core>>,
    writes: AtomicU64,
}

impl DiskStore {
    /// The store on this disk.
    pub fn new(disk: SimDisk) -> Self {
        Self { disk, core: Mutex::new(None), writes: AtomicU64::new(0) }
    }

    /// The disk.
    pub const fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// The process ends, or the machine goes down, and it is started again.
    pub fn restart(&self, crash: Crash) {
        *self.lock() = None;
        self.disk.restart(crash);
    }

    /// Opens the store if it is not open.
    pub fn open(&self) -> Result<(), Error> {
        self.with(|_| Ok(()))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Core) -> Result<T, Error>) -> Result<T, Error> {
        let mut core = self.lock();
        let core = match &mut *core {
            Some(core) => core,
            // Small, so that a short life goes through several segments.
            none => none.insert(Core::open(
                self.disk.files(),
                &Options {
                    segment_bytes_first: 4096,
                    segment_bytes_max: 8192,
                    reserve_bytes: 512,
                    ..Options::default()
                },
            )?),
        };
        work(core)
    }

    /// Puts something in the log, and does then what the background has to do.
    async fn write(&self, stage: impl FnOnce(&mut Core) -> Result<(), Error> + Send) -> Result<(), Error> {
        point().await;
        self.with(stage)?;
        point().await;
        self.with(Core::flush)?;
        point().await;
        let turn = self.writes.fetch_add(1, Ordering::Relaxed);
        if turn.is_multiple_of(WRITES_PER_MOVE) {
            self.with(Core::maintain)?;
            point().await;
        }
        if turn.is_multiple_of(WRITES_PER_IDLE) {
            self.with(Core::close_idle)?;
            point().await;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Core>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for DiskStore {
    async fn create(&self, commit: Commit) -> Result<(), Error> {
        self.append(commit).await
    }

    async fn append(&self, commit: Commit) -> Result<(), Error> {
        self.write(|core| core.stage(&commit)).await
    }

    async fn append_noting(&self, commit: Commit, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        self.write(|core| core.stage_noting(&commit, name, &bytes)).await
    }

    async fn remove(&self, agent: AgentId) -> Result<(), Error> {
        self.write(|core| core.stage_removal(agent)).await
    }

    async fn settle(&self) -> Result<(), Error> {
        // Each is done before the next is asked for.
        Ok(())
    }

    fn tail(&self, agent: AgentId) -> Result<Option<Chain>, Error> {
        self.with(|core| Ok(core.tail(agent)))
    }

    fn read(&self, agent: AgentId, from: Seq) -> Result<Commits, Error> {
        self.with(|core| core.read(agent, from))
    }

    fn list(&self) -> Result<Vec<AgentId>, Error> {
        self.with(|core| Ok(core.list()))
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash, Error> {
        point().await;
        let hash = self.with(|core| core.put_blob(&bytes))?;
        point().await;
        Ok(hash)
    }

    fn has_blob(&self, hash: Hash) -> Result<bool, Error> {
        self.with(|core| core.has_blob(hash))
    }

    fn get_blob(&self, hash: Hash, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        self.with(|core| core.get_blob(hash, bytes_max))
    }

    async fn put_local(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        self.write(|core| core.stage_local(name, &bytes)).await
    }

    async fn remove_local(&self, name: &str) -> Result<(), Error> {
        self.write(|core| core.stage_local_removal(name)).await
    }

    fn get_local(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.with(|core| core.get_local(name))
    }

    fn list_local(&self) -> Result<Vec<String>, Error> {
        self.with(|core| core.list_local())
    }
}

impl Blobs for DiskStore {
    fn blob(&self, hash: Hash, bytes_max: u64) -> Option<Vec<u8>> {
        self.get_blob(hash, bytes_max).ok().flatten()
    }
}
