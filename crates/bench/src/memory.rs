//! Memory of an idle agent: resident bytes of this process before and after many were made.

use crate::rig::{Memory, Rig};
use anyhow::Context;
use std::sync::Arc;

const AGENTS: u64 = 1_000;

#[allow(clippy::cast_precision_loss)] // counts far below 2^52
pub(crate) fn run(rig: &Rig) -> anyhow::Result<()> {
    let before = resident()?;
    let mut lives = Vec::new();
    for nonce in 0..AGENTS {
        let memory = Arc::new(Memory::default());
        lives.push(rig.runtime.block_on(rig.create(&memory, nonce))?);
    }
    let each = resident()?.saturating_sub(before) / AGENTS;
    println!("an idle agent, its journal's beginning in memory included   {:8.1} KiB", each as f64 / 1024.0);
    drop(lives);
    Ok(())
}

/// Resident bytes, as Linux counts them.
fn resident() -> anyhow::Result<u64> {
    let pages: u64 =
        std::fs::read_to_string("/proc/self/statm")?.split(' ').nth(1).context("statm has a second field")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}
