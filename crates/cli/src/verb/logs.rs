//! `logs`: what an agent said, from its journal.

use crate::{
    Context, args,
    failure::{Code, Failure},
    output::{Tone, note},
    source::Source,
    words,
};
use igor_node::{
    api::wire::{AgentInfo, Elsewhere},
    custody::ARCHIVED,
};
use igor_protocol::{Body, Commit, Entry, Seq};
use serde::Serialize;
use std::{thread, time::Duration};

/// How often a followed journal is looked at: at a node, and in files, which takes more.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK_IN_FILES_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct Line<'a> {
    tick: u64,
    seq: u64,
    at: String,
    text: &'a str,
}

/// Prints the log; with `--follow`, goes on until it is interrupted, over restarts of the node too.
pub(crate) fn logs(context: &Context, args: &args::Logs) -> Result<(), Failure> {
    let mut next = Seq(0);
    let mut known = false;
    loop {
        let pause = match look(context, &args.name, &mut next) {
            Ok(pause) => pause,
            // It was there. Its node was killed, or starts: it comes back, or whoever follows gives up.
            Err(failure) if args.follow && known && failure.code == Code::Unreachable => Look::Again(LOOK_EVERY),
            Err(failure) => return Err(failure),
        };
        known = true;
        match pause {
            Look::Again(pause) if args.follow => thread::sleep(pause),
            // What it logs from now on is logged elsewhere.
            Look::Moved(elsewhere) if args.follow => return Err(igor_node::Error::NotCustodian(elsewhere).into()),
            Look::Moved(elsewhere) => {
                let Elsewhere { node, epoch, .. } = *elsewhere;
                note(format!("igor: {} lives on {node} now (epoch {epoch}); this is what it logged before", args.name));
                return Ok(());
            }
            Look::Again(_) => return Ok(()),
        }
    }
}

/// What there is to do after a look.
enum Look {
    /// Look again after so long.
    Again(Duration),
    /// The agent is not here any more.
    Moved(Box<Elsewhere>),
}

/// Prints what is new. Says when to look again.
fn look(context: &Context, name: &str, next: &mut Seq) -> Result<Look, Failure> {
    let source = Source::find(context, name)?;
    for commit in source.commits(*next)? {
        let commit = commit?;
        print(context, &commit, *next)?;
        *next = commit.next();
    }
    Ok(match &source {
        Source::File(_) => Look::Again(LOOK_EVERY),
        Source::Home(..) | Source::Node(..) => match source.info()? {
            AgentInfo { moved: Some(moved), status, .. } if status == ARCHIVED => Look::Moved(Box::new(moved)),
            _ if matches!(source, Source::Home(..)) => Look::Again(LOOK_IN_FILES_EVERY),
            _ => Look::Again(LOOK_EVERY),
        },
    })
}

fn print(context: &Context, commit: &Commit, from: Seq) -> Result<(), Failure> {
    for (seq, _, bytes) in commit.entries().filter(|(seq, ..)| *seq >= from) {
        let entry = Entry::decode(bytes).map_err(|e| Failure::integrity(format!("entry seq=`{seq}`: {e}")))?;
        let Body::Run(run) = entry.body else { continue };
        for text in &run.logs {
            let line = Line { tick: run.tick.0, seq: seq.0, at: words::time(entry.at), text };
            context.out.say(&line, || {
                let tick = context.out.tone(Tone::Faint, &format!("tick {:<6}", line.tick));
                format!("{tick} {}", words::safe(text, usize::MAX))
            })?;
        }
    }
    Ok(())
}
