//! What can happen next, and what then is.
//!
//! Invariants kept here:
//! - A node does one action at a time, in the machine's order, and may be killed between any two. What is only sent goes
//!   out with the action before it: a kill in between is no other than a message that never comes.
//! - What was ever sent, told, asked or ordered stays in the network for ever: it comes any number of times, in any
//!   order, late, or never.

use super::{
    Custody, bridge,
    memo::{Answer, Happening},
    state::{Act, Disk, Entry, Gift, Journal, NODES, Node, NodeIx, Record, Restored, State, Taken},
};
use igor_protocol::custody::Status;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A node does its next action.
    Do(NodeIx),
    /// The agent runs once.
    Tick(NodeIx),
    /// A node is killed.
    Crash(NodeIx),
    /// It starts again.
    Restart(NodeIx),
    /// Its timer fires.
    Timer(NodeIx),
    /// Its operator moves the agent.
    Give(NodeIx, NodeIx),
    /// A journal comes in; the node would take the agent, or not.
    Arrive(NodeIx, Gift, bool),
    /// A record comes in.
    Hear(NodeIx, Record),
    /// A question comes in.
    Asked(NodeIx, NodeIx),
    /// The owner signs a takeover by this node, from where its journal ends.
    Order(NodeIx),
    /// An order comes in.
    Carry(NodeIx, Taken),
    /// A node gets a copy of the journal of another.
    Copy(NodeIx, NodeIx),
    /// A node deletes its archive.
    Delete(NodeIx),
    /// A node that was killed has its disk copied.
    Backup(NodeIx),
    /// A node that was killed gets an older disk.
    Restore(NodeIx, Restored),
    /// A custodian that lies signs a second handoff, to another node.
    Lie(NodeIx, NodeIx),
}

/// What the network carries to one node, for the fair schedule, which loses nothing.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Journal(Gift),
    Record(Record),
    Question(NodeIx),
}

#[allow(clippy::cast_possible_truncation)] // three nodes
pub(super) fn all() -> impl Iterator<Item = NodeIx> {
    0..NODES as NodeIx
}

impl Node {
    /// Whether the next event may come to it.
    pub(super) fn is_ready(&self) -> bool {
        self.up && self.queue.is_empty()
    }

    /// Whether nothing else may be appended now: the driver holds the journal.
    fn is_appending(&self) -> bool {
        self.queue.iter().any(|act| matches!(act, Act::Keep(_) | Act::Append | Act::Adopt))
    }
}

impl State {
    pub(super) fn node(&self, ix: NodeIx) -> &Node {
        &self.nodes[usize::from(ix)]
    }

    pub(super) fn node_mut(&mut self, ix: NodeIx) -> &mut Node {
        &mut self.nodes[usize::from(ix)]
    }
}

impl Custody {
    /// All that may happen. Some of it changes nothing.
    pub(super) fn moves(&self, state: &State, moves: &mut Vec<Move>) {
        for ix in all() {
            let node = state.node(ix);
            if !node.up {
                moves.push(Move::Restart(ix));
                if state.left.restores > 0 {
                    match &state.backup {
                        None => moves.push(Move::Backup(ix)),
                        Some((of, _)) if *of == ix => {
                            moves.extend(self.claim.restores().iter().map(|part| Move::Restore(ix, *part)));
                        }
                        Some(_) => {}
                    }
                }
                continue;
            }
            if state.left.crashes > 0 {
                moves.push(Move::Crash(ix));
            }
            if node.running && state.left.ticks > 0 && !node.is_appending() {
                moves.push(Move::Tick(ix));
            }
            if !node.queue.is_empty() {
                moves.push(Move::Do(ix));
                continue;
            }
            moves.push(Move::Timer(ix));
            moves.extend(state.sent.keys().flat_map(|gift| [true, false].map(|admit| Move::Arrive(ix, *gift, admit))));
            moves.extend(state.told.iter().map(|record| Move::Hear(ix, *record)));
            moves.extend(state.orders.iter().map(|order| Move::Carry(ix, *order)));
            let others = || all().filter(move |other| *other != ix);
            moves.extend(others().filter(|by| state.asked[usize::from(*by)]).map(|by| Move::Asked(ix, by)));
            if state.left.handoffs > 0 {
                moves.extend(others().map(|to| Move::Give(ix, to)));
            }
            if state.left.lies > 0 {
                moves.extend(others().map(|to| Move::Lie(ix, to)));
            }
            if state.left.takeovers > 0 {
                moves.push(Move::Order(ix));
            }
            if state.left.copies > 0 && node.disk.journal.is_none() {
                moves.extend(
                    others().filter(|from| state.node(*from).disk.journal.is_some()).map(|from| Move::Copy(from, ix)),
                );
            }
            if state.left.deletions > 0 {
                moves.push(Move::Delete(ix));
            }
        }
    }

