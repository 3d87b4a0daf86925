//! Appending to slots, several on their way at once: what to send next, and what is known to be there.
//!
//! Invariants kept here:
//! - What is sent for a slot is the same bytes until it is known what stands there: an answer that was lost is no reason
//!   to write something else.
//! - Nothing is confirmed before everything before it is. So what an earlier process still has on its way counts for
//!   nothing once the slot before it went to somebody else.
//! - A slot that is taken by bytes that do not count is passed over, with all that follows it. One that counts ends
//!   this writer: somebody else has custody, or this is not the journal's end.
//! - After a slot was passed over the first append goes alone until it is there: what follows it would take the slots that
//!   it may have to go to, for nothing, and that again and again.
//! - Only who has custody appends, but for a change of custody, and that goes out alone: nothing is sent after it before
//!   it was checked that it stands at the journal's end.
//!
//! There is no I/O here: the driver puts, reads and judges, as the model and the simulator do, and says what it saw.

use super::{Rule, Rules};
use crate::{Hash, units::Slot};
use std::collections::VecDeque;

/// Where a slot goes, and what it links to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Its number.
    pub number: Slot,
    /// The hash of the slot before it that counts.
    pub prev: Hash,
}

/// A slot as it is sent, and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sealed<O> {
    /// What is sent.
    pub object: O,
    /// What the next slot links to.
    pub hash: Hash,
}

/// One append, by its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What is to be done about an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn<O> {
    /// Put these bytes into this slot if it is free.
    Put(Slot, O),
    /// Read what stands in this slot: it is taken, and all before it are confirmed.
    Read(Slot),
    /// Nothing before those before it are confirmed.
    Wait,
    /// It is there, and so is all before it.
    Confirmed,
    /// It is not there and never will be: a slot of somebody else counts in its place, or in that of one before it.
    Lost,
}

/// Why an append is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A slot of somebody else counts in the place of an earlier one.
    Lost,
    /// This process has no custody: it has to change that first.
    NotOwn,
    /// A change of custody waits until all before it is confirmed.
    Busy,
}

/// An append that is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landed<P> {
    /// What was appended.
    pub payload: P,
    /// Where it was to go if nothing void was in the way.
    pub from: Slot,
    /// Its slot.
    pub at: Slot,
    /// What the next slot is to link to.
    pub next: Position,
}

/// What stands in a slot that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing after all.
    Nothing,
    /// The very bytes that were sent.
    Same,
    /// Bytes that do not count there.
    Void,
    /// Bytes that count there, by somebody else.
    Another,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    /// It may be there.
    Sent,
    /// It is there: it was created by what this process sent.
    There,
    /// Something is there.
    Taken,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flight<P, O> {
    ticket: Ticket,
    payload: P,
    at: Slot,
    sealed: Sealed<O>,
    fate: Fate,
}

/// The appends of one process to one journal that are not confirmed yet, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Writer<P, O> {
    rules: Rules,
    /// Whether this process has custody, by a change of its own that was checked.
    own: bool,
    /// After the last one that was confirmed.
    end: Position,
    next: Ticket,
    flights: VecDeque<Flight<P, O>>,
    /// A slot was passed over, and nothing was confirmed since.
    passing: bool,
    /// The first append that is lost: those before it were confirmed.
    lost: Option<Ticket>,
}

impl<P, O: Clone> Writer<P, O> {
    /// A writer that goes on from here, without custody so far.
    pub const fn new(rules: Rules, end: Position) -> Self {
        Self { rules, own: false, end, next: Ticket(0), flights: VecDeque::new(), passing: false, lost: None }
    }

    /// A writer that goes on from here, with custody: whoever begins an agent.
    pub const fn owning(rules: Rules, end: Position) -> Self {
        let mut writer = Self::new(rules, end);
        writer.own = true;
        writer
    }

    /// Whether an append may begin, one that changes custody or another.
    pub fn may_push(&self, changes: bool) -> Result<(), Refused> {
        match (self.is_lost(), changes) {
            (true, _) => Err(Refused::Lost),
            (_, true) if self.rules.forbid(Rule::ChangeAlone, !self.flights.is_empty()) => Err(Refused::Busy),
            (_, false) if self.rules.forbid(Rule::FenceFirst, !self.own) => Err(Refused::NotOwn),
            _ => Ok(()),
        }
    }

    /// Adds an append after all others. `seal` makes its bytes.
    pub fn push(
        &mut self,
        payload: P,
        changes: bool,
        seal: impl FnOnce(Position, &P) -> Sealed<O>,
    ) -> Result<Ticket, Refused> {
        self.may_push(changes)?;
        if changes {
            self.own = !self.rules.keep(Rule::ChangeAlone);
        }
        let ticket = self.next;
        self.next.0 += 1;
        let at = self.staged();
        let sealed = seal(at, &payload);
        self.flights.push_back(Flight { ticket, payload, at: at.number, sealed, fate: Fate::Sent });
        Ok(ticket)
    }

