//! Bad input: each is refused in clear words, with its exit code, and nothing that was there is lost.

use crate::home::{Home, PRICES, STRATEGY, of};
use crate::lives::IDLE;
use std::fs;

const INIT_LOOPS: &str = r#"(module (memory (export "memory") 1)
    (func (export "agent_init") (loop (br 0))) (func (export "agent_tick")))"#;
const START_LOOPS: &str = r#"(module (memory (export "memory") 1) (func $s (loop (br 0))) (start $s)
    (func (export "agent_init")) (func (export "agent_tick")))"#;
const INIT_TRAPS: &str = r#"(module (memory (export "memory") 1)
    (func (export "agent_init") unreachable) (func (export "agent_tick")))"#;
const TICK_LOOPS: &str = r#"(module (memory (export "memory") 1)
    (func (export "agent_init")) (func (export "agent_tick") (loop (br 0))))"#;
const GROWS: &str = r#"(module (memory (export "memory") 1) (func (export "agent_init"))
    (func (export "agent_tick") (loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable))"#;
const FLOODS: &str = r#"(module (import "igor" "log_emit" (func $log (param i32 i32))) (memory (export "memory") 1)
    (func (export "agent_init"))
    (func (export "agent_tick") (loop (call $log (i32.const 0) (i32.const 1000)) (br 0))))"#;
const LIES: &str = r#"(module (memory (export "memory") 1) (func (export "agent_init")) (func (export "agent_tick"))
    (func (export "agent_checkpoint") (result i32) (i32.const 2000000000))
    (func (export "agent_checkpoint_ptr") (result i32) (i32.const 0))
    (func (export "agent_resume") (param i32 i32)) (func (export "agent_alloc") (param i32) (result i32) (i32.const 0)))"#;
const FORGETS: &str = r#"(module (memory (export "memory") 1) (func (export "agent_init")) (func (export "agent_tick"))
    (func (export "agent_checkpoint") (result i32) (i32.const 8))
    (func (export "agent_checkpoint_ptr") (result i32) (i32.const 0))
    (func (export "agent_resume") (param i32 i32) unreachable)
    (func (export "agent_alloc") (param i32) (result i32) (i32.const 0)))"#;

/// The strategy that lived in the home before is as it was.
fn unharmed(home: &Home) {
    assert_eq!(home.get(&["verify", "s", "--execute"])["ok"], true);
    assert_eq!(home.get(&["show", "s"])["tick"], 2);
}

