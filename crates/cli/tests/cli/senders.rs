//! Messages that follow an agent to a node where their sender is another, or the same.

use crate::{
    home::PRICES,
    hosts::{Host, Owner, TOKEN, ended, network, policy},
};
use serde_json::Value;

/// Two nodes that know each other, whose APIs are reached over TCP too, and an agent on the first.
fn two() -> (Owner, Host, Host) {
    let owner = Owner::new();
    let a = Host::start_over_tcp(&format!("{}{}", network(&[]), policy(&[&owner.key], &[])), "ci");
    let b = Host::start_over_tcp(&format!("{}{}", network(&[&a]), policy(&[&owner.key], &[&a])), "ci");
    owner.deploy(&a);
    a.meets(&b);
    (owner, a, b)
}

/// Sends all lines to these nodes, and moves the agent from the first to the second on the way.
fn send_and_move(owner: &Owner, a: &Host, b: &Host, nodes: [&str; 2]) -> std::process::Output {
    let sender = owner.start_with_token(&["send", "s", "--lines", PRICES, "--rate", "400", "--node", &nodes.join(",")]);
    let before = a.show()["seq"].as_u64();
    a.until("lines come in", |row| row["seq"].as_u64() > before.map(|before| before + 100));
    a.home.get(&["migrate", "s", &b.key]);
    sender.wait_with_output().expect("it ends")
}

/// The senders of the messages in the journal, in their order.
fn senders(host: &Host) -> Vec<String> {
    let rows = host.home.ask(&["timeline", "s"]).rows;
    let messages = rows.iter().filter(|row| row["kind"] == "message");
    messages.map(|row| row["sender"].as_str().expect("a sender").to_owned()).collect()
}

fn prices(host: &Host, nodes: &str, owner: &Owner) -> Value {
    let call = owner.start_with_token(&["call", "s", "report", "--node", nodes]);
    let row = ended(&call.wait_with_output().expect("it ends"), 0, &[]);
    host.ticks_on(&Value::Null);
    serde_json::from_str::<Value>(row["reply"].as_str().expect("a reply")).expect("a report")["prices"].clone()
}

#[test]
fn lines_do_not_follow_to_a_node_where_they_would_be_another_sender_s() {
    let (owner, a, b) = two();
    let output = send_and_move(&owner, &a, &b, [&a.api(), &b.tcp]);
    ended(&output, 3, &["uid:", "you are token:ci at this node", "nothing more is taken", "Ask each node as the same"]);
    let taken = senders(&b);
    assert!(taken.len() >= 100 && taken.len() < 3271, "{}", taken.len());
    assert!(taken.iter().all(|sender| sender.starts_with("uid:")), "nothing of it came from another");
    // What was not sent yet begins anywhere, also after it was sent on.
    assert!(prices(&b, &format!("{},{}", a.api(), b.tcp), &owner).as_u64() < Some(3270));
    // As it says: the same sender goes on with what is missing, and each line counts once.
    let rest = owner.get(&b, &["send", "s", "--lines", PRICES]);
    assert_eq!(rest["sent"].as_u64(), Some(3271 - taken.len() as u64), "{rest}");
    assert_eq!(prices(&b, &b.tcp, &owner), 3270);
}

#[test]
fn lines_follow_where_a_token_of_one_name_is_the_same_sender() {
    let (owner, a, b) = two();
    let output = send_and_move(&owner, &a, &b, [&a.tcp, &b.tcp]);
    assert_eq!(ended(&output, 0, &[])["lines"], 3271);
    assert_eq!(prices(&b, &b.tcp, &owner), 3270);
    let senders = senders(&b);
    assert_eq!(senders.len(), 3271 + 1, "each line once, and the question");
    assert!(senders.iter().all(|sender| sender == "token:ci"), "{TOKEN} is ci's");
}
