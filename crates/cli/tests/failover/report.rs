//! What failovers saw, as docs/reliability.md shows it.

use crate::{
    fault::Fault,
    field::{account::Account, build},
};
use std::{fmt::Write as _, thread, time::Duration};

/// The headings of the sections.
pub(crate) const FAILOVERS: &str = "## Failovers";
pub(crate) const CALM: &str = "## False failovers";

/// What was seen. That nothing was lost, doubled or miscounted was checked before.
pub(crate) struct Seen {
    pub(crate) account: Account,
    pub(crate) faults: Vec<(Fault, Duration)>,
    pub(crate) wrong: u32,
    pub(crate) copies: u32,
}

impl Seen {
    pub(crate) fn in_words(&self, seed: u64, took: Duration) -> String {
        let Self { account, faults, wrong, copies } = self;
        let mut text = format!(
            "
`scripts/failover-test` has three `igor node start`, each in a network namespace of its own, and SeaweedFS as their bucket.
Under load, the node that has the agent is struck at a random instant, and another one goes on. The time runs from the
fault to a tick of a later epoch that another process has read from the bucket. This is what its last full run saw (seed
{seed}, {} processors, {} seconds, {}).

| fault | how often | median | 99% | longest |
| --- | --- | --- | --- | --- |
",
            thread::available_parallelism().map_or(1, usize::from),
            took.as_secs(),
            build(),
        );
        for fault in Fault::ALL {
            let mut times: Vec<_> = faults.iter().filter(|(of, _)| *of == fault).map(|(_, time)| *time).collect();
            times.sort_unstable();
            let at = |share: usize| {
                let last = times.len().saturating_sub(1);
                times.get((times.len() * share / 100).min(last)).map_or(0, Duration::as_millis)
            };
            let (words, count) = (fault.words(), times.len());
            let _ = writeln!(text, "| {words} | {count} | {} ms | {} ms | {} ms |", at(50), at(99), at(100));
        }
        let _ = write!(
            text,
            "
| what | seen |
| --- | --- |
| failovers, by the journal; without a fault | {}; {wrong} |
{}| journals at other nodes, of these not the beginning of the last one | {copies}, 0 |
| journal in the bucket, of that different | all of it, 0 |
",
            account.owners.fences,
            account.rows(),
        );
        text
    }
}

/// What a busy machine saw.
pub(crate) fn calm_in_words(wrong: u32, seconds: u32) -> String {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    format!(
        "
`scripts/failover-test --calm` has the same three nodes and the same load, without any fault, on a machine whose {processors}
processors are asked for twice what they have. In {seconds} seconds another node went on {wrong} times.
"
    )
}
