//! What is asked of a bucket, and what becomes of agents through it.

use igor_bucket::Snapshot;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Bounds of the buckets of gaps, in seconds: a node that was killed, to one whose state takes long to read.
const GAP_BUCKETS: [f64; 10] = [0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: &'static str,
}

/// A label, and where what it counts stands in a [`Snapshot`].
type Of = (&'static str, fn(&Snapshot) -> u64);

/// Requests, by kind.
const KINDS: [Of; 5] = [
    ("create", |seen| seen.requests.create),
    ("replace", |seen| seen.requests.replace),
    ("get", |seen| seen.requests.get),
    ("list", |seen| seen.requests.list),
    ("delete", |seen| seen.requests.delete),
];

/// Answers that are no plain success.
const OUTCOMES: [Of; 5] = [
    ("exists", |seen| seen.exists),
    ("unknown", |seen| seen.unknown),
    ("throttled", |seen| seen.throttled),
    ("refused", |seen| seen.refused),
    ("too_large", |seen| seen.too_large),
];

/// The metrics of a bucket, and of the agents that go on from it.
pub(crate) struct BucketMetrics {
    requests: Family<OfKind, Counter>,
    outcomes: Family<OfOutcome, Counter>,
    up: Counter,
    down: Counter,
    silent: Gauge<f64, AtomicU64>,
    taken: Counter,
    lost: Counter,
    gaps: Histogram,
}

impl BucketMetrics {
    pub(super) fn new() -> Self {
        Self {
            requests: Family::default(),
            outcomes: Family::default(),
            up: Counter::default(),
            down: Counter::default(),
            silent: Gauge::default(),
            taken: Counter::default(),
            lost: Counter::default(),
            gaps: Histogram::new(GAP_BUCKETS),
        }
    }

    pub(super) fn register(&self, r: &mut Registry) {
        r.register("bucket_requests", "Requests to the bucket, by kind", self.requests.clone());
        r.register("bucket_answers", "Answers of the bucket that are no plain success", self.outcomes.clone());
        r.register("bucket_bytes_out", "Bytes of objects that were sent", self.up.clone());
        r.register("bucket_bytes_in", "Bytes of objects that were read", self.down.clone());
        let silent = "How long the bucket has not answered what it should have; 0 where it is well";
        r.register_with_unit("bucket_silent", silent, Unit::Seconds, self.silent.clone());
        r.register("failovers", "Agents of silent nodes that went on here", self.taken.clone());
        r.register("failovers_lost", "Agents that lived here and went on elsewhere meanwhile", self.lost.clone());
        let gap = "From the last sign of life to the first tick here, of agents of silent nodes";
        r.register_with_unit("failover_gap", gap, Unit::Seconds, self.gaps.clone());
    }

    /// An agent of a silent node goes on here.
    pub(crate) fn took(&self) {
        self.taken.inc();
    }

    /// Its first tick here is durable.
    pub(crate) fn ticked(&self, gap: Duration) {
        self.gaps.observe(gap.as_secs_f64());
    }

    /// An agent that lived here has gone on elsewhere.
    pub(crate) fn lost(&self) {
        self.lost.inc();
    }

    /// Takes in what was counted of the bucket.
    pub(super) fn see(&self, seen: &Snapshot, silent: Duration) {
        for (kind, of) in KINDS {
            self.requests.get_or_create(&OfKind { kind }).inner().store(of(seen), Relaxed);
        }
        for (outcome, of) in OUTCOMES {
            self.outcomes.get_or_create(&OfOutcome { outcome }).inner().store(of(seen), Relaxed);
        }
        self.up.inner().store(seen.bytes_up, Relaxed);
        self.down.inner().store(seen.bytes_down, Relaxed);
        self.silent.set(silent.as_secs_f64());
    }
}
