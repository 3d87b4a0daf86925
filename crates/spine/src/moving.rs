//! Moving an agent: its journal goes ahead while it ticks, and only the last entries in the pause.
//!
//! Invariants kept here:
//! - What comes from another node is bounded, then verified, then kept; nothing of it is believed before.
//! - What is kept is a prefix of a journal that its custodians signed, whatever is cut: the next attempt goes on there.
//! - Who may run the agent is decided by custody alone, never by what was sent.

mod coming;
mod differ;
mod keep;
mod link;
mod ship;

pub(crate) use coming::Arrivals;
pub use keep::{Keeper, NotKept, StoreBlobs};
pub use link::{Cut, Link, receive, send};
pub(crate) use ship::{Failed as ShipFailed, Shipment};
