//! Custody that goes by file, with kills between every two steps.

use crate::{
    home::Home,
    hosts::{Host, Owner, network, policy},
};
use igor_node::client::{Address, Client};
use serde_json::Value;
use std::{
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

#[test]
fn an_agent_goes_by_file_and_only_where_it_was_given() {
    let owner = Owner::new();
    let a = Host::start(&policy(&[&owner.key], &[]));
    // It serves somebody else, and takes nothing from anybody.
    let mut b = Host::start(&policy(&[], &[]));
    let c = Host::start(&policy(&[&owner.key], &[&a]));
    let before = owner.deploy(&a);
    let file = a.home.beside("s.igor");
    a.home.fails(&["export", "s", "--out", "/nowhere/s.igor", "--release", "--to", &b.key], 1, &["nothing was given"]);
    a.home.fails(&["export", "s", "--out", &file, "--release", "--to", &a.key], 3, &["lives on that node already"]);
    a.ticks_on(&before);

    let release = ["export", "s", "--out", &file, "--release", "--to", &b.key];
    let row = a.home.get(&release);
    let released = &row["released"];
    assert_eq!((&released["to"], &released["epoch"]), (&b.key.as_str().into(), &"0.1".into()), "{row}");
    let moving = a.show();
    assert_eq!((&moving["status"], &moving["moved"]["node"]), (&"moving".into(), &b.key.as_str().into()));
    a.home.fails(&["call", "s", "report", "--timeout", "1s"], 5, &["on its way", &b.key]);
    owner.fails(&a, &["fund", "s", "1"], 5, &["on its way"]);
    let other = a.home.beside("other.igor");
    a.home.fails(&["export", "s", "--out", &other, "--release", "--to", &c.key], 3, &["was given to", &b.key]);
    // The same again is the same handoff.
    assert_eq!(a.home.get(&release)["released"], *released);

    c.home.fails(&["import", &file], 3, &[&b.key, &c.key, "import it there"]);
    assert!(c.home.ask(&["ps"]).rows.is_empty());
    let kept = c.home.get(&["import", &file, "--archive", "--name", "old"]);
    assert_eq!((&kept["custody"], &c.home.get(&["show", "old"])["status"]), (&false.into(), &"archived".into()));

    // What is refused stays good.
    b.home.fails(&["import", &file], 3, &["policy.owners", "policy.nodes"]);
    assert!(b.home.ask(&["ps"]).rows.is_empty());
    b.kill();
    b.begin(&format!("[price]\nper_second = \"0.002\"\n{}", policy(&[], &[&a])));
    b.home.fails(&["import", &file], 3, &["0.001", "0.002"]);
    b.kill();
    b.begin(&policy(&[], &[&a]));
    let row = b.home.get(&["import", &file]);
    assert_eq!((&row["custody"], &row["added"]), (&true.into(), &row["entries"]), "{row}");
    let there = b.ticks_on(&moving);
    assert_eq!((&there["epoch"], &there["status"] == "moving"), (&"0.1".into(), false));
    let again = b.home.get(&["import", &file]);
    assert_eq!((&again["custody"], &again["added"]), (&true.into(), &0.into()), "{again}");
    b.ticks_on(&there);
    assert_eq!(b.home.get(&["verify", "s", "--execute"])["ok"], true);

    // They never meet. A file brings the answer as well.
    assert_eq!(a.show()["status"], "moving");
    let answer = b.home.beside("back.igor");
    b.home.get(&["export", "s", "--out", &answer]);
    a.home.get(&["import", &answer]);
    let left = a.show();
    assert_eq!((&left["status"], &left["custodian"]), (&"archived".into(), &b.key.as_str().into()));
}

#[test]
fn a_kill_between_the_handoff_and_its_file_loses_nothing() {
    let owner = Owner::new();
    let mut a = Host::start(&policy(&[&owner.key], &[]));
    let b = Host::start(&policy(&[&owner.key], &[]));
    owner.deploy(&a);
    let client = Client::new(Address::Socket(a.home.path().join("node.sock")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let to = b.key.parse().expect("a key");
    let released = runtime.block_on(client.release("s", to, None)).expect("it is given away");
    a.kill();
    assert_eq!(a.show()["status"], "moving", "also without a node");
    a.begin(&policy(&[&owner.key], &[]));
    let moving = a.show();
    assert_eq!(moving["status"], "moving");
    let file = a.home.beside("s.igor");
    let release = ["export", "s", "--out", &file, "--release", "--to", &b.key];
    let row = a.home.get(&release);
    assert_eq!(row["released"]["epoch"], released.epoch.to_string());
    // Neither does it take a node.
    a.kill();
    assert_eq!(a.home.get(&release)["released"], row["released"]);
    b.home.get(&["import", &file]);
    b.ticks_on(&moving);
}

#[test]
fn an_import_that_is_killed_at_any_time_goes_on() {
    let owner = Owner::new();
    let a = Host::start(&policy(&[&owner.key], &[]));
    // Its keys, and no node: each import has the home for a moment.
    let home = Home::new();
    let keys = home.ask(&["key", "--create"]).rows;
    let key = keys.iter().find(|row| row["role"] == "node").and_then(|row| row["key"].as_str()).expect("a node's key");
    std::fs::write(home.path().join("node.toml"), policy(&[&owner.key], &[])).expect("it can be written");
    owner.deploy(&a);
    let file = a.home.beside("s.igor");
    a.home.get(&["export", "s", "--out", &file, "--release", "--to", key]);
    for after_ms in [3, 10, 20, 40, 80, 160, 320] {
        let mut import = Command::new(env!("CARGO_BIN_EXE_igor"));
        import.args(["import", &file, "--home"]).arg(home.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut import = import.spawn().expect("it starts");
        sleep(Duration::from_millis(after_ms));
        import.kill().expect("it can be killed");
        import.wait().expect("it ends");
        let rows = home.ask(&["ps"]).rows;
        assert!(rows.len() <= 1, "{rows:?}");
    }
    let row = home.get(&["import", &file]);
    assert_eq!(row["custody"], true);
    let shown = home.get(&["show", "s"]);
    assert_eq!((&shown["custodian"], &shown["epoch"]), (&key.into(), &"0.1".into()), "{shown}");
    assert_eq!(home.get(&["verify", "s", "--execute"])["ok"], true);
    let run = home.get(&["run", crate::home::STRATEGY, "--name", "s", "--interval", "1ms", "--ticks", "2"]);
    assert!(run["tick"].as_u64() > shown["tick"].as_u64(), "{run}");
}

#[test]
fn who_was_away_takes_it_when_the_nodes_meet() {
    let owner = Owner::new();
    let a = Host::start(&format!("{}{}", network(&[]), policy(&[&owner.key], &[])));
    let mut b = Host::start("");
    b.kill();
    owner.deploy(&a);
    let file = a.home.beside("s.igor");
    a.home.get(&["export", "s", "--out", &file, "--release", "--to", &b.key]);
    let moving = a.show();
    assert_eq!(moving["status"], "moving");
    b.begin(&format!("{}{}", network(&[&a]), policy(&[], &[&a])));
    let there = b.ticks_on(&moving);
    assert_eq!(there["epoch"], "0.1");
    a.until("the answer is heard", |row| row["status"] == "archived");
    // The file says nothing new.
    let again = b.home.get(&["import", &file]);
    assert_eq!((&again["custody"], &again["added"]), (&true.into(), &0.into()), "{again}");
    assert_eq!(b.ticks_on(&there)["custodian"], Value::from(b.key.as_str()));
}
