//! Orders of the owner, with a node and without.

use crate::home::{Home, STRATEGY, await_event, of};

#[test]
fn funding_adds_up_wherever_it_is_given() {
    let home = Home::with_strategy(1);
    assert_eq!(home.get(&["fund", "s", "1"])["funded"], "11");
    assert_eq!(home.get(&["fund", "s", "0.000000000000000001"])["funded"], "11.000000000000000001");
    let mut actor = home.run(&[STRATEGY, "--name", "s", "--interval", "5ms"]);
    assert_eq!(home.get(&["fund", "s", "2"])["funded"], "13.000000000000000001");
    let rows = await_event(&actor, "funded");
    assert_eq!(rows.last().map(|row| &row["funded"]), Some(&"13.000000000000000001".into()));
    actor.kill().expect("it can be killed");
    assert_eq!(home.get(&["show", "s"])["funded"], "13.000000000000000001");
    let orders: Vec<_> = home.ask(&["timeline", "s"]).rows.into_iter().filter(|row| row["kind"] == "order").collect();
    assert_eq!(orders.iter().map(|row| row["counter"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    assert_eq!(home.get(&["verify", "s", "--execute"])["ok"], true);
}

#[test]
fn money_that_cannot_be_counted_is_refused() {
    let home = Home::with_strategy(1);
    let most = "340282366920938463463.374607431768211455";
    home.fails(&["fund", "s", most], 3, &["cannot be counted"]);
    home.fails(&["fund", "s", "340282366920938463464"], 2, &["too large"]);
    home.fails(&["fund", "s", "0"], 2, &["above zero"]);
    assert_eq!(home.get(&["show", "s"])["funded"], "10");
}

#[test]
fn an_owner_ends_an_agent_for_good() {
    let home = Home::with_strategy(1);
    let run = ["run", STRATEGY, "--name", "s", "--interval", "5ms"];
    home.get(&["end", "s"]);
    let answer = home.ask(&run);
    assert_eq!(answer.code, Some(0), "{}", answer.said);
    assert_eq!(of(&answer.rows, "ended")[0]["cause"], "recalled");
    assert_eq!(home.get(&["show", "s"])["status"], "ended");
    home.fails(&["fund", "s", "1"], 3, &["recalled"]);
    home.fails(&["end", "s"], 3, &["recalled"]);

    let other = ["run", STRATEGY, "--name", "t", "--interval", "5ms"];
    let mut actor = home.run(&other[1..]);
    home.get(&["end", "t"]);
    let (status, rows) = actor.end().expect("it ends by itself");
    assert!(status.success() && of(&rows, "ended").len() == 1);
}

#[test]
fn only_the_owner_gives_orders() {
    let home = Home::with_strategy(1);
    let owner = home.path().join("keys/owner.key");
    let other = Home::with_strategy(1);
    std::fs::copy(other.path().join("keys/owner.key"), &owner).expect("the key can be replaced");
    home.fails(&["fund", "s", "1"], 3, &["only did:key:"]);
    home.fails(&["end", "s"], 3, &["only did:key:"]);
    std::fs::remove_file(&owner).expect("the key can be removed");
    home.fails(&["fund", "s", "1"], 1, &["owner.key"]);
    assert_eq!(home.get(&["show", "s"])["funded"], "10");
}
