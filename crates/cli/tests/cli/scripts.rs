//! Igor between other programs: pipes, help, completions, first screen.

use crate::home::{Home, STRATEGY};
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

#[test]
fn alone_it_says_what_it_is() {
    let said = Home::new().plain(&[]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success());
    for word in ["igor demo", "igor run", "igor timeline"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn help_and_completions() {
    let home = Home::new();
    for verb in ["run", "send", "verify", "import", "doctor", "demo"] {
        let said = home.plain(&[verb, "--help"]);
        assert!(said.status.success());
        assert!(String::from_utf8_lossy(&said.stdout).contains("Examples:"), "{verb}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let said = home.plain(&["completions", shell]);
        assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).contains("igor"), "{shell}");
    }
}

#[test]
fn people_read_the_same_in_words() {
    let home = Home::with_strategy(3);
    let text = |args: &[&str]| {
        let said = home.plain(args);
        assert!(said.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    let run = text(&["run", STRATEGY, "--name", "s", "--interval", "1ms", "--ticks", "1"]);
    for word in [
        "s goes on after tick 3",
        "igor1",
        "credits a second",
        "enough for",
        "this disk only",
        "Ctrl-C",
        "tick 4",
        "stopped",
    ] {
        assert!(run.contains(word), "no {word:?} in {run}");
    }
    let timeline = text(&["timeline", "s"]);
    for word in ["s begins with 10 credits", "tick 1", "cost", "checkpoint of tick", "sealed"] {
        assert!(timeline.contains(word), "no {word:?} in {timeline}");
    }
    for (args, word) in [
        (&["show", "s"][..], "this disk only"),
        (&["ps"], "stopped"),
        (&["verify", "s", "--execute"], "good"),
        (&["replay", "s", "--at", "2"], "after tick 2"),
        (&["key"], "did:key:z6Mk"),
        (&["config"], "price.per_second"),
    ] {
        assert!(text(args).contains(word), "{args:?}");
    }
}

#[test]
fn lines_of_agents_keep_their_tabs_and_no_other_control() {
    let home = Home::new();
    let agent = home.wat(
        "tabs.wasm",
        r#"(module (import "igor" "log_emit" (func $log (param i32 i32))) (memory (export "memory") 1)
            (data (i32.const 0) "price\t12\1b[2J") (func (export "agent_init"))
            (func (export "agent_tick") (call $log (i32.const 0) (i32.const 12))))"#,
    );
    for args in [&["run", &agent, "--ticks", "1", "--interval", "1ms"][..], &["logs", "tabs"]] {
        let said = home.plain(args);
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(text.contains(" price\t12\u{fffd}[2J\n"), "{args:?}: {text:?}");
    }
    assert_eq!(home.get(&["logs", "tabs"])["text"], "price\t12\u{1b}[2J", "scripts read it as it is");
}

#[test]
fn a_log_filter_that_makes_no_sense_is_no_silence() {
    let home = Home::new();
    let said = |filter: &str, args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_igor"));
        command.args(args).arg("--home").arg(home.path()).env_remove("IGOR_NODE").env("IGOR_LOG", filter);
        let said = command.output().expect("igor runs");
        (said.status.code(), said.stdout.is_empty(), String::from_utf8_lossy(&said.stderr).into_owned())
    };
    let run = ["run", STRATEGY, "--name", "s", "--interval", "1ms", "--ticks", "1"];
    for args in [&[][..], &run, &["ps"], &["verify", "s.igor"], &["doctor"], &["completions", "bash"]] {
        let (code, silent, words) = said("igor_node=loud", args);
        assert_eq!((code, silent), (Some(2), true), "{args:?}: {words}");
        for word in ["IGOR_LOG", "\"igor_node=loud\"", "debug", "TARGET=LEVEL"] {
            assert!(words.contains(word), "{args:?} does not say {word}: {words}");
        }
    }
    assert!(!home.path().exists(), "nothing was done");
    assert!(matches!(said("igor_node=info", &run), (Some(0), false, words) if words.contains("the home is open")));
    assert!(matches!(said("", &run), (Some(0), false, words) if words.is_empty()));
}

#[test]
fn a_reader_that_goes_away_stops_the_agent_cleanly() {
    let home = Home::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_igor"))
        .args(["run", STRATEGY, "--name", "s", "--interval", "1ms", "--json", "--home"])
        .arg(home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("igor runs");
    let stdout = child.stdout.take().expect("a pipe");
    let first = BufReader::new(stdout).lines().take(3).count();
    assert_eq!(first, 3);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let shown = home.get(&["show", "s"]);
    assert_eq!(shown["checkpoint_tick"], shown["tick"], "it stopped with a checkpoint");
    assert_eq!(home.get(&["verify", "s", "--execute"])["ok"], true);
}

#[test]
fn the_doctor_measures_and_leaves_nothing() {
    let home = Home::new();
    let found = home.ask(&["doctor"]);
    assert_eq!(found.code, Some(0), "{}", found.said);
    let sync = found.rows.iter().find(|row| row["check"] == "sync").expect("the disk is measured");
    assert!(sync["number"].as_u64().is_some_and(|nanos| nanos > 0));
    assert!(!home.path().exists());
}
