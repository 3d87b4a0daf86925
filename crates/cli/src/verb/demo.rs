//! `demo`: an agent goes from node to node, is killed on its way through real prices, and misses nothing. Told as a story.
//!
//! Invariants kept here:
//! - Nodes, senders and every question are real processes of this binary, with public commands and the documented API
//!   only.
//! - It exits 0 only if every check held; what was seen is printed either way.
//! - No process and, unless it is asked for, no file of it is left when it ends.

mod aim;
#[allow(dead_code)] // tests look at journals with it too, and need more of it
mod audit;
mod checks;
mod custody;
mod dice;
mod failover;
mod feeder;
mod host;
mod play;
mod rogue;
mod screen;
#[allow(dead_code)] // the same, for processes
mod stage;
mod tale;
mod watcher;
mod wire;

use crate::{
    Context, args,
    failure::Failure,
    output::{Output, Tone},
    signals::Signals,
    words,
};
use checks::Check;
use failover::Failover;
use host::Host;
use play::Play;
use serde::Serialize;
use stage::INTERRUPTED;
use std::{fmt::Write as _, fs, path::Path, sync::atomic::Ordering, time::Instant};
use tale::Tale;
use tokio::signal::unix::{SignalKind, signal};

/// The agent and the prices are in the binary, so that the demo needs no file.
const AGENT: &[u8] = include_bytes!("../../../../agents/strategy/strategy.wasm");
const PRICES: &str = include_str!("../../../../agents/strategy/prices/msft-daily.csv");
/// Lines of prices, the heading included.
const LINES: usize = {
    let (bytes, mut lines, mut at) = (PRICES.as_bytes(), 0, 0);
    while at < bytes.len() {
        lines += (bytes[at] == b'\n') as usize;
        at += 1;
    }
    lines
};
const NAME: &str = "strategy";
const AGENT_FILE: &str = "strategy.wasm";
const PRICES_FILE: &str = "prices.csv";
/// It ticks also when nothing comes in, so that there is always something to interrupt.
const MANIFEST: &str = "[tick]\ninterval = \"1ms\"\n\n[checkpoint]\ninterval = \"3s\"\n";
const MANIFEST_FILE: &str = "strategy.toml";
/// The agent begins with this: enough for some hundred prices at A.
const BUDGET: &str = "3";
/// The id of the last question.
const QUESTION: &str = "how-did-it-go";

/// What the demo says, for scripts.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Told {
    /// It begins.
    Begun {
        #[serde(skip_serializing_if = "Option::is_none")]
        seed: Option<u64>,
        folder: String,
        lines: usize,
        nodes: Vec<Node>,
    },
    /// A kill, and what it hit.
    Killed { kill: u32, node: &'static str, hit: &'static str, tick: u64 },
    /// The agent's money ended.
    Exhausted { tick: u64 },
    /// It was funded.
    Funded { funded: String },
    /// It lives elsewhere now.
    Moved {
        from: &'static str,
        to: &'static str,
        epoch: String,
        had: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pause_ns: Option<u64>,
    },
    /// The connection of a move was cut.
    Cut { from: &'static str, to: &'static str, bytes: u64, goes_on: bool, said: String },
    /// A copy of a home gave the agent away, and was refused.
    Refused { code: i32, said: String, status: String, cause: String, evidence: String },
    /// Another node went on with it.
    WentOn { fault: &'static str, from: &'static str, to: &'static str, epoch: String, tick: u64, gap_ns: u64 },
    /// A host that came back knows that it is not its any more.
    StoodDown { node: &'static str, status: String, custodian: String },
    /// A check.
    Check { check: &'static str, ok: bool, saw: String },
    /// It is over.
    Over {
        ok: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        kills: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        failovers: Option<u32>,
        ticks: usize,
        entries: usize,
        seconds: u64,
    },
}

/// A node, and what it asks in credits.
#[derive(Debug, Serialize)]
struct Node {
    #[serde(rename = "node")]
    letter: &'static str,
    key: String,
    price_per_second: &'static str,
    price_per_fuel: &'static str,
}

/// Why the play was not played to its end.
#[derive(Debug)]
enum Broken {
    /// Nobody listens.
    Told(Failure),
    /// Something did not happen.
    Play(String),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Told(failure)
    }
}

impl From<String> for Broken {
    fn from(why: String) -> Self {
        Self::Play(why)
    }
}

/// Tells the story, and checks that it is true.
pub(crate) fn demo(context: &Context, args: &args::Demo) -> Result<(), Failure> {
    let (out, begun) = (context.out, Instant::now());
    let mut signals = Signals::new()?;
    // A terminal that is closed wants the same as Ctrl-C.
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::failed)?;
    tokio::spawn(async move {
        tokio::select! {
            () = signals.stop() => {}
            _ = hangup.recv() => {}
        }
        INTERRUPTED.store(true, Ordering::Relaxed);
    });
    let seed = args.seed.map_or_else(new_seed, Ok)?;
    let folder = tempfile::Builder::new().prefix("igor-demo-").tempdir().map_err(Failure::failed)?;
    let put = |name, bytes: &[u8]| fs::write(folder.path().join(name), bytes);
    put(AGENT_FILE, AGENT).and_then(|()| put(PRICES_FILE, PRICES.as_bytes())).map_err(Failure::failed)?;

    let played = if args.failover { fail_over(out, folder.path()) } else { play(out, folder.path(), seed, args.kills) };
    let interrupted = INTERRUPTED.load(Ordering::Relaxed);
    let keep = args.keep || matches!(played, Err(Broken::Play(_))) && !interrupted;
    let kept = keep.then(|| folder.keep());
    let at = || kept.as_deref().unwrap_or(Path::new("?")).display();
    let (checks, over) = match played {
        Ok(played) => played,
        Err(Broken::Told(failure)) => return Err(failure),
        Err(Broken::Play(_)) if interrupted => return Err(Failure::failed("interrupted")),
        Err(Broken::Play(why)) => {
            let why = format!("the demo could not be played to its end: {why}; everything is kept in {}", at());
            return Err(Failure::failed(why));
        }
    };
    let held = table(out, &checks)?;
    let (blows, ticks, entries) = over;
    let (kills, failovers) = if args.failover { (None, Some(blows)) } else { (Some(blows), None) };
    let seconds = begun.elapsed().as_secs();
    let over = Told::Over { ok: held, kills, failovers, ticks, entries, seconds };
    out.say(&over, || closing(out, held, seconds, kept.as_deref()))?;
    if held { Ok(()) } else { Err(Failure::failed("a check did not hold")) }
}

