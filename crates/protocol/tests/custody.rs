//! Entries of custody: where they stand, what they change, and that none is taken that is forged or misplaced.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod samples;

use igor_protocol::{
    Chain, Commit, Credits, Entry, Epoch, Hash, KeyPair, Manifest, Nanos, NodeId, Seq, Signature, Terms, Tick,
    custody::Held,
    entry::{Action, Body, Call, Custody, EndCause, GenesisBody, Order, OrderBody, Phase, Policy, Run, Seal, Trigger},
    ledger::{Book, Fault, Remembered},
    verify::{Bad, Verifier},
};
use samples::{
    HOST_TERMS,
    custody::{accept, decline, give_back, handoff, takeover},
    host,
    life::{DONE, Life, LifeBlobs, Step, started, tick_at},
    node, owner,
};

fn life() -> Life {
    Life::begin(vec![Step::Run(started(Call::Init))])
}

fn verify(commits: &[Commit]) -> Result<Verifier, Bad> {
    let mut verifier = Verifier::new();
    for commit in commits {
        verifier.push(commit, &LifeBlobs)?;
    }
    Ok(verifier)
}

/// What becomes of these entries at the end of a life, as one commit in this epoch.
fn judge(life: &Life, epoch: Epoch, entries: &[Entry]) -> Result<(), Fault> {
    let mut commits = life.commits.clone();
    commits.push(Commit::new(Chain { epoch, ..life.book.chain() }, entries));
    verify(&commits).map(drop).map_err(|bad| bad.fault)
}

/// What becomes of one record, in the epoch that it names.
fn judge_record(life: &Life, record: Custody) -> Result<(), Fault> {
    let at = record.phase.place().map_or(life.now, |place| place.at);
    judge(life, record.phase.epoch(), &[Entry { at, body: Body::Custody(record) }])
}

fn stranger() -> KeyPair {
    KeyPair::from_seed(&[9; 32])
}

#[test]
fn custody_terms_and_epochs_follow_the_entries() {
    let mut life = life();
    let standing = |life: &Life| {
        let held = life.book.held();
        (held.chain.epoch.to_string(), held.standing.custodian, held.standing.terms, life.book.is_given())
    };
    let first = (node().public(), life.book.genesis().terms);
    assert_eq!(standing(&life), ("0.0".into(), first.0, first.1, false));
    life.give(&host());
    assert_eq!(standing(&life), ("0.1".into(), first.0, first.1, true));
    life.decline(&host());
    assert_eq!(standing(&life), ("0.2".into(), first.0, first.1, false), "its earlier terms");
    life.give(&host());
    life.accept(&host());
    assert_eq!(standing(&life), ("0.3".into(), host().public(), HOST_TERMS, false));
    let dear = Terms { price_per_ns: 7, price_per_fuel: 7 };
    life.take_over(4, &node(), dear);
    assert_eq!(standing(&life), ("4.0".into(), first.0, dear, false));
    life.give(&host());
    life.accept(&host());
    assert_eq!(standing(&life), ("4.1".into(), host().public(), HOST_TERMS, false));
    let proofs: Vec<&str> = life.book.held().standing.proofs.iter().map(|record| record.phase.name()).collect();
    assert_eq!(proofs, ["takeover", "accept"]);
    let verified = verify(&life.commits).unwrap();
    let report = verified.report().unwrap();
    assert_eq!(verified.book().unwrap().ledger(), life.book.ledger());
    assert_eq!(report.sealed.map(|seq| seq.0 + 1), Some(report.entries), "a custody entry seals itself");
}

#[test]
fn a_run_is_billed_by_the_terms_of_its_own_custodian() {
    let mut life = life();
    let first = life.book.terms();
    life.give(&host());
    life.accept(&host());
    life.commit_as(&host(), vec![Step::Run(tick_at(HOST_TERMS))]);
    let (charged, allowed) = (tick_at(first).cost, tick_at(HOST_TERMS).cost);
    life.now = life.now.after(Nanos::from_secs(1));
    let mut draft = life.book.draft();
    life.now = life.now.after(igor_protocol::Nanos::from_millis(20));
    let (at, started_seq) = (life.later(), life.book.chain().next);
    let run = Run { tick: Tick(2), started_seq, ..tick_at(first) };
    let pushed = life.book.push(&mut draft, Entry { at, body: Body::Run(run) });
    assert_eq!(pushed, Err(Fault::Bill { charged, allowed }));
}

