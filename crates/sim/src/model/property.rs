//! What must hold in every state, each by the name that documents and tests use.

use super::{
    memo::Memo,
    moves::all,
    state::{Entry, Journal, Node, NodeIx, Record, State},
};
use igor_protocol::custody::Status;

/// The last names are of the properties that hold in a fair end, not in every state.
pub const ONE_RUNS: &str = "in a term at most one node runs the agent";
/// See the text.
pub const RIGHT_TO_RUN: &str = "who runs it has durable custody, and knows nothing newer";
/// See the text.
pub const JOURNALS_AGREE: &str = "journals differ only where one has a takeover";
/// See the text.
pub const ENTRIES_ARE_RIGHT: &str = "every entry is its custodian's, at its terms";
/// See the text.
pub const NOTHING_IS_LOST: &str = "what was committed on the canonical branch stays";
/// See the text.
pub const ONE_ANSWER: &str = "a handoff has one answer";
/// See the text.
pub const ONE_WORD: &str = "a node signs one record an epoch";
/// See the text.
pub const NO_DEAD_END: &str = "what is signed can be appended";
/// See the text.
pub const NO_FALSE_ALARM: &str = "nobody is suspended without cause";
/// See the text.
pub const IT_ENDS: &str = "with fair delivery one node runs it, in the highest term";
/// See the text.
pub const AT_MOST_ONE_IN_THE_END: &str = "with fair delivery at most one node runs it";

fn journals(state: &State) -> impl Iterator<Item = &Journal> {
    let disks = state.nodes.iter().flat_map(|node| node.disk.journal.iter().chain(&node.disk.aside));
    disks.chain(state.sent.values())
}

fn runners(state: &State) -> impl Iterator<Item = &Node> {
    state.nodes.iter().filter(|node| node.running)
}

/// Who signs a record, and in which epoch.
fn word(record: &Record) -> (NodeIx, (u8, u8)) {
    match record {
        Record::Handoff(gift) => (gift.from, gift.epoch),
        Record::Accept(gift) | Record::Decline(gift) => (gift.to, gift.epoch),
        Record::Return(gift) => (gift.from, (gift.epoch.0, gift.epoch.1 + 1)),
        Record::Takeover(taken) => (taken.by, (taken.counter, 0)),
    }
}

pub(super) fn one_runs(memo: &Memo, state: &State) -> bool {
    let terms: Vec<_> =
        runners(state).map(|node| node.disk.journal.as_ref().map(|journal| memo.facts(journal).term)).collect();
    terms.iter().enumerate().all(|(place, term)| !terms[..place].contains(term))
}

pub(super) fn right_to_run(memo: &Memo, state: &State) -> bool {
    all().all(|ix| !state.node(ix).running || memo.status(ix, &state.node(ix).disk) == Status::Custodian)
}

pub(super) fn journals_agree(state: &State) -> bool {
    let all: Vec<&Journal> = journals(state).collect();
    let takeover = |entry: &Entry| matches!(entry, Entry::Custody(Record::Takeover(_)));
    all.iter().enumerate().all(|(place, one)| {
        all[..place].iter().all(|two| {
            let differ = one.iter().zip(two.iter()).find(|(a, b)| a != b);
            differ.is_none_or(|(a, b)| takeover(a) || takeover(b))
        })
    })
}

pub(super) fn entries_are_right(memo: &Memo, state: &State) -> bool {
    journals(state).all(|journal| memo.facts(journal).right)
}

pub(super) fn nothing_is_lost(state: &State) -> bool {
    state.nodes.iter().any(|node| node.disk.journal.as_ref().is_some_and(|here| here.starts_with(&state.canonical)))
}

pub(super) fn one_answer(state: &State) -> bool {
    !state.signed.iter().any(|record| match record {
        Record::Accept(gift) => state.signed.contains(&Record::Decline(*gift)),
        _ => false,
    })
}

pub(super) fn one_word(state: &State) -> bool {
    let words: Vec<_> = state.signed.iter().map(word).collect();
    words.iter().enumerate().all(|(place, word)| !words[..place].contains(word))
}

pub(super) fn no_dead_end(state: &State) -> bool {
    !state.stuck
}

pub(super) fn no_false_alarm(memo: &Memo, state: &State) -> bool {
    all().all(|ix| !matches!(memo.status(ix, &state.node(ix).disk), Status::Suspended(_)))
}

/// The end of a fair schedule: one runs it, and where the canonical branch is.
pub(super) fn ended_well(state: &State) -> bool {
    let mut runners = runners(state);
    let runner = runners.next().and_then(|node| node.disk.journal.as_ref());
    runner.is_some_and(|journal| journal.starts_with(&state.canonical)) && runners.next().is_none()
}

pub(super) fn at_most_one(state: &State) -> bool {
    runners(state).count() <= 1
}
