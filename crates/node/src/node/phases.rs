//! How long going on with another node's agent takes, phase by phase, for whoever reads the log.
//!
//! ```text
//!   silent ─► read ─► fence ─► load ─► restore ─► replay ─► tick      a node that is silent
//!             read    load ─► restore ─► replay ─► fence ─► tick      an owner's order (read: when it was attached)
//! ```
//!
//! Invariant kept here: nothing depends on it. One that comes to nothing is forgotten, and said nowhere.

use super::Node;
use crate::Hosted;
use igor_protocol::{AgentId, Nanos, NodeId};
use igor_spine::Recovery;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long the first tick is waited for before what is known is said.
const TICK_WITHIN: Duration = Duration::from_mins(1);

/// What is done between the last sign of life and the first tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Reading on in the bucket, with attempts to fence that came too late.
    Read,
    /// The entry that gives this node custody: in the bucket, and on the disk.
    Fence,
    /// The program, compiled or from the cache. Nothing where an instance was ready.
    Load,
    /// The state of the last checkpoint. Nothing where an instance was ready.
    Restore,
    /// The runs since.
    Replay,
}

/// One agent on its way.
#[derive(Debug)]
pub(super) struct Phases {
    /// The node that was silent, and for how long.
    silent: Option<(NodeId, Nanos)>,
    begun: Instant,
    /// The end of the last phase.
    last: Instant,
    took: [Duration; 5],
}

impl Phases {
    fn add(&mut self, phase: Phase, time: Duration) {
        self.took[phase as usize] += time;
    }

    const fn of(&self, phase: Phase) -> Duration {
        self.took[phase as usize]
    }
}

/// Agents on their way here.
#[derive(Default)]
pub(super) struct Stopwatches(Mutex<BTreeMap<AgentId, Phases>>);

impl Stopwatches {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, Phases>> {
        // No update can fail in the middle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it is measured.
    pub(super) fn begin(&self, agent: AgentId, silent: Option<(NodeId, Nanos)>) {
        let now = Instant::now();
        self.lock().insert(agent, Phases { silent, begun: now, last: now, took: [Duration::ZERO; 5] });
    }

    /// What was done since the last phase ended was this one.
    pub(super) fn lap(&self, agent: AgentId, phase: Phase) {
        if let Some(phases) = self.lock().get_mut(&agent) {
            let now = Instant::now();
            phases.add(phase, now.duration_since(phases.last));
            phases.last = now;
        }
    }

    /// What was done since the last phase ended was to restore it, and to replay.
    pub(super) fn recovered(&self, agent: AgentId, took: Recovery) {
        self.lap(agent, Phase::Restore);
        if let Some(phases) = self.lock().get_mut(&agent) {
            let replay = took.replay.to_duration().min(phases.of(Phase::Restore));
            phases.took[Phase::Restore as usize] -= replay;
            phases.add(Phase::Replay, replay);
        }
    }

    /// It is measured no more.
    pub(super) fn end(&self, agent: AgentId) -> Option<Phases> {
        self.lock().remove(&agent)
    }
}

impl Node {
    /// A life begins: where another node had the agent, says once its first tick is durable how long all of that took.
    pub(super) fn tell_phases(&self, life: &Arc<Hosted>) {
        let Some(phases) = self.stopwatches.end(life.agent()) else { return };
        let (life, metrics) = (life.clone(), self.metrics.clone());
        tokio::spawn(async move {
            let mut now = life.watch();
            let ticked = now.wait_for(|now| now.tick > life.began().tick);
            let ticked = tokio::time::timeout(TICK_WITHIN, ticked).await.is_ok_and(|ticked| ticked.is_ok());
            let end = Instant::now();
            let of = |phase| millis(phases.of(phase));
            let silent = phases.silent.map(|(_, silent)| silent.to_duration());
            let total = silent.unwrap_or_default() + end.duration_since(phases.begun);
            if ticked && silent.is_some() {
                metrics.bucket.ticked(total);
            }
            tracing::warn!(
                agent = %life.agent(),
                from = phases.silent.map(|(node, _)| tracing::field::display(node)),
                epoch = %life.began().chain.epoch,
                silent_ms = silent.map(millis),
                read_ms = of(Phase::Read),
                fence_ms = of(Phase::Fence),
                load_ms = of(Phase::Load),
                restore_ms = of(Phase::Restore),
                replay_ms = of(Phase::Replay),
                tick_ms = ticked.then(|| millis(end.duration_since(phases.last))),
                total_ms = ticked.then(|| millis(total)),
                state_bytes = life.began().checkpoint_bytes,
                "an agent goes on here"
            );
        });
    }
}

/// Milliseconds, in tenths.
pub(super) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

#[cfg(test)]
mod tests;
