//! What a manifest may ask for on this node.

use igor_protocol::{
    Manifest,
    manifest::{Capabilities, Limits},
};
use serde::Deserialize;

/// `[grants]`: a manifest that asks for more is refused, never trimmed, since guests can see their limits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// The groups of hostcalls that an agent may have.
    pub capabilities: Vec<Capability>,
    /// Memory of one instance, in bytes. A checkpoint has two instances for a moment.
    pub memory_bytes: u64,
    /// Time of one run, in milliseconds.
    pub tick_time_ms: u64,
    /// Fuel of one run.
    pub tick_fuel: u64,
    /// State of a checkpoint, in bytes.
    pub state_bytes: u64,
    /// Open messages, in bytes.
    pub inbox_bytes: u64,
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            capabilities: Capability::ALL.to_vec(),
            memory_bytes: 256 << 20,
            tick_time_ms: 10_000,
            tick_fuel: 1 << 40,
            state_bytes: 64 << 20,
            inbox_bytes: 64 << 20,
        }
    }
}

/// A group of hostcalls, by its name in `agent.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Clocks.
    Clock,
    /// Random bytes.
    Randomness,
    /// Log lines.
    Log,
    /// Balance, receipts, prices.
    Wallet,
    /// Messages and replies.
    Messages,
    /// Asking to be moved.
    Migrate,
}

impl Capability {
    /// All that there are.
    pub const ALL: [Self; 6] = [Self::Clock, Self::Randomness, Self::Log, Self::Wallet, Self::Messages, Self::Migrate];

    /// Its name in `agent.toml` and `node.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Randomness => "randomness",
            Self::Log => "log",
            Self::Wallet => "wallet",
            Self::Messages => "messages",
            Self::Migrate => "migrate",
        }
    }

    const fn is_asked(self, by: Capabilities) -> bool {
        match self {
            Self::Clock => by.clock,
            Self::Randomness => by.randomness,
            Self::Log => by.log,
            Self::Wallet => by.wallet,
            Self::Messages => by.messages,
            Self::Migrate => by.migrate,
        }
    }
}

/// A manifest that this node does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGranted {
    /// It asks for a group of hostcalls that the node does not give.
    #[error(
        "the manifest asks for capabilities.{0}, which this node does not grant (add it to grants.capabilities in node.toml, or leave it out of agent.toml)"
    )]
    Capability(&'static str),
    /// It asks for more than the node grants.
    #[error(
        "the manifest asks for {field} = {asked}; this node grants {granted} (raise grants.{grant} in node.toml, or lower it in agent.toml)"
    )]
    More {
        /// The field as it is written in `agent.toml`.
        field: &'static str,
        /// What it says.
        asked: u64,
        /// The field of `[grants]`.
        grant: &'static str,
        /// What the node grants.
        granted: u64,
    },
    /// It lets itself be billed less than honest machines take.
    #[error(
        "the manifest says {field} = {asked}; a node that is to be paid for its time needs at least {least} (raise it in agent.toml)"
    )]
    Less {
        /// The field as it is written in `agent.toml`.
        field: &'static str,
        /// What it says.
        asked: u64,
        /// The least that is accepted.
        least: u64,
    },
}

impl Grants {
    /// Refuses a manifest that asks for more than this.
    pub fn check(&self, manifest: &Manifest) -> Result<(), NotGranted> {
        let refused = |one: &Capability| one.is_asked(manifest.capabilities) && !self.capabilities.contains(one);
        if let Some(capability) = Capability::ALL.into_iter().find(refused) {
            return Err(NotGranted::Capability(capability.name()));
        }
        let Limits { memory_bytes, tick_time, tick_fuel, state_bytes, inbox_bytes, .. } = manifest.limits;
        let asked = [
            ("limits.memory_bytes", memory_bytes, "memory_bytes", self.memory_bytes),
            ("limits.tick_time (ms)", tick_time.0.div_ceil(1_000_000), "tick_time_ms", self.tick_time_ms),
            ("limits.tick_fuel", tick_fuel.0, "tick_fuel", self.tick_fuel),
            ("limits.state_bytes", state_bytes, "state_bytes", self.state_bytes),
            ("limits.inbox_bytes", inbox_bytes, "inbox_bytes", self.inbox_bytes),
        ];
        if let Some((field, asked, grant, granted)) = asked.into_iter().find(|(_, asked, _, granted)| asked > granted) {
            return Err(NotGranted::More { field, asked, grant, granted });
        }
        // Below these an honest machine would not be paid for its time, and money would bound nothing.
        let ceiling = &manifest.ceiling;
        let least = [
            ("ceiling.base (ns)", ceiling.base.0, 50_000),
            ("ceiling.picos_per_fuel", ceiling.picos_per_fuel, 250),
            ("ceiling.per_hostcall (ns)", ceiling.per_hostcall.0, 1_000),
        ];
        match least.into_iter().find(|(_, asked, least)| asked < least) {
            Some((field, asked, least)) => Err(NotGranted::Less { field, asked, least }),
            None => Ok(()),
        }
    }
}
