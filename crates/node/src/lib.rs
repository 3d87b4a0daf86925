//! Carries agents: home, supervisor, API, metrics; and the client of that API.
//!
//! Invariants kept here:
//! - One process has a home ([`Node::open`]); the others reach it through its API ([`client`]).
//! - A life never waits for those who watch it: events are read from the journal ([`events`], [`Follower`]).
//! - What comes through the API is authenticated, bounded and checked before it is believed ([`api`]).

pub mod api;
pub mod client;
mod error;
pub mod events;
mod follow;
pub mod home;
mod hosted;
pub mod local;
mod metrics;
mod node;
pub mod order;
mod reply;
mod world;

pub use error::Error;
pub use follow::Follower;
pub use hosted::{Events, Hosted, Over};
pub use node::{Creation, Node, Wishes};
pub use world::RealWorld;