#[test]
fn seals_and_receipts_of_the_node_before_are_refused() {
    let mut life = life();
    life.give(&host());
    life.accept(&host());
    let (at, chain) = (life.later(), life.book.chain());
    let seal = |by: &KeyPair| {
        let last = Seq(chain.next.0 - 1);
        Entry { at, body: Body::Seal(Seal::sign(by, &chain.agent, chain.epoch, last, &chain.head)) }
    };
    assert_eq!(judge(&life, chain.epoch, &[seal(&node())]), Err(Fault::Signature("the seal")));
    assert_eq!(judge(&life, chain.epoch, &[seal(&host())]), Ok(()));

    let mut draft = life.book.draft();
    life.commit_as(&host(), vec![Step::Run(tick_at(HOST_TERMS))]);
    for call in [Call::Checkpoint, Call::Resume] {
        let run = match call {
            Call::Resume => started(call),
            _ => samples::run(call, DONE),
        };
        let (at, started_seq, tick) = (life.later(), life.book.chain().next, life.book.ledger().tick);
        let cost = tick_at(HOST_TERMS).cost;
        let (fuel, duration) = (tick_at(HOST_TERMS).fuel, tick_at(HOST_TERMS).duration);
        let run = Run { tick, started_seq, cost, fuel, duration, ..run };
        life.book.push(&mut draft, Entry { at, body: Body::Run(run) }).unwrap();
    }
    let at = life.later();
    let pushed = life.book.push_checkpoint(&mut draft, &node(), Hash::ZERO, 1, at);
    assert_eq!(pushed, Err(Fault::Signature("the receipt")));
}

#[test]
fn after_a_handoff_only_its_answer_or_a_takeover_follows() {
    let mut life = life();
    life.give(&host());
    let (at, chain) = (life.later(), life.book.chain());
    let place = Fault::Place("after a handoff only its answer or a takeover follows");
    let recall = OrderBody { agent: chain.agent, term: 0, counter: 1, at, action: Action::Recall }.sign(&owner());
    for body in [
        Body::Run(tick_at(HOST_TERMS)),
        Body::Order(recall),
        Body::Seal(life.book.seal(&node())),
        Body::Seal(life.book.seal(&host())),
        Body::End(EndCause::Exhausted),
    ] {
        assert_eq!(judge(&life, chain.epoch, &[Entry { at, body }]), Err(place.clone()));
    }
    let held = life.book.held();
    assert_eq!(
        held.handoff(host().public(), HOST_TERMS, at),
        Err(Fault::Custody("it was given away before")),
        "not even to the same node"
    );
    assert_eq!(judge_record(&life, held.accept(at).unwrap().sign(&host())), Ok(()));
}

#[test]
fn records_by_the_wrong_node_are_refused() {
    let mut life = life();
    let at = life.later();
    let signed = Err(Fault::Signature("the custody record"));
    let handoff = life.book.held().handoff(host().public(), HOST_TERMS, at).unwrap();
    for by in [host(), stranger(), owner()] {
        assert_eq!(judge_record(&life, handoff.clone().sign(&by)), signed);
    }
    let Phase::Handoff(mut own) = handoff else { panic!("a handoff") };
    own.from = stranger().public();
    let not_its = Err(Fault::Custody("only its custodian gives an agent away"));
    assert_eq!(judge_record(&life, Phase::Handoff(own).sign(&stranger())), not_its);
    own.from = node().public();
    own.to = node().public();
    assert_eq!(
        judge_record(&life, Phase::Handoff(own).sign(&node())),
        Err(Fault::Custody("the agent lives on that node already"))
    );

    life.give(&host());
    let (held, at) = (life.book.held(), life.later());
    for by in [node(), stranger(), owner()] {
        assert_eq!(judge_record(&life, held.accept(at).unwrap().sign(&by)), signed);
    }
    let declined = held.decline(at).unwrap().sign(&host()).declined().unwrap();
    let back = held.give_back(declined, at).unwrap();
    assert_eq!(judge_record(&life, back.clone().sign(&host())), signed);
    assert_eq!(judge_record(&life, back.sign(&node())), Ok(()));
    let forged = held.decline(at).unwrap().sign(&node()).declined().unwrap();
    let back = held.give_back(forged, at).unwrap().sign(&node());
    assert_eq!(judge_record(&life, back), Err(Fault::Signature("the decline")), "silence is no decline");
    let decline = held.decline(at).unwrap().sign(&host());
    let alone = Err(Fault::Custody("a decline is no entry: it stands inside the return"));
    assert_eq!(judge(&life, held.chain.epoch, &[Entry { at, body: Body::Custody(decline) }]), alone);
}

