//! Hosts of an agent die, freeze and are cut off, and other nodes go on with it from the bucket; then anything lost,
//! doubled or miscounted is looked for.
//!
//! `IGOR_FAILOVERS` says how many faults (6 by default; `scripts/failover-test` makes it 1,000), `IGOR_SEED` which and
//! when, `IGOR_BINARY` which binary. `IGOR_CALM` asks instead for so many seconds without any fault but a busy machine,
//! in which each failover is a false one. The nodes stand in network namespaces of their own: that takes root, `ip` and
//! `nft`, and SeaweedFS; where they are not, this says so and tests nothing.
//!
//! The time of a failover runs from the fault to a Run of a later epoch that another process has read from the bucket.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

// The demo looks at processes and journals from outside in the same way. Not all that it needs is needed here.
#[allow(dead_code)]
#[path = "../src/verb/demo/audit.rs"]
mod audit;
#[path = "../src/verb/demo/dice.rs"]
mod dice;
#[path = "failover/fault.rs"]
mod fault;
mod field;
#[path = "failover/reader.rs"]
mod reader;
#[path = "failover/report.rs"]
mod report;
#[path = "kills/section.rs"]
mod section;
#[allow(dead_code)]
#[path = "../src/verb/demo/stage.rs"]
mod stage;
#[path = "failover/trial.rs"]
mod trial;

use field::{
    binary,
    ground::{Ground, Links, Namespaces},
    load::Load,
    number, publish,
};
use igor_bucket_testing::Weed;
use trial::Trial;

const NAME: &str = "strategy";
const NODES: usize = 3;
const FULL_RUN: u32 = 500;
/// Lines for each fault, so that the load lasts to the end.
const LINES_PER_FAULT: u32 = 120;
const ASK_EVERY: Duration = Duration::from_millis(300);

#[test]
fn whatever_happens_to_a_host_its_agent_goes_on_elsewhere_as_one() {
    let faults = number("IGOR_FAILOVERS", 6);
    let Some((ground, weed)) = scene(faults) else { return };
    let seed = u64::from(number("IGOR_SEED", 1));
    println!("{faults} faults with seed {seed}");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let lines = usize::try_from(faults.saturating_mul(LINES_PER_FAULT)).unwrap_or(usize::MAX);
    let begun = Instant::now();
    let seen = Trial::begin(ground, weed, &binary(), folder.path(), seed).and_then(|mut trial| {
        let load = Load::begin(&trial.stages(), folder.path(), lines, ASK_EVERY)?;
        while trial.faults() < faults {
            trial.step()?;
        }
        let sent = load.finish(lines)?;
        trial.audit(&sent)
    });
    match seen {
        Ok(seen) => publish(report::FAILOVERS, &seen.in_words(seed, begun.elapsed())),
        Err(why) => panic!("seed {seed}: {why}; what the processes said is kept in {}", folder.keep().display()),
    }
}

#[test]
#[ignore = "takes as long as IGOR_CALM says, in seconds: scripts/failover-test --calm 10m"]
fn a_busy_machine_is_no_reason_to_go_on_elsewhere() {
    let seconds = number("IGOR_CALM", 60);
    let Some((ground, weed)) = scene(FULL_RUN) else { return };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let lines = usize::try_from(seconds.saturating_mul(40)).unwrap_or(usize::MAX);
    let seen = Trial::begin(ground, weed, &binary(), folder.path(), 1).and_then(|trial| {
        let load = Load::begin(&trial.stages(), folder.path(), lines, ASK_EVERY)?;
        let busy = fault::Busy::begin();
        let wrong = trial.watch(Duration::from_secs(seconds.into()))?;
        drop(busy);
        let sent = load.finish(lines)?;
        trial.audit(&sent).map(|_| wrong)
    });
    match seen {
        Ok(wrong) => publish(report::CALM, &report::calm_in_words(wrong, seconds)),
        Err(why) => panic!("{why}; what the processes said is kept in {}", folder.keep().display()),
    }
}

/// What the nodes stand on, where this machine has it.
fn scene(faults: u32) -> Option<(Ground, Weed)> {
    let ground = match Namespaces::make(NODES, Links::Good) {
        Ok(spaces) => Ground::Apart(spaces),
        Err(why) => {
            // Past the harness, which keeps to itself what tests that pass say.
            drop(writeln!(io::stderr(), "SKIPPED: failovers in network namespaces need root, `ip` and `nft`: {why}"));
            assert!(faults < FULL_RUN, "a full run cannot be skipped");
            return None;
        }
    };
    let weed = igor_bucket_testing::weed();
    assert!(weed.is_some() || faults < FULL_RUN, "a full run cannot be skipped");
    weed.map(|weed| (ground, weed))
}
