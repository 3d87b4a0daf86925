//! Which slots the process that wrote a run puts together and deletes.
//!
//! Invariants kept here: the slot by which the run began and what is void stay. As long as they stand, what somebody
//! before still has on its way finds its slot taken.

use super::{PACK_SLOTS_MAX, Place, Rule, Rules};
use crate::units::Slot;
use std::{collections::VecDeque, ops::Range};

/// What a process knows of the slots of the run that it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Harvest {
    /// Slots that it passed over, in their order.
    void: VecDeque<Range<Slot>>,
    /// The slot of its last checkpoint.
    checkpoint: Option<Slot>,
}

impl Harvest {
    /// A slot of the run was confirmed. What is between `from`, where it was to go first, and it, is void.
    pub fn confirmed(&mut self, from: Slot, at: Slot, is_checkpoint: bool) {
        if from < at {
            self.void.push_back(from..at);
        }
        if is_checkpoint {
            self.checkpoint = Some(at);
        }
    }

    /// The slots before the last checkpoint that are in no bundle yet, where they are enough to be worth one.
    pub fn due(&self, rules: Rules, place: &Place, slots_min: u64) -> Option<Range<Slot>> {
        let stays = if place.end.run == Slot(0) { Rule::FirstStays } else { Rule::ChangesStay };
        let from = if rules.keep(stays) || place.bundles > 0 { place.bundled } else { place.end.run };
        self.checkpoint.filter(|upto| upto.0 >= from.0.saturating_add(slots_min)).map(|upto| from..upto)
    }

    /// Those of these slots that a bundle is to have, if they fit.
    pub fn counting(&self, due: &Range<Slot>) -> impl Iterator<Item = Slot> {
        (due.start.0..due.end.0).map(Slot).filter(|slot| !self.is_void(*slot)).take(PACK_SLOTS_MAX)
    }

    /// Those that may go once a bundle has these up to the one before `next`.
    pub fn to_delete(&self, rules: Rules, due: &Range<Slot>, next: Slot) -> impl Iterator<Item = Slot> {
        let goes = move |slot: &Slot| if self.is_void(*slot) { !rules.keep(Rule::VoidStays) } else { *slot < next };
        (due.start.0..due.end.0).map(Slot).filter(goes)
    }

    /// A bundle has all slots before this one.
    pub fn bundled(&mut self, next: Slot) {
        while self.void.front().is_some_and(|void| void.end <= next) {
            self.void.pop_front();
        }
    }

    fn is_void(&self, slot: Slot) -> bool {
        self.void.iter().any(|void| void.contains(&slot))
    }
}
