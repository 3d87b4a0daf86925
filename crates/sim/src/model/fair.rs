//! What becomes of a state when the network loses nothing more and nobody is killed any more.
//!
//! Invariant kept here: the schedule is a function of the state, so that "it ends well" is a property of each state
//! and needs no reasoning over infinite runs.

use super::{
    Custody,
    memo::{Happening, fingerprint},
    moves::{Message, all},
    state::{NodeIx, State},
};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, PoisonError},
};

/// Rounds after which a state that still changes counts as one that never comes to rest.
const ROUNDS_MAX: usize = 40;

/// States of which it is known that they end well.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<BTreeSet<u64>>);

impl Seen {
    fn has(&self, state: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&state)
    }

    fn add(&self, states: impl IntoIterator<Item = u64>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(states);
    }
}

impl Custody {
    /// Whether `good` holds where the fair schedule comes to rest.
    pub(super) fn ends(&self, state: &State, good: fn(&State) -> bool) -> bool {
        let mut state = state.clone();
        let mut path = vec![];
        for _ in 0..ROUNDS_MAX {
            let print = fingerprint(&state);
            if self.fair.has(print) {
                self.fair.add(path);
                return true;
            }
            path.push(print);
            let before = state.clone();
            self.round(&mut state);
            if state == before {
                let ends = good(&state);
                if ends {
                    self.fair.add(path);
                }
                return ends;
            }
        }
        false
    }

    /// Every node is up, does what it has to do, its timer fires, and every message arrives.
    fn round(&self, state: &mut State) {
        let mut posted = VecDeque::new();
        for ix in all() {
            self.drain(state, ix, &mut posted);
            if !state.node(ix).up {
                self.restart(state, ix);
                self.drain(state, ix, &mut posted);
            }
        }
        self.deliver(state, &mut posted);
        for ix in all() {
            self.happen(state, ix, Happening::Timer);
            self.drain(state, ix, &mut posted);
            self.deliver(state, &mut posted);
        }
    }

    fn deliver(&self, state: &mut State, posted: &mut VecDeque<(NodeIx, Message)>) {
        while let Some((to, message)) = posted.pop_front() {
            if !state.node(to).is_ready() {
                continue; // it is not up yet; who cares sends it again
            }
            match message {
                Message::Journal(gift) => self.arrive(state, to, gift, true),
                Message::Record(record) => self.happen(state, to, Happening::Heard(record)),
                Message::Question(by) => self.happen(state, to, Happening::Asked(by)),
            };
            self.drain(state, to, posted);
        }
    }

    fn drain(&self, state: &mut State, ix: NodeIx, posted: &mut VecDeque<(NodeIx, Message)>) {
        while state.node(ix).up && !state.node(ix).queue.is_empty() {
            let mut sent = vec![];
            self.act(state, ix, &mut sent);
            posted.extend(sent);
        }
    }
}
