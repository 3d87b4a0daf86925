//! Slots: their bytes, which of them count, and a writer whose puts come late, twice or never.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod samples;

use igor_protocol::{
    Chain, Commit, Hash, KeyPair, Nanos, Signature, Slot, Terms, codec,
    custody::Held,
    entry::{Action, Body, Call, Entry, OrderBody, Phase, StoreKind},
    slot::{
        Ask, Counts, End, Found, Harvest, Judged, Nonce, Object, Place, Position, Reader, Refused, Rules, Sealed,
        Ticket, Turn, Void, Writer,
    },
};
use proptest::prelude::*;
use samples::{
    HOST_TERMS, STORE, host,
    life::{Life, Step, started},
    node, owner, shared_genesis,
};
use std::collections::BTreeMap;

const NONCE: Nonce = Nonce([6; 16]);

fn stranger() -> KeyPair {
    KeyPair::from_seed(&[9; 32])
}

/// A life in a bucket, and the end of its slots: one slot each commit.
fn shared() -> (Life, End) {
    let life = Life::begin_as(shared_genesis(), vec![Step::Run(started(Call::Init))]);
    let mut end: Option<End> = None;
    let mut held = None;
    for commit in &life.commits {
        let at = end.map_or(Position { number: Slot(0), prev: Hash::ZERO }, |end| end.next);
        let object = Object::sign(at, NONCE, commit.clone(), &node());
        let bytes = object.encode();
        let counts = match (end, &held) {
            (Some(end), Some(held)) => end.judge(&object, &bytes, held, &owner().public()),
            _ => End::judge_first(&object, &bytes, StoreKind::Bucket(STORE)),
        };
        end = Some(counts.unwrap().end);
        // Of what changes no custody only the chain matters here.
        held = Some(Held { chain: commit.end(), ..life.book.held() });
    }
    (life, end.unwrap())
}

fn judge(end: &End, held: &Held, object: &Object) -> Result<Counts, Void> {
    let bytes = object.encode();
    let read = Object::decode(&bytes).unwrap();
    assert_eq!(read, *object, "what is read is what was written");
    end.judge(&read, &bytes, held, &owner().public())
}

/// One entry as a commit at the end of a life, in the epoch that it begins.
fn commit(held: &Held, body: Body) -> Commit {
    let epoch = if let Body::Custody(record) = &body { record.phase.epoch() } else { held.chain.epoch };
    let at = if let Body::Custody(record) = &body { record.phase.place().unwrap().at } else { held.at };
    Commit::new(Chain { epoch, ..held.chain }, [&Entry { at, body }])
}

fn recall(held: &Held) -> Body {
    let body = OrderBody { agent: held.chain.agent, term: 0, counter: 1, at: held.at, action: Action::Recall };
    Body::Order(body.sign(&owner()))
}

