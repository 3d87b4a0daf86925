//! A dishonest node, which signs what it forges: the chain holds, and `verify` still names the run.

use crate::home::Home;
use igor_node::home::{Home as NodeHome, Role};
use igor_protocol::{
    Body, Chain, Commit, Credits, Entry, Fuel, Seq,
    archive::{Frame, Parser, Writer},
    entry::{Request, Run, Seal},
};
use std::fs;

/// A file like that of the home's strategy, but with its last tick changed, and everything after it chained and
/// sealed anew with the node's own key. Gives the file and the position of the run.
fn forge(home: &Home, change: impl FnOnce(&mut Run)) -> (String, u64) {
    let honest = home.beside("honest.igor");
    home.get(&["export", "s", "--out", &honest]);
    let key = NodeHome::existing(&home.path()).expect("a home").keys().read(Role::Node).expect("a key");
    let mut parser = Parser::default();
    parser.feed(&fs::read(honest).expect("the file is there"));
    let (mut writer, mut file) = Writer::begin();
    let mut entries = Vec::new();
    while let Some(frame) = parser.next().expect("the file is whole") {
        match frame {
            Frame::Blob(part) => file.extend(writer.part(&part)),
            Frame::Commit(commit) => {
                entries.extend(commit.entries().map(|(_, _, bytes)| (commit.agent(), bytes.to_vec())));
            }
        }
    }
    let decode = |bytes: &[u8]| Entry::decode(bytes).expect("an entry");
    let last =
        entries.iter().rposition(|(_, bytes)| matches!(decode(bytes).body, Body::Run(run) if run.call.is_tick()));
    let last = last.expect("a tick");
    entries.truncate(last + 1);
    let (agent, mut forged) = (entries[last].0, decode(&entries[last].1));
    let at = forged.at;
    if let Body::Run(run) = &mut forged.body {
        change(run);
    }
    entries[last].1 = forged.encode();
    let chained = Commit::from_encoded(Chain::begin(agent), entries.into_iter().map(|(_, bytes)| bytes).collect());
    let sealed = Seal::sign(&key, &agent, chained.epoch(), Seq(last as u64), &chained.head());
    let seal = Commit::new(chained.end(), [&Entry { at, body: Body::Seal(sealed) }]);
    for commit in [chained, seal] {
        file.extend(writer.commit(&commit));
    }
    file.extend(writer.finish());
    (home.file("forged.igor", file), last as u64)
}

/// `verify` with these flags names the run.
fn named(home: &Home, flags: &[&str], (file, seq): &(String, u64), words: &str) {
    let answer = home.fails(&[&["verify", file], flags].concat(), 4, &[words, &format!("seq=`{seq}`")]);
    assert_eq!(answer.rows[0]["first_bad"]["seq"].as_u64(), Some(*seq));
}

#[test]
fn the_forger_is_good_enough() {
    let home = Home::with_strategy(4);
    let (file, _) = forge(&home, |_| {});
    assert_eq!(home.get(&["verify", &file, "--execute"])["ok"], true, "unchanged, it holds");
}

#[test]
fn a_bill_above_its_ceiling() {
    let home = Home::with_strategy(4);
    let more = |run: &mut Run| run.cost = Credits::from_units(run.cost.units() + 1);
    named(&home, &[], &forge(&home, more), "charged");
}

#[test]
fn fuel_that_was_not_used() {
    let home = Home::with_strategy(4);
    let forged = forge(&home, |run| run.fuel = Fuel(run.fuel.0 + 1));
    assert_eq!(home.ask(&["verify", &forged.0]).code, Some(0), "by itself it could be");
    named(&home, &["--execute"], &forged, "fuel");
}

#[test]
fn an_outcome_that_did_not_come_out() {
    let home = Home::with_strategy(4);
    let forged = forge(&home, |run| run.outcome = igor_protocol::entry::Outcome::Ok { more_work: true });
    named(&home, &["--execute"], &forged, "outcome");
}

#[test]
fn a_wish_that_the_agent_did_not_have() {
    let home = Home::with_strategy(4);
    let forged = forge(&home, |run| run.requests.push(Request::Finish));
    named(&home, &["--execute"], &forged, "requests");
}
