//! Agents of other nodes, and for how long those nodes have been silent; without I/O, and without a clock of its own.
//!
//! Invariants kept here:
//! - Who has an agent is what its journal said when it was read here last. What pulses say is a reason to read on, and
//!   nothing else; a sign of life is one of who has it.
//! - Time in which this node could not have heard anybody is no silence.
//! - One thing at a time is done about an agent.

use igor_protocol::{AgentId, Epoch, Nanos, NodeId, Seq};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Agents that are heard of, at most.
const WATCHED_MAX: usize = 4096;
/// What is not gone on with and was not heard of for so long gives its place to others.
const FORGOTTEN_AFTER: Nanos = Nanos::from_secs(60);
/// Pauses after an attempt that failed: the first, and the longest.
const AGAIN_AFTER: Nanos = Nanos::from_millis(500);
const AGAIN_AFTER_MAX: Nanos = Nanos::from_secs(30);
/// Pauses after a refusal, before which a whole journal was read for nothing: the first, and the longest.
const REFUSED_AFTER: Nanos = Nanos::from_secs(10 * 60);
const REFUSED_AFTER_MAX: Nanos = Nanos::from_secs(6 * 60 * 60);
/// Pause after a pulse was a reason to read on, and there was nothing to read.
const NOTHING_NEW_PAUSE: Nanos = Nanos::from_secs(1);

/// How long who has an agent may be silent after this node has started, or has lost or given it: the first time, and the longest.
/// It is longer each time that this node goes on with it and had heard nothing of who had it: then it is this one that others
/// do not hear.
const FIRST_WORD_WITHIN: Nanos = Nanos::from_secs(5);
const FIRST_WORD_WITHIN_MAX: Nanos = Nanos::from_secs(5 * 60);

/// Whoever is about to be silent for too long is suspected: from then on the journal is read to its end, so that little is
/// left to read.
const SUSPECTED_BEFORE: Nanos = Nanos::from_millis(250);

/// Whoever goes on with an agent reads on first; where that takes longer, what was silence then may be none now.
const DECIDED_WITHIN: Nanos = Nanos::from_secs(2);

/// What its node says of an agent that is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Which.
    pub agent: AgentId,
    /// The epoch that the node has it under.
    pub epoch: Epoch,
    /// The end of its journal.
    pub next: Seq,
}

/// What this node knows of an agent whose journal it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Following {
    /// Who has it.
    pub node: NodeId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// The end of its journal.
    pub read: Seq,
    /// How long its node must be silent before this one goes on.
    pub after: Nanos,
}

/// Whether somebody looks after an agent, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    Nobody,
    /// It is read on.
    Reads,
    /// Its node is silent.
    GoesOn,
}

#[derive(Debug)]
struct Watch {
    node: NodeId,
    epoch: Epoch,
    read: Seq,
    /// How far its node says that its journal goes.
    said: Seq,
    /// Nothing where this node would not go on with it.
    after: Option<Nanos>,
    /// A sign of life of its node.
    heard: Nanos,
    /// There was one that was a word of its node.
    has_spoken: bool,
    /// The sign of life after which nothing was heard for so long that it was read on.
    suspected: Nanos,
    care: Care,
    /// There is a journal of it here, and this node would go on with it as far as it knows.
    known: bool,
    /// Attempts in a row that failed, to read on or to go on with it.
    failed: u32,
    /// Refusals since it was read, which count as failures as well.
    refused: u32,
    /// Nothing is tried before.
    not_before: Nanos,
    /// And it is not read on before, so that words of others keep nobody from going on with it.
    read_not_before: Nanos,
}

impl Watch {
    fn is_silent(&self, now: Nanos) -> bool {
        self.after.is_some_and(|after| now.saturating_sub(self.heard) > after)
    }

    fn is_suspect(&self, now: Nanos) -> bool {
        let soon = now.saturating_add(SUSPECTED_BEFORE);
        self.suspected != self.heard && self.failed == 0 && self.is_silent(soon) && !self.is_silent(now)
    }

    fn is_busy(&self) -> bool {
        self.care != Care::Nobody
    }

    /// Somebody looks after it from now on, unless somebody does.
    fn begin(&mut self, care: Care) -> bool {
        let begins = !self.is_busy();
        self.care = if begins { care } else { self.care };
        begins
    }

    /// Whether it could not be read on, and nobody may be left to say anything that would be a reason to try again.
    const fn is_unread(&self) -> bool {
        self.known && self.after.is_none() && self.failed > 0
    }