#[test]
fn what_is_cut_or_changed_anywhere_is_no_slot_of_its_writer() {
    let (life, end) = shared();
    let held = life.book.held();
    let object = Object::sign(end.next, NONCE, commit(&held, recall(&held)), &node());
    assert!(judge(&end, &held, &object).is_ok());
    let bytes = object.encode();
    for at in 0..bytes.len() {
        assert!(Object::decode(&bytes[..at]).is_err(), "cut at {at}");
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        if let Ok(read) = Object::decode(&changed) {
            assert!(end.judge(&read, &changed, &held, &owner().public()).is_err(), "changed at {at}");
        }
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(Object::decode(&longer), Err(codec::Error::NotCanonical { what: "slot" }));
}

#[test]
fn a_slot_counts_by_who_wrote_it_and_what_it_links_to() {
    let (life, end) = shared();
    let held = life.book.held();
    let data = commit(&held, recall(&held));
    let write = |at: Position, nonce, by: &KeyPair| Object::sign(at, nonce, data.clone(), by);
    let good = judge(&end, &held, &write(end.next, NONCE, &node())).unwrap();
    assert_eq!((good.change, good.end.next.number), (None, end.next.number.next()));

    let why = |object: &Object| judge(&end, &held, object).unwrap_err();
    let unlinked = Position { prev: Hash::ZERO, ..end.next };
    assert_eq!(why(&write(unlinked, NONCE, &node())), Void::Unlinked);
    let later = Position { number: end.next.number.next(), ..end.next };
    assert_eq!(why(&write(later, NONCE, &node())), Void::Misplaced);
    let other_process = why(&write(end.next, Nonce([8; 16]), &node()));
    assert_eq!(other_process, Void::NotPermitted("another process of this node has custody".into()));
    for by in [host(), stranger()] {
        let by_another = why(&write(end.next, NONCE, &by));
        assert_eq!(by_another, Void::NotPermitted("another node has custody".into()));
    }
    let pretended = Object { writer: node().public(), ..write(end.next, NONCE, &stranger()) };
    assert_eq!(why(&pretended), Void::Forged);
    let elsewhere =
        Commit::new(Chain { head: Hash::ZERO, ..held.chain }, [&Entry { at: held.at, body: recall(&held) }]);
    assert_eq!(why(&Object::sign(end.next, NONCE, elsewhere, &node())), Void::Unlinked);
}

#[test]
fn only_a_standby_or_the_custodian_itself_fences() {
    let (life, end) = shared();
    let held = life.book.held();
    let at = held.at.after(Nanos(1));
    let fence = |phase: Phase, by: &KeyPair, nonce| {
        let record = phase.sign(by);
        Object::sign(end.next, nonce, commit(&held, Body::Custody(record)), by)
    };
    let other = Nonce([8; 16]);
    let by_standby = held.fence(host().public(), HOST_TERMS, at).unwrap();
    let after = judge(&end, &held, &fence(by_standby, &host(), other)).unwrap();
    assert_eq!((after.end.nonce, after.change.unwrap().phase.epoch().to_string()), (other, "0.1".into()));
    let by_itself = held.fence(node().public(), held.standing.terms, at).unwrap();
    assert!(judge(&end, &held, &fence(by_itself, &node(), other)).is_ok());

    assert!(held.fence(stranger().public(), HOST_TERMS, at).is_err());
    assert!(held.fence(node().public(), HOST_TERMS, at).is_err(), "at terms that nobody agreed to");
    let on_disk = Held { store: StoreKind::Disk, ..held.clone() };
    assert!(on_disk.fence(host().public(), HOST_TERMS, at).is_err(), "nothing would decide who was first");
    // What a node would have to sign for that is void all the same.
    let place = *held.fence(host().public(), HOST_TERMS, at).unwrap().place().unwrap();
    let forged = Phase::Fence(igor_protocol::entry::Fence {
        place,
        from: node().public(),
        custodian: stranger().public(),
        terms: HOST_TERMS,
    });
    let void = judge(&end, &held, &fence(forged, &stranger(), other)).unwrap_err();
    assert!(matches!(void, Void::NotPermitted(_)), "{void}");
}

#[test]
fn after_a_handoff_nobody_appends_but_who_answers_or_fences() {
    let (life, end) = shared();
    let held = life.book.held();
    let at = held.at.after(Nanos(1));
    let given = held.handoff(host().public(), HOST_TERMS, at).unwrap().sign(&node());
    let handoff = commit(&held, Body::Custody(given.clone()));
    let object = Object::sign(end.next, NONCE, handoff.clone(), &node());
    let given_end = judge(&end, &held, &object).unwrap().end;
    let pending = samples::custody::after(&held, &given);
    assert_eq!(pending.chain, handoff.end());

    let data = Object::sign(given_end.next, NONCE, commit(&pending, recall(&pending)), &node());
    assert!(matches!(judge(&given_end, &pending, &data), Err(Void::NotPermitted(_))));
    let accept = pending.accept(at).unwrap().sign(&host());
    let accepted = commit(&pending, Body::Custody(accept));
    let nonce = Nonce([8; 16]);
    let object = Object::sign(given_end.next, nonce, accepted, &host());
    assert_eq!(judge(&given_end, &pending, &object).unwrap().end.nonce, nonce);
    let back = pending.fence(node().public(), pending.standing.terms, at).unwrap().sign(&node());
    let taken_back = Object::sign(given_end.next, nonce, commit(&pending, Body::Custody(back)), &node());
    assert!(judge(&given_end, &pending, &taken_back).is_ok(), "the slot has one of the two");
}

#[test]
fn only_its_own_genesis_begins_an_agent() {
    let (life, _) = shared();
    let agent = life.book.agent();
    let at = Position { number: Slot(0), prev: Hash::ZERO };
    let begin = |commit: &Commit, by: &KeyPair| {
        let object = Object::sign(at, NONCE, commit.clone(), by);
        End::judge_first(&object, &object.encode(), StoreKind::Bucket(STORE))
    };
    assert!(begin(&life.commits[0], &node()).is_ok());
    assert!(begin(&life.commits[0], &host()).is_err(), "only the first custodian");
    let mut forged = shared_genesis();
    forged.owner_signature = Signature([1; 64]);
    let forged = Commit::new(Chain::begin(agent), [&Entry { at: samples::START, body: Body::Genesis(forged) }]);
    assert!(begin(&forged, &node()).is_err());
    let on_disk = samples::genesis();
    let entry = Entry { at: samples::START, body: Body::Genesis(on_disk.clone()) };
    let commit = Commit::new(Chain::begin(on_disk.body.agent_id()), [&entry]);
    let object = Object::sign(at, NONCE, commit, &node());
    assert!(End::judge_first(&object, &object.encode(), StoreKind::Bucket(STORE)).is_err(), "it is not for a bucket");
}

#[test]
fn terms_of_a_standby_are_within_the_owners_policy() {
    let (life, _) = shared();
    let mut held = life.book.held();
    held.policy.terms_max = Some(HOST_TERMS);
    let dear = Terms { price_per_fuel: HOST_TERMS.price_per_fuel + 1, ..HOST_TERMS };
    assert!(held.fence(host().public(), HOST_TERMS, held.at).is_ok());
    assert!(held.fence(host().public(), dear, held.at).is_err());
}

// --- writers ------------------------------------------------------------------------------------------------------

/// A slot in a world where signatures are not needed: what it links to, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Toy {
    prev: Hash,
    writer: u8,
    payload: u32,
}

