//! What agents cost in requests to the bucket.

use igor_store::shared;
use serde::{Deserialize, Serialize};

/// What the journal of an agent asked of its bucket at this node: since its last life here began, or, where it had none,
/// since the node was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Objects that were to be created.
    pub creates: u64,
    /// Objects that were to be read.
    pub reads: u64,
    /// Objects that were to be deleted.
    pub deletes: u64,
    /// Ticks that the agent tried meanwhile, here.
    pub ticks: u64,
    /// What a thousand ticks cost, at that rate. None before the first one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub creates_per_1000_ticks: Option<u64>,
}

impl Requests {
    pub(crate) const fn new(sent: shared::Requests, ticks: u64) -> Self {
        let shared::Requests { creates, reads, deletes } = sent;
        let creates_per_1000_ticks = creates.saturating_mul(1000).checked_div(ticks);
        Self { creates, reads, deletes, ticks, creates_per_1000_ticks }
    }
}
