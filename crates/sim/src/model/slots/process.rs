//! What a process does, step by step: the driver of the store (`igor_store::shared`) with nothing between its decisions,
//! which are the protocol's, and the bucket.
//!
//! Invariant kept here: a step is at most one request to the bucket, or one write to the disk. A request and its answer
//! are one step, since it makes no difference when an answer comes that says what is so anyway; that a request comes
//! late, twice or never, and that its answer is lost, is what happens to [`State::sent`].

use super::property::canon;
use super::state::{
    Bundle, BundleKey, Collecting, Disk, Known, Load, Mind, Node, NodeIx, Object, Standing, State, What, Wrong, judge,
};
use igor_protocol::{
    Slot,
    slot::{
        Ask, End, Found, Harvest, Landed, Next, Nonce, Place, Position, Reader, Rule, Rules, Sealed, Ticket, Turn,
        Writer,
    },
};
use std::collections::VecDeque;

/// Slots before a checkpoint that are worth a bundle.
const BUNDLE_SLOTS_MIN: u64 = 1;

/// The process that a node has now.
pub(super) fn nonce(ix: NodeIx, node: &Node) -> Nonce {
    let mut nonce = [0; 16];
    (nonce[0], nonce[1]) = (ix, node.boots);
    Nonce(nonce)
}

/// Seals what a process appends.
fn seal(writer: NodeIx, nonce: Nonce) -> impl Fn(Position, &Load) -> Sealed<Object> + Copy {
    move |at, load| {
        let object = Object { at, nonce, writer, load: *load };
        Sealed { object, hash: object.digest() }
    }
}

impl State {
    /// What a process knows, if it read the journal to its end.
    pub(super) fn known(&self, ix: NodeIx) -> Option<&Known> {
        match &self.node(ix).mind {
            Mind::Knows(known) => Some(known),
            Mind::Blank | Mind::Reading(_) => None,
        }
    }

    fn known_mut(&mut self, ix: NodeIx) -> Option<&mut Known> {
        match &mut self.node_mut(ix).mind {
            Mind::Knows(known) => Some(known),
            Mind::Blank | Mind::Reading(_) => None,
        }
    }

    /// Whether the next step of a process concerns nobody but itself: it may as well come at once.
    pub(super) fn is_alone(&self, ix: NodeIx) -> bool {
        match &self.node(ix).mind {
            Mind::Blank => false,
            Mind::Reading(reader) => reader.ask() == Ask::Keep,
            Mind::Knows(known) => !known.ready.is_empty(),
        }
    }

    /// Whether there is anything that a process has not read yet and does not write itself.
    pub(super) fn may_read(&self, ix: NodeIx) -> bool {
        let Some(known) = self.known(ix) else { return true };
        let Position { number, .. } = known.place.end.next;
        let is_idle = !known.writer.is_own() && known.writer.in_flight() == 0;
        is_idle
            && (self.slots.contains_key(&number)
                || self.bundles.contains_key(&(known.place.end.run, known.place.bundles)))
    }

    /// Reads what comes next, or writes what was read to the disk.
    pub(super) fn read(&mut self, rules: Rules, ix: NodeIx) {
        let node = self.node_mut(ix);
        let mut reader = match std::mem::take(&mut node.mind) {
            Mind::Reading(reader) => reader,
            Mind::Knows(known) => Box::new(Reader::new(rules, known.place, known.at)),
            Mind::Blank => {
                let first = Place::first(nonce(ix, node));
                let (place, at) = (node.disk.place.unwrap_or(first), standing_of(&node.disk));
                if at.is_some() && !self.is_there(&place) {
                    self.wrong = Some(Wrong::RolledBack);
                }
                Box::new(Reader::new(rules, place, at))
            }
        };
        if let (Ask::Keep, Some(next)) = (reader.ask(), reader.first()) {
            keep(&mut self.node_mut(ix).disk, next);
            reader.kept();
        } else if !look_up(rules, self, &mut reader) {
            self.wrong = Some(Wrong::RolledBack);
        }
        self.node_mut(ix).mind = if reader.ask() == Ask::Nothing {
            let (place, at) = reader.kept_to();
            Mind::Knows(Box::new(Known {
                place: *place,
                at: *at,
                writer: Writer::new(rules, place.end.next),
                harvest: Harvest::default(),
                before: *place,
                ready: VecDeque::new(),
                collecting: None,
            }))
        } else {
            Mind::Reading(reader)
        };
    }

