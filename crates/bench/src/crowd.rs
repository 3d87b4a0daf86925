//! Durable ticks a second with 256 agents at interval zero, against a raw group append of the same bytes.

use crate::{
    measure::{cpu_time, median},
    rig::{Quiet, Rig, ticks},
};
use igor_protocol::Seq;
use igor_store::{
    Store,
    disk::{Disk, Options},
};
use std::{fs::File, os::unix::fs::FileExt, sync::Arc, time::Instant};

const AGENTS: u64 = 256;
const TICKS: u64 = 400;
const ROUNDS: usize = 5;

#[allow(clippy::cast_precision_loss)] // counts far below 2^52
pub(crate) fn run(rig: &Rig) -> anyhow::Result<()> {
    let (mut ratios, mut rates, mut raws, mut cpus) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let home = tempfile::tempdir_in(".")?;
        let store = Arc::new(Disk::open(home.path(), &Options::default())?);
        let mut lives = Vec::new();
        for nonce in 0..AGENTS {
            lives.push(rig.runtime.block_on(rig.create(&store, nonce))?);
        }
        let (begun, cpu) = (Instant::now(), cpu_time());
        rig.runtime.block_on(async {
            let running: Vec<_> =
                lives.into_iter().map(|life| tokio::spawn(ticks(life, TICKS, Quiet::default()))).collect();
            for one in running {
                one.await??;
            }
            anyhow::Ok(())
        })?;
        let (took, cpu) = (begun.elapsed(), cpu_time().saturating_sub(cpu));
        let done = (AGENTS * TICKS) as f64;
        let bytes: usize = {
            let commits = store.read(rig.genesis(0).body.agent_id(), Seq(2))?;
            let sizes: Vec<usize> = commits.map(|commit| commit.map(|c| c.encode().len())).collect::<Result<_, _>>()?;
            sizes.iter().sum::<usize>() / sizes.len().max(1)
        };
        let raw = raw_groups(home.path(), bytes)?;
        rates.push(done / took.as_secs_f64());
        raws.push(raw);
        ratios.push(done / took.as_secs_f64() / raw);
        cpus.push(cpu.as_secs_f64() * 1e6 / done);
    }
    println!("{AGENTS} agents, durable ticks a second   {:10.0}   (goal: at least 30000)", median(&rates));
    println!("raw group append, records a second   {:10.0}", median(&raws));
    println!("ratio                                {:10.2}   (goal: at least 0.8)", median(&ratios));
    println!("CPU time of a tick                   {:10.1} us (goal: 15)", median(&cpus));
    Ok(())
}

/// Records a second when one thread writes a whole group of 256 records with one write and one fdatasync.
#[allow(clippy::cast_precision_loss)] // counts far below 2^52
fn raw_groups(home: &std::path::Path, bytes: usize) -> anyhow::Result<f64> {
    let group = vec![0x5a; bytes * 256];
    let file = File::create_new(home.join("raw"))?;
    file.write_all_at(&vec![0; 32 << 20], 0)?;
    file.sync_all()?;
    let (begun, groups) = (Instant::now(), 400_u64);
    let mut at = 0;
    for _ in 0..groups {
        file.write_all_at(&group, at)?;
        file.sync_data()?;
        at = (at + group.len() as u64) % (24 << 20);
    }
    Ok((groups * 256) as f64 / begun.elapsed().as_secs_f64())
}
