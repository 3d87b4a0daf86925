//! The shared store, explored: what is claimed holds in every state within the bounds, and every rule is needed for it.
//!
//! `cargo run --release -p sim --bin slots` explores all scopes; here are the smaller ones.

use igor_protocol::slot::{Rule, Rules};
use igor_sim::model::slots::{NOTHING, Scope, Slots, property as p, scope, state::Left};
use stateright::{Checker, HasDiscoveries, Model};

/// Explores a scope to its end and holds it to the number of states, so that a change of either is seen.
fn check(name: &str, states: usize) {
    let checker = Slots::new(scope(name), Rules::ALL).checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert_eq!(checker.unique_state_count(), states, "scope {name}");
}

/// Leaves out a rule, and finds the violation of just this property.
fn check_needed(rule: Rule, nodes: u8, left: Left, property: &'static str) {
    let scope = Scope { name: "a small one", nodes, left, reaches: &[] };
    let until = HasDiscoveries::AllOf([property].into());
    let model = Slots::new(&scope, Rules::without(rule));
    let checker = model.checker().threads(2).finish_when(until).spawn_bfs().join();
    assert!(checker.discovery(property).is_some(), "without {rule:?} it still holds that {property}");
}

#[test]
fn every_claim_holds_in_every_state_of_a_takeover() {
    check("takeover", 43_977);
}

/// Each rule, within which bounds, and the property that fails without it. What the model has no blobs for is left out in
/// `crates/store/tests/shared.rs`.
#[test]
fn without_any_one_rule_a_named_property_fails() {
    let takeover = Left { work: 2, fences: 1, ..NOTHING };
    let collected = Left { work: 1, checkpoints: 1, fences: 1, ..NOTHING };
    let needed = [
        (Rule::ReleaseWhenThere, Left { work: 1, ..takeover }, p::CONFIRMED_STAYS),
        (Rule::LowerFirst, takeover, p::CONFIRMED_STAYS),
        (Rule::DoubtForgets, Left { work: 2, doubts: 1, ..NOTHING }, p::LOST_TO_A_CHANGE),
        (Rule::FenceFirst, Left { work: 1, crashes: 1, ..NOTHING }, p::ONE_PROCESS),
        (Rule::ChangeAlone, Left { work: 3, ..collected }, p::CONFIRMED_STAYS),
        (Rule::CheckAfterChange, collected, p::CONFIRMED_STAYS),
        (Rule::GivenIsGiven, Left { work: 1, handoffs: 1, ..NOTHING }, p::CONFIRMED_STAYS),
        (Rule::PassOverVoid, Left { garbage: 1, ..NOTHING }, p::TAKEOVER_ENDS),
        (Rule::Linked, Left { work: 2, garbage: 1, ..NOTHING }, p::NEW_READER_SEES_ALL),
        (Rule::AskAfterwards, Left { crashes: 1, ..collected }, p::READERS_AGREE),
        (Rule::BundleWhenRead, Left { work: 2, crashes: 1, ..collected }, p::CONFIRMED_STAYS),
        (Rule::BundleFirst, Left { fences: 0, ..collected }, p::NEW_READER_SEES_ALL),
        (Rule::FirstStays, Left { fences: 0, wipes: 1, ..collected }, p::CONFIRMED_STAYS),
        (Rule::ChangesStay, Left { work: 2, ..collected }, p::CONFIRMED_STAYS),
        (Rule::VoidStays, Left { garbage: 1, ..collected }, p::CONFIRMED_STAYS),
    ];
    for (rule, left, property) in needed {
        check_needed(rule, 2, left, property);
    }
    let elsewhere = [Rule::OwnBlobs];
    let is_tested = |rule: &Rule| needed.iter().any(|(needed, ..)| needed == rule) || elsewhere.contains(rule);
    assert!(Rule::EACH.iter().all(is_tested), "a rule has no test");
}
