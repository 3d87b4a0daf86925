//! Who brings an agent in now: a move, a file, or an order that is carried out.
//!
//! Invariants kept here:
//! - One at a time for each agent.
//! - A move whose offer shows less than another gives way to it, at a point where it waits for its peer: whoever had the
//!   agent once cannot keep out who has it now by offering it over and over.
//! - A record proves who signed it and nothing else, and anybody can make a key: so of a node that the operator lists any
//!   offer shows more than all that others say.

use crate::moving::Cut;
use igor_protocol::{AgentId, entry::Phase, transfer::Offer, units::Epoch};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, watch};

/// What an offer shows of custody, once it was checked. Of one epoch an accept, a return or a takeover is the last word:
/// whoever shows the handoff before it has two. The order of the fields is that of what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shown {
    by_listed: bool,
    epoch: Epoch,
    settled: bool,
}

impl Shown {
    /// `by_listed`: by a node whose agents the operator takes.
    pub(super) fn by(offer: &Offer, by_listed: bool) -> Self {
        let last = offer.records.last().map(|record| &record.phase);
        let epoch = last.map_or(Epoch::default(), Phase::epoch);
        Self { by_listed, epoch, settled: !matches!(last, Some(Phase::Handoff(_))) }
    }
}

/// The agents that are being brought in.
#[derive(Default)]
pub(super) struct Entrance(Mutex<BTreeMap<AgentId, Place>>);

struct Place {
    /// Nothing where it gives way to nobody.
    shown: Option<Shown>,
    give_way: Arc<Notify>,
    /// Closed when it is over.
    over: watch::Receiver<()>,
}

/// The agent is brought in, by one, until this is dropped.
pub struct Coming<'a> {
    entrance: &'a Entrance,
    agent: AgentId,
    give_way: Arc<Notify>,
    _here: watch::Sender<()>,
}

/// What a move that gives way was waiting for does not matter any more.
pub(super) struct GaveWay;

impl Entrance {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, Place>> {
        // No update can fail in the middle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, places: &mut BTreeMap<AgentId, Place>, agent: AgentId, shown: Option<Shown>) -> Coming<'_> {
        let (here, over) = watch::channel(());
        let give_way = Arc::new(Notify::new());
        places.insert(agent, Place { shown, give_way: give_way.clone(), over });
        Coming { entrance: self, agent, give_way, _here: here }
    }

    /// Begins with an agent; nothing if somebody has.
    pub(super) fn begin(&self, agent: AgentId) -> Option<Coming<'_>> {
        let mut places = self.lock();
        (!places.contains_key(&agent)).then(|| self.enter(&mut places, agent, None))
    }

    /// Begins with an agent that a peer offers, once what shows less has given way; nothing if nobody does.
    pub(super) async fn begin_offered(&self, agent: AgentId, shown: Shown) -> Option<Coming<'_>> {
        loop {
            let mut over = {
                let mut places = self.lock();
                match places.get(&agent) {
                    None => return Some(self.enter(&mut places, agent, Some(shown))),
                    Some(place) if place.shown.is_some_and(|before| before < shown) => {
                        place.give_way.notify_one();
                        place.over.clone()
                    }
                    Some(_) => return None,
                }
            };
            // Nothing is ever sent.
            while over.changed().await.is_ok() {}
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

impl Coming<'_> {
    pub(super) const fn agent(&self) -> AgentId {
        self.agent
    }

    /// Waits for the peer, unless this move is to give way first.
    pub(super) async fn wait<T>(&self, peer: impl Future<Output = Result<T, Cut>>) -> Result<Result<T, Cut>, GaveWay> {
        tokio::select! {
            biased;
            () = self.give_way.notified() => Err(GaveWay),
            came = peer => Ok(came),
        }
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.entrance.lock().remove(&self.agent);
    }
}