    /// What is after `happens`; nothing if that changes nothing.
    pub(super) fn after(&self, state: &State, happens: Move) -> Option<State> {
        let mut next = state.clone();
        let happened = match happens {
            Move::Do(ix) => self.act(&mut next, ix, &mut vec![]),
            Move::Tick(ix) => self.tick(&mut next, ix),
            Move::Crash(ix) => {
                next.left.crashes -= 1;
                let disk = std::mem::take(&mut next.node_mut(ix).disk);
                *next.node_mut(ix) = Node { disk, ..Node::default() };
                true
            }
            Move::Restart(ix) => {
                self.restart(&mut next, ix);
                true
            }
            Move::Timer(ix) => self.happen(&mut next, ix, Happening::Timer),
            Move::Give(ix, to) => {
                next.left.handoffs -= 1;
                self.happen(&mut next, ix, Happening::Give(to))
            }
            Move::Arrive(ix, gift, admit) => self.arrive(&mut next, ix, gift, admit),
            Move::Hear(ix, record) => self.happen(&mut next, ix, Happening::Heard(record)),
            Move::Asked(ix, by) => self.happen(&mut next, ix, Happening::Asked(by)),
            Move::Order(ix) => self.order(&mut next, ix),
            Move::Carry(ix, taken) => self.happen(&mut next, ix, Happening::Ordered(taken)),
            Move::Copy(from, to) => {
                next.left.copies -= 1;
                next.node_mut(to).disk.journal.clone_from(&state.node(from).disk.journal);
                true
            }
            Move::Delete(ix) => {
                next.left.deletions -= 1;
                let node = next.node_mut(ix);
                self.memo.status(ix, &node.disk) == Status::Elsewhere && {
                    node.disk.journal = None;
                    true
                }
            }
            Move::Backup(ix) => {
                next.backup = Some((ix, state.node(ix).disk.clone()));
                true
            }
            Move::Restore(ix, part) => restore(&mut next, ix, part),
            Move::Lie(ix, to) => lie(&mut next, ix, to),
        };
        if !happened {
            return None;
        }
        for ix in all() {
            while next.node(ix).queue.first().is_some_and(Act::is_sending) {
                self.act(&mut next, ix, &mut vec![]);
            }
        }
        (next != *state).then_some(next)
    }

    pub(super) fn restart(&self, state: &mut State, ix: NodeIx) {
        state.node_mut(ix).up = true;
        self.happen(state, ix, Happening::Restarted);
    }

    /// A journal from the network, verified. Says whether anything is to be done.
    pub(super) fn arrive(&self, state: &mut State, ix: NodeIx, gift: Gift, admit: bool) -> bool {
        let Some(journal) = state.sent.get(&gift) else { return false };
        let extends = state.node(ix).disk.journal.as_ref().is_none_or(|here| journal.starts_with(here));
        let happened = self.happen(state, ix, Happening::Arrived { gift, extends, admit });
        if happened && state.node(ix).queue.contains(&Act::Adopt) {
            state.node_mut(ix).arriving = state.sent.get(&gift).cloned();
        }
        happened
    }

    /// Gives an event to the machine and queues what it says. Says whether that could change anything.
    pub(super) fn happen(&self, state: &mut State, ix: NodeIx, happening: Happening) -> bool {
        let node = state.node(ix);
        let journal = match happening {
            Happening::Arrived { gift, .. } => state.sent.get(&gift),
            _ => None,
        };
        let disk = (&node.disk, node.running);
        let acts = match self.memo.step(self.rules, ix, disk, happening, journal.map(Vec::as_slice)) {
            Answer::Refused => return false,
            Answer::Do(acts) => acts,
            Answer::Wrong => {
                state.stuck = true;
                return true;
            }
        };
        let idle = acts.iter().all(|act| match act {
            Act::Ask => state.asked[usize::from(ix)],
            Act::Tell(_) | Act::Announce => {
                self.memo.records(&node.disk).iter().all(|record| state.told.contains(record))
            }
            Act::Transfer(_) => ending(node.disk.journal.as_ref()).is_some_and(|gift| state.sent.contains_key(&gift)),
            Act::Stop => !node.running,
            Act::Start => node.running,
            _ => false,
        });
        state.node_mut(ix).queue = acts;
        !idle
    }

