//! A durable tick of one agent against a bare append and fdatasync of the same bytes to a preallocated file.

use crate::{
    measure::{micros, percentile},
    rig::{Quiet, Rig, ticks},
};
use igor_store::{
    Store,
    disk::{Disk, Options},
};
use std::{fs::File, os::unix::fs::FileExt, sync::Arc, time::Instant};

const ROUNDS: u64 = 12;
const TICKS: u64 = 400;

/// The bytes that a tick's commit takes in the write-ahead log, measured from the journal itself.
fn commit_bytes(store: &Disk, agent: igor_protocol::AgentId) -> anyhow::Result<usize> {
    let mut sizes = Vec::new();
    for commit in store.read(agent, igor_protocol::Seq(0))?.skip(2) {
        sizes.push(commit?.encode().len());
    }
    sizes.sort_unstable();
    Ok(sizes.get(sizes.len() / 2).copied().unwrap_or(256))
}

#[allow(clippy::cast_precision_loss)] // counts far below 2^52
pub(crate) fn run(rig: &Rig) -> anyhow::Result<()> {
    let home = tempfile::tempdir_in(".")?;
    let store = Arc::new(Disk::open(home.path(), &Options::default())?);
    let agent = rig.runtime.block_on(rig.create(&store, 1)).map(drop).map(|()| rig.genesis(1).body.agent_id())?;
    let warm = rig.runtime.block_on(rig.open(&store, agent))?;
    rig.runtime.block_on(ticks(warm, 50, Quiet::default()))?;
    let bytes = vec![0x5a; commit_bytes(&store, agent)?];
    let raw = File::create_new(home.path().join("raw"))?;
    raw.write_all_at(&vec![0; 4 << 20], 0)?;
    raw.sync_all()?;
    let (mut bare, mut ratios, mut durable) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut round = Vec::new();
        let mut at = 0;
        for _ in 0..TICKS {
            let begun = Instant::now();
            raw.write_all_at(&bytes, at)?;
            raw.sync_data()?;
            round.push(micros(begun.elapsed()));
            at = (at + bytes.len() as u64) % (3 << 20);
        }
        let quiet = Quiet::default();
        let life = rig.runtime.block_on(rig.open(&store, agent))?;
        let begun = Instant::now();
        rig.runtime.block_on(ticks(life, TICKS, quiet.clone()))?;
        let whole = micros(begun.elapsed()) / TICKS as f64;
        let mut appends = quiet.appends();
        let (tick, floor) = (percentile(&mut appends, 50), percentile(&mut round, 50));
        ratios.push(tick / floor);
        durable.push((tick, whole, percentile(&mut appends, 99)));
        bare.push((floor, percentile(&mut round, 99)));
    }
    let mid = |values: Vec<f64>| crate::measure::median(&values);
    println!("bytes of a commit             {:8}", bytes.len());
    println!(
        "bare append + fdatasync  p50  {:8.1} us   p99 {:8.1} us",
        mid(bare.iter().map(|b| b.0).collect()),
        mid(bare.iter().map(|b| b.1).collect())
    );
    println!(
        "durable tick's append    p50  {:8.1} us   p99 {:8.1} us",
        mid(durable.iter().map(|d| d.0).collect()),
        mid(durable.iter().map(|d| d.2).collect())
    );
    println!("whole tick, mean              {:8.1} us", mid(durable.iter().map(|d| d.1).collect()));
    println!("ratio of the p50s             {:8.2}      (goal: at most 1.3)", mid(ratios));
    Ok(())
}
