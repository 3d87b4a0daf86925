//! What moves under kills and cuts saw, as docs/reliability.md shows it.

use crate::{
    field::{account::Account, build},
    phase::{Blow, Phase, Phases},
};
use std::{fmt::Write as _, thread, time::Duration};

/// The headings of the sections.
pub(crate) const MOVES: &str = "## Moves under kills and cuts";
pub(crate) const SOAK: &str = "## A soak";

/// What was seen. That nothing was lost, doubled or miscounted was checked before.
pub(crate) struct Seen {
    pub(crate) attempts: u32,
    pub(crate) account: Account,
    pub(crate) phases: Phases,
    pub(crate) pauses: Vec<Duration>,
    pub(crate) recoveries: Vec<Duration>,
    pub(crate) archives: u32,
}

impl Seen {
    pub(crate) fn in_words(&self, seed: u64, took: Duration) -> String {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut text = format!(
            "
`scripts/move-test` moves an agent around three `igor node start`, each in a network namespace of its own. They reach
each other over TCP through proxies that take {} ms each way, over links that lose 1% of the packets in each direction.
Under the same load as above, most moves are struck at a random instant: one of the two nodes is killed with SIGKILL and
started again, or cut off for up to 12 s. After each blow the agent must run again, at one node, without help. This is what
its last full run saw (seed {seed}, {processors} processors, {} seconds, {}).

",
            crate::field::ground::DELAY.as_millis(),
            took.as_secs(),
            build()
        );
        text += &self.table();
        let _ = writeln!(
            text,
            "| pause of a move that got its answer at once | {} |
| from a blow until the agent ticked again, the time that the node was down or cut off included | {} |

How far the moves were when they were struck, from both journals right after it. A full run fails if a phase was never hit
by a kill of the giver, a kill of the taker, or a cut; but a taker that lives and has all of it answers within some
milliseconds, mostly before it can be asked, so there only its own kill must hit.

| phase | {} |
| --- |{}",
            spread(&self.pauses),
            spread(&self.recoveries),
            Blow::ALL.map(Blow::words).join(" | "),
            " --- |".repeat(Blow::ALL.len())
        );
        for phase in Phase::ALL {
            let counts = Blow::ALL.map(|blow| self.phases.of(phase, blow).to_string());
            let _ = writeln!(text, "| {} | {} |", phase.words(), counts.join(" | "));
        }
        text
    }

    /// What every run of moves says.
    pub(crate) fn table(&self) -> String {
        let Self { attempts, account, phases, archives, .. } = self;
        let (moves, returns, blows) = (account.owners.moves, account.owners.returns, phases.sum());
        format!(
            "| what | seen |
| --- | --- |
| moves, by the journal; begun, struck | {moves}; {attempts}, {blows} |
| declined after the handoff, and returned | {returns} |
{}| journals of earlier hosts, of these not the beginning of the last one | {archives}, 0 |
",
            account.rows()
        )
    }
}

/// The middle and the largest of some durations.
pub(crate) fn spread(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    match (sorted.get(sorted.len() / 2), sorted.get(sorted.len() * 95 / 100), sorted.last()) {
        (Some(middle), Some(most), Some(last)) => {
            format!("median {}, 95% {}, longest {}", short(*middle), short(*most), short(*last))
        }
        _ => "none".to_owned(),
    }
}

fn short(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