fn seal(writer: u8) -> impl Fn(Position, &u32) -> Sealed<Toy> {
    move |at, payload| {
        let hash = Hash::of_blob(format!("{at:?} {writer} {payload}").as_bytes());
        Sealed { object: Toy { prev: at.prev, writer, payload: *payload }, hash }
    }
}

/// What happens next, of what may.
#[derive(Clone, Debug)]
enum Happens {
    Push,
    /// The put of an append goes out: once more, if it did before.
    Send(u8),
    /// One that is on its way arrives. Its answer is lost, or not.
    Arrive(u8, bool),
    /// Somebody else writes what does not count into the next slot.
    Garbage,
    /// Somebody else goes on from here.
    Fence,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => Just(Happens::Push),
        6 => any::<u8>().prop_map(Happens::Send),
        8 => (any::<u8>(), any::<bool>()).prop_map(|(at, lost)| Happens::Arrive(at, lost)),
        1 => Just(Happens::Garbage),
        1 => Just(Happens::Fence),
    ]
}

#[derive(Default)]
struct World {
    slots: BTreeMap<Slot, Toy>,
    /// What counts, in order: whose, and what.
    canon: Vec<(u8, u32)>,
}

const OURS: u8 = 1;
const THEIRS: u8 = 2;

impl World {
    /// The fold that every reader does: what links, counts, as long as nobody fenced it off.
    fn fold(&mut self) -> Position {
        let mut end = Position { number: Slot(0), prev: Hash::ZERO };
        let mut owner = OURS;
        self.canon.clear();
        while let Some(toy) = self.slots.get(&end.number) {
            let counts = toy.prev == end.prev && (toy.writer == owner || toy.writer == THEIRS);
            let prev = if counts {
                owner = toy.writer;
                self.canon.push((toy.writer, toy.payload));
                seal(toy.writer)(end, &toy.payload).hash
            } else {
                end.prev
            };
            end = Position { number: end.number.next(), prev };
        }
        end
    }
}

#[test]
fn only_who_has_custody_appends_and_a_change_of_it_goes_alone() {
    let start = Position { number: Slot(0), prev: Hash::ZERO };
    let mut writer: Writer<u32, Toy> = Writer::new(Rules::ALL, start);
    assert_eq!(writer.push(1, false, seal(OURS)), Err(Refused::NotOwn));
    let change = writer.push(1, true, seal(OURS)).unwrap();
    assert_eq!(writer.push(2, true, seal(OURS)), Err(Refused::Busy));
    writer.answered(change, start.number, true);
    assert_eq!(writer.push(2, false, seal(OURS)), Err(Refused::NotOwn), "it was not checked yet");
    writer.changed(true);
    let next = writer.push(2, false, seal(OURS)).unwrap();
    assert_eq!(writer.push(3, true, seal(OURS)), Err(Refused::Busy));
    writer.answered(next, Slot(1), false);
    writer.found(Slot(1), Found::Another, seal(OURS));
    assert_eq!(writer.push(3, true, seal(OURS)), Err(Refused::Lost));
}

