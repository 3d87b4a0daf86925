//! What must hold, checked at the moment at which it could be broken.
//!
//! Invariants kept here:
//! - The oracle sees what nobody in the cluster can see, all machines at once, and tells none of them.
//! - It believes only what was durable or told: commits that a store confirmed, records that a keystore confirmed,
//!   ticks that were announced, messages that were acknowledged; and of journals in a bucket what stood first in each slot.

use super::{counts::Counts, kernel::Kernel, truth::Truth};
use igor_protocol::{
    AgentId, Chain, Commit, Epoch, Hash, NodeId, Seq,
    custody::{Memory, Note},
    entry::{Custody, Phase},
};
use igor_spine::event::{Snapshot, TickEvent};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Sees everything. Clones are the same one.
#[derive(Clone)]
pub struct Oracle {
    kernel: Kernel,
    counts: Counts,
    /// Whether takeovers are ordered of live nodes too, so that two branches may run.
    forks: bool,
    /// The journals in the bucket, where they are there.
    truth: Option<Truth>,
    prints: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    violation: Option<String>,
    /// Where each commit of each term leads: position after it, and head.
    commits: BTreeMap<(AgentId, u64, u64), (Seq, Hash)>,
    /// The durable end of each journal at each machine.
    tails: BTreeMap<(usize, AgentId), Chain>,
    memories: BTreeMap<(usize, AgentId), Memory>,
    lives: BTreeMap<AgentId, Vec<Lives>>,
    serial: u64,
    shown: BTreeMap<AgentId, Shown>,
    told: BTreeMap<AgentId, Vec<Told>>,
    takeovers: BTreeMap<AgentId, Vec<Base>>,
    rotten: BTreeSet<usize>,
    /// The last things that happened, for who looks into a failure.
    recent: Vec<String>,
}

#[derive(Clone, Copy)]
struct Lives {
    serial: u64,
    node: usize,
    epoch: Epoch,
}

/// An agent as it was shown last.
#[derive(Clone)]
pub struct Shown {
    /// Where.
    pub node: usize,
    /// As what.
    pub snapshot: Snapshot,
}

/// Something that somebody was told is in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// On which branch.
    pub term: u64,
    /// Its position.
    pub seq: Seq,
    /// The head of the chain there.
    pub head: Hash,
    /// Who said so.
    pub node: usize,
    /// What it is.
    pub what: What,
}

/// What was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// That a tick of this number was done.
    Tick(u64),
    /// That the message of this number was taken in.
    Message(u64),
}

/// From where a takeover goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// The branch that it leaves.
    pub from: u64,
    /// The branch that it begins.
    pub term: u64,
    /// The position after the last entry that counts.
    pub next: Seq,
}

