//! `timeline`: a journal, one line an entry.

mod row;

pub(crate) use row::{Purse, Row};

use crate::{Context, args, failure::Failure, output::Tone, source::Source, words};
use igor_protocol::{Body, Entry, Seq, Timestamp};

/// Prints a journal from an entry on.
pub(crate) fn timeline(context: &Context, args: &args::Timeline) -> Result<(), Failure> {
    let source = Source::find(context, &args.name)?;
    let mut purse = Purse::default();
    let mut before: Option<Timestamp> = None;
    // Balances add up from the beginning, so that is where reading begins.
    for commit in source.commits(Seq(0))? {
        let commit = commit?;
        for (seq, head, bytes) in commit.entries() {
            let entry = Entry::decode(bytes).map_err(|e| Failure::integrity(format!("entry seq=`{seq}`: {e}")))?;
            purse.take(&entry.body);
            if seq.0 >= args.from {
                let row = Row::new(seq, commit.epoch(), head, &entry, &purse);
                context.out.say(&row, || line(context, &row, &entry, before))?;
            }
            before = Some(entry.at);
        }
    }
    Ok(())
}

fn line(context: &Context, row: &Row, entry: &Entry, before: Option<Timestamp>) -> String {
    let since = match before {
        // The first one says when it all began.
        None => words::time(entry.at).chars().take(19).collect::<String>().replace('T', " "),
        Some(before) => format!("+{}", words::duration(entry.at.since(before))),
    };
    let text = row.words();
    let tone = match &entry.body {
        Body::Seal(_) => Tone::Faint,
        Body::Run(run) if !run.outcome.is_ok() => Tone::Bad,
        Body::Genesis(_) | Body::End(_) | Body::Order(_) => Tone::Strong,
        _ => return format!("{:>6}  {since:<11} {text}", row.seq()),
    };
    format!("{:>6}  {since:<11} {}", row.seq(), context.out.tone(tone, &text))
}
