//! Many seeds, and what they come to together.

use super::{
    FAULTS_MIN, MOVES_MIN, NOTHING_LEFT, Options, Outcome, STEPS_MIN,
    plan::{Kind, Plan, Wanted},
    run,
};
use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

/// With so many seeds everything must have happened.
pub const SEEDS_FOR_ALL: u64 = 300;

/// What must really happen in clusters with a bucket and in those without, beside the kinds of faults.
const EXPECTED: [&str; 19] = [
    "give",
    "accept",
    "takeover",
    "pursue",
    "offer refused",
    "restore failed",
    "message lost",
    "message doubled",
    "message reordered",
    "message over a partition",
    "crash in a write",
    "write refused by a full disk",
    "sync that failed",
    "unsynced write lost",
    "write torn",
    "agent ended",
    "agent suspended by failures",
    "checkpoint",
    "life recovered",
];

/// In those without.
const EXPECTED_OF_DISKS: [&str; 11] = [
    "decline",
    "return",
    "takeover of a dead node",
    "takeover of a live node",
    "bury",
    "pursue answered",
    "branch set aside",
    "told on an orphaned branch",
    "bit rot reported",
    "run executed again",
    "funded",
];

/// In those with one.
const EXPECTED_OF_BUCKETS: [&str; 21] = [
    "journal followed",
    "silence noticed",
    "went on with an agent of a silent node",
    "somebody was faster, or it was well",
    "fence of its own",
    "fence of another",
    "takeover in the bucket",
    "overtaken",
    "life overtaken or failed",
    "void slot",
    "slot collected",
    "bundle made",
    "standby refused",
    "request to the bucket lost",
    "answer of the bucket lost",
    "request to the bucket late",
    "request to the bucket doubled",
    "request to the bucket throttled",
    "request while the bucket is away",
    "request of a node that is cut off from the bucket",
    "put that outlived its process",
];

/// What a number of seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Seeds that were run.
    pub seeds: u64,
    /// Polls, of all and of the seed with the fewest and the most.
    pub steps: Spread,
    /// Faults, likewise.
    pub faults: Spread,
    /// Moves that came to their end, likewise.
    pub moves: Spread,
    /// Virtual time of all, in nanoseconds.
    pub time_ns: u64,
    /// What happened, and how often.
    pub counts: BTreeMap<&'static str, u64>,
    /// Digest of the traces of all seeds, whatever their order.
    pub trace: u64,
    /// Seeds that failed, by number.
    pub failed: Vec<Outcome>,
}

/// A number over many seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Of all together.
    pub sum: u64,
    /// Of the seed that has least.
    pub min: u64,
    /// Of the seed that has most.
    pub max: u64,
}

impl Spread {
    fn add(&mut self, number: u64, first: bool) {
        self.sum += number;
        self.min = if first { number } else { self.min.min(number) };
        self.max = self.max.max(number);
    }
}

impl Totals {
    /// Takes one seed in.
    pub fn add(&mut self, outcome: Outcome) {
        let first = self.seeds == 0;
        self.seeds += 1;
        self.trace ^= outcome.trace;
        self.time_ns += outcome.time_ns;
        for (what, times) in &outcome.counts {
            *self.counts.entry(what).or_default() += times;
        }
        if outcome.violation.is_none() {
            self.steps.add(outcome.steps, first);
            self.faults.add(outcome.faults, first);
            self.moves.add(outcome.moves, first);
        } else {
            self.failed.push(outcome);
            self.failed.sort_by_key(|outcome| outcome.seed);
        }
    }

    /// What was to happen and did not, with buckets, without, or with either.
    pub fn never(&self, bucket: Option<bool>) -> Vec<&'static str> {
        let kinds = Kind::ALL.into_iter().filter(|kind| bucket.is_none_or(|bucket| kind.is_for(bucket)));
        let of_buckets = EXPECTED_OF_BUCKETS.into_iter().filter(|_| bucket != Some(false));
        let of_disks = EXPECTED_OF_DISKS.into_iter().filter(|_| bucket != Some(true));
        let expected = EXPECTED.into_iter().chain(of_disks).chain(of_buckets).chain(kinds.map(Kind::name));
        expected.filter(|what| !self.counts.contains_key(what)).collect()
    }
}

/// Runs these seeds on so many threads. `progress` is told after each; it says whether to go on.
pub fn sweep(
    from: u64,
    seeds: u64,
    jobs: usize,
    options: &Options,
    mut progress: impl FnMut(&Totals) -> bool,
) -> Totals {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut totals = Totals::default();
    let (told, heard) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (told, next, stop) = (told.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds || told.send(long_enough(run(from + number, options), options)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(told);
        for outcome in heard {
            totals.add(outcome);
            if !progress(&totals) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    totals
}

/// A seed in which too little happens shows nothing.
fn long_enough(mut outcome: Outcome, options: &Options) -> Outcome {
    let whole = options.wanted.is_all();
    let moves_min = if outcome.counts.contains_key(NOTHING_LEFT) { 0 } else { MOVES_MIN };
    let enough = outcome.steps >= STEPS_MIN && outcome.faults >= FAULTS_MIN && outcome.moves >= moves_min;
    if whole && !enough && outcome.violation.is_none() {
        let Outcome { steps, faults, moves, .. } = outcome;
        outcome.violation = Some(format!("it is too short: {steps} steps, {faults} faults, {moves} moves"));
    }
    outcome
}

/// The command that runs it again.
pub fn replay(outcome: &Outcome) -> String {
    let (seed, ops, bucket) = (outcome.seed, &outcome.ops, outcome.bucket);
    let wanted = Wanted { bucket: Some(bucket), ..Wanted::default() };
    let keep = if *ops == Plan::new(seed, &wanted).1 {
        String::new()
    } else {
        format!(" --keep {}", ops.iter().map(usize::to_string).collect::<Vec<_>>().join(","))
    };
    let bucket = if bucket { "yes" } else { "no" };
    format!("cargo run --release -p sim -- --seed {seed} --bucket {bucket}{keep} --trace --plan")
}