    /// Does the next action of a node. What it sends also goes to `posted`.
    pub(super) fn act(&self, state: &mut State, ix: NodeIx, posted: &mut Vec<(NodeIx, Message)>) -> bool {
        let act = state.node_mut(ix).queue.remove(0);
        match act {
            Act::Stop => state.node_mut(ix).running = false,
            Act::Start => state.node_mut(ix).running = true,
            Act::Adopt => adopt(state.node_mut(ix)),
            Act::Keep(record) => {
                state.signed.insert(record);
                bridge::keep(&mut state.node_mut(ix).disk.keys, record);
            }
            Act::Append => self.append(state, ix),
            Act::Bury(record) => state.node_mut(ix).disk.keys.elsewhere = Some(record),
            Act::Suspend(heard, known) => state.node_mut(ix).disk.keys.evidence = Some((heard, known)),
            Act::Transfer(to) => {
                if let Some((gift, journal)) =
                    ending(state.node(ix).disk.journal.as_ref()).zip(state.node(ix).disk.journal.clone())
                {
                    posted.push((to, Message::Journal(gift)));
                    state.sent.insert(gift, journal);
                }
            }
            Act::Tell(to) => self.tell(state, ix, Some(to), posted),
            Act::Announce => self.tell(state, ix, None, posted),
            Act::Ask => {
                state.asked[usize::from(ix)] = true;
                posted.extend(all().filter(|other| *other != ix).map(|other| (other, Message::Question(ix))));
            }
        }
        true
    }

    fn tell(&self, state: &mut State, ix: NodeIx, to: Option<NodeIx>, posted: &mut Vec<(NodeIx, Message)>) {
        for record in self.memo.records(&state.node(ix).disk) {
            state.told.insert(record);
            let others = all().filter(|other| *other != ix && to.is_none_or(|to| to == *other));
            posted.extend(others.map(|other| (other, Message::Record(record))));
        }
    }

    /// Appends what was kept last. That it cannot be appended is remembered.
    fn append(&self, state: &mut State, ix: NodeIx) {
        let disk = &mut state.node_mut(ix).disk;
        let (Some(journal), Some(record)) = (&mut disk.journal, disk.keys.signed) else {
            state.stuck = true;
            return;
        };
        journal.push(Entry::Custody(record));
        let right = self.memo.facts(journal).right;
        state.stuck |= !right;
        self.note(state, ix);
    }

    fn tick(&self, state: &mut State, ix: NodeIx) -> bool {
        let number = state.left.ticks;
        state.left.ticks -= 1;
        let Some(journal) = &mut state.node_mut(ix).disk.journal else { return false };
        let price = self.memo.facts(journal).price;
        journal.push(Entry::Tick(ix, number, price));
        self.note(state, ix);
        true
    }

    /// Counts the journal of a node as seen.
    fn note(&self, state: &mut State, ix: NodeIx) {
        let rank = |journal: &[Entry]| (self.memo.facts(journal).term, journal.len());
        let Some(journal) = &state.nodes[usize::from(ix)].disk.journal else { return };
        if rank(journal) > rank(&state.canonical) {
            state.canonical.clone_from(journal);
        }
    }

    /// The owner looks at the journal of the node that it wants, and names its end.
    fn order(&self, state: &mut State, by: NodeIx) -> bool {
        let Some(journal) = &state.node(by).disk.journal else { return false };
        let facts = self.memo.facts(journal);
        let (term, (seq, prev)) = (facts.term, facts.end);
        let counter = state.orders.last().map_or(1, |order| order.counter + 1);
        state.left.takeovers -= 1;
        state.orders.insert(Taken { counter, term, seq, prev, by });
        true
    }
}

/// The handoff that a journal ends with.
fn ending(journal: Option<&Journal>) -> Option<Gift> {
    match journal?.last()? {
        Entry::Custody(Record::Handoff(gift)) => Some(*gift),
        _ => None,
    }
}

fn adopt(node: &mut Node) {
    let Some(journal) = node.arriving.take() else { return };
    if let Some(here) = node.disk.journal.replace(journal.clone())
        && !journal.starts_with(&here)
    {
        node.disk.aside.push(here);
    }
}

fn restore(state: &mut State, ix: NodeIx, part: Restored) -> bool {
    let Some((_, old)) = state.backup.take() else { return false };
    state.left.restores -= 1;
    let disk = &mut state.node_mut(ix).disk;
    match part {
        Restored::All => *disk = old,
        Restored::Journals => *disk = Disk { keys: disk.keys, ..old },
        Restored::Keys => disk.keys = old.keys,
    }
    true
}

/// The same journal, given to someone else in the same epoch.
fn lie(state: &mut State, ix: NodeIx, to: NodeIx) -> bool {
    let Some(Record::Handoff(gift)) = state.node(ix).disk.keys.signed else { return false };
    let Some(journal) = &state.node(ix).disk.journal else { return false };
    let Some(place) = journal.iter().position(|entry| *entry == Entry::Custody(Record::Handoff(gift))) else {
        return false;
    };
    if to == gift.to || to == ix {
        return false;
    }
    let lie = Gift { to, ..gift };
    let mut lying = journal[..place].to_vec();
    lying.push(Entry::Custody(Record::Handoff(lie)));
    state.left.lies -= 1;
    state.sent.insert(lie, lying);
    true
}