    /// A change of custody was confirmed, and stands at what was the journal's end: says who has it now.
    pub const fn changed(&mut self, own: bool) {
        self.own = own;
    }

    /// Whether this process has custody, as far as it knows.
    pub const fn is_own(&self) -> bool {
        self.own
    }

    /// Where the next append goes.
    pub fn staged(&self) -> Position {
        let after = |flight: &Flight<P, O>| Position { number: flight.at.next(), prev: flight.sealed.hash };
        self.flights.back().map_or(self.end, after)
    }

    /// After the last append that was confirmed.
    pub const fn confirmed(&self) -> Position {
        self.end
    }

    /// How many are not confirmed.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Those that are not confirmed, in their order.
    pub fn open(&self) -> impl Iterator<Item = Ticket> {
        self.flights.iter().map(|flight| flight.ticket)
    }

    /// Whether this writer is over.
    pub const fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// What is sent for an append that is not confirmed.
    pub fn sent(&self, ticket: Ticket) -> Option<&O> {
        self.flights.iter().find(|flight| flight.ticket == ticket).map(|flight| &flight.sealed.object)
    }

    /// What is to be done about an append now.
    pub fn turn(&self, ticket: Ticket) -> Turn<O> {
        let Some(index) = self.flights.iter().position(|flight| flight.ticket == ticket) else {
            return if self.lost.is_some_and(|first| ticket >= first) { Turn::Lost } else { Turn::Confirmed };
        };
        let Some(flight) = self.flights.get(index) else { return Turn::Lost };
        match flight.fate {
            Fate::Sent if self.passing && index > 0 => Turn::Wait,
            Fate::Sent => Turn::Put(flight.at, flight.sealed.object.clone()),
            Fate::Taken if index == 0 => Turn::Read(flight.at),
            Fate::Taken | Fate::There => Turn::Wait,
        }
    }

    /// What was sent for an append created its slot, or found it taken. Says what became confirmed, in order.
    pub fn answered(&mut self, ticket: Ticket, at: Slot, created: bool) -> Vec<Landed<P>> {
        let flight = self.flights.iter_mut().find(|flight| flight.ticket == ticket && flight.at == at);
        if let Some(flight) = flight.filter(|flight| flight.fate == Fate::Sent) {
            flight.fate = if created { Fate::There } else { Fate::Taken };
        }
        self.confirm()
    }

    /// What stands in the slot of the first append, which was taken. Says what became confirmed, in order. `seal` makes
    /// the bytes again of all that has to go elsewhere.
    pub fn found(&mut self, at: Slot, found: Found, seal: impl Fn(Position, &P) -> Sealed<O>) -> Vec<Landed<P>> {
        let Some(first) = self.flights.front_mut().filter(|first| first.at == at && first.fate == Fate::Taken) else {
            return Vec::new();
        };
        match found {
            Found::Nothing => first.fate = Fate::Sent,
            Found::Same => first.fate = Fate::There,
            Found::Void if self.rules.keep(Rule::PassOverVoid) => self.pass_over(at, seal),
            Found::Void | Found::Another => {
                self.lost = Some(first.ticket);
                self.flights.clear();
            }
        }
        self.confirm()
    }

    /// What stands in a slot does not count: everything from there on goes one further, and links anew.
    fn pass_over(&mut self, void: Slot, seal: impl Fn(Position, &P) -> Sealed<O>) {
        self.passing = true;
        let mut at = Position { number: void.next(), prev: self.end.prev };
        for flight in &mut self.flights {
            flight.sealed = seal(at, &flight.payload);
            (flight.at, flight.fate) = (at.number, Fate::Sent);
            at = Position { number: at.number.next(), prev: flight.sealed.hash };
        }
    }

    fn confirm(&mut self) -> Vec<Landed<P>> {
        let mut confirmed = Vec::new();
        while let Some(flight) = self.next_confirmed().and_then(|index| self.flights.remove(index)) {
            let from = self.end.number;
            self.passing = false;
            self.end = Position { number: flight.at.next(), prev: flight.sealed.hash };
            confirmed.push(Landed { payload: flight.payload, from, at: flight.at, next: self.end });
        }
        confirmed
    }

    /// The append that is confirmed next: the first, once it is there.
    fn next_confirmed(&self) -> Option<usize> {
        let index = self.flights.iter().position(|flight| flight.fate == Fate::There)?;
        (!self.rules.forbid(Rule::LowerFirst, index > 0)).then_some(index)
    }
}
