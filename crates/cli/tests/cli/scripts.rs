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
