//! What can go wrong, by what the caller must do.

use crate::bucket::Failure;
use igor_protocol::{AgentId, Chain, Epoch, Seq, entry::StoreId, ledger::Fault};
use std::{io, path::PathBuf};

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The commit does not link to the journal's end. Nothing was written. Read again and replay.
    #[error("agent {agent}: this commit starts at seq=`{offered}`, but the journal {}", ends(tail.as_deref()))]
    Conflict {
        /// Whose journal.
        agent: AgentId,
        /// The journal's end; nothing where there is none.
        tail: Option<Box<Chain>>,
        /// Where the commit starts.
        offered: Seq,
    },
    /// Somebody has a newer custody. Nothing was written. Drop the instance.
    #[error(
        "agent {agent}: custody has passed on; this commit is of epoch=`{offered}`, the journal is at epoch=`{epoch}`"
    )]
    Fenced {
        /// Whose journal.
        agent: AgentId,
        /// The journal's epoch.
        epoch: Epoch,
        /// The commit's epoch.
        offered: Epoch,
    },
    /// There is no such journal.
    #[error("agent {agent} has no journal here")]
    Unknown {
        /// Whose journal.
        agent: AgentId,
    },
    /// The journal went away between looking for it and reading it.
    #[error("agent {agent}: {} is gone since it was looked for, because its journal was removed; ask again", path.display())]
    Removed {
        /// Whose journal.
        agent: AgentId,
        /// The file that is gone.
        path: PathBuf,
    },
    /// A journal does not have what was once durable. It is not skipped over; restore the files from a copy.
    #[error("agent {agent}: the journal is damaged at seq=`{seq}` in {}: {why}; restore this file from a copy", path.display())]
    Corrupt {
        /// Whose journal.
        agent: AgentId,
        /// The first position that cannot be read.
        seq: Seq,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file that belongs to no single agent does not have what was once durable.
    #[error("{} is damaged at byte {at}: {why}; restore it from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        at: u64,
        /// What is wrong.
        why: String,
    },
    /// The operating system refused. Whether a write took effect is unknown.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No space. Nothing was written and nothing was lost; the agent goes on once there is space.
    #[error("no space left on the disk of {}: {what} was not written; free some space, nothing is lost", path.display())]
    Full {
        /// The home.
        path: PathBuf,
        /// What was refused: an agent, by its id, or a blob or a value.
        what: String,
    },
    /// The bucket has it, for everybody; the disk has no space for it. What is missing here is read once there is.
    #[error(
        "what was appended to the journal of {agent} stands in the bucket, and there is no room for it here: {why}"
    )]
    NotKept {
        /// Whose journal.
        agent: AgentId,
        /// What the disk said.
        why: Box<Self>,
    },
    /// A sync failed, so it is not known what is durable. The process must end; the next start recovers.
    #[error("the disk failed to make a write durable ({why}); igor must stop, and recovers when it is started again")]
    Poisoned {
        /// The first failure.
        why: String,
    },
    /// Another process has this home.
    #[error("{} is in use by {}{}; stop that one first, or use another --home", path.display(), process(*pid), in_brackets(note))]
    Locked {
        /// The home.
        path: PathBuf,
        /// The other process, where it is known.
        pid: Option<u32>,
        /// What the other process wrote about itself, such as its socket.
        note: String,
    },
    /// A home of another version.
    #[error("{} has format {found}, this igor writes format {known}; use the igor that made it, or another --home", path.display())]
    OtherVersion {
        /// The file that says so.
        path: PathBuf,
        /// The version found.
        found: u64,
        /// The version that this program knows.
        known: u64,
    },
    /// Not a home.
    #[error("{} is not an igor home: {why}", path.display())]
    NotAHome {
        /// The directory.
        path: PathBuf,
        /// What is missing or in the way.
        why: String,
    },
    /// The file system does not take writes.
    #[error("{} is read-only; mount it writable, or use another --home", path.display())]
    ReadOnly {
        /// The home.
        path: PathBuf,
    },
    /// Its journal is in a bucket that this node does not have.
    #[error(
        "the journal of agent {agent} is in the bucket with id {store}, which this node does not use; name it in node.toml ([store] url)"
    )]
    NoBucket {
        /// Whose journal.
        agent: AgentId,
        /// Which bucket.
        store: StoreId,
    },
    /// There is more to read of a journal than there is room for.
    #[error(
        "the journal of agent {agent} and what it names take more than the {bytes_max} bytes that there is room for here"
    )]
    Quota {
        /// Whose journal.
        agent: AgentId,
        /// How much there was room for.
        bytes_max: u64,
    },
    /// The bucket failed in a way that asking again does not mend.
    #[error("the bucket of agent {agent}: {failure}")]
    Bucket {
        /// Whose journal.
        agent: AgentId,
        /// What it said.
        failure: Failure,
    },
    /// The journal has to be read from its bucket, and custody of it made anew, before anything is appended.
    #[error("agent {agent}: what is known of its journal is behind the bucket; it is read again first")]
    Behind {
        /// Whose journal.
        agent: AgentId,
    },
    /// The commit cannot stand there.
    #[error("agent {agent}: this cannot be appended: {why}")]
    NotAdmitted {
        /// Whose journal.
        agent: AgentId,
        /// Why.
        why: Fault,
    },
    /// The bucket lacks what was there before.
    #[error(
        "agent {agent}: the bucket does not have {what}, which was there before: it was rolled back, emptied, or is another one; see docs/guides/failover.md"
    )]
    RolledBack {
        /// Whose journal.
        agent: AgentId,
        /// What is missing.
        what: String,
    },
    /// Longer than it may be.
    #[error("{what} is too large: {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A name that a local value cannot have.
    #[error("name=`{name}` cannot name a local value: use 1 to 64 of a-z, 0-9, '-' and '_'")]
    BadName {
        /// The name.
        name: String,
    },
}

impl Error {
    /// Whether the same may go well later, by itself or once something was mended that is no damage.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::NotKept { .. } | Self::Io { .. } | Self::Bucket { .. })
            || self.is_overtaken()
    }

    /// Whether somebody else appended meanwhile: whoever reads on may decide anew.
    pub const fn is_overtaken(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Fenced { .. } | Self::Behind { .. })
    }

    /// Whether the refused write certainly did not happen, so that memory is not ahead of the journal.
    pub fn nothing_written(&self) -> bool {
        matches!(
            self,
            Self::Conflict { .. }
                | Self::Fenced { .. }
                | Self::Full { .. }
                | Self::TooLarge { .. }
                | Self::BadName { .. }
                | Self::NoBucket { .. }
                | Self::NotAdmitted { .. }
        )
    }
}

fn ends(tail: Option<&Chain>) -> String {
    tail.map_or_else(
        || "does not exist".into(),
        |tail| format!("ends at seq=`{}` with head=`{}`", tail.next, tail.head),
    )
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}

fn in_brackets(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!(" ({note})") }
}