/// Kills or failovers, ticks and entries.
type Over = (u32, usize, usize);

/// Plays it, and looks at what is there then. All that was started has ended when this comes back.
fn play(out: Output, folder: &Path, seed: u64, kills: u32) -> Result<(Vec<Check>, Over), Broken> {
    let mut play = Play::new(out, &crate::context::this_binary(), folder, seed)?;
    let more = format!(
        "They are killed without warning (SIGKILL), again and again, while it computes and while it moves from one to\n\
         another. An ordinary program would lose what it knew, trade twice, or run in two places.\n\
         (kills are drawn with seed {seed}; igor demo --seed {seed} draws them again)"
    );
    opening(&mut play.tale, &play.hosts, folder, Some(seed), &more)?;
    let performed = play.perform(kills);
    // Whatever comes now is told under the story.
    play.tale.screen.erase()?;
    performed?;
    let (checks, journal) = checks::of_moves(&play)?;
    Ok((checks, (play.run().kills(), journal.ticks(), journal.entries())))
}

/// The same, of hosts that fail.
fn fail_over(out: Output, folder: &Path) -> Result<(Vec<Check>, Over), Broken> {
    let mut failover = Failover::new(out, &crate::context::this_binary(), folder)?;
    let more = "Its journal is in a bucket (SeaweedFS, a process of its own as well). One after the other its hosts fail, and\n\
                nobody is there to help: the other nodes go on by themselves, with all that it knew, and never two of them.";
    opening(&mut failover.tale, &failover.hosts, folder, None, more)?;
    let performed = failover.perform();
    failover.tale.screen.erase()?;
    performed?;
    let (checks, journal) = checks::of_failovers(&failover)?;
    Ok((checks, (failover.failovers(), journal.ticks(), journal.entries())))
}

fn opening(tale: &mut Tale, hosts: &[Host; 3], folder: &Path, seed: Option<u64>, more: &str) -> Result<(), Failure> {
    let node = |host: &Host| Node {
        letter: host.letter,
        key: host.key.clone(),
        price_per_second: host.price.per_second,
        price_per_fuel: host.price.per_fuel,
    };
    let nodes: Vec<Node> = hosts.iter().map(node).collect();
    let title = tale.screen.tone(Tone::Strong, "A program that survives, wherever it is");
    let mut words = format!(
        "{title}\n\n\
         A small program trades shares. It reads thirteen years of real prices, one message a day, keeps its cash and\n\
         its shares in its own memory, and pays whoever runs it. Three nodes do that, each a process of its own:\n"
    );
    for node in &nodes {
        let Node { letter, price_per_second, price_per_fuel, .. } = node;
        let _ = writeln!(
            words,
            "  {letter}  asks {price_per_second:>11} credits a second of computing and {price_per_fuel:>9} for each instruction or so"
        );
    }
    words.push_str(more);
    let told = Told::Begun { seed, folder: folder.display().to_string(), lines: LINES, nodes };
    tale.screen.tell(&told, || words)
}

fn closing(out: Output, held: bool, seconds: u64, kept: Option<&Path>) -> String {
    let kept = kept.map_or_else(String::new, |folder| {
        let folder = folder.display();
        format!("\nits homes are kept; look around: igor timeline {NAME} --home {folder}/C")
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
            format!("  {mark}  {name:<42} {}", words::safe(saw, 400))
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
