//! Which agents may begin to live here, as far as that depends on what others know.
//!
//! ```text
//!   asleep ──► asked: what a crash interrupted is finished, and peers are asked ──► awake: they had the time to answer
//!      ▲                                                                             │
//!      └──── what was heard of the agent could not be taken in ◄─────────────────────┘
//! ```
//!
//! Invariants kept here:
//! - An agent that has a journal here when a process begins is asleep, and so is one whose journal does not read: what
//!   peers answered about it went nowhere.
//! - One that comes by a move, begins, or is taken over by its owner's order is awake: that is news itself.

use igor_protocol::AgentId;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Those that are not asleep.
#[derive(Default)]
pub(super) struct Awake(Mutex<BTreeMap<AgentId, State>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Asked,
    Awake,
}

impl Awake {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, State>> {
        // No update can fail in the middle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has(&self, agent: AgentId) -> bool {
        self.lock().get(&agent) == Some(&State::Awake)
    }

    /// Peers are asked.
    pub(super) fn asked(&self, agent: AgentId) {
        self.lock().entry(agent).or_insert(State::Asked);
    }

    /// Those that were asked had the time to answer.
    pub(super) fn waited(&self, agent: AgentId) {
        self.lock().entry(agent).and_modify(|state| *state = State::Awake);
    }

    /// It is this node's, whatever peers know.
    pub(super) fn rises(&self, agent: AgentId) {
        self.lock().insert(agent, State::Awake);
    }

    /// Peers have to be asked again.
    pub(super) fn sleeps(&self, agent: AgentId) {
        self.lock().remove(&agent);
    }
}
