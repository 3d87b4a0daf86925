//! How nodes reach each other: authenticated connections, small requests, transfer streams, and limits on all of it.
//!
//! Invariants kept here:
//! - A peer is known by its key: what it sends comes with the [`NodeId`](igor_protocol::NodeId) that its connection
//!   was authenticated with.
//! - Nothing from a peer is allocated before its size was bounded, nor decoded before it is whole ([`frame`]).
//! - Every connection, stream, request and byte in flight is under a limit, per peer and in all ([`Limits`]); who is
//!   over one is refused for a reason from a closed set ([`Refusal`]), which is counted and logged at a bounded rate.
//! - One peer's flood takes what that peer may take; others keep getting answers.
//! - This crate knows agents by their id only: no journal, no store, no wasmtime.

mod address;
mod behaviour;
mod book;
mod bucket;
mod config;
mod counters;
mod driver;
mod error;
pub mod frame;
pub mod fuzz;
mod gate;
mod handler;
mod identity;
mod impostor;
pub mod limits;
mod link;
pub mod message;
mod network;
mod seen;
mod server;
mod stream;
mod transport;

pub use book::Peer;
pub use config::{Config, Times};
pub use counters::Snapshot;
pub use error::{Error, Refusal};
pub use handler::{Event, Handler};
pub use identity::address_of;
pub use libp2p::Multiaddr;
pub use limits::Limits;
pub use message::{Beat, Follow, Record, Request, Response, Status, Why};
pub use network::Network;
pub use stream::{Receiver, Sender, Stream};

/// The protocol of requests. One stream, one request, one response.
pub const ASK: &str = "/igor/ask/1";
/// The protocol of transfers. One stream, frames both ways.
pub const MOVE: &str = "/igor/move/3";
/// The protocol that tells a node where it is seen. One stream, one list of addresses.
pub const SEEN: &str = "/igor/seen/1";
