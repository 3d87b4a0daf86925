//! `verify` and `verify --execute` against the live run in memory with the same sealing.

use crate::{
    measure::{median, micros},
    rig::{Memory, Quiet, Rig, ticks},
};
use igor_protocol::verify::Verifier;
use igor_spine::replay;
use std::{sync::Arc, time::Instant};

const ROUNDS: u64 = 7;
const TICKS: u64 = 50_000;

#[allow(clippy::cast_precision_loss)] // counts far below 2^52
pub(crate) fn run(rig: &Rig) -> anyhow::Result<()> {
    let (mut live, mut verified, mut executed) = (Vec::new(), Vec::new(), Vec::new());
    for nonce in 0..ROUNDS {
        let memory = Arc::new(Memory::default());
        let begun = Instant::now();
        rig.runtime.block_on(async {
            let life = rig.create(&memory, nonce).await?;
            Box::pin(ticks(life, TICKS, Quiet::default())).await
        })?;
        live.push(micros(begun.elapsed()));
        let commits = memory.commits();
        let begun = Instant::now();
        let mut verifier = Verifier::new();
        for commit in &commits {
            verifier.push(commit, &*memory)?;
        }
        verified.push(micros(begun.elapsed()));
        let begun = Instant::now();
        let load = |_: &igor_protocol::ledger::Book| Ok(rig.program.clone());
        let executing =
            replay::execute(commits.into_iter().map(Ok::<_, igor_store::Error>), &*memory, load, None, |_| {});
        let execution = rig.runtime.block_on(executing)?;
        anyhow::ensure!(execution.executed >= TICKS, "everything was executed again");
        executed.push(micros(begun.elapsed()));
    }
    let speed = |took: &[f64]| -> f64 {
        let ratios: Vec<f64> = live.iter().zip(took).map(|(live, took)| live / took).collect();
        median(&ratios)
    };
    println!("live run in memory      {:8.2} us a tick", median(&live) / TICKS as f64);
    println!("verify                  {:8.2} times its speed   (goal: at least 0.9)", speed(&verified));
    println!("verify --execute        {:8.2} times its speed   (goal: at least 0.9)", speed(&executed));
    Ok(())
}
