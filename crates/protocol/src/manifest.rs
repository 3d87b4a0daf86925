//! What an agent may do and use: its capabilities and limits.
//!
//! People write it as TOML (`agent.toml`, or a custom section of the module); the journal knows this deterministic
//! form by its hash, so that a bill or a limit can be checked by anyone.

use crate::{
    codec,
    terms::Ceiling,
    units::{Fuel, Nanos},
};
use minicbor::{Decode, Encode};

/// The effective capabilities and limits of an agent, fixed at Genesis.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    /// What it may call.
    #[n(0)]
    pub capabilities: Capabilities,
    /// What it may use.
    #[n(1)]
    pub limits: Limits,
    /// What its runs may be billed.
    #[n(2)]
    pub ceiling: Ceiling,
    /// How often it ticks when nothing else happens, unless the operator says otherwise.
    #[n(3)]
    pub interval: Nanos,
    /// The least time between the starts of two interval ticks: a node that ticks faster than the agent wants
    /// to pay for breaks the journal.
    #[n(4)]
    pub interval_min: Nanos,
    /// How often its state is checkpointed.
    #[n(5)]
    pub checkpoint_interval: Nanos,
}

/// Groups of hostcalls. What is not granted cannot be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[allow(clippy::struct_excessive_bools)] // a set of independent grants, each by its name
pub struct Capabilities {
    /// `clock_now`, WASI clocks, `poll_oneoff`.
    #[n(0)]
    pub clock: bool,
    /// `rand_bytes`, WASI `random_get`.
    #[n(1)]
    pub randomness: bool,
    /// `log_emit`, WASI standard output and error.
    #[n(2)]
    pub log: bool,
    /// `wallet_*`, `node_price`.
    #[n(3)]
    pub wallet: bool,
    /// `message_next`, `message_reply`.
    #[n(4)]
    pub messages: bool,
    /// `node_draining`, `node_list`, `migrate_to`. The only one that nobody has unasked.
    #[n(5)]
    pub migrate: bool,
}

/// Upper bounds of what an agent uses. Guests can see some of them, so they come from here, never from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Limits {
    /// Linear memory, in bytes.
    #[n(0)]
    pub memory_bytes: u64,
    /// Table elements, over all tables.
    #[n(1)]
    pub table_elements: u32,
    /// Fuel of one run.
    #[n(2)]
    pub tick_fuel: Fuel,
    /// Time of one run, waiting included.
    #[n(3)]
    pub tick_time: Nanos,
    /// State of a checkpoint, in bytes.
    #[n(4)]
    pub state_bytes: u64,
    /// Log bytes of one run.
    #[n(5)]
    pub log_bytes: u32,
    /// Observations of one run, in number.
    #[n(6)]
    pub observations: u32,
    /// Bytes of random and message data that one run observes.
    #[n(7)]
    pub observed_bytes: u32,
    /// One message or reply, in bytes.
    #[n(8)]
    pub message_bytes: u32,
    /// Open messages, in number.
    #[n(9)]
    pub inbox_messages: u32,
    /// Open messages, in bytes.
    #[n(10)]
    pub inbox_bytes: u64,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { clock: true, randomness: true, log: true, wallet: true, messages: true, migrate: false }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            table_elements: 100_000,
            tick_fuel: Fuel(1_000_000_000),
            tick_time: Nanos::from_secs(1),
            state_bytes: 16 << 20,
            log_bytes: 64 << 10,
            observations: 10_000,
            observed_bytes: 1 << 20,
            message_bytes: 64 << 10,
            inbox_messages: 4096,
            inbox_bytes: 4 << 20,
        }
    }
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            capabilities: Capabilities::default(),
            limits: Limits::default(),
            ceiling: Ceiling { base: Nanos(1_000_000), picos_per_fuel: 2_000, per_hostcall: Nanos(20_000) },
            interval: Nanos::from_secs(1),
            interval_min: Nanos::ZERO,
            checkpoint_interval: Nanos::from_secs(30),
        }
    }
}

/// Why a manifest is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not the encoding of a manifest.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// A limit that no node grants, or that makes no sense.
    #[error("the manifest's {field} is {value}; it must be {rule}")]
    Limit {
        /// The field as it is written in `agent.toml`.
        field: &'static str,
        /// What it says.
        value: u64,
        /// What it may be.
        rule: &'static str,
    },
}

impl Manifest {
    /// Checks that every limit is one that journals and nodes can keep.
    pub fn validate(self) -> Result<Self, Error> {
        let l = &self.limits;
        let rules: [(&'static str, u64, bool, &'static str); 13] = [
            ("limits.memory_bytes", l.memory_bytes, (1 << 16..=4 << 30).contains(&l.memory_bytes), "64 KiB to 4 GiB"),
            ("limits.table_elements", l.table_elements.into(), l.table_elements <= 10_000_000, "at most 10000000"),
            ("limits.tick_fuel", l.tick_fuel.0, (10_000..=1 << 50).contains(&l.tick_fuel.0), "10000 to 2^50"),
            (
                "limits.tick_time",
                l.tick_time.0,
                (1_000_000..=3_600_000_000_000).contains(&l.tick_time.0),
                "1 ms to 1 h",
            ),
            ("limits.state_bytes", l.state_bytes, l.state_bytes <= crate::limits::BLOB_BYTES_MAX, "at most 1 GiB"),
            ("limits.log_bytes", l.log_bytes.into(), l.log_bytes <= 1 << 20, "at most 1 MiB"),
            ("limits.observations", l.observations.into(), l.observations <= 50_000, "at most 50000"),
            ("limits.observed_bytes", l.observed_bytes.into(), l.observed_bytes <= 1 << 20, "at most 1 MiB"),
            ("limits.message_bytes", l.message_bytes.into(), l.message_bytes <= 1 << 20, "at most 1 MiB"),
            (
                "limits.message_bytes",
                l.message_bytes.into(),
                l.message_bytes.saturating_add(64) <= l.observed_bytes,
                "at least 64 below limits.observed_bytes, or no run could take such a message",
            ),
            ("limits.inbox_messages", l.inbox_messages.into(), l.inbox_messages <= 65_536, "at most 65536"),
            ("limits.inbox_bytes", l.inbox_bytes, l.inbox_bytes <= 256 << 20, "at most 256 MiB"),
            ("tick.interval", self.interval.0, self.interval >= self.interval_min, "at least tick.interval_min"),
        ];
        match rules.into_iter().find(|(_, _, ok, _)| !ok) {
            Some((field, value, _, rule)) => Err(Error::Limit { field, value, rule }),
            None => Ok(self),
        }
    }

    /// Its deterministic bytes, kept as a blob.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes and validates.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        codec::decode::<Self>("manifest", bytes, 64 << 10)?.validate()
    }

    /// The hash that Genesis names it by.
    pub fn hash(&self) -> crate::Hash {
        crate::Hash::of_blob(&self.encode())
    }
}
