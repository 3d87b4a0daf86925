//! One agent's whole life in the simulated world, killed at every await point.

mod harness;

use harness::{Plan, Scenario, check_history, live};
use igor_protocol::{Body, Commit, Credits, Entry, Nanos, entry::EndCause};
use igor_spine::Ending;

/// Messages that make the guest trap, log, wait, go over limits and answer.
fn rough() -> Vec<&'static str> {
    vec!["a", "b", "log 3", "trap-if-odd", "c", "wait 3", "d", "trap", "e", "burn 900000000", "f", "log 9000000", "g"]
}

#[test]
fn a_life_without_a_crash_keeps_every_rule() {
    let scenario = Scenario { seed: 1, messages: rough(), ticks: 40, ..Scenario::default() };
    let (plan, polls) = live(&scenario, None);
    assert!(polls > 100, "the scenario is too short to mean anything: {polls} polls");
    check_history(&scenario, &plan);
    assert_eq!(plan.delivered, scenario.messages.len());
}

fn killed_at_every_await_point(scenario: &Scenario) {
    let (_, polls) = live(scenario, None);
    assert!(polls > 100, "the scenario is too short to mean anything: {polls} polls");
    for kill in 1..polls {
        let (plan, _) = live(scenario, Some(kill));
        check_history(scenario, &plan);
        assert_eq!(plan.delivered, scenario.messages.len(), "killed at poll {kill}");
    }
}

#[test]
fn killed_at_every_await_point_it_goes_on_exactly_where_it_was() {
    killed_at_every_await_point(&Scenario { seed: 2, messages: rough(), ticks: 20, ..Scenario::default() });
}

/// Ticks follow each other while several appends' worth of them is not durable yet.
#[test]
fn killed_at_every_await_point_with_ticks_in_flight() {
    let scenario = Scenario {
        seed: 4,
        messages: vec!["a", "trap-if-odd", "b", "wait 1", "log 3", "c"],
        ticks: 50,
        interval: Nanos::ZERO,
        latency: Nanos(3_000),
        ..Scenario::default()
    };
    let (plan, _) = live(&scenario, None);
    let ticks = |commit: &Commit| {
        let entries = commit.entries().map(|(_, _, encoded)| Entry::decode(encoded).expect("an entry"));
        entries.filter(|entry| matches!(&entry.body, Body::Run(run) if run.call.is_tick())).count()
    };
    let most = plan.store.commits(plan.agent).iter().map(ticks).max();
    assert!(most > Some(3), "ticks hardly overlap with appends: {most:?}");
    killed_at_every_await_point(&scenario);
}

#[test]
fn killed_again_and_again_at_random_it_loses_and_doubles_nothing() {
    for seed in 100..140 {
        let scenario = Scenario {
            seed,
            messages: rough(),
            ticks: 30,
            kill_every: Some(60),
            wall_jump_back: Nanos::from_secs(5),
            ..Scenario::default()
        };
        let (plan, _) = live(&scenario, None);
        assert!(plan.kills > 0, "seed {seed}: nothing was killed");
        check_history(&scenario, &plan);
        assert_eq!(plan.delivered, scenario.messages.len(), "seed {seed}");
    }
}

#[test]
fn without_checkpoints_it_lives_by_replay_from_its_start() {
    let scenario = Scenario {
        seed: 3,
        messages: vec!["a", "b", "c"],
        ticks: 12,
        can_checkpoint: false,
        kill_every: Some(25),
        ..Scenario::default()
    };
    let (plan, _) = live(&scenario, None);
    check_history(&scenario, &plan);
}

#[test]
fn money_ends_gracefully_and_funding_revives() {
    for seed in 0..20 {
        let scenario = Scenario {
            seed,
            messages: vec!["a", "b", "c"],
            ticks: 200,
            budget: Credits::from_units(60_000),
            fund: Some(Credits::from_units(1_000_000_000)),
            kill_every: (seed % 2 == 0).then_some(50),
            ..Scenario::default()
        };
        let (plan, _) = live(&scenario, None);
        assert!(plan.endings.contains(&Ending::Ended(EndCause::Exhausted)), "seed {seed}: {:?}", plan.endings);
        check_history(&scenario, &plan);
        assert_eq!(plan.delivered, 3);
    }
}

#[test]
fn an_agent_that_keeps_failing_is_suspended_and_can_be_forgiven() {
    // Every tick traps as long as the message is there; after three attempts it is closed as failed.
    let scenario =
        Scenario { seed: 5, messages: vec!["trap", "trap", "x"], ticks: 20, one_by_one: true, ..Scenario::default() };
    let (plan, _) = live(&scenario, None);
    check_history(&scenario, &plan);
    assert!(plan.endings.iter().any(|ending| matches!(ending, Ending::Suspended { .. })), "{:?}", plan.endings);
    assert_eq!(plan.delivered, 3);
}

#[test]
fn an_agent_that_says_so_ends_as_completed() {
    let scenario = Scenario { seed: 6, messages: vec!["a", "finish"], ticks: 50, ..Scenario::default() };
    let (plan, _) = live(&scenario, None);
    assert_eq!(plan.endings.last(), Some(&Ending::Ended(EndCause::Completed)));
    check_history(&scenario, &plan);
}

#[test]
fn the_same_seed_gives_the_same_life() {
    let scenario = Scenario { seed: 9, messages: rough(), ticks: 30, kill_every: Some(40), ..Scenario::default() };
    let (first, second): (Plan, Plan) = (live(&scenario, None).0, live(&scenario, None).0);
    assert_eq!(first.head(), second.head());
    assert_eq!(first.announced, second.announced);
}
