//! What one journal asks of its bucket. Requests cost money, so each is counted when it is asked for, whatever comes of it.
//! What the bucket's client sends a second time, since others overtook it, only that counts.
//!
//! Invariant kept here: the modules beside this one send requests through [`Counted`] only.

use super::Wing;
use crate::bucket::{Bucket, Created, Failure};
use bytes::Bytes;
use std::{
    ops::Deref,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Requests that were sent for one journal, by what providers charge for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// To create an object.
    pub creates: u64,
    /// To read one, whether or not it was there.
    pub reads: u64,
    /// To delete one.
    pub deletes: u64,
}

impl Requests {
    /// Those that came since there were so many.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            creates: self.creates.saturating_sub(before.creates),
            reads: self.reads.saturating_sub(before.reads),
            deletes: self.deletes.saturating_sub(before.deletes),
        }
    }
}

/// Counts of one journal, since this process knows of it.
#[derive(Default)]
pub(super) struct Counters {
    creates: AtomicU64,
    reads: AtomicU64,
    deletes: AtomicU64,
}

impl Counters {
    pub(super) fn now(&self) -> Requests {
        Requests {
            creates: self.creates.load(Relaxed),
            reads: self.reads.load(Relaxed),
            deletes: self.deletes.load(Relaxed),
        }
    }
}

/// The bucket, as one journal uses it.
pub(super) struct Counted<'a, B> {
    wing: &'a Wing<B>,
    counters: &'a Counters,
}

impl<'a, B> Counted<'a, B> {
    pub(super) const fn new(wing: &'a Wing<B>, counters: &'a Counters) -> Self {
        Self { wing, counters }
    }
}

impl<B> Deref for Counted<'_, B> {
    type Target = Wing<B>;

    fn deref(&self) -> &Wing<B> {
        self.wing
    }
}

impl<B: Bucket> Counted<'_, B> {
    pub(super) fn create(&self, key: &str, bytes: Bytes) -> impl Future<Output = Result<Created, Failure>> + Send {
        self.counters.creates.fetch_add(1, Relaxed);
        self.wing.bucket.create(key, bytes)
    }

    pub(super) fn get(&self, key: &str, bytes_max: u64) -> impl Future<Output = Result<Option<Bytes>, Failure>> + Send {
        self.counters.reads.fetch_add(1, Relaxed);
        self.wing.bucket.get(key, bytes_max)
    }

    pub(super) fn delete(&self, key: &str) -> impl Future<Output = Result<(), Failure>> + Send {
        self.counters.deletes.fetch_add(1, Relaxed);
        self.wing.bucket.delete(key)
    }
}