#[test]
fn answers_to_another_handoff_are_refused() {
    let mut life = life();
    life.give(&host());
    let first = life.book.held();
    let at = life.later();
    let declined = first.decline(at).unwrap().sign(&host()).declined().unwrap();
    life.decline(&host());
    life.give(&host());
    let (held, at) = (life.book.held(), life.later());
    let other = Err(Fault::Custody("it does not answer the handoff before it"));
    assert_eq!(held.give_back(declined, at), other.clone(), "the decline of the handoff before");
    let Phase::Accept(mut accept) = held.accept(at).unwrap() else { panic!("an accept") };
    accept.given = first.standing.pending().unwrap();
    assert_eq!(judge_record(&life, Phase::Accept(accept).sign(&host())), other.map(drop));
}

#[test]
fn an_epoch_that_does_not_come_next_is_refused() {
    let mut life = life();
    let at = life.later();
    let next = Err(Fault::Custody("its epoch is not the one that comes next"));
    let Phase::Handoff(handoff) = life.book.held().handoff(host().public(), HOST_TERMS, at).unwrap() else {
        panic!("a handoff")
    };
    for epoch in [Epoch { term: 0, n: 0 }, Epoch { term: 0, n: 2 }, Epoch { term: 1, n: 0 }, Epoch { term: 1, n: 1 }] {
        let mut wrong = handoff;
        wrong.place.epoch = epoch;
        assert_eq!(judge_record(&life, Phase::Handoff(wrong).sign(&node())), next, "{epoch}");
    }
    let entry = Entry { at, body: Body::Custody(Phase::Handoff(handoff).sign(&node())) };
    let old = Err(Fault::Link("its epoch is not the one that its custody entry begins"));
    assert_eq!(judge(&life, Epoch::default(), &[entry]), old, "committed under the epoch before");
    let seal = Entry { at, body: Body::Seal(life.book.seal(&node())) };
    let link = Err(Fault::Link("its epoch is not the one that custody has"));
    assert_eq!(judge(&life, Epoch { term: 0, n: 1 }, &[seal]), link, "no entry raised it");
    life.give(&host());
    let Phase::Accept(mut accept) = life.book.held().accept(at).unwrap() else { panic!("an accept") };
    accept.place.epoch.n += 1;
    assert_eq!(judge_record(&life, Phase::Accept(accept).sign(&host())), next);
}

#[test]
fn a_record_for_another_place_time_or_agent_is_refused() {
    let mut life = life();
    let early = life.book.held().at;
    let at = life.later();
    let held = life.book.held();
    let Phase::Handoff(handoff) = held.handoff(host().public(), HOST_TERMS, at).unwrap() else { panic!("a handoff") };
    let elsewhere = Err(Fault::Custody("it was signed for another place"));
    let mut wrong = handoff;
    wrong.place.seq.0 += 1;
    assert_eq!(judge_record(&life, Phase::Handoff(wrong).sign(&node())), elsewhere);
    let mut wrong = handoff;
    wrong.place.prev = Hash::ZERO;
    assert_eq!(judge_record(&life, Phase::Handoff(wrong).sign(&node())), elsewhere);
    let mut wrong = handoff;
    wrong.place.agent.0.0[0] ^= 1;
    assert_eq!(judge_record(&life, Phase::Handoff(wrong).sign(&node())), elsewhere);
    let mut wrong = handoff;
    wrong.place.at.0 = early.0 - 1;
    let old = Fault::Time("an entry is older than the one before it");
    assert_eq!(judge_record(&life, Phase::Handoff(wrong).sign(&node())), Err(old));
    let record = Phase::Handoff(handoff).sign(&node());
    let later = Entry { at: at.after(Nanos(1)), body: Body::Custody(record.clone()) };
    let two = Fault::Time("a custody entry and what is signed in it have the same time");
    assert_eq!(judge(&life, handoff.place.epoch, &[later]), Err(two));
    let seal = Entry { at, body: Body::Seal(life.book.seal(&node())) };
    let chain = held.chain.link(&seal.encode());
    let Phase::Handoff(second) = Held { chain, ..held }.handoff(host().public(), HOST_TERMS, at).unwrap() else {
        panic!("a handoff")
    };
    let second = Entry { at, body: Body::Custody(Phase::Handoff(second).sign(&node())) };
    let first = Err(Fault::Place("a custody entry is the first of its commit"));
    assert_eq!(judge(&life, Epoch::default(), &[seal, second]), first);
}

