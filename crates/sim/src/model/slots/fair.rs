//! What becomes of a node that wants to go on, if its requests arrive, nothing else does, and the others sleep.
//!
//! Invariant kept here: the schedule is a function of the state, so that "it ends well" is a property of each state
//! and needs no reasoning over infinite runs.

use super::{
    process::{blocked, next_put},
    state::{NodeIx, State, What},
};
use igor_protocol::slot::Rules;

/// Steps after which a node counts as one that never comes to append.
const STEPS_MAX: usize = 200;

/// Whether every node, by itself, comes to append.
pub(super) fn takeover_ends(rules: Rules, state: &State) -> bool {
    state.all().all(|ix| ends(rules, state.clone(), ix))
}

fn ends(rules: Rules, mut state: State, ix: NodeIx) -> bool {
    let mut has_pushed = false;
    for _ in 0..STEPS_MAX {
        let Some(known) = state.known(ix) else {
            has_pushed = false;
            state.read(rules, ix);
            continue;
        };
        if state.is_alone(ix) {
            state.settle(rules, ix);
        } else if let Some(put) = next_put(known) {
            state.put(ix, put);
        } else if blocked(known).is_some() {
            state.look(rules, ix);
        } else if known.writer.in_flight() > 0 {
            return false; // it waits for what never comes
        } else if known.writer.is_own() {
            if has_pushed {
                return true;
            }
            has_pushed = state.push(rules, ix, What::Work);
        } else if state.may_read(ix) {
            state.read(rules, ix);
        } else if known.at.is_none() {
            return true; // the agent has not begun
        } else {
            state.push(rules, ix, What::Fence);
        }
    }
    false
}
