//! Agents of other nodes, and for how long those nodes have been silent; without I/O, and without a clock of its own.
//!
//! Invariants kept here:
//! - Who has an agent is what its journal said when it was read here last. What pulses say is a reason to read on, and
//!   nothing else; a sign of life is one of who has it.
//! - Time in which this node could not have heard anybody is no silence.
//! - One thing at a time is done about an agent.

use igor_network::message::Beat;
use igor_protocol::{AgentId, Epoch, NodeId, Seq};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Agents that are heard of, at most.
const WATCHED_MAX: usize = 4096;
/// What is not gone on with and was not heard of for so long gives its place to others.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(1);
/// Pauses after an attempt that failed: the first, and the longest.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);
/// Pause after a pulse was a reason to read on, and there was nothing to read.
const NOTHING_NEW_PAUSE: Duration = Duration::from_secs(1);

/// What this node knows of an agent whose journal it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Following {
    /// Who has it, and under which epoch.
    pub(super) node: NodeId,
    pub(super) epoch: Epoch,
    /// The end of its journal.
    pub(super) read: Seq,
    /// How long its node must be silent before this one goes on.
    pub(super) after: Duration,
}

#[derive(Debug)]
struct Watch {
    node: NodeId,
    epoch: Epoch,
    read: Seq,
    /// Nothing where this node would not go on with it.
    after: Option<Duration>,
    /// A sign of life of its node.
    heard: Instant,
    busy: bool,
    /// Attempts in a row that failed, to read on or to go on with it.
    failed: u32,
    /// Nothing is tried before.
    not_before: Instant,
    /// And it is not read on before, so that words of others keep nobody from going on with it.
    read_not_before: Instant,
}

impl Watch {
    fn is_silent(&self, now: Instant) -> bool {
        self.after.is_some_and(|after| now.saturating_duration_since(self.heard) > after)
    }

    fn fails(&mut self, now: Instant) {
        let pause = AGAIN_AFTER.saturating_mul(1 << self.failed.min(10)).min(AGAIN_AFTER_MAX);
        self.failed = self.failed.saturating_add(1);
        self.not_before = now + pause;
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<BTreeMap<AgentId, Watch>>);

impl Watched {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, Watch>> {
        // No update can fail in the middle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node says that an agent is well there. Says whether to read on; then [`Watched::read`] or another of those below
    /// says what came of it.
    pub(super) fn hear(&self, node: NodeId, beat: &Beat, now: Instant) -> bool {
        let mut all = self.lock();
        if all.len() >= WATCHED_MAX && !all.contains_key(&beat.agent) {
            all.retain(|_, watch| {
                watch.after.is_some() || watch.busy || now.saturating_duration_since(watch.heard) < FORGOTTEN_AFTER
            });
            if all.len() >= WATCHED_MAX {
                return false;
            }
        }
        let watch = all.entry(beat.agent).or_insert_with(|| new(node, beat.epoch, now));
        let is_its = node == watch.node && beat.epoch >= watch.epoch;
        if is_its {
            watch.heard = watch.heard.max(now);
        }
        let news = watch.failed > 0 || beat.epoch > watch.epoch || (is_its && beat.next > watch.read);
        news && now >= watch.not_before.max(watch.read_not_before) && !std::mem::replace(&mut watch.busy, true)
    }

    /// An agent of which this node has a journal, whose node has until `from` to say that it is well. Says whether to read
    /// on, as [`Watched::hear`].
    pub(super) fn remember(&self, agent: AgentId, node: NodeId, epoch: Epoch, from: Instant) -> bool {
        let mut all = self.lock();
        if all.len() >= WATCHED_MAX {
            return false;
        }
        let watch = all.entry(agent).or_insert_with(|| new(node, epoch, from));
        watch.heard = watch.heard.max(from);
        !std::mem::replace(&mut watch.busy, true)
    }

    /// Its journal was read, and this node is ready to go on with it.
    pub(super) fn read(&self, agent: AgentId, found: Following, now: Instant) {
        let Following { node, epoch, read, after } = found;
        self.change(agent, |watch| {
            if watch.node != node {
                watch.heard = watch.heard.max(now);
            }
            if (watch.node, watch.epoch, watch.read) == (node, epoch, read) && watch.failed == 0 {
                watch.read_not_before = now + NOTHING_NEW_PAUSE;
            }
            (watch.node, watch.epoch, watch.read, watch.after) = (node, epoch, read, Some(after));
            (watch.busy, watch.failed) = (false, 0);
        });
    }

    /// Reading on, or going on with it, failed; where `is_refused`, this node would not go on with it.
    pub(super) fn failed(&self, agent: AgentId, is_refused: bool, now: Instant) {
        self.change(agent, |watch| {
            watch.busy = false;
            watch.after = watch.after.filter(|_| !is_refused);
            watch.fails(now);
        });
    }

    /// Somebody else has it since.
    pub(super) fn gone_on(&self, agent: AgentId, node: NodeId, epoch: Epoch, now: Instant) {
        self.change(agent, |watch| (watch.node, watch.epoch, watch.heard, watch.busy) = (node, epoch, now, false));
    }

    /// It is not one that this node would go on with.
    pub(super) fn leave(&self, agent: AgentId) {
        self.lock().remove(&agent);
    }

    /// How long its node must be silent; nothing where this node would not go on with it.
    pub(super) fn after(&self, agent: AgentId) -> Option<Duration> {
        self.lock().get(&agent).and_then(|watch| watch.after)
    }

    /// Those whose node was silent for too long; somebody looks after them from now on.
    pub(super) fn silent(&self, now: Instant) -> Vec<(AgentId, NodeId, Epoch)> {
        let mut all = self.lock();
        let due = all.iter_mut().filter(|(_, watch)| watch.is_silent(now) && !watch.busy && now >= watch.not_before);
        due.map(|(agent, watch)| {
            watch.busy = true;
            (*agent, watch.node, watch.epoch)
        })
        .collect()
    }

    /// How long its node has been silent.
    pub(super) fn silence(&self, agent: AgentId, now: Instant) -> Option<Duration> {
        self.lock().get(&agent).map(|watch| now.saturating_duration_since(watch.heard))
    }

    /// Whether its node still is.
    pub(super) fn is_silent(&self, agent: AgentId, now: Instant) -> bool {
        self.lock().get(&agent).is_some_and(|watch| watch.is_silent(now))
    }

    /// Until now nobody could have been heard.
    pub(super) fn begin_anew(&self, now: Instant) {
        for watch in self.lock().values_mut() {
            watch.heard = watch.heard.max(now);
        }
    }

    fn change(&self, agent: AgentId, change: impl FnOnce(&mut Watch)) {
        if let Some(watch) = self.lock().get_mut(&agent) {
            change(watch);
        }
    }
}

const fn new(node: NodeId, epoch: Epoch, heard: Instant) -> Watch {
    let (read, after, busy, failed, not_before, read_not_before) = (Seq(0), None, false, 0, heard, heard);
    Watch { node, epoch, read, after, heard, busy, failed, not_before, read_not_before }
}

#[cfg(test)]
mod tests;
