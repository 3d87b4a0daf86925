//! What the operator says of an agent without a node: by several commands at once, and where it cannot be obeyed.

use crate::{
    home::{Home, STRATEGY},
    lives::{FINISHES, IDLE},
};
use igor_store::disk::Reader;

#[test]
fn commands_that_want_the_home_at_once_take_turns() {
    let home = Home::with_strategy(1);
    for round in 1..=3 {
        let said: Vec<_> = [["pause", "s"], ["resume", "s"], ["pause", "s"], ["pause", "s"]]
            .into_iter()
            .map(|words| (words, home.start(&words)))
            .collect();
        let funded = home.start(&["fund", "s", "1"]);
        let ended = home.start(&["fund", "s", "1"]);
        for (words, mut actor) in said {
            let (status, rows) = actor.end().expect("it ends");
            assert!(status.success() && rows.len() == 1, "{words:?}: {status} {rows:?}");
        }
        for mut actor in [funded, ended] {
            assert!(actor.end().expect("it ends").0.success());
        }
        assert_eq!(home.get(&["show", "s"])["funded"], (10 + 2 * round).to_string());
    }
    home.get(&["pause", "s"]);
    assert_eq!(home.get(&["show", "s"])["status"], "paused");
}

/// Nothing is said of this agent, and it says why not and what to do.
fn refused(home: &Home, name: &str, words: &[&str]) {
    for verb in ["pause", "resume"] {
        home.fails(&[verb, name], 3, words);
    }
    // Where no node has the home, what it remembers can be looked at.
    if let Ok(reader) = Reader::open(&home.path()) {
        let values = reader.list_local().expect("they can be listed");
        assert!(!values.iter().any(|value| value.starts_with("flags-")), "nothing is remembered: {values:?}");
    }
}

#[test]
fn what_has_ended_is_not_paused() {
    let home = Home::new();
    home.get(&["run", STRATEGY, "--name", "poor", "--interval", "1ms", "--budget", "0.000003", "--price", "0.001"]);
    refused(&home, "poor", &["exhausted", "igor fund poor"]);
    let done = home.wat("done.wasm", FINISHES);
    home.get(&["run", &done, "--interval", "1ms"]);
    refused(&home, "done", &["completed", "final", "igor timeline done"]);
    let idle = home.wat("idle.wasm", IDLE);
    home.get(&["run", &idle, "--interval", "1ms", "--ticks", "1"]);
    home.get(&["end", "idle"]);
    home.get(&["run", &idle, "--interval", "1ms"]);
    refused(&home, "idle", &["recalled", "final"]);

    // The same through a node, whoever's life it carries.
    let mut actor = home.run(&[STRATEGY, "--name", "s", "--interval", "10ms"]);
    refused(&home, "poor", &["exhausted", "igor fund poor"]);
    refused(&home, "done", &["completed", "final"]);
    home.get(&["fund", "poor", "1"]);
    assert_eq!(home.get(&["pause", "poor"])["status"], "paused", "it lives again");
    actor.kill().expect("it can be killed");
}

#[test]
fn an_archive_is_not_paused() {
    let home = Home::with_strategy(1);
    let file = home.beside("s.igor");
    home.get(&["export", "s", "--out", &file]);
    let elsewhere = Home::with_strategy(1);
    elsewhere.get(&["import", &file, "--name", "old"]);
    refused(&elsewhere, "old", &["archive", "igor verify"]);
    let mut actor = elsewhere.run(&[STRATEGY, "--name", "s", "--interval", "10ms"]);
    refused(&elsewhere, "old", &["archive", "igor verify"]);
    actor.kill().expect("it can be killed");
}