/// What stands in the way may be the next append itself, on its way to where it was to go before: two of them on their way
/// must not chase each other for ever.
#[test]
fn appends_that_have_to_go_further_are_not_in_each_others_way() {
    let mut writer: Writer<u32, Toy> = Writer::owning(Rules::ALL, Position { number: Slot(0), prev: Hash::ZERO });
    let mut taken: BTreeMap<Slot, Toy> = BTreeMap::new();
    taken.insert(Slot(0), Toy { prev: Hash::ZERO, writer: THEIRS, payload: 0 });
    let (first, second) = (writer.push(1, false, seal(OURS)).unwrap(), writer.push(2, false, seal(OURS)).unwrap());
    for _ in 0..10 {
        // The second always arrives before the first.
        for ticket in [second, first] {
            if let Turn::Put(at, toy) = writer.turn(ticket) {
                let created = !taken.contains_key(&at);
                taken.entry(at).or_insert(toy);
                writer.answered(ticket, at, created);
            }
        }
        if let Turn::Read(at) = writer.turn(first) {
            writer.found(at, Found::Void, seal(OURS));
        }
    }
    assert_eq!([writer.turn(first), writer.turn(second)], [Turn::Confirmed, Turn::Confirmed]);
    assert_eq!(taken.len(), 4, "what was in the way, what the second was at first, and both");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever is lost, late, doubled or in the way: what a writer confirms is what counts, in the order in which it
    /// was asked for, and nothing of it after somebody else went on.
    #[test]
    fn what_is_confirmed_counts(story in proptest::collection::vec(happens(), 1..80)) {
        let mut world = World::default();
        let mut writer: Writer<u32, Toy> =
            Writer::owning(Rules::ALL, Position { number: Slot(0), prev: Hash::ZERO });
        let (mut pushed, mut confirmed, mut tickets) = (0u32, Vec::new(), Vec::<Ticket>::new());
        let mut wire: Vec<(Ticket, Slot, Toy)> = Vec::new();
        let serve = |writer: &mut Writer<u32, Toy>, world: &World, confirmed: &mut Vec<u32>, tickets: &[Ticket]| {
            // Reads are answered at once: they change nothing.
            for ticket in tickets {
                if let Turn::Read(at) = writer.turn(*ticket) {
                    let here = writer.confirmed();
                    let found = match world.slots.get(&at) {
                        None => Found::Nothing,
                        Some(toy) if toy.writer == OURS && toy.prev == here.prev => Found::Same,
                        Some(toy) if toy.writer == THEIRS && toy.prev == here.prev => Found::Another,
                        Some(_) => Found::Void,
                    };
                    confirmed.extend(writer.found(at, found, seal(OURS)).into_iter().map(|landed| landed.payload));
                }
            }
        };
        for event in story {
            match event {
                Happens::Push if !writer.is_lost() && writer.in_flight() < 4 => {
                    tickets.push(writer.push(pushed, false, seal(OURS)).unwrap());
                    pushed += 1;
                }
                Happens::Send(pick) => {
                    let open: Vec<_> = tickets.iter().filter_map(|ticket| match writer.turn(*ticket) {
                        Turn::Put(at, toy) => Some((*ticket, at, toy)),
                        _ => None,
                    }).collect();
                    if let Some(put) = open.get(usize::from(pick) % open.len().max(1)) {
                        wire.push(put.clone());
                    }
                }
                Happens::Arrive(pick, lost) if !wire.is_empty() => {
                    let (ticket, at, toy) = wire.remove(usize::from(pick) % wire.len());
                    let created = !world.slots.contains_key(&at);
                    if created {
                        world.slots.insert(at, toy);
                    }
                    if !lost {
                        confirmed.extend(writer.answered(ticket, at, created).into_iter().map(|landed| landed.payload));
                    }
                }
                Happens::Push | Happens::Arrive(..) => {}
                Happens::Garbage => {
                    let at = world.fold().number;
                    world.slots.insert(at, Toy { prev: Hash::of_blob(b"garbage"), writer: 9, payload: 0 });
                }
                Happens::Fence => {
                    let end = world.fold();
                    world.slots.insert(end.number, Toy { prev: end.prev, writer: THEIRS, payload: 0 });
                }
            }
            serve(&mut writer, &world, &mut confirmed, &tickets);
            world.fold();
            let ours: Vec<u32> = world.canon.iter().filter(|(writer, _)| *writer == OURS).map(|(_, it)| *it).collect();
            prop_assert!(confirmed.len() <= ours.len(), "confirmed {:?}, but {:?} counts", confirmed, ours);
            prop_assert_eq!(&confirmed[..], &ours[..confirmed.len()]);
            prop_assert!((0u32..).zip(&ours).all(|(place, it)| place == *it), "in the order in which it was asked for: {:?}", ours);
        }
        // With everything sent again and answered it ends: all is confirmed, or the writer knows that it lost.
        for _ in 0..400 {
            let Some(open) = tickets.iter().find_map(|ticket| match writer.turn(*ticket) {
                Turn::Put(at, toy) => Some((*ticket, at, toy)),
                _ => None,
            }) else { break };
            let (ticket, at, toy) = open;
            let created = !world.slots.contains_key(&at);
            if created {
                world.slots.insert(at, toy);
            }
            confirmed.extend(writer.answered(ticket, at, created).into_iter().map(|landed| landed.payload));
            serve(&mut writer, &world, &mut confirmed, &tickets);
        }
        prop_assert!(writer.is_lost() || confirmed.len() == pushed as usize, "{:?} of {}", confirmed, pushed);
        world.fold();
        let theirs = world.canon.iter().any(|(writer, _)| *writer == THEIRS);
        prop_assert!(theirs || !writer.is_lost(), "nobody went on, and it lost");
    }
}

