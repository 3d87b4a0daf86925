//! How long it takes to open an agent again, against the number of ticks that are replayed.

use crate::{
    measure::{median, micros},
    rig::{Memory, Quiet, Rig, ticks},
};
use std::{sync::Arc, time::Instant};

pub(crate) fn run(rig: &Rig) -> anyhow::Result<()> {
    println!("{:>10}  {:>12}  {:>12}", "ticks", "open", "a tick");
    for count in [10_u32, 1_000, 10_000, 100_000] {
        // A crash leaves what was committed and no checkpoint after it: Genesis, Run(init), then a commit a tick.
        let memory = Arc::new(Memory::failing_after(2 + count as usize));
        let life = rig.runtime.block_on(rig.create(&memory, count.into()))?;
        let crashed = rig.runtime.block_on(ticks(life, u64::from(count) * 2, Quiet::default()));
        anyhow::ensure!(crashed.is_err(), "the store did not fail");
        let agent = rig.genesis(count.into()).body.agent_id();
        let mut took = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            let life = rig.runtime.block_on(rig.open(&memory, agent))?;
            took.push(micros(begun.elapsed()));
            drop(life);
        }
        let took = median(&took);
        println!("{count:>10}  {:>9.2} ms  {:>9.2} us", took / 1e3, took / f64::from(count));
    }
    Ok(())
}