#[test]
fn files_that_are_no_agents() {
    let home = Home::with_strategy(2);
    let strategy = fs::read(STRATEGY).expect("the strategy is there");
    let cut = home.file("cut.wasm", &strategy[..strategy.len() / 2]);
    let empty = home.file("empty.wasm", "");
    let component = home.file("component.wasm", b"\0asm\x0d\0\x01\0");
    let no_tick = home.wat("no-tick.wasm", r#"(module (memory (export "memory") 1) (func (export "agent_init")))"#);
    let stranger = home.wat("stranger.wasm", &IDLE.replacen("(module", r#"(module (import "env" "system" (func))"#, 1));
    let huge = home.wat("huge.wasm", &IDLE.replacen(") 1)", ") 60000)", 1));
    for (file, code, words) in [
        (PRICES, 3, "wasm"),
        (&cut, 3, "not a valid module"),
        (&empty, 3, "WebAssembly"),
        (&component, 3, "component"),
        (&no_tick, 3, "agent_tick"),
        (&stranger, 3, "system"),
        (&huge, 3, "memory"),
        (&home.beside("absent.wasm"), 1, "absent.wasm"),
        (&home.beside(""), 1, "directory"),
    ] {
        home.fails(&["run", file, "--name", "bad", "--ticks", "1"], code, &[words]);
    }
    assert_eq!(home.ask(&["ps"]).rows.len(), 1, "nothing of them is kept");
    unharmed(&home);
}

#[test]
fn agents_that_never_begin() {
    let home = Home::with_strategy(2);
    for (name, text) in [("init", INIT_LOOPS), ("start", START_LOOPS), ("trap", INIT_TRAPS)] {
        let file = home.wat(&format!("{name}.wasm"), text);
        home.fails(&["run", &file, "--ticks", "1"], 1, &["agent_init failed"]);
        assert_eq!(home.get(&["verify", name])["ok"], true, "what it tried is on record");
    }
    unharmed(&home);
}

#[test]
fn a_name_is_free_again_where_nothing_began() {
    let home = Home::with_strategy(2);
    let run = |file: &str, more: &[&str]| {
        home.ask(&[&["run", file, "--name", "t", "--interval", "1ms", "--ticks", "1"], more].concat())
    };
    let file = home.wat("t.wasm", INIT_TRAPS);
    assert_eq!(run(&file, &[]).code, Some(1));
    let first = home.get(&["show", "t"])["agent"].as_str().expect("an id").to_owned();
    // The same again is tried again, by the same agent.
    assert_eq!(run(&file, &[]).code, Some(1));
    assert_eq!(home.get(&["show", "t"])["agent"], first.as_str());
    let tried = home.ask(&["timeline", &first]).rows.into_iter().filter(|row| row["kind"] == "run").count();
    assert_eq!(tried, 2);
    // What is refused takes nothing from it.
    assert_eq!(run(PRICES, &[]).code, Some(3));
    assert_eq!(home.get(&["show", "t"])["agent"], first.as_str());

    // Another manifest is another try, and so is another program.
    let manifest = home.file("agent.toml", "[limits]\ntick_fuel = 20000000\n");
    let second = run(&file, &["--manifest", &manifest]);
    assert!(second.code == Some(1) && second.said.contains(&first), "{}", second.said);
    let second = home.get(&["show", "t"])["agent"].as_str().expect("an id").to_owned();
    let mended = home.wat("mended.wasm", IDLE);
    let third = run(&mended, &[]);
    assert_eq!(third.code, Some(0), "{}", third.said);
    assert!(third.said.contains(&second) && third.said.contains("never completed its agent_init"), "{}", third.said);
    assert_eq!(third.rows[0]["resumed"], false);
    let third = home.get(&["show", "t"])["agent"].as_str().expect("an id").to_owned();
    assert!(first != second && second != third && third != first);
    // The journals of the others are found by their ids.
    for old in [&first, &second] {
        assert_eq!(home.get(&["show", old])["name"], old.as_str());
        assert_eq!(home.get(&["verify", old, "--execute"])["ok"], true);
    }
    // Once it has begun, its name is its own.
    assert_eq!(run(&file, &[]).code, Some(3));
    let again = run(&mended, &[]);
    assert_eq!((again.code, &again.rows[0]["resumed"]), (Some(0), &true.into()), "{}", again.said);
    assert_eq!(home.get(&["show", "t"])["agent"], third.as_str());
    unharmed(&home);
}

#[test]
fn agents_that_misbehave() {
    let home = Home::with_strategy(2);
    let manifest =
        home.file("agent.toml", "[limits]\ntick_time = \"50ms\"\ntick_fuel = 10000000\nmemory_bytes = \"2MiB\"\n");
    for (name, text, outcomes) in [
        ("loops", TICK_LOOPS, &["out_of_fuel", "timeout"][..]),
        ("grows", GROWS, &["trap", "out_of_memory"]),
        ("floods", FLOODS, &["over_limit"]),
    ] {
        let file = home.wat(&format!("{name}.wasm"), text);
        let answer = home.fails(&["run", &file, "--manifest", &manifest, "--interval", "1ms"], 1, &["suspended"]);
        let ticks = of(&answer.rows, "tick");
        assert_eq!(ticks.len(), 5);
        for tick in ticks {
            assert!(tick["outcome"].as_str().is_some_and(|outcome| outcomes.contains(&outcome)), "{name}: {tick}");
        }
        assert_eq!(home.get(&["verify", name, "--execute"])["ok"], true);
    }
    unharmed(&home);
}

#[test]
fn checkpoints_that_do_not_hold_are_refused_and_said() {
    let home = Home::new();
    for (name, text) in [("lies", LIES), ("forgets", FORGETS)] {
        let file = home.wat(&format!("{name}.wasm"), text);
        let answer = home.ask(&["run", &file, "--interval", "1ms", "--ticks", "3"]);
        assert_eq!(answer.code, Some(0), "{}", answer.said);
        assert!(answer.said.contains("checkpoint was refused"), "{}", answer.said);
        assert_eq!(of(&answer.rows, "checkpoint").len(), 0);
        let again = home.ask(&["run", &file, "--interval", "1ms", "--ticks", "2"]);
        assert_eq!(of(&again.rows, "tick").last().map(|row| row["tick"].as_u64()), Some(Some(5)), "nothing was lost");
        assert_eq!(home.get(&["verify", name, "--execute"])["ok"], true);
    }
}

#[test]
fn manifests_that_make_no_sense() {
    let home = Home::with_strategy(2);
    let idle = home.wat("idle.wasm", IDLE);
    for (text, words) in [
        ("[limits]\nmemory = 1\n", "memory"),
        ("[nonsense]\n", "nonsense"),
        ("[limits]\ntick_fuel = -1\n", "tick_fuel"),
        ("[limits]\nmemory_bytes = 99999999999999999999\n", "line 2"),
        ("[limits]\nmemory_bytes = \"3TiB\"\n", "memory_bytes"),
        ("[tick]\ninterval = \"soon\"\n", "interval"),
        ("[limits\n", "TOML"),
    ] {
        let manifest = home.file("agent.toml", text);
        home.fails(&["run", &idle, "--manifest", &manifest, "--ticks", "1"], 3, &[words]);
    }
    let manifest = home.file("agent.toml", "[capabilities]\nclock = true\n");
    home.fails(&["run", STRATEGY, "--name", "t", "--manifest", &manifest, "--ticks", "1"], 3, &["[capabilities]"]);
    let greedy = home.file("agent.toml", "[limits]\nmemory_bytes = \"2GiB\"\n");
    home.fails(&["run", &idle, "--manifest", &greedy, "--ticks", "1"], 3, &["node.toml"]);
    home.fails(&["run", &idle, "--manifest", &home.beside("absent.toml"), "--ticks", "1"], 1, &["absent.toml"]);
    assert_eq!(home.ask(&["ps"]).rows.len(), 1);
    unharmed(&home);
}

#[test]
fn money_and_names_that_make_no_sense() {
    let home = Home::with_strategy(2);
    let idle = home.wat("idle.wasm", IDLE);
    for (flag, value, code, words) in [
        ("--price", "0", 2, "price"),
        ("--price", "-1", 2, "-1"),
        ("--price", "0.0000000001", 2, "0.000000001"),
        ("--price", "99999999999999999999999", 2, "too large"),
        ("--price", "18446744073.709551616", 2, "too large"),
        ("--budget", "0", 2, "nothing"),
        ("--budget", "-5", 2, "-5"),
        ("--budget", "999999999999999999999999", 2, "too large"),
        ("--budget", "0.0000000000000000001", 2, "18 digits"),
        ("--interval", "1 fortnight", 2, "duration"),
        ("--ticks", "0", 2, "--ticks"),
        ("--name", "../../etc", 3, "letters"),
        ("--name", "", 3, "letters"),
        ("--name", "igor1abc", 3, "igor1"),
    ] {
        home.fails(&["run", &idle, &format!("{flag}={value}")], code, &[words]);
    }
    assert_eq!(home.ask(&["ps"]).rows.len(), 1);
    unharmed(&home);
}

#[test]
fn a_home_that_is_not_as_it_must_be() {
    let home = Home::with_strategy(2);
    let format = home.path().join("format");
    let as_it_was = fs::read(&format).expect("the format file is there");
    fs::write(&format, "igor-home 99\n").expect("it can be written");
    for args in [&["run", STRATEGY, "--name", "s", "--ticks", "1"][..], &["show", "s"], &["ps"], &["fund", "s", "1"]] {
        home.fails(args, 3, &["format 99"]);
    }
    fs::write(&format, as_it_was).expect("it can be written");
    unharmed(&home);

    let key = home.path().join("keys/node.key");
    let whole = fs::read(&key).expect("the key is there");
    fs::write(&key, &whole[..whole.len() / 2]).expect("it can be written");
    home.fails(&["run", STRATEGY, "--name", "s", "--ticks", "1"], 4, &["node.key"]);
    fs::write(&key, whole).expect("it can be written");

    fs::write(home.path().join("node.toml"), "[price]\nper_hour = \"1\"\n").expect("it can be written");
    home.fails(&["run", STRATEGY, "--name", "s", "--ticks", "1"], 3, &["per_hour"]);
    fs::remove_file(home.path().join("node.toml")).expect("it can be removed");
    unharmed(&home);

    let file = Home::new();
    fs::write(file.path(), "not a directory").expect("a file can be written");
    file.fails(&["run", STRATEGY, "--ticks", "1"], 3, &["not a directory"]);
}

#[test]
fn messages_that_are_too_long() {
    let home = Home::new();
    let mut actor = home.run(&[STRATEGY, "--name", "s", "--interval", "10ms"]);
    let long = home.file("long", "x".repeat(70_000));
    home.fails(&["send", "s", "--lines", &long], 3, &["line 1"]);
    let id = "i".repeat(129);
    home.fails(&["send", "s", "--id", &id, "x"], 3, &["128"]);
    let huge = home.file("huge", vec![b'x'; 3 << 20]);
    assert_ne!(home.ask(&["send", "s", "--lines", &huge]).code, Some(0));
    assert_eq!(home.get(&["show", "s"])["open_messages"], 0);
    actor.kill().expect("it can be killed");
}