/// What is void between slots, and after the last of a bundle, stays.
#[test]
fn neither_the_first_slot_of_a_run_nor_void_ones_are_collected() {
    let mut harvest = Harvest::default();
    let place = Place { bundled: Slot(5), last: Slot(10), ..Place::first(NONCE) };
    let place = Place { end: End { run: Slot(4), ..place.end }, ..place };
    assert_eq!(harvest.due(Rules::ALL, &place, 1), None, "there is no checkpoint");
    harvest.confirmed(Slot(5), Slot(6), false);
    harvest.confirmed(Slot(7), Slot(7), false);
    harvest.confirmed(Slot(8), Slot(10), true);
    assert_eq!(harvest.due(Rules::ALL, &place, 6), None, "it is not worth a bundle");
    let due = harvest.due(Rules::ALL, &place, 5).unwrap();
    assert_eq!(due, Slot(5)..Slot(10));
    assert_eq!(harvest.counting(&due).collect::<Vec<_>>(), [Slot(6), Slot(7)]);
    assert_eq!(harvest.to_delete(Rules::ALL, &due, Slot(8)).collect::<Vec<_>>(), [Slot(6), Slot(7)]);
    assert_eq!(harvest.to_delete(Rules::ALL, &due, Slot(7)).collect::<Vec<_>>(), [Slot(6)], "the bundle is full");
    harvest.bundled(Slot(8));
    let place = Place { bundles: 1, bundled: Slot(8), ..place };
    assert_eq!(harvest.due(Rules::ALL, &place, 1), Some(Slot(8)..Slot(10)));
    assert_eq!(harvest.counting(&(Slot(8)..Slot(10))).next(), None);
}

/// A reader that found nothing does not take a bundle for read that comes just then.
#[test]
fn before_the_first_slot_no_bundle_is_asked_for() {
    let mut reader: Reader<(), u8> = Reader::new(Rules::ALL, Place::first(NONCE), ());
    reader.slot(None);
    assert_eq!(reader.ask(), Ask::Nothing);
}

/// A reader drops what it read ahead where a bundle has come since, and counts the bundle when all of it is kept.
#[test]
fn a_reader_believes_slots_only_after_it_asked_for_the_next_bundle() {
    let end = |number, byte| End {
        next: Position { number: Slot(number), prev: Hash([byte; 32]) },
        nonce: NONCE,
        run: Slot(0),
    };
    let judged = |number, byte| Judged { commit: byte, end: end(number, byte), at: () };
    let mut reader: Reader<(), u8> = Reader::new(Rules::ALL, Place::first(NONCE), ());
    assert_eq!(reader.ask(), Ask::Slot(Slot(0)));
    reader.slot(Some((1, Some(judged(1, 10)))));
    assert_eq!(reader.ask(), Ask::Keep, "the first slot is never collected");
    reader.kept();
    assert_eq!(reader.ask(), Ask::Slot(Slot(1)));
    reader.slot(Some((1, Some(judged(2, 99))))); // a ghost
    reader.slot(None);
    assert_eq!(reader.ask(), Ask::Bundle(Slot(0), 0));
    assert!(reader.bundle(Some(Some(Slot(3)))));
    let judge = |place: &Place, (): &(), byte| Some(judged(place.end.next.number.0 + 1, byte));
    assert!(!reader.pack(Slot(3), [(Slot(1), 11)], judge), "it does not come to its end");
    assert!(reader.pack(Slot(3), [(Slot(1), 11), (Slot(2), 12)], judge));
    for byte in [11, 12] {
        assert_eq!(reader.ask(), Ask::Keep);
        let next = reader.first().unwrap();
        assert_eq!((next.commit, next.place.bundles), (Some(byte), 0));
        reader.kept();
    }
    assert_eq!((reader.kept_to().0.bundles, reader.ask()), (1, Ask::Slot(Slot(3))));
    reader.slot(None);
    assert!(!reader.bundle(None));
    assert_eq!(reader.ask(), Ask::Nothing);
}
