//! Between a node and its bucket: servers that lie are refused, and what breaks on the way loses and doubles nothing.

use crate::{
    home::{Home, STRATEGY, await_event, of},
    hosts::{Host, Owner, policy},
    lives::IDLE,
    stage::Actor,
};
use igor_bucket_testing::{Conditions, Fault, Faulty, Liar, Listings};
use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};
use tokio::runtime::{Builder, Runtime};

const PATIENCE: Duration = Duration::from_mins(2);
/// How long a fault lasts.
const SPELL: Duration = Duration::from_millis(1200);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Every way in which a request can break.
const FAULTS: [Fault; 8] = [
    Fault::Late(Duration::from_millis(150)),
    Fault::CutRequest,
    Fault::LoseAnswer,
    Fault::CutAnswer,
    Fault::Answer(503),
    Fault::Answer(429),
    Fault::Silent,
    Fault::Refuse,
];

#[test]
fn a_bucket_that_lies_is_refused_with_what_was_seen() {
    let runtime = runtime();
    let lies = [
        (Conditions::Ignored, "create it again"),
        // Two of eight at once see no object.
        (Conditions::Raced(Duration::from_millis(20)), "race"),
    ];
    for (lie, check) in lies {
        let server = runtime.block_on(Liar::start(lie, Listings::Fresh));
        let home = Home::in_bucket_at(&server.endpoint());
        let idle = home.wat("idle.wasm", IDLE);
        let words = ["cannot keep agents safe", check, "MinIO"];
        for args in [&["run", &idle, "--ticks", "1"][..], &["node", "start"]] {
            home.fails(args, 3, &words);
        }
        assert!(server.keys().iter().all(|key| !key.starts_with("agents")), "nothing of an agent is there");
    }
}

#[test]
fn a_bucket_that_does_not_answer_is_no_refusal() {
    let runtime = runtime();
    let server = runtime.block_on(Liar::start(Conditions::Kept, Listings::Fresh));
    let proxy = runtime.block_on(async { Faulty::start(server.address()) });
    let home = Home::in_bucket_at(&proxy.endpoint());
    let idle = home.wat("idle.wasm", IDLE);
    let doctor = || home.ask(&["doctor"]).rows.into_iter().find(|row| row["check"] == "bucket").expect("a check");
    proxy.set(Fault::Answer(503));
    home.fails(&["run", &idle, "--ticks", "1"], 5, &["could not probe the bucket", "503"]);
    let said = doctor();
    assert!(said["grade"] == "bad" && said["value"].as_str().is_some_and(|said| said.contains("503")), "{said}");
    proxy.set(Fault::None);
    assert!(doctor()["value"].as_str().is_some_and(|said| said.contains("new")));
    let answer = home.ask(&["run", &idle, "--ticks", "1"]);
    assert!(answer.code == Some(0) && answer.said.contains("it is probed first"), "{}", answer.said);
    let said = doctor();
    assert!(said["number"].is_u64() && !said.to_string().contains("new"), "{said}");
}

/// The numbers of the ticks in these rows.
fn ticks(rows: &[Value]) -> Vec<u64> {
    of(rows, "tick").iter().filter_map(|row| row["tick"].as_u64()).collect()
}

#[test]
fn whatever_breaks_on_the_way_to_the_bucket_nothing_is_lost_or_doubled() {
    let runtime = runtime();
    let server = runtime.block_on(Liar::start(Conditions::Kept, Listings::Fresh));
    let proxy = runtime.block_on(async { Faulty::start(server.address()) });
    let home = Home::in_bucket_at(&proxy.endpoint());
    let mut actor = home.start(&["run", STRATEGY, "--name", "s", "--interval", "20ms"]);
    let mut rows = await_event(&actor, "tick");
    let mut sent = 0;
    for fault in FAULTS {
        proxy.set(fault);
        let body = format!("{{\"during\":\"{fault:?}\"}}");
        thread::scope(|scope| {
            // It waits until it is durable, whatever happens meanwhile.
            let sender = scope.spawn(|| home.ask(&["send", "s", &body]));
            thread::sleep(SPELL);
            proxy.set(Fault::None);
            let answer = sender.join().expect("it sends");
            sent += usize::from(answer.code == Some(0));
        });
        // What came before the end of the fault, and more of it.
        let last = home.get(&["show", "s"])["tick"].as_u64().expect("a tick");
        while ticks(&rows).last() < Some(&(last + 3)) {
            rows.extend(await_event(&actor, "tick"));
        }
    }
    actor.interrupt().expect("it can be told");
    rows.extend(actor.end().expect("it ends").1);
    let ticks = ticks(&rows);
    let all: Vec<u64> = (1..=ticks.len() as u64).collect();
    assert_eq!(ticks, all, "each was told once");
    let shown = home.get(&["show", "s"]);
    assert_eq!(shown["tick"], json!(ticks.len()), "{shown}");
    assert!(sent >= FAULTS.len() / 2, "messages came through: {sent}");
    assert_eq!(home.get(&["verify", "s", "--execute"])["ok"], true);
}

