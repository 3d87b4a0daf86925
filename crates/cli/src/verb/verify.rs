//! `verify`: whether a whole history stands, and where it does not.

use crate::{
    Context, args,
    execute::{Fallen, execute},
    failure::{Code, Failure},
    output::{Output, Progress, Tone},
    source::{Source, named_file},
    words::{count, money},
};
use igor_node::portable::Archive;
use igor_protocol::{
    AgentId, Credits, Seq,
    verify::{Report, Verifier},
};
use igor_sandbox::RUNTIME_ID;
use igor_spine::replay::Execution;
use serde::Serialize;
use std::path::Path;

/// What scripts read.
#[derive(Debug, Serialize)]
struct Verdict {
    ok: bool,
    agent: Option<String>,
    entries: u64,
    runs: u64,
    executed: u64,
    /// Runs that were to be executed and were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_executed: Option<NotExecuted>,
    first_bad: Option<FirstBad>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_seq: Option<u64>,
    /// Failed runs that rest on the host's word alone, and what they cost.
    asserted: u64,
    asserted_cost: String,
}

#[derive(Debug, Serialize)]
struct NotExecuted {
    runs: u64,
    /// The other runtime that made them; none where too many runs stand before one that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<String>,
}

impl NotExecuted {
    fn of(execution: &Execution) -> Option<Self> {
        let (runs, runtime) = (execution.skipped, execution.other_runtime.clone());
        (runs > 0).then_some(Self { runs, runtime })
    }

    fn in_words(&self) -> String {
        let runs = count(self.runs, "run");
        match &self.runtime {
            Some(runtime) => format!("{runs} of runtime {runtime}, and this igor has {RUNTIME_ID}"),
            None => format!("{runs} that failed, after too many others to come back to"),
        }
    }
}

#[derive(Debug, Serialize)]
struct FirstBad {
    seq: u64,
    why: String,
}

/// Verifies an agent or a file.
pub(crate) fn verify(context: &Context, args: &args::Verify) -> Result<(), Failure> {
    let source = match named_file(&args.name) {
        Some(path) => match Archive::open(path, u64::MAX) {
            Ok(file) => Source::File(file),
            // A file that is not there is no bad history.
            Err(broken) => {
                let (why, seq) = (Failure::from(broken.why), Seq(broken.entries));
                if why.code == Code::Integrity {
                    return bad(context.out, None, broken.entries, 0, why.seq().unwrap_or(seq), &why);
                }
                return Err(why);
            }
        },
        None => match Source::agent_named(context, &args.name) {
            Ok(source) => source,
            // Damage in what all agents share keeps every one of them from being read. It says which one has it.
            Err(why) if why.code == Code::Integrity => {
                return bad(context.out, None, 0, 0, why.seq().unwrap_or(Seq(0)), &why);
            }
            Err(why) => return Err(why),
        },
    };
    let (mut entries, runs) = (0, 0);
    let mut progress = Progress::new(if args.execute { "executing" } else { "verifying" });
    let mut tell = |done| {
        entries = done;
        progress.at(|| count(done, "entry"));
    };
    let verified = if args.execute {
        execute(context, &source, None, &mut tell).map(|e| {
            let left = NotExecuted::of(&e);
            (e.report, e.executed, left)
        })
    } else {
        check(&source, &mut tell).map(|report| (report, 0, None))
    };
    drop(progress);
    match verified {
        Ok((report, executed, left)) => good(context.out, args, &report, executed, left),
        Err(Fallen { seq: Some(seq), why }) => bad(context.out, Some(source.agent()), entries, runs, seq, &why),
        Err(Fallen { seq: None, why }) if why.code == Code::Integrity => {
            bad(context.out, Some(source.agent()), entries, runs, why.seq().unwrap_or(Seq(entries)), &why)
        }
        Err(Fallen { why, .. }) => Err(why),
    }
}

/// Checks everything that needs no runtime.
pub(crate) fn check(source: &Source, mut progress: impl FnMut(u64)) -> Result<Report, Fallen> {
    let mut verifier = Verifier::new();
    for commit in source.commits(Seq(0)).map_err(|why| Fallen { seq: None, why })? {
        let commit = commit.map_err(|why| Fallen { seq: None, why })?;
        let pushed = verifier.push(&commit, source);
        pushed.map_err(|bad| Fallen { seq: Some(bad.seq), why: Failure::integrity(bad.fault) })?;
        progress(commit.next().0);
    }
    verifier.report().ok_or_else(|| Fallen { seq: Some(Seq(0)), why: Failure::integrity("the journal is empty") })
}

/// What was checked is good. Where that is not all that was asked for, it is said, and is a failure.
fn good(
    out: Output,
    args: &args::Verify,
    report: &Report,
    executed: u64,
    left: Option<NotExecuted>,
) -> Result<(), Failure> {
    let verdict = Verdict {
        ok: true,
        agent: Some(report.agent.to_string()),
        entries: report.entries,
        runs: report.runs,
        executed,
        not_executed: left,
        first_bad: None,
        sealed_seq: report.sealed.map(|seq| seq.0),
        asserted: report.asserted,
        asserted_cost: report.asserted_cost.to_string(),
    };
    out.say(&verdict, || {
        let mut lines = vec![format!(
            "{}: {}, {}; chain, signatures, bills and money hold",
            if verdict.not_executed.is_some() {
                out.tone(Tone::Warn, "incomplete")
            } else {
                out.tone(Tone::Good, "good")
            },
            count(report.entries, "entry"),
            count(report.runs, "run"),
        )];
        if let Some(left) = &verdict.not_executed {
            lines.push(format!("{}: {}", out.tone(Tone::Warn, "NOT executed"), left.in_words()));
        }
        if executed > 0 {
            lines.push(format!(
                "executed again: {}, with the same outcomes, fuel, replies and states",
                count(executed, "run")
            ));
        }
        if report.asserted > 0 {
            let (runs, cost) = (count(report.asserted, "failed run"), money(report.asserted_cost));
            lines.push(format!("on the node's word alone: {runs} (timeouts and the like), which cost {cost}"));
        }
        let sealed = report.sealed.map_or(0, |seq| seq.0 + 1);
        if sealed < report.entries.saturating_sub(1) {
            lines.push(format!("the last {} are not sealed yet", count(report.entries - sealed, "entry")));
        }
        if let Some(path) = named_file(&args.name) {
            lines.push(format!("agent {} in {}", report.agent, Path::display(path)));
        }
        lines.join("\n")
    })?;
    match &verdict.not_executed {
        Some(left) => Err(Failure::failed(format!("not executed: {}", left.in_words()))),
        None => Ok(()),
    }
}

fn bad(out: Output, agent: Option<AgentId>, entries: u64, runs: u64, seq: Seq, why: &Failure) -> Result<(), Failure> {
    let verdict = Verdict {
        ok: false,
        agent: agent.map(|agent| agent.to_string()),
        entries,
        runs,
        executed: 0,
        not_executed: None,
        first_bad: Some(FirstBad { seq: seq.0, why: why.to_string() }),
        sealed_seq: None,
        asserted: 0,
        asserted_cost: Credits::ZERO.to_string(),
    };
    let text = format!("entry seq=`{seq}` is bad: {why}");
    let shown =
        out.say(&verdict, || format!("{}: {} before it are good", out.tone(Tone::Bad, "bad"), count(seq.0, "entry")));
    // That nobody reads it does not make it good.
    shown.or_else(|failure| if failure.code == Code::Closed { Ok(()) } else { Err(failure) })?;
    Err(Failure::integrity(text))
}
