//! Custody, explored: what is claimed holds in every state within the bounds, and every rule is needed for it.
//!
//! `cargo run --release -p sim --bin custody` explores all scopes; here are the smaller ones.

use igor_protocol::custody::{Rule, Rules};
use igor_sim::model::{Claim, Custody, NOTHING, Scope, property as p, scope, state::Left};
use stateright::{Checker, HasDiscoveries, Model};

/// Explores a scope to its end and holds it to the number of states, so that a change of either is seen.
fn check(name: &str, states: usize) {
    let checker = Custody::new(scope(name), Rules::ALL).checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert_eq!(checker.unique_state_count(), states, "scope {name}");
}

#[test]
fn every_claim_holds_in_every_state_of_a_handoff() {
    check("handoff", 55_296);
}

#[test]
fn every_claim_holds_in_every_state_of_two_takeovers() {
    check("takeovers", 62_431);
}

#[test]
fn one_node_runs_it_though_journals_are_rolled_back() {
    check("journals rolled back", 300_916);
}

/// Leaves out a rule, and finds the violation of just this property.
fn check_needed(rule: Rule, left: Left, claim: Claim, property: &'static str) {
    let scope = Scope { name: "a small one", left, claim };
    let until = HasDiscoveries::AllOf([property].into());
    let model = Custody::new(&scope, Rules::without(rule));
    let checker = model.checker().threads(2).finish_when(until).spawn_bfs().join();
    assert!(checker.discovery(property).is_some(), "without {rule:?} it still holds that {property}");
}

/// Each rule, within which bounds, and the property that fails without it.
#[test]
fn without_any_one_rule_a_named_property_fails() {
    use Claim::{Everything, InTheEnd, OneRuns};
    let handoff = Left { handoffs: 1, ..NOTHING };
    let handoffs = Left { handoffs: 2, ..NOTHING };
    let takeover = Left { takeovers: 1, copies: 1, ..NOTHING };
    let rollback = Left { handoffs: 1, crashes: 2, restores: 1, ..NOTHING };
    let needed = [
        (Rule::StartAfterAccept, handoff, Everything, p::RIGHT_TO_RUN),
        (Rule::StopBeforeGiving, handoff, Everything, p::RIGHT_TO_RUN),
        (Rule::GivenStaysGiven, handoff, Everything, p::ONE_RUNS),
        (Rule::SilenceIsNoDecline, handoff, Everything, p::ONE_RUNS),
        (Rule::ReturnRaisesEpoch, handoff, Everything, p::NO_DEAD_END),
        (Rule::NewerThanSigned, handoffs, Everything, p::ONE_RUNS),
        (Rule::NewerThanTombstone, Left { takeovers: 1, ..handoffs }, Everything, p::RIGHT_TO_RUN),
        (Rule::OneAnswer, Left { crashes: 1, ..handoff }, Everything, p::ONE_ANSWER),
        (Rule::FinishWhatWasSigned, Left { crashes: 1, ..handoff }, Everything, p::IT_ENDS),
        (Rule::BuriedIsOver, takeover, Everything, p::RIGHT_TO_RUN),
        (Rule::StopOnNews, takeover, Everything, p::RIGHT_TO_RUN),
        (Rule::TakeoverIsHeard, takeover, Everything, p::IT_ENDS),
        (Rule::StrangersAreIgnored, NOTHING, Everything, p::IT_ENDS),
        (Rule::OnlyTheNamedAnswers, handoff, Everything, p::IT_ENDS),
        (Rule::ContradictionSuspends, Left { lies: 1, ..handoff }, InTheEnd, p::AT_MOST_ONE_IN_THE_END),
        (Rule::GiversAreOut, Left { lies: 1, ..handoffs }, InTheEnd, p::AT_MOST_ONE_IN_THE_END),
        (Rule::ForgottenSuspends, rollback, InTheEnd, p::AT_MOST_ONE_IN_THE_END),
        (Rule::JournalBehind, Left { ticks: 1, ..rollback }, OneRuns, p::ONE_RUNS),
        (Rule::KeystoreBehind, rollback, InTheEnd, p::RIGHT_TO_RUN),
    ];
    for (rule, left, claim, property) in needed {
        check_needed(rule, left, claim, property);
    }
    assert!(Rule::EACH.iter().all(|rule| needed.iter().any(|(needed, ..)| needed == rule)), "a rule has no test");
}
