//! What can happen next, and what then is.
//!
//! Invariants kept here:
//! - Every process may be killed, or sleep, between any two steps. A step that concerns nobody but itself comes before
//!   anything else: that changes nothing of what others see, and there is less to explore.
//! - What was ever sent to the bucket may arrive there at any time, any number of times, or never.

use super::{
    Slots,
    process::blocked,
    state::{BundleKey, Disk, Load, Mind, Node, NodeIx, Object, State, What},
};
use igor_protocol::{
    Hash, Slot,
    slot::{Nonce, Position, Ticket, Turn},
};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A process reads what comes next, or keeps what it read.
    Read(NodeIx),
    /// A process with an empty disk begins the agent.
    Begin(NodeIx),
    /// A process asks for an append.
    Push(NodeIx, What),
    /// A put arrives and is answered.
    Put(NodeIx, Ticket),
    /// A process reads what stands in its way.
    Look(NodeIx),
    /// What was confirmed goes to the disk, and whoever waits is answered.
    Settle(NodeIx),
    /// A process begins to collect.
    Collect(NodeIx),
    /// It goes on by one request.
    CollectOn(NodeIx),
    /// Nobody waits any more for what a process has on its way.
    Doubt(NodeIx),
    /// A process is killed, and another starts.
    Crash(NodeIx),
    /// Likewise, on an empty disk.
    Wipe(NodeIx),
    /// A put comes late, or again.
    Late(Object),
    /// A bundle comes late, or again.
    LateBundle(BundleKey),
    /// A delete comes late, or again.
    LateDelete(Slot),
    /// A stranger writes into the slot after all others.
    Garbage,
}

/// Appends that a process has on its way at once.
const IN_FLIGHT_MAX: usize = 2;

impl Slots {
    /// All that may happen.
    pub(super) fn moves(state: &State, moves: &mut Vec<Move>) {
        if let Some(ix) = state.all().find(|ix| state.is_alone(*ix)) {
            moves.push(if state.known(ix).is_some() { Move::Settle(ix) } else { Move::Read(ix) });
            kills(state, ix, moves);
            return;
        }
        for ix in state.all() {
            if state.may_read(ix) {
                moves.push(Move::Read(ix));
            }
            kills(state, ix, moves);
            asks(state, ix, moves);
            let Some(known) = state.known(ix) else { continue };
            let is_put = |ticket: &Ticket| matches!(known.writer.turn(*ticket), Turn::Put(..));
            moves.extend(known.writer.open().filter(is_put).map(|ticket| Move::Put(ix, ticket)));
            if blocked(known).is_some() {
                moves.push(Move::Look(ix));
            }
            if state.left.doubts > 0 && known.writer.in_flight() > 0 {
                moves.push(Move::Doubt(ix));
            }
            moves.push(if known.collecting.is_some() { Move::CollectOn(ix) } else { Move::Collect(ix) });
        }
        moves
            .extend(state.sent.iter().filter(|put| !state.slots.contains_key(&put.at.number)).copied().map(Move::Late));
        let missing = state.sent_bundles.keys().filter(|key| !state.bundles.contains_key(key));
        moves.extend(missing.copied().map(Move::LateBundle));
        moves.extend(
            state.sent_deletes.iter().filter(|slot| state.slots.contains_key(slot)).copied().map(Move::LateDelete),
        );
        if state.left.garbage > 0 {
            moves.push(Move::Garbage);
        }
    }

