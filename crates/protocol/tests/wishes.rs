//! What an agent may be told of other nodes, and ask of its own: to be moved.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod samples;

use igor_protocol::{
    Entry, Manifest, Terms,
    entry::{Body, Call, Destination, GenesisBody, Listed, Observation, Outcome, Request, Run, Trigger},
    limits::NODES_LISTED_MAX,
};
use samples::{
    HOST_TERMS, genesis, host,
    life::{Life, Step, started, tick_at},
    node, owner,
};

fn terms() -> Terms {
    genesis().body.terms
}

/// An agent that was initialised, with or without the capability.
fn life(migrate: bool) -> Life {
    let mut manifest = Manifest::default();
    manifest.capabilities.migrate = migrate;
    let body = GenesisBody { manifest: manifest.hash(), ..genesis().body };
    Life::begin_with(body.sign(&owner(), &node()), manifest, vec![Step::Run(started(Call::Init))])
}

fn asks(to: Destination) -> Run {
    Run { requests: vec![Request::MigrateTo(to)], ..tick_at(terms()) }
}

fn sees(seen: Observation) -> Run {
    Run { observations: vec![seen], ..tick_at(terms()) }
}

/// What the rules say of a run that comes next.
fn judge(life: &mut Life, run: Run) -> Result<(), String> {
    let at = life.later();
    let mut book = life.book.clone();
    let (tick, started_seq) = (igor_protocol::Tick(book.ledger().tick.0 + 1), book.chain().next);
    let mut draft = book.draft();
    let pushed = book.push(&mut draft, Entry { at, body: Body::Run(Run { tick, started_seq, ..run }) });
    pushed.map(drop).map_err(|fault| fault.to_string())
}

#[track_caller]
fn refused(result: Result<(), String>, expected: &str) {
    let why = result.unwrap_err();
    assert!(why.contains(expected), "`{why}` does not say `{expected}`");
}

#[test]
fn a_wish_holds_until_the_next_tick_that_counts() {
    let mut life = life(true);
    let there = Destination::Node(host().public());
    let mut last_counts = asks(Destination::Anywhere);
    last_counts.requests.push(Request::MigrateTo(there));
    life.commit(vec![Step::Run(last_counts)]);
    assert_eq!(life.book.ledger().move_to, Some(there));
    let failed = Outcome::failed(igor_protocol::entry::Failure::Trap, "unreachable executed");
    let resumed = Call::Tick(Trigger::Resumed { gap: igor_protocol::Nanos::ZERO });
    life.now = life.now.after(igor_protocol::Nanos::from_secs(1));
    life.commit(vec![Step::Run(Run { call: resumed, outcome: failed, ..tick_at(terms()) })]);
    assert_eq!(life.book.ledger().move_to, Some(there), "a tick that failed has changed nothing");
    life.now = life.now.after(igor_protocol::Nanos::from_secs(1));
    life.commit(vec![Step::Run(tick_at(terms()))]);
    assert_eq!(life.book.ledger().move_to, None);
}

#[test]
fn a_change_of_custody_ends_a_wish() {
    let mut life = life(true);
    life.commit(vec![Step::Run(asks(Destination::Anywhere))]);
    assert_eq!(life.book.ledger().move_to, Some(Destination::Anywhere));
    life.give(&host());
    life.accept(&host());
    assert_eq!(life.book.ledger().move_to, None);
}

#[test]
fn nobody_has_it_unasked() {
    let here = Listed { node: node().public(), terms: terms() };
    for run in [asks(Destination::Anywhere), sees(Observation::Draining(false)), sees(Observation::Nodes(vec![here]))] {
        assert_eq!(judge(&mut life(true), run.clone()), Ok(()));
        refused(judge(&mut life(false), run), "capabilities.migrate");
    }
}

#[test]
fn a_list_begins_with_the_node_and_what_is_paid_there() {
    let here = Listed { node: node().public(), terms: terms() };
    let there = Listed { node: host().public(), terms: HOST_TERMS };
    let nodes = |list: Vec<Listed>| sees(Observation::Nodes(list));
    let mut full = vec![there; NODES_LISTED_MAX];
    full[0] = here;
    assert_eq!(judge(&mut life(true), nodes(full.clone())), Ok(()));
    full.push(there);
    refused(judge(&mut life(true), nodes(full)), "at most 16");
    for wrong in [vec![], vec![there, here], vec![Listed { terms: HOST_TERMS, ..here }]] {
        refused(judge(&mut life(true), nodes(wrong)), "the node that it is on");
    }
}

#[test]
fn a_list_reads_as_the_abi_says() {
    let list = [
        Listed { node: node().public(), terms: Terms { price_per_ns: 1_000_000, price_per_fuel: 2_500 } },
        Listed { node: host().public(), terms: Terms { price_per_ns: 1, price_per_fuel: 0 } },
    ];
    let (here, there) = (node().public(), host().public());
    assert_eq!(Listed::text(&list), format!("{here} 1000 2\n{there} 0 0\n"));
}
