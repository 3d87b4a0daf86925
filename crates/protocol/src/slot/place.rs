//! How far a journal in a bucket was read.
//!
//! Invariant kept here: what is concluded from bundles is concluded from the last slot that counts, and not from where
//! the next one is looked for: between the two are void ones.

use super::{End, Nonce, Position};
use crate::{Hash, units::Slot};

/// The end of a journal, and how much of its last run is in bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Where the next slot goes.
    pub end: End,
    /// How many bundles of the run were read.
    pub bundles: u32,
    /// The first slot of the run that is in none of them.
    pub bundled: Slot,
    /// The last slot that counts.
    pub last: Slot,
}

impl Place {
    /// Before the first slot.
    pub const fn first(nonce: Nonce) -> Self {
        let next = Position { number: Slot(0), prev: Hash::ZERO };
        Self { end: End { next, nonce, run: Slot(0) }, bundles: 0, bundled: Slot(1), last: Slot(0) }
    }

    /// Whether any slot before counts.
    pub fn has_begun(&self) -> bool {
        self.end.next.prev != Hash::ZERO
    }

    /// After a slot that counts.
    #[must_use]
    pub const fn after(self, at: Slot, end: End) -> Self {
        if self.end.run.0 == end.run.0 {
            Self { end, last: at, ..self }
        } else {
            Self { end, bundles: 0, bundled: end.run.next(), last: at }
        }
    }

    /// After a slot that does not count.
    #[must_use]
    pub const fn passed_over(mut self) -> Self {
        self.end.next.number = self.end.next.number.next();
        self
    }

    /// Whether slots behind this were collected, if a bundle of the run ends before `next`: then this was not the end, and
    /// what was put here since is a ghost.
    pub fn has_gone_on(&self, next: Slot) -> bool {
        next > self.last.next()
    }

    /// Whether the last slot may be gone by right, where the next bundle is there or not.
    pub const fn may_be_collected(&self, is_next_bundle_there: bool) -> bool {
        self.last.0 != self.end.run.0 && (self.last.0 < self.bundled.0 || is_next_bundle_there)
    }
}
