//! What happens to an agent, as `igor run --json` prints it and `GET /v1/agents/NAME/events` sends it.

use super::text;
use igor_protocol::{AgentId, Credits, Epoch, Hash, Seq, Tick};
use serde::{Deserialize, Serialize};

/// One event: one line of JSON. Each is told only after the commit that it is part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The agent is there, created or recovered, and will tick.
    Started {
        /// Its id.
        #[serde(with = "text")]
        agent: AgentId,
        /// Its alias.
        name: String,
        /// Its last tick.
        #[serde(with = "text::tick")]
        tick: Tick,
        /// It was there before.
        resumed: bool,
    },
    /// A tick was attempted; where its outcome is not `ok`, it was undone.
    Tick {
        /// Its id.
        #[serde(with = "text")]
        agent: AgentId,
        /// The number of the tick.
        #[serde(with = "text::tick")]
        tick: Tick,
        /// The position of its Run entry.
        #[serde(with = "text::seq")]
        seq: Seq,
        /// The epoch.
        #[serde(with = "text::epoch")]
        epoch: Epoch,
        /// The head of the chain after its Run entry.
        #[serde(with = "text")]
        head: Hash,
        /// What it ran for.
        trigger: String,
        /// `ok`, or how it failed.
        outcome: String,
        /// Why it failed, in words.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        cause: Option<String>,
        /// Work done.
        fuel: u64,
        /// Billable time.
        duration_ns: u64,
        /// What it cost.
        #[serde(with = "text")]
        cost: Credits,
        /// The balance after it.
        #[serde(with = "text")]
        balance: Credits,
    },
    /// A line that the agent logged.
    Log {
        /// The tick that wrote it; for other runs the last tick before them.
        #[serde(with = "text::tick")]
        tick: Tick,
        /// The line.
        text: String,
    },
    /// The state was checkpointed.
    Checkpoint {
        /// The last tick that it includes.
        #[serde(with = "text::tick")]
        tick: Tick,
        /// The hash of the state.
        #[serde(with = "text")]
        root: Hash,
        /// Its length.
        bytes: u64,
    },
    /// A checkpoint was not made; the last one stays.
    CheckpointRefused {
        /// The last tick.
        #[serde(with = "text::tick")]
        tick: Tick,
        /// Why.
        cause: String,
    },
    /// The agent was funded.
    Funded {
        /// All that it was ever given.
        #[serde(with = "text")]
        funded: Credits,
        /// The balance after it.
        #[serde(with = "text")]
        balance: Credits,
    },
    /// The agent does not go on by itself.
    Suspended {
        /// The last tick.
        #[serde(with = "text::tick")]
        tick: Tick,
        /// Why.
        cause: String,
    },
    /// The agent ended.
    Ended {
        /// `exhausted`, `completed` or `recalled`.
        cause: String,
        /// The last tick.
        #[serde(with = "text::tick")]
        tick: Tick,
    },
    /// The agent was stopped cleanly.
    Stopped {
        /// The last tick.
        #[serde(with = "text::tick")]
        tick: Tick,
    },
}
