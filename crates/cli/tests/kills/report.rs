//! What a run of kills saw, as docs/reliability.md shows it.

use crate::{
    audit::Money,
    place::{Place, Places},
};
use std::{fmt::Write as _, thread, time::Duration};

/// The heading of the section.
pub(crate) const KILLS: &str = "## Kills of one process";

/// What was seen. That nothing was lost, repeated or miscounted was checked before.
pub(crate) struct Report {
    pub(crate) kills: u32,
    pub(crate) announced: usize,
    pub(crate) ticks: usize,
    pub(crate) entries: usize,
    pub(crate) lines: u64,
    pub(crate) questions: u64,
    pub(crate) money: Money,
    pub(crate) executed: u64,
    pub(crate) places: Places,
}

impl Report {
    pub(crate) fn in_words(&self, seed: u64, took: Duration) -> String {
        let Self { kills, announced, ticks, entries, lines, questions, money, executed, places } = self;
        let (seconds, messages) = (took.as_secs(), lines + questions);
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut text = format!(
            "
`scripts/kill-test` kills `igor run` with SIGKILL at random instants, with the strategy agent under load: messages come
from two senders that retry until they are answered. After each kill the same command starts it again. At the end the
whole journal is compared with everything that was ever announced, and executed again. This is what its last full run
saw (seed {seed}, {processors} processors, {seconds} seconds).

| what | seen |
| --- | --- |
| kills | {kills} |
| ticks announced, of these lost, repeated | {announced}, 0, 0 ({ticks} in the journal of {entries} entries) |
| messages sent, of these lost, processed twice | {messages}, 0, 0 ({lines} lines, {questions} questions) |
| ledger, to the last unit | {} given = {} spent + {} left |
| runs executed again, of these different | {executed}, 0 |

Where the kills hit, from the journal that each left and from the log of the killed process. A kill may count twice,
since the mover works beside the rest. A full run fails if one of these was never hit.

| place | kills |
| --- | --- |
",
            money.funded, money.spent, money.balance,
        );
        for place in Place::ALL {
            let _ = writeln!(text, "| {} | {} |", place.words(), places.of(place));
        }
        text
    }
}