    /// Where it is an early look that failed, going on with it is not put off.
    fn fails(&mut self, is_refused: bool, now: Nanos) {
        let pause = if is_refused {
            Nanos(REFUSED_AFTER.0 << self.refused.min(10)).min(REFUSED_AFTER_MAX)
        } else {
            Nanos(AGAIN_AFTER.0 << self.failed.min(10)).min(AGAIN_AFTER_MAX)
        };
        self.failed = self.failed.saturating_add(1);
        self.refused = self.refused.saturating_add(u32::from(is_refused));
        let puts_off = if self.care == Care::GoesOn || self.after.is_none() {
            &mut self.not_before
        } else {
            &mut self.read_not_before
        };
        *puts_off = now.saturating_add(pause);
        self.care = Care::Nobody;
    }
}

#[derive(Debug, Default)]
struct All {
    by_agent: BTreeMap<AgentId, Watch>,
    /// How often in a row this node went on with one and had heard nothing of who had it.
    unheard: BTreeMap<AgentId, u32>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Watched(Mutex<All>);

impl Watched {
    fn lock(&self) -> MutexGuard<'_, All> {
        // No update can fail in the middle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node says that an agent is well there. Says whether to read on; then [`Watched::read`] or another of those below
    /// says what came of it. Where `waits` that would wait for others: one that this node is ready to go on with is left for
    /// the next time, so that it is not read on when it is to be gone on with.
    pub fn hear(&self, node: NodeId, pulse: &Pulse, waits: bool, now: Nanos) -> bool {
        let mut all = self.lock();
        let All { by_agent: all, unheard } = &mut *all;
        if all.len() >= WATCHED_MAX && !all.contains_key(&pulse.agent) {
            all.retain(|_, watch| {
                watch.after.is_some() || watch.is_busy() || now.saturating_sub(watch.heard) < FORGOTTEN_AFTER
            });
            if all.len() >= WATCHED_MAX {
                return false;
            }
        }
        let watch = all.entry(pulse.agent).or_insert_with(|| new(node, pulse.epoch, now));
        let is_its = node == watch.node && pulse.epoch >= watch.epoch;
        if is_its {
            // Also where it had until later to say something, since this node has just started.
            (watch.heard, watch.has_spoken) = (now, true);
            watch.said = pulse.next;
            unheard.remove(&pulse.agent);
        }
        if pulse.epoch > watch.epoch {
            // Custody changed: what follows is read to its end.
            watch.said = Seq(0);
        }
        if watch.refused > 0 && pulse.epoch > watch.epoch {
            // Who has it now is perhaps one of whom it is taken.
            watch.not_before = watch.not_before.min(now.saturating_add(AGAIN_AFTER_MAX));
            watch.epoch = pulse.epoch;
        }
        let news = watch.failed > 0 || pulse.epoch > watch.epoch || (is_its && pulse.next > watch.read);
        let news = news && !(waits && watch.after.is_some());
        news && now >= watch.not_before.max(watch.read_not_before) && watch.begin(Care::Reads)
    }

    /// An agent of which this node has a journal, whose node has some time to say that it is well. Says whether to read on, as
    /// [`Watched::hear`].
    pub fn remember(&self, agent: AgentId, node: NodeId, epoch: Epoch, now: Nanos) -> bool {
        let mut all = self.lock();
        let All { by_agent: all, unheard } = &mut *all;
        if all.len() >= WATCHED_MAX {
            return false;
        }
        let times = unheard.get(&agent).copied().unwrap_or_default();
        let within = Nanos(FIRST_WORD_WITHIN.0 << times.min(10)).min(FIRST_WORD_WITHIN_MAX);
        let from = now.saturating_add(within);
        let watch = all.entry(agent).or_insert_with(|| new(node, epoch, from));
        watch.heard = watch.heard.max(from);
        watch.known = true;
        watch.begin(Care::Reads)
    }

    /// Its journal was read, and this node is ready to go on with it.
    pub fn read(&self, agent: AgentId, found: Following, now: Nanos) {
        let Following { node, epoch, read, after } = found;
        self.change(agent, |watch| {
            // Who has it anew has time to say so; also one that had it before, and of whose absence nothing was heard.
            if (watch.node, watch.epoch) != (node, epoch) {
                watch.heard = watch.heard.max(now);
            }
            if (watch.node, watch.epoch, watch.read) == (node, epoch, read) && watch.failed == 0 {
                watch.read_not_before = now.saturating_add(NOTHING_NEW_PAUSE);
                if watch.care == Care::GoesOn {
                    // It was read instead of being gone on with: that is not done over and over.
                    watch.not_before = watch.read_not_before;
                }
            }
            watch.has_spoken &= watch.node == node;
            (watch.node, watch.epoch, watch.read, watch.after) = (node, epoch, read, Some(after));
            (watch.care, watch.known, watch.failed, watch.refused) = (Care::Nobody, true, 0, 0);
        });
    }

    /// Reading on, or going on with it, failed; where `is_refused`, this node would not go on with it.
    pub fn failed(&self, agent: AgentId, is_refused: bool, now: Nanos) {
        self.change(agent, |watch| {
            watch.after = watch.after.filter(|_| !is_refused);
            watch.known &= !is_refused;
            watch.fails(is_refused, now);
        });
    }

