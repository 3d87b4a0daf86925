//! Custody, explored: three nodes, one agent, a network that may do anything, and the machine that nodes run.
//!
//! The decisions are those of [`igor_protocol::custody::step`], and what a journal lets in is what
//! [`Held::admit`](igor_protocol::custody::Held::admit) says. Modelled here is what is around them: disks, kills between
//! any two actions, messages that come late, twice, in any order, to anyone, or never, operators and owners.
//!
//! Invariants kept here:
//! - A state has all that the next one depends on, so that the search is complete within its bounds.
//! - What the model counts for its properties (`signed`, `canonical`) nobody in it can see.

mod bridge;
mod fair;
mod memo;
mod moves;
pub mod property;
pub mod slots;
pub mod state;

use igor_protocol::custody::Rules;
pub use moves::Move;
use state::{Gift, Left, Record, Restored, STRANGER, State};
use stateright::{Model, Property};

/// What is claimed, which depends on what may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Disks keep what they have and nodes are honest: everything.
    Everything,
    /// Part of a disk may be rolled back: there is one runner a term, and no node contradicts itself.
    OneRuns,
    /// A whole disk may be rolled back, or a custodian lies: when all have heard of it, at most one runs.
    InTheEnd,
}

impl Claim {
    /// What may come from an older disk.
    const fn restores(self) -> &'static [Restored] {
        match self {
            Self::Everything => &[],
            Self::OneRuns => &[Restored::Journals],
            Self::InTheEnd => &[Restored::All, Restored::Keys],
        }
    }
}

/// The model: bounds, what is claimed within them, and the rules that the machine keeps.
#[derive(Debug)]
pub struct Custody {
    left: Left,
    claim: Claim,
    rules: Rules,
    fair: fair::Seen,
    memo: memo::Memo,
}

impl Custody {
    /// A model within these bounds.
    pub fn new(scope: &Scope, rules: Rules) -> Self {
        let Scope { left, claim, .. } = *scope;
        Self { left, claim, rules, fair: fair::Seen::default(), memo: memo::Memo::default() }
    }
}

impl Model for Custody {
    type State = State;
    type Action = Move;

    /// The first node has the agent and runs it. A stranger's record about it is already in the network.
    fn init_states(&self) -> Vec<State> {
        let mut state = State { left: self.left, ..State::default() };
        for node in &mut state.nodes {
            node.up = true;
        }
        state.nodes[0].disk.journal = Some(vec![]);
        state.nodes[0].running = true;
        let forged = Gift { epoch: (0, 9), seq: 9, prev: 9, from: STRANGER, to: STRANGER + 1 };
        state.told.insert(Record::Handoff(forged));
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Move>) {
        self.moves(state, actions);
    }

    fn next_state(&self, state: &State, action: Move) -> Option<State> {
        self.after(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        use property as p;
        let one_runs = Property::always(p::ONE_RUNS, |model: &Self, state| p::one_runs(&model.memo, state));
        let one_answer = Property::always(p::ONE_ANSWER, |_: &Self, state| p::one_answer(state));
        let one_word = Property::always(p::ONE_WORD, |_: &Self, state| p::one_word(state));
        let right = Property::always(p::RIGHT_TO_RUN, |model: &Self, state| p::right_to_run(&model.memo, state));
        match self.claim {
            Claim::Everything => vec![
                one_runs,
                right,
                one_answer,
                one_word,
                Property::always(p::JOURNALS_AGREE, |_, state| p::journals_agree(state)),
                Property::always(p::ENTRIES_ARE_RIGHT, |model, state| p::entries_are_right(&model.memo, state)),
                Property::always(p::NOTHING_IS_LOST, |_, state| p::nothing_is_lost(state)),
                Property::always(p::NO_DEAD_END, |_, state| p::no_dead_end(state)),
                Property::always(p::NO_FALSE_ALARM, |model, state| p::no_false_alarm(&model.memo, state)),
                Property::always(p::IT_ENDS, |model, state| model.ends(state, p::ended_well)),
            ],
            Claim::OneRuns => vec![one_runs, right, one_answer, one_word],
            Claim::InTheEnd => vec![
                right,
                Property::always(p::AT_MOST_ONE_IN_THE_END, |model, state| model.ends(state, p::at_most_one)),
            ],
        }
    }
}

/// Bounds, and what is claimed within them.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// The name that reports use.
    pub name: &'static str,
    /// What may happen.
    pub left: Left,
    /// What must hold.
    pub claim: Claim,
}

/// Nothing may happen but what messages and timers do.
pub const NOTHING: Left =
    Left { ticks: 0, handoffs: 0, crashes: 0, takeovers: 0, copies: 0, deletions: 0, restores: 0, lies: 0 };

/// Everything that is explored.
pub const SCOPES: [Scope; 10] = {
    use Claim::{Everything, InTheEnd, OneRuns};
    let handoff = Left { ticks: 1, handoffs: 2, crashes: 1, ..NOTHING };
    let rollback = Left { handoffs: 2, crashes: 2, restores: 1, ..NOTHING };
    [
        Scope { name: "handoff", left: handoff, claim: Everything },
        Scope { name: "kills", left: Left { crashes: 3, ..handoff }, claim: Everything },
        Scope { name: "three moves", left: Left { handoffs: 3, ..handoff }, claim: Everything },
        Scope { name: "deletion", left: Left { ticks: 0, handoffs: 3, deletions: 1, ..handoff }, claim: Everything },
        Scope { name: "takeover", left: Left { handoffs: 1, takeovers: 1, copies: 1, ..handoff }, claim: Everything },
        Scope { name: "takeover in a move", left: Left { ticks: 0, takeovers: 1, ..handoff }, claim: Everything },
        Scope { name: "takeovers", left: Left { ticks: 0, handoffs: 1, takeovers: 2, ..handoff }, claim: Everything },
        Scope { name: "journals rolled back", left: rollback, claim: OneRuns },
        Scope { name: "disks rolled back", left: rollback, claim: InTheEnd },
        Scope { name: "a custodian lies", left: Left { handoffs: 2, lies: 1, ..NOTHING }, claim: InTheEnd },
    ]
};

/// The scope of this name.
///
/// # Panics
/// Where there is none.
pub fn scope(name: &str) -> &'static Scope {
    SCOPES.iter().find(|scope| scope.name == name).unwrap_or_else(|| panic!("no scope is named {name}"))
}
