//! How lives end and go on: money, traps, pauses, kills.

use crate::home::{Home, STRATEGY, await_event, of};
use rustix::process::Signal;
use serde_json::Value;

/// An agent that does nothing.
pub(crate) const IDLE: &str =
    r#"(module (memory (export "memory") 1) (func (export "agent_init")) (func (export "agent_tick")))"#;
/// One that traps in each tick.
const TRAPS: &str =
    r#"(module (memory (export "memory") 1) (func (export "agent_init")) (func (export "agent_tick") unreachable))"#;
/// One that is done in its third tick.
pub(crate) const FINISHES: &str = r#"(module
    (import "igor" "finish" (func $finish))
    (memory (export "memory") 1)
    (global $ticks (mut i32) (i32.const 0))
    (func (export "agent_init"))
    (func (export "agent_tick")
        (global.set $ticks (i32.add (global.get $ticks) (i32.const 1)))
        (if (i32.ge_u (global.get $ticks) (i32.const 3)) (then (call $finish)))))"#;

fn last_event(rows: &[Value]) -> (&str, &Value) {
    let last = rows.last().expect("events");
    (last["event"].as_str().expect("an event"), last)
}

#[test]
fn money_ends_a_life_and_revives_it() {
    let home = Home::new();
    let args = ["run", STRATEGY, "--name", "s", "--interval", "1ms"];
    let first = home.ask(&[&args[..], &["--budget", "0.000003", "--price", "0.001"]].concat());
    assert_eq!(first.code, Some(0), "{}", first.said);
    let (event, ended) = last_event(&first.rows);
    assert_eq!((event, &ended["cause"]), ("ended", &"exhausted".into()));
    let shown = home.get(&["show", "s"]);
    assert_eq!(
        (shown["status"].as_str(), shown["balance"].as_str(), &shown["spent"]),
        (Some("ended"), Some("0"), &shown["funded"])
    );

    let still = home.ask(&args);
    assert_eq!((still.code, last_event(&still.rows).0), (Some(0), "ended"));
    assert_eq!(of(&still.rows, "tick").len(), 0, "nobody works for nothing");

    assert_eq!(home.get(&["fund", "s", "1"])["funded"], "1.000003");
    let revived = home.ask(&[&args[..], &["--ticks", "3"]].concat());
    assert_eq!(revived.code, Some(0), "{}", revived.said);
    let next = shown["tick"].as_u64().map(|tick| tick + 1);
    assert_eq!(of(&revived.rows, "tick")[0]["tick"].as_u64(), next, "it goes on where it was");
    assert_eq!(home.get(&["verify", "s", "--execute"])["ok"], true);
    let words = home.plain(&["timeline", "s"]);
    let words = String::from_utf8_lossy(&words.stdout).into_owned();
    assert!(words.contains("its money is spent") && words.contains("its owner gave it 1 credit"), "{words}");
}

#[test]
fn an_agent_that_is_done_is_done() {
    let home = Home::new();
    let agent = home.wat("done.wasm", FINISHES);
    let answer = home.ask(&["run", &agent, "--interval", "1ms"]);
    assert_eq!((answer.code, &last_event(&answer.rows).1["cause"]), (Some(0), &"completed".into()), "{}", answer.said);
    assert_eq!(of(&answer.rows, "tick").len(), 3);
    assert_eq!(home.ask(&["run", &agent]).code, Some(0));
    home.fails(&["fund", "done", "1"], 3, &["completed"]);
}

#[test]
fn ticks_that_trap_are_undone_and_suspend_the_agent() {
    let home = Home::new();
    let agent = home.wat("trap.wasm", TRAPS);
    let answer = home.fails(&["run", &agent, "--interval", "1ms"], 1, &["suspended", "igor resume trap"]);
    let ticks = of(&answer.rows, "tick");
    assert_eq!(ticks.iter().map(|tick| tick["outcome"].as_str()).collect::<Vec<_>>(), [Some("trap"); 5]);
    let (event, suspended) = last_event(&answer.rows);
    assert_eq!(event, "suspended");
    assert!(suspended["cause"].is_string() && suspended["tick"] == 5);
    assert_eq!(home.get(&["show", "trap"])["status"], "suspended");
    assert_eq!(home.fails(&["run", &agent], 1, &["suspended"]).rows.len(), 2, "it does not try again by itself");
    home.get(&["resume", "trap"]);
    let again = home.fails(&["run", &agent], 1, &["suspended"]);
    assert_eq!(of(&again.rows, "tick").len(), 1, "forgiven once, it tries once");
    let verdict = home.get(&["verify", "trap", "--execute"]);
    assert_eq!(verdict["ok"], true);
}

