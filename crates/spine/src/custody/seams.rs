//! What custody needs of the node around it: the agents' lives, and the other nodes.

use crate::moving::{Cut, Link};
use igor_protocol::{
    AgentId, Chain, Hash, Manifest, NodeId, Terms,
    custody::Tidings,
    transfer::{Offer, Refusal},
};
use std::future::Future;

/// The other nodes.
pub trait Peers: Send + Sync + 'static {
    /// A stream to one of them.
    type Link: Link + 'static;

    /// Opens a stream for a move.
    fn open(&self, to: NodeId) -> impl Future<Output = Result<Self::Link, Cut>> + Send;

    /// Tells a node. Nothing is waited for: what is lost is asked for again.
    fn tell(&self, to: NodeId, tidings: Tidings);

    /// Asks a node what it knows of an agent. Its answer comes in as tidings, or not at all.
    fn ask(&self, to: NodeId, agent: AgentId);

    /// All nodes that are known.
    fn all(&self) -> Vec<NodeId>;
}

/// What a node gives an agent that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Its price.
    pub terms: Terms,
    /// How many bytes of journal and blobs it may bring.
    pub bytes_max: u64,
}

/// The node around: the lives of its agents, and its operator's policy.
pub trait Host: Send + Sync + 'static {
    /// What programs run with here: its runs can be followed where the journal names the same.
    fn runtime(&self) -> String;

    /// Seals what the agent's life did so far, if it has one: what goes ahead is kept only where a seal vouches for it.
    fn seal(&self, agent: AgentId) -> impl Future<Output = ()> + Send;

    /// Ends the agent's life, if it has one, between two runs, sealed and if asked for with a checkpoint; back once
    /// nothing of it runs. It is not started again by anything but [`Host::start`].
    fn freeze(&self, agent: AgentId, checkpoint: bool) -> impl Future<Output = Result<(), String>> + Send;

    /// Ends the agent's life at once, without a checkpoint; back once nothing of it runs.
    fn stop(&self, agent: AgentId) -> impl Future<Output = ()> + Send;

    /// The agent may run from here on.
    fn start(&self, agent: AgentId) -> impl Future<Output = ()> + Send;

    /// Whether the operator takes this agent from this node, and at which price.
    fn admit(&self, from: NodeId, offer: &Offer) -> Result<Admission, Refusal>;

    /// Compiles the program, which is here whole, so that no time goes by with it later.
    fn prepare(&self, program: Hash, manifest: &Manifest) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Restores the agent at the end of its journal, which this node does not have custody of yet, and keeps the
    /// instance for [`Host::start`]. One that is kept already follows the journal to its end.
    fn restore(&self, agent: AgentId) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Forgets what [`Host::restore`] kept.
    fn forget(&self, agent: AgentId);

    /// Keeps the journal that is here as a file, before it leaves the store: from `base` on it is not the branch that
    /// counts.
    fn set_aside(&self, agent: AgentId, base: Chain) -> impl Future<Output = Result<(), String>> + Send;
}