    /// What was read last is in the bucket, as a slot or in a bundle.
    fn is_there(&self, place: &Place) -> bool {
        self.slots.get(&place.last).is_some_and(|object| object.digest() == place.end.next.prev)
            || place.may_be_collected(self.bundles.contains_key(&(place.end.run, place.bundles)))
    }

    /// A process with nothing here begins the agent.
    pub(super) fn begin(&mut self, rules: Rules, ix: NodeIx) {
        let place = Place::first(nonce(ix, self.node(ix)));
        self.node_mut(ix).mind = Mind::Knows(Box::new(Known {
            place,
            at: None,
            writer: Writer::owning(rules, place.end.next),
            harvest: Harvest::default(),
            before: place,
            ready: VecDeque::new(),
            collecting: None,
        }));
        self.push(rules, ix, What::Genesis);
    }

    /// A process asks for an append.
    pub(super) fn push(&mut self, rules: Rules, ix: NodeIx, what: What) -> bool {
        let (nonce, attempt) = (nonce(ix, self.node(ix)), self.node(ix).attempts);
        let Some(known) = self.known_mut(ix) else { return false };
        let raises = matches!(what, What::Fence | What::Handoff(_));
        let epoch = known.at.map_or(0, |at| at.epoch + u8::from(raises));
        let before = known.place;
        let Ok(ticket) = known.writer.push(Load { what, epoch, attempt }, what.changes(), seal(ix, nonce)) else {
            return false;
        };
        if what.changes() {
            known.before = before;
        }
        self.send(ix);
        if !rules.keep(Rule::ReleaseWhenThere) {
            self.answer(ix, ticket, true);
        }
        true
    }

    /// All that a process has not confirmed is on its way, once more.
    fn send(&mut self, ix: NodeIx) {
        let Some(known) = self.known(ix) else { return };
        let sent: Vec<Object> = known.writer.open().filter_map(|ticket| known.writer.sent(ticket)).copied().collect();
        self.sent.extend(sent);
    }

    /// A put arrives and is answered.
    pub(super) fn put(&mut self, ix: NodeIx, ticket: Ticket) -> bool {
        let Some(Turn::Put(_, object)) = self.known(ix).map(|known| known.writer.turn(ticket)) else { return false };
        let created = self.create(object);
        self.answer(ix, ticket, created);
        true
    }

    fn answer(&mut self, ix: NodeIx, ticket: Ticket, created: bool) {
        let Some(known) = self.known_mut(ix) else { return };
        let Turn::Put(at, _) = known.writer.turn(ticket) else { return };
        let landed = known.writer.answered(ticket, at, created);
        self.confirm(ix, landed);
    }

    /// A process reads what stands in its way.
    pub(super) fn look(&mut self, rules: Rules, ix: NodeIx) -> bool {
        let Some(known) = self.known(ix) else { return false };
        let Some((ticket, at)) = blocked(known) else { return false };
        let nonce = nonce(ix, self.node(ix));
        let end = End { next: Position { number: at, ..known.place.end.next }, ..known.place.end };
        let found = match self.slots.get(&at) {
            None => Found::Nothing,
            Some(object) if known.writer.sent(ticket) == Some(object) => Found::Same,
            Some(object) => match judge(rules, &end, known.at, object) {
                None => Found::Void,
                Some(_) => Found::Another,
            },
        };
        // Who begins an agent that there is already had no custody yet.
        let (last, was_own) = (known.place.last, known.writer.is_own() && known.place.has_begun());
        let Some(known) = self.known_mut(ix) else { return false };
        let landed = known.writer.found(at, found, seal(ix, nonce));
        if known.writer.is_lost() {
            let by_another = |object: &Object| object.load.what.changes() && object.nonce != nonce;
            let is_over = canon(self).iter().any(|object| object.at.number > last && by_another(object));
            if was_own && !is_over {
                self.wrong = Some(Wrong::LostForNothing);
            }
            self.node_mut(ix).mind = Mind::Blank; // whoever waits for it is told so, and reads again
            return true;
        }
        self.send(ix);
        self.confirm(ix, landed);
        true
    }

