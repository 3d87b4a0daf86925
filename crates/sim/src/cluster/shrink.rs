//! Makes a failing plan small: leaves out what is not needed for it to fail.

use super::{Options, Outcome, run};

/// Runs of the seed that are spent on it, at most.
const RUNS_MAX: usize = 120;

/// The failing run of a seed with as few operations as could be found.
pub fn shrink(options: &Options, failing: Outcome) -> Outcome {
    let (mut best, mut runs) = (failing, 0);
    let mut size = best.ops.len().div_ceil(2);
    while size > 0 && runs < RUNS_MAX {
        let mut at = 0;
        while at < best.ops.len() && runs < RUNS_MAX {
            let end = (at + size).min(best.ops.len());
            let keep = [&best.ops[..at], &best.ops[end..]].concat();
            let mut less = options.clone();
            less.wanted.keep = Some(keep);
            less.prints = false;
            runs += 1;
            let outcome = run(best.seed, &less);
            // A plan without faults that is too short is another failure.
            if outcome.violation.is_some() {
                best = outcome;
            } else {
                at = end;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    best
}
