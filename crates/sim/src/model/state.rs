//! What a state of the model is made of: small copies of the protocol's records, so that millions of states fit.
//!
//! Invariant kept here: each small record stands for exactly one of the protocol's (`super::bridge`).

use std::collections::{BTreeMap, BTreeSet};

/// A node by number. [`STRANGER`] and above never take part.
pub type NodeIx = u8;

/// How many nodes take part.
pub const NODES: usize = 3;

/// A key that belongs to nobody who takes part.
pub const STRANGER: NodeIx = 8;

/// A handoff: all that tells one from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gift {
    /// Its epoch.
    pub epoch: (u8, u8),
    /// Its position.
    pub seq: u8,
    /// The head before it.
    pub prev: u64,
    /// Who gives.
    pub from: NodeIx,
    /// Who may take.
    pub to: NodeIx,
}

/// A takeover and its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Taken {
    /// The order's counter, which becomes the term.
    pub counter: u8,
    /// The term of the branch that it goes on from.
    pub term: u8,
    /// The position of the takeover.
    pub seq: u8,
    /// The head before it.
    pub prev: u64,
    /// Who goes on.
    pub by: NodeIx,
}

/// A record of custody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Record {
    /// A handoff.
    Handoff(Gift),
    /// The accept of one.
    Accept(Gift),
    /// The decline of one.
    Decline(Gift),
    /// The return after a decline.
    Return(Gift),
    /// A takeover.
    Takeover(Taken),
}

/// A journal entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    /// A run, each with a number of its own, and what it cost.
    Tick(NodeIx, u8, u8),
    /// A change of custody.
    Custody(Record),
}

/// A journal after its Genesis.
pub type Journal = Vec<Entry>;

/// What an action of the machine is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // as in igor_protocol::custody::Action
pub enum Act {
    Stop,
    Start,
    Adopt,
    Keep(Record),
    Append,
    Bury(Record),
    Suspend(Record, Option<Record>),
    Transfer(NodeIx),
    Tell(NodeIx),
    Announce,
    Ask,
}

impl Act {
    /// Whether it changes nothing at this node.
    pub(super) const fn is_sending(&self) -> bool {
        matches!(self, Self::Transfer(_) | Self::Tell(_) | Self::Announce | Self::Ask)
    }
}

/// The keystore's part, as [`igor_protocol::custody::Memory`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Keys {
    pub signed: Option<Record>,
    pub came: Option<Record>,
    pub elsewhere: Option<Record>,
    pub evidence: Option<(Record, Option<Record>)>,
}

/// What a disk has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disk {
    /// The journal, where one is here.
    pub journal: Option<Journal>,
    /// Branches that were orphaned.
    pub aside: Vec<Journal>,
    /// The keystore.
    pub keys: Keys,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// What survives.
    pub disk: Disk,
    /// Whether its process lives.
    pub up: bool,
    /// Whether it runs the agent.
    pub running: bool,
    /// Actions that are still to be done.
    pub queue: Vec<Act>,
    /// A journal that arrived and is not adopted yet.
    pub arriving: Option<Journal>,
}

/// What may still happen, so that the model ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Left {
    /// Runs of the agent.
    pub ticks: u8,
    /// Handoffs.
    pub handoffs: u8,
    /// Kills.
    pub crashes: u8,
    /// Orders of the owner.
    pub takeovers: u8,
    /// Copies of a journal to a node that has none, such as an export.
    pub copies: u8,
    /// Archives that are deleted.
    pub deletions: u8,
    /// Disks that are copied and later restored: 1 is one copy and one restore.
    pub restores: u8,
    /// Handoffs that a lying node signs beside the one that it keeps.
    pub lies: u8,
}

/// Which part of a disk comes from an older copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Restored {
    /// The whole disk.
    All,
    /// The journals.
    Journals,
    /// The keystore.
    Keys,
}

/// A state of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The nodes.
    pub nodes: [Node; NODES],
    /// Journals that were ever sent, by the handoff that they end with. Each arrives any number of times, or never.
    pub sent: BTreeMap<Gift, Journal>,
    /// Records that were ever told. Each is heard by anyone, any number of times, or never.
    pub told: BTreeSet<Record>,
    /// Who ever asked. The question comes to anyone, any number of times, or never.
    pub asked: [bool; NODES],
    /// Orders that the owner ever signed.
    pub orders: BTreeSet<Taken>,
    /// All that nodes ever kept as signed. Nobody in the model sees this.
    pub signed: BTreeSet<Record>,
    /// The longest journal of the highest term that ever was. Nobody in the model sees this.
    pub canonical: Journal,
    /// A signed record could not be appended.
    pub stuck: bool,
    /// An older copy of a node's disk.
    pub backup: Option<(NodeIx, Disk)>,
    /// What may still happen.
    pub left: Left,
}