#[test]
fn a_handoff_stands_on_a_seal() {
    let mut life = life();
    let (at, chain) = (life.later(), life.book.chain());
    let run = Run { tick: Tick(1), started_seq: chain.next, ..samples::run(Call::Tick(Trigger::Interval), DONE) };
    let mut draft = life.book.draft();
    life.book.push(&mut draft, Entry { at, body: Body::Run(run) }).unwrap();
    life.commits.push(life.book.commit(draft).unwrap());
    let handoff = life.book.held().handoff(host().public(), HOST_TERMS, at);
    assert_eq!(handoff, Err(Fault::Place("a seal stands before a handoff")));
}

/// The owner's policy: who may be custodian, and at which price.
#[test]
fn custody_outside_of_the_owners_policy_is_refused() {
    let terms_max = Some(HOST_TERMS);
    let terms = Terms { price_per_ns: 1, price_per_fuel: 0 };
    let policy = Policy { custodians: vec![host().public()], terms_max, ..Policy::default() };
    let body = GenesisBody { policy, terms, ..samples::genesis().body };
    let cost = Credits::from_units(78_901);
    let init = Run { cost, ..started(Call::Init) };
    let mut life = Life::begin_as(body.sign(&owner(), &node()), vec![Step::Run(init)]);
    let at = life.later();
    let held = life.book.held();
    let unnamed = Err(Fault::Custody("the owner's policy does not name the node"));
    assert_eq!(held.handoff(stranger().public(), HOST_TERMS, at), unnamed);
    let above = Err(Fault::Limit("the terms are above what the owner's policy allows"));
    for dear in [Terms { price_per_ns: 500_000_001, ..HOST_TERMS }, Terms { price_per_fuel: 4, ..HOST_TERMS }] {
        assert_eq!(held.handoff(host().public(), dear, at), above);
        assert_eq!(held.take_over(&order(&life, 5, 0, &host().public(), dear), at), above);
    }
    let stranger = order(&life, 5, 0, &stranger().public(), HOST_TERMS);
    assert_eq!(held.take_over(&stranger, at), unnamed, "not even by order: the policy is the owner's as well");
    life.give(&host());
    life.accept(&host());
    assert!(life.book.held().handoff(node().public(), HOST_TERMS, at).is_ok(), "the first one is always named");
}

/// A takeover order of the end of this life.
fn order(life: &Life, counter: u64, term: u64, custodian: &NodeId, terms: Terms) -> Order {
    let chain = life.book.chain();
    let (base_seq, base_head) = (Seq(chain.next.0 - 1), chain.head);
    let action = Action::Takeover { base_seq, base_head, custodian: *custodian, terms };
    OrderBody { agent: chain.agent, term, counter, at: life.now, action }.sign(&owner())
}

