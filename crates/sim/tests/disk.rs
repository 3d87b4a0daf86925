//! One agent's whole life on the real disk store, whose simulated machine goes down at every change of its files.

mod harness;

use harness::{Plan, Scenario, check_history, live_on, world};
use igor_sim::{
    disk::DiskStore,
    files::{Crash, SimDisk},
    random::Random,
};
use igor_store::files::SyncPoint;
use std::sync::Arc;

/// Opens the store, after all these crashes in turn if its machine went down; says whether it had. Each crash but the
/// first finds a store that has just recovered.
fn start_again(store: &DiskStore, crashes: &[Crash]) -> bool {
    let opened = store.open();
    let down = store.disk().is_down();
    for crash in crashes.iter().filter(|_| down) {
        store.restart(*crash);
        store.open().expect("it recovers");
    }
    assert!(down || opened.is_ok(), "it does not open: {opened:?}");
    down
}

fn short() -> Scenario {
    Scenario { seed: 21, messages: vec!["a", "trap-if-odd", "b", "wait 3", "log 3"], ticks: 40, ..Scenario::default() }
}

fn check(scenario: &Scenario, plan: &Plan<DiskStore>, what: &str) {
    check_history(scenario, plan);
    assert_eq!(plan.delivered, scenario.messages.len(), "{what}");
}

/// Lives a short life with the machine going down at this change; says whether it came to that.
fn short_life(operation: u64, crashes: &[Crash]) -> bool {
    let scenario = short();
    let store = Arc::new(DiskStore::new(SimDisk::new(scenario.seed)));
    store.disk().crash_at(Some(operation));
    let mut went_down = false;
    let (plan, _) = live_on(store.clone(), &world(scenario.seed), &scenario, None, |_| {
        let down = start_again(&store, crashes);
        went_down |= down;
        down
    });
    check(&scenario, &plan, &format!("{crashes:?} at operation {operation}"));
    went_down
}

fn at_every_operation(crashes: &[Crash]) {
    let mut operations = 0;
    while short_life(operations + 1, crashes) {
        operations += 1;
    }
    assert!(operations > 200, "the life is too short to mean anything: {operations} changes");
}

#[test]
fn killed_at_every_file_operation() {
    at_every_operation(&[Crash::Process]);
}

#[test]
fn power_cut_at_every_file_operation() {
    at_every_operation(&[Crash::Power]);
}

#[test]
fn killed_at_every_file_operation_and_then_the_power_is_cut() {
    at_every_operation(&[Crash::Process, Crash::Power]);
}

/// A longer life with crashes at random; says how many there were. The disk may leave out a sync.
fn random_life(seed: u64, left_out: Option<SyncPoint>) -> u64 {
    let scenario = Scenario {
        seed,
        messages: vec!["a", "b", "log 3", "trap-if-odd", "c", "wait 3", "trap", "d", "burn 900000000", "e"],
        ticks: 40,
        // Some are killed between two changes, too.
        kill_every: seed.is_multiple_of(2).then_some(120),
        ..Scenario::default()
    };
    let disk = SimDisk::new(seed);
    if let Some(point) = left_out {
        disk.skip(point);
    }
    let store = Arc::new(DiskStore::new(disk));
    let mut random = Random::new(seed ^ 0x6372_6173);
    let (plan, _) = live_on(store.clone(), &world(scenario.seed), &scenario, None, |killed| {
        let crash = if random.one_in(2) { Crash::Process } else { Crash::Power };
        if killed {
            store.restart(crash);
        }
        let down = start_again(&store, &[crash, Crash::Power][..=random.index(2)]);
        store.disk().crash_at(Some(1 + random.below(80)));
        down
    });
    store.disk().crash_at(None);
    check(&scenario, &plan, &format!("seed {seed}"));
    plan.kills
}

#[test]
fn random_lives_with_random_crashes_and_kills() {
    let kills: u64 = (0..40).map(|seed| random_life(seed, None)).sum();
    assert!(kills > 150, "only {kills} kills");
}

/// These lives see what a disk loses: of the log, and of a blob that an entry names.
#[test]
fn a_disk_that_does_not_sync_is_found() {
    for point in [SyncPoint::Group, SyncPoint::RecoveredGroup, SyncPoint::Blob, SyncPoint::BlobName] {
        let found = (0..100).any(|seed| std::panic::catch_unwind(|| random_life(seed, Some(point))).is_err());
        assert!(found, "nothing was lost without {point:?}");
    }
}
