//! Agents that come and go: what [`igor_spine::custody`] needs of this node and of the others.
//!
//! Invariants kept here:
//! - An agent lives here only while custody says so: each life has a [`Lease`](igor_spine::custody::Lease), and ends when
//!   that is taken back.
//! - What another node sends is answered by the authenticated peer it came from, under the network's limits.

mod around;
mod handler;
mod host;
mod lines;
mod peers;
mod queue;

pub(crate) use around::AgentWorld;
pub(crate) use handler::Gate;
pub(crate) use host::NodeHost;
pub(crate) use peers::{Heard, NodePeers};

use crate::bucket::NodeStore;
use crate::world::RealWorld;
use igor_spine::custody::Steward;

/// The custody of all agents of a node.
pub(crate) type NodeSteward = Steward<NodeStore, RealWorld, NodePeers, NodeHost>;
