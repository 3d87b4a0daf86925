//! What comes after what: shown by crashes, and by syncs that fail.

use crate::{
    Case, Verdict,
    history::{History, agent},
    home::Home,
};
use igor_sim::files::Crash;
use igor_store::{
    Error, Store,
    disk::{Disk, Options},
    files::SyncPoint,
};

/// Random lives with random crashes. With all rules they are many more elsewhere.
pub(crate) fn random_crashes(case: Case) -> Verdict {
    let seeds = if case.0.is_some() { 300 } else { 5 };
    (0..seeds).try_for_each(|seed| {
        let mut history = History::new(seed);
        case.apply(&history.disk);
        history.crash_often(12, None)
    })
}

fn waiting<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn open(disk: &igor_sim::files::SimDisk) -> Disk {
    Disk::open_files(disk.files(), &Options { segment_bytes_first: 4096, ..Options::default() }).unwrap()
}

pub(crate) fn a_commit_whose_sync_fails(case: Case) -> Verdict {
    for seed in 0..10 {
        let sim = case.disk(seed);
        let disk = open(&sim);
        let commit = Home::new(case, seed).next(0, 300);
        sim.fail(SyncPoint::Group, 1);
        let acknowledged = waiting(disk.create(commit.clone())).is_ok();
        drop(disk);
        sim.restart(Crash::Power);
        if acknowledged && open(&sim).tail(agent(0)).unwrap() != Some(commit.end()) {
            return Err("a commit was acknowledged, and is gone".into());
        }
    }
    Ok(())
}

pub(crate) fn a_blob_before_a_power_cut(case: Case) -> Verdict {
    for seed in 0..10 {
        let sim = case.disk(seed);
        let disk = open(&sim);
        let hash = waiting(disk.put_blob(vec![7; 300])).unwrap();
        sim.crash_at(Some(1));
        drop(disk);
        sim.restart(Crash::Power);
        if open(&sim).get_blob(hash, 1000).unwrap().is_none() {
            return Err("a blob was acknowledged, and is gone".into());
        }
    }
    Ok(())
}

/// Whatever one more sync would say, it says nothing of the writes before it.
pub(crate) fn a_write_after_a_failed_sync(case: Case) -> Verdict {
    let mut home = Home::new(case, 1);
    let mut core = home.open();
    home.disk.fail(SyncPoint::Group, 1);
    core.stage(&home.next(0, 100)).unwrap();
    core.flush().unwrap_err();
    match core.flush() {
        Err(Error::Poisoned { .. }) => Ok(()),
        other => Err(format!("after a failed sync: {other:?}")),
    }
}
