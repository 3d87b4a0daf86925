//! How much is logged of what peers do.
//!
//! Invariant: whatever peers do, no more than [`LINES_AT_ONCE`] lines at once and then one a second; the next one says
//! how many were left out. All of it is counted in the metrics.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const LINES_AT_ONCE: u32 = 16;

/// Lines of one kind.
#[derive(Default)]
pub(super) struct Lines(Mutex<Spent>);

#[derive(Default)]
struct Spent {
    lines: u32,
    since: Option<Instant>,
    left_out: u64,
}

impl Lines {
    /// Whether something may be logged now; then how many lines were left out before it.
    pub(super) fn next(&self, now: Instant) -> Option<u64> {
        // No update can fail in the middle.
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *spent.since.get_or_insert(now);
        let seconds = now.saturating_duration_since(since).as_secs();
        if seconds > 0 {
            spent.lines = spent.lines.saturating_sub(u32::try_from(seconds).unwrap_or(u32::MAX));
            spent.since = Some(since + Duration::from_secs(seconds));
        }
        if spent.lines >= LINES_AT_ONCE {
            spent.left_out += 1;
            return None;
        }
        spent.lines += 1;
        Some(std::mem::take(&mut spent.left_out))
    }
}

#[cfg(test)]
mod tests;
