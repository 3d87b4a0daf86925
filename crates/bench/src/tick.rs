//! A journaled tick in memory, not sealed, against a bare metered wasmtime call with the same configuration.

use crate::{
    measure::{median, micros},
    rig::{Memory, Quiet, Rig, ticks},
};
use std::{sync::Arc, time::Instant};
use wasmtime::{Instance, Module, Store, TypedFunc};

const ROUNDS: u64 = 15;
const CALLS: u32 = 100_000;

pub(crate) fn run(rig: &Rig) -> anyhow::Result<()> {
    let mut bare_call = rig.runtime.block_on(Bare::new(&rig.wasm)).map_err(|e| anyhow::anyhow!("{e}"))?;
    let (mut bare, mut journaled) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let begun = Instant::now();
        rig.runtime.block_on(bare_call.call(CALLS)).map_err(|e| anyhow::anyhow!("{e}"))?;
        bare.push(micros(begun.elapsed()) / f64::from(CALLS));
        let memory = Arc::new(Memory::default());
        let life = rig.runtime.block_on(rig.create(&memory, round))?;
        let begun = Instant::now();
        rig.runtime.block_on(ticks(life, u64::from(CALLS), Quiet::default()))?;
        journaled.push(micros(begun.elapsed()) / f64::from(CALLS));
    }
    let extra: Vec<f64> = journaled.iter().zip(&bare).map(|(journaled, bare)| journaled - bare).collect();
    println!("bare metered call      {:8.3} us", median(&bare));
    println!("journaled tick         {:8.3} us", median(&journaled));
    println!("journaled minus bare   {:8.3} us   (goal: at most 2)", median(&extra));
    Ok(())
}

/// The same program without igor around it.
struct Bare {
    store: Store<()>,
    tick: TypedFunc<(), i32>,
}

impl Bare {
    async fn new(wasm: &[u8]) -> wasmtime::Result<Self> {
        let engine =
            igor_sandbox::engine(igor_sandbox::Stack::Live).map_err(|e| wasmtime::Error::msg(e.to_string()))?;
        let module = Module::new(&engine, wasm)?;
        let mut store = Store::new(&engine, ());
        store.set_fuel(1_000_000_000)?;
        let instance = Instance::new_async(&mut store, &module, &[]).await?;
        let tick = instance.get_typed_func(&mut store, "agent_tick")?;
        Ok(Self { store, tick })
    }

    async fn call(&mut self, times: u32) -> wasmtime::Result<()> {
        for _ in 0..times {
            self.store.set_fuel(1_000_000_000)?;
            self.tick.call_async(&mut self.store, ()).await?;
            std::hint::black_box(self.store.get_fuel()?);
        }
        Ok(())
    }
}
