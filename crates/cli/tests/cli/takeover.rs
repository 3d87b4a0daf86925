//! An owner's takeover: from an archive, from an export, after the node that had the agent is gone; what its old node
//! does when it is back; and what is refused.

use crate::hosts::{Host, Owner, network, policy};
use igor_node::{
    RealWorld,
    client::{Address, Client, Error},
    home::{Home, Role},
};
use igor_protocol::{
    AgentId, Epoch, NodeId, Seq, Terms,
    entry::{Action, OrderBody},
};
use igor_spine::World;
use serde_json::Value;
use std::fs;

/// An owner, and two nodes that serve it and are connected. The second takes agents from the first.
fn pair() -> (Owner, Host, Host) {
    let owner = Owner::new();
    let a = Host::start(&format!("{}{}", network(&[]), policy(&[&owner.key], &[])));
    let b = Host::start(&format!("{}{}", network(&[&a]), policy(&[&owner.key], &[&a])));
    a.meets(&b);
    (owner, a, b)
}

#[test]
fn from_an_archive_when_the_node_that_had_it_is_gone() {
    let (owner, a, mut b) = pair();
    owner.deploy(&a);
    a.home.get(&["migrate", "s", &b.key]);
    let there = b.ticks_on(&a.show());
    assert_eq!(there["epoch"], "0.1");
    let left = a.show();
    assert_eq!((&left["status"], &left["moved"]["node"]), (&"archived".into(), &b.key.as_str().into()));

    // Its node is well.
    owner.fails(&a, &["takeover", "s"], 3, &[&b.key, "answers", "--force"]);
    // It is another's agent.
    Owner::new().fails(&a, &["takeover", "s"], 3, &["only", &owner.key]);
    owner.fails(&b, &["takeover", "s"], 3, &["nothing to take over"]);
    assert_eq!(a.show(), left, "nothing changed");

    b.kill();
    fs::remove_dir_all(b.home.path()).expect("a home can be lost");
    let row = owner.get(&a, &["takeover", "s"]);
    assert_eq!((&row["epoch"], &row["custodian"]), (&"1.0".into(), &a.key.as_str().into()), "{row}");
    assert_eq!((&row["before"], &row["before_answers"]), (&b.key.as_str().into(), &false.into()), "{row}");
    assert_eq!(row["base_seq"], left["seq"], "from the last entry that is here");
    let now = a.ticks_on(&left);
    assert_eq!(now["epoch"], "1.0");
    assert_eq!(a.home.get(&["verify", "s", "--execute"])["ok"], true);
    // Orders count on, on the new branch.
    assert_eq!(owner.get(&a, &["fund", "s", "1"])["funded"], "2");
    owner.fails(&a, &["takeover", "s"], 3, &["nothing to take over"]);
}

#[test]
fn from_an_export_and_the_old_node_comes_back() {
    let (owner, mut a, b) = pair();
    owner.deploy(&a);
    a.home.get(&["call", "s", "report", "--id", "before"]);
    let file = owner.home.beside("s.igor");
    a.home.get(&["export", "s", "--out", &file]);
    let lost = a.home.get(&["call", "s", "report", "--id", "after"])["seq"].clone();
    a.kill();

    let row = owner.get(&b, &["takeover", &file]);
    assert_eq!(row["epoch"], "1.0", "{row}");
    let there = b.ticks_on(&Value::Null);
    assert_eq!((&there["epoch"], &there["custodian"]), (&"1.0".into(), &b.key.as_str().into()));
    assert_eq!(b.home.get(&["verify", "s", "--execute"])["ok"], true);

    a.begin(&format!("{}{}", network(&[&b]), policy(&[&owner.key], &[])));
    let back = a.until("it hears of the takeover", |row| row["status"] == "orphaned");
    assert_eq!((&back["node"], &back["epoch"]), (&b.key.as_str().into(), &"1.0".into()), "{back}");
    let orphan = &back["orphans"][0];
    let messages = orphan["messages"].as_array().expect("a list");
    assert!(messages.iter().any(|message| message["id"] == "after" && message["seq"] == lost), "{orphan}");
    assert!(messages.iter().all(|message| message["id"] != "before"), "{orphan}");
    let replies = orphan["replies"].as_array().expect("a list");
    assert!(replies.iter().any(|reply| reply["message"] == lost), "{orphan}");
    assert_eq!(orphan["effects"], Value::Array(vec![]));
    assert_eq!(orphan["from"].as_u64(), row["base_seq"].as_u64().map(|seq| seq + 1), "{orphan}");
    // It does not run there, and whoever asks is sent on.
    assert!(a.home.ask(&["ps"]).rows.is_empty());
    a.home.fails(&["call", "s", "report"], 3, &[&b.key]);
    assert!(a.log().contains("only_there") && a.log().contains("\"after\""), "the log says what is lost");
    // The branch is a history of its own.
    let rows = a.home.ask(&["ps", "--orphans"]).rows;
    assert_eq!((rows.len(), &rows[0]["file"]), (1, &orphan["file"]));
    let kept = orphan["file"].as_str().expect("a file");
    assert_eq!(a.home.get(&["verify", kept])["ok"], true);
    let from = orphan["from"].to_string();
    let timeline = a.home.ask(&["timeline", kept, "--from", &from]).rows;
    assert_eq!(timeline.len() as u64, orphan["entries"].as_u64().expect("a number"));
    // All of that is so after another kill, and without the node.
    a.kill();
    assert_eq!(
        a.show(),
        Value::Object({
            let mut row = back.as_object().expect("a row").clone();
            row.insert("addresses".into(), Value::Array(vec![]));
            row
        })
    );
}

