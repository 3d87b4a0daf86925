//! Where a process was when it was killed, from the journal that it left and from its log.

use std::collections::BTreeMap;

/// Where a process was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Run,
    Unsynced,
    Unannounced,
    Barrier,
    Mover,
    Recovery,
    Elsewhere,
}

impl Place {
    /// All of them; the last is no place that a full run must hit.
    pub(crate) const ALL: [Self; 7] =
        [Self::Run, Self::Unsynced, Self::Unannounced, Self::Barrier, Self::Mover, Self::Recovery, Self::Elsewhere];

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Run => "in a run, or about to: a message was durable, and no tick that took it was written",
            Self::Unsynced => "unsynced: a tick was written, and its sync had begun and not ended",
            Self::Unannounced => "unannounced: a tick was durable, and nobody had been told",
            Self::Barrier => "in a barrier: a checkpoint's state was being written, or its commit was not durable yet",
            Self::Mover => "in the mover: commits were being copied from the log to the agent's file",
            Self::Recovery => "in recovery: it had not said that it was there",
            Self::Elsewhere => "elsewhere: between ticks",
        }
    }
}

/// How often each place was hit.
#[derive(Debug, Default)]
pub(crate) struct Places(BTreeMap<Place, u32>);

impl Places {
    /// Counts a kill: whether the process had `started`, whether the journal has a tick that was `untold`, and whether
    /// a message was `open`.
    pub(crate) fn count(&mut self, started: bool, untold: bool, open: bool, syncs: &Syncs<'_>) {
        let place = if !started {
            Place::Recovery
        } else if syncs.in_barrier() {
            Place::Barrier
        } else if untold {
            if syncs.is_open("Group") { Place::Unsynced } else { Place::Unannounced }
        } else if open && !syncs.is_open("Group") {
            Place::Run
        } else {
            Place::Elsewhere
        };
        // The mover works beside everything else.
        if syncs.is_moving() {
            *self.0.entry(Place::Mover).or_default() += 1;
        }
        if !(place == Place::Elsewhere && syncs.is_moving()) {
            *self.0.entry(place).or_default() += 1;
        }
    }

    pub(crate) fn of(&self, place: Place) -> u32 {
        self.0.get(&place).copied().unwrap_or_default()
    }

    /// What a full run must hit, and this one did not.
    pub(crate) fn missed(&self) -> impl Iterator<Item = Place> {
        Place::ALL.into_iter().filter(|place| *place != Place::Elsewhere && self.of(*place) == 0)
    }
}

/// What a process had asked of its disk: each point at which it waits, and whether that begins there or ends.
pub(crate) struct Syncs<'a>(Vec<(&'a str, bool)>);

impl<'a> Syncs<'a> {
    pub(crate) fn read(log: &'a str) -> Self {
        let sync = |line: &'a str| {
            let point = line.split_once("point=")?.1.trim();
            Some((point, line.contains("sync begins")))
        };
        Self(log.lines().filter_map(sync).collect())
    }

    fn last(&self, wanted: impl Fn(&str, bool) -> bool) -> Option<usize> {
        self.0.iter().rposition(|(point, begins)| wanted(point, *begins))
    }

    fn is_open(&self, point: &str) -> bool {
        self.last(|p, begins| p == point && begins) > self.last(|p, begins| p == point && !begins)
    }

    /// A state was being written, or was written and the commit that names it not.
    fn in_barrier(&self) -> bool {
        let state = self.last(|point, _| point == "Blob" || point == "BlobName");
        let begun = state.and_then(|at| self.0[at..].iter().position(|sync| *sync == ("Group", true)).map(|i| at + i));
        state.is_some() && begun.is_none_or(|at| !self.0[at..].contains(&("Group", false)))
    }

    /// Commits were being copied, and the log did not say yet that they were.
    fn is_moving(&self) -> bool {
        let copied = self.last(|point, begins| point.starts_with("AgentFile") && begins);
        copied > self.last(|point, begins| point == "Watermarks" && !begins)
    }
}
