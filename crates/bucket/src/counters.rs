//! What was asked of a bucket: requests cost money, so each is counted when it is sent.

use crate::options;
use igor_store::bucket::Failure;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Where a request is answered that was sent so much later than another one, that one is overtaken.
const OVERTAKEN_BY: Duration = Duration::from_millis(250);
/// How often who waits for a request looks whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    Replace,
    Get,
    List,
    Delete,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: [AtomicU64; 5],
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    exists: AtomicU64,
    unknown: AtomicU64,
    throttled: AtomicU64,
    refused: AtomicU64,
    too_large: AtomicU64,
    waits: Mutex<Waits>,
}

/// What is waited for.
#[derive(Debug, Default)]
struct Waits {
    /// When each request under way is to be answered at the latest, if the bucket is well, the earliest first; and when it
    /// was sent.
    due: BTreeMap<(Instant, u64), Instant>,
    begun: u64,
    /// When the first request after the last good answer was not answered as it should have been.
    failed: Option<Instant>,
    /// When the last good answer came.
    answered: Option<Instant>,
    /// When the latest of all that were answered well was sent.
    latest: Option<Instant>,
}

impl Waits {
    /// Whether one that was sent well after this moment was answered: of what was sent then only its own way can be bad.
    fn is_overtaken(&self, begun: Instant) -> bool {
        self.latest.is_some_and(|latest| latest >= begun + OVERTAKEN_BY)
    }
}

/// A request under way. One that is dropped says nothing about the bucket: nobody waits for its answer any more.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    counters: &'a Counters,
    begun: Instant,
    turn: (Instant, u64),
    answered: Option<bool>,
}

impl Pending<'_> {
    /// It was answered as it should be, or it failed.
    pub(crate) fn answered(mut self, well: bool) {
        self.answered = Some(well);
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let mut waits = self.counters.waits();
        waits.due.remove(&self.turn);
        match self.answered {
            Some(true) => {
                waits.failed = None;
                waits.answered = Some(Instant::now());
                waits.latest = waits.latest.max(Some(self.begun));
            }
            Some(false) if !waits.is_overtaken(self.begun) => {
                waits.failed.get_or_insert(self.turn.0);
            }
            Some(false) | None => {}
        }
    }
}

/// Requests that were sent, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// To create an object unless there is one.
    pub create: u64,
    /// To write in place of one.
    pub replace: u64,
    /// To read one.
    pub get: u64,
    /// For a part of a listing, as the server cut it.
    pub list: u64,
    /// To delete one.
    pub delete: u64,
}

/// The counts at one moment, since the bucket was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Requests by kind.
    pub requests: Requests,
    /// Bytes of objects that were sent, whether or not they arrived.
    pub bytes_up: u64,
    /// Bytes of objects that were read.
    pub bytes_down: u64,
    /// Creations of what there was already.
    pub exists: u64,
    /// Failures whose fate is unknown, throttling among them.
    pub unknown: u64,
    /// Those of them that were throttled: 429, 503 and the like.
    pub throttled: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Objects that were longer than the caller takes.
    pub too_large: u64,
}

impl Counters {
    fn waits(&self) -> MutexGuard<'_, Waits> {
        // No update can fail in the middle.
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins that has so many bytes, with its answer.
    pub(crate) fn begin(&self, bytes: u64) -> Pending<'_> {
        let (begun, mut waits) = (Instant::now(), self.waits());
        waits.begun += 1;
        let turn = (begun + options::sending(bytes), waits.begun);
        waits.due.insert(turn, begun);
        Pending { counters: self, begun, turn, answered: None }
    }

    /// How long the bucket has not answered what it should have, if that is so. What takes long to send has that time first,
    /// and does not hide the silence of others. What is overtaken hangs, or fails, by itself.
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        let waits = self.waits();
        let due = waits.due.iter().find(|(_, begun)| !waits.is_overtaken(**begun)).map(|((due, _), _)| *due);
        let first = due.into_iter().chain(waits.failed).min()?;
        let since = waits.answered.map_or(first, |answered| answered.max(first));
        Some(since.elapsed()) // which is none before
    }

    /// Returns once a request that was sent then is overtaken.
    pub(crate) async fn overtaken(&self, begun: Instant) {
        tokio::time::sleep_until((begun + OVERTAKEN_BY).into()).await;
        while !self.waits().is_overtaken(begun) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) fn sent(&self, kind: Kind, bytes: u64) {
        self.requests[kind as usize].fetch_add(1, Relaxed);
        self.bytes_up.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.bytes_down.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn existed(&self) {
        self.exists.fetch_add(1, Relaxed);
    }

    pub(crate) fn failed(&self, failure: &Failure, throttled: bool) {
        let class = match failure {
            Failure::Unknown { .. } => &self.unknown,
            Failure::Refused { .. } => &self.refused,
            Failure::TooLarge { .. } => &self.too_large,
        };
        class.fetch_add(1, Relaxed);
        if throttled {
            self.throttled.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let requests = |kind: Kind| self.requests[kind as usize].load(Relaxed);
        Snapshot {
            requests: Requests {
                create: requests(Kind::Create),
                replace: requests(Kind::Replace),
                get: requests(Kind::Get),
                list: requests(Kind::List),
                delete: requests(Kind::Delete),
            },
            bytes_up: self.bytes_up.load(Relaxed),
            bytes_down: self.bytes_down.load(Relaxed),
            exists: self.exists.load(Relaxed),
            unknown: self.unknown.load(Relaxed),
            throttled: self.throttled.load(Relaxed),
            refused: self.refused.load(Relaxed),
            too_large: self.too_large.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests;