#[test]
fn a_takeover_needs_the_owners_order_for_just_this_place() {
    let mut life = life();
    let total = "20".parse().unwrap();
    life.commit(vec![Step::Other(Body::Order(samples::order(Action::Fund { total }, 3)))]);
    let (held, at) = (life.book.held(), life.later());
    let good = order(&life, 4, 0, &host().public(), HOST_TERMS);
    let phase = held.take_over(&good, at).unwrap();
    assert_eq!(judge_record(&life, phase.clone().sign(&host())), Ok(()));
    assert_eq!(judge_record(&life, phase.clone().sign(&node())), Err(Fault::Signature("the custody record")));

    let mut forged = good.clone();
    forged.signature = Signature([1; 64]);
    let forged = held.take_over(&forged, at).unwrap().sign(&host());
    assert_eq!(judge_record(&life, forged), Err(Fault::Signature("the takeover order")));
    let own = held.take_over(&good.body.clone().sign(&host()), at).unwrap().sign(&host());
    assert_eq!(judge_record(&life, own), Err(Fault::Signature("the takeover order")));

    let stale = order(&life, 3, 0, &host().public(), HOST_TERMS);
    let counter = Err(Fault::Order("its counter is not above that of the last order"));
    assert_eq!(held.take_over(&stale, at), counter);
    let branch = order(&life, 4, 1, &host().public(), HOST_TERMS);
    let term = Err(Fault::Order("it is for another branch: its term is not the journal's"));
    assert_eq!(held.take_over(&branch, at), term);

    let said = Err(Fault::Custody("the takeover is not what the order says"));
    let Phase::Takeover(takeover) = phase else { panic!("a takeover") };
    let mut other = takeover.clone();
    other.terms = Terms { price_per_ns: 1, price_per_fuel: 1 };
    assert_eq!(judge_record(&life, Phase::Takeover(other).sign(&host())), said);
    let mut other = takeover;
    other.custodian = node().public();
    assert_eq!(judge_record(&life, Phase::Takeover(other).sign(&node())), said);

    life.commit(vec![Step::Run(tick_at(life.book.terms()))]);
    let moved = Err(Fault::Custody("the journal here does not end at the base that the order names"));
    assert_eq!(life.book.held().take_over(&good, at), moved);
    let alone = Entry { at: life.later(), body: Body::Order(order(&life, 9, 0, &host().public(), HOST_TERMS)) };
    let place = Fault::Order("a takeover order stands in the custody entry of the node that carries it out");
    assert_eq!(judge(&life, Epoch::default(), &[alone]), Err(place));
}

/// An order counts on the branch of its term, so that funding is never counted on two.
#[test]
fn after_a_takeover_orders_of_the_old_branch_are_refused() {
    let mut life = life();
    life.take_over(4, &host(), HOST_TERMS);
    let (at, epoch) = (life.later(), life.book.chain().epoch);
    let recall = |term, counter| {
        let body = OrderBody { agent: samples::agent(), term, counter, at, action: Action::Recall };
        judge(&life, epoch, &[Entry { at, body: Body::Order(body.sign(&owner())) }])
    };
    assert_eq!(recall(4, 5), Ok(()));
    assert_eq!(recall(0, 5), Err(Fault::Order("it is for another branch: its term is not the journal's")));
    let stale = "its counter is not above that of the last order: it was given before, or is stale";
    assert_eq!(recall(4, 4), Err(Fault::Order(stale)));
}

/// An exhausted agent has a state that somebody keeps for its revival; the others are over.
#[test]
fn an_exhausted_agent_moves_and_one_that_is_over_does_not() {
    let body = GenesisBody { budget: samples::run(Call::Init, DONE).cost, ..samples::genesis().body };
    let mut poor = Life::begin_as(body.sign(&owner(), &node()), vec![Step::Run(started(Call::Init))]);
    poor.commit(vec![Step::Other(Body::End(EndCause::Exhausted))]);
    poor.give(&host());
    poor.accept(&host());
    let (agent, action) = (poor.book.agent(), Action::Fund { total: "1".parse().unwrap() });
    let fund = OrderBody { agent, term: 0, counter: 1, at: poor.now, action }.sign(&owner());
    poor.commit_as(&host(), vec![Step::Other(Body::Order(fund))]);
    poor.commit_as(&host(), vec![Step::Run(tick_at(HOST_TERMS))]);
    assert!(verify(&poor.commits).is_ok());

    let mut life = life();
    life.commit(vec![Step::Other(Body::Order(samples::order(Action::Recall, 1)))]);
    life.commit(vec![Step::Other(Body::End(EndCause::Recalled))]);
    let (held, at) = (life.book.held(), life.later());
    let over = Err(Fault::Place("the agent has ended"));
    assert_eq!(held.handoff(host().public(), HOST_TERMS, at), over);
    assert_eq!(held.take_over(&order(&life, 5, 0, &host().public(), HOST_TERMS), at), over);
}

