//! How far a move was when something was killed or cut, from the two journals and from what the giver had told.
//!
//! ```text
//!   opening ─► ahead ─► given ─► arrived ─► accepted ─► over
//!   the agent ticks here  │  nobody runs it   │  it ticks there
//! ```

use crate::field::host::Shown;
use std::collections::BTreeMap;

/// How far a move was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Opening,
    Ahead,
    Given,
    Arrived,
    Accepted,
    Over,
}

/// What happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blow {
    GiverKilled,
    TakerKilled,
    /// Its network drops everything for a while.
    PacketsDropped,
    /// Its connections are ended, and no new ones made for a while.
    ConnectionsEnded,
}

impl Phase {
    pub(crate) const ALL: [Self; 6] =
        [Self::Opening, Self::Ahead, Self::Given, Self::Arrived, Self::Accepted, Self::Over];

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Opening => "before the offer was answered",
            Self::Ahead => "going ahead: the agent ticked, or was being frozen; no handoff was durable",
            Self::Given => "in the pause: the handoff was durable, and the taker did not have it",
            Self::Arrived => "in the pause: the taker had all of it, and no answer was durable",
            Self::Accepted => "accepted: durable at the taker, and the giver had not heard",
            Self::Over => "over: both had the accept",
        }
    }

    /// How far the move from `giver` was. `epoch` is the one that it began in, `taker` the key of the other node, and
    /// `told` whether the giver had said that its offer was answered.
    pub(crate) fn of(epoch: &str, taker: &str, giver: &Shown, there: Option<&Shown>, told: bool) -> Self {
        let accepted = |shown: &Shown| shown.epoch != epoch && shown.custodian == taker;
        let given = |shown: &Shown| shown.epoch != epoch;
        match there {
            _ if accepted(giver) => Self::Over,
            Some(there) if accepted(there) => Self::Accepted,
            // What an earlier move left there is in an earlier epoch.
            Some(there) if given(giver) && there.epoch == giver.epoch => Self::Arrived,
            _ if given(giver) => Self::Given,
            _ if told => Self::Ahead,
            _ => Self::Opening,
        }
    }
}

impl Blow {
    pub(crate) const ALL: [Self; 4] =
        [Self::GiverKilled, Self::TakerKilled, Self::PacketsDropped, Self::ConnectionsEnded];

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::GiverKilled => "giver killed",
            Self::TakerKilled => "taker killed",
            Self::PacketsDropped => "packets dropped",
            Self::ConnectionsEnded => "connections ended",
        }
    }
}

/// How often each phase was hit by each blow.
#[derive(Debug, Default)]
pub(crate) struct Phases(BTreeMap<(Phase, Blow), u32>);

impl Phases {
    pub(crate) fn count(&mut self, phase: Phase, blow: Blow) {
        *self.0.entry((phase, blow)).or_default() += 1;
    }

    pub(crate) fn of(&self, phase: Phase, blow: Blow) -> u32 {
        self.0.get(&(phase, blow)).copied().unwrap_or_default()
    }

    pub(crate) fn sum(&self) -> u32 {
        self.0.values().sum()
    }

    /// What a full run must hit, and this one did not: each phase, by a kill of either side and by a cut. A taker that lives
    /// answers within some milliseconds, mostly before it can be asked how far it is: that phase must be hit by its kill.
    pub(crate) fn missed(&self) -> Vec<(Phase, &'static str)> {
        let groups: [(&str, &[Blow]); 3] = [
            ("giver killed", &[Blow::GiverKilled]),
            ("taker killed", &[Blow::TakerKilled]),
            ("connection cut", &[Blow::PacketsDropped, Blow::ConnectionsEnded]),
        ];
        let pairs = Phase::ALL.into_iter().flat_map(|phase| groups.map(|(words, blows)| (phase, words, blows)));
        let seen_late = |phase: Phase, blows: &[Blow]| phase == Phase::Arrived && !blows.contains(&Blow::TakerKilled);
        let pairs = pairs.filter(|(phase, _, blows)| !seen_late(*phase, blows));
        let missed = pairs.filter(|(phase, _, blows)| blows.iter().all(|blow| self.of(*phase, *blow) == 0));
        missed.map(|(phase, words, _)| (phase, words)).collect()
    }
}
