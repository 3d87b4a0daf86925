//! Commands that ask a node for an agent that lives on another one.

use crate::{
    home::{IGOR, PRICES},
    hosts::{Host, Owner, network, policy},
};
use serde_json::Value;
use std::{process::Command, time::Instant};

#[test]
fn whoever_asks_the_wrong_node_is_told_which_one_is_right() {
    let owner = Owner::new();
    let a = Host::start(&format!("{}{}", network(&[]), policy(&[&owner.key], &[])));
    let b = Host::start(&format!("{}{}", network(&[&a]), policy(&[&owner.key], &[&a])));
    // It has never heard of the agent, and knows somebody who has it.
    let c = Host::start(&format!("{}{}", network(&[&b]), policy(&[], &[])));
    owner.deploy(&a);
    a.meets(&b);
    a.home.get(&["migrate", "s", &b.key]);
    let there = b.ticks_on(&Value::Null);
    a.until("it went", |row| row["status"] == "archived");
    for args in [
        &["send", "s", "x"][..],
        &["call", "s", "report"],
        &["pause", "s"],
        &["resume", "s"],
        &["fund", "s", "1"],
        &["end", "s"],
        &["migrate", "s", &b.key],
        &["logs", "s", "-f"],
        &["export", "s", "--out", &a.home.beside("s.igor"), "--release", "--to", &c.key],
    ] {
        let answer = a.home.fails(args, 3, &[&b.key, "--node", "/ip4/127.0.0.1"]);
        let row = answer.rows.last().unwrap_or_else(|| panic!("{args:?} says nothing to scripts"));
        assert_eq!((&row["error"], &row["node"]), (&"moved".into(), &b.key.as_str().into()), "{args:?}: {row}");
        assert_eq!((&row["epoch"], row["addresses"][0].is_string()), (&"0.1".into(), true), "{args:?}: {row}");
    }
    // What only looks works, and says where it went on.
    let shown = a.show();
    assert_eq!((&shown["moved"]["node"], &shown["moved"]["by"]), (&b.key.as_str().into(), &"records".into()));
    assert_eq!(a.home.ask(&["logs", "s"]).code, Some(0));

    c.meets(&b);
    let id = there["agent"].as_str().expect("an id");
    let found = c.home.get(&["show", id]);
    assert_eq!((&found["status"], &found["node"]), (&"elsewhere".into(), &b.key.as_str().into()), "{found}");
    assert_eq!((&found["by"], &found["answers"]), (&"peers".into(), &true.into()), "{found}");
    c.home.fails(&["show", "s"], 1, &["no agent s"]);

    // Where several nodes are named, a command goes to the one that has it.
    let both = format!("{},{}", a.api(), b.api());
    assert!(owner.home.get(&["call", "s", "report", "--node", &both])["reply"].is_string());
    assert_eq!(owner.home.get(&["fund", "s", "1", "--node", &both])["funded"], "2");
    assert_eq!(b.show()["funded"], "2");
    // A socket in the folder where the command is given needs no slash.
    let mut near = Command::new(IGOR);
    near.args(["ps", "--node", "node.sock", "--home"]).arg(owner.home.path()).current_dir(b.home.path());
    assert!(near.output().expect("igor runs").status.success());
    owner.home.fails(&["ps", "--node", "nosuch.sock"], 5, &["./NAME"]);
    // The file of a dead socket is no node.
    let neither = format!("{},{}", a.api(), c.api());
    owner.home.fails(&["call", "s", "report", "--node", &neither], 3, &[&b.key]);
}

/// Two nodes that know each other, an agent on the first, and what names both.
fn two() -> (Owner, Host, Host, String) {
    let owner = Owner::new();
    let a = Host::start(&format!("{}{}", network(&[]), policy(&[&owner.key], &[])));
    let b = Host::start(&format!("{}{}", network(&[&a]), policy(&[&owner.key], &[&a])));
    owner.deploy(&a);
    a.meets(&b);
    let both = format!("{},{}", a.api(), b.api());
    (owner, a, b, both)
}

#[test]
fn a_sender_follows_the_agent_and_each_line_counts_once() {
    let (owner, a, b, both) = two();
    let mut sender = owner.home.start(&["send", "s", "--lines", PRICES, "--rate", "800", "--node", &both]);
    let taken = |row: &Value| row["seq"].as_u64().unwrap_or(0);
    let begun = taken(&a.show());
    a.until("lines come in", |row| taken(row) > begun + 100);
    a.home.get(&["migrate", "s", &b.key]);
    let begun = Instant::now();
    let (status, rows) = sender.end().expect("it ends");
    assert_eq!(status.code(), Some(0), "after {:?}: {rows:?}", begun.elapsed());
    assert_eq!(rows.last().map(|row| &row["lines"]), Some(&3271.into()), "{rows:?}");
    let report: Value = {
        let row = owner.home.get(&["call", "s", "report", "--node", &both]);
        serde_json::from_str(row["reply"].as_str().expect("a reply")).expect("a report")
    };
    // A line of the file is its heading.
    assert_eq!((&report["prices"], &report["ignored"]), (&3270.into(), &0.into()), "{report}");
    assert_ne!(b.show()["status"], "archived");
}

#[test]
fn orders_during_a_move_wait_for_its_end() {
    let (owner, a, b, both) = two();
    let mut moving = a.home.start(&["migrate", "s", &b.key]);
    // Whether one hits the pause is chance; what each does must not be.
    let mut given = 0;
    while b.home.ask(&["show", "s"]).rows.is_empty() || b.show()["custodian"] != b.key.as_str() {
        owner.home.get(&["fund", "s", "1", "--node", &both]);
        given += 1;
    }
    assert!(moving.end().expect("it ends").0.success());
    owner.home.get(&["fund", "s", "1", "--node", &both]);
    assert_eq!(b.show()["funded"], (given + 2).to_string(), "it had one credit, and each came once");
}

#[test]
fn a_command_follows_the_agent_and_not_its_name() {
    let owner = Owner::new();
    let a = Host::start(&format!("{}{}", network(&[]), policy(&[&owner.key], &[])));
    let b = Host::start(&format!("{}{}", network(&[&a]), policy(&[&owner.key], &[&a])));
    let (here, other) = (owner.deploy(&a), owner.deploy(&b));
    assert_ne!(here["agent"], other["agent"]);
    a.meets(&b);
    a.home.get(&["migrate", "s", &b.key]);
    a.until("it went", |row| row["status"] == "archived");
    let both = format!("{},{}", a.api(), b.api());
    owner.home.get(&["fund", "s", "1", "--node", &both]);
    owner.home.get(&["call", "s", "report", "--node", &both]);
    let funded = |agent: &Value| b.home.get(&["show", agent.as_str().expect("an id")])["funded"].clone();
    assert_eq!((funded(&here["agent"]), funded(&other["agent"])), ("2".into(), "1".into()));
    let messages = b.home.ask(&["timeline", "s"]).rows.iter().filter(|row| row["kind"] == "message").count();
    assert_eq!(messages, 0, "the one that is called so at the other node hears nothing");
}
