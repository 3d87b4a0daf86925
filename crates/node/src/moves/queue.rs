//! Whose turn it is to open a stream for a move to another node.
//!
//! Invariants kept here:
//! - No more streams than [`TO_ONE_MAX`] are open to one node, and [`IN_ALL_MAX`] to all: a node takes twice as many from
//!   one peer, since it gives a place back a moment after its answer is here. More wait, in the order in which they came.
//! - A node that keeps this one waiting keeps nobody waiting for another node, until such nodes have all places.

use igor_network::limits::TRANSFERS_PER_PEER;
use igor_protocol::NodeId;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Moves to one node that go out at once.
pub(super) const TO_ONE_MAX: usize = TRANSFERS_PER_PEER / 2;
/// Moves that go out at once: each reads its agent's journal, and holds a stream.
pub(super) const IN_ALL_MAX: usize = 16;

/// Those who wait, and the places.
pub(super) struct Queue {
    all: Arc<Semaphore>,
    to: Mutex<BTreeMap<NodeId, Arc<Semaphore>>>,
}

/// A place for one stream, until it is dropped.
pub(super) struct Turn {
    _places: [OwnedSemaphorePermit; 2],
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(IN_ALL_MAX)), to: Mutex::default() }
    }

    /// Waits for the turn, and says so where it is not there yet; nothing where nobody gets one any more.
    pub(super) async fn turn(&self, to: NodeId, waits: impl FnOnce()) -> Option<Turn> {
        let to = self.places(to);
        let mut waits = Some(waits);
        // Who waits for one node takes no place of those who go to others.
        let own = place(to, &mut waits).await?;
        let all = place(self.all.clone(), &mut waits).await?;
        Some(Turn { _places: [own, all] })
    }

    fn places(&self, node: NodeId) -> Arc<Semaphore> {
        // No update can fail in the middle.
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits or goes holds one of these.
        to.retain(|other, places| *other == node || Arc::strong_count(places) > 1);
        to.entry(node).or_insert_with(|| Arc::new(Semaphore::new(TO_ONE_MAX))).clone()
    }
}

/// One of these places. Where none is free, who waits is told, once.
async fn place(places: Arc<Semaphore>, waits: &mut Option<impl FnOnce()>) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = places.clone().try_acquire_owned() {
        return Some(place);
    }
    if let Some(waits) = waits.take() {
        waits();
    }
    places.acquire_owned().await.ok()
}

#[cfg(test)]
mod tests;
