//! What a node keeps beside the journals: the names of its agents, what their operator said, and what each has stored.
//!
//! Invariants kept here:
//! - A name is durable before the Genesis of its agent is. So an agent that has a journal has its name, unless it never
//!   began and a later one took it; and a name whose agent has no journal is left over from a crash between the two: it
//!   counts for nothing and may be taken.
//! - What the operator said is durable before it is done, so that a restart knows it.
//! - A file that does not decode is an error, never an absent one.

use crate::{bucket::NodeStore, stored::Count};
use igor_protocol::{AgentId, Hash, Nanos, Seq, Tick};
use igor_store::{
    Store,
    disk::{Disk, Reader},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Longest name of an agent, in bytes.
const NAME_BYTES_MAX: usize = igor_protocol::limits::NAME_BYTES_MAX;
const VERSION: u32 = 1;

/// Why local values cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] igor_store::Error),
    /// A value that this igor does not understand.
    #[error("the local value {value} is not what this igor writes ({why}); restore the home from a copy")]
    Damaged {
        /// Its name in the store.
        value: String,
        /// What is wrong.
        why: String,
    },
    /// A name that no agent can have.
    #[error(
        "{name:?} cannot name an agent: use 1 to 64 letters, digits, '-', '_' and '.', a letter or digit first, not `igor1...`"
    )]
    BadName {
        /// The name.
        name: String,
    },
}

/// Where local values are read: a store that is open for writing, or a view of one.
pub trait Locals {
    /// One value.
    fn get(&self, value: &str) -> Result<Option<Vec<u8>>, igor_store::Error>;
    /// The names of all values.
    fn list(&self) -> Result<Vec<String>, igor_store::Error>;
}

impl Locals for Disk {
    fn get(&self, value: &str) -> Result<Option<Vec<u8>>, igor_store::Error> {
        self.get_local(value)
    }

    fn list(&self) -> Result<Vec<String>, igor_store::Error> {
        self.list_local()
    }
}

impl Locals for NodeStore {
    fn get(&self, value: &str) -> Result<Option<Vec<u8>>, igor_store::Error> {
        self.get_local(value)
    }

    fn list(&self) -> Result<Vec<String>, igor_store::Error> {
        self.list_local()
    }
}

impl Locals for Reader {
    fn get(&self, value: &str) -> Result<Option<Vec<u8>>, igor_store::Error> {
        self.get_local(value)
    }

