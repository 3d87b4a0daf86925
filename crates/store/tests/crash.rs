//! Crashes on a simulated disk: nothing promised is lost, and each sync is needed.
#![allow(clippy::unwrap_used)]

mod history;

use history::{History, agent, check, options, seeds};
use igor_protocol::{Chain, Commit};
use igor_sim::files::{Crash, SimDisk};
use igor_store::{Error, disk::Core, files::SyncPoint};

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

/// How long the history is that is taken down everywhere.
const STEPS: usize = 130;

/// The same history each time, taken down at each of its changes in turn.
#[test]
fn a_crash_at_every_file_operation() {
    for seed in seeds(1) {
        let mut whole = History::new(seed);
        whole.live(STEPS).unwrap();
        let operations = whole.disk.operations();
        assert!(operations > 350, "a long history: {operations}");
        for operation in 1..=operations {
            for crashes in [&[Crash::Process][..], &[Crash::Power], &[Crash::Process, Crash::Power]] {
                let mut history = History::new(seed);
                history.disk.crash_at(Some(operation));
                check(seed, "before the crash", history.live(STEPS));
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

/// What random histories find. The other one has a test of its own below.
fn drawn() -> impl Iterator<Item = SyncPoint> {
    SyncPoint::ALL.into_iter().filter(|point| *point != SyncPoint::FoundGone)
}

/// In how many crashes a sync that is not right shows. Those that only a new home needs show early or not at all.
fn crashes(point: SyncPoint) -> usize {
    if matches!(point, SyncPoint::Directories | SyncPoint::Format | SyncPoint::FormatName) { 2 } else { 12 }
}

/// Each sync of the store, left out, loses something that these tests see. Nothing is synced for nothing.
#[test]
fn leaving_out_any_one_sync_is_found() {
    for point in drawn() {
        let found = (0..600).find_map(|seed| {
            let mut history = History::new(seed);
            history.disk.skip(point);
            let violation = history.crash_often(crashes(point), None).err();
            violation.map(|violation| (seed, violation))
        });
        let (seed, violation) = found.unwrap_or_else(|| panic!("nothing was lost without {point:?}"));
        eprintln!("without {point:?}: seed {seed}: {violation}");
    }
}

/// Each sync holds something back: what comes next must wait for it, and a sync that comes later is found too.
#[test]
fn doing_the_next_thing_before_a_sync_is_found() {
    for point in drawn() {
        let found = (0..4000).find_map(|seed| {
            let mut history = History::new(seed);
            history.disk.delay(point, 1 + seed % 12);
            let violation = history.crash_often(crashes(point), None).err();
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
                failed += history.disk.take_refused().failed;
                history.disk.restart(if seed % 2 == 0 { Crash::Process } else { Crash::Power });
            }
            check(seed, &format!("after {point:?} failed"), history.live(5));
            history.disk.restart(Crash::Power);
            check(seed, &format!("later, after {point:?} failed"), history.live(0));
        }
        assert!(failed > 10, "{point:?} failed {failed} times");
    }
}

/// Appends to a journal until everything that is in the log now was moved to files and dropped.
fn move_all(core: &mut Core, chain: &mut Chain, disk: &SimDisk) -> Result<(), Error> {
    let there = |segments: &[String]| disk.list().iter().any(|name| segments.contains(name));
    let segments: Vec<_> = disk.list().into_iter().filter(|name| name.starts_with("log/")).collect();
    while there(&segments) {
        let commit = Commit::from_encoded(*chain, vec![vec![7; 900]]);
        core.stage(&commit)?;
        core.flush()?;
        *chain = commit.end();
        core.maintain()?;
    }
    Ok(())
}

/// The process is killed just after it removed the file of a removed journal, and the power is cut when the log has
/// forgotten the removal. Then the file must not come back.
fn removed_before_a_kill(seed: u64, change: u64, mistake: impl Fn(&SimDisk)) -> Result<(), Error> {
    let disk = SimDisk::new(seed);
    mistake(&disk);
    let mut core = Core::open(disk.files(), &options())?;
    let mut chains = [0, 1].map(|n| Chain::begin(agent(n)));
    for chain in &mut chains {
        move_all(&mut core, chain, &disk)?;
    }
    core.stage_removal(agent(0))?;
    core.flush()?;
    // What is in the very last group is done again by a restart, and its removal is not.
    core.close_idle()?;
    disk.crash_at(Some(change));
    let _killed = core.maintain();
    disk.restart(Crash::Process);
    let mut core = Core::open(disk.files(), &options())?;
    move_all(&mut core, &mut chains[1], &disk)?;
    disk.restart(Crash::Power);
    let core = Core::open(disk.files(), &options())?;
    assert_eq!((core.tail(agent(0)), core.tail(agent(1))), (None, Some(chains[1])));
    Ok(())
}

#[test]
fn the_file_of_a_removed_journal_does_not_come_back() {
    let cases = || (0..20).flat_map(|seed| (1..4).map(move |change| (seed, change)));
    for (seed, change) in cases() {
        removed_before_a_kill(seed, change, |_| ()).unwrap_or_else(|e| panic!("seed {seed}, change {change}: {e}"));
    }
    let skipped = |disk: &SimDisk| disk.skip(SyncPoint::FoundGone);
    let delayed = |disk: &SimDisk| disk.delay(SyncPoint::FoundGone, 1000);
    let comes_back = |mistake: fn(&SimDisk)| {
        cases().any(|(seed, change)| {
            let error = removed_before_a_kill(seed, change, mistake).err();
            error.is_some_and(|e| e.to_string().contains("the log knows nothing of this journal"))
        })
    };
    assert!(comes_back(skipped), "nothing comes back without the sync");
    assert!(comes_back(delayed), "nothing waits for the sync");
}

/// A segment is in use before its first group is durable. Until then the end of the log is in the one before, and no file
/// has anything of it: a restart would not know where that came from.
#[test]
fn the_end_of_the_log_is_not_moved_before_another_group_follows() {
    for crash in [Crash::Process, Crash::Power] {
        let disk = SimDisk::new(1);
        let mut core = Core::open(disk.files(), &options()).unwrap();
        let small = Commit::from_encoded(Chain::begin(agent(0)), vec![vec![7; 900]]);
        core.stage(&small).unwrap();
        core.flush().unwrap();
        // It does not fit into what is left of the segment.
        let large = Commit::from_encoded(small.end(), vec![vec![8; 3500]]);
        core.stage(&large).unwrap();
        let segments = disk.list().into_iter().filter(|name| name.starts_with("log/0")).count();
        assert_eq!(segments, 2, "the next segment is in use");
        core.copy().unwrap();
        disk.restart(crash);
        let mut core = Core::open(disk.files(), &options()).unwrap_or_else(|e| panic!("after {crash:?}: {e}"));
        assert_eq!(core.tail(agent(0)), Some(small.end()));
        core.stage(&large).unwrap();
        core.flush().unwrap();
        core.maintain().unwrap();
        disk.restart(crash);
        let core = Core::open(disk.files(), &options()).unwrap();
        assert_eq!(core.tail(agent(0)), Some(large.end()));
    }
}
