//! Cold start: from starting `igor run` to its first committed tick, with a warm compile cache.

use crate::{
    measure::median,
    rig::{Rig, igor},
};
use anyhow::Context;
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

const ROUNDS: usize = 15;

pub(crate) fn run(rig: &Rig) -> anyhow::Result<()> {
    let home = tempfile::tempdir_in(".")?;
    let wasm = home.path().join("counter.wasm");
    std::fs::write(&wasm, &rig.wasm)?;
    let mut took = Vec::new();
    // The first start compiles, makes keys and home; it is not counted.
    for round in 0..=ROUNDS {
        let begun = Instant::now();
        let mut child = Command::new(igor()?)
            .args(["run", "--json", "--ticks", "1", "--interval", "0", "--name", "cold", "--home"])
            .arg(home.path().join("home"))
            .arg(&wasm)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut first = None;
        for line in lines {
            if line?.contains("\"event\":\"tick\"") {
                first.get_or_insert(begun.elapsed());
            }
        }
        anyhow::ensure!(child.wait()?.success(), "igor run failed");
        let first = first.context("no tick was announced")?;
        if round > 0 {
            took.push(first.as_secs_f64() * 1e3);
        }
    }
    println!("start to first committed tick   {:8.1} ms   (goal: 50)", median(&took));
    Ok(())
}
