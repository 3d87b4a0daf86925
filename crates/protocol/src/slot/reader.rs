//! Reading on in a bucket: what to ask for next, and what may be believed of it.
//!
//! Invariants kept here:
//! - Nothing is concluded from a slot, there or not, before the next bundle was asked for: where one was collected another
//!   may stand by now, put there by who had slept through that.
//!   The first slot alone is never collected.
//! - A bundle counts as read when its last slot is durable here: who reads on after a crash reads the rest of it.
//!
//! There is no I/O here: the driver gets, judges and keeps, as the model does, and says what it saw.

use super::{End, Place, Rule, Rules};
use crate::units::Slot;
use std::collections::VecDeque;

/// Slots that are read before it is asked whether they were collected meanwhile.
const AHEAD_SLOTS: usize = 64;
/// Bytes of them, but for the last.
const AHEAD_BYTES: usize = 8 << 20;

/// A slot that counts: what it adds, the journal's end after it, and what is known of the journal there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Judged<A, C> {
    /// What it adds.
    pub commit: C,
    /// Where the next slot goes.
    pub end: End,
    /// The journal after it.
    pub at: A,
}

/// A journal after one more slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Next<A, C> {
    /// What the slot adds, if it counts.
    pub commit: Option<C>,
    /// How far it is read then.
    pub place: Place,
    /// The journal then.
    pub at: A,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Read this slot, and judge it after [`Reader::here`].
    Slot(Slot),
    /// Read this bundle of the run that a slot began.
    Bundle(Slot, u32),
    /// Make [`Reader::first`] durable here.
    Keep,
    /// Nothing: this is the end.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Slots,
    Bundle,
    /// What was read ahead is true. It may be out of a bundle.
    Keep {
        is_bundle: bool,
    },
}

/// A journal while it is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reader<A, C> {
    rules: Rules,
    place: Place,
    at: A,
    ahead: VecDeque<Next<A, C>>,
    bytes: usize,
    phase: Phase,
    moved: bool,
    counted: bool,
}

impl<A, C> Reader<A, C> {
    /// Reads on from here.
    pub fn new(rules: Rules, place: Place, at: A) -> Self {
        let (ahead, bytes, phase) = (VecDeque::new(), 0, first_phase(rules));
        Self { rules, place, at, ahead, bytes, phase, moved: false, counted: false }
    }

    /// What is to be done next.
    pub fn ask(&self) -> Ask {
        match self.phase {
            Phase::Slots => Ask::Slot(self.here().0.end.next.number),
            Phase::Bundle => Ask::Bundle(self.place.end.run, self.place.bundles),
            Phase::Keep { .. } if self.ahead.is_empty() => Ask::Nothing,
            Phase::Keep { .. } => Ask::Keep,
        }
    }

    /// After all that was read, kept or not: the next slot is judged by that.
    pub fn here(&self) -> (&Place, &A) {
        self.ahead.back().map_or((&self.place, &self.at), |next| (&next.place, &next.at))
    }

    /// After all that was kept.
    pub fn kept_to(&self) -> (&Place, &A) {
        (&self.place, &self.at)
    }

    /// What is to be kept next.
    pub fn first(&self) -> Option<&Next<A, C>> {
        self.ahead.front()
    }

    /// All that is to be kept, in its order.
    pub fn ahead(&self) -> impl Iterator<Item = &Next<A, C>> {
        self.ahead.iter()
    }

    /// Whether anything was read, be it void.
    pub const fn has_moved(&self) -> bool {
        self.moved
    }

    /// Whether any slot was read that counts.
    pub const fn has_counted(&self) -> bool {
        self.counted
    }

    /// Whether more is likely to come after what is to be kept: it is as much as is read ahead, or out of a bundle.
    pub fn is_far_behind(&self) -> bool {
        self.is_full() || self.phase == (Phase::Keep { is_bundle: true })
    }

    fn is_full(&self) -> bool {
        self.ahead.len() >= AHEAD_SLOTS || self.bytes >= AHEAD_BYTES
    }

    /// It goes on as after [`Ask::Nothing`].
    pub fn again(&mut self) {
        self.phase = first_phase(self.rules);
    }
}

