//! The store as plain functions over [`Files`], one call after the other: what the threads of a [`super::Disk`]
//! share out among themselves, and what a simulator drives.

use super::{
    Options, blob,
    home::Home,
    local::{self, Local},
    log::{Log, Pending, Staged},
    mover::{self, Moved},
    reading,
    recovery::{Believe, scan},
    segment::{GROUP_HEADER_BYTES, GROUPS_AT},
    spares::Spares,
    table::Shared,
};
use crate::{
    Commits, Error,
    files::{Files, Rule},
};
use igor_protocol::{AgentId, Chain, Commit, Hash, Seq};
use std::sync::Arc;

/// An open store.
pub struct Core {
    pub(crate) home: Arc<Home>,
    pub(crate) table: Shared,
    pub(crate) spares: Arc<Spares>,
    pub(crate) log: Log,
    /// What was copied and is not known in the log yet.
    moved: Option<Moved>,
}

impl Core {
    /// Opens a home, or makes one, and recovers. The caller holds the home's lock.
    ///
    /// What it returns with is durable: the end of the log is written again and synced before it is believed.
    pub fn open(files: Arc<dyn Files>, options: &Options) -> Result<Self, Error> {
        let home = Arc::new(Home::new(files));
        home.prepare()?;
        home.tidy()?;
        let repeat = home.rules.keep(Rule::RepeatBeforeBelief);
        let mut found = scan(&home, if repeat { Believe::AllButTheLast } else { Believe::All })?;
        found.last = found.last.filter(|_| repeat);
        let newest = found.table.segments.keys().next_back().copied().unwrap_or(0);
        let (spare, stale): (Vec<_>, Vec<_>) = found.spare.into_iter().partition(|spare| spare.number > newest);
        let link = found.table.link;
        let table = Shared::new(found.table);
        let spares = Spares::new(home.clone(), table.clone(), options.clone(), spare.into_iter().next());
        let spares = Arc::new(spares);
        let needed = found.last.as_ref().map_or(0, |last| last.body.len() + GROUP_HEADER_BYTES + 8);
        let segment = spares.take(GROUPS_AT + needed as u64)?;
        let mut log = Log::begin(home.clone(), table.clone(), spares.clone(), segment, link);
        if let Some(last) = &found.last {
            log.repeat(last)?;
        }
        // Nothing in these counts, whatever becomes of the last group.
        found.obsolete.iter().for_each(|name| home.discard(name));
        for segment in stale {
            home.discard(&segment.name);
        }
        Ok(Self { home, table, spares, log, moved: None })
    }

    /// Takes a commit into the open group; flushes before if there is no room. It is durable after
    /// [`Core::flush`], and must not be acknowledged before.
    pub fn stage(&mut self, commit: &Commit) -> Result<(), Error> {
        let pending = Pending::new(commit)?;
        if self.log.stage(&pending)? == Staged::FlushFirst {
            self.log.flush()?;
            self.log.stage(&pending)?;
        }
        Ok(())
    }

    /// Takes the removal of a journal into the open group, as [`Core::stage`] does a commit.
    pub fn stage_removal(&mut self, agent: AgentId) -> Result<(), Error> {
        if self.log.stage_removal(agent)? == Staged::FlushFirst {
            self.log.flush()?;
            self.log.stage_removal(agent)?;
        }
        Ok(())
    }

    /// Takes a local value into the open group, in place of the one before, as [`Core::stage`] does a commit.
    pub fn stage_local(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.stage_change(&Local::put(name, bytes)?)
    }

    /// Takes the removal of a local value into the open group.
    pub fn stage_local_removal(&mut self, name: &str) -> Result<(), Error> {
        self.stage_change(&Local::removal(name)?)
    }

    /// Takes a commit and a local value into the open group: both become durable, or neither.
    pub fn stage_noting(&mut self, commit: &Commit, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let (pending, local) = (Pending::new(commit)?, Local::put(name, bytes)?);
        if self.log.stage_noting(&pending, &local)? == Staged::FlushFirst {
            self.log.flush()?;
            self.log.stage_noting(&pending, &local)?;
        }
        Ok(())
    }

    fn stage_change(&mut self, local: &Local) -> Result<(), Error> {
        if self.log.stage_local(local)? == Staged::FlushFirst {
            self.log.flush()?;
            self.log.stage_local(local)?;
        }
        Ok(())
    }

    /// Makes everything that was staged durable.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.log.flush()
    }

    /// What the log does when nothing came for a while.
    pub fn close_idle(&mut self) -> Result<(), Error> {
        self.log.close_idle()
    }

    /// What the mover does in the background: makes the next segment, removes the files of removed journals, moves full
    /// segments to the agents' files.
    pub fn maintain(&mut self) -> Result<(), Error> {
        self.copy()?;
        let Some(moved) = self.moved.take() else { return Ok(()) };
        let log = &mut self.log;
        mover::finish(&self.home, &self.table, moved, |covered, held| log.write_watermarks(covered, &held))
    }

    /// The first half of [`Core::maintain`], up to where the mover waits for the log: what the log does meanwhile may
    /// come between.
    pub fn copy(&mut self) -> Result<(), Error> {
        if self.moved.is_none() {
            self.spares.prepare()?;
            self.moved = mover::copy(&self.home, &self.table, &self.spares)?;
        }
        Ok(())
    }

    /// The durable end of a journal.
    pub fn tail(&self, agent: AgentId) -> Option<Chain> {
        self.table.lock().tail(agent)
    }

    /// Every agent that has a journal here, sorted.
    pub fn list(&self) -> Vec<AgentId> {
        self.table.lock().agents()
    }

    /// The durable commits of a journal from the one that holds `from`.
    pub fn read(&self, agent: AgentId, from: Seq) -> Result<Commits, Error> {
        reading::read(&self.home, &self.table, agent, from)
    }

    /// Makes a blob durable.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Hash, Error> {
        blob::put(&self.home, &self.spares, bytes)
    }

    /// Whether a blob is here.
    pub fn has_blob(&self, hash: Hash) -> Result<bool, Error> {
        blob::has(&self.home, hash)
    }

    /// Reads a blob.
    pub fn get_blob(&self, hash: Hash, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        blob::get(&self.home, hash, bytes_max)
    }

    /// Reads a durable local value.
    pub fn get_local(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        local::get(&self.home, &self.table, name)
    }

    /// The names of all durable local values, sorted.
    pub fn list_local(&self) -> Result<Vec<String>, Error> {
        local::list(&self.home, &self.table)
    }
}