    fn confirm(&mut self, ix: NodeIx, landed: Vec<Landed<Load>>) {
        let nonce = nonce(ix, self.node(ix));
        for Landed { payload, from, at, next } in landed {
            let Some(object) = self.sent.iter().find(|object| object.digest() == next.prev).copied() else { continue };
            let Some(known) = self.known_mut(ix) else { continue };
            let begins = payload.what.changes() || at == Slot(0);
            let run = if begins { at } else { known.place.end.run };
            known.place = known.place.after(at, End { next, nonce, run });
            if begins {
                known.harvest = Harvest::default();
            } else {
                known.harvest.confirmed(from, at, payload.what == What::Checkpoint);
            }
            known.at = Some(Standing::after(known.at, &object));
            known.ready.push_back((object, known.place));
        }
    }

    /// What was confirmed goes to the disk, and who waits for it is answered. A change of custody is checked before, by who
    /// waits for it.
    pub(super) fn settle(&mut self, rules: Rules, ix: NodeIx) -> bool {
        let Some(known) = self.known(ix) else { return false };
        let Some((object, place)) = known.ready.front().copied() else { return false };
        if object.load.what.changes() && known.ready.len() == 1 {
            if rules.keep(Rule::CheckAfterChange) && self.went_on(&known.before) {
                self.node_mut(ix).mind = Mind::Blank;
                return true;
            }
            let pending = known.at.is_some_and(|at| at.pending.is_some());
            let own = known.at.is_some_and(|at| at.custodian == ix) && !rules.forbid(Rule::GivenIsGiven, pending);
            if let Some(known) = self.known_mut(ix) {
                known.writer.changed(own);
            }
        }
        if let Some(known) = self.known_mut(ix) {
            known.ready.pop_front();
        }
        let disk = &mut self.node_mut(ix).disk;
        disk.journal.push(object);
        disk.place = Some(place);
        self.acknowledged.insert(object);
        true
    }

    /// Whether slots were collected from a place on.
    fn went_on(&self, place: &Place) -> bool {
        let mut bundles = (place.bundles..).map_while(|index| self.bundles.get(&(place.end.run, index)));
        bundles.any(|bundle| place.has_gone_on(bundle.next))
    }

    /// A process begins to put slots together.
    pub(super) fn collect(&mut self, rules: Rules, ix: NodeIx) -> bool {
        let Some(known) = self.known(ix).filter(|known| known.writer.is_own() && known.collecting.is_none()) else {
            return false;
        };
        let Some(due) = known.harvest.due(rules, &known.place, BUNDLE_SLOTS_MIN) else { return false };
        let slots: Option<Vec<Object>> =
            known.harvest.counting(&due).map(|slot| self.slots.get(&slot).copied()).collect();
        let Some(slots) = slots.filter(|slots| !slots.is_empty()) else { return false };
        let Some(next) = slots.last().map(|last| last.at.number.next()) else { return false };
        let deletes = known.harvest.to_delete(rules, &due, next).collect();
        let key: BundleKey = (known.place.end.run, known.place.bundles);
        let collecting = Collecting { key, bundle: Bundle { next, slots }, is_there: false, deletes };
        if let Some(known) = self.known_mut(ix) {
            known.collecting = Some(collecting);
        }
        self.send_collecting(rules, ix);
        true
    }

