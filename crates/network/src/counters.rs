//! What the network counts, for a metric exporter, and the log of refusals.
//!
//! Invariants kept here:
//! - The number of counters is fixed: labels come from closed sets.
//! - Refusals are logged at a bounded rate per reason; a line says how many before it were left out. None is uncounted.

use crate::{Refusal, bucket::Bucket, limits::LOG_BURST};
use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// The counters of a network at one moment. All but the `open` ones only rise.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Snapshot {
            $($(#[doc = $doc])* pub $name: u64,)*
            refused: [u64; Refusal::ALL.len()],
        }

        #[derive(Debug, Default)]
        struct Values {
            $($name: AtomicU64,)*
        }

        $(impl Counters {
            pub(crate) fn $name(&self, count: u64) {
                self.values.$name.fetch_add(count, Relaxed);
            }
        })*

        impl Values {
            fn read(&self) -> Snapshot {
                Snapshot { $($name: self.$name.load(Relaxed),)* refused: [0; Refusal::ALL.len()] }
            }
        }
    };
}

counters! {
    /// Connections that were made to this node.
    connections_in,
    /// Connections that this node made.
    connections_out,
    /// Connections that ended.
    connections_closed,
    /// Attempts to connect to a peer that failed.
    dials_failed,
    /// Bytes that came on streams, without what encryption and multiplexing add.
    bytes_in,
    /// Bytes that went out on streams.
    bytes_out,
    /// Streams that peers began, of any protocol.
    streams_in,
    /// Streams that this node began, of any protocol.
    streams_out,
    /// Requests of peers that were handed to the node.
    requests_in,
    /// Requests of this node that were answered.
    requests_out,
    /// Transfers of peers that were handed to the node.
    transfers_in,
    /// Transfers that this node began.
    transfers_out,
}

impl Snapshot {
    /// How often something was refused for this reason.
    pub fn refused(&self, why: Refusal) -> u64 {
        self.refused[why as usize]
    }

    /// Connections that are open now.
    pub fn connections_open(&self) -> u64 {
        (self.connections_in + self.connections_out).saturating_sub(self.connections_closed)
    }
}

/// The counters while they run.
pub(crate) struct Counters {
    values: Values,
    refused: [AtomicU64; Refusal::ALL.len()],
    log: Mutex<[Line; Refusal::ALL.len()]>,
}

/// How much may be logged for one reason.
struct Line {
    bucket: Bucket,
    left_out: u64,
}

impl Counters {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let line = |_| Line { bucket: Bucket::new(LOG_BURST, 1, now), left_out: 0 };
        Self {
            values: Values::default(),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            log: Mutex::new(std::array::from_fn(line)),
        }
    }

    /// Counts a refusal and logs it if the reason has a line left.
    pub(crate) fn refuse(&self, why: Refusal, who: &dyn fmt::Display, detail: &dyn fmt::Display) {
        self.refused[why as usize].fetch_add(1, Relaxed);
        let left_out = {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            let line = &mut log[why as usize];
            if !line.bucket.take(1, Instant::now()) {
                line.left_out += 1;
                return;
            }
            std::mem::take(&mut line.left_out)
        };
        tracing::warn!(reason = why.name(), from = %who, left_out, "refused: {detail}");
    }

    pub(crate) fn read(&self) -> Snapshot {
        let mut snapshot = self.values.read();
        for (slot, count) in snapshot.refused.iter_mut().zip(&self.refused) {
            *slot = count.load(Relaxed);
        }
        snapshot
    }
}
