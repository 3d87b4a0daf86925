//! Looking at a home that no node runs on, without changing a byte of it.
//!
//! Works right after a crash and on a read-only file system. What it shows of the log's very end is what a node
//! would recover if it started now; a power cut before that may still take away what was never acknowledged.
//!
//! Invariant: a node waits for a reader only while that one finds out what is there. The lock is held for that long,
//! and given up before the first commit is read, so that a forgotten pager cannot keep a node from starting. What is
//! read later is what was there then, because a node that starts meanwhile changes none of it: segments are open here,
//! are never written where they have groups that count, and stay readable when they are dropped; a journal's file only
//! grows behind the length found, and is no other journal's later; blobs have the hash that they are called by; files of
//! local values are replaced whole, by renaming, and what the log had of one is in memory. These are the promises that a node's own readers rely on beside its mover
//! (`reading`). A journal that such a node removes before it is read here ends in [`Error::Removed`].

use super::{
    blob,
    home::Home,
    local,
    lock::Lock,
    reading,
    recovery::{Believe, scan},
    table::Shared,
};
use crate::{
    Commits, Error,
    files::{Files, RealFiles},
};
use igor_protocol::{AgentId, Chain, Hash, Seq};
use std::{path::Path, sync::Arc};

/// A read-only view of a home: its journals as they were when it was opened, also while a node goes on with them;
/// blobs as they are now; a local value as it was then, or as one that came later.
pub struct Reader {
    home: Arc<Home>,
    table: Shared,
}

impl Reader {
    /// Opens the view. A home that a node runs on is refused with [`Error::Locked`]: ask the node.
    pub fn open(home: &Path) -> Result<Self, Error> {
        if !home.is_dir() {
            return Err(Error::NotAHome { path: home.into(), why: "there is no such directory".into() });
        }
        let _while_opening = Lock::shared(home)?;
        Self::open_files(Arc::new(RealFiles::new(home)))
    }

    /// Opens the view over other files. The caller sees to it that nobody writes until it is open.
    pub fn open_files(files: Arc<dyn Files>) -> Result<Self, Error> {
        let home = Arc::new(Home::new(files));
        if !home.check_format()? {
            let why = "it has no file `format`; a home is made by `igor run`".into();
            return Err(Error::NotAHome { path: home.files.path(""), why });
        }
        let table = Shared::new(scan(&home, Believe::All)?.table);
        Ok(Self { home, table })
    }

    /// The end of a journal, or nothing if there is no such agent.
    pub fn tail(&self, agent: AgentId) -> Option<Chain> {
        self.table.lock().tail(agent)
    }

    /// Every agent that has a journal here, sorted.
    pub fn list(&self) -> Vec<AgentId> {
        self.table.lock().agents()
    }

    /// The commits of a journal from the one that holds `from`; see [`crate::Store::read`].
    pub fn read(&self, agent: AgentId, from: Seq) -> Result<Commits, Error> {
        reading::read(&self.home, &self.table, agent, from)
    }

    /// Whether a blob is here.
    pub fn has_blob(&self, hash: Hash) -> Result<bool, Error> {
        blob::has(&self.home, hash)
    }

    /// Reads a blob; see [`crate::Store::get_blob`].
    pub fn get_blob(&self, hash: Hash, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        blob::get(&self.home, hash, bytes_max)
    }

    /// Reads a local value.
    pub fn get_local(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        local::get(&self.home, &self.table, name)
    }

    /// The names of all local values, sorted.
    pub fn list_local(&self) -> Result<Vec<String>, Error> {
        local::list(&self.home, &self.table)
    }
}
