//! Money, orders and bills: exact over random histories, and nothing that a dishonest host signs passes.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod samples;

use igor_protocol::{
    AgentId, Commit, Credits, Entry, Fuel, Hash, KeyPair, Manifest, Nanos, Seq, Terms, Tick,
    entry::{Action, Body, Call, EndCause, Failure, GenesisBody, Order, OrderBody, Outcome, Run, Seal, Trigger},
    ledger::Fault,
    verify::{Bad, Verifier},
};
use proptest::{collection::vec, prelude::*};
use samples::life::{DONE, Life, LifeBlobs, Step, started};

fn verify<'a>(commits: impl IntoIterator<Item = &'a Commit>) -> Result<Verifier, Bad> {
    let mut verifier = Verifier::new();
    for commit in commits {
        verifier.push(commit, &LifeBlobs)?;
    }
    Ok(verifier)
}

fn units(units: u128) -> Credits {
    Credits::from_units(units)
}

/// What may happen to an agent.
#[derive(Clone, Debug)]
enum Event {
    Tick { fuel: u64, duration_ns: u64 },
    FailedTick { fuel: u64, duration_ns: u64 },
    Checkpoint,
    Fund { units: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    let (fuel, duration_ns) = (|| 0u64..1_000_000, || 0u64..1_000_000);
    prop_oneof![
        6 => (fuel(), duration_ns()).prop_map(|(fuel, duration_ns)| Event::Tick { fuel, duration_ns }),
        2 => (fuel(), duration_ns()).prop_map(|(fuel, duration_ns)| Event::FailedTick { fuel, duration_ns }),
        1 => Just(Event::Checkpoint),
        2 => (1u64..10_000_000).prop_map(|units| Event::Fund { units }),
    ]
}

/// Money as a child would keep it: what came in, what went out.
struct Purse {
    terms: Terms,
    funded: u128,
    spent: u128,
    orders: u64,
}

impl Purse {
    /// The run with its cost; one that cannot be paid pays what is left, and does not count if it is a tick.
    fn pay(&mut self, run: Run) -> Run {
        let ceiling = Manifest::default().ceiling.of(run.fuel, run.hostcalls());
        let bill = self.terms.bill(run.duration, ceiling, run.fuel).units();
        let left = self.funded - self.spent;
        let cost = bill.min(left);
        self.spent += cost;
        let outcome = if bill > left && run.call.is_tick() {
            Outcome::failed(Failure::OutOfMoney, "the balance ended")
        } else {
            run.outcome
        };
        Run { cost: units(cost), outcome, ..run }
    }
}

fn timed(call: Call, outcome: Outcome, fuel: u64, duration_ns: u64) -> Run {
    Run { fuel: Fuel(fuel), duration: Nanos(duration_ns), ..samples::run(call, outcome) }
}

fn happen(life: &mut Life, purse: &mut Purse, event: &Event) {
    let tick = Call::Tick(Trigger::Interval);
    let steps = match *event {
        Event::Fund { units: more } => {
            purse.funded += u128::from(more);
            purse.orders += 1;
            let (agent, action) = (life.book.agent(), Action::Fund { total: units(purse.funded) });
            let body = OrderBody { agent, term: 0, counter: purse.orders, at: life.now, action };
            vec![Step::Other(Body::Order(body.sign(&samples::owner())))]
        }
        _ if !life.book.ledger().is_live() => return,
        Event::Tick { fuel, duration_ns } => vec![Step::Run(purse.pay(timed(tick, DONE, fuel, duration_ns)))],
        Event::FailedTick { fuel, duration_ns } => {
            let outcome = Outcome::failed(Failure::Trap, "unreachable executed");
            vec![Step::Run(purse.pay(timed(tick, outcome, fuel, duration_ns)))]
        }
        Event::Checkpoint if life.book.ledger().checkpoint_tried == Some(life.book.ledger().tick) => return,
        Event::Checkpoint => {
            let taken = purse.pay(samples::run(Call::Checkpoint, DONE));
            vec![Step::Run(taken), Step::Run(purse.pay(started(Call::Resume))), Step::Checkpoint]
        }
    };
    life.commit(steps);
    if life.book.ledger().is_live() && purse.funded == purse.spent {
        life.commit(vec![Step::Other(Body::End(EndCause::Exhausted))]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn money_is_conserved_over_random_histories(
        budget in 1u64..3_000_000, price_per_ns in 0u64..3, price_per_fuel in 0u64..3, events in vec(event(), 1..30),
    ) {
        let terms = Terms { price_per_ns, price_per_fuel };
        let body = GenesisBody { terms, budget: units(budget.into()), ..samples::genesis().body };
        let mut purse = Purse { terms, funded: budget.into(), spent: 0, orders: 0 };
        let init = purse.pay(started(Call::Init));
        let mut life = Life::begin_as(body.sign(&samples::owner(), &samples::node()), vec![Step::Run(init)]);
        for event in &events {
            happen(&mut life, &mut purse, event);
            let ledger = life.book.ledger();
            prop_assert_eq!(ledger.funded.units(), purse.funded);
            prop_assert_eq!(ledger.spent.units(), purse.spent);
            prop_assert_eq!(ledger.balance.units(), purse.funded - purse.spent);
        }
        let verified = verify(&life.commits);
        prop_assert_eq!(verified.as_ref().map(|v| v.book().map(|b| b.ledger().clone())), Ok(Some(life.book.ledger().clone())));
    }
}

/// What becomes of one more entry at the end of a short life, chained and sealed by its own custodian.
fn forge(body: Body) -> Option<(Seq, Fault)> {
    let mut life = Life::begin(vec![Step::Run(started(Call::Init))]);
    let first = life.book.chain();
    let at = life.later();
    let entry = Entry { at, body };
    let entry_bytes = entry.encode();
    let end = first.link(&entry_bytes);
    let seal = Seal::sign(&samples::node(), &end.agent, end.epoch, first.next, &end.head);
    let seal = Entry { at, body: Body::Seal(seal) };
    life.commits.push(Commit::new(first, [&entry, &seal]));
    verify(&life.commits).err().map(|bad| (bad.seq, bad.fault))
}

fn next_tick() -> Run {
    Run { tick: Tick(1), started_seq: Seq(3), ..samples::run(Call::Tick(Trigger::Interval), DONE) }
}

#[test]
fn a_cost_that_is_not_the_bill_is_refused_by_name() {
    let honest = next_tick();
    assert_eq!(forge(Body::Run(honest.clone())), None);
    let (fair, unit) = (honest.cost, units(1));
    let more = Run { cost: fair.checked_add(unit).unwrap(), ..honest.clone() };
    assert_eq!(forge(Body::Run(more.clone())), Some((Seq(3), Fault::Bill { charged: more.cost, allowed: fair })));
    let less = Run { cost: fair.checked_sub(unit).unwrap(), ..honest.clone() };
    assert_eq!(forge(Body::Run(less.clone())), Some((Seq(3), Fault::Bill { charged: less.cost, allowed: fair })));
}

/// However long the host says that it took.
#[test]
fn a_bill_above_the_ceiling_is_refused_by_name() {
    // 1 ms for the run and 2 ns for each of its 123,456 fuel; no hostcall.
    let ceiling = Manifest::default().ceiling;
    let top = ceiling.of(Fuel(123_456), 0);
    assert_eq!(top, Nanos(1_246_912));
    let slow = Run { duration: Nanos(1_500_000), ..next_tick() };
    let mut life = Life::begin(vec![Step::Run(started(Call::Init))]);
    life.later();
    life.later();
    let allowed = life.book.genesis().terms.bill(slow.duration, top, slow.fuel);
    assert_eq!(allowed, units(1_246_912 * 1_000_000_000), "the ceiling, not the time");
    life.commit(vec![Step::Run(Run { cost: allowed, ..slow.clone() })]);
    assert!(verify(&life.commits).is_ok());
    let charged = units(1_500_000 * 1_000_000_000);
    let mut draft = life.book.draft();
    let at = life.later().after(Nanos(9_000_000));
    let (tick, started_seq) = (Tick(2), life.book.chain().next);
    let entry = Entry { at, body: Body::Run(Run { cost: charged, tick, started_seq, ..slow }) };
    assert_eq!(life.book.push(&mut draft, entry), Err(Fault::Bill { charged, allowed }));
}

#[test]
fn a_run_that_lasts_longer_than_the_time_since_the_one_before_is_refused() {
    let run = Run { duration: Nanos(3_000_000), ..next_tick() };
    assert_eq!(
        forge(Body::Run(run)),
        Some((Seq(3), Fault::Time("a run lasts longer than the time since the run before it")))
    );
}

/// An order, refused with these words; none if it counts.
fn check_order(order: Order, refused: Option<Fault>) {
    assert_eq!(forge(Body::Order(order)), refused.map(|fault| (Seq(3), fault)));
}

#[test]
fn a_stale_repeated_or_foreign_order_is_refused() {
    let recall =
        || OrderBody { agent: samples::agent(), term: 0, counter: 1, at: samples::START, action: Action::Recall };
    let fund = |total: &str| OrderBody { action: Action::Fund { total: total.parse().unwrap() }, ..recall() };
    let owner = samples::owner();
    check_order(recall().sign(&owner), None);
    check_order(fund("12.500000000000000001").sign(&owner), None);

    let other = AgentId(Hash::of_blob(b"another"));
    let foreign = OrderBody { agent: other, ..recall() };
    check_order(foreign.sign(&owner), Some(Fault::Order("it is for another agent")));
    let branch = OrderBody { term: 1, ..recall() };
    check_order(branch.sign(&owner), Some(Fault::Order("it is for another branch: its term is not the journal's")));
    check_order(recall().sign(&KeyPair::from_seed(&[9; 32])), Some(Fault::Signature("the order")));
    check_order(recall().sign(&samples::node()), Some(Fault::Signature("the order")));
    let stale = "its counter is not above that of the last order: it was given before, or is stale";
    check_order(OrderBody { counter: 0, ..recall() }.sign(&owner), Some(Fault::Order(stale)));
    for total in ["12.5", "3"] {
        let fault = Fault::Order("its total is not above what was funded before");
        check_order(fund(total).sign(&owner), Some(fault));
    }

    let mut life = Life::begin(vec![Step::Run(started(Call::Init))]);
    let order = fund("20").sign(&owner);
    life.commit(vec![Step::Other(Body::Order(order.clone()))]);
    let mut draft = life.book.draft();
    let again = Entry { at: life.later(), body: Body::Order(order) };
    assert_eq!(life.book.push(&mut draft, again), Err(Fault::Order(stale)), "the same order twice");
}

#[test]
fn an_agent_that_has_money_does_not_end_exhausted_and_one_that_ended_is_revived_by_funding_only() {
    let place = Fault::Place("nothing in the journal ends the agent for this cause");
    for cause in [EndCause::Exhausted, EndCause::Completed, EndCause::Recalled] {
        assert_eq!(forge(Body::End(cause)), Some((Seq(3), place.clone())));
    }
    let terms = Terms { price_per_ns: 1_000_000_000, price_per_fuel: 0 };
    let poor = GenesisBody { terms, budget: samples::run(Call::Init, DONE).cost, ..samples::genesis().body };
    let init = Step::Run(started(Call::Init));
    let mut life = Life::begin_as(poor.sign(&samples::owner(), &samples::node()), vec![init]);
    assert_eq!(life.book.ledger().balance, Credits::ZERO);
    life.commit(vec![Step::Other(Body::End(EndCause::Exhausted))]);
    let (agent, action) = (life.book.agent(), Action::Fund { total: "1".parse().unwrap() });
    let tick = Run { tick: Tick(1), started_seq: life.book.chain().next, ..next_tick() };
    let entry = Entry { at: life.later(), body: Body::Run(tick) };
    let mut dead = life.book.clone();
    assert_eq!(dead.push(&mut dead.draft(), entry), Err(Fault::Place("the agent has ended")));
    let fund = OrderBody { agent, term: 0, counter: 1, at: life.now, action }.sign(&samples::owner());
    life.commit(vec![Step::Other(Body::Order(fund))]);
    assert!(life.book.ledger().is_live());
    life.commit(vec![Step::Run(samples::run(Call::Tick(Trigger::Interval), DONE))]);
    assert!(verify(&life.commits).is_ok());
}
