//! Time, randomness and neighbours, as everything here reads them: a real machine has one, a simulation another.

use igor_protocol::{Nanos, Timestamp, entry::Listed};
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

    /// What the machine's node knows of the nodes around, for an agent that may go to them.
    fn around(&self) -> Around {
        Around::default()
    }
}

/// The nodes around an agent. By default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Whether its own node is about to stop.
    pub draining: bool,
    /// Others that would take it, the cheapest first.
    pub others: Vec<Listed>,
}