#[test]
fn a_pause_holds_and_messages_are_still_taken_in() {
    let home = Home::new();
    let args = [STRATEGY, "--name", "s", "--interval", "1ms"];
    let mut actor = home.run(&args);
    await_event(&actor, "tick");
    assert_eq!(home.get(&["pause", "s"])["status"], "paused");
    let before = home.get(&["show", "s"]);
    home.get(&["send", "s", "2001-01-02,1,1,1,1,1"]);
    let after = home.get(&["show", "s"]);
    assert_eq!((&after["status"], &after["tick"]), (&"paused".into(), &before["tick"]));
    assert_eq!(after["open_messages"], 1);
    actor.kill().expect("it can be killed");
    assert_eq!(home.get(&["show", "s"])["status"], "paused", "it holds over a kill");

    let mut actor = home.run(&args);
    assert_eq!(home.get(&["show", "s"])["tick"], before["tick"]);
    home.get(&["resume", "s"]);
    let rows = await_event(&actor, "tick");
    assert_eq!(rows.last().and_then(|row| row["tick"].as_u64()), before["tick"].as_u64().map(|tick| tick + 1));
    actor.kill().expect("it can be killed");

    home.get(&["pause", "s"]);
    assert_eq!(home.get(&["resume", "s"])["status"], "stopped", "both also work while no node runs");
}

#[test]
fn an_agent_without_checkpoints_lives_by_replay() {
    let home = Home::new();
    let agent = home.wat("idle.wasm", IDLE);
    for _ in 0..3 {
        let mut actor = home.run(&[&agent, "--interval", "1ms"]);
        await_event(&actor, "tick");
        actor.kill().expect("it can be killed");
    }
    let shown = home.get(&["show", "idle"]);
    assert!(shown["checkpoint_tick"].is_null() && shown["tick"].as_u64() >= Some(3), "{shown}");
    assert_eq!(home.get(&["verify", "idle", "--execute"])["ok"], true);
}

#[test]
fn signals_stop_an_agent_cleanly_however_often_they_come() {
    let home = Home::new();
    for signals in [&[Signal::TERM][..], &[Signal::INT], &[Signal::INT, Signal::INT, Signal::TERM]] {
        let mut actor = home.run(&[STRATEGY, "--name", "s", "--interval", "1ms"]);
        await_event(&actor, "tick");
        for signal in signals {
            actor.signal(*signal).expect("it can be signalled");
        }
        let (status, rows) = actor.end().expect("it ends");
        assert_eq!((status.code(), last_event(&rows).0), (Some(0), "stopped"));
        let shown = home.get(&["show", "s"]);
        assert_eq!(shown["checkpoint_tick"], shown["tick"]);
    }
}

#[test]
fn one_home_has_one_node() {
    let home = Home::new();
    let mut actor = home.run(&[STRATEGY, "--name", "s", "--interval", "10ms"]);
    let idle = home.wat("idle.wasm", IDLE);
    home.fails(&["run", &idle, "--ticks", "1"], 3, &["in use by process", "--home"]);
    home.fails(&["import", &idle], 4, &["not an igor file"]);
    let (status, _) = {
        actor.interrupt().expect("it can be interrupted");
        actor.end().expect("it ends")
    };
    assert!(status.success());
    assert_eq!(home.ask(&["run", &idle, "--ticks", "1", "--interval", "1ms"]).code, Some(0));
    assert_eq!(home.ask(&["ps"]).rows.len(), 2);
}

#[test]
fn logs_are_told_once_and_followed_over_a_restart() {
    let home = Home::new();
    let args = [STRATEGY, "--name", "s", "--interval", "5ms"];
    let mut actor = home.run(&args);
    let follower = home.start(&["logs", "s", "-f"]);
    home.get(&["send", "s", "not a price"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    let hear = || match follower.hear(deadline) {
        crate::stage::Heard::Row(row) => row,
        other => panic!("{other:?}"),
    };
    assert!(hear()["text"].as_str().is_some_and(|text| text.contains("ignored")));
    actor.kill().expect("it can be killed");
    let mut actor = home.run(&args);
    home.get(&["call", "s", "report"]);
    home.get(&["send", "s", "not a price either"]);
    let second = hear();
    assert!(second["text"].as_str().is_some_and(|text| text.contains("ignored")), "{second}");
    actor.kill().expect("it can be killed");
    assert_eq!(home.ask(&["logs", "s"]).rows.len(), 2);
}
