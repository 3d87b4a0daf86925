//! The seam between the store and the machine's files.
//!
//! Everything the store does to a disk goes through [`Files`], so that a simulator can drop, tear and reorder
//! whatever was not synced. The promises that the store builds on, and no others:
//! - A write that returned is seen by reads of this machine until its power is cut.
//! - A write is durable once [`File::sync`] on that file returned; a sector is written whole or not at all.
//! - A creation, rename or removal is durable once [`Files::sync_dir`] on its directory returned; a rename is seen
//!   whole or not at all.
//! - A sync that failed says nothing about the writes before it, and neither does the next one that succeeds.
//!
//! Names are relative to the home and use `/`.

mod real;
mod rule;

pub use real::RealFiles;
pub use rule::{Rule, Rules};

use std::{io, path::PathBuf, sync::Arc};

/// A home's files.
pub trait Files: Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, name: &str, mode: Mode) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name in the same directory, replacing what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Its open handles stay readable.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes a directory, if it is not there.
    fn create_dir(&self, name: &str) -> io::Result<()>;

    /// Makes the names in a directory durable; `""` is the home itself.
    fn sync_dir(&self, name: &str, point: SyncPoint) -> io::Result<()>;

    /// The names in a directory, sorted.
    fn list(&self, name: &str) -> io::Result<Vec<String>>;

    /// Where a file is, for messages.
    fn path(&self, name: &str) -> PathBuf;

    /// Which rules the store keeps on these files. Only a simulated disk leaves one out.
    fn rules(&self) -> Rules {
        Rules::ALL
    }
}

/// An open file.
pub trait File: Send + Sync + 'static {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `bytes` from this position, or fails with [`io::ErrorKind::UnexpectedEof`].
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;

    /// Writes all of `bytes` at this position, growing the file if need be.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Reserves room for the first `length` bytes, so that writing them does not run out of space.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Makes the file's bytes and length durable.
    fn sync(&self, point: SyncPoint) -> io::Result<()>;
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It must be there; it is not changed.
    Read,
    /// It must be there.
    Write,
    /// It is made if it is not there, with mode 0600, and keeps what it has.
    Create,
    /// It is made, or emptied if it is there.
    CreateEmpty,
}

/// Each place where the store waits for the disk, and what it may do only after.
///
/// Real files only trace the name. It is here so that a test can take one of them away, or let it come too late, and
/// show that it is needed. What is needed and is not a sync has its name in [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SyncPoint {
    /// Commits written to the log, before they are acknowledged.
    Group,
    /// What a restart found at the end of the log and wrote again, before it is believed.
    RecoveredGroup,
    /// A new segment's zeros and header, before it is given its name.
    Segment,
    /// A new segment's name, before anything in it is acknowledged.
    SegmentName,
    /// Commits copied to an agent's file, before the log says that they are there.
    AgentFile,
    /// A new agent file's name, before the log says that it is there.
    AgentFileName,
    /// That the file of a removed journal is gone, before the log forgets the removal.
    AgentFileGone,
    /// What the agent files hold, written to the log before older segments are dropped.
    Watermarks,
    /// A blob's bytes, before it is given its name.
    Blob,
    /// A blob's name, before an entry may name it.
    BlobName,
    /// A local value's bytes, before it is given its name.
    Local,
    /// The names of local values, before the log forgets them.
    LocalName,
    /// Names that a restart found, before they are believed.
    FoundNames,
    /// That the file of a removed journal is gone, as a restart found it, before the log forgets the removal.
    FoundGone,
    /// The names of a new home's directories, before it is marked as one.
    Directories,
    /// The mark of a home's format, before it is given its name.
    Format,
    /// The name of that mark, before a home that has it is believed to be one.
    FormatName,
}

impl SyncPoint {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Group,
        Self::RecoveredGroup,
        Self::Segment,
        Self::SegmentName,
        Self::AgentFile,
        Self::AgentFileName,
        Self::AgentFileGone,
        Self::Watermarks,
        Self::Blob,
        Self::BlobName,
        Self::Local,
        Self::LocalName,
        Self::FoundNames,
        Self::FoundGone,
        Self::Directories,
        Self::Format,
        Self::FormatName,
    ];
}
