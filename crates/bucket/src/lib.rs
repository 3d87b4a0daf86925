//! Object storage: S3, Google Cloud Storage and Azure behind the store's [`Bucket`], and the probe of a bucket.
//!
//! Invariants kept here:
//! - A call sends its request at most once, and once more where others overtake it and that does no harm ([`Remote`]).
//!   What had certainly no effect is
//!   [`Refused`](igor_store::bucket::Failure::Refused); whatever is unclear is
//!   [`Unknown`](igor_store::bucket::Failure::Unknown), and its caller decides (`classify`).
//! - No call waits for ever: each has a time limit that grows with the bytes it moves ([`Options`]).
//! - Nothing that a server sends is held before its size was bounded.
//! - Credentials go over plain HTTP to this machine only, unless the operator asked for more; they are in no message.
//! - All of `object_store` is here, and what it says stays here. No journal, no agents.
//!
//! Requests go to the bucket directly: proxies of the environment (`HTTPS_PROXY`) are not used.

mod address;
mod aws;
mod classify;
mod counters;
mod error;
mod http;
mod ini;
mod options;
pub mod probe;
mod provider;
mod remote;

pub use address::{Address, Provider};
pub use counters::{Requests, Snapshot};
pub use error::Error;
pub use igor_store::bucket::Bucket;
pub use options::Options;
pub use probe::probe;
pub use remote::Remote;

/// Looks up a variable of the environment. An empty one counts as not set.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;
