//! Crashes on a simulated disk: nothing promised is lost, and each sync is needed.
#![allow(clippy::unwrap_used)]

mod history;

use history::{History, check, seeds};
use igor_sim::files::Crash;
use igor_store::files::SyncPoint;

#[test]
fn random_lives_with_random_crashes_keep_every_promise() {
    for seed in seeds(150) {
        check(seed, "random crashes", History::new(seed).crash_often(12, None));
    }
}

#[test]
fn only_killed_processes() {
    for seed in seeds(40) {
        check(seed, "killed", History::new(seed).crash_often(12, Some(Crash::Process)));
    }
}

#[test]
fn only_power_cuts() {
    for seed in seeds(40) {
        check(seed, "power cuts", History::new(seed).crash_often(12, Some(Crash::Power)));
    }
}

/// The same history each time, taken down at each of its changes in turn.
#[test]
fn a_crash_at_every_file_operation() {
    for seed in seeds(1) {
        let mut whole = History::new(seed);
        whole.live(100).unwrap();
        let operations = whole.disk.operations();
        assert!(operations > 350, "a long history: {operations}");
        for operation in 1..=operations {
            for crashes in [&[Crash::Process][..], &[Crash::Power], &[Crash::Process, Crash::Power]] {
                let mut history = History::new(seed);
                history.disk.crash_at(Some(operation));
                check(seed, "before the crash", history.live(100));
                assert!(history.disk.is_down(), "the same seed gives the same history");
                for crash in crashes {
                    history.disk.restart(*crash);
                    check(seed, &format!("after {crash:?} at operation {operation}"), history.live(0));
                }
                check(seed, "going on", history.live(5));
            }
        }
    }
}

/// Recovery itself may be cut off anywhere, again and again.
#[test]
fn a_crash_at_every_operation_of_a_recovery() {
    for seed in seeds(6) {
        for operation in 1.. {
            let mut history = History::new(seed);
            history.disk.crash_at(Some(200 + 31 * seed));
            check(seed, "before the crash", history.live(1000));
            history.disk.restart(if seed % 2 == 0 { Crash::Process } else { Crash::Power });
            history.disk.crash_at(Some(operation));
            check(seed, "in recovery", history.live(0));
            let finished = !history.disk.is_down();
            history.disk.restart(Crash::Power);
            check(seed, &format!("recovery cut off at {operation}"), history.live(20));
            if finished {
                break;
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let life = |seed| {
        let mut history = History::new(seed);
        history.crash_often(8, None).unwrap();
        history.disk.list().into_iter().map(|name| (history.disk.read(&name), name)).collect::<Vec<_>>()
    };
    assert_eq!(life(7), life(7));
    assert_ne!(life(7), life(8));
}

/// Each sync of the store, left out, loses something that these tests see. Nothing is synced for nothing.
#[test]
fn leaving_out_any_one_sync_is_found() {
    for point in SyncPoint::ALL {
        let found = (0..150).find_map(|seed| {
            let mut history = History::new(seed);
            history.disk.skip(point);
            let violation = history.crash_often(12, None).err();
            violation.map(|violation| (seed, violation))
        });
        let (seed, violation) = found.unwrap_or_else(|| panic!("nothing was lost without {point:?}"));
        eprintln!("without {point:?}: seed {seed}: {violation}");
    }
}

/// Each sync holds something back: what comes next must wait for it, and a sync that comes later is found too.
#[test]
fn doing_the_next_thing_before_a_sync_is_found() {
    for point in SyncPoint::ALL {
        // Those that only a new home needs show early or not at all.
        let new_home = matches!(point, SyncPoint::Directories | SyncPoint::Format | SyncPoint::FormatName);
        let crashes = if new_home { 2 } else { 12 };
        let found = (0..600).find_map(|seed| {
            let mut history = History::new(seed);
            history.disk.delay(point, 1 + seed % 12);
            let violation = history.crash_often(crashes, None).err();
            violation.map(|violation| (seed, violation))
        });
        let (seed, violation) = found.unwrap_or_else(|| panic!("nothing waits for {point:?}"));
        eprintln!("{point:?} after {} changes: seed {seed}: {violation}", 1 + seed % 12);
    }
}

#[test]
fn acknowledging_before_the_flush_is_found() {
    let found = (0..100).any(|seed| {
        let mut history = History::new(seed);
        history.acknowledge_early = true;
        history.crash_often(12, None).is_err()
    });
    assert!(found);
}

/// Any sync may fail; the store then refuses everything, and the next start has all that was promised.
#[test]
fn a_failing_sync_loses_nothing() {
    for point in SyncPoint::ALL {
        let mut failed = 0;
        for seed in 0..30 {
            let mut history = History::new(seed);
            for nth in [1, 2, 1, 5, 1, 9] {
                history.disk.fail(point, nth);
                check(seed, &format!("{point:?} fails"), history.live(60));
                failed += u64::from(history.disk.take_failed());
                history.disk.restart(if seed % 2 == 0 { Crash::Process } else { Crash::Power });
            }
            check(seed, &format!("after {point:?} failed"), history.live(5));
            history.disk.restart(Crash::Power);
            check(seed, &format!("later, after {point:?} failed"), history.live(0));
        }
        assert!(failed > 10, "{point:?} failed {failed} times");
    }
}
