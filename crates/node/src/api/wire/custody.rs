//! Where agents are that are not here, and what a takeover left behind.

use super::text;
use igor_protocol::{AgentId, Credits, Epoch, NodeId, Seq};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Who has an agent that does not live on the node that was asked. `GET /v1/agents/NAME/custody` answers with it, and
/// refusals that a caller should take elsewhere carry it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The agent.
    #[serde(with = "text")]
    pub agent: AgentId,
    /// Who has it, or was given it and has not answered.
    #[serde(with = "text")]
    pub node: NodeId,
    /// In which epoch.
    #[serde(with = "text::epoch")]
    pub epoch: Epoch,
    /// Where other nodes reach that node, as far as is known.
    pub addresses: Vec<String>,
    /// Whether that node answered just now; nothing where it was not asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub answers: Option<bool>,
    /// `records`: signed ones that bear it out, from Genesis or an owner's order on. `peers`: signed ones that other
    /// nodes gave; the node that was asked cannot tell whether their writers had the right.
    pub by: String,
}

/// A branch of a journal that an owner's takeover orphaned: kept as a file at the node that wrote it, and never merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// The agent.
    #[serde(with = "text")]
    pub agent: AgentId,
    /// Its name here, where it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The file, at that node: `igor verify`, `timeline`, `replay` and `logs` read it.
    pub file: PathBuf,
    /// The epoch at its end.
    #[serde(with = "text::epoch")]
    pub epoch: Epoch,
    /// The first entry that is on this branch only.
    #[serde(with = "text::seq")]
    pub from: Seq,
    /// Why the file does not tell more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub damaged: Option<String>,
    /// How many entries are on this branch only.
    pub entries: u64,
    /// How many runs of them.
    pub runs: u64,
    /// What they cost.
    #[serde(with = "text")]
    pub cost: Credits,
    /// Messages that were acknowledged on this branch only: whoever sent them counts on them.
    pub messages: Vec<OrphanedMessage>,
    /// Replies that were given on this branch only.
    pub replies: Vec<OrphanedReply>,
    /// Effects that were asked for on this branch only. No agent can ask for any yet.
    pub effects: Vec<String>,
    /// How many messages and replies are not listed, since there are too many.
    pub unlisted: u64,
}

/// A message on an orphaned branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanedMessage {
    /// Its entry.
    #[serde(with = "text::seq")]
    pub seq: Seq,
    /// Who sent it.
    pub sender: String,
    /// Its id, where it is named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// Its stream, where it is numbered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stream: Option<String>,
    /// Its number there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub n: Option<u64>,
}

/// A reply on an orphaned branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanedReply {
    /// The entry of the run that gave it.
    #[serde(with = "text::seq")]
    pub seq: Seq,
    /// The entry of the message that it answers.
    #[serde(with = "text::seq")]
    pub message: Seq,
}

/// `GET /v1/orphans`: the branches that are kept here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphans {
    /// By file.
    pub orphans: Vec<Orphan>,
}

/// An agent that the asked node has no journal of, and knows of all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// `orphaned` where a branch of it is kept there, else `elsewhere`.
    pub status: String,
    /// Its name there, where it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Where it is.
    #[serde(flatten)]
    pub at: Elsewhere,
    /// The branches that are kept there.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub orphans: Vec<Orphan>,
}

/// `POST /v1/agents/NAME/release`: give the agent to a node by file. The journal, exported after it, is what that node
/// takes it from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Which node.
    #[serde(with = "text")]
    pub to: NodeId,
    /// The price of that node for a second of execution; where nothing is said, what the agent pays now.
    #[serde(with = "text::option", skip_serializing_if = "Option::is_none", default)]
    pub price_per_second: Option<Credits>,
}

/// A handoff that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// To which node.
    #[serde(with = "text")]
    pub to: NodeId,
    /// In which epoch.
    #[serde(with = "text::epoch")]
    pub epoch: Epoch,
    /// What a second of execution costs from then on.
    #[serde(with = "text")]
    pub price_per_second: Credits,
    /// Whether that node has taken it already.
    pub accepted: bool,
}

/// `POST /v1/agents/NAME/takeover`: an owner's order was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// In which epoch the agent goes on.
    #[serde(with = "text::epoch")]
    pub epoch: Epoch,
}

/// `DELETE /v1/agents/NAME`: what this node does not keep any more of an agent that others have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Which agent.
    #[serde(with = "text")]
    pub agent: AgentId,
    /// Its name there, where it has, or had, one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Entries of the journal; 0 where branches were to be deleted.
    pub entries: u64,
    /// Orphaned branches.
    pub orphans: u64,
    /// What they counted for, of what the node may store.
    pub bytes: u64,
}

/// `POST /v1/imports`: what came of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Whose journal it is.
    #[serde(with = "text")]
    pub agent: AgentId,
    /// The agent's name here.
    pub name: String,
    /// How many entries the file has.
    pub entries: u64,
    /// How many runs.
    pub runs: u64,
    /// How many entries are new here.
    pub added: u64,
    /// Whether the agent lives on this node now, since the file gives it to it.
    pub custody: bool,
}
