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
            if kind(&outcome) == kind(&best) {
                best = outcome;
            } else {
                at = end;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    best
}

/// What failed, whatever the agent, the node and the place.
fn kind(outcome: &Outcome) -> Option<Vec<&str>> {
    let violation = outcome.violation.as_ref()?;
    let words = violation.split_whitespace().filter(|word| word.chars().all(|c| c.is_ascii_alphabetic()));
    Some(words.take(6).collect())
}
