//! Room for others: a node that appends to a journal all the time is first in every race for its next slot, also where those
//! who stand by for the agent hear nothing of it, and would go on.
//!
//! Invariants kept here:
//! - Where all standby nodes may take this one for silent, there are times in which one of them can come between.
//! - As long as one of them answers there is no such time.

use igor_protocol::Nanos;

/// After this long without a word from any standby of an agent its node leaves room for them: all the time at first. It is
/// looked at with each pulse, so that the third one without an answer is the first of that time, before anybody goes on.
const AFTER: Nanos = Nanos::from_millis(450);
/// until so long after that word,
const FIRST: Nanos = Nanos::from_secs(10);
/// and then, or where there never was one, in the last second of so many: it may be that none of them is there at all, and
/// then this node is not to be slow for good.
const EVERY_SECONDS: u64 = 10;

/// For one agent that lives here.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    since: Nanos,
    heard: Option<Nanos>,
}

impl Room {
    /// It lives here from now on.
    pub const fn begin(now: Nanos) -> Self {
        Self { since: now, heard: None }
    }

    /// A standby says that it would go on with it.
    pub fn hear(&mut self, now: Nanos) {
        self.heard = Some(now);
    }

    /// Whether to leave room now, if anybody stands by for it.
    pub fn is_left(&self, now: Nanos) -> bool {
        match self.heard.map(|heard| now.saturating_sub(heard)) {
            Some(silent) if silent < AFTER => false,
            Some(silent) if silent < FIRST => true,
            _ => now.saturating_sub(self.since).0 / Nanos::from_secs(1).0 % EVERY_SECONDS == EVERY_SECONDS - 1,
        }
    }
}