    /// What a process collects goes on by one request: the bundle, then its slots.
    pub(super) fn collect_on(&mut self, rules: Rules, ix: NodeIx) -> bool {
        let Some(Collecting { key, bundle, is_there, deletes, .. }) =
            self.known(ix).and_then(|known| known.collecting.clone())
        else {
            return false;
        };
        if is_bundle_next(rules, is_there, &deletes) {
            let stands = self.bundles.entry(key).or_insert_with(|| bundle.clone()) == &bundle;
            let Some(known) = self.known_mut(ix) else { return false };
            if (known.place.end.run, known.place.bundles) == key {
                known.place.bundles += 1;
                if stands {
                    known.place.bundled = bundle.next;
                    known.harvest.bundled(bundle.next);
                }
            }
            match &mut known.collecting {
                Some(collecting) if stands => collecting.is_there = true,
                collecting => *collecting = None,
            }
        } else if let Some(slot) = deletes.front() {
            self.slots.remove(slot);
            if let Some(collecting) = self.known_mut(ix).and_then(|known| known.collecting.as_mut()) {
                collecting.deletes.pop_front();
            }
        }
        self.send_collecting(rules, ix);
        true
    }

    /// The next request of who collects is on its way, or nothing is left to do.
    fn send_collecting(&mut self, rules: Rules, ix: NodeIx) {
        let Some(known) = self.known_mut(ix) else { return };
        let Some(collecting) = known.collecting.clone() else { return };
        if is_bundle_next(rules, collecting.is_there, &collecting.deletes) {
            self.sent_bundles.insert(collecting.key, collecting.bundle);
        } else if let Some(slot) = collecting.deletes.front() {
            self.sent_deletes.insert(*slot);
        } else {
            known.collecting = None;
        }
    }

    /// A process does not wait any more for what it has on its way.
    pub(super) fn doubt(&mut self, rules: Rules, ix: NodeIx) {
        let node = self.node_mut(ix);
        node.attempts += 1;
        match &mut node.mind {
            // The mistake: it counts as not sent.
            Mind::Knows(known) if !rules.keep(Rule::DoubtForgets) && known.writer.is_own() => {
                known.writer = Writer::owning(rules, known.writer.confirmed());
            }
            mind => *mind = Mind::Blank,
        }
    }
}

/// The append that waits for what stands in its way to be read.
pub(super) fn blocked(known: &Known) -> Option<(Ticket, Slot)> {
    known.writer.open().find_map(|ticket| match known.writer.turn(ticket) {
        Turn::Read(at) => Some((ticket, at)),
        _ => None,
    })
}

fn is_bundle_next(rules: Rules, is_there: bool, deletes: &VecDeque<Slot>) -> bool {
    !is_there && (rules.keep(Rule::BundleFirst) || deletes.is_empty())
}

/// Asks the bucket for what a reader needs next. Says whether it goes on: a bundle that does not lead to its own end is one
/// whose slots are gone, for who believes the rules.
pub(super) fn look_up(rules: Rules, state: &State, reader: &mut Reader<Option<Standing>, Object>) -> bool {
    match reader.ask() {
        Ask::Slot(number) => {
            let (place, at) = reader.here();
            let found = state.slots.get(&number).map(|object| (0, judge(rules, &place.end, *at, object)));
            reader.slot(found);
        }
        Ask::Bundle(run, index) => {
            let bundle = state.bundles.get(&(run, index));
            if let Some(bundle) = bundle.filter(|bundle| reader.bundle(Some(Some(bundle.next)))) {
                let slots = bundle.slots.iter().map(|object| (object.at.number, object));
                return reader.pack(bundle.next, slots, |place, at, object| judge(rules, &place.end, *at, object));
            } else if bundle.is_none() {
                reader.bundle(None);
            }
        }
        Ask::Keep | Ask::Nothing => {}
    }
    true
}

/// What counts goes to the disk, with the note.
pub(super) fn keep(disk: &mut Disk, next: &Next<Option<Standing>, Object>) {
    if let Some(object) = next.commit {
        disk.journal.push(object);
        disk.place = Some(next.place);
    }
}

/// What a disk says of its journal's end.
fn standing_of(disk: &Disk) -> Option<Standing> {
    disk.journal.iter().fold(None, |at, object| Some(Standing::after(at, object)))
}

/// The first put that a process has to send.
pub(super) fn next_put(known: &Known) -> Option<Ticket> {
    known.writer.open().find(|ticket| matches!(known.writer.turn(*ticket), Turn::Put(..)))
}
