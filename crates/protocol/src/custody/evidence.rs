//! When two records cannot both be an honest node's.
//!
//! Invariants kept here:
//! - A node signs one record an epoch, so two that differ convict their writer, whatever they say.
//! - Who declined an agent does not have it in the next epoch.

use crate::entry::{Custody, Phase};
use minicbor::{Decode, Encode};

/// Why an agent is suspended until its owner decides.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Evidence {
    /// The record that came in.
    #[n(0)]
    pub heard: Custody,
    /// The one that contradicts it. None: this node signed what it heard, and has no memory of it.
    #[n(1)]
    pub known: Option<Custody>,
}

impl Custody {
    /// This record, and those inside it, each as it was signed.
    pub fn parts(&self) -> impl Iterator<Item = Self> {
        let (declined, given) = match &self.phase {
            Phase::Accept(accept) => (None, Some(accept.given)),
            Phase::Decline(decline) => (None, Some(decline.given)),
            Phase::Return(back) => (Some(back.declined), Some(back.declined.decline.given)),
            Phase::Handoff(_) | Phase::Takeover(_) | Phase::Fence(_) => (None, None),
        };
        let inside = declined.map(|declined| declined.record()).into_iter().chain(given.map(|given| given.record()));
        std::iter::once(self.clone()).chain(inside)
    }

    /// Whether one node signed both though it may sign one only; for takeovers, whether the owner did.
    fn contradicts(&self, other: &Self) -> bool {
        let (one, two) = (&self.phase, &other.phase);
        // One that came too late is no lie: the store has another in its place.
        if matches!(one, Phase::Fence(_)) || matches!(two, Phase::Fence(_)) {
            return false;
        }
        let orders = matches!((one, two), (Phase::Takeover(_), Phase::Takeover(_)));
        let same = one.epoch() == two.epoch() && one != two;
        one.agent() == two.agent()
            && (orders || one.writer() == two.writer())
            && (same || is_undone_by(one, two) || is_undone_by(two, one))
    }
}

/// Whether `one` declines what `other`, by the same node, has.
fn is_undone_by(one: &Phase, other: &Phase) -> bool {
    let next = one.epoch().raised() == Some(other.epoch());
    next && matches!((one, other), (Phase::Decline(_), Phase::Handoff(_) | Phase::Return(_)))
}

/// What contradicts a record, or anything inside it, among records that are known.
pub(super) fn find<'a>(heard: &Custody, known: impl Iterator<Item = &'a Custody>) -> Option<Evidence> {
    let parts: Vec<Custody> = heard.parts().collect();
    known.flat_map(Custody::parts).find(|known| parts.iter().any(|part| part.contradicts(known))).map(|known| {
        let heard = heard.clone();
        Evidence { heard, known: Some(known) }
    })
}
