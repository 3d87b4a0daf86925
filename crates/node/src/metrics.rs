//! What a node counts and measures, for Prometheus.
//!
//! Invariant: the number of series is bounded: labels are words from closed sets, and the names of so many agents as
//! the operator allows; the agents beyond are summed up under one label.

use crate::api::wire::{AgentInfo, Room};
use bucket::BucketMetrics;
use igor_bucket::Remote;
use igor_network::Snapshot;
use igor_protocol::{Credits, Nanos};
use igor_spine::event::Event;
use moves::PeerMetrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

mod bucket;
mod moves;

/// Bounds of the commit latency's buckets, in seconds: a fast disk to a dying one.
const COMMIT_BUCKETS: [f64; 12] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0];
/// How ticks end, in the order of [`AgentMetrics::ticks`].
const OUTCOMES: [&str; 8] =
    ["ok", "trap", "out_of_fuel", "timeout", "out_of_memory", "out_of_money", "over_limit", "stack_overflow"];

/// The label of all agents that have no series of their own.
const OTHERS: &str = "other";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAgent {
    agent: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    agent: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStatus {
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    reason: &'static str,
}

type AgentGauge = Family<OfAgent, Gauge<f64, AtomicU64>>;

/// All metrics of a node.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    ticks: Family<OfOutcome, Counter>,
    fuel: Family<OfAgent, Counter>,
    run_seconds: Family<OfAgent, Counter<f64, AtomicU64>>,
    commits: Family<OfAgent, Histogram, fn() -> Histogram>,
    starts: Family<OfAgent, Counter>,
    replayed: Family<OfAgent, Counter>,
    checkpoints_refused: Family<OfAgent, Counter>,
    messages_closed: Family<OfAgent, Counter>,
    requests: Family<OfStatus, Counter>,
    refusals: Family<OfReason, Counter>,
    start_failures: Counter,
    moves_not_granted: Counter,
    /// What other nodes do.
    pub(crate) peers: PeerMetrics,
    /// What is asked of a bucket, and what becomes of agents through it.
    pub(crate) bucket: BucketMetrics,
    room: [Filling; 4],
    /// The agents that have series of their own.
    named: Mutex<BTreeSet<String>>,
    named_max: usize,
    balance: AgentGauge,
    checkpoint_bytes: AgentGauge,
    open_messages: AgentGauge,
    journal_entries: AgentGauge,
    running: AgentGauge,
}

/// What is taken of something, and what there is.
#[derive(Default)]
struct Filling {
    used: Gauge<f64, AtomicU64>,
    max: Gauge<f64, AtomicU64>,
}

