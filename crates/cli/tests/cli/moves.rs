//! Agents that move between nodes: real processes, real sockets, and kills.

use crate::home::{Home, STRATEGY, await_event};
use crate::stage::Actor;
use serde_json::Value;
use std::{
    fs,
    time::{Duration, Instant},
};

/// A node that runs.
struct Node {
    home: Home,
    actor: Actor,
    key: String,
    address: String,
}

impl Node {
    /// Starts a node that takes agents from `from`, and stays connected with it.
    fn start(from: Option<&Self>) -> Self {
        let home = Home::new();
        fs::create_dir_all(home.path()).expect("a home can be made");
        let met = from.map_or_else(String::new, |from| {
            format!("peers = [\"{}\"]\n[policy]\nnodes = [\"{}\"]\n", from.address, from.key)
        });
        let toml = format!("[network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n{met}");
        fs::write(home.path().join("node.toml"), toml).expect("a configuration can be written");
        let (actor, row) = begin(&home);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let (key, address) = (text(&row["node"]), text(&row["network"][0]));
        Self { home, actor, key, address }
    }

    /// Ends it with SIGKILL and starts it again.
    fn kill(&mut self) {
        self.actor.kill().expect("it can be killed");
        let (actor, row) = begin(&self.home);
        self.actor = actor;
        row["network"][0].as_str().expect("an address").clone_into(&mut self.address);
    }

    fn show(&self) -> Value {
        self.home.get(&["show", "s"])
    }

