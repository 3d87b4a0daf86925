//! What is durable: journals, programs, manifests and checkpoint states.
//!
//! One trait, [`Store`], with two implementations: [`disk`], a directory of this machine, and [`shared`], a bucket that
//! several machines reach, with a disk as its cache.
//!
//! Invariants kept here:
//! - An append that returned survives whatever its store's documentation says that it survives.
//! - An append is accepted only where it links: agent, position, head and epoch all as the store has them, checked
//!   where writes are ordered and nowhere else. Whose node may append is not asked here: a journal of another node
//!   comes in by the same appends, and one that is cut off is the beginning of a true journal.
//! - A journal is removed whole, and nothing of it is ever part of the one that comes after.
//! - What was once durable is either read back as it was or reported as damage, never skipped over.
//! - This crate reads no clock and draws no randomness.

use igor_protocol::{AgentId, Chain, Commit, Hash, Seq, entry::StoreKind};
use std::future::Future;

pub mod bucket;
pub mod disk;
mod error;
pub mod files;
pub mod fuzz;
mod pipeline;
pub mod search;
pub mod shared;

pub use error::Error;
pub use pipeline::append_all;

/// Where journals and blobs are durable.
///
/// `create` and `append` return once the commit is durable. If the future is dropped before, or an error comes back for
/// which [`Error::nothing_written`] is false, the fate of the commit is unknown: the caller's memory may be ahead of the
/// journal or behind it, so it drops the instance, reads again and replays.
pub trait Store: Send + Sync + 'static {
    /// Begins a journal with its first commit, which starts at position 0.
    fn create(&self, commit: Commit) -> impl Future<Output = Result<(), Error>> + Send;

    /// Appends to a journal. The commit must start where the journal ends and have its epoch or a higher one.
    fn append(&self, commit: Commit) -> impl Future<Output = Result<(), Error>> + Send;

    /// Appends a commit and makes a local value durable with it, as [`Store::put_local`] does: both or neither, whatever
    /// happens in between.
    fn append_noting(
        &self,
        commit: Commit,
        name: &str,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes a whole journal. Once it returned the agent has no journal here, and another one may begin at position 0,
    /// also another branch of the same agent. Where there is none, nothing happens. Blobs stay.
    ///
    /// It is ordered with the appends: what was asked for before goes with the journal, what is asked for after it finds
    /// no journal. Until it returned, the old journal may be there, whole, or gone. Commits that are being read are read
    /// to their end, or end with [`Error::Removed`].
    fn remove(&self, agent: AgentId) -> impl Future<Output = Result<(), Error>> + Send;

    /// Returns once whatever was asked for before is durable, or was refused: also what nobody waits for any more.
    fn settle(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Where a journal that is here is durable.
    fn kind(&self, agent: AgentId) -> StoreKind {
        let _ = agent;
        StoreKind::Disk
    }

    /// Reads on, where others may have appended: what is here of the journal is then what was durable when this was
    /// asked for. It waits for as long as the shared store does not answer.
    fn refresh(&self, agent: AgentId) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = agent;
        std::future::ready(Ok(()))
    }

    /// Puts what is before the last checkpoint together, where that saves objects. Only who appends does it; nothing of
    /// the journal is lost by it.
    fn collect(&self, agent: AgentId) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = agent;
        std::future::ready(Ok(()))
    }

    /// Reads a journal that only a shared store may have; where that has none, nothing happens. With `until`, all before that
    /// is enough, where there is so much: that asks for less than it takes to know the end. More than so many bytes of
    /// it and of what it names are not taken in: then it ends with [`Error::Quota`], and what was taken in stays.
    fn attach(
        &self,
        agent: AgentId,
        until: Option<Seq>,
        bytes_max: u64,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = (agent, until, bytes_max);
        std::future::ready(Ok(()))
    }

    /// The end of a journal, or nothing if there is no such agent.
    fn tail(&self, agent: AgentId) -> Result<Option<Chain>, Error>;

    /// The commits of a journal from the one that holds `from`, in order, each verified to link to the one before.
    fn read(&self, agent: AgentId, from: Seq) -> Result<Commits, Error>;

    /// Every agent that has a journal here.
    fn list(&self) -> Result<Vec<AgentId>, Error>;

    /// Makes a blob durable under the hash of its bytes. Call it before the entry that names it is committed.
    fn put_blob(&self, bytes: Vec<u8>) -> impl Future<Output = Result<Hash, Error>> + Send;

    /// Whether a blob is here. Its bytes are not looked at: that they read is checked where they are read.
    fn has_blob(&self, hash: Hash) -> Result<bool, Error>;

    /// Reads a blob, checked against its hash; nothing if it is not here, an error if it is longer than `bytes_max`.
    fn get_blob(&self, hash: Hash, bytes_max: u64) -> Result<Option<Vec<u8>>, Error>;

    /// Makes a small value durable in place of the one before, whole or not at all. It is part of no journal: the node's
    /// own, which no other node ever sees. Ordered with the appends: what was asked for before is durable before it.
    ///
    /// A name has 1 to 64 of `a-z 0-9 - _`; a value has at most [`LOCAL_BYTES_MAX`] bytes.
    fn put_local(&self, name: &str, bytes: Vec<u8>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes a local value durably; where there is none, nothing happens. Ordered with [`Store::put_local`].
    fn remove_local(&self, name: &str) -> impl Future<Output = Result<(), Error>> + Send;

    /// Reads a local value; nothing if there is none.
    fn get_local(&self, name: &str) -> Result<Option<Vec<u8>>, Error>;

    /// The names of all local values, sorted.
    fn list_local(&self) -> Result<Vec<String>, Error>;
}

/// Longest local value, in bytes.
pub const LOCAL_BYTES_MAX: u64 = 64 << 10;

/// Commits of one journal, read lazily.
pub type Commits = Box<dyn Iterator<Item = Result<Commit, Error>> + Send>;
