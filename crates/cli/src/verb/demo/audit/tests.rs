//! The checks see what they are for.

use super::*;
use serde_json::json;

fn journal() -> Vec<Value> {
    vec![
        json!({"seq": 0, "kind": "genesis", "budget": "10"}),
        json!({"seq": 1, "kind": "run", "call": "init", "tick": 0, "outcome": "ok", "cost": "1", "messages": []}),
        json!({"seq": 2, "kind": "message", "stream": "s", "n": 1}),
        json!({"seq": 3, "kind": "message", "id": "q"}),
        json!({"seq": 4, "kind": "run", "call": "tick", "tick": 1, "outcome": "trap", "cost": "1", "messages": [2], "head": "a"}),
        json!({"seq": 5, "kind": "run", "call": "tick", "tick": 2, "outcome": "ok", "cost": "1", "messages": [2, 3], "head": "b"}),
        json!({"seq": 6, "kind": "order", "action": "fund", "total": "12"}),
        json!({"seq": 7, "kind": "end"}),
    ]
}

fn read(rows: &[Value]) -> Journal {
    let mut journal = Journal::default();
    for row in rows {
        journal.take(row).unwrap();
    }
    journal
}

fn told(tick: u64, seq: u64, head: &str) -> Announced {
    Announced { tick, seq, head: head.to_owned() }
}

#[test]
fn what_holds_passes() {
    let journal = read(&journal());
    assert_eq!((journal.entries(), journal.ticks(), journal.ends()), (8, 2, 1));
    assert_eq!(journal.announced_are_there(&[told(1, 4, "a"), told(2, 5, "b")]), Ok(()));
    assert_eq!(journal.announced_are_there(&[told(2, 5, "b")]), Ok(()), "a kill may eat an announcement");
    assert_eq!((journal.has(5, "b"), journal.has(5, "a"), journal.has(8, "b")), (true, false, false));
    assert_eq!(journal.stream_once("s", 1), Ok(()));
    assert_eq!(journal.ids_once(["q".to_owned()].into_iter()), Ok(1));
    let money = journal.money("9".parse().unwrap()).unwrap();
    assert_eq!((money.funded.to_string(), money.spent.to_string()), ("12".to_owned(), "3".to_owned()));
}

#[test]
fn what_does_not_hold_is_named() {
    let fails = |result: Result<(), String>, words: &str| {
        let why = result.unwrap_err();
        assert!(why.contains(words), "{why}");
    };
    let good = read(&journal());
    fails(good.announced_are_there(&[told(3, 9, "c")]), "lost");
    fails(good.announced_are_there(&[told(2, 6, "b")]), "another");
    fails(good.announced_are_there(&[told(2, 5, "c")]), "another");
    fails(good.announced_are_there(&[told(2, 5, "b"), told(2, 5, "b")]), "after tick 2");
    fails(good.stream_once("s", 2), "1 messages are there, 2 were sent");
    fails(good.ids_once(["p".to_owned()].into_iter()).map(drop), "lost");
    fails(good.money("9.000000000000000001".parse().unwrap()).map(drop), "but the balance is");

    let mut twice = journal();
    twice[4]["outcome"] = "ok".into();
    fails(read(&twice).stream_once("s", 1), "processed 2 times");
    let mut never = journal();
    never[5]["outcome"] = "trap".into();
    fails(read(&never).stream_once("s", 1), "processed 0 times");
    fails(read(&never).ids_once(["q".to_owned()].into_iter()).map(drop), "processed 0 times");
    let mut gap = journal();
    gap.remove(4);
    fails(read(&gap).announced_are_there(&[]), "tick 2 stands where tick 1 should");
    let mut again = journal();
    again.insert(4, json!({"seq": 9, "kind": "message", "id": "q"}));
    fails(read(&again).ids_once(std::iter::empty()).map(drop), "twice");
}
