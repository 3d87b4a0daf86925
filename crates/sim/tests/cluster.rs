//! The seeded cluster: seeds hold, a seed is a seed, and what is wrong is found and made small.
//!
//! `cargo run --release -p sim -- --seeds 1000` runs many more; a failure here prints the command that runs it again.

use igor_protocol::{
    custody::{Rule, Rules},
    slot,
};
use igor_sim::cluster::{
    FAULTS_MIN, MOVES_MIN, Options, Outcome, STEPS_MIN,
    plan::{Kind, Wanted},
    planted::Planted,
    run,
    shrink::shrink,
    sweep::{replay, sweep},
};
use std::time::{Duration, Instant, SystemTime};

/// Runs seeds until one fails.
fn first_failure(options: &Options, seeds: u64) -> Option<Outcome> {
    let totals = sweep(1, seeds, 2, options, |totals| totals.failed.is_empty());
    totals.failed.into_iter().next()
}

/// Where journals are on disks, or in a bucket.
fn with_bucket(bucket: bool) -> Wanted {
    Wanted { bucket: Some(bucket), ..Wanted::default() }
}

fn check_holds(seed: u64, bucket: bool) {
    let outcome = run(seed, &Options { wanted: with_bucket(bucket), ..Options::default() });
    assert_eq!(outcome.violation, None, "run it again with: {}", replay(&outcome));
    let Outcome { steps, faults, moves, .. } = outcome;
    assert!(steps >= STEPS_MIN && faults >= FAULTS_MIN && moves >= MOVES_MIN, "{steps}, {faults}, {moves}");
}

/// Each found a defect once.
#[test]
fn seeds_that_failed_once_hold() {
    for seed in [
        2, 3, 4, 81, 84, 102, 188, 218, 1022, 1033, 11246, 300_361, 300_494, 400_594, 602_873, 700_764, 805_315,
        806_077, 820_264, 1_009_381, 2_055_616, 2_090_312, 3_065_927,
    ] {
        check_holds(seed, false);
    }
    for seed in [44, 59, 217, 234, 10_060, 6_001_997, 6_002_670, 6_026_675] {
        check_holds(seed, true);
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // fresh seeds come from outside, and only so many as there is time for
fn fresh_seeds_hold() {
    let begun = Instant::now();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let fresh = u64::try_from(since.as_nanos() % 1_000_000_000_000).unwrap();
    println!("fresh seeds from {fresh} on");
    let totals = sweep(fresh, 1000, 2, &Options::default(), |totals| {
        totals.failed.is_empty() && begun.elapsed() < Duration::from_secs(20)
    });
    println!("{} seeds", totals.seeds);
    let failed: Vec<_> = totals.failed.iter().map(|failed| (&failed.violation, replay(failed))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for bucket in [false, true] {
        let options = Options { wanted: with_bucket(bucket), ..Options::default() };
        let (one, two) = (run(7, &options), run(7, &options));
        assert_eq!((one.trace, one.steps, one.time_ns), (two.trace, two.steps, two.time_ns));
        assert_eq!((one.counts, one.violation), (two.counts, two.violation));
        assert_ne!(one.trace, run(8, &options).trace);
    }
}

#[test]
fn a_seed_without_faults_moves_agents_and_loses_nothing() {
    let options =
        Options { wanted: Wanted { kinds: Some(vec![]), bucket: Some(false), keep: None }, ..Options::default() };
    let outcome = run(5, &options);
    assert_eq!((outcome.violation, outcome.faults), (None, 0));
    assert!(outcome.moves >= MOVES_MIN && !outcome.counts.contains_key(Kind::Kill.name()));
}

/// The oracle says just this of nodes that make a mistake.
fn check_found(options: &Options, what: &[&str]) -> Outcome {
    let failed = first_failure(options, 60).unwrap_or_else(|| panic!("{options:?} was not found"));
    let violation = failed.violation.clone().unwrap_or_default();
    assert!(what.iter().any(|what| violation.contains(what)), "{options:?}: {violation}");
    failed
}

/// What shows where a log was not synced: a journal that is shorter than what was told, or a log that does not open.
const LOST: [&str; 2] = ["lost what was durable", "is damaged"];

#[test]
fn planted_mistakes_are_found() {
    let check = |planted, what: &[&str]| {
        check_found(&Options { planted: Some(planted), wanted: with_bucket(false), ..Options::default() }, what);
    };
    check(Planted::AnswersBeforeSync, &["before it was durable", "but the journal ends at"]);
    check(Planted::LogIsNotSynced, &LOST);
    check(Planted::KeystoreIsNotSynced, &["is damaged", "does not come to rest", "does not read", "lives twice"]);
    check(Planted::RunsDiffer, &["gave something else than the journal has"]);
}

/// The rules whose breach a random schedule meets soon. That each of them is needed shows the model of custody, which
/// tries all schedules: `crates/sim/tests/custody.rs`.
#[test]
fn rules_of_custody_that_nodes_do_not_keep_are_found() {
    let check = |rule, what: &[&str]| {
        check_found(&Options { rules: Rules::without(rule), wanted: with_bucket(false), ..Options::default() }, what);
    };
    check(Rule::StartAfterAccept, &["lives twice", "after a handoff only its answer"]);
    // Where a life goes on that must not, the journal may be the first to refuse it.
    check(Rule::StopOnNews, &["lives twice", "two journals of", "but the journal does not exist"]);
}

/// What a node says too early that has a bucket, only the slots show: its own disk has it.
#[test]
fn mistakes_with_a_bucket_are_found() {
    let wanted = with_bucket(true);
    let hasty = Options { planted: Some(Planted::AnswersBeforePut), wanted: wanted.clone(), ..Options::default() };
    check_found(&hasty, &["which no slot has"]);
    let check = |rule, what: &[&str]| {
        let slots = slot::Rules::without(rule);
        check_found(&Options { slots, wanted: wanted.clone(), ..Options::default() }, what);
    };
    check(slot::Rule::OwnBlobs, &["the bucket does not have"]);
    // A move may be the first to miss them.
    check(
        slot::Rule::ChangesStay,
        &["who reads it from nothing gets", "two journals of", "does not have commits before"],
    );
}

#[test]
fn what_fails_is_made_small() {
    let wanted = Wanted { kinds: Some(vec![Kind::PowerCut, Kind::Partition]), bucket: Some(false), keep: None };
    let options = Options { planted: Some(Planted::LogIsNotSynced), wanted, ..Options::default() };
    let failed = check_found(&options, &LOST);
    let (before, small) = (failed.ops.len(), shrink(&options, failed));
    assert!(small.violation.is_some() && small.ops.len() <= 3 && small.ops.len() < before, "{:?}", small.ops);
    let keep = Some(small.ops.clone());
    let again = run(small.seed, &Options { wanted: Wanted { keep, ..options.wanted.clone() }, ..options });
    assert_eq!((again.violation, again.trace), (small.violation, small.trace));
}
