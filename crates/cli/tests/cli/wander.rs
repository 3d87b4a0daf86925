//! Agents that ask to be moved, and nodes that are emptied: real processes.

use crate::cluster::{Cluster, Member};
use serde_json::Value;

const WANDERER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../agents/wanderer/wanderer.wasm");

/// Asks in each tick to be moved anywhere, whether there is a node or not.
const EAGER: &str = r#"(module
    (import "igor" "migrate_to" (func $to (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "agent_init"))
    (func (export "agent_tick") (if (call $to (i32.const 0) (i32.const 0)) (then unreachable)))
    (func (export "agent_checkpoint") (result i32) i32.const 1)
    (func (export "agent_checkpoint_ptr") (result i32) i32.const 8)
    (func (export "agent_alloc") (param i32) (result i32) i32.const 16)
    (func (export "agent_resume") (param i32 i32)))"#;

fn report(member: &Member, id: &str) -> Value {
    let reply = member.get(&["call", "w", "where?", "--id", id, "--timeout", "60s"])["reply"].clone();
    serde_json::from_str(reply.as_str().expect("a text")).expect("JSON")
}

fn verified(member: &Member, name: &str) {
    let verdict = member.get(&["verify", name, "--execute"]);
    assert_eq!((&verdict["ok"], &verdict["runs"]), (&Value::from(true), &verdict["executed"]), "{verdict}");
}

/// The rows of a kind up to the first change of custody.
fn before_the_move(member: &Member, name: &str) -> Vec<Value> {
    let rows = member.rows(&["timeline", name]);
    let end = rows.iter().position(|row| row["kind"] == "custody").expect("a change of custody");
    rows[..end].to_vec()
}

#[test]
fn a_wanderer_leaves_a_node_that_drains_and_goes_back_to_where_it_pays_less() {
    let mut cluster = Cluster::start(&["0.001", "0.003"]);
    cluster.0[0].get(&["deploy", WANDERER, "--name", "w", "--budget", "1", "--interval", "100ms"]);
    cluster.0[0].until("w", "it ticks", |row| row["tick"].as_u64() > Some(3));

    let drained = cluster.0[0].stop().expect("it drained");
    assert_eq!((&drained["moved"], &drained["staying"]), (&Value::from(1), &Value::Array(Vec::new())), "{drained}");
    assert_eq!(cluster.host_of("w"), 1);
    // It chose by itself: its last tick there asked for the other node.
    let rows = before_the_move(&cluster.0[1], "w");
    let last = rows.iter().rfind(|row| row["call"] == "tick").expect("a tick");
    assert_eq!(last["migrate_to"], cluster.0[1].key.as_str(), "{last}");
    let there = report(&cluster.0[1], "one");
    assert_eq!((&there["node"], &there["moves"]), (&Value::from(cluster.0[1].key.as_str()), &Value::from(1)));
    assert_eq!(cluster.0[1].get(&["show", "w"])["price_per_second"], "0.003", "what it pays has risen");

    // The cheaper node is back.
    cluster.0[0].start();
    cluster.meet(0);
    let key = cluster.0[0].key.clone();
    cluster.0[0].until("w", "it comes back", |row| row["custodian"] == key.as_str() && row["status"] != "archived");
    assert_eq!(cluster.host_of("w"), 0);
    let back = report(&cluster.0[0], "two");
    assert_eq!((&back["node"], &back["moves"], &back["messages"]), (&Value::from(key), &2.into(), &2.into()));
    verified(&cluster.0[0], "w");
}

