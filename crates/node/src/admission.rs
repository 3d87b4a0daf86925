//! How much a node carries at once, and what it does not take on.
//!
//! Invariants kept here:
//! - Whoever lives here has a place, from before its program is compiled until its life is over.
//! - Places are never more than the operator allows, and who has one keeps it.
//! - Who was promised a place has it: an agent that comes in from its welcome on, one that goes until it is elsewhere.

use crate::{home, stored::Accounts};
use igor_protocol::{AgentId, Manifest};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Instances that an agent may have at once: at a checkpoint the one that wrote the state and the one that restores it.
const INSTANCES: u64 = 2;

/// What does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no room for this agent: with it {what} here would be {wanted}, and the node allows {max} (admission.{field} in node.toml)"
)]
pub struct NoRoom {
    /// In words.
    pub what: &'static str,
    /// The field of `[admission]`.
    pub field: &'static str,
    /// What there would be.
    pub wanted: u64,
    /// What there may be.
    pub max: u64,
}

/// What is taken of something, and how much of it there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) used: u64,
    pub(crate) max: u64,
}

impl Fill {
    fn add(self, asked: u64, what: &'static str, field: &'static str) -> Result<u64, NoRoom> {
        let wanted = self.used.saturating_add(asked);
        if wanted > self.max { Err(NoRoom { what, field, wanted, max: self.max }) } else { Ok(wanted) }
    }
}

/// The places of a node.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: home::Admission,
    taken: Mutex<Taken>,
    accounts: Accounts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    agents: u64,
    memory_bytes: u64,
}

/// A place for one agent; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    memory_bytes: u64,
}

impl Admission {
    pub(crate) fn new(limits: home::Admission) -> Arc<Self> {
        let accounts = Accounts::new(limits.stored_bytes, limits.stored_bytes_per_agent);
        Arc::new(Self { limits, taken: Mutex::default(), accounts })
    }

    /// What is stored, and by whom.
    pub(crate) const fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// A place for an agent that is here already.
    pub(crate) fn admit(self: &Arc<Self>, manifest: &Manifest) -> Result<Place, NoRoom> {
        let memory_bytes = manifest.limits.memory_bytes.saturating_mul(INSTANCES);
        let mut taken = self.lock();
        let (agents, memory) = self.fills(*taken);
        let agents = agents.add(1, "agents", "agents")?;
        let memory = memory.add(memory_bytes, "the memory of all agents, two instances each,", "memory_bytes")?;
        *taken = Taken { agents, memory_bytes: memory };
        Ok(Place { admission: self.clone(), memory_bytes })
    }

    /// A place for an agent that begins, with a program of so many bytes.
    pub(crate) fn admit_new(self: &Arc<Self>, manifest: &Manifest, program_bytes: u64) -> Result<Place, NoRoom> {
        Fill {
            used: self.limits.stored_bytes - self.accounts.free().min(self.limits.stored_bytes),
            max: self.limits.stored_bytes,
        }
        .add(program_bytes, "bytes stored", "stored_bytes")?;
        let own = Fill { used: 0, max: self.limits.stored_bytes_per_agent };
        own.add(program_bytes, "bytes stored for one agent", "stored_bytes_per_agent")?;
        self.admit(manifest)
    }

    /// Agents and memory.
    pub(crate) fn fill(&self) -> (Fill, Fill) {
        self.fills(*self.lock())
    }

    /// Bytes stored.
    pub(crate) fn stored_fill(&self) -> Fill {
        Fill { used: self.accounts.used(), max: self.limits.stored_bytes }
    }

    const fn fills(&self, taken: Taken) -> (Fill, Fill) {
        let agents = Fill { used: taken.agents, max: self.limits.agents };
        (agents, Fill { used: taken.memory_bytes, max: self.limits.memory_bytes })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // No update can fail in the middle.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.admission.lock();
        taken.agents = taken.agents.saturating_sub(1);
        taken.memory_bytes = taken.memory_bytes.saturating_sub(self.memory_bytes);
    }
}

/// Places of agents that have no life at the moment, and are to have one.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<BTreeMap<AgentId, Option<Place>>>);

impl Kept {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, Option<Place>>> {
        // No update can fail in the middle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a place for an agent.
    pub(crate) fn keep(&self, agent: AgentId, place: Place) {
        self.lock().insert(agent, Some(place));
    }

    /// From now on the place that the agent's life leaves is kept.
    pub(crate) fn expect(&self, agent: AgentId) {
        self.lock().entry(agent).or_default();
    }

    /// A life left its place. Says whether it is kept: it is where it is expected.
    pub(crate) fn left(&self, agent: AgentId, place: Place) -> bool {
        let mut kept = self.lock();
        kept.get_mut(&agent).map(|kept| *kept = Some(place)).is_some()
    }

    /// What was kept. Nothing is any more.
    pub(crate) fn take(&self, agent: AgentId) -> Option<Place> {
        self.lock().remove(&agent).flatten()
    }
}

#[cfg(test)]
mod tests;