impl<A: Clone, C> Reader<A, C> {
    /// What stands in the slot that was asked for: nothing, or so many bytes, which count or not.
    pub fn slot(&mut self, found: Option<(usize, Option<Judged<A, C>>)>) {
        let is_passed = |(_, judged): &(usize, Option<_>)| judged.is_some() || self.rules.keep(Rule::PassOverVoid);
        if let Some((bytes, judged)) = found.filter(is_passed) {
            self.bytes += bytes;
            let (place, at) = self.here();
            let next = match judged {
                Some(Judged { commit, end, at }) => {
                    Next { commit: Some(commit), place: place.after(place.end.next.number, end), at }
                }
                None => Next { commit: None, place: place.passed_over(), at: at.clone() },
            };
            let is_more = next.place.end.run == self.place.end.run;
            self.ahead.push_back(next);
            if !self.place.has_begun() {
                // It is in no bundle, and never collected. What bundles have is judged after it.
                self.phase = Phase::Keep { is_bundle: false };
                return;
            }
            if is_more && !self.is_full() {
                return;
            }
        }
        self.enough();
    }

    /// No more slots are wanted for now: what was read ahead is kept, once it is clear that it is true.
    pub fn enough(&mut self) {
        if self.phase != Phase::Slots {
            return;
        }
        // Before the first slot there is nothing that a bundle could have, and what it has could not be judged.
        let asks = self.rules.keep(Rule::AskAfterwards) && self.place.has_begun();
        self.phase = if asks { Phase::Bundle } else { Phase::Keep { is_bundle: false } };
    }

    /// Whether the bundle that was asked for is there, and the number after its last slot, if it is one. Says whether its
    /// slots are to be given to [`Reader::pack`].
    pub fn bundle(&mut self, found: Option<Option<Slot>>) -> bool {
        let Some(bundle) = found else {
            let asked = !self.rules.keep(Rule::AskAfterwards);
            self.phase = if asked { Phase::Slots } else { Phase::Keep { is_bundle: false } };
            return false;
        };
        self.forget_ahead();
        match bundle {
            Some(next) if self.place.has_gone_on(next) => return true,
            Some(next) => self.place.bundled = self.place.bundled.max(next),
            None => {}
        }
        self.bundle_read();
        false
    }

    /// Takes in what of a bundle that ends before `next` goes on from here. `judge` says what a slot is after a place that it is
    /// looked for at. Says whether that leads to the bundle's end; if not, nothing is taken in: its slots are gone, so that nobody
    /// can tell any more what was there.
    #[must_use]
    pub fn pack<S>(
        &mut self,
        next: Slot,
        slots: impl IntoIterator<Item = (Slot, S)>,
        mut judge: impl FnMut(&Place, &A, S) -> Option<Judged<A, C>>,
    ) -> bool {
        if !self.rules.keep(Rule::BundleWhenRead) {
            self.place.bundles += 1;
        }
        let run = self.place.end.run;
        for (number, slot) in slots {
            let (place, at) = self.here();
            if number <= place.last {
                continue;
            }
            // Between two slots that count there may be void ones, which are in no bundle.
            let mut place = *place;
            place.end.next.number = number;
            let Some(Judged { commit, end, at }) = judge(&place, at, slot).filter(|judged| judged.end.run == run)
            else {
                break;
            };
            let place = Place { bundled: number.next(), ..place.after(number, end) };
            self.ahead.push_back(Next { commit: Some(commit), place, at });
        }
        if self.here().0.last.next() != next {
            self.forget_ahead();
            return false;
        }
        self.phase = Phase::Keep { is_bundle: true };
        true
    }

    /// [`Reader::first`] is durable here.
    pub fn kept(&mut self) {
        let Some(next) = self.ahead.pop_front() else { return };
        (self.place, self.at, self.moved) = (next.place, next.at, true);
        self.counted |= next.commit.is_some();
        if self.ahead.is_empty() {
            match self.phase {
                Phase::Keep { is_bundle: true } => self.bundle_read(),
                _ => self.begin(),
            }
        }
    }

    fn bundle_read(&mut self) {
        self.moved = true;
        if self.rules.keep(Rule::BundleWhenRead) || self.phase == Phase::Bundle {
            self.place.bundles = self.place.bundles.saturating_add(1);
        }
        self.begin();
    }

    fn begin(&mut self) {
        self.forget_ahead();
        self.phase = first_phase(self.rules);
    }

    fn forget_ahead(&mut self) {
        self.ahead.clear();
        self.bytes = 0;
    }
}

fn first_phase(rules: Rules) -> Phase {
    if rules.keep(Rule::AskAfterwards) { Phase::Slots } else { Phase::Bundle }
}
