//! Moving an agent, and the nodes that it can move to.

use igor_protocol::{AgentId, NodeId};
use serde::{Deserialize, Serialize};

use super::text;

/// `POST /v1/agents/NAME/moves`: hand the agent to another node. Answered with [`MoveEvent`]s, one JSON object a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// Which node.
    #[serde(with = "text")]
    pub to: NodeId,
}

/// How far a move is. The last one is `accepted`, or an error as anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum MoveEvent {
    /// As many moves as this node makes at once are under way; this one has its turn after them.
    Waiting,
    /// The other node would take it.
    Offer {
        /// It has the journal up to here already.
        has: u64,
    },
    /// Journal, program and state go ahead while the agent ticks.
    Precopy {
        /// The round.
        round: u32,
        /// Bytes sent so far.
        bytes: u64,
    },
    /// The agent stands still.
    Freeze,
    /// The handoff is durable, and the last bytes were sent.
    Transfer {
        /// Bytes sent in the pause.
        bytes: u64,
    },
    /// The other node runs it.
    Accepted {
        /// How long nobody ran it, as this node saw it.
        pause_ns: u64,
        /// Bytes sent in all.
        bytes: u64,
    },
}

/// `POST /v1/node/drain`: hand every agent to a node that takes it, and take none in any more. Answered with these, one
/// JSON object a line; `drained` is the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum DrainEvent {
    /// An agent lives elsewhere now.
    Moved {
        /// Which.
        #[serde(with = "text")]
        agent: AgentId,
        /// Its name here.
        name: String,
        /// Where.
        #[serde(with = "text")]
        to: NodeId,
    },
    /// No node took it, or none has answered yet. One that runs goes on here, until the node is stopped.
    Stays {
        /// Which.
        #[serde(with = "text")]
        agent: AgentId,
        /// Its name here.
        name: String,
        /// Why.
        why: String,
    },
    /// Each had its turn.
    Drained {
        /// Agents that live elsewhere.
        moved: usize,
        /// Agents that stay.
        staying: usize,
    },
}

/// `GET /v1/nodes`: the other nodes that this one knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nodes {
    /// By key.
    pub nodes: Vec<NodeRow>,
}

/// One other node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its key.
    #[serde(with = "text")]
    pub node: NodeId,
    /// Whether it is connected now.
    pub connected: bool,
    /// Where it was reached last.
    pub addresses: Vec<String>,
    /// The last round trip.
    pub round_trip_ns: Option<u64>,
    /// What it says of itself, where it was asked.
    pub status: Option<NodeStatus>,
}

/// What a node says of itself. Not signed: a hint where to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its price in credits a second.
    pub price: String,
    /// How many more agents it would take.
    pub agents_free: u32,
    /// Memory that it has left for agents.
    pub memory_free_bytes: u64,
    /// Room for journals and programs.
    pub stored_free_bytes: u64,
    /// Whether it gives its agents away and takes none.
    pub draining: bool,
    /// Its version.
    pub version: String,
}

/// `GET /v1/node/check`: what would happen to the agents that live here if this node died now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// By name.
    pub agents: Vec<AgentCheck>,
}

/// One agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentCheck {
    /// Which.
    #[serde(with = "text")]
    pub agent: AgentId,
    /// Its name here.
    pub name: String,
    /// What its committed entries survive.
    pub durable_on: String,
    /// Who would go on with it. None: nobody, until its owner decides or this node is back.
    #[serde(with = "text::option", default, skip_serializing_if = "Option::is_none")]
    pub taken_by: Option<NodeId>,
    /// What would be lost of what was committed.
    pub lost: String,
    /// The nodes that its owner names, the first in line first.
    pub standby: Vec<StandbyCheck>,
}

/// One node that stands by for an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyCheck {
    /// Which.
    #[serde(with = "text")]
    pub node: NodeId,
    /// Whether it has said in the last seconds that it follows the agent.
    pub follows: bool,
    /// Entries that it has yet to read.
    pub behind: Option<u64>,
    /// How long this node would have to be silent.
    pub after_ns: Option<u64>,
}
