//! Whom a node serves, and how much of it.

use igor_protocol::{NodeId, OwnerId, PublicKey};
use serde::{Deserialize, Deserializer, de::Error};
use std::num::NonZeroU32;

/// Most keys in one list.
const KEYS_MAX: usize = 1024;

/// Programs that are compiled at once where nobody says otherwise.
const SLOTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// `[policy]`: whose agents come in. Every list is closed: who is not in it is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Owners who may deploy agents here. Nothing said: the owner of this home.
    #[serde(deserialize_with = "owners")]
    pub owners: Option<Vec<OwnerId>>,
    /// Nodes that may send agents here.
    #[serde(deserialize_with = "keys")]
    pub nodes: Vec<NodeId>,
}

impl Policy {
    /// Whether an owner may deploy agents on a node whose own owner is `own`.
    pub fn serves(&self, owner: &OwnerId, own: &OwnerId) -> bool {
        self.owners.as_ref().map_or(owner == own, |owners| owners.contains(owner))
    }
}

fn owners<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<PublicKey>>, D::Error> {
    keys(deserializer).map(Some)
}

pub(super) fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PublicKey>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.len() > KEYS_MAX {
        return Err(D::Error::custom(format_args!("{} keys, at most {KEYS_MAX} are allowed", texts.len())));
    }
    let key = |text: String| text.parse().map_err(|e| D::Error::custom(format_args!("{text:?}: {e}")));
    texts.into_iter().map(key).collect()
}

/// `[admission]`: how much a node carries at once. What does not fit is refused; nobody who is there gives way.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admission {
    /// Agents that live here, paused ones too.
    pub agents: u64,
    /// Memory that they may come to use, in bytes: twice the limit in each manifest, since a checkpoint has two
    /// instances for a moment.
    pub memory_bytes: u64,
    /// What they have stored, in bytes; beyond it no new agent comes in.
    pub stored_bytes: u64,
    /// What one of them may store, in bytes; beyond it, it is stopped.
    pub stored_bytes_per_agent: u64,
    /// Programs that are compiled at once, each in at most 1 GiB of memory; also agents that are started at once.
    pub compile_slots: NonZeroU32,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            agents: 1000,
            memory_bytes: 128 << 30,
            stored_bytes: 100 << 30,
            stored_bytes_per_agent: 10 << 30,
            compile_slots: SLOTS,
        }
    }
}

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Agents that have series of their own; the others are summed up as `other`.
    pub agents: u32,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { agents: 100 }
    }
}
