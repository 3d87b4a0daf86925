//! What was asked of a bucket: requests cost money, so each is counted when it is sent.

use crate::options;
use igor_store::bucket::Failure;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

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
    /// When the first request since the last that was answered well had been sent, at the slowest.
    unanswered: Mutex<Option<Instant>>,
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
    fn unanswered(&self) -> MutexGuard<'_, Option<Instant>> {
        // No update can fail in the middle.
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was answered as it should be.
    pub(crate) fn answered(&self) {
        *self.unanswered() = None;
    }

    /// How long requests have gone without any answer, if they do.
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        self.unanswered().map(|since| since.elapsed()) // which is none before
    }

    pub(crate) fn sent(&self, kind: Kind, bytes: u64) {
        self.unanswered().get_or_insert_with(|| Instant::now() + options::sending(bytes));
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