impl Oracle {
    /// Sees a cluster from its beginning.
    pub fn new(kernel: Kernel, counts: Counts, forks: bool, truth: Option<Truth>, prints: bool) -> Self {
        Self { kernel, counts, forks, truth, prints, state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether takeovers are ordered of live nodes too.
    pub const fn forks(&self) -> bool {
        self.forks
    }

    /// The journals in the bucket, where they are there.
    pub const fn truth(&self) -> Option<&Truth> {
        self.truth.as_ref()
    }

    /// Whether the agents' journals are in a bucket: whoever is overtaken may live on until it notices.
    pub const fn is_shared(&self) -> bool {
        self.truth.is_some()
    }

    /// Something that must not be.
    pub fn violate(&self, what: String) {
        self.log(|| format!("VIOLATION {what}"));
        self.lock().violation.get_or_insert(what);
    }

    /// What must not be and was seen first.
    pub fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    /// Says what happens, where somebody wants to know.
    pub fn log(&self, what: impl FnOnce() -> String) {
        if self.prints {
            let mut line = String::new();
            let now = self.kernel.now().0;
            let _ =
                write!(line, "{:>5}.{:06} {:>7} ", now / 1_000_000_000, now / 1000 % 1_000_000, self.kernel.steps());
            line.push_str(&what());
            self.lock().recent.push(line);
        }
    }

    /// What was said since this was asked last.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().recent)
    }

    /// A machine's disk has bits that nobody wrote.
    pub fn rotted(&self, node: usize) {
        self.lock().rotten.insert(node);
    }

    /// Whether any has: what that tells the others is not what it signed.
    pub fn any_rotten(&self) -> bool {
        !self.lock().rotten.is_empty()
    }

    /// Whether it has.
    pub fn is_rotten(&self, node: usize) -> bool {
        self.lock().rotten.contains(&node)
    }

    /// A store confirmed a commit, or has it after a restart.
    pub fn committed(&self, node: usize, commit: &Commit) {
        let agent = commit.agent();
        let mut state = self.lock();
        // In a bucket there is one branch, whatever its terms.
        let term = if self.is_shared() { 0 } else { commit.epoch().term };
        let key = (agent, term, commit.first().0);
        let leads = (commit.next(), commit.head());
        let known = *state.commits.entry(key).or_insert(leads);
        state.tails.insert((node, agent), commit.end());
        drop(state);
        self.kernel.note(leads.0.0 ^ u64::from(leads.1.0[0]));
        if known != leads {
            self.violate(format!(
                "two journals of {} in term {} differ at seq {}: at node {node} it leads to {} {}, and it led to {} {}",
                short(agent),
                key.1,
                key.2,
                leads.0,
                leads.1,
                known.0,
                known.1
            ));
        }
    }

    /// A store confirmed that a journal is gone.
    pub fn removed(&self, node: usize, agent: AgentId) {
        self.log(|| format!("n{node} removed its journal of {}", short(agent)));
        self.lock().tails.remove(&(node, agent));
    }

    /// The durable end of a journal at a machine.
    pub fn tail(&self, node: usize, agent: AgentId) -> Option<Chain> {
        self.lock().tails.get(&(node, agent)).copied()
    }

    /// All journals that were durable at a machine.
    pub fn tails(&self, node: usize) -> Vec<Chain> {
        self.lock().tails.iter().filter(|((at, _), _)| *at == node).map(|(_, chain)| *chain).collect()
    }

    /// A keystore confirmed what it knows of an agent. Counts the transitions of custody.
    pub fn noted(&self, node: usize, agent: AgentId, note: &Note) {
        let memory = note.memory.clone();
        let before = self.lock().memories.insert((node, agent), memory.clone()).unwrap_or_default();
        if memory.signed != before.signed
            && let Some(signed) = &memory.signed
        {
            self.log(|| format!("n{node} signed {} of {}", describe(signed), short(agent)));
            self.counts.add(match signed.phase {
                Phase::Handoff(_) => "give",
                Phase::Accept(_) => "accept",
                Phase::Decline(_) => "decline",
                Phase::Return(_) => "return",
                Phase::Takeover(_) => "takeover",
                Phase::Fence(_) => "fence",
            });
            if let Phase::Takeover(takeover) = &signed.phase {
                let order = &takeover.order.body;
                let base = Base { from: order.term, term: order.counter, next: takeover.place.seq };
                self.lock().takeovers.entry(agent).or_default().push(base);
            }
        }
        if memory.elsewhere != before.elsewhere
            && let Some(elsewhere) = &memory.elsewhere
        {
            self.log(|| format!("n{node} buried {} by {}", short(agent), describe(elsewhere)));
            self.counts.add("bury");
        }
        if memory.evidence != before.evidence
            && let Some(evidence) = &memory.evidence
        {
            self.counts.add("suspend");
            let known = evidence.known.as_ref().map_or_else(|| "nothing that it remembers".to_owned(), describe);
            let what =
                format!("n{node} suspended {}: it heard {} and knows {known}", short(agent), describe(&evidence.heard));
            if self.forks || self.is_rotten(node) {
                self.log(|| what);
            } else {
                self.violate(format!("{what}, though all nodes are honest"));
            }
        }
    }

    /// Which of these nodes took custody last, as far as keystores confirmed it; none: nobody after the first custodian.
    /// A disk that rots may name others.
    pub fn custodian(&self, agent: AgentId, nodes: &[NodeId]) -> Option<NodeId> {
        let state = self.lock();
        let of = state.memories.iter().filter(|((_, of), _)| *of == agent);
        let taken = of
            .filter_map(|(_, memory)| memory.signed.as_ref())
            .filter(|signed| matches!(signed.phase, Phase::Accept(_) | Phase::Return(_) | Phase::Takeover(_)));
        let came = state.memories.iter().filter(|((_, of), _)| *of == agent);
        let came = came.filter_map(|(_, memory)| memory.came.as_ref());
        let known = taken.chain(came).filter(|record| nodes.contains(&record.phase.writer()));
        known.max_by_key(|record| record.phase.epoch()).map(|record| record.phase.writer())
    }

    /// Where custody was taken over.
    pub fn takeovers(&self, agent: AgentId) -> Vec<Base> {
        self.lock().takeovers.get(&agent).cloned().unwrap_or_default()
    }

    /// A life begins. It is over when what comes back is dropped.
    pub fn begins(&self, node: usize, agent: AgentId, epoch: Epoch) -> LifeGuard {
        let mut state = self.lock();
        state.serial += 1;
        let serial = state.serial;
        let lives = state.lives.entry(agent).or_default();
        let conflicts = |other: &&Lives| match &self.truth {
            // One that was fenced off may not know of it yet.
            Some(_) => other.epoch == epoch,
            None => !self.forks || other.epoch.term == epoch.term,
        };
        let other = lives.iter().find(conflicts).copied();
        lives.push(Lives { serial, node, epoch });
        drop(state);
        self.log(|| format!("n{node} {} lives, epoch {epoch}", short(agent)));
        if let Some(other) = other {
            self.violate(format!(
                "{} lives twice: at node {} in epoch {}, and at node {node} in epoch {epoch}",
                short(agent),
                other.node,
                other.epoch
            ));
        }
        LifeGuard { oracle: self.clone(), agent, serial }
    }

    /// Where an agent lives now, newest branch first.
    pub fn lives(&self, agent: AgentId) -> Vec<usize> {
        let mut lives = self.lock().lives.get(&agent).cloned().unwrap_or_default();
        let n = |epoch: Epoch| if self.is_shared() { epoch.n } else { 0 };
        lives.sort_by_key(|life| std::cmp::Reverse((life.epoch.term, n(life.epoch), life.serial)));
        lives.iter().map(|life| life.node).collect()
    }

    /// Whoever says something of a journal in a bucket says what stands there, whatever it has on its disk.
    fn must_stand(&self, agent: AgentId, told: &Told) {
        let Some(truth) = &self.truth else { return };
        if !truth.has(agent, told.seq, told.head) {
            let Told { node, term, seq, what, .. } = told;
            let of = short(agent);
            self.violate(format!("node {node} told {what:?} of {of} in term {term} at seq {seq}, which no slot has"));
        }
    }

    /// A tick was announced.
    pub fn announced(&self, node: usize, agent: AgentId, tick: &TickEvent) {
        let told = Told { term: tick.epoch.term, seq: tick.seq, head: tick.head, node, what: What::Tick(tick.tick.0) };
        self.counts.add("tick");
        self.must_stand(agent, &told);
        let late = self.truth.as_ref().is_some_and(|truth| tick.epoch < truth.epoch(agent));
        self.counts.add_many("tick told after a fence, and in its slot before", u64::from(late));
        self.lock().told.entry(agent).or_default().push(told);
    }

    /// A life went on from its journal, of which so many runs were executed again.
    pub fn recovered(&self, replayed: u64) {
        self.counts.add("life recovered");
        self.counts.add_many("run executed again", replayed);
    }

    /// A checkpoint was made.
    pub fn checkpointed(&self) {
        self.counts.add("checkpoint");
    }

    /// A message was acknowledged.
    pub fn acknowledged(&self, agent: AgentId, told: Told) {
        let tail = self.tail(told.node, agent).filter(|tail| tail.epoch.term == told.term);
        if tail.is_some_and(|tail| tail.next <= told.seq) {
            self.violate(format!(
                "node {} acknowledged a message of {} at seq {} before it was durable",
                told.node,
                short(agent),
                told.seq
            ));
        }
        self.must_stand(agent, &told);
        self.counts.add("message delivered");
        self.lock().told.entry(agent).or_default().push(told);
    }

    /// All that was told of an agent.
    pub fn told(&self, agent: AgentId) -> Vec<Told> {
        self.lock().told.get(&agent).cloned().unwrap_or_default()
    }

    /// An agent was shown.
    pub fn show(&self, node: usize, snapshot: &Snapshot) {
        if snapshot.balance.checked_add(snapshot.spent) != Some(snapshot.funded) {
            let Snapshot { balance, spent, funded, .. } = snapshot;
            let agent = short(snapshot.chain.agent);
            self.violate(format!("{agent} at node {node} was given {funded}, has {balance} and spent {spent}"));
        }
        let (agent, epoch) = (snapshot.chain.agent, snapshot.chain.epoch);
        let n = |epoch: Epoch| (epoch.term, if self.is_shared() { epoch.n } else { 0 });
        let mut state = self.lock();
        if state.shown.get(&agent).is_none_or(|before| n(before.snapshot.chain.epoch) <= n(epoch)) {
            state.shown.insert(agent, Shown { node, snapshot: snapshot.clone() });
        }
    }

    /// A machine is gone for good, and what only it had of an agent's newest term with it.
    pub fn gone(&self, node: usize) {
        let State { tails, shown, .. } = &mut *self.lock();
        tails.retain(|(at, _), _| *at != node);
        let is_there =
            |agent: AgentId, term: u64| tails.iter().any(|((_, of), chain)| *of == agent && chain.epoch.term >= term);
        shown.retain(|agent, shown| is_there(*agent, shown.snapshot.chain.epoch.term));
    }

    /// As an agent was shown last in its newest term.
    pub fn shown(&self, agent: AgentId) -> Option<Shown> {
        self.lock().shown.get(&agent).cloned()
    }
}

/// A life that is under way.
pub struct LifeGuard {
    oracle: Oracle,
    agent: AgentId,
    serial: u64,
}

impl Drop for LifeGuard {
    fn drop(&mut self) {
        let mut state = self.oracle.lock();
        if let Some(lives) = state.lives.get_mut(&self.agent) {
            lives.retain(|life| life.serial != self.serial);
        }
    }
}

/// The first letters of an id.
pub fn short(agent: AgentId) -> String {
    agent.0.to_string()[..6].to_owned()
}

/// A record in a few words.
pub fn describe(record: &Custody) -> String {
    let phase = &record.phase;
    let seq = phase.place().map_or_else(String::new, |place| format!(" at seq {}", place.seq));
    format!("{} {}{seq}", phase.name(), phase.epoch())
}