#[test]
fn of_a_node_that_lives_it_must_be_forced_and_stops_it() {
    let (owner, a, b) = pair();
    owner.deploy(&a);
    let file = owner.home.beside("s.igor");
    a.home.get(&["export", "s", "--out", &file]);
    owner.fails(&b, &["takeover", &file], 3, &[&a.key, "answers"]);
    owner.get(&b, &["takeover", "s", "--force"]);
    // It hears of it while it runs.
    a.until("it stops", |row| row["status"] == "orphaned");
    b.ticks_on(&Value::Null);
}

fn client(host: &Host) -> (Client, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    (Client::new(Address::Socket(host.home.path().join("node.sock"))), runtime)
}

#[test]
fn an_order_counts_only_as_it_was_signed() {
    let (owner, a, b) = pair();
    owner.deploy(&a);
    let file = owner.home.beside("s.igor");
    a.home.get(&["export", "s", "--out", &file]);
    b.home.get(&["import", &file]);
    let here = b.show();
    let key = Home::existing(&owner.home.path()).expect("a home").keys().read(Role::Owner).expect("a key");
    let agent: AgentId = here["agent"].as_str().expect("an id").parse().expect("an id");
    let (client, runtime) = client(&b);
    let order = |custodian: &str, base: u64, counter: u64, price: u64| {
        let action = Action::Takeover {
            base_seq: Seq(base),
            base_head: here["head"].as_str().expect("a head").parse().expect("a hash"),
            custodian: custodian.parse::<NodeId>().expect("a key"),
            terms: Terms { price_per_ns: price, price_per_fuel: 0 },
        };
        OrderBody { agent, term: 0, counter, at: RealWorld.wall_clock(), action }.sign(&key)
    };
    let base = here["seq"].as_u64().expect("a position");
    let price = 1_000_000;
    let refused = |order| match runtime.block_on(client.take_over("s", &order)) {
        Err(Error::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(order(&a.key, base, 1, price)), "other_custodian", "it names another node");
    assert_eq!(refused(order(&b.key, base - 1, 1, price)), "order_refused", "the journal goes on after that base");
    assert_eq!(refused(order(&b.key, base, 1, price - 1)), "price", "it pays too little");
    assert_eq!(refused(order(&b.key, base, 0, price)), "order_refused", "it is no newer than what there is");
    assert_eq!(b.show(), here, "nothing changed");
    let right = order(&b.key, base, 7, price);
    assert_eq!(runtime.block_on(client.take_over("s", &right)).expect("it is right"), Epoch { term: 7, n: 0 });
    b.ticks_on(&here);
    // An answer may be lost: the same order again is the same takeover.
    assert_eq!(runtime.block_on(client.take_over("s", &right)).expect("it is the same"), Epoch { term: 7, n: 0 });
}
