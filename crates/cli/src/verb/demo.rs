//! `demo`: an agent is killed on its way through real prices, and misses nothing. Told as a story.
//!
//! Invariants kept here:
//! - The agent, its sender and every question are real processes of this binary, with public commands only.
//! - It exits 0 only if every check held; what was seen is printed either way.

mod aim;
mod audit;
mod dice;
mod play;
mod stage;

use crate::{
    Context, args,
    failure::Failure,
    output::{Output, Tone},
    words,
};
use audit::{Journal, amount};
use igor_protocol::Credits;
use play::{INTERRUPTED, Play, Run};
use serde::Serialize;
use stage::Stage;
use std::{fs, path::Path, sync::atomic::Ordering, time::Instant};

/// The agent and the prices are in the binary, so that the demo needs no file.
const AGENT: &[u8] = include_bytes!("../../../../agents/strategy/strategy.wasm");
const PRICES: &str = include_str!("../../../../agents/strategy/prices/msft-daily.csv");
const NAME: &str = "strategy";
const AGENT_FILE: &str = "strategy.wasm";
const PRICES_FILE: &str = "prices.csv";
/// The agent begins with this at least.
const LEAST: Credits = Credits::from_units(1_000_000_000_000);

/// What the demo says, for scripts.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Told {
    /// It begins.
    Begun { seed: u64, home: String, lines: usize },
    /// A kill, and what it hit.
    Killed { kill: u32, hit: &'static str, tick: u64 },
    /// The agent's money ended.
    Exhausted { tick: u64 },
    /// It was funded.
    Funded { funded: String },
    /// A check.
    Check { check: &'static str, ok: bool, saw: String },
    /// It is over.
    Over { ok: bool, kills: u32, ticks: usize, entries: usize, seconds: u64 },
}

/// Tells the story, and checks that it is true.
pub(crate) fn demo(context: &Context, args: &args::Demo) -> Result<(), Failure> {
    let out = context.out;
    tokio::spawn(async {
        // Where the signal cannot be handled it ends this process, as it would have anyway.
        if tokio::signal::ctrl_c().await.is_ok() {
            INTERRUPTED.store(true, Ordering::Relaxed);
        }
    });
    let begun = Instant::now();
    let seed = args.seed.map_or_else(new_seed, Ok)?;
    let folder = tempfile::Builder::new().prefix("igor-demo-").tempdir().map_err(Failure::failed)?;
    let home = folder.path().join("home");
    let put = |name, bytes: &[u8]| fs::write(folder.path().join(name), bytes);
    put(AGENT_FILE, AGENT).and_then(|()| put(PRICES_FILE, PRICES.as_bytes())).map_err(Failure::failed)?;
    let lines = PRICES.lines().count();
    opening(out, &home, seed, lines)?;

    let stage = Stage::new(&crate::context::this_binary(), &home, &folder.path().join("log"));
    let mut play = Play::new(out, stage, folder.path(), seed);
    let played = play.rehearse().and_then(|()| play.perform(args.kills)).and_then(|run| {
        let checks = check(play.stage(), &run, lines)?;
        Ok((run, checks))
    });
    let interrupted = INTERRUPTED.load(Ordering::Relaxed);
    let kept = if args.keep || (played.is_err() && !interrupted) { Some(folder.keep()) } else { None };
    if interrupted {
        return Err(Failure::failed("interrupted"));
    }
    let (run, (checks, journal)) = played.map_err(|why| {
        let at = kept.as_deref().unwrap_or(Path::new("?")).display();
        Failure::new(why.code, format!("the demo could not be played to its end: {why}; everything is kept in {at}"))
    })?;

    let held = table(out, &checks)?;
    let seconds = begun.elapsed().as_secs();
    let over = Told::Over { ok: held, kills: run.kills(), ticks: journal.ticks(), entries: journal.entries(), seconds };
    out.say(&over, || closing(out, held, seconds, kept.as_deref()))?;
    if held { Ok(()) } else { Err(Failure::failed("a check did not hold")) }
}

fn opening(out: Output, home: &Path, seed: u64, lines: usize) -> Result<(), Failure> {
    let told = Told::Begun { seed, home: home.display().to_string(), lines };
    out.say(&told, || {
        format!(
            "{}\n\n\
             A small program trades shares. It reads thirteen years of real prices, one message a day, keeps its cash and\n\
             its shares in its own memory, and pays for every millisecond that it computes. Then its process is killed,\n\
             without warning (SIGKILL), again and again. An ordinary program would lose what it knew, or trade twice.\n\n\
             kills are drawn with seed {seed}; igor demo --seed {seed} draws them again\n",
            out.tone(Tone::Strong, "A program that survives"),
        )
    })
}

fn closing(out: Output, held: bool, seconds: u64, kept: Option<&Path>) -> String {
    let kept = kept.map_or_else(String::new, |folder| {
        let folder = folder.display();
        format!("\nits home is kept; look around: igor timeline {NAME} --home {folder}/home")
    });
    if held {
        let good = out.tone(Tone::Good, "Every check held.");
        format!(
            "\n{good} {seconds} seconds, and nothing was lost, done twice or paid twice.\nYour own agent: igor run AGENT.wasm{kept}"
        )
    } else {
        format!("\n{}{kept}", out.tone(Tone::Bad, "A check did not hold: this is a defect of igor."))
    }
}

/// One thing that must hold, and what was seen.
struct Check {
    name: &'static str,
    result: Result<String, String>,
}

fn check(stage: &Stage, run: &Run, lines: usize) -> Result<(Vec<Check>, Journal), Failure> {
    let native = igor_agent_strategy::uninterrupted(PRICES).to_json();
    let shown = stage.ask(&["show", NAME]).and_then(stage::Answer::last).map_err(Failure::failed)?;
    let journal = Journal::read(stage, NAME).map_err(Failure::failed)?;
    let report = match run.report() {
        same if same == native => Ok(native.clone()),
        other => Err(format!("{other} instead of {native}")),
    };
    let announced = run.announced();
    let ticks = journal
        .announced_are_there(announced)
        .map(|()| format!("{} announced, each in the journal once", announced.len()));
    let sent = lines as u64;
    let messages = journal.stream_once(run.stream(), sent).and_then(|()| {
        let questions = journal.ids_once(std::iter::once(play::QUESTION.to_owned()))?;
        Ok(format!("{sent} lines and {questions} question sent, each processed once"))
    });
    let money = amount(&shown["balance"])
        .and_then(|balance| journal.money(balance))
        .map(|money| format!("{} given = {} spent + {} left", money.funded, money.spent, money.balance));
    let ends = match journal.ends() {
        1 => Ok("it ended once, was funded, and went on".to_owned()),
        n => Err(format!("it ended {n} times")),
    };
    let verified = stage.ask(&["verify", NAME, "--execute"]).and_then(stage::Answer::last).and_then(|verdict| {
        let number = |field: &str| verdict[field].as_u64().unwrap_or(0);
        // What cannot be executed again is the one tick that was stopped because the money ended.
        let good = verdict["ok"] == true && number("runs") == number("executed") + number("asserted");
        let said = format!("{} entries hold; {} runs executed again, all alike", number("entries"), number("executed"));
        if good { Ok(said) } else { Err(verdict.to_string()) }
    });
    let checks = vec![
        Check { name: "kills", result: Ok(run.kills_in_words()) },
        Check { name: "same result as a run without any kill", result: report },
        Check { name: "ticks", result: ticks },
        Check { name: "prices", result: messages },
        Check { name: "money, to the last unit", result: money },
        Check { name: "its money ended", result: ends },
        Check { name: "whole life executed again", result: verified },
    ];
    Ok((checks, journal))
}

fn table(out: Output, checks: &[Check]) -> Result<bool, Failure> {
    out.words("")?;
    for Check { name, result } in checks {
        let (ok, saw) = match result {
            Ok(saw) => (true, saw),
            Err(saw) => (false, saw),
        };
        let told = Told::Check { check: name, ok, saw: saw.clone() };
        out.say(&told, || {
            let mark = if ok { out.tone(Tone::Good, "ok    ") } else { out.tone(Tone::Bad, "FAILED") };
            format!("  {mark}  {name:<39} {}", words::safe(saw, 400))
        })?;
    }
    Ok(checks.iter().all(|check| check.result.is_ok()))
}

fn new_seed() -> Result<u64, Failure> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::failed(format!("the system gives no random bytes: {e}; use --seed")))?;
    Ok(u64::from(u32::from_le_bytes(bytes)))
}
