//! What scripts may rely on: flags, rows, fields, exit codes.

use crate::home::{Home, PRICES, STRATEGY, await_event, has, of};
use std::fs;

#[test]
fn run_announces_what_it_does_and_goes_on() {
    let home = Home::new();
    let args = ["run", STRATEGY, "--name", "s", "--budget", "10", "--price", "0.001", "--interval", "10ms"];
    let answer = home.ask(&[&args[..], &["--ticks", "5"]].concat());
    assert_eq!(answer.code, Some(0), "{}", answer.said);
    let rows = &answer.rows;
    has(&rows[0], &["agent", "name", "tick", "resumed"]);
    assert_eq!((rows[0]["event"].as_str(), rows[0]["resumed"].as_bool()), (Some("started"), Some(false)));
    assert!(rows[0]["agent"].as_str().is_some_and(|id| id.starts_with("igor1")));
    let ticks = of(rows, "tick");
    assert_eq!(ticks.iter().filter_map(|row| row["tick"].as_u64()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for tick in ticks {
        has(tick, &["agent", "seq", "epoch", "head", "outcome", "fuel", "duration_ns", "cost", "balance"]);
        assert!(tick["balance"].is_string() && tick["cost"].is_string() && tick["duration_ns"].is_u64());
        assert_eq!(tick["epoch"], "0.0");
        assert_eq!(tick["head"].as_str().map(str::len), Some(64));
    }
    has(of(rows, "checkpoint")[0], &["tick", "root", "bytes"]);
    assert_eq!(rows.last().map(|row| (row["event"].clone(), row["tick"].as_u64())), Some(("stopped".into(), Some(5))));

    let again = home.ask(&[&args[..], &["--ticks", "2"]].concat());
    assert_eq!(again.rows[0]["resumed"], true);
    assert_eq!(of(&again.rows, "tick").iter().filter_map(|row| row["tick"].as_u64()).collect::<Vec<_>>(), [6, 7]);
    for ignored in ["--budget", "--price", "fund"] {
        assert!(again.said.contains(ignored), "{}", again.said);
    }
    home.fails(&["run", STRATEGY, "--name", "s", "--ticks", "0"], 2, &["--ticks"]);
    let other = home.wat("other.wasm", crate::lives::IDLE);
    home.fails(&["run", &other, "--name", "s", "--ticks", "1"], 3, &["runs the program", "--name"]);
}

#[test]
fn a_life_can_be_looked_at_without_a_node() {
    let home = Home::with_strategy(5);
    let shown = home.get(&["show", "s"]);
    let fields = ["agent", "name", "status", "tick", "seq", "epoch", "head", "custodian", "balance", "funded", "spent"];
    has(&shown, &fields);
    has(&shown, &["program", "runtime", "checkpoint_tick", "durable_on"]);
    assert_eq!((shown["status"].as_str(), shown["tick"].as_u64()), (Some("stopped"), Some(5)));
    let listed = home.ask(&["ps"]);
    assert_eq!((listed.code, listed.rows.len(), listed.rows[0]["name"].as_str()), (Some(0), 1, Some("s")));

    let timeline = home.ask(&["timeline", "s"]);
    assert_eq!(timeline.rows[0]["kind"], "genesis");
    for (seq, row) in timeline.rows.iter().enumerate() {
        has(row, &["seq", "epoch", "kind", "at", "head"]);
        assert_eq!(row["seq"].as_u64(), Some(seq as u64));
    }
    assert_eq!(timeline.rows.last().map(|row| &row["head"]), Some(&shown["head"]));
    let from = home.ask(&["timeline", "s", "--from", "3"]);
    assert_eq!(from.rows[..], timeline.rows[3..]);

    for extra in [&[][..], &["--execute"]] {
        let verdict = home.get(&[&["verify", "s"], extra].concat());
        has(&verdict, &["ok", "agent", "entries", "runs", "executed", "first_bad"]);
        assert_eq!(
            (verdict["ok"].as_bool(), verdict["entries"].as_u64()),
            (Some(true), Some(timeline.rows.len() as u64))
        );
    }
    assert_eq!(home.get(&["verify", "s", "--execute"])["executed"], home.get(&["verify", "s"])["runs"]);
    let moment = home.get(&["replay", "s", "--at", "3"]);
    has(&moment, &["tick", "state_root", "balance", "trigger", "observations", "state"]);
    assert_eq!(moment["tick"], 3);
    home.fails(&["replay", "s", "--at", "99"], 1, &["no tick 99"]);
}

#[test]
fn a_file_of_a_life_stands_on_its_own() {
    let home = Home::with_strategy(3);
    let file = home.beside("s.igor");
    has(&home.get(&["export", "s", "--out", &file]), &["agent", "file", "entries", "bytes"]);
    let elsewhere = Home::new();
    for args in [&["verify", &file][..], &["verify", &file, "--execute"], &["timeline", &file], &["logs", &file]] {
        assert_eq!(elsewhere.ask(args).code, Some(0), "{args:?}");
    }
    assert_eq!(elsewhere.get(&["replay", &file, "--at", "2"]), home.get(&["replay", "s", "--at", "2"]));
    assert!(!elsewhere.path().exists(), "reading a file makes no home");
    home.fails(&["verify", &home.beside("absent.igor")], 1, &["absent.igor"]);
}

#[test]
fn messages_are_answered_and_counted_once() {
    let home = Home::new();
    let mut actor = home.run(&[STRATEGY, "--name", "s", "--interval", "10ms"]);
    let prices = fs::read_to_string(PRICES).expect("prices");
    let lines = home.file("prices.csv", prices.lines().take(400).collect::<Vec<_>>().join("\n"));
    assert_eq!(home.get(&["send", "s", "--lines", &lines])["sent"], 400);
    let answer = home.get(&["call", "s", "report"]);
    has(&answer, &["id", "reply"]);
    let report = answer["reply"].as_str().expect("a reply is a string");
    assert!(report.contains("\"prices\":399"), "{report}");
    assert_eq!(home.get(&["send", "s", "--lines", &lines])["sent"], 0);
    assert_eq!(home.get(&["call", "s", "report"])["reply"], report, "the same lines again change nothing");

    let one = home.get(&["send", "s", "--id", "one", "2013-03-04,1,1,1,1,1"]);
    has(&one, &["id", "seq", "duplicate", "epoch", "head"]);
    assert_eq!(home.get(&["send", "s", "--id", "one", "2013-03-04,1,1,1,1,1"])["duplicate"], true);
    home.fails(&["send", "s", "--id", "one", "something else"], 3, &["another body"]);
    let asked = home.get(&["call", "s", "--id", "q", "report"]);
    assert_eq!(home.get(&["call", "s", "--id", "q", "report"])["reply"], asked["reply"], "asked again, the same reply");
    home.fails(&["call", "s", "2013-03-05,1,1,1,1,1"], 1, &["no reply"]);
    home.fails(&["call", "nobody", "report"], 1, &["nobody"]);

    assert_eq!(home.get(&["fund", "s", "1.5"])["funded"], "11.5");
    assert_eq!(
        home.get(&["show", "s"])["status"].as_str().map(|status| ["running", "idle"].contains(&status)),
        Some(true)
    );
    actor.kill().expect("it can be killed");
    let shown = home.get(&["show", "s"]);
    assert_eq!((shown["funded"].as_str(), shown["status"].as_str()), (Some("11.5"), Some("stopped")));
    assert_eq!(home.get(&["verify", "s", "--execute"])["ok"], true);

    let mut actor = home.run(&[STRATEGY, "--name", "s", "--interval", "10ms"]);
    actor.interrupt().expect("it can be interrupted");
    let (status, rows) = actor.end().expect("it ends");
    assert_eq!((status.code(), of(&rows, "stopped").len()), (Some(0), 1));
    let shown = home.get(&["show", "s"]);
    assert_eq!(shown["checkpoint_tick"], shown["tick"], "a clean stop leaves nothing to replay");
}

#[test]
fn sending_waits_for_a_node_and_survives_its_kills() {
    // Not even the home is there yet.
    let home = Home::new();
    let lines: Vec<String> = (0..3000).map(|n| format!("2001-01-02,1,1,1,1,{n}")).collect();
    let lines = home.file("lines", lines.join("\n"));
    let mut sender = home.start(&["send", "s", "--lines", &lines, "--rate", "2000"]);
    for _ in 0..4 {
        let mut actor = home.run(&[STRATEGY, "--name", "s", "--interval", "1ms"]);
        await_event(&actor, "tick");
        actor.kill().expect("it can be killed");
    }
    let mut actor = home.run(&[STRATEGY, "--name", "s", "--interval", "1ms"]);
    let (status, rows) = sender.end().expect("the sender ends");
    assert!(status.success());
    assert_eq!(rows[0]["lines"], 3000);
    let report = home.get(&["call", "s", "report"])["reply"].clone();
    assert!(report.as_str().is_some_and(|report| report.contains("\"prices\":3000,")), "{report}");
    actor.kill().expect("it can be killed");
}

#[test]
fn exit_codes_for_what_cannot_be_done() {
    let home = Home::with_strategy(1);
    home.fails(&["show", "nobody"], 1, &["nobody"]);
    for usage in [&["show"][..], &["frobnicate"], &["run"], &["send", "s"], &["replay", "s"], &["fund", "s", "-1"]] {
        assert_eq!(home.ask(usage).code, Some(2), "{usage:?}");
    }
    home.fails(&["send", "s", "hello", "--timeout", "50ms"], 5, &["no node"]);
    home.fails(&["call", "s", "hello", "--timeout", "50ms"], 5, &["no node"]);
    home.fails(&["show", "s", "--node", "/nowhere/node.sock"], 5, &["/nowhere/node.sock"]);
    home.fails(&["show", "s", "--node", "127.0.0.1:1"], 3, &["IGOR_TOKEN"]);
    let elsewhere = Home::new();
    for args in [&["show", "s"][..], &["ps"], &["fund", "s", "1"], &["key"]] {
        elsewhere.fails(args, 1, &["igor run"]);
    }
    elsewhere.fails(&["send", "s", "x", "--timeout", "50ms"], 5, &["no node", "igor run"]);
    assert!(!elsewhere.path().exists(), "asking makes no home");
}
