//! Object storage, as far as the shared store needs it.
//!
//! Invariants that an implementation keeps:
//! - Of all requests to create an object at least and at most one takes effect, as long as nobody deletes it: that is
//!   what everything here rests on, so a bucket is probed for it before it is used.
//! - Whoever reads after a create or a delete was answered sees what it did. Listings may be behind.
//! - A request whose fate is not known ([`Failure::Unknown`]) may still take effect later, once, or never.
//! - No request that failed is repeated here: what to do about it is for the caller, who knows what it was for.

use bytes::Bytes;
use igor_protocol::slot::Rules;
use std::future::Future;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// Keys in one page of a listing, at most.
pub const PAGE_KEYS_MAX: usize = 1000;

/// A bucket, or a part of one under a prefix of its own. Keys are of `a-z 0-9 . - _ /`.
pub trait Bucket: Send + Sync + 'static {
    /// Creates an object, unless there is one of this key.
    fn create(&self, key: &str, bytes: Bytes) -> impl Future<Output = Result<Created, Failure>> + Send;

    /// Writes an object in place of the one before, if there is one.
    fn replace(&self, key: &str, bytes: Bytes) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Reads an object; nothing if there is none. One that is longer than `bytes_max` is [`Failure::TooLarge`], and is
    /// not read.
    fn get(&self, key: &str, bytes_max: u64) -> impl Future<Output = Result<Option<Bytes>, Failure>> + Send;

    /// The first keys after `after` that begin with `prefix`, in byte order: at most [`PAGE_KEYS_MAX`], fewer only where
    /// there are no more. It may lack what was created, and have what was deleted, a short time ago.
    fn list(&self, prefix: &str, after: &str) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;

    /// Deletes an object; where there is none, nothing happens.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Waits before a request is sent again: longer each time, up to a bound, and not in step with others.
    fn pause(&self, attempt: u32) -> impl Future<Output = ()> + Send;

    /// The rules that whoever uses it keeps: all, but where a test shows what one is for.
    fn rules(&self) -> Rules {
        Rules::ALL
    }
}

/// What came of creating an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is there by this request.
    New,
    /// There was one of this key. It may be by an earlier request of the same caller: compare its bytes.
    Exists,
}

/// Why a request to a bucket failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It was cut, timed out, throttled or failed on the other side: whether it took effect, or will, is not known.
    #[error("the bucket did not answer: {why}")]
    Unknown {
        /// What was seen.
        why: String,
    },
    /// It was refused, and had no effect: credentials, a bucket that is not there, a wrong address.
    #[error("the bucket refused: {why}")]
    Refused {
        /// What was said.
        why: String,
    },
    /// The object is longer than the caller takes.
    #[error("object {key} has {bytes} bytes, at most {max} are taken")]
    TooLarge {
        /// Its key.
        key: String,
        /// Its length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
}
