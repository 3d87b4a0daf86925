//! What is counted of moves, of what peers tell, and of the network.

use super::{OfReason, float};
use igor_network::{Refusal, Snapshot};
use igor_spine::custody::{Failed, Moved, Taken};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bounds of the buckets of pauses, in seconds: a small agent on a quick network to a large one on a slow one.
const PAUSE_BUCKETS: [f64; 10] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfMove {
    outcome: &'static str,
}

/// The metrics of what other nodes do.
pub(crate) struct PeerMetrics {
    came: Family<OfMove, Counter>,
    came_refused: Family<OfReason, Counter>,
    went: Family<OfMove, Counter>,
    pauses: Histogram,
    told_refused: Counter,
    connections: Gauge<f64, AtomicU64>,
    network: [Counter; NETWORK.len()],
    network_refused: Family<OfReason, Counter>,
}

/// A counter of the network: its name, what it says, and where it stands in a [`Snapshot`].
type Of = (&'static str, &'static str, fn(&Snapshot) -> u64);

/// Counters that the network keeps by itself.
const NETWORK: [Of; 10] = [
    ("network_connections_in", "Connections that peers made", |seen| seen.connections_in),
    ("network_connections_out", "Connections that this node made", |seen| seen.connections_out),
    ("network_dials_failed", "Attempts to connect to a peer that failed", |seen| seen.dials_failed),
    ("network_bytes_in", "Bytes that came on streams", |seen| seen.bytes_in),
    ("network_bytes_out", "Bytes that went out on streams", |seen| seen.bytes_out),
    ("network_streams_in", "Streams that peers began", |seen| seen.streams_in),
    ("network_requests_in", "Requests of peers", |seen| seen.requests_in),
    ("network_requests_out", "Requests to peers that were answered", |seen| seen.requests_out),
    ("network_transfers_in", "Transfers that peers began", |seen| seen.transfers_in),
    ("network_transfers_out", "Transfers that this node began", |seen| seen.transfers_out),
];

impl PeerMetrics {
    pub(super) fn new() -> Self {
        Self {
            came: Family::default(),
            came_refused: Family::default(),
            went: Family::default(),
            pauses: Histogram::new(PAUSE_BUCKETS),
            told_refused: Counter::default(),
            connections: Gauge::default(),
            network: Default::default(),
            network_refused: Family::default(),
        }
    }

    pub(super) fn register(&self, r: &mut Registry) {
        r.register("moves_in", "Moves to this node, by how they ended", self.came.clone());
        r.register("moves_in_refused", "Moves to this node that were refused, by reason", self.came_refused.clone());
        r.register("moves_out", "Moves from this node, by how they ended", self.went.clone());
        r.register_with_unit(
            "move_pause",
            "Time in which a moved agent ran nowhere",
            Unit::Seconds,
            self.pauses.clone(),
        );
        r.register("custody_told_refused", "Records of custody that were told and refused", self.told_refused.clone());
        r.register("network_connections", "Connections that are open", self.connections.clone());
        for ((name, help, _), counter) in NETWORK.iter().zip(&self.network) {
            r.register(*name, *help, counter.clone());
        }
        r.register("network_refused", "What peers were refused, by reason", self.network_refused.clone());
    }

    /// A move to this node came to its end, or broke off.
    pub(crate) fn came(&self, taken: Option<&Taken>) {
        let outcome = match taken {
            Some(Taken::Accepted(_)) => "accepted",
            Some(Taken::Declined(_)) => "declined",
            Some(Taken::Refused(_, refusal)) => {
                self.came_refused.get_or_create(&OfReason { reason: refusal.reason.name() }).inc();
                "refused"
            }
            None => "broken_off",
        };
        self.came.get_or_create(&OfMove { outcome }).inc();
    }

    /// A move from this node came to its end.
    pub(crate) fn went(&self, moved: Result<&Moved, &Failed>) {
        let outcome = match moved {
            Ok(moved) => {
                self.pauses.observe(moved.pause.to_duration().as_secs_f64());
                "accepted"
            }
            Err(Failed::Refused(_)) => "refused",
            Err(Failed::Declined) => "declined",
            Err(Failed::Unanswered(_)) => "unanswered",
            Err(_) => "failed",
        };
        self.went.get_or_create(&OfMove { outcome }).inc();
    }

    /// Records of custody were told that are not what they say.
    pub(crate) fn told_what_is_refused(&self) {
        self.told_refused.inc();
    }

    /// Takes in what the network counted.
    pub(super) fn see(&self, seen: &Snapshot) {
        self.connections.set(float(seen.connections_open()));
        for ((_, _, of), counter) in NETWORK.iter().zip(&self.network) {
            counter.inner().store(of(seen), Relaxed);
        }
        for why in Refusal::ALL {
            let counter = self.network_refused.get_or_create(&OfReason { reason: why.name() });
            counter.inner().store(seen.refused(why), Relaxed);
        }
    }
}