/// What the gauges say of one label.
#[derive(Clone, Copy, Default)]
struct Now {
    balance: f64,
    checkpoint_bytes: u64,
    open_messages: u64,
    entries: u64,
    running: u64,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// The metrics that one agent's life changes, looked up once.
#[derive(Debug)]
pub(crate) struct AgentMetrics {
    ticks: [Counter; OUTCOMES.len()],
    fuel: Counter,
    run_seconds: Counter<f64, AtomicU64>,
    commits: Histogram,
    replayed: Counter,
    checkpoints_refused: Counter,
    messages_closed: Counter,
}

impl Metrics {
    /// Registers all of them. So many agents get series of their own.
    pub(crate) fn new(agents: u32) -> Arc<Self> {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("igor")),
            ticks: Family::default(),
            fuel: Family::default(),
            run_seconds: Family::default(),
            commits: Family::new_with_constructor(|| Histogram::new(COMMIT_BUCKETS)),
            starts: Family::default(),
            replayed: Family::default(),
            checkpoints_refused: Family::default(),
            messages_closed: Family::default(),
            requests: Family::default(),
            refusals: Family::default(),
            start_failures: Counter::default(),
            moves_not_granted: Counter::default(),
            peers: PeerMetrics::new(),
            bucket: BucketMetrics::new(),
            room: Default::default(),
            named: Mutex::default(),
            named_max: agents as usize,
            balance: Family::default(),
            checkpoint_bytes: Family::default(),
            open_messages: Family::default(),
            journal_entries: Family::default(),
            running: Family::default(),
        };
        metrics.register();
        Arc::new(metrics)
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let r = &mut *registry;
        r.register("ticks", "Attempted ticks, by how they ended", self.ticks.clone());
        r.register("fuel", "Fuel used by ticks", self.fuel.clone());
        r.register_with_unit("run", "Billable time of ticks", Unit::Seconds, self.run_seconds.clone());
        r.register_with_unit("commit", "Time until a commit was durable", Unit::Seconds, self.commits.clone());
        r.register("starts", "Times that an agent began to run here: created, restarted", self.starts.clone());
        r.register("replayed_runs", "Runs that were executed again to recover", self.replayed.clone());
        r.register("checkpoints_refused", "Checkpoints that were not made", self.checkpoints_refused.clone());
        r.register("messages_closed", "Messages that ticks have closed", self.messages_closed.clone());
        r.register("api_requests", "Answers of the API, by HTTP status", self.requests.clone());
        r.register("refusals", "Refusals of the API, by their code", self.refusals.clone());
        r.register("start_failures", "Times that an agent that should live could not", self.start_failures.clone());
        let asked = "Times that an agent asked to be moved and no node took it";
        r.register("moves_not_granted", asked, self.moves_not_granted.clone());
        self.peers.register(r);
        self.bucket.register(r);
        let room = [
            ("agents", "Agents that live here", "Agents that may live here"),
            ("admitted_memory_bytes", "Memory that living agents may come to use", "Memory that they all may"),
            ("stored_bytes", "What agents have stored here", "What they all may store"),
            ("compile_slots", "Agents that are being created or started", "Agents that may be at once"),
        ];
        for ((name, used, max), filling) in room.into_iter().zip(&self.room) {
            r.register(name, used, filling.used.clone());
            r.register(format!("{name}_max"), max, filling.max.clone());
        }
        r.register("balance_credits", "What an agent can still spend", self.balance.clone());
        r.register_with_unit(
            "checkpoint_state",
            "State in the last checkpoint",
            Unit::Bytes,
            self.checkpoint_bytes.clone(),
        );
        r.register("open_messages", "Messages that no tick has closed", self.open_messages.clone());
        r.register("journal_entries", "Entries in the journal", self.journal_entries.clone());
        r.register("running", "1 while the agent runs here", self.running.clone());
    }

    /// The label of an agent: its name, or that of all others.
    fn label(&self, name: &str) -> String {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let own = name != OTHERS && (named.contains(name) || named.len() < self.named_max);
        if !own {
            return OTHERS.to_owned();
        }
        named.insert(name.to_owned());
        name.to_owned()
    }

    /// The metrics of an agent that begins a life.
    pub(crate) fn of_agent(&self, name: &str) -> AgentMetrics {
        let name = self.label(name);
        let agent = || OfAgent { agent: name.clone() };
        self.starts.get_or_create(&agent()).inc();
        let ticks = |outcome| self.ticks.get_or_create(&OfOutcome { agent: name.clone(), outcome }).clone();
        AgentMetrics {
            ticks: OUTCOMES.map(ticks),
            fuel: self.fuel.get_or_create(&agent()).clone(),
            run_seconds: self.run_seconds.get_or_create(&agent()).clone(),
            commits: self.commits.get_or_create(&agent()).clone(),
            replayed: self.replayed.get_or_create(&agent()).clone(),
            checkpoints_refused: self.checkpoints_refused.get_or_create(&agent()).clone(),
            messages_closed: self.messages_closed.get_or_create(&agent()).clone(),
        }
    }

    /// An answer of the API, and why it is a refusal, where it is one.
    pub(crate) fn answered(&self, status: u16, reason: Option<&'static str>) {
        self.requests.get_or_create(&OfStatus { status }).inc();
        if let Some(reason) = reason {
            self.refusals.get_or_create(&OfReason { reason }).inc();
        }
    }

    /// An agent that should live could not.
    pub(crate) fn could_not_start(&self) {
        self.start_failures.inc();
    }

    /// An agent asked to be moved, and stays.
    pub(crate) fn move_not_granted(&self) {
        self.moves_not_granted.inc();
    }

    /// All metrics in the text format, with what the node and its agents are now.
    pub(crate) fn encode<'a>(
        &self,
        agents: impl Iterator<Item = (&'a AgentInfo, bool)>,
        room: &Room,
        network: Option<&Snapshot>,
        bucket: Option<&Remote>,
    ) -> Result<String, fmt::Error> {
        if let Some(seen) = network {
            self.peers.see(seen);
        }
        if let Some(bucket) = bucket {
            self.bucket.see(&bucket.counts(), bucket.silent_for().unwrap_or_default());
        }
        let mut labels: BTreeMap<String, Now> = BTreeMap::new();
        for (info, running) in agents {
            let now = labels.entry(self.label(&info.name)).or_default();
            now.balance += in_credits(info.balance);
            now.checkpoint_bytes += info.checkpoint_bytes;
            now.open_messages += info.open_messages as u64;
            now.entries += info.seq.0 + 1;
            now.running += u64::from(running);
        }
        for (agent, now) in labels {
            let agent = OfAgent { agent };
            self.balance.get_or_create(&agent).set(now.balance);
            self.checkpoint_bytes.get_or_create(&agent).set(float(now.checkpoint_bytes));
            self.open_messages.get_or_create(&agent).set(float(now.open_messages));
            self.journal_entries.get_or_create(&agent).set(float(now.entries));
            self.running.get_or_create(&agent).set(float(now.running));
        }
        for (filling, fill) in
            self.room.iter().zip([room.agents, room.memory_bytes, room.stored_bytes, room.compile_slots])
        {
            filling.used.set(float(fill.used));
            filling.max.set(float(fill.max));
        }
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl AgentMetrics {
    /// Something was committed.
    pub(crate) fn count(&self, event: &Event) {
        match event {
            Event::Started { replayed, .. } => {
                self.replayed.inc_by(*replayed);
            }
            Event::Tick(tick) => {
                if let Some(counter) = OUTCOMES.iter().position(|name| *name == tick.outcome.name()) {
                    self.ticks[counter].inc();
                }
                self.fuel.inc_by(tick.fuel.0);
                self.run_seconds.inc_by(tick.duration.to_duration().as_secs_f64());
            }
            Event::CheckpointRefused { .. } => {
                self.checkpoints_refused.inc();
            }
            Event::MessageClosed { .. } => {
                self.messages_closed.inc();
            }
            Event::Log { .. }
            | Event::Checkpoint { .. }
            | Event::Suspended { .. }
            | Event::Ended { .. }
            | Event::Stopped { .. } => {}
        }
    }

    /// A commit took so long.
    pub(crate) fn appended(&self, took: Nanos) {
        self.commits.observe(took.to_duration().as_secs_f64());
    }
}

/// As a float: enough for a graph, and for nothing else.
#[allow(clippy::cast_precision_loss)]
fn float(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss)]
fn in_credits(amount: Credits) -> f64 {
    amount.units() as f64 / 1e18
}

#[cfg(test)]
mod tests;
