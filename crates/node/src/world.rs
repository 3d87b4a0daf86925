//! The real clock and the real randomness.
//!
//! Invariants kept here:
//! - The monotonic clock counts the time that the machine was suspended, so that what was promised "within 100 ms"
//!   is late after a suspend, and known to be.
//! - Randomness is the system's or the process ends: weak randomness is worse than none.

use igor_protocol::{Nanos, Timestamp};
use igor_spine::World;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest nap: timers do not run while the machine is suspended, so a long sleep looks at the clock now and then.
const NAP_MAX: Duration = Duration::from_secs(5);

/// This machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealWorld;

impl World for RealWorld {
    fn wall_clock(&self) -> Timestamp {
        // Before 1970 there was no time; after 2554 it does not fit.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Nanos {
        let time = clock_gettime(ClockId::Boottime);
        let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
        Nanos::from_secs(seconds).saturating_add(Nanos(nanos))
    }

    async fn sleep_until(&self, moment: Nanos) {
        loop {
            let left = moment.saturating_sub(self.monotonic());
            if left == Nanos::ZERO {
                return;
            }
            tokio::time::sleep(left.to_duration().min(NAP_MAX)).await;
        }
    }

    fn random(&self, buffer: &mut [u8]) {
        if let Err(e) = getrandom::fill(buffer) {
            tracing::error!(error = %e, "the system gives no random bytes; igor stops");
            std::process::abort();
        }
    }
}
