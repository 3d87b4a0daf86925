//! The shared store, explored: some machines, one agent, and a bucket that gets requests late, twice or never.
//!
//! The decisions are those of [`igor_protocol::slot`], which the driver of the store (`igor_store::shared`) calls too:
//! what a writer sends and when it believes it ([`Writer`](igor_protocol::slot::Writer)), which slots count
//! ([`End::decide`](igor_protocol::slot::End::decide)), what a reader asks for and believes
//! ([`Reader`](igor_protocol::slot::Reader)), what is collected ([`Harvest`](igor_protocol::slot::Harvest)). Modelled
//! here is what is around them: the bucket, disks, processes that are killed or sleep between any two requests, and the
//! order of requests, which the driver has in its own code.
//!
//! Invariants kept here:
//! - A state has all that the next one depends on, so that the search is complete within its bounds.
//! - What the model counts for its properties nobody in it can see.

mod fair;
mod moves;
mod process;
pub mod property;
pub mod state;

use igor_protocol::slot::Rules;
pub use moves::Move;
use state::{Left, State};
use stateright::{Model, Property};

/// The model: bounds, and the rules that processes keep.
#[derive(Debug)]
pub struct Slots {
    nodes: u8,
    left: Left,
    reaches: &'static [&'static str],
    rules: Rules,
}

impl Slots {
    /// A model within these bounds.
    pub const fn new(scope: &Scope, rules: Rules) -> Self {
        let Scope { nodes, left, reaches, .. } = *scope;
        Self { nodes, left, reaches, rules }
    }
}

impl Model for Slots {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Move>) {
        Self::moves(state, actions);
    }

    fn next_state(&self, state: &State, action: Move) -> Option<State> {
        self.after(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        use property as p;
        let must = [
            Property::always(p::CONFIRMED_STAYS, |_: &Self, state: &State| p::confirmed_stays(state)),
            Property::always(p::READERS_AGREE, |_, state| p::readers_agree(state)),
            Property::always(p::NEW_READER_SEES_ALL, |model, state| p::new_reader_sees_all(model.rules, state)),
            Property::always(p::ONE_PROCESS, |_, state| p::one_process(state)),
            Property::always(p::EPOCHS_RISE, |_, state| p::epochs_rise(state)),
            Property::always(p::NO_FALSE_ALARM, |_, state| p::no_false_alarm(state)),
            Property::always(p::LOST_TO_A_CHANGE, |_, state| p::lost_to_a_change(state)),
            Property::always(p::TAKEOVER_ENDS, |model, state| fair::takeover_ends(model.rules, state)),
        ];
        let to_reach = p::REACHED.into_iter().filter(|(what, _)| self.reaches.contains(what));
        must.into_iter().chain(to_reach.map(|(what, is)| Property::sometimes(what, is))).collect()
    }
}

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// The name that reports use.
    pub name: &'static str,
    /// How many machines.
    pub nodes: u8,
    /// What may happen.
    pub left: Left,
    /// What comes about on the way, or the bounds are too narrow.
    pub reaches: &'static [&'static str],
}

/// Nothing may happen but what was begun.
pub const NOTHING: Left =
    Left { work: 0, checkpoints: 0, fences: 0, handoffs: 0, crashes: 0, wipes: 0, doubts: 0, garbage: 0 };

/// Everything that is explored.
pub const SCOPES: [Scope; 7] = {
    use property::{ACCEPTED, GHOST, NOT_ACCEPTED, PIPELINED, TAKEN_AFTER_COLLECTING, VOID};
    let takeover = Left { work: 2, fences: 2, ..NOTHING };
    let collected = Left { work: 1, checkpoints: 1, fences: 2, ..NOTHING };
    let after = &[TAKEN_AFTER_COLLECTING, GHOST];
    let void = Left { garbage: 1, fences: 1, ..collected };
    let handoff = Left { work: 1, fences: 1, handoffs: 1, crashes: 1, ..NOTHING };
    [
        Scope { name: "takeover", nodes: 2, left: Left { crashes: 1, ..takeover }, reaches: &[PIPELINED, VOID] },
        Scope { name: "collected", nodes: 2, left: Left { work: 2, crashes: 1, ..collected }, reaches: after },
        Scope { name: "void slots", nodes: 2, left: void, reaches: &[VOID, GHOST] },
        Scope { name: "handoff", nodes: 2, left: handoff, reaches: &[ACCEPTED, NOT_ACCEPTED] },
        Scope { name: "doubt", nodes: 2, left: Left { doubts: 1, ..takeover }, reaches: &[PIPELINED, VOID] },
        Scope { name: "lost disk", nodes: 2, left: Left { wipes: 1, ..collected }, reaches: after },
        Scope { name: "three", nodes: 3, left: collected, reaches: after },
    ]
};

/// The scope of this name.
///
/// # Panics
/// Where there is none.
pub fn scope(name: &str) -> &'static Scope {
    SCOPES.iter().find(|scope| scope.name == name).unwrap_or_else(|| panic!("no scope is named {name}"))
}