    /// This node would not go on with it as its journal is now. What is said of it later is a reason to read on again, after a
    /// pause.
    pub fn rests(&self, agent: AgentId, now: Nanos) {
        self.change(agent, |watch| {
            (watch.known, watch.after) = (false, None);
            watch.fails(false, now);
        });
    }

    /// Somebody else has it since.
    pub fn gone_on(&self, agent: AgentId, node: NodeId, epoch: Epoch, now: Nanos) {
        self.change(agent, |watch| {
            if (watch.node, watch.epoch) != (node, epoch) {
                watch.not_before = now.saturating_add(AGAIN_AFTER);
            }
            watch.has_spoken &= watch.node == node;
            (watch.node, watch.epoch, watch.heard, watch.care) = (node, epoch, now, Care::Nobody);
        });
    }

    /// It is this node's, which has gone on with it.
    pub fn leave(&self, agent: AgentId) {
        let mut all = self.lock();
        if let Some(watch) = all.by_agent.remove(&agent) {
            if watch.has_spoken {
                all.unheard.remove(&agent);
            } else if all.unheard.len() < WATCHED_MAX || all.unheard.contains_key(&agent) {
                let times = all.unheard.entry(agent).or_default();
                *times = times.saturating_add(1);
            }
        }
    }

    /// Up to where it is to be read on, if its node said so of what this one follows; else to its end.
    pub fn until(&self, agent: AgentId) -> Option<Seq> {
        let all = self.lock();
        let watch = all.by_agent.get(&agent).filter(|watch| watch.after.is_some() && watch.failed == 0);
        watch.map(|watch| watch.said).filter(|said| watch.is_some_and(|watch| *said > watch.read))
    }

    /// How long its node must be silent; nothing where this node would not go on with it.
    pub fn after(&self, agent: AgentId) -> Option<Nanos> {
        self.lock().by_agent.get(&agent).and_then(|watch| watch.after)
    }

    /// Those whose node was silent for too long, and those that could not be read on; somebody looks after them from now on.
    pub fn silent(&self, now: Nanos) -> Vec<(AgentId, NodeId, Epoch)> {
        let mut all = self.lock();
        let due =
            |watch: &Watch| (watch.is_silent(now) || watch.is_unread()) && !watch.is_busy() && now >= watch.not_before;
        let due = all.by_agent.iter_mut().filter(|(_, watch)| due(watch));
        due.map(|(agent, watch)| {
            watch.begin(Care::GoesOn);
            (*agent, watch.node, watch.epoch)
        })
        .collect()
    }

    /// One whose node will have been silent for too long in a moment, which is read to its end from now on.
    pub fn suspect(&self, now: Nanos) -> Option<AgentId> {
        let mut all = self.lock();
        let is_one = |watch: &Watch| watch.is_suspect(now) && !watch.is_busy() && now >= watch.not_before;
        let (agent, watch) = all.by_agent.iter_mut().find(|(_, watch)| is_one(watch))?;
        (watch.suspected, watch.said) = (watch.heard, Seq(0));
        watch.begin(Care::Reads);
        Some(*agent)
    }

    /// How long its node has been silent.
    pub fn silence(&self, agent: AgentId, now: Nanos) -> Option<Nanos> {
        self.lock().by_agent.get(&agent).map(|watch| now.saturating_sub(watch.heard))
    }

    /// Whether its node still is, for who began to go on with it then.
    pub fn is_still_silent(&self, agent: AgentId, begun: Nanos, now: Nanos) -> bool {
        let in_time = now.saturating_sub(begun) < DECIDED_WITHIN;
        in_time && self.lock().by_agent.get(&agent).is_some_and(|watch| watch.is_silent(now))
    }

    /// Until now nobody could have been heard.
    pub fn begin_anew(&self, now: Nanos) {
        for watch in self.lock().by_agent.values_mut() {
            watch.heard = watch.heard.max(now);
        }
    }

    fn change(&self, agent: AgentId, change: impl FnOnce(&mut Watch)) {
        if let Some(watch) = self.lock().by_agent.get_mut(&agent) {
            change(watch);
        }
    }
}

const fn new(node: NodeId, epoch: Epoch, heard: Nanos) -> Watch {
    let (read, said, after, failed, refused) = (Seq(0), Seq(0), None, 0, 0);
    let (care, known, has_spoken) = (Care::Nobody, false, false);
    Watch {
        node,
        epoch,
        read,
        said,
        after,
        heard,
        has_spoken,
        suspected: Nanos(0),
        care,
        known,
        failed,
        refused,
        not_before: Nanos(0),
        read_not_before: Nanos(0),
    }
}

#[cfg(test)]
mod tests;