    /// Waits until something is so.
    fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let row = self.show();
            if is(&row) {
                return row;
            }
            assert!(Instant::now() < deadline, "{what}: {row}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn begin(home: &Home) -> (Actor, Value) {
    let actor = home.start(&["node", "start"]);
    let row = await_event(&actor, "started").pop().expect("the event");
    (actor, row)
}

fn connected(node: &Node, other: &Node) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !node
        .home
        .ask(&["nodes"])
        .rows
        .iter()
        .any(|row| row["node"] == other.key.as_str() && row["connected"] == true)
    {
        assert!(Instant::now() < deadline, "{} never met {}", node.key, other.key);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_agent_moves_while_it_ticks_and_goes_on_exactly() {
    let a = Node::start(None);
    let mut b = Node::start(Some(&a));
    a.home.get(&["deploy", STRATEGY, "--name", "s", "--budget", "1", "--interval", "20ms"]);
    a.until("it ticks", |row| row["tick"].as_u64() > Some(10));
    let first = a.home.get(&["call", "s", "report", "--id", "one"]);
    connected(&a, &b);

    let rows = a.home.ask(&["migrate", "s", &b.key]).rows;
    let events: Vec<_> = rows.iter().filter_map(|row| row["event"].as_str()).collect();
    assert_eq!((events.first(), events.last()), (Some(&"offer"), Some(&"accepted")), "{rows:?}");
    assert!(events.contains(&"precopy") && events.contains(&"freeze") && events.contains(&"transfer"), "{events:?}");
    assert!(rows.last().is_some_and(|row| row["pause_ns"].is_u64() && row["bytes"].is_u64()), "{rows:?}");

    // Where it was: an archive that says who has it.
    let left = a.show();
    assert_eq!((&left["status"], &left["custodian"]), (&Value::from("archived"), &Value::from(b.key.as_str())));
    a.home.fails(&["migrate", "s", &b.key], 3, &["custody"]);
    // Where it is: it ticks on from there, knows what it was told, and keeps to it when its node is killed.
    let there = b.until("it ticks on", |row| row["tick"].as_u64() > left["tick"].as_u64().map(|tick| tick + 3));
    assert_eq!((&there["epoch"], &there["custodian"]), (&Value::from("0.1"), &Value::from(b.key.as_str())));
    assert_eq!(b.home.get(&["call", "s", "report", "--id", "one"])["reply"], first["reply"], "the same message");
    b.kill();
    b.until("it goes on after a kill", |row| row["tick"].as_u64() > there["tick"].as_u64());
    let verdict = b.home.get(&["verify", "s", "--execute"]);
    assert_eq!((&verdict["ok"], &verdict["first_bad"]), (&Value::from(true), &Value::Null), "{verdict}");
    // The archive is a true beginning of the journal.
    assert_eq!(a.home.get(&["verify", "s"])["ok"], true);
    let head = |node: &Node, seq: u64| {
        let rows = node.home.ask(&["timeline", "s"]).rows;
        rows.into_iter().find(|row| row["seq"] == seq).map(|row| row["head"].clone())
    };
    let last = left["seq"].as_u64().expect("a position");
    assert_eq!(head(&a, last), head(&b, last));
}

#[test]
fn a_node_that_does_not_take_it_says_why_and_the_agent_goes_on() {
    let a = Node::start(None);
    let b = Node::start(Some(&a));
    b.home.get(&["deploy", STRATEGY, "--name", "s", "--budget", "1", "--interval", "20ms"]);
    let before = b.until("it ticks", |row| row["tick"].as_u64() > Some(2));
    connected(&b, &a);
    b.home.fails(&["migrate", "s", &a.key], 3, &["policy.nodes"]);
    b.home.fails(&["migrate", "s", "nobody"], 1, &["igor nodes"]);
    let after = b.until("it ticks on", |row| row["tick"].as_u64() > before["tick"].as_u64().map(|tick| tick + 3));
    assert_eq!((&after["epoch"], &after["status"] == "archived"), (&Value::from("0.0"), false));
}

#[test]
fn a_node_empties_itself_only_to_nodes_that_it_names() {
    let a = Node::start(None);
    // It would take the agent, and asks as little as anybody; but nobody here named it.
    let b = Node::start(Some(&a));
    a.home.get(&["deploy", STRATEGY, "--name", "s", "--budget", "1", "--interval", "20ms"]);
    let before = a.until("it ticks", |row| row["tick"].as_u64() > Some(2));
    connected(&a, &b);
    let answer = a.home.ask(&["node", "drain"]);
    assert_eq!((answer.code, answer.rows.len()), (Some(1), 2), "{:?}", answer.rows);
    assert!(answer.rows[0]["why"].as_str().is_some_and(|why| why.contains("names in node.toml")), "{:?}", answer.rows);
    a.until("it goes on", |row| row["tick"].as_u64() > before["tick"].as_u64().map(|tick| tick + 3));
    a.home.get(&["migrate", "s", &b.key]);
    b.until("its operator may send it anywhere", |row| row["custodian"] == b.key.as_str());
}

/// Its state has 5 MiB, of which each tick changes a little; the entry of each tick holds more than 1 MiB: the random data
/// that it saw, and log lines.
const LARGE: &str = r#"(module
  (import "igor" "rand_bytes" (func $random (param i32 i32) (result i32)))
  (import "igor" "log_emit" (func $log (param i32 i32)))
  (memory (export "memory") 100)
  (func (export "agent_init"))
  (func (export "agent_tick") (result i32)
    (i32.store (i32.const 65536) (i32.add (i32.load (i32.const 65536)) (i32.const 1)))
    (i32.store (i32.add (i32.const 131072) (i32.mul (i32.load (i32.const 65536)) (i32.const 8192))) (i32.const 7))
    (drop (call $random (i32.const 5308416) (i32.const 1040000)))
    (call $log (i32.const 65600) (i32.const 4000))
    (call $log (i32.const 65600) (i32.const 4000))
    (call $log (i32.const 65600) (i32.const 4000))
    (i32.const 0))
  (func (export "agent_checkpoint") (result i32) (i32.const 5242880))
  (func (export "agent_checkpoint_ptr") (result i32) (i32.const 65536))
  (func (export "agent_alloc") (param i32) (result i32) (i32.const 65536))
  (func (export "agent_resume") (param i32 i32)))"#;

#[test]
fn large_states_and_large_commits_move_and_only_what_changed_comes_back() {
    let a = Node::start(None);
    let b = Node::start(Some(&a));
    // Each takes agents from the other.
    fs::write(
        a.home.path().join("node.toml"),
        format!(
            "[network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\npeers = [\"{}\"]\n[policy]\nnodes = [\"{}\"]\n",
            b.address, b.key
        ),
    )
    .expect("a configuration can be written");
    let mut a = a;
    a.kill();
    let wasm = a.home.wat("large.wasm", LARGE);
    a.home.get(&[
        "deploy",
        &wasm,
        "--name",
        "s",
        "--budget",
        "100",
        "--interval",
        "200ms",
        "--checkpoint-interval",
        "400ms",
    ]);
    a.until("it ticks", |row| row["tick"].as_u64() > Some(4));
    connected(&a, &b);
    let bytes = |rows: &[Value], event: &str| {
        let row = rows.iter().find(|row| row["event"] == event);
        row.and_then(|row| row["bytes"].as_u64()).unwrap_or_else(|| panic!("no {event} in {rows:?}"))
    };
    let rows = a.home.ask(&["migrate", "s", &b.key]).rows;
    assert!(bytes(&rows, "accepted") > 5 << 20, "{rows:?}");
    let there = b.until("it ticks on", |row| row["tick"].as_u64() > Some(6));
    let rows = b.home.ask(&["migrate", "s", &a.key]).rows;
    let ticks = a.show()["tick"].as_u64().expect("a number") + 1 - there["tick"].as_u64().unwrap_or(0);
    // What each tick saw goes over, and what changed in the state, but not the state.
    assert!(bytes(&rows, "accepted") < (ticks + 12) * (1 << 20) + (1 << 20), "{ticks} ticks: {rows:?}");
    a.until("it is back", |row| row["custodian"] == a.key.as_str() && row["tick"].as_u64() > there["tick"].as_u64());
    let verdict = a.home.get(&["verify", "s", "--execute"]);
    assert_eq!((&verdict["ok"], &verdict["first_bad"]), (&Value::from(true), &Value::Null), "{verdict}");
}
