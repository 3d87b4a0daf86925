//! Moving an agent: its journal goes ahead while it ticks, and only the last entries in the pause.
//!
//! Invariants kept here:
//! - What comes from another node is bounded, then verified, then kept; nothing of it is believed before.
//! - What is kept is a true prefix of the agent's journal, whatever is cut: the next attempt goes on there.
//! - Who may run the agent is decided by custody alone, never by what was sent.

mod keep;
mod link;
mod ship;

pub use keep::{Keeper, NotKept, StoreBlobs};
pub use link::{Cut, Link, receive, send};
pub(crate) use ship::{Failed as ShipFailed, blob as ship_blob};
pub use ship::{Shipped, ship};
