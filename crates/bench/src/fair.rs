//! How late agents that tick every 50 ms get while others work without end, on two processors.

use crate::{
    measure::percentile,
    rig::{Quiet, Rig},
};
use igor_node::RealWorld;
use igor_protocol::{
    AgentId, Body, Entry, Nanos, Seq,
    entry::{Call, Trigger},
};
use igor_sandbox::WasmProgram;
use igor_spine::{Life, Settings, command::Command};
use igor_store::{
    Store,
    disk::{Disk, Options},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

const QUIET: u64 = 60;
const BUSY: u64 = 4;
const INTERVAL: Nanos = Nanos::from_millis(50);
const DURATION: Duration = Duration::from_secs(5);

/// Works for some hundred milliseconds in each tick.
const BURNER: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "agent_init"))
  (func (export "agent_tick") (result i32)
    (local $n i64)
    (local.set $n (i64.const 100000000))
    (loop $on (br_if $on (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
    (i32.const 0)))"#;

pub(crate) fn run(rig: &Rig) -> anyhow::Result<()> {
    println!("{QUIET} agents that tick every 50 ms: how late, in ms   p50      p99      max");
    let burner = wat::parse_str(BURNER)?;
    let cases: [(&str, Option<&[u8]>); 3] = [
        ("alone", None),
        ("beside 4 with ticks of some 100 ms", Some(&burner)),
        ("beside 4 with ticks of some us", Some(&rig.wasm)),
    ];
    for (name, busy) in cases {
        let mut late = lateness(rig, busy)?;
        let figures = [50, 99, 100].map(|percent| percentile(&mut late, percent));
        println!("{name:<48} {:8.2} {:8.2} {:8.2}", figures[0], figures[1], figures[2]);
    }
    Ok(())
}

fn lateness(rig: &Rig, busy: Option<&[u8]>) -> anyhow::Result<Vec<f64>> {
    let home = tempfile::tempdir_in(".")?;
    let store = Arc::new(Disk::open(home.path(), &Options::default())?);
    let mut lives = Vec::new();
    for nonce in 0..QUIET {
        lives.push((rig.runtime.block_on(rig.create(&store, nonce))?, INTERVAL));
    }
    let quiet: Vec<AgentId> = lives.iter().map(|(life, _)| life.look().chain.agent).collect();
    for nonce in QUIET..QUIET + BUSY {
        if let Some(wasm) = busy {
            lives.push((rig.runtime.block_on(rig.create_with(&store, nonce, wasm))?, Nanos::ZERO));
        }
    }
    rig.runtime.block_on(async {
        let running: Vec<_> = lives.into_iter().map(|(life, interval)| begin(life, interval)).collect();
        tokio::time::sleep(DURATION).await;
        for (commands, _) in &running {
            drop(commands.send(Command::Stop).await);
        }
        for (_, life) in running {
            life.await?;
        }
        anyhow::Ok(())
    })?;
    let mut late = Vec::new();
    for agent in quiet {
        late.extend(of_one(&store, agent)?);
    }
    Ok(late)
}

type Begun = (mpsc::Sender<Command>, tokio::task::JoinHandle<()>);

fn begin(life: Life<WasmProgram, Disk, RealWorld>, interval: Nanos) -> Begun {
    let (commands, commanded) = mpsc::channel(1);
    let checkpoint_interval = Nanos::from_secs(3600);
    let settings = Settings { interval, checkpoint_interval, ticks: None, paused: false, forgive: false };
    let running = tokio::spawn(async move { drop(Box::pin(life.run(settings, commanded, Quiet::default())).await) });
    (commands, running)
}

/// Milliseconds between the moment at which each interval tick was due and its start.
#[allow(clippy::cast_precision_loss)] // durations far below 2^52 ns
fn of_one(store: &Disk, agent: AgentId) -> anyhow::Result<Vec<f64>> {
    let (mut late, mut last) = (Vec::new(), None);
    for commit in store.read(agent, Seq(0))? {
        for (_, _, bytes) in commit?.entries() {
            let Entry { at, body: Body::Run(run) } = Entry::decode(bytes)? else { continue };
            let Call::Tick(trigger) = run.call else { continue };
            let started = at.0.saturating_sub(run.duration.0).saturating_sub(run.waited.0);
            if let (Some(last), Trigger::Interval) = (last, trigger) {
                late.push(started.saturating_sub(last + INTERVAL.0) as f64 / 1e6);
            }
            last = Some(started);
        }
    }
    Ok(late)
}
