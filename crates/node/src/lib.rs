//! Carries agents: home, supervisor, API, metrics; and the client of that API.
//!
//! Invariants kept here:
//! - One process has a home ([`Node::open`]); the others reach it through its API ([`client`]).
//! - A life never waits for those who watch it: events are read from the journal ([`events`], [`Follower`]).
//! - What comes through the API is authenticated, bounded and checked before it is believed ([`api`]).

mod admission;
pub mod api;
pub mod bucket;
pub mod client;
pub mod custody;
mod error;
pub mod events;
mod follow;
pub mod home;
mod hosted;
pub mod local;
mod metrics;
mod moves;
mod node;
pub mod orphans;
pub mod portable;
mod reply;
mod stored;
mod world;

pub use admission::NoRoom;
pub use error::{Error, Rejected};
pub use follow::Follower;
pub use hosted::{Events, Hosted, Over};
pub use node::{Carried, Creation, Deploy, Deployed, GENESIS_WITHIN, Import, Node, NotImported, Wishes};
pub use world::RealWorld;

/// For whoever makes the runtime that lives run on: turns that tasks have before a busy thread looks at clocks and
/// sockets again. A long tick takes a good part of a millisecond a turn, and quiet agents shall not wait for many.
pub const EVENT_INTERVAL: u32 = 7;
