//! The seeded cluster: several nodes of real protocol, store and spine code in one thread, everything else simulated.
//!
//! Invariants kept here:
//! - Same seed and options, same run: every poll, every loss, every byte on a disk.
//! - What is simulated is disks, network, clocks, entropy, programs and people; what decides and what is kept is real.
//!
//! ```text
//!   plan ──► ops ─────────► machines (disk, clock) ──► node: steward, host, store ──► oracle
//!    ▲        ├► network ◄────────┤                        ▲                            ▲
//!    │        └► bucket ◄─────────┘                        │                            │
//!   seed ──► kernel (order, time)      owners, senders ────┘            rest, check ────┘
//! ```

pub mod bucket;
mod check;
pub mod clock;
pub mod counts;
pub mod dice;
pub mod host;
pub mod kernel;
pub mod link;
pub mod machine;
pub mod net;
mod node;
mod ops;
pub mod oracle;
mod owner;
pub mod plan;
pub mod planted;
mod rest;
mod rot;
pub mod shrink;
pub mod stage;
pub mod standby;
pub mod storage;
pub mod sweep;
mod takeover;
pub mod truth;

use igor_protocol::{custody::Rules, key::remember_signatures, slot};
use plan::{Plan, Wanted};
use planted::Planted;
use stage::Stage;
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

pub use rest::{FAULTS_MIN, MOVES_MIN, NOTHING_LEFT, STEPS_MIN};

/// Polls after which a seed counts as one that never ends.
const STEPS_MAX: u64 = 2_000_000;

/// How a seed is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What of its plan.
    pub wanted: Wanted,
    /// Rules of custody, of which a test leaves one out.
    pub rules: Rules,
    /// Rules of journals in a bucket, of which a test leaves one out.
    pub slots: slot::Rules,
    /// A mistake that all nodes make, for a test.
    pub planted: Option<Planted>,
    /// Say on stdout what happens.
    pub prints: bool,
}

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Whether there was a bucket.
    pub bucket: bool,
    /// What must not be and was.
    pub violation: Option<String>,
    /// Polls.
    pub steps: u64,
    /// A digest of the whole run.
    pub trace: u64,
    /// Virtual time, in nanoseconds.
    pub time_ns: u64,
    /// Faults that were done.
    pub faults: u64,
    /// Moves that came to their end.
    pub moves: u64,
    /// What happened, and how often.
    pub counts: BTreeMap<&'static str, u64>,
    /// The numbers of the plan's operations.
    pub ops: Vec<usize>,
}

/// Runs a seed to its end, or to what must not be.
pub fn run(seed: u64, options: &Options) -> Outcome {
    // One thread is all nodes: most signatures are seen by several, and again after every start.
    remember_signatures();
    let (plan, numbers) = Plan::new(seed, &options.wanted);
    let stage = Stage::new(seed, plan, options);
    let ran = catch_unwind(AssertUnwindSafe(|| play(&stage, &numbers, options)));
    if let Err(panic) = ran {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        stage.oracle.violate(format!("panicked: {}", text.unwrap_or_default()));
    }
    say(&stage, options);
    let outcome = Outcome {
        seed,
        bucket: stage.plan.bucket,
        violation: stage.oracle.violation(),
        steps: stage.kernel.steps(),
        trace: stage.kernel.trace(),
        time_ns: stage.kernel.now().0,
        faults: stage.faults_done(),
        moves: stage.counts.of("accept"),
        counts: stage.counts.all(),
        ops: numbers,
    };
    stage.strike();
    outcome
}

fn play(stage: &Arc<Stage>, numbers: &[usize], options: &Options) {
    stage.machines.iter().for_each(machine::Machine::boot);
    owner::begin(stage);
    ops::begin(stage, numbers);
    let done = Arc::new(AtomicBool::new(false));
    let (of, told) = (stage.clone(), done.clone());
    stage.kernel.spawn(None, async move {
        of.kernel.sleep_until(of.plan.until).await;
        ops::more(&of).await;
        rest::settle(&of).await;
        told.store(true, Ordering::Relaxed);
    });
    while !done.load(Ordering::Relaxed) && stage.oracle.violation().is_none() {
        if !stage.kernel.step() {
            stage.oracle.violate("nothing can happen any more".to_owned());
        }
        if stage.kernel.steps() > STEPS_MAX {
            stage.oracle.violate(format!("it does not end in {STEPS_MAX} steps"));
        }
        say(stage, options);
    }
    if stage.oracle.violation().is_none() {
        check::all(stage);
    }
}

#[allow(clippy::print_stdout)] // it was asked for
fn say(stage: &Stage, options: &Options) {
    if options.prints {
        for line in &stage.oracle.take_log() {
            println!("{line}");
        }
    }
}
