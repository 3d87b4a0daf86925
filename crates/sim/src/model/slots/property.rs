//! What must hold in every state, each by the name that documents and tests use.

use super::{
    Slots,
    process::{keep, look_up},
    state::{At, Disk, Known, Object, State, What, Wrong, judge},
};
use igor_protocol::{
    Slot,
    slot::{Ask, Nonce, Place, Position, Reader, Rules},
};

/// What returned is in the journal at its place, for ever.
pub const CONFIRMED_STAYS: &str = "what was confirmed stays in the journal";
/// A disk has a beginning of the one journal.
pub const READERS_AGREE: &str = "whatever anybody read is a beginning of the one journal";
/// A reader that starts from nothing reads the one journal.
pub const NEW_READER_SEES_ALL: &str = "who reads from nothing reads the whole journal";
/// Of an epoch all slots are by one process, but for the handoff that opens it.
pub const ONE_PROCESS: &str = "in an epoch one process writes";
/// Epochs never fall along the journal.
pub const EPOCHS_RISE: &str = "epochs never fall along a journal";
/// Nobody takes the bucket for one that was rolled back.
pub const NO_FALSE_ALARM: &str = "nobody takes the bucket for rolled back";
/// No process that has custody stops appending because of what it wrote itself, or of what counts for nothing.
pub const LOST_TO_A_CHANGE: &str = "who has custody loses it only to a change of custody";
/// From each state every node comes to append, if the others leave it alone.
pub const TAKEOVER_ENDS: &str = "with fair delivery a takeover ends";

/// The one journal: by what stood first in each slot.
pub(super) fn canon(state: &State) -> Vec<Object> {
    let (mut place, mut at, mut canon) = (Place::first(Nonce([0xff; 16])), None, Vec::new());
    let mut number = Slot(0);
    while let Some(object) = state.first.get(&number) {
        place.end.next = Position { number, ..place.end.next };
        if let Some(judged) = judge(Rules::ALL, &place.end, at, object) {
            (place, at) = (place.after(number, judged.end), judged.at);
            canon.push(*object);
        }
        number = number.next();
    }
    canon
}

fn disks(state: &State) -> impl Iterator<Item = &[Object]> {
    state.nodes.iter().map(|node| node.disk.journal.as_slice())
}

pub(super) fn confirmed_stays(state: &State) -> bool {
    let canon = canon(state);
    state.acknowledged.iter().all(|object| canon.contains(object))
}

pub(super) fn readers_agree(state: &State) -> bool {
    let canon = canon(state);
    disks(state).all(|disk| canon.starts_with(disk))
}

pub(super) fn new_reader_sees_all(rules: Rules, state: &State) -> bool {
    let mut reader: Reader<At, Object> = Reader::new(rules, Place::first(Nonce([0xff; 16])), None);
    let mut disk = Disk::default();
    loop {
        match reader.ask() {
            Ask::Nothing => return disk.journal == canon(state),
            Ask::Keep => {
                if let Some(next) = reader.first() {
                    keep(&mut disk, next);
                }
                reader.kept();
            }
            Ask::Slot(_) | Ask::Bundle(..) => {
                if !look_up(rules, state, &mut reader) {
                    return false;
                }
            }
        }
    }
}

pub(super) fn one_process(state: &State) -> bool {
    let canon = canon(state);
    let all = disks(state).chain([canon.as_slice()]);
    let is_handoff = |object: &Object| matches!(object.load.what, What::Handoff(_));
    let one = |one: &Object, two: &Object| one.load.epoch != two.load.epoch || one.nonce == two.nonce;
    let writers = |journal: &[Object]| journal.iter().filter(|object| !is_handoff(object)).copied().collect::<Vec<_>>();
    all.map(writers).all(|journal| journal.windows(2).all(|pair| one(&pair[0], &pair[1])))
}

pub(super) fn epochs_rise(state: &State) -> bool {
    let canon = canon(state);
    let mut all = disks(state).chain([canon.as_slice()]);
    all.all(|journal| journal.is_sorted_by_key(|object| object.load.epoch))
}

pub(super) fn no_false_alarm(state: &State) -> bool {
    state.wrong != Some(Wrong::RolledBack)
}

pub(super) fn lost_to_a_change(state: &State) -> bool {
    state.wrong != Some(Wrong::LostForNothing)
}

/// Slots are collected, and somebody else takes over after that.
pub const TAKEN_AFTER_COLLECTING: &str = "slots are collected and somebody takes over after that";
/// Where a slot was collected something else stands.
pub const GHOST: &str = "a ghost stands where a slot was collected";
/// A slot counts for nothing.
pub const VOID: &str = "a slot counts for nothing";
/// Two appends of a process are on their way.
pub const PIPELINED: &str = "two appends of a process are on their way at once";
/// A handoff was accepted.
pub const ACCEPTED: &str = "a handoff is accepted";
/// A handoff was taken back, or overtaken.
pub const NOT_ACCEPTED: &str = "a handoff is answered by a fence";

/// Whether something is so in a state.
type Holds = fn(&Slots, &State) -> bool;

/// What shows that bounds are not too narrow: that it comes about at all.
pub(super) const REACHED: [(&str, Holds); 6] = [
    (TAKEN_AFTER_COLLECTING, |_, state| {
        let is_taken = |known: &Known| known.at.is_some_and(|at| at.custodian > 0);
        state.slots.len() < state.first.len() && owners(state).any(is_taken)
    }),
    (GHOST, |_, state| state.slots.iter().any(|(number, object)| state.first.get(number) != Some(object))),
    (VOID, |_, state| canon(state).len() < state.first.len()),
    (PIPELINED, |_, state| state.all().any(|ix| state.known(ix).is_some_and(|known| known.writer.in_flight() > 1))),
    (ACCEPTED, |_, state| canon(state).iter().any(|object| object.load.what == What::Accept)),
    (NOT_ACCEPTED, |_, state| {
        let is_handoff = |object: &Object| matches!(object.load.what, What::Handoff(_));
        canon(state).windows(2).any(|pair| is_handoff(&pair[0]) && pair[1].load.what == What::Fence)
    }),
];

/// What processes know that have custody, or think so.
fn owners(state: &State) -> impl Iterator<Item = &Known> {
    state.all().filter_map(|ix| state.known(ix)).filter(|known| known.writer.is_own())
}
