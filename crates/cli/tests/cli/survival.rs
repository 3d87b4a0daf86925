//! Who goes on with a new agent, as its manifest and the command say.

use crate::{
    home::{Home, STRATEGY},
    lives::IDLE,
};
use igor_bucket_testing::weed;
use igor_protocol::KeyPair;
use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_mins(2);

fn node(seed: u8) -> String {
    KeyPair::from_seed(&[seed; 32]).public().to_string()
}

fn survival(nodes: &[String], more: &str) -> String {
    format!("[tick]\ninterval = \"5ms\"\n[survival]\nstandby = {nodes:?}\n{more}")
}

/// What the journal says of them.
fn standby(home: &Home, name: &str) -> (Value, Value, Value) {
    let mut row = home.get(&["standby", "list", name]);
    (row["standby"].take(), row["any_order"].take(), row["silent_ns"].take())
}

#[test]
fn standby_nodes_that_could_never_go_on_are_refused() {
    let home = Home::with_strategy(1);
    let (idle, other) = (home.wat("idle.wasm", IDLE), node(1));
    let run = ["run", &idle, "--ticks", "1"];
    let words = &["its node's disk only", "[store] url", "--no-standby"];
    home.fails(&[&run[..], &["--standby", &other]].concat(), 3, words);
    let manifest = home.file("agent.toml", survival(std::slice::from_ref(&other), ""));
    home.fails(&[&run[..], &["--manifest", &manifest]].concat(), 3, words);
    for (args, words) in [
        (&["--standby", "z6Mk"][..], "not a node's key"),
        (&["--standby", &other, "--silent", "599ms"], "at least 600 ms"),
        (&["--silent", "2s"], "--standby"),
        (&["--any-order"], "--standby"),
        (&["--no-standby", "--standby", &other], "cannot be used with"),
    ] {
        home.fails(&[&run[..], args].concat(), 2, &[words]);
    }
    let many: Vec<String> = (1..=17).map(node).collect();
    home.fails(&[&run[..], &["--standby", &many.join(",")]].concat(), 2, &["at most 16"]);
    assert_eq!(home.ask(&["ps"]).rows.len(), 1, "nothing of them is kept");
    // For one that exists it is an order that says so.
    let again = home.ask(&["run", STRATEGY, "--name", "s", "--ticks", "1", "--standby", &other]);
    assert!(again.code == Some(0) && again.said.contains("igor standby add s"), "{}", again.said);
    home.get(&[&run[..], &["--manifest", &manifest, "--no-standby"]].concat());
    assert_eq!(standby(&home, "idle").0, json!([]));
}

#[test]
fn who_goes_on_stands_in_genesis() {
    let Some(weed) = weed() else { return };
    let home = Home::in_bucket(&weed);
    let idle = home.wat("idle.wasm", IDLE);
    let named = [node(1), node(2)];
    let manifest = home.file("agent.toml", survival(&named, "any_order = true\nsilent = \"2s\"\n"));
    let run = |name: &str, more: &[&str]| {
        let args = [&["run", &idle, "--name", name, "--ticks", "2", "--manifest", &manifest], more].concat();
        let answer = home.ask(&args);
        assert_eq!(answer.code, Some(0), "{}", answer.said);
        answer.said
    };
    let said = run("a", &[]);
    assert!(said.contains("[network]"), "that they hear nothing of it is said: {said}");
    assert_eq!(standby(&home, "a"), (json!(named), json!(true), json!(2_000_000_000_u64)));
    // What the command says comes first, a list with its order.
    let other = node(3);
    run("b", &["--standby", &other, "--standby", &named[0]]);
    assert_eq!(standby(&home, "b"), (json!([other, named[0]]), json!(false), json!(2_000_000_000_u64)));
    run("c", &["--standby", &other, "--any-order", "--silent", "600ms"]);
    assert_eq!(standby(&home, "c"), (json!([other]), json!(true), json!(600_000_000)));
    run("d", &["--no-standby"]);
    assert_eq!(standby(&home, "d"), (json!([]), json!(false), Value::Null));

    let shown = home.get(&["show", "b"]);
    assert_eq!(shown["standby"], json!([other, named[0]]));
    assert!(home.get(&["show", "d"]).get("standby").is_none());
    // An order changes it.
    home.get(&["standby", "remove", "b", &other]);
    assert_eq!(home.get(&["show", "b"])["standby"], json!([named[0]]));
}

/// Waits for what must come.
fn await_that(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} never came");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_agent_of_run_goes_on_elsewhere_when_that_is_killed() {
    let Some(weed) = weed() else { return };
    let (here, there) = (Home::in_bucket(&weed), Home::in_bucket(&weed));
    let _node = there.takes_from(&here);
    let mut actor = here.run(&[STRATEGY, "--name", "s", "--interval", "50ms", "--standby", &there.key()]);
    await_that("a follower", || {
        let rows = here.ask(&["node", "check"]).rows;
        rows.last().is_some_and(|row| row["taken_by"] == json!(there.key()))
    });
    let before = here.get(&["show", "s"]);
    actor.kill().expect("it can be killed");
    let agent = before["agent"].as_str().expect("its id");
    await_that("the agent", || {
        let shown = there.ask(&["show", agent]).rows.pop().unwrap_or_default();
        shown["custodian"] == json!(there.key()) && shown["tick"].as_u64() > before["tick"].as_u64()
    });
    let log = std::fs::read_to_string(there.beside("log")).expect("a log");
    let line = log.lines().find(|line| line.contains("an agent goes on here")).expect("it says how long that took");
    for phase in ["silent", "read", "fence", "load", "restore", "replay", "tick", "total"] {
        assert!(line.contains(&format!("{phase}_ms\"")), "{phase} in {line}");
    }
    assert_eq!(there.get(&["verify", agent])["ok"], true);
}
