//! A bucket of tokens: what may happen at once, and how often in the long run.
//!
//! Invariant: in any span of time no more than `burst` + `span` x `rate` tokens are given. Time comes in as a value.

use std::time::{Duration, Instant};

const NANOS: u128 = 1_000_000_000;

/// Tokens that come back with time. Counted in billionths, so that no part of one is lost to rounding.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    burst: u32,
    per_second: u32,
    nanotokens: u128,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        Self { burst, per_second, nanotokens: u128::from(burst) * NANOS, at: now }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_nanos();
        self.at = self.at.max(now);
        let full = u128::from(self.burst) * NANOS;
        self.nanotokens = self.nanotokens.saturating_add(passed.saturating_mul(self.per_second.into())).min(full);
    }

    /// Takes `count` tokens if they are there; else takes none.
    pub(crate) fn take(&mut self, count: u32, now: Instant) -> bool {
        self.refill(now);
        let wanted = u128::from(count) * NANOS;
        let enough = self.nanotokens >= wanted;
        if enough {
            self.nanotokens -= wanted;
        }
        enough
    }

    /// How long until `count` tokens (at most the burst) are there.
    pub(crate) fn wait(&mut self, count: u32, now: Instant) -> Duration {
        self.refill(now);
        let missing = (u128::from(count.min(self.burst)) * NANOS).saturating_sub(self.nanotokens);
        Duration::from_nanos(u64::try_from(missing.div_ceil(u128::from(self.per_second.max(1)))).unwrap_or(u64::MAX))
    }

    /// Whether it could be forgotten without giving anything away.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.nanotokens == u128::from(self.burst) * NANOS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3, 2, start);
        assert!(bucket.is_full(start));
        assert_eq!([0; 4].map(|_| bucket.take(1, start)), [true, true, true, false]);
        assert_eq!(bucket.wait(1, start), Duration::from_millis(500));
        assert_eq!(bucket.wait(9, start), Duration::from_millis(1500), "no more than the burst can be waited for");
        assert!(!bucket.take(1, start + Duration::from_millis(499)));
        assert!(bucket.take(1, start + Duration::from_millis(500)));
        assert!(!bucket.take(1, start), "a clock that goes back gives nothing");
        assert!(bucket.is_full(start + Duration::from_secs(9)));
        assert!(bucket.take(3, start + Duration::from_secs(9)), "no more than the burst is saved up");
        assert!(!bucket.take(1, start + Duration::from_secs(9)));
    }
}
