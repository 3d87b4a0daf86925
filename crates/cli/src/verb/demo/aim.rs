//! When to kill, and what a kill hit.

use super::dice::Dice;
use serde_json::Value;
use std::time::Duration;

/// When a kill is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// So long after the process was started: it is still recovering, most likely.
    Recovery(Duration),
    /// So long after the first message that comes in after `calm`: its tick is due.
    Message { calm: Duration, then: Duration },
    /// So long after the first tick that is announced after `calm`.
    Tick { calm: Duration, then: Duration },
}

impl Aim {
    /// The next one: one in six at a recovery that takes about `recovery`, the others close to a message or a tick.
    pub(crate) fn next(dice: &mut Dice, recovery: Duration, cycle: Duration) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let kind = dice.below(6);
        if kind == 0 {
            return Self::Recovery(dice.micros(micros(recovery)));
        }
        let calm = Duration::from_millis(100 + dice.below(250));
        let then = dice.micros(micros(cycle));
        if kind < 4 { Self::Message { calm, then: then / 2 } } else { Self::Tick { calm, then } }
    }
}

/// What a kill hit, as the journal and the announcements tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hit {
    /// It had not said that it was there.
    Recovery,
    /// The journal has a tick that was not announced yet.
    Commit,
    /// A message was in the journal whose tick was not: the tick was running, or about to.
    Tick,
    /// Neither: between two ticks, or in one that left no trace.
    Between,
    /// It was giving the agent to another node.
    Giving,
}

impl Hit {
    pub(crate) const ALL: [Self; 5] = [Self::Recovery, Self::Commit, Self::Tick, Self::Between, Self::Giving];

    /// What a kill hit: whether the process had said that its agents live, the last tick that was announced or known
    /// from the kill before, and what `show` says of the agent after the kill.
    pub(crate) fn classify(started: bool, known: u64, shown: &Value) -> Self {
        if shown["tick"].as_u64().is_some_and(|tick| tick > known) {
            Self::Commit
        } else if !started {
            Self::Recovery
        } else if shown["open_messages"].as_u64().is_some_and(|open| open > 0) {
            Self::Tick
        } else {
            Self::Between
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Recovery => "while it recovered from the kill before",
            Self::Commit => "in mid-commit: a tick was written, and nobody had been told",
            Self::Tick => "in mid-tick: it had a price in its hands that it had not dealt with",
            Self::Between => "between two ticks, or in one that left no trace",
            Self::Giving => "while it gave the agent away",
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Recovery => "in recovery",
            Self::Commit => "in mid-commit",
            Self::Tick => "in mid-tick",
            Self::Between => "between ticks",
            Self::Giving => "while giving",
        }
    }
}
