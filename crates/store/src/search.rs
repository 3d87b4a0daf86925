//! Finding a place in a journal without reading all of it.

use igor_protocol::{Commit, Entry, Seq};

/// Entries that are read first; it goes back four times as far each time.
const SEARCH_ENTRIES: u64 = 32;

/// The last commit with a checkpoint, of those that begin before `end`. Not more is read than it takes to find it.
pub fn last_with_checkpoint<E, I: Iterator<Item = Result<Commit, E>>>(
    read: &impl Fn(Seq) -> Result<I, E>,
    end: Seq,
) -> Result<Option<Commit>, E> {
    let mut back = SEARCH_ENTRIES;
    loop {
        let from = Seq(end.0.saturating_sub(back));
        let mut last = None;
        for commit in read(from)? {
            let commit = commit?;
            if commit.first() >= end {
                break;
            }
            if commit.entries().any(|(_, _, bytes)| Entry::is_checkpoint(bytes)) {
                last = Some(commit);
            }
        }
        if last.is_some() || from == Seq(0) {
            return Ok(last);
        }
        back = back.saturating_mul(4);
    }
}
