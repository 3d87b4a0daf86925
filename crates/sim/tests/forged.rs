//! A host that lies, with every signature valid: verification or re-execution names the run.

mod harness;

use harness::{Scenario, forge, live};
use igor_protocol::{
    Body, Credits, Fuel, Hash, Nanos, Seq,
    entry::{Call, Content, Observation, Outcome, Request, Run},
};
use igor_spine::replay::Error;

/// What the forger changes in the first run that fits. True once it has.
type Change = fn(&mut Run) -> bool;

fn first_bad(change: Change) -> (Seq, Seq, String) {
    let scenario = Scenario { seed: 11, messages: vec!["a", "b", "c"], ticks: 20, ..Scenario::default() };
    let (plan, _) = live(&scenario, None);
    let forged = forge::runs(&plan, change);
    match forge::execute(&plan, &forged.commits) {
        Ok(()) => panic!("the forgery was not seen"),
        Err(Error::Bad(bad)) => (forged.seq, bad.seq, bad.fault.to_string()),
        Err(Error::Diverged { seq, what, .. }) => (forged.seq, seq, what),
        Err(other) => panic!("{other}"),
    }
}

fn check(change: Change, expected: &str) {
    let (forged, found, why) = first_bad(change);
    assert_eq!(forged, found, "another run is named: {why}");
    assert!(why.contains(expected), "`{why}` does not say `{expected}`");
}

fn is_tick(run: &Run) -> bool {
    run.call.is_tick() && run.outcome.is_ok() && run.tick.0 > 2
}

#[test]
fn a_bill_above_its_ceiling() {
    check(
        |run| {
            let fits = is_tick(run);
            if fits {
                run.cost = Credits::from_units(run.cost.units() + 1);
            }
            fits
        },
        "its bill comes to",
    );
}

#[test]
fn a_duration_longer_than_the_time_that_passed() {
    check(
        |run| {
            let fits = is_tick(run);
            if fits {
                run.duration = Nanos::from_secs(3600);
            }
            fits
        },
        "longer than the time",
    );
}

#[test]
fn a_forged_fuel_count() {
    check(
        |run| {
            let fits = is_tick(run);
            if fits {
                run.fuel = Fuel(run.fuel.0 - 1);
                run.cost = forge::bill(run);
            }
            fits
        },
        "the fuel is",
    );
}

#[test]
fn a_forged_outcome() {
    check(
        |run| {
            let fits = is_tick(run);
            if let (true, Outcome::Ok { more_work }) = (fits, &mut run.outcome) {
                *more_work = !*more_work;
            }
            fits
        },
        "the outcome is",
    );
}

#[test]
fn a_forged_reply() {
    check(
        |run| {
            let reply = run.requests.iter_mut().find_map(|request| match request {
                Request::Reply { body, .. } => Some(body),
                _ => None,
            });
            let fits = reply.is_some();
            if let Some(body) = reply {
                *body = Content::of(b"forged");
            }
            fits
        },
        "replies or requests differ",
    );
}

#[test]
fn a_forged_log_line() {
    check(
        |run| {
            let fits = !run.logs.is_empty() && run.call.is_tick();
            if fits {
                run.logs[0].push('!');
            }
            fits
        },
        "log lines differ",
    );
}

#[test]
fn a_balance_that_the_agent_did_not_have() {
    check(
        |run| {
            let seen = run.observations.iter_mut().find_map(|seen| match seen {
                Observation::Balance(micro) if run.tick.0 > 2 => Some(micro),
                _ => None,
            });
            let fits = seen.is_some();
            if let Some(micro) = seen {
                *micro += 1;
            }
            fits
        },
        "the balance",
    );
}

#[test]
fn an_observation_that_was_not_made() {
    check(
        |run| {
            let fits = is_tick(run);
            if fits {
                run.observations.push(Observation::Random(vec![1]));
                run.cost = forge::bill(run);
            }
            fits
        },
        "observations",
    );
}

#[test]
fn a_forged_checkpoint_root() {
    let scenario = Scenario { seed: 12, messages: vec!["a"], ticks: 20, ..Scenario::default() };
    let (plan, _) = live(&scenario, None);
    let forged = forge::entries(&plan, |body| match body {
        Body::Checkpoint(checkpoint) => {
            checkpoint.root = Hash::of_blob(b"another state");
            true
        }
        _ => false,
    });
    let Err(Error::Diverged { seq, what, .. }) = forge::execute(&plan, &forged.commits) else {
        panic!("the forgery was not seen");
    };
    assert_eq!(seq, forged.seq);
    assert!(what.contains("root"), "{what}");
}

#[test]
fn a_failure_that_never_was() {
    check(
        |run| {
            let fits = is_tick(run) && matches!(run.call, Call::Tick(_)) && run.requests.is_empty();
            if fits {
                run.outcome = Outcome::failed(igor_protocol::entry::Failure::Trap, "invented");
            }
            fits
        },
        "the outcome is",
    );
}

#[test]
fn an_honest_journal_written_again_stands() {
    let scenario = Scenario { seed: 11, messages: vec!["a", "b", "c"], ticks: 20, ..Scenario::default() };
    let (plan, _) = live(&scenario, None);
    let forged = forge::runs(&plan, |_| true);
    assert!(forge::execute(&plan, &forged.commits).is_ok());
}
