//! What is true about an agent, and how anyone can check it.
//!
//! An agent is its journal: one append-only, hash-chained, signed list of entries. This crate defines those
//! entries, their bytes, the chain, the money, and [`verify`], which checks a whole journal without any runtime.
//!
//! Invariants kept here:
//! - This crate does no I/O, reads no clock, draws no randomness and knows no async, wasmtime or libp2p.
//! - Every encoded value has exactly one byte string; anything else is refused on decoding ([`codec`]).
//! - Sizes are bounded before anything is allocated for them ([`limits`]).
//! - Money is conserved to the last unit: funding = balance + spent ([`ledger`]).
//! - The node that appends and the stranger who verifies run the same fold ([`ledger::Ledger`]).

pub mod archive;
pub mod codec;
pub mod commit;
pub mod custody;
pub mod entry;
pub mod fuzz;
pub mod hash;
pub mod id;
pub mod key;
pub mod ledger;
pub mod limits;
pub mod manifest;
pub mod slot;
pub mod terms;
pub mod transfer;
pub mod units;
pub mod verify;

pub use commit::{Chain, Commit};
pub use entry::{Body, Entry};
pub use hash::Hash;
pub use id::AgentId;
pub use key::{KeyPair, NodeId, OwnerId, PublicKey, Signature};
pub use ledger::Ledger;
pub use manifest::Manifest;
pub use terms::Terms;
pub use units::{Credits, Epoch, Fuel, Nanos, Seq, Slot, Tick, Timestamp};