#[test]
fn a_standby_goes_on_though_its_way_to_the_bucket_breaks_again_and_again() {
    let runtime = runtime();
    let server = runtime.block_on(Liar::start(Conditions::Kept, Listings::Fresh));
    let proxy = runtime.block_on(async { Faulty::start(server.address()) });
    let (here, there) = (Home::in_bucket_at(&server.endpoint()), Home::in_bucket_at(&proxy.endpoint()));
    let (_node, mut actor, agent) = followed(&here, &there);
    let told = ticks(&actor.kill().expect("it can be killed")).last().copied();
    // Each fault for a moment, and a moment without one, again and again.
    let mut faults = FAULTS.iter().cycle();
    until("the agent", || {
        proxy.set(*faults.next().expect("they go round"));
        thread::sleep(Duration::from_millis(200));
        proxy.set(Fault::None);
        thread::sleep(Duration::from_millis(400));
        let shown = there.ask(&["show", &agent]).rows.pop().unwrap_or_default();
        shown["custodian"] == json!(there.key()) && shown["tick"].as_u64() > told
    });
    assert_eq!(there.get(&["verify", &agent, "--execute"])["ok"], true);
    let fences = there.ask(&["timeline", &agent]).rows;
    assert!(fences.iter().any(|row| row.to_string().contains("fence")), "its custody changed by a fence");
}

#[test]
fn where_the_bucket_is_lost_its_owner_goes_on_from_the_disk_of_a_standby() {
    let runtime = runtime();
    let server = runtime.block_on(Liar::start(Conditions::Kept, Listings::Fresh));
    let proxy = runtime.block_on(async { Faulty::start(server.address()) });
    let (here, there) = (Home::in_bucket_at(&proxy.endpoint()), Home::in_bucket_at(&proxy.endpoint()));
    let (_node, mut actor, agent) = followed(&here, &there);
    until("what it did", || there.ask(&["show", &agent]).rows.pop().is_some_and(|row| row["tick"].as_u64() > Some(5)));
    proxy.set(Fault::Refuse);
    actor.kill().expect("it can be killed");
    let left = there.get(&["show", &agent]);
    // Nobody goes on by itself from what may not be the end.
    assert_eq!(left["custodian"], json!(here.key()), "{left}");
    let file = there.beside("s.igor");
    there.get(&["export", &agent, "--out", &file]);
    let key = here.ask(&["key"]).rows[0]["key"].as_str().expect("a key").to_owned();
    let owner = Owner { home: here, key };
    let mut elsewhere = Host::start(&policy(&[&owner.key], &[]));
    let taken = owner.get(&elsewhere, &["takeover", &file, "--name", "s"]);
    assert_eq!(taken["epoch"], "1.0", "{taken}");
    let row = elsewhere.ticks_on(&left);
    assert_eq!(row["durable_on"], "this disk only", "{row}");
    owner.fails(&elsewhere, &["standby", "add", "s", &elsewhere.key], 3, &["a store that they share"]);
    assert_eq!(elsewhere.home.get(&["verify", "s", "--execute"])["ok"], true);
    elsewhere.stop(PATIENCE);
    assert_eq!(elsewhere.show()["durable_on"], "this disk only", "nor does it say otherwise without a node");
}

/// A node at the second home that stands by for the agent that runs at the first one; that one, and its id.
fn followed(here: &Home, there: &Home) -> (Actor, Actor, String) {
    let node = there.takes_from(here);
    let actor = here.run(&[STRATEGY, "--name", "s", "--interval", "50ms", "--standby", &there.key()]);
    until("a follower", || {
        let rows = here.ask(&["node", "check"]).rows;
        rows.last().is_some_and(|row| row["taken_by"] == json!(there.key()))
    });
    let agent = here.get(&["show", "s"])["agent"].as_str().expect("its id").to_owned();
    (node, actor, agent)
}

/// Waits for what must come.
fn until(what: &str, holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut holds = holds;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} never came");
        thread::sleep(Duration::from_millis(50));
    }
}
