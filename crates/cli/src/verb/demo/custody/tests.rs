//! The checks see what they are for.

use super::*;
use serde_json::json;

fn life() -> Vec<Value> {
    let run = |seq: u64, epoch: &str, time: u64, fuel: u64, cost: &str, balance: &str| json!({"seq": seq, "kind": "run", "epoch": epoch, "duration_ns": time, "fuel": fuel, "cost": cost, "balance": balance});
    vec![
        json!({"seq": 0, "kind": "genesis", "epoch": "0.0", "custodian": "a", "price_per_second": "1"}),
        run(1, "0.0", 1_000, 7, "0.000001", "9"),
        json!({"seq": 2, "kind": "custody", "epoch": "0.1", "phase": "handoff", "from": "a", "to": "b", "price_per_second": "2"}),
        json!({"seq": 3, "kind": "custody", "epoch": "0.1", "phase": "accept", "from": "a", "to": "b", "price_per_second": "2"}),
        run(4, "0.1", 1_000, 5, "0.000052", "8"),
        json!({"seq": 5, "kind": "custody", "epoch": "0.2", "phase": "handoff", "from": "b", "to": "a", "price_per_second": "1"}),
        json!({"seq": 6, "kind": "custody", "epoch": "0.3", "phase": "return", "from": "b", "to": "a"}),
        run(7, "0.3", 3_000_000, 0, "0.002", "7"),
        run(8, "0.3", 1_000, 0, "0.000001", "0"),
    ]
}

fn read(rows: &[Value]) -> Result<Custody, String> {
    let rate = |per_second, per_fuel| Rate::new(per_second, per_fuel).unwrap();
    let rates = [("a".to_owned(), rate("1", "0")), ("b".to_owned(), rate("2", "0.00001"))];
    let mut custody = Custody::new(rates.into_iter().collect());
    rows.iter().try_for_each(|row| custody.take(row)).map(|()| custody)
}

fn changed(at: usize, field: &str, value: &str) -> String {
    let mut rows = life();
    rows[at][field] = value.into();
    read(&rows).unwrap_err()
}

#[test]
fn what_holds_passes() {
    let custody = read(&life()).unwrap();
    let epochs = [((0, 0), "a"), ((0, 1), "b"), ((0, 3), "b")].map(|(epoch, node)| (epoch, node.to_owned()));
    assert_eq!((custody.epochs(), custody.bills()), (&epochs[..], 4));
}

#[test]
fn what_does_not_hold_is_named() {
    let says = |why: String, words: &str| assert!(why.contains(words), "{why}");
    says(changed(1, "cost", "0.000001000000000001"), "by its host's price");
    says(changed(1, "cost", "0.000000999999999999"), "by its host's price");
    says(changed(4, "cost", "0.000051"), "by its host's price");
    says(changed(7, "cost", "0.000999"), "by its host's price");
    says(changed(7, "cost", "0.006000000000000001"), "by its host's price");
    says(changed(3, "price_per_second", "1"), "not what it asks");
    says(changed(4, "epoch", "0.0"), "after (0, 1)");
    says(changed(4, "epoch", "0.2"), "raises the epoch");
    says(changed(2, "from", "b"), "handoff");
    says(changed(3, "to", "a"), "accept");
    let mut rows = life();
    rows.remove(3);
    says(read(&rows).unwrap_err(), "a run after the agent was given to b");
    let mut rows = life();
    rows.remove(2);
    says(read(&rows).unwrap_err(), "accept");
}
