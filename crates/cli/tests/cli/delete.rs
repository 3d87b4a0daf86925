//! `delete`: archives and orphaned branches go, what custody needs stays, and what lives here is not touched.

use crate::{
    home::Home,
    hosts::{Host, Owner, network, policy},
};
use serde_json::Value;
use std::{fs, path::Path};

fn blobs(home: &Home) -> usize {
    fs::read_dir(home.path().join("blobs")).expect("it is there").count()
}

fn journals(home: &Path) -> usize {
    fs::read_dir(home.join("agents")).expect("it is there").count()
}

#[test]
fn an_archive_goes_with_what_only_it_named() {
    let home = Home::new();
    home.get(&["run", &home.wat("idle.wasm", crate::lives::IDLE), "--name", "s", "--interval", "1ms", "--ticks", "2"]);
    let file = home.beside("s.igor");
    home.get(&["export", "s", "--out", &file]);
    home.fails(&["delete", "s"], 3, &["this node's", "igor migrate"]);
    assert_eq!(home.get(&["show", "s"])["status"], "stopped", "nothing changed");

    let elsewhere = Home::with_strategy(1);
    let own = blobs(&elsewhere);
    elsewhere.get(&["import", &file, "--name", "old"]);
    assert!(blobs(&elsewhere) > own);
    let entries = elsewhere.ask(&["timeline", "old"]).rows.len() as u64;
    let row = elsewhere.get(&["delete", "old"]);
    assert_eq!((row["entries"].as_u64(), &row["name"]), (Some(entries), &"old".into()), "{row}");
    assert!(row["bytes"].as_u64() > Some(entries), "it was counted: {row}");
    elsewhere.fails(&["show", "old"], 1, &["old"]);
    elsewhere.fails(&["delete", "old"], 1, &["old"]);
    assert_eq!(blobs(&elsewhere), own, "what the agent here names stays, and nothing else");
    assert_eq!(elsewhere.get(&["verify", "s", "--execute"])["ok"], true);
    // It may come again.
    assert_eq!(elsewhere.get(&["import", &file, "--name", "again"])["added"].as_u64(), Some(entries));
}

#[test]
fn what_stays_is_enough_for_the_agent_to_come_back() {
    let owner = Owner::new();
    let mut a = Host::start(&format!("{}{}", network(&[]), policy(&[&owner.key], &[])));
    let b = Host::start(&format!("{}{}", network(&[&a]), policy(&[&owner.key], &[&a])));
    a.meets(&b);
    owner.deploy(&a);
    a.home.fails(&["delete", "s"], 3, &["this node's"]);
    a.home.get(&["migrate", "s", &b.key]);
    b.ticks_on(&a.show());
    let agent = a.show()["agent"].as_str().expect("an id").to_owned();
    b.home.fails(&["delete", &agent], 3, &["this node's"]);

    let row = a.home.get(&["delete", "s"]);
    assert!(row["entries"].as_u64() > Some(0), "{row}");
    // Where it is stays known, by its name too, and what nobody names goes at the next start.
    let shown = a.show();
    assert_eq!((&shown["status"], &shown["node"]), (&"elsewhere".into(), &b.key.as_str().into()), "{shown}");
    assert!(blobs(&a.home) > 0, "a node that runs may be about to name one of them");
    a.kill();
    a.begin(&format!("{}{}", network(&[&b]), policy(&[&owner.key], &[&b])));
    assert_eq!((blobs(&a.home), journals(&a.home.path())), (0, 0));
    b.meets(&a);
    b.home.get(&["migrate", "s", &a.key]);
    let back = a.ticks_on(&Value::Null);
    assert_eq!(back["epoch"], "0.2");
    assert_eq!(a.home.get(&["verify", "s", "--execute"])["ok"], true);
}

#[test]
fn what_waits_for_an_answer_stays() {
    let owner = Owner::new();
    let a = Host::start(&format!("{}{}", network(&[]), policy(&[&owner.key], &[])));
    let b = Host::start(&format!("{}{}", network(&[]), policy(&[&owner.key], &[])));
    owner.deploy(&a);
    let file = a.home.beside("s.igor");
    a.home.get(&["export", "s", "--out", &file, "--release", "--to", &b.key]);
    a.home.fails(&["delete", "s"], 3, &["has not answered", &b.key]);
    assert_eq!(a.show()["status"], "moving");
}

#[test]
fn orphaned_branches_go_alone() {
    let owner = Owner::new();
    let mut a = Host::start(&format!("{}{}", network(&[]), policy(&[&owner.key], &[])));
    let b = Host::start(&format!("{}{}", network(&[&a]), policy(&[&owner.key], &[&a])));
    a.meets(&b);
    owner.deploy(&a);
    let file = owner.home.beside("s.igor");
    a.home.get(&["export", "s", "--out", &file]);
    a.home.get(&["call", "s", "report"]);
    a.kill();
    owner.get(&b, &["takeover", &file]);
    a.begin(&format!("{}{}", network(&[&b]), policy(&[&owner.key], &[])));
    let orphaned = a.until("it hears of the takeover", |row| row["status"] == "orphaned");
    let kept = orphaned["orphans"][0]["file"].as_str().expect("a file").to_owned();
    a.home.fails(&["delete", "s"], 1, &["no journal"]);
    let row = a.home.get(&["delete", "s", "--orphans"]);
    assert_eq!(row["orphans"], 1, "{row}");
    assert_eq!(row["bytes"].as_u64().map(|bytes| bytes > 0), Some(true), "{row}");
    assert!(!Path::new(&kept).exists() && a.home.ask(&["ps", "--orphans"]).rows.is_empty());
    assert_eq!(a.show()["status"], "elsewhere");
    assert_eq!(a.home.get(&["delete", "s", "--orphans"])["orphans"], 0);
}