#[test]
fn a_wish_outlives_a_kill_and_does_not_tire_its_node() {
    let mut cluster = Cluster::new(&["0.001", "0.001"]);
    cluster.0[0].start();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (module, manifest) = (folder.path().join("eager.wasm"), folder.path().join("agent.toml"));
    std::fs::write(&module, wat::parse_str(EAGER).expect("a module")).expect("written");
    let module = module.to_str().expect("a path");
    let refused = cluster.0[0].stage.ask(&["deploy", module, "--name", "e"]).expect("igor runs");
    assert_eq!(refused.code, Some(3), "{}", refused.said);
    assert!(refused.said.contains("[capabilities] migrate = true"), "{}", refused.said);
    std::fs::write(&manifest, "[capabilities]\nmigrate = true\n").expect("written");
    let manifest = manifest.to_str().expect("a path");
    let args = ["deploy", module, "--name", "e", "--budget", "1", "--manifest", manifest, "--interval", "5ms"];
    cluster.0[0].get(&args);

    // Nowhere to go: asking a hundred times is attempted a few times, and the agent goes on.
    cluster.0[0].until("e", "it ticks", |row| row["tick"].as_u64() > Some(200));
    let attempts = cluster.0[0].log().matches("an agent that asks to be moved stays").count();
    assert!((1..=10).contains(&attempts), "{attempts} attempts");

    // Killed while it waits: a paused agent has no tick that could ask again, so what moves it is what was committed.
    cluster.0[0].get(&["pause", "e"]);
    let tick = cluster.0[0].get(&["show", "e"])["tick"].clone();
    cluster.0[0].kill();
    cluster.0[1].start();
    cluster.0[0].start();
    cluster.meet(0);
    let key = cluster.0[1].key.clone();
    cluster.0[1].until("e", "it moved", |row| row["custodian"] == key.as_str() && row["status"] != "archived");
    let rows = before_the_move(&cluster.0[1], "e");
    let last = rows.iter().rfind(|row| row["call"] == "tick").expect("a tick");
    assert_eq!((&last["tick"], &last["migrate_to"]), (&tick, &Value::from("anywhere")));
    verified(&cluster.0[1], "e");
}

#[test]
fn a_node_is_emptied_and_says_what_stays() {
    let cluster = Cluster::start(&["0.001", "0.001"]);
    let (from, to) = (&cluster.0[0], &cluster.0[1]);
    let strategy = crate::home::STRATEGY;
    from.get(&["deploy", strategy, "--name", "goes", "--budget", "1", "--interval", "20ms"]);
    from.get(&["deploy", strategy, "--name", "too", "--budget", "1", "--interval", "20ms"]);
    from.until("goes", "it ticks", |row| row["tick"].as_u64() > Some(3));
    from.until("too", "it ticks", |row| row["tick"].as_u64() > Some(3));
    let answer = from.stage.ask(&["node", "drain"]).expect("igor runs");
    assert_eq!(answer.code, Some(0), "{}", answer.said);
    let moved = |row: &&Value| row["event"] == "moved" && row["to"] == to.key.as_str();
    assert_eq!(answer.rows.iter().filter(moved).count(), 2, "{:?}", answer.rows);
    assert_eq!(answer.rows.last(), Some(&serde_json::json!({"event": "drained", "moved": 2, "staying": 0})));
    to.until("goes", "it ticks on", |row| row["status"] == "idle" || row["status"] == "running");

    // It is up, and takes nothing in.
    assert_eq!(from.get(&["show", "goes"])["status"], "archived");
    let refused = from.stage.ask(&["deploy", strategy, "--name", "late"]).expect("igor runs");
    assert_eq!(refused.code, Some(3), "{}", refused.said);
    assert!(refused.said.contains("being emptied"), "{}", refused.said);
    // Nor does it take back what it gave; the other has nowhere to empty itself to.
    let answer = to.stage.ask(&["node", "drain"]).expect("igor runs");
    assert_eq!((answer.code, answer.rows.len()), (Some(1), 3), "{:?}", answer.rows);
    let stays =
        |row: &&Value| row["event"] == "stays" && row["why"].as_str().is_some_and(|why| why.contains("no other node"));
    assert_eq!(answer.rows.iter().filter(stays).count(), 2, "{:?}", answer.rows);
    let tick = to.get(&["show", "goes"])["tick"].as_u64();
    to.until("goes", "it goes on where it is", |row| row["tick"].as_u64() > tick.map(|tick| tick + 3));
}

#[test]
fn a_node_for_one_agent_takes_no_others_in() {
    let home = crate::home::Home::new();
    let running = home.run(&[crate::home::STRATEGY, "--name", "s", "--interval", "20ms"]);
    home.fails(&["deploy", crate::home::STRATEGY, "--name", "t"], 3, &["igor node start"]);
    drop(running);
}
