//! Time and randomness, as everything here reads them: a real machine has one, a simulation another.

use igor_protocol::{Nanos, Timestamp};
use std::future::Future;

/// Clock and entropy of the machine that an agent lives on.
pub trait World: Send + Sync + 'static {
    /// The wall clock. It may jump; the journal's own time does not.
    fn wall_clock(&self) -> Timestamp;

    /// A clock that never goes back, counting from some moment.
    fn monotonic(&self) -> Nanos;

    /// Returns once [`World::monotonic`] has reached `moment`.
    fn sleep_until(&self, moment: Nanos) -> impl Future<Output = ()> + Send;

    /// Fills a buffer with random bytes of cryptographic quality.
    fn random(&self, buffer: &mut [u8]);
}
