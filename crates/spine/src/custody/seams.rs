//! What custody needs of the node around it: the agents' lives, and the other nodes.

use super::{Error, Lease};
use crate::moving::{Cut, Link};
use igor_protocol::{
    AgentId, Chain, Hash, Manifest, NodeId, Terms,
    custody::Tidings,
    transfer::{Manner, Offer, Refusal},
};
use std::future::Future;

/// The other nodes.
pub trait Peers: Send + Sync + 'static {
    /// A stream to one of them.
    type Link: Link + 'static;

    /// Opens a stream for a move, once few enough are open: to one node no more than it takes at once. `waits` is called
    /// where that is not so yet.
    fn open(&self, to: NodeId, waits: impl FnOnce() + Send) -> impl Future<Output = Result<Self::Link, Cut>> + Send;

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
    /// The life holds off its checkpoints for a while, so that the state that went ahead stays the last one.
    fn seal(&self, agent: AgentId) -> impl Future<Output = ()> + Send;

    /// Ends the agent's life, if it has one, between two runs, sealed and if asked for with a checkpoint, and gives its
    /// lease back. One that is being opened is waited for. No other life begins until custody is done with it.
    fn freeze(&self, agent: AgentId, checkpoint: bool) -> impl Future<Output = Result<(), String>> + Send;

    /// The agent may run from here on, as long as the lease is out. Whether its operator wants it to is the host's to
    /// say; one who does not, or cannot, drops the lease. Does not wait for the life.
    fn start(&self, agent: AgentId, lease: Lease);

    /// Something is left to be done about the agent's custody: call [`Steward::settle`](super::Steward::settle) until it
    /// says that nothing is. Does not wait for that.
    fn unsettled(&self, agent: AgentId);

    /// Whether the operator takes agents from this node at all.
    fn lists(&self, from: NodeId) -> bool;

    /// Whether the operator takes this agent from this node, and at which price. It has its place from here on, until it
    /// lives here or [`Host::forget`] is called.
    fn admit(&self, from: NodeId, offer: &Offer) -> Result<Admission, Refusal>;

    /// Compiles the program, which is here whole, so that no time goes by with it later.
    fn prepare(&self, program: Hash, manifest: &Manifest) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// How its operator has an agent live that goes away from here.
    fn manner(&self, agent: AgentId) -> Manner;

    /// An agent that comes is to live in this manner, whatever was said of it before, durably from here on.
    fn heed(&self, agent: AgentId, manner: Manner) -> impl Future<Output = Result<(), String>> + Send;

    /// Restores the agent at the end of its journal, which this node does not have custody of yet, and keeps the
    /// instance for [`Host::start`]. One that is kept already follows the journal to its end.
    fn restore(&self, agent: AgentId) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Forgets what [`Host::admit`] and [`Host::restore`] kept, where no life has it.
    fn forget(&self, agent: AgentId);

    /// The end of an archive could not be written, which custody does not depend on: an operator may want to know.
    fn unwritten(&self, agent: AgentId, error: &Error) {
        let _ = (agent, error);
    }

    /// Keeps the journal that is here as a file, before it leaves the store: from `base` on it is not the branch that
    /// counts.
    fn set_aside(&self, agent: AgentId, base: Chain) -> impl Future<Output = Result<(), String>> + Send;
}
