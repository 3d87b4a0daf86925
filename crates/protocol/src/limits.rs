//! Upper bounds of everything that is decoded, so that no input can make a reader allocate without end.

use crate::units::Nanos;

/// Largest encoded commit, in bytes. A reader refuses a longer frame before it allocates for it.
pub const COMMIT_BYTES_MAX: usize = 8 << 20;
/// Largest encoded entry, in bytes.
pub const ENTRY_BYTES_MAX: usize = 4 << 20;
/// Most entries in one commit.
pub const COMMIT_ENTRIES_MAX: usize = 4096;
/// Bodies up to this many bytes are inline in their entry; larger ones are blobs, named by their hash.
pub const INLINE_BYTES_MAX: usize = 4 << 10;
/// Largest blob (program, checkpoint state, large body), in bytes.
pub const BLOB_BYTES_MAX: u64 = 1 << 30;
/// Largest program, in bytes.
pub const PROGRAM_BYTES_MAX: usize = 64 << 20;
/// Longest agent name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest opaque message id or stream name, in bytes.
pub const MESSAGE_ID_BYTES_MAX: usize = 128;
/// Opaque message ids that are remembered for each sender.
pub const REMEMBERED_PER_SENDER: usize = 10_000;
/// Senders that an inbox remembers at once.
pub const SENDERS_MAX: usize = 256;
/// Streams of numbered messages that are remembered for each sender.
pub const STREAMS_PER_SENDER: usize = 1_024;
/// Times that a message may be taken by ticks that fail, before it is closed as failed.
pub const MESSAGE_ATTEMPTS_MAX: u32 = 3;
/// Failed ticks in a row after which an agent is suspended.
pub const FAILURES_MAX: u32 = 5;
/// Least time between the start of a tick and that of one that says that the agent was resumed: nothing in a journal
/// proves a restart, so this bounds how often one can be claimed.
pub const RESUMED_APART: Nanos = Nanos::from_millis(10);
/// Nodes that a policy names as custodians.
pub const CUSTODIANS_MAX: usize = 64;
/// Nodes that a policy names as standby.
pub const STANDBY_MAX: usize = 16;
/// Shortest silence after which a standby may go on: a host says three times in it that it is well.
pub const SILENT_MIN: Nanos = Nanos(600_000_000);
/// Receipts that an agent can read back.
pub const RECEIPTS_KEPT: usize = 8;
/// Nodes that a list for an agent has, the one that it is on among them.
pub const NODES_LISTED_MAX: usize = 16;
/// Longest cause text that is kept with a failed run, in bytes.
pub const CAUSE_BYTES_MAX: usize = 512;
