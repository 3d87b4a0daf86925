//! How long it takes to open an agent again, against the number of ticks that are replayed.

use crate::{
    measure::{median, micros},
    rig::{Memory, Rig, StopAfter},
};
use igor_protocol::Nanos;
use igor_spine::{Settings, command::Command};
use std::{sync::Arc, time::Instant};
use tokio::sync::mpsc;

pub(crate) fn run(rig: &Rig) -> anyhow::Result<()> {
    println!("{:>10}  {:>12}  {:>12}", "ticks", "open", "a tick");
    for count in [10_u64, 1_000, 10_000, 100_000] {
        let memory = Arc::new(Memory::default());
        rig.runtime.block_on(async {
            let life = rig.create(&memory, count).await?;
            // A crash leaves what was committed and no checkpoint: the life is dropped, not stopped.
            let (commands, receiver) = mpsc::channel::<Command>(1);
            let settings = Settings {
                interval: Nanos::ZERO,
                checkpoint_interval: Nanos::from_secs(3600),
                ticks: None,
                paused: false,
                forgive: false,
            };
            let counting = StopAfter::new(count);
            let done = counting.done();
            let running = tokio::spawn(life.run(settings, receiver, counting));
            done.notified().await;
            running.abort();
            drop(commands);
            anyhow::Ok(())
        })?;
        let agent = rig.genesis(count).body.agent_id();
        let mut took = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            let life = rig.runtime.block_on(rig.open(&memory, agent))?;
            took.push(micros(begun.elapsed()));
            drop(life);
        }
        let took = median(&took);
        #[allow(clippy::cast_precision_loss)] // counts far below 2^52
        let each = took / count as f64;
        println!("{count:>10}  {:>9.2} ms  {each:>9.2} us", took / 1e3);
    }
    Ok(())
}