    fn list(&self) -> Result<Vec<String>, igor_store::Error> {
        self.list_local()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Alias {
    version: u32,
    name: String,
    agent: String,
}

/// What the operator of a node said about an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// It does not tick until it is resumed.
    pub paused: bool,
    /// It does not live until it is resumed.
    pub stopped: bool,
    /// Failures up to this tick are forgiven: the agent may try once more although it is suspended.
    pub forgiven: Option<Tick>,
    /// Time between two interval ticks, where its manifest shall not say it.
    pub interval: Option<Nanos>,
    /// Time between two checkpoints, where its manifest shall not say it.
    pub checkpoint_interval: Option<Nanos>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlagsFile {
    version: u32,
    paused: bool,
    #[serde(default)]
    stopped: bool,
    forgiven: Option<u64>,
    #[serde(default)]
    interval_ns: Option<u64>,
    #[serde(default)]
    checkpoint_interval_ns: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFile {
    version: u32,
    bytes: u64,
    /// Nothing where an earlier igor counted, which did not say how far.
    #[serde(default)]
    next: Option<u64>,
    #[serde(default)]
    last: Option<String>,
}

fn alias_value(name: &str) -> String {
    // Names have characters and lengths that local values do not; the name itself is inside.
    format!("name-{}", &Hash::of_blob(name.as_bytes()).to_string()[..32])
}

fn flags_value(agent: AgentId) -> String {
    format!("flags-{}", &agent.0.to_string()[..32])
}

fn stored_value(agent: AgentId) -> String {
    format!("stored-{}", &agent.0.to_string()[..32])
}

fn decode<T: DeserializeOwned>(value: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::Damaged { value: value.to_owned(), why: e.to_string() })
}

fn encode<T: Serialize>(value: &str, content: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(content).map_err(|e| Error::Damaged { value: value.to_owned(), why: e.to_string() })
}

fn known(value: &str, version: u32) -> Result<(), Error> {
    let why = || format!("version {version}, this igor knows {VERSION}");
    if version == VERSION { Ok(()) } else { Err(Error::Damaged { value: value.to_owned(), why: why() }) }
}

/// Refuses what is no name.
pub fn check_name(name: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if begins && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed) && !name.starts_with("igor1") {
        Ok(())
    } else {
        Err(Error::BadName { name: name.chars().take(100).collect() })
    }
}

/// The agent that has this name. Whether it has a journal is for the caller to see.
pub fn agent_named(locals: &impl Locals, name: &str) -> Result<Option<AgentId>, Error> {
    let value = alias_value(name);
    let Some(bytes) = locals.get(&value)? else { return Ok(None) };
    let (found, agent) = alias(&value, &bytes)?;
    if found == name { Ok(Some(agent)) } else { Err(Error::Damaged { value, why: format!("it is the name {found}") }) }
}

/// All names, by agent.
pub fn names(locals: &impl Locals) -> Result<BTreeMap<AgentId, String>, Error> {
    let mut names = BTreeMap::new();
    for value in locals.list()?.into_iter().filter(|value| value.starts_with("name-")) {
        if let Some(bytes) = locals.get(&value)? {
            let (name, agent) = alias(&value, &bytes)?;
            names.insert(agent, name);
        }
    }
    Ok(names)
}

fn alias(value: &str, bytes: &[u8]) -> Result<(String, AgentId), Error> {
    let alias: Alias = decode(value, bytes)?;
    known(value, alias.version)?;
    let agent = alias.agent.parse::<AgentId>();
    let agent = agent.map_err(|e| Error::Damaged { value: value.to_owned(), why: e.to_string() })?;
    Ok((alias.name, agent))
}

/// Gives an agent a name, durably, in place of whatever had it.
pub async fn put_name(store: &impl Store, name: &str, agent: AgentId) -> Result<(), Error> {
    check_name(name)?;
    let value = alias_value(name);
    let alias = Alias { version: VERSION, name: name.to_owned(), agent: agent.to_string() };
    Ok(store.put_local(&value, encode(&value, &alias)?).await?)
}

/// Takes a name away, durably: nobody has it then.
pub async fn remove_name(store: &impl Store, name: &str) -> Result<(), Error> {
    Ok(store.remove_local(&alias_value(name)).await?)
}

/// What the operator said about an agent.
pub fn flags(locals: &impl Locals, agent: AgentId) -> Result<Flags, Error> {
    let value = flags_value(agent);
    let Some(bytes) = locals.get(&value)? else { return Ok(Flags::default()) };
    let file: FlagsFile = decode(&value, &bytes)?;
    known(&value, file.version)?;
    Ok(Flags {
        paused: file.paused,
        stopped: file.stopped,
        forgiven: file.forgiven.map(Tick),
        interval: file.interval_ns.map(Nanos),
        checkpoint_interval: file.checkpoint_interval_ns.map(Nanos),
    })
}

/// Makes durable what the operator says about an agent.
pub async fn put_flags(store: &impl Store, agent: AgentId, flags: Flags) -> Result<(), Error> {
    let value = flags_value(agent);
    let file = FlagsFile {
        version: VERSION,
        paused: flags.paused,
        stopped: flags.stopped,
        forgiven: flags.forgiven.map(|tick| tick.0),
        interval_ns: flags.interval.map(|interval| interval.0),
        checkpoint_interval_ns: flags.checkpoint_interval.map(|interval| interval.0),
    };
    Ok(store.put_local(&value, encode(&value, &file)?).await?)
}

/// Forgets what the operator said about an agent.
pub(crate) async fn remove_flags(store: &impl Store, agent: AgentId) -> Result<(), Error> {
    Ok(store.remove_local(&flags_value(agent)).await?)
}

/// What an agent has stored, as far as it was written down.
pub(crate) fn stored(locals: &impl Locals, agent: AgentId) -> Result<Option<Count>, Error> {
    let value = stored_value(agent);
    let Some(bytes) = locals.get(&value)? else { return Ok(None) };
    let file: StoredFile = decode(&value, &bytes)?;
    known(&value, file.version)?;
    let last = file.last.map(|hash| hash.parse()).transpose();
    let last = last.map_err(|e: igor_protocol::hash::ParseError| Error::Damaged { value, why: e.to_string() })?;
    Ok(file.next.map(|next| Count { bytes: file.bytes, next: Seq(next), last }))
}

/// Writes down what an agent has stored.
pub(crate) async fn put_stored(store: &impl Store, agent: AgentId, count: Count) -> Result<(), Error> {
    let value = stored_value(agent);
    let (next, last) = (Some(count.next.0), count.last.map(|hash| hash.to_string()));
    let file = StoredFile { version: VERSION, bytes: count.bytes, next, last };
    Ok(store.put_local(&value, encode(&value, &file)?).await?)
}

/// Forgets what an agent has stored: it is counted anew.
pub(crate) async fn remove_stored(store: &impl Store, agent: AgentId) -> Result<(), Error> {
    Ok(store.remove_local(&stored_value(agent)).await?)
}

#[cfg(test)]
mod tests;