/// A reader that begins at a checkpoint knows who has custody, and the proof.
#[test]
fn a_checkpoint_holds_the_custody() {
    let mut life = life();
    life.give(&host());
    life.accept(&host());
    life.commit_as(&host(), vec![Step::Run(tick_at(HOST_TERMS))]);
    let cost = |run| Run { cost: cost_at(&run), ..run };
    let (taken, resumed) = (cost(samples::run(Call::Checkpoint, DONE)), cost(started(Call::Resume)));
    life.commit_as(&host(), vec![Step::Run(taken), Step::Run(resumed), Step::Checkpoint]);
    let commit = life.commits.last().unwrap();
    let (seq, bytes) = commit.entries().nth(2).map(|(seq, _, bytes)| (seq, bytes)).unwrap();
    let Body::Checkpoint(checkpoint) = Entry::decode(bytes).unwrap().body else { panic!("a checkpoint") };
    let standing = checkpoint.ledger.custody.clone().unwrap();
    assert_eq!(standing.custodian, host().public());
    assert_eq!(standing.last().unwrap().check(&owner().public()), Ok(()));

    let chain = Chain { next: seq, head: commit.entries().nth(1).unwrap().1, ..commit.start() };
    let remembered = Remembered::default();
    let manifest = Manifest::default();
    let mut book = Book::before_checkpoint(&samples::genesis(), manifest, chain, &checkpoint, remembered).unwrap();
    book.apply_entries(commit, seq).unwrap();
    assert_eq!(book.held(), life.book.held());
}

fn cost_at(run: &Run) -> Credits {
    HOST_TERMS.bill(run.duration, Manifest::default().ceiling.of(run.fuel, 0), run.fuel)
}

/// Exhaustive: a record alone, as a stranger gets it. Whatever bit is changed, it is refused.
#[test]
fn every_single_bit_flip_in_a_record_is_detected() {
    for record in [handoff(), accept(), decline(), give_back(), takeover()] {
        assert_eq!(record.check(&owner().public()), Ok(()), "{}", record.phase.name());
        let bytes = record.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(read) = Custody::decode(&flipped) else { continue };
            assert!(read.check(&owner().public()).is_err(), "{}, bit {bit}", record.phase.name());
        }
    }
}

/// Signed by the right nodes, but about different things.
#[test]
fn a_record_whose_parts_do_not_fit_together_is_refused() {
    let refused = |phase: Phase, by: &KeyPair| phase.sign(by).check(&owner().public()).unwrap_err();
    let Phase::Accept(good) = accept().phase else { panic!("an accept") };
    let after = Fault::Custody("an accept stands right after the handoff that it accepts");
    let mut wrong = good;
    wrong.place.seq.0 += 1;
    assert_eq!(refused(Phase::Accept(wrong), &host()), after);
    let mut wrong = good;
    wrong.place.epoch.n += 1;
    assert_eq!(refused(Phase::Accept(wrong), &host()), after);
    let mut wrong = good;
    wrong.given.signature = Signature([0; 64]);
    assert_eq!(refused(Phase::Accept(wrong), &host()), Fault::Signature("the handoff"));

    let Phase::Return(good) = give_back().phase else { panic!("a return") };
    let mut wrong = good;
    wrong.place.epoch.n -= 1;
    let after = Fault::Custody("a return stands right after the handoff that was declined");
    assert_eq!(refused(Phase::Return(wrong), &node()), after, "in the epoch of the handoff");
    let mut wrong = good;
    wrong.declined.signature = Signature([0; 64]);
    assert_eq!(refused(Phase::Return(wrong), &node()), Fault::Signature("the decline"));

    let Phase::Takeover(good) = takeover().phase else { panic!("a takeover") };
    let mut wrong = good.clone();
    wrong.place.epoch.term += 1;
    let counter = Fault::Custody("the epoch of a takeover is the counter of its order, above the term before");
    assert_eq!(refused(Phase::Takeover(wrong), &host()), counter);
    let mut wrong = good;
    wrong.order = samples::order(Action::Recall, 7);
    let other = Fault::Custody("a takeover carries out a takeover order");
    assert_eq!(refused(Phase::Takeover(wrong), &host()), other);
}

/// Signed well, at a place that nothing could follow.
#[test]
fn a_record_at_the_end_of_all_numbers_is_refused() {
    let endless = Fault::Custody("no journal is so long");
    let mut handoff = *handoff().phase.handoff().expect("a handoff");
    handoff.place.seq = Seq(u64::MAX);
    let last = Phase::Handoff(handoff).sign(&node());
    let given = last.given().expect("a handoff");
    assert_eq!(last.check(&owner().public()), Err(endless.clone()));
    let Phase::Accept(good) = accept().phase else { panic!("an accept") };
    let accept = Phase::Accept(igor_protocol::entry::Accept { given, ..good });
    assert_eq!(accept.sign(&host()).check(&owner().public()), Err(endless));
}