    /// What is after `happens`; nothing if that changes nothing.
    pub(super) fn after(&self, state: &State, happens: Move) -> Option<State> {
        let rules = self.rules;
        let mut next = state.clone();
        let happened = match happens {
            Move::Read(ix) => {
                next.read(rules, ix);
                true
            }
            Move::Begin(ix) => {
                next.begin(rules, ix);
                true
            }
            Move::Push(ix, what) => {
                match what {
                    What::Work => next.left.work -= 1,
                    What::Checkpoint => next.left.checkpoints -= 1,
                    What::Fence => next.left.fences -= 1,
                    What::Handoff(_) => next.left.handoffs -= 1,
                    What::Accept | What::Genesis | What::Garbage => {}
                }
                next.push(rules, ix, what)
            }
            Move::Put(ix, ticket) => next.put(ix, ticket),
            Move::Look(ix) => next.look(rules, ix),
            Move::Settle(ix) => next.settle(rules, ix),
            Move::Collect(ix) => next.collect(rules, ix),
            Move::CollectOn(ix) => next.collect_on(rules, ix),
            Move::Doubt(ix) => {
                next.left.doubts -= 1;
                next.doubt(rules, ix);
                true
            }
            Move::Crash(ix) => {
                next.left.crashes -= 1;
                let Node { disk, boots, .. } = std::mem::take(next.node_mut(ix));
                *next.node_mut(ix) = Node { disk, boots: boots + 1, ..Node::default() };
                true
            }
            Move::Wipe(ix) => {
                next.left.wipes -= 1;
                let boots = next.node(ix).boots + 1;
                *next.node_mut(ix) = Node { disk: Disk::default(), boots, ..Node::default() };
                true
            }
            Move::Late(object) => next.create(object),
            Move::LateBundle(key) => {
                let bundle = next.sent_bundles.get(&key)?.clone();
                next.bundles.insert(key, bundle);
                true
            }
            Move::LateDelete(slot) => next.slots.remove(&slot).is_some(),
            Move::Garbage => {
                next.left.garbage -= 1;
                let number = next.slots.keys().next_back().map_or(Slot(0), |last| last.next());
                let at = Position { number, prev: Hash::ZERO };
                let load = Load { what: What::Garbage, epoch: 0, attempt: 0 };
                next.create(Object { at, nonce: Nonce([0xff; 16]), writer: NodeIx::MAX, load })
            }
        };
        (happened && next != *state).then_some(next)
    }

    /// Where it all begins: the first node is about to begin the agent, the others have heard of it.
    pub(super) fn start(&self) -> State {
        let nodes = vec![Node::default(); usize::from(self.nodes)];
        let mut state = State { nodes, left: self.left, ..State::default() };
        state.begin(self.rules, 0);
        state
    }
}

/// Whether a process may be killed now.
fn kills(state: &State, ix: NodeIx, moves: &mut Vec<Move>) {
    let node = state.node(ix);
    if state.left.crashes > 0 && node.mind != Mind::Blank {
        moves.push(Move::Crash(ix));
    }
    if state.left.wipes > 0 && node.disk != Disk::default() {
        moves.push(Move::Wipe(ix));
    }
}

/// What a process may ask for.
fn asks(state: &State, ix: NodeIx, moves: &mut Vec<Move>) {
    let node = state.node(ix);
    let Some(known) = state.known(ix) else {
        // The first custodian, with nothing on its disk: perhaps it is deployed again.
        if node.mind == Mind::Blank && ix == 0 && node.disk == Disk::default() {
            moves.push(Move::Begin(ix));
        }
        return;
    };
    let Some(at) = known.at else { return };
    let is_idle = known.writer.in_flight() == 0 && known.ready.is_empty();
    let mut ask = |what: What, may: bool| {
        if may && known.writer.may_push(what.changes()).is_ok() {
            moves.push(Move::Push(ix, what));
        }
    };
    let (is_mine, own) = (at.custodian == ix, known.writer.is_own());
    let has_room = (is_mine || own) && known.writer.in_flight() < IN_FLIGHT_MAX;
    ask(What::Work, has_room && state.left.work > 0);
    ask(What::Checkpoint, has_room && state.left.checkpoints > 0);
    ask(What::Fence, !own && is_idle && state.left.fences > 0);
    ask(What::Accept, !own && is_idle && at.pending == Some(ix));
    for to in state.all().filter(|to| *to != ix) {
        ask(What::Handoff(to), own && is_idle && at.pending.is_none() && state.left.handoffs > 0);
    }
}
